// libcrypto's contexts are costly to make and cheap to use again, so each thread keeps one per
// algorithm for as long as it lives.
#include "dataplane/crypto/blake2s.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <rte_debug.h>
#include <sodium.h>

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *digest; // fixed after fetched
static EVP_MAC *mac;

struct contexts {
	EVP_MD_CTX *digest;
	EVP_MAC_CTX *mac;
};
static _Thread_local struct contexts own;
static pthread_key_t own_key; // its destructor frees them with the thread

static void free_contexts(void *)
{
	EVP_MD_CTX_free(own.digest);
	EVP_MAC_CTX_free(own.mac);
	own = (struct contexts){0};
}

static void fetch(void)
{
	if (pthread_key_create(&own_key, free_contexts))
		return;
	digest = EVP_MD_fetch(NULL, "BLAKE2S-256", NULL);
	mac = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
}

static int make_contexts(void)
{
	size_t size = BLAKE2S_MAC_LEN;
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_END};

	pthread_once(&fetched, fetch);
	if (!digest || !mac)
		return -ENOTSUP;
	own.digest = EVP_MD_CTX_new();
	own.mac = EVP_MAC_CTX_new(mac);
	if (!own.digest || !own.mac || !EVP_MAC_CTX_set_params(own.mac, params) ||
		pthread_setspecific(own_key, &own)) {
		free_contexts(NULL);
		return -ENOMEM;
	}
	return 0;
}

int blake2s_init(void)
{
	return own.mac ? 0 : make_contexts();
}

static inline struct contexts *contexts(void)
{
	if (!own.mac)
		RTE_VERIFY(make_contexts() == 0);
	return &own;
}

void blake2s(
	uint8_t out[static BLAKE2S_LEN], const void *a, size_t a_len, const void *b, size_t b_len)
{
	EVP_MD_CTX *ctx = contexts()->digest;

	RTE_VERIFY(EVP_DigestInit_ex2(ctx, digest, NULL) && EVP_DigestUpdate(ctx, a, a_len) &&
		   EVP_DigestUpdate(ctx, b, b_len) && EVP_DigestFinal_ex(ctx, out, NULL));
}

void blake2s_mac(uint8_t out[static BLAKE2S_MAC_LEN], const uint8_t *key, size_t key_len,
	const void *data, size_t len)
{
	EVP_MAC_CTX *ctx = contexts()->mac;
	size_t written;

	RTE_VERIFY(EVP_MAC_init(ctx, key, key_len, NULL) && EVP_MAC_update(ctx, data, len) &&
		   EVP_MAC_final(ctx, out, &written, BLAKE2S_MAC_LEN));
}

void blake2s_hmac(uint8_t out[static BLAKE2S_LEN], const uint8_t *key, size_t key_len,
	const void *data, size_t len)
{
	uint8_t pad[BLAKE2S_BLOCK_LEN] = {0}, inner[BLAKE2S_LEN];

	RTE_VERIFY(key_len <= sizeof(pad));
	memcpy(pad, key, key_len);
	for (unsigned i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	blake2s(inner, pad, sizeof(pad), data, len);
	for (unsigned i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	blake2s(out, pad, sizeof(pad), inner, sizeof(inner));
	sodium_memzero(pad, sizeof(pad));
	sodium_memzero(inner, sizeof(inner));
}

void blake2s_kdf(uint8_t out[][BLAKE2S_LEN], unsigned n, const uint8_t key[static BLAKE2S_LEN],
	const void *input, size_t len)
{
	uint8_t secret[BLAKE2S_LEN], step[BLAKE2S_LEN + 1];

	blake2s_hmac(secret, key, BLAKE2S_LEN, input, len);
	for (unsigned i = 0; i < n; i++) {
		const unsigned chained = i ? BLAKE2S_LEN : 0;

		step[chained] = (uint8_t)(i + 1);
		blake2s_hmac(step, secret, sizeof(secret), step, chained + 1);
		memcpy(out[i], step, BLAKE2S_LEN);
	}
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(step, sizeof(step));
}
