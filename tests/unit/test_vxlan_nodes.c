// vxlan_input and vxlan_output: what of a VXLAN that ends here goes into the tunnel and comes out
// of it, what stays the kernel's, what is refused. A is the VTEP at 192.0.2.1 (and 2001:db8::1);
// the remote one at 192.0.2.9 (2001:db8::9) has the host 10.1.50.5, fd01:50::5 behind it.
#include "dataplane/port/vnet.h"
#include "tests/unit/packets.h"
#include "tests/unit/vtep.h"
#include "tests/unit/vxlan.h"

static const uint8_t outer4[2][4] = {{192, 0, 2, 1}, {192, 0, 2, 9}};
static const uint8_t outer6[2][16] = {
	{0x20, 1, 0x0d, 0xb8, [15] = 1}, {0x20, 1, 0x0d, 0xb8, [15] = 9}};

static uint16_t remote_number;

static void open_vtep(struct gw *g, uint8_t family, bool checksum)
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
static void from_host(const struct spec *s, struct flat *p)
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
static void to_host(const struct spec *s, struct flat *p)
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
static void wrap(uint8_t family, const struct flat *p, struct flat *out)
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

static uint64_t counter(struct gw *g, enum counter c)
{
	return graph_of(g)->counters[c];
}

static void forget(struct gw *g)
{
	struct rte_mbuf *m;
	for (unsigned i = 0; i < GW_PORTS; i++) {
		while ((m = memport_take(g->port[i], 0)))
			rte_pktmbuf_free(m);
	}
	memset(graph_of(g)->counters, 0, sizeof(graph_of(g)->counters));
}

// -- in -------------------------------------------------------------------------------------------

static void into_the_tunnel(void **state)
{
	struct two *t = *state;
	static const struct {
		uint8_t outer, inner;
	} ways[] = {{IP_V4, IP_V4}, {IP_V4, IP_V6}, {IP_V6, IP_V4}, {IP_V6, IP_V6}};
	open_vtep(&t->a, IP_V4, false);
	for (unsigned i = 0; i < RTE_DIM(ways); i++) {
		struct flat p, frame, got;
		from_host(&(struct spec){.family = ways[i].inner, .payload = 700, .tos = 0x28}, &p);
		wrap(ways[i].outer, &p, &frame);
		push_flat(&t->a, GW_WAN, &frame);
		run(&t->a);
		assert_int_equal(carry(&t->a, &t->b), 1);
		run(&t->b);
		assert_true(take_flat(&t->b, GW_LAN, &got));
		hop(&p);
		hop(&p);
		assert_flat_equal(&got, &p);
	}
	assert_int_equal(counter(&t->a, COUNTER_VTEP_IN), RTE_DIM(ways));
	assert_int_equal(counter(&t->a, COUNTER_LEFT_TO_KERNEL), 0);
	assert_int_equal(drops(&t->a), 0);
}

enum fate {
	TO_KERNEL,
	UNKNOWN, // the kernel's, counted
	DROPPED,
	TO_WAN, // sealed
};

// Offsets count from the outer IP header: UDP at 20, VXLAN at 28, Ethernet at 36, IPv4 at 50.
static const struct {
	const char *name;
	enum fate fate;
	enum drop_reason reason;
	const char *patch; // "offset=hex ..."; "sum": the inner IPv4 header's
	uint32_t cut;	   // bytes missing at the end of a datagram whose lengths say so
} rows[] = {
	{"as it should be", TO_WAN, 0, ""},
	{"with a group's number", TO_WAN, 0, "28=88"},
	{"reserved bits are ignored", TO_WAN, 0, "29=010203 35=04"},
	{"another source MAC", TO_WAN, 0, "42=020304050607"},
	{"with a UDP checksum", TO_WAN, 0, "26=1234"},
	{"Ethernet's padding inside", TO_WAN, 0, "52=0050 sum"},
	{"a first fragment", TO_WAN, 0, "56=2000 sum"},
	{"a later fragment", TO_WAN, 0, "56=2010 sum"},
	{"a last fragment", TO_WAN, 0, "56=0020 sum"},

	{"an unknown VNI", UNKNOWN, 0, "34=65"},
	{"VNI 0", UNKNOWN, 0, "34=00"},
	{"a VNI above it", UNKNOWN, 0, "32=01"},
	{"no VNI at all", TO_KERNEL, 0, "28=00"},
	{"GPE's flags", TO_KERNEL, 0, "28=0c"},
	{"another UDP port", TO_KERNEL, 0, "22=2118"},
	{"another MAC", TO_KERNEL, 0, "36=020304050607"},
	{"broadcast", TO_KERNEL, 0, "36=ffffffffffff"},
	{"multicast", TO_KERNEL, 0, "36=3333000000fb"},
	{"ARP", TO_KERNEL, 0, "48=0806"},
	{"a VLAN's tag", TO_KERNEL, 0, "48=8100"},
	{"two tags", TO_KERNEL, 0, "48=88a8"},
	{"to the gateway itself", TO_KERNEL, 0, "66=0a010001 sum"},
	{"to a host on a link", TO_KERNEL, 0, "66=0a010002 sum"},
	{"into the VXLAN again", TO_KERNEL, 0, "66=0a013207 sum"},
	{"nowhere", TO_KERNEL, 0, "66=08080808 sum"},
	{"half a VXLAN header", TO_KERNEL, 0, "", 618},
	{"half an Ethernet header", TO_KERNEL, 0, "", 607},

	{"inner version 5", DROPPED, DROP_VTEP_MALFORMED, "50=55"},
	{"IPv4 that says IPv6", DROPPED, DROP_VTEP_MALFORMED, "48=86dd"},
	{"longer than its frame", DROPPED, DROP_VTEP_MALFORMED, "52=0400 sum"},
	{"shorter than its header", DROPPED, DROP_VTEP_MALFORMED, "52=0013 sum"},
	{"wrong inner checksum", DROPPED, DROP_VTEP_MALFORMED, "60=1234"},
	{"cut in the inner header", DROPPED, DROP_VTEP_MALFORMED, "", 590},
	{"cut in the payload", DROPPED, DROP_VTEP_MALFORMED, "", 1},
	{"UDP length too small", DROPPED, DROP_VTEP_MALFORMED, "24=0100"},
	{"UDP length too large", DROPPED, DROP_VTEP_MALFORMED, "24=0500"},
	{"marked on the way, and deaf to it", DROPPED, DROP_VTEP_ECN, "1=03"},
};

static void patch(struct flat *f, const char *text)
{
	for (const char *p = text; *p; p += strcspn(p, " "), p += *p == ' ') {
		char *end;
		unsigned long at = strtoul(p, &end, 10);
		if (end == p) {
			put16(f->b + 60, 0);
			put16(f->b + 60, ~flow_sum(f->b + 50, 20, 0));
			continue;
		}
		for (unsigned value; sscanf(++end, "%2x", &value) == 1 && *end != ' '; end++)
			f->b[at++] = (uint8_t)value;
	}
	put16(f->b + 10, 0);
	put16(f->b + 10, ~flow_sum(f->b, 20, 0));
}

static void each_datagram_has_its_fate(void **state)
{
	struct two *t = *state;
	open_vtep(&t->a, IP_V4, false);
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p, frame;
		enum fate fate = rows[i].fate;
		print_message("%s\n", rows[i].name);
		from_host(&(struct spec){.proto = IPPROTO_UDP, .payload = 572}, &p);
		assert_int_equal(p.len, 600);
		wrap(IP_V4, &p, &frame);
		if (rows[i].cut) {
			frame.len -= rows[i].cut;
			put16(frame.b + 2, frame.len);
			put16(frame.b + 24, frame.len - 20);
		}
		patch(&frame, rows[i].patch);
		push_flat(&t->a, GW_WAN, &frame);
		run(&t->a);
		if (fate == DROPPED)
			expect_drops(&t->a, rows[i].reason, 1);
		assert_int_equal(drops(&t->a), 0);
		assert_int_equal(sent(&t->a, GW_WAN), fate == TO_WAN);
		assert_int_equal(counter(&t->a, COUNTER_VTEP_IN), fate == TO_WAN);
		assert_int_equal(counter(&t->a, COUNTER_VTEP_UNKNOWN), fate == UNKNOWN);
		assert_int_equal(counter(&t->a, COUNTER_LEFT_TO_KERNEL),
			fate == UNKNOWN || fate == TO_KERNEL);
		forget(&t->a);
	}
}

static void congestion_reaches_the_inside(void **state)
{
	struct two *t = *state;
	struct flat p, frame, got;
	open_vtep(&t->a, IP_V4, false);
	from_host(&(struct spec){.payload = 100, .tos = 2}, &p);
	wrap(IP_V4, &p, &frame);
	patch(&frame, "1=03");
	push_flat(&t->a, GW_WAN, &frame);
	run(&t->a);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_true(take_flat(&t->b, GW_LAN, &got));
	assert_int_equal(got.b[1], 3);
}

// What a host in the VXLAN puts into VXLAN itself is looked into like any, as deep as is said, and
// goes on whole beyond that.
static void nested(void **state)
{
	enum { SYN_OPTIONS = 4 };
	struct two *t = *state;
	const struct vx v = {.from = 1, .to = 2, .csum = true};
	open_vtep(&t->a, IP_V4, false);
	t->b.gw.mss_clamp = false;
	for (unsigned levels = 1; levels <= VXLAN_DEPTH_MAX; levels++) {
		struct spec s = {.flags = RTE_TCP_SYN_FLAG, .n_options = SYN_OPTIONS, .payload = 3};
		struct flat p[2], want, frame, got;
		bool reached = levels <= 2;
		flow_build(&s, &p[0]);
		memcpy(p[0].b + IP4_HDR_LEN + TCP_HDR_LEN, "\2\4\x05\xb4", SYN_OPTIONS); // 1460
		flow_finish(p[0].b, p[0].len);
		for (unsigned l = 0; l < levels; l++)
			vx_wrap(&v, &p[l % 2], &p[(l + 1) % 2]);
		want = p[levels % 2];
		wrap(IP_V4, &want, &frame);
		t->a.gw.vxlan_depth = 2;
		push_flat(&t->a, GW_WAN, &frame);
		run(&t->a);
		assert_int_equal(counter(&t->a, COUNTER_VTEP_IN), 1);
		assert_int_equal(counter(&t->a, COUNTER_MSS_CLAMPED), reached);
		assert_int_equal(counter(&t->a, COUNTER_VXLAN_NESTED), !reached);
		assert_int_equal(carry(&t->a, &t->b), 1);
		run(&t->b);
		assert_true(take_flat(&t->b, GW_LAN, &got));
		hop(&want);
		hop(&want);
		assert_int_equal(got.len, want.len);
		if (!reached)
			assert_flat_equal(&got, &want);
		assert_int_equal(drops(&t->a) + drops(&t->b), 0);
		forget(&t->a);
		graph_of(&t->b)->counters[COUNTER_VXLAN_NESTED] = 0;
	}
}

// The device vanishes under its traffic: what comes is the kernel's again, which has no socket.
static void the_device_goes(void **state)
{
	struct two *t = *state;
	struct flat p, frame;
	open_vtep(&t->a, IP_V4, false);
	from_host(&(struct spec){.payload = 100}, &p);
	wrap(IP_V4, &p, &frame);
	for (unsigned i = 0; i < 3; i++) {
		push_flat(&t->a, GW_WAN, &frame);
		push_flat(&t->a, GW_WAN, &frame);
		run(&t->a);
		assert_int_equal(counter(&t->a, COUNTER_VTEP_IN), i == 1 ? 0 : 2);
		assert_int_equal(counter(&t->a, COUNTER_LEFT_TO_KERNEL), i == 1 ? 2 : 0);
		forget(&t->a);
		if (i == 0)
			assert_true(vxlan_devices_publish(t->a.gw.fib->vteps, NULL, 0));
		else
			publish_device(&t->a);
	}
	assert_int_equal(drops(&t->a), 0);
}

static void no_device_no_vxlan(void **state)
{
	struct two *t = *state;
	struct flat p, frame;
	from_host(&(struct spec){.payload = 100}, &p);
	wrap(IP_V4, &p, &frame);
	push_flat(&t->a, GW_WAN, &frame);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_LEFT_TO_KERNEL), 1);
	expect_nothing(&t->a);
}

// Each segment of super must leave B's lan; TCP may come put together again.
static void expect_bytes(struct two *t, const struct flat *super)
{
	uint64_t payload = 0;
	struct flat got;
	carry(&t->a, &t->b);
	run(&t->b);
	while (take_flat(&t->b, GW_LAN, &got))
		payload += got.len - flow_hdr_len(got.b);
	assert_int_equal(payload, super->len - flow_hdr_len(super->b));
	assert_int_equal(drops(&t->a), 0);
	assert_int_equal(drops(&t->b), 0);
}

// What the kernel put together of TCP in VXLAN goes on as one super-packet.
static void super_packet_of_the_kernel(void **state)
{
	struct two *t = *state;
	struct flat p, frame;
	open_vtep(&t->a, IP_V4, false);
	from_host(&(struct spec){.payload = 20000}, &p);
	wrap(IP_V4, &p, &frame);
	struct rte_mbuf *m = frame_of(&t->a, GW_WAN, frame.b, frame.len);
	m->packet_type = VNET_TUNNEL_TCP;
	m->tso_segsz = 1300;
	push(&t->a, GW_WAN, m);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_IN), 1);
	assert_int_equal(counter(&t->a, COUNTER_SUPERS_SEGMENTED), 1);
	assert_int_equal(counter(&t->a, COUNTER_SEGMENTS_MADE), 16);
	expect_bytes(t, &p);

	// The same that says UDP inside, and one that is routed into the tunnel as it is.
	from_host(&(struct spec){.proto = IPPROTO_UDP, .payload = 20000}, &p);
	wrap(IP_V4, &p, &frame);
	m = frame_of(&t->a, GW_WAN, frame.b, frame.len);
	m->packet_type = VNET_TUNNEL_TCP;
	m->tso_segsz = 1300;
	push(&t->a, GW_WAN, m);
	run(&t->a);
	expect_drops(&t->a, DROP_VTEP_MALFORMED, 1);
	put32(frame.b + 16, gw_ip4(10, 2, 0, 2));
	patch(&frame, "");
	m = frame_of(&t->a, GW_WAN, frame.b, frame.len);
	m->packet_type = VNET_TUNNEL_TCP;
	m->tso_segsz = 1300;
	push(&t->a, GW_WAN, m);
	run(&t->a);
	expect_drops(&t->a, DROP_SEGMENT, 1);
}

// A run of datagrams that another VTEP sent as one, with one of them for the kernel.
static void run_of_datagrams(void **state)
{
	enum { N = 10, SIZE = 600 };
	struct two *t = *state;
	struct flat p, one, frame;
	open_vtep(&t->a, IP_V4, false);
	frame.len = 0;
	for (unsigned i = 0; i < N; i++) {
		from_host(
			&(struct spec){.proto = IPPROTO_UDP, .payload = SIZE - 28, .fill = i}, &p);
		wrap(IP_V4, &p, &one);
		uint32_t skip = i > 0 ? 28 : 0; // outer IP and UDP header once
		if (i == 4)
			one.b[36] = 0xff; // broadcast
		memcpy(frame.b + frame.len, one.b + skip, one.len - skip);
		frame.len += one.len - skip;
	}
	put16(frame.b + 24, frame.len - 20);
	put16(frame.b + 2, frame.len);
	patch(&frame, "");
	push_super(&t->a, GW_WAN, &frame, SIZE + 22);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_IN), N - 1);
	assert_int_equal(counter(&t->a, COUNTER_LEFT_TO_KERNEL), 1);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_int_equal(drops(&t->a) + drops(&t->b), 0);
	unsigned bytes = 0;
	while (take_flat(&t->b, GW_LAN, &p))
		bytes += p.len - 28;
	assert_int_equal(bytes, (N - 1) * (SIZE - 28));
}

// -- out ------------------------------------------------------------------------------------------

// B's host sends p, and all that B seals for it reaches A.
static void send_back(struct two *t, const struct flat *p)
{
	push_flat(&t->b, GW_LAN, p);
	run(&t->b);
	carry(&t->b, &t->a);
}

static uint16_t check_outer(const struct flat *f, uint8_t family)
{
	uint32_t l3 = family == IP_V4 ? 20 : 40;
	const uint8_t *udp = f->b + l3;
	if (family == IP_V4) {
		assert_int_equal(flow_sum(f->b, 20, 0), 0xffff);
		assert_int_equal(get16(f->b + 2), f->len);
		assert_memory_equal(f->b + 12, outer4, 8);
	} else {
		assert_int_equal(get16(f->b + 4) + 40, f->len);
		assert_memory_equal(f->b + 8, outer6, 32);
	}
	assert_int_equal(get16(udp + 4) + l3, f->len);
	assert_int_equal(get16(udp + 2), VXLAN_PORT);
	assert_in_range(get16(udp), 50000, 50099);
	assert_memory_equal(udp + 8, "\x08\0\0\0\0\0\x64\0", 8);
	assert_memory_equal(udp + 16, host_mac, 6);
	assert_memory_equal(udp + 22, device_mac, 6);
	return (uint16_t)get16(udp);
}

static void out_of_the_tunnel(void **state)
{
	struct two *t = *state;
	static const struct {
		uint8_t outer, inner;
		bool checksum;
	} ways[] = {{IP_V4, IP_V4, false}, {IP_V4, IP_V6, false}, {IP_V6, IP_V4, true},
		{IP_V6, IP_V6, false}, {IP_V4, IP_V4, true}};
	open_vtep(&t->a, IP_V4, false);
	for (unsigned i = 0; i < RTE_DIM(ways); i++) {
		struct flat p, got;
		uint32_t head = ways[i].outer == IP_V4 ? VTEP_HEAD4 : VTEP_HEAD6;
		publish_remote(&t->a, remote_number, ways[i].outer, ways[i].checksum);
		// Once by the port's offload, once without.
		t->a.port[GW_WAN]->port.tx_offloads ^= RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
		to_host(&(struct spec){.family = ways[i].inner, .payload = 500, .tos = 0xba}, &p);
		send_back(t, &p);
		run(&t->a);
		struct rte_mbuf *m = memport_take(t->a.port[GW_WAN], 0);
		assert_non_null(m);
		bool asks = m->ol_flags & RTE_MBUF_F_TX_UDP_CKSUM;
		rte_pktmbuf_adj(m, L2_LEN);
		flow_flat(m, &got);
		rte_pktmbuf_free(m);
		check_outer(&got, ways[i].outer);
		uint8_t tos = ways[i].outer == IP_V4 ? got.b[1]
						     : (uint8_t)(got.b[0] << 4 | got.b[1] >> 4);
		assert_int_equal(tos, 0xba);
		uint32_t l4 = head - 30, csum = get16(got.b + l4 + 6);
		if (!ways[i].checksum)
			assert_int_equal(csum, 0);
		else if (!asks)
			assert_int_equal(flow_sum(got.b + l4, got.len - l4,
						 flow_pseudo_sum(got.b, got.len - l4)),
				0xffff);
		hop(&p);
		hop(&p);
		assert_int_equal(got.len - head, p.len);
		assert_memory_equal(got.b + head, p.b, p.len);
	}
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), RTE_DIM(ways));
}

// A flow's datagrams leave as one where the port segments UDP, another flow by another port.
static void runs_of_a_flow(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	open_vtep(&t->a, IP_V4, false);
	to_host(&(struct spec){.payload = 14000}, &p);
	push_super(&t->b, GW_LAN, &p, 1300);
	run(&t->b);
	carry(&t->b, &t->a);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 11);
	assert_int_equal(sent(&t->a, GW_WAN), 1);
	struct rte_mbuf *m = memport_take(t->a.port[GW_WAN], 0);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_UDP_SEG);
	assert_int_equal(m->tso_segsz, 1300 + 40 + 22);
	assert_int_equal(m->pkt_len, L2_LEN + 28 + 11 * (22 + 40) + 14000);
	rte_pktmbuf_adj(m, L2_LEN);
	flow_flat(m, &got);
	rte_pktmbuf_free(m);
	uint16_t source = check_outer(&got, IP_V4);
	// The same as datagrams of their own.
	unsigned other = 0;
	t->a.port[GW_WAN]->port.tx_offloads &= ~(uint64_t)RTE_ETH_TX_OFFLOAD_UDP_TSO;
	for (uint16_t sport = 1000; sport < 1010; sport++) {
		to_host(&(struct spec){.payload = 100, .sport = sport}, &p);
		send_back(t, &p);
		run(&t->a);
		assert_true(take_flat(&t->a, GW_WAN, &got));
		other += check_outer(&got, IP_V4) != source;
	}
	assert_in_range(other, 5, 9); // the first is that flow
	assert_int_equal(drops(&t->a), 0);
}

// What the port has the kernel's device wrap: the frame inside, with the flow's own offloads.
static void check_frame(const struct rte_mbuf *m, bool super)
{
	assert_int_equal(
		m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK, (uint64_t)RTE_MBUF_F_TX_TUNNEL_VXLAN);
	assert_int_equal(m->hash.usr, IFINDEX);
	assert_int_equal(!!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG), super);
	assert_int_equal(m->l2_len, L2_LEN);
	const uint8_t *l2 = rte_pktmbuf_mtod(m, const uint8_t *);
	assert_memory_equal(l2, host_mac, 6);
	assert_memory_equal(l2 + 6, device_mac, 6);
	assert_int_equal(get16(l2 + 12), flow_is_v4(l2 + L2_LEN) ? 0x0800 : 0x86dd);
}

static void open_device(struct two *t)
{
	open_vtep(&t->a, IP_V4, false);
	t->a.port[GW_WAN]->port.tx_offloads |= RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO;
}

static struct rte_mbuf *take_only(struct gw *g)
{
	assert_int_equal(sent(g, GW_WAN), 1);
	return memport_take(g->port[GW_WAN], 0);
}

// TCP goes to the kernel's device where the port offers that: a run as one packet.
static void tcp_by_the_device(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	static const uint8_t families[] = {IP_V4, IP_V6};
	open_device(t);
	for (unsigned i = 0; i < RTE_DIM(families); i++) {
		uint32_t hdr = families[i] == IP_V4 ? 40 : 60;
		to_host(&(struct spec){.family = families[i], .payload = 14000}, &p);
		push_super(&t->b, GW_LAN, &p, 1300);
		run(&t->b);
		carry(&t->b, &t->a);
		run(&t->a);
		assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 11);
		struct rte_mbuf *m = take_only(&t->a);
		check_frame(m, true);
		assert_int_equal(m->tso_segsz, 1300);
		assert_int_equal(m->pkt_len, L2_LEN + hdr + 14000);
		rte_pktmbuf_free(m);
		forget(&t->a);

		to_host(&(struct spec){.family = families[i], .payload = 100}, &p);
		send_back(t, &p);
		run(&t->a);
		m = take_only(&t->a);
		check_frame(m, false);
		rte_pktmbuf_adj(m, L2_LEN);
		flow_flat(m, &got);
		rte_pktmbuf_free(m);
		hop(&p);
		hop(&p);
		assert_flat_equal(&got, &p);
		forget(&t->a);
	}
	assert_int_equal(drops(&t->a), 0);
}

// All else is wrapped here, and without coalescing there are as many frames as segments.
static void what_the_device_is_not_for(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	struct rte_mbuf *m;
	open_device(t);
	to_host(&(struct spec){.proto = IPPROTO_UDP, .payload = 600}, &p);
	send_back(t, &p);
	run(&t->a);
	m = take_only(&t->a);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK, 0);
	rte_pktmbuf_adj(m, L2_LEN);
	flow_flat(m, &got);
	rte_pktmbuf_free(m);
	check_outer(&got, IP_V4);

	// Out of a link, not into a VXLAN.
	inner_build(&(struct spec){.payload = 100}, 2, 1, &p);
	send_back(t, &p);
	run(&t->a);
	assert_int_equal(sent(&t->a, GW_LAN), 1);
	m = memport_take(t->a.port[GW_LAN], 0);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK, 0);
	rte_pktmbuf_free(m);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 1);

	forget(&t->a);
	t->a.gw.coalesce = false;
	to_host(&(struct spec){.payload = 2600}, &p);
	push_super(&t->b, GW_LAN, &p, 1300);
	run(&t->b);
	carry(&t->b, &t->a);
	run(&t->a);
	assert_int_equal(sent(&t->a, GW_WAN), 2);
	while ((m = memport_take(t->a.port[GW_WAN], 0))) {
		check_frame(m, false);
		rte_pktmbuf_free(m);
	}
	t->a.gw.coalesce = true;
	assert_int_equal(drops(&t->a), 0);
}

// What does not fit is cut before, or its sender told.
static void too_big_for_the_device(void **state)
{
	struct two *t = *state;
	struct flat p;
	struct rte_mbuf *m;
	open_device(t);
	struct vtep small = *vtep_get(t->a.gw.fib->vteps, remote_number);
	small.mtu = 1300;
	assert_true(vtep_publish(t->a.gw.fib->vteps, remote_number, &small));
	to_host(&(struct spec){.payload = 1301 - 40}, &p);
	send_back(t, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TOO_BIG, 1);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 0);
	forget(&t->a);
	to_host(&(struct spec){.payload = 1301 - 40, .no_df = true}, &p);
	send_back(t, &p);
	run(&t->a);
	assert_int_equal(sent(&t->a, GW_WAN), 2);
	while ((m = memport_take(t->a.port[GW_WAN], 0))) {
		check_frame(m, false);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 2);
}

// An owned port's packet into a VXLAN is its kernel's: the mirror gets the frame as it came.
static void a_mirror_wraps_nothing(void **state)
{
	struct two *t = *state;
	struct gw *g = &t->a;
	struct flat p;
	open_vtep(g, IP_V4, false);
	struct port *lan = &g->port[GW_LAN]->port, *mirror = &g->port[GW_HOST]->port;
	lan->peer = mirror;
	mirror->peer = lan;
	mirror->l2 = true;
	to_host(&(struct spec){.payload = 100}, &p);
	struct rte_mbuf *m = frame_of(g, GW_LAN, p.b, p.len);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	push(g, GW_LAN, m);
	run(g);
	assert_int_equal(sent(g, GW_HOST), 1);
	m = memport_take(g->port[GW_HOST], 0);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK, 0);
	rte_pktmbuf_free(m);
	mirror->l2 = false;
}

static void too_big_for_the_way(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	open_vtep(&t->a, IP_V4, false);
	t->a.port[GW_WAN]->port.mtu = 1500;
	struct vtep small = *vtep_get(t->a.gw.fib->vteps, remote_number);
	small.mtu = 1300;
	assert_true(vtep_publish(t->a.gw.fib->vteps, remote_number, &small));
	to_host(&(struct spec){.proto = IPPROTO_UDP, .payload = 1301 - 28}, &p);
	send_back(t, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TOO_BIG, 1);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_true(take_flat(&t->b, GW_LAN, &got));
	assert_int_equal(got.b[9], IPPROTO_ICMP);
	assert_int_equal(get16(got.b + 26), 1300);
	to_host(&(struct spec){.proto = IPPROTO_UDP, .payload = 1301 - 28, .no_df = true}, &p);
	send_back(t, &p);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 2); // fragments
	forget(&t->a);
}

// Where nothing leads to the remote, the kernel may know better: by way of the host TUN.
static void no_way_to_the_remote(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	open_vtep(&t->a, IP_V4, false);
	assert_true(vtep_publish(t->a.gw.fib->vteps, remote_number, NULL));
	assert_false(vtep_publish(t->a.gw.fib->vteps, remote_number, NULL));
	to_host(&(struct spec){.payload = 100}, &p);
	send_back(t, &p);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 0);
	assert_true(take_flat(&t->a, GW_HOST, &got));
	hop(&p);
	assert_flat_equal(&got, &p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(into_the_tunnel),
		two_test(each_datagram_has_its_fate),
		two_test(congestion_reaches_the_inside),
		two_test(nested),
		two_test(the_device_goes),
		two_test(no_device_no_vxlan),
		two_test(super_packet_of_the_kernel),
		two_test(run_of_datagrams),
		two_test(out_of_the_tunnel),
		two_test(runs_of_a_flow),
		two_test(tcp_by_the_device),
		two_test(what_the_device_is_not_for),
		two_test(too_big_for_the_device),
		two_test(a_mirror_wraps_nothing),
		two_test(too_big_for_the_way),
		two_test(no_way_to_the_remote),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
