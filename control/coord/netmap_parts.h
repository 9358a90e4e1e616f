// Inside of the netmap: its parts, each from JSON to structs. Only netmap*.c and nm_*.c include
// this.
#pragma once

#include "control/coord/json.h"
#include "control/coord/netmap.h"

#define NM_NODE_KEY "nodekey:"
#define NM_MACHINE_KEY "mkey:"
#define NM_DISCO_KEY "discokey:"

// Parse a node. The result is one block, free() it; NULL: wrong types or too many of something.
struct nm_node *nm_node_parse(struct arena *scratch, const json_t *value);
// Copy all of a draft into one block; caps sorted by name. scratch may hold what draft points to.
struct nm_node *nm_node_freeze(const struct nm_node *draft);
// PeersChangedPatch: the node with what the patch has. NULL: wrong types.
struct nm_node *nm_node_patch(
	struct arena *scratch, const struct nm_node *old, struct json_object *patch);
uint32_t nm_node_diff(const struct nm_node *a, const struct nm_node *b);
// {name: [values]|null} to caps in the arena.
struct nm_cap *nm_caps_parse(struct arena *, const json_t *object, uint32_t *n);

// An array of texts, each given to parse, to n elements of size in the arena. NULL: none. Wrong
// types, more than max, a text that is refused: o->bad. parse: 0, -EAGAIN to leave the text out, or
// -errno.
typedef int (*nm_text_fn)(struct arena *, const char *text, void *out);
void *nm_texts_parse(struct arena *, struct json_object *o, const char *name, uint32_t max,
	size_t size, nm_text_fn parse, uint32_t *n);
int nm_text_to_prefix(struct arena *, const char *text, void *out);

// DERPMap.Regions (JSON object) and HomeParams.RegionScore (object or NULL) to structs in the
// arena. 0 or -EBADMSG.
int nm_derp_parse(struct arena *, struct slice regions, struct slice scores,
	struct nm_derp_map *out, uint64_t *skipped) must_check;
int nm_dns_parse(
	struct arena *, const json_t *value, struct nm_dns *out, uint64_t *skipped) must_check;
// An array of rules; r->arena takes them. 0 or -errno.
int nm_rules_parse(struct nm_rules *r, struct slice array, uint64_t *skipped) must_check;
void nm_rules_fini(struct nm_rules *);

// Who has an ID, a key, an address. Keyed hash: a server cannot choose what collides.
enum nm_claim {
	NM_CLAIM_ID = 1,
	NM_CLAIM_KEY,
	NM_CLAIM_ADDRESS,
};

struct nm_name {
	uint8_t bytes[1 + KEY_LEN];
};

struct nm_name nm_name_of(enum nm_claim, const void *bytes, size_t len);
struct nm_name nm_name_of_addr(const struct ip_addr *);
struct nm_index *nm_index_create(void);
void nm_index_destroy(struct nm_index *);
struct nm_peer *nm_index_get(const struct nm_index *, const struct nm_name *);
void nm_index_put(struct nm_index *, const struct nm_name *, struct nm_peer *);
// Only if it is this peer's.
bool nm_index_remove(struct nm_index *, const struct nm_name *, const struct nm_peer *);

// Members of a MapResponse that count here.
enum nm_member {
	NM_M_KEEP_ALIVE,
	NM_M_PING_REQUEST,
	NM_M_POP_BROWSER,
	NM_M_NODE,
	NM_M_PEERS,
	NM_M_PEERS_REMOVED,
	NM_M_PEERS_CHANGED,
	NM_M_PEER_SEEN,
	NM_M_ONLINE,
	NM_M_PATCH,
	NM_M_DERP_MAP,
	NM_M_DNS,
	NM_M_FILTER,
	NM_M_FILTERS,
	NM_M_USERS,
	NM_M_HEALTH,
	NM_M_MESSAGES,
	NM_M_CONTROL_TIME,
	NM_M_DIAL_PLAN,
	NM_M_DEBUG,
	NM_M_DOMAIN,
	NM_M_AUDIT_ID,
	NM_M_SSH_POLICY,
	NM_M_COUNT,
};

struct nm_nodes {
	struct nm_node **list;
	size_t n, room;
};

struct nm_ids {
	int64_t *list;
	size_t n, room;
};

// One message, parsed as a whole before anything of it is applied.
struct nm_message {
	struct netmap *nm;
	struct slice members[NM_M_COUNT]; // without null ones
	int64_t now_s;
	struct nm_node *self; // NULL: none, or not acceptable
	struct nm_nodes peers, changed;
	struct nm_ids removed;
	struct slice derp_regions, derp_scores; // what is kept of DERPMap
	struct nm_derp_map derp;
	struct arena derp_arena, dns_arena;
	struct nm_dns dns;
	struct nm_rules *filter; // as it will be; chunks that stay are marked by name alone
	size_t n_filter;
	json_t *messages; // DisplayMessages as they will be
	int64_t control_time;
};

// 0 or -errno as netmap_apply; counters of skipped things are all that it changes in the netmap.
int nm_message_parse(struct nm_message *, struct slice text) must_check;
// Frees what has not been taken out.
void nm_message_fini(struct nm_message *);

void *nm_room_for(void *list, size_t n, size_t *room, size_t size);
char *nm_slice_copy(struct slice);

// nm_peers.c: a message touches peers, they are judged, the delta says what became of each.
void nm_delta_start(struct netmap *);
void nm_touch(struct netmap *, struct nm_peer *);
void nm_peers_apply(struct nm_message *, bool full);
// all: also those that were not touched, because our own key or addresses are others now.
void nm_peers_judge(struct netmap *, int64_t server_now_s, bool all);
void nm_delta_finish(struct netmap *, struct netmap_delta *out);
