// The AEAD engines beside intel-ipsec-mb on the same buffers: both take turns in slices of 64
// packets or more, figures are medians of slices. Cycles are those of the TSC. usage: perf_aead
// SECONDS_PER_ROW JSON_FILE ENGINE...
//        perf_aead once ENGINE BYTES BURST TIMES (for callgrind: nothing is timed)
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#include "dataplane/crypto/aead_engine.h"
#include "perf/median.h"

enum {
	PACKETS = 64,
	SPACE = 8900 + 64 + AEAD_TAG_LEN,
	SLICES_MAX = 4001,
	SLICES_MIN = 21,
	WARM_UP = 3, // slices that do not count
};

static const struct mix {
	const char *name;
	unsigned n;
	uint16_t bytes[12];
} mixes[] = {
	{"0", 1, {0}},
	{"64", 1, {64}},
	{"256", 1, {256}},
	{"512", 1, {512}},
	{"1420", 1, {1420}},
	{"8900", 1, {8900}},
	{"imix", 12, {64, 576, 64, 64, 576, 64, 1420, 64, 576, 64, 576, 64}},
	{"1420 1420 64", 3, {1420, 1420, 64}},
};
static const unsigned bursts[] = {1, 8, 32, 64};
static const char *const directions[] = {"seal", "open"};

// An engine, or the product's choice per burst.
struct runner {
	const char *name;
	struct aead *aead; // or
	const struct aead_engine *engine;
	void *state;
	double cycles[2][SLICES_MAX]; // by direction, per packet
	double parts[2][SLICES_MAX];  // the same of a mix's lengths, each in bursts of its own
	double apart[2][SLICES_MAX];  // and with each burst taken length by length
};

struct row {
	const struct mix *mix;
	unsigned burst;
	bool same_key;
	double bytes; // per packet, on average
};

// Cycles per packet by runner and direction, and of the first one's parts and apart; 0 where there
// is but one length.
struct result {
	double cycles[2][2], parts[2], apart[2];
};

static uint8_t data[PACKETS][SPACE] __attribute__((aligned(64))), keys[PACKETS][KEY_LEN];
static struct aead_op ops[PACKETS];
static unsigned calls[PACKETS], n_calls; // how many of ops the engine gets at once, in their order

static void seal(const struct runner *r, const struct aead_op burst[], unsigned n)
{
	if (r->aead)
		aead_seal(r->aead, burst, n);
	else
		r->engine->seal(r->state, burst, n);
}

static uint64_t open_burst(const struct runner *r, const struct aead_op burst[], unsigned n)
{
	return r->aead ? aead_open(r->aead, burst, n) : r->engine->open(r->state, burst, n);
}

static void start_engine(struct runner *r, const struct aead_engine *engine)
{
	r->name = engine->name;
	r->engine = engine;
	r->state = engine->create();
	if (!r->state || !aead_self_test(engine, r->state)) {
		fprintf(stderr, "perf_aead: engine %s does not work here\n", engine->name);
		exit(1);
	}
}

// By name: auto is what the gateway runs; the others, through all bursts, whether it suits or not.
static void start(struct runner *r, const char *name)
{
	static const struct aead_engine *const engines[] = {&aead_avx512, &aead_avx2};

	if (!strcmp(name, "auto")) {
		r->name = "auto";
		r->aead = aead_create(NULL);
		if (r->aead)
			return;
	}
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (!strcmp(name, engines[i]->name)) {
			start_engine(r, engines[i]);
			return;
		}
	}
	fprintf(stderr, "perf_aead: no engine %s to measure\n", name);
	exit(2);
}

static void stop(struct runner *r)
{
	aead_destroy(r->aead);
	if (r->engine)
		r->engine->destroy(r->state);
}

// Packets as they come from a pool, at the 16-byte steps that headers of different lengths make.
static void set_ops(struct row *row)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < PACKETS; i++) {
		const uint32_t len = row->mix->bytes[i % row->mix->n];

		ops[i] = (struct aead_op){.data = data[i] + 16 * (i % 4),
			.len = len,
			.counter = i,
			.key = keys[row->same_key ? 0 : i]};
		bytes += len;
	}
	row->bytes = (double)bytes / PACKETS;
	for (n_calls = 0; n_calls < PACKETS / row->burst; n_calls++)
		calls[n_calls] = row->burst;
}

// The same bursts, but their packets length by length: a call for each.
static void set_ops_apart(const struct row *row)
{
	n_calls = 0;
	for (unsigned i = 0; i < PACKETS; i++) {
		const unsigned begin = i - i % row->burst;
		const struct aead_op op = ops[i];
		unsigned at = i;

		for (; at > begin && ops[at - 1].len > op.len; at--)
			ops[at] = ops[at - 1];
		ops[at] = op;
	}
	for (unsigned i = 0; i < PACKETS; i++) {
		if (i % row->burst == 0 || ops[i].len != ops[i - 1].len)
			calls[n_calls++] = 0;
		calls[n_calls - 1]++;
	}
}

// Seals all packets, and opens them; cycles per packet of each.
static void slice(const struct runner *r, const struct row *row, double cycles[2])
{
	const unsigned repeats = row->bytes < 1000 ? 4 : 1;
	uint64_t spent[2] = {0}, start;
	bool right = true;

	for (unsigned k = 0; k < repeats; k++) {
		start = __rdtsc();
		for (unsigned i = 0, call = 0; call < n_calls; i += calls[call++])
			seal(r, ops + i, calls[call]);
		spent[0] += __rdtsc() - start;
		start = __rdtsc();
		for (unsigned i = 0, call = 0; call < n_calls; i += calls[call++])
			right &= (unsigned)__builtin_popcountll(
					 open_burst(r, ops + i, calls[call])) == calls[call];
		spent[1] += __rdtsc() - start;
	}
	if (!right) {
		fprintf(stderr, "perf_aead: %s refuses what it has sealed\n", r->name);
		exit(1);
	}
	cycles[0] = (double)spent[0] / (PACKETS * repeats);
	cycles[1] = (double)spent[1] / (PACKETS * repeats);
}

// What the packets of a mix take when each length is worked on by itself, in bursts as large.
static void slice_parts(const struct runner *r, struct row *row, double cycles[2])
{
	unsigned count[PACKETS] = {0}; // of packets, by the first in the mix that is as long

	cycles[0] = cycles[1] = 0;
	for (unsigned i = 0; i < PACKETS; i++) {
		unsigned first = 0;

		while (row->mix->bytes[first] != row->mix->bytes[i % row->mix->n])
			first++;
		count[first]++;
	}
	for (unsigned i = 0; i < row->mix->n; i++) {
		const struct mix one = {.n = 1, .bytes = {row->mix->bytes[i]}};
		struct row part = {&one, row->burst, row->same_key, 0};
		double part_cycles[2];

		if (!count[i])
			continue;
		set_ops(&part);
		slice(r, &part, part_cycles);
		cycles[0] += part_cycles[0] * count[i] / PACKETS;
		cycles[1] += part_cycles[1] * count[i] / PACKETS;
	}
	set_ops(row);
}

static void measure(
	struct runner pair[2], struct row *row, double seconds, double hz, struct result *result)
{
	const uint64_t end = __rdtsc() + (uint64_t)(seconds * hz);
	unsigned n = 0;

	for (unsigned i = 0; i < SLICES_MAX + WARM_UP; i++) {
		for (unsigned k = 0; k < 2; k++) {
			double cycles[2];

			slice(&pair[k], row, cycles);
			if (i >= WARM_UP) {
				pair[k].cycles[0][n] = cycles[0];
				pair[k].cycles[1][n] = cycles[1];
			}
		}
		if (row->mix->n > 1) {
			double cycles[2];

			slice_parts(&pair[0], row, cycles);
			pair[0].parts[0][n] = cycles[0];
			pair[0].parts[1][n] = cycles[1];
			set_ops_apart(row);
			slice(&pair[0], row, cycles);
			pair[0].apart[0][n] = cycles[0];
			pair[0].apart[1][n] = cycles[1];
			set_ops(row);
		}
		n += i >= WARM_UP;
		if (n >= SLICES_MIN && __rdtsc() > end)
			break;
	}
	for (unsigned k = 0; k < 2; k++)
		for (unsigned d = 0; d < 2; d++)
			result->cycles[k][d] = median(pair[k].cycles[d], n);
	for (unsigned d = 0; d < 2; d++) {
		result->parts[d] = row->mix->n > 1 ? median(pair[0].parts[d], n) : 0;
		result->apart[d] = row->mix->n > 1 ? median(pair[0].apart[d], n) : 0;
	}
}

static json_t *report(const struct runner pair[2], const struct row *row, unsigned direction,
	const struct result *result, double hz)
{
	const double cycles = result->cycles[0][direction], other = result->cycles[1][direction];
	const double parts = result->parts[direction];
	const double mpps = hz / cycles / 1e6, gbps = mpps * row->bytes * 8 / 1e3;

	char of_parts[32] = "";
	json_t *json;

	if (parts > 0)
		snprintf(of_parts, sizeof(of_parts), "%7.2f %7.2f", cycles / parts,
			cycles / result->apart[direction]);
	printf("%-7s %-4s %-13s %5u  %-9s %8.2f %8.2f %8.1f %8.1f %7.2f %s\n", pair[0].name,
		directions[direction], row->mix->name, row->burst,
		row->same_key ? "same" : "different", mpps, gbps, cycles, other, other / cycles,
		of_parts);
	json = json_pack("{s:s, s:s, s:s, s:f, s:i, s:s, s:f, s:f, s:f, s:s, s:f, s:f}", "engine",
		pair[0].name, "direction", directions[direction], "mix", row->mix->name, "bytes",
		row->bytes, "burst", (int)row->burst, "keys", row->same_key ? "same" : "different",
		"mpps", mpps, "gbps", gbps, "cycles_per_packet", cycles, "beside", pair[1].name,
		"beside_cycles_per_packet", other, "ratio", other / cycles);
	if (parts > 0) {
		json_object_set_new(json, "of_parts", json_real(cycles / parts));
		json_object_set_new(json, "of_apart", json_real(cycles / result->apart[direction]));
	}
	return json;
}

// Cycles of the TSC in a second.
static double tsc_hz(void)
{
	struct timespec a, b;
	uint64_t start;

	clock_gettime(CLOCK_MONOTONIC, &a);
	start = __rdtsc();
	do
		clock_gettime(CLOCK_MONOTONIC, &b);
	while ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec < 50000000);
	return (double)(__rdtsc() - start) /
	       ((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
}

static void each_row(struct runner pair[2], double seconds, double hz, json_t *rows)
{
	struct result result;
	struct row row;

	for (unsigned same = 2; same-- > 0;) {
		for (size_t m = 0; m < sizeof(mixes) / sizeof(mixes[0]); m++) {
			for (size_t b = 0; b < sizeof(bursts) / sizeof(bursts[0]); b++) {
				row = (struct row){&mixes[m], bursts[b], same, 0};
				set_ops(&row);
				measure(pair, &row, seconds, hz, &result);
				for (unsigned d = 0; d < 2; d++)
					json_array_append_new(
						rows, report(pair, &row, d, &result, hz));
			}
		}
	}
}

static int compare_engines(double seconds, const char *file, char *const names[], int n)
{
	static struct runner pair[2];
	const double hz = tsc_hz();
	json_t *rows = json_array();
	int err;

	printf("%-7s %-4s %-13s %5s  %-9s %8s %8s %8s %8s %7s %s\n", "engine", "", "bytes", "burst",
		"keys", "Mpps", "Gb/s", "cycles", "ipsec-mb", "ratio", "of parts, apart");
	for (int i = 0; i < n; i++) {
		memset(pair, 0, sizeof(pair));
		start(&pair[0], names[i]);
		start_engine(
			&pair[1], strcmp(names[i], "avx2") ? &aead_ipsecmb : &aead_ipsecmb_avx2);
		each_row(pair, seconds, hz, rows);
		stop(&pair[0]);
		stop(&pair[1]);
	}
	err = json_dump_file(rows, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	if (err)
		fprintf(stderr, "perf_aead: cannot write %s: %s\n", file, strerror(errno));
	json_decref(rows);
	return err ? 1 : 0;
}

// What callgrind counts: bursts sealed TIMES times, and nothing else in the engine.
static int once(const char *name, uint32_t bytes, unsigned burst, unsigned times)
{
	static struct runner r;

	if (bytes > SPACE - 64 - AEAD_TAG_LEN || burst < 1 || burst > PACKETS)
		return 2;
	if (!strcmp(name, "ipsec-mb-avx2"))
		start_engine(&r, &aead_ipsecmb_avx2);
	else
		start(&r, name);
	for (unsigned i = 0; i < burst; i++)
		ops[i] = (struct aead_op){data[i], bytes, i, keys[0]};
	for (unsigned i = 0; i < times; i++)
		seal(&r, ops, burst);
	stop(&r);
	return 0;
}

int main(int argc, char *argv[])
{
	if (sodium_init() < 0)
		return 1;
	randombytes_buf(keys, sizeof(keys));
	randombytes_buf(data, sizeof(data));
	if (argc == 6 && !strcmp(argv[1], "once"))
		return once(argv[2], (uint32_t)atoi(argv[3]), (unsigned)atoi(argv[4]),
			(unsigned)atoi(argv[5]));
	if (argc < 4) {
		fprintf(stderr, "usage: perf_aead SECONDS_PER_ROW JSON_FILE ENGINE...\n");
		return 2;
	}
	return compare_engines(atof(argv[1]), argv[2], argv + 3, argc - 3);
}
