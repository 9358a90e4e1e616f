// What keeps floods of handshakes cheap (paper 5.3, 5.4.4, 5.4.7): mac1 proves that the sender
// knows our public key, a cookie that it receives at its address, the rate limiter caps each
// address. Pure but for the randomness of secrets and nonces; now_ns is any monotonic clock.
// Control thread.
#pragma once

#include "control/wg/noise.h"

// Whether the mac1 of an initiation or response was made for us. Any len: false if it is neither.
bool cookie_mac1_valid(const struct noise_identity *, const void *message, size_t len) must_check;

// Fill a handshake message's mac1 (key: mac1_key of the receiver) and zero its mac2.
void cookie_mac1_write(const uint8_t key[static WG_HASH_LEN], void *message, size_t len);

// Giving cookies. All zero is a new one; wipe with cookie_maker_fini.
struct cookie_maker {
	uint8_t secret[WG_HASH_LEN];
	uint64_t secret_ns; // when it was made
	bool has_secret;
};

// Whether mac2 was made with the cookie that we give to this source address and port.
bool cookie_mac2_valid(const struct cookie_maker *, const void *message, size_t len,
	const struct endpoint *from, uint64_t now_ns) must_check;
// Answer a message with valid mac1. The secret is changed when it is older than 120 s. -EPROTO: not
// an initiation or response; -EINVAL: from has no address.
int cookie_reply_create(struct cookie_maker *, const struct noise_identity *, const void *message,
	size_t len, const struct endpoint *from, uint64_t now_ns,
	struct wg_cookie_reply *out) must_check;
void cookie_maker_fini(struct cookie_maker *);

// Holding a peer's cookie. All zero is empty.
struct cookie_jar {
	uint8_t cookie[WG_COOKIE_LEN];
	uint64_t cookie_ns;	  // when it came
	uint8_t mac1[WG_MAC_LEN]; // of our last message: authenticates the reply
	bool has_cookie, has_mac1;
};

// Call on each handshake message just before sending it: remembers its mac1, and makes its mac2 if
// there is a cookie younger than 115 s.
void cookie_jar_stamp(struct cookie_jar *, void *message, size_t len, uint64_t now_ns);
// Take in a cookie reply to our last message (the caller has found the peer by its receiver index).
// -EPROTO length, type or reserved bytes; -ENOENT nothing was sent that it could answer; -EBADMSG
// forged, or for another message.
int cookie_jar_consume(struct cookie_jar *, const struct noise_remote *, const void *message,
	size_t len, uint64_t now_ns) must_check;

// Handshake messages per source: an IPv4 address or an IPv6 /64. A token bucket each; the table is
// bounded and forgets the address that was quiet for longest.
enum {
	RATELIMIT_PER_S = 20,
	RATELIMIT_BURST = 5,
	RATELIMIT_SETS = 1024, // power of 2
	RATELIMIT_WAYS = 8,    // addresses per set
};

struct ratelimit; // about 256 KB

struct ratelimit *ratelimit_create(void) must_check;
void ratelimit_destroy(struct ratelimit *);
// Takes a token; false: none left, drop the message.
bool ratelimit_allow(struct ratelimit *, const struct ip_addr *from, uint64_t now_ns) must_check;
