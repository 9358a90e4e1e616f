// TSMP, IP protocol 99 inside the tunnel: pings, rejected flows, disco keys (tailscale
// net/packet/tsmp.go). It never reaches the host.
#include <errno.h>
#include <stdio.h>

#include "control/tailnet/peerapi.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/ip.h"

enum {
	TSMP_PROTO = 99,
	TSMP_TTL = 64,
	PACKET_MAX = 128,
	TSMP_PING = 'p',
	TSMP_PONG = 'o',
	TSMP_DISCO_KEY = 'a',
	TSMP_PING_DATA = 8,
};

static const struct ip_addr *address_of(const struct nm_node *n, enum ip_family family)
{
	for (uint32_t i = 0; n && i < n->n_addresses; i++) {
		if (n->addresses[i].addr.family == family)
			return &n->addresses[i].addr;
	}
	return NULL;
}

// An IP packet to the peer. 0: we have no address of a common family.
static size_t packet_to(const struct tailnet *t, const struct nm_peer *peer, bool v4,
	const void *body, size_t len, uint8_t out[static PACKET_MAX])
{
	const struct ip_addr *from = address_of(t->netmap->self, IP_V4);
	const struct ip_addr *to = address_of(peer->node, IP_V4);
	if (v4 && from && to) {
		struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)out;
		*h = (struct rte_ipv4_hdr){
			.version_ihl = 0x45,
			.total_length = rte_cpu_to_be_16((uint16_t)(IP4_HDR_LEN + len)),
			.time_to_live = TSMP_TTL,
			.next_proto_id = TSMP_PROTO,
		};
		memcpy(&h->src_addr, from->bytes, 4);
		memcpy(&h->dst_addr, to->bytes, 4);
		csum_ip4_hdr_set(out, IP4_HDR_LEN);
		memcpy(out + IP4_HDR_LEN, body, len);
		return IP4_HDR_LEN + len;
	}
	from = address_of(t->netmap->self, IP_V6);
	to = address_of(peer->node, IP_V6);
	if (!from || !to)
		return 0;
	struct rte_ipv6_hdr *h = (struct rte_ipv6_hdr *)out;
	*h = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16((uint16_t)len),
		.proto = TSMP_PROTO,
		.hop_limits = TSMP_TTL,
	};
	memcpy(h->src_addr, from->bytes, 16);
	memcpy(h->dst_addr, to->bytes, 16);
	memcpy(out + IP6_HDR_LEN, body, len);
	return IP6_HDR_LEN + len;
}

void tn_tsmp_send(struct tailnet *t, const struct nm_peer *peer, enum ip_family family,
	const void *body, size_t len)
{
	uint8_t packet[PACKET_MAX];
	size_t n = packet_to(t, peer, family == IP_V4, body, len, packet);
	if (n)
		t->params.env.send_inner(t->params.env.arg, packet, n);
}

void tailnet_keyed(struct tailnet *t, const struct peer *peer)
{
	const struct nm_peer *p = netmap_peer_by_key(t->netmap, &peer->public_key);
	uint8_t body[1 + KEY_LEN] = {TSMP_DISCO_KEY};
	// Whatever version the server says of the peer: headscale tells our own, and 1.102.5 (142)
	// sends and takes it.
	if (!t->active || !p || p->node->wg_only)
		return;
	memcpy(body + 1, mesh_disco_key(t->mesh)->bytes, KEY_LEN);
	tn_tsmp_send(t, p, IP_V4, body, sizeof(body));
}

static void pong(
	struct tailnet *t, const struct nm_peer *peer, enum ip_family family, const uint8_t *data)
{
	uint16_t port = peerapi_port_of(t->peerapi, family);
	uint8_t body[1 + TSMP_PING_DATA + 2] = {TSMP_PONG};
	memcpy(body + 1, data, TSMP_PING_DATA);
	body[1 + TSMP_PING_DATA] = (uint8_t)(port >> 8);
	body[2 + TSMP_PING_DATA] = (uint8_t)port;
	tn_tsmp_send(t, peer, family, body, sizeof(body));
}

void tailnet_tsmp(struct tailnet *t, const struct peer *peer, const uint8_t *packet, size_t len)
{
	const struct nm_peer *p = netmap_peer_by_key(t->netmap, &peer->public_key);
	struct ip_info info;
	struct key disco;
	if (!p || ip_parse(packet, (uint32_t)len, &info) < 0 || info.proto != TSMP_PROTO ||
		info.l3_len >= len)
		return;
	const uint8_t *body = packet + info.l3_len;
	size_t n = len - info.l3_len;
	if (body[0] == TSMP_PING && n >= 1 + TSMP_PING_DATA) {
		pong(t, p, (enum ip_family)info.family, body + 1);
	} else if (body[0] == TSMP_PONG && n >= 1 + TSMP_PING_DATA) {
		uint16_t port = n >= 11 ? (uint16_t)(body[9] << 8 | body[10]) : 0;
		tn_tsmp_pong(t, p, body + 1, port);
	} else if (body[0] == TSMP_DISCO_KEY && n >= 1 + KEY_LEN) {
		memcpy(disco.bytes, body + 1, KEY_LEN);
		mesh_peer_disco_key(t->mesh, &p->node->key, &disco);
	}
}
