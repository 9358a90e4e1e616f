#include "control/wg/cookie.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "dataplane/crypto/blake2s.h"

static const uint64_t NS_PER_S = 1000000000;

static_assert(WG_COOKIE_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
static_assert(WG_TAG_LEN == crypto_aead_xchacha20poly1305_ietf_ABYTES);
static_assert(WG_MAC_LEN == (int)BLAKE2S_MAC_LEN && WG_COOKIE_LEN == (int)BLAKE2S_MAC_LEN);

// An initiation or a response: the messages that carry MACs.
static bool is_handshake(const void *message, size_t len)
{
	rte_le32_t type;

	if (len != sizeof(struct wg_initiation) && len != sizeof(struct wg_response))
		return false;
	memcpy(&type, message, sizeof(type));
	return type == wg_type_field(len == sizeof(struct wg_initiation) ? WG_TYPE_INITIATION
									 : WG_TYPE_RESPONSE);
}

static size_t mac1_offset(size_t len)
{
	return len - sizeof(struct wg_macs);
}

static size_t mac2_offset(size_t len)
{
	return len - WG_MAC_LEN;
}

bool cookie_mac1_valid(const struct noise_identity *id, const void *message, size_t len)
{
	const uint8_t *bytes = message;
	uint8_t mac[WG_MAC_LEN];

	if (!is_handshake(message, len))
		return false;
	blake2s_mac(mac, id->mac1_key, sizeof(id->mac1_key), bytes, mac1_offset(len));
	return sodium_memcmp(mac, bytes + mac1_offset(len), sizeof(mac)) == 0;
}

void cookie_mac1_write(const uint8_t key[static WG_HASH_LEN], void *message, size_t len)
{
	uint8_t *bytes = message;

	blake2s_mac(bytes + mac1_offset(len), key, WG_HASH_LEN, bytes, mac1_offset(len));
	memset(bytes + mac2_offset(len), 0, WG_MAC_LEN);
}

// The cookie of a source: address as on the wire, port little-endian (wireguard-go's DstToBytes).
static void make_cookie(const struct cookie_maker *maker, const struct endpoint *from,
	uint8_t cookie[static WG_COOKIE_LEN])
{
	const size_t addr_len = ip_addr_bits(&from->addr) / 8;
	uint8_t source[16 + 2];

	memcpy(source, from->addr.bytes, addr_len);
	source[addr_len] = (uint8_t)from->port;
	source[addr_len + 1] = (uint8_t)(from->port >> 8);
	blake2s_mac(cookie, maker->secret, sizeof(maker->secret), source, addr_len + 2);
}

static bool secret_is_fresh(const struct cookie_maker *maker, uint64_t now_ns)
{
	return maker->has_secret &&
	       now_ns - maker->secret_ns < WG_COOKIE_SECRET_MAX_AGE_S * NS_PER_S;
}

bool cookie_mac2_valid(const struct cookie_maker *maker, const void *message, size_t len,
	const struct endpoint *from, uint64_t now_ns)
{
	const uint8_t *bytes = message;
	uint8_t cookie[WG_COOKIE_LEN], mac[WG_MAC_LEN];

	if (!is_handshake(message, len) || from->addr.family == IP_NONE ||
		!secret_is_fresh(maker, now_ns))
		return false;
	make_cookie(maker, from, cookie);
	blake2s_mac(mac, cookie, sizeof(cookie), bytes, mac2_offset(len));
	return sodium_memcmp(mac, bytes + mac2_offset(len), sizeof(mac)) == 0;
}

int cookie_reply_create(struct cookie_maker *maker, const struct noise_identity *id,
	const void *message, size_t len, const struct endpoint *from, uint64_t now_ns,
	struct wg_cookie_reply *out)
{
	const uint8_t *bytes = message;
	uint8_t cookie[WG_COOKIE_LEN];

	if (!is_handshake(message, len))
		return -EPROTO;
	if (from->addr.family == IP_NONE)
		return -EINVAL;
	if (!secret_is_fresh(maker, now_ns)) {
		randombytes_buf(maker->secret, sizeof(maker->secret));
		maker->secret_ns = now_ns;
		maker->has_secret = true;
	}
	out->type = wg_type_field(WG_TYPE_COOKIE);
	// The sender's index follows the type in both messages.
	static_assert(
		offsetof(struct wg_initiation, sender) == offsetof(struct wg_response, sender));
	memcpy(&out->receiver, bytes + offsetof(struct wg_initiation, sender),
		sizeof(out->receiver));
	randombytes_buf(out->nonce, sizeof(out->nonce));
	make_cookie(maker, from, cookie);
	crypto_aead_xchacha20poly1305_ietf_encrypt(out->cookie, NULL, cookie, sizeof(cookie),
		bytes + mac1_offset(len), WG_MAC_LEN, NULL, out->nonce, id->cookie_key);
	sodium_memzero(cookie, sizeof(cookie));
	return 0;
}

void cookie_maker_fini(struct cookie_maker *maker)
{
	sodium_memzero(maker, sizeof(*maker));
}

void cookie_jar_stamp(struct cookie_jar *jar, void *message, size_t len, uint64_t now_ns)
{
	const uint64_t max_age =
		(WG_COOKIE_SECRET_MAX_AGE_S - WG_COOKIE_SECRET_LATENCY_S) * NS_PER_S;
	uint8_t *bytes = message;

	memcpy(jar->mac1, bytes + mac1_offset(len), sizeof(jar->mac1));
	jar->has_mac1 = true;
	if (jar->has_cookie && now_ns - jar->cookie_ns >= max_age) {
		sodium_memzero(jar->cookie, sizeof(jar->cookie));
		jar->has_cookie = false;
	}
	if (jar->has_cookie)
		blake2s_mac(bytes + mac2_offset(len), jar->cookie, sizeof(jar->cookie), bytes,
			mac2_offset(len));
}

int cookie_jar_consume(struct cookie_jar *jar, const struct noise_remote *remote,
	const void *message, size_t len, uint64_t now_ns)
{
	const struct wg_cookie_reply *m = message;
	uint8_t cookie[WG_COOKIE_LEN];

	if (len != sizeof(*m) || m->type != wg_type_field(WG_TYPE_COOKIE))
		return -EPROTO;
	if (!jar->has_mac1)
		return -ENOENT;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(cookie, NULL, NULL, m->cookie,
		    sizeof(m->cookie), jar->mac1, sizeof(jar->mac1), m->nonce, remote->cookie_key))
		return -EBADMSG;
	memcpy(jar->cookie, cookie, sizeof(jar->cookie));
	jar->cookie_ns = now_ns;
	jar->has_cookie = true;
	jar->has_mac1 = false; // one reply per message
	sodium_memzero(cookie, sizeof(cookie));
	return 0;
}

// Rate limiter: a hash picks a set, its ways are searched. The hash is keyed, so that nobody can
// aim at another's set.

enum {
	TOKEN_NS = 1000000000 / RATELIMIT_PER_S,
	BUCKET_NS = TOKEN_NS * RATELIMIT_BURST, // a full bucket, counted in time
};
static_assert(TOKEN_NS == 50000000);

struct bucket {
	uint64_t seen_ns; // last time it was asked for; 0 with family 0: free
	uint32_t credit_ns;
	uint8_t family;
	uint8_t source[8]; // IPv4 address, or the first half of the IPv6 one
};

struct ratelimit { // ctl only
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
	struct bucket buckets[RATELIMIT_SETS][RATELIMIT_WAYS];
};

struct ratelimit *ratelimit_create(void)
{
	struct ratelimit *r = calloc(1, sizeof(*r));

	if (r)
		crypto_shorthash_keygen(r->hash_key);
	return r;
}

void ratelimit_destroy(struct ratelimit *r)
{
	free(r);
}

static struct bucket *find_set(struct ratelimit *r, const uint8_t source[static 8], uint8_t family)
{
	uint8_t input[9];
	uint64_t hash;

	memcpy(input, source, 8);
	input[8] = family;
	static_assert(sizeof(hash) == crypto_shorthash_BYTES);
	crypto_shorthash((uint8_t *)&hash, input, sizeof(input), r->hash_key);
	return r->buckets[hash & (RATELIMIT_SETS - 1)];
}

// The bucket of a source; if it has none, the free or longest unused one of its set, made full.
static struct bucket *find_bucket(struct ratelimit *r, const struct ip_addr *from, uint64_t now_ns)
{
	uint8_t source[8] = {0};

	memcpy(source, from->bytes, from->family == IP_V4 ? 4 : 8);
	struct bucket *set = find_set(r, source, from->family), *oldest = set;
	for (unsigned i = 0; i < RATELIMIT_WAYS; i++) {
		if (set[i].family == from->family && !memcmp(set[i].source, source, sizeof(source)))
			return &set[i];
		if (set[i].seen_ns < oldest->seen_ns)
			oldest = &set[i];
	}
	*oldest =
		(struct bucket){.seen_ns = now_ns, .credit_ns = BUCKET_NS, .family = from->family};
	memcpy(oldest->source, source, sizeof(source));
	return oldest;
}

bool ratelimit_allow(struct ratelimit *r, const struct ip_addr *from, uint64_t now_ns)
{
	if (from->family == IP_NONE)
		return false;
	struct bucket *b = find_bucket(r, from, now_ns);
	const uint64_t credit = b->credit_ns + (now_ns - b->seen_ns);

	b->credit_ns = credit < BUCKET_NS ? (uint32_t)credit : BUCKET_NS;
	b->seen_ns = now_ns;
	if (b->credit_ns < TOKEN_NS)
		return false;
	b->credit_ns -= TOKEN_NS;
	return true;
}
