#include "control/path/relay.h"

#include <errno.h>
#include <sodium.h>

static const uint64_t S = UINT64_C(1000000000); // ns

static void sort_keys(struct key out[static 2], const struct key *a, const struct key *b)
{
	const bool ordered = memcmp(a->bytes, b->bytes, KEY_LEN) < 0;

	out[0] = ordered ? *a : *b;
	out[1] = ordered ? *b : *a;
}

static void request_message(const struct relay_request *r, struct disco_message *out)
{
	out->type = DISCO_ALLOCATE_REQUEST;
	out->n_endpoints = 0;
	memset(&out->allocate, 0, sizeof(out->allocate));
	out->allocate.generation = r->generation;
	memcpy(out->allocate.relay.client_keys, r->client_keys, sizeof(r->client_keys));
}

void relay_request_start(struct relay_request *r, const struct key *own_disco,
	const struct key *peer_disco, uint32_t generation, uint64_t now_ns,
	struct disco_message *out)
{
	*r = (struct relay_request){
		.generation = generation,
		.retry_ns = now_ns + RELAY_REQUEST_RETRY_S * S,
		.end_ns = now_ns + RELAY_REQUEST_END_S * S,
	};
	sort_keys(r->client_keys, own_disco, peer_disco);
	request_message(r, out);
}

bool relay_request_due(struct relay_request *r, uint64_t now_ns, struct disco_message *out)
{
	if (r->retry_ns == 0 || now_ns < r->retry_ns || relay_request_over(r, now_ns))
		return false;
	r->retry_ns = 0;
	request_message(r, out);
	return true;
}

bool relay_request_over(const struct relay_request *r, uint64_t now_ns)
{
	return now_ns >= r->end_ns;
}

// Of these two clients, whatever order the relay wrote them in.
static bool keys_match(const struct disco_relay *relay, const struct key sorted[static 2])
{
	struct key keys[2];

	sort_keys(keys, &relay->client_keys[0], &relay->client_keys[1]);
	return memcmp(keys, sorted, sizeof(keys)) == 0;
}

int relay_request_answer(struct relay_request *r, const struct disco_message *response,
	uint64_t now_ns, struct disco_message *via)
{
	if (response->type != DISCO_ALLOCATE_RESPONSE || relay_request_over(r, now_ns) ||
		response->allocate.generation != r->generation ||
		!keys_match(&response->allocate.relay, r->client_keys))
		return -ESTALE;
	r->end_ns = 0;
	*via = *response;
	via->type = DISCO_CALL_ME_MAYBE_VIA;
	via->allocate.generation = 0;
	return 0;
}

int relay_seal(const struct box *box, const struct key *sender,
	const uint8_t nonce[static DISCO_NONCE_LEN], const struct disco_message *m, uint32_t vni,
	bool control, uint8_t *out, size_t max)
{
	const struct geneve_header header = geneve_header_of(GENEVE_PROTOCOL_DISCO, vni, control);

	if (max < sizeof(header))
		return -ENOSPC;
	memcpy(out, &header, sizeof(header));
	const int len =
		disco_seal(box, sender, nonce, m, out + sizeof(header), max - sizeof(header));
	return len < 0 ? len : len + (int)sizeof(header);
}

static void send_message(struct relay_handshake *h, const struct endpoint *to,
	const struct disco_message *m, bool to_server)
{
	uint8_t nonce[DISCO_NONCE_LEN], datagram[RELAY_DATAGRAM_MAX];

	h->io.random(h->io.arg, nonce, sizeof(nonce));
	const int len = relay_seal(to_server ? &h->server_box : &h->peer_box, &h->own_disco, nonce,
		m, h->relay.vni, to_server, datagram, sizeof(datagram));
	if (len > 0) // all that is sent here fits
		h->io.send(h->io.arg, to, datagram, (size_t)len);
}

static void send_bind(struct relay_handshake *h, enum disco_type type, const struct endpoint *to,
	const uint8_t *challenge)
{
	struct disco_message m = {
		.type = type,
		.bind = {.vni = h->relay.vni,
			.generation = h->generation,
			.remote_key = h->peer_disco},
	};

	if (challenge)
		memcpy(m.bind.challenge, challenge, sizeof(m.bind.challenge));
	send_message(h, to, &m, true);
}

static void send_ping(struct relay_handshake *h, const struct endpoint *to, uint64_t now_ns)
{
	struct disco_message m = {.type = DISCO_PING, .ping.node_key = h->own_node};

	if (h->n_pings == RELAY_PINGS_MAX)
		return;
	h->io.random(h->io.arg, m.ping.txid, sizeof(m.ping.txid));
	struct relay_ping *ping = &h->pings[h->n_pings++];
	memcpy(ping->txid, m.ping.txid, sizeof(ping->txid));
	ping->sent_ns = now_ns;
	send_message(h, to, &m, false);
}

static bool record_valid(const struct disco_message *via, const struct key *own_disco,
	const struct key *peer_disco, uint32_t generation)
{
	const struct disco_relay *relay = &via->allocate.relay;
	struct key sorted[2];

	sort_keys(sorted, own_disco, peer_disco);
	return via->type == DISCO_CALL_ME_MAYBE_VIA && generation != 0 && relay->vni != 0 &&
	       relay->vni <= GENEVE_VNI_MAX && relay->bind_lifetime_ns > 0 &&
	       via->n_endpoints > 0 && via->n_endpoints <= DISCO_ENDPOINTS_MAX &&
	       keys_match(relay, sorted);
}

static uint64_t handshake_time(const struct disco_relay *relay)
{
	const uint64_t lifetime = (uint64_t)relay->bind_lifetime_ns;

	return lifetime < RELAY_HANDSHAKE_END_S * S ? lifetime : RELAY_HANDSHAKE_END_S * S;
}

int relay_handshake_start(struct relay_handshake *h, const struct relay_identity *self,
	const struct key *peer_disco, const struct disco_message *via, uint32_t generation,
	const struct relay_io *io, uint64_t now_ns)
{
	unsigned sent = 0;

	*h = (struct relay_handshake){.state = RELAY_OVER};
	if (!record_valid(via, &self->disco_public, peer_disco, generation))
		return -EINVAL;
	h->relay = via->allocate.relay;
	h->peer_disco = *peer_disco;
	h->own_disco = self->disco_public;
	h->own_node = self->node_public;
	h->generation = generation;
	h->io = *io;
	h->end_ns = now_ns + handshake_time(&h->relay);
	if (box_init(&h->server_box, self->disco_private.bytes, h->relay.server_key.bytes) ||
		box_init(&h->peer_box, self->disco_private.bytes, peer_disco->bytes))
		return -EKEYREJECTED;
	for (uint32_t i = 0; i < via->n_endpoints; i++) {
		if (via->endpoints[i].port == 0)
			continue;
		send_bind(h, DISCO_BIND, &via->endpoints[i], NULL);
		sent++;
	}
	if (sent == 0)
		return -EINVAL;
	h->state = RELAY_BIND_SENT;
	return 0;
}

void relay_handshake_stop(struct relay_handshake *h)
{
	sodium_memzero(h, sizeof(*h));
	h->state = RELAY_OVER;
}

bool relay_supersedes(const struct disco_relay *newer, const struct disco_relay *older)
{
	return memcmp(newer->server_key.bytes, older->server_key.bytes, KEY_LEN) == 0 &&
	       newer->lamport > older->lamport;
}

static const struct geneve_header *header_of(const uint8_t *datagram)
{
	return (const struct geneve_header *)datagram;
}

bool relay_handshake_takes(const struct relay_handshake *h, const uint8_t *datagram, size_t len)
{
	const struct geneve_header *header = header_of(datagram);
	struct key sender;

	if (len < sizeof(*header) || header->protocol != rte_cpu_to_be_16(GENEVE_PROTOCOL_DISCO) ||
		geneve_vni(header) != h->relay.vni)
		return false;
	if (disco_sender(datagram + sizeof(*header), len - sizeof(*header), &sender))
		return false;
	const struct key *want = geneve_is_control(header) ? &h->relay.server_key : &h->peer_disco;
	return memcmp(sender.bytes, want->bytes, KEY_LEN) == 0;
}

static int on_challenge(struct relay_handshake *h, const struct endpoint *from,
	const struct disco_message *m, uint64_t now_ns)
{
	if (m->type != DISCO_CHALLENGE || h->state != RELAY_BIND_SENT ||
		m->bind.vni != h->relay.vni || m->bind.generation != h->generation ||
		memcmp(m->bind.remote_key.bytes, h->peer_disco.bytes, KEY_LEN) != 0)
		return -EPROTO;
	h->server = *from;
	h->state = RELAY_ANSWER_SENT;
	send_bind(h, DISCO_ANSWER, from, m->bind.challenge);
	send_ping(h, from, now_ns);
	return 0;
}

// The pong goes the way the ping came. The peer's ping shows that its leg is bound: ours to it may
// have been too early, so ping again.
static int on_ping(struct relay_handshake *h, const struct endpoint *from,
	const struct disco_message *m, uint64_t now_ns)
{
	struct disco_message pong = {.type = DISCO_PONG, .pong.src = *from};

	memcpy(pong.pong.txid, m->ping.txid, sizeof(pong.pong.txid));
	send_message(h, from, &pong, false);
	send_ping(h, from, now_ns);
	return 0;
}

static int on_pong(struct relay_handshake *h, const struct endpoint *from,
	const struct disco_message *m, uint64_t now_ns)
{
	for (unsigned i = 0; i < h->n_pings; i++) {
		if (sodium_memcmp(h->pings[i].txid, m->pong.txid, DISCO_TXID_LEN) != 0)
			continue;
		h->latency_ns = now_ns - h->pings[i].sent_ns;
		h->server = *from;
		h->state = RELAY_USABLE;
		return 0;
	}
	return -ENOENT;
}

static int on_peer(struct relay_handshake *h, const struct endpoint *from,
	const struct disco_message *m, uint64_t now_ns)
{
	if (h->state != RELAY_ANSWER_SENT)
		return -EPROTO;
	switch (m->type) {
	case DISCO_PING:
		return on_ping(h, from, m, now_ns);
	case DISCO_PONG:
		return on_pong(h, from, m, now_ns);
	default:
		return -EPROTO;
	}
}

int relay_handshake_input(struct relay_handshake *h, const struct endpoint *from,
	const uint8_t *datagram, size_t len, uint64_t now_ns)
{
	static struct disco_message m; // control thread only

	relay_handshake_check(h, now_ns);
	if (h->state != RELAY_BIND_SENT && h->state != RELAY_ANSWER_SENT)
		return -ESTALE;
	if (!relay_handshake_takes(h, datagram, len))
		return -EPROTO;
	const bool control = geneve_is_control(header_of(datagram));
	const int error = disco_open(control ? &h->server_box : &h->peer_box,
		datagram + GENEVE_HEADER_LEN, len - GENEVE_HEADER_LEN, &m);
	if (error)
		return -EBADMSG;
	return control ? on_challenge(h, from, &m, now_ns) : on_peer(h, from, &m, now_ns);
}

void relay_handshake_check(struct relay_handshake *h, uint64_t now_ns)
{
	const bool open = h->state == RELAY_BIND_SENT || h->state == RELAY_ANSWER_SENT;

	if (open && now_ns >= h->end_ns)
		h->state = RELAY_OVER;
}
