// The pool of DERP connections against servers that behave. The clock is ours: what takes a minute
// is a jump and a look at what is due.
#include "tests/unit/derp_pool_client.h"

static void stays_home(void **)
{
	const struct server s = derp_server_start(DERP_GOOD, DERP_GOOD);
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	run(&t, 50);
	assert_false(info_of(&t, REGION).connected); // nobody asked for it
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, saw(&t, DERP_NOTE_PREFERRED, "\1", 1));
	assert_int_equal(info_of(&t, REGION).connects, 1);
	assert_int_equal(info_of(&t, REGION).remote.port, s.port);
	jump(&t, 100);
	run(&t, 50);
	assert_true(info_of(&t, REGION).connected);

	derp_pool_set_home(t.pool, 0);
	WAIT(&t, saw(&t, DERP_NOTE_PREFERRED, "\0", 1));
	jump(&t, DERP_IDLE_S - 1);
	assert_true(info_of(&t, REGION).connected);
	jump(&t, 1);
	assert_false(info_of(&t, REGION).connected);
	run(&t, 50);
	assert_int_equal(info_of(&t, REGION).connects, 1);
	end(&t);
	server_stop(s);
}

static void carries(void **)
{
	const struct server s = derp_server_start(DERP_GOOD, DERP_GOOD);
	uint8_t want[KEY_LEN + 5];
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	memcpy(want, peer.bytes, KEY_LEN);
	memcpy(want + KEY_LEN, "hello", 5);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, "hello", 5), 0);
	WAIT(&t, saw(&t, DERP_SEND_PACKET, want, sizeof(want)));
	const struct derp_region_info info = info_of(&t, REGION);
	assert_int_equal(info.tx_packets, 1);
	assert_int_equal(info.tx_bytes, 5);
	assert_int_equal(info.rx_packets, 1);
	assert_int_equal(info.rx_bytes, 1 + sizeof(want));
	assert_string_equal(info.error, "");

	// The server's key has been heard from here: that is where packets to it go.
	const struct key *heard = (const struct key *)derp_server.public_key;
	assert_int_equal(derp_pool_peer_region(t.pool, heard), REGION);
	assert_int_equal(derp_pool_peer_region(t.pool, &peer), 0);
	memcpy(want, heard->bytes, KEY_LEN);
	assert_int_equal(derp_pool_send(t.pool, OTHER, heard, "hello", 5), 0);
	WAIT(&t, saw(&t, DERP_SEND_PACKET, want, sizeof(want)));
	assert_int_equal(derp_pool_send(t.pool, 77, heard, "hello", 5), 0);
	assert_int_equal(info_of(&t, OTHER).tx_packets + info_of(&t, OTHER).connects, 0);
	end(&t);
	server_stop(s);
}

// While a connection is made the newest packets wait.
static void keeps_the_newest(void **)
{
	const struct server s = derp_server_start(DERP_GOOD, DERP_GOOD);
	struct test t;
	uint8_t want[KEY_LEN + 1];

	begin(&t);
	set_ports(&t, s.port, 0);
	for (uint8_t i = 0; i < 40; i++)
		assert_int_equal(derp_pool_send(t.pool, REGION, &peer, &i, 1), 0);
	assert_int_equal(info_of(&t, REGION).tx_dropped, 40 - DERP_WAITING_MAX);
	WAIT(&t, t.packets == DERP_WAITING_MAX);
	memcpy(want, peer.bytes, KEY_LEN);
	for (uint8_t i = 0; i < 40; i++) {
		want[KEY_LEN] = i;
		assert_int_equal(
			saw(&t, DERP_SEND_PACKET, want, sizeof(want)), i >= 40 - DERP_WAITING_MAX);
	}
	assert_int_equal(info_of(&t, REGION).tx_packets, DERP_WAITING_MAX);
	end(&t);
	server_stop(s);
}

static void takes_the_next_node(void **)
{
	const struct server s = derp_server_start(DERP_GOOD, DERP_GOOD);
	struct test t;

	begin(&t);
	t.regions[0].n_nodes = 2;
	t.nodes[0][1] = (struct nm_derp_node){.name = "second",
		.host = "localhost",
		.ipv4 = "127.0.0.1",
		.ipv6 = "none",
		.derp_port = s.port};
	set_ports(&t, 0, 0);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).connected);
	assert_int_equal(t.pool->regions[0]->failures, 0); // without a pause between
	end(&t);
	server_stop(s);
}

// An address that is out of date, and a name that is right.
static void takes_the_name(void **)
{
	const struct server s = derp_server_start(DERP_GOOD, DERP_GOOD);
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	t.nodes[0][0].ipv4 = "127.0.0.2"; // nobody listens there
	t.nodes[0][0].ipv6 = NULL;
	derp_pool_set_map(t.pool, &t.map);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).connected);
	end(&t);
	server_stop(s);
}

static void hears_the_server(void **)
{
	struct server s = derp_server_start(DERP_SICK, DERP_SICK);
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).error[0]);
	assert_true(info_of(&t, REGION).connected);
	assert_string_equal(info_of(&t, REGION).error, "the server says: too ? hot");
	end(&t);
	server_stop(s);

	s = derp_server_start(DERP_RESTARTS, DERP_GOOD);
	begin(&t);
	set_ports(&t, s.port, 0);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).connects == 2);
	assert_true(t.pool->regions[0]->restart_until_ns > 0);
	end(&t);
	server_stop(s);
}

static void follows_the_map(void **)
{
	const struct server s = derp_server_start(DERP_GOOD, DERP_GOOD);
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).connected);
	t.regions[1].name = "a new name"; // says nothing about connections
	t.nodes[1][0].derp_port = 1;
	derp_pool_set_map(t.pool, &t.map);
	assert_true(info_of(&t, REGION).connected);
	t.nodes[0][0].ipv6 = "::1";
	derp_pool_set_map(t.pool, &t.map);
	assert_false(info_of(&t, REGION).connected);
	WAIT(&t, info_of(&t, REGION).connected);
	end(&t);
	server_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stays_home),
		cmocka_unit_test(carries),
		cmocka_unit_test(keeps_the_newest),
		cmocka_unit_test(takes_the_next_node),
		cmocka_unit_test(takes_the_name),
		cmocka_unit_test(hears_the_server),
		cmocka_unit_test(follows_the_map),
	};
	return cmocka_run_group_tests(tests, setup, pki_teardown);
}
