// A MapResponse from text to structs, without changing the netmap yet.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

static const char *const member_names[NM_M_COUNT] = {
	[NM_M_KEEP_ALIVE] = "KeepAlive",
	[NM_M_PING_REQUEST] = "PingRequest",
	[NM_M_POP_BROWSER] = "PopBrowserURL",
	[NM_M_NODE] = "Node",
	[NM_M_PEERS] = "Peers",
	[NM_M_PEERS_REMOVED] = "PeersRemoved",
	[NM_M_PEERS_CHANGED] = "PeersChanged",
	[NM_M_PEER_SEEN] = "PeerSeenChange",
	[NM_M_ONLINE] = "OnlineChange",
	[NM_M_PATCH] = "PeersChangedPatch",
	[NM_M_DERP_MAP] = "DERPMap",
	[NM_M_DNS] = "DNSConfig",
	[NM_M_FILTER] = "PacketFilter",
	[NM_M_FILTERS] = "PacketFilters",
	[NM_M_USERS] = "UserProfiles",
	[NM_M_HEALTH] = "Health",
	[NM_M_MESSAGES] = "DisplayMessages",
	[NM_M_CONTROL_TIME] = "ControlTime",
	[NM_M_DIAL_PLAN] = "ControlDialPlan",
	[NM_M_DEBUG] = "Debug",
	[NM_M_DOMAIN] = "Domain",
	[NM_M_AUDIT_ID] = "DomainDataPlaneAuditLogID",
	[NM_M_SSH_POLICY] = "SSHPolicy",
};

enum { CHUNK_NAME_MAX = 256, CHUNKS_MAX = 4096 };

static int __attribute__((format(printf, 3, 4)))
refuse(struct netmap *nm, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(nm->error, sizeof(nm->error), format, args);
	va_end(args);
	return error;
}

char *nm_slice_copy(struct slice s)
{
	char *const text = strndup(s.text, s.len);

	if (!text)
		abort();
	return text;
}

// Room for one more element of size in a list that grows.
void *nm_room_for(void *list, size_t n, size_t *room, size_t size)
{
	if (n < *room)
		return list;
	*room = *room ? *room * 2 : 16;
	void *const bigger = realloc(list, *room * size);
	if (!bigger)
		abort();
	return bigger;
}

static bool has(const struct nm_message *m, enum nm_member i)
{
	return m->members[i].text != NULL;
}

static int member_take(void *arg, struct slice name, struct slice value)
{
	struct nm_message *m = arg;

	for (int i = 0; i < NM_M_COUNT; i++)
		if (slice_is(name, member_names[i])) {
			m->members[i] = slice_is(value, "null") ? (struct slice){0} : value;
			break;
		}
	return 0;
}

// Everything of one message is parsed first.

static bool self_acceptable(const struct netmap *nm, const struct nm_node *self)
{
	return self && self->id > 0 && self->n_addresses &&
	       !memcmp(&self->key, &nm->own_key, KEY_LEN);
}

static void remove_id(struct nm_message *m, int64_t id)
{
	struct nm_ids *const r = &m->removed;

	r->list = nm_room_for(r->list, r->n, &r->room, sizeof(*r->list));
	r->list[r->n++] = id;
}

static int self_parse(struct nm_message *m)
{
	struct netmap *const nm = m->nm;
	json_t *const v = json_piece(m->members[NM_M_NODE]);

	if (!json_is_object(v)) {
		json_decref(v);
		return -EBADMSG;
	}
	m->self = nm_node_parse(&nm->scratch, v);
	json_decref(v);
	arena_reset(&nm->scratch);
	if (self_acceptable(nm, m->self)) {
		if (netmap_peer(nm, m->self->id)) // it is us now
			remove_id(m, m->self->id);
		return 0;
	}
	nm->skipped[NM_SKIP_SELF]++;
	free(m->self);
	m->self = NULL;
	return 0;
}

static int node_take(struct nm_message *m, struct nm_nodes *to, struct slice value)
{
	struct netmap *const nm = m->nm;
	const struct nm_node *const self = m->self ? m->self : nm->self;
	json_t *const v = json_piece(value);

	if (!v)
		return -EBADMSG;
	struct nm_node *const node = nm_node_parse(&nm->scratch, v);
	json_decref(v);
	arena_reset(&nm->scratch);
	if (!node) {
		nm->skipped[NM_SKIP_TYPE]++;
	} else if (node->id <= 0 || (self && node->id == self->id)) {
		nm->skipped[NM_SKIP_ID]++;
		free(node);
	} else if (to->n == NM_PEERS_MAX) {
		nm->skipped[NM_SKIP_TOO_MANY]++;
		free(node);
	} else {
		to->list = nm_room_for(to->list, to->n, &to->room, sizeof(*to->list));
		to->list[to->n++] = node;
	}
	return 0;
}

static int peer_take(void *arg, struct slice value)
{
	struct nm_message *m = arg;

	return node_take(m, &m->peers, value);
}

static int changed_take(void *arg, struct slice value)
{
	struct nm_message *m = arg;

	return node_take(m, &m->changed, value);
}

static int removed_take(void *arg, struct slice value)
{
	struct nm_message *m = arg;
	const struct nm_node *const self = m->self ? m->self : m->nm->self;
	json_t *const v = json_piece(value);
	const int64_t id = json_integer_value(v);
	const bool right = json_is_integer(v);

	json_decref(v);
	if (!right)
		return -EBADMSG;
	if (self && id == self->id) {
		m->nm->skipped[NM_SKIP_SELF_REMOVED]++;
		return 0;
	}
	if (!netmap_peer(m->nm, id)) // nothing to remove
		return 0;
	remove_id(m, id);
	return m->removed.n > NM_PEERS_MAX ? -E2BIG : 0;
}

// A piece that is checked now and read when it is applied.
static int valid(void *, struct slice value)
{
	json_t *const v = json_piece(value);

	json_decref(v);
	return v ? 0 : -EBADMSG;
}

static int valid_member(void *, struct slice, struct slice value)
{
	return valid(NULL, value);
}

static int peers_parse(struct nm_message *m)
{
	static const enum nm_member objects[] = {NM_M_PEER_SEEN, NM_M_ONLINE};
	int error = 0;

	if (has(m, NM_M_PEERS))
		error = json_scan_elements(m->members[NM_M_PEERS], peer_take, m);
	if (error || m->peers.n)
		return error; // a complete list: other fields about peers do not count
	if (has(m, NM_M_PEERS_REMOVED))
		error = json_scan_elements(m->members[NM_M_PEERS_REMOVED], removed_take, m);
	if (!error && has(m, NM_M_PEERS_CHANGED))
		error = json_scan_elements(m->members[NM_M_PEERS_CHANGED], changed_take, m);
	for (size_t i = 0; !error && i < sizeof(objects) / sizeof(*objects); i++)
		if (has(m, objects[i]))
			error = json_scan_members(m->members[objects[i]], valid_member, NULL);
	if (!error && has(m, NM_M_PATCH))
		error = json_scan_elements(m->members[NM_M_PATCH], valid, NULL);
	return error;
}

struct derp_parts {
	struct slice regions, home, scores;
	bool omit;
};

static int derp_member(void *arg, struct slice name, struct slice value)
{
	struct derp_parts *p = arg;

	if (slice_is(value, "null"))
		return 0;
	if (slice_is(name, "Regions"))
		p->regions = value;
	else if (slice_is(name, "HomeParams"))
		p->home = value;
	else if (slice_is(name, "omitDefaultRegions"))
		p->omit = slice_is(value, "true");
	return 0;
}

static int home_member(void *arg, struct slice name, struct slice value)
{
	struct derp_parts *p = arg;

	if (slice_is(name, "RegionScore") && !slice_is(value, "null"))
		p->scores = value;
	return 0;
}

static struct slice slice_of(const char *text)
{
	return (struct slice){text, text ? strlen(text) : 0};
}

// Regions and RegionScore each replace what was there, or leave it when absent.
static int derp_parse(struct nm_message *m)
{
	const struct netmap *const nm = m->nm;
	struct derp_parts p = {0};
	int error = json_scan_members(m->members[NM_M_DERP_MAP], derp_member, &p);

	if (!error && p.home.len)
		error = json_scan_members(p.home, home_member, &p);
	if (error)
		return error;
	m->derp.omit_default_regions = p.regions.len ? p.omit : nm->derp.omit_default_regions;
	m->derp_regions = p.regions.len ? p.regions : slice_of(nm->derp_regions_text);
	m->derp_scores = p.scores.len ? p.scores : slice_of(nm->derp_home_text);
	return nm_derp_parse(
		&m->derp_arena, m->derp_regions, m->derp_scores, &m->derp, m->nm->skipped);
}

static int dns_parse(struct nm_message *m)
{
	json_t *const v = json_piece(m->members[NM_M_DNS]);
	const int error = v ? nm_dns_parse(&m->dns_arena, v, &m->dns, m->nm->skipped) : -EBADMSG;

	json_decref(v);
	return error;
}

static struct nm_rules *chunk_find(struct nm_message *m, struct slice name)
{
	for (size_t i = 0; i < m->n_filter; i++)
		if (slice_is(name, m->filter[i].name))
			return &m->filter[i];
	return NULL;
}

// A chunk of the filter replaces the one of its name; null takes it away.
static int chunk_take(void *arg, struct slice name, struct slice rules)
{
	struct nm_message *m = arg;
	struct nm_rules *r = chunk_find(m, name);

	if (name.len > CHUNK_NAME_MAX || m->n_filter == CHUNKS_MAX)
		return -E2BIG;
	if (slice_is(name, "*"))
		return slice_is(rules, "null") ? 0 : -EBADMSG; // has been seen to
	if (slice_is(rules, "null")) {
		if (r) {
			nm_rules_fini(r);
			*r = m->filter[--m->n_filter];
		}
		return 0;
	}
	if (r) {
		nm_rules_fini(r);
	} else {
		m->filter = realloc(m->filter, (m->n_filter + 1) * sizeof(*r));
		if (!m->filter)
			abort();
		r = &m->filter[m->n_filter++];
		*r = (struct nm_rules){0};
	}
	r->name = nm_slice_copy(name);
	r->text = nm_slice_copy(rules);
	return nm_rules_parse(r, rules, m->nm->skipped);
}

// "*": null clears before anything else, wherever it stands.
static int all_cleared(void *arg, struct slice name, struct slice value)
{
	bool *cleared = arg;

	*cleared |= slice_is(name, "*") && slice_is(value, "null");
	return 0;
}

// The chunks as they will be, from scratch for those that stay: rules are few and rarely change.
static int filter_parse(struct nm_message *m, bool full)
{
	const struct netmap *const nm = m->nm;
	bool cleared = full;
	int error = 0;

	if (has(m, NM_M_FILTERS))
		error = json_scan_members(m->members[NM_M_FILTERS], all_cleared, &cleared);
	for (size_t i = 0; !error && !cleared && i < nm->n_filter; i++)
		error = chunk_take(m, slice_of(nm->filter[i].name), slice_of(nm->filter[i].text));
	if (!error && has(m, NM_M_FILTER))
		error = chunk_take(m, slice_of("base"), m->members[NM_M_FILTER]);
	if (!error && has(m, NM_M_FILTERS))
		error = json_scan_members(m->members[NM_M_FILTERS], chunk_take, m);
	return error;
}

static int messages_parse(struct nm_message *m, bool full)
{
	const char *const before = full ? NULL : m->nm->messages;
	json_t *const patch = json_piece(m->members[NM_M_MESSAGES]), *v;
	const char *id;

	m->messages = before ? json_loads(before, 0, NULL) : json_object();
	if (!json_is_object(patch)) {
		json_decref(patch);
		return -EBADMSG;
	}
	if (json_is_null(json_object_get(patch, "*")))
		json_object_clear(m->messages);
	json_object_foreach(patch, id, v)
	{
		if (json_is_null(v))
			json_object_del(m->messages, id);
		else
			json_object_set(m->messages, id, v);
	}
	json_decref(patch);
	return json_object_size(m->messages) > NM_LIST_MAX ? -E2BIG : 0;
}

// Members that are kept or given on as they are.
static int texts_check(struct nm_message *m)
{
	static const struct {
		enum nm_member member;
		json_type type;
	} texts[] = {
		{NM_M_PING_REQUEST, JSON_OBJECT},
		{NM_M_POP_BROWSER, JSON_STRING},
		{NM_M_HEALTH, JSON_ARRAY},
		{NM_M_DIAL_PLAN, JSON_OBJECT},
		{NM_M_SSH_POLICY, JSON_OBJECT},
		{NM_M_DEBUG, JSON_OBJECT},
		{NM_M_DOMAIN, JSON_STRING},
		{NM_M_AUDIT_ID, JSON_STRING},
		{NM_M_CONTROL_TIME, JSON_STRING},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (!has(m, texts[i].member))
			continue;
		json_t *const v = json_piece(m->members[texts[i].member]);
		bool right = v && json_typeof(v) == texts[i].type;
		if (right && texts[i].member == NM_M_CONTROL_TIME)
			right = !time_parse(json_string_value(v), &m->control_time);
		json_decref(v);
		if (!right)
			return refuse(m->nm, -EBADMSG, "%s has a wrong type",
				member_names[texts[i].member]);
	}
	return 0;
}

int nm_message_parse(struct nm_message *m, struct slice text)
{
	struct netmap *const nm = m->nm;
	int error = json_scan_members(text, member_take, m);

	if (error)
		return refuse(nm, error, "a map response is no proper JSON");
	const bool keep_alive = slice_is(m->members[NM_M_KEEP_ALIVE], "true");
	const bool full = !keep_alive && !nm->streaming;
	error = texts_check(m);
	if (error || keep_alive)
		return error;
	if (has(m, NM_M_NODE) && self_parse(m))
		return refuse(nm, -EBADMSG, "Node has a wrong type");
	if (full && !m->self)
		return refuse(nm, -EPROTO, "the stream does not begin with our own node");
	error = peers_parse(m);
	if (error)
		return refuse(nm, error, "peers have a wrong type, or are too many");
	if (has(m, NM_M_USERS) && (error = json_scan_elements(m->members[NM_M_USERS], valid, NULL)))
		return refuse(nm, error, "UserProfiles has a wrong type");
	if (has(m, NM_M_DERP_MAP) && (error = derp_parse(m)))
		return refuse(nm, error, "DERPMap has a wrong type");
	if (has(m, NM_M_DNS) && (error = dns_parse(m)))
		return refuse(nm, error, "DNSConfig has a wrong type");
	if ((full || has(m, NM_M_FILTER) || has(m, NM_M_FILTERS)) &&
		(error = filter_parse(m, full)))
		return refuse(nm, error, "the packet filter has a wrong type");
	if (has(m, NM_M_MESSAGES) && (error = messages_parse(m, full)))
		return refuse(nm, error, "DisplayMessages has a wrong type");
	return 0;
}

static void nodes_free(struct nm_nodes *nodes)
{
	for (size_t i = 0; i < nodes->n; i++)
		free(nodes->list[i]);
	free(nodes->list);
}

void nm_message_fini(struct nm_message *m)
{
	free(m->self);
	nodes_free(&m->peers);
	nodes_free(&m->changed);
	free(m->removed.list);
	for (size_t i = 0; i < m->n_filter; i++)
		nm_rules_fini(&m->filter[i]);
	free(m->filter);
	arena_fini(&m->derp_arena);
	arena_fini(&m->dns_arena);
	json_decref(m->messages);
}
