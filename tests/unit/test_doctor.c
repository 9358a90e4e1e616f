// What the doctor finds: each trouble, and nothing where all is well.
#include "tests/unit/doctor_facts.h"

static void redirect(struct doctor_facts *f)
{
	trouble(f, COORD_TROUBLE_REDIRECT);
}
static void closed(struct doctor_facts *f)
{
	trouble(f, COORD_TROUBLE_CLOSED);
}
static void unknown_trouble(struct doctor_facts *f)
{
	trouble(f, (enum coord_trouble)200);
}
static void bad_key(struct doctor_facts *f)
{
	trouble(f, COORD_TROUBLE_KEY);
	f->state = TAILNET_NEEDS_LOGIN;
}
static void logged_out(struct doctor_facts *f)
{
	f->state = TAILNET_NEEDS_LOGIN;
	f->coord.state = COORD_OFF;
	f->has_netmap = false;
}
static void url(struct doctor_facts *f)
{
	f->coord.state = COORD_VISIT_URL;
	snprintf(f->coord.url, sizeof(f->coord.url), "https://login.test/a/1");
}
static void approval(struct doctor_facts *f)
{
	f->state = TAILNET_NEEDS_MACHINE_AUTH;
}
static void stopped(struct doctor_facts *f)
{
	f->state = TAILNET_STOPPED;
	f->want_running = false;
	f->has_netmap = false;
}
static void silent(struct doctor_facts *f)
{
	f->heard_age_s = 121;
}
static void clock_off(struct doctor_facts *f)
{
	f->clock_offset_s = -120;
}
static void clock_far(struct doctor_facts *f)
{
	f->clock_offset_s = 86400 * 400;
}
static const struct dns_probe probes[] = {
	{.text = "192.0.2.1", .answers = true},
	{.text = "192.0.2.2", .why = "does not answer"},
};
static void resolver_well(struct doctor_facts *f)
{
	f->dns.probe = probes;
	f->dns.n_probes = 1;
}
static void resolver_silent(struct doctor_facts *f)
{
	f->dns.probe = probes;
	f->dns.n_probes = 2;
}
static void resolver_needed(struct doctor_facts *f)
{
	resolver_silent(f);
	f->dns.accept = true;
}
static void resolver_unsupported(struct doctor_facts *f)
{
	f->dns.unsupported = 2;
}
static void host_refuses(struct doctor_facts *f)
{
	f->dns.accept = true;
	snprintf(f->dns.host_error, sizeof(f->dns.host_error), "cannot be written");
}
static void port_53_taken(struct doctor_facts *f)
{
	snprintf(f->dns.listen_error, sizeof(f->dns.listen_error), "cannot listen");
}
static void expiring(struct doctor_facts *f)
{
	f->key_expiry = NOW_S + 86400;
}
static void expired(struct doctor_facts *f)
{
	f->key_expiry = NOW_S - 10;
}
static void no_expiry(struct doctor_facts *f)
{
	f->key_expiry = 0;
}
static void old_peer(struct doctor_facts *)
{
	snprintf(peers[1].version, sizeof(peers[1].version), "1.36.2-t0123");
	peers[1].cap = 0;
}
static void old_cap(struct doctor_facts *)
{
	peers[1].cap = 56;
}
static void strange_version(struct doctor_facts *)
{
	snprintf(peers[1].version, sizeof(peers[1].version), "head");
}
static void other_port(struct doctor_facts *f)
{
	f->port = 50123;
	snprintf(f->port_user, sizeof(f->port_user), "tailscaled (process 7)");
}
static void defaults_file(struct doctor_facts *f)
{
	f->misplaced_defaults = true;
}
static void no_udp(struct doctor_facts *f)
{
	f->net.udp = false;
	f->net.global_v4 = (struct endpoint){};
	f->portmap.external.port = 0;
	relay(f);
}
static void only_v6(struct doctor_facts *f)
{
	f->net.global_v4 = (struct endpoint){};
	f->net.ipv6 = true;
	f->net.global_v6 = endpoint_of("[2001:db8::1]:41641");
}
static void captive(struct doctor_facts *f)
{
	f->net.captive_portal = 1;
}
static void hard_nat_mapped(struct doctor_facts *f)
{
	f->net.mapping_varies = 1;
}
static void no_map(struct doctor_facts *f)
{
	f->n_regions = 0;
	f->home[0] = '\0';
}
static void no_derp(struct doctor_facts *f)
{
	f->home[0] = '\0';
}
static void derp_gone(struct doctor_facts *f)
{
	f->home_derp.connected = false;
	snprintf(f->home_derp.error, sizeof(f->home_derp.error), "connection refused");
}
static void no_report(struct doctor_facts *f)
{
	f->net.unix_ns = 0;
}
static void relayed_public(struct doctor_facts *f)
{
	relay(f);
	f->public_address = true;
}
static void relayed_old(struct doctor_facts *f)
{
	relay(f);
	peers[0].cap = 56;
}
static void relayed_while_refused(struct doctor_facts *f)
{
	relay(f);
	f->public_address = true;
	version(f);
}
static void relayed_yet(struct doctor_facts *f)
{
	relay(f);
	peers[0].pongs_received = 1;
}
static void small_mtu(struct doctor_facts *)
{
	peers[0].mtu = 1200;
}
static void tunnel_above_path(struct doctor_facts *f)
{
	f->tunnel_mtu = 1500;
}
static void health_line(struct doctor_facts *f)
{
	static const char *const lines[] = {"Some peers are advertising routes"};
	f->health = lines;
	f->n_health = 1;
}
static void not_a_node(struct doctor_facts *f)
{
	f->is_node = false;
}
static void nothing(struct doctor_facts *)
{
}

static const struct doctor_case cases[] = {
	{"nothing is wrong", nothing, {}},
	{"no expiry", no_expiry, {}},
	{"hard NAT with a mapping", hard_nat_mapped, {}},
	{"public address without a mapping", public_without_mapping, {}},
	{"a version that is none", strange_version, {}},
	{"refused version", version, {{"F193", DOCTOR_ERROR}, {"F199", DOCTOR_INFO}}},
	{"redirect", redirect, {{"F196", DOCTOR_ERROR}, {"F199", DOCTOR_INFO}}},
	{"closed", closed, {{"F197", DOCTOR_WARN}, {"F199", DOCTOR_INFO}}},
	{"trouble of the future", unknown_trouble, {{"F194", DOCTOR_ERROR}, {"F199", DOCTOR_INFO}}},
	{"auth key", bad_key, {{"F203", DOCTOR_ERROR}, {"F199", DOCTOR_INFO}}},
	{"logged out", logged_out, {{"F203", DOCTOR_ERROR}}},
	{"login by URL", url, {{"F203", DOCTOR_WARN}}},
	{"approval", approval, {{"F190", DOCTOR_WARN}}},
	{"stopped", stopped, {{"F190", DOCTOR_INFO}}},
	{"silent server", silent, {{"F199", DOCTOR_WARN}}},
	{"clock off", clock_off, {{"time", DOCTOR_WARN}}},
	{"clock far off", clock_far, {{"time", DOCTOR_ERROR}}},
	{"a resolver that answers", resolver_well, {}},
	{"a resolver that does not", resolver_silent, {{"F246", DOCTOR_WARN}}},
	{"one that this machine needs", resolver_needed,
		{{"F246", DOCTOR_ERROR}, {"F248", DOCTOR_INFO}}},
	{"resolvers by DNS over TLS", resolver_unsupported, {{"F244", DOCTOR_WARN}}},
	{"resolv.conf is read-only", host_refuses, {{"F245", DOCTOR_WARN}}},
	{"port 53 is taken", port_53_taken, {{"F238", DOCTOR_WARN}}},
	{"key expires tomorrow", expiring, {{"F010", DOCTOR_WARN}}},
	{"key expired", expired, {{"F010", DOCTOR_ERROR}}},
	{"peer of 1.36", old_peer, {{"F201", DOCTOR_WARN}}},
	{"peer of capability 56", old_cap, {{"F201", DOCTOR_WARN}}},
	{"port taken", other_port, {{"F157", DOCTOR_WARN}}},
	{"wrong settings file", defaults_file, {{"F135", DOCTOR_INFO}}},
	{"UDP blocked", no_udp, {{"F126", DOCTOR_ERROR}, {"F126", DOCTOR_INFO}}},
	{"IPv6 only", only_v6, {{"F127", DOCTOR_INFO}}},
	{"captive portal", captive, {{"F142", DOCTOR_WARN}}},
	{"hard NAT", hard_nat, {{"F128", DOCTOR_WARN}, {"F129", DOCTOR_INFO}}},
	{"no mapping", no_mapping, {{"F129", DOCTOR_INFO}}},
	{"empty DERP map", no_map, {{"F171", DOCTOR_ERROR}}},
	{"no DERP", no_derp, {{"F166", DOCTOR_ERROR}}},
	{"home not connected", derp_gone, {{"F165", DOCTOR_ERROR}}},
	{"no report yet", no_report, {{"F142", DOCTOR_INFO}}},
	{"relayed, nothing answers", relay, {{"F161", DOCTOR_WARN}}},
	{"relayed with a public address", relayed_public, {{"F154", DOCTOR_WARN}}},
	{"relayed old client", relayed_old, {{"F201", DOCTOR_WARN}, {"F162", DOCTOR_WARN}}},
	{"relayed, coordination refused: no firewall is blamed", relayed_while_refused,
		{{"F193", DOCTOR_ERROR}, {"F199", DOCTOR_INFO}, {"F154", DOCTOR_INFO}}},
	{"relayed, answers come", relayed_yet, {{"F116", DOCTOR_INFO}}},
	{"path below IPv6's minimum", small_mtu, {{"F077", DOCTOR_WARN}}},
	{"path below the tunnel", tunnel_above_path, {{"F077", DOCTOR_INFO}}},
	{"health line", health_line, {{"F334", DOCTOR_INFO}}},
	{"no node of a tailnet", not_a_node, {{"F190", DOCTOR_INFO}}},
};

static void test_findings(void **)
{
	check_findings(cases, N(cases));
}

// Each trouble of coordination has an ID, a meaning and a remedy.
static void test_troubles(void **)
{
	struct doctor_report *r = malloc(sizeof(*r));
	for (unsigned t = COORD_TROUBLE_NONE + 1; t < COORD_TROUBLE_COUNT; t++) {
		struct doctor_facts f = healthy();
		trouble(&f, (enum coord_trouble)t);
		doctor_check(&f, r);
		const struct doctor_finding *d = &r->finding[0];
		if (d->id == NULL || d->severity < DOCTOR_WARN || strlen(d->meaning) < 20 ||
			strlen(d->remedy) < 10)
			fail_msg("trouble %u is not explained", t);
		assert_string_equal(d->evidence, "the words of the client");
	}
	free(r);
}

// More peers than there is room for: bounded, and the rest is counted.
static void test_many_peers(void **)
{
	enum { MANY = 10000 };
	struct doctor_report *r = malloc(sizeof(*r));
	struct doctor_facts f = healthy();
	struct doctor_peer *many = calloc(MANY, sizeof(*many));
	for (unsigned i = 0; i < MANY; i++) {
		many[i] = peers[0];
		many[i].direct = false;
		snprintf(many[i].version, sizeof(many[i].version), "1.%u", i % 2 ? 30 : 102);
	}
	f.peers = many;
	f.n_peers = MANY;
	doctor_check(&f, r);
	assert_true(r->n <= DOCTOR_FINDINGS_MAX);
	assert_int_equal(r->omitted, MANY - DOCTOR_PEER_FINDINGS_MAX);
	assert_non_null(strstr(r->finding[r->n - 1].evidence, "10000 by DERP"));
	free(many);
	free(r);
}

static void test_full_report(void **)
{
	static const char *lines[2 * DOCTOR_FINDINGS_MAX];
	struct doctor_report *r = malloc(sizeof(*r));
	struct doctor_facts f = healthy();
	for (unsigned i = 0; i < N(lines); i++)
		lines[i] = "something";
	f.health = lines;
	f.n_health = N(lines);
	doctor_check(&f, r);
	assert_int_equal(r->n, DOCTOR_FINDINGS_MAX);
	assert_true(r->omitted > DOCTOR_FINDINGS_MAX / 2);
	free(r);
}

// Names that are no text do not make a finding disappear.
static void test_json(void **)
{
	struct doctor_report *r = malloc(sizeof(*r));
	struct doctor_facts f = healthy();
	relay(&f);
	snprintf(peers[0].name, sizeof(peers[0].name), "\xff\x1b[2Jx\xc3");
	doctor_check(&f, r);
	json_t *json = doctor_json(r);
	assert_non_null(json);
	const json_t *findings = json_object_get(json, "findings");
	assert_int_equal(json_array_size(findings), r->n);
	for (unsigned i = 0; i < r->n; i++)
		assert_non_null(json_string_value(
			json_object_get(json_array_get(findings, i), "severity")));
	json_decref(json);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_findings),
		cmocka_unit_test(test_troubles),
		cmocka_unit_test(test_many_peers),
		cmocka_unit_test(test_full_report),
		cmocka_unit_test(test_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
