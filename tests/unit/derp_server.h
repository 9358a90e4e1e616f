// A DERP server in a process of its own, which behaves as told. What a client says after the
// greeting comes back to it as a packet from the server's key: type and payload of the frame.
#pragma once

#include "tests/unit/tls_server.h"

#include <rte_byteorder.h>
#include <sodium.h>

#include "control/path/derp.h"
#include "dataplane/crypto/x25519.h"

enum derp_behaviour {
	DERP_GOOD,
	DERP_NO_UPGRADE,   // HTTP 404
	DERP_NO_KEY,	   // 101 and nothing more
	DERP_NOT_ADMITTED, // closes after ClientInfo
	DERP_BAD_INFO,	   // ServerInfo of another key
	DERP_MUTE,	   // admits, answers nothing
	DERP_SICK,	   // says so
	DERP_RESTARTS,	   // says so, and closes
	DERP_LIMITS,	   // to 1000 bytes a second
};

static struct {
	enum derp_behaviour first, then; // of the first connection, of the others
	uint8_t private_key[KEY_LEN], public_key[KEY_LEN];
} derp_server;

static inline bool derp_frame_out(struct conn *c, uint8_t type, const void *head, size_t head_len,
	const void *body, size_t len)
{
	uint8_t header[5] = {type};
	const rte_be32_t n = rte_cpu_to_be_32((uint32_t)(head_len + len));

	memcpy(header + 1, &n, sizeof(n));
	return conn_write(c, header, sizeof(header)) && conn_write(c, head, head_len) &&
	       conn_write(c, body, len);
}

static inline bool derp_exact(struct conn *c, uint8_t *to, size_t len)
{
	for (size_t n = 0; n < len;) {
		const int got = conn_read(c, to + n, len - n);
		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	return true;
}

// Returns the payload's length, or -1. frame: type and payload.
static inline long derp_frame_in(struct conn *c, uint8_t *frame, size_t max)
{
	uint8_t header[5];
	rte_be32_t n;

	if (!derp_exact(c, header, sizeof(header)))
		return -1;
	memcpy(&n, header + 1, sizeof(n));
	const size_t len = rte_be_to_cpu_32(n);
	frame[0] = header[0];
	return len < max && derp_exact(c, frame + 1, len) ? (long)len : -1;
}

static inline bool derp_admit(struct conn *c, enum derp_behaviour how, const uint8_t *client)
{
	const char *info = how == DERP_LIMITS ? "{\"version\":2,\"TokenBucketBytesPerSecond\":1000,"
						"\"TokenBucketBytesBurst\":1000}"
					      : "{\"version\":2}";
	uint8_t box[256], other[KEY_LEN];

	x25519_generate(other);
	randombytes_buf(box, crypto_box_NONCEBYTES);
	if (crypto_box_easy(box + crypto_box_NONCEBYTES, (const uint8_t *)info, strlen(info), box,
		    client, how == DERP_BAD_INFO ? other : derp_server.private_key) != 0)
		abort();
	return derp_frame_out(c, DERP_SERVER_INFO, box, crypto_box_NONCEBYTES,
		box + crypto_box_NONCEBYTES, crypto_box_MACBYTES + strlen(info));
}

static inline void derp_serve(struct conn *c)
{
	static uint8_t frame[DERP_FRAME_MAX];
	const enum derp_behaviour how = c->number ? derp_server.then : derp_server.first;
	const uint8_t restart[8] = {0, 0, 0, 50, 0, 0, 39, 16}; // back in 50 ms, try for 10 s
	char request[2048];
	long len;

	conn_request(c, request, sizeof(request));
	if (how == DERP_NO_UPGRADE)
		conn_say(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
	if (how == DERP_NO_UPGRADE)
		return;
	// As the real one: fast start gets no answer.
	if (!strstr(request, "Derp-Fast-Start: 1"))
		conn_say(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n");
	if (how == DERP_NO_KEY)
		pause();
	derp_frame_out(
		c, DERP_SERVER_KEY, "DERP\xf0\x9f\x94\x91", 8, derp_server.public_key, KEY_LEN);
	len = derp_frame_in(c, frame, sizeof(frame));
	if (len < KEY_LEN || how == DERP_NOT_ADMITTED || !derp_admit(c, how, frame + 1))
		return;
	if (how == DERP_SICK)
		derp_frame_out(c, DERP_HEALTH, "too \x01 hot", 9, NULL, 0);
	if (how == DERP_RESTARTS)
		derp_frame_out(c, DERP_RESTARTING, restart, sizeof(restart), NULL, 0);
	if (how == DERP_RESTARTS)
		return;
	while ((len = derp_frame_in(c, frame, sizeof(frame))) >= 0)
		if (how != DERP_MUTE && frame[0] == DERP_PING)
			derp_frame_out(c, DERP_PONG, frame + 1, (size_t)len, NULL, 0);
		else if (how != DERP_MUTE)
			derp_frame_out(c, DERP_RECV_PACKET, derp_server.public_key, KEY_LEN, frame,
				(size_t)len + 1);
}

static inline struct server derp_server_start(enum derp_behaviour first, enum derp_behaviour then)
{
	derp_server.first = first;
	derp_server.then = then;
	x25519_generate(derp_server.private_key);
	x25519_public(derp_server.public_key, derp_server.private_key);
	return server_start(&(struct server_plan){.serve = derp_serve});
}
