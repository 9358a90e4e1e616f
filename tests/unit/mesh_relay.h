// A peer relay in the net of mesh_net.h: gives places over DERP, binds legs, forwards. As lenient
// as a real one; see control/path/relay.h.
#pragma once

#include "tests/unit/mesh_net.h"

enum { RELAY_VNI = 7 };

struct relay_leg {
	struct key disco;
	struct endpoint addr; // port 0: not bound
	uint8_t challenge[DISCO_CHALLENGE_LEN];
};

// One place, for the pair that asked last.
struct relay_place {
	struct net_relay *relay;
	struct key node_private, node_disco;	 // of the node
	struct key server_private, server_disco; // of the server
	struct relay_leg legs[2];
	uint64_t lamport;
	unsigned requests, forwarded;
	bool silent;	    // does not answer requests
	struct host *asker; // of the last request
};

static struct relay_place place; // the net has one relay

static inline struct relay_leg *leg_of(const struct key *disco)
{
	for (unsigned i = 0; i < 2; i++)
		if (mesh_key_equal(&place.legs[i].disco, disco))
			return &place.legs[i];
	return NULL;
}

static inline void relay_put(
	struct net *net, const struct endpoint *to, const void *data, size_t len)
{
	net_put(net,
		&(struct flight){
			.at_ns = net->now_ns + NET_UDP_MS * MESH_MS,
			.from = net->relay.addr,
			.to = *to,
		},
		data, len);
}

static inline void relay_say(struct net *net, const struct endpoint *to, const struct key *client,
	const struct disco_message *m)
{
	uint8_t nonce[DISCO_NONCE_LEN], datagram[RELAY_DATAGRAM_MAX];
	struct box box;

	randombytes_buf(nonce, sizeof(nonce));
	assert_int_equal(box_init(&box, place.server_private.bytes, client->bytes), 0);
	const int len = relay_seal(
		&box, &place.server_disco, nonce, m, RELAY_VNI, true, datagram, sizeof(datagram));
	assert_true(len > 0);
	relay_put(net, to, datagram, (size_t)len);
}

static inline void relay_forward(
	struct net *net, const struct endpoint *from, const uint8_t *data, size_t len)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct endpoint *to = &place.legs[!i].addr;
		if (!endpoint_equal(&place.legs[i].addr, from) || to->port == 0)
			continue;
		place.forwarded++;
		relay_put(net, to, data, len);
		return;
	}
}

static inline void relay_datagram(
	struct net *net, const struct endpoint *from, const uint8_t *data, size_t len)
{
	const struct geneve_header *header = (const void *)data;
	struct disco_message m;
	struct box box;
	struct key sender;

	if (len < sizeof(*header) || geneve_vni(header) != RELAY_VNI)
		return;
	if (!geneve_is_control(header))
		return relay_forward(net, from, data, len);
	if (disco_sender(data + sizeof(*header), len - sizeof(*header), &sender))
		return;
	struct relay_leg *leg = leg_of(&sender);
	if (!leg)
		return;
	assert_int_equal(box_init(&box, place.server_private.bytes, sender.bytes), 0);
	assert_int_equal(disco_open(&box, data + sizeof(*header), len - sizeof(*header), &m), 0);
	if (m.type == DISCO_BIND) {
		m.type = DISCO_CHALLENGE;
		randombytes_buf(leg->challenge, sizeof(leg->challenge));
		memcpy(m.bind.challenge, leg->challenge, sizeof(leg->challenge));
		relay_say(net, from, &sender, &m);
	} else if (memcmp(m.bind.challenge, leg->challenge, sizeof(leg->challenge)) == 0) {
		leg->addr = *from;
	}
}

static inline struct disco_message relay_record(const struct disco_message *request)
{
	struct disco_message m = {
		.type = DISCO_ALLOCATE_RESPONSE,
		.n_endpoints = 1,
		.endpoints[0] = place.relay->addr,
	};
	struct disco_relay *r = &m.allocate.relay;

	m.allocate.generation = request->allocate.generation;
	r->server_key = place.server_disco;
	memcpy(r->client_keys, request->allocate.relay.client_keys, sizeof(r->client_keys));
	r->lamport = place.lamport;
	r->vni = RELAY_VNI;
	r->bind_lifetime_ns = 30000 * (int64_t)MESH_MS;
	r->steady_lifetime_ns = 300000 * (int64_t)MESH_MS;
	return m;
}

// Sealed by the relay's node.
static inline void relay_derp_say(
	struct net *net, const struct host *to, const struct disco_message *m)
{
	uint8_t packet[DISCO_PACKET_MAX];
	const size_t len = seal_as(
		&place.node_private, mesh_disco_key(to->mesh), &place.node_disco, m, packet);

	net_put(net,
		&(struct flight){
			.at_ns = net->now_ns + NET_DERP_MS * MESH_MS,
			.region = to->home,
			.to_node = to->node,
		},
		packet, len);
}

static inline void relay_derp(
	struct net *net, const struct host *from, const uint8_t *data, size_t len)
{
	const struct key *disco = mesh_disco_key(from->mesh);
	struct disco_message m;
	struct box box;

	assert_int_equal(box_init(&box, place.node_private.bytes, disco->bytes), 0);
	if (disco_open(&box, data, len, &m) || m.type != DISCO_ALLOCATE_REQUEST)
		return;
	place.requests++;
	place.asker = &net->hosts[from - net->hosts];
	if (place.silent)
		return;
	// A pair that has a place keeps it.
	for (unsigned i = 0; i < 2; i++)
		if (!leg_of(&m.allocate.relay.client_keys[i])) {
			place.lamport++;
			for (unsigned k = 0; k < 2; k++)
				place.legs[k] = (struct relay_leg){
					.disco = m.allocate.relay.client_keys[k]};
		}
	const struct disco_message answer = relay_record(&m);
	relay_derp_say(net, from, &answer);
}

static inline void net_add_relay(struct net *net)
{
	place = (struct relay_place){.relay = &net->relay};
	net->relay = (struct net_relay){
		.addr = endpoint_of("192.0.2.99:40000"),
		.node = {{99}},
		.datagram = relay_datagram,
		.derp = relay_derp,
	};
	x25519_generate(place.node_private.bytes);
	x25519_public(place.node_disco.bytes, place.node_private.bytes);
	x25519_generate(place.server_private.bytes);
	x25519_public(place.server_disco.bytes, place.server_private.bytes);
}

// The netmap grants this host the relay.
static inline void host_learn_relay(struct host *h)
{
	const struct nm_node n = {
		.key = h->net->relay.node,
		.disco = place.node_disco,
		.home_derp = 3,
		.cap = 140,
	};

	assert_int_equal(mesh_peer_set(h->mesh, &n), 0);
	mesh_set_relays(h->mesh, &n.key, 1);
}
