// What the files of the DERP engine share.
#pragma once

#include "control/path/derp.h"

enum {
	DERP_REQUEST_MAX = 1024,
	DERP_KEPT_MAX = KEY_LEN + DERP_PACKET_MAX, // of a frame's payload
};

enum derp_state {
	DERP_NEW,
	DERP_WAIT_HTTP,
	DERP_WAIT_KEY,
	DERP_WAIT_INFO,
	DERP_OPEN,
	DERP_FAILED,
};

// Tokens are bytes. burst 0: no limit.
struct derp_bucket {
	double rate, burst, tokens;
	uint64_t filled_ns;
};

struct derp {
	enum derp_state state;
	int error; // for good
	char error_text[DERP_ERROR_TEXT_LEN];
	struct derp_io io;
	struct key private_key, public_key, server_key;
	uint8_t nonce[BOX_NONCE_LEN];
	struct box box; // node and server
	bool fast_start;
	char request[DERP_REQUEST_MAX];
	size_t request_len;
	uint64_t deadline_ns;
	struct derp_bucket bucket;
	struct derp_counters counters;

	uint8_t header[DERP_FRAME_HEADER_LEN]; // of the frame that is coming
	size_t header_len;
	size_t want; // payload bytes of it
	size_t kept; // of these in buffer; also HTTP bytes while waiting for those
	size_t skip; // payload bytes still to be thrown away
	uint8_t buffer[DERP_KEPT_MAX];
};

// Remember why, printable; returns error.
int derp_fail(struct derp *, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
// Write the request into the connection. -EINVAL as derp_create.
int derp_http_request(struct derp *, const struct derp_options *) must_check;
// The response's head, len bytes with the empty line.
int derp_http_response(struct derp *, const char *head, size_t len) must_check;
// One whole frame of a type and length that derp_frame_wanted.
int derp_frame_handle(struct derp *, uint64_t now_ns, uint8_t type, const uint8_t *payload,
	size_t len) must_check;
// Whether to keep such a frame; what is not is skipped.
bool derp_frame_wanted(const struct derp *, uint8_t type, size_t len);
int derp_send_client_info(struct derp *, uint64_t now_ns, bool with_request) must_check;
int derp_send_frame(struct derp *, enum derp_frame type, const void *head, size_t head_len,
	const void *body, size_t body_len) must_check;
