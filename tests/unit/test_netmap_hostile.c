// What a hostile or broken server may send as a netmap, and who may use a key or an address.
#include "tests/unit/netmap_text.h"

// Refused as a whole: nothing changes.
static void test_refused(void **)
{
	static char deep[512], many[256];
	const struct {
		const char *name, *text;
		int error;
	} cases[] = {
		{"empty", "", -EBADMSG},
		{"an array", "[]", -EBADMSG},
		{"cut", "{\"PeersRemoved\":[2]", -EBADMSG},
		{"two values", "{}{}", -EBADMSG},
		{"text behind", "{} x", -EBADMSG},
		{"no quotes", "{PeersRemoved:[2]}", -EBADMSG},
		{"brackets cross", "{\"X\":[{]}}", -EBADMSG},
		{"an open string", "{\"X\":\"a", -EBADMSG},
		{"a backslash at the end", "{\"X\":\"\\", -EBADMSG},
		{"Peers an object", "{\"Peers\":{}}", -EBADMSG},
		{"Peers a number", "{\"Peers\":7}", -EBADMSG},
		{"a peer that is no JSON", "{\"Peers\":[{\"ID\":}]}", -EBADMSG},
		{"a peer with bad UTF-8", "{\"Peers\":[{\"Name\":\"\xff\"}]}", -EBADMSG},
		{"PeersRemoved of texts", "{\"PeersRemoved\":[\"2\"]}", -EBADMSG},
		{"a patch that is no JSON",
			"{\"PeersRemoved\":[2],\"PeersChangedPatch\":[{\"a\":nul}]}", -EBADMSG},
		{"OnlineChange a list", "{\"PeersRemoved\":[2],\"OnlineChange\":[1]}", -EBADMSG},
		{"Node a text", "{\"Node\":\"us\"}", -EBADMSG},
		{"Health a text", "{\"PeersRemoved\":[2],\"Health\":\"good\"}", -EBADMSG},
		{"ControlTime a number", "{\"PeersRemoved\":[2],\"ControlTime\":5}", -EBADMSG},
		{"ControlTime no time", "{\"ControlTime\":\"now\"}", -EBADMSG},
		{"DERPMap a list", "{\"PeersRemoved\":[2],\"DERPMap\":[]}", -EBADMSG},
		{"a filter that is an object", "{\"PeersRemoved\":[2],\"PacketFilter\":{}}",
			-EBADMSG},
		{"a chunk that is a text", "{\"PacketFilters\":{\"a\":\"b\"}}", -EBADMSG},
		{"rules for all chunks", "{\"PacketFilters\":{\"*\":[]}}", -EBADMSG},
		{"DNSConfig a number", "{\"DNSConfig\":1}", -EBADMSG},
		{"DNSConfig of wrong types", "{\"DNSConfig\":{\"Proxied\":\"yes\"}}", -EBADMSG},
		{"nested too deep", deep, -ELOOP},
		{"a peer nested too deep", many, -ELOOP},
	};

	memset(deep, '[', sizeof(deep) - 1);
	memcpy(deep, "{\"X\":", 5);
	memset(many, '[', sizeof(many) - 1);
	memcpy(many, "{\"Peers\":", 9);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct netmap *nm = with_peers();
		struct netmap_delta d;

		print_message("%s\n", cases[i].name);
		assert_int_equal(netmap_apply(nm, cases[i].text, strlen(cases[i].text), NOW, &d),
			cases[i].error);
		assert_true(nm->error[0] != '\0');
		assert_int_equal(nm->n_peers, 2);
		assert_int_equal(d.n_peers, 0);
		assert_int_equal(apply(nm, "{\"Peers\":[" PEER2 "," PEER3 "]}").n_peers, 0);
		netmap_destroy(nm);
	}
}

// Skipped alone, with a counter; or in the netmap without traffic.
static void test_hostile_peers(void **)
{
	static const struct {
		const char *name, *text;
		int skip; // NM_SKIP_COUNT: none
		int64_t id;
		int unusable; // of id; -1: not in the netmap
	} cases[] = {
		{"our own key", "{\"PeersChanged\":[" PEER("4", "1", "," ADDR("4")) "]}",
			NM_SKIP_COUNT, 4, NM_OWN_KEY},
		{"our own address", "{\"PeersChanged\":[" PEER("4", "4", "," ADDR("1")) "]}",
			NM_SKIP_COUNT, 4, NM_SAME_ADDRESS},
		{"another's key", "{\"PeersChanged\":[" PEER("4", "2", "," ADDR("4")) "]}",
			NM_SKIP_COUNT, 4, NM_SAME_KEY},
		{"another's address", "{\"PeersChanged\":[" PEER("4", "4", "," ADDR("2")) "]}",
			NM_SKIP_COUNT, 4, NM_SAME_ADDRESS},
		{"another's address in a whole list, before it",
			"{\"Peers\":[" PEER("4", "4", "," ADDR("2")) "," PEER2 "]}", NM_SKIP_COUNT,
			4, NM_SAME_ADDRESS},
		{"who was first keeps it", "{\"PeersChanged\":[" PEER("4", "4", "," ADDR("2")) "]}",
			NM_SKIP_COUNT, 2, NM_USABLE},
		{"a patch to our key",
			"{\"PeersChangedPatch\":[{\"NodeID\":2,\"Key\":" NODEKEY("1") "}]}",
			NM_SKIP_COUNT, 2, NM_OWN_KEY},
		{"no disco key", "{\"PeersChanged\":[{\"ID\":4,\"Key\":" NODEKEY("4") "}]}",
			NM_SKIP_COUNT, 4, NM_NO_DISCO_KEY},
		{"no disco key, WireGuard only",
			"{\"PeersChanged\":[{\"ID\":4,\"IsWireGuardOnly\":true,\"Key\":" NODEKEY(
				"4") "}]}",
			NM_SKIP_COUNT, 4, NM_USABLE},
		{"expired", "{\"PeersChanged\":[" PEER("4", "4", ",\"Expired\":true") "]}",
			NM_SKIP_COUNT, 4, NM_EXPIRED},
		{"our ID", "{\"PeersChanged\":[" PEER("1", "4", "") "]}", NM_SKIP_ID, 1, -1},
		{"a peer's ID becomes ours",
			"{\"Node\":{\"ID\":2,\"Key\":" NODEKEY("1") "," ADDR("1") "}}",
			NM_SKIP_COUNT, 2, -1},
		{"no ID", "{\"PeersChanged\":[{\"Key\":" NODEKEY("4") "}]}", NM_SKIP_ID, 0, -1},
		{"a negative ID", "{\"PeersChanged\":[" PEER("-4", "4", "") "]}", NM_SKIP_TYPE, -4,
			-1},
		{"an ID of a text", "{\"PeersChanged\":[" PEER("\"4\"", "4", "") "]}", NM_SKIP_TYPE,
			4, -1},
		{"no key", "{\"PeersChanged\":[{\"ID\":4}]}", NM_SKIP_TYPE, 4, -1},
		{"an empty key", "{\"PeersChanged\":[{\"ID\":4,\"Key\":\"\"}]}", NM_SKIP_TYPE, 4,
			-1},
		{"a zero key", "{\"PeersChanged\":[" PEER("4", "0", "") "]}", NM_SKIP_TYPE, 4, -1},
		{"null", "{\"PeersChanged\":[null]}", NM_SKIP_TYPE, 4, -1},
		{"addresses of numbers",
			"{\"PeersChanged\":[" PEER("4", "4", ",\"Addresses\":[1]") "]}",
			NM_SKIP_TYPE, 4, -1},
		{"an address that is none",
			"{\"PeersChanged\":[" PEER(
				"4", "4", ",\"Addresses\":[\"100.64.0.300/32\"]") "]}",
			NM_SKIP_TYPE, 4, -1},
		{"a port over 65535 as endpoint is left out",
			"{\"PeersChanged\":[" PEER(
				"4", "4", ",\"Endpoints\":[\"192.0.2.1:70000\"]") "]}",
			NM_SKIP_COUNT, 4, NM_USABLE},
		{"a bad peer leaves what was",
			"{\"PeersChanged\":[" PEER("2", "2", ",\"Name\":7") "]}", NM_SKIP_TYPE, 2,
			NM_USABLE},
		{"a patch of wrong type",
			"{\"PeersChangedPatch\":[{\"NodeID\":2,\"Online\":\"yes\"}]}",
			NM_SKIP_PATCH, 2, NM_USABLE},
		{"a patch that is null", "{\"PeersChangedPatch\":[null]}", NM_SKIP_PATCH, 2,
			NM_USABLE},
		{"an unknown peer patched", "{\"PeersChangedPatch\":[{\"NodeID\":4}]}",
			NM_SKIP_UNKNOWN, 4, -1},
		{"ourselves removed", "{\"PeersRemoved\":[1]}", NM_SKIP_SELF_REMOVED, 2, NM_USABLE},
		{"another key for us",
			"{\"Node\":{\"ID\":1,\"Key\":" NODEKEY("8") "," ADDR("1") "}}",
			NM_SKIP_SELF, 2, NM_USABLE},
		{"no address for us", "{\"Node\":{\"ID\":1,\"Key\":" NODEKEY("1") "}}",
			NM_SKIP_SELF, 2, NM_USABLE},
		{"our new address was a peer's",
			"{\"Node\":{\"ID\":1,\"Key\":" NODEKEY("1") "," ADDR("2") "}}",
			NM_SKIP_COUNT, 2, NM_SAME_ADDRESS},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct netmap *nm = with_peers();

		print_message("%s\n", cases[i].name);
		apply(nm, cases[i].text);
		for (int s = 0; s < NM_SKIP_COUNT; s++)
			assert_int_equal(nm->skipped[s], s == cases[i].skip);
		const struct nm_peer *p = netmap_peer(nm, cases[i].id);
		assert_int_equal(p ? p->unusable : -1, cases[i].unusable);
		assert_non_null(nm->self);
		netmap_destroy(nm);
	}
}

// Two that swap addresses or keys in one message are no conflict, in either order; and what is let
// go of is for the one that wanted it.
static void test_claims_move(void **)
{
	struct netmap *nm = with_peers();
	struct netmap_delta d =
		apply(nm, "{\"PeersChanged\":[" PEER("2", "3", "," ADDR("3")) "," PEER(
				  "3", "2", "," ADDR("2")) "]}");
	assert_int_equal(d.n_peers, 2);
	assert_int_equal(d.peers[0].fields, NM_F_KEY | NM_F_ADDRESSES | NM_F_ALLOWED_IPS);
	const struct key two = key_of(2);
	assert_int_equal(netmap_peer_by_key(nm, &two)->node->id, 3);

	apply(nm, "{\"PeersChanged\":[" PEER("4", "4", "," ADDR("2")) "]}");
	assert_int_equal(netmap_peer(nm, 4)->unusable, NM_SAME_ADDRESS);
	d = apply(nm, "{\"PeersRemoved\":[3]}");
	assert_int_equal(d.n_peers, 2);
	assert_int_equal(netmap_peer(nm, 4)->unusable, NM_USABLE);
	struct ip_addr a;
	assert_int_equal(ip_addr_parse("100.64.0.2", &a), 0);
	assert_int_equal(netmap_peer_by_addr(nm, &a)->node->id, 4);
	assert_int_equal(nm->n_conflicts, 0);
	netmap_destroy(nm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_hostile_peers),
		cmocka_unit_test(test_claims_move),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
