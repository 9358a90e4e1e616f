// Any vnet header in front of any packet, in one buffer or two: refused, or marked consistently
// with the packet. The input: Ethernet or not, where the first buffer ends, the header, the packet.
#include "dataplane/port/vnet.h"

#include "tests/unit/eal.h"
#include "tests/fuzz/fuzz.h"

enum {
	ROOM = 1024, // bytes of packet taken from the input
};

static struct rte_mbuf *packet(
	struct rte_mempool *pool, const uint8_t *data, uint16_t size, uint16_t first)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	memcpy(rte_pktmbuf_append(m, first), data, first);
	if (first < size) {
		struct rte_mbuf *rest = rte_pktmbuf_alloc(pool);
		memcpy(rte_pktmbuf_append(rest, size - first), data + first, size - first);
		if (rte_pktmbuf_chain(m, rest) != 0)
			abort();
	}
	return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rte_mempool *pool;
	if (!pool) {
		test_eal_init();
		pool = test_pool("pool", 7);
	}
	struct vnet_hdr h;
	if (size < 2 + sizeof(h) + 20)
		return 0;
	bool l2 = data[0] & 1;
	memcpy(&h, data + 2, sizeof(h));
	uint16_t len = RTE_MIN(size - 2 - sizeof(h), (size_t)ROOM);
	uint16_t first = RTE_MIN(data[1] * 4 + 20, len);
	struct rte_mbuf *m = packet(pool, data + 2 + sizeof(h), len, first);
	if (vnet_to_mbuf(&h, m, l2) == 0) {
		bool super = m->ol_flags & RTE_MBUF_F_RX_LRO;
		if (super && (m->tso_segsz == 0 || m->tso_segsz >= m->pkt_len ||
				     (m->packet_type & RTE_PTYPE_L4_MASK) == 0))
			abort();
		if (h.gso_type == VNET_GSO_NONE && super)
			abort();
	}
	rte_pktmbuf_free(m);
	if (rte_mempool_avail_count(pool) != 7)
		abort();
	return 0;
}
