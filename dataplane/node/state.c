#include "dataplane/node/state.h"

#include <stdlib.h>

struct node_state *node_state_create(struct graph *)
{
	struct node_state *s = mem_alloc(sizeof(*s));
	s->gro = gro_create(SOCKET_ID_ANY);
	if (!s->gro)
		abort(); // a few KiB at start
	return s;
}

void node_state_destroy(struct node_state *s)
{
	for (unsigned i = 0; i < CHAINS; i++)
		rte_pktmbuf_free(s->chain[i].head);
	gro_destroy(s->gro);
	free(s);
}

void node_state_flush(struct graph *g, enum node_id node)
{
	if (node == NODE_WG_ENCRYPT)
		wg_send_flush(g);
	else if (node == NODE_LINK_OUTPUT)
		link_output_flush(g);
	else if (node == NODE_TX)
		tx_flush(g);
}
