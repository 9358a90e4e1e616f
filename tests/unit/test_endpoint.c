// The choice of paths, as scenarios: a step is something that happens and all that comes of it.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "control/path/endpoint.h"

enum { TEXT_MAX = 8192, LIST_MAX = 300 };
static const uint64_t MS = UINT64_C(1000000), START_MS = 1000;

// What an argument is follows from the operation.
enum op {
	MAP,   // "addresses; region [relays]"
	SEND,  // wants "-> udp derp" behind the actions
	TICK,  // time passes
	PONG,  // number of the ping, from 1
	PING,  // "address txid"; wants "pong" or "-"
	CALL,  // "addresses"
	RELAY, // "address vni latency_ms server"
	DERP,  // "region"
	LOST,  // "address", or "" for all
	PROBE, // then a SEND
	NEXT,  // wants ms of the next tick
	STEPS_END = 0xff,
};

struct step {
	unsigned ms;
	enum op op;
	const char *arg, *want;
};

struct scene {
	struct path_search *path;
	char text[TEXT_MAX];
	uint8_t pings;
};

static void add(struct scene *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct scene *s, const char *format, ...)
{
	const size_t n = strlen(s->text);
	va_list args;

	va_start(args, format);
	vsnprintf(s->text + n, sizeof(s->text) - n, format, args);
	va_end(args);
}

static const char *addr_text(const struct path_addr *a)
{
	static char text[ENDPOINT_TEXT_LEN + 16];
	char endpoint[ENDPOINT_TEXT_LEN];

	snprintf(text, sizeof(text), a->vni ? "%s/%u" : "%s", endpoint_format(&a->to, endpoint),
		a->vni);
	return text;
}

static void on_act(void *arg, const struct path_action *a)
{
	struct scene *s = arg;

	switch (a->type) {
	case PATH_PING:
		assert_int_equal(a->txid[0], s->pings); // its number
		return add(s, "ping %s ", addr_text(&a->addr));
	case PATH_CALL_ME_MAYBE:
		return add(s, "call %u ", a->region);
	case PATH_DISCOVER_RELAY:
		return add(s, "relays ");
	case PATH_CHANGED:
		return add(s, "use %s ", addr_text(&a->addr));
	}
}

// Each ping's identifier is its number.
static void on_random(void *arg, void *out, size_t len)
{
	struct scene *s = arg;

	memset(out, ++s->pings, len);
}

static size_t addresses(const char *text, struct endpoint *out)
{
	char copy[TEXT_MAX], *at = NULL;
	size_t n = 0;

	snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(text, ";"), text);
	for (char *word = strtok_r(copy, " ", &at); word; word = strtok_r(NULL, " ", &at))
		out[n++] = endpoint_of(word);
	return n;
}

static void do_map(struct scene *s, const char *arg, uint64_t now_ns)
{
	struct endpoint list[LIST_MAX];
	unsigned region = 0;
	const char *rest = strchr(arg, ';');

	assert_true(rest && sscanf(rest, "; %u", &region) == 1);
	peer_path_set_map(s->path, list, addresses(arg, list), (uint16_t)region,
		strstr(rest, "relays") != NULL, now_ns);
}

static void do_ping(struct scene *s, const char *arg, uint64_t now_ns)
{
	char addr[64];
	unsigned number;
	uint8_t txid[DISCO_TXID_LEN];

	assert_int_equal(sscanf(arg, "%63s %u", addr, &number), 2);
	memset(txid, (int)number, sizeof(txid));
	const struct path_addr from = {.to = endpoint_of(addr)};
	add(s, peer_path_ping(s->path, &from, txid, now_ns) ? "pong " : "- ");
}

static void do_pong(struct scene *s, const char *arg, uint64_t now_ns)
{
	uint8_t txid[DISCO_TXID_LEN];

	memset(txid, atoi(arg), sizeof(txid));
	if (peer_path_pong(s->path, txid, now_ns))
		add(s, "unknown ");
}

static void do_relay(struct scene *s, const char *arg, uint64_t now_ns)
{
	struct path_quality q = {.mtu = PATH_MTU};
	unsigned vni, ms, server;
	char addr[64];

	assert_int_equal(sscanf(arg, "%63s %u %u %u", addr, &vni, &ms, &server), 4);
	q.addr = (struct path_addr){endpoint_of(addr), vni};
	q.latency_ns = ms * MS;
	q.relay_server.bytes[0] = (uint8_t)server;
	peer_path_relay_ready(s->path, &q, now_ns);
}

static void do_send(struct scene *s, uint64_t now_ns)
{
	struct path_choice choice, again;
	const int rc = peer_path_send(s->path, now_ns, &choice);

	again = peer_path_choice(s->path, now_ns);
	assert_memory_equal(&choice.udp, &again.udp, sizeof(again.udp));
	add(s, "-> ");
	if (choice.udp.to.port)
		add(s, "%s ", addr_text(&choice.udp));
	if (choice.derp_region)
		add(s, "derp-%u ", choice.derp_region);
	if (rc)
		add(s, "nowhere ");
}

static void do_lost(struct scene *s, const char *arg)
{
	struct endpoint addr;

	if (*arg)
		addr = endpoint_of(arg);
	peer_path_lost(s->path, *arg ? &addr : NULL);
}

static void do_step(struct scene *s, const struct step *step)
{
	const uint64_t now_ns = (START_MS + step->ms) * MS;
	struct endpoint list[LIST_MAX];

	switch (step->op) {
	case MAP:
		return do_map(s, step->arg, now_ns);
	case SEND:
		return do_send(s, now_ns);
	case TICK:
		return peer_path_tick(s->path, now_ns);
	case PONG:
		return do_pong(s, step->arg, now_ns);
	case PING:
		return do_ping(s, step->arg, now_ns);
	case CALL:
		return peer_path_call_me_maybe(s->path, list, addresses(step->arg, list), now_ns);
	case RELAY:
		return do_relay(s, step->arg, now_ns);
	case DERP:
		return peer_path_derp_seen(s->path, (uint16_t)atoi(step->arg));
	case LOST:
		return do_lost(s, step->arg);
	case PROBE:
		return peer_path_probe(s->path, now_ns);
	case NEXT:
		return peer_path_next_ns(s->path) == UINT64_MAX
			       ? add(s, "never ")
			       : add(s, "%u ",
					 (unsigned)(peer_path_next_ns(s->path) / MS - START_MS));
	case STEPS_END:
		return;
	}
}

#define A "192.0.2.1:1"
#define B "192.0.2.2:2"
#define SIX "[2001:db8::1]:6"
#define HOME "192.168.0.1:3"

static const struct {
	const char *name;
	struct step steps[24];
} scenarios[] = {
	{"nothing known", {{0, SEND, "", "-> nowhere "}, {0, NEXT, "", "3000 "}, {0, STEPS_END}}},
	{"direct is found, kept alive, and rests without traffic",
		{
			{0, MAP, A "; 5", ""},
			{0, SEND, "", "ping " A " call 5 -> derp-5 "},
			{0, NEXT, "", "3000 "},
			{10, PONG, "1", "use " A " "},
			{20, SEND, "", "-> " A " "},
			{3000, TICK, "", "ping " A " "},
			{3010, PONG, "2", ""},
			{6000, TICK, "", "ping " A " "},
			{6010, PONG, "3", ""},
			{45021, TICK, "", ""},
			{45021, NEXT, "", "never "},
			{50000, SEND, "",
				"ping " A " call 5 -> " A " derp-5 "}, // not trusted any more
			{50010, PONG, "4", ""},
			{50020, SEND, "", "-> " A " "},
			{0, STEPS_END},
		}},
	{"direct dies: asked twice, then DERP joins; the path goes when its ping has timed out",
		{
			{0, MAP, A "; 5", ""},
			{0, SEND, "", "ping " A " call 5 -> derp-5 "},
			{10, PONG, "1", "use " A " "},
			{3000, TICK, "", "ping " A " "},
			{4039, TICK, "", ""},
			{4040, TICK, "", "ping " A " "},
			{5079, SEND, "", "-> " A " "},
			{5080, TICK, "", ""},
			{5080, SEND, "", "-> " A " derp-5 "},
			{5329, TICK, "", ""},
			{5330, TICK, "", "ping " A " "},
			{6000, TICK, "", "ping " A " ping " A " "}, // and the heartbeat's
			{7999, TICK, "", "ping " A " "},
			{8000, TICK, "", "use none "},
			{8001, SEND, "", "-> derp-5 "},
			{8249, TICK, "", "ping " A " "},
			{11000, TICK, "", "ping " A " call 5 ping " A " "},
			{11020, PONG, "7", "use " A " "}, // it is back
			{11020, NEXT, "", "13249 "},
			{11500, SEND, "", "-> " A " "},
			{0, STEPS_END},
		}},
	{"one heartbeat is lost: nothing happens",
		{
			{0, MAP, A "; 5", ""},
			{0, SEND, "", "ping " A " call 5 -> derp-5 "},
			{10, PONG, "1", "use " A " "},
			{3000, TICK, "", "ping " A " "},
			{4040, TICK, "", "ping " A " "},
			{4050, PONG, "3", ""},
			{5080, TICK, "", ""},
			{5090, SEND, "", "-> " A " "},
			{6000, TICK, "", "ping " A " "},
			{6010, PONG, "4", ""},
			{0, STEPS_END},
		}},
	{"without ticks trust ends at 6.5 s",
		{
			{0, MAP, A "; 5", ""},
			{0, SEND, "", "ping " A " call 5 -> derp-5 "},
			{10, PONG, "1", "use " A " "},
			{6510, SEND, "", "-> " A " "},
			{6511, SEND, "", "ping " A " call 5 -> " A " derp-5 "},
			{0, STEPS_END},
		}},
	{"a pong vouches for what was pinged, once",
		{
			{0, MAP, A " " B "; 5", ""},
			{0, SEND, "", "ping " A " ping " B " call 5 -> derp-5 "},
			{10, PONG, "9", "unknown "},
			{20, PONG, "2", "use " B " "},
			{20, PONG, "2", "unknown "},
			{5000, TICK, "", "ping " B " "},
			{5000, PONG, "1", "unknown "}, // too late
			{0, STEPS_END},
		}},
	{"the faster of two, but not by a hair",
		{
			{0, MAP, A " " B "; 5", ""},
			{0, SEND, "", "ping " A " ping " B " call 5 -> derp-5 "},
			{100, PONG, "1", "use " A " "},
			{101, PONG, "2", ""},
			{0, STEPS_END},
		}},
	{"above 5 ms better is looked for every minute",
		{
			{0, MAP, A " " B "; 5", ""},
			{0, SEND, "", "ping " A " ping " B " call 5 -> derp-5 "},
			{100, PONG, "1", "use " A " "},
			{59000, SEND, "", "ping " A " ping " B " call 5 -> " A " derp-5 "},
			{59100, PONG, "3", ""},
			{62000, TICK, "", "ping " A " "},
			{62100, PONG, "5", ""},
			{65000, TICK, "", "ping " A " "},
			{65100, PONG, "6", ""},
			{119000, SEND, "", "ping " A " ping " B " call 5 -> " A " derp-5 "},
			{119100, PONG, "7", ""},
			{119200, PONG, "8", ""}, // slower
			{0, STEPS_END},
		}},
	{"IPv6 and the same network are worth some latency",
		{
			{0, MAP, A " " SIX " " HOME "; 5", ""},
			{0, SEND, "", "ping " A " ping " SIX " ping " HOME " call 5 -> derp-5 "},
			{100, PONG, "1", "use " A " "},
			{105, PONG, "2", "use " SIX " "},  // 4 against 10 points
			{110, PONG, "3", "use " HOME " "}, // 4 and 10 against 20
			{0, STEPS_END},
		}},
	{"pings of the peer are candidates, not trust; repeated ones get no pong",
		{
			{0, MAP, "; 5", ""},
			{0, PING, A " 50", "pong "},
			{0, PING, A " 50", "- "},
			{0, PING, B " 50", "pong "}, // from elsewhere
			{0, PING, A " 51", "pong "},
			{0, SEND, "", "ping " A " ping " B " call 5 -> derp-5 "},
			{10, PONG, "1", "use " A " "},
			{0, STEPS_END},
		}},
	{"call-me-maybe: ping at once, no call back, replace the ones before",
		{
			{0, MAP, A "; 5", ""},
			{0, SEND, "", "ping " A " call 5 -> derp-5 "},
			{100, CALL, B " [fe80::1]:9 " SIX, "ping " A " ping " B " ping " SIX " "},
			{200, CALL, SIX, "ping " A " ping " SIX " "}, // B is gone
			{210, PONG, "3", ""},			      // and gets no credit
			{220, PONG, "6", "use " SIX " "},
			{300, MAP, A "; 5", ""}, // the map does not name it and need not
			{310, SEND, "", "-> " SIX " "},
			{400, CALL, "", "use none ping " A " "},
			{0, STEPS_END},
		}},
	{"pings of the peer are answered by one of ours, until there is trust",
		{
			{0, MAP, A "; 5", ""},
			{0, PING, A " 50", "pong "}, // no data for it
			{10, SEND, "", "ping " A " call 5 -> derp-5 "},
			{20, PING, A " 51", "ping " A " pong "}, // ours before met a firewall
			{20, PING, A " 51", "- "},
			{269, PING, A " 52", "pong "},
			{270, PING, A " 53", "ping " A " pong "},
			{270, PING, B " 53", "ping " B " pong "},
			{280, PONG, "3", "use " A " "},
			{3000, PING, B " 54", "pong "},
			{3010, TICK, "", "ping " A " "},
			{48020, TICK, "", "use none "},
			{60000, PING, A " 55", "pong "}, // idle
			{0, STEPS_END},
		}},
	{"call-me-maybe makes one who sends nothing ask relays",
		{
			{0, MAP, A "; 5 relays", ""},
			{0, CALL, B, "ping " A " ping " B " relays "},
			{2000, CALL, B, "ping " A " ping " B " "},
			{2010, PONG, "4", "use " B " "},
			{60000, CALL, B, "ping " A " ping " B " relays "},
			{60010, PONG, "6", ""},
			{0, STEPS_END},
		}},
	{"people ask: the trusted path, or all at once; beside a relay all as well",
		{
			{0, MAP, A " " B "; 5 relays", ""},
			{0, SEND, "", "ping " A " ping " B " call 5 relays -> derp-5 "},
			{1000, PROBE, "", ""},
			{1000, SEND, "", "ping " A " ping " B " call 5 -> derp-5 "},
			{1010, RELAY, B " 7 40 1", "use " B "/7 "},
			{2000, PROBE, "", "ping " B "/7 "},
			{2000, SEND, "", "ping " A " ping " B " call 5 -> " B "/7 "},
			{2010, PONG, "6", "use " A " "},
			{3000, PROBE, "", "ping " A " "},
			{3000, SEND, "", "-> " A " "},
			{0, STEPS_END},
		}},
	{"what the map drops goes, unless the peer pings from there",
		{
			{0, MAP, A " " B "; 5", ""},
			{0, SEND, "", "ping " A " ping " B " call 5 -> derp-5 "},
			{10, PONG, "1", "use " A " "},
			{20, PING, B " 60", "pong "},
			{30, MAP, "; 5", "use none "},
			{5100, SEND, "", "ping " B " call 5 -> derp-5 "},
			{45021, MAP, "; 5", ""},
			{45100, SEND, "", "-> derp-5 "},
			{0, STEPS_END},
		}},
	{"DERP: home as the map says at once, without one where the peer was seen",
		{
			{0, MAP, "; 5", ""},
			{0, SEND, "", "-> derp-5 "},
			{1, MAP, "; 7", ""},
			{1, DERP, "9", ""},
			{1, SEND, "", "-> derp-7 "},
			{2, MAP, A "; 0", ""},
			{2, SEND, "", "ping " A " -> derp-9 "}, // no home: no call
			{0, STEPS_END},
		}},
	{"relays: asked at first, again after 30 s; direct wins, and ends the asking",
		{
			{0, MAP, A "; 5 relays", ""},
			{0, SEND, "", "ping " A " call 5 relays -> derp-5 "},
			{100, SEND, "", "-> derp-5 "},
			{200, RELAY, B " 7 40 1", "use " B "/7 "},
			{300, SEND, "", "-> " B "/7 "},
			{5000, TICK, "", "ping " B "/7 ping " A " call 5 "},
			{5010, PONG, "2", ""},
			{5400, PONG, "3", "use " A " "}, // slower, but direct
			{5500, RELAY, B " 7 1 1", ""},
			{6000, SEND, "", "-> " A " "},
			{40000, SEND, "", "ping " A " call 5 relays -> " A " derp-5 "},
			{0, STEPS_END},
		}},
	{"a trusted relay is looked beyond every minute",
		{
			{0, MAP, "; 5 relays", ""},
			{0, SEND, "", "relays -> derp-5 "},
			{29999, SEND, "", "-> derp-5 "},
			{30000, SEND, "", "relays -> derp-5 "},
			{30100, RELAY, B " 7 40 1", "use " B "/7 "},
			{33000, TICK, "", "ping " B "/7 "},
			{33010, PONG, "1", ""},
			{89000, RELAY, B " 7 40 1", ""},
			{89999, SEND, "", "-> " B "/7 "},
			{90000, SEND, "", "relays -> " B "/7 "},
			{0, STEPS_END},
		}},
	{"of two relays the better one; of the same server always the newer place",
		{
			{0, MAP, "; 5 relays", ""},
			{0, SEND, "", "relays -> derp-5 "},
			{100, RELAY, A " 7 40 1", "use " A "/7 "},
			{200, RELAY, B " 8 50 2", ""},
			{300, RELAY, B " 8 20 2", "use " B "/8 "},
			{400, RELAY, B " 9 90 2", "use " B "/9 "},
			{7000, RELAY, A " 7 99 1", "use " A "/7 "}, // not trusted any more
			{0, STEPS_END},
		}},
	{"unreachable, and changes of our own network",
		{
			{0, MAP, A " " B "; 5", ""},
			{0, SEND, "", "ping " A " ping " B " call 5 -> derp-5 "},
			{10, PONG, "1", "use " A " "},
			{20, LOST, B, ""}, // not in use
			{30, LOST, A, "use none "},
			{40, SEND, "", "ping " A " call 5 -> derp-5 "},
			{50, PONG, "3", "use " A " "},
			{60, LOST, "", "use none "},
			{60, PONG, "2", "unknown "}, // of the time before
			{70, SEND, "", "ping " A " ping " B " call 5 -> derp-5 "},
			{0, STEPS_END},
		}},
};

static void test_scenarios(void **)
{
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		static struct scene s;
		const struct path_io io = {on_act, on_random, &s};

		print_message("%s\n", scenarios[i].name);
		s = (struct scene){.path = peer_path_create(&io)};
		for (const struct step *step = scenarios[i].steps; step->op != STEPS_END; step++) {
			s.text[0] = '\0';
			do_step(&s, step);
			if (strcmp(s.text, step->want) != 0)
				fail_msg("step %zu at %u ms: got \"%s\", want \"%s\"",
					(size_t)(step - scenarios[i].steps), step->ms, s.text,
					step->want);
		}
		peer_path_destroy(s.path);
	}
}

// A peer may list and ping from as many addresses as it likes.
static void test_bounded(void **)
{
	static struct scene s;
	static struct endpoint list[LIST_MAX];
	const struct path_io io = {on_act, on_random, &s};
	uint8_t txid[DISCO_TXID_LEN] = {0};

	s = (struct scene){.path = peer_path_create(&io)};
	for (size_t i = 0; i < LIST_MAX; i++)
		list[i] = (struct endpoint){
			.addr = ip_addr_v4("\xc0\0\2\1"), .port = (uint16_t)(i + 1)};
	peer_path_call_me_maybe(s.path, list, LIST_MAX, START_MS * MS);
	assert_int_equal(s.pings, PATH_CANDIDATES_MAX);
	s.text[0] = '\0';
	const struct path_addr from = {.to = list[200]};
	assert_true(peer_path_ping(s.path, &from, txid, START_MS * MS)); // answered all the same
	peer_path_call_me_maybe(s.path, list + 200, 100, START_MS * MS); // makes room
	assert_int_equal(s.pings, 2 * PATH_CANDIDATES_MAX);
	assert_non_null(strstr(s.text, "ping 192.0.2.1:300 "));
	assert_null(strstr(s.text, "ping 192.0.2.1:100 "));
	for (int i = 0; i < 10; i++) { // outstanding pings: the oldest is forgotten
		s.pings = 0;
		peer_path_call_me_maybe(s.path, list, 100, START_MS * MS);
	}
	memset(txid, 44, sizeof(txid)); // of the last round, of the one before, and forgotten
	assert_int_equal(peer_path_pong(s.path, txid, START_MS * MS), 0);
	assert_int_equal(peer_path_pong(s.path, txid, START_MS * MS), 0);
	assert_int_equal(peer_path_pong(s.path, txid, START_MS * MS), -ENOENT);
	peer_path_destroy(s.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenarios),
		cmocka_unit_test(test_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
