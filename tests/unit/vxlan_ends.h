// A is the VTEP at 192.0.2.1 (and 2001:db8::1); the remote one at 192.0.2.9 (2001:db8::9) has the
// host 10.1.50.5, fd01:50::5 behind it.
#pragma once

#include "tests/unit/packets.h"
#include "tests/unit/vtep.h"
#include "tests/unit/vxlan.h"

static const uint8_t outer4[2][4] = {{192, 0, 2, 1}, {192, 0, 2, 9}};
static const uint8_t outer6[2][16] = {
	{0x20, 1, 0x0d, 0xb8, [15] = 1}, {0x20, 1, 0x0d, 0xb8, [15] = 9}};

static uint16_t remote_number;

static inline void open_vtep(struct gw *g, uint8_t family, bool checksum)
{
	assert_true(publish_device(g));
	assert_false(publish_device(g));
	remote_number = vtep_take(g->gw.fib->vteps);
	assert_int_not_equal(remote_number, VTEP_NONE);
	publish_remote(g, remote_number, family, checksum);
	route_remote(g, "10.1.50.0/24", remote_number);
	route_remote(g, "fd01:50::/64", remote_number);
}

// From the host in the VXLAN to B's.
static inline void from_host(const struct spec *s, struct flat *p)
{
	inner_build(s, 1, 2, p);
	if (flow_is_v4(p->b)) {
		put32(p->b + 12, gw_ip4(10, 1, 50, 5));
	} else {
		put16(p->b + 10, 0x50);
		p->b[23] = 5;
	}
	flow_finish(p->b, p->len);
}

// And back.
static inline void to_host(const struct spec *s, struct flat *p)
{
	inner_build(s, 2, 1, p);
	if (flow_is_v4(p->b)) {
		put32(p->b + 16, gw_ip4(10, 1, 50, 5));
	} else {
		put16(p->b + 26, 0x50);
		p->b[39] = 5;
	}
	flow_finish(p->b, p->len);
}

// The datagram that carries a packet to A, as the remote VTEP sends it; without UDP checksum.
static inline void wrap(uint8_t family, const struct flat *p, struct flat *out)
{
	uint32_t head = family == IP_V6 ? VTEP_HEAD6 : VTEP_HEAD4;
	uint8_t *b = out->b, *udp = b + head - 30, *eth = udp + 16;
	memset(b, 0, head);
	memcpy(b + head, p->b, p->len);
	out->len = head + p->len;
	if (family == IP_V6) {
		b[0] = 0x60;
		b[6] = IPPROTO_UDP;
		b[7] = 64;
		memcpy(b + 8, outer6[1], 16);
		memcpy(b + 24, outer6[0], 16);
	} else {
		b[0] = 0x45;
		b[8] = 64;
		b[9] = IPPROTO_UDP;
		memcpy(b + 12, outer4[1], 4);
		memcpy(b + 16, outer4[0], 4);
	}
	put16(udp, 51000);
	put16(udp + 2, VXLAN_PORT);
	udp[8] = VXLAN_FLAG_VNI;
	udp[14] = VNI;
	memcpy(eth, device_mac, 6);
	memcpy(eth + 6, host_mac, 6);
	put16(eth + 12, flow_is_v4(p->b) ? 0x0800 : 0x86dd);
	flow_finish(b, out->len);
	put16(udp + 6, 0);
}

static inline uint64_t counter(struct gw *g, enum counter c)
{
	return graph_of(g)->counters[c];
}

static inline void forget(struct gw *g)
{
	struct rte_mbuf *m;
	for (unsigned i = 0; i < GW_PORTS; i++) {
		while ((m = memport_take(g->port[i], 0)))
			rte_pktmbuf_free(m);
	}
	memset(graph_of(g)->counters, 0, sizeof(graph_of(g)->counters));
}
