#include "dataplane/crypto/x25519.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>

static_assert(crypto_scalarmult_BYTES == KEY_LEN && crypto_scalarmult_SCALARBYTES == KEY_LEN);

int x25519(uint8_t out[static KEY_LEN], const uint8_t private_key[static KEY_LEN],
	const uint8_t public_key[static KEY_LEN])
{
	// libsodium refuses the points of low order by list; the result is looked at as well.
	if (crypto_scalarmult(out, private_key, public_key) || sodium_is_zero(out, KEY_LEN)) {
		sodium_memzero(out, KEY_LEN);
		return -EKEYREJECTED;
	}
	return 0;
}

void x25519_public(uint8_t out[static KEY_LEN], const uint8_t private_key[static KEY_LEN])
{
	// Cannot fail: the base point has full order.
	crypto_scalarmult_base(out, private_key);
}

void x25519_clamp(uint8_t private_key[static KEY_LEN])
{
	private_key[0] &= 248;
	private_key[31] = (private_key[31] & 127) | 64;
}

void x25519_generate(uint8_t private_key[static KEY_LEN])
{
	randombytes_buf(private_key, KEY_LEN);
	x25519_clamp(private_key);
}
