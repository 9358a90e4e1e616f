// What nodes keep between the packets of one round; each part belongs to one node.
#pragma once

#include "dataplane/node/node.h"
#include "dataplane/port/gso.h"
#include "dataplane/table/fragments.h"

enum {
	CHAINS = 4,		 // peers whose datagrams are being collected at once
	CHAIN_SEGMENTS_MAX = 64, // UDP_MAX_SEGMENTS of older kernels
	// UDP payload of one super-datagram: with IPv6 and Ethernet headers 65535 bytes, beyond
	// which the kernel segments it itself.
	CHAIN_BYTES_MAX = 65535 - L2_LEN - IP6_HDR_LEN - UDP_HDR_LEN,
};

// Datagrams of equal length to one peer, to leave as one super-datagram.
struct chain {
	const struct peer_path *path; // NULL: unused
	struct rte_mbuf *head, *tail;
	uint32_t bytes;
	uint16_t size; // of each but the last
	uint8_t tos;
	bool closed; // the last was shorter
};

// Datagrams of equal length from one source port to one remote VTEP, likewise.
struct vxlan_run {
	const struct vtep *to; // NULL: unused
	struct rte_mbuf *head, *tail;
	uint32_t bytes;
	uint16_t size; // of each but the last
	uint16_t n;
	rte_be16_t source;
	uint8_t tos;
	bool closed; // the last was shorter
};

enum {
	STATE_CHAINS = 1,
	STATE_GRO = 2,
	STATE_FRAGMENTS = 4,
	STATE_RUNS = 8,
};

struct node_state {		      // wrk only
	unsigned collecting;	      // STATE_*: what holds packets
	struct gro *gro;	      // link_output
	struct chain chain[CHAINS];   // wg_encrypt
	struct vxlan_run run[CHAINS]; // vxlan_output
	struct fragments *fragments;  // reassemble
	uint32_t fragment_id;	      // the last that was given
};

struct node_state *node_state_create(struct graph *g); // [ctl]
void node_state_destroy(struct node_state *);	       // [ctl]

// Called once per round behind each node's queue: hand on what it has collected. [wrk]
void node_state_flush(struct graph *g, enum node_id node);
// Whether a node may have collected something in this round.
static inline bool node_state_holds(const struct graph *g, enum node_id node)
{
	return (node == NODE_WG_ENCRYPT && g->state->collecting & STATE_CHAINS) ||
	       (node == NODE_LINK_OUTPUT && g->state->collecting & STATE_GRO) ||
	       (node == NODE_REASSEMBLE && g->state->collecting & STATE_FRAGMENTS) ||
	       (node == NODE_VXLAN_OUTPUT && g->state->collecting & STATE_RUNS) || node == NODE_TX;
}

// Datagrams (sealed WireGuard messages, n <= BURST) towards their peers, pkt.peer. [wrk]
void wg_send(struct graph *g, struct rte_mbuf **pkts, unsigned n);
void wg_send_flush(struct graph *g);	  // [wrk]
void link_output_flush(struct graph *g);  // [wrk]
void vxlan_output_flush(struct graph *g); // [wrk]
void tx_flush(struct graph *g);		  // [wrk]
// Fragments stay for longer than a round: only what is too old ends.
void reassemble_flush(struct graph *g); // [wrk]
