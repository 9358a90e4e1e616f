// The server's side of a ts2021 connection after a recorded handshake: seals records towards the
// client and opens the client's, with keys taken from the vectors.
#pragma once

#include <errno.h>

#include "tests/unit/vectors.h"

#include "control/coord/ts2021.h"

// What a client under test said by its callbacks.
struct heard {
	uint8_t data[1 << 16], early[1 << 12];
	size_t data_len, early_len;
};

static inline void heard_early(void *arg, const uint8_t *bytes, size_t len)
{
	struct heard *h = arg;

	assert_true(h->early_len + len <= sizeof(h->early));
	memcpy(h->early + h->early_len, bytes, len);
	h->early_len += len;
}

static inline int heard_data(void *arg, const uint8_t *bytes, size_t len)
{
	struct heard *h = arg;

	assert_true(h->data_len + len <= sizeof(h->data));
	memcpy(h->data + h->data_len, bytes, len);
	h->data_len += len;
	return 0;
}

static inline struct ts2021_events heard_events(struct heard *h)
{
	*h = (struct heard){0};
	return (struct ts2021_events){.early = heard_early, .data = heard_data, .arg = h};
}

// One record with counter n. Returns its length.
static inline size_t server_seal(
	uint8_t *out, const uint8_t key[static KEY_LEN], uint64_t n, const void *plain, size_t len)
{
	uint8_t nonce[12] = {0};

	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(n >> (56 - 8 * i));
	out[0] = 4;
	out[1] = (uint8_t)((len + 16) >> 8);
	out[2] = (uint8_t)(len + 16);
	crypto_aead_chacha20poly1305_ietf_encrypt(
		out + 3, NULL, plain, len, NULL, 0, NULL, nonce, key);
	return len + 19;
}
