// Who gets a port, and whose flow ends for it, where a destination has no more of them; and what
// makes place for a client that has its limit of flows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/nat_flows.h"

enum {
	NOW = 1000000,
	SERVER = 2,
	PORT = 20000, // the first of four
	REFUSED = -1,
	OPEN = NAT_TCP_OPEN,
	HALF = NAT_TCP_OPENING,
	SHUT = NAT_TCP_CLOSING,
	UDP = NAT_UDP,
	GONE = 600000, // ms without a packet: any flow is idle
};

// A flow that is there already.
struct there {
	uint8_t class;
	uint32_t client;
	uint32_t quiet_ms; // since its last packet
};

static struct nat_flow *put(
	struct nat_table *t, const struct nat_config *c, const struct there *is, uint16_t port)
{
	struct nat_flow *f = open_flow(t, c, is->client, port, SERVER, is->class, NOW - GONE);
	assert_non_null(f);
	nat_set_class(t, f, (enum nat_class)is->class, NOW - GONE);
	f->last_ms = NOW - is->quiet_ms;
	return f;
}

static bool lies_there(const struct nat_table *t, const struct there *is, uint16_t port)
{
	uint8_t proto = is->class <= NAT_TCP_CLOSING ? IPPROTO_TCP : IPPROTO_UDP;
	struct nat_key k = key_of(is->client, port, SERVER, proto);
	return nat_index_find(t, NAT_INSIDE, &k) != NULL;
}

// Client 1 asks for an even port of four; the odd ones only count for who holds how many.
static const struct port_case {
	const char *name;
	struct there there[4]; // by port
	int ends;	       // its port; REFUSED: the new one does not begin
} port_cases[] = {
	{"a connection of who holds all, the one that is quiet longest",
		{{OPEN, 2, 6000}, {OPEN, 2, 9000}, {OPEN, 2, 7000}, {OPEN, 2, 9000}}, 2},
	{"not one of the last five seconds",
		{{OPEN, 2, 4999}, {OPEN, 2, 9000}, {OPEN, 2, 4999}, {OPEN, 2, 9000}}, REFUSED},
	{"but one of five seconds ago",
		{{OPEN, 2, 4999}, {OPEN, 2, 9000}, {OPEN, 2, 5000}, {OPEN, 2, 9000}}, 2},
	{"none of who would have less than twice as many",
		{{OPEN, 2, 6000}, {OPEN, 1, 9000}, {OPEN, 2, 6000}, {OPEN, 2, 6000}}, REFUSED},
	{"none of who has one",
		{{OPEN, 2, 6000}, {OPEN, 3, 6000}, {OPEN, 4, 6000}, {OPEN, 5, 6000}}, REFUSED},
	{"one of who has two", {{OPEN, 2, 6000}, {OPEN, 3, 6000}, {OPEN, 4, 8000}, {OPEN, 2, 6000}},
		0},
	{"one that ends, before one that is quiet for longer",
		{{OPEN, 2, 60000}, {OPEN, 2, 6000}, {SHUT, 2, 100}, {OPEN, 2, 6000}}, 2},
	{"one that begins, after a millisecond",
		{{HALF, 2, 0}, {OPEN, 2, 6000}, {HALF, 2, 1}, {OPEN, 2, 6000}}, 2},
	{"none with a packet under way",
		{{HALF, 2, 0}, {OPEN, 2, 6000}, {SHUT, 2, 0}, {OPEN, 2, 6000}}, REFUSED},
	{"of who has most, though another is quiet for longer",
		{{HALF, 2, 10}, {HALF, 2, 10}, {HALF, 3, 3000}, {HALF, 2, 10}}, 0},
	{"of another one, where who has most is busy",
		{{OPEN, 2, 10}, {OPEN, 2, 10}, {HALF, 3, 10}, {OPEN, 2, 10}}, 2},
	{"nothing of who has as many", {{UDP, 2, 9000}, {UDP, 1, 10}, {UDP, 2, 9000}, {UDP, 1, 10}},
		REFUSED},
	{"nothing of who has fewer", {{UDP, 2, 9000}, {UDP, 1, 10}, {UDP, 3, 9000}, {UDP, 1, 10}},
		REFUSED},
	{"of who has one more", {{UDP, 2, 9}, {UDP, 1, 10}, {UDP, 2, 10}, {UDP, 3, 90}}, 2},
	{"its own, where it has all", {{UDP, 1, 20}, {UDP, 1, 10}, {UDP, 1, 10}, {UDP, 1, 30}}, 0},
	{"its own that ends", {{OPEN, 1, 9000}, {OPEN, 1, 9000}, {SHUT, 1, 10}, {OPEN, 1, 9000}},
		2},
	{"another's rather than its own, where that has more",
		{{UDP, 1, 9000}, {UDP, 2, 10}, {UDP, 2, 10}, {UDP, 3, 10}}, 2},
	{"no connection of its own",
		{{OPEN, 1, 9000}, {OPEN, 1, 9000}, {OPEN, 1, 9000}, {OPEN, 1, 9000}}, REFUSED},
	{"what is idle, first of all",
		{{OPEN, 2, 60000}, {OPEN, 2, 6000}, {OPEN, 3, GONE}, {OPEN, 2, 6000}}, 2},
};

static void test_ports(void **)
{
	for (unsigned i = 0; i < RTE_DIM(port_cases); i++) {
		const struct port_case *p = &port_cases[i];
		const bool tcp = p->there[0].class <= NAT_TCP_CLOSING;
		struct nat_config c = some_config();
		struct nat_table *t = create(64, 0, 1);
		c.port_last = PORT + 3;
		for (uint16_t n = 0; n < 4; n++)
			assert_int_equal(
				outside_port(put(t, &c, &p->there[n], PORT + n)), PORT + n);
		const struct nat_flow *f =
			open_flow(t, &c, 1, 1000, SERVER, tcp ? NAT_TCP_OPENING : NAT_UDP, NOW);
		const int got = f ? outside_port(f) - PORT : REFUSED;
		if (got != p->ends || (!f && why != NAT_REFUSED_PORTS))
			fail_msg("%s: %d", p->name, got);
		for (int n = 0; n < 4; n++)
			assert_int_equal(
				lies_there(t, &p->there[n], (uint16_t)(PORT + n)), n != got);
		const bool idle = f && p->there[got].quiet_ms == GONE;
		assert_int_equal(t->expired, idle);
		assert_int_equal(t->evicted, f && !idle);
		nat_table_destroy(t);
	}
}

// Client 1 has four flows and may have no more; it asks for one over TCP.
static const struct limit_case {
	const char *name;
	struct there there[4];
	int ends;
} limit_cases[] = {
	{"the quietest of those that begin",
		{{HALF, 1, 5000}, {HALF, 1, 7000}, {HALF, 1, 6000}, {HALF, 1, 1}}, 1},
	{"none of the last five seconds",
		{{HALF, 1, 4999}, {UDP, 1, 4999}, {SHUT, 1, 4999}, {UDP, 1, 1}}, REFUSED},
	{"no open connection",
		{{OPEN, 1, 90000}, {OPEN, 1, 90000}, {OPEN, 1, 90000}, {OPEN, 1, 90000}}, REFUSED},
	{"but a datagram's beside these",
		{{OPEN, 1, 90000}, {OPEN, 1, 90000}, {UDP, 1, 5000}, {OPEN, 1, 90000}}, 2},
	{"one that ends, before all others",
		{{HALF, 1, 9000}, {UDP, 1, 9000}, {SHUT, 1, 5000}, {UDP, 1, 9000}}, 2},
	{"one that begins, before datagrams",
		{{UDP, 1, 9000}, {HALF, 1, 5000}, {UDP, 1, 9000}, {UDP, 1, 9000}}, 1},
};

static void test_limit(void **)
{
	for (unsigned i = 0; i < RTE_DIM(limit_cases); i++) {
		const struct limit_case *l = &limit_cases[i];
		const struct there other = {UDP, 3, 50000};
		struct nat_config c = some_config();
		struct nat_table *t = create(64, 0, 1);
		c.client_flows = 4;
		put(t, &c, &other, PORT + 9); // another's, whatever it is
		for (uint16_t n = 0; n < 4; n++)
			put(t, &c, &l->there[n], PORT + n);
		const struct nat_flow *f = open_flow(t, &c, 1, 99, SERVER, NAT_TCP_OPENING, NOW);
		if (!f != (l->ends == REFUSED) || (!f && why != NAT_REFUSED_CLIENT))
			fail_msg("%s", l->name);
		for (int n = 0; n < 4; n++) {
			if (lies_there(t, &l->there[n], (uint16_t)(PORT + n)) == (n == l->ends))
				fail_msg("%s: %d", l->name, n);
		}
		assert_true(lies_there(t, &other, PORT + 9));
		assert_int_equal(t->evicted, f != NULL);
		nat_table_destroy(t);
	}
}

// A limit that is lower than before: the client comes down to it before it gets anything.
static void test_limit_lowered(void **)
{
	const struct there is = {HALF, 1, 6000};
	struct nat_config c = some_config();
	struct nat_table *t = create(64, 0, 1);
	for (uint16_t i = 0; i < 6; i++)
		put(t, &c, &is, PORT + i);
	c.client_flows = 3;
	for (uint32_t left = 5; left >= 3; left--) {
		assert_null(open_flow(t, &c, 1, 99, SERVER, NAT_UDP, NOW));
		assert_int_equal(why, NAT_REFUSED_CLIENT);
		assert_int_equal(t->n, left);
	}
	assert_non_null(open_flow(t, &c, 1, 99, SERVER, NAT_UDP, NOW));
	assert_int_equal(t->n, 3);
	nat_table_destroy(t);
}

// What waits behind many others is not looked for: the work of a packet has a bound.
static void test_limit_bound(void **)
{
	const struct there other = {UDP, 3, 50000}, own = {UDP, 1, 50000};
	struct nat_config c = some_config();
	struct nat_table *t = create(64, 0, 1);
	for (uint16_t i = 0; i < 40; i++)
		put(t, &c, &other, PORT + i);
	put(t, &c, &own, PORT + 40);
	c.client_flows = 1;
	assert_null(open_flow(t, &c, 1, 99, SERVER, NAT_UDP, NOW));
	assert_int_equal(why, NAT_REFUSED_CLIENT);
	assert_int_equal(t->evicted, 0);
	nat_table_destroy(t);
}

static unsigned flows_to(const struct nat_table *t, uint32_t client, uint32_t server)
{
	unsigned n = 0;
	for (uint32_t i = NAT_NIL + 1; i < t->touched; i++) {
		const struct nat_key *k = &t->flow[i].side[NAT_INSIDE];
		n += k->family != IP_NONE && memcmp(k->local, &client, sizeof(client)) == 0 &&
		     memcmp(k->remote, &server, sizeof(server)) == 0;
	}
	return n;
}

static unsigned flows_of(const struct nat_table *t, uint32_t client)
{
	return flows_to(t, client, SERVER);
}

// Connections of a client, as many as it gets.
static void connect_many(struct nat_table *t, const struct nat_config *c, uint32_t client,
	unsigned tries, uint32_t now)
{
	static uint16_t port;
	while (tries-- > 0) {
		struct nat_flow *f = open_flow(t, c, client, port++, SERVER, NAT_TCP_OPENING, now);
		if (f)
			nat_set_class(t, f, NAT_TCP_OPEN, now);
	}
}

// One has all ports of a destination: others get their share of it, and keep that.
static void test_shares(void **)
{
	enum { PORTS = 600, GREEDY = 7, OTHERS = 4 };
	struct nat_config c = some_config();
	struct nat_table *t = create(4096, 0, 1);
	unsigned share[OTHERS];
	c.port_last = c.port_first + PORTS - 1;
	connect_many(t, &c, GREEDY, 20 * PORTS, 1000);
	assert_true(flows_of(t, GREEDY) > PORTS * 9 / 10);
	for (uint32_t i = 0; i < OTHERS; i++) { // too early: it is busy
		connect_many(t, &c, i, PORTS, 1000 + NAT_QUIET_MS - 1);
		share[i] = flows_of(t, i);
	}
	assert_int_equal(t->evicted, 0);
	for (unsigned round = 0; round < 4 * PORTS; round++) {
		for (uint32_t i = 0; i < OTHERS; i++) {
			connect_many(t, &c, i, 1, 1000 + NAT_QUIET_MS + round);
			assert_true(flows_of(t, i) >= share[i]);
			share[i] = flows_of(t, i);
		}
	}
	// Up to half of what is left to the greedy one.
	for (unsigned i = 0; i < OTHERS; i++) {
		assert_true(share[i] > PORTS / (OTHERS + 2) * 8 / 10);
		assert_true(share[i] <= flows_of(t, GREEDY));
	}
	// Quiet as they are, nothing of it comes back to who has more.
	const uint64_t evicted = t->evicted;
	assert_true(evicted > 0);
	connect_many(t, &c, GREEDY, 20 * PORTS, 100000);
	for (unsigned i = 0; i < OTHERS; i++)
		assert_int_equal(flows_of(t, i), share[i]);
	assert_int_equal(t->evicted, evicted);
	nat_table_destroy(t);
}

// Ports are counted by client and destination, whatever comes and goes.
static void test_held(void **)
{
	enum { CLIENTS = 5, SERVERS = 7 };
	struct nat_config c = some_config();
	struct nat_table *t = create(1 << 17, 0, 1); // so that none shares a cell
	uint32_t seed = 1;
	for (unsigned i = 0; i < 20000; i++) {
		seed = seed * 1664525 + 1013904223;
		const uint32_t client = (seed >> 8) % CLIENTS, server = (seed >> 16) % SERVERS;
		const uint16_t port = (seed >> 24) % 12;
		struct nat_key k = key_of(client, port, server, IPPROTO_UDP);
		struct nat_flow *f = nat_lookup(t, NAT_INSIDE, &k, NOW);
		if (f)
			nat_close(t, f);
		else
			f = open_flow(t, &c, client, port, server, NAT_UDP, NOW);
		assert_non_null(f);
		k = f->side[NAT_OUTSIDE];
		assert_int_equal(nat_held(t, &k, f->client), flows_to(t, client, server));
	}
	while (nat_expire(t, NOW + GONE, 128))
		;
	assert_int_equal(t->n, 0);
	for (uint32_t i = 0; i < 2 * (t->held_mask + 1); i++)
		assert_int_equal(t->held[i], 0);
	nat_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_limit_lowered),
		cmocka_unit_test(test_limit_bound),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_held),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
