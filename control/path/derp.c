#include "control/path/derp.h"

#include <assert.h>
#include <errno.h>
#include <rte_byteorder.h>
#include <stdlib.h>

#include "control/path/derp_wire.h"
#include "dataplane/base/keytext.h"
#include "dataplane/base/mem.h"

static const uint64_t S = UINT64_C(1000000000); // ns

int derp_certificate_key(const char *common_name, uint64_t serial, struct key *out)
{
	static const char prefix[] = "derpkey";
	enum { VERSION_MIN = 2 };
	const size_t prefix_len = sizeof(prefix) - 1;

	if (serial < VERSION_MIN || strncmp(common_name, prefix, prefix_len) != 0)
		return -ENOENT;
	return keytext_parse_hex(common_name + prefix_len, out) ? -ENOENT : 0;
}

int derp_create(struct derp **out, const struct derp_options *options, const struct derp_io *io)
{
	struct derp *d = mem_alloc(sizeof(*d));
	int error = 0;

	d->io = *io;
	d->private_key = options->private_key;
	d->public_key = options->public_key;
	memcpy(d->nonce, options->nonce, sizeof(d->nonce));
	d->deadline_ns = UINT64_MAX;
	if (options->server_key) {
		d->fast_start = true;
		d->server_key = *options->server_key;
		error = box_init(&d->box, d->private_key.bytes, d->server_key.bytes);
	}
	if (!error)
		error = derp_http_request(d, options);
	if (error) {
		derp_destroy(d);
		return error;
	}
	*out = d;
	return 0;
}

void derp_destroy(struct derp *d)
{
	mem_wipe_free(d, sizeof(*d));
}

int derp_start(struct derp *d, uint64_t now_ns)
{
	const struct iovec request = {d->request, d->request_len};

	if (d->state != DERP_NEW)
		return -EALREADY;
	if (d->fast_start)
		return derp_send_client_info(d, now_ns, true);
	const int error = d->io.write(d->io.arg, &request, 1);
	if (error)
		return derp_fail(d, error, "no room to write the request");
	d->state = DERP_WAIT_HTTP;
	d->deadline_ns = now_ns + DERP_STEP_TIMEOUT_S * S;
	return 0;
}

// Bytes that came and are not used yet.
struct input {
	const uint8_t *bytes;
	size_t len;
};

static size_t take(struct input *in, void *to, size_t max)
{
	const size_t n = in->len < max ? in->len : max;

	if (to && n > 0)
		memcpy(to, in->bytes, n);
	in->bytes += n;
	in->len -= n;
	return n;
}

static int feed_http(struct derp *d, uint64_t now_ns, struct input *in)
{
	static_assert((int)DERP_HTTP_MAX <= (int)DERP_KEPT_MAX);
	while (in->len > 0) {
		if (d->kept == DERP_HTTP_MAX)
			return derp_fail(d, -EMSGSIZE, "endless HTTP header");
		d->kept += take(in, d->buffer + d->kept, 1);
		if (d->kept < 4 || memcmp(d->buffer + d->kept - 4, "\r\n\r\n", 4) != 0)
			continue;
		const size_t len = d->kept;
		d->kept = 0;
		d->deadline_ns = now_ns + DERP_STEP_TIMEOUT_S * S;
		return derp_http_response(d, (const char *)d->buffer, len);
	}
	return 0;
}

// A whole frame has been used or skipped: the next one gets its time. Before ServerInfo nothing
// else extends the step.
static void frame_done(struct derp *d, uint64_t now_ns)
{
	d->header_len = 0;
	d->want = 0;
	d->kept = 0;
	if (d->state == DERP_OPEN)
		d->deadline_ns = now_ns + DERP_READ_TIMEOUT_S * S;
}

static int frame_complete(struct derp *d, uint64_t now_ns, const uint8_t *payload)
{
	const int error = derp_frame_handle(d, now_ns, d->header[0], payload, d->want);

	if (!error)
		frame_done(d, now_ns);
	return error;
}

static int header_complete(struct derp *d, uint64_t now_ns)
{
	rte_be32_t len;

	memcpy(&len, d->header + 1, sizeof(len));
	d->want = rte_be_to_cpu_32(len);
	if (memcmp(d->header, "HTTP/", DERP_FRAME_HEADER_LEN) == 0)
		return derp_fail(d, -ECONNREFUSED, "answered fast start with HTTP: a proxy?");
	if (d->want > DERP_FRAME_MAX)
		return derp_fail(
			d, -EMSGSIZE, "frame of type %02x has %zu bytes", d->header[0], d->want);
	if (derp_frame_wanted(d, d->header[0], d->want))
		return d->want == 0 ? frame_complete(d, now_ns, d->buffer) : 0;
	if (d->state == DERP_WAIT_KEY)
		return derp_fail(d, -EMSGSIZE, "the greeting has %zu bytes", d->want);
	if (d->header[0] == DERP_SERVER_INFO)
		return derp_fail(d, -EMSGSIZE, "ServerInfo has %zu bytes", d->want);
	d->counters.skipped++;
	d->skip = d->want;
	if (d->skip == 0)
		frame_done(d, now_ns);
	return 0;
}

static int feed_frame(struct derp *d, uint64_t now_ns, struct input *in)
{
	if (d->header_len < DERP_FRAME_HEADER_LEN) {
		d->header_len +=
			take(in, d->header + d->header_len, DERP_FRAME_HEADER_LEN - d->header_len);
		return d->header_len == DERP_FRAME_HEADER_LEN ? header_complete(d, now_ns) : 0;
	}
	if (d->skip > 0) {
		d->skip -= take(in, NULL, d->skip);
		if (d->skip == 0)
			frame_done(d, now_ns);
		return 0;
	}
	if (d->kept == 0 && in->len >= d->want) { // whole in one read: no copy
		const uint8_t *payload = in->bytes;
		take(in, NULL, d->want);
		return frame_complete(d, now_ns, payload);
	}
	d->kept += take(in, d->buffer + d->kept, d->want - d->kept);
	return d->kept == d->want ? frame_complete(d, now_ns, d->buffer) : 0;
}

int derp_feed(struct derp *d, uint64_t now_ns, const uint8_t *bytes, size_t len)
{
	struct input in = {bytes, len};
	int error = d->error;

	if (d->state == DERP_NEW && len > 0)
		error = derp_fail(d, -EPROTO, "the server spoke before we did");
	while (!error && in.len > 0)
		error = d->state == DERP_WAIT_HTTP ? feed_http(d, now_ns, &in)
						   : feed_frame(d, now_ns, &in);
	return error;
}

int derp_eof(struct derp *d)
{
	switch (d->state) {
	case DERP_FAILED:
		return d->error;
	case DERP_OPEN:
		return derp_fail(d, -ECONNRESET, "the server closed the connection%s",
			d->header_len ? " within a frame" : "");
	case DERP_WAIT_INFO: // admission is refused without a word
		return derp_fail(d, -ECONNREFUSED,
			"the server closed after our key: does it verify clients?");
	default:
		return derp_fail(d, -ECONNREFUSED, "the server closed before its greeting");
	}
}

uint64_t derp_deadline_ns(const struct derp *d)
{
	return d->deadline_ns;
}

int derp_check(struct derp *d, uint64_t now_ns)
{
	if (d->error)
		return d->error;
	if (now_ns < d->deadline_ns)
		return 0;
	return derp_fail(d, -ETIMEDOUT,
		d->state == DERP_OPEN ? "nothing came for %u s" : "no greeting within %u s",
		d->state == DERP_OPEN ? DERP_READ_TIMEOUT_S : DERP_STEP_TIMEOUT_S);
}

const char *derp_error(const struct derp *d)
{
	return d->error_text;
}

bool derp_can_send(const struct derp *d)
{
	return d->state == DERP_WAIT_INFO || d->state == DERP_OPEN;
}

static bool bucket_take(struct derp_bucket *b, uint64_t now_ns, size_t len)
{
	if (b->rate == 0)
		return true;
	if (now_ns > b->filled_ns) {
		b->tokens += b->rate * ((double)(now_ns - b->filled_ns) / (double)S);
		b->filled_ns = now_ns;
	}
	if (b->tokens > b->burst)
		b->tokens = b->burst;
	if (b->tokens < (double)len)
		return false;
	b->tokens -= (double)len;
	return true;
}

int derp_send_packet(
	struct derp *d, uint64_t now_ns, const struct key *to, const void *packet, size_t len)
{
	if (!derp_can_send(d))
		return -ENOTCONN;
	if (len > DERP_PACKET_MAX)
		return -EMSGSIZE;
	if (!bucket_take(&d->bucket, now_ns, DERP_FRAME_HEADER_LEN + KEY_LEN + len)) {
		d->counters.rate_limited++;
		return -EAGAIN;
	}
	return derp_send_frame(d, DERP_SEND_PACKET, to->bytes, KEY_LEN, packet, len);
}

int derp_note_preferred(struct derp *d, bool preferred)
{
	const uint8_t byte = preferred;

	return derp_can_send(d) ? derp_send_frame(d, DERP_NOTE_PREFERRED, &byte, 1, NULL, 0)
				: -ENOTCONN;
}

int derp_ping(struct derp *d, const uint8_t data[static DERP_PING_LEN])
{
	return derp_can_send(d) ? derp_send_frame(d, DERP_PING, data, DERP_PING_LEN, NULL, 0)
				: -ENOTCONN;
}

const struct key *derp_server_key(const struct derp *d)
{
	return &d->server_key;
}

const struct derp_counters *derp_counters(const struct derp *d)
{
	return &d->counters;
}
