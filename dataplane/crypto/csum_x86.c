// The checksum with AVX2. Each 32-bit lane x adds into two counters: the plain sum modulo 2^32 and
// the sum of the upper halves x >> 16. The lower halves follow exactly: plain - (upper << 16), as
// long as fewer than 2^16 values were added per lane. That is three operations for 32 bytes, where
// widening to 64 bits needs four and the carry chain of plain C sixteen.
#include "dataplane/wire/csum.h"

#ifdef __AVX2__
#include <immintrin.h>

enum {
	STEP = 128,			 // bytes per turn of the loop
	CHUNK_MAX = STEP * (0xffff / 4), // four values per lane and turn, both counters together
};

struct counters {
	__m256i plain;
	__m256i upper;
};

static inline void count(struct counters *c, __m256i x)
{
	c->plain = _mm256_add_epi32(c->plain, x);
	c->upper = _mm256_add_epi32(c->upper, _mm256_srli_epi32(x, 16));
}

// The lanes of both, widened, in one number.
static inline uint64_t lanes(__m256i v, __m256i w)
{
	const __m256i low = _mm256_set1_epi64x(0xffffffff);
	v = _mm256_add_epi64(_mm256_and_si256(v, low), _mm256_srli_epi64(v, 32));
	w = _mm256_add_epi64(_mm256_and_si256(w, low), _mm256_srli_epi64(w, 32));
	v = _mm256_add_epi64(v, w);
	__m128i half = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
	return (uint64_t)_mm_cvtsi128_si64(half) + (uint64_t)_mm_extract_epi64(half, 1);
}

// Two counters in turn, so that additions need not wait for each other; here they join.
static inline uint64_t counted(const struct counters *a, const struct counters *b)
{
	__m256i plain = _mm256_add_epi32(a->plain, b->plain);
	__m256i upper = _mm256_add_epi32(a->upper, b->upper);
	__m256i lower = _mm256_sub_epi32(plain, _mm256_slli_epi32(upper, 16));
	return lanes(lower, upper);
}

static inline __m256i load(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline void store(uint8_t *p, __m256i v)
{
	_mm256_storeu_si256((__m256i *)(void *)p, v);
}

// The last bytes, fewer than 32. Written out by size: a memcpy of unknown length costs more than
// the whole rest of a small header.
static inline uint64_t tail(uint8_t *dst, const uint8_t *src, size_t len, uint64_t sum, bool copy)
{
	for (; len >= 8; len -= 8, src += 8, dst += 8) {
		uint64_t words;
		memcpy(&words, src, 8);
		if (copy)
			memcpy(dst, &words, 8);
		sum += (words & 0xffffffff) + (words >> 32);
	}
	if (len & 4) {
		uint32_t word;
		memcpy(&word, src, 4);
		if (copy)
			memcpy(dst, &word, 4);
		sum += word;
		src += 4;
		dst += 4;
	}
	if (len & 2) {
		uint16_t half;
		memcpy(&half, src, 2);
		if (copy)
			memcpy(dst, &half, 2);
		sum += half;
		src += 2;
		dst += 2;
	}
	if (len & 1) {
		if (copy)
			*dst = *src;
		sum += *src;
	}
	return sum;
}

// One body for both, so that the copy differs by its stores only.
static inline __attribute__((always_inline)) uint64_t run(
	uint8_t *dst, const uint8_t *src, size_t len, uint64_t sum, bool copy)
{
	while (len >= 32) {
		struct counters a = {_mm256_setzero_si256(), _mm256_setzero_si256()};
		struct counters b = a;
		size_t chunk = RTE_MIN(len, (size_t)CHUNK_MAX);
		len -= chunk;
		for (; chunk >= STEP; chunk -= STEP, src += STEP, dst += STEP) {
			__m256i v0 = load(src), v1 = load(src + 32);
			__m256i v2 = load(src + 64), v3 = load(src + 96);
			if (copy) {
				store(dst, v0);
				store(dst + 32, v1);
				store(dst + 64, v2);
				store(dst + 96, v3);
			}
			count(&a, v0);
			count(&b, v1);
			count(&a, v2);
			count(&b, v3);
		}
		for (; chunk >= 32; chunk -= 32, src += 32, dst += 32) {
			__m256i v = load(src);
			if (copy)
				store(dst, v);
			count(&a, v);
		}
		len += chunk;
		sum += counted(&a, &b);
	}
	return tail(dst, src, len, sum, copy);
}

uint64_t csum_add(const void *data, size_t len, uint64_t sum)
{
	// No byte is written: the destination only keeps the pointer arithmetic defined.
	return run((uint8_t *)(uintptr_t)data, data, len, sum, false);
}

uint64_t csum_copy(void *dst, const void *src, size_t len, uint64_t sum)
{
	return run(dst, src, len, sum, true);
}
#endif
