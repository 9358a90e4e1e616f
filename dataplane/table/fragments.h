// Fragments of one worker that wait for the rest of their datagram. They are copies in small
// buffers, so that no receive buffer waits; nothing that RCU protects is kept. Bounded: when there
// is no room, the oldest datagram of whoever has most goes, so that a flood meets its sender. A
// datagram whose fragments overlap is refused as a whole (RFC 5722); an exact copy is ignored.
// [wrk]
#pragma once

#include <rte_mbuf.h>

#include "dataplane/base/types.h"

enum {
	FRAGMENTS_DATAGRAMS_MAX = 128,
	FRAGMENTS_BUFFERS_MAX = 512,	 // and no more than a sixteenth of the pool
	FRAGMENTS_DATAGRAM_BUFFERS = 96, // of one datagram
	FRAGMENTS_TIMEOUT_MS =
		5000,		   // they travel together; hosts wait for 30 to 60 s (RFC 8200 4.5)
	FRAGMENTS_LEN_MAX = 65535, // of the payload
	FRAGMENTS_HEAD_MAX = 60,
	// Of the whole packet: what the largest buffer holds behind its headroom.
	FRAGMENTS_PACKET_MAX = UINT16_MAX - RTE_PKTMBUF_HEADROOM,
};

struct fragment_key {
	uint8_t src[16], dst[16]; // of IPv4 the first 4 bytes
	uint32_t id;
	uint32_t origin; // who sent it: share is by origin
	uint8_t family;
	uint8_t proto; // IPv4; else 0
	uint8_t zero[2];
};

struct fragment {
	struct fragment_key key;
	const uint8_t *head; // IP header without fragment header, of the first one
	uint32_t data_at;    // payload, from the packet's first byte on
	uint16_t offset, len;
	uint16_t head_len;
	uint8_t tos;
	bool more;
};

enum fragment_verdict {
	FRAGMENT_WAITS,
	FRAGMENT_WHOLE,
	FRAGMENT_COPY,	    // was there already
	FRAGMENT_MALFORMED, // and what there was of its datagram has ended
	FRAGMENT_OVERLAP,   // the same
	FRAGMENT_NO_BUFFER,
};

// Fragments that ended while another came, since these were last set to zero.
struct fragments_ended {
	uint32_t timeout; // the rest did not come
	uint32_t full;	  // there was no room
	uint32_t refused; // with one that was malformed or overlapped, or behind it
};

struct fragments; // of one worker

struct fragments *fragments_create(uint64_t tsc_per_ms, struct rte_mempool *pool) must_check;
void fragments_destroy(struct fragments *); // with all that waits; NULL is fine [ctl, worker gone]
void fragments_clear(struct fragments *);
// A copy of the fragment, which lies in m, waits. FRAGMENT_WHOLE: *whole is the packet, in one
// piece, its lengths and protocol as they were in the first fragment; from large if it must be.
enum fragment_verdict fragments_add(struct fragments *, const struct fragment *,
	const struct rte_mbuf *m, uint64_t now, struct rte_mempool *large, struct rte_mbuf **whole);
// End what waited too long. False: nothing waits any more.
bool fragments_expire(struct fragments *, uint64_t now);
struct fragments_ended *fragments_ended(struct fragments *);
uint32_t fragments_buffers(const struct fragments *); // in which fragments wait
