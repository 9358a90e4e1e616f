#include "control/ctl/metrics.h"
#include "tests/unit/ctl_fixture.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

// A reader of OpenMetrics text (openmetrics.io 1.0.0, "Overall Structure" and "ABNF"), as strict as
// a scraper may be: NULL when all is well, or what is wrong.
enum { FAMILIES_MAX = 256 };

struct reader {
	char family[FAMILIES_MAX][96];
	unsigned n;
	char type[16];
	char unit[16];
};

static size_t name_len(const char *p)
{
	size_t n = 0;
	while (isalnum((unsigned char)p[n]) || p[n] == '_' || p[n] == ':')
		n++;
	return n > 0 && isdigit((unsigned char)p[0]) ? 0 : n;
}

// Behind the closing quote, or NULL.
static const char *skip_quoted(const char *p)
{
	if (*p++ != '"')
		return NULL;
	for (; *p != '"'; p++) {
		if (*p == '\0' || *p == '\n')
			return NULL;
		if (*p == '\\' && (*++p == '\0' || strchr("\\\"n", *p) == NULL))
			return NULL;
	}
	return p + 1;
}

static const char *skip_labels(const char *p)
{
	if (*p != '{')
		return p;
	do {
		size_t n = name_len(++p);
		if (n == 0 || p[n] != '=')
			return NULL;
		p = skip_quoted(p + n + 1);
	} while (p != NULL && *p == ',');
	return p != NULL && *p == '}' ? p + 1 : NULL;
}

static const char *read_comment(struct reader *r, const char *line)
{
	char keyword[8], name[96], rest[256];
	if (sscanf(line, "# %7s %95s %255[^\n]", keyword, name, rest) != 3)
		return "malformed comment";
	if (strcmp(keyword, "TYPE") == 0) {
		for (unsigned i = 0; i < r->n; i++)
			if (strcmp(r->family[i], name) == 0)
				return "family twice";
		if (name_len(name) != strlen(name) || r->n == FAMILIES_MAX)
			return "bad family name";
		strcpy(r->family[r->n++], name);
		snprintf(r->type, sizeof(r->type), "%s", rest);
		static const char *const types[] = {"counter", "gauge", "info", "histogram"};
		for (unsigned i = 0; i < RTE_DIM(types); i++)
			if (strcmp(types[i], r->type) == 0)
				return NULL;
		return "unknown type";
	}
	if (r->n == 0 || strcmp(r->family[r->n - 1], name) != 0)
		return "comment of another family";
	if (strcmp(keyword, "UNIT") == 0) {
		size_t n = strlen(name), u = strlen(rest);
		return n > u + 1 && name[n - u - 1] == '_' && strcmp(name + n - u, rest) == 0
			       ? NULL
			       : "name does not end in its unit";
	}
	if (strcmp(keyword, "HELP") != 0)
		return "unknown keyword";
	char quoted[300];
	snprintf(quoted, sizeof(quoted), "\"%s\"", rest);
	const char *end = skip_quoted(quoted);
	return end != NULL && *end == '\0' ? NULL : "help not escaped";
}

static const char *read_sample(const struct reader *r, const char *line)
{
	static const struct {
		const char *type, *suffix;
	} suffixes[] = {
		{"counter", "_total"}, {"gauge", ""}, {"info", "_info"}, {"histogram", "_bucket"}};
	const char *family = r->n > 0 ? r->family[r->n - 1] : "";
	char expected[128] = "";
	for (unsigned i = 0; i < RTE_DIM(suffixes); i++)
		if (strcmp(suffixes[i].type, r->type) == 0)
			snprintf(expected, sizeof(expected), "%s%s", family, suffixes[i].suffix);
	size_t n = name_len(line);
	if (n == 0 || n != strlen(expected) || strncmp(line, expected, n) != 0)
		return "sample outside of its family";
	const char *p = skip_labels(line + n);
	if (p == NULL || *p != ' ')
		return "malformed labels";
	char *end;
	double value = strtod(p + 1, &end);
	if (end == p + 1 || *end != '\n')
		return "malformed value";
	return strcmp(r->type, "counter") == 0 && !(value >= 0) ? "negative counter" : NULL;
}

static const char *check(const char *text)
{
	struct reader r = {};
	const char *line = text, *wrong = NULL;
	for (; strcmp(line, "# EOF\n") != 0; line = strchr(line, '\n') + 1) {
		if (strchr(line, '\n') == NULL)
			return "no # EOF at the end";
		if (*line == '\n')
			return "empty line";
		wrong = *line == '#' ? read_comment(&r, line) : read_sample(&r, line);
		if (wrong != NULL)
			return wrong;
	}
	return NULL;
}

// The reader itself refuses what it should.
static void test_reader(void **)
{
	static const struct {
		const char *text;
		bool good;
	} texts[] = {
		{"# EOF\n", true},
		{"# TYPE a counter\n# HELP a x\na_total{b=\"c\\\"\\\\\\n\",d=\"\"} 1\n# EOF\n",
			true},
		{"# TYPE a gauge\na 1\n", false},
		{"# TYPE a gauge\na 1\n# EOF\nx", false},
		{"# TYPE a counter\na 1\n# EOF\n", false},
		{"# TYPE a counter\na_total -1\n# EOF\n", false},
		{"# TYPE a gauge\na 1\n# TYPE a gauge\na 1\n# EOF\n", false},
		{"# TYPE a gauge\n# UNIT a bytes\na 1\n# EOF\n", false},
		{"# TYPE a gauge\n# HELP a \"x\n# EOF\n", false},
		{"# TYPE a gauge\na{b=\"c} 1\n# EOF\n", false},
		{"# TYPE a gauge\na{b=\"\\x\"} 1\n# EOF\n", false},
		{"# TYPE a gauge\na{b=\"c\nd\"} 1\n# EOF\n", false},
		{"# TYPE a gauge\na one\n# EOF\n", false},
		{"# TYPE a gauge\n\na 1\n# EOF\n", false},
		{"b 1\n# EOF\n", false},
	};
	for (unsigned i = 0; i < RTE_DIM(texts); i++)
		if ((check(texts[i].text) == NULL) != texts[i].good)
			fail_msg("%s", texts[i].text);
}

static struct event_base *base;
static struct ctl_conns *conns;

static char *metrics_text(void)
{
	struct evbuffer *out = evbuffer_new(), *piece = evbuffer_new();
	struct ctl_source source;
	int more;
	assert_int_equal(metrics_source(&fixture.daemon, conns, &source), 0);
	do {
		more = source.more(source.arg, piece);
		evbuffer_add_buffer(out, piece);
	} while (more > 0);
	source.end(source.arg);
	evbuffer_free(piece);
	size_t n = evbuffer_get_length(out);
	char *text = calloc(1, n + 1);
	evbuffer_remove(out, text, n);
	evbuffer_free(out);
	return text;
}

// The text is sound and has each of the lines.
static void assert_holds(const char *text, const char *const lines[], unsigned n)
{
	if (check(text) != NULL)
		fail_msg("%s in:\n%s", check(text), text);
	for (unsigned i = 0; i < n; i++)
		if (strstr(text, lines[i]) == NULL)
			fail_msg("%s is not in:\n%s", lines[i], text);
}

static void test_text(void **)
{
	static const char *const lines[] = {
		"tailgate_build_info{version=\"" TAILGATE_VERSION "\",aead=\"libsodium\"} 1",
		"wireguard_sent_bytes_total{interface=\"tailgate0\",public_key=\""
		"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\",allowed_ips=\"10.2.0.0/16,"
		"fd00::/8\",friendly_name=\"berlin\"} 2000",
		"allowed_ips=\"10.2.0.0/16\",friendly_name=\"we\\\"ird\\\\name\"} 1001",
		"tailgate_port_rx_packets_total{port=\"wan\",kind=\"owned\"} 21",
		"tailgate_port_rx_bytes_total{port=\"lan\",kind=\"shared\"} 10000000000",
		"tailgate_port_up{port=\"wan\",kind=\"owned\"} 0",
		"tailgate_drops_total{reason=\"wg_auth\"} 14",
		"tailgate_segments_made_total 120",
		"tailgate_handshake_replayed_total 112",
		"tailgate_node_cycles_total{node=\"wg_encrypt\"} 80000",
		"tailgate_worker_busy_seconds_total{worker=\"1\"} 1.000000000",
		"tailgate_rx_burst_packets_bucket{worker=\"0\",le=\"1.0\"} 5",
		"tailgate_rx_burst_packets_bucket{worker=\"0\",le=\"+Inf\"} 6",
		"tailgate_buffers{pool=\"packets\"} 63",
		"tailgate_buffers_in_use{pool=\"packets\"} 1",
		"tailgate_listen_port_fallback 1",
		"tailgate_nat_flows{worker=\"1\",class=\"tcp-open\"} 0",
		"tailgate_nat_flows_max{worker=\"0\"} 64",
		"tailgate_nat_ports 0",
		"tailgate_nat_ports_in_use{worker=\"0\"} 0",
		"tailgate_fragment_buffers_in_use{worker=\"1\"} 3",
		"# HELP tailgate_initiations_sent help \\\"quoted\\\"",
	};
	struct rte_mempool *pool = test_pool("metrics", 63);
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	fixture.gw.pool = pool;
	char *text = metrics_text();
	assert_holds(text, lines, RTE_DIM(lines));
	free(text);
	fixture.gw.pool = NULL;
	rte_pktmbuf_free(m);
	rte_mempool_free(pool);
}

static void test_handshake_time(void **)
{
	char expected[64];
	char *text = metrics_text();
	snprintf(expected, sizeof(expected), "friendly_name=\"berlin\"} %lu.000000000\n",
		fixture.info[0].handshake_unix_ns / 1000000000);
	assert_non_null(strstr(text, expected));
	assert_non_null(strstr(text, "friendly_name=\"tokyo\"} 0.000000000\n"));
	free(text);
}

// Without a tailnet there is nothing of it; with one, each advertised network by what became of it.
static void test_routes(void **)
{
	static const char *const lines[] = {
		"tailgate_route_state{route=\"10.0.0.0/8\",state=\"offered\"} 1\n",
		"tailgate_route_state{route=\"10.0.0.0/8\",state=\"approved\"} 1\n",
		"tailgate_route_state{route=\"10.0.0.0/8\",state=\"taken_over\"} 0\n",
		"tailgate_route_state{route=\"fd00::/8\",state=\"cut_off\"} 0\n",
		"tailgate_route_state{route=\"fd00::/8\",state=\"primary\"} ",
	};
	struct ip_prefix routes[2];
	char *text = metrics_text();
	assert_null(strstr(text, "tailgate_route_"));
	assert_null(strstr(text, "tailgate_dns_"));
	free(text);
	assert_int_equal(ip_prefix_parse("10.0.0.0/8", &routes[0]), 0);
	assert_int_equal(ip_prefix_parse("fd00::/8", &routes[1]), 0);
	double_create();
	struct ip_prefix *before = tailnet.prefs->routes;
	tailnet.prefs->routes = routes;
	tailnet.prefs->n_routes = 2;
	fixture.daemon.tailnet = &tailnet;
	text = metrics_text();
	fixture.daemon.tailnet = NULL;
	tailnet.prefs->routes = before;
	tailnet.prefs->n_routes = 0;
	double_destroy();
	assert_holds(text, lines, RTE_DIM(lines));
	free(text);
}

static struct nat_config nat_config = {.port_first = 20000, .port_last = 29999};

// What the gauges are made of.
static void test_flows(void **)
{
	static const char *const lines[] = {
		"tailgate_nat_flows{worker=\"1\",class=\"udp\"} 3\n",
		"tailgate_nat_ports_in_use{worker=\"1\"} 2\n",
		"tailgate_nat_ports 10000\n",
	};
	struct nat_table *t = fixture.gw.graph[1]->nat;
	struct nat_new new = {.inside = {.family = IP_V4,
				      .proto = IPPROTO_UDP,
				      .local = {100, 64, 0, 2},
				      .local_port = rte_cpu_to_be_16(20016),
				      .remote = {192, 0, 2, 1},
				      .remote_port = rte_cpu_to_be_16(53)},
		.class = NAT_UDP,
		.choose = true,
		.now_ms = 1};
	enum nat_refusal why;
	struct nat_flow *flows[3];
	new.outside = new.inside;
	for (unsigned i = 0; i < 3; i++) { // the third has the first one's port
		new.inside.local_port = rte_cpu_to_be_16((uint16_t)(i == 1 ? 20018 : 20016));
		new.inside.remote[3] = new.outside.remote[3] = (uint8_t)(1 + i / 2);
		flows[i] = nat_open(t, &nat_config, &new, &why);
		assert_non_null(flows[i]);
	}
	atomic_store(&fixture.gw.nat, &nat_config);
	char *text = metrics_text();
	assert_holds(text, lines, RTE_DIM(lines));
	free(text);
	atomic_store(&fixture.gw.nat, NULL);
	nat_close(t, flows[0]);
	assert_int_equal(nat_ports_in_use(t), 2);
	nat_close(t, flows[1]);
	nat_close(t, flows[2]);
	assert_int_equal(nat_ports_in_use(t), 0);
}

// No label can end its line or leave its quotes.
static void test_labels(void **)
{
	static const struct {
		const char *name, *value, *escaped;
	} cases[] = {
		{"plain", "lan", "lan"},
		{"empty", "", ""},
		{"quote", "a\"b", "a\\\"b"},
		{"backslash", "a\\", "a\\\\"},
		{"line feed", "a\nb", "a\\nb"},
		{"looks escaped", "\\n", "\\\\n"},
		{"utf-8", "m\xc3\xbcnchen", "m\xc3\xbcnchen"},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct evbuffer *out = evbuffer_new();
		metrics_label(out, cases[i].value);
		size_t n = evbuffer_get_length(out);
		if (n != strlen(cases[i].escaped) ||
			(n > 0 && memcmp(evbuffer_pullup(out, -1), cases[i].escaped, n) != 0))
			fail_msg("%s", cases[i].name);
		evbuffer_free(out);
	}
}

static void test_no_workers_no_ports(void **)
{
	struct gateway gw = {.tsc_per_ns = 3};
	struct gateway *before = fixture.daemon.gw;
	fixture.daemon.gw = &gw;
	char *text = metrics_text();
	fixture.daemon.gw = before;
	assert_null(check(text));
	free(text);
}

static int setup(void **)
{
	test_eal_init();
	base = event_base_new();
	conns = ctl_conns_create(base);
	fixture_create(NULL);
	return conns == NULL;
}

static int teardown(void **)
{
	fixture_destroy();
	ctl_conns_destroy(conns);
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_handshake_time),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_flows),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_no_workers_no_ports),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
