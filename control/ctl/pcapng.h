// Writer of pcapng files (draft-ietf-opsawg-pcapng): sections, interfaces, packets with
// nanoseconds. Blocks are appended to a libevent buffer, in this machine's byte order.
#pragma once

#include <event2/buffer.h>
#include <sys/uio.h>

#include "dataplane/base/types.h"

enum pcapng_link { // www.tcpdump.org/linktypes.html
	PCAPNG_ETHERNET = 1,
	PCAPNG_RAW = 101, // starts at an IPv4 or IPv6 header
};

enum pcapng_direction { // epb_flags, bits 0-1
	PCAPNG_IN = 1,
	PCAPNG_OUT = 2,
};

struct pcapng_packet {
	uint32_t interface; // as pcapng_add_interface counted
	uint64_t unix_ns;
	const struct iovec *data; // n pieces that follow each other
	unsigned n;
	uint32_t len; // of the original packet, at least what data holds
	enum pcapng_direction direction;
	const char *comment; // NULL: none
};

// Each returns 0 or -ENOMEM, and then the buffer is unchanged or must be thrown away.
int pcapng_add_section(struct evbuffer *, const char *application) must_check;
// The first one is interface 0, and so on. snaplen: bytes that are kept of a packet.
int pcapng_add_interface(struct evbuffer *, enum pcapng_link, uint32_t snaplen, const char *name,
	const char *description) must_check;
int pcapng_add_packet(struct evbuffer *, const struct pcapng_packet *) must_check;
