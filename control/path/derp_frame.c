// DERP's frames: what each means, and those we send.
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <rte_byteorder.h>

#include "control/path/derp_wire.h"

#define DERP_MAGIC "DERP\xf0\x9f\x94\x91"

enum {
	MAGIC_LEN = 8,
	RESTARTING_LEN = 8,
};

static const char client_info[] = "{\"version\":2,\"CanAckPings\":true}";

// Payloads shorter than this are skipped, as the real client does; -1: nothing of this type is for
// a client without a mesh key.
static long shortest(uint8_t type)
{
	switch (type) {
	case DERP_RECV_PACKET:
	case DERP_PEER_GONE:
		return KEY_LEN;
	case DERP_PING:
	case DERP_PONG:
		return DERP_PING_LEN;
	case DERP_RESTARTING:
		return RESTARTING_LEN;
	case DERP_SERVER_INFO: // too short is an error
	case DERP_KEEP_ALIVE:
	case DERP_HEALTH:
		return 0;
	}
	return -1;
}

bool derp_frame_wanted(const struct derp *d, uint8_t type, size_t len)
{
	if (d->state == DERP_WAIT_KEY)
		return len <= DERP_KEPT_MAX; // whatever it is, it is the greeting or an error
	const long least = shortest(type);
	return least >= 0 && len >= (size_t)least && len <= DERP_KEPT_MAX;
}

int derp_send_frame(struct derp *d, enum derp_frame type, const void *head, size_t head_len,
	const void *body, size_t body_len)
{
	const rte_be32_t len = rte_cpu_to_be_32((uint32_t)(head_len + body_len));
	uint8_t header[DERP_FRAME_HEADER_LEN] = {(uint8_t)type};
	const struct iovec parts[] = {
		{header, sizeof(header)},
		{(void *)(uintptr_t)head, head_len},
		{(void *)(uintptr_t)body, body_len},
	};

	memcpy(header + 1, &len, sizeof(len));
	return d->io.write(d->io.arg, parts, body_len ? 3 : 2);
}

// With the request in one piece: fast start is to cost one segment.
int derp_send_client_info(struct derp *d, uint64_t now_ns, bool with_request)
{
	enum { JSON_LEN = sizeof(client_info) - 1, LEN = KEY_LEN + JSON_LEN + BOX_OVERHEAD };
	uint8_t frame[DERP_FRAME_HEADER_LEN + LEN] = {DERP_CLIENT_INFO, 0, 0, 0, LEN};
	uint8_t *payload = frame + DERP_FRAME_HEADER_LEN;
	const struct iovec parts[] = {{d->request, d->request_len}, {frame, sizeof(frame)}};

	static_assert(LEN < 256);
	memcpy(payload, d->public_key.bytes, KEY_LEN);
	box_seal(&d->box, d->nonce, client_info, JSON_LEN, payload + KEY_LEN);
	const int error =
		d->io.write(d->io.arg, with_request ? parts : parts + 1, with_request ? 2 : 1);
	if (error)
		return derp_fail(d, error, "no room to write ClientInfo");
	d->state = DERP_WAIT_INFO;
	d->deadline_ns = now_ns + DERP_STEP_TIMEOUT_S * UINT64_C(1000000000);
	return 0;
}

static void emit(struct derp *d, const struct derp_event *event)
{
	d->io.event(d->io.arg, event);
}

static int on_server_key(
	struct derp *d, uint64_t now_ns, uint8_t type, const uint8_t *payload, size_t len)
{
	if (type != DERP_SERVER_KEY || len < MAGIC_LEN + KEY_LEN ||
		memcmp(payload, DERP_MAGIC, MAGIC_LEN) != 0)
		return derp_fail(d, -EPROTO, "the server's greeting is not DERP's");
	memcpy(d->server_key.bytes, payload + MAGIC_LEN, KEY_LEN);
	if (box_init(&d->box, d->private_key.bytes, d->server_key.bytes))
		return derp_fail(d, -EPROTO, "the server's key is of low order");
	emit(d, &(struct derp_event){.type = DERP_EVENT_SERVER_KEY, .key = &d->server_key});
	return derp_send_client_info(d, now_ns, false);
}

// A member's number: 0 if absent; -EPROTO for anything but an integer.
static int info_number(const json_t *info, const char *name, uint64_t *out)
{
	const json_t *member = json_object_get(info, name);

	if (member && !json_is_integer(member) && !json_is_null(member))
		return -EPROTO;
	const json_int_t value = json_integer_value(member);
	*out = value > 0 ? (uint64_t)value : 0;
	return 0;
}

static int parse_info(const char *text, size_t len, struct derp_event *out)
{
	json_t *info = json_loadb(text, len, 0, NULL);
	const bool good = json_is_object(info) &&
			  !info_number(info, "TokenBucketBytesPerSecond", &out->rate_bytes_per_s) &&
			  !info_number(info, "TokenBucketBytesBurst", &out->burst_bytes);

	json_decref(info);
	return good ? 0 : -EPROTO;
}

static int on_server_info(struct derp *d, uint64_t now_ns, const uint8_t *payload, size_t len)
{
	static uint8_t plain[DERP_KEPT_MAX]; // control thread only
	struct derp_event event = {.type = DERP_EVENT_SERVER_INFO};

	if (len < BOX_OVERHEAD)
		return derp_fail(d, -EPROTO, "ServerInfo is too short");
	if (box_open(&d->box, payload, len, plain))
		return derp_fail(d, -EBADMSG, "ServerInfo does not open with the server's key");
	if (parse_info((const char *)plain, len - BOX_OVERHEAD, &event))
		return derp_fail(d, -EPROTO, "ServerInfo is no such JSON");
	d->state = DERP_OPEN;
	if (event.rate_bytes_per_s == 0)
		event.burst_bytes = 0;
	d->bucket = (struct derp_bucket){
		.rate = (double)event.rate_bytes_per_s,
		.burst = (double)event.burst_bytes,
		.tokens = (double)event.burst_bytes,
		.filled_ns = now_ns,
	};
	emit(d, &event);
	return 0;
}

static void on_keyed(struct derp *d, uint8_t type, const uint8_t *payload, size_t len)
{
	struct key key;
	struct derp_event event = {.type = DERP_EVENT_PACKET, .key = &key};

	memcpy(key.bytes, payload, KEY_LEN);
	if (type == DERP_RECV_PACKET) {
		event.data = payload + KEY_LEN;
		event.len = len - KEY_LEN;
	} else {
		event.type = DERP_EVENT_PEER_GONE;
		event.reason = len > KEY_LEN ? payload[KEY_LEN] : DERP_GONE_DISCONNECTED;
	}
	emit(d, &event);
}

static void on_ping(struct derp *d, uint8_t type, const uint8_t *payload)
{
	const bool ping = type == DERP_PING;

	if (ping && derp_send_frame(d, DERP_PONG, payload, DERP_PING_LEN, NULL, 0))
		d->counters.pongs_lost++;
	emit(d, &(struct derp_event){
			.type = ping ? DERP_EVENT_PING : DERP_EVENT_PONG,
			.data = payload,
			.len = DERP_PING_LEN,
		});
}

static void on_restarting(struct derp *d, const uint8_t *payload)
{
	rte_be32_t ms[2];

	memcpy(ms, payload, sizeof(ms));
	emit(d, &(struct derp_event){
			.type = DERP_EVENT_RESTARTING,
			.reconnect_in_ms = rte_be_to_cpu_32(ms[0]),
			.try_for_ms = rte_be_to_cpu_32(ms[1]),
		});
}

int derp_frame_handle(
	struct derp *d, uint64_t now_ns, uint8_t type, const uint8_t *payload, size_t len)
{
	if (d->state == DERP_WAIT_KEY)
		return on_server_key(d, now_ns, type, payload, len);
	switch (type) {
	case DERP_SERVER_INFO:
		return on_server_info(d, now_ns, payload, len);
	case DERP_RECV_PACKET:
	case DERP_PEER_GONE:
		on_keyed(d, type, payload, len);
		break;
	case DERP_PING:
	case DERP_PONG:
		on_ping(d, type, payload);
		break;
	case DERP_RESTARTING:
		on_restarting(d, payload);
		break;
	case DERP_KEEP_ALIVE:
		emit(d, &(struct derp_event){.type = DERP_EVENT_KEEP_ALIVE});
		break;
	case DERP_HEALTH:
		emit(d, &(struct derp_event){
				.type = DERP_EVENT_HEALTH, .data = payload, .len = len});
		break;
	}
	return 0;
}
