// POST /machine/map: the request's text, and the answer's frames: each a little-endian u32 length
// and one zstd frame with one MapResponse. Source: tailscale control/controlclient/direct.go. [ctl]
#pragma once

#include "control/coord/hostinfo.h"

enum {
	MAPSTREAM_FRAME_MAX = 16 << 20, // bytes compressed ...
	MAPSTREAM_TEXT_MAX = 64 << 20,	// ... and decoded: some 60,000 peers
	MAPSTREAM_SILENCE_S = 120,	// without any message: reconnect
};

enum endpoint_type {
	ENDPOINT_UNKNOWN = 0,
	ENDPOINT_LOCAL = 1,
	ENDPOINT_STUN = 2,
	ENDPOINT_PORTMAPPED = 3,
	ENDPOINT_STUN4_LOCAL_PORT = 4,
	ENDPOINT_EXPLICIT = 5,
};

struct map_endpoint {
	struct endpoint endpoint;
	enum endpoint_type type;
};

struct map_request {
	uint16_t version;
	struct key node_key, disco_key; // public. Headscale stores a zero disco key: never send one
	bool stream;			// else a lite update: what we are, no peers
	const struct hostinfo *hostinfo;
	const struct map_endpoint *endpoints;
	size_t n_endpoints;
	bool has_endpoints; // true with none: they are to be cleared
};

// JSON; free it.
char *map_request_text(const struct map_request *, size_t *len);

struct mapstream;

// A decoded MapResponse, or anything else of that framing; valid during the call. An error ends the
// stream.
typedef int (*mapstream_fn)(void *arg, const char *text, size_t len);

// Never NULL.
struct mapstream *mapstream_create(mapstream_fn fn, void *arg);
void mapstream_destroy(struct mapstream *); // NULL is fine
// Bytes of the body, any split. 0, or -errno, for good: -EMSGSIZE over a bound, -EBADMSG not one
// zstd frame, or what fn returned.
int mapstream_feed(struct mapstream *, const uint8_t *bytes, size_t len) must_check;
// Nothing of a message has come without its rest: the body may end here.
bool mapstream_complete(const struct mapstream *);
