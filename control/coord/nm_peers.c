// What a message does to the peers, who may use a key or an address, and the delta of it.
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

static void free_const(const void *p)
{
	free((void *)p);
}

// Peers. Each that a message touches is remembered with what it was before; the delta is made at
// the end, from before and after.

void nm_touch(struct netmap *nm, struct nm_peer *p)
{
	if (p->stamp == nm->stamp)
		return;
	p->stamp = nm->stamp;
	p->before = p->node;
	p->unusable_before = p->unusable;
	nm->touched =
		nm_room_for(nm->touched, nm->n_touched, &nm->touched_room, sizeof(*nm->touched));
	nm->touched[nm->n_touched++] = p;
}

// node NULL: remove.
static void peer_set(struct netmap *nm, struct nm_peer *p, const struct nm_node *node)
{
	nm_touch(nm, p);
	if (p->node != p->before)
		free_const(p->node);
	p->node = node;
}

static struct nm_peer *peer_find(const struct netmap *nm, int64_t id)
{
	return (struct nm_peer *)netmap_peer(nm, id);
}

// The node belongs to the netmap from here on.
static void peer_upsert(struct netmap *nm, struct nm_node *node)
{
	const struct nm_name name = nm_name_of(NM_CLAIM_ID, &node->id, sizeof(node->id));
	struct nm_peer *p = nm_index_get(nm->index, &name);

	if (!p && nm->n_peers >= NM_PEERS_MAX) {
		nm->skipped[NM_SKIP_TOO_MANY]++;
		free(node);
		return;
	}
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			abort();
		nm->peers =
			nm_room_for(nm->peers, nm->n_peers, &nm->peers_room, sizeof(*nm->peers));
		p->place = (uint32_t)nm->n_peers;
		nm->peers[nm->n_peers++] = p;
		nm_index_put(nm->index, &name, p);
	}
	peer_set(nm, p, node);
}

static void nodes_take(struct netmap *nm, struct nm_nodes *nodes)
{
	for (size_t i = 0; i < nodes->n; i++)
		peer_upsert(nm, nodes->list[i]);
	nodes->n = 0;
}

static void patch_apply(struct netmap *nm, const json_t *v)
{
	struct json_object o = json_open(v);
	const int64_t id = json_number(&o, "NodeID", 0, INT64_MAX);
	struct nm_peer *const p = o.bad ? NULL : peer_find(nm, id);

	if (!p || !p->node) {
		nm->skipped[o.bad ? NM_SKIP_PATCH : NM_SKIP_UNKNOWN]++;
		return;
	}
	struct nm_node *const node = nm_node_patch(&nm->scratch, p->node, &o);
	arena_reset(&nm->scratch);
	if (node)
		peer_set(nm, p, node);
	else
		nm->skipped[NM_SKIP_PATCH]++;
}

static int patch_take(void *arg, struct slice value)
{
	json_t *const v = json_piece(value);

	patch_apply(arg, v);
	json_decref(v);
	return 0;
}

struct flag_change {
	struct nm_message *m;
	bool online; // OnlineChange; else PeerSeenChange
};

static int flag_take(void *arg, struct slice name, struct slice value)
{
	const struct flag_change *const c = arg;
	struct netmap *const nm = c->m->nm;
	char id[24] = "", *end;
	const bool on = slice_is(value, "true");

	if (name.len < sizeof(id))
		memcpy(id, name.text, name.len);
	struct nm_peer *const p = peer_find(nm, strtoll(id, &end, 10));
	if (*end || (!on && !slice_is(value, "false"))) {
		nm->skipped[NM_SKIP_PATCH]++;
		return 0;
	}
	if (!p || !p->node) {
		nm->skipped[NM_SKIP_UNKNOWN]++;
		return 0;
	}
	struct nm_node draft = *p->node;
	if (c->online)
		draft.online = on ? NM_ONLINE : NM_OFFLINE;
	else
		draft.last_seen = on ? c->m->now_s + nm->clock_offset_s : 0;
	peer_set(nm, p, nm_node_freeze(&draft));
	return 0;
}

// The message has been checked: the scans cannot fail any more.
void nm_peers_apply(struct nm_message *m, bool full)
{
	struct netmap *const nm = m->nm;
	const bool listed = m->peers.n; // then other fields about peers do not count

	if (full || listed) {
		nodes_take(nm, &m->peers);
		for (size_t i = 0; i < nm->n_peers; i++)
			if (nm->peers[i]->stamp != nm->stamp)
				peer_set(nm, nm->peers[i], NULL);
	}
	if (listed)
		return;
	for (size_t i = 0; i < m->removed.n; i++) {
		struct nm_peer *const p = peer_find(nm, m->removed.list[i]);
		if (p)
			peer_set(nm, p, NULL);
	}
	nodes_take(nm, &m->changed);
	struct flag_change change = {.m = m};
	if (m->members[NM_M_PEER_SEEN].len)
		(void)!json_scan_members(m->members[NM_M_PEER_SEEN], flag_take, &change);
	change.online = true;
	if (m->members[NM_M_ONLINE].len)
		(void)!json_scan_members(m->members[NM_M_ONLINE], flag_take, &change);
	if (m->members[NM_M_PATCH].len)
		(void)!json_scan_elements(m->members[NM_M_PATCH], patch_take, nm);
}

// Claims: a key and an address belong to one usable node. Who has one keeps it.

static bool is_own_address(const struct netmap *nm, const struct ip_addr *a)
{
	for (uint32_t i = 0; nm->self && i < nm->self->n_addresses; i++)
		if (ip_addr_equal(&nm->self->addresses[i].addr, a))
			return true;
	return false;
}

static void claims_release(struct netmap *nm, struct nm_peer *p, const struct nm_node *node)
{
	struct nm_name name = nm_name_of(NM_CLAIM_KEY, node->key.bytes, KEY_LEN);

	nm_index_remove(nm->index, &name, p);
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		name = nm_name_of_addr(&node->addresses[i].addr);
		nm_index_remove(nm->index, &name, p);
	}
	p->claimed = false;
}

// NM_USABLE: it could have all of them.
static enum nm_unusable claims_check(const struct netmap *nm, const struct nm_peer *p)
{
	const struct nm_node *const node = p->node;
	const struct nm_peer *other = netmap_peer_by_key(nm, &node->key);

	if (!memcmp(&node->key, &nm->own_key, KEY_LEN))
		return NM_OWN_KEY;
	if (other && other != p)
		return NM_SAME_KEY;
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		other = netmap_peer_by_addr(nm, &node->addresses[i].addr);
		if ((other && other != p) || is_own_address(nm, &node->addresses[i].addr))
			return NM_SAME_ADDRESS;
	}
	return NM_USABLE;
}

static void claims_take(struct netmap *nm, struct nm_peer *p)
{
	const struct nm_node *const node = p->node;
	struct nm_name name = nm_name_of(NM_CLAIM_KEY, node->key.bytes, KEY_LEN);

	nm_index_put(nm->index, &name, p);
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		name = nm_name_of_addr(&node->addresses[i].addr);
		nm_index_put(nm->index, &name, p);
	}
	p->claimed = true;
}

static bool is_conflict(enum nm_unusable why)
{
	return why == NM_OWN_KEY || why == NM_SAME_KEY || why == NM_SAME_ADDRESS;
}

static void peer_judge(struct netmap *nm, struct nm_peer *p, int64_t server_now_s)
{
	const struct nm_node *const node = p->node;
	enum nm_unusable why = p->claimed ? NM_USABLE : claims_check(nm, p);

	if (why == NM_USABLE && !p->claimed)
		claims_take(nm, p);
	if (why == NM_USABLE && key_is_zero(&node->disco) && !node->wg_only)
		why = NM_NO_DISCO_KEY;
	if (why == NM_USABLE &&
		(node->expired || (node->key_expiry && node->key_expiry <= server_now_s)))
		why = NM_EXPIRED;
	p->unusable = (uint8_t)why;
}

// Let go of what touched peers do not have any more; whether something has become free.
static bool claims_settle(struct netmap *nm, bool all)
{
	bool freed = all;

	for (size_t i = 0; all && i < nm->n_peers; i++)
		nm_touch(nm, nm->peers[i]);
	for (size_t i = 0; i < nm->n_touched; i++) {
		struct nm_peer *const p = nm->touched[i];
		const uint32_t both = NM_F_KEY | NM_F_ADDRESSES;
		if (!p->claimed || (!all && p->node && p->before &&
					   !(nm_node_diff(p->before, p->node) & both)))
			continue;
		claims_release(nm, p, p->before);
		freed = true;
	}
	return freed;
}

void nm_peers_judge(struct netmap *nm, int64_t server_now_s, bool all)
{
	if (claims_settle(nm, all) && nm->n_conflicts)
		for (size_t i = 0; i < nm->n_peers; i++)
			if (is_conflict(nm->peers[i]->unusable))
				nm_touch(nm, nm->peers[i]);
	// In a list of everybody those that had their claims come before those that want them.
	for (size_t i = 0; i < nm->n_touched; i++) {
		struct nm_peer *const p = nm->touched[i];
		if (p->node && p->before && !is_conflict(p->unusable_before))
			peer_judge(nm, p, server_now_s);
	}
	for (size_t i = 0; i < nm->n_touched; i++) {
		struct nm_peer *const p = nm->touched[i];
		if (p->node && !(p->before && !is_conflict(p->unusable_before)))
			peer_judge(nm, p, server_now_s);
		nm->n_conflicts -= p->before && is_conflict(p->unusable_before);
		nm->n_conflicts += p->node && is_conflict(p->unusable);
	}
}

void nm_delta_start(struct netmap *nm)
{
	nm->stamp++;
	nm->n_touched = 0;
}

static void peer_forget(struct netmap *nm, struct nm_peer *p, int64_t id)
{
	const struct nm_name name = nm_name_of(NM_CLAIM_ID, &id, sizeof(id));

	nm_index_remove(nm->index, &name, p);
	nm->peers[p->place] = nm->peers[--nm->n_peers];
	nm->peers[p->place]->place = p->place;
	free(p);
}

// What became of each touched peer; frees what was before.
void nm_delta_finish(struct netmap *nm, struct netmap_delta *out)
{
	free(nm->deltas);
	nm->deltas = calloc(nm->n_touched + 1, sizeof(*nm->deltas));
	if (!nm->deltas)
		abort();
	out->peers = nm->deltas;
	for (size_t i = 0; i < nm->n_touched; i++) {
		struct nm_peer *const p = nm->touched[i];
		const struct nm_node *const before = p->before;
		struct nm_peer_delta d = {.peer = p->node ? p : NULL, .change = NM_ADDED};
		d.id = p->node ? p->node->id : before->id;
		if (before) {
			d.change = p->node ? NM_CHANGED : NM_REMOVED;
			d.key_before = before->key;
		}
		if (d.change == NM_CHANGED)
			d.fields = nm_node_diff(before, p->node) |
				   (p->unusable != p->unusable_before ? NM_F_USABLE : 0);
		if (d.change != NM_CHANGED || d.fields)
			nm->deltas[out->n_peers++] = d;
		if (before != p->node)
			free_const(before);
		p->before = NULL;
		if (!p->node)
			peer_forget(nm, p, d.id);
	}
	nm->n_touched = 0;
}
