// WireGuard's messages and constants. Sources: the WireGuard paper (Donenfeld, "WireGuard: Next
// Generation Kernel Network Tunnel", sections 5.4 and 6); wireguard-linux-compat src/messages.h.
// All integers on the wire are little-endian, except inside TAI64N.
#pragma once

#include <assert.h>
#include <stdint.h>
#include <rte_byteorder.h>

// First byte of each message; the three bytes after it are reserved and zero. (5.4)
enum wg_type {
	WG_TYPE_INITIATION = 1,
	WG_TYPE_RESPONSE = 2,
	WG_TYPE_COOKIE = 3,
	WG_TYPE_DATA = 4,
};

// Bytes.
enum {
	WG_KEY_LEN = 32,
	WG_HASH_LEN = 32,
	WG_TAG_LEN = 16,
	WG_MAC_LEN = 16,
	WG_COOKIE_LEN = 16,
	WG_COOKIE_NONCE_LEN = 24,
	WG_TAI64N_LEN = 12, // BE seconds + 2^62 (8), BE nanoseconds (4)
	WG_INITIATION_LEN = 148,
	WG_RESPONSE_LEN = 92,
	WG_COOKIE_REPLY_LEN = 64,
	WG_DATA_HEADER_LEN = 16,
	WG_DATA_OVERHEAD = WG_DATA_HEADER_LEN + WG_TAG_LEN,
	WG_DATA_MIN_LEN = WG_DATA_OVERHEAD, // a keepalive: no plaintext
	WG_PADDING = 16,		    // plaintext is padded to a multiple, not above the MTU
};

// Timers and limits of section 6.
enum {
	WG_REKEY_AFTER_TIME_S = 120, // initiator, on send
	WG_REJECT_AFTER_TIME_S = 180,
	WG_REKEY_ATTEMPT_TIME_S = 90,
	WG_REKEY_TIMEOUT_S = 5,
	WG_REKEY_TIMEOUT_JITTER_MS = 333, // 0..333 ms are added
	WG_KEEPALIVE_TIMEOUT_S = 10,
	// The initiator also rekeys when it receives on a key of this age (165 s).
	WG_REKEY_AFTER_TIME_RECV_S =
		WG_REJECT_AFTER_TIME_S - WG_KEEPALIVE_TIMEOUT_S - WG_REKEY_TIMEOUT_S,
	// Data sent and nothing heard for this long: new handshake.
	WG_UNANSWERED_S = WG_KEEPALIVE_TIMEOUT_S + WG_REKEY_TIMEOUT_S,
	WG_WIPE_KEYS_S = 3 * WG_REJECT_AFTER_TIME_S,
	WG_COOKIE_SECRET_MAX_AGE_S = 120,
	WG_COOKIE_SECRET_LATENCY_S = 5, // an initiator drops a cookie this much earlier
	WG_INITIATIONS_PER_S = 50,	// per peer: closer than 20 ms is a flood
	WG_MIN_INITIATION_INTERVAL_MS = 1000 / WG_INITIATIONS_PER_S,
};

// RFC 6479: a window of 8192 bits, of which one 64-bit word is being refilled.
enum {
	WG_REPLAY_BITS = 8192,
	WG_REPLAY_WORD_BITS = 64,
	WG_REPLAY_WINDOW = WG_REPLAY_BITS - WG_REPLAY_WORD_BITS,
};
static_assert(WG_REPLAY_WINDOW == 8128, "the window of the kernel and of wireguard-go");

// Messages per key, counted from 0.
#define WG_REKEY_AFTER_MESSAGES (UINT64_C(1) << 60)
#define WG_REJECT_AFTER_MESSAGES (UINT64_MAX - WG_REPLAY_BITS)
// Of a datagram that is no message, and only asks routers whether it is too large for them
// (control/wg/probe.c): beyond what any key may be used for, so that everybody drops it.
#define WG_PROBE_COUNTER UINT64_MAX

// The type and its zero bytes, read as one number.
static inline rte_le32_t wg_type_field(enum wg_type type)
{
	return rte_cpu_to_le_32((uint32_t)type);
}

// 5.4.4: both cover everything before themselves; mac2 is zero without a cookie.
struct wg_macs {
	uint8_t mac1[WG_MAC_LEN];
	uint8_t mac2[WG_MAC_LEN];
} __attribute__((packed));
static_assert(sizeof(struct wg_macs) == 32, "paper 5.4.4");

struct wg_initiation {
	rte_le32_t type;
	rte_le32_t sender; // the initiator's receiver index
	uint8_t ephemeral[WG_KEY_LEN];
	uint8_t static_key[WG_KEY_LEN + WG_TAG_LEN];   // sealed
	uint8_t timestamp[WG_TAI64N_LEN + WG_TAG_LEN]; // sealed
	struct wg_macs macs;
} __attribute__((packed));
static_assert(sizeof(struct wg_initiation) == WG_INITIATION_LEN, "paper 5.4.2");

struct wg_response {
	rte_le32_t type;
	rte_le32_t sender;
	rte_le32_t receiver; // the initiation's sender
	uint8_t ephemeral[WG_KEY_LEN];
	uint8_t empty[WG_TAG_LEN]; // sealed nothing
	struct wg_macs macs;
} __attribute__((packed));
static_assert(sizeof(struct wg_response) == WG_RESPONSE_LEN, "paper 5.4.3");

struct wg_cookie_reply {
	rte_le32_t type;
	rte_le32_t receiver; // sender of the message that provoked it
	uint8_t nonce[WG_COOKIE_NONCE_LEN];
	uint8_t cookie[WG_COOKIE_LEN + WG_TAG_LEN]; // sealed
} __attribute__((packed));
static_assert(sizeof(struct wg_cookie_reply) == WG_COOKIE_REPLY_LEN, "paper 5.4.7");

// Followed by the padded plaintext, sealed, and its tag.
struct wg_data {
	rte_le32_t type;
	rte_le32_t receiver;
	rte_le64_t counter;
} __attribute__((packed));
static_assert(sizeof(struct wg_data) == WG_DATA_HEADER_LEN, "paper 5.4.6");

// Plaintext of len bytes with its padding, which never goes beyond the tunnel's MTU: an MTU of what
// is left in the network below is right although it is no multiple of 16. (5.4.6;
// wireguard-linux-compat src/send.c, calculate_skb_padding)
static inline uint32_t wg_padded_len(uint32_t len, uint32_t mtu)
{
	uint32_t padded = (len + WG_PADDING - 1) & ~(WG_PADDING - 1u);
	return padded > mtu && len <= mtu ? mtu : padded;
}
