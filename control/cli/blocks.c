#include "control/cli/blocks.h"

#include <errno.h>

enum {
	BLOCK_HEAD = 8,
	BLOCK_MIN = 12,
	BLOCK_PACKET = 6,
};

// The length of the block at the head of what waits, 0: not known yet, -1: none.
static long block_len(const struct blocks *b)
{
	uint32_t len;
	if (b->n < BLOCK_HEAD)
		return 0;
	memcpy(&len, b->waiting + 4, sizeof(len));
	return len < BLOCK_MIN || len > BLOCK_MAX || len % 4 != 0 ? -1 : (long)len;
}

static bool write_block(struct blocks *b)
{
	uint32_t type;
	memcpy(&type, b->waiting, sizeof(type));
	if (fwrite(b->waiting, 1, b->n, b->out) != b->n)
		return false;
	b->packets += type == BLOCK_PACKET;
	b->bytes += b->n;
	b->n = 0;
	return true;
}

bool blocks_take(struct blocks *b, const char *bytes, size_t n)
{
	while (n > 0) {
		long len = block_len(b);
		if (len < 0) {
			errno = EPROTO;
			return false;
		}
		size_t want = (len > 0 ? (size_t)len : BLOCK_HEAD) - b->n;
		size_t used = n < want ? n : want;
		memcpy(b->waiting + b->n, bytes, used);
		b->n += used;
		bytes += used;
		n -= used;
		len = block_len(b);
		if (len > 0 && b->n == (size_t)len && !write_block(b))
			return false;
	}
	return fflush(b->out) == 0;
}
