// Gateways in memory for the tests of nodes and for perf/pipeline: everything that the control
// thread would make, with known keys. Two of them are each other's peer:
//
//   10.1.0.2 --lan-- A --wan-- 192.0.2.1     192.0.2.2 --wan-- B --lan-- 10.2.0.2
//   fd01::2          | host    2001:db8::1   2001:db8::2       |         fd02::2
//
// FIB of A, and of B with 1 and 2 exchanged: the addresses above and beside them, and
//   10.2.0.0/16, fd02::/16  tunnel to B     10.9.0.0/16, fd09::/16  tunnel, nobody's allowed IPs
//   10.1.0.0/24, fd01::/64  lan, neighbour to be resolved           10.66.0.0/16  reject
//   10.67.0.0/16  blackhole                 10.68.0.0/16  the kernel's interface
#pragma once

#include "dataplane/base/mailbox.h"
#include "dataplane/node/node.h"
#include "dataplane/node/state.h"
#include "dataplane/port/pool.h"
#include "dataplane/table/peer_table.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/vxlan.h"
#include "dataplane/wire/wireguard.h"
#include "dataplane/worker.h"
#include "tests/unit/eal.h"
#include "tests/unit/memport.h"

enum {
	GW_LAN = 0,
	GW_WAN = 1,
	GW_HOST = 2,
	GW_PORTS = 3,
	GW_PORT = 41641, // UDP
	GW_MTU = 1420,
	GW_WORKERS_MAX = 2,
};

struct gw_params {
	enum port_kind kind;  // of lan and wan; 0 (PORT_TUN) stands for PORT_OWNED
	uint8_t outer;	      // enum ip_family; 0: IPv4
	uint16_t workers;     // 0: 1
	uint16_t tunnel_mtu;  // 0: GW_MTU
	unsigned pkts, large; // mbufs of the pools; 0: enough for a test
	unsigned cache;	      // of the pools, per core; 0: leaks show at once
	bool transparent;     // pools in huge pages, as the daemon has them for kernel ports
	const char *aead;     // engine; NULL: the fastest
};

struct gw {
	struct gateway gw;
	struct memport *port[GW_PORTS];
	struct worker *worker[GW_WORKERS_MAX];
	struct peer *peer; // the other gateway
	struct keypair *keypair;
	uint8_t number; // 1: A, 2: B
	uint8_t outer;
};

// Host order; RTE_IPV4 shifts into the sign.
static inline uint32_t gw_ip4(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	return a << 24 | b << 16 | c << 8 | d;
}

static inline const uint8_t *gw_peer_mac(uint8_t number)
{
	static uint8_t mac[3][6] = {{2, 1, 1, 1, 1, 0}, {2, 1, 1, 1, 1, 1}, {2, 1, 1, 1, 1, 2}};
	return mac[number];
}

static inline void gw_route(
	struct gw *g, const char *prefix, enum nexthop_type type, uint16_t port, uint8_t neighbour)
{
	struct ip_prefix p;
	struct nexthop nh = {.type = type, .port = port, .ifindex = 100 + port};
	if (type == NH_LINK) {
		memcpy(nh.l2, gw_peer_mac(neighbour), 6);
		memcpy(nh.l2 + 6, g->port[port]->port.mac.addr_bytes, 6);
	}
	if (ip_prefix_parse(prefix, &p) < 0 || fib_set(g->gw.fib, &p, &nh) < 0)
		rte_panic("route %s\n", prefix);
}

static inline void gw_routes(struct gw *g)
{
	unsigned me = g->number, other = 3 - me;
	const struct {
		const char *format;
		unsigned number;
		enum nexthop_type type;
		uint16_t port;
	} routes[] = {
		{"10.%u.0.1/32", me, NH_LOCAL, PORT_NONE},
		{"fd0%u::1/128", me, NH_LOCAL, PORT_NONE},
		{"192.0.2.%u/32", me, NH_LOCAL, PORT_NONE},
		{"2001:db8::%u/128", me, NH_LOCAL, PORT_NONE},
		{"10.%u.0.2/32", me, NH_LINK, GW_LAN},
		{"fd0%u::2/128", me, NH_LINK, GW_LAN},
		{"192.0.2.%u/32", other, NH_LINK, GW_WAN},
		{"2001:db8::%u/128", other, NH_LINK, GW_WAN},
		{"10.%u.0.0/24", me, NH_RESOLVE, GW_LAN},
		{"fd0%u::/64", me, NH_RESOLVE, GW_LAN},
		{"10.%u.0.0/16", other, NH_TUNNEL, PORT_NONE},
		{"fd0%u::/16", other, NH_TUNNEL, PORT_NONE},
		{"10.%u.0.0/16", 9, NH_TUNNEL, PORT_NONE},
		{"fd0%u::/16", 9, NH_TUNNEL, PORT_NONE},
		{"10.%u.0.0/16", 66, NH_REJECT, PORT_NONE},
		{"10.%u.0.0/16", 67, NH_DROP, PORT_NONE},
		{"10.%u.0.0/16", 68, NH_KERNEL, PORT_NONE},
	};
	for (unsigned i = 0; i < RTE_DIM(routes); i++) {
		char text[PREFIX_TEXT_LEN];
		snprintf(text, sizeof(text), routes[i].format, routes[i].number);
		gw_route(g, text, routes[i].type, routes[i].port, other);
	}
}

static inline struct rte_mempool *gw_pool(
	const struct gw *g, const char *kind, unsigned n, uint16_t room, const struct gw_params *p)
{
	char name[32];
	snprintf(name, sizeof(name), "%s%u", kind, g->number);
	const struct pool_params params = {.name = name,
		.n = n,
		.cache = p->cache,
		.room = room,
		.transparent = p->transparent};
	struct rte_mempool *pool = pool_create(&params);
	if (!pool)
		rte_panic("no memory for pool %s\n", name);
	return pool;
}

static inline struct mailbox *gw_mailbox(
	const struct gw *g, const char *kind, unsigned element, unsigned size)
{
	char name[32];
	snprintf(name, sizeof(name), "%s%u", kind, g->number);
	struct mailbox *m = mailbox_create(name, element, size);
	if (!m)
		rte_panic("no memory for mailbox %s\n", name);
	return m;
}

static inline void gw_tables(struct gw *g, unsigned workers)
{
	struct gateway *gw = &g->gw;
	gw->rcu = rcu_create();
	gw->fib = fib_create(gw->rcu);
	gw->allowed = allowedips_create(gw->rcu);
	gw->index = index_create(gw->rcu);
	gw->peers = peer_table_create(gw->rcu, workers);
	gw->events = gw_mailbox(g, "events", sizeof(struct worker_event), 1024);
	gw->punted = gw_mailbox(g, "punted", sizeof(struct rte_mbuf *), 1024);
	if (!gw->fib || !gw->allowed || !gw->index || !gw->peers)
		rte_panic("no memory for tables\n");
}

static inline void gw_addresses(struct gw *g)
{
	for (unsigned i = 0; i < GW_PORTS; i++) {
		bool wan = i == GW_WAN;
		uint32_t v4 = wan ? gw_ip4(192, 0, 2, g->number) : gw_ip4(10, g->number, 0, 1);
		struct ip_addr *v6 = mem_alloc(sizeof(*v6));
		*v6 = (struct ip_addr){.bytes = {0xfd, g->number, [15] = 1}, .family = IP_V6};
		if (wan)
			*v6 = (struct ip_addr){
				.bytes = {0x20, 1, 0x0d, 0xb8, [15] = g->number}, .family = IP_V6};
		atomic_store(&g->gw.port_addr4[i], rte_cpu_to_be_32(v4));
		atomic_store(&g->gw.port_addr6[i], v6);
	}
}

static inline void gw_ports(struct gw *g, enum port_kind kind, uint16_t workers)
{
	for (uint16_t i = 0; i < GW_PORTS; i++) {
		g->port[i] = memport_create(i == GW_HOST ? PORT_TUN : kind, i, workers);
		g->port[i]->port.mac.addr_bytes[4] = g->number;
		g->gw.port[i] = &g->port[i]->port;
	}
	g->gw.n_ports = GW_PORTS;
	g->gw.host_port = GW_HOST;
}

// number: 1 for A, 2 for B. The EAL runs.
static inline void gw_open(struct gw *g, uint8_t number, const struct gw_params *p)
{
	uint16_t workers = p->workers ? p->workers : 1;
	*g = (struct gw){.number = number, .outer = p->outer ? p->outer : IP_V4};
	struct gateway *gw = &g->gw;
	gw_ports(g, p->kind ? p->kind : PORT_OWNED, workers);
	gw_tables(g, workers);
	gw->pool = gw_pool(g, "pkts", p->pkts ? p->pkts : 2047, RTE_MBUF_DEFAULT_BUF_SIZE, p);
	gw->super_pool = gw_pool(g, "large", p->large ? p->large : 127, SUPER_ROOM, p);
	gw->n_workers = workers;
	gw->tsc_per_ns = (double)rte_get_tsc_hz() / 1e9;
	atomic_store(&gw->wg_port, GW_PORT);
	atomic_store(&gw->tunnel_mtu, p->tunnel_mtu ? p->tunnel_mtu : GW_MTU);
	atomic_store(&gw->mss_clamp, true);
	atomic_store(&gw->fragment, true);
	atomic_store(&gw->coalesce, true);
	const struct vxlan_ports vxlan = {{RTE_BE16(VXLAN_PORT), RTE_BE16(VXLAN_PORT_LINUX)}};
	atomic_store(&gw->vxlan_ports, vxlan_ports_pack(&vxlan));
	atomic_store(&gw->vxlan_depth, 1);
	atomic_store(&gw->icmp_rate, 1000);
	gw_addresses(g);
	gw_routes(g);
	for (uint16_t i = 0; i < workers; i++) {
		gw->graph[i] = graph_create(gw, i, p->aead);
		g->worker[i] = gw->graph[i] ? worker_create(gw->graph[i], true) : NULL;
		if (!g->worker[i])
			rte_panic("no memory for worker %u\n", i);
		rte_rcu_qsbr_thread_register(rcu_qsbr(gw->rcu), i);
		rte_rcu_qsbr_thread_online(rcu_qsbr(gw->rcu), i);
	}
}

static inline void gw_outer4(uint8_t *l3, uint8_t from, uint8_t to)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.total_length = RTE_BE16(IP4_HDR_LEN),
		.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = rte_cpu_to_be_32(gw_ip4(192, 0, 2, from)),
		.dst_addr = rte_cpu_to_be_32(gw_ip4(192, 0, 2, to)),
	};
	csum_ip4_hdr_set(l3, IP4_HDR_LEN); // both are set anew for every datagram
}

static inline void gw_outer6(uint8_t *l3, uint8_t from, uint8_t to)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.proto = IPPROTO_UDP,
		.hop_limits = 64,
		.src_addr = {0x20, 1, 0x0d, 0xb8, [15] = from},
		.dst_addr = {0x20, 1, 0x0d, 0xb8, [15] = to},
	};
}

// The path to the other gateway through wan.
static inline struct peer_path gw_path(const struct gw *g)
{
	uint8_t from = g->number, to = 3 - g->number;
	bool v4 = g->outer == IP_V4;
	struct peer_path path = {.l2_len = L2_LEN, .family = g->outer, .port = GW_WAN};
	unsigned l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	path.outer_len = (uint8_t)(L2_LEN + l3_len + UDP_HDR_LEN);
	uint8_t *l2 = path.outer + sizeof(path.outer) - path.outer_len, *l3 = l2 + L2_LEN;
	memcpy(l2, gw_peer_mac(to), 6);
	memcpy(l2 + 6, g->port[GW_WAN]->port.mac.addr_bytes, 6);
	rte_be16_t type = rte_cpu_to_be_16(v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
	memcpy(l2 + 12, &type, 2);
	if (v4)
		gw_outer4(l3, from, to);
	else
		gw_outer6(l3, from, to);
	*(struct rte_udp_hdr *)(l3 + l3_len) = (struct rte_udp_hdr){
		.src_port = RTE_BE16(GW_PORT),
		.dst_port = RTE_BE16(GW_PORT),
	};
	uint64_t pseudo = v4 ? csum_pseudo4(l3, IPPROTO_UDP, 0) : csum_pseudo6(l3, IPPROTO_UDP, 0);
	path.udp_pseudo = csum_fold(pseudo);
	path.local = v4 ? ip_addr_v4(l3 + 12) : ip_addr_v6(l3 + 8);
	path.remote.addr = v4 ? ip_addr_v4(l3 + 16) : ip_addr_v6(l3 + 24);
	path.remote.port = GW_PORT;
	return path;
}

static inline void gw_allow(struct gw *g, struct peer *peer, const char *format, unsigned number)
{
	char text[PREFIX_TEXT_LEN];
	struct ip_prefix p;
	snprintf(text, sizeof(text), format, number);
	if (ip_prefix_parse(text, &p) < 0 || allowedips_set(g->gw.allowed, &p, peer) < 0)
		rte_panic("allowed IPs %s\n", text);
}

// The other gateway as a peer with its networks, without a session.
static inline void gw_add_peer(struct gw *g)
{
	uint8_t other = 3 - g->number;
	struct key key = {.bytes = {other}};
	struct peer_path path = gw_path(g);
	if (peer_table_add(g->gw.peers, &key, "other", &g->peer) < 0)
		rte_panic("no peer\n");
	peer_set_path(g->gw.rcu, g->peer, &path);
	gw_allow(g, g->peer, "10.%u.0.0/16", other);
	gw_allow(g, g->peer, "fd0%u::/16", other);
}

// A session of g's: keys differ by direction and generation; the other side's index is 1000 + slot.
static inline struct keypair *gw_keypair(struct gw *g, uint32_t random, uint8_t generation)
{
	struct keypair *kp = keypair_create();
	memset(kp->send_key, 16 * generation + g->number, sizeof(kp->send_key));
	memset(kp->recv_key, 16 * generation + 3 - g->number, sizeof(kp->recv_key));
	kp->peer = g->peer;
	kp->rekey_send_at = kp->rekey_recv_at = kp->reject_at = UINT64_MAX;
	atomic_store(&kp->confirmed, true);
	if (index_alloc(g->gw.index, random, &kp->local_index) < 0)
		rte_panic("no index\n");
	return kp;
}

static inline void gw_use(struct gw *g, struct keypair *kp)
{
	g->keypair = kp;
	index_publish(g->gw.index, kp);
	peer_set_sending(g->peer, kp);
}

// A session between the two, fresh counters; both send with it from now on.
static inline void gw_session(struct gw *a, struct gw *b, uint8_t generation)
{
	struct keypair *ka = gw_keypair(a, 0x11110000u + generation, generation);
	struct keypair *kb = gw_keypair(b, 0x22220000u + generation, generation);
	ka->remote_index = kb->local_index;
	kb->remote_index = ka->local_index;
	gw_use(a, ka);
	gw_use(b, kb);
}

static inline void gw_open_pair(struct gw *a, struct gw *b, const struct gw_params *p)
{
	gw_open(a, 1, p);
	gw_open(b, 2, p);
	gw_add_peer(a);
	gw_add_peer(b);
	gw_session(a, b, 1);
}

static inline unsigned gw_round(struct gw *g)
{
	unsigned n = worker_round(g->worker[0]);
	rcu_reclaim(g->gw.rcu);
	return n;
}

static inline void gw_close_tables(struct gw *g)
{
	struct gateway *gw = &g->gw;
	struct rte_mbuf *m;
	index_destroy(gw->index);
	allowedips_destroy(gw->allowed);
	peer_table_destroy(gw->peers);
	fib_destroy(gw->fib);
	rcu_destroy(gw->rcu);
	while (mailbox_get(gw->punted, &m, 1) == 1)
		rte_pktmbuf_free(m);
	mailbox_destroy(gw->punted);
	mailbox_destroy(gw->events);
}

// Everything back; returns how many mbufs did not come back to their pools (those without cache).
static inline unsigned gw_close(struct gw *g)
{
	struct gateway *gw = &g->gw;
	for (uint16_t i = 0; i < gw->n_workers; i++) {
		rte_rcu_qsbr_thread_offline(rcu_qsbr(gw->rcu), i);
		rte_rcu_qsbr_thread_unregister(rcu_qsbr(gw->rcu), i);
		worker_destroy(g->worker[i]);
	}
	for (uint16_t i = 0; i < gw->n_workers; i++)
		graph_destroy(gw->graph[i]);
	for (unsigned i = 0; i < GW_PORTS; i++) {
		g->port[i]->port.ops->close(&g->port[i]->port);
		free(atomic_load(&gw->port_addr6[i]));
	}
	gw_close_tables(g);
	unsigned lost =
		rte_mempool_in_use_count(gw->pool) + rte_mempool_in_use_count(gw->super_pool);
	rte_mempool_free(gw->pool);
	rte_mempool_free(gw->super_pool);
	return lost;
}
