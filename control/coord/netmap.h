// The netmap: what the coordination server says of ourselves, our peers, DERP regions, DNS and the
// packet filter. netmap_apply takes one MapResponse and says what changed, and nothing else, so
// that the tables change as little as possible. Pure: text and time in, structs and deltas out.
// [ctl]
//
// Source: tailscale tailcfg/tailcfg.go, control/controlclient/map.go; headscale hscontrol/mapper.
#pragma once

#include "control/coord/arena.h"
#include "dataplane/base/types.h"

enum {
	NM_PEERS_MAX = 50000,
	NM_USERS_MAX = 10000,
	NM_LIST_MAX = 4096, // addresses, endpoints, caps ... of one node
	NM_ERROR_LEN = 128,
	NM_APPS_MAX = 256,	  // entries of an app connector's capability
	NM_APP_LIST_MAX = 4096,	  // domains, routes, tags of one
	NM_SERVICES_MAX = 128,	  // that our node may host
	NM_SERVICE_ADDRS_MAX = 4, // of one
};

struct nm_cap {
	const char *name;
	const char *values; // JSON array, or NULL: null or none; present all the same
};

enum nm_online {
	NM_ONLINE_UNKNOWN,
	NM_OFFLINE,
	NM_ONLINE,
};

// A node as the server describes it; one block of memory, never changed once made. Texts may be
// NULL.
struct nm_node {
	int64_t id;
	int64_t user, sharer;
	int64_t key_expiry, created, last_seen; // seconds since 1970; 0: never, unknown
	const char *stable_id, *name;		// name: FQDN with its final dot
	struct key key, machine, disco;
	struct ip_prefix *addresses, *allowed_ips, *primary_routes;
	struct endpoint *endpoints;
	const char **tags;
	struct nm_cap *caps;  // by name
	const char *exit_dns; // ExitNodeDNSResolvers, JSON
	const char *key_signature, *audit_id;
	const char *os, *hostname, *version; // of Hostinfo
	uint32_t n_addresses, n_allowed_ips, n_primary_routes, n_endpoints, n_tags, n_caps;
	uint32_t home_derp, cap;
	uint16_t peerapi4, peerapi6;	 // ports; 0: none
	struct ip_addr masq_v4, masq_v6; // our address towards this peer; IP_NONE: as it is
	uint8_t online;			 // enum nm_online
	bool machine_authorized, expired, wg_only, jailed, unsigned_peerapi_only;
	bool peerapi_dns, peer_relay;
};

// Why a peer that is in the netmap gets no traffic.
enum nm_unusable {
	NM_USABLE,
	NM_NO_DISCO_KEY, // and not WireGuard-only
	NM_EXPIRED,
	NM_OWN_KEY,	 // has our own node key
	NM_SAME_KEY,	 // another peer has this key
	NM_SAME_ADDRESS, // another peer, or we, have one of its addresses
	NM_UNUSABLE_COUNT,
};

struct nm_peer {
	const struct nm_node *node;
	uint8_t unusable; // enum nm_unusable
	// Of netmap.c:
	uint8_t unusable_before;
	bool claimed;
	uint32_t place;
	uint32_t stamp;
	const struct nm_node *before;
};

// Bits of what changed in a node.
enum nm_field {
	NM_F_KEY = 1 << 0,
	NM_F_DISCO = 1 << 1,
	NM_F_ADDRESSES = 1 << 2,
	NM_F_ALLOWED_IPS = 1 << 3, // with PrimaryRoutes
	NM_F_ENDPOINTS = 1 << 4,
	NM_F_HOME_DERP = 1 << 5,
	NM_F_ONLINE = 1 << 6, // with LastSeen
	NM_F_EXPIRY = 1 << 7, // KeyExpiry, Expired
	NM_F_CAPS = 1 << 8,   // Cap, CapMap
	NM_F_NAME = 1 << 9,   // Name, StableID, User, Tags
	NM_F_MASQ = 1 << 10,
	NM_F_FLAGS = 1 << 11,	 // MachineAuthorized, IsWireGuardOnly, IsJailed ...
	NM_F_HOSTINFO = 1 << 12, // what is kept of it
	NM_F_OTHER = 1 << 13,	 // signatures, audit IDs, exit DNS
	NM_F_USABLE = 1 << 14,	 // nm_peer.unusable
};

enum nm_change {
	NM_ADDED,
	NM_REMOVED,
	NM_CHANGED,
};

struct nm_peer_delta {
	int64_t id;
	enum nm_change change;
	uint32_t fields;	    // enum nm_field; of NM_CHANGED
	struct key key_before;	    // of NM_REMOVED and NM_CHANGED
	const struct nm_peer *peer; // NULL: removed
};

// Bits of what else changed.
enum nm_part {
	NM_SELF = 1 << 0,
	NM_DERP_MAP = 1 << 1,
	NM_DNS = 1 << 2,
	NM_FILTER = 1 << 3,
	NM_USERS = 1 << 4,
	NM_HEALTH = 1 << 5,
	NM_MESSAGES = 1 << 6,
	NM_DOMAIN = 1 << 7,
	NM_CLOCK = 1 << 8,
	NM_DIAL_PLAN = 1 << 9,
	NM_SSH_POLICY = 1 << 10,
};

// What one message did. Valid until the next call on the same netmap.
struct netmap_delta {
	uint32_t parts;	       // enum nm_part
	uint32_t self_fields;  // enum nm_field
	bool keep_alive, full; // full: first message of a stream
	const struct nm_peer_delta *peers;
	size_t n_peers;
	const char *ping_request; // JSON, answer it (skip a repeated URL)
	const char *pop_browser_url;
	double sleep_s; // Debug.SleepSeconds, at most 300
};

struct nm_derp_node {
	const char *name, *host, *cert; // cert: CertName, or NULL
	const char *ipv4, *ipv6;	// NULL: by DNS; "none": off
	int stun_port;			// 0: none
	uint16_t derp_port;
	bool stun_only, port_80, insecure;
};

struct nm_derp_region {
	uint32_t id;
	const char *code, *name;
	bool avoid, no_measure_no_home;
	double score; // 0: none
	struct nm_derp_node *nodes;
	uint32_t n_nodes;
};

struct nm_derp_map {
	struct nm_derp_region *regions; // by ID; without null ones
	uint32_t n_regions;
	bool omit_default_regions;
};

struct nm_dns_list {
	const char *suffix; // of Routes; NULL for the plain resolvers
	const char **addresses;
	bool *with_exit_node; // asked although an exit node is in use
	uint32_t n;	      // 0: answer locally
};

struct nm_dns_record {
	const char *name, *type, *value; // type NULL: address
};

struct nm_dns {
	struct nm_dns_list resolvers, fallback;
	struct nm_dns_list *routes;
	const char **domains, **cert_domains, **exit_filtered;
	struct nm_dns_record *records;
	uint32_t n_routes, n_domains, n_cert_domains, n_exit_filtered, n_records;
	bool proxied; // MagicDNS
};

enum nm_match {
	NM_MATCH_ANY,
	NM_MATCH_RANGE, // first..last, of one family; prefixes as well
	NM_MATCH_CAP,	// node of the source has cap
};

struct nm_source {
	enum nm_match match;
	struct ip_addr first, last;
	const char *cap;
};

struct nm_destination {
	enum nm_match match;
	struct ip_addr first, last;
	uint16_t port_first, port_last;
};

struct nm_grant {
	struct ip_prefix *destinations;
	struct nm_cap *caps;
	uint32_t n_destinations, n_caps;
};

struct nm_rule {
	struct nm_source *sources;
	struct nm_destination *destinations;
	struct nm_grant *grants;
	uint8_t *protocols; // none: TCP, UDP, ICMP, ICMPv6
	uint32_t n_sources, n_destinations, n_grants, n_protocols;
	uint32_t number; // in the chunk as it came, from 1
};

struct nm_rules { // one chunk of the filter
	char *name;
	char *text; // as it came, for netmap_dump
	struct arena arena;
	struct nm_rule *rules;
	uint32_t n_rules;
};

struct nm_user {
	int64_t id;
	char *login, *name, *picture; // may be NULL
};

// Counters of what was skipped, by reason.
enum nm_skip {
	NM_SKIP_TYPE,	      // a node with a member of wrong type or too many of them
	NM_SKIP_ID,	      // no ID, or ours
	NM_SKIP_SELF,	      // a self node without address or with another key
	NM_SKIP_SELF_REMOVED, // we ourselves were to be removed
	NM_SKIP_TOO_MANY,     // peers over NM_PEERS_MAX
	NM_SKIP_UNKNOWN,      // a patch for an unknown peer
	NM_SKIP_PATCH,	      // a patch with a wrong type
	NM_SKIP_RULE,	      // a part of a filter rule
	NM_SKIP_REGION,	      // a DERP region or node
	NM_SKIP_DNS,
	NM_SKIP_USER,
	NM_SKIP_COUNT,
};

struct nm_index;

// Read only outside netmap*.c.
struct netmap {
	struct key own_key;
	bool streaming;		    // the stream's first message has come
	bool own_key_changed;	    // since the last message
	bool ready;		    // a netmap is there, even if from an earlier stream or the disk
	const struct nm_node *self; // NULL before the first message
	struct nm_peer **peers;	    // any order
	size_t n_peers, peers_room;
	struct nm_derp_map derp;
	struct nm_dns dns;
	struct nm_rules *filter; // by name; no chunk at all: everything is denied
	size_t n_filter;
	struct nm_user *users;
	size_t n_users, users_room;
	const char *health, *messages; // JSON: array; object by ID. NULL: nothing
	const char *domain, *audit_id, *dial_plan, *ssh_policy;
	int64_t clock_offset_s; // add to our clock for the server's; 0 when within a minute
	uint64_t skipped[NM_SKIP_COUNT];
	char error[NM_ERROR_LEN];
	// Of netmap*.c:
	struct arena derp_arena, dns_arena, scratch;
	char *derp_regions_text, *derp_home_text, *dns_text;
	struct nm_index *index;
	struct nm_peer_delta *deltas;
	struct nm_peer **touched;
	size_t n_touched, touched_room;
	uint32_t stamp;
	size_t n_conflicts;
	char *ping_request, *pop_browser_url;
};

// own_key: our public node key. Never NULL.
struct netmap *netmap_create(const struct key *own_key);
void netmap_destroy(struct netmap *);
// After a rotation: the server's self nodes now have this key.
void netmap_own_key(struct netmap *, const struct key *own_key);
// A new stream begins, or one after the netmap from the disk: the first message has our own node
// and everybody; peers, filter, health and messages that it lacks are gone, the rest (DERP map, DNS
// ...) stays until it is replaced. Until that message the old netmap stays as a whole.
void netmap_stream_start(struct netmap *);

// Take one MapResponse. now_s: our clock, seconds since 1970. 0, or -errno and nothing changed
// (netmap.error says why): -EBADMSG broken JSON or a wrong type at the first level, -ELOOP nested
// too deep, -EPROTO the first message of a stream without an own node, -E2BIG a part over its
// bound. Bad nodes, rules and regions are skipped alone and counted.
int netmap_apply(struct netmap *, const char *text, size_t len, int64_t now_s,
	struct netmap_delta *out) must_check;
// Peers whose key expires by now_s (our clock) become unusable, which the delta says.
void netmap_expire(struct netmap *, int64_t now_s, struct netmap_delta *out);

// NULL when unknown.
const struct nm_peer *netmap_peer(const struct netmap *, int64_t id);
const struct nm_peer *netmap_peer_by_key(const struct netmap *, const struct key *);
// The peer that has this address as its own; NULL: none. A host route in AllowedIPs may go
// to another peer only when this is NULL and the address is not ours.
const struct nm_peer *netmap_peer_by_addr(const struct netmap *, const struct ip_addr *);
// How many peers know this node by an address that is none of its own; *first: one of them.
size_t netmap_masqueraded(const struct netmap *, const struct nm_peer **first);
const struct nm_cap *nm_node_cap(const struct nm_node *, const char *name); // NULL: has not
const char *nm_unusable_text(enum nm_unusable);

// Domains that connectors with one of these tags stand for ("*": all of them), and networks.
struct nm_app {
	const char *name;
	const char **domains, **connectors;
	struct ip_prefix *routes;
	uint32_t n_domains, n_connectors, n_routes;
};
// A service that nodes may host: it has addresses of its own.
struct nm_service {
	const char *name; // "svc:web"
	struct ip_addr *addrs;
	uint32_t n_addrs;
};
// What the node's capabilities say of app connectors and of services; node may be NULL. All in the
// arena; how many. Entries of a wrong type, or too many, are left out and counted.
uint32_t nm_apps_read(
	struct arena *, const struct nm_node *, struct nm_app **out, uint64_t *skipped);
uint32_t nm_services_read(
	struct arena *, const struct nm_node *, struct nm_service **out, uint64_t *skipped);
bool nm_service_name_valid(const char *name); // "svc:" and a DNS label
const char *nm_skip_text(enum nm_skip);	      // name of the counter

// The netmap as one MapResponse that netmap_apply takes at the next start, but for who is online,
// which nobody knows then; free it. NULL
// before the first message.
char *netmap_dump(const struct netmap *, size_t *len);
