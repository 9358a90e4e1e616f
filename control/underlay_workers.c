// What workers hand up goes to whom it concerns; what did not come through a port goes down to
// them.
#include <stdlib.h>

#include "control/underlay_parts.h"
#include "dataplane/base/mailbox.h"
#include "dataplane/table/peer_table.h"

enum {
	// Packets that may wait in a worker's inbox for us to put another there: the other half is
	// for what workers hand each other.
	INJECTED_MAX = 2048,
};

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
	struct endpoint to = {
		.addr = v4 ? ip_addr_v4(l3 + 16) : ip_addr_v6(l3 + 24),
		.port = rte_be_to_cpu_16(udp->dst_port),
	};
	enum udp_class class = udp_classify(data, len);
	if (class != UDP_WIREGUARD && u->disco)
		u->disco(u->disco_arg, &from, &to, class, data, len);
	else if (class == UDP_WIREGUARD && u->wg)
		wg_receive(u->wg, data, len, &from, &to.addr);
}

// What is about a peer, if there still is one with this id.
static void of_peer(struct underlay *u, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	struct peer *peer = peer_table_get(u->gw->peers, (uint32_t)p->counter);
	if (!peer)
		return;
	if (p->reason == PUNT_DERP && u->derp)
		u->derp(u->derp_arg, peer, data, m->data_len);
	else if (p->reason == PUNT_TSMP && u->tsmp)
		u->tsmp(u->tsmp_arg, peer, data, m->data_len);
}

void underlay_take(struct underlay *u, struct rte_mbuf *m)
{
	switch (pkt_of(m)->reason) {
	case PUNT_RESOLVE:
		underlay_unresolved(u, m);
		return;
	case PUNT_DERP:
	case PUNT_TSMP:
		of_peer(u, m);
		break;
	case PUNT_TOO_BIG:
		if (u->wg)
			wg_too_big(u->wg, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
		break;
	default:
		datagram(u, m);
		break;
	}
	rte_pktmbuf_free(m);
}

void underlay_set_disco(struct underlay *u, underlay_disco_fn *fn, void *arg)
{
	u->disco = fn;
	u->disco_arg = arg;
	atomic_store(&u->gw->disco, fn != NULL);
}

void underlay_set_derp(struct underlay *u, underlay_derp_fn *fn, void *arg)
{
	u->derp = fn;
	u->derp_arg = arg;
}

void underlay_set_tsmp(struct underlay *u, underlay_tsmp_fn *fn, void *arg)
{
	u->tsmp = fn;
	u->tsmp_arg = arg;
}

// A packet that we put together enters at node of the worker. True: it is the worker's now.
static bool enter(struct underlay *u, uint16_t worker, struct rte_mbuf *m, enum node_id node)
{
	struct mailbox *inbox = u->gw->graph[worker]->inbox;
	unsigned most = RTE_MIN((unsigned)INJECTED_MAX, u->gw->pool->size / 8);
	struct pkt *p = pkt_of(m);
	*p = (struct pkt){
		.from = FROM_SELF,
		.node = (uint8_t)node,
		.port_in = PORT_NONE, // no capture of a port has it
	};
	if (ip_parse(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &p->ip) == 0 &&
		p->ip.total_len == m->data_len && mailbox_count(inbox) < most &&
		mailbox_put(inbox, &m))
		return true;
	rte_pktmbuf_free(m);
	return false;
}

bool underlay_inject_wg(struct underlay *u, const struct endpoint *from, const struct ip_addr *to,
	const uint8_t *data, size_t len)
{
	const struct wg_data *h = (const struct wg_data *)data;
	size_t udp_len = UDP_HDR_LEN + len, total = IP4_HDR_LEN + udp_len;
	if (len < WG_DATA_MIN_LEN || total > UINT16_MAX || h->type != wg_type_field(WG_TYPE_DATA))
		return false;
	const struct keypair *kp = index_lookup(u->gw->index, rte_le_to_cpu_32(h->receiver));
	struct rte_mbuf *m = kp ? underlay_alloc(u, total) : NULL;
	if (!m)
		return false;
	uint8_t *l3 = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)total);
	underlay_write_ip4(l3, &from->addr, to, udp_len);
	((struct rte_ipv4_hdr *)l3)->type_of_service = 0; // no congestion
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(l3 + IP4_HDR_LEN);
	*udp = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(from->port),
		.dst_port = rte_cpu_to_be_16(atomic_load(&u->gw->wg_port)),
		.dgram_len = rte_cpu_to_be_16((uint16_t)udp_len),
	};
	memcpy(udp + 1, data, len);
	return enter(u, kp->peer->owner, m, NODE_WG_INPUT);
}

bool underlay_send_inner(struct underlay *u, const uint8_t *packet, size_t len)
{
	struct ip_info ip;
	if (len > UINT16_MAX || ip_parse(packet, (uint32_t)len, &ip) < 0)
		return false;
	const struct peer *peer = ip.family == IP_V4
					  ? allowedips_lookup4(u->gw->allowed, packet + 16)
					  : allowedips_lookup6(u->gw->allowed, packet + 24);
	struct rte_mbuf *m = peer ? underlay_alloc(u, len) : NULL;
	if (!m)
		return false;
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), packet, len);
	return enter(u, peer->owner, m, NODE_WG_ROUTE);
}
