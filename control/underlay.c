#include "control/underlay.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/log.h"
#include "dataplane/base/mailbox.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/wireguard.h"

enum {
	OUTER_TTL = 64,
	DATAGRAM_MAX = 1500,
	PER_WAKE_UP = 256, // messages of workers that one wake-up works off
	WAITING_MAX = 512, // packets that wait for neighbours
	WAITING_OWN = 256, // of them ours: forged senders must not take the places of others
	WAITING_S = 3,	   // then the next hop counts as unreachable (the kernel asks 3 times)
	CONFIRM_S = 20,	   // neighbours of peers in use are confirmed this often
};

struct waiting {
	struct rte_mbuf *m;
	struct ip_addr neighbour;
	uint32_t ifindex;
	bool own;	// ours; else of the workers
	uint64_t until; // TSC
};

struct underlay { // ctl only
	struct gateway *gw;
	struct mirror *mirror;
	struct wg *wg;
	underlay_disco_fn *disco;
	void *disco_arg;
	struct event *events, *punted, *tick;
	struct waiting waiting[WAITING_MAX];
	unsigned n_waiting, n_waiting_own;
	unsigned seconds; // since the start
};

// Let a worker go on with a packet. False: its inbox is full, the packet is gone.
static bool inject(struct underlay *u, struct rte_mbuf *m, enum node_id node)
{
	pkt_of(m)->node = (uint8_t)node;
	if (mailbox_put(u->gw->graph[0]->inbox, &m))
		return true;
	rte_pktmbuf_free(m);
	return false;
}

// Nobody answered at the next hop: whoever sent it is told. Nobody has to tell us.
static void unreachable(struct underlay *u, struct rte_mbuf *m, bool own)
{
	if (own) {
		rte_pktmbuf_free(m);
		return;
	}
	pkt_of(m)->reason = ICMP_NO_NEIGHBOUR;
	inject(u, m, NODE_ICMP_ERROR);
}

// Keep a packet while the kernel asks for the next hop. own: a datagram of ours, that leaves by the
// underlay's routes; otherwise one that the workers route. False: too many wait, as if nobody had
// answered.
static bool wait_for(struct underlay *u, struct rte_mbuf *m, const struct nexthop *nh,
	const struct ip_addr *to, bool own)
{
	struct ip_addr neighbour = nh->gateway.family ? nh->gateway : *to;
	mirror_resolve(u->mirror, nh->ifindex, &neighbour);
	if (u->n_waiting == WAITING_MAX || (own && u->n_waiting_own == WAITING_OWN)) {
		unreachable(u, m, own);
		return false;
	}
	u->n_waiting_own += own;
	u->waiting[u->n_waiting++] = (struct waiting){
		.m = m,
		.neighbour = neighbour,
		.ifindex = nh->ifindex,
		.own = own,
		.until = rte_rdtsc() + rte_get_tsc_hz() * WAITING_S,
	};
	return true;
}

static struct ip_addr destination(const struct rte_mbuf *m)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	return l3[0] >> 4 == 4 ? ip_addr_v4(l3 + 16) : ip_addr_v6(l3 + 24);
}

// A datagram of ours, from its IP header on: out, beside the tunnel's own routes.
static bool leave(struct underlay *u, struct rte_mbuf *m)
{
	struct nexthop nh;
	struct ip_addr to = destination(m);
	if (!mirror_underlay(u->mirror, &to, &nh)) {
		rte_pktmbuf_free(m);
		return false;
	}
	if (nh.type == NH_RESOLVE)
		return wait_for(u, m, &nh, &to, true);
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)rte_pktmbuf_prepend(m, L2_LEN);
	memcpy(eth, nh.l2, L2_LEN);
	eth->ether_type =
		rte_cpu_to_be_16(to.family == IP_V4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
	m->l2_len = L2_LEN;
	pkt_of(m)->port_out = nh.port;
	return inject(u, m, NODE_TX);
}

void underlay_neighbour(struct underlay *u, const struct ip_addr *addr, uint32_t ifindex)
{
	struct waiting known[WAITING_MAX];
	unsigned kept = 0, n = 0;
	for (unsigned i = 0; i < u->n_waiting; i++) {
		struct waiting *w = &u->waiting[i];
		bool is_it = w->ifindex == ifindex && ip_addr_equal(&w->neighbour, addr);
		u->n_waiting_own -= is_it && w->own;
		*(is_it ? &known[n++] : &u->waiting[kept++]) = *w;
	}
	u->n_waiting = kept;
	for (unsigned i = 0; i < n; i++) {
		if (known[i].own)
			leave(u, known[i].m);
		else
			inject(u, known[i].m, NODE_ROUTE);
	}
}

// A packet of the workers whose next hop is not known.
static void unresolved(struct underlay *u, struct rte_mbuf *m)
{
	struct ip_addr to = destination(m);
	const struct nexthop *nh = fib_lookup(u->gw->fib, &to);
	if (nh && nh->type == NH_RESOLVE)
		wait_for(u, m, nh, &to, false);
	else // it has become known meanwhile
		inject(u, m, NODE_ROUTE);
}

static void write_ip4(
	uint8_t *l3, const struct ip_addr *from, const struct ip_addr *to, size_t udp_len)
{
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)l3;
	*h = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.type_of_service = 0x88, // AF41, as the kernel marks handshakes
		.total_length = rte_cpu_to_be_16((uint16_t)(IP4_HDR_LEN + udp_len)),
		.time_to_live = OUTER_TTL,
		.next_proto_id = IPPROTO_UDP,
	};
	memcpy(&h->src_addr, from->bytes, 4);
	memcpy(&h->dst_addr, to->bytes, 4);
	csum_ip4_hdr_set(l3, IP4_HDR_LEN);
}

static void write_ip6(
	uint8_t *l3, const struct ip_addr *from, const struct ip_addr *to, size_t udp_len)
{
	struct rte_ipv6_hdr *h = (struct rte_ipv6_hdr *)l3;
	*h = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28 | 0x88u << 20),
		.payload_len = rte_cpu_to_be_16((uint16_t)udp_len),
		.proto = IPPROTO_UDP,
		.hop_limits = OUTER_TTL,
	};
	memcpy(h->src_addr, from->bytes, 16);
	memcpy(h->dst_addr, to->bytes, 16);
}

// The address to send from: the wish if it is still ours, else what the route prefers.
static bool source_for(const struct underlay *u, const struct ip_addr *wish,
	const struct ip_addr *to, struct ip_addr *out)
{
	if (wish->family == to->family && mirror_is_local(u->mirror, wish)) {
		*out = *wish;
		return true;
	}
	return mirror_source(u->mirror, to, out) == 0;
}

bool underlay_send(void *arg, const struct ip_addr *local, const struct endpoint *to,
	const uint8_t *data, size_t len)
{
	struct underlay *u = arg;
	struct ip_addr from;
	bool v4 = to->addr.family == IP_V4;
	uint16_t l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	uint16_t udp_len = (uint16_t)(UDP_HDR_LEN + len);
	if (len > DATAGRAM_MAX - IP6_HDR_LEN - UDP_HDR_LEN ||
		!source_for(u, local, &to->addr, &from))
		return false;
	struct rte_mbuf *m = rte_pktmbuf_alloc(u->gw->pool);
	if (!m)
		return false;
	uint8_t *l3 = (uint8_t *)rte_pktmbuf_append(m, l3_len + udp_len);
	(v4 ? write_ip4 : write_ip6)(l3, &from, &to->addr, udp_len);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(l3 + l3_len);
	*udp = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(atomic_load(&u->gw->wg_port)),
		.dst_port = rte_cpu_to_be_16(to->port),
		.dgram_len = rte_cpu_to_be_16(udp_len),
	};
	memcpy(udp + 1, data, len);
	struct pkt *p = pkt_of(m);
	*p = (struct pkt){.from = FROM_SELF};
	if (ip_parse(l3, m->data_len, &p->ip) < 0)
		abort(); // written a few lines above
	udp->dgram_cksum =
		csum_finish_udp(csum_add(udp, udp_len, csum_pseudo(l3, &p->ip, udp_len)));
	return leave(u, m);
}

// Outer header of datagrams to the endpoint, right-aligned.
static void write_outer(struct peer_path *path, const struct nexthop *nh, uint16_t wg_port, bool l2)
{
	bool v4 = path->family == IP_V4;
	unsigned l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	path->l2_len = l2 ? L2_LEN : 0;
	path->outer_len = (uint8_t)(path->l2_len + l3_len + UDP_HDR_LEN);
	uint8_t *at = path->outer + sizeof(path->outer) - path->outer_len;
	if (l2) {
		struct rte_ether_hdr *eth = (struct rte_ether_hdr *)at;
		memcpy(at, nh->l2, L2_LEN);
		eth->ether_type = rte_cpu_to_be_16(v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
		at += L2_LEN;
	}
	(v4 ? write_ip4 : write_ip6)(at, &path->local, &path->remote.addr, 0);
	if (v4)
		((struct rte_ipv4_hdr *)at)->type_of_service = 0;
	else
		((struct rte_ipv6_hdr *)at)->vtc_flow = rte_cpu_to_be_32(6u << 28);
	struct ip_info info = {
		.family = path->family, .proto = IPPROTO_UDP, .l3_len = (uint16_t)l3_len};
	path->udp_pseudo = csum_fold(csum_pseudo(at, &info, 0));
	*(struct rte_udp_hdr *)(at + l3_len) = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(wg_port),
		.dst_port = rte_cpu_to_be_16(path->remote.port),
	};
}

bool underlay_path(void *arg, const struct endpoint *to, struct peer_path *path)
{
	struct underlay *u = arg;
	struct ip_addr wish = path->local;
	if (!u->mirror || !source_for(u, &wish, &to->addr, &path->local)) {
		path->local = wish;
		return false;
	}
	struct nexthop nh;
	if (!mirror_underlay(u->mirror, &to->addr, &nh))
		return false;
	if (nh.type == NH_RESOLVE) {
		mirror_resolve(u->mirror, nh.ifindex, nh.gateway.family ? &nh.gateway : &to->addr);
		return false;
	}
	const struct port *port = u->gw->port[nh.port];
	uint16_t mtu = atomic_load(&port->mtu);
	if (nh.mtu && nh.mtu < mtu)
		mtu = nh.mtu;
	path->family = to->addr.family;
	path->port = nh.port;
	path->mtu = mtu - WG_DATA_OVERHEAD - UDP_HDR_LEN -
		    (path->family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN);
	write_outer(path, &nh, atomic_load(&u->gw->wg_port), port->l2);
	return true;
}

static void confirm_neighbours(void *arg, const struct wg_peer_info *info)
{
	struct underlay *u = arg;
	struct nexthop nh;
	uint64_t last = atomic_load_explicit(&info->peer->last_tx, memory_order_relaxed);
	if (rte_rdtsc() - last < rte_get_tsc_hz() * CONFIRM_S &&
		mirror_underlay(u->mirror, &info->endpoint.addr, &nh))
		mirror_resolve(u->mirror, nh.ifindex,
			nh.gateway.family ? &nh.gateway : &info->endpoint.addr);
}

static void on_tick(evutil_socket_t, short, void *arg)
{
	struct underlay *u = arg;
	uint64_t now = rte_rdtsc();
	unsigned kept = 0;
	for (unsigned i = 0; i < u->n_waiting; i++) {
		struct waiting *w = &u->waiting[i];
		if (now < w->until) {
			mirror_resolve(u->mirror, w->ifindex, &w->neighbour);
			u->waiting[kept++] = *w;
			continue;
		}
		u->n_waiting_own -= w->own;
		unreachable(u, w->m, w->own);
	}
	u->n_waiting = kept;
	if (u->mirror && u->wg && ++u->seconds % CONFIRM_S == 0)
		wg_peers_each(u->wg, confirm_neighbours, u);
}

// A datagram behind its IP and UDP header, which the worker has checked.
static void datagram(struct underlay *u, struct rte_mbuf *m)
{
	struct ip_info info;
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	if (ip_parse(l3, UINT16_MAX, &info) < 0)
		return;
	bool v4 = info.family == IP_V4;
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(l3 + info.l3_len);
	const uint8_t *data = (const uint8_t *)(udp + 1);
	size_t len = m->data_len - info.l3_len - UDP_HDR_LEN;
	struct endpoint from = {
		.addr = v4 ? ip_addr_v4(l3 + 12) : ip_addr_v6(l3 + 8),
		.port = rte_be_to_cpu_16(udp->src_port),
	};
	struct ip_addr to = v4 ? ip_addr_v4(l3 + 16) : ip_addr_v6(l3 + 24);
	enum udp_class class = udp_classify(data, len);
	if (class != UDP_WIREGUARD && u->disco)
		u->disco(u->disco_arg, &from, &to, class, data, len);
	else if (class == UDP_WIREGUARD && u->wg)
		wg_receive(u->wg, data, len, &from, &to);
}

static void take_punted(struct underlay *u, struct rte_mbuf *m)
{
	if (pkt_of(m)->reason == PUNT_RESOLVE) {
		unresolved(u, m);
		return;
	}
	datagram(u, m);
	rte_pktmbuf_free(m);
}

// Sleep on the mailbox again, or come back at once when there is more.
static void next_time(struct mailbox *box, struct event *e)
{
	if (mailbox_count(box) > 0 || !mailbox_sleep(box))
		event_active(e, EV_READ, 0);
}

static void on_punted(evutil_socket_t, short, void *arg)
{
	struct underlay *u = arg;
	struct rte_mbuf *m;
	mailbox_wake(u->gw->punted);
	for (unsigned i = 0; i < PER_WAKE_UP && (m = punted_get(u->gw)); i++)
		take_punted(u, m);
	next_time(u->gw->punted, u->punted);
}

static void on_events(evutil_socket_t, short, void *arg)
{
	struct underlay *u = arg;
	struct worker_event e;
	mailbox_wake(u->gw->events);
	for (unsigned i = 0; i < PER_WAKE_UP && mailbox_get(u->gw->events, &e, 1) == 1; i++) {
		if (u->wg)
			wg_event(u->wg, &e);
	}
	next_time(u->gw->events, u->events);
}

struct underlay *underlay_create(struct event_base *base, struct gateway *gw)
{
	const struct timeval second = {.tv_sec = 1};
	struct underlay *u = mem_alloc(sizeof(*u));
	u->gw = gw;
	u->events = event_new(base, mailbox_fd(gw->events), EV_READ | EV_PERSIST, on_events, u);
	u->punted = event_new(base, mailbox_fd(gw->punted), EV_READ | EV_PERSIST, on_punted, u);
	u->tick = event_new(base, -1, EV_PERSIST, on_tick, u);
	if (u->events && u->punted && u->tick && event_add(u->tick, &second) == 0)
		return u;
	underlay_destroy(u);
	return NULL;
}

void underlay_destroy(struct underlay *u)
{
	if (!u)
		return;
	for (unsigned i = 0; i < u->n_waiting; i++)
		rte_pktmbuf_free(u->waiting[i].m);
	if (u->events)
		event_free(u->events);
	if (u->punted)
		event_free(u->punted);
	if (u->tick)
		event_free(u->tick);
	free(u);
}

void underlay_set_mirror(struct underlay *u, struct mirror *mirror)
{
	u->mirror = mirror;
}

void underlay_set_wg(struct underlay *u, struct wg *wg)
{
	u->wg = wg;
}

void underlay_set_disco(struct underlay *u, underlay_disco_fn *fn, void *arg)
{
	u->disco = fn;
	u->disco_arg = arg;
	atomic_store(&u->gw->disco, fn != NULL);
}

int underlay_start(struct underlay *u)
{
	if (event_add(u->events, NULL) < 0 || event_add(u->punted, NULL) < 0)
		return -EINVAL;
	next_time(u->gw->events, u->events);
	next_time(u->gw->punted, u->punted);
	return 0;
}
