// Any packet in VXLAN as a run of TCP segments: refused, or cut into datagrams whose lengths and
// checksums, outside and inside, are right, and which have all of the payload in order. The input:
// segment size, families and what to make fit, where the first buffer ends, then the inner packet;
// its last bytes may change the headers around it.
#include "dataplane/port/gso.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/vxlan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/flows.h"

enum {
	POOL = 4095,
	OUT_MAX = 1024,
	OUTER6 = 1, // flags of the input
	INNER6 = 2,
	CSUM = 4, // of the UDP around
	FITS = 8, // the inner packet says its own length, and that it is TCP
	EDITS = 16,
	HEAD_MAX = 40 + UDP_HDR_LEN + VXLAN_L3_AT,
	EDIT_LEN = 2,
	N_EDITS = 2,
};

static struct rte_mempool *pool;
static uint8_t packet[HEAD_MAX + FLAT_MAX];

// Outer headers in front of len bytes; their length.
static uint32_t head(uint8_t flags, uint32_t len)
{
	uint32_t l3 = flags & OUTER6 ? 40 : 20, total = l3 + UDP_HDR_LEN + VXLAN_L3_AT + len;
	const struct vxlan_header vxlan = vxlan_header_of(7);
	memset(packet, 0, HEAD_MAX);
	packet[0] = flags & OUTER6 ? 0x60 : 0x45;
	packet[flags & OUTER6 ? 6 : 9] = IPPROTO_UDP;
	if (flags & OUTER6)
		put16(packet + 4, total - l3);
	else
		put16(packet + 2, total);
	put16(packet + l3 + 2, VXLAN_PORT);
	put16(packet + l3 + 4, total - l3);
	put16(packet + l3 + 6, flags & CSUM ? 0x1234 : 0);
	memcpy(packet + l3 + UDP_HDR_LEN, &vxlan, sizeof(vxlan));
	put16(packet + l3 + UDP_HDR_LEN + VXLAN_L3_AT - 2, flags & INNER6 ? 0x86dd : 0x0800);
	return l3 + UDP_HDR_LEN + VXLAN_L3_AT;
}

static void fit(uint8_t flags, uint8_t *inner, uint32_t len)
{
	if (flags & INNER6 && len >= 40) {
		inner[0] = 0x60;
		put16(inner + 4, len - 40);
		inner[6] = IPPROTO_TCP;
	} else if (!(flags & INNER6) && len >= 20) {
		inner[0] = 0x45;
		put16(inner + 2, len);
		inner[6] &= 0x40;
		inner[7] = 0;
		inner[9] = IPPROTO_TCP;
	}
}

// len bytes of a whole packet whose IP header and L4 checksum are right.
static void check_ip(const uint8_t *b, uint32_t len, struct ip_info *ip)
{
	check(ip_parse(b, len, ip) == 0 && ip->total_len == len);
	check(ip->family == IP_V6 || csum_ip4_hdr_ok(b, ip->l3_len));
	uint32_t l4_len = len - ip->l3_len;
	const uint8_t *l4 = b + ip->l3_len;
	if (ip->proto == IPPROTO_UDP) {
		check(get16(l4 + 4) == l4_len);
		if (get16(l4 + 6) == 0)
			return;
	}
	check(csum_fold(csum_add(l4, l4_len, csum_pseudo(b, ip, l4_len))) == 0xffff);
}

// Returns the bytes of TCP's payload, which are those of the run from there on.
static uint32_t check_segment(const struct rte_mbuf *m, bool csum, const uint8_t *payload)
{
	struct ip_info outer, inner;
	uint32_t vni, at;
	const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
	check(m->nb_segs == 1 && m->data_len == m->pkt_len);
	check_ip(b, m->data_len, &outer);
	check(outer.proto == IPPROTO_UDP && (get16(b + outer.l3_len + 6) != 0) == csum);
	at = outer.l3_len + UDP_HDR_LEN;
	check(vxlan_parse(b + at, m->data_len - at, m->data_len - at, &vni, &inner) == VXLAN_OK);
	at += VXLAN_L3_AT;
	check_ip(b + at, m->data_len - at, &inner);
	check(inner.proto == IPPROTO_TCP);
	at += inner.l3_len;
	at += (b[at + 12] >> 4) * 4;
	check(at < m->data_len && memcmp(b + at, payload, m->data_len - at) == 0);
	return m->data_len - at;
}

static void cut(struct rte_mbuf *super, const struct ip_info *info)
{
	struct rte_mbuf *out[OUT_MAX];
	bool csum = get16(packet + info->l3_len + 6) != 0;
	uint32_t at = gso_hdr_len(super, info), end = info->total_len;
	int n = gso_segment(super, info, pool, out, OUT_MAX);
	if (n < 0)
		return;
	for (int i = 0; i < n; i++)
		at += check_segment(out[i], csum, packet + at);
	check(n > 0 && at == end);
	rte_pktmbuf_free_bulk(out, (unsigned)n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (pool == NULL) {
		test_eal_init();
		pool = test_pool("fuzz", POOL);
	}
	if (size < 4 + N_EDITS * EDIT_LEN || size > 40000)
		return 0;
	uint8_t flags = data[2];
	uint32_t len = (uint32_t)size - 4 - N_EDITS * EDIT_LEN, at = head(flags, len);
	memcpy(packet + at, data + 4, len);
	if (flags & FITS)
		fit(flags, packet + at, len);
	for (unsigned i = 0; i < N_EDITS && flags & EDITS; i++)
		packet[data[4 + len + i * EDIT_LEN] % at] ^= data[4 + len + i * EDIT_LEN + 1];

	struct ip_info info;
	uint32_t first = data[3] * 8u;
	struct rte_mbuf *super = flow_mbuf(pool, packet, at + len, first, 16 + data[3] * 8u);
	super->packet_type = VNET_TUNNEL_TCP;
	super->tso_segsz = (uint16_t)(data[0] << 8 | data[1]);
	if (ip_parse_chain(rte_pktmbuf_mtod(super, const uint8_t *), super->data_len,
		    super->pkt_len, &info) == 0)
		cut(super, &info);
	rte_pktmbuf_free(super);
	check(rte_mempool_avail_count(pool) == POOL);
	return 0;
}
