// The netmap: each rule of a MapResponse, the delta it makes, a recorded stream, 10,000 peers.
#include "tests/unit/netmap_text.h"
#include "tests/unit/sanitized.h"

#include <malloc.h>
#include <time.h>

#include "control/coord/mapstream.h"

// In place of fields.
enum { ADDED = -1, REMOVED = -2 };
enum { SLOW = SANITIZED ? 10 : 1 };

// One message to a netmap of us (1) and peers 2 and 3.
static void test_rules(void **)
{
	static const struct {
		const char *name, *text;
		uint32_t parts;
		size_t peers, deltas;
		int64_t id; // of the first delta
		int64_t fields;
	} cases[] = {
		{"nothing", "{}", 0, 2},
		{"keep-alive", "{\"KeepAlive\":true}", 0, 2},
		{"keep-alive: peers do not count", "{\"KeepAlive\":true,\"PeersRemoved\":[2]}", 0,
			2},
		{"the same peer again", "{\"PeersChanged\":[" PEER2 "]}", 0, 2},
		{"the same list again", "{\"Peers\":[" PEER3 "," PEER2 "]}", 0, 2},
		{"a shorter list", "{\"Peers\":[" PEER2 "]}", 0, 1, 1, 3, REMOVED},
		{"an empty list is no list", "{\"Peers\":[]}", 0, 2},
		{"null is no list", "{\"Peers\":null,\"PeersChanged\":null}", 0, 2},
		{"a list: other fields about peers do not count",
			"{\"Peers\":[" PEER2 "," PEER3 "],\"PeersRemoved\":[2]}", 0, 2},
		{"removed", "{\"PeersRemoved\":[2]}", 0, 1, 1, 2, REMOVED},
		{"an unknown one removed", "{\"PeersRemoved\":[99]}", 0, 2},
		{"removed and back", "{\"PeersRemoved\":[2],\"PeersChanged\":[" PEER2 "]}", 0, 2},
		{"added", "{\"PeersChanged\":[" PEER("4", "4", "," ADDR("4")) "]}", 0, 3, 1, 4,
			ADDED},
		{"a whole node replaces: no address, no disco key left",
			"{\"PeersChanged\":[{\"ID\":2,\"Key\":" NODEKEY("2") "}]}", 0, 2, 1, 2,
			NM_F_ADDRESSES | NM_F_ALLOWED_IPS | NM_F_DISCO | NM_F_USABLE},
		{"patch: online", "{\"PeersChangedPatch\":[{\"NodeID\":2,\"Online\":true}]}", 0, 2,
			1, 2, NM_F_ONLINE},
		{"patch: key", "{\"PeersChangedPatch\":[{\"NodeID\":2,\"Key\":" NODEKEY("7") "}]}",
			0, 2, 1, 2, NM_F_KEY},
		{"patch: disco key, endpoints",
			"{\"PeersChangedPatch\":[{\"NodeID\":3,\"DiscoKey\":" DISCO(
				"e") ",\"Endpoints\":[\"192.0.2.1:1\",\"[2001:db8::1]:2\"]}]}",
			0, 2, 1, 3, NM_F_DISCO | NM_F_ENDPOINTS},
		{"patch: region, capabilities",
			"{\"PeersChangedPatch\":[{\"NodeID\":3,\"DERPRegion\":7,\"Cap\":130,"
			"\"CapMap\":{\"a\":null}}]}",
			0, 2, 1, 3, NM_F_HOME_DERP | NM_F_CAPS},
		{"patch: expiry in the past",
			"{\"PeersChangedPatch\":[{\"NodeID\":3,\"KeyExpiry\":\"2020-01-01T00:00:"
			"00Z\"}]}",
			0, 2, 1, 3, NM_F_EXPIRY | NM_F_USABLE},
		{"patch: an unknown peer",
			"{\"PeersChangedPatch\":[{\"NodeID\":9,\"Online\":true}]}", 0, 2},
		{"patch after change: one delta",
			"{\"PeersChanged\":[" PEER("2", "2",
				"," ADDR("2") ",\"HomeDERP\":3") "],\"PeersChangedPatch\":[{"
								 "\"NodeID\":2,\"Online\":false}]}",
			0, 2, 1, 2, NM_F_HOME_DERP | NM_F_ONLINE},
		{"OnlineChange", "{\"OnlineChange\":{\"2\":true,\"9\":true}}", 0, 2, 1, 2,
			NM_F_ONLINE},
		{"PeerSeenChange", "{\"PeerSeenChange\":{\"3\":true}}", 0, 2, 1, 3, NM_F_ONLINE},
		{"PeerSeenChange: false to nothing", "{\"PeerSeenChange\":{\"3\":false}}", 0, 2},
		{"DERP home, the old way",
			"{\"PeersChanged\":[" PEER(
				"2", "2", "," ADDR("2") ",\"DERP\":\"127.3.3.40:12\"") "]}",
			0, 2, 1, 2, NM_F_HOME_DERP},
		{"self",
			"{\"Node\":{\"ID\":1,\"Key\":" NODEKEY("1") "," ADDR(
				"1") ",\"HomeDERP\":1}}",
			NM_SELF, 2},
		{"filter", "{\"PacketFilter\":[]}", NM_FILTER, 2},
		{"filter: null leaves", "{\"PacketFilter\":null,\"PacketFilters\":null}", 0, 2},
		{"health", "{\"Health\":[\"bad\"]}", NM_HEALTH, 2},
		{"messages", "{\"DisplayMessages\":{\"a\":{\"Title\":\"t\"}}}", NM_MESSAGES, 2},
		{"domain", "{\"Domain\":\"lab\"}", NM_DOMAIN, 2},
		{"users", "{\"UserProfiles\":[{\"ID\":1,\"LoginName\":\"a\"}]}", NM_USERS, 2},
		{"DNS", "{\"DNSConfig\":{\"Proxied\":true}}", NM_DNS, 2},
		{"clock a second off", "{\"ControlTime\":\"2027-01-15T08:00:01Z\"}", 0, 2},
		{"clock an hour off", "{\"ControlTime\":\"2027-01-15T09:00:00Z\"}", NM_CLOCK, 2},
		{"duplicates: the last", "{\"PeersRemoved\":[2],\"PeersRemoved\":[3]}", 0, 1, 1, 3,
			REMOVED},
		{"unknown fields", "{\"Nodes\":{\"x\":[{}]},\"peers\":[1]}", 0, 2},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct netmap *nm = with_peers();
		const struct netmap_delta d = apply(nm, cases[i].text);

		print_message("%s\n", cases[i].name);
		assert_int_equal(d.parts, cases[i].parts);
		assert_int_equal(nm->n_peers, cases[i].peers);
		assert_int_equal(d.n_peers, cases[i].deltas);
		if (d.n_peers) {
			const struct nm_peer_delta *p = d.peers;
			assert_int_equal(p->id, cases[i].id);
			assert_int_equal(p->change, cases[i].fields == ADDED	 ? NM_ADDED
						    : cases[i].fields == REMOVED ? NM_REMOVED
										 : NM_CHANGED);
			if (p->change == NM_CHANGED)
				assert_int_equal(p->fields, cases[i].fields);
			assert_int_equal(p->peer == NULL, p->change == NM_REMOVED);
			const struct key was = key_of((uint8_t)p->id);
			if (p->change != NM_ADDED)
				assert_memory_equal(&p->key_before, &was, KEY_LEN);
		}
		netmap_destroy(nm);
	}
}

static void test_streams(void **)
{
	struct netmap *nm = new_netmap();
	struct netmap_delta d;
	const char peers_alone[] = "{\"Peers\":[" PEER2 "]}";

	assert_int_equal(netmap_apply(nm, peers_alone, strlen(peers_alone), NOW, &d), -EPROTO);
	assert_true(apply(nm, "{\"KeepAlive\":true}").keep_alive);
	assert_false(nm->ready);
	d = apply(nm, "{" SELF
		      ",\"PacketFilter\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[]}],\"Peers\":[" PEER2
		      "," PEER3 "],\"Health\":[\"x\"]}");
	assert_true(d.full);
	assert_int_equal(d.n_peers, 2);
	assert_int_equal(nm->n_filter, 1);

	// A new stream: what its first message lacks is gone, the rest is no change.
	netmap_stream_start(nm);
	d = apply(nm, "{" SELF ",\"Peers\":[" PEER3 "]}");
	assert_true(d.full);
	assert_int_equal(d.self_fields, 0);
	assert_int_equal(d.n_peers, 1);
	assert_int_equal(d.peers[0].change, NM_REMOVED);
	assert_int_equal(d.parts, NM_FILTER | NM_HEALTH);
	assert_int_equal(nm->n_filter, 0);
	netmap_stream_start(nm);
	d = apply(nm, "{" SELF "}");
	assert_int_equal(nm->n_peers, 0);

	// A rotation: the new key is ours from now on.
	const struct key fresh = key_of(8);
	netmap_own_key(nm, &fresh);
	netmap_stream_start(nm);
	d = apply(nm,
		"{\"Node\":{\"ID\":1,\"Name\":\"us.\",\"Key\":" NODEKEY("8") "," ADDR("1") "}}");
	assert_int_equal(d.self_fields, NM_F_KEY);
	netmap_destroy(nm);
}

static void test_expiry(void **)
{
	struct netmap *nm = with_peers();
	struct netmap_delta d;

	apply(nm,
		"{\"PeersChangedPatch\":[{\"NodeID\":2,\"KeyExpiry\":\"2027-01-15T08:00:10Z\"}]}");
	netmap_expire(nm, NOW + 9, &d);
	assert_int_equal(d.n_peers, 0);
	netmap_expire(nm, NOW + 10, &d);
	assert_int_equal(d.n_peers, 1);
	assert_int_equal(d.peers[0].fields, NM_F_USABLE);
	assert_int_equal(d.peers[0].peer->unusable, NM_EXPIRED);
	// Extended again.
	d = apply(nm,
		"{\"PeersChangedPatch\":[{\"NodeID\":2,\"KeyExpiry\":\"2028-01-15T08:00:10Z\"}]}");
	assert_int_equal(netmap_peer(nm, 2)->unusable, NM_USABLE);
	// A clock far off is corrected before anybody expires.
	apply(nm, "{\"ControlTime\":\"2026-01-15T08:00:00Z\"}");
	netmap_expire(nm, NOW + 400 * 86400, &d);
	assert_int_equal(d.n_peers, 0);
	netmap_destroy(nm);
}

static void test_node_fields(void **)
{
	struct netmap *nm = new_netmap();

	apply(nm,
		"{" SELF ",\"Peers\":[" PEER("2", "2",
			"," ADDR(
				"2") ",\"AllowedIPs\":[],\"Tags\":[\"tag:a\"],\"Capabilities\":["
				     "\"z\",\"b\"],"
				     "\"CapMap\":{\"b\":[1,{\"c\":2}],\"a\":null},\"Online\":false,"
				     "\"LastSeen\":\"2026-11-21T07:38:41.18+01:00\",\"IsJailed\":"
				     "true,"
				     "\"SelfNodeV4MasqAddrForThisPeer\":\"100.64.9.9\","
				     "\"Hostinfo\":{\"OS\":\"linux\","
				     "\"Services\":[{\"Proto\":\"peerapi4\",\"Port\":1234},{"
				     "\"Proto\":7}],\"X\":[[]]}") "," PEER("3", "3",
			"," ADDR("3") ",\"AllowedIPs\":null") "," PEER("4", "4",
			"," ADDR("4") ",\"UnsignedPeerAPIOnly\":true,\"AllowedIPs\":[\"10.0.0.0/"
				      "8\"]") "]}");
	const struct nm_node *n = netmap_peer(nm, 2)->node;
	assert_int_equal(n->n_allowed_ips, 0);
	assert_int_equal(n->n_caps, 3);
	assert_string_equal(nm_node_cap(n, "b")->values, "[1,{\"c\":2}]");
	assert_non_null(nm_node_cap(n, "a"));
	assert_null(nm_node_cap(n, "a")->values);
	assert_non_null(nm_node_cap(n, "z"));
	assert_null(nm_node_cap(n, "c"));
	assert_int_equal(n->online, NM_OFFLINE);
	assert_int_equal(n->last_seen, 1795243121);
	assert_true(n->jailed);
	assert_int_equal(n->masq_v4.bytes[2], 9);
	const struct nm_peer *masqueraded = NULL;
	assert_int_equal(netmap_masqueraded(nm, &masqueraded), 1);
	assert_ptr_equal(masqueraded->node, n);
	assert_string_equal(n->os, "linux");
	assert_int_equal(n->peerapi4, 1234);
	assert_string_equal(n->tags[0], "tag:a");
	assert_int_equal(netmap_peer(nm, 3)->node->n_allowed_ips, 1);
	n = netmap_peer(nm, 4)->node;
	assert_int_equal(n->n_allowed_ips, 1);
	assert_int_equal(n->allowed_ips[0].len, 32);
	netmap_destroy(nm);
}

static void test_derp_map(void **)
{
	struct netmap *nm = with_peers();
	const char *const node = "{\"Name\":\"a\",\"HostName\":\"h\"";
	char text[1024];

	snprintf(text, sizeof(text),
		"{\"DERPMap\":{\"Regions\":{\"7\":{\"RegionID\":7,\"Nodes\":[%s},%s,\"STUNPort\":-"
		"1,"
		"\"DERPPort\":8443,\"IPv6\":\"none\"},{\"Name\":\"nohost\"}]},\"3\":{\"RegionID\":"
		"3},"
		"\"4\":null,\"5\":{\"RegionID\":\"x\"},\"6\":7},\"HomeParams\":{\"RegionScore\":{"
		"\"7\":0.5}}}}",
		node, node);
	assert_int_equal(apply(nm, text).parts, NM_DERP_MAP);
	assert_int_equal(nm->derp.n_regions, 2);
	assert_int_equal(nm->derp.regions[0].id, 3);
	assert_int_equal(nm->derp.regions[1].n_nodes, 2);
	assert_int_equal(nm->derp.regions[1].nodes[0].stun_port, 3478);
	assert_int_equal(nm->derp.regions[1].nodes[0].derp_port, 443);
	assert_int_equal(nm->derp.regions[1].nodes[1].stun_port, 0);
	assert_int_equal(nm->derp.regions[1].nodes[1].derp_port, 8443);
	assert_true(nm->derp.regions[1].score == 0.5);
	assert_int_equal(nm->skipped[NM_SKIP_REGION], 3);
	// The same again is no change; regions absent: they stay; scores empty: reset.
	assert_int_equal(apply(nm, text).parts, 0);
	assert_int_equal(apply(nm, "{\"DERPMap\":{\"HomeParams\":{\"RegionScore\":{}}}}").parts,
		NM_DERP_MAP);
	assert_int_equal(nm->derp.n_regions, 2);
	assert_true(nm->derp.regions[1].score == 0);
	assert_int_equal(apply(nm, "{\"DERPMap\":{}}").parts, 0);
	assert_int_equal(apply(nm, "{\"DERPMap\":{\"Regions\":{}}}").parts, NM_DERP_MAP);
	assert_int_equal(nm->derp.n_regions, 0);
	netmap_destroy(nm);
}

static void test_filter(void **)
{
	struct netmap *nm = with_peers();

	apply(nm,
		"{\"PacketFilters\":{\"b\":[{\"SrcIPs\":[\"100.64.0.2\",\"10.0.0.0/8\",\"cap:x\","
		"\"10.0.0.5-10.0.0.9\",\"10.0.0.1/8\",\"nonsense\",\"::1-10.0.0.1\",7],"
		"\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":22,\"Last\":80}},"
		"{\"IP\":\"*\",\"Ports\":{\"First\":80,\"Last\":22}},{\"IP\":\"*\"},"
		"{\"IP\":\"*\",\"Bits\":8,\"Ports\":{\"First\":1,\"Last\":1}}],\"IPProto\":[6,300]}"
		","
		"{\"SrcIPs\":[\"*\"],\"IPProto\":[300]},{\"SrcIPs\":[],\"DstPorts\":[]},"
		"{\"SrcIPs\":[\"*\"],\"SrcBits\":[8]},{\"SrcIPs\":\"*\"},"
		"{\"SrcIPs\":[\"*\"],\"CapGrant\":[{\"Dsts\":[\"100.64.0.1/32\"],\"Caps\":[\"o\"],"
		"\"CapMap\":{\"c\":null}}]}]}}");
	assert_int_equal(nm->n_filter, 1);
	const struct nm_rules *rules = &nm->filter[0];
	assert_int_equal(rules->n_rules, 2);
	assert_int_equal(rules->rules[0].n_sources, 4);
	assert_int_equal(rules->rules[0].sources[1].last.bytes[3], 255);
	assert_string_equal(rules->rules[0].sources[2].cap, "x");
	assert_int_equal(rules->rules[0].n_destinations, 1);
	assert_int_equal(rules->rules[0].destinations[0].port_last, 80);
	assert_int_equal(rules->rules[0].n_protocols, 1);
	assert_int_equal(rules->rules[1].grants[0].n_caps, 2);
	assert_int_equal(nm->skipped[NM_SKIP_RULE], 4 + 3 + 1 + 1 + 1 + 1);

	// Chunks come, are replaced, go; the old field is chunk "base"; "*" clears before all
	// others.
	apply(nm, "{\"PacketFilter\":[],\"PacketFilters\":{\"a\":[]}}");
	assert_int_equal(nm->n_filter, 3);
	assert_string_equal(nm->filter[0].name, "a");
	assert_string_equal(nm->filter[1].name, "b");
	assert_int_equal(nm->filter[1].n_rules, 2);
	assert_string_equal(nm->filter[2].name, "base");
	assert_int_equal(apply(nm, "{\"PacketFilters\":{\"a\":[]}}").parts, 0);
	apply(nm, "{\"PacketFilters\":{\"b\":null,\"unknown\":null}}");
	assert_int_equal(nm->n_filter, 2);
	apply(nm, "{\"PacketFilters\":{\"c\":[],\"*\":null}}");
	assert_int_equal(nm->n_filter, 1);
	assert_string_equal(nm->filter[0].name, "c");
	netmap_destroy(nm);
}

static void test_texts(void **)
{
	struct netmap *nm = with_peers();
	struct netmap_delta d;

	apply(nm, "{\"DisplayMessages\":{\"a\":{\"Title\":\"1\"},\"b\":{}}}");
	apply(nm, "{\"DisplayMessages\":{\"a\":null,\"c\":{}}}");
	assert_string_equal(nm->messages, "{\"b\":{},\"c\":{}}");
	apply(nm, "{\"DisplayMessages\":{\"d\":{},\"*\":null}}");
	assert_string_equal(nm->messages, "{\"d\":{}}");
	apply(nm, "{\"Health\":[]}");
	assert_string_equal(nm->health, "[]");
	d = apply(
		nm, "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":\"u\"},\"PopBrowserURL\":\"p\"}");
	assert_string_equal(d.ping_request, "{\"URL\":\"u\"}");
	assert_string_equal(d.pop_browser_url, "p");
	d = apply(nm, "{\"Debug\":{\"SleepSeconds\":1e9,\"Exit\":1}}");
	assert_true(d.sleep_s == 300);
	assert_null(d.ping_request);
	apply(nm,
		"{\"DNSConfig\":{\"Resolvers\":[{\"Addr\":\"1.1.1.1\"},7],\"Routes\":{\"a.\":null,"
		"\"b.\":[{\"Addr\":\"x\"}],\"c.\":3},\"Domains\":[\"d\",null],\"ExtraRecords\":"
		"[{\"Name\":\"n\",\"Value\":\"v\"},{\"Name\":\"n\"}]}}");
	assert_int_equal(nm->dns.resolvers.n, 1);
	assert_int_equal(nm->dns.n_routes, 2);
	assert_int_equal(nm->dns.n_domains, 1);
	assert_int_equal(nm->dns.n_records, 1);
	assert_int_equal(nm->skipped[NM_SKIP_DNS], 4);
	netmap_destroy(nm);
}

struct stream {
	struct netmap *nm;
	size_t messages, removed, added;
	uint32_t fields, parts;
};

static int stream_message(void *arg, const char *text, size_t len)
{
	struct stream *s = arg;
	struct netmap_delta d;
	const int error = netmap_apply(s->nm, text, len, 1795247000, &d);

	s->messages++;
	s->parts |= d.parts;
	for (size_t i = 0; i < d.n_peers; i++) {
		s->added += d.peers[i].change == NM_ADDED;
		s->removed += d.peers[i].change == NM_REMOVED;
		s->fields |= d.peers[i].fields;
	}
	return error;
}

static struct netmap *recorded_netmap(const json_t *root, struct stream *s)
{
	const json_t *frames = json_object_get(root, "frames"), *frame;
	struct mapstream *m = NULL;
	static uint8_t bytes[1 << 14];
	struct key own;
	size_t i;

	vectors_exact(root, "node_key", own.bytes, KEY_LEN);
	*s = (struct stream){.nm = netmap_create(&own)};
	json_array_foreach(frames, i, frame)
	{
		if (json_object_get(frame, "event")) {
			const char *event = json_string_value(json_object_get(frame, "event"));
			if (!strcmp(event, "stream_start")) {
				mapstream_destroy(m);
				m = mapstream_create(stream_message, s);
				netmap_stream_start(s->nm);
			}
			continue;
		}
		const size_t len = vectors_bytes(frame, "frame", bytes, sizeof(bytes));
		for (size_t at = 0; at < len; at += 100)
			assert_int_equal(
				mapstream_feed(m, bytes + at, at + 100 < len ? 100 : len - at), 0);
		assert_true(mapstream_complete(m));
	}
	mapstream_destroy(m);
	return s->nm;
}

// All frames of headscale's stream, and the netmap at its end.
static void test_recorded_stream(void **)
{
	json_t *root = vectors_load("mapstream.json");
	struct stream s;
	struct netmap *nm = recorded_netmap(root, &s);
	const json_t *end = json_object_get(root, "end");

	assert_int_equal(s.messages, json_integer_value(json_object_get(root, "messages")));
	for (int i = 0; i < NM_SKIP_COUNT; i++)
		assert_int_equal(nm->skipped[i], 0);
	assert_int_equal(nm->n_peers, json_integer_value(json_object_get(end, "peers")));
	assert_int_equal(nm->derp.n_regions, json_integer_value(json_object_get(end, "regions")));
	assert_string_equal(nm->self->name, json_string_value(json_object_get(end, "self")));
	assert_int_equal(s.added - s.removed, nm->n_peers);
	const uint32_t seen = NM_F_KEY | NM_F_DISCO | NM_F_ALLOWED_IPS | NM_F_ENDPOINTS |
			      NM_F_HOME_DERP | NM_F_ONLINE | NM_F_EXPIRY | NM_F_USABLE;
	assert_int_equal(s.fields & seen, seen);
	assert_int_equal(s.parts & (NM_SELF | NM_DERP_MAP | NM_DNS | NM_FILTER),
		NM_SELF | NM_DERP_MAP | NM_DNS | NM_FILTER);

	// What is written to the disk is the same netmap.
	size_t len, again_len;
	char *dump = netmap_dump(nm, &len);
	struct netmap *copy = netmap_create(&nm->own_key);
	struct netmap_delta d;
	assert_int_equal(netmap_apply(copy, dump, len, NOW, &d), 0);
	assert_int_equal(copy->n_peers, nm->n_peers);
	char *again = netmap_dump(copy, &again_len);
	assert_int_equal(len, again_len);
	netmap_stream_start(nm);
	assert_int_equal(netmap_apply(nm, again, again_len, 1795247000, &d), 0);
	for (size_t i = 0; i < d.n_peers; i++) // who is online now the disk cannot know
		assert_int_equal(d.peers[i].fields, NM_F_ONLINE);
	assert_int_equal(d.self_fields & ~(uint32_t)NM_F_ONLINE, 0);
	assert_int_equal(d.parts & ~(uint32_t)(NM_USERS | NM_SELF), 0);
	free(dump);
	free(again);
	netmap_destroy(copy);
	netmap_destroy(nm);
	json_decref(root);
}

// Texts that a server or a peer chose come back from the disk as they were.
static void test_dumped_texts(void **)
{
	static const char *const texts[] = {"plain", "\\\"quoted\\\"", "back\\\\slash",
		"\\u0001\\n\\t\\u001f", "gr\303\274n", "\\u20ac", "</script>\\u2028",
		"{\\\"a\\\":[", "\\u007f"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct netmap *nm = new_netmap(), *copy = new_netmap();
		struct netmap_delta d;
		char text[4096];
		size_t len;
		snprintf(text, sizeof(text),
			"{" SELF
			",\"Domain\":\"%s\",\"UserProfiles\":[{\"ID\":7,\"LoginName\":\"%s\"}],"
			"\"Peers\":[" PEER("2", "2",
				"," ADDR("2") ",\"Name\":\"%s\",\"Hostinfo\":{\"Hostname\":\"%s\"},"
					      "\"CapMap\":{\"%s\":[{\"%s\":[\"%s\",1]}]},\"Tags\":["
					      "\"%s\",\"%s\"]") "]}",
			texts[i], texts[i], texts[i], texts[i], texts[i], texts[i], texts[i],
			texts[i], texts[i]);
		apply(nm, text);
		char *dump = netmap_dump(nm, &len);
		assert_int_equal(strlen(dump), len);
		assert_int_equal(netmap_apply(copy, dump, len, NOW, &d), 0);
		const struct nm_node *was = nm->peers[0]->node, *is = copy->peers[0]->node;
		assert_string_equal(is->name, was->name);
		assert_string_equal(is->hostname, was->hostname);
		assert_string_equal(is->tags[1], was->tags[1]);
		assert_string_equal(is->caps[0].name, was->caps[0].name);
		assert_string_equal(is->caps[0].values, was->caps[0].values);
		assert_string_equal(copy->domain, nm->domain);
		assert_string_equal(copy->users[0].login, nm->users[0].login);
		netmap_stream_start(nm);
		assert_int_equal(netmap_apply(nm, dump, len, NOW, &d), 0);
		assert_int_equal(d.n_peers, 0);
		free(dump);
		netmap_destroy(copy);
		netmap_destroy(nm);
	}
}

enum { MANY = 10000, PEER_TEXT_MAX = 1200 };

static char *many_peers(size_t *len)
{
	char *text = malloc((size_t)MANY * PEER_TEXT_MAX);
	size_t n = (size_t)sprintf(text, "{%s,\"Peers\":[", SELF);

	for (unsigned i = 0; i < MANY; i++) {
		char key[3][65];
		for (int k = 0; k < 3; k++) {
			uint8_t bytes[KEY_LEN];
			randombytes_buf(bytes, sizeof(bytes));
			sodium_bin2hex(key[k], sizeof(key[k]), bytes, sizeof(bytes));
		}
		n += (size_t)sprintf(text + n,
			"%s{\"ID\":%u,\"StableID\":\"%u\",\"Name\":\"peer%u.lab.test.\",\"User\":1,"
			"\"Key\":\"nodekey:%s\",\"Machine\":\"mkey:%s\",\"DiscoKey\":\"discokey:%"
			"s\","
			"\"Addresses\":[\"100.%u.%u.%u/32\",\"fd7a:115c:a1e0::%x/128\"],"
			"\"AllowedIPs\":[\"100.%u.%u.%u/32\",\"fd7a:115c:a1e0::%x/128\"],"
			"\"Endpoints\":[\"192.0.2.1:41641\",\"10.77.%u.%u:41641\"],\"HomeDERP\":"
			"901,"
			"\"Hostinfo\":{\"IPNVersion\":\"1.102.5\",\"OS\":\"linux\",\"Hostname\":"
			"\"peer%u\","
			"\"NoLogsNoSupport\":true,\"NetInfo\":{\"PreferredDERP\":901}},"
			"\"Created\":\"2026-11-21T07:35:13.565283738Z\",\"Cap\":145,\"Online\":"
			"true,"
			"\"MachineAuthorized\":true,\"CapMap\":{\"https://tailscale.com/cap/"
			"ssh\":[],"
			"\"https://tailscale.com/cap/file-sharing\":[]}}",
			i ? "," : "", i + 2, i + 2, i, key[0], key[1], key[2], 64 + i / 65536,
			i / 256 % 256, i % 256, i + 2, 64 + i / 65536, i / 256 % 256, i % 256,
			i + 2, i / 256, i % 256, i);
	}
	n += (size_t)sprintf(text + n, "]}");
	*len = n;
	return text;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// Printed, and held against bounds of many times what it takes: the machine may be slow.
static void test_ten_thousand_peers(void **)
{
	size_t len;
	char *text = many_peers(&len);
	struct netmap *nm = new_netmap();
	struct netmap_delta d;
	const size_t before = mallinfo2().uordblks;
	double t = seconds();

	assert_int_equal(netmap_apply(nm, text, len, NOW, &d), 0);
	t = seconds() - t;
	const size_t grown = mallinfo2().uordblks - before;
	print_message("10,000 peers, %.1f MB of JSON: %.0f ms, %.1f MB kept\n", (double)len / 1e6,
		t * 1e3, (double)grown / 1e6);
	assert_int_equal(d.n_peers, MANY);
	assert_true(t < 3 * SLOW);
	assert_true(grown < (size_t)60 << 20);

	t = seconds();
	netmap_stream_start(nm);
	assert_int_equal(netmap_apply(nm, text, len, NOW, &d), 0);
	print_message("the same again: %.0f ms\n", (seconds() - t) * 1e3);
	assert_int_equal(d.n_peers, 0);

	t = seconds();
	size_t dumped;
	free(netmap_dump(nm, &dumped));
	t = seconds() - t;
	print_message("as text for the disk, %.1f MB: %.0f ms\n", (double)dumped / 1e6, t * 1e3);
	assert_true(t < 2 * SLOW);

	t = seconds();
	for (unsigned i = 0; i < MANY; i++) {
		char patch[128];
		const int n = snprintf(patch, sizeof(patch),
			"{\"PeersChangedPatch\":[{\"NodeID\":%u,\"DERPRegion\":%u}]}", i + 2,
			i % 900);
		assert_int_equal(netmap_apply(nm, patch, (size_t)n, NOW, &d), 0);
		assert_int_equal(d.n_peers, 1);
	}
	t = seconds() - t;
	print_message("patches: %.0f a second\n", MANY / t);
	assert_true(t < 5 * SLOW);
	netmap_destroy(nm);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_node_fields),
		cmocka_unit_test(test_derp_map),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_recorded_stream),
		cmocka_unit_test(test_dumped_texts),
		cmocka_unit_test(test_ten_thousand_peers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
