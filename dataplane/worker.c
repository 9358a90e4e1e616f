#include "dataplane/worker.h"

#include <poll.h>
#include <rte_cycles.h>
#include <rte_pause.h>
#include <stdlib.h>

#include "dataplane/base/mailbox.h"

enum {
	// Packets taken from a port at once. Super-packets are taken a few at a time, so that they
	// are still in the core's cache when they leave.
	RX_BURST = BURST,
	RX_SUPERS = 4,
	RX_SUPER_BYTES = 16 * 1024, // from this mean size on

	PREFETCH = 4, // packets ahead

	IDLE_SPINS = 2,	   // empty rounds before sleeping
	SLEEP_MS = 1000,   // the bell and the ports wake it sooner
	NAP_FIRST_US = 20, // where a port has nothing to wait on
	NAP_MAX_US = 1000,
};

struct worker {
	struct graph *g;
	bool busy;
	_Atomic bool stop;
	// The inbox and the ports. Not an epoll set: a port may put another file behind its number.
	struct pollfd watched[1 + PORT_MAX];
	unsigned n_watched;
	bool must_nap; // a port without wait handle
	unsigned nap_us;
	uint16_t want[PORT_MAX]; // packets to ask of each port
	enum node_id entry[PORT_MAX];
	struct pkt blank[PORT_MAX]; // what is known of a packet that a port receives
};

static enum node_id entry_of(const struct port *port)
{
	switch (port->kind) {
	case PORT_TUN:
		return NODE_HOST_INPUT;
	case PORT_MIRROR:
		return NODE_MIRROR;
	default:
		return NODE_ETH_INPUT;
	}
}

static struct pkt blank_of(const struct port *port)
{
	bool mirror = port->kind == PORT_MIRROR;
	return (struct pkt){
		.port_in = port->id,
		.from = mirror ? FROM_HOST : FROM_PORT,
		.port_out = mirror ? port->peer->id : 0,
	};
}

static void watch(struct worker *w, int fd)
{
	w->watched[w->n_watched++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

struct worker *worker_create(struct graph *g, bool busy)
{
	struct worker *w = mem_alloc(sizeof(*w));
	*w = (struct worker){.g = g, .busy = busy, .nap_us = NAP_FIRST_US};
	watch(w, mailbox_fd(g->inbox));
	for (unsigned i = 0; i < g->gw->n_ports; i++) {
		struct port *port = g->gw->port[i];
		int fd = port->ops->wait_fd(port, g->id);
		w->entry[i] = entry_of(port);
		w->blank[i] = blank_of(port);
		w->want[i] = RX_BURST;
		if (fd < 0)
			w->must_nap = true;
		else
			watch(w, fd);
	}
	return w;
}

void worker_destroy(struct worker *w)
{
	free(w);
}

void worker_stop(struct worker *w)
{
	atomic_store(&w->stop, true);
	mailbox_ring(w->g->inbox);
}

static void count_burst(struct graph *g, unsigned n)
{
	unsigned slot = 31 - (unsigned)__builtin_clz(n);
	g->burst_packets[RTE_MIN(slot, RTE_DIM(g->burst_packets) - 1)]++;
}

// Follow this packet for 'tailgate trace'.
static void trace_start(struct graph *g, struct pkt *p)
{
	if (!g->tracing)
		g->trace_used = 0;
	g->tracing = true;
	if (g->trace_used < TRACE_SLOTS) {
		g->trace[g->trace_used] = (struct trace){.port_in = p->port_in};
		p->trace = (uint8_t)++g->trace_used;
	}
	atomic_fetch_sub_explicit(&g->trace_wanted, 1, memory_order_relaxed);
}

// All that were asked for have gone through: the control thread may read.
static void trace_end(struct graph *g)
{
	if (atomic_load_explicit(&g->trace_wanted, memory_order_relaxed) > 0)
		return;
	g->tracing = false;
	atomic_store_explicit(&g->trace_done, g->trace_used, memory_order_release);
}

// Take up to want packets of a port into the graph.
static unsigned receive(struct worker *w, uint16_t id)
{
	struct rte_mbuf *pkts[RX_BURST];
	struct graph *g = w->g;
	struct port *port = g->gw->port[id];
	uint64_t bytes = 0;
	// Also while it is down: what came before is taken, or it would keep the worker awake.
	unsigned n = port_rx(port, g->id, pkts, w->want[id]);
	if (n == 0)
		return 0;
	count_burst(g, n);
	g->running = (uint8_t)w->entry[id]; // receiving costs the port's first node
	for (unsigned i = 0; i < n; i++) {
		if (i + PREFETCH < n) {
			rte_prefetch0(pkt_of(pkts[i + PREFETCH]));
			rte_prefetch0(rte_pktmbuf_mtod(pkts[i + PREFETCH], void *));
		}
		// Copied, not made here: what was just stored in pieces is slow to read as a whole.
		*pkt_of(pkts[i]) = w->blank[id];
		bytes += pkts[i]->pkt_len;
		if (unlikely(atomic_load_explicit(&g->trace_wanted, memory_order_relaxed)))
			trace_start(g, pkt_of(pkts[i]));
	}
	graph_to_run(g, w->entry[id], pkts, n);
	w->want[id] = bytes / n >= RX_SUPER_BYTES ? RX_SUPERS : RX_BURST;
	return n;
}

unsigned worker_round(struct worker *w)
{
	struct graph *g = w->g;
	g->now = rte_rdtsc();
	g->charged_until = g->now;
	unsigned n = graph_inbox(g);
	for (uint16_t i = 0; i < g->gw->n_ports; i++)
		n += receive(w, i);
	if (n > 0) {
		graph_flush(g);
		if (unlikely(g->tracing))
			trace_end(g);
		g->busy_cycles += rte_rdtsc() - g->now;
	}
	g->rounds++;
	g->empty_rounds += n == 0;
	rte_rcu_qsbr_quiescent(rcu_qsbr(g->gw->rcu), g->id);
	return n;
}

static void arm(struct worker *w, bool on)
{
	struct graph *g = w->g;
	for (unsigned i = 0; i < g->gw->n_ports; i++) {
		struct port *port = g->gw->port[i];
		if (port->ops->wait_arm)
			port->ops->wait_arm(port, g->id, on);
	}
}

// Wait for a port or the inbox; ports without a wait handle are looked at again after a nap that
// grows. Meanwhile the worker is offline for RCU.
static void rest(struct worker *w)
{
	struct graph *g = w->g;
	struct rte_rcu_qsbr *qsbr = rcu_qsbr(g->gw->rcu);
	struct timespec nap = {.tv_sec = SLEEP_MS / 1000};
	if (g->later.n > 0 || !mailbox_sleep(g->inbox))
		return;
	arm(w, true);
	rte_rcu_qsbr_thread_offline(qsbr, g->id);
	if (w->must_nap) {
		nap = (struct timespec){.tv_nsec = (long)w->nap_us * 1000};
		w->nap_us = RTE_MIN(w->nap_us * 2, (unsigned)NAP_MAX_US);
	}
	ppoll(w->watched, w->n_watched, &nap, NULL);
	rte_rcu_qsbr_thread_online(qsbr, g->id);
	arm(w, false);
	mailbox_wake(g->inbox);
	g->sleeps++;
}

int worker_run(void *arg)
{
	struct worker *w = arg;
	struct graph *g = w->g;
	unsigned idle = 0;
	rte_rcu_qsbr_thread_register(rcu_qsbr(g->gw->rcu), g->id);
	rte_rcu_qsbr_thread_online(rcu_qsbr(g->gw->rcu), g->id);
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		if (worker_round(w) > 0) {
			idle = 0;
			w->nap_us = NAP_FIRST_US;
		} else if (w->busy || ++idle <= IDLE_SPINS) {
			rte_pause();
		} else {
			rest(w);
		}
	}
	rte_rcu_qsbr_thread_offline(rcu_qsbr(g->gw->rcu), g->id);
	rte_rcu_qsbr_thread_unregister(rcu_qsbr(g->gw->rcu), g->id);
	return 0;
}
