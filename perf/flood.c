// Handshake messages at a bounded rate, for perf/handshakes and tests/net/handshake_flood.sh: to
// the lab's own network (192.0.2.0/24, which is nobody's) and nowhere else.
//
//	perf_flood keys N                                 N lines "private public"
//	perf_flood KIND ADDRESS PORT PUBLIC RATE SECONDS [KEYS]
//
// KIND, seen by the gateway with the public key PUBLIC:
//	valid    initiations of the peers in KEYS in turn; cookies that come back are used
//	mac1     random bytes: not even mac1 is right
//	garbage  mac1 is right, nothing else: it costs the gateway a key agreement
// Prints one line of JSON: sent, responses, cookies, seconds.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <rte_common.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "control/wg/cookie.h"
#include "dataplane/crypto/x25519.h"

enum {
	PEERS_MAX = 4096,
	RATE_MAX = 100000, // messages per second
	SECONDS_MAX = 60,
	STEP_US = 1000, // between bursts
	LAB_NET = 0xc0000200,
	LAB_MASK = 0xffffff00,
};

struct sender {
	struct noise_identity id;
	struct noise_remote to;
	struct noise_handshake hs;
	struct cookie_jar jar;
};

struct flood {
	int fd;
	const char *kind;
	struct noise_remote victim;
	struct sender *sender;
	unsigned n;
	struct wg_initiation *ready; // made before the flood begins
	uint64_t messages, sent, responses, cookies;
};

static void die(const char *what)
{
	fprintf(stderr, "perf_flood: %s\n", what);
	exit(2);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int print_keys(int n)
{
	char private[KEY_TEXT_LEN + 1], public[KEY_TEXT_LEN + 1];
	struct key a, b;
	for (int i = 0; i < n; i++) {
		x25519_generate(a.bytes);
		x25519_public(b.bytes, a.bytes);
		printf("%s %s\n", key_format(&a, private), key_format(&b, public));
	}
	return 0;
}

static void read_keys(struct flood *f, const char *path, const struct key *victim)
{
	char line[256];
	FILE *in = fopen(path, "r");
	if (!in)
		die("cannot read the keys");
	while (f->n < PEERS_MAX && fgets(line, sizeof(line), in)) {
		struct sender *s = &f->sender[f->n];
		struct key key;
		line[KEY_TEXT_LEN] = '\0';
		if (key_parse(line, &key) < 0 || noise_identity_init(&s->id, &key) < 0 ||
			noise_remote_init(&s->to, &s->id, victim, NULL) < 0)
			die("a key cannot be used");
		f->n++;
	}
	fclose(in);
	if (f->n == 0)
		die("no keys");
}

static void write_valid(struct flood *f, uint64_t i)
{
	struct sender *s = &f->sender[i % f->n];
	uint8_t timestamp[WG_TAI64N_LEN];
	struct key ephemeral;
	x25519_generate(ephemeral.bytes);
	// A round of all senders later, and longer than what a timestamp can tell apart.
	noise_tai64n(timestamp, now_ns(CLOCK_REALTIME) + (i / f->n << 25));
	if (noise_initiation_create(&s->hs, &s->id, &s->to, (uint32_t)i, ephemeral.bytes, timestamp,
		    &f->ready[i]) < 0)
		die("cannot begin a handshake");
}

static void write_messages(struct flood *f)
{
	bool valid = !strcmp(f->kind, "valid"), garbage = !strcmp(f->kind, "garbage");
	if (!valid && !garbage && strcmp(f->kind, "mac1") != 0)
		die("kind: valid, mac1 or garbage");
	if (valid && f->n == 0)
		die("valid messages need keys");
	for (uint64_t i = 0; i < f->messages; i++) {
		struct wg_initiation *m = &f->ready[i];
		if (valid) {
			write_valid(f, i);
			continue;
		}
		randombytes_buf(m, sizeof(*m));
		m->type = wg_type_field(WG_TYPE_INITIATION);
		if (garbage)
			cookie_mac1_write(f->victim.mac1_key, m, sizeof(*m));
	}
}

// The sender whose message this answers: they were numbered.
static void take_cookie(struct flood *f, const struct wg_cookie_reply *reply)
{
	uint32_t i = rte_le_to_cpu_32(reply->receiver);
	f->cookies++;
	if (f->n == 0 || i >= f->messages)
		return;
	struct sender *s = &f->sender[i % f->n];
	// -EBADMSG: it answers a message that this sender has followed up meanwhile.
	if (cookie_jar_consume(&s->jar, &s->to, reply, sizeof(*reply), now_ns(CLOCK_MONOTONIC)) < 0)
		return;
}

static void receive(struct flood *f)
{
	uint8_t data[256];
	ssize_t len;
	while ((len = recv(f->fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		f->responses += len == WG_RESPONSE_LEN;
		if (len == WG_COOKIE_REPLY_LEN)
			take_cookie(f, (const struct wg_cookie_reply *)data);
	}
}

static void send_one(struct flood *f)
{
	struct wg_initiation *m = &f->ready[f->sent];
	if (f->n > 0)
		cookie_jar_stamp(
			&f->sender[f->sent % f->n].jar, m, sizeof(*m), now_ns(CLOCK_MONOTONIC));
	// The socket's buffer being full, or an ICMP error about an earlier one: count it as sent.
	if (send(f->fd, m, sizeof(*m), 0) < 0 && errno != ENOBUFS && errno != ECONNREFUSED)
		die("cannot send");
	f->sent++;
}

static double flood(struct flood *f, double rate)
{
	const struct timespec step = {.tv_nsec = STEP_US * 1000};
	uint64_t begin = now_ns(CLOCK_MONOTONIC), passed = 0;
	while (f->sent < f->messages) {
		nanosleep(&step, NULL);
		passed = now_ns(CLOCK_MONOTONIC) - begin;
		uint64_t due = (uint64_t)((double)passed * rate / 1e9);
		while (f->sent < f->messages && f->sent < due)
			send_one(f);
		receive(f);
	}
	usleep(100000); // for the last answers
	receive(f);
	return (double)passed / 1e9;
}

static void open_socket(struct flood *f, const char *address, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
		(ntohl(to.sin_addr.s_addr) & LAB_MASK) != LAB_NET)
		die("the address must be one of 192.0.2.0/24: this is for the lab alone");
	f->fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (f->fd < 0 || connect(f->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("cannot open a socket");
}

// Who floods with garbage knows no more than the gateway's public key.
static void know_victim(struct flood *f, const struct key *public)
{
	struct noise_identity stranger;
	struct key key;
	x25519_generate(key.bytes);
	if (noise_identity_init(&stranger, &key) < 0 ||
		noise_remote_init(&f->victim, &stranger, public, NULL) < 0)
		die("the public key cannot be used");
}

static void prepare(struct flood *f, char **argv, double rate, double seconds)
{
	struct key public;
	if (key_parse(argv[4], &public) < 0)
		die("not a public key");
	know_victim(f, &public);
	f->kind = argv[1];
	f->messages = (uint64_t)(rate * seconds);
	f->ready = calloc(f->messages, sizeof(*f->ready));
	f->sender = calloc(PEERS_MAX, sizeof(*f->sender));
	if (!f->ready || !f->sender)
		die("no memory");
	if (argv[7])
		read_keys(f, argv[7], &public);
	open_socket(f, argv[2], argv[3]);
	write_messages(f);
}

int main(int argc, char **argv)
{
	static struct flood f;
	if (argc == 3 && !strcmp(argv[1], "keys"))
		return print_keys(RTE_MIN(atoi(argv[2]), (int)PEERS_MAX));
	double rate = argc > 6 ? atof(argv[5]) : 0, seconds = argc > 6 ? atof(argv[6]) : 0;
	if ((argc != 7 && argc != 8) || rate < 1 || rate > RATE_MAX || seconds <= 0 ||
		seconds > SECONDS_MAX)
		die("usage: perf_flood KIND ADDRESS PORT PUBLIC RATE SECONDS [KEYS], or keys N");
	prepare(&f, argv, rate, seconds);
	fprintf(stderr, "ready\n"); // who measures begins now
	double took = flood(&f, rate);
	printf("{\"sent\": %lu, \"responses\": %lu, \"cookies\": %lu, \"seconds\": %.3f}\n", f.sent,
		f.responses, f.cookies, took);
	free(f.ready);
	free(f.sender);
	close(f.fd);
	return 0;
}
