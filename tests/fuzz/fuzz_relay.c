// A relay and a peer that say anything. The first byte picks who speaks and whether the rest is the
// datagram or a message that is sealed properly first.
#include "control/path/relay.h"
#include "dataplane/crypto/x25519.h"
#include "tests/fuzz/fuzz.h"

enum { VNI = 5, GENERATION = 9 };

static struct relay_identity self;
static struct key peer_private, peer_public, server_private, server_public;
static unsigned n_sent;

static void on_send(void *, const struct endpoint *to, const uint8_t *datagram, size_t len)
{
	check(to->port != 0 && len >= GENEVE_HEADER_LEN && datagram);
	n_sent++;
}

static void on_random(void *, void *out, size_t len)
{
	memset(out, 7, len); // a peer that guesses our txid
}

static void prepare(void)
{
	self.disco_private = (struct key){{8}};
	peer_private = (struct key){{16}};
	server_private = (struct key){{24}};
	x25519_public(self.disco_public.bytes, self.disco_private.bytes);
	x25519_public(peer_public.bytes, peer_private.bytes);
	x25519_public(server_public.bytes, server_private.bytes);
}

static void start(struct relay_handshake *h)
{
	static struct disco_message via;
	const struct relay_io io = {on_send, on_random, NULL};
	const bool ordered = memcmp(self.disco_public.bytes, peer_public.bytes, KEY_LEN) < 0;

	via.type = DISCO_CALL_ME_MAYBE_VIA;
	via.n_endpoints = 1;
	via.endpoints[0] = (struct endpoint){.addr.family = IP_V4, .port = 1};
	via.allocate.relay.server_key = server_public;
	via.allocate.relay.vni = VNI;
	via.allocate.relay.bind_lifetime_ns = INT64_MAX;
	via.allocate.relay.client_keys[0] = ordered ? self.disco_public : peer_public;
	via.allocate.relay.client_keys[1] = ordered ? peer_public : self.disco_public;
	check(!relay_handshake_start(h, &self, &peer_public, &via, GENERATION, &io, 1));
}

// Plain bytes, sealed by the server or the peer: what the parser and the states see.
static size_t seal(bool by_server, const uint8_t *plain, size_t len, uint8_t *out)
{
	const struct geneve_header header = geneve_header_of(GENEVE_PROTOCOL_DISCO, VNI, by_server);
	struct disco_header *disco = (void *)(out + GENEVE_HEADER_LEN);
	const uint8_t nonce[DISCO_NONCE_LEN] = {1};
	struct box box;

	check(!box_init(&box, by_server ? server_private.bytes : peer_private.bytes,
		self.disco_public.bytes));
	memcpy(out, &header, sizeof(header));
	memcpy(disco->magic, DISCO_MAGIC, DISCO_MAGIC_LEN);
	memcpy(disco->sender, by_server ? server_public.bytes : peer_public.bytes, KEY_LEN);
	box_seal(&box, nonce, plain, len, disco->nonce);
	return GENEVE_HEADER_LEN + DISCO_OVERHEAD + len;
}

static void speak(struct relay_handshake *h, uint8_t mode, const uint8_t *data, size_t len)
{
	static uint8_t sealed[GENEVE_HEADER_LEN + DISCO_PACKET_MAX];
	const struct endpoint from = {.addr.family = IP_V4, .port = 2};
	const bool raw = mode & 1, by_server = mode & 2;
	const enum relay_state before = h->state;
	const unsigned sent = n_sent;

	if (len > DISCO_PLAIN_MAX)
		return;
	if (!raw)
		len = seal(by_server, data, len, sealed);
	const int rc = relay_handshake_input(h, &from, raw ? data : sealed, len, 2);
	if (raw)
		check(rc != 0); // no key, no box
	check(h->n_pings <= RELAY_PINGS_MAX);
	check(!rc || (h->state == before && n_sent == sent));
	check(n_sent - sent <= 2);
}

// data: pieces of a mode, a length, bytes.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct relay_handshake h;

	prepare();
	start(&h);
	while (size >= 2) {
		const size_t len = data[1] < size - 2 ? data[1] : size - 2;
		speak(&h, data[0], data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	relay_handshake_check(&h, UINT64_MAX);
	check(h.state == RELAY_OVER || h.state == RELAY_USABLE);
	return 0;
}
