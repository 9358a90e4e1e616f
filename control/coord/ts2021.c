#include "control/coord/ts2021.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/crypto/blake2s.h"
#include "dataplane/crypto/x25519.h"

// Source: tailscale control/controlbase/{handshake,messages,conn}.go, control/ts2021/conn.go.
static const char protocol_name[] = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
static const char prologue_format[] = "Tailscale Control Protocol v%u";
static const uint8_t early_magic[] = {0xff, 0xff, 0xff, 'T', 'S'};

enum {
	MESSAGE_INITIATION = 1,
	MESSAGE_RESPONSE = 2,
	MESSAGE_ERROR = 3,
	MESSAGE_RECORD = 4,
	TAG_LEN = 16,
	NONCE_LEN = 12,
	EARLY_HEADER_LEN = 9, // magic, u32 big-endian length
};
static_assert(TS2021_INITIATION_LEN == 5 + KEY_LEN + KEY_LEN + TAG_LEN + TAG_LEN);
static_assert(TS2021_RESPONSE_LEN == TS2021_HEADER_LEN + KEY_LEN + TAG_LEN);
static_assert(TS2021_PLAIN_MAX == TS2021_RECORD_MAX - TS2021_HEADER_LEN - TAG_LEN);
static_assert(sizeof(protocol_name) - 1 > BLAKE2S_LEN); // hence hashed, not padded

enum early_state {
	EARLY_PEEK, // is it one?
	EARLY_BODY,
	EARLY_NONE, // HTTP/2 from here on
};

struct ts2021 {
	struct ts2021_keys keys; // wiped once established
	struct ts2021_events events;
	uint8_t hash[BLAKE2S_LEN], chaining_key[BLAKE2S_LEN];
	uint8_t send_key[KEY_LEN], receive_key[KEY_LEN];
	uint64_t sent, received; // records: the nonces
	bool established;
	int failed; // -errno, for good

	enum early_state early;
	uint8_t peeked[EARLY_HEADER_LEN];
	size_t peeked_len;
	uint32_t early_left;

	size_t have; // bytes of the message being collected
	uint8_t message[TS2021_RECORD_MAX];
	char error[TS2021_ERROR_TEXT_LEN];
};

static void mix_hash(struct ts2021 *t, const void *data, size_t len)
{
	blake2s(t->hash, t->hash, sizeof(t->hash), data, len);
}

static int mix_dh(struct ts2021 *t, const struct key *private_key,
	const uint8_t public_key[static KEY_LEN], uint8_t key[static KEY_LEN])
{
	uint8_t shared[KEY_LEN], out[2][BLAKE2S_LEN];
	const int error = x25519(shared, private_key->bytes, public_key);

	if (!error) {
		blake2s_kdf(out, 2, t->chaining_key, shared, sizeof(shared));
		memcpy(t->chaining_key, out[0], BLAKE2S_LEN);
		memcpy(key, out[1], BLAKE2S_LEN);
	}
	sodium_memzero(shared, sizeof(shared));
	sodium_memzero(out, sizeof(out));
	return error;
}

static const uint8_t nonce_zero[NONCE_LEN]; // one message a key

static void seal_and_hash(struct ts2021 *t, const uint8_t key[static KEY_LEN], const void *plain,
	size_t len, uint8_t *out)
{
	crypto_aead_chacha20poly1305_ietf_encrypt(
		out, NULL, plain, len, t->hash, sizeof(t->hash), NULL, nonce_zero, key);
	mix_hash(t, out, len + TAG_LEN);
}

static int initiation_write(
	struct ts2021 *t, uint16_t version, uint8_t out[static TS2021_INITIATION_LEN])
{
	uint8_t *const ephemeral = out + 5, *const machine = ephemeral + KEY_LEN,
		       *const tag = machine + KEY_LEN + TAG_LEN;
	uint8_t key[KEY_LEN], public_key[KEY_LEN];
	char prologue[48];
	const int length = snprintf(prologue, sizeof(prologue), prologue_format, version);

	blake2s(t->hash, protocol_name, strlen(protocol_name), NULL, 0);
	memcpy(t->chaining_key, t->hash, BLAKE2S_LEN);
	mix_hash(t, prologue, (size_t)length);
	mix_hash(t, t->keys.server_public.bytes, KEY_LEN);

	out[0] = (uint8_t)(version >> 8);
	out[1] = (uint8_t)version;
	out[2] = MESSAGE_INITIATION;
	out[3] = 0;
	out[4] = TS2021_INITIATION_LEN - 5;
	x25519_public(ephemeral, t->keys.ephemeral_private.bytes);
	mix_hash(t, ephemeral, KEY_LEN);
	int error = mix_dh(t, &t->keys.ephemeral_private, t->keys.server_public.bytes, key);
	if (!error) {
		x25519_public(public_key, t->keys.machine_private.bytes);
		seal_and_hash(t, key, public_key, KEY_LEN, machine);
		error = mix_dh(t, &t->keys.machine_private, t->keys.server_public.bytes, key);
	}
	if (!error)
		seal_and_hash(t, key, NULL, 0, tag);
	sodium_memzero(key, sizeof(key));
	return error;
}

int ts2021_create(struct ts2021 **out, const struct ts2021_keys *keys, uint16_t version,
	const struct ts2021_events *events, uint8_t initiation[static TS2021_INITIATION_LEN])
{
	if (sodium_init() < 0)
		return -ENOTSUP;
	int error = blake2s_init();
	if (error)
		return error;
	struct ts2021 *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->keys = *keys;
	t->events = *events;
	error = initiation_write(t, version, initiation);
	if (error) {
		ts2021_destroy(t);
		return error;
	}
	*out = t;
	return 0;
}

void ts2021_destroy(struct ts2021 *t)
{
	if (t)
		sodium_memzero(t, sizeof(*t));
	free(t);
}

static int fail(struct ts2021 *t, int error, const char *text)
{
	snprintf(t->error, sizeof(t->error), "%s", text);
	sodium_memzero(&t->keys, sizeof(t->keys));
	t->failed = error;
	return error;
}

static void split(struct ts2021 *t)
{
	uint8_t out[2][BLAKE2S_LEN];

	blake2s_kdf(out, 2, t->chaining_key, NULL, 0);
	memcpy(t->send_key, out[0], KEY_LEN);
	memcpy(t->receive_key, out[1], KEY_LEN);
	sodium_memzero(out, sizeof(out));
	sodium_memzero(&t->keys, sizeof(t->keys));
	sodium_memzero(t->chaining_key, sizeof(t->chaining_key));
	t->established = true;
}

static int response_read(struct ts2021 *t)
{
	const uint8_t *const ephemeral = t->message + TS2021_HEADER_LEN, *const tag = ephemeral +
										      KEY_LEN;
	uint8_t key[KEY_LEN], nothing[1];

	mix_hash(t, ephemeral, KEY_LEN);
	int error = mix_dh(t, &t->keys.ephemeral_private, ephemeral, key);
	if (!error)
		error = mix_dh(t, &t->keys.machine_private, ephemeral, key);
	if (!error && crypto_aead_chacha20poly1305_ietf_decrypt(nothing, NULL, NULL, tag, TAG_LEN,
			      t->hash, sizeof(t->hash), nonce_zero, key))
		error = -EBADMSG;
	sodium_memzero(key, sizeof(key));
	if (error)
		return fail(t, -EBADMSG,
			"the server's handshake does not authenticate: "
			"not the server whose key was fetched");
	mix_hash(t, tag, TAG_LEN);
	split(t);
	return 0;
}

static int refused_by_server(struct ts2021 *t, size_t len)
{
	char text[TS2021_ERROR_TEXT_LEN];
	int n = snprintf(text, sizeof(text), "the server refused the handshake: ");

	for (size_t i = 0; i < len && n < (int)sizeof(text) - 1; i++) {
		const uint8_t c = t->message[TS2021_HEADER_LEN + i];
		text[n++] = c >= ' ' && c < 0x7f ? (char)c : '?';
	}
	text[n] = '\0';
	return fail(t, -ECONNREFUSED, text);
}

static int deliver(struct ts2021 *t, const uint8_t *bytes, size_t len)
{
	const int error = len ? t->events.data(t->events.arg, bytes, len) : 0;

	return error ? fail(t, error, "the HTTP/2 session ended") : 0;
}

// The first bytes are an early payload's header, or already HTTP/2 and pushed on. Either header has
// nine bytes; the magic cannot start a frame of HTTP/2, whose length would be over any limit.
// Returns bytes used, or -errno.
static long early_peek(struct ts2021 *t, const uint8_t *bytes, size_t len)
{
	size_t used = 0;

	while (used < len && t->peeked_len < sizeof(t->peeked)) {
		t->peeked[t->peeked_len++] = bytes[used++];
		const size_t compared =
			t->peeked_len < sizeof(early_magic) ? t->peeked_len : sizeof(early_magic);
		if (memcmp(t->peeked, early_magic, compared)) {
			t->early = EARLY_NONE;
			const int error = deliver(t, t->peeked, t->peeked_len);
			return error ? error : (long)used;
		}
	}
	if (t->peeked_len == sizeof(t->peeked)) {
		const uint8_t *const n = t->peeked + sizeof(early_magic);
		t->early_left =
			(uint32_t)n[0] << 24 | (uint32_t)n[1] << 16 | (uint32_t)n[2] << 8 | n[3];
		if (t->early_left > TS2021_EARLY_MAX)
			return fail(t, -EMSGSIZE, "the early payload is too long");
		t->early = t->early_left ? EARLY_BODY : EARLY_NONE;
	}
	return (long)used;
}

static int plain_take(struct ts2021 *t, const uint8_t *bytes, size_t len)
{
	while (len && t->early != EARLY_NONE) {
		long used;
		if (t->early == EARLY_PEEK) {
			used = early_peek(t, bytes, len);
			if (used < 0)
				return (int)used;
		} else {
			used = (long)(len < t->early_left ? len : t->early_left);
			if (t->events.early)
				t->events.early(t->events.arg, bytes, (size_t)used);
			t->early_left -= (uint32_t)used;
			if (!t->early_left)
				t->early = EARLY_NONE;
		}
		bytes += used;
		len -= (size_t)used;
	}
	return deliver(t, bytes, len);
}

static void nonce_make(uint8_t nonce[static NONCE_LEN], uint64_t counter)
{
	memset(nonce, 0, NONCE_LEN);
	for (unsigned i = 0; i < 8; i++) // big-endian, unlike Noise
		nonce[4 + i] = (uint8_t)(counter >> (56 - 8 * i));
}

static int record_read(struct ts2021 *t, size_t len)
{
	uint8_t nonce[NONCE_LEN];
	uint8_t *const body = t->message + TS2021_HEADER_LEN;

	nonce_make(nonce, t->received);
	if (len < TAG_LEN || crypto_aead_chacha20poly1305_ietf_decrypt(
				     body, NULL, NULL, body, len, NULL, 0, nonce, t->receive_key))
		return fail(t, -EBADMSG, "a record does not authenticate");
	t->received++;
	return plain_take(t, body, len - TAG_LEN);
}

// Check a header of three bytes; the length of what follows, or -errno.
static long header_check(struct ts2021 *t)
{
	const uint8_t type = t->message[0];
	const size_t len = (size_t)t->message[1] << 8 | t->message[2];

	if (t->established) {
		if (type != MESSAGE_RECORD)
			return fail(t, -EPROTO, "no record where one was expected");
	} else if (type == MESSAGE_RESPONSE) {
		if (len != TS2021_RESPONSE_LEN - TS2021_HEADER_LEN)
			return fail(t, -EPROTO, "a handshake response of wrong length");
	} else if (type != MESSAGE_ERROR) {
		return fail(t, -EPROTO, "no handshake response where one was expected");
	}
	if (len > TS2021_RECORD_MAX - TS2021_HEADER_LEN)
		return fail(t, -EMSGSIZE, "a record is too long");
	return (long)len;
}

static int message_read(struct ts2021 *t, size_t len)
{
	t->have = 0;
	if (t->established)
		return record_read(t, len);
	return t->message[0] == MESSAGE_RESPONSE ? response_read(t) : refused_by_server(t, len);
}

int ts2021_feed(struct ts2021 *t, const uint8_t *bytes, size_t len)
{
	while (!t->failed && len) {
		size_t wanted = TS2021_HEADER_LEN;
		if (t->have >= TS2021_HEADER_LEN)
			wanted += (size_t)t->message[1] << 8 | t->message[2]; // checked before
		const size_t missing = wanted - t->have, n = len < missing ? len : missing;
		memcpy(t->message + t->have, bytes, n);
		t->have += n;
		bytes += n;
		len -= n;
		if (n < missing)
			break;
		if (wanted == TS2021_HEADER_LEN) {
			const long body = header_check(t);
			if (body != 0)
				continue; // negative: failed
		}
		const int error = message_read(t, t->have - TS2021_HEADER_LEN);
		if (error)
			return error;
	}
	return t->failed;
}

int ts2021_eof(struct ts2021 *t)
{
	if (t->failed)
		return t->failed;
	if (!t->established)
		return fail(t, -ECONNRESET,
			"the server closed during the handshake: our protocol version is too old "
			"for "
			"it, or a proxy is in between");
	if (t->have)
		return fail(t, -ECONNRESET, "the server closed within a record");
	return 0;
}

bool ts2021_established(const struct ts2021 *t)
{
	return t->established;
}

size_t ts2021_sealed_len(size_t len)
{
	const size_t records = (len + TS2021_PLAIN_MAX - 1) / TS2021_PLAIN_MAX;

	return len + records * (TS2021_HEADER_LEN + TAG_LEN);
}

long ts2021_send(struct ts2021 *t, const void *plain, size_t len, uint8_t *out, size_t max)
{
	const uint8_t *from = plain;
	uint8_t *to = out;

	if (!t->established || t->failed)
		return -ENOTCONN;
	if (max < ts2021_sealed_len(len))
		return -ENOSPC;
	while (len) {
		const size_t n = len < TS2021_PLAIN_MAX ? len : TS2021_PLAIN_MAX;
		uint8_t nonce[NONCE_LEN];
		to[0] = MESSAGE_RECORD;
		to[1] = (uint8_t)((n + TAG_LEN) >> 8);
		to[2] = (uint8_t)(n + TAG_LEN);
		nonce_make(nonce, t->sent++);
		crypto_aead_chacha20poly1305_ietf_encrypt(
			to + TS2021_HEADER_LEN, NULL, from, n, NULL, 0, NULL, nonce, t->send_key);
		to += TS2021_HEADER_LEN + n + TAG_LEN;
		from += n;
		len -= n;
	}
	return to - out;
}

const char *ts2021_error(const struct ts2021 *t)
{
	return t->error;
}

const uint8_t *ts2021_handshake_hash(const struct ts2021 *t)
{
	return t->hash;
}
