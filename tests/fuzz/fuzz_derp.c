// A hostile DERP server. The first byte picks the state to start in and the size of the pieces; the
// rest is what the server says. The same bytes in one piece must give the same events and verdict.
#include <errno.h>
#include <sodium.h>

#include "control/path/derp.h"
#include "tests/fuzz/fuzz.h"

static const struct key private_key = {{8}}, server_private = {{16}};
static struct key public_key, server_key;
static const uint64_t NOW = 1000000000;

// A checksum of all that came out.
struct seen {
	uint64_t sum, events;
};

static void mix(struct seen *seen, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		seen->sum = (seen->sum ^ b[i]) * UINT64_C(0x100000001b3);
}

static int on_write(void *arg, const struct iovec *parts, int n)
{
	for (int i = 0; i < n; i++)
		mix(arg, parts[i].iov_base, parts[i].iov_len);
	return 0;
}

static void on_event(void *arg, const struct derp_event *e)
{
	struct seen *seen = arg;

	check(e->len <= 65536 || e->type == DERP_EVENT_HEALTH);
	check(!e->len || e->data);
	if (e->key)
		mix(seen, e->key->bytes, KEY_LEN);
	mix(seen, e->data, e->len);
	seen->events++;
}

// A ServerInfo that opens: behind it the limits count as well.
static size_t server_info(uint8_t *frame)
{
	static const char json[] =
		"{\"TokenBucketBytesPerSecond\":100,\"TokenBucketBytesBurst\":1000}";
	const uint8_t nonce[BOX_NONCE_LEN] = {1};
	struct box box;

	check(!box_init(&box, server_private.bytes, public_key.bytes));
	box_seal(&box, nonce, json, sizeof(json) - 1, frame + DERP_FRAME_HEADER_LEN);
	memcpy(frame, (uint8_t[]){DERP_SERVER_INFO, 0, 0, 0, sizeof(json) - 1 + BOX_OVERHEAD},
		DERP_FRAME_HEADER_LEN);
	return DERP_FRAME_HEADER_LEN + sizeof(json) - 1 + BOX_OVERHEAD;
}

static int run(uint8_t mode, const uint8_t *data, size_t size, size_t piece, struct seen *seen)
{
	static const char answer[] = "HTTP/1.1 101 x\r\n\r\n";
	const struct derp_io io = {on_write, on_event, seen};
	const bool fast = mode & 1, skip_http = mode & 2, informed = mode & 4;
	const struct derp_options options = {
		.private_key = private_key,
		.public_key = public_key,
		.host = "h",
		.server_key = fast ? &server_key : NULL,
	};
	uint8_t info[256];
	struct derp *d;
	int rc = 0;

	check(!derp_create(&d, &options, &io));
	check(!derp_start(d, NOW));
	if (!fast && skip_http)
		check(!derp_feed(d, NOW, (const uint8_t *)answer, sizeof(answer) - 1));
	if (fast && informed)
		check(!derp_feed(d, NOW, info, server_info(info)));
	for (size_t at = 0, n; at < size && !rc; at += n) {
		n = size - at < piece ? size - at : piece;
		uint8_t *copy = exact_copy(data + at, n);
		rc = derp_feed(d, NOW, copy, n);
		free(copy);
	}
	check(!rc == !derp_error(d)[0]);
	check(rc || derp_eof(d) < 0);
	check(!derp_can_send(d));
	check(derp_send_packet(d, NOW, &server_key, "x", 1) == -ENOTCONN);
	derp_destroy(d);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {0}, pieces = {0};

	if (size < 2)
		return 0;
	check(!crypto_scalarmult_base(public_key.bytes, private_key.bytes));
	check(!crypto_scalarmult_base(server_key.bytes, server_private.bytes));
	const int a = run(data[0], data + 1, size - 1, size, &whole);
	const int b = run(data[0], data + 1, size - 1, 1 + data[0] / 8, &pieces);
	check(a == b && whole.sum == pieces.sum && whole.events == pieces.events);
	return 0;
}
