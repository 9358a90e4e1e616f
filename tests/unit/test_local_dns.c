// What the unmodified 'tailscale dns' asks for, what 'tailgate dns' does, and the doctor, who asks
// the resolvers first.
#include "tests/unit/local_client.h"

#include <sodium.h>

#include "control/dns/dns.h"
#include "control/dns/wire.h"

static struct dns_params params = {.resolved_conf = ""};
static char conf[128];

static const struct netmap *map_of(void *)
{
	return tailnet.netmap;
}

static int set_up(void **state)
{
	const int error = local_setup(state);

	snprintf(conf, sizeof(conf), "%s/resolv.conf", t.folder);
	FILE *f = fopen(conf, "w");
	fputs("nameserver 192.0.2.1\nsearch home.test\n", f);
	fclose(f);
	params.base = t.base;
	params.resolv_conf = conf;
	params.state_dir = t.folder;
	params.netmap = map_of;
	tailnet.names = dns_create(&params);
	return error;
}

static int tear_down(void **state)
{
	dns_destroy(tailnet.names);
	tailnet.names = NULL;
	unlink(conf);
	return local_teardown(state);
}

static void test_os_config(void **)
{
	json_t *o = local_json_of("GET", API "dns-osconfig", "", 200);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "Nameservers"), 0)),
		"192.0.2.1");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(o, "SearchDomains"), 0)),
		"home.test");
	assert_int_equal(json_array_size(json_object_get(o, "MatchDomains")), 0);
	json_decref(o);
}

// The answer's bytes, and how many resolvers were there to ask.
static size_t query(const char *path, uint8_t out[static 4096], size_t *resolvers)
{
	size_t len = 0;
	json_t *o = local_json_of("GET", path, "", 200);
	const char *text = text_at(o, "Bytes");
	assert_int_equal(sodium_base642bin(out, 4096, text, strlen(text), NULL, &len, NULL,
				 sodium_base64_VARIANT_ORIGINAL),
		0);
	*resolvers = json_array_size(json_object_get(o, "Resolvers"));
	json_decref(o);
	return len;
}

static void test_query(void **)
{
	uint8_t m[4096];
	struct dns_query q;
	size_t resolvers, len = query(API "dns-query?name=x.onion&type=AAAA", m, &resolvers);
	assert_true(len > DNS_HEADER_LEN);
	assert_int_equal(m[3] & 0xf, ns_r_nxdomain);
	m[2] &= 0x7f;
	assert_int_equal(dns_query_read(m, len, &q), 0);
	assert_string_equal(q.name, "x.onion");
	assert_int_equal(q.type, ns_t_aaaa);
	len = query(API "dns-query?name=magicdns.localhost-tailscale-daemon.", m, &resolvers);
	assert_int_equal(m[7], 1);
	assert_int_equal(resolvers, 1);
}

static void test_query_refusals(void **)
{
	char path[600];
	local_expect("GET", API "dns-query", "", 400, "name");
	local_expect("GET", API "dns-query?name=", "", 400, "name");
	local_expect("GET", API "dns-query?name=a..b", "", 400, "name");
	local_expect("GET", API "dns-query?name=a.test&type=BOGUS", "", 400, "type");
	local_expect("GET", API "dns-query?name=a.test&type=TYPE0", "", 400, "type");
	local_expect("POST", API "dns-query?name=a.test", "", 405, "want GET");
	as_nobody("GET", API "dns-query?name=a.test", "", 403, "access denied");
	const int n = snprintf(path, sizeof(path), API "dns-query?name=");
	memset(path + n, 'a', 300);
	path[n + 300] = '\0';
	local_expect("GET", path, "", 400, "name");
}

static void test_status(void **)
{
	json_t *o = ask("GET", "/tailgate/v0/dns", 200);
	assert_true(json_is_false(json_object_get(o, "accept")));
	assert_string_equal(text_at(json_object_get(o, "host"), "asks_us_by"), "off");
	json_decref(o);
	json_decref(ask("GET", "/tailgate/v0/dns?x=1", 400));
	fixture.daemon.tailnet = NULL;
	o = ask("GET", "/tailgate/v0/dns", 503);
	assert_non_null(strstr(text_at(o, "error"), "tailgate up"));
	json_decref(o);
	fixture.daemon.tailnet = &tailnet;
}

// Nobody is at 192.0.2.1, or no way leads there.
static void test_doctor(void **)
{
	json_t *o = ask("GET", "/tailgate/v0/doctor", 200);
	json_t *f = find(json_object_get(o, "findings"), "check", "DNS");
	assert_string_equal(text_at(f, "id"), "F246");
	assert_non_null(strstr(text_at(f, "evidence"), "192.0.2.1 does not answer"));
	json_decref(o);
}

// The daemon ends while somebody waits.
static void test_doctor_end(void **)
{
	struct client c = client_open();
	client_ask(&c, "GET", "/tailgate/v0/doctor");
	for (unsigned i = 0; i < 20; i++)
		spin(&c);
	ctl_server_destroy(t.server);
	t.server = NULL;
	client_close(&c);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_os_config),
		CASE(test_query),
		CASE(test_query_refusals),
		CASE(test_status),
		CASE(test_doctor),
		CASE(test_doctor_end),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
