// Services that the node hosts: how the configuration names them, what the server is told, what the
// workers do with their ports. test_nm_caps.c has the addresses that the server gives.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <rte_common.h>

#include "control/tailnet/services.h"

static struct config *config_of(const char *services)
{
	char text[2048];
	struct config *c = NULL;
	struct config_error err;
	snprintf(text, sizeof(text), "tailnet = true;\nservices = [ %s ];\n", services);
	if (config_parse_string(text, "text", &c, &err) < 0)
		fail_msg("%s: %s", services, err.message);
	return c;
}

#define WEB "\"svc:web tcp:443 = 10.1.0.5:8443, 10.1.0.6\""

static void test_list(void **)
{
	// Hashes: printf '%s\n' LIST | sha256sum
	static const struct {
		const char *services, *advertised, *list, *hash;
		bool draining;
	} cases[] = {
		{"", "[]", "[]", "", false},
		{"", "null", "[]", "", false},
		{WEB, "[]", "[{\"Name\":\"svc:web\",\"Ports\":[\"tcp:443\"],\"Active\":true}]",
			"0ae8c333a548c3fad3d9a2edb4201bcf862bc9563079549579721b60204f2207", false},
		{WEB, "[]", "[{\"Name\":\"svc:web\",\"Ports\":[\"tcp:443\"],\"Active\":false}]", "",
			true},
		{WEB, "[\"svc:web\"]",
			"[{\"Name\":\"svc:web\",\"Ports\":[\"tcp:443\"],\"Active\":true}]", "",
			false},
		{"", "[\"svc:b\",\"svc:a\",\"svc:b\"]",
			"[{\"Name\":\"svc:a\",\"Ports\":null,\"Active\":true},{\"Name\":\"svc:b\","
			"\"Ports\":null,\"Active\":true}]",
			"", false},
		{"\"svc:z udp:53 = 10.1.0.1\", \"svc:a * = 10.1.0.1\", \"svc:z "
		 "tcp:1000-2000=10.1.0.1\"",
			"[\"svc:m\"]",
			"[{\"Name\":\"svc:a\",\"Ports\":[\"*\"],\"Active\":true},{\"Name\":"
			"\"svc:m\",\"Ports\":null,\"Active\":true},{\"Name\":\"svc:z\",\"Ports\":["
			"\"udp:53\",\"tcp:1000-2000\"],\"Active\":true}]",
			"", false},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct config *c = config_of(cases[i].services);
		json_t *advertised = json_loads(cases[i].advertised, JSON_DECODE_ANY, NULL);
		const struct tn_services_spec spec = {.config = &c->services,
			.advertised = advertised,
			.draining = cases[i].draining};
		char hash[TN_SERVICES_HASH_LEN];
		json_t *list = tn_services_list(&spec);
		char *text = json_dumps(list, JSON_COMPACT);
		print_message("%s\n", text);
		assert_string_equal(text, cases[i].list);
		tn_services_hash(list, hash);
		assert_int_equal(strlen(hash), json_array_size(list) ? 64 : 0);
		if (cases[i].hash[0])
			assert_string_equal(hash, cases[i].hash);
		free(text);
		json_decref(list);
		json_decref(advertised);
		config_free(c);
	}
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static void test_compile(void **)
{
	static struct nat_service out[NAT_SERVICES_MAX];
	struct config *c =
		config_of(WEB ", \"svc:all * = fd00::7\", \"svc:lost tcp:1 = 10.1.0.1\"");
	struct ip_addr web[] = {addr("100.65.0.1"), addr("fd7a:115c:a1e0::65")};
	struct ip_addr all[] = {addr("100.65.0.2")}, other[] = {addr("100.65.0.3")};
	const struct nm_service assigned[] = {
		{"svc:all", all, 1}, {"svc:other", other, 1}, {"svc:web", web, 2}};
	const struct tn_services_spec spec = {
		.config = &c->services, .assigned = assigned, .n_assigned = RTE_DIM(assigned)};
	assert_int_equal(tn_services_compile(&spec, out), 7);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(ip_addr_equal(&out[i].vip, &web[i]));
		assert_int_equal(out[i].proto, IPPROTO_TCP);
		assert_int_equal(out[i].port_first, 443);
		assert_int_equal(out[i].port_last, 443);
		assert_int_equal(out[i].n_backends, 2);
		assert_int_equal(out[i].backend[0].port, 8443);
		assert_int_equal(out[i].backend[1].port, 0);
	}
	assert_true(ip_addr_equal(&out[2].vip, &all[0]));
	assert_int_equal(out[2].proto, 0);
	for (unsigned i = 3; i < 7; i++) { // behind them: closed
		assert_int_equal(out[i].n_backends, 0);
		assert_int_equal(out[i].proto, 0);
	}
	const struct tn_services_spec none = {.config = &c->services};
	assert_int_equal(tn_services_compile(&none, out), 0);
	config_free(c);
}

static void test_most(void **)
{
	static struct nat_service out[NAT_SERVICES_MAX];
	static struct config_services config;
	static struct nm_service assigned[NM_SERVICES_MAX];
	static struct ip_addr addrs[NM_SERVICE_ADDRS_MAX];
	config.count = CONFIG_SERVICES_MAX;
	for (unsigned i = 0; i < CONFIG_SERVICES_MAX; i++)
		snprintf(config.list[i].name, sizeof(config.list[i].name), "svc:s");
	for (unsigned i = 0; i < NM_SERVICES_MAX; i++)
		assigned[i] = (struct nm_service){"svc:s", addrs, NM_SERVICE_ADDRS_MAX};
	const struct tn_services_spec spec = {
		.config = &config, .assigned = assigned, .n_assigned = NM_SERVICES_MAX};
	assert_true(tn_services_compile(&spec, out) <= NAT_SERVICES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_compile),
		cmocka_unit_test(test_most),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
