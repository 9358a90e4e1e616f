// What the doctor makes of the host and of the networks behind it, and how it reads /proc.
#include "tests/unit/doctor_facts.h"

#include "dataplane/table/unanswered.h"

static struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix p;
	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static struct ip_addr addr_of(const char *text)
{
	struct ip_addr a;
	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

// A router of two networks, as it should be.
static struct doctor_host *router(struct doctor_facts *f)
{
	struct doctor_host *h = &f->host;
	h->snat = true;
	h->route[0].prefix = prefix_of("10.88.1.0/24");
	h->route[1].prefix = prefix_of("fd88::/64");
	h->n_routes = 2;
	h->nat_first = 16384;
	h->nat_last = 32767;
	h->local_first = 32768;
	h->local_last = 60999;
	return h;
}
static void well(struct doctor_facts *f)
{
	router(f);
}
static void forwards(struct doctor_facts *f)
{
	struct doctor_host *h = router(f);
	h->route[0].by_kernel = h->route[1].by_kernel = true;
	h->forward4 = 1;
	h->forward6 = 2;
}
static void forwards_unknown(struct doctor_facts *f)
{
	forwards(f);
	f->host.forward4 = f->host.forward6 = -1;
}
static void not_forwarding(struct doctor_facts *f)
{
	forwards(f);
	f->host.forward4 = 0;
}
static void not_forwarding6(struct doctor_facts *f)
{
	forwards(f);
	f->host.forward6 = 0;
}
static void off_but_by_ports(struct doctor_facts *f)
{
	not_forwarding(f);
	f->host.route[0].by_kernel = false;
}
static void strict(struct doctor_facts *f)
{
	struct doctor_host *h = router(f);
	snprintf(h->strict[0], IFNAME_LEN, "eth0");
	h->n_strict = 1;
}
static void strict_exit(struct doctor_facts *f)
{
	strict(f);
	f->host.uses_exit = true;
}
static void strict_marked(struct doctor_facts *f)
{
	strict_exit(f);
	f->host.answers_marked = true;
}
static void loose_exit(struct doctor_facts *f)
{
	router(f)->uses_exit = true;
}
static void twin(struct doctor_facts *f)
{
	snprintf(router(f)->route[0].twin, DOCTOR_NAME_LEN, "dave");
}
static void twin_accepted(struct doctor_facts *f)
{
	twin(f);
	f->host.accept_routes = true;
}
static void accepts(struct doctor_facts *f)
{
	router(f)->accept_routes = true;
}
static void silent(struct doctor_facts *f)
{
	struct doctor_host *h = router(f);
	h->snat = false;
	h->silent[0] = (struct doctor_silent_host){.addr = addr_of("10.88.1.2"),
		.via = addr_of("10.88.1.1"),
		.requests = 3,
		.age_s = 10};
	h->n_silent = 1;
}
static void silent_twice(struct doctor_facts *f)
{
	silent(f);
	f->host.silent[0].requests = 2;
}
static void silent_for_long(struct doctor_facts *f)
{
	silent(f);
	f->host.silent[0].age_s = 601;
}
static void silent_snat(struct doctor_facts *f)
{
	silent(f);
	f->host.snat = true;
}
static void silent_off(struct doctor_facts *f)
{
	silent(f);
	f->host.silent[0].no_neighbour = true;
}
static void silent_v6(struct doctor_facts *f)
{
	silent(f);
	f->host.silent[0].addr = addr_of("fd88::2");
	f->host.silent[0].via = (struct ip_addr){0};
}
static void overlap(struct doctor_facts *f)
{
	router(f)->local_first = 32767;
}
static void overlap_reserved(struct doctor_facts *f)
{
	overlap(f);
	f->host.local_reserved = true;
}
static void local_below(struct doctor_facts *f)
{
	struct doctor_host *h = router(f);
	h->local_first = 10000;
	h->local_last = 16383;
}
static void listens(struct doctor_facts *f)
{
	struct doctor_host *h = router(f);
	h->socket[0] =
		(struct doctor_socket){.port = 20000, .tcp = true, .user = "nginx (process 7)"};
	h->socket[1] = (struct doctor_socket){.port = 20001};
	h->n_sockets = 2;
}

static const struct doctor_case cases[] = {
	{"a router, all well", well, {}},
	{"the kernel forwards", forwards, {}},
	{"whether it does is not known", forwards_unknown, {}},
	{"it does not", not_forwarding, {{"F209", DOCTOR_ERROR}}},
	{"nor IPv6", not_forwarding6, {{"F209", DOCTOR_ERROR}}},
	{"it does not, but workers do", off_but_by_ports, {}},
	{"strict rp_filter", strict, {}},
	{"strict rp_filter with an exit node", strict_exit, {{"rp_filter", DOCTOR_WARN}}},
	{"the same with src_valid_mark", strict_marked, {}},
	{"an exit node, rp_filter loose", loose_exit, {}},
	{"a twin", twin, {}},
	{"routes are accepted", accepts, {}},
	{"routes are accepted beside a twin", twin_accepted, {{"F218", DOCTOR_WARN}}},
	{"a host says nothing", silent, {{"F216", DOCTOR_WARN}}},
	{"two requests are nothing", silent_twice, {}},
	{"long ago", silent_for_long, {}},
	{"with SNAT it is not that", silent_snat, {}},
	{"it is off", silent_off, {}},
	{"an IPv6 host", silent_v6, {{"F216", DOCTOR_WARN}}},
	{"ports overlap", overlap, {{"nat_ports", DOCTOR_WARN}}},
	{"ports overlap, but are reserved", overlap_reserved, {}},
	{"the kernel's ports are below", local_below, {}},
	{"others listen", listens, {{"nat_ports", DOCTOR_WARN}, {"nat_ports", DOCTOR_WARN}}},
};

static void test_findings(void **)
{
	check_findings(cases, N(cases));
}

// What is to be typed stands there.
static void test_remedies(void **)
{
	static const struct {
		void (*change)(struct doctor_facts *);
		const char *id, *text;
	} texts[] = {
		{silent, "F216", "ip route add 100.64.0.0/10 via 10.88.1.1."},
		{silent_v6, "F216", "ip -6 route add fd7a:115c:a1e0::/48 via THIS_GATEWAY."},
		{not_forwarding, "F209", "net.ipv4.ip_forward=1"},
		{not_forwarding6, "F209", "net.ipv6.conf.all.forwarding=1"},
		{strict_exit, "rp_filter", "net.ipv4.conf.eth0.rp_filter=2"},
		{overlap, "nat_ports", "ip_local_reserved_ports=16384-32767"},
	};
	struct doctor_report *r = malloc(sizeof(*r));
	for (unsigned i = 0; i < N(texts); i++) {
		struct doctor_facts f = healthy();
		bool found = false;
		texts[i].change(&f);
		doctor_check(&f, r);
		for (unsigned n = 0; n < r->n; n++)
			found |= strcmp(r->finding[n].id, texts[i].id) == 0 &&
				 strstr(r->finding[n].remedy, texts[i].text) != NULL;
		if (!found)
			fail_msg("%s is not told", texts[i].text);
	}
	free(r);
}

static void test_socket_lines(void **)
{
#define REST " 00000000:00000000 00:00000000 00000000     0        0 4711 1 ffff 100 0 0 10 0"
#define ZERO "00000000000000000000000000000000"
	static const struct {
		const char *line;
		bool tcp, read, listens, loopback;
		uint16_t port;
	} lines[] = {
		{"   0: 00000000:4E20 00000000:0000 0A" REST, true, true, true, false, 20000},
		{"   1: 0100007F:4E20 00000000:0000 0A" REST, true, true, true, true, 20000},
		{"   2: 0200000A:4E20 0300000A:1F90 01" REST, true, true, false, false, 20000},
		{"  10: 00000000:0035 00000000:0000 07" REST, false, true, true, false, 53},
		{"  10: 3500007F:0035 00000000:0000 07" REST, false, true, true, true, 53},
		{"  11: 0200000A:4E20 0300000A:0035 01" REST, false, true, false, false, 20000},
		{"   0: " ZERO ":FFFF " ZERO ":0000 0A" REST, true, true, true, false, 65535},
		{"   0: 00000000000000000000000001000000:0016 " ZERO ":0000 0A" REST, true, true,
			true, true, 22},
		{"  sl  local_address rem_address   st tx_queue", true, false, 0, 0, 0},
		{"", true, false, 0, 0, 0},
		{"   0: 00000000:4E20 00000000:0000 0A", true, false, 0, 0, 0},
		{"   0: 0000:4E20 00000000:0000 0A" REST, true, false, 0, 0, 0},
		{"   0: 00000000:14E20 00000000:0000 0A" REST, true, false, 0, 0, 0},
		{"   0: " ZERO ZERO ":4E20 00000000:0000 0A" REST, true, false, 0, 0, 0},
	};
	for (unsigned i = 0; i < N(lines); i++) {
		struct doctor_socket_line l = {0};
		print_message("%s\n", lines[i].line);
		assert_int_equal(
			doctor_socket_read(lines[i].line, lines[i].tcp, &l), lines[i].read);
		if (!lines[i].read)
			continue;
		assert_int_equal(l.port, lines[i].port);
		assert_int_equal(l.listens, lines[i].listens);
		assert_int_equal(l.loopback, lines[i].loopback);
		assert_int_equal(l.tcp, lines[i].tcp);
		assert_int_equal(l.inode, 4711);
	}
}

static void test_port_lists(void **)
{
	static const struct {
		const char *list;
		uint16_t first, last;
		bool hold;
	} lists[] = {
		{"16384-32767\n", 16384, 32767, true},
		{"80,16000-33000", 16384, 32767, true},
		{"16384-20000,20001-32767", 16384, 32767, true},
		{"65535", 65535, 65535, true},
		{"", 16384, 32767, false},
		{"\n", 16384, 32767, false},
		{"80", 16384, 32767, false},
		{"16384-20000,20002-32767", 16384, 32767, false},
		{"16385-32767", 16384, 32767, false},
		{"16384-32766", 16384, 32767, false},
		{"rubbish", 1, 2, false},
		{"1-", 1, 2, false},
	};
	for (unsigned i = 0; i < N(lists); i++) {
		print_message("%s\n", lists[i].list);
		assert_int_equal(doctor_ports_hold(lists[i].list, lists[i].first, lists[i].last),
			lists[i].hold);
	}
}

static void test_unanswered(void **)
{
	static const struct ip_addr none;
	struct unanswered *u = calloc(1, sizeof(*u));
	struct unanswered_view v[UNANSWERED_HOSTS];
	const struct ip_addr a = addr_of("10.88.1.2"), b = addr_of("fd88::2");
	assert_int_equal(unanswered_read(u, v, UNANSWERED_HOSTS), 0);
	unanswered_answer(u, IP_V4, a.bytes);
	unanswered_answer(u, IP_V6, none.bytes);
	for (unsigned i = 0; i < 5; i++)
		unanswered_request(u, IP_V4, a.bytes, 100 + i);
	unanswered_request(u, IP_V6, b.bytes, 7);
	assert_int_equal(unanswered_read(u, v, UNANSWERED_HOSTS), 2);
	assert_int_equal(unanswered_read(u, v, 1), 1);
	unanswered_answer(u, IP_V6, b.bytes);
	assert_int_equal(unanswered_read(u, v, UNANSWERED_HOSTS), 1);
	assert_memory_equal(&v[0].addr, &a, sizeof(a));
	assert_int_equal(v[0].requests, 5);
	assert_int_equal(v[0].last, 104);
	unanswered_answer(u, IP_V4, addr_of("10.88.1.3").bytes); // another one
	assert_int_equal(unanswered_read(u, v, UNANSWERED_HOSTS), 1);
	unanswered_answer(u, IP_V4, a.bytes);
	assert_int_equal(unanswered_read(u, v, UNANSWERED_HOSTS), 0);
	free(u);
}

// More hosts than places: those that were there first stay, until they are old.
static void test_unanswered_many(void **)
{
	struct unanswered *u = calloc(1, sizeof(*u));
	struct unanswered_view v[UNANSWERED_HOSTS + 1];
	const uint64_t later = UINT64_C(2) << UNANSWERED_STALE_SHIFT;
	for (unsigned round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 4096; i++) {
			const uint8_t addr[4] = {10, (uint8_t)round, (uint8_t)(i >> 8), (uint8_t)i};
			unanswered_request(u, IP_V4, addr, round * later + i);
		}
	const unsigned n = unanswered_read(u, v, UNANSWERED_HOSTS + 1);
	assert_in_range(n, 1, UNANSWERED_HOSTS);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(v[i].addr.bytes[1], 1);
		assert_true(v[i].last >= later);
	}
	free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_findings),
		cmocka_unit_test(test_remedies),
		cmocka_unit_test(test_socket_lines),
		cmocka_unit_test(test_port_lists),
		cmocka_unit_test(test_unanswered),
		cmocka_unit_test(test_unanswered_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
