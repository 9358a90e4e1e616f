#include "control/ctl/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

enum {
	NOW_S = 1900000000,
	PEERS = 2,
};

static struct doctor_peer peers[PEERS];

static struct endpoint endpoint_of(const char *text)
{
	struct endpoint e;
	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

// A node behind an easy NAT that reaches one peer directly; the other one is idle.
static struct doctor_facts healthy(void)
{
	struct doctor_facts f = {.now_s = NOW_S,
		.is_node = true,
		.state = TAILNET_RUNNING,
		.want_running = true,
		.has_netmap = true,
		.stream_age_s = 600,
		.heard_age_s = 20,
		.key_expiry = NOW_S + 100 * 86400,
		.cap = 142,
		.port = 41641,
		.port_configured = 41641,
		.n_regions = 2,
		.home = "lab901",
		.tunnel_mtu = 1280,
		.peers = peers,
		.n_peers = PEERS};
	f.coord.state = COORD_STREAMING;
	snprintf(f.coord.path, sizeof(f.coord.path), "https, port 443");
	f.net = (struct netcheck_report){.unix_ns = 1,
		.udp = true,
		.ipv4 = true,
		.preferred = 901,
		.global_v4 = endpoint_of("198.51.100.7:41641"),
		.captive_portal = -1,
		.latency = {{.region = 901, .v4_ns = 300000}, {.region = 902, .v4_ns = 500000}},
		.n_latency = 2};
	f.portmap.external = endpoint_of("198.51.100.7:40000");
	f.portmap.protocol = "PCP";
	f.home_derp.connected = true;
	f.tries = (struct doctor_tries){.coord = true,
		.fresh = {.why = "https, port 443", .took_ms = 50},
		.reach = true,
		.in = {.asked = 2, .reached = 1, .from = endpoint_of("198.51.100.9:41641")},
		.in_name = "bob",
		.took_ms = 2000,
		.derp_tx_bytes = 1000};
	peers[0] = (struct doctor_peer){.name = "alice",
		.version = "1.102.5",
		.region = "lab901",
		.online = true,
		.active = true,
		.direct = true,
		.talks = true,
		.cap = 142,
		.mtu = 1420};
	peers[1] = (struct doctor_peer){.name = "bob", .version = "1.96.0", .cap = 132};
	return f;
}

static void trouble(struct doctor_facts *f, enum coord_trouble t)
{
	f->coord.state = COORD_CONNECTING;
	f->coord.trouble = t;
	snprintf(f->coord.why, sizeof(f->coord.why), "the words of the client");
}

static void relay(struct doctor_facts *)
{
	peers[0].direct = false;
	peers[0].pings_sent = 30;
}

static void version(struct doctor_facts *f)
{
	trouble(f, COORD_TROUBLE_VERSION);
}
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
static void hard_nat(struct doctor_facts *f)
{
	f->net.mapping_varies = 1;
	f->portmap.external.port = 0;
}
static void hard_nat_mapped(struct doctor_facts *f)
{
	f->net.mapping_varies = 1;
}
static void no_mapping(struct doctor_facts *f)
{
	f->portmap.external.port = 0;
}
static void public_without_mapping(struct doctor_facts *f)
{
	f->portmap.external.port = 0;
	f->public_address = true;
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

// What one change of the healthy node leads to: these findings besides those that are well.
static const struct {
	const char *name;
	void (*change)(struct doctor_facts *);
	struct {
		const char *id;
		enum doctor_severity severity;
	} finding[3];
} cases[] = {
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
	{"health line", health_line, {{"F334", DOCTOR_INFO}}},
	{"no node of a tailnet", not_a_node, {{"F190", DOCTOR_INFO}}},
};

static void test_findings(void **)
{
	struct doctor_report *r = malloc(sizeof(*r));
	for (unsigned i = 0; i < N(cases); i++) {
		struct doctor_facts f = healthy();
		unsigned at = 0;
		cases[i].change(&f);
		doctor_check(&f, r);
		for (unsigned n = 0; n < r->n; n++) {
			const struct doctor_finding *d = &r->finding[n];
			if (d->severity == DOCTOR_OK)
				continue;
			if (at == 3 || cases[i].finding[at].id == NULL ||
				strcmp(d->id, cases[i].finding[at].id) != 0 ||
				d->severity != cases[i].finding[at].severity)
				fail_msg("%s: finding %u is %s %u: %s", cases[i].name, at, d->id,
					d->severity, d->evidence);
			if (d->evidence[0] == '\0' ||
				(d->severity >= DOCTOR_WARN &&
					(d->meaning[0] == '\0' || d->remedy[0] == '\0')))
				fail_msg("%s: %s says too little", cases[i].name, d->id);
			at++;
		}
		if (at < 3 && cases[i].finding[at].id != NULL)
			fail_msg("%s: %s is missing", cases[i].name, cases[i].finding[at].id);
	}
	free(r);
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
