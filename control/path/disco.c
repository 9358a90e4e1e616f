#include "control/path/disco.h"

#include <errno.h>

static_assert((int)DISCO_NONCE_LEN == (int)BOX_NONCE_LEN);
static_assert((int)DISCO_TAG_LEN == (int)BOX_TAG_LEN);
static_assert(DISCO_OVERHEAD + 2 + sizeof(struct disco_wire_ping) == DISCO_PING_LEN);

enum {
	HEADER_LEN = sizeof(struct disco_message_header),
	ENDPOINT_LEN = sizeof(struct disco_addr_port),
	PING_MIN_LEN = DISCO_TXID_LEN,
};

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static struct endpoint parse_endpoint(const struct disco_addr_port *wire)
{
	const bool mapped = memcmp(wire->addr, mapped_prefix, sizeof(mapped_prefix)) == 0;

	return (struct endpoint){
		.addr = mapped ? ip_addr_v4(wire->addr + sizeof(mapped_prefix))
			       : ip_addr_v6(wire->addr),
		.port = rte_be_to_cpu_16(wire->port),
	};
}

// Plain bytes being written; what does not fit is counted all the same.
struct writer {
	uint8_t *out;
	size_t max, len;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
	if (w->len <= w->max && len <= w->max - w->len)
		memcpy(w->out + w->len, bytes, len);
	w->len += len;
}

static void put_endpoint(struct writer *w, const struct endpoint *e)
{
	struct disco_addr_port wire = {.port = rte_cpu_to_be_16(e->port)};

	if (e->addr.family == IP_V4) {
		memcpy(wire.addr, mapped_prefix, sizeof(mapped_prefix));
		memcpy(wire.addr + sizeof(mapped_prefix), e->addr.bytes, 4);
	} else {
		memcpy(wire.addr, e->addr.bytes, sizeof(wire.addr));
	}
	put(w, &wire, sizeof(wire));
}

static void put_endpoints(struct writer *w, const struct disco_message *m)
{
	for (uint32_t i = 0; i < m->n_endpoints; i++)
		put_endpoint(w, &m->endpoints[i]);
}

static void put_ping(struct writer *w, const struct disco_ping *ping)
{
	static const uint8_t zeros[64];

	put(w, ping->txid, DISCO_TXID_LEN);
	if (!key_is_zero(&ping->node_key))
		put(w, ping->node_key.bytes, KEY_LEN);
	for (size_t left = ping->padding, n; left > 0; left -= n) {
		n = left < sizeof(zeros) ? left : sizeof(zeros);
		put(w, zeros, n);
	}
}

static void put_bind(struct writer *w, const struct disco_bind *bind)
{
	struct disco_wire_bind wire = {
		.vni = rte_cpu_to_be_32(bind->vni),
		.generation = rte_cpu_to_be_32(bind->generation),
	};

	memcpy(wire.remote_key, bind->remote_key.bytes, KEY_LEN);
	memcpy(wire.challenge, bind->challenge, DISCO_CHALLENGE_LEN);
	put(w, &wire, sizeof(wire));
}

static void put_relay(struct writer *w, const struct disco_message *m)
{
	const struct disco_relay *relay = &m->allocate.relay;
	struct disco_wire_relay wire = {
		.lamport = rte_cpu_to_be_64(relay->lamport),
		.vni = rte_cpu_to_be_32(relay->vni),
		.bind_lifetime_ns = rte_cpu_to_be_64((uint64_t)relay->bind_lifetime_ns),
		.steady_lifetime_ns = rte_cpu_to_be_64((uint64_t)relay->steady_lifetime_ns),
	};

	memcpy(wire.server_key, relay->server_key.bytes, KEY_LEN);
	memcpy(wire.client_keys, relay->client_keys, sizeof(wire.client_keys));
	put(w, &wire, sizeof(wire));
	put_endpoints(w, m);
}

static void put_generation(struct writer *w, const struct disco_message *m)
{
	const rte_be32_t generation = rte_cpu_to_be_32(m->allocate.generation);

	put(w, &generation, sizeof(generation));
}

static int put_body(struct writer *w, const struct disco_message *m)
{
	switch (m->type) {
	case DISCO_PING:
		put_ping(w, &m->ping);
		return 0;
	case DISCO_PONG:
		put(w, m->pong.txid, DISCO_TXID_LEN);
		put_endpoint(w, &m->pong.src);
		return 0;
	case DISCO_CALL_ME_MAYBE:
		put_endpoints(w, m);
		return 0;
	case DISCO_BIND:
	case DISCO_CHALLENGE:
	case DISCO_ANSWER:
		put_bind(w, &m->bind);
		return 0;
	case DISCO_ALLOCATE_REQUEST:
		put(w, m->allocate.relay.client_keys, sizeof(m->allocate.relay.client_keys));
		put_generation(w, m);
		return 0;
	case DISCO_ALLOCATE_RESPONSE:
		put_generation(w, m);
		put_relay(w, m);
		return m->n_endpoints > 0 ? 0 : -EINVAL;
	case DISCO_CALL_ME_MAYBE_VIA:
		put_relay(w, m);
		return m->n_endpoints > 0 ? 0 : -EINVAL;
	}
	return -EINVAL;
}

int disco_encode(const struct disco_message *m, uint8_t *out, size_t max)
{
	const struct disco_message_header header = {.type = (uint8_t)m->type};
	struct writer w = {.out = out, .max = max};

	if (m->n_endpoints > DISCO_ENDPOINTS_MAX)
		return -EINVAL;
	put(&w, &header, sizeof(header));
	const int error = put_body(&w, m);
	if (error)
		return error;
	return w.len <= max ? (int)w.len : -ENOSPC;
}

// body: a whole number of endpoints.
static void parse_endpoints(const uint8_t *body, size_t len, struct disco_message *out)
{
	const size_t n = len / ENDPOINT_LEN;

	out->n_endpoints = n < DISCO_ENDPOINTS_MAX ? (uint32_t)n : DISCO_ENDPOINTS_MAX;
	for (uint32_t i = 0; i < out->n_endpoints; i++)
		out->endpoints[i] = parse_endpoint(
			(const struct disco_addr_port *)(body + (size_t)i * ENDPOINT_LEN));
}

static int parse_ping(const uint8_t *body, size_t len, struct disco_ping *out)
{
	const struct disco_wire_ping *wire = (const void *)body;

	if (len < PING_MIN_LEN || len > UINT16_MAX)
		return -EBADMSG;
	*out = (struct disco_ping){0};
	memcpy(out->txid, wire->txid, DISCO_TXID_LEN);
	if (len < sizeof(*wire)) {
		out->padding = (uint16_t)(len - PING_MIN_LEN);
		return 0;
	}
	memcpy(out->node_key.bytes, wire->node_key, KEY_LEN);
	out->padding = (uint16_t)(len - sizeof(*wire));
	return 0;
}

static int parse_pong(const uint8_t *body, size_t len, struct disco_pong *out)
{
	const struct disco_wire_pong *wire = (const void *)body;

	if (len < sizeof(*wire))
		return -EBADMSG;
	memcpy(out->txid, wire->txid, DISCO_TXID_LEN);
	out->src = parse_endpoint(&wire->src);
	return 0;
}

static int parse_bind(const uint8_t *body, size_t len, struct disco_bind *out)
{
	const struct disco_wire_bind *wire = (const void *)body;

	if (len < sizeof(*wire))
		return -EBADMSG;
	out->vni = rte_be_to_cpu_32(wire->vni);
	out->generation = rte_be_to_cpu_32(wire->generation);
	memcpy(out->remote_key.bytes, wire->remote_key, KEY_LEN);
	memcpy(out->challenge, wire->challenge, DISCO_CHALLENGE_LEN);
	return 0;
}

static int parse_relay(const uint8_t *body, size_t len, struct disco_message *out)
{
	const struct disco_wire_relay *wire = (const void *)body;
	struct disco_relay *relay = &out->allocate.relay;

	if (len < sizeof(*wire) + ENDPOINT_LEN || (len - sizeof(*wire)) % ENDPOINT_LEN != 0)
		return -EBADMSG;
	memcpy(relay->server_key.bytes, wire->server_key, KEY_LEN);
	memcpy(relay->client_keys, wire->client_keys, sizeof(relay->client_keys));
	relay->lamport = rte_be_to_cpu_64(wire->lamport);
	relay->vni = rte_be_to_cpu_32(wire->vni);
	relay->bind_lifetime_ns = (int64_t)rte_be_to_cpu_64(wire->bind_lifetime_ns);
	relay->steady_lifetime_ns = (int64_t)rte_be_to_cpu_64(wire->steady_lifetime_ns);
	parse_endpoints(body + sizeof(*wire), len - sizeof(*wire), out);
	return 0;
}

static int parse_request(const uint8_t *body, size_t len, struct disco_message *out)
{
	const struct disco_wire_allocate *wire = (const void *)body;

	if (len < sizeof(*wire))
		return -EBADMSG;
	memcpy(out->allocate.relay.client_keys, wire->client_keys, sizeof(wire->client_keys));
	out->allocate.generation = rte_be_to_cpu_32(wire->generation);
	return 0;
}

static int parse_response(const uint8_t *body, size_t len, struct disco_message *out)
{
	rte_be32_t generation;

	if (len < sizeof(generation))
		return -EBADMSG;
	memcpy(&generation, body, sizeof(generation));
	out->allocate.generation = rte_be_to_cpu_32(generation);
	return parse_relay(body + sizeof(generation), len - sizeof(generation), out);
}

static int parse_allocation(const uint8_t *body, size_t len, struct disco_message *out)
{
	memset(&out->allocate, 0, sizeof(out->allocate));
	switch (out->type) {
	case DISCO_CALL_ME_MAYBE_VIA:
		return parse_relay(body, len, out);
	case DISCO_ALLOCATE_REQUEST:
		return parse_request(body, len, out);
	default:
		return parse_response(body, len, out);
	}
}

int disco_parse(const uint8_t *plain, size_t len, struct disco_message *out)
{
	if (len < HEADER_LEN)
		return -EBADMSG;
	const uint8_t version = plain[1];
	const uint8_t *body = plain + HEADER_LEN;
	len -= HEADER_LEN;
	out->type = plain[0];
	out->n_endpoints = 0;
	switch (out->type) {
	case DISCO_PING:
		return parse_ping(body, len, &out->ping);
	case DISCO_PONG:
		return parse_pong(body, len, &out->pong);
	case DISCO_CALL_ME_MAYBE:
		if (version == DISCO_VERSION && len % ENDPOINT_LEN == 0)
			parse_endpoints(body, len, out);
		return 0;
	case DISCO_BIND:
	case DISCO_CHALLENGE:
	case DISCO_ANSWER:
		return parse_bind(body, len, &out->bind);
	case DISCO_CALL_ME_MAYBE_VIA:
	case DISCO_ALLOCATE_REQUEST:
	case DISCO_ALLOCATE_RESPONSE:
		return version == DISCO_VERSION ? parse_allocation(body, len, out)
						: -EPROTONOSUPPORT;
	}
	return -ENOTSUP;
}

int disco_sender(const uint8_t *packet, size_t len, struct key *sender)
{
	const struct disco_header *header = (const void *)packet;

	if (len < sizeof(*header) || memcmp(header->magic, DISCO_MAGIC, DISCO_MAGIC_LEN) != 0)
		return -EBADMSG;
	memcpy(sender->bytes, header->sender, KEY_LEN);
	return key_is_zero(sender) ? -EKEYREJECTED : 0;
}

int disco_seal(const struct box *box, const struct key *sender,
	const uint8_t nonce[static DISCO_NONCE_LEN], const struct disco_message *m, uint8_t *out,
	size_t max)
{
	struct disco_header *header = (void *)out;
	uint8_t plain[DISCO_PLAIN_MAX];
	const int len = disco_encode(m, plain, sizeof(plain));

	if (len < 0)
		return len;
	if ((size_t)len + DISCO_OVERHEAD > max)
		return -ENOSPC;
	memcpy(header->magic, DISCO_MAGIC, DISCO_MAGIC_LEN);
	memcpy(header->sender, sender->bytes, KEY_LEN);
	box_seal(box, nonce, plain, (size_t)len, header->nonce);
	return len + DISCO_OVERHEAD;
}

int disco_open(const struct box *box, const uint8_t *packet, size_t len, struct disco_message *out)
{
	const struct disco_header *header = (const void *)packet;
	uint8_t plain[DISCO_PLAIN_MAX];

	if (len < DISCO_OVERHEAD)
		return -EBADMSG;
	if (len > DISCO_PACKET_MAX)
		return -EMSGSIZE;
	const int error =
		box_open(box, header->nonce, len - offsetof(struct disco_header, nonce), plain);
	return error ? error : disco_parse(plain, len - DISCO_OVERHEAD, out);
}
