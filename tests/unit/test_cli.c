#include "control/cli/blocks.h"
#include "control/cli/cli.h"
#include "control/cli/client.h"
#include "control/cli/format.h"
#include "control/cli/show.h"
#include "control/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

static void test_durations(void **)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} cases[] = {
		{0, "0 seconds"},
		{1, "1 second"},
		{63, "1 minute, 3 seconds"},
		{7200, "2 hours"},
		{86400 + 3600 + 60 + 1, "1 day, 1 hour, 1 minute, 1 second"},
		{UINT64_C(400) * 86400, "1 year, 35 days"},
	};
	char text[FORMAT_LEN];
	for (unsigned i = 0; i < N(cases); i++)
		assert_string_equal(format_duration(cases[i].seconds, text), cases[i].text);
	assert_true(strlen(format_duration(UINT64_MAX, text)) < FORMAT_LEN);
}

static void test_amounts(void **)
{
	char text[FORMAT_LEN];
	assert_string_equal(format_bytes(0, text), "0 B");
	assert_string_equal(format_bytes(1023, text), "1023 B");
	assert_string_equal(format_bytes(1024, text), "1.00 KiB");
	assert_string_equal(format_bytes(1300000000, text), "1.21 GiB");
	assert_string_equal(format_bytes(1.8e19, text), "15987.21 PiB");
	assert_string_equal(format_rate(0, "b/s", text), "0 b/s");
	assert_string_equal(format_rate(999, "p/s", text), "999 p/s");
	assert_string_equal(format_rate(1500, "p/s", text), "1.50 kp/s");
	assert_string_equal(format_rate(25.3e9, "b/s", text), "25.3 Gb/s");
}

static void test_daemon_options(void **)
{
	char err[DAEMON_OPTIONS_ERROR_LEN];
	struct daemon_args args;
	char *none[] = {"tailgated"};
	assert_int_equal(daemon_options_parse(1, none, &args, err), 0);
	assert_null(args.config);
	assert_null(args.check);
	assert_false(args.has_log_level || args.version || args.help);
	char *all[] = {"tailgated", "--config", "/c", "--check=/d", "--log-level", "debug",
		"--version", "--help"};
	assert_int_equal(daemon_options_parse(N(all), all, &args, err), 0);
	assert_string_equal(args.config, "/c");
	assert_string_equal(args.check, "/d");
	assert_true(args.has_log_level && args.version && args.help);
	assert_int_equal(args.log_level, LOG_LEVEL_DEBUG);

	static char *const bad[][2] = {{"--frob"}, {"x"}, {"--config"}, {"--config="},
		{"--version=1"}, {"--log-level", "loud"}, {"--conf", "x"}, {""}};
	for (unsigned i = 0; i < N(bad); i++) {
		char *argv[] = {"tailgated", bad[i][0], bad[i][1]};
		*err = '\0';
		if (daemon_options_parse(bad[i][1] != NULL ? 3 : 2, argv, &args, err) != -EINVAL ||
			strlen(err) < 5)
			fail_msg("%s: %s", bad[i][0], err);
	}
}

// What a printer writes.
static char *printed(void (*print)(FILE *, const void *), const void *arg)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	assert_non_null(out);
	print(out, arg);
	fclose(out);
	return text;
}

static char *read_file(const char *path)
{
	char *text = calloc(1, 1 << 20);
	FILE *in = fopen(path, "r");
	if (in == NULL)
		fail_msg("cannot read %s", path);
	size_t n = fread(text, 1, (1 << 20) - 1, in);
	assert_true(n > 0);
	fclose(in);
	return text;
}

static void print_tailgate_1(FILE *out, const void *)
{
	cli_print_man(out);
}

static void print_tailgated_8(FILE *out, const void *)
{
	daemon_options_print_man(out);
}

static void print_help(FILE *out, const void *command)
{
	cli_print_help(out, command);
}

// The committed pages are what the tables make: else run 'tailgate --man PAGE >docs/man/PAGE'.
static void test_man_pages(void **)
{
	char *made = printed(print_tailgate_1, NULL), *page = read_file(MAN "/tailgate.1");
	assert_string_equal(made, page);
	free(made);
	free(page);
	made = printed(print_tailgated_8, NULL);
	page = read_file(MAN "/tailgated.8");
	assert_string_equal(made, page);
	free(made);
	free(page);
}

static void test_help_names_every_command(void **)
{
	char *list = printed(print_help, NULL);
	for (unsigned i = 0; i < n_commands; i++) {
		if (commands[i].help == NULL)
			continue;
		if (strstr(list, commands[i].help) == NULL)
			fail_msg("%s is not in the help", commands[i].name);
		char *one = printed(print_help, &commands[i]);
		for (unsigned k = 0; k < CLI_OPTIONS_MAX && commands[i].options[k].name != NULL;
			k++)
			assert_non_null(strstr(one, commands[i].options[k].help));
		if (strstr(one, " \n") != NULL)
			fail_msg("a line of the help of %s ends in a space", commands[i].name);
		free(one);
	}
	free(list);
}

static const char status_json[] =
	"{\"version\":\"0.1.0\",\"pid\":1,\"config\":\"/etc/tailgate/tailgate.conf\","
	"\"public_key\":\"PUB=\",\"listen_port\":50000,\"listen_port_configured\":41641,"
	"\"listen_port_fallback\":true,\"started\":1000.0,\"uptime_s\":7380.5,"
	"\"aead\":\"ipsec-mb\",\"workers\":2,\"under_load\":false,\"reloads\":1,"
	"\"reload_failures\":1,\"last_reload_error\":\"tailgate.conf:3: mtu: no number\","
	"\"warnings\":[\"no hugepages\"],\"ports\":[{\"name\":\"wan\",\"kind\":\"shared\","
	"\"device\":\"eth0\",\"up\":false,\"mtu\":1500,\"mac\":\"02:00:00:00:00:01\","
	"\"queues\":1,\"offloads\":{\"rx\":[],\"tx\":[\"tcp_tso\",\"udp_tso\"]}}],"
	"\"peers\":[{\"name\":\"berlin\",\"public_key\":\"KEY1=\",\"endpoint\":"
	"\"192.0.2.1:41641\",\"state\":\"up\",\"remedy\":null,\"latest_handshake\":1937.0,"
	"\"rx_bytes\":1300000000,\"tx_bytes\":12,\"allowed_ips\":[\"10.2.0.0/16\",\"fd00::/8\"],"
	"\"keepalive_s\":25,\"preshared_key\":true,\"worker\":1,\"mtu\":1420},"
	"{\"name\":\"\",\"public_key\":\"KEY2=\",\"endpoint\":null,\"state\":\"no endpoint\","
	"\"remedy\":\"it has to start\",\"latest_handshake\":0.0,\"rx_bytes\":0,\"tx_bytes\":0,"
	"\"allowed_ips\":[],\"keepalive_s\":0,\"preshared_key\":false,\"worker\":0,\"mtu\":0}]}";

static void print_status(FILE *out, const void *json)
{
	show_status(out, json, NULL, 2000);
}

static void test_status(void **)
{
	json_t *json = json_loads(status_json, 0, NULL);
	assert_non_null(json);
	char *text = printed(print_status, json);
	assert_string_equal(text,
		"tailgate 0.1.0, up 2 hours, 3 minutes\n"
		"  public key: PUB=\n"
		"  listening port: 50000 (41641 was taken: free it, or tell the peers of this "
		"one)\n"
		"  encryption: ipsec-mb\n"
		"  workers: 2\n"
		"  configuration: /etc/tailgate/tailgate.conf\n"
		"  last reload failed: tailgate.conf:3: mtu: no number\n"
		"  warning: no hugepages\n"
		"\n"
		"port: wan\n"
		"  device: eth0 (shared), DOWN, mtu 1500, 02:00:00:00:00:01\n"
		"  offloads: receive none; send tcp_tso, udp_tso\n"
		"\n"
		"peer: berlin\n"
		"  public key: KEY1=\n"
		"  preshared key: (hidden)\n"
		"  endpoint: 192.0.2.1:41641\n"
		"  allowed ips: 10.2.0.0/16, fd00::/8\n"
		"  latest handshake: 1 minute, 3 seconds ago\n"
		"  transfer: 1.21 GiB received, 12 B sent\n"
		"  persistent keepalive: every 25 seconds\n"
		"  worker: 1, path mtu: 1420\n"
		"  state: up\n"
		"\n"
		"peer: KEY2=\n"
		"  endpoint: (none)\n"
		"  allowed ips: (none)\n"
		"  latest handshake: none yet\n"
		"  transfer: 0 B received, 0 B sent\n"
		"  worker: 0, path mtu: 0\n"
		"  NOT UP: no endpoint: it has to start\n");
	free(text);
	json_decref(json);
}

static const char stats_json[] =
	"{\"drops\":[{\"name\":\"wg_auth\",\"value\":14,\"help\":\"forged\"},"
	"{\"name\":\"no_route\",\"value\":0,\"help\":\"no route\"}],"
	"\"counters\":[{\"name\":\"supers_segmented\",\"value\":4,\"help\":\"a\"},"
	"{\"name\":\"segments_made\",\"value\":90,\"help\":\"b\"}],"
	"\"handshakes\":[{\"name\":\"initiations_sent\",\"value\":0,\"help\":\"c\"}],"
	"\"nodes\":[{\"name\":\"tx\",\"calls\":10,\"packets\":320,\"cycles\":64000},"
	"{\"name\":\"punt\",\"calls\":0,\"packets\":0,\"cycles\":0}],"
	"\"workers\":[{\"id\":0,\"rounds\":9,\"empty_rounds\":1,\"sleeps\":0,\"busy_cycles\":5,"
	"\"burst_packets\":[1,0,3,0,0,0,0,0]},{\"id\":1,\"burst_packets\":[1,0,3,0,0,0,0,0]}],"
	"\"ports\":[{\"name\":\"lan\",\"kind\":\"shared\",\"rx_packets\":5,\"tx_full\":0}],"
	"\"buffers\":[{\"name\":\"packets\",\"size\":1000,\"in_use\":3}]}";

static void print_stats(FILE *out, const void *json)
{
	show_stats(out, json, false);
}

static void print_all_stats(FILE *out, const void *json)
{
	show_stats(out, json, true);
}

static void test_stats(void **)
{
	static const char *const shown[] = {
		"drops\n              14  wg_auth                  forged\n\ncounters\n",
		"\nhandshakes\n  none\n",
		"            22.5  segments per super-packet before encryption\n",
		"             0.0  WireGuard datagrams per super-packet sent\n",
		"         1              2  ##########\n",
		"       4-7              6  ##############################\n",
		"tx                          320           32.0            200\n",
		"               5  rx_packets\n",
		"packets                       3           1000\n",
	};
	static const char *const zeros[] = {"no_route", "tx_full", "punt ", "initiations_sent"};
	json_t *json = json_loads(stats_json, 0, NULL);
	assert_non_null(json);
	char *text = printed(print_stats, json), *all = printed(print_all_stats, json);
	for (unsigned i = 0; i < N(shown); i++)
		if (strstr(text, shown[i]) == NULL)
			fail_msg("%s is not in:\n%s", shown[i], text);
	for (unsigned i = 0; i < N(zeros); i++) {
		assert_null(strstr(text, zeros[i]));
		assert_non_null(strstr(all, zeros[i]));
	}
	free(text);
	free(all);
	json_decref(json);
}

#define TOP(time, busy, bytes, peers)                                                              \
	"{\"time_ns\":" time                                                                       \
	",\"tsc_hz\":1e9,\"drops\":4,\"workers\":[{\"id\":0,\"busy_cycles\":" busy                 \
	",\"sleeps\":0}],\"ports\":[{\"name\":\"lan\",\"rx_bytes\":" bytes                         \
	",\"tx_bytes\":0,\"rx_packets\":3,\"tx_packets\":0}],\"peers\":[" peers "]}"
#define PEER(key, bytes)                                                                           \
	"{\"name\":\"\",\"public_key\":\"" key "\",\"rx_bytes\":0,\"tx_bytes\":" bytes             \
	",\"rx_packets\":0,\"tx_packets\":0}"

static void print_top(FILE *out, const void *rates)
{
	show_top(out, rates);
}

static void test_top(void **)
{
	json_t *before = json_loads(TOP("1000000000", "0", "1000", PEER("A=", "500")), 0, NULL);
	json_t *after = json_loads(
		TOP("3000000000", "500000000", "251000", PEER("B=", "1000") "," PEER("A=", "200")),
		0, NULL);
	assert_non_null(before);
	assert_non_null(after);
	json_t *rates = top_rates(before, after);
	assert_non_null(rates);
	char *text = printed(print_top, rates);
	assert_non_null(strstr(text, "worker 0: 25.0 % busy\ndrops: 0 p/s\n"));
	assert_non_null(strstr(text,
		"lan                         1.00 Mb/s        0 b/s        0 p/s        0 p/s\n"));
	// A new peer counts from zero, so does one whose counters went back.
	assert_non_null(strstr(text, "B=                              0 b/s    4.00 kb/s"));
	assert_non_null(strstr(text, "A=                              0 b/s      800 b/s"));
	free(text);
	json_decref(rates);

	rates = top_rates(after, after); // no time has passed
	assert_true(json_real_value(json_object_get(rates, "seconds")) > 0);
	json_decref(rates);
	json_decref(before);
	json_decref(after);
}

static void print_trace(FILE *out, const void *json)
{
	show_trace(out, json);
}

static void test_trace(void **)
{
	json_t *json = json_loads(
		"{\"requested\":2,\"timed_out\":true,\"packets\":[{\"worker\":1,\"port\":\"lan\","
		"\"cut\":true,\"steps\":[{\"node\":\"eth_input\",\"ns\":0,\"len\":64000,"
		"\"segments\":45,\"summary\":\"10.0.0.1 > 10.0.0.2 tcp 1 > 2\",\"drop\":null,"
		"\"help\":null},{\"node\":\"route\",\"ns\":1250,\"len\":60,\"segments\":1,"
		"\"summary\":\"x\",\"drop\":\"no_route\",\"help\":\"no route to it\"}]}]}",
		0, NULL);
	assert_non_null(json);
	char *text = printed(print_trace, json);
	assert_string_equal(text,
		"packet 1: received on lan by worker 1\n"
		"        0 ns  eth_input    64000 B in 45 segments  10.0.0.1 > 10.0.0.2 tcp 1 > "
		"2\n"
		"     1250 ns  no_route     DROPPED in route: no route to it\n"
		"             ... further steps were not noted\n"
		"1 of 2 packets came in time\n");
	free(text);
	json_decref(json);
}

// A daemon of another version: members missing or of another type.
static void test_strange_answers(void **)
{
	static const char *const answers[] = {
		"{}",
		"[]",
		"[1,2]",
		"{\"peers\":[1,\"x\",{}],\"ports\":[null,{}],\"warnings\":[\"a\",1]}",
		"{\"drops\":{},\"nodes\":[[]],\"workers\":[{\"burst_packets\":7}]}",
		"{\"packets\":[[]]}",
	};
	static void (*const printers[])(FILE *, const void *) = {
		print_status, print_all_stats, print_top, print_trace};
	for (unsigned i = 0; i < N(answers); i++) {
		json_t *json = json_loads(answers[i], 0, NULL);
		assert_non_null(json);
		for (unsigned k = 0; k < N(printers); k++) {
			char *text = printed(printers[k], json);
			assert_non_null(text);
			free(text);
		}
		json_t *rates = top_rates(json, json);
		assert_non_null(rates);
		json_decref(rates);
		json_decref(json);
	}
}

static void test_params(void **)
{
	char path[64] = "/trace";
	assert_true(client_param(path, sizeof(path), "packets", NULL));
	assert_true(client_param(path, sizeof(path), "packets", "5"));
	assert_true(client_param(path, sizeof(path), "peer", "a b&c=\"+/"));
	assert_string_equal(path, "/trace?packets=5&peer=a%20b%26c%3D%22+%2F");
	assert_false(client_param(path, sizeof(path), "peer", "0123456789012345678901234"));

	char small[8] = "/t";
	assert_false(client_param(small, sizeof(small), "peer", ""));
}

// The same stream in pieces of every size gives the same file; a rest is left out.
static void test_blocks(void **)
{
	static const uint32_t stream[] = {
		0x0a0d0d0a, 16, 0, 16, 6, 12, 12, 6, 20, 1, 2, 20, 6, 16, 0};
	for (size_t piece = 1; piece <= sizeof(stream); piece++) {
		char *file = NULL;
		size_t n;
		struct blocks *b = calloc(1, sizeof(*b));
		b->out = open_memstream(&file, &n);
		for (size_t at = 0; at < sizeof(stream); at += piece)
			assert_true(blocks_take(b, (const char *)stream + at,
				piece < sizeof(stream) - at ? piece : sizeof(stream) - at));
		assert_int_equal(b->packets, 2);
		assert_int_equal(b->bytes, 48);
		fclose(b->out);
		assert_int_equal(n, 48);
		assert_memory_equal(file, stream, 48);
		free(file);
		free(b);
	}
}

static void test_blocks_refused(void **)
{
	static const uint32_t bad[][2] = {
		{6, 0}, {6, 8}, {6, 13}, {6, BLOCK_MAX + 4}, {6, UINT32_MAX}};
	for (unsigned i = 0; i < N(bad); i++) {
		struct blocks *b = calloc(1, sizeof(*b));
		b->out = stderr;
		char bytes[16] = "";
		memcpy(bytes, bad[i], sizeof(bad[i]));
		assert_false(blocks_take(b, bytes, sizeof(bytes)));
		assert_int_equal(b->bytes, 0);
		free(b);
	}
}

static void test_daemon_not_running(void **)
{
	char err[CLI_ERROR_LEN];
	json_t *json = NULL;
	assert_true(client_json("/nonexistent/tailgated.sock", "GET", "/tailgate/v0/status", 5,
			    &json, err) < 0);
	assert_null(json);
	assert_non_null(strstr(err, "tailgated is not running"));
	assert_non_null(strstr(err, "/nonexistent/tailgated.sock"));
	assert_null(strchr(err, '\n'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_amounts),
		cmocka_unit_test(test_daemon_options),
		cmocka_unit_test(test_man_pages),
		cmocka_unit_test(test_help_names_every_command),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_top),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_strange_answers),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_blocks_refused),
		cmocka_unit_test(test_daemon_not_running),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
