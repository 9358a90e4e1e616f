// A daemon filled by hand: two workers, three ports, four peers. The handshake side (wg_*) and the
// daemon's own actions are answered here, so that every number is known.
#pragma once

#include "control/daemon.h"
#include "dataplane/base/mem.h"
#include "tests/unit/eal.h"
#include "tests/unit/tailnet_double.h"

enum {
	FIXTURE_PEERS = 4,
	FIXTURE_HOUR_S = 3600,
};

static struct {
	struct daemon daemon;
	struct config *config;
	struct gateway gw;
	struct port ports[3];
	struct peer peers[FIXTURE_PEERS];
	struct ip_prefix allowed[2];
	struct wg_peer_info info[FIXTURE_PEERS];
	unsigned n_peers;
	struct key public_key;
	int reload_result;
	unsigned reloads, stops;
} fixture;

// With more peers than there are, the first ones come again.
bool wg_peers_next(const struct wg *, uint32_t *at, struct wg_peer_info *out)
{
	if (*at >= fixture.n_peers)
		return false;
	*out = fixture.info[(*at)++ % FIXTURE_PEERS];
	return true;
}

void wg_peers_each(struct wg *, void (*fn)(void *arg, const struct wg_peer_info *), void *arg)
{
	for (unsigned i = 0; i < FIXTURE_PEERS; i++)
		fn(arg, &fixture.info[i]);
}

const struct key *wg_public_key(const struct wg *)
{
	return &fixture.public_key;
}

uint64_t wg_counter(const struct wg *, enum wg_counter counter)
{
	return 100 + counter;
}

const char *wg_counter_label(enum wg_counter counter)
{
	static const char *const labels[] = {
#define X(name, label, help) [WG_COUNTER_##name] = label,
		WG_COUNTERS(X)
#undef X
	};
	return labels[counter];
}

const char *wg_counter_help(enum wg_counter)
{
	return "help \"quoted\"";
}

bool wg_under_load(const struct wg *)
{
	return true;
}

int daemon_reload(struct daemon *, char err[static 512])
{
	fixture.reloads++;
	if (fixture.reload_result < 0)
		snprintf(err, 512, "tailgate.conf:3: mtu: \"x\" is no number");
	return fixture.reload_result;
}

void daemon_stop(struct daemon *)
{
	fixture.stops++;
}

static inline struct endpoint fixture_endpoint(const char *text)
{
	struct endpoint e = {};
	if (endpoint_parse(text, &e) < 0)
		abort();
	return e;
}

static inline void fixture_ports(void)
{
	static const struct {
		const char *name, *device;
		enum port_kind kind;
		bool l2, up;
	} ports[] = {
		{"lan", "eth\"1", PORT_SHARED, true, true},
		{"wan", "0000:01:00.0", PORT_OWNED, true, false},
		{"tailgate0", "tailgate0", PORT_TUN, false, true},
	};
	for (uint16_t i = 0; i < RTE_DIM(ports); i++) {
		struct port *p = &fixture.ports[i];
		snprintf(p->name, sizeof(p->name), "%s", ports[i].name);
		snprintf(p->device, sizeof(p->device), "%s", ports[i].device);
		p->kind = ports[i].kind;
		p->id = i;
		p->n_queues = 2;
		p->l2 = ports[i].l2;
		p->rx_offloads = RTE_ETH_RX_OFFLOAD_TCP_LRO;
		p->tx_offloads = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO;
		p->up = ports[i].up;
		p->mtu = 1500;
		for (unsigned q = 0; q < 2; q++)
			p->stats[q] = (struct port_stats){
				.rx_packets = 10 + q,
				.rx_bytes = UINT64_C(5000000000) + i,
				.tx_full = 1,
			};
		fixture.gw.port[i] = p;
	}
	fixture.gw.n_ports = RTE_DIM(ports);
	fixture.gw.host_port = 2;
}

// Up, without endpoint, without an answer, without a route.
static inline void fixture_peers(uint64_t now_unix_ns)
{
	static const char *const names[FIXTURE_PEERS] = {"berlin", "we\"ird\\name", "", "tokyo"};
	if (ip_prefix_parse("10.2.0.0/16", &fixture.allowed[0]) < 0 ||
		ip_prefix_parse("fd00::/8", &fixture.allowed[1]) < 0)
		abort();
	for (unsigned i = 0; i < FIXTURE_PEERS; i++) {
		struct peer *p = &fixture.peers[i];
		p->id = i;
		memset(&p->public_key, 'a' + (int)i, KEY_LEN);
		snprintf(p->name, sizeof(p->name), "%s", names[i]);
		fixture.info[i] = (struct wg_peer_info){
			.peer = p,
			.endpoint = fixture_endpoint("192.0.2.1:41641"),
			.n_allowed = i == 0 ? 2 : 1,
			.allowed = fixture.allowed,
			.rx_wire_bytes = 1000 + i,
			.tx_wire_bytes = 2000 + i,
			.mtu = 1420,
			.port_out = 1,
			.handshakes_sent = 3,
		};
	}
	fixture.info[0].handshake_unix_ns = now_unix_ns - UINT64_C(63000000000);
	fixture.info[0].keepalive_s = 25;
	fixture.info[0].has_psk = true;
	fixture.info[1].endpoint = (struct endpoint){};
	fixture.info[3].port_out = PORT_NONE;
}

static inline void fixture_workers(void)
{
	for (uint16_t i = 0; i < 2; i++) {
		struct graph *g = mem_alloc(sizeof(*g));
		g->gw = &fixture.gw;
		g->id = i;
		g->aead = aead_create("libsodium");
		g->trace = mem_alloc(sizeof(*g->trace) * TRACE_SLOTS);
		g->unanswered = mem_alloc(sizeof(*g->unanswered));
		g->nat = nat_table_create(64, i, 2, &fixture.gw.nat_claims);
		if (g->nat == NULL)
			abort();
		g->fragment_buffers = 3;
		g->drops[DROP_WG_AUTH] = 7;
		g->counters[COUNTER_SUPERS_SEGMENTED] = 2;
		g->counters[COUNTER_SEGMENTS_MADE] = 60;
		g->stats[NODE_WG_ENCRYPT] = (struct node_stats){10, 400, 40000};
		g->burst_packets[0] = 5;
		g->burst_packets[6] = 1;
		g->rounds = 1000;
		g->busy_cycles = 3000000000;
		fixture.gw.graph[i] = g;
	}
	fixture.gw.n_workers = 2;
}

// Needs the EAL. The event base is the caller's to make.
static inline struct daemon *fixture_create(struct event_base *base)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	uint64_t now = (uint64_t)t.tv_sec * 1000000000;

	memset(&fixture, 0, sizeof(fixture));
	memset(&fixture.public_key, 'k', KEY_LEN);
	fixture.n_peers = FIXTURE_PEERS;
	fixture_ports();
	fixture_peers(now);
	fixture_workers();
	fixture.gw.tsc_per_ns = 3;
	fixture.gw.tunnel_mtu = 1420;
	fixture.gw.rcu = rcu_create();
	fixture.config = config_create();
	if (fixture.config == NULL)
		abort();
	fixture.config->listen_port = 41641;
	snprintf(fixture.config->tun, sizeof(fixture.config->tun), "tailgate0");
	fixture.daemon = (struct daemon){
		.base = base,
		.config_path = "/etc/tailgate/tailgate.conf",
		.config = fixture.config,
		.gw = &fixture.gw,
		.wg_port = 50000,
		.wg_port_fallback = true,
		.started_unix_ns = now - UINT64_C(1000000000) * FIXTURE_HOUR_S,
		.reloads = 2,
		.warnings = {"no hugepages: packets cost more TLB misses"},
		.n_warnings = 1,
	};
	return &fixture.daemon;
}

static inline void fixture_destroy(void)
{
	rcu_destroy(fixture.gw.rcu);
	for (unsigned i = 0; i < fixture.gw.n_workers; i++) {
		aead_destroy(fixture.gw.graph[i]->aead);
		free(fixture.gw.graph[i]->trace);
		free(fixture.gw.graph[i]->unanswered);
		nat_table_destroy(fixture.gw.graph[i]->nat);
		free(fixture.gw.graph[i]);
	}
	config_free(fixture.config);
}
