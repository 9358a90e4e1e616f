// What the doctor makes of what it tried.
#include "tests/unit/doctor_facts.h"

static void fresh_refused(struct doctor_facts *f)
{
	f->tries.fresh.trouble = COORD_TROUBLE_VERSION;
	snprintf(f->tries.fresh.why, sizeof(f->tries.fresh.why), "closed during the handshake");
}
static void fresh_future(struct doctor_facts *f)
{
	f->tries.fresh.trouble = (enum coord_trouble)200;
}
static void fresh_not_tried(struct doctor_facts *f)
{
	fresh_refused(f);
	snprintf(f->tries.fresh.why, sizeof(f->tries.fresh.why), "not tried: busy");
}
static void passive(struct doctor_facts *f)
{
	f->tries = (struct doctor_tries){};
}
static void not_reached(struct doctor_facts *f)
{
	f->tries.in = (struct mesh_reach){.asked = 3};
}
static void not_reached_public(struct doctor_facts *f)
{
	not_reached(f);
	public_without_mapping(f);
}
static void not_reached_nat(struct doctor_facts *f)
{
	not_reached(f);
	no_mapping(f);
}
static void not_reached_refused(struct doctor_facts *f)
{
	not_reached(f);
	version(f);
}
static void nobody_asked(struct doctor_facts *f)
{
	f->tries.in = (struct mesh_reach){};
}
static void publish(struct doctor_facts *f, const char *address)
{
	static struct config_endpoints published;
	published.list[0] = endpoint_of(address);
	published.count = 1;
	f->published = &published;
}
static void published_same(struct doctor_facts *f)
{
	publish(f, "198.51.100.7:7");
}
static void published_v6(struct doctor_facts *f)
{
	publish(f, "[2001:db8::7]:41641");
}
static void published_other(struct doctor_facts *f)
{
	publish(f, "198.51.100.8:41641");
}
static void published_not_reached(struct doctor_facts *f)
{
	publish(f, "198.51.100.7:41641");
	not_reached_nat(f);
}
static void derp_drops(struct doctor_facts *f)
{
	f->tries.derp_dropped = 5;
}
static void derp_here(struct doctor_facts *f)
{
	f->home_is_here = true;
}
static void sibling(struct doctor_facts *f)
{
	relay(f);
	peers[0].addresses[0] = endpoint_of("192.168.1.7:1").addr;
	peers[0].addresses[1] = endpoint_of("203.0.113.4:1").addr;
	peers[0].n_addresses = 2;
	peers[1].active = peers[1].direct = true;
	peers[1].via = endpoint_of("203.0.113.4:1").addr;
}
static void sibling_relayed(struct doctor_facts *f)
{
	sibling(f);
	peers[1].direct = false;
}
static void sibling_idle(struct doctor_facts *f)
{
	sibling(f);
	peers[1].active = false;
}
static void no_sibling(struct doctor_facts *f)
{
	sibling(f);
	peers[1].via = endpoint_of("203.0.113.5:1").addr;
}
static void hard_nat_both(struct doctor_facts *f)
{
	hard_nat(f);
	relay(f);
}

static const struct doctor_case cases[] = {
	{"nothing tried", passive, {}},
	{"a new connection is refused", fresh_refused, {{"F198", DOCTOR_ERROR}}},
	{"a new connection, trouble of the future", fresh_future, {{"F198", DOCTOR_ERROR}}},
	{"no new connection tried", fresh_not_tried, {}},
	{"mapped port, not reached", not_reached, {{"F158", DOCTOR_WARN}}},
	{"public address, not reached", not_reached_public, {{"F158", DOCTOR_WARN}}},
	{"published address, not reached", published_not_reached,
		{{"F129", DOCTOR_INFO}, {"F158", DOCTOR_WARN}}},
	{"NAT, not reached", not_reached_nat, {{"F129", DOCTOR_INFO}, {"F134", DOCTOR_INFO}}},
	{"not reached, but coordination is refused", not_reached_refused,
		{{"F193", DOCTOR_ERROR}, {"F199", DOCTOR_INFO}}},
	{"nobody to ask", nobody_asked, {}},
	{"published is what STUN sees", published_same, {}},
	{"published IPv6, STUN sees none", published_v6, {}},
	{"published is another than STUN sees", published_other, {{"F159", DOCTOR_WARN}}},
	{"DERP drops", derp_drops, {{"F173", DOCTOR_WARN}}},
	{"DERP on this machine", derp_here, {{"F175", DOCTOR_INFO}}},
	{"relayed beside a direct one", sibling, {{"F155", DOCTOR_WARN}}},
	{"both of one address relayed", sibling_relayed,
		{{"F161", DOCTOR_WARN}, {"F116", DOCTOR_INFO}}},
	{"relayed beside an idle one", sibling_idle, {{"F161", DOCTOR_WARN}}},
	{"relayed, the direct one is elsewhere", no_sibling, {{"F161", DOCTOR_WARN}}},
	{"relayed, hard NAT here", hard_nat_both,
		{{"F128", DOCTOR_WARN}, {"F129", DOCTOR_INFO}, {"F128", DOCTOR_WARN}}},
};

static void test_findings(void **)
{
	check_findings(cases, N(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_findings)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
