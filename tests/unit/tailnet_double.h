// A tailnet that answers from what a test put into it: the netmap of localapi.json, of which node 2
// is reached directly. What it is told to do is written down.
#pragma once

#include "tests/unit/vectors.h"

#include <errno.h>

#include "control/tailnet/appc.h"
#include "control/tailnet/exit_suggest.h"
#include "control/tailnet/tailnet.h"

enum { DOUBLE_LISTENERS = 64, DOUBLE_PINGS = 80 };

struct tailnet_listener {
	void (*fn)(void *arg, unsigned changes);
	void *arg;
};

struct tailnet {
	struct prefs *prefs;
	struct netmap *netmap;
	struct coord_status coord;
	enum tailnet_state state;
	struct netcheck_report report;
	struct portmap_info portmap;
	struct key node_key;
	const char *health[4];
	unsigned n_health;
	struct tailnet_peer_info info; // of node 2
	struct tailnet_listener listeners[DOUBLE_LISTENERS];

	int result; // of what is asked next
	unsigned sets, starts, logins;
	bool draining;
	char auth_key[64];
	struct {
		struct ip_addr to;
		enum tailnet_ping_type type;
		unsigned size;
		void (*done)(void *arg, const struct tailnet_pong *);
		void *arg;
	} pings[DOUBLE_PINGS];
	unsigned n_pings;
	void (*logout_done)(void *arg, int error);
	void *logout_arg;
	struct dns *names;
};

static struct tailnet tailnet;

const char *tailnet_state_text(enum tailnet_state state)
{
	static const char *const names[] = {
		"NoState", "", "NeedsLogin", "NeedsMachineAuth", "Stopped", "Starting", "Running"};
	return names[state];
}

enum tailnet_state tailnet_state(const struct tailnet *t)
{
	return t->state;
}

const struct prefs *tailnet_prefs(const struct tailnet *t)
{
	return t->prefs;
}

struct dns *tailnet_dns(const struct tailnet *t)
{
	return t->names;
}

const struct netmap *tailnet_netmap(const struct tailnet *t)
{
	return t->netmap;
}

const struct coord_status *tailnet_coord(const struct tailnet *t)
{
	return &t->coord;
}

const struct tailnet_times *tailnet_times(const struct tailnet *)
{
	static const struct tailnet_times times = {.settle_ns = 3000000, .save_ns = 4000000};
	return &times;
}

const struct netcheck_report *tailnet_netcheck(const struct tailnet *t)
{
	return &t->report;
}

const struct portmap_info *tailnet_portmap(const struct tailnet *t)
{
	return &t->portmap;
}

const struct key *tailnet_node_key(const struct tailnet *t)
{
	return &t->node_key;
}

bool tailnet_has_node_key(const struct tailnet *t)
{
	return !key_is_zero(&t->node_key);
}

int tailnet_set_prefs(struct tailnet *t, struct prefs *p, char err[static PREFS_ERROR_LEN])
{
	t->sets++;
	if (t->result < 0) {
		snprintf(err, PREFS_ERROR_LEN, "the disk is full");
		prefs_destroy(p);
		return t->result;
	}
	prefs_destroy(t->prefs);
	t->prefs = p;
	return 0;
}

int tailnet_start(
	struct tailnet *t, struct prefs *p, const char *auth_key, char err[static PREFS_ERROR_LEN])
{
	t->starts++;
	snprintf(t->auth_key, sizeof(t->auth_key), "%s", auth_key ? auth_key : "");
	if (p)
		return tailnet_set_prefs(t, p, err);
	snprintf(err, PREFS_ERROR_LEN, "no");
	return t->result;
}

void tailnet_login_interactive(struct tailnet *t)
{
	t->logins++;
}

void tailnet_logout(struct tailnet *t, void (*done)(void *arg, int error), void *arg)
{
	t->logout_done = done;
	t->logout_arg = arg;
}

bool tailnet_peer_info(
	const struct tailnet *t, const struct nm_peer *peer, struct tailnet_peer_info *out)
{
	*out = peer->node->id == 2 ? t->info : (struct tailnet_peer_info){};
	return true;
}

const struct nm_peer *tailnet_peer_of(const struct tailnet *t, const struct ip_addr *addr)
{
	return netmap_peer_by_addr(t->netmap, addr);
}

bool tailnet_offers_exit(const struct nm_node *node)
{
	return exit_offered(node);
}

const struct nm_peer *tailnet_exit_node(const struct tailnet *t)
{
	struct ip_addr addr;
	return ip_addr_parse(t->prefs->exit_node_ip, &addr) < 0 ? NULL : tailnet_peer_of(t, &addr);
}

const struct nm_node *tailnet_suggest_exit(const struct tailnet *t, const char **why)
{
	return exit_suggest(t->netmap, &t->report, "", 0, why);
}

const char *tailnet_region_code(const struct tailnet *t, uint32_t region)
{
	for (uint32_t i = 0; i < t->netmap->derp.n_regions; i++)
		if (t->netmap->derp.regions[i].id == region)
			return t->netmap->derp.regions[i].code;
	return "";
}

void tailnet_ping(struct tailnet *t, const struct ip_addr *to, enum tailnet_ping_type type,
	unsigned size, unsigned, void (*done)(void *arg, const struct tailnet_pong *), void *arg)
{
	assert_true(t->n_pings < DOUBLE_PINGS);
	t->pings[t->n_pings].to = *to;
	t->pings[t->n_pings].type = type;
	t->pings[t->n_pings].size = size;
	t->pings[t->n_pings].done = done;
	t->pings[t->n_pings++].arg = arg;
}

const char *const *tailnet_health(const struct tailnet *t, unsigned *n)
{
	*n = t->n_health;
	return t->health;
}

uint64_t tailnet_mesh_counter(const struct tailnet *, enum mesh_counter counter)
{
	return 1000 + counter;
}

void tailnet_drain(struct tailnet *t, bool on)
{
	t->draining = on;
}

bool tailnet_is_draining(const struct tailnet *t)
{
	return t->draining;
}

bool tailnet_is_announcing(const struct tailnet *)
{
	return false;
}

void tailnet_learned_info(const struct tailnet *, struct tailnet_learned_info *out)
{
	*out = (struct tailnet_learned_info){0};
}

const struct ip_prefix *tailnet_networks(const struct tailnet *t, uint32_t *n)
{
	*n = t->prefs->n_routes;
	return t->prefs->routes;
}

const struct ip_prefix *tailnet_app_networks(const struct tailnet *t, uint32_t *n)
{
	*n = 0;
	return t->prefs->routes;
}

json_t *tailnet_appc(const struct tailnet *)
{
	return json_pack("{s:[s],s:{s:[s]},s:[]}", "Control", "192.0.2.0/24", "Domains",
		"example.com", "203.0.113.1", "Wildcards");
}

const struct appc_counters *tailnet_appc_counters(
	const struct tailnet *, uint32_t *domains, uint32_t *addresses)
{
	static const struct appc_counters counters = {.learned = 3, .full = 2, .forbidden = 1};
	*domains = 5;
	*addresses = 4;
	return &counters;
}

json_t *tailnet_services(const struct tailnet *)
{
	return json_array();
}

void tailnet_route_info(
	const struct tailnet *t, const struct ip_prefix *, struct tailnet_route_info *out)
{
	*out = (struct tailnet_route_info){.offered = !t->draining, .approved = true};
}

bool tailnet_derp_info(const struct tailnet *, uint32_t, struct derp_region_info *)
{
	return false;
}

void tailnet_netcheck_start(
	struct tailnet *t, bool, void (*done)(void *arg, const struct netcheck_report *), void *arg)
{
	done(arg, &t->report);
}

void tailnet_coord_probe(
	struct tailnet *, void (*done)(void *arg, const struct coord_probe_result *), void *arg)
{
	done(arg, &(struct coord_probe_result){.why = "https, port 443", .took_ms = 7});
}

void tailnet_reach(
	struct tailnet *, unsigned, void (*done)(void *arg, const struct mesh_reach *), void *arg)
{
	done(arg, &(struct mesh_reach){.asked = 1});
}

struct tailnet_listener *tailnet_listen(
	struct tailnet *t, void (*fn)(void *arg, unsigned changes), void *arg)
{
	for (unsigned i = 0; i < DOUBLE_LISTENERS; i++)
		if (!t->listeners[i].fn) {
			t->listeners[i] = (struct tailnet_listener){fn, arg};
			return &t->listeners[i];
		}
	return NULL;
}

void tailnet_unlisten(struct tailnet_listener *l)
{
	*l = (struct tailnet_listener){};
}

static inline void double_change(unsigned changes)
{
	for (unsigned i = 0; i < DOUBLE_LISTENERS; i++)
		if (tailnet.listeners[i].fn)
			tailnet.listeners[i].fn(tailnet.listeners[i].arg, changes);
}

static inline unsigned double_listeners(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < DOUBLE_LISTENERS; i++)
		n += tailnet.listeners[i].fn != NULL;
	return n;
}

// Before the first login.
static inline void double_create(void)
{
	tailnet = (struct tailnet){.prefs = prefs_create(), .state = TAILNET_NEEDS_LOGIN};
	tailnet.netmap = netmap_create(&tailnet.node_key);
}

static inline void double_destroy(void)
{
	prefs_destroy(tailnet.prefs);
	netmap_destroy(tailnet.netmap);
}

static inline void double_map(const json_t *map)
{
	char *text = json_dumps(map, JSON_COMPACT);
	struct netmap_delta delta;

	if (netmap_apply(tailnet.netmap, text, strlen(text), 1800000000, &delta))
		fail_msg("%s", tailnet.netmap->error);
	free(text);
}

// The state of localapi.json, when tailscaled answered it.
static inline void double_run(void)
{
	static const char key[] =
		"nodekey:"
		"bf2b78d1151011de84a9f929575b1e98c57dd4e0b343a4c9d39423e6a00fc73b";
	json_t *vectors = vectors_load("localapi.json");
	struct json_object o = {.object = json_pack("{s:s}", "k", key)};

	tailnet.node_key = json_key(&o, "k", "nodekey:");
	json_decref((json_t *)o.object);
	netmap_destroy(tailnet.netmap);
	tailnet.netmap = netmap_create(&tailnet.node_key);
	double_map(json_object_get(vectors, "map"));
	json_decref(vectors);
	tailnet.state = TAILNET_RUNNING;
	tailnet.coord = (struct coord_status){.state = COORD_STREAMING};
	tailnet.report = (struct netcheck_report){.unix_ns = 1,
		.preferred = 901,
		.latency = {{901, .v4_ns = 1000000}, {902, .v4_ns = 2000000}},
		.n_latency = 2};
	tailnet.info = (struct tailnet_peer_info){.derp_region = 902,
		.active = true,
		.rx_bytes = 476,
		.tx_bytes = 564,
		.last_write_unix_ns = UINT64_C(1795240455433734540),
		.handshake_unix_ns = UINT64_C(1795240453434139522)};
	assert_int_equal(endpoint_parse("10.77.0.12:41641", &tailnet.info.direct), 0);
	char err[PREFS_ERROR_LEN];
	json_t *on = json_pack("{s:b, s:s, s:b, s:b, s:b, s:b, s:b, s:b}", "ControlURLSet", 1,
		"ControlURL", "https://10.77.0.1", "RouteAllSet", 1, "RouteAll", 1,
		"WantRunningSet", 1, "WantRunning", 1, "LoggedOutSet", 1, "LoggedOut", 0);
	struct prefs *prefs = prefs_patch(tailnet.prefs, on, err);
	json_decref(on);
	prefs_destroy(tailnet.prefs);
	tailnet.prefs = prefs;
}
