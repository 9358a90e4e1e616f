// The transport of the coordination server: Noise_IK_25519_ChaChaPoly_BLAKE2s as the client, and
// the records after it (tailscale control/controlbase). An engine without I/O: what came from the
// socket behind the HTTP 101 goes in, plain bytes of HTTP/2 come out by callback. [ctl]
#pragma once

#include "dataplane/base/types.h"

enum {
	TS2021_INITIATION_LEN = 101,
	TS2021_RESPONSE_LEN = 51,
	TS2021_HEADER_LEN = 3,	  // type, u16 big-endian length
	TS2021_RECORD_MAX = 4096, // with header and tag
	TS2021_PLAIN_MAX = 4077,  // of one record
	TS2021_ERROR_TEXT_LEN = 128,
	TS2021_EARLY_MAX = 10 << 20, // early payload; it is not kept
};

struct ts2021; // one connection

struct ts2021_keys {
	struct key machine_private;
	struct key server_public;
	struct key ephemeral_private; // fresh randomness for each connection
};

// What comes out. early: pieces of the early payload (JSON), may be NULL. data: the HTTP/2 bytes;
// an error from it ends the connection.
struct ts2021_events {
	void (*early)(void *arg, const uint8_t *bytes, size_t len);
	int (*data)(void *arg, const uint8_t *bytes, size_t len);
	void *arg;
};

// A new connection and its first message, which goes base64-encoded into X-Tailscale-Handshake.
// version: the capability version, also part of the prologue. *out belongs to the caller.
// -EKEYREJECTED: the server's key is of low order. -ENOTSUP: no BLAKE2s here.
int ts2021_create(struct ts2021 **out, const struct ts2021_keys *keys, uint16_t version,
	const struct ts2021_events *events,
	uint8_t initiation[static TS2021_INITIATION_LEN]) must_check;
// Wipes the keys. NULL is fine.
void ts2021_destroy(struct ts2021 *);

// Bytes from the server, any split. 0, or -errno, for good: -ECONNREFUSED (the server's own error
// message), -EBADMSG (does not authenticate), -EPROTO (no such message here), -EMSGSIZE, or what
// events.data returned.
int ts2021_feed(struct ts2021 *, const uint8_t *bytes, size_t len) must_check;
// The server closed. 0 between records; else -ECONNRESET with the probable cause as its text.
int ts2021_eof(struct ts2021 *) must_check;
// Handshake complete?
bool ts2021_established(const struct ts2021 *);
// Bytes that ts2021_send writes for len.
size_t ts2021_sealed_len(size_t len);
// Plain bytes to records. Returns bytes written to out, -ENOTCONN before the handshake is complete
// or after an error, -ENOSPC when max is below ts2021_sealed_len(len).
long ts2021_send(
	struct ts2021 *, const void *plain, size_t len, uint8_t *out, size_t max) must_check;
// Why feed or eof failed, for the log and the status; "" when they did not. Printable.
const char *ts2021_error(const struct ts2021 *);
// Hash of the handshake: equal on both sides (channel binding). Valid once established.
const uint8_t *ts2021_handshake_hash(const struct ts2021 *);
