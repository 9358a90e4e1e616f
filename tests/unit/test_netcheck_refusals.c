// Answers that netcheck must not take: forged, repeated, late, or to nothing that was asked.
#include "tests/unit/netcheck_sim.h"

struct forged {
	struct endpoint from;
	uint8_t packet[64];
	size_t len;
};

static void other_address(struct forged *f)
{
	f->from.addr.bytes[3] ^= 1;
}

static void other_port(struct forged *f)
{
	f->from.port++;
}

static void other_txid(struct forged *f)
{
	f->packet[19] ^= 1;
}

static void other_set(struct forged *f)
{
	f->packet[8] = 0xff;
}

static void later_try(struct forged *f)
{
	f->packet[10] = 1;
}

static void impossible_try(struct forged *f)
{
	f->packet[10] = 0xff;
}

static void shorter(struct forged *f)
{
	f->len--;
}

static void request(struct forged *f)
{
	f->packet[0] = 0;
}

static void no_port(struct forged *f)
{
	f->packet[26] = 0x21;
	f->packet[27] = 0x12;
}

static void unspecified(struct forged *f)
{
	memcpy(f->packet + 28, f->packet + 4, 4);
}

static void multicast(struct forged *f)
{
	f->packet[28] = 0x21 ^ 0xe0;
}

static void nothing(struct forged *)
{
}

static const struct {
	const char *name;
	void (*damage)(struct forged *);
	bool accepted;
} refusals[] = {
	{"from another address", other_address},
	{"from another port", other_port},
	{"another txid", other_txid},
	{"of no probe set", other_set},
	{"of a try that was not sent", later_try},
	{"of a try that cannot be", impossible_try},
	{"truncated", shorter},
	{"a request", request},
	{"port 0", no_port},
	{"mapped to 0.0.0.0", unspecified},
	{"mapped to a multicast address", multicast},
	{"as it should be", nothing, true},
};

static void test_refusals(void **)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct sim_region regions[] = {{1, 20}};
		struct sim *const s = sim_create(regions, 1);
		struct forged f;

		print_message("%s\n", refusals[i].name);
		sim_start(s, false, false);
		f.from = s->last_answer.from;
		f.len = s->last_answer.len;
		memcpy(f.packet, s->last_answer.packet, f.len);
		refusals[i].damage(&f);
		assert_int_equal(netcheck_input(s->nc, &f.from, f.packet, f.len, s->now_ns),
			refusals[i].accepted);
		assert_int_equal(s->reports, refusals[i].accepted);
		if (refusals[i].accepted) { // again, and nobody asked
			assert_int_equal(s->report.latency[0].v4_ns, 1);
			assert_false(netcheck_input(s->nc, &f.from, f.packet, f.len, s->now_ns));
		} else {
			sim_until(s, UINT64_MAX);
			assert_int_equal(s->report.latency[0].v4_ns, 20 * SIM_MS);
			assert_int_equal(s->report.global_seen[0], 1);
		}
		sim_destroy(s);
	}
}

// The same answer twice within a run counts once.
static void test_repeated(void **)
{
	struct sim_region regions[] = {{1, 20}, {2, 500}};
	struct sim *const s = sim_create(regions, 2);

	sim_start(s, false, false);
	struct sim_event first = s->events[0];
	sim_until(s, s->now_ns + 30 * SIM_MS);
	assert_false(netcheck_input(s->nc, &first.from, first.packet, first.len, s->now_ns));
	sim_until(s, UINT64_MAX);
	assert_int_equal(s->report.global_seen[0], 2);
	sim_destroy(s);
}

// Answers of HTTPS, ICMP and portals that were not asked for, or twice.
static void test_unasked(void **)
{
	struct sim_region regions[] = {{1, 20}, {2, 30}};
	struct sim *const s = sim_create(regions, 2);

	netcheck_https(s->nc, 1, 5, s->now_ns);
	sim_start(s, false, false);
	netcheck_https(s->nc, 1, 5, s->now_ns);
	netcheck_icmp(s->nc, 1, 5, s->now_ns);
	netcheck_captive(s->nc, true, s->now_ns);
	netcheck_resolved(s->nc, "nobody.example.com", NULL, 0, s->now_ns);
	sim_until(s, UINT64_MAX);
	assert_int_equal(s->report.latency[0].https_ns, 0);
	assert_int_equal(s->report.captive_portal, -1);
	regions[0].https_ms = regions[1].https_ms = 100;
	sim_start(s, true, true);
	netcheck_https(s->nc, 7, 5, s->now_ns);
	netcheck_icmp(s->nc, 1, 5, s->now_ns);
	netcheck_https(s->nc, 1, 50, s->now_ns);
	netcheck_https(s->nc, 1, 5, s->now_ns);
	sim_until(s, UINT64_MAX);
	assert_int_equal(netcheck_region_ns(&s->report, 1), 50);
	assert_int_equal(netcheck_region_ns(&s->report, 7), 0);
	sim_destroy(s);
}

// A new map ends the run; nothing of the old one arrives any more.
static void test_map_changes(void **)
{
	struct sim_region regions[] = {{1, 20}, {2, 30}};
	struct sim *const s = sim_create(regions, 2);

	sim_start(s, false, false);
	netcheck_start(s->nc, true, false, s->now_ns, 1); // nothing: one is under way
	assert_int_equal(s->sent_v4, 2);
	sim_set_map(s);
	assert_false(netcheck_running(s->nc));
	assert_int_equal(netcheck_next_ns(s->nc), UINT64_MAX);
	for (unsigned i = 0; i < s->n_events; i++)
		assert_false(netcheck_input(s->nc, &s->events[i].from, s->events[i].packet,
			s->events[i].len, s->now_ns));
	assert_int_equal(s->reports, 0);
	assert_int_equal(netcheck_last(s->nc)->unix_ns, 0);
	sim_run(s, false, false);
	assert_int_equal(s->report.preferred, 1);
	sim_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_unasked),
		cmocka_unit_test(test_map_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
