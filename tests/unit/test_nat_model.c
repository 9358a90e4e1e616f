// A million random packets through the packet filter and the address translation, beside a model of
// plain arrays (nat_model.h): IPv4 and IPv6, 4via6, services, remapped prefixes, ICMP errors,
// fragments, hairpins, idle flows, other configurations and rules in between.
#include "tests/unit/nat_model_run.h"

enum { PACKETS = 1000000 };

// What must have been met to have been tested.
static const enum drop_reason met[] = {DROP_FILTER_RULE, DROP_NAT_FRAGMENT, DROP_NAT_PROTOCOL,
	DROP_NAT_NO_FLOW, DROP_NAT_UNREACHABLE, DROP_NAT_NO_ADDRESS, DROP_NAT_PORTS};

static uint64_t state;

static uint32_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32);
}

static void test_random(void **)
{
	static struct gw g;
	static struct model m;
	const char *seed = getenv("NAT_MODEL_SEED"), *packets = getenv("NAT_MODEL_PACKETS");
	state = seed ? strtoull(seed, NULL, 0) : 0x9e3779b97f4a7c15;
	m_source = next;
	test_eal_init();
	m_open(&m, &g);
	for (uint64_t n = packets ? strtoull(packets, NULL, 0) : PACKETS; n > 0; n--)
		m_step(&m);
	for (unsigned i = 0; i < RTE_DIM(met) && !packets; i++)
		assert_true(m.drops[met[i]] > 0);
	print_message("%lu of hairpins, %lu errors, %lu of the other family\n", m.hairpins,
		m.errors, m.families);
	assert_true(packets ||
		    (m.hairpins > 20 && m.errors > PACKETS / 100 && m.families > PACKETS / 100));
	print_message("%lu passed, %lu dropped, %lu to the kernel, %lu answered; %lu flows\n",
		m.passed, m.dropped, m.kernel, m.icmp, m.created);
	assert_true(m.passed > PACKETS / 10 || packets);
	assert_true(m.created > PACKETS / 100 || packets);
	assert_int_equal(m_graph(&m)->nat->created, m.created);
	assert_int_equal(m_graph(&m)->nat->evicted, m.evicted);
	assert_true(m.evicted > PACKETS / 1000 || packets);
	m_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
