// What nodes keep between the packets of one round; each part belongs to one node.
#pragma once

#include "dataplane/node/outer.h"
#include "dataplane/port/gso.h"
#include "dataplane/table/fragments.h"

enum {
	STATE_WG_RUNS = 1,
	STATE_GRO = 2,
	STATE_FRAGMENTS = 4,
	STATE_VXLAN_RUNS = 8,
};

struct node_state {			  // wrk only
	unsigned collecting;		  // STATE_*: what holds packets
	struct gro *gro;		  // link_output
	struct outer_run wg_run[RUNS];	  // wg_encrypt
	struct outer_run vxlan_run[RUNS]; // vxlan_output
	struct fragments *fragments;	  // reassemble
	uint32_t fragment_id;		  // the last that was given
};

struct node_state *node_state_create(struct graph *g); // [ctl]
void node_state_destroy(struct node_state *);	       // [ctl]

// Called once per round behind each node's queue: hand on what it has collected. [wrk]
void node_state_flush(struct graph *g, enum node_id node);
// Whether a node may have collected something in this round.
static inline bool node_state_holds(const struct graph *g, enum node_id node)
{
	return (node == NODE_WG_ENCRYPT && g->state->collecting & STATE_WG_RUNS) ||
	       (node == NODE_LINK_OUTPUT && g->state->collecting & STATE_GRO) ||
	       (node == NODE_REASSEMBLE && g->state->collecting & STATE_FRAGMENTS) ||
	       (node == NODE_VXLAN_OUTPUT && g->state->collecting & STATE_VXLAN_RUNS) ||
	       node == NODE_TX;
}

// Datagrams (sealed WireGuard messages, n <= BURST) towards their peers, pkt.peer. [wrk]
void wg_send(struct graph *g, struct rte_mbuf **pkts, unsigned n);
void wg_send_flush(struct graph *g);	  // [wrk]
void link_output_flush(struct graph *g);  // [wrk]
void vxlan_output_flush(struct graph *g); // [wrk]
void tx_flush(struct graph *g);		  // [wrk]
// Fragments stay for longer than a round: only what is too old ends.
void reassemble_flush(struct graph *g); // [wrk]
