// What a VXLAN that ends in the gateway costs beside a plain link: the same packets with and
// without it, in turns of a few milliseconds; figures are medians of the slices, the cost that of
// each pair of slices. One worker's graph between ports in memory, as pipeline.c. perf/README.md.
#include <jansson.h>
#include <string.h>

#include "dataplane/port/vnet.h"
#include "perf/median.h"
#include "perf/supply.h"

enum {
	SLICE_US = 2000,
	SLICES_MAX = 1024,
	SLICES_MIN = 15,
	VNI = 100,
	IFINDEX = 77,
	REMOTE = 9, // 10.1.0.9 is the other VTEP
	OUTER_LEN = L2_LEN + IP4_HDR_LEN + UDP_HDR_LEN + VXLAN_HDR_LEN,
};

static const uint8_t device_mac[6] = {2, 0x77, 0, 0, 0, 1}, host_mac[6] = {2, 0x77, 0, 0, 0, 2};

#define BOTH(bytes)                                                                                \
	{"encrypt", false, 1, bytes, bytes},                                                       \
	{                                                                                          \
		"decrypt", true, 1, bytes, bytes                                                   \
	}
static const struct test_case cases[] = {
	BOTH(128),
	BOTH(1370),
	{"encrypt", false, SEGS_OUT, SUPER_MSS + 40, SEGS_OUT *SUPER_MSS + 40},
	{"decrypt", true, SEGS_IN, SUPER_MSS + 40, SEGS_IN *SUPER_MSS + 40},
};

enum way { PLAIN, VXLAN, WAYS };

struct bench {
	struct gw g;
	struct supply in, out;
	struct fib *fib[WAYS];
	uint64_t counter;
	double hz, seconds;
	struct {
		double all[WAYS][SLICES_MAX], cost[SLICES_MAX];
		unsigned n;
	} slice;
	json_t *rows;
};

// In front of the frame inside, len bytes of it, to or from the other VTEP.
static void put_outer(uint8_t *at, uint32_t from, uint32_t to, uint32_t len)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(at + L2_LEN);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	struct vxlan_header h = vxlan_header_of(VNI);
	uint32_t udp_len = UDP_HDR_LEN + VXLAN_HDR_LEN + len;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.total_length = rte_cpu_to_be_16((uint16_t)(IP4_HDR_LEN + udp_len)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = rte_cpu_to_be_32(from),
		.dst_addr = rte_cpu_to_be_32(to),
	};
	csum_ip4_hdr_set((uint8_t *)ip, IP4_HDR_LEN);
	*udp = (struct rte_udp_hdr){
		.src_port = RTE_BE16(50000),
		.dst_port = RTE_BE16(VXLAN_PORT),
		.dgram_len = rte_cpu_to_be_16((uint16_t)udp_len),
	};
	memcpy(udp + 1, &h, sizeof(h));
}

// What fill_plain has made, in VXLAN.
static void wrap(const struct bench *b, const struct test_case *c, struct rte_mbuf *m)
{
	uint8_t *l2 = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(l2, device_mac, sizeof(device_mac));
	memcpy(l2 + 6, host_mac, sizeof(host_mac));
	uint8_t *outer = (uint8_t *)rte_pktmbuf_prepend(m, OUTER_LEN);
	memcpy(outer, b->in.port.mac.addr_bytes, 6);
	memcpy(outer + 6, gw_peer_mac(0), 6);
	memcpy(outer + 12, l2 + 12, 2); // IPv4 in IPv4
	put_outer(outer, gw_ip4(10, 1, 0, REMOTE), gw_ip4(10, 1, 0, 1), m->pkt_len - OUTER_LEN);
	if (c->segs > 1) {
		m->ol_flags = 0;
		m->packet_type = VNET_TUNNEL_TCP;
	}
}

static void fill(struct bench *b, const struct test_case *c, enum way way)
{
	supply_fill(&b->in, &b->g, c, &b->counter, b->in.size);
	if (way == PLAIN || c->decrypt)
		return;
	for (unsigned i = 0; i < b->in.size; i++)
		wrap(b, c, b->in.ring[i]);
}

static void check(const struct bench *b, const struct test_case *c, enum way way, uint64_t packets)
{
	const struct graph *g = b->g.gw.graph[0];
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		if (g->drops[i])
			rte_panic("%lu packets dropped: %s\n", g->drops[i],
				drop_label((enum drop_reason)i));
	}
	uint64_t in = g->counters[COUNTER_VTEP_IN] * c->segs, out = g->counters[COUNTER_VTEP_OUT];
	if (b->out.sent_segments != packets || in + out != (way == VXLAN ? packets : 0))
		rte_panic("%lu packets came out instead of %lu, %lu and %lu by VXLAN\n",
			b->out.sent_segments, packets, in, out);
}

// Cycles per packet of a slice.
static double slice(struct bench *b, const struct test_case *c, enum way way)
{
	uint64_t spent = 0, packets = 0;
	b->g.gw.fib = b->fib[way];
	b->out.sent_segments = 0;
	memset(b->g.gw.graph[0]->counters, 0, sizeof(b->g.gw.graph[0]->counters));
	while (spent < b->hz * SLICE_US / 1e6) {
		fill(b, c, way);
		uint64_t start = rte_rdtsc();
		while (b->in.head < b->in.size)
			gw_round(&b->g);
		spent += rte_rdtsc() - start;
		packets += (uint64_t)b->in.size * c->segs;
	}
	check(b, c, way, packets);
	return (double)spent / (double)packets;
}

static void measure(struct bench *b, const struct test_case *c)
{
	b->slice.n = 0;
	for (enum way way = 0; way < WAYS; way++)
		slice(b, c, way); // to warm up
	uint64_t end = rte_rdtsc() + (uint64_t)(b->seconds * b->hz);
	do {
		unsigned at = b->slice.n++;
		for (enum way way = 0; way < WAYS; way++)
			b->slice.all[way][at] = slice(b, c, way);
		b->slice.cost[at] = b->slice.all[VXLAN][at] - b->slice.all[PLAIN][at];
	} while (b->slice.n < SLICES_MIN || (rte_rdtsc() < end && b->slice.n < SLICES_MAX));
}

static void report(struct bench *b, const struct test_case *c)
{
	unsigned n = b->slice.n;
	double cost = median(b->slice.cost, n), plain = median(b->slice.all[PLAIN], n),
	       vxlan = median(b->slice.all[VXLAN], n);
	printf("%-12s %-10s %8u bytes   %8.1f cycles of %8.1f, without it %.1f\n", "vxlan",
		c->direction, c->bytes, cost, vxlan, plain);
	json_array_append_new(b->rows,
		json_pack("{s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:i}", "stage", "vxlan", "direction",
			c->direction, "bytes", (int)c->bytes, "segments", (int)c->segs,
			"cycles_per_packet", cost, "pipeline_cycles_per_packet", vxlan,
			"plain_cycles_per_packet", plain, "slices", (int)n));
}

static void run_case(struct bench *b, const struct test_case *c)
{
	supply_attach(&b->in, &b->out, &b->g, c);
	if (c->segs > 1) // such ports are the kernel's, which have its device wrap TCP
		b->out.port.tx_offloads |= RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO;
	measure(b, c);
	supply_detach(&b->in);
	report(b, c);
}

static uint16_t publish_remote(struct gw *g)
{
	struct vtep v = {.family = IP_V4,
		.port = GW_LAN,
		.device = IFINDEX,
		.outer_len = OUTER_LEN,
		.mtu = 9000,
		.source_first = 49152,
		.n_sources = 16384};
	uint8_t *l2 = v.outer + sizeof(v.outer) - OUTER_LEN;
	memcpy(l2, gw_peer_mac(2), 6);
	memcpy(l2 + 6, g->port[GW_LAN]->port.mac.addr_bytes, 6);
	l2[12] = 0x08;
	put_outer(l2, gw_ip4(10, 1, 0, 1), gw_ip4(10, 1, 0, REMOTE), 0);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(l2 + L2_LEN);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	ip->total_length = ip->hdr_checksum = 0;
	udp->src_port = udp->dgram_len = 0;
	vtep_finish(&v);
	uint16_t number = vtep_take(g->gw.fib->vteps);
	if (!vtep_publish(g->gw.fib->vteps, number, &v))
		rte_panic("no VTEP\n");
	return number;
}

// The same routes, but the host of the LAN is behind the other VTEP.
static struct fib *vxlan_fib(struct gw *g)
{
	struct fib *plain = g->gw.fib, *fib = fib_create(g->gw.rcu);
	struct vxlan_device device = {.vni = VNI, .ifindex = IFINDEX, .port = VXLAN_PORT};
	struct nexthop nh = {.type = NH_VXLAN, .port = PORT_NONE, .ifindex = IFINDEX};
	struct ip_prefix host;
	if (!fib || ip_prefix_parse("10.1.0.2/32", &host) < 0)
		rte_panic("no memory for routes\n");
	g->gw.fib = fib;
	gw_routes(g);
	memcpy(device.mac, device_mac, sizeof(device.mac));
	vxlan_devices_publish(fib->vteps, &device, 1);
	nh.vtep = publish_remote(g);
	memcpy(nh.l2, host_mac, 6);
	memcpy(nh.l2 + 6, device_mac, 6);
	if (fib_set(fib, &host, &nh) < 0)
		rte_panic("no memory for routes\n");
	g->gw.fib = plain;
	return fib;
}

static void start(struct bench *b, const char *aead)
{
	supply_open(&b->g, "perf_pipeline_vxlan", aead, 0);
	b->fib[PLAIN] = b->g.gw.fib;
	b->fib[VXLAN] = vxlan_fib(&b->g);
	b->hz = (double)rte_get_tsc_hz();
}

// perf_pipeline_vxlan SECONDS [RESULTS [AEAD]]: as perf_pipeline.
int main(int argc, char **argv)
{
	static struct bench b;
	b.seconds = argc > 1 ? atof(argv[1]) : 1;
	if (b.seconds <= 0) {
		fprintf(stderr, "usage: perf_pipeline_vxlan SECONDS [RESULTS [AEAD]]\n");
		return 2;
	}
	start(&b, argc > 3 ? argv[3] : NULL);
	b.rows = json_array();
	for (unsigned i = 0; i < RTE_DIM(cases); i++)
		run_case(&b, &cases[i]);
	return supply_save(b.rows, argc > 2 ? argv[2] : NULL, "perf_pipeline_vxlan") ? 0 : 1;
}
