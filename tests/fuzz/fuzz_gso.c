// Arbitrary super-packets, cut into arbitrary chains: segmentation must refuse them or make
// segments with right checksums and, in sum, the payload; those must be accepted by coalescing. The
// input's first bytes choose segment size and chain, the rest is the packet.
#include "dataplane/port/gso.h"
#include "dataplane/wire/csum.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/flows.h"

enum {
	POOL = 4095,
	OUT_MAX = 1024,
};

static struct rte_mempool *pool;
static struct gro *gro;

static uint64_t l4_sum(const struct rte_mbuf *m, const struct ip_info *info)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = info->total_len - info->l3_len;
	return csum_mbuf(m, info->l3_len, len, csum_pseudo(l3, info, len));
}

// Give m to coalescing as it is.
static enum gro_verdict add(struct rte_mbuf *m)
{
	struct ip_info info;
	check(ip_parse_chain(
		      rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &info) == 0);
	return gro_add(gro, m, &info, 0);
}

// Free all that coalescing holds; returns the bytes of it.
static uint64_t drain(void)
{
	struct rte_mbuf *out[32];
	uint64_t bytes = 0;
	for (unsigned n; (n = gro_flush(gro, out, RTE_DIM(out))) > 0;) {
		for (unsigned i = 0; i < n; i++) {
			rte_mbuf_sanity_check(out[i], 1);
			bytes += out[i]->pkt_len;
		}
		rte_pktmbuf_free_bulk(out, n);
	}
	return bytes;
}

static void check_segments(struct rte_mbuf **out, int n, const struct ip_info *super, uint16_t mss)
{
	uint32_t payload = 0;
	for (int i = 0; i < n; i++) {
		struct ip_info info;
		struct rte_mbuf *m = out[i];
		check(ip_parse(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &info) == 0);
		check(info.total_len == m->pkt_len && info.l3_len == super->l3_len);
		check(info.family == IP_V6 ||
			csum_ip4_hdr_ok(rte_pktmbuf_mtod(m, const uint8_t *), info.l3_len));
		check(csum_fold(l4_sum(m, &info)) == 0xffff);
		uint32_t hdr = super->total_len - payload;
		payload += i + 1 < n ? mss : 0;
		check(i + 1 < n || hdr == m->pkt_len);
		enum gro_verdict verdict = add(m);
		if (verdict == GRO_FULL) {
			(void)drain();
			verdict = add(m);
		}
		check(verdict == GRO_TAKEN);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (pool == NULL) {
		test_eal_init();
		pool = test_pool("fuzz", POOL);
		gro = gro_create(SOCKET_ID_ANY);
		check(gro != NULL);
	}
	if (size < 6 || size > 40000)
		return 0;

	uint16_t mss = (uint16_t)(data[0] << 8 | data[1]);
	uint32_t first = data[2] * 8u, piece = 16 + data[3] * 8u;
	struct rte_mbuf *super = flow_mbuf(pool, data + 4, (uint32_t)size - 4, first, piece);
	struct rte_mbuf *out[OUT_MAX];
	struct ip_info info;
	if (ip_parse_chain(rte_pktmbuf_mtod(super, const uint8_t *), super->data_len,
		    super->pkt_len, &info) == 0) {
		super->tso_segsz = mss;
		int n = gso_segment(super, &info, pool, out, OUT_MAX);
		if (n > 0)
			check_segments(out, n, &info, mss);
		(void)drain();

		if (gso_csum_complete(super, &info) == 0 && info.proto == IPPROTO_TCP)
			check(csum_fold(l4_sum(super, &info)) == 0xffff);
		if (add(super) == GRO_TAKEN)
			super = NULL;
		(void)drain();
	}
	rte_pktmbuf_free(super);
	check(rte_mempool_avail_count(pool) == POOL);
	return 0;
}
