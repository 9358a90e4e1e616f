// Lines of real logs, and which symptom each is.
#include "control/cli/logscan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

static const struct {
	const char *line, *id, *severity; // id NULL: of no symptom
} lines[] = {
	// The two halves of a tailnet with a client that is too old.
	{"Received error: PollNetMap: Post \"https://hs.example.org/machine/map\": all connection "
	 "attempts failed (HTTP: unexpected HTTP response: 308 Permanent Redirect, HTTPS: reading "
	 "response header: EOF)",
		"F194", "error"},
	{"2023-06-01T10:00:00Z ERR http internal server error error=\"noise upgrade failed: "
	 "unsupported client version: v1.36 (56)\" code=500",
		"F195", "error"},
	{"http internal server error error=\"upgrading noise connection: noise handshake failed: "
	 "decrypting machine key: chacha20poly1305: message authentication failed\" code=500",
		"F194", "warn"},
	{"control: controlhttp: forcing port 443 dial due to recent noise dial; all connection "
	 "attempts failed (HTTP: unexpected HTTP response: 302 Found, HTTPS: dial tcp: i/o "
	 "timeout)",
		"F196", "error"},
	{"WRN No Upgrade header in TS2021 request. If headscale is behind a reverse proxy, make "
	 "sure it is configured to pass WebSockets through.",
		"F196", "warn"},
	{"control: TryLogin: reading response header: EOF", "F197", "error"},
	{"fetch control key: Get \"https://hs.example.org/key?v=113\": tls: failed to verify "
	 "certificate: x509: certificate has expired or is not yet valid: current time "
	 "2020-01-01T00:00:07Z is before 2026-10-01T00:00:00Z",
		"time", "error"},
	{"x509: certificate has expired or is not yet valid: current time 2026-11-21T00:00:07Z is "
	 "after 2026-10-01T00:00:00Z",
		"time", "error"},
	{"fetch control key: Get \"https://hs.example.org/key?v=113\": tls: failed to verify "
	 "certificate: x509: certificate signed by unknown authority",
		"F197", "error"},
	{"LoginInteractive: register request: http 401: authkey expired", "F203", "error"},
	{"register request: http 401: AuthKey already used", "F203", "error"},
	{"control: bad logged in status: node key expired", "F010", "error"},
	{"key expired; run 'tailscale up' to authenticate", "F010", "error"},
	{"fetch control key: Get \"https://hs.example.org/key?v=113\": dial tcp: lookup "
	 "hs.example.org on 127.0.0.53:53: no such host",
		"F190", "error"},
	{"fetch control key: 502 Bad Gateway", "F194", "error"},
	{"magicsock: unable to bind udp4 port 41641: listen udp4 :41641: bind: address already in "
	 "use",
		"F157", "warn"},
	{"netcheck: UDP is blocked, trying HTTPS", "F126", "warn"},
	{"magicsock: [0xc000] derp.Recv(derp-900): derphttp.Client.Recv connect to region 900 "
	 "(myderp): dial tcp 192.0.2.1:443: connect: connection refused",
		"F165", "warn"},
	{"open-conn-track: timeout opening (TCP 100.64.0.1:42798 => 100.64.0.2:80); peer node "
	 "[abcde] not connected to any DERP relay",
		"F163", "warn"},
	{"open-conn-track: timeout opening (TCP 100.64.0.1:42798 => 100.64.0.2:80) to node "
	 "[abcde]; "
	 "online=yes, lastRecv=12s",
		"F161", "info"},
	{"2026/01/01 00:00:00 http: TLS handshake error from 10.42.0.1:443: tls: no cipher suite "
	 "supported by both client and server",
		"F106", "warn"},
	// What looks like one and is none.
	{"", NULL, NULL},
	{"Program starting: v1.36.2, Go 1.19.6", NULL, NULL},
	{"client version: v1.36 (56) supported", NULL, NULL},
	{"all connection attempts failed", NULL, NULL},
	{"magicsock: unable to bind udp6 port 41641: address family not supported", NULL, NULL},
	{"UDP is not blocked", NULL, NULL},
	{"netcheck: report: udp=true v6=false", NULL, NULL},
	{"magicsock: derp-900 connected; connGen=1", NULL, NULL},
	{"HTTP response: 308 Permanent Redirect", NULL, NULL},
	{"x509:certificate", NULL, NULL},
	{"http: TLS handshake error from 10.42.0.1:443: EOF", NULL, NULL},
};

static const char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));
	return value != NULL ? value : "";
}

static json_t *only_finding(const struct logscan *scan, json_t **report)
{
	*report = logscan_report(scan, "/var/log/some.log");
	json_t *findings = json_object_get(*report, "findings");
	assert_int_equal(json_array_size(findings), 1);
	return json_array_get(findings, 0);
}

static void test_lines(void **)
{
	for (size_t i = 0; i < N(lines); i++) {
		struct logscan scan = {};
		json_t *report;
		logscan_line(&scan, lines[i].line, strlen(lines[i].line));
		const json_t *f = only_finding(&scan, &report);
		if (strcmp(text(f, "id"), lines[i].id != NULL ? lines[i].id : "F334") != 0 ||
			strcmp(text(f, "severity"),
				lines[i].severity != NULL ? lines[i].severity : "ok") != 0)
			fail_msg("%s: %s %s", lines[i].line, text(f, "id"), text(f, "severity"));
		if (lines[i].id != NULL) {
			assert_true(strlen(text(f, "meaning")) > 20);
			assert_true(strlen(text(f, "remedy")) > 20);
			assert_non_null(strstr(text(f, "evidence"), "1 line, the last: "));
		} else {
			assert_string_equal(text(f, "evidence"),
				"1 lines of /var/log/some.log, none with a known symptom");
		}
		json_decref(report);
	}
}

// All of a log: each symptom once, coordination before paths; the version stands in the evidence.
static void test_log(void **)
{
	static const char *const order[] = {"F195", "F194", "F196", "F196", "F197", "F194", "time",
		"time", "F197", "F010", "F010", "F203", "F203", "F190", "F194", "F157", "F126",
		"F165", "F163", "F161", "F106"};
	struct logscan scan = {};
	for (unsigned round = 0; round < 3; round++)
		for (size_t i = N(lines); i-- > 0;)
			logscan_line(&scan, lines[i].line, strlen(lines[i].line));
	json_t *report = logscan_report(&scan, "log");
	const json_t *findings = json_object_get(report, "findings");
	assert_int_equal(json_array_size(findings), N(order));
	for (size_t i = 0; i < N(order); i++)
		assert_string_equal(text(json_array_get(findings, i), "id"), order[i]);
	const char *first = text(json_array_get(findings, 0), "evidence");
	assert_non_null(strstr(first, "3 lines"));
	assert_non_null(strstr(first, "v1.36 (56)"));
	json_decref(report);
}

// What may stand in a log, and what of it is shown.
static void test_odd_lines(void **)
{
	static const char escape[] = "\x1b[2Jnetcheck: udp IS Blocked \xff\0end";
	char longest[3 * LOGSCAN_LINE_MAX];
	struct logscan scan = {};
	json_t *report;
	logscan_line(&scan, escape, sizeof(escape) - 1);
	const json_t *f = only_finding(&scan, &report);
	assert_string_equal(
		text(f, "evidence"), "1 line, the last: ?[2Jnetcheck: udp IS Blocked ??end");
	json_decref(report);

	// The end of a long line is kept, and what is beyond the longest does not count.
	memset(longest, 'x', sizeof(longest));
	memcpy(longest + LOGSCAN_LINE_MAX - 14, "UDP is blocked", 14);
	scan = (struct logscan){};
	logscan_line(&scan, longest, sizeof(longest));
	f = only_finding(&scan, &report);
	assert_string_equal(text(f, "id"), "F126");
	assert_true(strlen(text(f, "evidence")) < sizeof(scan.hit[0].last) + 40);
	assert_string_equal(
		text(f, "evidence") + strlen(text(f, "evidence")) - 14, "UDP is blocked");
	json_decref(report);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest + LOGSCAN_LINE_MAX - 13, "UDP is blocked", 14);
	scan = (struct logscan){};
	logscan_line(&scan, longest, sizeof(longest));
	f = only_finding(&scan, &report);
	assert_string_equal(text(f, "severity"), "ok");
	json_decref(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_odd_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
