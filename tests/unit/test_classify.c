// eth_input, host_input and classify: what is taken, what is left to the kernel, what is refused.
#include "tests/unit/packets.h"

#include "dataplane/node/state.h"

enum fate {
	DROPPED,
	TO_KERNEL,
	TO_WAN,	 // sealed
	TO_LAN,	 // forwarded
	TO_PUNT, // the control thread
	WAITS,	 // for the rest of it
};

struct row {
	const char *name;
	enum fate fate;
	enum drop_reason reason;
	unsigned port;	   // 0: lan
	const char *patch; // bytes of the frame that are changed: "offset=hex ..."
	uint32_t cut;	   // bytes that are missing at the end
	uint32_t pad;	   // zero bytes behind the end
	uint8_t family;
	uint32_t payload;
};

// Offsets count from the Ethernet header: IPv4 begins at 14, UDP at 34.
static const struct row rows[] = {
	{"plain packet into the tunnel", TO_WAN, 0},
	{"IPv6 into the tunnel", TO_WAN, 0, .family = IP_V6},
	{"padded to Ethernet's 60 bytes", TO_WAN, 0, .payload = 4, .pad = 14},
	{"shortest: no payload", TO_WAN, 0, .payload = 0, .pad = 18},
	{"IPv4 options", TO_WAN, 0, .patch = "14=46 24=0000 34=01010101 24=!"},

	{"other destination address", TO_KERNEL, 0, .patch = "0=020000000900"},
	{"broadcast frame", TO_KERNEL, 0, .patch = "0=ffffffffffff"},
	{"ARP", TO_KERNEL, 0, .patch = "12=0806"},
	{"VLAN tag", TO_KERNEL, 0, .patch = "12=8100"},
	{"LLDP", TO_KERNEL, 0, .patch = "12=88cc"},
	{"to the gateway itself", TO_KERNEL, 0, .patch = "30=0a010001 24=!"},
	{"by an interface of the kernel", TO_KERNEL, 0, .patch = "30=0a440001 24=!"},
	{"no route at all", TO_KERNEL, 0, .patch = "30=08080808 24=!"},
	{"other UDP port of the gateway", TO_KERNEL, 0, .port = GW_WAN,
		.patch = "30=c0000201 36=a2aa 24=!"},
	{"fragment to the WireGuard port", WAITS, 0, .port = GW_WAN,
		.patch = "20=0010 30=c0000201 36=a2a9 24=!"},
	{"TCP to the WireGuard port's number", TO_KERNEL, 0, .port = GW_WAN,
		.patch = "23=06 30=c0000201 36=a2a9 24=!"},

	{"version 5", DROPPED, DROP_IP_MALFORMED, .patch = "14=55"},
	{"version 0", DROPPED, DROP_IP_MALFORMED, .patch = "14=05"},
	{"version 6 in an IPv4 frame", DROPPED, DROP_IP_MALFORMED, .patch = "14=65"},
	{"header length 16", DROPPED, DROP_IP_MALFORMED, .patch = "14=44"},
	{"header length beyond the packet", DROPPED, DROP_IP_MALFORMED, .patch = "14=4f",
		.payload = 0},
	{"total length below the header", DROPPED, DROP_IP_MALFORMED, .patch = "16=0013"},
	{"total length beyond the frame", DROPPED, DROP_IP_MALFORMED, .patch = "16=0600"},
	{"total length 0", DROPPED, DROP_IP_MALFORMED, .patch = "16=0000"},
	{"cut in the payload", DROPPED, DROP_IP_MALFORMED, .cut = 1},
	{"cut in the UDP header", DROPPED, DROP_IP_MALFORMED, .payload = 0, .cut = 5},
	{"cut in the IP header", DROPPED, DROP_IP_MALFORMED, .payload = 0, .cut = 9},
	{"one byte of IP", DROPPED, DROP_IP_MALFORMED, .payload = 0, .cut = 27},
	{"nothing behind the Ethernet header", TO_KERNEL, 0, .payload = 0, .cut = 28},
	{"half an Ethernet header", TO_KERNEL, 0, .payload = 0, .cut = 35},
	{"wrong header checksum", DROPPED, DROP_IP_CHECKSUM, .patch = "24=1234"},
	{"checksum 0", DROPPED, DROP_IP_CHECKSUM, .patch = "24=0000"},
	{"checksum of options wrong", DROPPED, DROP_IP_CHECKSUM, .patch = "14=46 34=01010101"},
	{"IPv6 payload length beyond the frame", DROPPED, DROP_IP_MALFORMED, .family = IP_V6,
		.patch = "18=0600"},
	{"IPv6 cut in the header", DROPPED, DROP_IP_MALFORMED, .family = IP_V6, .payload = 0,
		.cut = 9},
	{"IPv6 extension header without end", DROPPED, DROP_IP_MALFORMED, .family = IP_V6,
		.patch = "20=00 54=00ff"},
	{"IPv6 fragment header cut", DROPPED, DROP_IP_MALFORMED, .family = IP_V6, .payload = 0,
		.patch = "20=2c 18=0007", .cut = 1},

	{"empty UDP to WireGuard", DROPPED, DROP_WG_MALFORMED, .port = GW_WAN, .payload = 0,
		.patch = "30=c0000201 36=a2a9 24=!"},
	{"rubbish to WireGuard", DROPPED, DROP_WG_MALFORMED, .port = GW_WAN,
		.patch = "30=c0000201 36=a2a9 24=!"},
	{"initiation to WireGuard", TO_PUNT, 0, .port = GW_WAN, .payload = WG_INITIATION_LEN,
		.patch = "30=c0000201 36=a2a9 42=01000000 24=!"},
	{"initiation on the LAN's side", TO_PUNT, 0, .payload = WG_INITIATION_LEN,
		.patch = "30=c0000201 36=a2a9 42=01000000 24=!"},
};

// "offset=hex": bytes; "24=!": the IPv4 header checksum as it must be now.
static void patch(struct flat *f, const char *text)
{
	for (const char *p = text; p && *p; p += strcspn(p, " "), p += *p == ' ') {
		char *end;
		unsigned long at = strtoul(p, &end, 10);
		if (end[1] == '!') {
			put16(f->b + 24, 0);
			put16(f->b + 24, ~flow_sum(f->b + 14, (f->b[14] & 15) * 4, 0));
			continue;
		}
		for (unsigned value; sscanf(++end, "%2x", &value) == 1 && *end != ' '; end++)
			f->b[at++] = (uint8_t)value;
	}
}

static void build(struct gw *g, const struct row *r, struct flat *frame)
{
	struct flat p;
	struct spec s = {.family = r->family, .proto = IPPROTO_UDP, .payload = r->payload};
	bool sized = r->payload || r->cut || r->pad || strstr(r->name, "UDP") ||
		     strstr(r->name, "beyond the packet");
	s.payload = sized ? r->payload : 100;
	inner_build(&s, g->number, 3 - g->number, &p);
	struct rte_mbuf *m = frame_of(g, r->port, p.b, p.len);
	flow_flat(m, frame);
	rte_pktmbuf_free(m);
	patch(frame, r->patch);
	memset(frame->b + frame->len, 0, r->pad);
	frame->len += r->pad;
	frame->len -= r->cut;
}

static void check_fate(struct gw *g, const struct row *r)
{
	struct graph *graph = graph_of(g);
	if (r->fate == DROPPED)
		expect_drops(g, r->reason, 1);
	assert_int_equal(drops(g), 0);
	assert_int_equal(graph->counters[COUNTER_LEFT_TO_KERNEL], r->fate == TO_KERNEL);
	assert_int_equal(sent(g, GW_WAN), r->fate == TO_WAN);
	assert_int_equal(sent(g, GW_LAN), r->fate == TO_LAN);
	assert_int_equal(mailbox_count(g->gw.punted), r->fate == TO_PUNT);
	assert_int_equal(graph->fragment_buffers > 0, r->fate == WAITS);
	if (r->fate == WAITS) { // in vain
		graph->now += (uint64_t)(g->gw.tsc_per_ns * 10e9);
		reassemble_flush(graph);
		expect_drops(g, DROP_FRAGMENT_TIMEOUT, 1);
		assert_int_equal(drops(g), 0);
	}
}

static void forget(struct gw *g)
{
	struct rte_mbuf *m;
	for (unsigned i = 0; i < GW_PORTS; i++) {
		while ((m = memport_take(g->port[i], 0)))
			rte_pktmbuf_free(m);
	}
	while ((m = punted_get(&g->gw)))
		rte_pktmbuf_free(m);
	memset(graph_of(g)->counters, 0, sizeof(graph_of(g)->counters));
}

static void push_row(struct gw *g, const struct row *r)
{
	struct flat frame;
	build(g, r, &frame);
	struct rte_mbuf *m = rte_pktmbuf_alloc(g->gw.pool);
	memcpy(rte_pktmbuf_append(m, (uint16_t)frame.len), frame.b, frame.len);
	print_message("%s\n", r->name);
	push(g, r->port, m);
	run(g);
}

static void each_frame_has_its_fate(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		push_row(&t->a, &rows[i]);
		check_fate(&t->a, &rows[i]);
		forget(&t->a);
	}
}

static void push_frame(struct gw *g, const struct flat *frame)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(g->gw.pool);
	memcpy(rte_pktmbuf_append(m, (uint16_t)frame->len), frame->b, frame->len);
	push(g, GW_WAN, m);
	run(g);
}

// Bytes from to up to to of what the frame carries, as a fragment.
static struct flat piece(const struct flat *whole, uint32_t from, uint32_t to, bool more)
{
	struct flat f = *whole;
	memmove(f.b + 34, whole->b + 34 + from, to - from);
	f.len = 34 + to - from;
	put16(f.b + 16, (uint16_t)(f.len - 14));
	put16(f.b + 20, (uint16_t)(from / 8 | more << 13));
	patch(&f, "24=!");
	return f;
}

// A router on the way cuts what its next link does not take.
static void datagrams_are_put_together(void **state)
{
	struct two *t = *state;
	static const struct row row = {"in pieces", TO_PUNT, 0, .port = GW_WAN,
		.payload = WG_INITIATION_LEN, .patch = "30=c0000201 36=a2a9 42=01000000 24=!"};
	struct flat whole, last;
	build(&t->a, &row, &whole);
	uint32_t len = whole.len - 34;
	struct flat first = piece(&whole, 0, 80, true);
	last = piece(&whole, 80, len, false);
	push_frame(&t->a, &last);
	assert_int_equal(mailbox_count(t->a.gw.punted), 0);
	push_frame(&t->a, &first);
	check_fate(&t->a, &row);
	struct rte_mbuf *m = punted_get(&t->a.gw);
	assert_non_null(m);
	assert_int_equal(pkt_of(m)->reason, PUNT_DATAGRAM);
	assert_int_equal(m->data_len, whole.len - 14);
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *) + 20, whole.b + 34, len);
	rte_pktmbuf_free(m);
	forget(&t->a);
	// Nobody's: the kernel's, as a whole.
	put16(whole.b + 36, 53);
	first = piece(&whole, 0, 80, true);
	last = piece(&whole, 80, len, false);
	push_frame(&t->a, &first);
	push_frame(&t->a, &last);
	assert_int_equal(graph_of(&t->a)->counters[COUNTER_LEFT_TO_KERNEL], 1);
	assert_int_equal(mailbox_count(t->a.gw.punted), 0);
}

static const struct row icmp_rows[] = {
	{"too big", TO_PUNT, 0, .patch = "23=01 30=c0000201 34=0304 24=!"},
	{"another code", TO_KERNEL, 0, .patch = "23=01 30=c0000201 34=0301 24=!"},
	{"another type", TO_KERNEL, 0, .patch = "23=01 30=c0000201 34=0b04 24=!"},
	{"ICMPv6's number", TO_KERNEL, 0, .patch = "23=3a 30=c0000201 34=0200 24=!"},
	{"not to us", TO_KERNEL, 0, .patch = "23=01 30=08080808 34=0304 24=!"},
	{"UDP", TO_KERNEL, 0, .patch = "30=c0000201 34=0304 24=!"},
};

// The control thread gets a copy; the kernel has its own.
static void routers_are_heard(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(icmp_rows); i++) {
		struct row r = icmp_rows[i];
		r.port = GW_WAN;
		push_row(&t->a, &r);
		assert_int_equal(mailbox_count(t->a.gw.punted), r.fate == TO_PUNT);
		assert_int_equal(graph_of(&t->a)->counters[COUNTER_LEFT_TO_KERNEL], 1);
		assert_int_equal(drops(&t->a), 0);
		forget(&t->a);
	}
	// Of a flood a share waits, the rest is counted.
	for (unsigned i = 0; i < 4096; i++) {
		struct row r = icmp_rows[0];
		struct flat frame;
		r.port = GW_WAN;
		build(&t->a, &r, &frame);
		push_frame(&t->a, &frame);
	}
	uint64_t full = graph_of(&t->a)->drops[DROP_TOO_BIG_FULL];
	assert_true(full > 0);
	expect_drops(&t->a, DROP_TOO_BIG_FULL, full);
	forget(&t->a);
}

// 50000 to 50007, over IPv4 alone.
static const struct row extra_rows[] = {
	{"one below", TO_KERNEL, 0, .patch = "30=c0000201 36=c34f 42=01000000 24=!"},
	{"the first", TO_PUNT, 0, .patch = "30=c0000201 36=c350 42=01000000 24=!"},
	{"the last", TO_PUNT, 0, .patch = "30=c0000201 36=c357 42=01000000 24=!"},
	{"one above", TO_KERNEL, 0, .patch = "30=c0000201 36=c358 42=01000000 24=!"},
	{"port 0", TO_KERNEL, 0, .patch = "30=c0000201 36=0000 42=01000000 24=!"},
	{"the WireGuard port", TO_PUNT, 0, .patch = "30=c0000201 36=a2a9 42=01000000 24=!"},
	{"rubbish", DROPPED, DROP_WG_MALFORMED, .patch = "30=c0000201 36=c350 24=!"},
	{"TCP", TO_KERNEL, 0, .patch = "23=06 30=c0000201 36=c350 24=!"},
	{"a fragment", WAITS, 0, .patch = "20=0010 30=c0000201 36=c350 24=!"},
	{"somebody else's", TO_KERNEL, 0, .patch = "30=08080808 36=c350 42=01000000 24=!"},
};

static void extra_ports_are_wireguards(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(extra_rows); i++) {
		struct row r = extra_rows[i];
		r.port = GW_WAN;
		r.payload = WG_INITIATION_LEN;
		atomic_store(&t->a.gw.extra_ports, 50000u << 16 | 8);
		push_row(&t->a, &r);
		check_fate(&t->a, &r);
		forget(&t->a);
		if (r.fate != TO_PUNT || strstr(r.name, "WireGuard"))
			continue;
		atomic_store(&t->a.gw.extra_ports, 0); // closed
		push_row(&t->a, &r);
		r.fate = TO_KERNEL;
		check_fate(&t->a, &r);
		forget(&t->a);
	}
}

// The padding of Ethernet must not become the padding of WireGuard, which a receiver may trust.
static void ethernet_padding_is_cut(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 3}, 1, 2, &p);
	struct rte_mbuf *m = frame_of(&t->a, GW_LAN, p.b, p.len);
	memset(rte_pktmbuf_append(m, 15), 0xee, 15);
	push(&t->a, GW_LAN, m);
	run(&t->a);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_true(take_flat(&t->b, GW_LAN, &got));
	hop(&p);
	hop(&p);
	assert_flat_equal(&got, &p);
}

// A shared port forwards into the tunnel only; an owned one between ports, too.
static void shared_ports_leave_forwarding_to_the_kernel(void **)
{
	static const enum port_kind kinds[] = {PORT_SHARED, PORT_OWNED};
	for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
		struct two *t = two_open(&(struct gw_params){.kind = kinds[i]});
		struct flat p;
		bool owned = kinds[i] == PORT_OWNED;
		inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 10}, 7, 1, &p);
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
		assert_int_equal(sent(&t->a, GW_LAN), owned);
		assert_int_equal(graph_of(&t->a)->counters[COUNTER_LEFT_TO_KERNEL], !owned);
		two_close(t);
	}
}

// What an owned port does not take goes through the mirror, unchanged, and back.
static void owned_ports_share_with_their_mirror(void **state)
{
	struct two *t = *state;
	struct gw *g = &t->a;
	struct port *lan = &g->port[GW_LAN]->port, *mirror = &g->port[GW_HOST]->port;
	struct flat p, got;
	lan->peer = mirror;
	mirror->peer = lan;
	mirror->l2 = true;
	inner_build(&(struct spec){.payload = 300}, 2, 1, &p);
	p.b[19] = 1; // 10.1.0.1, the gateway
	flow_finish(p.b, p.len);
	push_flat(g, GW_LAN, &p);
	push_super(g, GW_LAN, &p, 0); // its checksum is completed where the port cannot
	mirror->tx_offloads = 0;
	run(g);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(take_flat(g, GW_HOST, &got));
		assert_flat_equal(&got, &p);
	}
	mirror->l2 = false;
}

static const struct {
	const char *name;
	uint32_t len, cut;
	uint8_t first;
	bool ok;
} host_rows[] = {
	{"whole", 0, 0, 0x45, true},
	{"cut", 0, 1, 0x45, false},
	{"empty header", 0, 120, 0x45, false},
	{"version 3", 0, 0, 0x35, false},
	{"options beyond the end", 0, 100, 0x4f, false},
};

static void host_packets_are_checked(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(host_rows); i++) {
		struct flat p;
		inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 100}, 1, 2, &p);
		p.b[0] = host_rows[i].first;
		p.len -= host_rows[i].cut;
		push_flat(&t->a, GW_HOST, &p);
		run(&t->a);
		assert_int_equal(sent(&t->a, GW_WAN), host_rows[i].ok);
		expect_drops(&t->a, DROP_IP_MALFORMED, !host_rows[i].ok);
		forget(&t->a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(each_frame_has_its_fate),
		two_test(extra_ports_are_wireguards),
		two_test(datagrams_are_put_together),
		two_test(routers_are_heard),
		two_test(ethernet_padding_is_cut),
		cmocka_unit_test(shared_ports_leave_forwarding_to_the_kernel),
		two_test(owned_ports_share_with_their_mirror),
		two_test(host_packets_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
