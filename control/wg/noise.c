#include "control/wg/noise.h"

#include <errno.h>
#include <sodium.h>

#include "control/wg/cookie.h"
#include "dataplane/crypto/blake2s.h"
#include "dataplane/crypto/x25519.h"

// Paper 5.4: Construction, Identifier, Label-Mac1, Label-Cookie.
static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";
static const char label_mac1[] = "mac1----", label_cookie[] = "cookie--";

static const uint64_t TAI64_EPOCH = UINT64_C(0x400000000000000a); // 1970 in TAI64
static const uint64_t NS_PER_S = 1000000000;
static const uint32_t TIMESTAMP_NOISE = 0xffffff; // low bits left out: wireguard-go tai64n

static_assert(WG_KEY_LEN == (int)KEY_LEN && WG_HASH_LEN == (int)BLAKE2S_LEN);
static_assert(WG_TAG_LEN == crypto_aead_chacha20poly1305_ietf_ABYTES);

void noise_tai64n(uint8_t out[static WG_TAI64N_LEN], uint64_t unix_ns)
{
	const rte_be64_t seconds = rte_cpu_to_be_64(TAI64_EPOCH + unix_ns / NS_PER_S);
	const rte_be32_t nanoseconds =
		rte_cpu_to_be_32((uint32_t)(unix_ns % NS_PER_S) & ~TIMESTAMP_NOISE);

	memcpy(out, &seconds, sizeof(seconds));
	memcpy(out + sizeof(seconds), &nanoseconds, sizeof(nanoseconds));
}

// What both sides know of a responder by its public key: transcript hash and keys of the MACs.
static void responder_keys(const struct key *public_key, uint8_t hash[static WG_HASH_LEN],
	uint8_t mac1_key[static WG_HASH_LEN], uint8_t cookie_key[static WG_HASH_LEN])
{
	blake2s(hash, construction, strlen(construction), NULL, 0);
	blake2s(hash, hash, WG_HASH_LEN, identifier, strlen(identifier));
	blake2s(hash, hash, WG_HASH_LEN, public_key->bytes, KEY_LEN);
	blake2s(mac1_key, label_mac1, strlen(label_mac1), public_key->bytes, KEY_LEN);
	blake2s(cookie_key, label_cookie, strlen(label_cookie), public_key->bytes, KEY_LEN);
}

int noise_identity_init(struct noise_identity *id, const struct key *private_key)
{
	if (sodium_init() < 0)
		return -ENOTSUP;
	const int error = blake2s_init();
	if (error)
		return error;
	id->private_key = *private_key;
	x25519_clamp(id->private_key.bytes);
	x25519_public(id->public_key.bytes, id->private_key.bytes);
	responder_keys(&id->public_key, id->hash, id->mac1_key, id->cookie_key);
	return 0;
}

void noise_identity_fini(struct noise_identity *id)
{
	sodium_memzero(id, sizeof(*id));
}

int noise_remote_init(struct noise_remote *remote, const struct noise_identity *id,
	const struct key *public_key, const struct key *preshared_key)
{
	*remote = (struct noise_remote){.public_key = *public_key};
	if (x25519(remote->static_static, id->private_key.bytes, public_key->bytes))
		return -EKEYREJECTED;
	if (preshared_key)
		remote->preshared_key = *preshared_key;
	responder_keys(public_key, remote->hash, remote->mac1_key, remote->cookie_key);
	return 0;
}

void noise_remote_fini(struct noise_remote *remote)
{
	sodium_memzero(remote, sizeof(*remote));
}

void noise_handshake_fini(struct noise_handshake *hs)
{
	sodium_memzero(hs, sizeof(*hs)); // NOISE_NONE
}

void noise_keys_fini(struct noise_keys *keys)
{
	sodium_memzero(keys, sizeof(*keys));
}

// The symmetric state of Noise (its section 5.2): hash and chaining key of the handshake.

static void mix_hash(struct noise_handshake *hs, const void *data, size_t len)
{
	blake2s(hs->hash, hs->hash, sizeof(hs->hash), data, len);
}

// key: where the next message key goes, or NULL for the chaining key alone.
static void mix_key(struct noise_handshake *hs, const uint8_t input[static KEY_LEN], uint8_t *key)
{
	uint8_t out[2][BLAKE2S_LEN];

	blake2s_kdf(out, key ? 2 : 1, hs->chaining_key, input, KEY_LEN);
	memcpy(hs->chaining_key, out[0], BLAKE2S_LEN);
	if (key)
		memcpy(key, out[1], BLAKE2S_LEN);
	sodium_memzero(out, sizeof(out));
}

static int mix_dh(struct noise_handshake *hs, const uint8_t private_key[static KEY_LEN],
	const uint8_t public_key[static KEY_LEN], uint8_t *key)
{
	uint8_t shared[KEY_LEN];
	const int error = x25519(shared, private_key, public_key);

	if (!error)
		mix_key(hs, shared, key);
	sodium_memzero(shared, sizeof(shared));
	return error;
}

static void mix_ephemeral(struct noise_handshake *hs, const uint8_t public_key[static KEY_LEN])
{
	mix_key(hs, public_key, NULL);
	mix_hash(hs, public_key, KEY_LEN);
}

static void mix_psk(struct noise_handshake *hs, const struct key *psk, uint8_t key[static KEY_LEN])
{
	uint8_t out[3][BLAKE2S_LEN];

	blake2s_kdf(out, 3, hs->chaining_key, psk->bytes, KEY_LEN);
	memcpy(hs->chaining_key, out[0], BLAKE2S_LEN);
	mix_hash(hs, out[1], BLAKE2S_LEN);
	memcpy(key, out[2], BLAKE2S_LEN);
	sodium_memzero(out, sizeof(out));
}

static const uint8_t nonce_zero[crypto_aead_chacha20poly1305_ietf_NPUBBYTES]; // one message a key

static void seal_and_hash(struct noise_handshake *hs, const uint8_t key[static KEY_LEN],
	const uint8_t *plain, size_t len, uint8_t *sealed)
{
	crypto_aead_chacha20poly1305_ietf_encrypt(
		sealed, NULL, plain, len, hs->hash, sizeof(hs->hash), NULL, nonce_zero, key);
	mix_hash(hs, sealed, len + WG_TAG_LEN);
}

static int open_and_hash(struct noise_handshake *hs, const uint8_t key[static KEY_LEN],
	const uint8_t *sealed, size_t len, uint8_t *plain)
{
	if (crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed, len + WG_TAG_LEN,
		    hs->hash, sizeof(hs->hash), nonce_zero, key))
		return -EBADMSG;
	mix_hash(hs, sealed, len + WG_TAG_LEN);
	return 0;
}

static void handshake_start(struct noise_handshake *hs, const uint8_t hash[static WG_HASH_LEN])
{
	noise_handshake_fini(hs);
	blake2s(hs->chaining_key, construction, strlen(construction), NULL, 0);
	memcpy(hs->hash, hash, sizeof(hs->hash));
}

int noise_initiation_create(struct noise_handshake *hs, const struct noise_identity *id,
	const struct noise_remote *remote, uint32_t local_index,
	const uint8_t ephemeral[static KEY_LEN], const uint8_t timestamp[static WG_TAI64N_LEN],
	struct wg_initiation *out)
{
	uint8_t key[KEY_LEN];

	handshake_start(hs, remote->hash);
	hs->local_index = local_index;
	memcpy(hs->ephemeral, ephemeral, KEY_LEN);
	*out = (struct wg_initiation){
		.type = wg_type_field(WG_TYPE_INITIATION), .sender = rte_cpu_to_le_32(local_index)};

	x25519_public(out->ephemeral, ephemeral);
	mix_ephemeral(hs, out->ephemeral);
	const int error = mix_dh(hs, ephemeral, remote->public_key.bytes, key);
	if (error) {
		noise_handshake_fini(hs);
		return error;
	}
	seal_and_hash(hs, key, id->public_key.bytes, KEY_LEN, out->static_key);
	mix_key(hs, remote->static_static, key);
	seal_and_hash(hs, key, timestamp, WG_TAI64N_LEN, out->timestamp);
	sodium_memzero(key, sizeof(key));

	cookie_mac1_write(remote->mac1_key, out, sizeof(*out));
	hs->state = NOISE_INITIATION_SENT;
	return 0;
}

int noise_initiation_open(struct noise_handshake *hs, const struct noise_identity *id,
	const void *message, size_t len)
{
	const struct wg_initiation *m = message;
	uint8_t key[KEY_LEN];

	noise_handshake_fini(hs);
	if (len != sizeof(*m) || m->type != wg_type_field(WG_TYPE_INITIATION))
		return -EPROTO;

	handshake_start(hs, id->hash);
	mix_ephemeral(hs, m->ephemeral);
	int error = mix_dh(hs, id->private_key.bytes, m->ephemeral, key);
	if (!error)
		error = open_and_hash(hs, key, m->static_key, KEY_LEN, hs->remote_static.bytes);
	sodium_memzero(key, sizeof(key));
	if (error) {
		noise_handshake_fini(hs);
		return error;
	}
	memcpy(hs->remote_ephemeral, m->ephemeral, KEY_LEN);
	memcpy(hs->sealed_timestamp, m->timestamp, sizeof(m->timestamp));
	hs->remote_index = rte_le_to_cpu_32(m->sender);
	hs->state = NOISE_INITIATION_OPENED;
	return 0;
}

// Decrypt the timestamp and compare it with the newest accepted one.
static int open_timestamp(struct noise_handshake *hs, const struct noise_remote *remote,
	uint8_t timestamp[static WG_TAI64N_LEN])
{
	uint8_t key[KEY_LEN];

	if (hs->state != NOISE_INITIATION_OPENED ||
		sodium_memcmp(hs->remote_static.bytes, remote->public_key.bytes, KEY_LEN))
		return -EINVAL;
	mix_key(hs, remote->static_static, key);
	const int error = open_and_hash(hs, key, hs->sealed_timestamp, WG_TAI64N_LEN, timestamp);
	sodium_memzero(key, sizeof(key));
	if (error)
		return error;
	// Big-endian, so that memcmp orders it.
	return memcmp(timestamp, remote->timestamp, WG_TAI64N_LEN) > 0 ? 0 : -ESTALE;
}

int noise_initiation_accept(struct noise_handshake *hs, struct noise_remote *remote)
{
	uint8_t timestamp[WG_TAI64N_LEN];
	const int error = open_timestamp(hs, remote, timestamp);

	if (error) {
		noise_handshake_fini(hs);
		return error;
	}
	memcpy(remote->timestamp, timestamp, sizeof(remote->timestamp));
	hs->state = NOISE_INITIATION_RECEIVED;
	return 0;
}

int noise_response_create(struct noise_handshake *hs, const struct noise_remote *remote,
	uint32_t local_index, const uint8_t ephemeral[static KEY_LEN], struct wg_response *out)
{
	uint8_t key[KEY_LEN];
	int error = -EINVAL;

	if (hs->state != NOISE_INITIATION_RECEIVED)
		goto failed;
	hs->local_index = local_index;
	*out = (struct wg_response){.type = wg_type_field(WG_TYPE_RESPONSE),
		.sender = rte_cpu_to_le_32(local_index),
		.receiver = rte_cpu_to_le_32(hs->remote_index)};

	x25519_public(out->ephemeral, ephemeral);
	mix_ephemeral(hs, out->ephemeral);
	error = mix_dh(hs, ephemeral, hs->remote_ephemeral, NULL);
	if (error)
		goto failed;
	error = mix_dh(hs, ephemeral, remote->public_key.bytes, NULL);
	if (error)
		goto failed;
	mix_psk(hs, &remote->preshared_key, key);
	seal_and_hash(hs, key, NULL, 0, out->empty);
	sodium_memzero(key, sizeof(key));

	cookie_mac1_write(remote->mac1_key, out, sizeof(*out));
	hs->state = NOISE_RESPONSE_SENT;
	return 0;

failed:
	noise_handshake_fini(hs);
	return error;
}

// The cryptographic part of noise_response_open, on a copy of the handshake.
static int read_response(struct noise_handshake *hs, const struct noise_identity *id,
	const struct noise_remote *remote, const struct wg_response *m)
{
	uint8_t key[KEY_LEN], nothing[1];

	mix_ephemeral(hs, m->ephemeral);
	int error = mix_dh(hs, hs->ephemeral, m->ephemeral, NULL);
	if (!error)
		error = mix_dh(hs, id->private_key.bytes, m->ephemeral, NULL);
	if (error)
		return error;
	mix_psk(hs, &remote->preshared_key, key);
	error = open_and_hash(hs, key, m->empty, 0, nothing);
	sodium_memzero(key, sizeof(key));
	if (error)
		return error;
	sodium_memzero(hs->ephemeral, sizeof(hs->ephemeral));
	hs->remote_index = rte_le_to_cpu_32(m->sender);
	hs->state = NOISE_RESPONSE_RECEIVED;
	return 0;
}

int noise_response_open(struct noise_handshake *hs, const struct noise_identity *id,
	const struct noise_remote *remote, const void *message, size_t len)
{
	const struct wg_response *m = message;

	if (len != sizeof(*m) || m->type != wg_type_field(WG_TYPE_RESPONSE))
		return -EPROTO;
	if (hs->state != NOISE_INITIATION_SENT)
		return -EINVAL;
	if (rte_le_to_cpu_32(m->receiver) != hs->local_index)
		return -ENOENT;

	struct noise_handshake next = *hs;
	const int error = read_response(&next, id, remote, m);
	if (!error)
		*hs = next;
	noise_handshake_fini(&next);
	return error;
}

int noise_keys_derive(struct noise_handshake *hs, struct noise_keys *out)
{
	uint8_t keys[2][BLAKE2S_LEN];

	if (hs->state != NOISE_RESPONSE_SENT && hs->state != NOISE_RESPONSE_RECEIVED)
		return -EINVAL;
	const bool initiator = hs->state == NOISE_RESPONSE_RECEIVED;

	blake2s_kdf(keys, 2, hs->chaining_key, NULL, 0);
	*out = (struct noise_keys){.initiator = initiator,
		.local_index = hs->local_index,
		.remote_index = hs->remote_index};
	memcpy(out->send.bytes, keys[initiator ? 0 : 1], KEY_LEN);
	memcpy(out->recv.bytes, keys[initiator ? 1 : 0], KEY_LEN);
	sodium_memzero(keys, sizeof(keys));
	noise_handshake_fini(hs);
	return 0;
}
