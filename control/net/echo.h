// ICMP echoes of the host's own, IPv4 and IPv6: a raw socket of each family, opened when it is
// first needed. Takes CAP_NET_RAW. [ctl]
#pragma once

#include <event2/event.h>

#include "dataplane/base/types.h"

struct echo;

enum { ECHO_LEN = 16 }; // bytes: ICMP header, then what tells ours from others'

// on_reply: an answer to what was sent with this sequence number, from that address. mark: of the
// sockets (SO_MARK), 0: none. NULL: no memory.
struct echo *echo_create(struct event_base *, uint32_t mark,
	void (*on_reply)(void *arg, const struct ip_addr *from, uint16_t seq),
	void *arg) must_check;
void echo_destroy(struct echo *); // NULL is fine
// 0 or -errno: nothing has gone.
int echo_send(struct echo *, const struct ip_addr *to, uint16_t seq) must_check;

// --- Bytes alone.

// An echo request of this family; IPv6: the checksum is left to the kernel.
void echo_write(uint8_t out[static ECHO_LEN], enum ip_family, uint16_t id, uint16_t seq,
	const uint8_t token[static 8]);
// What a raw socket hands over (IPv4: from the IP header on): whether it answers such a request.
bool echo_read(const uint8_t *data, size_t len, enum ip_family, uint16_t id,
	const uint8_t token[static 8], uint16_t *seq);
