// One worker's graph between ports in memory, beside the crypto alone: IMB_SUBMIT_BURST on the same
// buffers in the same run. Both take turns in slices of a few milliseconds; figures are medians of
// the slices, so that what else runs on the machine meets both alike. perf/README.md.
#include <getopt.h>
#include <intel-ipsec-mb.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "perf/median.h"
#include "perf/supply.h"

enum {
	SLICE_US = 2000, // of the worker's time
	SLICES_MAX = 4096,
	SLICES_MIN = 15,
	TUNNEL_MTU = 9000,
	RAW_KINDS = 2, // bursts of 32 and of 64

	LOSS_PERCENT = 90,    // of the greatest rate
	LOSS_RING = 4096,     // packets that wait in front of the port, as NICs have
	LOSS_MIN_US = 200000, // of the worker's time
	LOSS_TRIES = 5,
};

#define PLAIN(name, decrypt, bytes)                                                                \
	{                                                                                          \
		name, decrypt, 1, bytes, bytes                                                     \
	}
#define BOTH(bytes) PLAIN("encrypt", false, bytes), PLAIN("decrypt", true, bytes)
static const struct test_case cases[] = {
	BOTH(64),
	BOTH(128),
	BOTH(256),
	BOTH(512),
	BOTH(1024),
	BOTH(1420),
	BOTH(8900),
	{"encrypt", false, SEGS_OUT, SUPER_MSS + 40, SEGS_OUT *SUPER_MSS + 40},
	{"decrypt", true, SEGS_IN, SUPER_MSS + 40, SEGS_IN *SUPER_MSS + 40},
};

struct result {
	double cycles; // per inner packet
	double raw[RAW_KINDS];
	double node[NODE_COUNT];
	unsigned slices;
};

struct bench {
	struct gw g;
	IMB_MGR *mgr;
	struct supply in, out;
	uint64_t counter; // next of the packets to decrypt
	double seconds;	  // for each case
	double hz;
	struct {
		double cycles[SLICES_MAX], raw[RAW_KINDS][SLICES_MAX], node[NODE_COUNT][SLICES_MAX];
		unsigned n;
	} slice;
};

static void check(const struct bench *b, uint64_t sent, uint64_t expected)
{
	const struct graph *g = b->g.gw.graph[0];
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		if (g->drops[i])
			rte_panic("%lu packets dropped: %s\n", g->drops[i],
				drop_label((enum drop_reason)i));
	}
	if (sent != expected)
		rte_panic("%lu packets came out instead of %lu\n", sent, expected);
}

// The worker's way with everything that lies in the ring. Returns its cycles.
static uint64_t run_ring(struct bench *b)
{
	uint64_t start = rte_rdtsc();
	while (b->in.head < b->in.size)
		gw_round(&b->g);
	return rte_rdtsc() - start;
}

static void pipeline_slice(struct bench *b, const struct test_case *c, unsigned at)
{
	struct node_stats *stats = b->g.gw.graph[0]->stats;
	uint64_t spent = 0, packets = 0;
	memset(stats, 0, NODE_COUNT * sizeof(*stats));
	b->out.sent_segments = 0;
	while (spent < b->hz * SLICE_US / 1e6) {
		supply_fill(&b->in, &b->g, c, &b->counter, b->in.size);
		spent += run_ring(b);
		packets += (uint64_t)b->in.size * c->segs;
	}
	check(b, b->out.sent_segments, packets);
	b->slice.cycles[at] = (double)spent / (double)packets;
	for (unsigned i = 0; i < NODE_COUNT; i++)
		b->slice.node[i][at] = (double)stats[i].cycles / (double)packets;
}

static void raw_job(struct bench *b, IMB_JOB *job, uint8_t *data, const struct test_case *c,
	uint64_t counter, uint8_t *room)
{
	memset(room, 0, 4);
	memcpy(room + 4, &counter, 8);
	job->enc_keys = b->g.keypair->send_key;
	job->dec_keys = b->g.keypair->recv_key;
	job->key_len_in_bytes = IMB_KEY_256_BYTES;
	job->src = data;
	job->dst = data;
	job->cipher_start_src_offset_in_bytes = 0;
	job->msg_len_to_cipher_in_bytes = c->inner;
	job->hash_start_src_offset_in_bytes = 0;
	job->msg_len_to_hash_in_bytes = c->inner;
	job->iv = room;
	job->iv_len_in_bytes = 12;
	job->auth_tag_output = c->decrypt ? room + 16 : data + c->inner;
	job->auth_tag_output_len_in_bytes = 16;
	job->u.CHACHA20_POLY1305.aad = NULL;
	job->u.CHACHA20_POLY1305.aad_len_in_bytes = 0;
	job->u.CHACHA20_POLY1305.ctx = NULL;
	job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	job->cipher_direction = c->decrypt ? IMB_DIR_DECRYPT : IMB_DIR_ENCRYPT;
	job->chain_order = c->decrypt ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
}

// The same number of operations on the ring's buffers, burst at a time. Without the library's
// argument checks, which is the faster way, so that the ratio is no better than it is.
static void raw_ring(struct bench *b, const struct test_case *c, unsigned burst)
{
	static uint8_t room[64][32];
	IMB_JOB *jobs[64];
	unsigned n = b->in.size * c->segs;
	for (unsigned done = 0; done < n; done += burst) {
		unsigned now = RTE_MIN(burst, n - done);
		IMB_GET_NEXT_BURST(b->mgr, now, jobs);
		for (unsigned i = 0; i < now; i++) {
			unsigned at = done + i;
			uint8_t *data = supply_payload(&b->in, c, at / c->segs, at % c->segs);
			raw_job(b, jobs[i], data, c, b->counter + at, room[i]);
		}
		if (IMB_SUBMIT_BURST_NOCHECK(b->mgr, now, jobs) != now)
			rte_panic(
				"IMB_SUBMIT_BURST: %s\n", imb_get_strerror(imb_get_errno(b->mgr)));
	}
}

static void raw_slice(struct bench *b, const struct test_case *c, unsigned kind, unsigned at)
{
	uint64_t spent = 0, packets = 0;
	while (spent < b->hz * SLICE_US / 2 / 1e6) {
		uint64_t start = rte_rdtsc();
		raw_ring(b, c, kind == 0 ? 32 : 64);
		spent += rte_rdtsc() - start;
		packets += (uint64_t)b->in.size * c->segs;
	}
	b->slice.raw[kind][at] = (double)spent / (double)packets;
}

static void summarize(struct bench *b, struct result *r)
{
	unsigned n = b->slice.n;
	r->slices = n;
	r->cycles = median(b->slice.cycles, n);
	for (unsigned k = 0; k < RAW_KINDS; k++)
		r->raw[k] = median(b->slice.raw[k], n);
	for (unsigned i = 0; i < NODE_COUNT; i++)
		r->node[i] = median(b->slice.node[i], n);
}

static void measure(struct bench *b, const struct test_case *c, struct result *r)
{
	b->slice.n = 0;
	pipeline_slice(b, c, 0); // to warm up
	raw_slice(b, c, 0, 0);
	uint64_t end = rte_rdtsc() + (uint64_t)(b->seconds * b->hz);
	do {
		unsigned at = b->slice.n++;
		pipeline_slice(b, c, at);
		supply_fill(&b->in, &b->g, c, &b->counter, b->in.size);
		for (unsigned k = 0; k < RAW_KINDS; k++)
			raw_slice(b, c, k, at);
	} while (b->slice.n < SLICES_MIN || (rte_rdtsc() < end && b->slice.n < SLICES_MAX));
	summarize(b, r);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// What did not get through: time is the worker's own, so that other programs do not count.
struct loss {
	double rate; // packets per second
	uint64_t offered, missed, lost;
	unsigned tries;
};

// Packets come at a rate into a ring of LOSS_RING and are taken up to a burst at a time; in front
// of a full one they are lost. rate 0: there are always enough.
static void offer(struct bench *b, const struct test_case *c, struct loss *l)
{
	uint64_t spent = 0, taken = 0, missed = 0;
	b->out.sent_segments = 0;
	while (spent < LOSS_MIN_US * UINT64_C(1000)) {
		uint64_t come = (uint64_t)((double)spent * l->rate / 1e9);
		uint64_t waiting = l->rate > 0 ? come - taken - missed : b->in.size;
		if (waiting > LOSS_RING) {
			missed += waiting - LOSS_RING;
			waiting = LOSS_RING;
		}
		unsigned n = (unsigned)RTE_MIN(RTE_MIN(waiting, (uint64_t)PORT_BURST), b->in.size);
		supply_fill(&b->in, &b->g, c, &b->counter, n);
		uint64_t start = cpu_ns();
		gw_round(&b->g);
		spent += cpu_ns() - start;
		taken +=
			b->in.head - (b->in.size - n); // the worker takes few super-packets at once
	}
	if (l->rate == 0)
		l->rate = (double)taken * 1e9 / (double)spent;
	l->offered = taken + missed;
	l->missed = missed;
	l->lost = taken * c->segs - b->out.sent_segments;
}

// A packet lost in the graph is never right. One lost in front of it may be the machine's doing:
// caches and clock are shared with what else runs, so that the worker may be slower than while its
// greatest rate was found. That is found anew for each try.
static bool lossless(struct bench *b, const struct test_case *c, struct loss *l)
{
	for (l->tries = 1;; l->tries++) {
		l->rate = 0;
		offer(b, c, l);
		l->rate *= LOSS_PERCENT / 100.0;
		offer(b, c, l);
		if (l->lost > 0 || l->missed == 0 || l->tries == LOSS_TRIES)
			return l->missed == 0 && l->lost == 0;
	}
}

static void print_head(void)
{
	printf("%-8s %6s %8s %8s %8s %8s %6s %6s %8s  cycles by node\n", "", "bytes", "Gb/s", "raw",
		"Mpps", "raw", "burst", "ratio", "cycles");
}

// Rates of one row; raw with the burst that suits it better.
struct figures {
	double gbps, mpps, raw_gbps, raw_mpps, ratio;
	unsigned raw_burst;
};

static struct figures figures_of(
	const struct bench *b, const struct test_case *c, const struct result *r)
{
	unsigned best = r->raw[1] < r->raw[0];
	double bits = 8.0 * c->bytes / c->segs;
	struct figures f = {
		.mpps = b->hz / r->cycles / 1e6,
		.raw_mpps = b->hz / r->raw[best] / 1e6,
		.ratio = r->raw[best] / r->cycles,
		.raw_burst = best ? 64 : 32,
	};
	f.gbps = f.mpps * bits / 1e3;
	f.raw_gbps = f.raw_mpps * bits / 1e3;
	return f;
}

static void print_row(const struct bench *b, const struct test_case *c, const struct result *r)
{
	struct figures f = figures_of(b, c, r);
	printf("%-8s %6u %8.2f %8.2f %8.3f %8.3f %6u %6.3f %8.1f ", c->direction, c->bytes, f.gbps,
		f.raw_gbps, f.mpps, f.raw_mpps, f.raw_burst, f.ratio, r->cycles);
	for (unsigned i = 0; i < NODE_COUNT; i++) {
		if (r->node[i] >= 0.05)
			printf(" %s %.1f", node_name((enum node_id)i), r->node[i]);
	}
	printf("\n");
	fflush(stdout);
}

static json_t *json_row(const struct bench *b, const struct test_case *c, const struct result *r,
	const struct loss *l)
{
	struct figures f = figures_of(b, c, r);
	json_t *nodes = json_object();
	for (unsigned i = 0; i < NODE_COUNT; i++) {
		if (r->node[i] > 0)
			json_object_set_new(
				nodes, node_name((enum node_id)i), json_real(r->node[i]));
	}
	json_t *row = json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:i, s:f, s:f, s:f, s:o, s:i}",
		"direction", c->direction, "bytes", (int)c->bytes, "segments", (int)c->segs, "gbps",
		f.gbps, "mpps", f.mpps, "raw_gbps", f.raw_gbps, "raw_mpps", f.raw_mpps, "raw_burst",
		(int)f.raw_burst, "ratio", f.ratio, "cycles_per_packet", r->cycles,
		"raw_cycles_per_packet", r->raw[f.raw_burst == 64], "cycles_by_node", nodes,
		"slices", (int)r->slices, "aead", aead_engine_name(b->g.gw.graph[0]->aead));
	json_object_set_new(row, "loss",
		json_pack("{s:f, s:I, s:I, s:i}", "received_pps", l->rate, "offered",
			(json_int_t)l->offered, "lost", (json_int_t)(l->missed + l->lost), "tries",
			(int)l->tries));
	return row;
}

static void start(struct bench *b, const char *aead)
{
	supply_open(&b->g, "perf_pipeline", aead, TUNNEL_MTU);
	b->hz = (double)rte_get_tsc_hz();
	b->mgr = alloc_mb_mgr(0);
	if (!b->mgr)
		rte_panic("no memory\n");
	init_mb_mgr_auto(b->mgr, NULL);
}

static bool run_case(struct bench *b, const struct test_case *c, json_t *rows)
{
	struct result r;
	struct loss l;
	supply_attach(&b->in, &b->out, &b->g, c);
	measure(b, c, &r);
	bool ok = lossless(b, c, &l);
	supply_detach(&b->in);
	print_row(b, c, &r);
	json_array_append_new(rows, json_row(b, c, &r, &l));
	if (!ok)
		printf("LOSS at %u %% of the greatest rate: %lu of %lu in front of the port, "
		       "%lu in the graph\n",
			LOSS_PERCENT, l.missed, l.offered, l.lost);
	return ok;
}

// perf_pipeline SECONDS [RESULTS [AEAD [DIRECTION [BYTES]]]]: for each row; RESULTS "-": none;
// AEAD: the engine, "auto" for the fastest.
int main(int argc, char **argv)
{
	static struct bench b;
	b.seconds = argc > 1 ? atof(argv[1]) : 1;
	if (b.seconds <= 0) {
		fprintf(stderr, "usage: perf_pipeline SECONDS [RESULTS [AEAD [DIRECTION "
				"[BYTES]]]]\n");
		return 2;
	}
	start(&b, argc > 3 ? argv[3] : NULL);
	json_t *rows = json_array();
	bool ok = true;
	printf("AEAD engine: %s\n", aead_engine_name(b.g.gw.graph[0]->aead));
	print_head();
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		if ((argc > 4 && strcmp(argv[4], cases[i].direction) != 0) ||
			(argc > 5 && (unsigned)atoi(argv[5]) != cases[i].bytes))
			continue;
		ok &= run_case(&b, &cases[i], rows);
	}
	ok &= supply_save(rows, argc > 2 ? argv[2] : NULL, "perf_pipeline");
	return ok ? 0 : 1;
}
