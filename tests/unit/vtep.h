// A gateway of tests/unit/gateway.h as VTEP: gateway N at 192.0.2.N and 2001:db8::N has a VXLAN
// device, the remote one at 192.0.2.9 (2001:db8::9) has the host 10.N.50.5, fd0N:50::5 behind it.
#pragma once

#include "dataplane/wire/ledger.h"
#include "tests/unit/gateway.h"

enum {
	VNI = 100,
	IFINDEX = 77,
	VTEP_HEAD4 = 20 + 8 + 8 + 14, // from the outer IP header to the inner one
	VTEP_HEAD6 = VTEP_HEAD4 + 20,
};

static const uint8_t device_mac[6] = {2, 0x77, 0, 0, 0, 1}, host_mac[6] = {2, 0x77, 0, 0, 0, 5};

static inline void vtep_put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

// The outer header between the gateway and the remote VTEP, up to UDP's ports. Returns its length.
static inline uint32_t vtep_put_l3(uint8_t *l3, uint8_t family, uint8_t from, uint8_t to)
{
	static const uint8_t net4[] = {192, 0, 2}, net6[] = {0x20, 1, 0x0d, 0xb8};
	if (family == IP_V4) {
		memset(l3, 0, IP4_HDR_LEN);
		l3[0] = 0x45;
		l3[8] = 64;
		l3[9] = IPPROTO_UDP;
		memcpy(l3 + 12, net4, sizeof(net4));
		memcpy(l3 + 16, net4, sizeof(net4));
		l3[15] = from;
		l3[19] = to;
		return IP4_HDR_LEN;
	}
	memset(l3, 0, IP6_HDR_LEN);
	l3[0] = 0x60;
	l3[6] = IPPROTO_UDP;
	l3[7] = 64;
	memcpy(l3 + 8, net6, sizeof(net6));
	memcpy(l3 + 24, net6, sizeof(net6));
	l3[23] = from;
	l3[39] = to;
	return IP6_HDR_LEN;
}

static inline void publish_remote(struct gw *g, uint16_t number, uint8_t family, bool checksum)
{
	struct vtep v = {.family = family,
		.port = GW_WAN,
		.device = IFINDEX,
		.mtu = ledger_inside(1500, family == IP_V4 ? LEDGER_VXLAN4 : LEDGER_VXLAN6),
		.source_first = 50000,
		.n_sources = 100,
		.checksum = checksum,
		.tos_inherit = true};
	struct vxlan_header h = vxlan_header_of(VNI);
	uint8_t *vxlan = v.outer + sizeof(v.outer) - VXLAN_HDR_LEN, *udp = vxlan - UDP_HDR_LEN;
	uint8_t *l3 = udp - (family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN), *l2 = l3 - L2_LEN;
	memcpy(vxlan, &h, sizeof(h));
	vtep_put16(udp + 2, VXLAN_PORT);
	vtep_put_l3(l3, family, g->number, 9);
	memcpy(l2, gw_peer_mac(0), 6);
	memcpy(l2 + 6, g->port[GW_WAN]->port.mac.addr_bytes, 6);
	vtep_put16(l2 + 12, family == IP_V4 ? 0x0800 : 0x86dd);
	v.outer_len = (uint8_t)(v.outer + sizeof(v.outer) - l2);
	vtep_finish(&v);
	vtep_publish(g->gw.fib->vteps, number, &v);
}

static inline void route_remote(struct gw *g, const char *prefix, uint16_t number)
{
	struct ip_prefix p;
	struct nexthop nh = {.type = NH_VXLAN,
		.port = PORT_NONE,
		.mtu = 1450,
		.ifindex = IFINDEX,
		.vtep = number};
	memcpy(nh.l2, host_mac, 6);
	memcpy(nh.l2 + 6, device_mac, 6);
	if (ip_prefix_parse(prefix, &p) < 0 || fib_set(g->gw.fib, &p, &nh) < 0)
		rte_panic("route %s\n", prefix);
}

static inline bool publish_device(struct gw *g)
{
	struct vxlan_device device = {.vni = VNI, .ifindex = IFINDEX, .port = VXLAN_PORT};
	memcpy(device.mac, device_mac, sizeof(device.mac));
	return vxlan_devices_publish(g->gw.fib->vteps, &device, 1);
}
