// portmap against gateways that grant, refuse, lie, fall silent and begin anew: sockets on private
// addresses of a namespace's own. UPnP finds nobody there, which takes two seconds: so those that
// wait for that do it at the same time. Gateway N is 10.5.N.1, its client 10.5.N.2.
#include "control/path/portmap.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <time.h>

#include "tests/unit/netns.h"

#include <cmocka.h>

#define MS UINT64_C(1000000)

enum {
	OWN_PORT = 41641,
	GIVEN_PORT = 50000,
	PATIENCE_MS = 60000,
	HELD_UP_MS = 300, // by the machine, in a turn of the loop
};

// What the gateway does.
struct manners {
	const char *name;
	bool pmp, pcp; // speaks it
	uint8_t pmp_external_result, pmp_map_result, pcp_announce_result, pcp_map_result;
	bool wrong_version;	     // NAT-PMP's "unsupported version" to all
	bool other_port, other_host; // answers from there
	bool other_nonce, other_local_port, no_port, no_external, forever_zero, truncated, garbage;
	bool flood;	     // with garbage before each answer
	uint32_t lifetime_s; // granted; 0: what was asked for
	// What comes out.
	const char *protocol, *text;
};

static struct event_base *base;

struct gateway {
	int fd, other_fd;
	struct event *readable;
	const struct manners *manners;
	bool deaf;
	uint32_t epoch_s;
	struct in_addr external;
	unsigned externals, announces, maps, deletes;
	uint16_t wanted_port;
	uint8_t nonce[PCP_NONCE_LEN];
};

struct bench {
	unsigned n;
	struct gateway gw;
	struct portmap *pm;
	unsigned changes;
};

static struct ip_addr ip(const char *text)
{
	struct ip_addr a = {0};

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static uint64_t now_ns(void *)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

static void changed(void *arg)
{
	struct bench *const b = arg;

	b->changes++;
}

// -- the gateway ----------------------------------------------------------------------------------

static struct ip_addr host(unsigned n, uint8_t which)
{
	return ip_addr_v4((uint8_t[]){10, 5, (uint8_t)n, which});
}

static int gateway_socket(const struct ip_addr *at, uint16_t port)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memcpy(&own.sin_addr, at->bytes, 4);
	assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	return fd;
}

static void answer(
	const struct gateway *g, const struct sockaddr_in *to, uint8_t *bytes, size_t len)
{
	const struct manners *const m = g->manners;
	const int fd = m->other_port || m->other_host ? g->other_fd : g->fd;
	static const uint8_t noise[] = {0, 0x81, 0xff, 2, 0xee, 0, 1};

	for (unsigned i = 0; m->flood && i < 100; i++)
		sendto(fd, noise, sizeof(noise), 0, (const struct sockaddr *)to, sizeof(*to));
	if (m->truncated)
		len = len / 2 - 1;
	if (m->garbage)
		memset(bytes, 0xa5, len);
	sendto(fd, bytes, len, 0, (const struct sockaddr *)to, sizeof(*to));
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htonl(value);
	memcpy(at, &value, 4);
}

static void put16(uint8_t *at, uint16_t value)
{
	value = htons(value);
	memcpy(at, &value, 2);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, 4);
	return ntohl(value);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void count_map(struct gateway *g, uint32_t lifetime_s, uint16_t wanted_port)
{
	g->maps += lifetime_s != 0;
	g->deletes += lifetime_s == 0;
	g->wanted_port = wanted_port;
}

static uint32_t granted(const struct gateway *g, uint32_t asked_s)
{
	if (g->manners->forever_zero)
		return 0;
	return g->manners->lifetime_s && asked_s ? g->manners->lifetime_s : asked_s;
}

static void answer_pmp(
	struct gateway *g, const uint8_t *q, size_t len, const struct sockaddr_in *from)
{
	const struct manners *const m = g->manners;
	uint8_t a[16] = {0, (uint8_t)(0x80 | q[1])};

	put32(a + 4, g->epoch_s);
	if (q[1] == 0) {
		g->externals++;
		a[3] = m->pmp_external_result;
		memcpy(a + 8, &g->external, 4);
		if (m->no_external)
			memset(a + 8, 0, 4);
		answer(g, from, a, 12);
		return;
	}
	assert_int_equal(len, 12);
	count_map(g, get32(q + 8), get16(q + 6));
	a[3] = m->pmp_map_result;
	memcpy(a + 8, q + 4, 2);
	a[8] ^= m->other_local_port;
	put16(a + 10, m->no_port ? 0 : get16(q + 6) ? get16(q + 6) : GIVEN_PORT);
	put32(a + 12, granted(g, get32(q + 8)));
	answer(g, from, a, 16);
}

static void answer_pcp(
	struct gateway *g, const uint8_t *q, size_t len, const struct sockaddr_in *from)
{
	const struct manners *const m = g->manners;
	uint8_t a[60] = {2, (uint8_t)(0x80 | q[1])};

	put32(a + 8, g->epoch_s);
	if (q[1] == 0) {
		g->announces++;
		a[3] = m->pcp_announce_result;
		answer(g, from, a, 24);
		return;
	}
	assert_int_equal(len, 60);
	assert_memory_equal(q + 20, &from->sin_addr, 4);
	count_map(g, get32(q + 4), get16(q + 42));
	memcpy(g->nonce, q + 24, PCP_NONCE_LEN);
	a[3] = m->pcp_map_result;
	put32(a + 4, granted(g, get32(q + 4)));
	memcpy(a + 24, q + 24, 36);
	a[24] ^= m->other_nonce;
	a[40] ^= m->other_local_port;
	put16(a + 42, m->no_port ? 0 : get16(q + 42) ? get16(q + 42) : GIVEN_PORT);
	memcpy(a + 56, &g->external, 4);
	a[54] = a[55] = 0xff;
	if (m->no_external)
		memset(a + 56, 0, 4);
	answer(g, from, a, 60);
}

static void on_request(evutil_socket_t fd, short, void *arg)
{
	struct gateway *const g = arg;
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint8_t q[256];
	const ssize_t len = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &from_len);

	if (len < 2 || g->deaf)
		return;
	if (g->manners->wrong_version) {
		uint8_t a[8] = {0, (uint8_t)(0x80 | q[1]), 0, NATPMP_UNSUPPORTED_VERSION};

		answer(g, &from, a, sizeof(a));
	} else if (q[0] == 0 && g->manners->pmp) {
		answer_pmp(g, q, (size_t)len, &from);
	} else if (q[0] == 2 && g->manners->pcp) {
		answer_pcp(g, q, (size_t)len, &from);
	}
}

// -- the bench ------------------------------------------------------------------------------------

static struct bench *bench_begin(const struct manners *m)
{
	static unsigned n;
	struct bench *const b = calloc(1, sizeof(*b));
	const struct portmap_env env = {.arg = b, .now_ns = now_ns, .changed = changed};

	assert_non_null(b);
	b->n = n++ % 256;
	const struct ip_addr gateway = host(b->n, 1), own = host(b->n, 2), other = host(b->n, 3);
	b->gw = (struct gateway){.manners = m, .epoch_s = 1000};
	b->gw.fd = gateway_socket(&gateway, PORTMAP_PORT);
	b->gw.other_fd = m->other_host ? gateway_socket(&other, PORTMAP_PORT)
				       : gateway_socket(&gateway, PORTMAP_PORT + 1);
	inet_pton(AF_INET, "203.0.113.9", &b->gw.external);
	b->gw.readable = event_new(base, b->gw.fd, EV_READ | EV_PERSIST, on_request, &b->gw);
	event_add(b->gw.readable, NULL);
	b->pm = portmap_create(base, &env);
	assert_non_null(b->pm);
	assert_string_equal(portmap_get(b->pm)->text, "there is no gateway");
	assert_int_equal(portmap_get(b->pm)->pmp, -1);
	portmap_set(b->pm, &gateway, &own, OWN_PORT);
	return b;
}

static void bench_end(struct bench *b)
{
	portmap_destroy(b->pm);
	event_free(b->gw.readable);
	close(b->gw.fd);
	close(b->gw.other_fd);
	free(b);
}

static bool mapped(const struct bench *b)
{
	return portmap_get(b->pm)->external.port != 0;
}

static bool settled(const struct bench *b)
{
	return mapped(b) || strncmp(portmap_get(b->pm)->text, "asking", 6) != 0;
}

static uint64_t longest_turn_ns;

// So that the loop ends its turn.
static void nothing(evutil_socket_t, short, void *)
{
}

static bool wait_ms(struct bench *b, bool (*until)(const struct bench *), unsigned ms)
{
	const uint64_t end = now_ns(NULL) + ms * MS;
	struct event *const tick = event_new(base, -1, EV_PERSIST, nothing, NULL);

	event_add(tick, &(struct timeval){.tv_usec = 20000});
	for (uint64_t turn = now_ns(NULL), t = turn; !until(b) && turn < end; turn = t) {
		event_base_loop(base, EVLOOP_ONCE);
		t = now_ns(NULL);
		longest_turn_ns = t - turn > longest_turn_ns ? t - turn : longest_turn_ns;
	}
	event_free(tick);
	return until(b);
}

// Of the gateway, which the text names first.
#define NEITHER "answers neither NAT-PMP, PCP nor UPnP"
#define SPEAKS(what) "speaks " what ", but gives no mapping"

static const struct manners manners[] = {
	{"NAT-PMP", .pmp = true, .protocol = "NAT-PMP"},
	{"PCP", .pcp = true, .protocol = "PCP"},
	{"both: NAT-PMP is preferred", .pmp = true, .pcp = true, .protocol = "NAT-PMP"},
	{"NAT-PMP refuses the mapping, PCP grants it", .pmp = true, .pcp = true,
		.pmp_map_result = 2, .protocol = "PCP"},
	{"NAT-PMP without address, PCP", .pmp = true, .pcp = true, .pmp_external_result = 3,
		.protocol = "PCP"},
	{"a flood of garbage beside it", .pmp = true, .flood = true, .protocol = "NAT-PMP"},
	{"silence", .text = NEITHER},
	{"NAT-PMP switched off", .pmp = true, .pmp_external_result = 2,
		.text = "NAT-PMP: refused: switched off at the gateway"},
	{"NAT-PMP refuses the mapping", .pmp = true, .pmp_map_result = 4,
		.text = "NAT-PMP: out of mappings"},
	{"PCP switched off", .pcp = true, .pcp_announce_result = PCP_NOT_AUTHORIZED,
		.text = "PCP: refused: switched off at the gateway"},
	{"PCP behind another NAT", .pcp = true, .pcp_map_result = PCP_ADDRESS_MISMATCH,
		.text = "PCP: another NAT is between here and the gateway"},
	{"another version", .wrong_version = true, .text = NEITHER},
	{"from another port", .pmp = true, .pcp = true, .other_port = true, .text = NEITHER},
	{"from another host", .pmp = true, .pcp = true, .other_host = true, .text = NEITHER},
	{"another nonce", .pcp = true, .other_nonce = true, .text = SPEAKS("PCP")},
	{"another port of ours, NAT-PMP", .pmp = true, .other_local_port = true,
		.text = SPEAKS("NAT-PMP")},
	{"another port of ours, PCP", .pcp = true, .other_local_port = true, .text = SPEAKS("PCP")},
	{"no port", .pmp = true, .no_port = true, .text = SPEAKS("NAT-PMP")},
	{"no address, NAT-PMP", .pmp = true, .no_external = true,
		.text = "NAT-PMP: the gateway has no address itself"},
	{"no address, PCP", .pcp = true, .no_external = true, .text = SPEAKS("PCP")},
	{"granted for no time", .pcp = true, .forever_zero = true, .text = SPEAKS("PCP")},
	{"truncated", .pmp = true, .pcp = true, .truncated = true, .text = NEITHER},
	{"garbage", .pmp = true, .pcp = true, .garbage = true, .text = NEITHER},
};

static void assert_text(const struct bench *b, const char *want)
{
	const char *text = portmap_get(b->pm)->text;
	char name[32];

	snprintf(name, sizeof(name), "the gateway 10.5.%u.1 ", b->n);
	assert_string_equal(text + (strncmp(text, name, strlen(name)) ? 0 : strlen(name)), want);
}

static void assert_outcome(const struct bench *b)
{
	const struct manners *const m = b->gw.manners;
	const struct portmap_info *const info = portmap_get(b->pm);
	const struct endpoint want = {ip("203.0.113.9"), GIVEN_PORT};

	print_message("%s\n", m->name);
	assert_string_equal(info->protocol, m->protocol ? m->protocol : "");
	if (m->protocol) {
		assert_true(endpoint_equal(&info->external, &want));
		assert_string_equal(info->text, "");
		assert_true(info->expires_ns > now_ns(NULL) + 7000 * 1000 * MS);
		assert_true(b->changes > 0);
	} else {
		assert_text(b, m->text);
		assert_int_equal(info->external.port, 0);
	}
}

static bool never(const struct bench *)
{
	return false;
}

static void test_manners(void **)
{
	enum { N = sizeof(manners) / sizeof(manners[0]) };
	struct bench *b[N];

	for (size_t i = 0; i < N; i++)
		b[i] = bench_begin(&manners[i]);
	// A refusal may be followed by a grant of the next protocol.
	for (size_t i = 0; i < N; i++)
		assert_true(wait_ms(b[i], manners[i].protocol ? mapped : settled, PATIENCE_MS));
	wait_ms(b[0], never, 200);
	for (size_t i = 0; i < N; i++)
		assert_outcome(b[i]);
	for (size_t i = 0; i < N; i++)
		bench_end(b[i]);
}

// -- life -----------------------------------------------------------------------------------------

static const struct manners short_pmp = {"NAT-PMP for 2 s", .pmp = true, .lifetime_s = 2};
static const struct manners short_pcp = {"PCP for 2 s", .pcp = true, .lifetime_s = 2};
static const struct manners long_pmp = {"NAT-PMP", .pmp = true};
static const struct manners long_pcp = {"PCP", .pcp = true};

static bool mapped_twice(const struct bench *b)
{
	return b->gw.maps >= 2 && mapped(b);
}

static bool unmapped(const struct bench *b)
{
	return !mapped(b);
}

static void all_deaf(struct bench *b[2], bool deaf)
{
	b[0]->gw.deaf = b[1]->gw.deaf = deaf;
}

// Renewed after half the time with the same port; and gone when the gateway does not answer.
static void test_renewal(void **)
{
	struct bench *b[2] = {bench_begin(&short_pmp), bench_begin(&short_pcp)};

	for (unsigned i = 0; i < 2; i++) {
		assert_true(wait_ms(b[i], mapped, PATIENCE_MS));
		assert_int_equal(b[i]->gw.wanted_port, 0);
	}
	const unsigned changes[2] = {b[0]->changes, b[1]->changes};
	longest_turn_ns = 0;
	for (unsigned i = 0; i < 2; i++) {
		assert_true(wait_ms(b[i], mapped_twice, PATIENCE_MS));
		assert_int_equal(b[i]->gw.wanted_port, GIVEN_PORT);
		if (longest_turn_ns < HELD_UP_MS * MS) // before it ended
			assert_int_equal(b[i]->changes, changes[i]);
	}
	all_deaf(b, true);
	for (unsigned i = 0; i < 2; i++)
		assert_true(wait_ms(b[i], unmapped, PATIENCE_MS));
	all_deaf(b, false); // their return is found in a few seconds
	for (unsigned i = 0; i < 2; i++) {
		assert_true(wait_ms(b[i], mapped, PATIENCE_MS));
		assert_int_equal(b[i]->gw.wanted_port, GIVEN_PORT);
		bench_end(b[i]);
	}
}

static void test_gateway_restarts(void **)
{
	const struct manners *const cases[] = {&long_pmp, &long_pcp};

	for (unsigned i = 0; i < 2; i++) {
		struct bench *const b = bench_begin(cases[i]);

		print_message("%s\n", cases[i]->name);
		assert_true(wait_ms(b, mapped, PATIENCE_MS));
		portmap_refresh(b->pm); // its clock goes on: nothing to do
		wait_ms(b, mapped_twice, 400);
		assert_int_equal(b->gw.maps, 1);
		b->gw.epoch_s = 3;
		portmap_refresh(b->pm);
		assert_true(wait_ms(b, mapped_twice, PATIENCE_MS));
		assert_int_equal(b->gw.wanted_port, GIVEN_PORT);
		bench_end(b);
	}
}

static bool new_address(const struct bench *b)
{
	const struct ip_addr want = ip("203.0.113.10");

	return ip_addr_equal(&portmap_get(b->pm)->external.addr, &want);
}

static void test_address_changes(void **)
{
	struct bench *const b = bench_begin(&long_pmp);

	assert_true(wait_ms(b, mapped, PATIENCE_MS));
	const unsigned before = b->changes;
	inet_pton(AF_INET, "203.0.113.10", &b->gw.external);
	portmap_refresh(b->pm);
	assert_true(wait_ms(b, new_address, PATIENCE_MS));
	assert_true(b->changes > before);
	bench_end(b);
}

static bool deleted(const struct bench *b)
{
	return b->gw.deletes >= 1;
}

static bool deleted_twice(const struct bench *b)
{
	return b->gw.deletes >= 2;
}

// Deleted on the end and when port or gateway change; the same is no change.
static void test_deletes(void **)
{
	const struct manners *const cases[] = {&long_pmp, &long_pcp};
	const struct ip_addr none = {0};

	for (unsigned i = 0; i < 2; i++) {
		struct bench *const b = bench_begin(cases[i]);
		const struct ip_addr gateway = host(b->n, 1), own = host(b->n, 2);
		uint8_t nonce[PCP_NONCE_LEN];

		print_message("%s\n", cases[i]->name);
		assert_true(wait_ms(b, mapped, PATIENCE_MS));
		memcpy(nonce, b->gw.nonce, sizeof(nonce));
		portmap_set(b->pm, &gateway, &own, OWN_PORT);
		wait_ms(b, mapped_twice, 100);
		assert_int_equal(b->gw.maps, 1);
		portmap_set(b->pm, &gateway, &own, OWN_PORT + 1);
		assert_int_equal(portmap_get(b->pm)->external.port, 0);
		assert_true(wait_ms(b, mapped, PATIENCE_MS));
		assert_true(wait_ms(b, deleted, PATIENCE_MS));
		assert_int_equal(b->gw.deletes, 1);
		portmap_set(b->pm, &none, &none, OWN_PORT);
		assert_true(wait_ms(b, deleted_twice, PATIENCE_MS));
		wait_ms(b, mapped, 100);
		assert_int_equal(b->gw.deletes, 2);
		assert_string_equal(portmap_get(b->pm)->text, "there is no gateway");
		portmap_set(b->pm, &gateway, &own, OWN_PORT);
		assert_true(wait_ms(b, mapped, PATIENCE_MS));
		// Nobody answers: the end does not wait long for it.
		const uint64_t begin = now_ns(NULL);
		portmap_destroy(b->pm);
		assert_true(now_ns(NULL) < begin + 1500 * MS); // UPnP alone would take 2000
		b->pm = NULL;
		for (unsigned k = 0; k < 10; k++)
			on_request(b->gw.fd, EV_READ, &b->gw);
		assert_int_equal(b->gw.deletes, 3);
		if (i == 1)
			assert_memory_not_equal(nonce, b->gw.nonce, sizeof(nonce));
		bench_end(b);
	}
}

static void test_not_private(void **)
{
	static const struct {
		const char *gateway, *own;
	} cases[] = {{"198.51.100.1", "198.51.100.2"}, {"172.32.0.1", "172.32.0.2"},
		{"192.169.0.1", "192.169.0.2"}, {"fd00::1", "fd00::2"}, {"10.5.0.1", "fd00::2"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench *const b = bench_begin(&long_pmp);
		const struct ip_addr gateway = ip(cases[i].gateway), own = ip(cases[i].own);

		print_message("%s\n", cases[i].gateway);
		portmap_set(b->pm, &gateway, &own, OWN_PORT);
		wait_ms(b, mapped, 100);
		assert_non_null(strstr(portmap_get(b->pm)->text, "no private IPv4 address"));
		assert_int_equal(portmap_get(b->pm)->pmp, -1);
		bench_end(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manners),
		cmocka_unit_test(test_renewal),
		cmocka_unit_test(test_gateway_restarts),
		cmocka_unit_test(test_address_changes),
		cmocka_unit_test(test_deletes),
		cmocka_unit_test(test_not_private),
	};
	netns_enter();
	netns_run("ip link set lo up");
	netns_run("ip addr add 10.5.0.0/16 dev lo"); // all of them
	base = event_base_new();
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return failed;
}
