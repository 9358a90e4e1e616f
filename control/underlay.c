#include <errno.h>
#include <stdlib.h>

#include "control/underlay_parts.h"
#include "dataplane/base/mailbox.h"
#include "dataplane/table/peer_table.h"

enum {
	PER_WAKE_UP = 256, // messages of workers that one wake-up works off
	WAITING_S = 3,	   // then the next hop counts as unreachable (the kernel asks 3 times)
	CONFIRM_S = 20,	   // neighbours of peers in use are confirmed this often
};

// Let a worker go on with a packet. False: its inbox is full, the packet is gone.
static bool inject_to(struct underlay *u, uint16_t worker, struct rte_mbuf *m, enum node_id node)
{
	pkt_of(m)->node = (uint8_t)node;
	if (mailbox_put(u->gw->graph[worker]->inbox, &m))
		return true;
	rte_pktmbuf_free(m);
	return false;
}

static bool inject(struct underlay *u, struct rte_mbuf *m, enum node_id node)
{
	return inject_to(u, 0, m, node);
}

// On with what waited for its next hop. What was not translated before that is known, is now.
static void resume(struct underlay *u, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	const struct peer *peer;
	if (p->nat != PKT_NAT_WAITS) {
		inject(u, m, NODE_ROUTE);
		return;
	}
	p->nat = PKT_NAT_NONE;
	peer = peer_table_get(u->gw->peers, (uint32_t)p->counter);
	if (peer)
		inject_to(u, peer->owner, m, NODE_NAT);
	else
		rte_pktmbuf_free(m);
}

// Nobody answered at the next hop: whoever sent it is told. Nobody has to tell us.
static void unreachable(struct underlay *u, struct rte_mbuf *m, bool own)
{
	if (own) {
		rte_pktmbuf_free(m);
		return;
	}
	if (pkt_of(m)->nat == PKT_NAT_WAITS)
		pkt_of(m)->nat = PKT_NAT_NONE;
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

bool underlay_leave(struct underlay *u, struct rte_mbuf *m)
{
	struct nexthop nh;
	struct ip_addr to = destination(m);
	if (!mirror_underlay(u->mirror, &to, &nh) ||
		m->pkt_len > atomic_load(&u->gw->port[nh.port]->mtu)) {
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
			underlay_leave(u, known[i].m);
		else
			resume(u, known[i].m);
	}
}

void underlay_unresolved(struct underlay *u, struct rte_mbuf *m)
{
	struct ip_addr to = destination(m);
	const struct nexthop *nh = fib_lookup(u->gw->fib, &to);
	if (nh && nh->type == NH_RESOLVE)
		wait_for(u, m, nh, &to, false);
	else // it has become known meanwhile
		resume(u, m);
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
		underlay_take(u, m);
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

int underlay_start(struct underlay *u)
{
	if (event_add(u->events, NULL) < 0 || event_add(u->punted, NULL) < 0)
		return -EINVAL;
	next_time(u->gw->events, u->events);
	next_time(u->gw->punted, u->punted);
	return 0;
}
