// Packets in VXLAN for the tests, and the answers that come back in it.
#pragma once

#include "dataplane/wire/vxlan.h"
#include "tests/unit/packets.h"

enum {
	VX_VNI = 0x010203,
	VX_SPORT = 50001,
};

// How a packet is put into VXLAN between host 2 behind from and host 2 behind to.
struct vx {
	uint8_t family;	  // of what is outside; 0: IPv4
	uint8_t from, to; // gateways
	uint16_t dport;	  // 0: VXLAN_PORT_LINUX
	bool csum, df;	  // over IPv4; IPv6 has a checksum always
};

static inline uint32_t vx_head_len(const struct vx *v)
{
	return (v->family == IP_V6 ? IP6_HDR_LEN : IP4_HDR_LEN) + UDP_HDR_LEN + VXLAN_L3_AT;
}

// Lengths and checksums outside anew.
static inline void vx_finish(const struct vx *v, struct flat *p)
{
	flow_finish(p->b, p->len);
	if (v->family != IP_V6 && !v->csum)
		put16(p->b + IP4_HDR_LEN + 6, 0);
}

static inline void vx_wrap(const struct vx *v, const struct flat *inner, struct flat *p)
{
	static const uint8_t macs[] = {2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa};
	uint32_t head = vx_head_len(v);
	struct spec s = {
		.family = v->family ? v->family : IP_V4,
		.proto = IPPROTO_UDP,
		.sport = VX_SPORT,
		.dport = v->dport ? v->dport : VXLAN_PORT_LINUX,
		.no_df = !v->df,
		.payload = VXLAN_L3_AT + inner->len,
	};
	inner_build(&s, v->from, v->to, p);
	struct vxlan_header h = vxlan_header_of(VX_VNI);
	uint8_t *vxlan = p->b + head - VXLAN_L3_AT;
	memcpy(vxlan, &h, sizeof(h));
	memcpy(vxlan + VXLAN_FRAME_AT, macs, sizeof(macs));
	put16(vxlan + VXLAN_FRAME_AT + 12, flow_is_v4(inner->b) ? 0x0800 : 0x86dd);
	memcpy(p->b + head, inner->b, inner->len);
	vx_finish(v, p);
}

// The checksums of p's UDP, and of its IPv4 header, are right or left out.
static inline void vx_assert_sums(const uint8_t *b, uint32_t len)
{
	uint32_t l3 = flow_l3_len(b), l4_len = len - l3;
	if (flow_is_v4(b))
		assert_int_equal(flow_sum(b, l3, 0), 0xffff);
	bool pseudo = flow_proto(b) != IPPROTO_ICMP;
	if (flow_proto(b) == IPPROTO_UDP && flow_is_v4(b) && get16(b + l3 + 6) == 0)
		return;
	assert_int_equal(flow_sum(b + l3, l4_len, pseudo ? flow_pseudo_sum(b, l4_len) : 0), 0xffff);
}
