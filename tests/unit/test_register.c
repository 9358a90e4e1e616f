// Register: the request byte for byte as a Go client sent it, and what each answer leads to.
#include "tests/unit/vectors.h"

#include "control/coord/register.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define OK_FIELDS "\"NodeKeyExpired\":false,\"MachineAuthorized\":true,\"AuthURL\":\"\""

static const struct hostinfo observer = {.version = "1.102.5",
	.backend_log_id = "abababababababababababababababababababababababababababababababab",
	.os = "linux",
	.hostname = "observer",
	.no_logs = true,
	.userspace = -1,
	.userspace_router = -1};

static struct register_result answer(
	struct register_progress *p, int status, const char *retry_after, const char *body)
{
	struct register_result r;

	register_answer(p, status, retry_after, body, strlen(body), 1795246721, 3, &r);
	return r;
}

static void test_recorded(void **)
{
	static const enum register_action actions[] = {REGISTER_FAILED, REGISTER_VISIT_URL,
		REGISTER_DONE, REGISTER_DONE, REGISTER_TOO_OLD};
	json_t *root = vectors_load("control.json");
	const json_t *c;
	size_t i;

	json_array_foreach(json_object_get(root, "register"), i, c)
	{
		struct register_progress p = {0};
		const char *request = json_string_value(json_object_get(c, "request"));
		const char *auth = strstr(request, "\"AuthKey\":\"");
		struct register_request r = {.version = 145, .hostinfo = &observer};
		char key[128] = "";
		size_t len;

		assert_true(i < COUNT(actions));
		vectors_exact(root, "node_key", r.node_key.bytes, KEY_LEN);
		if (auth) {
			assert_int_equal(sscanf(auth, "\"AuthKey\":\"%127[^\"]", key), 1);
			r.auth_key = key;
		}
		if (actions[i] == REGISTER_TOO_OLD)
			r.version = 112;
		char *text = register_request_text(&r, &len);
		assert_string_equal(text, request);
		assert_int_equal(len, strlen(text));
		free(text);
		const struct register_result result =
			answer(&p, (int)json_integer_value(json_object_get(c, "status")), NULL,
				json_string_value(json_object_get(c, "response")));
		assert_int_equal(result.action, actions[i]);
		if (result.action == REGISTER_DONE) {
			assert_int_equal(result.user, 1);
			assert_string_equal(result.login, "lab");
		}
		if (result.action == REGISTER_VISIT_URL)
			assert_string_equal(p.url, "http://10.77.0.1:8080/register/"
						   "hskey-authreq-ZwTglTAHI1BSBmAw6Ns6PYw8");
	}
	assert_int_equal(i, COUNT(actions));
	json_decref(root);
}

static void test_answers(void **)
{
	static const struct {
		const char *name;
		int status;
		const char *retry_after, *body;
		enum register_action action;
		unsigned wait_s;
		const char *text;
	} cases[] = {
		{"done", 200, NULL, "{" OK_FIELDS "}", REGISTER_DONE, 0, ""},
		{"not approved yet", 200, NULL, "{}", REGISTER_AWAIT_APPROVAL, 0, ""},
		{"an error goes before all", 200, NULL,
			"{\"Error\":\"authkey "
			"expired\",\"NodeKeyExpired\":true,\"AuthURL\":\"http://a\"}",
			REGISTER_FAILED, 0, "authkey expired"},
		{"an error with control characters", 200, NULL, "{\"Error\":\"a\\u001b[2J\"}",
			REGISTER_FAILED, 0, "a?[2J"},
		{"a signature goes before an expired key", 200, NULL,
			"{\"NodeKeySignature\":\"AA==\",\"NodeKeyExpired\":true}", REGISTER_SIGN, 0,
			""},
		{"an expired key goes before a URL", 200, NULL,
			"{\"NodeKeyExpired\":true,\"AuthURL\":\"http://a\"}", REGISTER_NEW_KEY, 0,
			""},
		{"a URL goes before authorized", 200, NULL,
			"{\"AuthURL\":\"https://a/b\",\"MachineAuthorized\":true}",
			REGISTER_VISIT_URL, 0, ""},
		{"a URL of another kind", 200, NULL, "{\"AuthURL\":\"javascript:x\"}",
			REGISTER_FAILED, 0, "the server gave no proper login URL"},
		{"a URL with an escape sequence", 200, NULL,
			"{\"AuthURL\":\"https://a/\\u001b[2J\"}", REGISTER_FAILED, 0,
			"the server gave no proper login URL"},
		{"no JSON", 200, NULL, "<html>", REGISTER_BACK_OFF, 0,
			"the answer is no proper JSON: not an object"},
		{"an empty body", 200, NULL, "", REGISTER_BACK_OFF, 0,
			"the answer is no proper JSON: not an object"},
		{"a wrong type", 200, NULL, "{\"NodeKeyExpired\":\"no\"}", REGISTER_BACK_OFF, 0,
			"the answer is no proper JSON: NodeKeyExpired"},
		{"too old", 400, NULL, "unsupported client version: v1.78 (109)\n",
			REGISTER_TOO_OLD, 0, "unsupported client version: v1.78 (109)"},
		{"another 400", 400, NULL, "bad\n", REGISTER_BACK_OFF, 0, "bad"},
		{"500 without text", 500, NULL, "", REGISTER_BACK_OFF, 0,
			"the server answered with HTTP 500"},
		{"429 with seconds", 429, "17", "", REGISTER_WAIT, 17, ""},
		{"429 with a date", 429, "Sat, 21 Nov 2026 07:39:41 GMT", "", REGISTER_WAIT, 60,
			""},
		{"429 with a date gone by", 429, "Sat, 21 Nov 2020 07:39:41 GMT", "", REGISTER_WAIT,
			8, ""},
		{"429 with nothing", 429, NULL, "slow\n", REGISTER_WAIT, 8, "slow"},
		{"429 with zero", 429, "0", "", REGISTER_WAIT, 8, ""},
		{"429 with less", 429, "-5", "", REGISTER_WAIT, 8, ""},
		{"429 with two hours", 429, "7200", "", REGISTER_WAIT, 8, ""},
		{"429 with nonsense", 429, "soon", "", REGISTER_WAIT, 8, ""},
		{"429 with a huge number", 429, "99999999999999999999", "", REGISTER_WAIT, 8, ""},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct register_progress p = {0};
		const struct register_result r =
			answer(&p, cases[i].status, cases[i].retry_after, cases[i].body);
		print_message("%s\n", cases[i].name);
		assert_int_equal(r.action, cases[i].action);
		assert_int_equal(r.wait_s, cases[i].wait_s);
		assert_string_equal(r.text, cases[i].text);
	}
}

static void test_progress(void **)
{
	struct register_progress p = {0};

	assert_int_equal(
		answer(&p, 200, NULL, "{\"NodeKeyExpired\":true}").action, REGISTER_NEW_KEY);
	assert_int_equal(
		answer(&p, 200, NULL, "{\"NodeKeyExpired\":true}").action, REGISTER_FAILED);
	assert_int_equal(
		answer(&p, 200, NULL, "{\"AuthURL\":\"http://a\"}").action, REGISTER_VISIT_URL);
	assert_int_equal(
		answer(&p, 200, NULL, "{\"AuthURL\":\"http://a\"}").action, REGISTER_BACK_OFF);
	assert_int_equal(
		answer(&p, 200, NULL, "{\"AuthURL\":\"http://b\"}").action, REGISTER_VISIT_URL);
	assert_string_equal(p.url, "http://b");
}

static void test_whole_hostinfo(void **)
{
	struct ip_prefix routes[3];
	const char *const tags[] = {"tag:a"};
	const struct hostinfo_service services[] = {{"peerapi4", 80}};
	const struct hostinfo_latency latency = {901, IP_V4, 0.5};
	const struct netinfo netinfo = {.mapping_varies = 1,
		.working_ipv6 = 0,
		.os_has_ipv6 = -1,
		.working_udp = 1,
		.working_icmp4 = -1,
		.upnp = -1,
		.pmp = -1,
		.pcp = -1,
		.preferred_derp = 901,
		.latencies = &latency,
		.n_latencies = 1};
	const struct hostinfo h = {.os = "linux",
		.routes = routes,
		.n_routes = 3,
		.tags = tags,
		.n_tags = 1,
		.services = services,
		.n_services = 1,
		.netinfo = &netinfo,
		.userspace = 0,
		.userspace_router = -1,
		.peer_relay = true};

	assert_int_equal(ip_prefix_parse("::/0", &routes[0]), 0);
	assert_int_equal(ip_prefix_parse("10.0.0.0/8", &routes[1]), 0);
	assert_int_equal(ip_prefix_parse("0.0.0.0/0", &routes[2]), 0);
	json_t *o = hostinfo_json(&h);
	char *text = json_dumps(o, JSON_COMPACT);
	assert_string_equal(text,
		"{\"OS\":\"linux\",\"RoutableIPs\":[\"0.0.0.0/0\",\"10.0.0.0/8\",\"::/0\"],"
		"\"RequestTags\":[\"tag:a\"],\"Services\":[{\"Proto\":\"peerapi4\",\"Port\":80}],"
		"\"NetInfo\":{\"MappingVariesByDestIP\":true,\"WorkingIPv6\":false,\"WorkingUDP\":"
		"true,"
		"\"PreferredDERP\":901,\"DERPLatency\":{\"901-v4\":0.5}},\"Userspace\":false,"
		"\"PeerRelay\":true}");
	free(text);
	json_decref(o);
}

static void test_tags(void **)
{
	static const struct {
		const char *tag;
		bool valid;
	} cases[] = {
		{"tag:a", true},
		{"tag:Web-1", true},
		{"", false},
		{"tag:", false},
		{"web", false},
		{"tag:1a", false},
		{"tag:-a", false},
		{"tag:a b", false},
		{"tag:a_b", false},
		{"tag:\xc3\xa4", false},
		{"Tag:a", false},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(hostinfo_tag_valid(cases[i].tag), cases[i].valid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_whole_hostinfo),
		cmocka_unit_test(test_tags),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
