// The graph that every packet walks: nodes in one order, edges only forward. A node is a function
// over a burst; it hands each packet on with graph_to(), or ends it with graph_drop(). A node's
// queue runs when it is full and at the end of a round; so bursts stay together and nothing waits.
#pragma once

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "dataplane/crypto/aead.h"
#include "dataplane/node/drops.h"
#include "dataplane/port/port.h"
#include "dataplane/table/fib.h"
#include "dataplane/table/flow.h"
#include "dataplane/table/nat.h"
#include "dataplane/table/peer.h"
#include "dataplane/table/rules.h"
#include "dataplane/table/unanswered.h"
#include "dataplane/wire/ip.h"

enum {
	BURST = 64,
};

// In the order in which a packet passes them, so that one pass over the queues empties them all: an
// edge leads to a later node, or back to its own (fragments). docs/graph.md draws the edges.
#define NODES(X)                                                                                   \
	X(ETH_INPUT, eth_input)	      /* Ethernet header: IP, or the kernel's business */          \
	X(HOST_INPUT, host_input)     /* from the host TUN into the tunnel */                      \
	X(CLASSIFY, classify)	      /* plain or WireGuard; ours or the kernel's */               \
	X(VXLAN_INPUT, vxlan_input)   /* a VXLAN that ends here: off with it */                    \
	X(WG_INPUT, wg_input)	      /* split super-datagrams, message type, receiver index */    \
	X(WG_DECRYPT, wg_decrypt)     /* data packets in, allowed source */                        \
	X(REASSEMBLE, reassemble)     /* fragments of filtered peers, and for the translation */   \
	X(FILTER, filter)	      /* of a tailnet: who may begin what */                       \
	X(NAT, nat)		      /* of a tailnet: new addresses for what leaves */            \
	X(NAT_RETURN, nat_return)     /* and the old ones for what answers */                      \
	X(OVERLAY, overlay)	      /* MSS clamp */                                              \
	X(ROUTE, route)		      /* TTL, next hop */                                          \
	X(WG_ROUTE, wg_route)	      /* allowed IPs: which peer, which key, does it fit */        \
	X(ICMP_ERROR, icmp_error)     /* tell the sender */                                        \
	X(WG_ENCRYPT, wg_encrypt)     /* segment, seal, outer header */                            \
	X(PUNT, punt)		      /* to the control thread */                                  \
	X(LINK_OUTPUT, link_output)   /* coalesce, Ethernet header; a port, or the host TUN */     \
	X(VXLAN_OUTPUT, vxlan_output) /* to hosts behind remote VTEPs */                           \
	X(MIRROR, mirror)	      /* frames between an owned port and the kernel */            \
	X(TX, tx)		      /* transmit */

enum node_id {
#define X(id, name) NODE_##id,
	NODES(X)
#undef X
		NODE_COUNT
};

// Where a packet came into the graph.
enum pkt_from {
	FROM_PORT,   // a LAN or WAN port
	FROM_HOST,   // the host TUN
	FROM_TUNNEL, // decrypted
	FROM_SELF, // made here: ICMP errors, keepalives, the control thread's packets and datagrams
};

// What the control thread asks of a peer's owner: an empty packet FROM_SELF that enters at
// WG_ROUTE.
enum self_reason {
	SELF_KEEPALIVE, // send a keepalive
	SELF_KEYED,	// a new keypair: send what waits, or else a keepalive
	SELF_FLUSH,	// a new keypair or path: send what waits
	SELF_GIVE_UP,	// no answer: drop what waits
};

// What was done to a packet: an error about it has the way of its answers.
enum pkt_nat {
	PKT_NAT_NONE,
	PKT_NAT_OUT, // a peer's has another source or destination
	PKT_NAT_IN,  // what came for an outside address is a peer's now
	// Not decided: who translates is known with the next hop. With the peer's id as counter.
	PKT_NAT_WAITS,
};

enum icmp_reason {
	ICMP_TTL,	   // time exceeded
	ICMP_TOO_BIG,	   // fragmentation needed, packet too big; pkt.mtu
	ICMP_NO_ROUTE,	   // network unreachable
	ICMP_NO_PEER,	   // host unreachable: in nobody's allowed IPs
	ICMP_NO_ENDPOINT,  // host unreachable: the peer is nowhere yet
	ICMP_NO_KEY,	   // host unreachable: the peer does not answer
	ICMP_NO_NEIGHBOUR, // host unreachable: the next hop does not answer
	ICMP_PROHIBITED,   // administratively prohibited
	ICMP_PORT_CLOSED,  // port unreachable
};

enum punt_reason {
	// A datagram to our port for the control thread, data at the outer IP header:
	PUNT_DATAGRAM, // initiation, response or cookie reply, with its Geneve header if it has one
	PUNT_DISCO,    // STUN, disco, Geneve disco
	// With the peer's id as counter:
	PUNT_DERP, // a sealed WireGuard datagram that is to go over DERP
	PUNT_TSMP, // a packet of protocol TSMP that came through the tunnel, from its IP header on
	PUNT_RESOLVE, // next hop without neighbour; the packet waits at the control thread
	PUNT_TOO_BIG, // an ICMP error to us that says so, from its IP header on
	PUNT_REASON_COUNT,
};

// What the graph knows of a packet: the private area of its mbuf. // worker that holds the packet
struct pkt {
	struct peer *peer;
	union {
		struct keypair *keypair;
		struct nat_flow *flow;	 // between FILTER and NAT; NULL: none
		const struct vtep *vtep; // between ROUTE and VXLAN_OUTPUT
	};
	const struct nexthop *nexthop;
	const uint8_t *outer; // decrypted or to be: the outer IP header, in the same buffer
	uint64_t counter;     // of the data packet; FROM_SELF in an inbox: id of the peer
	struct ip_info ip;    // of the header at the packet's data
	uint16_t port_in;     // where it was received
	uint16_t port_out;
	uint8_t from;	// enum pkt_from
	uint8_t node;	// enum node_id where an injected packet enters
	uint8_t reason; // enum punt_reason, icmp_reason or self_reason
	uint8_t trace;	// 0, or 1 + slot of the worker's trace
	uint16_t mtu;	// ICMP too big: what to tell
	uint8_t nat;	// enum pkt_nat
};
static_assert(sizeof(struct pkt) <= PKT_PRIV_LEN);
static_assert(offsetof(struct pkt, peer) == 0); // and peer_staged_next(), while it waits

static inline struct pkt *pkt_of(struct rte_mbuf *m)
{
	return (struct pkt *)rte_mbuf_to_priv(m);
}

struct graph;
typedef void node_fn(struct graph *g, struct rte_mbuf **pkts, uint16_t n);

struct node_stats { // wrk rw, ctl ro (relaxed)
	uint64_t calls;
	uint64_t packets;
	uint64_t cycles;
};

struct node_queue {
	uint16_t n;
	struct rte_mbuf *pkts[BURST];
};

// Events for the control thread, by value in its mailbox.
enum {
	EVENTS_SIZE = 8192, // elements of the mailboxes to the control thread
	PUNTED_SIZE = 4096,
};

enum event_type {
	EVENT_NEED_HANDSHAKE, // something to send, no key or one that ages
	EVENT_NEED_PATH,      // something to send, a key, but no way to the endpoint
	EVENT_CONFIRMED,      // first authentic packet on a keypair: switch to it
	EVENT_ROAM,	      // authentic packet from another source
};

struct worker_event { // element of the worker-to-control mailbox
	uint32_t type;
	uint32_t peer_id;
	uint32_t index; // local index of the keypair that it is about, or 0
	uint32_t worker;
	struct endpoint source; // EVENT_ROAM
	struct ip_addr local;
	uint16_t pad;
};
static_assert(sizeof(struct worker_event) % 4 == 0);

// One packet's steps, for 'tailgate trace'. // wrk rw; ctl reads when trace_done > 0
enum {
	TRACE_SLOTS = 64,
	TRACE_STEPS = 24,
};

struct trace_step {
	uint64_t tsc;
	uint8_t node;
	uint8_t drop; // 1 + reason, or 0
	uint32_t len;
	uint16_t segments;
	uint8_t head[40]; // the packet's first bytes at this node
};

struct trace {
	uint8_t n;
	uint16_t port_in;
	struct trace_step step[TRACE_STEPS];
};

struct capture; // node/capture.h

// What can be counted beside drops.
#define COUNTERS(X)                                                                                \
	X(LEFT_TO_KERNEL, "left_to_kernel", "packets on shared ports that are the kernel's")       \
	X(SUPERS_SEGMENTED, "supers_segmented", "super-packets segmented before encryption")       \
	X(SEGMENTS_MADE, "segments_made", "segments made from them")                               \
	X(SEGMENTS_COALESCED, "segments_coalesced",                                                \
		"decrypted segments that went into super-packets")                                 \
	X(SUPERS_COALESCED, "supers_coalesced", "super-packets handed on after decryption")        \
	X(DATAGRAMS_SPLIT, "datagrams_split", "WireGuard datagrams that arrived in super-packets") \
	X(DATAGRAMS_BATCHED, "datagrams_batched",                                                  \
		"WireGuard datagrams that left in super-packets")                                  \
	X(BATCHES, "batches", "super-packets of WireGuard datagrams sent")                         \
	X(KEEPALIVES_RX, "keepalives_received", "keepalives received")                             \
	X(PROBES_RX, "path_probes_received",                                                       \
		"datagrams with which peers ask the routers between, dropped")                     \
	X(KEEPALIVES_TX, "keepalives_sent", "keepalives sent")                                     \
	X(MSS_CLAMPED, "mss_clamped", "TCP SYNs whose MSS was lowered")                            \
	X(VXLAN_SHORT, "vxlan_passed_short", "VXLAN in the tunnel, passed on as it is: cut short") \
	X(VXLAN_FLAGS, "vxlan_passed_flags",                                                       \
		"VXLAN in the tunnel, passed on as it is: without VNI, or of another kind")        \
	X(VXLAN_VLAN, "vxlan_passed_vlan",                                                         \
		"VXLAN in the tunnel, passed on as it is: its frame has a VLAN tag")               \
	X(VXLAN_NOT_IP, "vxlan_passed_not_ip",                                                     \
		"VXLAN in the tunnel, passed on as it is: neither IPv4 nor IPv6, such as ARP")     \
	X(VXLAN_INNER, "vxlan_passed_inner",                                                       \
		"VXLAN in the tunnel, passed on as it is: the IP header inside makes no sense")    \
	X(VXLAN_NESTED, "vxlan_passed_nested",                                                     \
		"VXLAN in the tunnel, passed on as it is: deeper than vxlan_depth")                \
	X(VXLAN_TOLD, "vxlan_too_big",                                                             \
		"hosts in VXLAN in the tunnel that were told of a packet too big")                 \
	X(ICMP_SENT, "icmp_errors_sent", "ICMP errors sent")                                       \
	X(FRAGMENTED, "fragmented",                                                                \
		"packets fragmented: IPv4 without DF, and what was put together")                  \
	X(REASSEMBLED, "reassembled", "packets put together of fragments, to be judged whole")     \
	X(FLOWS_EVICTED, "flows_evicted",                                                          \
		"flows that the packet filter forgot early: more than 65536 of a worker")          \
	X(REJECTS_SENT, "rejects_sent", "TSMP messages to peers whose connections were refused")   \
	X(NAT_CREATED, "nat_flows_created", "flows that got other addresses")                      \
	X(NAT_EXPIRED, "nat_flows_expired", "translated flows that ended idle")                    \
	X(NAT_EVICTED, "nat_flows_evicted",                                                        \
		"translated flows that ended early, for new ones: table, ports or client full")    \
	X(VTEP_IN, "vxlan_in", "packets out of VXLANs that end here, into the tunnel")             \
	X(VTEP_OUT, "vxlan_out", "packets into VXLANs that end here")                              \
	X(VTEP_UNKNOWN, "vxlan_unknown_vni",                                                       \
		"VXLAN datagrams left to the kernel: of no device that ends here")                 \
	X(STAGED, "staged", "packets that waited for a handshake")                                 \
	X(HANDOFF, "handed_off", "packets handed to the worker that owns the peer")                \
	X(PUNTED, "punted", "packets handed to the control thread")                                \
	X(CAPTURE_LOST, "capture_lost", "packets that a running capture missed")

enum counter {
#define X(name, label, help) COUNTER_##name,
	COUNTERS(X)
#undef X
		COUNTER_COUNT
};
const char *counter_label(enum counter);
const char *counter_help(enum counter);

// What workers and control share; made before workers start.
struct gateway {
	struct port *port[PORT_MAX]; // fixed after init
	uint16_t n_ports, n_workers; // fixed after init
	uint16_t host_port;	     // the TUN; PORT_NONE: none
	_Atomic uint16_t wg_port;    // ctl: rw, wrk: ro: UDP port, host order
	// ctl: rw, wrk: ro: more of them over IPv4: first << 16 | how many
	_Atomic uint32_t extra_ports;
	_Atomic uint16_t tunnel_mtu;	  // ctl: rw, wrk: ro
	_Atomic bool mss_clamp, coalesce; // ctl: rw, wrk: ro
	_Atomic bool fragment;		  // ctl: rw, wrk: ro: IPv4 without DF, into the tunnel
	_Atomic uint8_t vxlan_depth;	  // ctl: rw, wrk: ro
	_Atomic uint64_t vxlan_ports;	  // ctl: rw, wrk: ro: inside the tunnel; vxlan_ports_pack()
	_Atomic uint32_t icmp_rate;	  // ctl: rw, wrk: ro: errors per second and worker
	// ctl: rw, wrk: ro: STUN, disco and Geneve are taken on the WireGuard port; else malformed
	_Atomic bool disco;
	struct rules *_Atomic rules;	// ctl: rw, wrk: ro (RCU): for filtered peers; NULL: none
	struct nat_config *_Atomic nat; // ctl: rw, wrk: ro (RCU): for filtered peers; NULL: none
	struct fib *fib;
	struct allowedips *allowed;
	struct index_table *index;
	struct peer_table *peers;
	struct rcu *rcu;
	struct rte_mempool *pool;	     // 2 KiB
	struct rte_mempool *super_pool;	     // 64 KiB
	struct mailbox *events;		     // struct worker_event, workers to control
	struct mailbox *punted;		     // struct rte_mbuf *, workers to control: punted_get()
	struct graph *graph[PORT_QUEUE_MAX]; // one per worker
	// ctl: rw, wrk: ro: addresses that ICMP errors are sent from, by port; 0 = none
	_Atomic uint32_t port_addr4[PORT_MAX];	      // network order
	struct ip_addr *_Atomic port_addr6[PORT_MAX]; // RCU
	double tsc_per_ns;			      // fixed after init
	uint32_t nat_flows; // fixed after init: most of a worker; 0: NAT_FLOWS
	// wrk: add, ctl: takes away: how many wait in punted, by reason. A line of its own: what is
	// above is read for every packet.
	alignas(64) _Atomic uint32_t punted_n[PUNT_REASON_COUNT];
	alignas(64) struct nat_claims nat_claims; // wrk: rw
};

// One worker's state. // wrk only, unless said otherwise
struct graph {
	struct gateway *gw;
	uint16_t id;		// worker, and queue of every port
	bool tracing;		// at least one packet in this round is traced
	uint64_t now;		// TSC at the start of the round
	uint64_t charged_until; // cycles are counted up to here
	uint8_t running; // enum node_id that cycles go to; outside of nodes, the port's first
	uint16_t ip_id;	 // of IPv4 headers that we make
	struct aead *aead;
	struct node_queue queue[NODE_COUNT];
	node_fn *fn[NODE_COUNT];
	struct node_queue txq[PORT_MAX]; // what tx has collected for each port
	uint32_t txq_bytes[PORT_MAX];
	struct flow_table *flows;      // what went to filtered peers
	struct nat_table *nat;	       // what filtered peers have begun; ctl: nat_table_read()
	struct unanswered *unanswered; // whom filtered peers ask in vain; ctl: unanswered_read()
	// Every port that was ever an outside one; nothing: first > last
	uint16_t nat_port_first, nat_port_last;
	struct node_state *state; // what nodes keep over a round: gro, datagram runs
	struct mailbox *inbox;	  // struct rte_mbuf *, anyone to this worker: pkt_of()->node
	struct node_queue later;  // packets made here that enter at ROUTE in the next round
	uint64_t icmp_tokens, icmp_refilled; // TSC units

	alignas(64) uint64_t drops[DROP_COUNT]; // wrk rw, ctl ro (relaxed)
	uint64_t counters[COUNTER_COUNT];	// wrk rw, ctl ro (relaxed)
	struct node_stats stats[NODE_COUNT];	// wrk rw, ctl ro (relaxed)
	uint64_t rounds, empty_rounds, sleeps;	// wrk rw, ctl ro (relaxed)
	uint64_t busy_cycles;			// wrk rw, ctl ro (relaxed)
	uint64_t burst_packets[8];		// rx bursts of 1, 2-3, 4-7, ... 64 packets
	uint64_t fragment_buffers;		// wrk rw, ctl ro (relaxed): in which fragments wait

	_Atomic uint32_t
		trace_wanted; // ctl sets (and trace_done to 0), wrk takes: packets to trace
	_Atomic uint32_t
		trace_done;  // wrk: traces to read, release; nothing is written until wanted
	uint16_t trace_used; // wrk only
	struct trace *trace; // TRACE_SLOTS
	struct capture *_Atomic capture; // ctl: rw, wrk: ro (RCU): where copies go, or NULL
};

const char *node_name(enum node_id);
struct graph *graph_create(struct gateway *gw, uint16_t id, const char *aead) must_check; // [ctl]
void graph_destroy(struct graph *g); // frees queued packets [ctl, worker gone]
// Run one node over its queue, then whatever that filled up. [wrk]
void graph_run(struct graph *g, enum node_id node);
// Run all queues until they are empty, in order. [wrk]
void graph_flush(struct graph *g);
// Let packets of the inbox and of the last round's ICMP errors in, and end idle flows; returns how
// many packets, and 1 more while flows are left to look at. [wrk]
unsigned graph_inbox(struct graph *g);
void graph_trace_step(struct graph *g, struct rte_mbuf *m, enum node_id node, unsigned drop);
// What a worker punted next, the caller's now; NULL: nothing waits. [ctl]
struct rte_mbuf *punted_get(struct gateway *gw);

// Hand a packet to a node.
static inline void graph_to(struct graph *g, enum node_id node, struct rte_mbuf *m)
{
	struct node_queue *q = &g->queue[node];
	q->pkts[q->n++] = m;
	if (unlikely(q->n == BURST))
		graph_run(g, node);
}

// Hand n packets of a burst to a node, in order. NODE_COUNT: they have ended, nothing is done.
void graph_to_run(struct graph *g, enum node_id node, struct rte_mbuf **pkts, unsigned n);

// What a node's loop keeps to hand on neighbours of a burst that go the same way in one step, not
// each on its own: as {pkts, NODE_COUNT} at first.
struct graph_way {
	struct rte_mbuf **first; // not handed on from here on
	enum node_id node;	 // where they go; NODE_COUNT: they have ended
};

// The packet at `at`, a place in the burst, goes to node; NODE_COUNT: it has ended, or went by
// graph_to. Behind the last place, with NODE_COUNT: hand on what is left.
static inline void graph_go(
	struct graph *g, struct graph_way *w, struct rte_mbuf **at, enum node_id node)
{
	if (likely(node == w->node))
		return;
	graph_to_run(g, w->node, w->first, (unsigned)(at - w->first));
	w->first = at;
	w->node = node;
}

static inline void graph_drop(struct graph *g, struct rte_mbuf *m, enum drop_reason reason)
{
	g->drops[reason]++;
	if (unlikely(g->tracing && pkt_of(m)->trace))
		graph_trace_step(g, m, (enum node_id)g->running, reason + 1);
	rte_pktmbuf_free(m);
}

static inline void graph_count(struct graph *g, enum counter counter, uint64_t n)
{
	g->counters[counter] += n;
}

// Each node's own file defines it.
#define X(id, name) node_fn node_##name;
NODES(X)
#undef X
