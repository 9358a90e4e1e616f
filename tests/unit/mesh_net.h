// A net inside a test: hosts with a mesh each, NATs before them, DERP regions and one clock.
//
//	host --- NAT --+-- UDP, 2 ms ---+-- NAT --- host
//	   \           +-- relay -------+            /
//	    +------------ DERP, 20 ms --------------+
//
// Time goes from one event to the next: a packet that arrives, or a mesh's timer. Nothing is lost
// but what a NAT or a blocked host drops.
#pragma once

#include "tests/unit/path_vectors.h"

#include <errno.h>
#include <event2/event.h>

#include "control/path/mesh_priv.h"
#include "dataplane/crypto/x25519.h"
#include "dataplane/wire/classify_udp.h"

enum {
	NET_HOSTS = 4,
	NET_FLOWS = 8192,
	NET_FLIGHTS = 4096,
	NET_REGIONS = 3,
	NET_UDP_MS = 2,
	NET_DERP_MS = 20,
	NET_PORT = 41641,
	NET_PORTS = 17000,
	WIREGUARD_LEN = 48,
};

enum nat {
	NAT_NONE,
	NAT_EASY, // one port for all; lets in only from where it has sent to
	NAT_CONE, // one port for all; lets in everybody
	NAT_HARD, // a port for each destination
	NAT_BLOCKED,
};

struct flow {
	struct endpoint to;
	uint16_t local_port; // 0: NET_PORT
	uint16_t port;
};

struct net;

struct host {
	struct net *net;
	struct mesh *mesh;
	struct key node;
	struct endpoint local;
	struct ip_addr outside; // of the NAT
	enum nat nat;
	uint16_t home;
	bool fresh;	  // endpoints
	bool no_way;	  // to send UDP
	bool no_ports;	  // beside NET_PORT
	uint16_t n_ports; // taken, from NET_PORTS on
	unsigned n_opened;
	struct mesh_route routes[NET_HOSTS]; // as told, by host
	unsigned n_told, stun_asked;
	uint64_t last_tx_ns[NET_HOSTS], last_rx_ns[NET_HOSTS];
	struct mesh_sent sent[NET_HOSTS];
	uint16_t link_mtu; // 0: no probes
	uint16_t data_len; // that sent counts for a packet; 0: WIREGUARD_LEN
	struct flow flows[NET_FLOWS];
	unsigned n_flows;
	unsigned udp_tx, derp_tx;		// datagrams of all kinds
	unsigned wireguard_udp, wireguard_derp; // received
	struct endpoint last_wireguard_from;
};

struct flight {
	uint64_t at_ns, number;
	struct endpoint from, to; // UDP, outside of NATs
	uint16_t region;	  // or DERP
	struct host *from_host;	  // of DERP; NULL: the relay
	struct key to_node;
	uint8_t *data;
	size_t len;
};

// What a relay of the net does with what it gets; see mesh_relay.h.
struct net_relay {
	struct endpoint addr;
	struct key node;
	void (*datagram)(struct net *, const struct endpoint *from, const uint8_t *, size_t len);
	void (*derp)(struct net *, const struct host *from, const uint8_t *, size_t len);
};

struct net {
	struct event_base *base;
	uint64_t now_ns;
	struct host hosts[NET_HOSTS];
	unsigned n_hosts;
	struct flight flights[NET_FLIGHTS];
	unsigned n_flights;
	uint64_t n_sent;
	struct net_relay relay;
	// Sees each UDP datagram as it leaves its NAT; false: it is lost.
	bool (*tap)(struct net *, const struct flight *);
};

static inline void net_put(struct net *net, const struct flight *f, const void *data, size_t len)
{
	assert_true(net->n_flights < NET_FLIGHTS);
	struct flight *slot = &net->flights[net->n_flights++];
	*slot = *f;
	slot->number = net->n_sent++;
	slot->data = exact_copy(data, len);
	slot->len = len;
}

// --- NATs.

static inline struct endpoint net_endpoint(const struct ip_addr *addr, uint16_t port)
{
	return (struct endpoint){*addr, port};
}

static inline bool nat_out(
	struct host *h, uint16_t local_port, const struct endpoint *to, struct endpoint *from)
{
	*from = h->local;
	if (h->nat == NAT_BLOCKED)
		return false;
	if (h->nat == NAT_NONE)
		return true;
	for (unsigned i = 0; i < h->n_flows; i++)
		if (h->flows[i].local_port == local_port && endpoint_equal(&h->flows[i].to, to)) {
			*from = net_endpoint(&h->outside, h->flows[i].port);
			return true;
		}
	assert_true(h->n_flows < NET_FLOWS);
	uint16_t port = 20000;
	if (h->nat == NAT_HARD) // those of NET_PORT nobody guesses
		port = (uint16_t)((local_port ? 30000 : 100) + h->n_flows);
	h->flows[h->n_flows++] = (struct flow){*to, local_port, port};
	*from = net_endpoint(&h->outside, port);
	return true;
}

static inline bool nat_in(const struct host *h, const struct endpoint *from,
	const struct endpoint *to, uint16_t *local_port)
{
	*local_port = 0;
	if (h->nat == NAT_NONE)
		return endpoint_equal(&h->local, to);
	if (h->nat == NAT_BLOCKED || !ip_addr_equal(&h->outside, &to->addr))
		return false;
	if (h->nat == NAT_CONE)
		return to->port == 20000;
	for (unsigned i = 0; i < h->n_flows; i++)
		if (h->flows[i].port == to->port && endpoint_equal(&h->flows[i].to, from)) {
			*local_port = h->flows[i].local_port;
			return true;
		}
	return false;
}

// --- What a mesh asks of its host.

static inline uint64_t host_now(void *arg)
{
	return ((struct host *)arg)->net->now_ns;
}

static inline bool host_send(
	void *arg, uint16_t local_port, const struct endpoint *to, const uint8_t *data, size_t len)
{
	struct host *h = arg;
	struct flight f = {.at_ns = h->net->now_ns + NET_UDP_MS * MESH_MS, .to = *to};

	if (h->no_way)
		return false;
	assert_true(local_port == 0 || local_port - NET_PORTS < h->n_ports);
	h->udp_tx++;
	if (!nat_out(h, local_port, to, &f.from))
		return true; // dropped on the way, which nobody tells
	f.data = (uint8_t *)(uintptr_t)data;
	f.len = len;
	if (!h->net->tap || h->net->tap(h->net, &f))
		net_put(h->net, &f, data, len);
	return true;
}

static inline int host_derp_send(
	void *arg, uint16_t region, const struct key *node, const void *data, size_t len)
{
	struct host *h = arg;

	if (region == 0 || region > NET_REGIONS)
		return -EHOSTUNREACH;
	h->derp_tx++;
	net_put(h->net,
		&(struct flight){
			.at_ns = h->net->now_ns + NET_DERP_MS * MESH_MS,
			.region = region,
			.from_host = h,
			.to_node = *node,
		},
		data, len);
	return 0;
}

static inline unsigned net_index(const struct net *net, const struct key *node)
{
	for (unsigned i = 0; i < net->n_hosts; i++)
		if (mesh_key_equal(&net->hosts[i].node, node))
			return i;
	return NET_HOSTS;
}

static inline void host_route(void *arg, const struct key *node, const struct mesh_route *route)
{
	struct host *h = arg;
	const unsigned i = net_index(h->net, node);

	h->n_told++;
	if (i < NET_HOSTS)
		h->routes[i] = *route;
}

static inline uint64_t host_last_tx(void *arg, const struct key *node)
{
	struct host *h = arg;
	const unsigned i = net_index(h->net, node);

	return i < NET_HOSTS ? h->last_tx_ns[i] : 0;
}

static inline uint64_t host_last_rx(void *arg, const struct key *node)
{
	struct host *h = arg;
	const unsigned i = net_index(h->net, node);

	return i < NET_HOSTS ? h->last_rx_ns[i] : 0;
}

static inline void host_sent(void *arg, const struct key *node, struct mesh_sent *out)
{
	struct host *h = arg;
	const unsigned i = net_index(h->net, node);

	*out = i < NET_HOSTS ? h->sent[i] : (struct mesh_sent){0};
}

static inline uint16_t host_link_mtu(void *arg, const struct path_addr *to)
{
	const struct host *h = arg;

	return to->to.port ? h->link_mtu : 0;
}

// The port that STUN sees is that of a destination of its own.
static inline size_t host_endpoints(void *arg, struct endpoint *out, size_t max)
{
	struct host *h = arg;

	assert_true(max >= 2);
	if (h->nat == NAT_NONE) {
		out[0] = h->local;
		return 1;
	}
	out[0] = net_endpoint(&h->outside, h->nat == NAT_HARD ? 29999 : 20000);
	out[1] = h->local;
	return 2;
}

static inline bool host_fresh(void *arg)
{
	struct host *h = arg;

	h->stun_asked += !h->fresh;
	return h->fresh;
}

static inline enum mesh_nat host_nat(void *arg, struct ip_addr *outside)
{
	const struct host *h = arg;

	*outside = h->outside;
	if (h->nat == NAT_BLOCKED)
		return MESH_NAT_UNKNOWN;
	return h->nat == NAT_HARD ? MESH_NAT_HARD : MESH_NAT_EASY;
}

static inline int host_open_ports(void *arg, unsigned n, uint16_t *first)
{
	struct host *h = arg;

	assert_true(n > 0);
	assert_int_equal(h->n_ports, 0);
	if (h->no_ports)
		return -EADDRINUSE;
	h->n_ports = (uint16_t)n;
	h->n_opened++;
	*first = NET_PORTS;
	return 0;
}

static inline void host_close_ports(void *arg)
{
	struct host *h = arg;

	assert_true(h->n_ports > 0);
	h->n_ports = 0;
}

// --- Building it.

static inline struct host *net_add(
	struct net *net, const char *local, const char *outside, enum nat nat, uint16_t home)
{
	assert_true(net->n_hosts < NET_HOSTS);
	struct host *h = &net->hosts[net->n_hosts++];
	*h = (struct host){
		.net = net,
		.local = net_endpoint(&(struct ip_addr){}, NET_PORT),
		.nat = nat,
		.home = home,
		.fresh = true,
	};
	const struct mesh_env env = {
		.arg = h,
		.now_ns = host_now,
		.send = host_send,
		.derp_send = host_derp_send,
		.route = host_route,
		.last_tx_ns = host_last_tx,
		.last_rx_ns = host_last_rx,
		.sent = host_sent,
		.link_mtu = host_link_mtu,
		.endpoints = host_endpoints,
		.endpoints_fresh = host_fresh,
		.nat = host_nat,
		.open_ports = host_open_ports,
		.close_ports = host_close_ports,
	};

	assert_int_equal(ip_addr_parse(local, &h->local.addr), 0);
	assert_int_equal(ip_addr_parse(outside ? outside : local, &h->outside), 0);
	memset(h->node.bytes, 'a' + (int)net->n_hosts, KEY_LEN);
	h->mesh = mesh_create(net->base, &env);
	assert_non_null(h->mesh);
	mesh_set_node_key(h->mesh, &h->node);
	return h;
}

static inline struct net *net_create(void)
{
	struct net *net = calloc(1, sizeof(*net));

	assert_non_null(net);
	net->base = event_base_new();
	assert_non_null(net->base);
	net->now_ns = 1000 * 1000 * MESH_MS;
	return net;
}

static inline void net_destroy(struct net *net)
{
	for (unsigned i = 0; i < net->n_hosts; i++)
		mesh_destroy(net->hosts[i].mesh);
	for (unsigned i = 0; i < net->n_flights; i++)
		free(net->flights[i].data);
	event_base_free(net->base);
	free(net);
}

// How the netmap of h describes another host.
static inline struct nm_node net_node(const struct host *other, struct endpoint room[static 2])
{
	struct nm_node n = {
		.key = other->node,
		.disco = *mesh_disco_key(other->mesh),
		.home_derp = other->home,
		.cap = 140,
		.endpoints = room,
	};

	n.n_endpoints = (uint32_t)host_endpoints((void *)(uintptr_t)other, room, 2);
	return n;
}

static inline void host_learn(struct host *h, const struct host *other)
{
	struct endpoint room[2];
	const struct nm_node n = net_node(other, room);

	assert_int_equal(mesh_peer_set(h->mesh, &n), 0);
}

static inline void net_join(struct host *a, struct host *b)
{
	host_learn(a, b);
	host_learn(b, a);
}

static inline struct mesh_route *host_route_to(struct host *h, const struct host *other)
{
	return &h->routes[other - h->net->hosts];
}

// --- Time.

static inline void take_udp(struct host *h, uint16_t local_port, const struct flight *f)
{
	const enum udp_class class = udp_classify(f->data, f->len);

	if (local_port && local_port - NET_PORTS >= h->n_ports)
		return; // it is closed by now
	if (class == UDP_DISCO || class == UDP_GENEVE_DISCO)
		return mesh_input(h->mesh, &f->from, local_port, f->data, f->len);
	h->wireguard_udp++;
	h->last_wireguard_from = f->from;
}

static inline void deliver_derp(struct net *net, const struct flight *f)
{
	const unsigned i = net_index(net, &f->to_node);
	const struct key *from = f->from_host ? &f->from_host->node : &net->relay.node;

	if (i < NET_HOSTS) {
		struct host *h = &net->hosts[i];
		h->wireguard_derp += !mesh_derp_input(h->mesh, f->region, from, f->data, f->len);
	} else if (net->relay.derp && mesh_key_equal(&f->to_node, &net->relay.node)) {
		net->relay.derp(net, f->from_host, f->data, f->len);
	}
}

static inline void deliver(struct net *net, const struct flight *f)
{
	if (f->region)
		return deliver_derp(net, f);
	if (net->relay.datagram && endpoint_equal(&f->to, &net->relay.addr))
		return net->relay.datagram(net, &f->from, f->data, f->len);
	for (unsigned i = 0; i < net->n_hosts; i++) {
		uint16_t local_port;
		if (nat_in(&net->hosts[i], &f->from, &f->to, &local_port))
			return take_udp(&net->hosts[i], local_port, f);
	}
}

static inline unsigned next_flight(const struct net *net)
{
	unsigned best = 0;

	for (unsigned i = 1; i < net->n_flights; i++) {
		const struct flight *f = &net->flights[i], *b = &net->flights[best];
		if (f->at_ns < b->at_ns || (f->at_ns == b->at_ns && f->number < b->number))
			best = i;
	}
	return best;
}

static inline struct host *next_timer(struct net *net)
{
	struct host *best = &net->hosts[0];

	for (unsigned i = 1; i < net->n_hosts; i++)
		if (net->hosts[i].mesh->timer_ns < best->mesh->timer_ns)
			best = &net->hosts[i];
	return best;
}

// Everything that happens in the next ms.
static inline void net_run(struct net *net, uint64_t ms)
{
	const uint64_t end_ns = net->now_ns + ms * MESH_MS;

	for (;;) {
		const unsigned i = next_flight(net);
		struct host *timer = next_timer(net);
		const uint64_t flight_ns = net->n_flights ? net->flights[i].at_ns : UINT64_MAX;
		const uint64_t at_ns =
			flight_ns <= timer->mesh->timer_ns ? flight_ns : timer->mesh->timer_ns;
		if (at_ns > end_ns)
			break;
		net->now_ns = at_ns > net->now_ns ? at_ns : net->now_ns;
		if (flight_ns > at_ns) {
			mesh_tick(timer->mesh);
			continue;
		}
		const struct flight f = net->flights[i];
		net->flights[i] = net->flights[--net->n_flights];
		deliver(net, &f);
		free(f.data);
	}
	net->now_ns = end_ns;
}

// --- Messages by hand.

// Sealed between two keys, as the packet of whoever sender is.
static inline size_t seal_as(const struct key *private, const struct key *to,
	const struct key *sender, const struct disco_message *message,
	uint8_t out[static DISCO_PACKET_MAX])
{
	uint8_t nonce[DISCO_NONCE_LEN];
	struct box box;

	randombytes_buf(nonce, sizeof(nonce));
	assert_int_equal(box_init(&box, private->bytes, to->bytes), 0);
	const int len = disco_seal(&box, sender, nonce, message, out, DISCO_PACKET_MAX);
	assert_true(len > 0);
	return (size_t)len;
}

// What from says to to.
static inline size_t seal_from(const struct host *from, const struct host *to,
	const struct disco_message *message, uint8_t out[static DISCO_PACKET_MAX])
{
	return seal_as(&from->mesh->self.disco_private, mesh_disco_key(to->mesh),
		mesh_disco_key(from->mesh), message, out);
}

// --- Traffic, as a worker does it.

static inline void host_data(struct host *h, struct host *to)
{
	const uint8_t packet[WIREGUARD_LEN] = {4};
	const struct mesh_route route = *host_route_to(h, to);
	uint8_t inside[GENEVE_HEADER_LEN + WIREGUARD_LEN];
	const struct geneve_header header =
		geneve_header_of(GENEVE_PROTOCOL_WIREGUARD, route.vni, false);

	memcpy(inside, &header, sizeof(header));
	memcpy(inside + sizeof(header), packet, sizeof(packet));
	if (route.udp.port && route.vni)
		host_send(h, 0, &route.udp, inside, sizeof(inside));
	else if (route.udp.port)
		host_send(h, route.local_port, &route.udp, packet, sizeof(packet));
	if (route.udp.port)
		h->last_tx_ns[to - h->net->hosts] = h->net->now_ns;
	h->sent[to - h->net->hosts].packets++;
	h->sent[to - h->net->hosts].bytes += h->data_len ? h->data_len : WIREGUARD_LEN;
	if (route.derp)
		assert_int_equal(mesh_send(h->mesh, &to->node, packet, sizeof(packet), false), 0);
}

// Data every step_ms for ms.
static inline void host_stream(struct host *h, struct host *to, uint64_t ms, uint64_t step_ms)
{
	for (uint64_t at = 0; at < ms; at += step_ms) {
		host_data(h, to);
		net_run(h->net, step_ms);
	}
}

// "direct", "direct+derp", "relay", "relay+derp", "derp", "none".
static inline const char *route_text(const struct mesh_route *r)
{
	if (r->udp.port == 0)
		return r->derp ? "derp" : "none";
	if (r->vni)
		return r->derp ? "relay+derp" : "relay";
	return r->derp ? "direct+derp" : "direct";
}

static inline void assert_route(struct host *h, struct host *to, const char *want)
{
	assert_string_equal(route_text(host_route_to(h, to)), want);
}

static inline struct mesh_peer_info host_info(const struct host *h, const struct host *to)
{
	struct mesh_peer_info info;

	assert_int_equal(mesh_peer_info(h->mesh, &to->node, &info), 0);
	return info;
}
