// vnet headers to mbuf flags and back; what disagrees with its packet is refused.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/port/vnet.h"
#include "tests/unit/eal.h"
#include "tests/unit/frames.h"

enum {
	POOL_SIZE = 256,
	LRO = 1, // what a received packet is marked with
	GOOD = 2,
	NONE = 4,
	DONE = 8,    // no mark, but the checksum was completed
	TUNNEL = 16, // a run of segments in a tunnel, which has no mark of its own
};

static struct rte_mempool *pool;

static const struct frame tcp4 = {"tcp4", IP_V4, IPPROTO_TCP, 0, true, 3000};
static const struct frame tcp6 = {"tcp6", IP_V6, IPPROTO_TCP, 0, true, 3000};
static const struct frame udp4 = {"udp4", IP_V4, IPPROTO_UDP, 0, true, 3000};
static const struct frame udp6 = {"udp6", IP_V6, IPPROTO_UDP, 0, true, 3000};

struct rx_case {
	const char *name;
	const struct frame *f;
	bool l2;
	struct vnet_hdr h; // csum_start counts from the IP header
	int rc;
	unsigned marks;
	void (*spoil)(uint8_t *l3);
};

#define CSUM(gso, size, start, offset)                                                             \
	{                                                                                          \
		VNET_F_NEEDS_CSUM, gso, 0, size, start, offset                                     \
	}

static void make_fragment(uint8_t *l3)
{
	l3[6] = 0x20;
}

static void make_sctp(uint8_t *l3)
{
	l3[9] = IPPROTO_SCTP;
}

static void make_short_tcp(uint8_t *l3)
{
	l3[IP4_HDR_LEN + 12] = 0x40;
}

static void make_long_tcp(uint8_t *l3)
{
	l3[IP4_HDR_LEN + 12] = 0xf0;
}

// Behind VXLAN, Ethernet and IPv4 or IPv6 header.
static void make_inner_tcp(uint8_t *l3)
{
	l3[70 + 12] = 0x50;
}

static void make_inner_tcp6(uint8_t *l3)
{
	l3[110 + 12] = 0x50;
}

static void make_inner_short(uint8_t *l3)
{
	l3[70 + 12] = 0x40;
}

static void make_version_5(uint8_t *l3)
{
	l3[0] = 0x55;
}

static void make_arp(uint8_t *l3)
{
	memcpy(l3 - 2, "\x08\x06", 2);
}

static const struct rx_case rx_cases[] = {
	{"nothing said", &tcp4, true, {0}, 0, 0},
	{"verified", &tcp4, true, {.flags = VNET_F_DATA_VALID}, 0, GOOD},
	{"verified, no Ethernet", &udp6, false, {.flags = VNET_F_DATA_VALID}, 0, GOOD},
	{"left to us: tcp4", &tcp4, true, CSUM(0, 0, 20, 16), 0, NONE},
	{"left to us: tcp6", &tcp6, false, CSUM(0, 0, 40, 16), 0, NONE},
	{"left to us: udp4", &udp4, false, CSUM(0, 0, 20, 6), 0, NONE},
	{"left to us: udp6", &udp6, true, CSUM(0, 0, 40, 6), 0, NONE},
	{"super tcp4", &tcp4, true, CSUM(VNET_GSO_TCPV4, 1400, 20, 16), 0, LRO | NONE},
	{"super tcp6", &tcp6, true, CSUM(VNET_GSO_TCPV6, 1400, 40, 16), 0, LRO | NONE},
	{"super udp4", &udp4, false, CSUM(VNET_GSO_UDP_L4, 1400, 20, 6), 0, LRO | NONE},
	{"super udp6", &udp6, false, CSUM(VNET_GSO_UDP_L4, 1400, 40, 6), 0, LRO | NONE},
	{"super tcp4 with CWR", &tcp4, true, CSUM(VNET_GSO_TCPV4 | VNET_GSO_ECN, 1400, 20, 16), 0,
		LRO | NONE},
	{"merged by the NIC", &tcp4, true, {VNET_F_DATA_VALID, VNET_GSO_TCPV4, 0, 1400}, 0,
		LRO | GOOD},
	{"merged, not verified", &tcp4, true, {0, VNET_GSO_TCPV4, 0, 1400}, 0, LRO},
	{"one segment", &tcp4, true, CSUM(VNET_GSO_TCPV4, 3000, 20, 16), 0, NONE},
	{"a tunnel's segments", &udp4, true, CSUM(VNET_GSO_TCPV4, 1400, 70, 16), 0, TUNNEL,
		make_inner_tcp},
	{"a tunnel's segments over IPv6", &udp6, false, CSUM(VNET_GSO_TCPV6, 1400, 110, 16), 0,
		TUNNEL, make_inner_tcp6},
	{"a tunnel's only segment", &udp4, true, CSUM(VNET_GSO_TCPV4, 3000, 70, 16), 0, DONE,
		make_inner_tcp},
	{"a tunnel's inner sum", &udp4, true, CSUM(0, 0, 60, 6), 0, DONE},
	{"a sum of another protocol", &tcp4, true, CSUM(0, 0, 20, 4), 0, DONE},
	{"a fragment's sum", &udp4, true, CSUM(0, 0, 20, 6), 0, DONE, make_fragment},

	{"unknown type", &tcp4, true, CSUM(2, 1400, 20, 16), -EINVAL},
	{"UDP fragmentation", &udp4, true, CSUM(3, 1400, 20, 6), -EINVAL},
	{"a type of the future", &udp4, true, CSUM(0x40, 1400, 20, 6), -EINVAL},
	{"ECN alone", &tcp4, true, CSUM(VNET_GSO_ECN, 1400, 20, 16), -EINVAL},
	{"ECN with UDP", &udp4, true, CSUM(VNET_GSO_UDP_L4 | VNET_GSO_ECN, 1400, 20, 6), -EINVAL},
	{"segments of 0 bytes", &tcp4, true, CSUM(VNET_GSO_TCPV4, 0, 20, 16), -EINVAL},
	{"TCPV4 on v6", &tcp6, true, CSUM(VNET_GSO_TCPV4, 1400, 40, 16), -EINVAL},
	{"TCPV6 on v4", &tcp4, true, CSUM(VNET_GSO_TCPV6, 1400, 20, 16), -EINVAL},
	{"TCPV4 on UDP", &udp4, true, CSUM(VNET_GSO_TCPV4, 1400, 20, 6), -EINVAL},
	{"UDP_L4 on TCP", &tcp4, true, CSUM(VNET_GSO_UDP_L4, 1400, 20, 16), -EINVAL},
	{"a tunnel's segments of 0 bytes", &udp4, true, CSUM(VNET_GSO_TCPV4, 0, 70, 16), -EINVAL, 0,
		make_inner_tcp},
	{"a tunnel's TCP header cut", &udp4, true, CSUM(VNET_GSO_TCPV4, 1400, 70, 16), -EINVAL, 0,
		make_inner_short},
	{"a tunnel without room for IP", &udp4, true, CSUM(VNET_GSO_TCPV4, 1400, 40, 16), -EINVAL},
	{"a tunnel's UDP as TCP", &udp4, true, CSUM(VNET_GSO_TCPV4, 1400, 70, 6), -EINVAL},
	{"a tunnel in TCP", &tcp4, true, CSUM(VNET_GSO_TCPV4, 1400, 70, 16), -EINVAL},
	{"a tunnel in a fragment", &udp4, true, CSUM(VNET_GSO_TCPV4, 1400, 70, 16), -EINVAL, 0,
		make_fragment},
	{"super with another sum", &udp4, true, CSUM(VNET_GSO_UDP_L4, 1400, 60, 6), -EINVAL},
	{"super of a fragment", &udp4, true, CSUM(VNET_GSO_UDP_L4, 1400, 20, 6), -EINVAL, 0,
		make_fragment},
	{"sum inside the IP header", &tcp4, true, CSUM(0, 0, 10, 16), -EINVAL},
	{"sum behind the end", &tcp4, true, CSUM(0, 0, 65000, 16), -EINVAL},
	{"field behind the end", &tcp4, true, CSUM(0, 0, 20, 65000), -EINVAL},
	{"field across the end", &tcp4, false, CSUM(0, 0, 20, 1419), -EINVAL},
	{"both at their largest", &tcp4, true, CSUM(0, 0, 65535 - 14, 65535), -EINVAL},
	{"SCTP in two buffers", &udp4, true, CSUM(0, 0, 20, 8), -EINVAL, 0, make_sctp},
	{"TCP header of 16 bytes", &tcp4, true, CSUM(VNET_GSO_TCPV4, 1400, 20, 16), -EINVAL, 0,
		make_short_tcp},
	{"IP version 5", &tcp4, true, CSUM(0, 0, 20, 16), -EINVAL, 0, make_version_5},
	{"not IP", &tcp4, true, CSUM(0, 0, 20, 16), -EINVAL, 0, make_arp},
};

static unsigned marks_of(const struct rte_mbuf *m)
{
	uint64_t csum = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	return (m->ol_flags & RTE_MBUF_F_RX_LRO ? LRO : 0) |
	       (csum == RTE_MBUF_F_RX_L4_CKSUM_GOOD	     ? GOOD
		       : csum == RTE_MBUF_F_RX_L4_CKSUM_NONE ? NONE
							     : 0);
}

static struct rte_mbuf *build(const struct frame *f, bool l2)
{
	static const struct rte_ether_addr mac = {{2, 0, 0, 0, 0, 1}};
	struct rte_mbuf *m = frame_build(f, pool, &mac, l2 ? &mac : NULL);
	assert_true(m->nb_segs > 1);
	return m;
}

static uint16_t field_of(const struct rte_mbuf *m, const struct vnet_hdr *h)
{
	uint16_t field;
	memcpy(&field, rte_pktmbuf_mtod_offset(m, const uint8_t *, h->csum_start + h->csum_offset),
		sizeof(field));
	return field;
}

// Whether the field holds the sum from csum_start on, when it held start before.
static bool completed(const struct rte_mbuf *m, const struct vnet_hdr *h, uint16_t start)
{
	uint16_t field = field_of(m, h);
	uint64_t sum = csum_mbuf(m, h->csum_start, m->pkt_len - h->csum_start, 0);
	return csum_finish_udp(sum + (uint16_t)~field + start) == field;
}

static void check_rx(const struct rx_case *c)
{
	struct rte_mbuf *m = build(c->f, c->l2);
	uint32_t l3 = c->l2 ? ETHER_HDR_LEN : 0;
	struct vnet_hdr h = c->h;
	h.csum_start += h.flags & VNET_F_NEEDS_CSUM ? l3 : 0;
	m->ol_flags = 0;
	m->tso_segsz = 0;
	if (c->spoil)
		c->spoil(rte_pktmbuf_mtod_offset(m, uint8_t *, l3));
	uint16_t start = c->marks & DONE ? field_of(m, &h) : 0;
	assert_int_equal(vnet_to_mbuf(&h, m, c->l2), c->rc);
	if (c->rc == 0) {
		assert_int_equal(marks_of(m), c->marks & ~(DONE | TUNNEL));
		if (c->marks & TUNNEL) {
			assert_int_equal(m->tso_segsz, h.gso_size);
			assert_int_equal(m->packet_type, VNET_TUNNEL_TCP);
		}
		if (c->marks & LRO) {
			assert_int_equal(m->tso_segsz, h.gso_size);
			assert_int_equal(m->packet_type,
				c->f->proto == IPPROTO_TCP ? RTE_PTYPE_L4_TCP : RTE_PTYPE_L4_UDP);
		}
		if (c->marks & DONE)
			assert_true(completed(m, &h, start));
	}
	rte_pktmbuf_free(m);
}

static void test_rx(void **)
{
	for (unsigned i = 0; i < RTE_DIM(rx_cases); i++) {
		print_message("%s\n", rx_cases[i].name);
		check_rx(&rx_cases[i]);
	}
}

// Headers that promise more than the first buffer has.
static void test_rx_short(void **)
{
	static const struct frame f = {"tcp4", IP_V4, IPPROTO_TCP, 0, true, 100};
	static const struct vnet_hdr super = CSUM(VNET_GSO_TCPV4, 10, 20, 16);
	for (uint16_t len = 0; len < 40; len++) {
		struct rte_mbuf *m = build(&tcp4, false);
		m->data_len = len;
		assert_int_equal(vnet_to_mbuf(&super, m, false), -EINVAL);
		rte_pktmbuf_free(m);
	}
	struct rte_mbuf *m = frame_build(&f, pool, NULL, NULL);
	make_long_tcp(rte_pktmbuf_mtod(m, uint8_t *));
	m->ol_flags = 0;
	m->data_len = 20 + 59;
	assert_int_equal(vnet_to_mbuf(&super, m, false), -EINVAL);
	rte_pktmbuf_free(m);
}

// CRC32c of "123456789" is 0xe3069283 (RFC 3720 B.4 gives the polynomial's other vectors).
static void test_rx_sctp(void **)
{
	static const uint8_t ip4[] = {0x45, 0, 0, 41, 0, 0, 0, 0, 64, IPPROTO_SCTP};
	static const struct vnet_hdr h = CSUM(0, 0, 20, 8);
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	m->data_len = m->pkt_len = 41;
	uint8_t *l3 = rte_pktmbuf_mtod(m, uint8_t *);
	memset(l3, 0, 41);
	memcpy(l3, ip4, sizeof(ip4));
	memcpy(l3 + 20, "\x1b\x59\x1b\x59\0\0\0\1", 8);
	memcpy(l3 + 32, "123456789", 9);
	assert_int_equal(vnet_to_mbuf(&h, m, false), 0);
	uint32_t crc = UINT32_MAX, got;
	memcpy(&got, l3 + 28, sizeof(got));
	memset(l3 + 28, 0, sizeof(got));
	for (unsigned i = 20; i < 41; i++) { // bit by bit, reflected 0x1edc6f41
		crc ^= l3[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	assert_int_equal(got, ~crc);
	rte_pktmbuf_free(m);
}

struct tx_case {
	const char *name;
	struct frame f;
	bool l2;
	int rc;
	struct vnet_hdr h;
	void (*spoil)(struct rte_mbuf *);
};

static void set_cwr(struct rte_mbuf *m)
{
	rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, m->l2_len + m->l3_len)->tcp_flags |= 0x80;
}

static void no_flags(struct rte_mbuf *m)
{
	m->ol_flags = 0;
}

static void family_only(struct rte_mbuf *m)
{
	m->ol_flags &= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6;
}

static void seg_only(struct rte_mbuf *m)
{
	m->ol_flags &= ~RTE_MBUF_F_TX_L4_MASK;
}

static void no_segsz(struct rte_mbuf *m)
{
	m->tso_segsz = 0;
}

static void no_l2(struct rte_mbuf *m)
{
	m->l2_len = 0;
}

static void some_l2(struct rte_mbuf *m)
{
	m->l2_len = 14;
}

static void no_l3(struct rte_mbuf *m)
{
	m->l3_len = 0;
}

static void no_l4(struct rte_mbuf *m)
{
	m->l4_len = 0;
}

static void short_packet(struct rte_mbuf *m)
{
	m->pkt_len = 40;
}

static void sctp(struct rte_mbuf *m)
{
	m->ol_flags |= RTE_MBUF_F_TX_SCTP_CKSUM;
}

static void ip_csum(struct rte_mbuf *m)
{
	m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
}

static void vlan(struct rte_mbuf *m)
{
	m->ol_flags |= RTE_MBUF_F_TX_VLAN;
}

static void tunnel(struct rte_mbuf *m)
{
	m->ol_flags |= RTE_MBUF_F_TX_TUNNEL_VXLAN;
}

static void both_segs(struct rte_mbuf *m)
{
	m->ol_flags |= RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_TCP_SEG;
}

#define T4 IP_V4, IPPROTO_TCP
#define T6 IP_V6, IPPROTO_TCP
#define U4 IP_V4, IPPROTO_UDP
#define U6 IP_V6, IPPROTO_UDP

static const struct tx_case tx_cases[] = {
	{"nothing asked", {"", T4, 0, true, 3000}, true, 0, {0}, no_flags},
	{"only the family known", {"", U6, 0, true, 3000}, true, 0, {0}, family_only},
	{"tcp4 sum", {"", T4, 0, true, 3000}, true, 0, {1, 0, 54, 0, 34, 16}},
	{"tcp6 sum, no Ethernet", {"", T6, 0, true, 3000}, false, 0, {1, 0, 60, 0, 40, 16}},
	{"udp4 sum, no Ethernet", {"", U4, 0, true, 3000}, false, 0, {1, 0, 28, 0, 20, 6}},
	{"udp6 sum", {"", U6, 0, true, 3000}, true, 0, {1, 0, 62, 0, 54, 6}},
	{"tso tcp4", {"", T4, 1400, true, 3000}, true, 0, {1, 1, 54, 1400, 34, 16}},
	{"tso tcp6", {"", T6, 1400, true, 3000}, false, 0, {1, 4, 60, 1400, 40, 16}},
	{"tso alone means the sum too", {"", T4, 1400, true, 3000}, true, 0,
		{1, 1, 54, 1400, 34, 16}, seg_only},
	{"tso with CWR", {"", T4, 1400, true, 3000}, true, 0, {1, 0x81, 54, 1400, 34, 16}, set_cwr},
	{"uso udp4", {"", U4, 1400, true, 3000}, true, 0, {1, 5, 42, 1400, 34, 6}},
	{"uso udp6", {"", U6, 1400, true, 3000}, false, 0, {1, 5, 48, 1400, 40, 6}},
	{"uso alone means the sum too", {"", U4, 1400, true, 3000}, true, 0,
		{1, 5, 42, 1400, 34, 6}, seg_only},

	{"no segment size", {"", T4, 1400, true, 3000}, true, -EINVAL, {0}, no_segsz},
	{"no Ethernet where it must be", {"", T4, 1400, true, 3000}, true, -EINVAL, {0}, no_l2},
	{"Ethernet where none is", {"", T4, 1400, true, 3000}, false, -EINVAL, {0}, some_l2},
	{"no IP header", {"", T4, 0, true, 3000}, true, -EINVAL, {0}, no_l3},
	{"no TCP header", {"", T4, 0, true, 3000}, true, -EINVAL, {0}, no_l4},
	{"shorter than its headers", {"", T4, 0, true, 3000}, true, -EINVAL, {0}, short_packet},
	{"SCTP", {"", U4, 0, false, 3000}, true, -EINVAL, {0}, sctp},
	{"IPv4 header sum", {"", U4, 0, true, 3000}, true, -EINVAL, {0}, ip_csum},
	{"VLAN insertion", {"", U4, 0, true, 3000}, true, -EINVAL, {0}, vlan},
	{"a tunnel's segmentation", {"", T4, 1400, true, 3000}, true, -EINVAL, {0}, tunnel},
	{"TCP and UDP", {"", T4, 1400, true, 3000}, true, -EINVAL, {0}, both_segs},
};

static void test_tx(void **)
{
	for (unsigned i = 0; i < RTE_DIM(tx_cases); i++) {
		const struct tx_case *c = &tx_cases[i];
		print_message("%s\n", c->name);
		struct rte_mbuf *m = build(&c->f, c->l2);
		struct vnet_hdr h;
		if (c->spoil)
			c->spoil(m);
		assert_int_equal(vnet_from_mbuf(m, c->l2, &h), c->rc);
		if (c->rc == 0)
			assert_memory_equal(&h, &c->h, sizeof(h));
		rte_pktmbuf_free(m);
	}
}

// What is sent is understood by the other side.
static void test_round_trip(void **)
{
	for (unsigned i = 0; i < RTE_DIM(tx_cases); i++) {
		const struct tx_case *c = &tx_cases[i];
		if (c->rc != 0)
			continue;
		struct rte_mbuf *m = build(&c->f, c->l2);
		assert_int_equal(vnet_to_mbuf(&c->h, m, c->l2), 0);
		assert_int_equal(marks_of(m),
			(c->h.gso_type ? LRO : 0) | (c->h.flags & VNET_F_NEEDS_CSUM ? NONE : 0));
		rte_pktmbuf_free(m);
	}
}

int main(void)
{
	test_eal_init();
	pool = test_pool("pool", POOL_SIZE);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rx),
		cmocka_unit_test(test_rx_short),
		cmocka_unit_test(test_rx_sctp),
		cmocka_unit_test(test_tx),
		cmocka_unit_test(test_round_trip),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	return rc != 0 ? rc : rte_mempool_avail_count(pool) != POOL_SIZE;
}
