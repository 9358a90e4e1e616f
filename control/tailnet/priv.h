// What the files of control/tailnet share.
#pragma once

#include "control/net/echo.h"
#include "control/path/derp_pool.h"
#include "control/path/mesh.h"
#include "control/tailnet/hooks.h"
#include "control/tailnet/learned.h"
#include "control/tailnet/reach.h"
#include "dataplane/base/clock.h"

enum {
	TN_ENDPOINTS_MAX = 32,
	TN_LISTENERS_MAX = 64,
	TN_WAITERS_MAX = 16,
	TN_HEALTH_MAX = 8,
	TN_HEALTH_LEN = COORD_TEXT_LEN + 32,
	TN_PINGS_MAX = 32,
	TN_SERVICES_MAX = 3, // that other nodes are told of
	TN_VIPS_MAX = NM_SERVICES_MAX * NM_SERVICE_ADDRS_MAX,
	TN_SETTLE_MS = 20, // changes of one burst become one change of routes and filter
	TN_NETMAP_SAVE_S = 5,
	TN_NETMAP_SAVE_SHARE = 100, // of the time goes into saving: one in so many
};

struct tailnet_listener {
	struct tailnet *t;
	void (*fn)(void *arg, unsigned changes);
	void *arg;
	struct tailnet_listener *next;
};

struct tn_waiter { // for a report
	void (*done)(void *arg, const struct netcheck_report *);
	void *arg;
};

struct tn_echo { // of netcheck, not answered yet
	uint32_t region;
	uint16_t seq;
	struct ip_addr to;
	uint64_t sent_ns;
};

struct tn_probe; // one, of probes.c
struct tn_ping;	 // one that has not been answered, of ping.c

// What is in the kernel now: routes through the TUN, addresses on it.
struct tn_list { // of prefixes
	struct ip_prefix *at;
	uint32_t n, room;
};

struct tn_networks { // that we stand for
	struct ip_prefix *at;
	uint8_t *source;    // of each, enum tailnet_network_source
	uint32_t n, n_apps; // the last of them are the app connector's
};

struct tn_kernel { // all sorted
	struct tn_list routes;
	struct tn_list throws;	 // networks beside the tunnel that a route into it covers
	struct tn_list attached; // networks of the machine when that was seen last
	struct tn_list addresses;
	struct tn_list announced; // in announce_table
	bool ruled;		  // ip rules ask our table
};

struct tailnet { // ctl only
	struct tailnet_params params;
	char state_dir[1024];
	struct persist_state persist;
	struct prefs *prefs;
	struct netmap *netmap;
	struct netmap *none; // what others see when logged out
	struct net *net;
	struct coord_client *coord;
	struct mesh *mesh;
	struct derp_pool *derp;
	struct netcheck *netcheck;
	struct portmap *portmap;

	enum tailnet_state state;
	bool active;	    // the data plane has the netmap
	bool login_runs;    // one that the user asked for
	char auth_key[256]; // of the start just now; ""
	uint64_t auth_key_until_ns;
	bool auth_key_first;		   // it was given to a node without a key
	bool stale;			   // the netmap is of a login that ended
	struct key node_private, node_key; // that peers know; the second is public
	struct key derp_from;		   // of the packet being worked off
	struct tailnet_listener *listeners;
	unsigned n_listeners;
	unsigned pending_changes; // enum tailnet_change, told when settled
	struct event *settle, *second, *netcheck_event, *save;
	struct event *rules_again; // ip rules that somebody deleted
	int64_t exit_id;	   // node that our routes and peers know as exit node; 0: none
	char exit_suggested[64];   // stable ID of the last suggestion; ""
	bool routes_dirty, filter_dirty, relays_dirty;
	bool settle_full; // a whole netmap is among them
	struct tailnet_times times;
	bool networks_dirty;  // the machine's own: the default route stands for the rest
	bool network_changed; // addresses, links or routes, since it last settled
	struct tn_kernel kernel;

	// self.c
	struct hostinfo hostinfo;
	struct netinfo netinfo;
	struct hostinfo_latency latencies[NETCHECK_REGIONS_MAX * 2];
	char version[64], hostname[256], os_version[128], distro[64];
	struct map_endpoint endpoints[TN_ENDPOINTS_MAX];
	size_t n_endpoints;
	uint64_t endpoints_ns; // when STUN last said them; 0: never

	struct tn_appc *connector;
	struct tn_services *hosted;

	// offer.c
	struct tn_networks networks;
	struct learned learned;
	uint32_t learned_generation; // of the mirror, that it has seen
	struct ip_prefix *offered;   // the networks that the server is told of
	uint32_t n_offered;
	bool draining;
	bool stood_by;	   // another one served the first network, when the netmap last settled
	uint64_t doubt_ns; // when the server is asked whether we serve now; 0: no doubt
	struct reach *reach;

	// net.c
	uint64_t next_netcheck_ns;
	bool check_again; // the network changed while a report was under way
	bool restun;	  // the mesh wants fresh endpoints
	struct tn_waiter waiters[TN_WAITERS_MAX];
	unsigned n_waiters;
	uint16_t home;

	struct tn_probe *probes;
	struct echo *echo, *netcheck_echo; // NULL: nothing waits
	uint16_t echo_seq;
	struct tn_echo echoes[NETCHECK_REGIONS_MAX];
	unsigned n_echoes;
	struct evdns_base *dns; // made when it is needed
	struct dns *names;	// the resolver
	struct peerapi *peerapi;
	struct netfilter *firewall; // NULL: never needed
	struct hostinfo_service services[TN_SERVICES_MAX];
	struct tn_ping *pings;
	unsigned n_pings;
	char health_text[TN_HEALTH_MAX][TN_HEALTH_LEN];
	const char *health[TN_HEALTH_MAX];
};

uint64_t tn_now_ns(void *t); // monotonic, of the workers' clock
// ns of tn_now_ns to nanoseconds since 1970; 0 stays.
uint64_t tn_unix_of(const struct tailnet *, uint64_t ns);

// tailnet.c
void tn_changed(struct tailnet *, unsigned changes);
void tn_evaluate(struct tailnet *); // the state, and what follows from it
int tn_save_state(struct tailnet *);
// user.c
bool tn_wants_up(const struct tailnet *);
void tn_login(struct tailnet *, const char *auth_key, bool interactive);
void tn_forget_auth_key(struct tailnet *);
void tn_own_key(struct tailnet *); // node_key of persist
int tn_coord_save(void *t);
void tn_coord_changed(void *t);
// map.c: the netmap to the tables.
void tn_map(void *t, const struct netmap_delta *);
void tn_up(struct tailnet *);	       // all of it
void tn_down(struct tailnet *);	       // nothing of it
void tn_map_settled(struct tailnet *); // a burst of changes is over
void tn_peers_again(struct tailnet *); // prefs that concern peers changed
// An address of this node; the second also one of a service that it hosts.
bool tn_is_node_address(const struct tailnet *, const struct ip_addr *);
bool tn_is_own(const struct tailnet *, const struct ip_addr *);
// offer.c: which networks we stand for, and which of them we offer.
void tn_offer_update(struct tailnet *); // a source of networks, or a reason not to offer, changed
void tn_networks_free(struct tn_networks *);
void tn_learned_tick(struct tailnet *);
void tn_offer_settle(struct tailnet *); // the netmap changed: who serves our networks?
void tn_offer_tick(struct tailnet *);
bool tn_is_answered_through(const struct tailnet *); // peers take from us what hosts there send
void tn_reach_changed(void *t);
// appc_node.c: the app connector.
int tn_appc_create(struct tailnet *) must_check;
void tn_appc_destroy(struct tailnet *);
void tn_appc_settle(struct tailnet *); // settings, our capabilities or the configuration changed
// What is to be advertised of it: sorted, and what none of these has but default routes.
const struct ip_prefix *tn_appc_networks(
	struct tailnet *, const struct ip_prefix *others, uint32_t n_others, uint32_t *n);
// The same of a list, in place; how many are left.
uint32_t tn_appc_sweep(
	const struct ip_prefix *set, uint32_t n_set, struct ip_prefix *apps, uint32_t n);
char *tn_appc_answer(struct tailnet *); // to the server; free it
// services_node.c: services that we host.
void tn_services_create(struct tailnet *);
void tn_services_destroy(struct tailnet *);
void tn_services_read(struct tailnet *); // our capabilities changed
bool tn_is_vip(const struct tailnet *, const struct ip_addr *);
// Their addresses; out has room for TN_VIPS_MAX.
uint32_t tn_vips(const struct tailnet *, struct ip_prefix *out);
uint32_t tn_services_nat(const struct tailnet *, struct nat_service *out); // NAT_SERVICES_MAX
const char *tn_services_mark(struct tailnet *);				   // ServicesHash
char *tn_services_answer(struct tailnet *);				   // to the server; free it
const char *tn_services_orphan(const struct tailnet *); // one without address; NULL: none
// nat.c: the workers' address translation as it follows from all that.
void tn_nat_apply(struct tailnet *);
// routes.c: addresses and routes of the TUN as the netmap wants them.
void tn_routes_apply(struct tailnet *);
void tn_routes_clear(struct tailnet *);
void tn_routes_forget(struct tailnet *);    // the kernel has lost them
void tn_routes_settle(struct tailnet *);    // who serves our networks may be another one
void tn_routes_networks(struct tailnet *);  // the machine's networks may have changed
bool tn_is_tailnet(const struct ip_addr *); // of the range of nodes' own addresses
bool tn_route_wanted(const struct tailnet *, const struct nm_peer *, const struct ip_prefix *);
// lookup.c: ip rules that make the kernel ask our table.
int tn_lookup_init(struct tailnet *) must_check; // also clears what one left that was killed
void tn_lookup_set(struct tailnet *, bool on);
// exit.c: the exit node that we use.
bool tn_uses_exit(const struct prefs *);
const struct nm_peer *tn_exit_peer(const struct tailnet *); // NULL: none, or not known
// Prefs, peers, routes or latencies changed: which one it is may have, too.
void tn_exit_settle(struct tailnet *);
// firewall.c
void tn_firewall_settle(struct tailnet *); // prefs, the TUN or whether we are up changed
// peerapi_node.c
int tn_peerapi_create(struct tailnet *) must_check;
void tn_peerapi_settle(struct tailnet *); // our addresses, or the TUN, may be others
uint32_t tn_peerapi_services(
	const struct tailnet *, struct hostinfo_service *out); // at most TN_SERVICES_MAX
// self.c: what we say of ourselves.
void tn_self_init(struct tailnet *);
const struct hostinfo *tn_hostinfo(void *t);
size_t tn_map_endpoints(void *t, struct map_endpoint *out, size_t max);
size_t tn_endpoints(void *t, struct endpoint *out, size_t max);
bool tn_endpoints_fresh(void *t);	    // else a report begins
bool tn_endpoints_update(struct tailnet *); // true: they changed
void tn_netinfo_update(struct tailnet *);
struct key tn_disco_key(void *t);
// net.c: paths, DERP, STUN, port mapping.
int tn_net_create(struct tailnet *) must_check;
void tn_net_destroy(struct tailnet *);
void tn_net_map(struct tailnet *); // the DERP map is another
void tn_netcheck(struct tailnet *, bool full);
void tn_net_tick(struct tailnet *);
void tn_net_settled(struct tailnet *); // the kernel's network changed, and a burst is over
// names.c: the resolver, and whether the machine asks it.
int tn_names_create(struct tailnet *) must_check;
void tn_names_settled(struct tailnet *);
// probes.c: for struct netcheck_io.
void tn_resolve(void *t, const char *host);
void tn_https(void *t, uint32_t region, const struct nm_derp_node *);
void tn_captive(void *t, const struct nm_derp_node *);
void tn_probes_end(struct tailnet *);
// icmp.c: a ping, answered by tn_ping_echoed or to netcheck. 0 or -errno.
int tn_echo_send(struct tailnet *, const struct ip_addr *to, uint16_t *seq) must_check;
void tn_icmp(void *t, uint32_t region, const struct ip_addr *); // for struct netcheck_io
void tn_icmp_over(struct tailnet *);				// netcheck waits no more
void tn_echo_tick(struct tailnet *);
void tn_echo_end(struct tailnet *);
// tsmp.c: to an address of that family, if both of us have one; else of the other.
void tn_tsmp_send(
	struct tailnet *, const struct nm_peer *, enum ip_family, const void *body, size_t len);
void tn_tsmp_pong(struct tailnet *, const struct nm_peer *, const uint8_t data[static 8],
	uint16_t peerapi_port); // ping.c
void tn_ping_end(struct tailnet *);
void tn_ping_tick(struct tailnet *);
bool tn_ping_echoed(struct tailnet *, const struct ip_addr *from, uint16_t seq); // false: not ours
bool tn_ping_waits_for_echo(const struct tailnet *);
// requests.c: what the server asks for.
void tn_ping_request(void *t, const char *request);
char *tn_c2n(void *t, const char *request, size_t len, size_t *answer_len);
