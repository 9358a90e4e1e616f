// The commands of a node, against a socket that answers by a script: what they ask for, print and
// end with. test_cli_gateway.c has those of the gateway.
#include "tests/unit/cli_cases.h"

#define WATCH "GET /localapi/v0/watch-ipn-bus?mask=0"
#define LOGGED_OUT "{\"BackendState\":\"NeedsLogin\",\"HaveNodeKey\":false,\"Self\":{}}"
#define STOPPED "{\"BackendState\":\"Stopped\",\"HaveNodeKey\":true,\"Self\":{}}"
#define FRESH "{\"ControlURL\":\"\",\"CorpDNS\":true}"
#define SET_UP "{\"ControlURL\":\"http://hs\",\"CorpDNS\":true,\"RouteAll\":true}"
#define PONG(more)                                                                                 \
	"{\"NodeIP\":\"100.64.0.2\",\"NodeName\":\"b\",\"LatencySeconds\":0.004," more "}"
#define GATEWAY                                                                                    \
	"{\"version\":\"9\",\"config\":\"/etc/tailgate/tailgate.conf\",\"peers\":[{\"name\":"      \
	"\"static\"}],\"ports\":[]}"

static const struct cli_case cases[] = {
	{"ping, direct", {"ping", "b"},
		{{STATUS, 200, RUNNING}, {"POST /localapi/v0/ping?ip=100.64.0.2&size=0&type=disco",
						 200, PONG("\"Endpoint\":\"1.2.3.4:5\"")}},
		0, "=pong from b (100.64.0.2) via 1.2.3.4:5 in 4ms\n", "=", {}},
	{"ping, relayed to the end", {"ping", "-c=1", "100.64.0.2"},
		{{STATUS, 200, RUNNING},
			{"POST /localapi/v0/ping", 200,
				PONG("\"DERPRegionID\":1,\"DERPRegionCode\":\"nyc\"")}},
		1, "=pong from b (100.64.0.2) via DERP(nyc) in 4ms\n",
		"=direct connection not established\n", {}},
	{"ping, relayed is enough", {"ping", "-c=1", "--until-direct=false", "b"},
		{{STATUS, 200, RUNNING},
			{"POST /localapi/v0/ping", 200,
				PONG("\"DERPRegionID\":1,\"DERPRegionCode\":\"nyc\"")}},
		0, "via DERP(nyc)", "=", {}},
	{"ping, TSMP and size", {"ping", "--tsmp", "--size", "100", "b"},
		{{STATUS, 200, RUNNING}, {"POST /localapi/v0/ping?ip=100.64.0.2&size=100&type=TSMP",
						 200, PONG("\"PeerAPIPort\":7")}},
		0, "=pong from b (100.64.0.2, 7) via TSMP in 4ms\n", "=", {}},
	{"ping, no such peer", {"ping", "100.64.0.9"},
		{{STATUS, 200, RUNNING},
			{"POST /localapi/v0/ping", 200, "{\"Err\":\"no matching peer\"}"}},
		1, "=", "=no matching peer\n", {}},
	{"ping, our own address", {"ping", "100.64.0.1"},
		{{STATUS, 200, RUNNING}, {"POST /localapi/v0/ping", 200,
						 "{\"Err\":\"100.64.0.1 is local Tailscale "
						 "IP\",\"IsLocalIP\":true}"}},
		0, "=100.64.0.1 is local Tailscale IP\n", "=", {}},
	{"ping, our own name", {"ping", "a"}, {{STATUS, 200, RUNNING}}, 0,
		"=100.64.0.1 is local Tailscale IP\n", "=", {}},
	{"ping, silence", {"ping", "-c", "2", "--timeout", "200ms", "b"},
		{{STATUS, 200, RUNNING}, {"POST /localapi/v0/ping", 200, "", true}}, 1,
		"=ping \"100.64.0.2\" timed out\nping \"100.64.0.2\" timed out\n", "=no reply\n",
		{}},
	{"ping, the daemon refuses", {"ping", "b"},
		{{STATUS, 200, RUNNING}, {"POST /localapi/v0/ping", 400, "ping size too big\n"}}, 1,
		"=", "ping size too big", {}},
	{"ping, no JSON", {"ping", "b"},
		{{STATUS, 200, RUNNING}, {"POST /localapi/v0/ping", 200, "{\"Err\":"}}, 1, "=",
		"no JSON", {}},
	{"ping, stopped", {"ping", "b"}, {{STATUS, 200, STOPPED}}, 1, "=Tailscale is stopped.\n",
		"=", {}},
	{"ping, bad count", {"ping", "-c=x", "b"}, {}, 2, "=", "-c takes a number", {}},
	{"ping, bad time", {"ping", "--timeout=5", "b"}, {}, 2, "=", "--timeout takes a time", {}},
	{"ping, bad size", {"ping", "--size=-1", "b"}, {}, 2, "=", "--size takes a number", {}},
	{"ping, two ways", {"ping", "--tsmp", "--icmp", "b"}, {}, 2, "=", "exclude each other", {}},

	{"ip", {"ip"}, {{STATUS, 200, RUNNING}}, 0, "=100.64.0.1\n", "=", {}},
	{"ip of a peer", {"ip", "-6", "b"}, {{STATUS, 200, RUNNING}}, 0, "=fd7a::2\n", "=", {}},
	{"ip, none of the family", {"ip", "-6"}, {{STATUS, 200, RUNNING}}, 1, "=",
		"=no Tailscale IPv6 address\n", {}},
	{"ip of nobody", {"ip", "1.2.3.4"}, {{STATUS, 200, RUNNING}}, 1, "=",
		"=no peer or service found with IP 1.2.3.4\n", {}},
	{"ip, is", {"ip", "--assert=100.64.0.1"}, {{STATUS, 200, RUNNING}}, 0, "=", "=", {}},
	{"ip, is not", {"ip", "--assert=100.64.0.3"}, {{STATUS, 200, RUNNING}}, 1, "=",
		"=assertion failed: IP \"100.64.0.3\" not found among [100.64.0.1]\n", {}},
	{"ip, none at all", {"ip"}, {{STATUS, 200, LOGGED_OUT}}, 1, "=",
		"=no current Tailscale IPs; state: NeedsLogin\n", {}},
	{"ip, two families", {"ip", "-4", "-6"}, {}, 2, "=", "mutually exclusive", {}},

	{"whois nobody", {"whois", "1.2.3.4:5"},
		{{"GET /localapi/v0/whois?addr=1.2.3.4%3A5", 404, "x"}}, 1, "=",
		"=peer not found\n", {}},
	{"whois, bad protocol", {"whois", "--proto=sctp", "1.2.3.4"}, {}, 2, "=", "tcp or udp", {}},

	{"exit-node suggest", {"exit-node", "suggest"},
		{{"GET /localapi/v0/suggest-exit-node", 200, "{\"ID\":\"n\",\"Name\":\"gw.t.\"}"}},
		0,
		"=Suggested exit node: gw.t.\nTo accept this suggestion, use `tailgate set "
		"--exit-node=gw.t.`.\n",
		"=", {}},
	{"exit-node suggest, none", {"exit-node", "suggest"},
		{{"GET /localapi/v0/suggest-exit-node", 200, "{\"ID\":\"\"}"}}, 0,
		"=No exit node suggestion is available.\n", "=", {}},
	{"exit-node list, none", {"exit-node", "list"}, {{STATUS, 200, RUNNING}}, 1, "=",
		"=no exit nodes found\n", {}},
	{"exit-node, else", {"exit-node", "connect"}, {}, 2, "=", "'list' or 'suggest'", {}},

	{"down", {"down"}, {{STATUS, 200, RUNNING}, {"PATCH /localapi/v0/prefs", 200, "{}"}}, 0,
		"=", "=",
		{"PATCH /localapi/v0/prefs {\"WantRunning\":false,\"WantRunningSet\":true}"}},
	{"down twice", {"down"}, {{STATUS, 200, STOPPED}}, 0, "=",
		"=Tailscale was already stopped.\n", {}},
	{"down, not allowed", {"down"},
		{{STATUS, 200, RUNNING},
			{"PATCH /localapi/v0/prefs", 403, "prefs write access denied"}},
		1, "=", "prefs write access denied: run as root", {}},
	{"logout", {"logout"}, {{"POST /localapi/v0/logout", 204, ""}}, 0, "=", "=", {}},
	{"logout, refused", {"logout"}, {{"POST /localapi/v0/logout", 500, "{\"error\":\"no\"}"}},
		1, "=", "=tailgate: no\n", {}},

	{"set", {"set", "--shields-up"},
		{{STATUS, 200, RUNNING}, {PREFS, 200, SET_UP},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"PATCH /localapi/v0/prefs", 200, "{}"}},
		0, "=", "=",
		{"PATCH /localapi/v0/prefs {\"ShieldsUp\":true,\"ShieldsUpSet\":true}"}},
	{"set nothing", {"set"}, {}, 2, "=", "usage: tailgate set", {}},
	{"set, refused", {"set", "--hostname=x"},
		{{STATUS, 200, RUNNING}, {PREFS, 200, SET_UP},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"PATCH /localapi/v0/prefs", 400, "{\"error\":\"bad hostname\"}"}},
		1, "=", "=tailgate: bad hostname\n", {}},

	{"up by key", {"up", "--login-server=http://hs", "--auth-key=k"},
		{{STATUS, 200, LOGGED_OUT}, {PREFS, 200, FRESH},
			{WATCH, 200,
				"{\"State\":5}\n{\"BrowseToURL\":\"http://hs/"
				"old\"}\n{\"State\":6}\n",
				true},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"POST /localapi/v0/start", 204, ""},
			{"POST /localapi/v0/login-interactive", 204, ""}},
		0, "=", "=",
		{"POST /localapi/v0/start "
		 "{\"AuthKey\":\"k\",\"UpdatePrefs\":{\"ControlURL\":\"http://"
		 "hs\"",
			"POST /localapi/v0/login-interactive"}},
	{"up by URL", {"up", "--login-server=http://hs"},
		{{STATUS, 200, LOGGED_OUT}, {PREFS, 200, FRESH},
			{WATCH, 200,
				"{\"BrowseToURL\":\"http://hs/r\"}\n{\"BrowseToURL\":\"http://hs/"
				"r\"}\n"
				"{\"State\":6}\n",
				true},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"POST /localapi/v0/start", 204, ""},
			{"POST /localapi/v0/login-interactive", 204, ""}},
		0, "=", "=\nTo authenticate, visit:\n\n\thttp://hs/r\n\nSuccess.\n", {}},
	{"up, to be approved", {"up", "--login-server=http://hs", "--authkey", "k"},
		{{STATUS, 200, LOGGED_OUT}, {PREFS, 200, FRESH},
			{WATCH, 200, "{\"State\":3}\n{\"State\":6}\n", true},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"POST /localapi/v0/start", 204, ""},
			{"POST /localapi/v0/login-interactive", 204, ""}},
		0, "=",
		"=\nTo approve your machine, visit (as admin):\n\n\thttp://hs/admin\n\nSuccess.\n",
		{}},
	{"up, the key is refused", {"up", "--login-server=http://hs", "--auth-key=k"},
		{{STATUS, 200, LOGGED_OUT}, {PREFS, 200, FRESH},
			{WATCH, 200, "{\"ErrMessage\":\"invalid\\u001b key\"}\n", true},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"POST /localapi/v0/start", 204, ""},
			{"POST /localapi/v0/login-interactive", 204, ""}},
		1, "=", "=tailgate: backend error: invalid? key\n", {}},
	{"up, start is refused", {"up", "--login-server=http://hs", "--auth-key=k"},
		{{STATUS, 200, LOGGED_OUT}, {PREFS, 200, FRESH}, {WATCH, 200, "", true},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"POST /localapi/v0/start", 500, "cannot keep the key"}},
		1, "=", "=tailgate: cannot keep the key\n", {}},
	{"up, the daemon goes", {"up", "--login-server=http://hs", "--auth-key=k"},
		{{STATUS, 200, LOGGED_OUT}, {PREFS, 200, FRESH},
			{WATCH, 200, "{\"State\":5}\n{\"Sta"},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"POST /localapi/v0/start", 204, ""},
			{"POST /localapi/v0/login-interactive", 204, ""}},
		1, "=", "ended while 'up' was waiting", {}},
	{"up, time is over", {"up", "--login-server=http://hs", "--timeout=300ms"},
		{{STATUS, 200,
			 "{\"BackendState\":\"NeedsLogin\",\"Self\":{},\"Health\":[\"no way "
			 "there\"]}"},
			{PREFS, 200, FRESH},
			{WATCH, 200, "nonsense\n[]\n{\"State\":\"6\"}\n", true},
			{"POST /localapi/v0/check-prefs", 200, "{}"},
			{"POST /localapi/v0/start", 204, ""},
			{"POST /localapi/v0/login-interactive", 204, ""}},
		1, "=",
		"=# Health check:\n#     - no way there\ntimeout waiting for Tailscale service to "
		"enter a Running state; check health with \"tailgate status\"\n",
		{}},
	{"up again, as it was", {"up"},
		{{STATUS, 200, STOPPED}, {PREFS, 200, SET_UP},
			{WATCH, 200, "{\"State\":6}\n", true},
			{"PATCH /localapi/v0/prefs", 200, "{}"}},
		0, "=", "=",
		{"PATCH /localapi/v0/prefs {\"WantRunning\":true,\"WantRunningSet\":true}"}},
	{"up, another setting while it runs",
		{"up", "--login-server=http://hs", "--accept-routes", "--shields-up"},
		{{STATUS, 200, RUNNING}, {PREFS, 200, SET_UP},
			{"PATCH /localapi/v0/prefs", 200, "{}"}},
		0, "=", "=", {"\"ShieldsUp\":true,\"ShieldsUpSet\":true", "\"WantRunning\":true"}},
	{"up, a setting forgotten", {"up", "--login-server=http://hs"},
		{{STATUS, 200, RUNNING}, {PREFS, 200, SET_UP}}, 1, "=",
		"\ttailgate up --login-server=http://hs --accept-routes\n\n", {}},
	{"up, another server", {"up", "--login-server=http://other", "--accept-routes"},
		{{STATUS, 200, RUNNING}, {PREFS, 200, SET_UP}}, 1, "=",
		"=can't change --login-server without --force-reauth\n", {}},
	{"up, no such file", {"up", "--auth-key=file:/nonexistent/key"}, {}, 2, "=",
		"cannot read /nonexistent/key", {}},
	{"up, bad time", {"up", "--timeout=soon"}, {}, 2, "=", "--timeout takes a time", {}},

	{"netcheck", {"netcheck"},
		{{"POST /tailgate/v0/netcheck?full=1", 200,
			"{\"text\":\"\\nReport:\\n\\t* UDP: true\\n\",\"report\":{\"UDP\":true}}"}},
		0, "=\nReport:\n\t* UDP: true\n", "=", {}},
	{"netcheck, a line of JSON", {"netcheck", "--format=json-line"},
		{{"POST /tailgate/v0/netcheck", 200, "{\"text\":\"\",\"report\":{\"UDP\":true}}"}},
		0, "={\"UDP\":true}\n", "=", {}},
	{"netcheck without a report", {"netcheck"}, {{"POST /tailgate/v0/netcheck", 200, "{}"}}, 1,
		"=", "has no report", {}},
	{"netcheck of another daemon", {"netcheck"}, {}, 1, "=", "does not know this request", {}},
	{"netcheck, bad form", {"netcheck", "--format=xml"}, {}, 2, "=", "--format takes", {}},

	{"doctor, well", {"doctor"},
		{{"GET /tailgate/v0/doctor", 200,
			"{\"findings\":[{\"id\":\"F190\",\"severity\":\"ok\",\"check\":\"c\","
			"\"evidence\":\"e\"}]}"}},
		0, "=ok     c: e\n\n0 errors, 0 warnings, 0 notes, 1 well\n", "=", {}},
	{"doctor, warning", {"doctor"},
		{{"GET /tailgate/v0/doctor", 200,
			"{\"findings\":[{\"id\":\"F128\",\"severity\":\"warn\",\"check\":\"NAT\","
			"\"evidence\":\"e\",\"meaning\":\"m\",\"remedy\":\"r\"}]}"}},
		1,
		"=warn   NAT [F128]\n       found: e\n       means: m\n       do: r\n\n0 errors, 1 "
		"warning, 0 notes, 0 well\n",
		"=", {}},
	{"doctor, a severity of the future", {"doctor"},
		{{"GET /tailgate/v0/doctor", 200, "{\"findings\":[{\"severity\":\"fatal\"}]}"}}, 2,
		"1 error,", "=", {}},
	{"doctor, no findings", {"doctor"}, {{"GET /tailgate/v0/doctor", 200, "{}"}}, 2, "=",
		"has no findings", {}},
	{"doctor, passive", {"doctor", "--passive"},
		{{"GET /tailgate/v0/doctor?try=0", 200, "{\"findings\":[]}"}}, 0, "0 well", "=",
		{}},
	{"doctor of UDP", {"doctor", "udp-reach"},
		{{"GET /tailgate/v0/doctor", 200,
			"{\"findings\":[{\"severity\":\"error\",\"check\":\"DERP\"},"
			"{\"severity\":\"warn\",\"check\":\"UDP in\",\"id\":\"F158\","
			"\"evidence\":\"nothing came\"}]}"}},
		1, "warn   UDP in [F158]\n       found: nothing came\n\n0 errors, 1 warning", "=",
		{}},
	{"doctor of nothing", {"doctor", "tcp-reach"}, {}, 2, "=", "no check 'tcp-reach'", {}},
	{"doctor mtu of a log", {"doctor", "mtu", "--log=-"}, {}, 2, "=", "not at a log", {}},
	{"doctor, verify all", {"doctor", "--verify"}, {}, 2, "=", "belong to", {}},
	{"doctor of UDP elsewhere", {"doctor", "udp-reach", "--root=/x"}, {}, 2, "=", "belong to",
		{}},
	{"doctor, two logs", {"doctor", "--log=-", "--journal=tailscaled"}, {}, 2, "=", "not both",
		{}},
	{"doctor, no such log", {"doctor", "--log=/nonexistent/log"}, {}, 2, "=",
		"cannot read the log /nonexistent/log: No such file", {}},
	{"doctor, a folder as log", {"doctor", "--log=/"}, {}, 2, "=",
		"cannot read the log /: Is a directory", {}},
	{"doctor, an empty log", {"doctor", "--log=/dev/null"}, {}, 0,
		"0 lines of /dev/null, none with a known symptom", "=", {}},
	{"doctor of another daemon", {"doctor"}, {}, 2, "=", "does not know this request", {}},

	{"status of a node", {"status"},
		{{STATUS, 200, RUNNING}, {"GET /tailgate/v0/status", 200, GATEWAY}}, 0,
		"=100.64.0.1  a  -    offline  \n100.64.0.2  b  -    offline  \n\ntailgate 9, up 0 "
		"seconds\n  public key: \n  listening port: 0\n  encryption: \n  workers: 0\n  "
		"configuration: /etc/tailgate/tailgate.conf\n\npeer: static\n  public key: \n  "
		"endpoint: (none)\n  allowed ips: (none)\n  latest handshake: none yet\n  "
		"transfer: "
		"0 B received, 0 B sent\n  worker: 0, path mtu: 0\n  state: \n",
		"=", {}},
	{"status of tailscaled", {"status"}, {{STATUS, 200, RUNNING}}, 0,
		"=100.64.0.1  a  -    offline  \n100.64.0.2  b  -    offline  \n", "=", {}},
	{"status, stopped", {"status"}, {{STATUS, 200, STOPPED}}, 1, "=Tailscale is stopped.\n",
		"=", {}},
	{"status, refused by the server", {"status"},
		{{STATUS, 200,
			"{\"BackendState\":\"NeedsLogin\",\"Self\":{},\"Health\":[\"bad key\"]}"}},
		1, "=# Health check:\n#     - bad key\n\nLogged out.\n", "=", {}},
	{"status by the file alone", {"status"},
		{{STATUS, 200, LOGGED_OUT}, {"GET /tailgate/v0/status", 200, GATEWAY}}, 0,
		"peer: static", "=", {}},
	{"status of a daemon without LocalAPI", {"status"},
		{{"GET /tailgate/v0/status", 200, GATEWAY}}, 0, "peer: static", "=", {}},
	{"status of neither", {"status"}, {}, 1, "=", "404 page not found", {}},
	{"status with paths", {"status", "--verbose"},
		{{STATUS, 200, RUNNING},
			{"GET /tailgate/v0/tailnet", 200,
				"{\"peers\":[{\"name\":\"b\",\"ip\":\"100.64.0.2\",\"path\":"
				"\"direct\","
				"\"endpoint\":\"1.2.3.4:5\",\"region\":\"nyc\",\"latency_ms\":1.25,"
				"\"handshake_age_s\":61,\"key_expiry\":null,\"mtu\":1280,\"why\":"
				"\"a "
				"pong\"},{\"name\":\"c\",\"path\":\"relay\",\"region\":\"nyc\","
				"\"key_expiry\":\"2001-02-03T04:05:06Z\"}],\"coord\":{\"state\":"
				"\"streaming\",\"why\":\"\",\"heard_s\":5},\"home\":\"nyc\"}"}},
		0,
		"\npeer: b (100.64.0.2)\n  path: direct 1.2.3.4:5, 1.2 ms\n  why: a pong\n  home "
		"region: nyc\n  latest handshake: 1 minute, 1 second ago\n  path mtu: 1280\n  key "
		"expires: never\n\npeer: c ()\n  path: relay \"nyc\"\n  home region: nyc\n  latest "
		"handshake: none yet\n  key EXPIRED: 2001-02-03 04:05 UTC\n\ncoordination:\n  "
		"state: "
		"streaming\n  heard s: 5\n\nhome region: nyc\n",
		"=", {}},
};

static void test_commands(void **)
{
	run_cases(cases, N(cases));
}

// A reason with the remedy when there is no daemon.
static void test_nobody_there(void **)
{
	static const char *const lines[][2] = {{"status"}, {"up"}, {"down"}, {"logout"}, {"ip"},
		{"netcheck"}, {"doctor"}, {"ping", "x"}, {"whois", "x"}, {"exit-node", "list"},
		{"set", "--shields-up"}};
	for (unsigned i = 0; i < N(lines); i++) {
		const char *const words[WORDS_MAX] = {lines[i][0], lines[i][1]};
		struct run run = run_at("/nonexistent/socket", words);
		assert_int_equal(run.result, i == 6 ? 2 : 1);
		assert_text(
			lines[i][0], "err", "start it with 'systemctl start tailgated'", run.err);
		done(&run);
	}
}

// --json is one object with everything.
static void test_status_json(void **)
{
	static const struct answer script[ANSWERS_MAX] = {
		{STATUS, 200, RUNNING}, {"GET /tailgate/v0/status", 200, GATEWAY}};
	static const char *const words[WORDS_MAX] = {"--json", "status"};
	struct server *s = start(script);
	struct run run = run_at(s->path, words);
	json_t *json = json_loads(run.out, 0, NULL);
	assert_int_equal(run.result, 0);
	assert_non_null(json_object_get(json, "peers"));
	assert_non_null(json_object_get(json_object_get(json, "tailnet"), "Peer"));
	json_decref(json);
	done(&run);
	stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_status_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
