// Any fragments in any order: what becomes whole has each byte from a fragment that was sent there,
// buffers stay within their bound, and none is lost.
//
// Input: records of packet, offset and length in units of eight bytes, nothing, flags, fill.
#include "dataplane/table/fragments.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/eal.h"

enum {
	RECORD = 6,
	PACKETS = 32, // four origins with eight each
	FILLS = 64,
	UNIT = 8,
	DATA_AT = 20,
	LONGEST = 255 * UNIT + 2 * UNIT,
	MS = 1000,
};

// By packet and unit: which fills were sent there.
static uint8_t sent[PACKETS][512][FILLS / 8];
static struct rte_mempool *pool, *large;

static void check_whole(struct rte_mbuf *w, unsigned packet)
{
	const uint8_t *b = rte_pktmbuf_mtod(w, const uint8_t *) + DATA_AT;
	check(w->nb_segs == 1 && w->data_len > DATA_AT && w->pkt_len == w->data_len);
	for (uint32_t i = 0; i < w->data_len - (uint32_t)DATA_AT; i++)
		check(sent[packet][i / UNIT][b[i] / 8] >> b[i] % 8 & 1);
	rte_pktmbuf_free(w);
}

static void one(struct fragments *f, const uint8_t *r, struct rte_mbuf *m, uint64_t now)
{
	static const uint8_t head[DATA_AT];
	unsigned packet = r[0] % PACKETS, fill = r[5] % FILLS;
	struct rte_mbuf *whole = NULL;
	const struct fragment p = {
		.key = {.family = packet & 1 ? IP_V6 : IP_V4,
			.origin = packet / 8,
			.id = packet % 8},
		.head = head,
		.data_at = DATA_AT,
		.offset = (uint16_t)(r[1] * UNIT),
		.len = (uint16_t)(r[2] * UNIT + (r[4] & 4 ? r[4] >> 4 : 0)),
		.head_len = DATA_AT,
		.more = r[4] & 1,
	};
	m->data_len = (uint16_t)(DATA_AT + p.len);
	m->pkt_len = m->data_len;
	memset(rte_pktmbuf_mtod_offset(m, uint8_t *, DATA_AT), (int)fill, p.len);
	for (unsigned u = 0; u <= p.len / UNIT; u++)
		sent[packet][r[1] + u][fill / 8] |= (uint8_t)(1 << fill % 8);
	if (fragments_add(f, &p, m, now, large, &whole) == FRAGMENT_WHOLE)
		check_whole(whole, packet);
	check(rte_mempool_in_use_count(pool) <= FRAGMENTS_BUFFERS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!pool) {
		test_eal_init();
		pool = rte_pktmbuf_pool_create("small", 2047, 0, 64, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
		large = rte_pktmbuf_pool_create("large", 15, 0, 64, 8192, 0);
		check(pool && large);
	}
	struct fragments *f = fragments_create(MS, pool);
	struct rte_mbuf *m = rte_pktmbuf_alloc(large);
	uint64_t now = 1;
	memset(sent, 0, sizeof(sent));
	rte_pktmbuf_append(m, DATA_AT + LONGEST);
	for (; size >= RECORD; data += RECORD, size -= RECORD) {
		one(f, data, m, now);
		now += data[4] & 8 ? MS * 1000 : 1;
	}
	rte_pktmbuf_free(m);
	fragments_destroy(f);
	check(rte_mempool_in_use_count(pool) == 0 && rte_mempool_in_use_count(large) == 0);
	return 0;
}
