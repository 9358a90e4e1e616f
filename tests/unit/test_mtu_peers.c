// The account of ways to peers, from reports that a daemon makes and from others.
#include "control/cli/mtu_peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

#define PORTS "\"ports\":[{\"name\":\"lan\",\"mtu\":9000},{\"name\":\"wan\",\"mtu\":1500}]"

static json_t *report(const char *head, const char *peer)
{
	char text[1024];
	snprintf(text, sizeof(text), "{%s,\"peers\":[{%s}]}", head, peer);
	json_t *json = json_loads(text, 0, NULL);
	if (json == NULL)
		fail_msg("%s", text);
	return json;
}

static const struct {
	const char *name, *head, *peer, *way;
	uint16_t overhead, mtu;
	enum ledger_source due;
} known[] = {
	{"IPv4", PORTS ",\"tunnel_mtu\":1420",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":1440", "direct", 60, 1420,
		LEDGER_INTERFACE},
	{"IPv6 fills the link", PORTS ",\"tunnel_mtu\":1420",
		"\"port\":\"wan\",\"endpoint\":\"[2001:db8::1]:1\",\"mtu\":1420", "direct", 80,
		1420, LEDGER_ROOM},
	{"a tunnel larger than the link", PORTS ",\"tunnel_mtu\":8000",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":1440", "direct", 60, 1440,
		LEDGER_ROOM},
	{"a narrower way", PORTS ",\"tunnel_mtu\":1420",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":1340", "direct", 60, 1340,
		LEDGER_ROUTE},
	{"a way that was probed", PORTS ",\"tunnel_mtu\":1420",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":1340,\"mtu_probed\":"
		"{\"bytes\":1340,\"since\":7}",
		"direct", 60, 1340, LEDGER_PROBE},
	{"room that was probed", PORTS ",\"tunnel_mtu\":1280",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":1280,\"mtu_probed\":"
		"{\"bytes\":1280,\"since\":7}",
		"direct", 60, 1280, LEDGER_INTERFACE},
	{"a route below what was probed", PORTS ",\"tunnel_mtu\":1420",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":1300,\"mtu_probed\":"
		"{\"bytes\":1340,\"since\":7}",
		"direct", 60, 1300, LEDGER_ROUTE},
	{"what a router says", PORTS ",\"tunnel_mtu\":1420",
		"\"port\":\"wan\",\"endpoint\":\"[2001:db8::1]:1\",\"mtu\":1220,\"mtu_told\":"
		"{\"bytes\":1220,\"since\":7}",
		"direct", 80, 1220, LEDGER_ICMP},
	{"nonsense of what was probed", PORTS ",\"tunnel_mtu\":1420",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":1340,\"mtu_probed\":"
		"{\"bytes\":-1340}",
		"direct", 60, 1340, LEDGER_ROUTE},
	{"jumbo", PORTS ",\"tunnel_mtu\":8920",
		"\"port\":\"lan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":8940", "direct", 60, 8920,
		LEDGER_INTERFACE},
	{"a peer relay, beside DERP", PORTS ",\"tunnel_mtu\":1280",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":1432,\"vni\":7,\"derp\":"
		"true",
		"peer relay", 68, 1280, LEDGER_INTERFACE},
	{"a daemon that tells less", PORTS, "\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\"",
		"direct", 60, 1440, LEDGER_ROOM},
};

static void test_known(void **)
{
	for (unsigned i = 0; i < N(known); i++) {
		struct mtu_path path;
		json_t *status = report(known[i].head, known[i].peer);
		mtu_path_read(status, json_array_get(json_object_get(status, "peers"), 0), &path);
		const struct ledger_layer *l = &path.layer[1];
		if (!path.known || strcmp(path.way, known[i].way) != 0 ||
			l->overhead != known[i].overhead || l->mtu != known[i].mtu ||
			l->due != known[i].due || l->fragments != 1)
			fail_msg("%s: known %d, %s, %u, %u, due %u, %u", known[i].name, path.known,
				path.way, l->overhead, l->mtu, l->due, l->fragments);
		json_decref(status);
	}
}

static const struct {
	const char *name, *head, *peer, *way;
} unknown[] = {
	{"nothing", PORTS, "", "none"},
	{"no endpoint", PORTS, "\"port\":\"wan\",\"endpoint\":null,\"mtu\":1440", "none"},
	{"no port", PORTS, "\"endpoint\":\"192.0.2.1:1\",\"mtu\":0", "none"},
	{"DERP alone", PORTS, "\"derp\":true,\"mtu\":0", "derp"},
	{"an endpoint that is none", PORTS, "\"port\":\"wan\",\"endpoint\":\"x\"", "none"},
	{"a port that is not there", PORTS, "\"port\":\"dmz\",\"endpoint\":\"192.0.2.1:1\"",
		"direct"},
	{"no ports", "\"ports\":7", "\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\"", "direct"},
	{"a port without MTU", "\"ports\":[{\"name\":\"wan\"}]",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\"", "direct"},
	{"an MTU below zero", "\"ports\":[{\"name\":\"wan\",\"mtu\":-1500}]",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\"", "direct"},
	{"an MTU beyond IP", "\"ports\":[{\"name\":\"wan\",\"mtu\":65536}]",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\"", "direct"},
	{"a narrow link", "\"ports\":[{\"name\":\"wan\",\"mtu\":600}]",
		"\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\"", "direct"},
	{"IPv6 on a narrow link", "\"ports\":[{\"name\":\"wan\",\"mtu\":1200}]",
		"\"port\":\"wan\",\"endpoint\":\"[2001:db8::1]:1\"", "direct"},
	{"a narrow way", PORTS, "\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\",\"mtu\":68",
		"direct"},
};

static void test_unknown(void **)
{
	for (unsigned i = 0; i < N(unknown); i++) {
		struct mtu_path path;
		json_t *status = report(unknown[i].head, unknown[i].peer);
		mtu_path_read(status, json_array_get(json_object_get(status, "peers"), 0), &path);
		if (path.known || strcmp(path.way, unknown[i].way) != 0)
			fail_msg("%s: known %d, %s", unknown[i].name, path.known, path.way);
		json_decref(status);
	}
}

#define PEERS                                                                                      \
	"{" PORTS ",\"tunnel_mtu\":1280,\"peers\":["                                               \
	"{\"name\":\"a.t.\",\"public_key\":\"KA\",\"port\":\"wan\",\"endpoint\":\"192.0.2.1:1\","  \
	"\"mtu\":1360,\"allowed_ips\":[\"100.64.0.1/32\",\"10.0.0.0/8\"]},"                        \
	"{\"name\":\"b\",\"public_key\":\"KB\",\"derp\":true,\"allowed_ips\":[\"10.1.0.0/16\"]},"  \
	"{\"name\":\"\",\"public_key\":\"KC\",\"allowed_ips\":[\"x\",7]}]}"

static void test_find(void **)
{
	static const struct {
		const char *which, *key; // NULL: nobody
	} cases[] = {
		{"a", "KA"},
		{"a.t.", "KA"},
		{"KB", "KB"},
		{"KC", "KC"},
		{"100.64.0.1", "KA"},
		{"10.1.2.3", "KB"},
		{"10.2.2.3", "KA"},
		{"", NULL},
		{"a.", NULL},
		{"A", NULL},
		{"a.t", NULL},
		{"c", NULL},
		{"192.0.2.1", NULL},
		{"10.0.0.0/8", NULL},
		{"fd7a::1", NULL},
	};
	json_t *status = json_loads(PEERS, 0, NULL);
	for (unsigned i = 0; i < N(cases); i++) {
		const json_t *peer = mtu_peer_find(status, cases[i].which);
		const char *key = json_string_value(json_object_get(peer, "public_key"));
		if ((key == NULL) != (cases[i].key == NULL) ||
			(key != NULL && strcmp(key, cases[i].key) != 0))
			fail_msg("'%s': %s", cases[i].which, key);
	}
	json_decref(status);
}

static void test_shown(void **)
{
	char *text = NULL;
	size_t len;
	json_t *status = json_loads(PEERS, 0, NULL);
	FILE *out = open_memstream(&text, &len);
	assert_non_null(out);
	assert_true(mtu_peers_show(out, status, NULL));
	fclose(out);
	assert_string_equal(text,
		"Peer  Way     Link      Adds  MTU   MSS v4  MSS v6  Payload  Due to\n"
		"a.t.  direct  wan 1500  60    1280  1240    1220    89.1 %   the tunnel's mtu\n"
		"b     derp    -         -     1280  -       -       -        the tunnel's mtu\n"
		"KC    none    -         -     -     -       -       -        no way is known\n");
	free(text);
	json_t *json = mtu_peers_json(status, mtu_peer_find(status, "a"));
	text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));
	assert_string_equal(text,
		"{\"tunnel_mtu\":1280,\"peers\":[{\"name\":\"a.t.\",\"public_key\":\"KA\",\"way\":"
		"\"direct\",\"endpoint\":\"192.0.2.1:1\",\"port\":\"wan\",\"link_mtu\":1500,"
		"\"overhead\":60,\"room\":1440,\"mtu\":1280,\"due_to\":\"interface\",\"mss_v4\":"
		"1240,\"mss_v6\":1220,\"payload_percent\":89.1}]}");
	free(text);
	json_decref(json);
	json_decref(status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
