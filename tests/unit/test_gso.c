#include "dataplane/port/gso.h"
#include "tests/unit/flows.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum {
	SUPERS = 511,
	SEGMENTS = 4095,
	OUT_MAX = 4096,
};

static struct rte_mempool *super_pool, *pool, *tiny_pool;
static struct rte_mbuf *out[OUT_MAX];
static struct flat flat, expected, got;

static void no_leak(void)
{
	assert_int_equal(rte_mempool_avail_count(super_pool), SUPERS);
	assert_int_equal(rte_mempool_avail_count(pool), SEGMENTS);
	assert_int_equal(rte_mempool_avail_count(tiny_pool), 3);
}

// Segment n of flat must be m, to the last byte.
static void check_segment(const struct rte_mbuf *m, uint32_t mss, uint32_t n)
{
	assert_true(flow_segment(&flat, mss, n, &expected));
	assert_int_equal(m->nb_segs, 1);
	assert_null(m->next);
	assert_int_equal(m->data_off, RTE_PKTMBUF_HEADROOM);
	assert_int_equal(m->pkt_len, m->data_len);
	assert_int_equal(m->ol_flags, 0);
	flow_flat(m, &got);
	assert_int_equal(got.len, expected.len);
	assert_memory_equal(got.b, expected.b, got.len);
}

// Segment flat in steps of k (0: at once) and hold it against the reference.
static void check(uint32_t mss, uint32_t first, uint32_t piece, unsigned k)
{
	struct rte_mbuf *super = flow_mbuf(super_pool, flat.b, flat.len, first, piece);
	struct ip_info info = flow_parse(super);
	super->tso_segsz = (uint16_t)mss;
	super->port = 5;
	uint32_t n = 0, want = (info.total_len - flow_hdr_len(flat.b) + mss - 1) / mss;
	if (k == 0) {
		assert_int_equal(gso_segment(super, &info, pool, out, OUT_MAX), want);
		for (; n < want; n++)
			check_segment(out[n], mss, n);
		rte_pktmbuf_free_bulk(out, n);
	} else {
		struct gso_iter it;
		assert_int_equal(gso_iter_init(&it, super, &info, pool), 0);
		for (;;) {
			assert_int_equal(gso_iter_left(&it), want - n);
			int got_n = gso_iter_next(&it, out, k);
			assert_int_equal(got_n, RTE_MIN(k, want - n));
			for (int i = 0; i < got_n; i++, n++) {
				check_segment(out[i], mss, n);
				assert_int_equal(out[i]->port, 5);
			}
			rte_pktmbuf_free_bulk(out, (unsigned)got_n);
			if (got_n == 0)
				break;
		}
		assert_int_equal(n, want);
	}
	assert_false(flow_segment(&flat, mss, n, &expected));
	rte_pktmbuf_free(super);
}

static void test_table(void **)
{
	enum { ALL = RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG | RTE_TCP_CWR_FLAG };
	static const struct {
		const char *name;
		struct spec spec;
		uint32_t mss, first, piece;
	} cases[] = {
		{"one segment", {.payload = 100}, 100, 0, 0},
		{"smaller than a segment", {.payload = 99}, 100, 0, 0},
		{"one byte more", {.payload = 101}, 100, 0, 0},
		{"flags on first and last only", {.payload = 5000, .flags = ALL}, 1000, 0, 0},
		{"flags, single", {.payload = 500, .flags = ALL}, 1000, 0, 0},
		{"ECE and URG on all", {.payload = 5000, .flags = 0x70, .urgent = 3}, 999, 0, 0},
		{"sequence number wraps", {.payload = 5000, .seq = 0xfffffff0}, 1448, 0, 0},
		{"identification wraps", {.payload = 5000, .id = 0xfffe, .no_df = true}, 1448, 0,
			0},
		{"timestamps", {.payload = 20000, .n_options = 12, .option = 1}, 1448, 0, 0},
		{"most options", {.payload = 20000, .n_options = 40, .option = 7}, 1400, 0, 0},
		{"64 KiB, IPv4", {.payload = 65495}, 1460, 0, 0},
		{"64 KiB, IPv6", {.family = IP_V6, .payload = 65515}, 1440, 0, 0},
		{"odd pieces", {.payload = 9001}, 1448, 41, 333},
		{"odd pieces, odd segments", {.payload = 9001}, 1447, 1001, 7 * 31},
		{"headers alone in the first piece", {.payload = 9000}, 1448, 40, 0},
		{"bytes as pieces", {.payload = 200}, 33, 40, 1},
		{"segments of one byte", {.payload = 300}, 1, 40, 0},
		{"UDP", {.proto = IPPROTO_UDP, .payload = 10000}, 1200, 0, 0},
		{"UDP, one byte left", {.proto = IPPROTO_UDP, .payload = 10001}, 1250, 29, 77},
		{"UDP, IPv6", {.family = IP_V6, .proto = IPPROTO_UDP, .payload = 9999}, 1300, 0,
			999},
		{"largest segment", {.payload = 5000}, ROOM - 40, 0, 0},
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		print_message("%s\n", cases[i].name);
		flow_build(&cases[i].spec, &flat);
		check(cases[i].mss, cases[i].first, cases[i].piece, 0);
		check(cases[i].mss, cases[i].first, cases[i].piece, 1);
		check(cases[i].mss, cases[i].first, cases[i].piece, 3);
		no_leak();
	}
}

static void test_random(void **)
{
	uint32_t rnd = 1;
	for (unsigned i = 0; i < 1500; i++) {
		struct spec s = {
			.family = flow_random(&rnd) % 2 ? IP_V4 : IP_V6,
			.proto = flow_random(&rnd) % 3 ? IPPROTO_TCP : IPPROTO_UDP,
			.flags = flow_random(&rnd) & 0xff & ~(RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG),
			.n_options = (uint8_t)(flow_random(&rnd) % 11 * 4),
			.option = (uint8_t)flow_random(&rnd),
			.no_df = flow_random(&rnd) % 2,
			.id = (uint16_t)flow_random(&rnd),
			.seq = flow_random(&rnd) << 8,
			.tos = (uint8_t)flow_random(&rnd),
			.label = flow_random(&rnd) & 0xfffff,
			.payload = 1 + flow_random(&rnd) % (i % 10 == 0 ? 65000 : 6000),
			.fill = i,
		};
		flow_build(&s, &flat);
		uint32_t mss = 20 + flow_random(&rnd) % 1900;
		uint32_t first = 100 + flow_random(&rnd) % 1900;
		check(mss, first, 300 + flow_random(&rnd) % 1700, flow_random(&rnd) % 40);
	}
	no_leak();
}

// What the checksum and length fields of a super-packet say does not matter.
static void test_fields_not_trusted(void **)
{
	flow_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 4000}, &flat);
	put16(flat.b + 10, 0xdead);
	put16(flat.b + 24, 17);
	put16(flat.b + 26, 0xbeef);
	check(1000, 0, 0, 0);
	flow_build(&(struct spec){.payload = 4000}, &flat);
	put16(flat.b + 10, 0xdead);
	put16(flat.b + 36, 0xbeef);
	check(1000, 0, 0, 0);
}

// IPv4 options and IPv6 extension headers are copied to each segment.
static void test_options_copied(void **)
{
	flow_build(&(struct spec){.payload = 4000}, &flat);
	memmove(flat.b + 32, flat.b + 20, flat.len - 20);
	memset(flat.b + 20, 1, 12); // no-operation
	flat.b[0] = 0x48;
	flat.len += 12;
	flow_finish(flat.b, flat.len);
	check(999, 0, 0, 2);

	flow_build(&(struct spec){.family = IP_V6, .payload = 2000}, &flat);
	memmove(flat.b + 48, flat.b + 40, flat.len - 40);
	memcpy(flat.b + 40, (uint8_t[]){IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0}, 8);
	flat.b[6] = IPPROTO_HOPOPTS;
	flat.len += 8;
	put16(flat.b + 4, flat.len - 40);
	struct rte_mbuf *super = flow_mbuf(super_pool, flat.b, flat.len, 0, 0);
	struct ip_info info = flow_parse(super);
	super->tso_segsz = 1500;
	assert_int_equal(gso_segment(super, &info, pool, out, OUT_MAX), 2);
	for (unsigned i = 0; i < 2; i++) {
		flow_flat(out[i], &got);
		uint32_t payload = i == 0 ? 1500 : 500;
		assert_int_equal(got.len, 68 + payload);
		assert_int_equal(get16(got.b + 4), 28 + payload);
		assert_memory_equal(got.b + 6, flat.b + 6, 42);
		assert_memory_equal(got.b + 68, flat.b + 68 + i * 1500, payload);
		got.b[6] = IPPROTO_TCP; // as the pseudo header has it
		assert_int_equal(
			flow_sum(got.b + 48, 20 + payload, flow_pseudo_sum(got.b, 20 + payload)),
			0xffff);
	}
	rte_pktmbuf_free_bulk(out, 2);
	rte_pktmbuf_free(super);
	no_leak();
}

// Bytes behind the IP packet do not come out.
static void test_padding_left_out(void **)
{
	flow_build(&(struct spec){.payload = 3000}, &flat);
	struct rte_mbuf *super = flow_mbuf(super_pool, flat.b, flat.len + 13, 0, 1000);
	struct ip_info info = flow_parse(super);
	super->tso_segsz = 1000;
	assert_int_equal(gso_segment(super, &info, pool, out, OUT_MAX), 3);
	for (unsigned i = 0; i < 3; i++)
		check_segment(out[i], 1000, i);
	rte_pktmbuf_free_bulk(out, 3);
	rte_pktmbuf_free(super);
	no_leak();
}

static void test_refusals(void **)
{
	enum { UDP = IPPROTO_UDP };
	static const struct {
		const char *name;
		struct spec spec;
		uint32_t mss, first; // bytes in the first mbuf
		int set_at, set_to;  // a byte to change, -1: none
		int cut;	     // bytes taken from the chain's end behind ip_parse
		int err;
	} cases[] = {
		{"no segment size", {.payload = 3000}, 0, 0, -1, 0, 0, -EINVAL},
		{"no payload", {.payload = 0}, 1000, 0, -1, 0, 0, -EINVAL},
		{"SYN", {.payload = 3000, .flags = 0x02}, 1000, 0, -1, 0, 0, -EINVAL},
		{"RST", {.payload = 3000, .flags = 0x14}, 1000, 0, -1, 0, 0, -EINVAL},
		{"ICMP", {.payload = 3000}, 1000, 0, 9, IPPROTO_ICMP, 0, -EINVAL},
		{"fragment", {.payload = 3000}, 1000, 0, 6, 0x20, 0, -EINVAL},
		{"later fragment", {.payload = 3000}, 1000, 0, 7, 0x01, 0, -EINVAL},
		{"data offset too small", {.payload = 3000}, 1000, 0, 32, 0x40, 0, -EINVAL},
		{"data offset behind the packet", {.payload = 10}, 1000, 0, 32, 0xf0, 0, -EINVAL},
		{"TCP header split", {.payload = 3000}, 1000, 39, -1, 0, 0, -EINVAL},
		{"TCP options split", {.payload = 3000, .n_options = 12}, 1000, 51, -1, 0, 0,
			-EINVAL},
		{"UDP header split", {.proto = UDP, .payload = 3000}, 1000, 27, -1, 0, 0, -EINVAL},
		{"UDP without payload", {.proto = UDP}, 1000, 0, -1, 0, 0, -EINVAL},
		{"chain too short", {.payload = 3000}, 1000, 0, -1, 0, 1, -EINVAL},
		{"segment does not fit a buffer", {.payload = 6000}, ROOM - 39, 0, -1, 0, 0,
			-EMSGSIZE},
		{"more segments than out holds", {.payload = 5000}, 1, 0, -1, 0, 0, -ENOSPC},
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		flow_build(&cases[i].spec, &flat);
		if (cases[i].set_at >= 0)
			flat.b[cases[i].set_at] = (uint8_t)cases[i].set_to;
		struct rte_mbuf *super = flow_mbuf(super_pool, flat.b, flat.len, cases[i].first, 0);
		struct ip_info info = flow_parse(super);
		rte_pktmbuf_lastseg(super)->data_len -= cases[i].cut;
		super->tso_segsz = (uint16_t)cases[i].mss;
		int err = gso_segment(super, &info, pool, out, OUT_MAX);
		if (err != cases[i].err)
			fail_msg("%s: %d", cases[i].name, err);
		rte_pktmbuf_free(super);
		no_leak();
	}
}

// An empty pool costs nothing: the same segments come once there are buffers again.
static void test_pool_empty(void **)
{
	flow_build(&(struct spec){.payload = 4000}, &flat);
	struct rte_mbuf *super = flow_mbuf(super_pool, flat.b, flat.len, 0, 0);
	struct ip_info info = flow_parse(super);
	super->tso_segsz = 1000;
	assert_int_equal(gso_segment(super, &info, tiny_pool, out, OUT_MAX), -ENOMEM);
	assert_int_equal(rte_mempool_avail_count(tiny_pool), 3);

	struct gso_iter it;
	assert_int_equal(gso_iter_init(&it, super, &info, tiny_pool), 0);
	assert_int_equal(gso_iter_next(&it, out, 2), 2);
	assert_int_equal(gso_iter_next(&it, out + 2, 2), -ENOMEM);
	check_segment(out[0], 1000, 0);
	check_segment(out[1], 1000, 1);
	rte_pktmbuf_free_bulk(out, 2);
	assert_int_equal(gso_iter_next(&it, out, 2), 2);
	check_segment(out[0], 1000, 2);
	check_segment(out[1], 1000, 3);
	rte_pktmbuf_free_bulk(out, 2);
	assert_int_equal(gso_iter_next(&it, out, 2), 0);
	rte_pktmbuf_free(super);
	no_leak();
}

static void test_csum_complete(void **)
{
	uint32_t rnd = 77;
	for (unsigned i = 0; i < 3000; i++) {
		struct spec s = {
			.family = i % 2 ? IP_V4 : IP_V6,
			.proto = i % 5 == 0   ? IPPROTO_UDP
				 : i % 7 == 1 ? IPPROTO_ICMPV6
					      : IPPROTO_TCP,
			.payload = flow_random(&rnd) % 3000,
			.fill = i,
		};
		flow_build(&s, &expected);
		memcpy(flat.b, expected.b, expected.len);
		put16(flat.b + flow_csum_at(flat.b), flow_random(&rnd));
		// Padding must not be summed.
		memset(flat.b + expected.len, 0xaa, 7);
		struct rte_mbuf *m = flow_mbuf(super_pool, flat.b, expected.len + i % 8,
			60 + flow_random(&rnd) % 2, 7 + flow_random(&rnd) % 1999);
		struct ip_info info = flow_parse(m);
		assert_int_equal(gso_csum_complete(m, &info), 0);
		flow_flat(m, &got);
		assert_memory_equal(got.b, expected.b, expected.len);
		rte_pktmbuf_free(m);
	}
	no_leak();
}

// A sum of ffff: TCP stores 0, UDP must not (RFC 768).
static void test_csum_zero(void **)
{
	flow_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 2}, &flat);
	uint32_t csum = get16(flat.b + 26), data = get16(flat.b + 28);
	put16(flat.b + 28, flow_sum((uint8_t[]){(uint8_t)(csum >> 8), (uint8_t)csum}, 2, data));
	struct rte_mbuf *m = flow_mbuf(super_pool, flat.b, flat.len, 0, 0);
	struct ip_info info = flow_parse(m);
	assert_int_equal(gso_csum_complete(m, &info), 0);
	flow_flat(m, &got);
	assert_int_equal(get16(got.b + 26), 0xffff);
	m->tso_segsz = 100;
	assert_int_equal(gso_segment(m, &info, pool, out, OUT_MAX), 1);
	flow_flat(out[0], &got);
	assert_int_equal(get16(got.b + 26), 0xffff);
	rte_pktmbuf_free(out[0]);
	rte_pktmbuf_free(m);
	no_leak();
}

static void test_csum_refusals(void **)
{
	static const struct {
		const char *name;
		struct spec spec;
		uint32_t first;
		int set_at, set_to, cut, err;
	} cases[] = {
		{"fragment", {.payload = 100}, 0, 6, 0x20, 0, -EINVAL},
		{"later fragment", {.payload = 100}, 0, 7, 1, 0, -EINVAL},
		{"GRE", {.payload = 100}, 0, 9, IPPROTO_GRE, 0, -EPROTONOSUPPORT},
		{"TCP header cut short", {.payload = 100}, 0, 3, 37, 0, -EINVAL},
		{"UDP header cut short", {.proto = IPPROTO_UDP, .payload = 9}, 0, 3, 27, 0,
			-EINVAL},
		{"checksum in the second piece", {.payload = 100}, 37, -1, 0, 0, -EINVAL},
		{"UDP length 7", {.proto = IPPROTO_UDP, .payload = 9}, 0, 25, 7, 0, -EINVAL},
		{"UDP length too long", {.proto = IPPROTO_UDP, .payload = 9}, 0, 25, 18, 0,
			-EINVAL},
		{"chain too short", {.payload = 100}, 0, -1, 0, 1, -EINVAL},
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		flow_build(&cases[i].spec, &flat);
		if (cases[i].set_at >= 0)
			flat.b[cases[i].set_at] = (uint8_t)cases[i].set_to;
		struct rte_mbuf *m = flow_mbuf(super_pool, flat.b, flat.len, cases[i].first, 0);
		struct ip_info info = flow_parse(m);
		m->data_len -= cases[i].cut;
		flow_flat(m, &expected);
		int err = gso_csum_complete(m, &info);
		if (err != cases[i].err)
			fail_msg("%s: %d", cases[i].name, err);
		flow_flat(m, &got);
		assert_memory_equal(got.b, expected.b, expected.len);
		rte_pktmbuf_free(m);
		no_leak();
	}
}

int main(void)
{
	test_eal_init();
	super_pool = test_pool("supers", SUPERS);
	pool = test_pool("segments", SEGMENTS);
	tiny_pool = test_pool("tiny", 3);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_fields_not_trusted),
		cmocka_unit_test(test_options_copied),
		cmocka_unit_test(test_padding_left_out),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_pool_empty),
		cmocka_unit_test(test_csum_complete),
		cmocka_unit_test(test_csum_zero),
		cmocka_unit_test(test_csum_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
