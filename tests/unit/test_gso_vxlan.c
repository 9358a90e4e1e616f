// Runs of TCP segments in VXLAN, as a kernel handed them over and as it cut them itself; and those
// that say something that cannot be.
#include "dataplane/port/gso.h"
#include "tests/unit/flows.h"
#include "tests/unit/vectors.h"

enum {
	SUPERS = 511,
	SEGMENTS = 1023,
	OUT_MAX = 64,
	ETH = 14,
	// Of IPv4 in IPv4, from the outer IP header on.
	AT_UDP = 20,
	AT_VXLAN = 28,
	AT_TYPE = 48,
	AT_IP = 50,
	AT_TCP = 70,
	TCP_LEN = 32,
};

static struct rte_mempool *super_pool, *pool;
static struct flat flat, expected, got;
static json_t *vectors;

static struct vnet_hdr vnet_of(const json_t *c)
{
	return (struct vnet_hdr){
		.flags = (uint8_t)json_integer_value(json_object_get(c, "flags")),
		.gso_type = (uint8_t)json_integer_value(json_object_get(c, "gso_type")),
		.hdr_len = (uint16_t)json_integer_value(json_object_get(c, "hdr_len")),
		.gso_size = (uint16_t)json_integer_value(json_object_get(c, "gso_size")),
		.csum_start = (uint16_t)json_integer_value(json_object_get(c, "csum_start")),
		.csum_offset = (uint16_t)json_integer_value(json_object_get(c, "csum_offset")),
	};
}

// The packet of a case, with its Ethernet header; the kernel that cut it had forwarded it.
static void load(const json_t *c, struct flat *p)
{
	p->len = (uint32_t)vectors_bytes(c, "packet", p->b, sizeof(p->b));
	uint8_t *l3 = p->b + ETH;
	l3[flow_is_v4(l3) ? 8 : 7]--;
}

static void no_leak(void)
{
	assert_int_equal(rte_mempool_avail_count(super_pool), SUPERS);
	assert_int_equal(rte_mempool_avail_count(pool), SEGMENTS);
}

static void check(const json_t *c, uint32_t first, uint32_t piece)
{
	struct rte_mbuf *out[OUT_MAX];
	const struct vnet_hdr h = vnet_of(c);
	const json_t *segments = json_object_get(c, "segments");
	load(c, &flat);
	struct rte_mbuf *super = flow_mbuf(super_pool, flat.b, flat.len, first, piece);
	assert_int_equal(vnet_to_mbuf(&h, super, true), 0);
	assert_int_equal(super->packet_type, VNET_TUNNEL_TCP);
	assert_int_equal(super->tso_segsz, h.gso_size);
	rte_pktmbuf_adj(super, ETH);
	struct ip_info info = flow_parse(super);
	assert_int_equal(gso_hdr_len(super, &info), h.hdr_len - ETH);
	int n = gso_segment(super, &info, pool, out, OUT_MAX);
	assert_int_equal(n, json_array_size(segments));
	for (int i = 0; i < n; i++) {
		expected.len =
			(uint32_t)hex_bytes(json_string_value(json_array_get(segments, (size_t)i)),
				expected.b, sizeof(expected.b));
		flow_flat(out[i], &got);
		assert_int_equal(got.len, expected.len);
		assert_memory_equal(got.b, expected.b, expected.len);
	}
	rte_pktmbuf_free_bulk(out, (unsigned)n);
	rte_pktmbuf_free(super);
	no_leak();
}

static void as_the_kernel_cuts_them(void **)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(vectors, "supers"), i, c)
	{
		print_message("%s\n", json_string_value(json_object_get(c, "name")));
		uint32_t headers = vnet_of(c).hdr_len;
		check(c, 0, 0);
		check(c, headers, 0);
		check(c, headers + 1, 333);
	}
}

// What 4in4 becomes by one change, from the outer IP header on.
static const struct {
	const char *name;
	uint16_t at;
	uint8_t n, bytes[4];
	uint32_t first; // bytes in the first mbuf, Ethernet included
	int cut;	// off the chain's end
} refusals[] = {
	{"a fragment outside", 6, 1, {0x20}},
	{"TCP outside", 9, 1, {IPPROTO_TCP}},
	{"UDP length short", AT_UDP + 4, 2, {0, 200}},
	{"UDP length beyond the packet", AT_UDP + 4, 2, {0xff, 0}},
	{"no VNI", AT_VXLAN, 1, {0}},
	{"GPE", AT_VXLAN, 1, {0x0c}},
	{"a VLAN inside", AT_TYPE, 2, {0x81, 0}},
	{"ARP inside", AT_TYPE, 2, {8, 6}},
	{"IPv6 said inside", AT_TYPE, 2, {0x86, 0xdd}},
	{"IP version 6 inside", AT_IP, 1, {0x65}},
	{"IP header of 16 bytes inside", AT_IP, 1, {0x44}},
	{"a longer IP header inside", AT_IP, 1, {0x46}},
	{"IP length short inside", AT_IP + 2, 2, {2, 0}},
	{"IP length beyond the packet", AT_IP + 2, 2, {0xff, 0}},
	{"a fragment inside", AT_IP + 6, 1, {0x20}},
	{"a later fragment inside", AT_IP + 7, 1, {1}},
	{"VXLAN or other UDP inside", AT_IP + 9, 1, {IPPROTO_UDP}},
	{"IPv4 inside", AT_IP + 9, 1, {IPPROTO_IPIP}},
	{"TCP header of 16 bytes", AT_TCP + 12, 1, {0x40}},
	{"SYN", AT_TCP + 13, 1, {RTE_TCP_SYN_FLAG}},
	{"RST", AT_TCP + 13, 1, {RTE_TCP_RST_FLAG}},
	{"headers cut within TCP's options", 0, 0, {0}, ETH + AT_TCP + TCP_LEN - 1},
	{"headers cut within TCP", 0, 0, {0}, ETH + AT_TCP + 19},
	{"headers cut within IP", 0, 0, {0}, ETH + AT_IP + 19},
	{"headers cut within VXLAN", 0, 0, {0}, ETH + AT_VXLAN + 7},
	{"headers cut within UDP", 0, 0, {0}, ETH + AT_UDP + 7},
	{"chain too short", 0, 0, {0}, 0, 1},
};

static void refused(void **)
{
	const json_t *c = json_array_get(json_object_get(vectors, "supers"), 0);
	for (size_t i = 0; i < RTE_DIM(refusals); i++) {
		struct rte_mbuf *out[OUT_MAX];
		load(c, &flat);
		memcpy(flat.b + ETH + refusals[i].at, refusals[i].bytes, refusals[i].n);
		struct rte_mbuf *super =
			flow_mbuf(super_pool, flat.b, flat.len, refusals[i].first, 0);
		super->packet_type = VNET_TUNNEL_TCP;
		super->tso_segsz = vnet_of(c).gso_size;
		rte_pktmbuf_adj(super, ETH);
		struct ip_info info = flow_parse(super);
		rte_pktmbuf_lastseg(super)->data_len -= refusals[i].cut;
		print_message("%s\n", refusals[i].name);
		assert_int_equal(gso_segment(super, &info, pool, out, OUT_MAX), -EINVAL);
		rte_pktmbuf_free(super);
		no_leak();
	}
}

// What the vnet header says of the same packet.
static void refused_on_arrival(void **)
{
	const json_t *c = json_array_get(json_object_get(vectors, "supers"), 0);
	const struct vnet_hdr good = vnet_of(c);
	const struct {
		const char *name;
		uint16_t start, offset, size;
		uint8_t type;
	} cases[] = {
		{"sum from the outer UDP on", ETH + AT_UDP, 16, 524, VNET_GSO_TCPV4},
		{"sum from within VXLAN on", ETH + AT_VXLAN, 16, 524, VNET_GSO_TCPV4},
		{"sum from the inner IP header on", ETH + AT_IP, 16, 524, VNET_GSO_TCPV4},
		{"a little behind TCP's header", ETH + AT_TCP + 4, 16, 524, VNET_GSO_TCPV4},
		{"as with another VXLAN inside", ETH + AT_TCP + 50, 16, 524, VNET_GSO_TCPV4},
		{"behind the packet", 1416, 16, 524, VNET_GSO_TCPV4},
		{"far behind it", 65535, 16, 524, VNET_GSO_TCPV4},
		{"IPv6 said", ETH + AT_TCP, 16, 524, VNET_GSO_TCPV6},
		{"UDP said", ETH + AT_TCP, 6, 524, VNET_GSO_UDP_L4},
		{"segments of 0 bytes", ETH + AT_TCP, 16, 0, VNET_GSO_TCPV4},
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct vnet_hdr h = good;
		h.csum_start = cases[i].start;
		h.csum_offset = cases[i].offset;
		h.gso_size = cases[i].size;
		h.gso_type = cases[i].type;
		load(c, &flat);
		struct rte_mbuf *m = flow_mbuf(super_pool, flat.b, flat.len, 0, 0);
		print_message("%s\n", cases[i].name);
		assert_int_equal(vnet_to_mbuf(&h, m, true), -EINVAL);
		rte_pktmbuf_free(m);
		no_leak();
	}
}

int main(void)
{
	test_eal_init();
	super_pool = test_pool("supers", SUPERS);
	pool = test_pool("segments", SEGMENTS);
	vectors = vectors_load("gso_vxlan.json");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_kernel_cuts_them),
		cmocka_unit_test(refused),
		cmocka_unit_test(refused_on_arrival),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	json_decref(vectors);
	return rc;
}
