#include "dataplane/crypto/box.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>

static_assert(crypto_box_BEFORENMBYTES == KEY_LEN && crypto_box_NONCEBYTES == BOX_NONCE_LEN);
static_assert(crypto_box_MACBYTES == BOX_TAG_LEN);

int box_init(struct box *b, const uint8_t private_key[static KEY_LEN],
	const uint8_t public_key[static KEY_LEN])
{
	if (crypto_box_beforenm(b->shared, public_key, private_key)) {
		sodium_memzero(b, sizeof(*b));
		return -EKEYREJECTED;
	}
	return 0;
}

void box_fini(struct box *b)
{
	sodium_memzero(b, sizeof(*b));
}

void box_seal(const struct box *b, const uint8_t nonce[static BOX_NONCE_LEN], const void *plain,
	size_t len, uint8_t *out)
{
	memcpy(out, nonce, BOX_NONCE_LEN);
	// Fails only beyond 2^39 bytes.
	(void)crypto_box_easy_afternm(out + BOX_NONCE_LEN, plain, len, nonce, b->shared);
}

int box_open(const struct box *b, const void *sealed, size_t len, uint8_t *out)
{
	const uint8_t *bytes = sealed;

	if (len < BOX_OVERHEAD)
		return -EBADMSG;
	if (crypto_box_open_easy_afternm(
		    out, bytes + BOX_NONCE_LEN, len - BOX_NONCE_LEN, bytes, b->shared))
		return -EBADMSG;
	return 0;
}
