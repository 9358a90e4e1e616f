// vxlan_input: what of a VXLAN that ends here goes into the tunnel, what stays the kernel's, what
// is refused.
#include "tests/unit/vxlan_ends.h"

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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
