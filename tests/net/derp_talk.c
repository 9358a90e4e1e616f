// A node that only has the pool of DERP connections, for tests/net/derp.sh.
//
// usage: derp_talk KEY REGION... <COMMANDS
//   KEY       private node key, 64 hex digits
//   REGION    ID=HOST[,HOST...] and for each host optionally @CERT, a pin or another name
// Commands, a line each:
//   home REGION               send REGION KEY TEXT
//   flood REGION KEY COUNT SIZE     map REGION...
//   status REGION             rebind
//   quit
// Prints what happens, a line each: "key HEX" first, "up REGION", "down REGION WHY",
// "packet REGION KEY TEXT", "flooded SENT DROPPED", "gone REGION KEY REASON", "status ...".
#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "control/path/derp_pool.h"
#include "dataplane/base/keytext.h"
#include "dataplane/base/log.h"
#include "dataplane/crypto/x25519.h"

enum {
	REGIONS_MAX = 8,
	NODES_MAX = 4,
	WORDS_MAX = 16,
	FLOOD_BURST = 64, // packets a millisecond: as workers hand them over
	SHOWN_MAX = 100,
};

struct flood {
	uint16_t region;
	struct key to;
	unsigned long left, sent, dropped;
	size_t size;
	struct event *timer;
};

static struct event_base *base;
static struct derp_pool *pool;
static struct flood flood;
static uint64_t received, received_bytes;

static uint64_t now_ns(void *)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static const char *hex_of(const struct key *k)
{
	static char text[KEYTEXT_MAX];
	return strchr(keytext_format(KEY_NODE, k, text), ':') + 1;
}

static struct key key_of(const char *hex)
{
	struct key k;
	if (keytext_parse_hex(hex, &k) < 0) {
		fprintf(stderr, "derp_talk: %s: no key\n", hex);
		exit(EXIT_FAILURE);
	}
	return k;
}

static void on_packet(
	void *, uint16_t region, const struct key *from, const uint8_t *data, size_t len)
{
	received++;
	received_bytes += len;
	if (len <= SHOWN_MAX && len > 0 && isprint(data[0]))
		printf("packet %u %s %.*s\n", region, hex_of(from), (int)len, (const char *)data);
}

static void on_gone(void *, uint16_t region, const struct key *peer, enum derp_gone reason)
{
	printf("gone %u %s %d\n", region, hex_of(peer), reason);
}

static void on_changed(void *, uint16_t region)
{
	struct derp_region_info info;
	if (derp_pool_region(pool, region, &info))
		printf("%s %u %s\n", info.connected ? "up" : "down", region, info.error);
	else
		printf("down %u not in the map\n", region);
}

static void status(uint16_t region)
{
	struct derp_region_info i;
	char remote[ENDPOINT_TEXT_LEN];
	if (!derp_pool_region(pool, region, &i)) {
		printf("status %u none\n", region);
		return;
	}
	printf("status %u connected=%d remote=%s connects=%u rx=%lu tx=%lu dropped=%lu "
	       "received=%lu bytes=%lu error=%s\n",
		region, i.connected, endpoint_format(&i.remote, remote), i.connects, i.rx_packets,
		i.tx_packets, i.tx_dropped, received, received_bytes, i.error);
}

// "901=10.0.0.1@PIN,10.0.0.2@PIN": the words are cut up in place.
static void parse_region(char *word, struct nm_derp_region *out, struct nm_derp_node *nodes)
{
	char *hosts = strchr(word, '='), *save;
	*out = (struct nm_derp_region){.id = (uint32_t)atoi(word), .code = "test", .nodes = nodes};
	for (char *h = hosts ? strtok_r(hosts + 1, ",", &save) : NULL;
		h && out->n_nodes < NODES_MAX; h = strtok_r(NULL, ",", &save)) {
		char *cert = strchr(h, '@');
		if (cert)
			*cert++ = '\0';
		nodes[out->n_nodes++] =
			(struct nm_derp_node){.name = h, .host = h, .cert = cert, .derp_port = 443};
	}
}

static void set_map(char **words, unsigned n)
{
	static struct nm_derp_node nodes[REGIONS_MAX][NODES_MAX];
	struct nm_derp_region regions[REGIONS_MAX];
	struct nm_derp_map map = {.regions = regions};
	for (; map.n_regions < n && map.n_regions < REGIONS_MAX; map.n_regions++)
		parse_region(words[map.n_regions], &regions[map.n_regions], nodes[map.n_regions]);
	derp_pool_set_map(pool, &map);
}

static void on_flood(evutil_socket_t, short, void *)
{
	static uint8_t packet[DERP_PACKET_MAX];
	const struct timeval soon = {.tv_usec = 1000};
	for (unsigned i = 0; i < FLOOD_BURST && flood.left > 0; i++, flood.left--) {
		if (derp_pool_send(pool, flood.region, &flood.to, packet, flood.size) == 0)
			flood.sent++;
		else
			flood.dropped++;
	}
	if (flood.left > 0)
		event_add(flood.timer, &soon);
	else
		printf("flooded %lu %lu\n", flood.sent, flood.dropped);
}

static void command(char **w, unsigned n)
{
	const uint16_t region = n > 1 ? (uint16_t)atoi(w[1]) : 0;
	if (strcmp(w[0], "home") == 0 && n == 2) {
		derp_pool_set_home(pool, region);
	} else if (strcmp(w[0], "send") == 0 && n == 4) {
		const struct key to = key_of(w[2]);
		printf("sent %d\n", derp_pool_send(pool, region, &to, w[3], strlen(w[3])));
	} else if (strcmp(w[0], "flood") == 0 && n == 5) {
		flood = (struct flood){.region = region, .to = key_of(w[2]), .timer = flood.timer};
		flood.left = strtoul(w[3], NULL, 10);
		flood.size = strtoul(w[4], NULL, 10);
		on_flood(-1, 0, NULL);
	} else if (strcmp(w[0], "map") == 0) {
		set_map(w + 1, n - 1);
	} else if (strcmp(w[0], "status") == 0 && n == 2) {
		status(region);
	} else if (strcmp(w[0], "rebind") == 0) {
		derp_pool_rebind(pool);
	} else if (strcmp(w[0], "quit") == 0) {
		event_base_loopbreak(base);
	} else {
		printf("what is %s?\n", w[0]);
	}
}

static void run_line(char *line)
{
	char *words[WORDS_MAX], *save;
	unsigned n = 0;
	for (char *w = strtok_r(line, " ", &save); w && n < WORDS_MAX;
		w = strtok_r(NULL, " ", &save))
		words[n++] = w;
	if (n > 0)
		command(words, n);
}

static void on_input(evutil_socket_t fd, short, void *)
{
	static char text[8192];
	static size_t len;
	const ssize_t got = read(fd, text + len, sizeof(text) - len);
	if (got <= 0) {
		event_base_loopbreak(base);
		return;
	}
	len += (size_t)got;
	for (char *end; (end = memchr(text, '\n', len));) {
		*end = '\0';
		run_line(text);
		len -= (size_t)(end + 1 - text);
		memmove(text, end + 1, len);
	}
}

int main(int argc, char **argv)
{
	const struct derp_pool_env env = {
		.packet = on_packet, .gone = on_gone, .changed = on_changed, .now_ns = now_ns};
	if (argc < 2 || sodium_init() < 0)
		return EXIT_FAILURE;
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_init(LOG_LEVEL_INFO);
	const struct key private_key = key_of(argv[1]);
	struct key public_key;
	x25519_public(public_key.bytes, private_key.bytes);
	printf("key %s\n", hex_of(&public_key));

	base = event_base_new();
	struct net *net = net_create(base);
	pool = net ? derp_pool_create(base, net, &env) : NULL;
	if (!pool)
		return EXIT_FAILURE;
	derp_pool_set_key(pool, &private_key);
	set_map(argv + 2, (unsigned)argc - 2);
	flood.timer = evtimer_new(base, on_flood, NULL);
	struct event *input = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, NULL);
	event_add(input, NULL);
	event_base_dispatch(base);

	event_free(input);
	event_free(flood.timer);
	derp_pool_destroy(pool);
	net_destroy(net);
	event_base_free(base);
	return EXIT_SUCCESS;
}
