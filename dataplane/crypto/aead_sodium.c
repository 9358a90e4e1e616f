// The engine that runs everywhere, and the reference for the others.
#include "dataplane/crypto/aead_engine.h"

#include <sodium.h>

static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == AEAD_TAG_LEN);
static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == AEAD_NONCE_LEN);

static void *create(void)
{
	static uint8_t stateless;

	return sodium_init() < 0 ? NULL : &stateless;
}

static void destroy(void *)
{
}

static void seal_message(void *, const struct aead_message *m)
{
	crypto_aead_chacha20poly1305_ietf_encrypt_detached(m->data, m->data + m->len, NULL, m->data,
		m->len, m->aad, m->aad_len, NULL, m->nonce, m->key);
}

static bool open_message(void *, const struct aead_message *m)
{
	// Compares the tag before it decrypts; zeroes the data when the tag is wrong.
	return crypto_aead_chacha20poly1305_ietf_decrypt_detached(m->data, NULL, m->data, m->len,
		       m->data + m->len, m->aad, m->aad_len, m->nonce, m->key) == 0;
}

static void seal_burst(void *state, const struct aead_op ops[], unsigned n)
{
	uint8_t nonce[AEAD_NONCE_LEN];

	for (unsigned i = 0; i < n; i++) {
		aead_nonce(nonce, ops[i].counter);
		seal_message(state, &(struct aead_message){.data = ops[i].data,
					    .len = ops[i].len,
					    .key = ops[i].key,
					    .nonce = nonce});
	}
}

static uint64_t open_burst(void *state, const struct aead_op ops[], unsigned n)
{
	uint8_t nonce[AEAD_NONCE_LEN];
	uint64_t authentic = 0;

	for (unsigned i = 0; i < n; i++) {
		aead_nonce(nonce, ops[i].counter);
		if (open_message(state, &(struct aead_message){.data = ops[i].data,
						.len = ops[i].len,
						.key = ops[i].key,
						.nonce = nonce}))
			authentic |= UINT64_C(1) << i;
	}
	return authentic;
}

const struct aead_engine aead_sodium = {
	.name = "libsodium",
	.create = create,
	.destroy = destroy,
	.seal = seal_burst,
	.open = open_burst,
	.seal_message = seal_message,
	.open_message = open_message,
};
