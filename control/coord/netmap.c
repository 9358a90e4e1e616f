#include "control/coord/netmap.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

enum {
	CLOCK_OFF_S = 60, // nearer than this our own clock counts
	SLEEP_MAX_S = 300,
};

struct netmap *netmap_create(const struct key *own_key)
{
	struct netmap *nm = calloc(1, sizeof(*nm));

	if (!nm || sodium_init() < 0)
		abort();
	nm->own_key = *own_key;
	nm->index = nm_index_create();
	return nm;
}

static void filter_free(struct netmap *nm)
{
	for (size_t i = 0; i < nm->n_filter; i++)
		nm_rules_fini(&nm->filter[i]);
	free(nm->filter);
}

static void users_free(struct netmap *nm)
{
	for (size_t i = 0; i < nm->n_users; i++) {
		free(nm->users[i].login);
		free(nm->users[i].name);
		free(nm->users[i].picture);
	}
	free(nm->users);
	nm->users = NULL;
	nm->n_users = nm->users_room = 0;
}

static void free_const(const void *p)
{
	free((void *)p);
}

void netmap_destroy(struct netmap *nm)
{
	const char *const texts[] = {nm->health, nm->messages, nm->domain, nm->audit_id,
		nm->dial_plan, nm->ssh_policy, nm->derp_regions_text, nm->derp_home_text,
		nm->dns_text, nm->ping_request, nm->pop_browser_url};

	for (size_t i = 0; i < nm->n_peers; i++) {
		free_const(nm->peers[i]->node);
		free(nm->peers[i]);
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		free_const(texts[i]);
	free_const(nm->self);
	free(nm->peers);
	filter_free(nm);
	users_free(nm);
	arena_fini(&nm->derp_arena);
	arena_fini(&nm->dns_arena);
	arena_fini(&nm->scratch);
	nm_index_destroy(nm->index);
	free(nm->deltas);
	free(nm->touched);
	free(nm);
}

void netmap_own_key(struct netmap *nm, const struct key *own_key)
{
	nm->own_key_changed |= memcmp(&nm->own_key, own_key, KEY_LEN) != 0;
	nm->own_key = *own_key;
}

void netmap_stream_start(struct netmap *nm)
{
	nm->streaming = false;
}

const struct nm_peer *netmap_peer(const struct netmap *nm, int64_t id)
{
	const struct nm_name name = nm_name_of(NM_CLAIM_ID, &id, sizeof(id));

	return nm_index_get(nm->index, &name);
}

const struct nm_peer *netmap_peer_by_key(const struct netmap *nm, const struct key *key)
{
	const struct nm_name name = nm_name_of(NM_CLAIM_KEY, key->bytes, KEY_LEN);

	return nm_index_get(nm->index, &name);
}

const struct nm_peer *netmap_peer_by_addr(const struct netmap *nm, const struct ip_addr *a)
{
	const struct nm_name name = nm_name_of_addr(a);

	return nm_index_get(nm->index, &name);
}

const char *nm_unusable_text(enum nm_unusable why)
{
	static const char *const texts[NM_UNUSABLE_COUNT] = {
		[NM_USABLE] = "usable",
		[NM_NO_DISCO_KEY] = "it has no disco key",
		[NM_EXPIRED] = "its node key has expired",
		[NM_OWN_KEY] = "it has our own node key",
		[NM_SAME_KEY] = "another peer has its node key",
		[NM_SAME_ADDRESS] = "another node has its address",
	};
	return texts[why];
}

const char *nm_skip_text(enum nm_skip why)
{
	static const char *const texts[NM_SKIP_COUNT] = {
		[NM_SKIP_TYPE] = "node_type",
		[NM_SKIP_ID] = "node_id",
		[NM_SKIP_SELF] = "self_node",
		[NM_SKIP_SELF_REMOVED] = "self_removed",
		[NM_SKIP_TOO_MANY] = "too_many_peers",
		[NM_SKIP_UNKNOWN] = "patch_unknown",
		[NM_SKIP_PATCH] = "patch_type",
		[NM_SKIP_RULE] = "filter_rule",
		[NM_SKIP_REGION] = "derp_region",
		[NM_SKIP_DNS] = "dns",
		[NM_SKIP_USER] = "user",
	};
	return texts[why];
}

// The other parts. Each says whether anything changed.

static bool text_set(const char **kept, char *text)
{
	const bool same = (!*kept && !text) || (*kept && text && !strcmp(*kept, text));

	if (same) {
		free(text);
		return false;
	}
	free_const(*kept);
	*kept = text;
	return true;
}

static bool derp_apply(struct nm_message *m)
{
	struct netmap *const nm = m->nm;
	const char *regions = nm->derp_regions_text, *scores = nm->derp_home_text;
	const bool omit_before = nm->derp.omit_default_regions;
	bool changed =
		text_set(&regions, m->derp_regions.len ? nm_slice_copy(m->derp_regions) : NULL);

	changed |= text_set(&scores, m->derp_scores.len ? nm_slice_copy(m->derp_scores) : NULL);
	nm->derp_regions_text = (char *)regions;
	nm->derp_home_text = (char *)scores;
	nm->derp = m->derp;
	arena_fini(&nm->derp_arena);
	nm->derp_arena = m->derp_arena;
	m->derp_arena = (struct arena){0};
	return changed || omit_before != nm->derp.omit_default_regions;
}

static bool dns_apply(struct nm_message *m)
{
	struct netmap *const nm = m->nm;
	const char *text = nm->dns_text;
	const bool changed = text_set(&text, nm_slice_copy(m->members[NM_M_DNS]));

	nm->dns_text = (char *)text;
	nm->dns = m->dns;
	arena_fini(&nm->dns_arena);
	nm->dns_arena = m->dns_arena;
	m->dns_arena = (struct arena){0};
	return changed;
}

static int chunk_order(const void *a, const void *b)
{
	return strcmp(((const struct nm_rules *)a)->name, ((const struct nm_rules *)b)->name);
}

static bool filter_apply(struct nm_message *m)
{
	struct netmap *const nm = m->nm;
	bool same = nm->n_filter == m->n_filter;

	if (m->n_filter)
		qsort(m->filter, m->n_filter, sizeof(*m->filter), chunk_order);
	for (size_t i = 0; same && i < nm->n_filter; i++)
		same = !strcmp(nm->filter[i].name, m->filter[i].name) &&
		       !strcmp(nm->filter[i].text, m->filter[i].text);
	if (same)
		return false; // m keeps and frees the new ones
	filter_free(nm);
	nm->filter = m->filter;
	nm->n_filter = m->n_filter;
	m->filter = NULL;
	m->n_filter = 0;
	return true;
}

static int user_take(void *arg, struct slice value)
{
	struct netmap *nm = arg;
	json_t *const v = json_piece(value);
	struct json_object o = json_open(v);
	const int64_t id = json_number(&o, "ID", INT64_MIN, INT64_MAX);
	const char *const texts[] = {json_text(&o, "LoginName"), json_text(&o, "DisplayName"),
		json_text(&o, "ProfilePicURL")};
	size_t i = 0;

	if (o.bad || nm->n_users == NM_USERS_MAX) {
		nm->skipped[NM_SKIP_USER]++;
		goto out;
	}
	while (i < nm->n_users && nm->users[i].id != id)
		i++;
	if (i == nm->n_users) {
		nm->users =
			nm_room_for(nm->users, nm->n_users, &nm->users_room, sizeof(*nm->users));
		nm->users[nm->n_users++] = (struct nm_user){.id = id};
	}
	char **const kept[] = {&nm->users[i].login, &nm->users[i].name, &nm->users[i].picture};
	for (size_t t = 0; t < 3; t++) {
		free(*kept[t]);
		*kept[t] = texts[t] ? strdup(texts[t]) : NULL;
	}
out:
	json_decref(v);
	return 0;
}

// The text of a JSON string; NULL: empty or none.
static char *string_of(struct slice s)
{
	json_t *const v = s.len ? json_piece(s) : NULL;
	char *const text = json_string_length(v) ? strdup(json_string_value(v)) : NULL;

	json_decref(v);
	return text;
}

// What stays as it is until it comes again; a new stream begins with nothing of it.
static uint32_t texts_apply(struct nm_message *m, bool full)
{
	struct netmap *const nm = m->nm;
	const struct slice *const in = m->members;
	uint32_t parts = 0;

	if (in[NM_M_DOMAIN].len && text_set(&nm->domain, string_of(in[NM_M_DOMAIN])))
		parts |= NM_DOMAIN;
	if (in[NM_M_AUDIT_ID].len && text_set(&nm->audit_id, string_of(in[NM_M_AUDIT_ID])))
		parts |= NM_DOMAIN;
	if (in[NM_M_DIAL_PLAN].len && text_set(&nm->dial_plan, nm_slice_copy(in[NM_M_DIAL_PLAN])))
		parts |= NM_DIAL_PLAN;
	if (in[NM_M_SSH_POLICY].len &&
		text_set(&nm->ssh_policy, nm_slice_copy(in[NM_M_SSH_POLICY])))
		parts |= NM_SSH_POLICY;
	if ((full || in[NM_M_HEALTH].len) &&
		text_set(&nm->health, in[NM_M_HEALTH].len ? nm_slice_copy(in[NM_M_HEALTH]) : NULL))
		parts |= NM_HEALTH;
	if (full || m->messages) {
		char *const text = m->messages ? json_dumps(m->messages, JSON_COMPACT) : NULL;
		parts |= text_set(&nm->messages, text) ? NM_MESSAGES : 0;
	}
	return parts;
}

static bool clock_apply(struct nm_message *m)
{
	struct netmap *const nm = m->nm;
	const int64_t before = nm->clock_offset_s, off = m->control_time - m->now_s;

	if (!m->control_time)
		return false;
	nm->clock_offset_s = off > CLOCK_OFF_S || off < -CLOCK_OFF_S ? off : 0;
	// A second of jitter is no news.
	return before - nm->clock_offset_s > 1 || nm->clock_offset_s - before > 1;
}

// What is for once: asked of us by this message.
static void requests_take(struct nm_message *m, struct netmap_delta *out)
{
	struct netmap *const nm = m->nm;
	const struct slice ping = m->members[NM_M_PING_REQUEST];

	free(nm->ping_request);
	free(nm->pop_browser_url);
	nm->ping_request = ping.len ? nm_slice_copy(ping) : NULL;
	nm->pop_browser_url = string_of(m->members[NM_M_POP_BROWSER]);
	out->ping_request = nm->ping_request;
	out->pop_browser_url = nm->pop_browser_url;
	if (m->members[NM_M_DEBUG].len) {
		json_t *const v = json_piece(m->members[NM_M_DEBUG]);
		struct json_object o = json_open(v);
		const double sleep = json_real_number(&o, "SleepSeconds");
		out->sleep_s = sleep > SLEEP_MAX_S ? SLEEP_MAX_S : sleep > 0 ? sleep : 0;
		json_decref(v);
	}
}

static uint32_t self_apply(struct nm_message *m)
{
	struct netmap *const nm = m->nm;
	const struct nm_node *const before = nm->self;
	const uint32_t all = NM_F_USABLE - 1;

	if (!m->self)
		return 0;
	const uint32_t fields =
		before ? nm_node_diff(before, m->self) | (before->id == m->self->id ? 0 : NM_F_NAME)
		       : all;
	free_const(before);
	nm->self = m->self;
	m->self = NULL;
	return fields;
}

static void message_apply(struct nm_message *m, struct netmap_delta *out)
{
	struct netmap *const nm = m->nm;
	const bool full = out->full;

	out->self_fields = self_apply(m);
	out->parts |= out->self_fields ? NM_SELF : 0;
	nm_peers_apply(m, full);
	nm_peers_judge(nm, m->now_s + nm->clock_offset_s,
		nm->own_key_changed || out->self_fields & (NM_F_ADDRESSES | NM_F_KEY));
	nm->own_key_changed = false;
	if (m->members[NM_M_DERP_MAP].len)
		out->parts |= derp_apply(m) ? NM_DERP_MAP : 0;
	if (m->members[NM_M_DNS].len)
		out->parts |= dns_apply(m) ? NM_DNS : 0;
	if (full || m->members[NM_M_FILTER].len || m->members[NM_M_FILTERS].len)
		out->parts |= filter_apply(m) ? NM_FILTER : 0;
	if (m->members[NM_M_USERS].len) {
		if (full)
			users_free(nm);
		(void)!json_scan_elements(m->members[NM_M_USERS], user_take, nm); // checked
		out->parts |= NM_USERS;
	}
	out->parts |= texts_apply(m, full);
}

int netmap_apply(
	struct netmap *nm, const char *text, size_t len, int64_t now_s, struct netmap_delta *out)
{
	struct nm_message m = {.nm = nm, .now_s = now_s};

	*out = (struct netmap_delta){0};
	const int error = nm_message_parse(&m, (struct slice){text, len});
	if (!error) {
		nm->error[0] = '\0';
		nm_delta_start(nm);
		out->keep_alive = slice_is(m.members[NM_M_KEEP_ALIVE], "true");
		out->full = !out->keep_alive && !nm->streaming;
		out->parts |= clock_apply(&m) ? NM_CLOCK : 0;
		requests_take(&m, out);
		if (out->keep_alive) {
			out->parts |=
				m.members[NM_M_DIAL_PLAN].len &&
						text_set(&nm->dial_plan,
							nm_slice_copy(m.members[NM_M_DIAL_PLAN]))
					? NM_DIAL_PLAN
					: 0;
		} else {
			message_apply(&m, out);
			nm->streaming = nm->ready = true;
		}
		nm_delta_finish(nm, out);
	}
	nm_message_fini(&m);
	return error;
}

void netmap_expire(struct netmap *nm, int64_t now_s, struct netmap_delta *out)
{
	const int64_t now = now_s + nm->clock_offset_s;

	*out = (struct netmap_delta){0};
	nm_delta_start(nm);
	for (size_t i = 0; i < nm->n_peers; i++) {
		struct nm_peer *const p = nm->peers[i];
		if (p->unusable == NM_USABLE && p->node->key_expiry && p->node->key_expiry <= now)
			nm_touch(nm, p);
	}
	nm_peers_judge(nm, now, false);
	nm_delta_finish(nm, out);
}
