#include "dataplane/node/state.h"

#include <stdlib.h>

struct node_state *node_state_create(struct graph *g)
{
	struct node_state *s = mem_alloc(sizeof(*s));
	s->gro = gro_create(SOCKET_ID_ANY);
	if (!s->gro)
		abort(); // a few KiB at start
	s->fragments = fragments_create(rte_get_tsc_hz() / 1000, g->gw->pool);
	s->fragment_id = (uint32_t)rte_rdtsc();
	return s;
}

void node_state_destroy(struct node_state *s)
{
	for (unsigned i = 0; i < RUNS; i++) {
		rte_pktmbuf_free(s->wg_run[i].head);
		rte_pktmbuf_free(s->vxlan_run[i].head);
	}
	gro_destroy(s->gro);
	fragments_destroy(s->fragments);
	free(s);
}

void node_state_flush(struct graph *g, enum node_id node)
{
	if (node == NODE_WG_ENCRYPT)
		wg_send_flush(g);
	else if (node == NODE_LINK_OUTPUT)
		link_output_flush(g);
	else if (node == NODE_REASSEMBLE)
		reassemble_flush(g);
	else if (node == NODE_VXLAN_OUTPUT)
		vxlan_output_flush(g);
	else if (node == NODE_TX)
		tx_flush(g);
}
