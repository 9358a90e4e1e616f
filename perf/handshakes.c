// Initiations answered per second: wg_receive, as the control thread runs it, with valid
// initiations of many peers, beside X25519 alone in the same run. Both take turns in short slices;
// figures are medians of the slices. perf/README.md.
#include <jansson.h>

#include "control/wg/device.h"
#include "dataplane/crypto/x25519.h"
#include "perf/median.h"
#include "tests/unit/gateway.h"

enum {
	PEERS = 256, // one initiation of each makes a slice
	SLICES_MAX = 4096,
	SLICES_MIN = 7,
	X25519_OPS = 256, // a slice of those
	STEP_MS = 1000,	  // the device's clock moves on so much between slices
};

struct initiator {
	struct noise_identity id;
	struct noise_remote to; // the device
	struct noise_handshake hs;
	struct wg_initiation message;
};

struct bench {
	struct event_base *base;
	struct gw g;
	struct wg *w;
	struct initiator from[PEERS];
	uint64_t unix_ns;
	uint64_t answered; // in this slice
	double hz;
	double initiation[SLICES_MAX], x25519[SLICES_MAX], base_point[SLICES_MAX]; // cycles each
	unsigned n;
};

static bool count_answer(void *arg, const struct peer *, const struct ip_addr *,
	const struct endpoint *, const uint8_t *, size_t len)
{
	struct bench *b = arg;
	b->answered += len == WG_RESPONSE_LEN;
	return true;
}

static bool some_path(void *arg, const struct endpoint *to, struct peer_path *path)
{
	const struct bench *b = arg;
	*path = gw_path(&b->g);
	path->remote = *to;
	return true;
}

static void add_peer(struct bench *b, unsigned i)
{
	struct initiator *from = &b->from[i];
	struct key key;
	x25519_generate(key.bytes);
	if (noise_identity_init(&from->id, &key) < 0 ||
		noise_remote_init(&from->to, &from->id, wg_public_key(b->w), NULL) < 0)
		rte_panic("cannot make peer %u\n", i);
	const struct config_peer c = {.name = "peer", .public_key = from->id.public_key};
	if (wg_peer_set(b->w, &c, WG_ROAMING) < 0)
		rte_panic("cannot add peer %u\n", i);
}

static void start(struct bench *b)
{
	char cpu[16];
	struct key key;
	snprintf(cpu, sizeof(cpu), "%d", sched_getcpu());
	char *argv[] = {"perf_handshakes", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
		"-m", "64", "-l", cpu, "--log-level=error", NULL};
	if (rte_eal_init(RTE_DIM(argv) - 1, argv) < 0)
		rte_panic("cannot start the EAL\n");
	log_init(LOG_LEVEL_ERROR);
	gw_open(&b->g, 1, &(struct gw_params){.pkts = 1023, .large = 63});
	const struct wg_env env = {.arg = b, .send = count_answer, .resolve_path = some_path};
	b->base = event_base_new();
	b->w = wg_create(b->base, &b->g.gw, &env);
	x25519_generate(key.bytes);
	if (!b->w || wg_set_key(b->w, &key) < 0)
		rte_panic("cannot make the device\n");
	b->hz = (double)rte_get_tsc_hz();
	b->w->set_tsc = rte_rdtsc();
	b->unix_ns = UINT64_C(1800000000) * 1000000000;
	for (unsigned i = 0; i < PEERS; i++)
		add_peer(b, i);
}

// Fresh messages of all peers: outside the clock.
static void write_messages(struct bench *b)
{
	uint8_t timestamp[WG_TAI64N_LEN];
	struct key ephemeral;
	b->unix_ns += STEP_MS * 1000000;
	b->w->set_tsc += wg_tsc(b->w, STEP_MS);
	noise_tai64n(timestamp, b->unix_ns);
	for (unsigned i = 0; i < PEERS; i++) {
		struct initiator *from = &b->from[i];
		x25519_generate(ephemeral.bytes);
		if (noise_initiation_create(&from->hs, &from->id, &from->to, i, ephemeral.bytes,
			    timestamp, &from->message) < 0)
			rte_panic("cannot begin a handshake\n");
	}
}

// Cycles of each answer, with the freeing of the keypair that it replaces.
static double answer(struct bench *b)
{
	struct endpoint from = {.addr = ip_addr_v4((uint8_t[]){192, 0, 2, 9}), .port = 41641};
	struct ip_addr to = ip_addr_v4((uint8_t[]){192, 0, 2, 1});
	write_messages(b);
	b->answered = 0;
	uint64_t begin = rte_rdtsc();
	for (unsigned i = 0; i < PEERS; i++)
		wg_receive(b->w, (uint8_t *)&b->from[i].message, WG_INITIATION_LEN, &from, &to);
	rte_rcu_qsbr_quiescent(rcu_qsbr(b->g.gw.rcu), 0);
	rcu_reclaim(b->g.gw.rcu);
	uint64_t end = rte_rdtsc();
	if (b->answered != PEERS)
		rte_panic("%lu of %u initiations were answered\n", b->answered, (unsigned)PEERS);
	return (double)(end - begin) / PEERS;
}

static double agree(void)
{
	struct key private, public;
	x25519_generate(private.bytes);
	x25519_public(public.bytes, private.bytes);
	uint64_t begin = rte_rdtsc();
	for (unsigned i = 0; i < X25519_OPS; i++) {
		if (x25519(public.bytes, private.bytes, public.bytes) < 0)
			rte_panic("X25519 failed\n");
	}
	return (double)(rte_rdtsc() - begin) / X25519_OPS;
}

static double make_public(void)
{
	struct key key;
	x25519_generate(key.bytes);
	uint64_t begin = rte_rdtsc();
	for (unsigned i = 0; i < X25519_OPS; i++)
		x25519_public(key.bytes, key.bytes);
	return (double)(rte_rdtsc() - begin) / X25519_OPS;
}

static void measure(struct bench *b, double seconds)
{
	answer(b); // to warm up
	uint64_t end = rte_rdtsc() + (uint64_t)(seconds * b->hz);
	do {
		b->initiation[b->n] = answer(b);
		b->x25519[b->n] = agree();
		b->base_point[b->n++] = make_public();
	} while (b->n < SLICES_MIN || (rte_rdtsc() < end && b->n < SLICES_MAX));
}

// perf_handshakes SECONDS [RESULT]
int main(int argc, char **argv)
{
	static struct bench b;
	double seconds = argc > 1 ? atof(argv[1]) : 2;
	if (seconds <= 0) {
		fprintf(stderr, "usage: perf_handshakes SECONDS [RESULT]\n");
		return 2;
	}
	start(&b);
	measure(&b, seconds);
	double cycles = median(b.initiation, b.n), dh = median(b.x25519, b.n);
	double base_point = median(b.base_point, b.n);
	// An answer takes three agreements and one public key.
	double ratio = (3 * dh + base_point) / cycles;
	printf("%-44s %10.0f\n%-44s %10.0f\n%-44s %10.2f\n%-44s %10.2f\n",
		"initiations answered per second", b.hz / cycles, "X25519 operations per second",
		b.hz / dh, "X25519 operations that an answer costs", cycles / dh,
		"of it X25519 itself (3 and a public key)", ratio);
	json_t *o = json_pack("{s:f, s:f, s:f, s:f, s:f, s:i, s:i}", "initiations_per_second",
		b.hz / cycles, "x25519_per_second", b.hz / dh, "x25519_public_per_second",
		b.hz / base_point, "x25519_per_initiation", cycles / dh, "x25519_share", ratio,
		"peers", PEERS, "slices", (int)b.n);
	if (argc > 2 && json_dump_file(o, argv[2], JSON_INDENT(2)) < 0) {
		fprintf(stderr, "perf_handshakes: cannot write %s\n", argv[2]);
		return 1;
	}
	json_decref(o);
	return 0;
}
