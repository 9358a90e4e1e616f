#include "dataplane/wire/csum.h"

// 32-bit words in a 64-bit sum: no carry is lost below 16 GiB.
uint64_t csum_add_plain(const void *data, size_t len, uint64_t sum)
{
	const uint8_t *p = data;
	for (; len >= 8; len -= 8, p += 8) {
		uint64_t words;
		memcpy(&words, p, sizeof(words));
		sum += (words & 0xffffffff) + (words >> 32);
	}
	uint64_t rest = 0;
	memcpy(&rest, p, len);
	return sum + (rest & 0xffffffff) + (rest >> 32);
}

uint64_t csum_copy_plain(void *dst, const void *src, size_t len, uint64_t sum)
{
	const uint8_t *from = src;
	uint8_t *to = dst;
	for (; len >= 8; len -= 8, from += 8, to += 8) {
		uint64_t words;
		memcpy(&words, from, sizeof(words));
		memcpy(to, &words, sizeof(words));
		sum += (words & 0xffffffff) + (words >> 32);
	}
	uint64_t rest = 0;
	memcpy(&rest, from, len);
	memcpy(to, &rest, len);
	return sum + (rest & 0xffffffff) + (rest >> 32);
}

#ifndef __AVX2__
uint64_t csum_add(const void *data, size_t len, uint64_t sum)
{
	return csum_add_plain(data, len, sum);
}

uint64_t csum_copy(void *dst, const void *src, size_t len, uint64_t sum)
{
	return csum_copy_plain(dst, src, len, sum);
}
#endif

uint64_t csum_mbuf(const struct rte_mbuf *m, uint32_t offset, uint32_t len, uint64_t sum)
{
	while (offset >= m->data_len && len > 0) {
		offset -= m->data_len;
		m = m->next;
	}
	for (bool odd = false; len > 0; m = m->next, offset = 0) {
		uint32_t n = RTE_MIN(len, m->data_len - offset);
		uint64_t part = csum_add(rte_pktmbuf_mtod_offset(m, const void *, offset), n, 0);
		sum += odd ? csum_shift(part) : part;
		odd ^= n & 1;
		len -= n;
	}
	return sum;
}
