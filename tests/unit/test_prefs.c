// What the user wants: defaults, patches, what is refused, and the file.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/tailnet/prefs.h"
#include "control/tailnet/prefs_fields.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static char dir[64];

static int make_dir(void **)
{
	snprintf(dir, sizeof(dir), "/tmp/test_prefs.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int remove_dir(void **)
{
	unlink(path_of("prefs.json"));
	return rmdir(dir);
}

static json_t *object_of(const char *text)
{
	json_error_t error;
	json_t *const json = json_loads(text, 0, &error);

	if (!json)
		fail_msg("%s: %s", text, error.text);
	return json;
}

static struct prefs *patched(const struct prefs *old, const char *text)
{
	char err[PREFS_ERROR_LEN];
	json_t *const masked = object_of(text);
	struct prefs *const p = prefs_patch(old, masked, err);

	if (!p)
		fail_msg("%s: %s", text, err);
	json_decref(masked);
	return p;
}

static void assert_field(const struct prefs *p, const char *name, const char *expected)
{
	const json_t *const value = json_object_get(prefs_json(p), name);
	char *const text =
		value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("absent");

	assert_string_equal(text, expected);
	free(text);
}

// As tailscaled 1.102.5 answers GET prefs before the first login.
static const char real_defaults[] =
	"{\"ControlURL\":\"\",\"RouteAll\":false,\"ExitNodeID\":\"\",\"ExitNodeIP\":\"\","
	"\"InternalExitNodePrior\":\"\",\"ExitNodeAllowLANAccess\":false,\"CorpDNS\":true,"
	"\"RunSSH\":false,\"RunWebClient\":false,\"WantRunning\":false,\"LoggedOut\":true,"
	"\"ShieldsUp\":false,\"AdvertiseTags\":null,\"Hostname\":\"\",\"NotepadURLs\":false,"
	"\"AdvertiseRoutes\":null,\"AdvertiseServices\":null,\"Sync\":null,\"NoSNAT\":false,"
	"\"NoStatefulFiltering\":true,\"NetfilterMode\":2,"
	"\"AutoUpdate\":{\"Check\":true,\"Apply\":null},\"AppConnector\":{\"Advertise\":false},"
	"\"PostureChecking\":false,\"NetfilterKind\":\"\",\"RemoteConfig\":false,"
	"\"DriveShares\":null,\"Config\":null}";

static void test_defaults(void **)
{
	struct prefs *const p = prefs_create();
	char *const text = json_dumps(prefs_json(p), JSON_COMPACT);

	assert_string_equal(text, real_defaults);
	assert_true(p->corp_dns && p->logged_out && p->no_stateful);
	assert_false(p->want_running || p->route_all || p->no_snat || p->shields_up);
	assert_int_equal(p->n_routes + p->n_tags, 0);
	assert_int_equal(p->relay_server_port, -1);
	free(text);
	prefs_destroy(p);
}

static void test_patches(void **)
{
	static const struct {
		const char *name, *patch, *field, *expected;
	} cases[] = {
		{"flag", "{\"RouteAllSet\":true,\"RouteAll\":true}", "RouteAll", "true"},
		{"not set", "{\"RouteAllSet\":false,\"RouteAll\":true}", "RouteAll", "false"},
		{"without a mask", "{\"RouteAll\":true}", "RouteAll", "false"},
		{"set to nothing", "{\"CorpDNSSet\":true}", "CorpDNS", "false"},
		{"text", "{\"HostnameSet\":true,\"Hostname\":\"gw\"}", "Hostname", "\"gw\""},
		{"empty operator", "{\"OperatorUserSet\":true}", "OperatorUser", "absent"},
		{"operator", "{\"OperatorUserSet\":true,\"OperatorUser\":\"u\"}", "OperatorUser",
			"\"u\""},
		{"optional", "{\"NoStatefulFilteringSet\":true,\"NoStatefulFiltering\":false}",
			"NoStatefulFiltering", "false"},
		{"optional unset", "{\"NoStatefulFilteringSet\":true}", "NoStatefulFiltering",
			"absent"},
		{"netfilter off", "{\"NetfilterModeSet\":true}", "NetfilterMode", "0"},
		{"relay port 0", "{\"RelayServerPortSet\":true,\"RelayServerPort\":0}",
			"RelayServerPort", "0"},
		{"relay off", "{\"RelayServerPortSet\":true,\"RelayServerPort\":null}",
			"RelayServerPort", "absent"},
		{"part of an object",
			"{\"AutoUpdateSet\":{\"ApplySet\":true},"
			"\"AutoUpdate\":{\"Check\":false,\"Apply\":false}}",
			"AutoUpdate", "{\"Check\":true,\"Apply\":false}"},
		{"connector",
			"{\"AppConnectorSet\":true,\"AppConnector\":{\"Advertise\":true,\"x\":1}}",
			"AppConnector", "{\"Advertise\":true}"},
		{"keys are nobody's", "{\"ConfigSet\":true,\"Config\":{\"k\":1}}", "Config",
			"null"},
		{"of another version", "{\"FutureSet\":true,\"Future\":[1]}", "Future", "[1]"},
		{"a name like a mask", "{\"SetSet\":true,\"Set\":1}", "Set", "1"},
		{"only 'Set'", "{\"Set\":true}", "Set", "absent"},
		{"endpoints",
			"{\"RelayServerStaticEndpointsSet\":true,"
			"\"RelayServerStaticEndpoints\":[\"192.0.2.1:7\"]}",
			"RelayServerStaticEndpoints", "[\"192.0.2.1:7\"]"},
		{"empty list", "{\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":[]}",
			"AdvertiseRoutes", "[]"},
	};
	struct prefs *const old = prefs_create();

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct prefs *const p = patched(old, cases[i].patch);
		print_message("%s\n", cases[i].name);
		assert_field(p, cases[i].field, cases[i].expected);
		prefs_destroy(p);
	}
	prefs_destroy(old);
}

static void test_members_follow(void **)
{
	struct prefs *const old = prefs_create();
	struct prefs *const p = patched(old,
		"{\"ControlURLSet\":true,\"ControlURL\":\"https://h.test\",\"WantRunningSet\":true,"
		"\"WantRunning\":true,\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":"
		"[\"10.1.0.0/16\",\"::/0\",\"0.0.0.0/0\",\"10.1.0.0/"
		"16\"],\"AdvertiseTagsSet\":true,"
		"\"AdvertiseTags\":[\"tag:a\",\"tag:b-1\"],\"RelayServerPortSet\":true,"
		"\"RelayServerPort\":40000,\"NoStatefulFilteringSet\":true,"
		"\"NoStatefulFiltering\":false,\"NoSNATSet\":true,\"NoSNAT\":true,"
		"\"ShieldsUpSet\":true,\"ShieldsUp\":true}");
	char text[PREFIX_TEXT_LEN];

	assert_string_equal(p->control_url, "https://h.test");
	assert_true(p->want_running && p->no_snat && p->shields_up);
	assert_false(p->no_stateful);
	assert_int_equal(p->n_routes, 3);
	assert_string_equal(ip_prefix_format(&p->routes[0], text), "0.0.0.0/0");
	assert_string_equal(ip_prefix_format(&p->routes[1], text), "10.1.0.0/16");
	assert_string_equal(ip_prefix_format(&p->routes[2], text), "::/0");
	assert_int_equal(p->n_tags, 2);
	assert_string_equal(p->tags[1], "tag:b-1");
	assert_int_equal(p->relay_server_port, 40000);
	// The old one is as it was.
	assert_int_equal(old->n_routes, 0);
	assert_field(old, "ControlURL", "\"\"");
	prefs_destroy(p);
	prefs_destroy(old);
}

static void test_exit_node_ends_automatic(void **)
{
	struct prefs *const old = prefs_create();
	struct prefs *const any =
		patched(old, "{\"AutoExitNodeSet\":true,\"AutoExitNode\":\"any\"}");
	struct prefs *const one =
		patched(any, "{\"ExitNodeIPSet\":true,\"ExitNodeIP\":\"100.64.0.9\"}");

	assert_field(any, "AutoExitNode", "\"any\"");
	assert_field(one, "AutoExitNode", "absent");
	assert_string_equal(one->exit_node_ip, "100.64.0.9");
	prefs_destroy(one);
	prefs_destroy(any);
	prefs_destroy(old);
}

static void test_refusals(void **)
{
	static const struct {
		const char *name, *patch, *says;
	} cases[] = {
		{"no object", "[]", "not an object"},
		{"flag as text", "{\"RouteAllSet\":true,\"RouteAll\":\"true\"}", "RouteAll"},
		{"flag as number", "{\"RouteAllSet\":true,\"RouteAll\":1}", "RouteAll"},
		{"mask as text", "{\"RouteAllSet\":\"true\",\"RouteAll\":true}", "RouteAllSet"},
		{"mask as object", "{\"RouteAllSet\":{},\"RouteAll\":true}", "RouteAllSet"},
		{"mask as flag", "{\"AutoUpdateSet\":true}", "AutoUpdateSet"},
		{"text as number", "{\"HostnameSet\":true,\"Hostname\":3}", "Hostname"},
		{"text with newline", "{\"HostnameSet\":true,\"Hostname\":\"a\\nb\"}", "Hostname"},
		{"optional as text",
			"{\"NoStatefulFilteringSet\":true,\"NoStatefulFiltering\":\"unset\"}",
			"NoStatefulFiltering"},
		{"netfilter 3", "{\"NetfilterModeSet\":true,\"NetfilterMode\":3}", "0 to 2"},
		{"netfilter -1", "{\"NetfilterModeSet\":true,\"NetfilterMode\":-1}", "0 to 2"},
		{"netfilter 1.5", "{\"NetfilterModeSet\":true,\"NetfilterMode\":1.5}", "0 to 2"},
		{"port 65536", "{\"RelayServerPortSet\":true,\"RelayServerPort\":65536}", "65535"},
		{"host bits", "{\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":[\"10.0.0.1/8\"]}",
			"route 10.0.0.1/8 has non-address bits set; expected 10.0.0.0/8"},
		{"IPv6 host bits",
			"{\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":[\"fd00::1/64\"]}",
			"expected fd00::/64"},
		{"no length", "{\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":[\"10.0.0.1\"]}",
			"not a prefix"},
		{"length 33", "{\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":[\"10.0.0.0/33\"]}",
			"not a prefix"},
		{"routes as text", "{\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":\"::/0\"}",
			"not a list"},
		{"route as number", "{\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":[7]}",
			"else than text"},
		{"tag without prefix", "{\"AdvertiseTagsSet\":true,\"AdvertiseTags\":[\"a\"]}",
			"tag 'a'"},
		{"tag with a digit first",
			"{\"AdvertiseTagsSet\":true,\"AdvertiseTags\":[\"tag:1\"]}", "tag 'tag:1'"},
		{"service", "{\"AdvertiseServicesSet\":true,\"AdvertiseServices\":[\"svc:\"]}",
			"svc:"},
		{"address", "{\"ExitNodeIPSet\":true,\"ExitNodeIP\":\"1.2.3\"}", "1.2.3"},
		{"endpoint without port",
			"{\"RelayServerStaticEndpointsSet\":true,"
			"\"RelayServerStaticEndpoints\":[\"192.0.2.1:0\"]}",
			"192.0.2.1:0"},
		{"object as flag", "{\"AppConnectorSet\":true,\"AppConnector\":true}",
			"not an object"},
		{"inner type",
			"{\"AutoUpdateSet\":{\"CheckSet\":true},\"AutoUpdate\":{\"Check\":1}}",
			"Check"},
		{"object as list", "{\"AutoUpdateSet\":{\"CheckSet\":true},\"AutoUpdate\":[]}",
			"not an object"},
		{"internal field",
			"{\"InternalExitNodePriorSet\":true,\"InternalExitNodePrior\":\"x\"}",
			"Internal"},
		{"exit node that uses one",
			"{\"ExitNodeIDSet\":true,\"ExitNodeID\":\"n1\",\"AdvertiseRoutesSet\":true,"
			"\"AdvertiseRoutes\":[\"0.0.0.0/0\",\"::/0\"]}",
			"at the same time"},
	};
	struct prefs *const old = prefs_create();
	char err[PREFS_ERROR_LEN];

	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *const masked = object_of(cases[i].patch);
		print_message("%s\n", cases[i].name);
		assert_null(prefs_patch(old, masked, err));
		assert_non_null(strstr(err, cases[i].says));
		json_decref(masked);
	}
	prefs_destroy(old);
}

static void test_bounds(void **)
{
	struct prefs *const old = prefs_create();
	char err[PREFS_ERROR_LEN], name[16], mask[16], text[PREFS_TEXT_LEN + 1];
	json_t *const routes = json_array(), *const unknown = json_object();

	for (int i = 0; i < PREFS_ROUTES_MAX; i++)
		json_array_append_new(
			routes, json_sprintf("10.%d.%d.0/24", i / 256 % 256, i % 256));
	json_t *masked =
		json_pack("{s:b, s:O}", "AdvertiseRoutesSet", 1, "AdvertiseRoutes", routes);
	struct prefs *const p = prefs_patch(old, masked, err);
	assert_non_null(p);
	assert_int_equal(p->n_routes, PREFS_ROUTES_MAX);
	json_array_append_new(routes, json_string("192.0.2.0/24"));
	assert_null(prefs_patch(old, masked, err));
	json_decref(masked);
	json_decref(routes);
	prefs_destroy(p);

	memset(text, 'x', sizeof(text));
	text[PREFS_TEXT_LEN] = '\0';
	masked = json_pack("{s:b, s:s}", "HostnameSet", 1, "Hostname", text);
	assert_null(prefs_patch(old, masked, err));
	text[PREFS_TEXT_LEN - 1] = '\0';
	json_object_set_new(masked, "Hostname", json_string(text));
	struct prefs *const longest = prefs_patch(old, masked, err);
	assert_non_null(longest);
	assert_string_equal(longest->hostname, text);
	prefs_destroy(longest);
	json_decref(masked);

	for (int i = 0; i <= PREFS_UNKNOWN_MAX; i++) {
		snprintf(name, sizeof(name), "U%d", i);
		snprintf(mask, sizeof(mask), "U%dSet", i);
		json_object_set_new(unknown, name, json_true());
		json_object_set_new(unknown, mask, json_true());
	}
	assert_null(prefs_patch(old, unknown, err));
	json_object_del(unknown, "U0Set");
	struct prefs *const many = prefs_patch(old, unknown, err);
	assert_non_null(many);
	prefs_destroy(many);
	json_decref(unknown);
	prefs_destroy(old);
}

static void test_whole(void **)
{
	char err[PREFS_ERROR_LEN];
	json_t *const whole = object_of("{\"Hostname\":\"a\",\"Odd\":{},\"CorpDNS\":null}");
	struct prefs *const p = prefs_parse(whole, err);

	assert_non_null(p);
	assert_field(p, "Odd", "{}");
	assert_field(p, "CorpDNS", "false"); // what is absent is empty, not the default
	assert_field(p, "NetfilterMode", "0");
	prefs_destroy(p);
	json_object_set_new(whole, "a b", json_true());
	assert_null(prefs_parse(whole, err));
	json_decref(whole);
	assert_null(prefs_parse(NULL, err));
}

static void test_file(void **)
{
	struct prefs *const old = prefs_create();
	struct prefs *const p = patched(old,
		"{\"HostnameSet\":true,\"Hostname\":\"J\xc3\xb6rg\",\"FutureSet\":true,"
		"\"Future\":{\"a\":[1]},\"AdvertiseRoutesSet\":true,"
		"\"AdvertiseRoutes\":[\"10.0.0.0/8\"],\"CorpDNSSet\":true}");
	struct prefs *loaded = NULL;
	char err[PREFS_ERROR_LEN];
	struct stat st;

	assert_int_equal(prefs_load(dir, &loaded, err), -ENOENT);
	assert_int_equal(prefs_save(dir, p), 0);
	assert_int_equal(stat(path_of("prefs.json"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(prefs_load(dir, &loaded, err), 0);
	assert_true(json_equal((json_t *)prefs_json(loaded), (json_t *)prefs_json(p)));
	assert_int_equal(loaded->n_routes, 1);
	assert_false(loaded->corp_dns);
	prefs_destroy(loaded);
	prefs_destroy(p);
	prefs_destroy(old);
}

static void write_file(const char *text, mode_t mode)
{
	unlink(path_of("prefs.json"));
	const int fd = open(path_of("prefs.json"), O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_file_refusals(void **)
{
	static const struct {
		const char *name, *text;
		mode_t mode;
		int error;
	} cases[] = {
		{"empty", "", 0600, -EBADMSG},
		{"cut", "{\"Hostname\": \"a", 0600, -EBADMSG},
		{"no object", "[]", 0600, -EBADMSG},
		{"two", "{} {}", 0600, -EBADMSG},
		{"wrong type", "{\"Hostname\": 1}", 0600, -EBADMSG},
		{"others may read", "{}", 0644, -EACCES},
		{"deep", "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]}", 0600,
			-EBADMSG},
	};
	struct prefs *loaded;
	char err[PREFS_ERROR_LEN];

	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].name);
		write_file(cases[i].text, cases[i].mode);
		assert_int_equal(prefs_load(dir, &loaded, err), cases[i].error);
		assert_null(loaded);
		assert_true(*err);
	}
	write_file("{\"Hostname\": \"mine\"}\n", 0600); // by hand: the rest has its defaults
	assert_int_equal(prefs_load(dir, &loaded, err), 0);
	assert_true(loaded->corp_dns);
	assert_string_equal(loaded->hostname, "mine");
	prefs_destroy(loaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_patches),
		cmocka_unit_test(test_members_follow),
		cmocka_unit_test(test_exit_node_ends_automatic),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_whole),
		cmocka_unit_test_setup_teardown(test_file, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_file_refusals, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
