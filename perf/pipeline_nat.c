// Packet filter, address translation and routes in the pipeline: cycles of each node, with as many
// flows, and routes, as there may be. One worker's graph between ports in memory, as pipeline.c;
// packets are of flows, or to destinations, in random order. All sizes take turns in slices of a
// few milliseconds; figures are medians of the slices. perf/README.md.
#include <getopt.h>
#include <jansson.h>
#include <string.h>

#include "perf/median.h"
#include "perf/supply.h"

enum {
	SLICE_US = 2000,
	SLICES_MAX = 1024,
	SLICES_MIN = 15,
	INNER = 128, // bytes of each inner packet
	FLOWS_PER_PORT = 8192,
	OUTER_LEN = L2_LEN + IP4_HDR_LEN + UDP_HDR_LEN,
	ROUTES_FEW = 10,
	ROUTES_MANY = 1000000,
	DESTINATIONS = 1000,
	RULES_FEW = 10,
	RULES_MANY = 10000,
	CLIENTS = 250,
};

static const uint32_t flow_counts[] = {1, 1000, 100000, 1000000};

static const struct test_case in_case = {"decrypt", true, 1, INNER, INNER};
static const struct test_case out_case = {"encrypt", false, 1, INNER, INNER};

struct slices {
	unsigned n;
	double node[NODE_COUNT][SLICES_MAX], all[SLICES_MAX];
};

struct load {
	uint32_t n; // flows or destinations
	struct fib *fib;
	struct rules *rules; // NULL: as they are
};

struct bench {
	struct gw g;
	struct supply in, out;
	uint64_t counter, random;
	double hz, seconds;
	uint32_t *destinations;	 // an address of each route
	uint32_t destinations_n; // of the row that is reported; 0: it is about flows
	uint32_t *back;		 // by flow: outside port << 16 | remote port
	json_t *rows;
};

static uint32_t draw(struct bench *b, uint32_t n)
{
	b->random = b->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)((b->random >> 32) * n >> 32);
}

static void put_udp(uint8_t *l3, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.total_length = RTE_BE16(INNER),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = rte_cpu_to_be_32(src),
		.dst_addr = rte_cpu_to_be_32(dst),
	};
	csum_ip4_hdr_set(l3, IP4_HDR_LEN);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(l3 + IP4_HDR_LEN);
	*udp = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(sport),
		.dst_port = rte_cpu_to_be_16(dport),
		.dgram_len = RTE_BE16(INNER - IP4_HDR_LEN),
		.dgram_cksum = 0x1234, // nobody looks: it is changed by the difference
	};
}

// Flow i: of one of the clients, to a port of the one server of its 8192.
static void put_flow(uint8_t *l3, uint32_t i)
{
	uint32_t client = i % CLIENTS, port = i / FLOWS_PER_PORT;
	put_udp(l3, gw_ip4(10, 2, 1, 2 + client), gw_ip4(10, 1, 0, 2),
		(uint16_t)(1024 + i % FLOWS_PER_PORT), (uint16_t)(1000 + port));
}

static void put_answer(struct bench *b, uint8_t *l3, uint32_t i)
{
	put_udp(l3, gw_ip4(10, 1, 0, 2), gw_ip4(10, 1, 0, 1), (uint16_t)b->back[i],
		(uint16_t)(b->back[i] >> 16));
}

static void put_ether(uint8_t *l2, const struct port *port)
{
	memcpy(l2, port->mac.addr_bytes, 6);
	memcpy(l2 + 6, gw_peer_mac(0), 6);
	l2[12] = 0x08;
	l2[13] = 0;
}

static uint8_t *seal_begin(struct bench *b, struct rte_mbuf *m)
{
	uint32_t len = INNER + WG_DATA_OVERHEAD;
	rte_pktmbuf_reset(m);
	uint8_t *l2 = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(OUTER_LEN + len));
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(l2 + L2_LEN);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	put_ether(l2, &b->in.port);
	gw_outer4((uint8_t *)ip, 2, 1);
	ip->total_length = rte_cpu_to_be_16((uint16_t)(OUTER_LEN - L2_LEN + len));
	csum_ip4_hdr_set((uint8_t *)ip, IP4_HDR_LEN);
	*udp = (struct rte_udp_hdr){.src_port = RTE_BE16(GW_PORT),
		.dst_port = RTE_BE16(GW_PORT),
		.dgram_len = rte_cpu_to_be_16((uint16_t)(UDP_HDR_LEN + len))};
	struct wg_data *h = (struct wg_data *)(udp + 1);
	*h = (struct wg_data){
		.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(b->g.keypair->local_index),
		.counter = rte_cpu_to_le_64(b->counter),
	};
	return (uint8_t *)(h + 1);
}

static void seal_end(struct bench *b, uint8_t *inner)
{
	struct aead_op op = {.data = inner,
		.len = INNER,
		.counter = b->counter++,
		.key = b->g.keypair->recv_key};
	aead_seal(b->g.gw.graph[0]->aead, &op, 1);
}

// What a case's packets are: the i-th of n flows or destinations.
typedef void fill_fn(struct bench *b, struct rte_mbuf *m, uint32_t i);

static void fill_flow(struct bench *b, struct rte_mbuf *m, uint32_t i)
{
	uint8_t *inner = seal_begin(b, m);
	put_flow(inner, i);
	seal_end(b, inner);
}

static void fill_route(struct bench *b, struct rte_mbuf *m, uint32_t i)
{
	uint8_t *inner = seal_begin(b, m);
	put_udp(inner, gw_ip4(10, 2, 0, 2), b->destinations[i], 1000, 2000);
	seal_end(b, inner);
}

static void fill_answer(struct bench *b, struct rte_mbuf *m, uint32_t i)
{
	rte_pktmbuf_reset(m);
	uint8_t *l2 = (uint8_t *)rte_pktmbuf_append(m, L2_LEN + INNER);
	put_ether(l2, &b->in.port);
	put_answer(b, l2 + L2_LEN, i);
}

static uint64_t run_ring(struct bench *b)
{
	uint64_t start = rte_rdtsc();
	while (b->in.head < b->in.size)
		gw_round(&b->g);
	return rte_rdtsc() - start;
}

static void check(struct bench *b, uint64_t expected)
{
	const struct graph *g = b->g.gw.graph[0];
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		if (g->drops[i])
			rte_panic("%lu packets dropped: %s\n", g->drops[i],
				drop_label((enum drop_reason)i));
	}
	if (b->out.sent_packets != expected)
		rte_panic("%lu packets came out instead of %lu\n", b->out.sent_packets, expected);
}

// The ring once, with n packets.
static void once(struct bench *b, fill_fn *fill, uint32_t n, uint32_t first, bool in_order)
{
	uint32_t now = RTE_MIN(b->in.size, n - first);
	b->in.head = in_order ? b->in.size - now : 0;
	for (unsigned i = b->in.head; i < b->in.size; i++)
		fill(b, b->in.ring[i], in_order ? first++ : draw(b, n));
}

// A slice of a few milliseconds: random ones of n, or where first is given those from *first on.
static void slice(struct bench *b, fill_fn *fill, uint32_t n, uint32_t *first, struct slices *s)
{
	struct node_stats *stats = b->g.gw.graph[0]->stats;
	uint64_t spent = 0, packets = 0;
	memset(stats, 0, NODE_COUNT * sizeof(*stats));
	b->out.sent_packets = 0;
	while (spent < b->hz * SLICE_US / 1e6 && (!first || *first < n)) {
		once(b, fill, n, first ? *first : 0, first);
		uint32_t now = b->in.size - b->in.head;
		spent += run_ring(b);
		packets += now;
		if (first)
			*first += now;
	}
	check(b, packets);
	unsigned at = RTE_MIN(s->n, (unsigned)SLICES_MAX - 1);
	s->all[at] = (double)spent / (double)packets;
	for (unsigned i = 0; i < NODE_COUNT; i++)
		s->node[i][at] = (double)stats[i].cycles / (double)packets;
	s->n = at + 1;
}

static double sum_of(struct slices *s, const enum node_id *nodes, unsigned n)
{
	double sum[SLICES_MAX];
	for (unsigned i = 0; i < s->n; i++) {
		sum[i] = 0;
		for (unsigned k = 0; k < n; k++)
			sum[i] += s->node[nodes[k]][i];
	}
	return median(sum, s->n);
}

static void report(struct bench *b, const char *stage, const char *direction, const char *what,
	uint32_t n, struct slices *s, const enum node_id *nodes, unsigned n_nodes)
{
	double all[SLICES_MAX];
	memcpy(all, s->all, s->n * sizeof(all[0]));
	double cycles = sum_of(s, nodes, n_nodes), whole = median(all, s->n);
	printf("%-12s %-10s %8u %-7s %8.1f cycles of %8.1f\n", stage, direction, n, what, cycles,
		whole);
	json_array_append_new(
		b->rows, json_pack("{s:s, s:s, s:i, s:f, s:f, s:i}", "stage", stage, "direction",
				 direction, what, (int)n, "cycles_per_packet", cycles,
				 "pipeline_cycles_per_packet", whole, "slices", (int)s->n));
}

#define STAGE(b, stage, direction, what, n, s, ...)                                                \
	do {                                                                                       \
		const enum node_id nodes_[] = {__VA_ARGS__};                                       \
		report(b, stage, direction, what, n, s, nodes_, RTE_DIM(nodes_));                  \
	} while (0)

static void attach(struct bench *b, const struct test_case *c)
{
	supply_attach(&b->in, &b->out, &b->g, c);
}

static void allow(struct bench *b)
{
	const struct ip_range all[] = {ip_range_any(IP_V4)};
	const struct rule_target to = {all[0], 0, 65535};
	struct rule_spec rule = {all, &to, 1, 1};
	rule_protocol(&rule, IPPROTO_UDP);
	rules_publish(&b->g.gw.rules, b->g.gw.rcu,
		rules_create(&(struct rules_spec){&rule, all, 1, 1, false}));
	atomic_store(&b->g.peer->filtered, true);
}

// Rule i: ten let the clients to the server, 25 each. Further ones say of the same clients and
// server, or of other hosts, what no packet here asks for.
static void put_rule(struct bench *b, uint32_t i, struct rule_spec *rule, struct ip_range *source,
	struct rule_target *target)
{
	const bool ours = i < RULES_FEW, near = i % 2 == 0;
	uint32_t first = near ? gw_ip4(10, 2, 1, 2) + draw(b, CLIENTS) : gw_ip4(10, 2, 4, 0) + i;
	uint32_t to = near || ours ? gw_ip4(10, 1, 0, 2) : gw_ip4(10, 1, 1, 0) + draw(b, 10000);
	if (ours)
		first = gw_ip4(10, 2, 1, 2) + i * CLIENTS / RULES_FEW;
	const uint32_t last = rte_cpu_to_be_32(ours ? first + CLIENTS / RULES_FEW - 1 : first);
	first = rte_cpu_to_be_32(first);
	to = rte_cpu_to_be_32(to);
	*source = (struct ip_range){ip_addr_v4(&first), ip_addr_v4(&last)};
	*target = (struct rule_target){.range = {ip_addr_v4(&to), ip_addr_v4(&to)}};
	target->port_first = (uint16_t)(ours ? 1000 : 2000 + draw(b, 60000));
	target->port_last = (uint16_t)(target->port_first + (ours ? 200 : 0));
	*rule = (struct rule_spec){source, target, 1, 1};
	rule_protocol(rule, IPPROTO_UDP);
}

static struct rules *many_rules(struct bench *b, uint32_t n)
{
	const struct ip_range all = ip_range_any(IP_V4);
	struct rule_spec *rule = calloc(n, sizeof(*rule));
	struct ip_range *source = calloc(n, sizeof(*source));
	struct rule_target *target = calloc(n, sizeof(*target));
	if (!rule || !source || !target)
		rte_panic("no memory\n");
	for (uint32_t i = 0; i < n; i++)
		put_rule(b, i, &rule[i], &source[i], &target[i]);
	struct rules *rules = rules_create(&(struct rules_spec){rule, &all, n, 1, false});
	free(rule);
	free(source);
	free(target);
	return rules;
}

static void translate(struct bench *b, uint32_t idle_s)
{
	struct nat_config *c = calloc(1, sizeof(*c));
	uint32_t own = rte_cpu_to_be_32(gw_ip4(10, 1, 0, 1));
	if (!c)
		rte_panic("no memory\n");
	*c = (struct nat_config){.snat = true, .port_first = 16384, .port_last = 32767};
	for (unsigned i = 0; i < NAT_CLASS_COUNT; i++)
		c->idle_s[i] = idle_s;
	c->port4[GW_LAN] = ip_addr_v4(&own);
	nat_config_publish(&b->g.gw.nat, b->g.gw.rcu, c);
}

// n flows that begin now: how many a second.
static void begin(struct bench *b, uint32_t n, bool again)
{
	static const enum node_id nodes[] = {NODE_FILTER, NODE_NAT};
	static struct slices s;
	const struct nat_table *t = b->g.gw.graph[0]->nat;
	s.n = 0;
	for (uint32_t first = 0; first < n;)
		slice(b, fill_flow, n, &first, &s);
	if (nat_table_count(t) != n)
		rte_panic("%u flows instead of %u\n", nat_table_count(t), n);
	double cycles = sum_of(&s, nodes, RTE_DIM(nodes)), all = median(s.all, s.n);
	printf("%-12s %-10s %8u flows   %8.1f cycles of %8.1f: %.2f million a second%s\n", "new",
		"decrypt", n, cycles, all, b->hz / cycles / 1e6, again ? "" : ", in new memory");
	json_array_append_new(
		b->rows, json_pack("{s:s, s:s, s:i, s:b, s:f, s:f, s:f, s:f, s:f, s:i}", "stage",
				 "new_flows", "direction", "decrypt", "flows", (int)n, "new_memory",
				 !again, "cycles_per_packet", cycles, "pipeline_cycles_per_packet",
				 all, "flows_per_second", b->hz / cycles,
				 "pipeline_flows_per_second", b->hz / all, "bytes_per_flow",
				 (double)nat_table_memory(t) / NAT_FLOWS, "slices", (int)s.n));
}

// All flows end, their memory stays.
static void end_flows(struct bench *b)
{
	translate(b, 1);
	while (nat_table_count(b->g.gw.graph[0]->nat) > 0)
		gw_round(&b->g);
	translate(b, 3600);
}

// Which outside port each flow has.
static void learn(struct bench *b)
{
	struct nat_view view[64];
	uint32_t cursor = 0;
	do {
		unsigned n = nat_table_read(b->g.gw.graph[0]->nat, &cursor,
			nat_ms(rte_rdtsc(), b->g.gw.tsc_per_ns), view, RTE_DIM(view));
		for (unsigned i = 0; i < n; i++) {
			uint16_t port = rte_be_to_cpu_16(view[i].inside.remote_port);
			uint16_t of = rte_be_to_cpu_16(view[i].inside.local_port);
			b->back[(port - 1000u) * FLOWS_PER_PORT + of - 1024] =
				(uint32_t)rte_be_to_cpu_16(view[i].outside.local_port) << 16 | port;
		}
	} while (cursor != 0);
}

static void turn(struct bench *b, fill_fn *fill, const struct load *l, struct slices *s)
{
	b->g.gw.fib = l->fib;
	if (l->rules)
		atomic_store(&b->g.gw.rules, l->rules);
	slice(b, fill, l->n, NULL, s);
}

// Loads in turns, so that what else runs on the machine meets all of them.
static void turns(struct bench *b, fill_fn *fill, const struct load *loads, unsigned n_loads,
	struct slices *s)
{
	uint64_t end = rte_rdtsc() + (uint64_t)(b->seconds * b->hz * n_loads);
	for (unsigned k = 0; k < n_loads; k++) {
		s[k].n = 0;
		turn(b, fill, &loads[k], &s[k]); // to warm up
		s[k].n = 0;
	}
	do {
		for (unsigned k = 0; k < n_loads; k++)
			turn(b, fill, &loads[k], &s[k]);
	} while (s[0].n < SLICES_MIN || (rte_rdtsc() < end && s[0].n < SLICES_MAX));
}

static void measure_flows(struct bench *b)
{
	static struct slices s[RTE_DIM(flow_counts)];
	const unsigned n = RTE_DIM(flow_counts);
	uint32_t most = flow_counts[n - 1];
	struct load loads[RTE_DIM(flow_counts)];
	for (unsigned i = 0; i < n; i++)
		loads[i] = (struct load){flow_counts[i], b->g.gw.fib};
	b->back = calloc(most + FLOWS_PER_PORT, sizeof(*b->back));
	if (!b->back)
		rte_panic("no memory\n");
	allow(b);
	translate(b, 3600);
	attach(b, &in_case);
	begin(b, most, false);
	end_flows(b);
	begin(b, most, true);
	turns(b, fill_flow, loads, n, s);
	for (unsigned i = 0; i < n; i++) {
		STAGE(b, "filter", "decrypt", "flows", flow_counts[i], &s[i], NODE_FILTER);
		STAGE(b, "nat", "decrypt", "flows", flow_counts[i], &s[i], NODE_NAT);
		STAGE(b, "filter+nat", "decrypt", "flows", flow_counts[i], &s[i], NODE_FILTER,
			NODE_NAT);
		STAGE(b, "route", "decrypt", "flows", flow_counts[i], &s[i], NODE_ROUTE);
	}
	supply_detach(&b->in);
	learn(b);
	attach(b, &out_case);
	turns(b, fill_answer, loads, n, s);
	for (unsigned i = 0; i < n; i++) {
		STAGE(b, "classify", "encrypt", "flows", flow_counts[i], &s[i], NODE_CLASSIFY);
		STAGE(b, "nat", "encrypt", "flows", flow_counts[i], &s[i], NODE_NAT_RETURN);
	}
	supply_detach(&b->in);
}

// The same packets under few rules and under many, while nothing is translated: then each packet is
// judged.
static void measure_rules(struct bench *b)
{
	static const uint32_t counts[] = {RULES_FEW, RULES_MANY};
	static struct slices s[RTE_DIM(counts)];
	struct load loads[RTE_DIM(counts)];
	for (unsigned i = 0; i < RTE_DIM(counts); i++)
		loads[i] = (struct load){1000, b->g.gw.fib, many_rules(b, counts[i])};
	end_flows(b);
	nat_config_publish(&b->g.gw.nat, b->g.gw.rcu, NULL);
	attach(b, &in_case);
	turns(b, fill_flow, loads, RTE_DIM(counts), s);
	for (unsigned i = 0; i < RTE_DIM(counts); i++)
		STAGE(b, "filter", "decrypt", "rules", counts[i], &s[i], NODE_FILTER);
	supply_detach(&b->in);
}

// Lengths of the prefixes of a full table, in per mille of it.
static uint8_t prefix_len(struct bench *b)
{
	static const struct {
		uint8_t len;
		uint16_t below;
	} shape[] = {{24, 600}, {23, 700}, {22, 810}, {21, 860}, {20, 905}, {19, 930}, {18, 945},
		{17, 955}, {16, 970}, {15, 975}, {14, 980}, {13, 983}, {12, 985}, {24, 1000}};
	uint32_t at = draw(b, 1000);
	unsigned i = 0;
	while (at >= shape[i].below)
		i++;
	return shape[i].len;
}

static void set_route(struct bench *b, uint32_t net, uint8_t len, uint32_t number)
{
	rte_be32_t wire = rte_cpu_to_be_32(net);
	struct ip_prefix p = {.addr = ip_addr_v4(&wire), .len = len};
	struct nexthop nh = {.type = NH_LINK, .port = GW_LAN, .ifindex = 100};
	memcpy(nh.l2, gw_peer_mac(2), 6);
	nh.l2[5] = (uint8_t)(number % 10); // neighbours
	if (fib_set(b->g.gw.fib, &p, &nh) < 0)
		rte_panic("no memory for routes\n");
}

// All that many_routes leads to.
static void few_routes(struct bench *b)
{
	for (uint32_t i = 0; i < ROUTES_FEW; i++)
		set_route(b, i << 28, i < 8 ? 4 : 5, i);
}

// To addresses of 11.0.0.0 to 125.255.255.255.
static void many_routes(struct bench *b)
{
	for (uint32_t i = 0; i < ROUTES_MANY; i++) {
		uint8_t len = prefix_len(b);
		uint32_t net = gw_ip4(11 + draw(b, 115), 0, 0, 0) | draw(b, 1 << 24);
		net &= UINT32_MAX << (32 - len);
		set_route(b, net, len, i);
		b->destinations[i] = net | draw(b, 1u << (32 - len));
	}
}

// The same destinations by a few routes and by a full table: some of them, and as many as routes.
static void measure_routes(struct bench *b)
{
	static struct slices s[4];
	struct fib *few = b->g.gw.fib, *many = fib_create(b->g.gw.rcu);
	const struct load loads[] = {
		{DESTINATIONS, few}, {DESTINATIONS, many}, {ROUTES_MANY, few}, {ROUTES_MANY, many}};
	b->destinations = calloc(ROUTES_MANY, sizeof(*b->destinations));
	if (!b->destinations || !many)
		rte_panic("no memory\n");
	few_routes(b);
	b->g.gw.fib = many;
	gw_routes(&b->g);
	many_routes(b);
	attach(b, &in_case);
	turns(b, fill_route, loads, RTE_DIM(loads), s);
	for (unsigned i = 0; i < RTE_DIM(loads); i++) {
		b->destinations_n = loads[i].n;
		STAGE(b, "route", "decrypt", "routes",
			loads[i].fib == few ? ROUTES_FEW : ROUTES_MANY, &s[i], NODE_ROUTE);
	}
	supply_detach(&b->in);
}

static void start(struct bench *b, const char *aead)
{
	supply_open(&b->g, "perf_pipeline_nat", aead, 0);
	b->hz = (double)rte_get_tsc_hz();
	b->random = 1;
}

// perf_pipeline_nat SECONDS [RESULTS [AEAD]]: as perf_pipeline.
int main(int argc, char **argv)
{
	static struct bench b;
	b.seconds = argc > 1 ? atof(argv[1]) : 1;
	if (b.seconds <= 0) {
		fprintf(stderr, "usage: perf_pipeline_nat SECONDS [RESULTS [AEAD]]\n");
		return 2;
	}
	start(&b, argc > 3 ? argv[3] : NULL);
	b.rows = json_array();
	measure_flows(&b);
	measure_rules(&b);
	atomic_store(&b.g.peer->filtered, false);
	measure_routes(&b);
	return supply_save(b.rows, argc > 2 ? argv[2] : NULL, "perf_pipeline_nat") ? 0 : 1;
}
