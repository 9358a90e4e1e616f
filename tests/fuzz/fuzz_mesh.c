// Peers, relays and DERP servers that say anything to a node that is looking for paths. Each piece
// of the input is a datagram or DERP packet, raw or sealed properly by one of two peers, or a step
// of time.
#include <errno.h>
#include <event2/event.h>

#include "control/path/mesh_priv.h"
#include "dataplane/crypto/x25519.h"
#include "tests/fuzz/fuzz.h"

enum { PEERS = 3 }; // the last is a relay

static struct event_base *base;
static struct mesh *mesh;
static uint64_t now_ns;
static struct key privates[PEERS], discos[PEERS], nodes[PEERS];
static uint8_t last_sent[MESH_DATAGRAM_MAX];
static size_t last_len;
static unsigned n_sent, n_done, n_ports;

static uint64_t on_now(void *)
{
	return now_ns;
}

static void keep(const void *data, size_t len)
{
	n_sent++;
	if (len > sizeof(last_sent))
		return;
	memcpy(last_sent, data, len);
	last_len = len;
}

static bool on_send(void *, uint16_t, const struct endpoint *to, const uint8_t *data, size_t len)
{
	check(len > 0);
	keep(data, len);
	return to->port % 5 != 0;
}

static int on_derp_send(
	void *, uint16_t region, const struct key *node, const void *data, size_t len)
{
	check(region != 0 && node);
	keep(data, len);
	return 0;
}

static void on_route(void *, const struct key *node, const struct mesh_route *route)
{
	check(mesh_knows(mesh, node) && route);
}

static uint64_t on_last_packet(void *, const struct key *node)
{
	return node->bytes[0] & 1 ? now_ns : 0;
}

static size_t on_endpoints(void *, struct endpoint *out, size_t max)
{
	check(max > 0);
	out[0] = (struct endpoint){ip_addr_v4((uint8_t[]){192, 0, 2, 1}), 1};
	return 1;
}

static bool on_fresh(void *)
{
	return now_ns & 1;
}

static enum mesh_nat on_nat(void *, struct ip_addr *outside)
{
	*outside = ip_addr_v4((uint8_t[]){192, 0, 2, 1});
	return (enum mesh_nat)(now_ns / MESH_MS % 3);
}

static int on_open_ports(void *, unsigned n, uint16_t *first)
{
	check(n > 0 && n_ports == 0);
	*first = 20000;
	n_ports = now_ns & 1 ? n : 0;
	return n_ports ? 0 : -EADDRINUSE;
}

static void on_close_ports(void *)
{
	check(n_ports > 0);
	n_ports = 0;
}

// Large packets all the time.
static void on_sent_so_far(void *, const struct key *, struct mesh_sent *out)
{
	*out = (struct mesh_sent){now_ns / MESH_MS, now_ns / MESH_MS * 1400};
}

static uint16_t on_link_mtu(void *, const struct path_addr *to)
{
	static const uint16_t links[] = {1500, 9000, 1281, 0, UINT16_MAX};

	return links[to->to.port % 5];
}

static void on_done(void *, const struct mesh_pong *)
{
	n_done++;
}

static void prepare(void)
{
	for (unsigned i = 0; i < PEERS; i++) {
		privates[i].bytes[0] = (uint8_t)(8 * (i + 1));
		privates[i].bytes[31] = 64;
		x25519_public(discos[i].bytes, privates[i].bytes);
		nodes[i].bytes[0] = (uint8_t)(i + 1);
	}
	base = event_base_new();
	check(base != NULL);
}

static void set_peer(unsigned i, const struct key *disco)
{
	struct endpoint addr = {ip_addr_v4((uint8_t[]){192, 0, 2, 2}), (uint16_t)(i + 1)};
	const struct nm_node n = {
		.key = nodes[i],
		.disco = *disco,
		.home_derp = i + 1,
		.cap = 140,
		.endpoints = &addr,
		.n_endpoints = 1,
	};

	check(!mesh_peer_set(mesh, &n));
}

static void start(void)
{
	const struct mesh_env env = {NULL, on_now, on_send, on_derp_send, on_route, on_last_packet,
		on_endpoints, on_fresh, on_nat, on_open_ports, on_close_ports, on_last_packet,
		on_sent_so_far, on_link_mtu};

	now_ns = 1000 * 1000 * MESH_MS;
	mesh = mesh_create(base, &env);
	check(mesh != NULL);
	// The same in each run.
	mesh->self.disco_private = (struct key){{0x80, [31] = 64}};
	x25519_public(mesh->self.disco_public.bytes, mesh->self.disco_private.bytes);
	mesh_set_node_key(mesh, &(struct key){{0xee}});
	mesh_set_birthday(mesh, &(struct mesh_birthday){.ports = 8, .rate = 50, .seconds = 20});
	for (unsigned i = 0; i < PEERS; i++)
		set_peer(i, &discos[i]);
	mesh_set_relays(mesh, &nodes[PEERS - 1], 1);
	check(!mesh_send(mesh, &nodes[0], "\4", 1, true));
}

// A record of a relay says the right keys and generation: nobody guesses those.
static void complete(unsigned who, uint8_t *plain, size_t len)
{
	const bool via = len > 0 && plain[0] == DISCO_CALL_ME_MAYBE_VIA;
	const bool response = len > 0 && plain[0] == DISCO_ALLOCATE_RESPONSE;
	const size_t at = sizeof(struct disco_message_header) + (response ? 4 : 0);
	struct disco_wire_relay *relay = (void *)(plain + at);
	const rte_be32_t generation = rte_cpu_to_be_32(mesh->generation);

	if (!(via || response) || len < at + sizeof(*relay))
		return;
	if (response)
		memcpy(plain + sizeof(struct disco_message_header), &generation, 4);
	memcpy(relay->client_keys[0], mesh->self.disco_public.bytes, KEY_LEN);
	memcpy(relay->client_keys[1], discos[via ? who : 0].bytes, KEY_LEN);
}

static size_t seal(unsigned who, const uint8_t *plain, size_t len, uint8_t *out)
{
	struct disco_header *disco = (void *)out;
	const uint8_t nonce[DISCO_NONCE_LEN] = {1};
	struct box box;

	check(!box_init(&box, privates[who].bytes, mesh->self.disco_public.bytes));
	memcpy(disco->magic, DISCO_MAGIC, DISCO_MAGIC_LEN);
	memcpy(disco->sender, discos[who].bytes, KEY_LEN);
	box_seal(&box, nonce, plain, len, disco->nonce);
	return DISCO_OVERHEAD + len;
}

static size_t seal_completed(unsigned who, const uint8_t *data, size_t len, uint8_t *out)
{
	uint8_t plain[UINT8_MAX];

	memcpy(plain, data, len);
	complete(who, plain, len);
	return seal(who, plain, len, out);
}

// As our last datagram, of which a peer knows all that it needs: its txid, our keys.
static size_t answer(unsigned who, uint8_t *out)
{
	static struct disco_message m;
	struct box box;
	uint8_t plain[DISCO_PLAIN_MAX];

	check(!box_init(&box, privates[who].bytes, mesh->self.disco_public.bytes));
	if (disco_open(&box, last_sent, last_len, &m) || m.type != DISCO_PING)
		return 0;
	m.type = DISCO_PONG;
	memset(&m.pong.src, 0, sizeof(m.pong.src));
	return seal(who, plain, (size_t)disco_encode(&m, plain, sizeof(plain)), out);
}

static void speak(uint8_t how, uint8_t from, const uint8_t *data, size_t len)
{
	static uint8_t packet[GENEVE_HEADER_LEN + DISCO_PACKET_MAX];
	const struct endpoint addr = {
		ip_addr_v4((uint8_t[]){192, 0, 2, 2}), (uint16_t)(from % 8 + 1)};
	const struct geneve_header header =
		geneve_header_of(GENEVE_PROTOCOL_DISCO, from % 4, how & 64);
	const size_t before = how & 32 ? sizeof(header) : 0;
	const unsigned who = how % PEERS;

	memcpy(packet, &header, sizeof(header));
	if (how & 4)
		len = answer(who, packet + before);
	else if (how & 8)
		len = seal_completed(who, data, len, packet + before);
	else
		memcpy(packet + before, data, len);
	if (how & 16)
		mesh_derp_input(mesh, from % 4, &nodes[from % PEERS], packet, before + len);
	else
		mesh_input(mesh, &addr, from & 64 ? 20000 + from % 8 : 0, packet, before + len);
}

static void do_step(uint8_t how, uint8_t arg)
{
	const struct endpoint addr = {
		ip_addr_v4((uint8_t[]){192, 0, 2, 3}), (uint16_t)(arg / 16 + 1)};

	switch (how % 8) {
	case 0:
		mesh_peer_remove(mesh, &nodes[arg % PEERS]);
		return;
	case 1:
		return set_peer(arg % PEERS, &discos[arg / 8 % PEERS]);
	case 2:
		return mesh_ping(mesh, &nodes[arg % PEERS], arg * 40, arg, on_done, NULL);
	case 3:
		return mesh_rebind(mesh);
	case 4:
		return mesh_derp_gone(mesh, arg % 4, &nodes[arg % PEERS]);
	case 5:
		if (arg & 1)
			return mesh_set_silent(mesh, arg & 2);
		if (arg & 2)
			return mesh_heard(mesh, &nodes[arg / 4 % PEERS], &addr);
		return mesh_endpoints_ready(mesh);
	case 6:
		return mesh_peer_disco_key(mesh, &nodes[arg % PEERS], &discos[arg / 8 % PEERS]);
	default:
		if (mesh_send(mesh, &nodes[arg % PEERS], "\1", 1, arg & 128) == -ENOENT)
			check(!mesh_knows(mesh, &nodes[arg % PEERS]));
		return;
	}
}

static void pass(uint8_t arg)
{
	now_ns += (uint64_t)arg * arg * 10 * MESH_MS;
	if (now_ns >= mesh->timer_ns)
		mesh_tick(mesh);
}

static void check_bounds(void)
{
	struct mesh_peer_info info;

	check(mesh->n_boxes <= PEERS && mesh->n_requests <= MESH_REQUESTS_MAX &&
		mesh->n_binds <= PEERS * MESH_BINDS_PEER && mesh->n_pings <= MESH_PINGS_MAX);
	for (unsigned i = 0; i < PEERS; i++)
		if (!mesh_peer_info(mesh, &nodes[i], &info))
			check(info.candidates <= PATH_CANDIDATES_MAX &&
				strlen(info.why) < sizeof(info.why));
	for (const struct mesh_active *a = mesh->active; a; a = a->next) {
		const struct pmtu *p = &a->pmtu;
		check(p->n_probes <= PMTU_KEPT && p->n_round <= p->n_probes);
		check(p->mtu == 0 || (p->mtu >= p->min && p->mtu <= p->top));
		check(p->state == PMTU_IDLE || (p->good <= p->goal && p->bad <= p->goal));
	}
}

// data: pieces of how, whence, a length, bytes. From 0x80 on how is a step of ours or of time.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!base)
		prepare();
	start();
	while (size >= 3) {
		const size_t len = data[2] < size - 3 ? data[2] : size - 3;
		const unsigned sent = n_sent;
		if (data[0] >= 0xc0)
			pass(data[1]);
		else if (data[0] >= 0x80)
			do_step(data[0], data[1]);
		else
			speak(data[0], data[1], data + 3, len);
		// One packet makes us ping all candidates of one peer, and probe its path, at most.
		check(data[0] >= 0x80 || n_sent - sent <= PATH_CANDIDATES_MAX + 4 + PMTU_ROUND_MAX);
		check_bounds();
		data += 3 + len;
		size -= 3 + len;
	}
	const unsigned open = (unsigned)mesh->n_pings, done = n_done;
	mesh_destroy(mesh);
	check(n_done - done == open && n_ports == 0);
	return 0;
}
