// The commands that show and steer the gateway and what it does for a tailnet, against a socket
// that answers by a script.
#include "tests/unit/cli_cases.h"

#define NAT                                                                                        \
	"{\"config\":{\"snat\":true,\"endpoint_independent\":false,\"port_first\":16384,"          \
	"\"port_last\":29999,\"client_flows\":9},\"workers\":[{\"worker\":0,\"flows\":2,"          \
	"\"bound\":8,"                                                                             \
	"\"classes\":{\"udp\":2,\"icmp\":0}}],\"totals\":{\"created\":0,\"nat_ports_exhausted\":"  \
	"3},"                                                                                      \
	"\"flows\":[{\"worker\":0,\"protocol\":17,\"class\":\"udp\",\"inside\":{\"local\":"        \
	"\"100.64.0.2:9\",\"remote\":\"10.1.0.9:7\"},\"outside\":{\"local\":\"10.1.0.1:17\","      \
	"\"remote\":\"10.1.0.9:7\"},\"idle_s\":1.5,\"bytes_out\":1000,\"bytes_in\":0,"             \
	"\"packets_out\":1,\"packets_in\":0}],\"next\":0}"
#define APPC "GET /localapi/v0/appc-route-info"
#define CONNECTOR "{\"AppConnector\":{\"Advertise\":true}}"
#define APPS                                                                                       \
	"{\"Control\":[\"192.0.2.0/24\"],\"Domains\":{\"ccc.example\":[],\"a.example\":["          \
	"\"203.0.113.1\"],\"b.example\":[\"203.0.113.1\",\"2001:db8::1\"]},\"Wildcards\":[]}"
#define ROUTE(route, state, approved, taken_over, why)                                             \
	"{\"route\":\"" route "\",\"from\":\"set\",\"state\":\"" state "\",\"approved\":" approved \
	",\"taken_over\":" taken_over ",\"why\":\"" why "\"}"
#define VXLAN "{\"name\":\"vx40\",\"vni\":40,\"port\":4789,\"mtu\":1450,"
#define ROUTES(taken_over)                                                                         \
	"{\"routes\":[" ROUTE("10.1.0.0/24", "serves", "true", taken_over, "") "," ROUTE(          \
		"10.2.0.0/24", "not used", "false", taken_over, "why") "," ROUTE("0.0.0.0/0",      \
		"exit", "true", "false", "") "]}"
#define MTU_STATUS(allowed)                                                                        \
	"{\"tunnel_mtu\":1420,\"ports\":[{\"name\":\"wan\",\"mtu\":1500}],\"peers\":[{\"name\":"   \
	"\"static\",\"endpoint\":\"192.0.2.1:51820\",\"port\":\"wan\",\"mtu\":1440,"               \
	"\"allowed_ips\":[\"" allowed "\"]}]}"
#define EXPLAIN "/tailgate/v0/explain?"
#define EXPLAINED(allowed, verdict, why, way)                                                      \
	"{\"allowed\":" allowed ",\"verdict\":\"" verdict "\",\"why\":\"" why                      \
	"\",\"peer\":{\"id\":2,\"name\":\"b.t.\"},\"rule\":{\"filter\":\"base\",\"number\":2,"     \
	"\"source\":\"100.64.0.0/24\",\"destination\":\"*:80\"},\"way\":{" way                     \
	"\"route\":\"link\",\"port\":\"lan\"},\"routes\":[\"10.3.0.0/16\",\"fd00::/64\"]}"

static const struct cli_case cases[] = {
	{"nat", {"nat"}, {{"GET /tailgate/v0/nat", 200, NAT}}, 0,
		"=what leaves gets an address of ours, endpoint-dependent, ports 16384-29999, at "
		"most 9 "
		"flows of a client\nworker 0: 2 of 8 flows, udp 2\nnat_ports_exhausted: 3\n"
		"Protocol  Client        To          As           For         State  Idle  Out    "
		" In\n"
		"udp       100.64.0.2:9  10.1.0.9:7  10.1.0.1:17  10.1.0.9:7  udp    1.5s  1000 B "
		" 0 B\n",
		"=", {}},
	{"nat, counts", {"nat", "--limit=0"}, {{"GET /tailgate/v0/nat", 200, NAT}}, 0,
		"and more: --limit shows them", "=", {}},
	{"nat, of one", {"nat", "--client", "100.64.0.2", "--json"},
		{{"GET /tailgate/v0/nat?client=100.64.0.2", 200, NAT}}, 0, "\"next\": false", "=",
		{}},
	{"nat, no address", {"nat", "--client=x"},
		{{"GET /tailgate/v0/nat?client=x", 400,
			"{\"error\":\"parameter 'client' is no address\"}"}},
		1, "=", "is no address", {}},
	{"nat, bad limit", {"nat", "--limit=all"}, {}, 2, "=", "--limit takes a number", {}},
	{"explain, allowed", {"explain", "b", "10.1.0.5", "tcp", "80"},
		{{STATUS, 200, RUNNING},
			{"GET " EXPLAIN "src=100.64.0.2&dst=10.1.0.5&proto=6&port=80", 200,
				EXPLAINED("true", "allowed", "the rule",
					"\"translation\":\"remap\",\"to\":[\"10.9.0.5\"],"
					"\"from\":[\"10.9.0.1\",\"10.9.0.2\"],")}},
		0,
		"=allowed: the rule\n  peer: b.t.\n"
		"  rule: number 2 of filter 'base', from 100.64.0.0/24 to *:80\n"
		"  translated: to 10.9.0.5 (remap)\n  way: link lan\n  leaves as: 10.9.0.1 or "
		"10.9.0.2\n",
		"=", {}},
	{"explain, denied", {"explain", "100.64.0.2", "10.1.0.5", "icmp"},
		{{STATUS, 200, RUNNING},
			{"GET " EXPLAIN "src=100.64.0.2&dst=10.1.0.5&proto=1&port=0", 200,
				EXPLAINED("false", "not_local", "not ours", "")}},
		1,
		"=denied: not ours\n  peer: b.t.\n"
		"  nearest rule: number 2 of filter 'base', from 100.64.0.0/24 to *:80\n"
		"  advertised: 10.3.0.0/16, fd00::/64\n  way: link lan\n",
		"=", {}},
	{"explain, a service with nothing behind it", {"explain", "b", "10.1.0.5", "tcp", "80"},
		{{STATUS, 200, RUNNING}, {"GET " EXPLAIN, 200,
						 EXPLAINED("true", "allowed", "the rule",
							 "\"translation\":\"service\",\"to\":[],"
							 "\"from\":[],")}},
		0, "  translated: to nothing (service)\n", "=", {}},
	{"explain, no address to leave with", {"explain", "b", "10.1.0.5", "tcp", "80"},
		{{STATUS, 200, RUNNING},
			{"GET " EXPLAIN, 200,
				EXPLAINED("true", "allowed", "the rule", "\"from\":[],")}},
		0, "  leaves as: nothing: no address, see nat_addresses\n", "=", {}},
	{"explain, ICMP over IPv6", {"explain", "fd7a::2", "fd00::5", "icmp"},
		{{STATUS, 200, RUNNING},
			{"GET " EXPLAIN "src=fd7a%3A%3A2&dst=fd00%3A%3A5&proto=58&port=0", 200,
				"{\"allowed\":false,\"why\":\"w\",\"peer\":null,\"rule\":null}"}},
		1, "=denied: w\n  peer: none\n  way: \n", "=", {}},
	{"explain, JSON", {"--json", "explain", "b", "10.1.0.5", "47"},
		{{STATUS, 200, RUNNING},
			{"GET " EXPLAIN "src=100.64.0.2&dst=10.1.0.5&proto=47&port=0", 200,
				"{\"allowed\":false}"}},
		1, "\"allowed\": false", "=", {}},
	{"explain, no daemon's answer", {"explain", "b", "10.1.0.5", "47"},
		{{STATUS, 200, RUNNING}, {"GET " EXPLAIN, 409, "{\"error\":\"no node\"}"}}, 2, "=",
		"no node", {}},
	{"explain, protocol", {"explain", "b", "10.1.0.5", "http"}, {{STATUS, 200, RUNNING}}, 2,
		"=", "PROTO is", {}},
	{"explain, number", {"explain", "b", "10.1.0.5", "256"}, {{STATUS, 200, RUNNING}}, 2, "=",
		"PROTO is", {}},
	{"explain, TCP without port", {"explain", "b", "10.1.0.5", "tcp"}, {{STATUS, 200, RUNNING}},
		2, "=", "PORT is needed", {}},
	{"explain, GRE with port", {"explain", "b", "10.1.0.5", "gre", "1"},
		{{STATUS, 200, RUNNING}}, 2, "=", "PORT is needed", {}},
	{"explain, port", {"explain", "b", "10.1.0.5", "udp", "65536"}, {{STATUS, 200, RUNNING}}, 2,
		"=", "up to 65535", {}},
	{"routes", {"routes"}, {{"GET /tailgate/v0/routes", 200, ROUTES("false")}}, 0,
		"=Route        From      State     Why\n10.1.0.0/24  set       serves    \n"
		"10.2.0.0/24  set       not used  why\n"
		"0.0.0.0/0    set       exit      \n",
		"=", {}},
	{"routes, learned", {"routes"},
		{{"GET /tailgate/v0/routes", 200,
			"{\"announcing\":true,\"learned\":{\"offered\":1,\"held\":2,\"left_out\":3}"
			","
			"\"routes\":[{\"route\":\"10.1.0.0/24\",\"from\":\"learned\",\"state\":"
			"\"serves\",\"why\":\"\"}]}"}},
		0,
		"=Route        From      State     Why\n10.1.0.0/24  learned   serves    \n"
		"2 learned ones came and went: each is offered once it has stayed for 30 s.\n"
		"3 learned ones are left out: more than learned_limit.\n"
		"The ways into the tailnet are in announce_table.\n",
		"=", {}},
	{"routes, none", {"routes"}, {{"GET /tailgate/v0/routes", 200, "{\"routes\":[]}"}}, 0,
		"=No routes: advertise some with 'tailgate set --advertise-routes=...'.\n", "=",
		{}},
	{"routes, no node", {"routes"},
		{{"GET /tailgate/v0/routes", 409, "{\"error\":\"no node of a tailnet\"}"}}, 1, "=",
		"no node of a tailnet", {}},
	{"routes, VXLANs without a tailnet", {"routes"},
		{{"GET /tailgate/v0/routes", 200,
			"{\"vxlans\":[" VXLAN "\"underlay\":\"wan\",\"bridge\":\"br40\","
			"\"left_because\":null,\"remotes\":3,\"reached\":2,\"neighbours\":17,"
			"\"routes\":5}," VXLAN "\"underlay\":null,\"bridge\":null,"
			"\"left_because\":\"it is down\",\"remotes\":1,\"reached\":0}]}"}},
		0,
		"=VXLAN  VNI  Port  Underlay  Bridge  MTU   Remotes  Neighbours  Routes  State\n"
		"vx40   40   4789  wan       br40    1450  2 of 3   17          5       ends here\n"
		"vx40   40   4789  -         -       1450  -        -           -       left to "
		"the "
		"kernel: it is down\n",
		"=", {}},
	{"routes, of an app connector", {"routes"},
		{{"GET /tailgate/v0/routes", 200, "{\"routes\":[],\"apps\":7}"}}, 0,
		"=7 of the app connector: see 'tailgate appc-routes'\n", "=", {}},
	{"appc-routes", {"appc-routes"}, {{PREFS, 200, CONNECTOR}, {APPC, 200, APPS}}, 0,
		"=b.example   2\na.example   1\nccc.example 0\n", "=", {}},
	{"appc-routes, map", {"appc-routes", "--map"}, {{PREFS, 200, CONNECTOR}, {APPC, 200, APPS}},
		0,
		"={\"a.example\":[\"203.0.113.1\"],\"b.example\":[\"203.0.113.1\",\"2001:db8::1\"]"
		",\"ccc.example\":[]}\n",
		"=", {}},
	{"appc-routes, all", {"appc-routes", "--all"}, {{PREFS, 200, CONNECTOR}, {APPC, 200, APPS}},
		0, "Routes from Policy\n==================\n[\n  \"192.0.2.0/24\"\n]\n", "=", {}},
	{"appc-routes, number", {"appc-routes", "-n"},
		{{PREFS, 200, CONNECTOR}, {"GET /tailgate/v0/routes", 200, "{\"all\":12}"}}, 0,
		"=12\n", "=", {}},
	{"appc-routes, nothing", {"appc-routes"}, {{PREFS, 200, CONNECTOR}, {APPC, 200, "{}"}}, 0,
		"=", "=", {}},
	{"appc-routes, no connector", {"appc-routes"}, {{PREFS, 200, "{\"AppConnector\":null}"}}, 0,
		"=not a connector\n", "=", {}},
	{"appc-routes, no daemon's word", {"appc-routes"}, {{PREFS, 500, "broken"}}, 1, "=",
		"broken", {}},
	{"services", {"services"},
		{{"GET /tailgate/v0/services", 200,
			"{\"services\":[{\"name\":\"svc:a\",\"active\":true,\"addresses\":[\"100."
			"99.0.1\"],"
			"\"serves\":[{\"ports\":\"tcp:443\",\"backends\":[\"10.1.0.5:8443\",\"10.1."
			"0.6\"]}"
			"]},{\"name\":\"svc:b\",\"active\":false,\"addresses\":[\"100.99.0.2\"],"
			"\"serves\":"
			"[{\"ports\":\"*\",\"backends\":[\"10.1.0.7\"]}]},{\"name\":\"svc:c\","
			"\"active\":"
			"true,\"addresses\":[\"100.99.0.3\"],\"serves\":[]}]}"}},
		0,
		"=Service  Addresses   Ports    Backends                 Why\n"
		"svc:a    100.99.0.1  tcp:443  10.1.0.5:8443, 10.1.0.6  \n"
		"svc:b    100.99.0.2  *        10.1.0.7                 draining\n"
		"svc:c    100.99.0.3                                    leads nowhere: see "
		"services in "
		"tailgate.conf\n",
		"=", {}},
	{"services, without address", {"services"},
		{{"GET /tailgate/v0/services", 200,
			"{\"services\":[{\"name\":\"svc:a\",\"active\":true,\"addresses\":[],"
			"\"serves\":[{"
			"\"ports\":\"*\",\"backends\":[\"10.1.0.7\"]}]}]}"}},
		0, "no address: define it at the coordination server", "=", {}},
	{"services, none", {"services"}, {{"GET /tailgate/v0/services", 200, "{\"services\":[]}"}},
		0, "=No services: see services in tailgate.conf.\n", "=", {}},
	{"services, no node", {"services"},
		{{"GET /tailgate/v0/services", 409, "{\"error\":\"no node of a tailnet\"}"}}, 1,
		"=", "no node of a tailnet", {}},
	{"drain", {"drain"},
		{{"POST /tailgate/v0/drain?on=1", 200, "{}"},

			{"GET /tailgate/v0/routes", 200, ROUTES("true")}},
		0, "=drained\n", "=", {}},
	{"drain, in vain", {"drain", "--timeout=0s"},
		{{"POST /tailgate/v0/drain?on=1", 200, "{}"},
			{"GET /tailgate/v0/routes", 200, ROUTES("false")}},
		1, "=", "no other node has taken over 10.1.0.0/24", {}},
	{"drain, then stop", {"drain", "--stop"},
		{{"POST /tailgate/v0/drain?on=1", 200, "{}"},
			{"GET /tailgate/v0/routes", 200, ROUTES("true")},
			{"POST /tailgate/v0/stop", 200, "{}"}},
		0, "=stopping\n", "=", {}},
	{"drain, called off", {"drain", "--cancel"}, {{"POST /tailgate/v0/drain?on=0", 200, "{}"}},
		0, "=routes are offered again\n", "=", {}},
	{"drain, both", {"drain", "--cancel", "--stop"}, {}, 2, "=", "exclude each other", {}},
	{"drain, bad time", {"drain", "--timeout", "soon"}, {}, 2, "=", "takes a time", {}},
	{"4via6", {"4via6", "7", "10.1.0.0/16"}, {}, 0, "=fd7a:115c:a1e0:b1a:0:7:a01:0/112\n", "=",
		{}},
	{"4via6, back", {"4via6", "fd7a:115c:a1e0:b1a:0:7:a01:0/112"}, {}, 0,
		"=site 7 (0x7), 10.1.0.0/16\n", "=", {}},
	{"mtu plan", {"mtu", "plan", "eth0:1500,wg:1280"}, {}, 0, "wg     80    1280  1240", "=",
		{}},
	{"mtu plan as JSON", {"mtu", "plan", "eth0:1500", "--json"}, {}, 0,
		"\"capacity_percent\": 105.6", "=", {}},
	{"mtu plan, refused", {"mtu", "plan", "eth0:1500,tun"}, {}, 2, "=", "'tun' is no layer",
		{}},
	{"mtu of no plan", {"mtu", "plane", "eth0:1500"}, {}, 2, "=", "write 'tailgate mtu plan",
		{}},
	{"mtu of a peer", {"mtu", "10.9.9.9"},
		{{"GET /tailgate/v0/status", 200, MTU_STATUS("10.9.0.0/16")}}, 0,
		"static  direct  wan 1500  60    1420", "=", {}},
	{"mtu of peers as JSON", {"mtu", "--json"},
		{{"GET /tailgate/v0/status", 200, MTU_STATUS("10.9.0.0/16")}}, 0,
		"\"due_to\": \"interface\"", "=", {}},
	{"mtu of nobody", {"mtu", "10.9.9.9"},
		{{"GET /tailgate/v0/status", 200, MTU_STATUS("10.8.0.0/16")}}, 1, "=",
		"no peer has the name, key or address '10.9.9.9'", {}},
	{"mtu, another daemon", {"mtu"}, {}, 1, "=", "the daemon is no tailgated", {}},
	{"mtu plan of nothing", {"mtu", "plan"}, {}, 2, "=", "write 'tailgate mtu plan", {}},
	{"4via6, no site", {"4via6", "65536", "10.1.0.0/16"}, {}, 1, "=", "write 0 to 65535", {}},
	{"4via6, IPv6", {"4via6", "7", "fd00::/64"}, {}, 1, "=", "is no IPv4 network", {}},
	{"4via6, no network", {"4via6", "7", "10.1.0.0/33"}, {}, 1, "=", "is no IPv4 network", {}},
	{"4via6, no prefix of it", {"4via6", "fd00::/112"}, {}, 1, "=", "is no 4via6 prefix", {}},
};

static void test_gateway_commands(void **)
{
	run_cases(cases, N(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gateway_commands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
