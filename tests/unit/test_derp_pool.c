// The pool of DERP connections against servers that behave and servers that do not. The clock is
// ours: what takes a minute is a jump and a look at what is due.
#include "tests/unit/derp_server.h"

#include "control/path/derp_pool_priv.h"
#include "dataplane/base/log.h"

enum {
	REGION = 901,
	OTHER = 902,
	PACKETS_MAX = 64,
};

struct test {
	struct event_base *base;
	struct net *net;
	struct derp_pool *pool;
	uint64_t jumped_ns;
	unsigned packets, changes;
	uint8_t seen[PACKETS_MAX][128]; // frame type and payload, as the server got them
	size_t seen_len[PACKETS_MAX];
	struct nm_derp_node nodes[2][2];
	struct nm_derp_region regions[2];
	struct nm_derp_map map;
};

static struct key peer = {{1, 2, 3}};

static uint64_t now_ns(void *arg)
{
	const struct test *t = arg;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * DERP_S + (uint64_t)ts.tv_nsec + t->jumped_ns;
}

static void on_packet(void *arg, uint16_t, const struct key *from, const uint8_t *data, size_t len)
{
	struct test *t = arg;

	assert_memory_equal(from->bytes, derp_server.public_key, KEY_LEN);
	const unsigned at = t->packets++ % PACKETS_MAX;
	t->seen_len[at] = len;
	memcpy(t->seen[at], data, len < sizeof(t->seen[at]) ? len : sizeof(t->seen[at]));
}

static void on_gone(void *, uint16_t, const struct key *, enum derp_gone)
{
}

static void on_changed(void *arg, uint16_t)
{
	((struct test *)arg)->changes++;
}

static void begin(struct test *t)
{
	const struct derp_pool_env env = {.arg = t,
		.packet = on_packet,
		.gone = on_gone,
		.changed = on_changed,
		.now_ns = now_ns};
	struct key private_key;

	*t = (struct test){.base = event_base_new(), .map = {.n_regions = 2}};
	t->net = net_create(t->base);
	t->pool = derp_pool_create(t->base, t->net, &env);
	assert_non_null(t->pool);
	x25519_generate(private_key.bytes);
	derp_pool_set_key(t->pool, &private_key);
	t->map.regions = t->regions;
	for (int i = 0; i < 2; i++)
		t->regions[i] = (struct nm_derp_region){.id = REGION + (uint32_t)i,
			.code = "test",
			.nodes = t->nodes[i],
			.n_nodes = 1};
}

// Servers of both regions, by port; 0: nobody is there.
static void set_ports(struct test *t, uint16_t a, uint16_t b)
{
	const uint16_t ports[] = {a ? a : dead_port(), b ? b : dead_port()};

	for (int i = 0; i < 2; i++)
		t->nodes[i][0] = (struct nm_derp_node){.name = "n",
			.host = "localhost",
			.ipv4 = "127.0.0.1",
			.ipv6 = "none",
			.derp_port = ports[i]};
	derp_pool_set_map(t->pool, &t->map);
}

static void end(struct test *t)
{
	derp_pool_destroy(t->pool);
	net_destroy(t->net);
	event_base_free(t->base);
}

static void run(struct test *t, unsigned ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_base_loopexit(t->base, &tv);
	event_base_dispatch(t->base);
}

static struct derp_region_info info_of(struct test *t, uint16_t region)
{
	struct derp_region_info info;

	assert_true(derp_pool_region(t->pool, region, &info));
	return info;
}

#define WAIT(t, condition)                                                                         \
	do {                                                                                       \
		for (unsigned turn_ = 0; turn_ < 500 && !(condition); turn_++)                     \
			run(t, 10);                                                                \
		assert_true(condition);                                                            \
	} while (0)

// Time goes by.
static void jump(struct test *t, unsigned s)
{
	t->jumped_ns += s * DERP_S;
	for (uint32_t i = 0; i < t->pool->n_regions; i++)
		derp_region_tick(-1, 0, t->pool->regions[i]);
}

static bool saw(struct test *t, uint8_t type, const void *payload, size_t len)
{
	for (unsigned i = 0; i < t->packets && i < PACKETS_MAX; i++)
		if (t->seen_len[i] == len + 1 && t->seen[i][0] == type &&
			memcmp(t->seen[i] + 1, payload, len) == 0)
			return true;
	return false;
}

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

static void refuses_to_send(void **)
{
	static const uint8_t large[DERP_PACKET_MAX + 1];
	const struct server s = derp_server_start(DERP_LIMITS, DERP_LIMITS);
	const struct key none = {0};
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	assert_int_equal(derp_pool_send(t.pool, 77, &peer, "x", 1), -EHOSTUNREACH);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, large, sizeof(large)), -EMSGSIZE);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).connected);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, large, sizeof(large)), -EMSGSIZE);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, large, 900), 0);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, large, 900), -ENOBUFS);
	assert_int_equal(info_of(&t, REGION).tx_dropped, 2);
	derp_pool_set_key(t.pool, &none);
	assert_false(info_of(&t, REGION).connected);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, "x", 1), -EHOSTUNREACH);
	run(&t, 50);
	assert_int_equal(info_of(&t, REGION).connects, 1);
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

static void stops_trying(void **)
{
	struct test t;

	begin(&t);
	set_ports(&t, 0, 0);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, "x", 1), 0);
	WAIT(&t, t.pool->regions[0]->failures >= 3);
	assert_non_null(strstr(info_of(&t, REGION).error, "refuses"));
	jump(&t, DERP_IDLE_S);
	const unsigned failures = t.pool->regions[0]->failures;
	assert_int_equal(t.pool->regions[0]->n_waiting, 0);
	assert_int_equal(info_of(&t, REGION).tx_dropped, 1);
	run(&t, 300);
	assert_int_equal(t.pool->regions[0]->failures, failures);
	end(&t);
}

// Pauses grow to 5 s and not further, however often it fails.
static void backs_off(void **)
{
	static const unsigned counts[] = {10, 15, 22, 500, 1000, 1001};
	struct test t;

	begin(&t);
	set_ports(&t, 0, 0);
	derp_pool_set_home(t.pool, REGION);
	struct derp_region *r = t.pool->regions[0];
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		WAIT(&t, !r->stream && r->failures > 0);
		r->failures = counts[i] - 1;
		r->retry_ns = 0;
		derp_region_tick(-1, 0, r);
		const uint64_t before = now_ns(&t);
		WAIT(&t, !r->stream);
		const uint64_t mean = counts[i] < 22 ? counts[i] * counts[i] * 10 : 5000;
		assert_int_equal(r->failures, counts[i] < 1000 ? counts[i] : 1000);
		assert_true(r->retry_ns >= before + mean / 2 * DERP_MS);
		assert_true(r->retry_ns <= now_ns(&t) + 5000 * DERP_MS);
	}
	end(&t);
}

static void refuses_servers(void **)
{
	static const struct {
		enum derp_behaviour how;
		const char *why;
		unsigned after_s; // the clock has to jump
	} cases[] = {
		{DERP_NO_UPGRADE, "HTTP 404", 0},
		{DERP_NO_KEY, "no greeting within", DERP_STEP_TIMEOUT_S},
		{DERP_NOT_ADMITTED, "verify clients", 0},
		{DERP_BAD_INFO, "does not open", 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct server s = derp_server_start(cases[i].how, cases[i].how);
		struct test t;
		begin(&t);
		set_ports(&t, s.port, 0);
		derp_pool_set_home(t.pool, REGION);
		if (cases[i].after_s) {
			WAIT(&t, t.pool->regions[0]->derp);
			run(&t, 100);
			jump(&t, cases[i].after_s);
		}
		WAIT(&t, strstr(info_of(&t, REGION).error, cases[i].why));
		assert_int_equal(info_of(&t, REGION).connects, 0);
		assert_false(info_of(&t, REGION).connected);
		end(&t);
		server_stop(s);
	}
}

static void refuses_nodes(void **)
{
	static const struct {
		struct nm_derp_node node;
		const char *why;
	} cases[] = {
		{{.host = "localhost", .stun_only = true, .derp_port = 443}, "only STUN"},
		{{.host = "localhost", .ipv4 = "none", .ipv6 = "none", .derp_port = 443},
			"without addresses"},
		{{.host = "local host", .ipv4 = "127.0.0.1", .derp_port = 443}, "Invalid argument"},
		{{.host = "a/../b", .derp_port = 443}, "Invalid argument"},
		{{.host = "localhost", .cert = "sha256-raw:xyz", .derp_port = 443},
			"Invalid argument"},
		{{.host = "no-such-host.invalid", .derp_port = 443}, "cannot be resolved"},
	};
	struct test t;

	begin(&t);
	derp_pool_set_home(t.pool, REGION);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		t.nodes[0][0] = cases[i].node;
		t.map.n_regions = 1;
		derp_pool_set_map(t.pool, &t.map);
		WAIT(&t, strstr(info_of(&t, REGION).error, cases[i].why));
	}
	t.regions[0].n_nodes = 0;
	derp_pool_set_map(t.pool, &t.map);
	WAIT(&t, strstr(info_of(&t, REGION).error, "no node"));
	t.map.n_regions = 0;
	derp_pool_set_map(t.pool, &t.map);
	struct derp_region_info info;
	assert_false(derp_pool_region(t.pool, REGION, &info));
	end(&t);
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
	assert_true(t.pool->regions[0]->restart_until_ns > now_ns(&t));
	end(&t);
	server_stop(s);
}

static void notices_silence(void **)
{
	const struct server s = derp_server_start(DERP_MUTE, DERP_GOOD);
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).connected);
	jump(&t, DERP_READ_TIMEOUT_S - 1);
	assert_true(info_of(&t, REGION).connected);
	jump(&t, 1);
	assert_false(info_of(&t, REGION).connected);
	assert_non_null(strstr(info_of(&t, REGION).error, "nothing came"));
	WAIT(&t, info_of(&t, REGION).connects == 2);
	end(&t);
	server_stop(s);
}

static void asks_when_the_network_changed(void **)
{
	for (int mute = 0; mute < 2; mute++) {
		const struct server s = derp_server_start(mute ? DERP_MUTE : DERP_GOOD, DERP_GOOD);
		struct test t;
		begin(&t);
		set_ports(&t, s.port, 0);
		derp_pool_set_home(t.pool, REGION);
		WAIT(&t, info_of(&t, REGION).connected);
		derp_pool_rebind(t.pool);
		run(&t, 200);
		jump(&t, DERP_PING_TIMEOUT_S);
		assert_int_equal(info_of(&t, REGION).connected, !mute);
		WAIT(&t, info_of(&t, REGION).connects == (mute ? 2u : 1u));
		end(&t);
		server_stop(s);
	}
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

static void remembers_routes(void **)
{
	static struct derp_routes routes;
	const struct derp_route *r;
	struct key k = {0};

	crypto_shorthash_keygen(routes.seed);
	derp_routes_learn(&routes, &peer, REGION, 1);
	derp_routes_forget(&routes, &peer, OTHER);
	r = derp_routes_find(&routes, &peer);
	assert_true(r && r->region == REGION && r->generation == 1);
	derp_routes_learn(&routes, &peer, OTHER, 2);
	r = derp_routes_find(&routes, &peer);
	assert_true(r && r->region == OTHER && r->generation == 2);
	derp_routes_forget(&routes, &peer, OTHER);
	assert_null(derp_routes_find(&routes, &peer));

	// Strangers push out others, and the newest is always there.
	for (uint32_t i = 1; i < 100000; i++) {
		memcpy(k.bytes, &i, sizeof(i));
		derp_routes_learn(&routes, &k, REGION, i);
		r = derp_routes_find(&routes, &k);
		assert_true(r && r->generation == i);
	}
}

static void bounds_what_waits(void **)
{
	const size_t kib = 1024, mib = 1024 * kib;
	struct derp_backlog b;

	derp_backlog_init(&b, 0);
	assert_true(derp_backlog_room(&b, 1, mib - 1));
	assert_false(derp_backlog_room(&b, 1, mib));
	// 600 KiB left in 100 ms in which something always waited: so much may wait.
	b = (struct derp_backlog){.queued = mib, .written = 600 * kib, .limit = mib};
	assert_false(derp_backlog_room(&b, 100 * DERP_MS, mib));
	assert_false(derp_backlog_room(&b, 101 * DERP_MS, 600 * kib));
	assert_true(derp_backlog_room(&b, 102 * DERP_MS, 600 * kib - 1));
	// Hardly anything leaves: the least is allowed still.
	b = (struct derp_backlog){.queued = 266 * kib, .limit = mib};
	assert_false(derp_backlog_room(&b, 100 * DERP_MS, 256 * kib));
	assert_true(derp_backlog_room(&b, 101 * DERP_MS, 256 * kib - 1));
	// Idle for long is not slow.
	b = (struct derp_backlog){.emptied = true, .limit = 256 * kib};
	assert_true(derp_backlog_room(&b, 1000 * DERP_S, 0));
	assert_true(derp_backlog_room(&b, 1000 * DERP_S, mib - 1));
}

static int setup(void **state)
{
	log_init(LOG_LEVEL_ERROR);
	return sodium_init() < 0 ? -1 : pki_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stays_home),
		cmocka_unit_test(carries),
		cmocka_unit_test(refuses_to_send),
		cmocka_unit_test(keeps_the_newest),
		cmocka_unit_test(stops_trying),
		cmocka_unit_test(backs_off),
		cmocka_unit_test(refuses_servers),
		cmocka_unit_test(refuses_nodes),
		cmocka_unit_test(takes_the_next_node),
		cmocka_unit_test(takes_the_name),
		cmocka_unit_test(hears_the_server),
		cmocka_unit_test(notices_silence),
		cmocka_unit_test(asks_when_the_network_changed),
		cmocka_unit_test(follows_the_map),
		cmocka_unit_test(remembers_routes),
		cmocka_unit_test(bounds_what_waits),
	};
	return cmocka_run_group_tests(tests, setup, pki_teardown);
}
