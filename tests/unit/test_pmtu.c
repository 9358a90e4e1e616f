// The search for a path's MTU against paths of known size: how soon it settles, what it asks, and
// what does not deceive it.
#include "tests/unit/vectors.h"

#include <errno.h>
#include <sodium.h>

#include "control/path/pmtu.h"

enum { FLIGHTS = 256, STEP_MS = 10 };

static const uint64_t MS = UINT64_C(1000000);

struct flight {
	uint64_t at_ns;
	uint8_t txid[DISCO_TXID_LEN];
	uint16_t size;
};

// A path that carries up to mtu bytes.
struct way {
	struct pmtu pmtu;
	uint64_t now_ns, rtt_ns;
	uint16_t mtu;
	unsigned loss; // percent, of all
	bool dead;
	unsigned probes, largest;
	struct flight flights[FLIGHTS];
	unsigned n;
	uint64_t seed;
};

static struct way way;

static void open_way(uint16_t mtu, uint16_t min, uint16_t top, unsigned rtt_ms)
{
	way = (struct way){.now_ns = 1000000 * MS, .rtt_ns = rtt_ms * MS, .mtu = mtu, .seed = 1};
	pmtu_set_limits(&way.pmtu, min, top, way.now_ns);
}

static unsigned dice(void)
{
	way.seed = way.seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(way.seed >> 33) % 100;
}

static void send_probe(uint16_t size)
{
	struct flight f = {.at_ns = way.now_ns + way.rtt_ns, .size = size};

	randombytes_buf(f.txid, sizeof(f.txid));
	pmtu_sent(&way.pmtu, size, f.txid);
	way.probes++;
	way.largest = size > way.largest ? size : way.largest;
	if (way.dead || size > way.mtu || dice() < way.loss)
		return;
	assert_true(way.n < FLIGHTS);
	way.flights[way.n++] = f;
}

static void tick(void)
{
	uint16_t sizes[PMTU_ROUND_MAX];
	const unsigned n = pmtu_tick(&way.pmtu, way.rtt_ns, way.now_ns, sizes);

	assert_true(n <= PMTU_ROUND_MAX);
	for (unsigned i = 0; i < n; i++) {
		assert_true(i == 0 || sizes[i] < sizes[i - 1]);
		assert_in_range(sizes[i], way.pmtu.min, way.pmtu.top);
		send_probe(sizes[i]);
	}
}

static void take_answers(void)
{
	for (unsigned i = 0; i < way.n;) {
		if (way.flights[i].at_ns > way.now_ns) {
			i++;
			continue;
		}
		const int rc =
			pmtu_answered(&way.pmtu, way.flights[i].txid, way.rtt_ns, way.now_ns);
		assert_true(rc == 0 || rc == -ENOENT);
		memmove(&way.flights[i], &way.flights[i + 1],
			(--way.n - i) * sizeof(way.flights[0]));
	}
}

// As the mesh does it: traffic every 100 ms, ticks when they are asked for.
static void run(unsigned ms, bool traffic, enum pmtu_traffic kind)
{
	for (unsigned at = 0; at < ms; at += STEP_MS) {
		if (traffic && way.now_ns / MS % 100 == 0)
			pmtu_traffic(&way.pmtu, kind, way.now_ns);
		take_answers();
		if (way.now_ns >= pmtu_next_ns(&way.pmtu, way.now_ns))
			tick();
		way.now_ns += STEP_MS * MS;
	}
}

// Milliseconds until the MTU is that, at most most.
static unsigned until(uint16_t mtu, unsigned most, enum pmtu_traffic kind)
{
	for (unsigned at = 0; at < most; at += STEP_MS) {
		if (way.pmtu.mtu == mtu)
			return at;
		run(STEP_MS, true, kind);
	}
	print_message("mtu %u instead of %u\n", way.pmtu.mtu, mtu);
	return most;
}

static const struct {
	const char *name;
	uint16_t mtu, min, top;
	unsigned rtt_ms;
} paths[] = {
	{"all that the link takes", 1500, 576, 1500, 1},
	{"a tailnet's 1280", 1340, 576, 1340, 1},
	{"a byte less", 1499, 576, 1500, 1},
	{"PPPoE", 1492, 576, 1500, 20},
	{"another tunnel", 1420, 576, 1500, 20},
	{"VXLAN", 1450, 576, 1500, 5},
	{"what IPv6 takes for granted", 1280, 1280, 1500, 20},
	{"what IPv4 does", 576, 576, 1500, 20},
	{"jumbo", 9000, 576, 9000, 1},
	{"jumbo but for a switch", 1500, 576, 9000, 1},
	{"half jumbo", 4470, 1280, 9000, 20},
	{"nearly nothing to choose", 1280, 1280, 1281, 20},
	{"far away", 1400, 576, 1500, 200},
};

static void test_first_use(void **)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		open_way(paths[i].mtu, paths[i].min, paths[i].top, paths[i].rtt_ms);
		// 2 s, but for round trips of which one alone takes a tenth of that.
		const unsigned most = paths[i].rtt_ms < 100 ? 2000 : 4000;
		const unsigned took = until(paths[i].mtu, most, PMTU_FULL);
		print_message("%s: %u after %u ms, %u probes\n", paths[i].name, way.pmtu.mtu, took,
			way.probes);
		assert_true(took < most);
		assert_true(way.probes <= 60);
		assert_true(way.pmtu.proven_ns >= way.pmtu.changed_ns);
	}
}

static void test_usual_case_is_cheap(void **)
{
	open_way(1500, 576, 1500, 5);
	run(200, true, PMTU_SMALL);
	assert_int_equal(way.pmtu.mtu, 1500);
	assert_int_equal(way.probes, 2);
	run(4000, true, PMTU_SMALL);
	assert_int_equal(way.probes, 2);
	run(10000, true, PMTU_SMALL);
	assert_in_range(way.probes, 3, 5); // one in PMTU_CHECK_MS
	way.probes = 0;
	run(10000, true, PMTU_FULL);
	assert_in_range(way.probes, 30, 41);
}

static void test_silence(void **)
{
	open_way(1500, 576, 1500, 5);
	assert_true(pmtu_next_ns(&way.pmtu, way.now_ns) == UINT64_MAX);
	run(5000, false, PMTU_SMALL);
	assert_int_equal(way.probes, 0); // nothing is sent, nothing is asked
	run(1000, true, PMTU_FULL);
	run(1500, false, PMTU_SMALL);
	way.probes = 0;
	run(60000, false, PMTU_SMALL);
	assert_int_equal(way.probes, 0);
	assert_true(pmtu_next_ns(&way.pmtu, way.now_ns) == UINT64_MAX);
	assert_int_equal(way.pmtu.mtu, 1500);
}

static const struct {
	const char *name;
	uint16_t from, to;
	unsigned rtt_ms;
	enum pmtu_traffic kind;
	unsigned most_ms;
} shrinks[] = {
	{"both ways", 1500, 1400, 5, PMTU_SUSPECT, 700},
	{"one way", 1500, 1400, 5, PMTU_FULL, 1000},
	{"to the least", 1500, 576, 5, PMTU_FULL, 1000},
	{"a byte", 1500, 1499, 5, PMTU_FULL, 1000},
	{"jumbo", 9000, 1500, 5, PMTU_FULL, 1000},
	{"far away", 1500, 1400, 200, PMTU_FULL, 3000},
};

static void test_shrinks(void **)
{
	for (size_t i = 0; i < sizeof(shrinks) / sizeof(shrinks[0]); i++) {
		open_way(shrinks[i].from, 576, shrinks[i].from, shrinks[i].rtt_ms);
		until(shrinks[i].from, 4000, PMTU_FULL);
		run(730, true, PMTU_FULL);
		way.mtu = shrinks[i].to;
		const unsigned took = until(shrinks[i].to, 5000, shrinks[i].kind);
		print_message("%s: after %u ms\n", shrinks[i].name, took);
		assert_in_range(took, 1, shrinks[i].most_ms);
	}
}

static void test_grows(void **)
{
	open_way(1400, 576, 1500, 5);
	until(1400, 4000, PMTU_FULL);
	way.probes = 0;
	run(60000, true, PMTU_SMALL);
	assert_int_equal(way.pmtu.mtu, 1400);
	assert_true(way.probes <= 6 * PMTU_ROUND_MAX + 12); // asked for, but not much
	way.mtu = 1500;
	assert_true(until(1500, 60000, PMTU_SMALL) <= PMTU_RAISE_MS + PMTU_CHECK_MS + 1000);
	way.mtu = 1300;
	until(1300, 4000, PMTU_FULL);
	way.mtu = 1452; // in between
	assert_true(until(1452, 60000, PMTU_FULL) <= PMTU_RAISE_MS + 2000);
}

// A busy path loses packets of any size: its MTU stays.
static void test_loss_is_no_limit(void **)
{
	for (unsigned loss = 1; loss <= 25; loss += 4) {
		unsigned lowered = 0;
		open_way(1500, 576, 1500, 20);
		until(1500, 4000, PMTU_FULL);
		way.loss = loss;
		for (unsigned s = 0; s < 120; s++) {
			run(1000, true, PMTU_FULL);
			lowered += way.pmtu.mtu != 1500;
		}
		print_message("%u %% lost: lower in %u of 120 s\n", loss, lowered);
		assert_true(lowered == 0);
	}
}

// And one that is found on such a path is right, or becomes so.
static void test_loss_hides_nothing(void **)
{
	open_way(1500, 576, 1500, 20);
	until(1500, 4000, PMTU_FULL);
	way.loss = 5;
	way.mtu = 1400;
	run(15000, true, PMTU_FULL);
	assert_in_range(way.pmtu.mtu, 1390, 1400);
}

static void test_dead_path(void **)
{
	open_way(1500, 576, 1500, 5);
	until(1500, 4000, PMTU_FULL);
	way.dead = true;
	way.probes = 0;
	run(30000, true, PMTU_SUSPECT);
	assert_int_equal(way.pmtu.mtu, 1500); // that nothing comes back says nothing of sizes
	assert_true(way.probes < 1400);
	way.dead = false;
	way.mtu = 1400;
	assert_true(until(1400, 4000, PMTU_FULL) < 2000);
}

static void test_link_changes(void **)
{
	open_way(1500, 576, 1500, 5);
	until(1500, 4000, PMTU_FULL);
	pmtu_set_limits(&way.pmtu, 576, 1400, way.now_ns);
	assert_int_equal(way.pmtu.mtu, 1400); // without asking
	way.mtu = 1400;
	run(1000, true, PMTU_FULL);
	assert_int_equal(way.pmtu.mtu, 1400);
	way.mtu = 1500;
	pmtu_set_limits(&way.pmtu, 576, 1500, way.now_ns);
	assert_true(until(1500, 4000, PMTU_FULL) < 1000);
	pmtu_set_limits(&way.pmtu, 576, 0, way.now_ns); // no way there any more
	assert_int_equal(way.pmtu.mtu, 0);
	way.probes = 0;
	run(1000, true, PMTU_FULL);
	assert_int_equal(way.probes, 0);
}

static void test_unasked_answers(void **)
{
	uint8_t txid[DISCO_TXID_LEN] = {0};

	open_way(1400, 576, 1500, 50);
	assert_int_equal(pmtu_answered(&way.pmtu, txid, 0, way.now_ns), -ENOENT);
	run(20, true, PMTU_FULL);
	assert_int_equal(way.pmtu.state, PMTU_SEARCH);
	for (unsigned i = 0; i < 10000; i++) {
		randombytes_buf(txid, sizeof(txid));
		assert_int_equal(pmtu_answered(&way.pmtu, txid, 0, way.now_ns), -ENOENT);
	}
	assert_int_equal(way.pmtu.good, 0);
	memcpy(txid, way.pmtu.probes[1].txid, sizeof(txid)); // of the small one
	assert_int_equal(pmtu_answered(&way.pmtu, txid, 0, way.now_ns), 0);
	assert_int_equal(pmtu_answered(&way.pmtu, txid, 0, way.now_ns), -ENOENT); // once is enough
	assert_int_equal(way.pmtu.good, 576);
	pmtu_reset(&way.pmtu);
	assert_int_equal(pmtu_answered(&way.pmtu, txid, 0, way.now_ns), -ENOENT);
	assert_int_equal(way.pmtu.mtu, 0);
}

static void test_hints(void **)
{
	static const uint16_t lies[] = {0, 1, 68, 575, 576, 600, 1399, 1401, 1499, 1500, 65535};

	open_way(1400, 576, 1500, 50);
	pmtu_hint(&way.pmtu, 1400);
	const unsigned took = until(1400, 4000, PMTU_FULL);
	print_message("with a hint: after %u ms, %u probes\n", took, way.probes);
	assert_true(took < 1000);
	// Whoever says anything else is not believed: what gets through counts.
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		open_way(1400, 576, 1500, 5);
		pmtu_hint(&way.pmtu, lies[i]);
		assert_true(until(1400, 4000, PMTU_FULL) < 2000);
		for (unsigned s = 0; s < 20; s++) {
			pmtu_hint(&way.pmtu, lies[i]);
			run(1000, true, PMTU_FULL);
			assert_int_equal(way.pmtu.mtu, 1400);
		}
	}
}

static void test_what_is_not_probed(void **)
{
	static const uint16_t tops[] = {0, 1, 575, 576};

	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		open_way(9000, 576, tops[i], 5);
		run(20000, true, PMTU_SUSPECT);
		assert_int_equal(way.probes, 0);
		assert_int_equal(way.pmtu.mtu, 0);
	}
}

// Nothing can be sent: nothing is concluded, and it ends.
static void test_nothing_leaves(void **)
{
	uint16_t sizes[PMTU_ROUND_MAX];

	open_way(1500, 576, 1500, 5);
	for (unsigned i = 0; i < 1000; i++, way.now_ns += STEP_MS * MS) {
		pmtu_traffic(&way.pmtu, PMTU_FULL, way.now_ns);
		assert_true(pmtu_tick(&way.pmtu, way.rtt_ns, way.now_ns, sizes) <= PMTU_ROUND_MAX);
	}
	assert_int_equal(way.pmtu.mtu, 0);
	assert_true(way.pmtu.n_probes == 0);
	assert_int_equal(until(1500, 4000, PMTU_FULL) < 2000, true);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_use),
		cmocka_unit_test(test_usual_case_is_cheap),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_shrinks),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_loss_is_no_limit),
		cmocka_unit_test(test_loss_hides_nothing),
		cmocka_unit_test(test_dead_path),
		cmocka_unit_test(test_link_changes),
		cmocka_unit_test(test_unasked_answers),
		cmocka_unit_test(test_hints),
		cmocka_unit_test(test_what_is_not_probed),
		cmocka_unit_test(test_nothing_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
