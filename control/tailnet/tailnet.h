// The gateway as a node of a tailnet: what the user wants (prefs), what the server says (netmap),
// which way each peer is reached (mesh), and the tables that follow from them. This is what the
// LocalAPI, status, metrics and doctor look at. [ctl]
#pragma once

#include "control/coord/client.h"
#include "control/path/derp_pool.h"
#include "control/path/mesh.h"
#include "control/path/netcheck.h"
#include "control/path/portmap.h"
#include "control/tailnet/prefs.h"
#include "control/wg/session.h"

struct tailnet;

// ipn.State, the numbers of Notify.
enum tailnet_state {
	TAILNET_NO_STATE = 0,
	TAILNET_NEEDS_LOGIN = 2,
	TAILNET_NEEDS_MACHINE_AUTH = 3,
	TAILNET_STOPPED = 4,
	TAILNET_STARTING = 5,
	TAILNET_RUNNING = 6,
};
const char *tailnet_state_text(enum tailnet_state); // "Running"
enum tailnet_state tailnet_state(const struct tailnet *);
const struct prefs *tailnet_prefs(const struct tailnet *);
const struct netmap *tailnet_netmap(const struct tailnet *); // never NULL; see netmap.ready
const struct coord_status *tailnet_coord(const struct tailnet *);

// CPU time of the control thread.
struct tailnet_times {
	uint64_t settle_ns; // what followed from the last whole netmap: routes, packet filter
	uint64_t save_ns;   // the last time that the netmap was written to the disk
};
const struct tailnet_times *tailnet_times(const struct tailnet *);
const struct netcheck_report *tailnet_netcheck(const struct tailnet *);
const struct portmap_info *tailnet_portmap(const struct tailnet *);
const struct key *tailnet_node_key(const struct tailnet *); // public; zero: none
bool tailnet_has_node_key(const struct tailnet *);

struct dns *tailnet_dns(const struct tailnet *);

// --- What the user does.

// New prefs, taken over and saved; what changed is done. 0, or -errno with a line in err.
int tailnet_set_prefs(struct tailnet *, struct prefs *, char err[static PREFS_ERROR_LEN]);
// The LocalAPI's start: new prefs (NULL: as they are), auth key (NULL: none); logs in if needed.
int tailnet_start(
	struct tailnet *, struct prefs *, const char *auth_key, char err[static PREFS_ERROR_LEN]);
void tailnet_login_interactive(struct tailnet *);
// done from the loop, or at once.
void tailnet_logout(struct tailnet *, void (*done)(void *arg, int error), void *arg);

// Offer no routes any more, so that others take them over, or offer them again. What peers still
// send is forwarded.
void tailnet_drain(struct tailnet *, bool on);
bool tailnet_is_draining(const struct tailnet *);

// Where a network that we stand for comes from.
enum tailnet_network_source {
	TAILNET_NETWORK_SET,	 // the settings: --advertise-routes
	TAILNET_NETWORK_LEARNED, // the kernel, that has it of a routing daemon
	TAILNET_NETWORK_APP,	 // the app connector: what it learned, or the server told it
};
// All of them but the app connector's; n, valid until the loop runs.
const struct ip_prefix *tailnet_networks(const struct tailnet *, uint32_t *n);
// Those, likewise. There may be thousands.
const struct ip_prefix *tailnet_app_networks(const struct tailnet *, uint32_t *n);

// What became of a network that we advertise.
struct tailnet_route_info {
	enum tailnet_network_source source;
	bool offered;	 // the server is told of it
	bool cut_off;	 // its hosts do not answer: not offered
	bool approved;	 // the server lets us stand for it
	bool primary;	 // peers send it to us
	bool taken_over; // peers send it to another node
};
void tailnet_route_info(
	const struct tailnet *, const struct ip_prefix *, struct tailnet_route_info *out);

// Networks that a routing daemon has in the kernel.
struct tailnet_learned_info {
	uint32_t offered;
	uint32_t held;	   // back, but for too short a time after coming and going
	uint32_t left_out; // for learned_limit
};
void tailnet_learned_info(const struct tailnet *, struct tailnet_learned_info *out);
// Whether announce_table has the ways into the tailnet.
bool tailnet_is_announcing(const struct tailnet *);

// --- One peer.

struct tailnet_peer_info {
	struct endpoint direct; // trusted UDP path; port 0: none
	uint32_t relay_vni;	// not 0: direct is a peer relay's
	uint16_t derp_region;	// home; 0: unknown
	bool active;		// sent within 45 s
	uint64_t latency_ns;	// of the path; 0: unknown
	uint16_t mtu;
	struct wg_learned mtu_probed;
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
	uint64_t handshake_unix_ns, last_write_unix_ns; // 0: never
	// Why the path is what it is.
	unsigned candidates, pings_sent, pongs_received, pongs_over_derp, call_me_maybes_sent,
		call_me_maybes_received;
	uint64_t last_ping_unix_ns, last_pong_unix_ns;
	char why[200]; // one line for people
};

// false: unknown to WireGuard (unusable).
bool tailnet_peer_info(
	const struct tailnet *, const struct nm_peer *, struct tailnet_peer_info *out);
// Whose address it is: own address first, then allowed IPs. NULL: nobody's.
const struct nm_peer *tailnet_peer_of(const struct tailnet *, const struct ip_addr *);
const char *tailnet_region_code(const struct tailnet *, uint32_t region); // "" when unknown

enum tailnet_ping_type {
	TAILNET_PING_DISCO,
	TAILNET_PING_TSMP,
	TAILNET_PING_ICMP,
	TAILNET_PING_PEERAPI,
};

// ipnstate.PingResult.
struct tailnet_pong {
	char error[200]; // "" is well
	bool is_local;
	double seconds;
	const struct nm_peer *peer; // NULL: unknown
	struct endpoint endpoint;   // direct or relay; port 0: not
	uint32_t relay_vni;
	uint32_t derp_region; // 0: not over DERP
	uint16_t peerapi_port;
	char peerapi_url[80];
};

// done once, after at most timeout_ms. size: of the disco message, 0: as it is.
void tailnet_ping(struct tailnet *, const struct ip_addr *, enum tailnet_ping_type, unsigned size,
	unsigned timeout_ms, void (*done)(void *arg, const struct tailnet_pong *), void *arg);

// --- Exit nodes.

bool tailnet_offers_exit(const struct nm_node *); // both default routes, approved
// The one that is in use or will be once it is reachable; NULL: none, or it is not in the netmap.
const struct nm_peer *tailnet_exit_node(const struct tailnet *);
// The nearest of those that the server suggests. NULL: there is none, or, with *why set, it cannot
// be told yet.
const struct nm_node *tailnet_suggest_exit(const struct tailnet *, const char **why);

// --- App connector, services.

struct json_t;
struct appc_counters;
// appctype.RouteInfo; empty where we are no connector. A new reference.
struct json_t *tailnet_appc(const struct tailnet *) must_check;
// How many domains are watched, and addresses known. NULL: we are no connector.
const struct appc_counters *tailnet_appc_counters(
	const struct tailnet *, uint32_t *domains, uint32_t *addresses);
// [{"name", "active", "addresses", "serves": [{"ports", "backends"}]}]. A new reference.
struct json_t *tailnet_services(const struct tailnet *) must_check;

// --- The whole.

// Health lines, worst first; n of them, valid until the loop runs.
const char *const *tailnet_health(const struct tailnet *, unsigned *n);
uint64_t tailnet_mesh_counter(const struct tailnet *, enum mesh_counter);
// false: not in the map.
bool tailnet_derp_info(const struct tailnet *, uint32_t region, struct derp_region_info *out);
// A report now; done when it is complete (the one under way, if there is one).
void tailnet_netcheck_start(struct tailnet *, bool force_full,
	void (*done)(void *arg, const struct netcheck_report *), void *arg);

// For the doctor; see coord_client_probe. done may come at once.
void tailnet_coord_probe(
	struct tailnet *, void (*done)(void *arg, const struct coord_probe_result *), void *arg);
// See mesh_reach_start, with nodes that are online. done may come at once: with nobody asked.
void tailnet_reach(struct tailnet *, unsigned timeout_ms,
	void (*done)(void *arg, const struct mesh_reach *), void *arg);

// What a listener is told of.
enum tailnet_change {
	TAILNET_CHANGED_STATE = 1 << 0,
	TAILNET_CHANGED_PREFS = 1 << 1,
	TAILNET_CHANGED_NETMAP = 1 << 2,
	TAILNET_CHANGED_URL = 1 << 3, // coord_status.url
	TAILNET_CHANGED_HEALTH = 1 << 4,
	TAILNET_CHANGED_ERROR = 1 << 5, // coord_status.why
};
struct tailnet_listener;
struct tailnet_listener *tailnet_listen(
	struct tailnet *, void (*fn)(void *arg, unsigned changes), void *arg);
void tailnet_unlisten(struct tailnet_listener *);
