// A pool of DERP connections under test, and a clock that can jump.
#pragma once

#include "tests/unit/derp_server.h"

#include "control/path/derp_pool_priv.h"
#include "dataplane/base/log.h"

enum {
	REGION = 901,
	OTHER = 902,
	PACKETS_MAX = 64,
};

struct test {
	struct event_base *base;
	struct net *net;
	struct derp_pool *pool;
	uint64_t jumped_ns;
	unsigned packets, changes;
	uint8_t seen[PACKETS_MAX][128]; // frame type and payload, as the server got them
	size_t seen_len[PACKETS_MAX];
	struct nm_derp_node nodes[2][2];
	struct nm_derp_region regions[2];
	struct nm_derp_map map;
};

static const struct key peer = {{1, 2, 3}};

static inline uint64_t now_ns(void *arg)
{
	const struct test *t = arg;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * DERP_S + (uint64_t)ts.tv_nsec + t->jumped_ns;
}

static inline void on_packet(
	void *arg, uint16_t, const struct key *from, const uint8_t *data, size_t len)
{
	struct test *t = arg;

	assert_memory_equal(from->bytes, derp_server.public_key, KEY_LEN);
	const unsigned at = t->packets++ % PACKETS_MAX;
	t->seen_len[at] = len;
	memcpy(t->seen[at], data, len < sizeof(t->seen[at]) ? len : sizeof(t->seen[at]));
}

static inline void on_gone(void *, uint16_t, const struct key *, enum derp_gone)
{
}

static inline void on_changed(void *arg, uint16_t)
{
	((struct test *)arg)->changes++;
}

static inline void begin(struct test *t)
{
	const struct derp_pool_env env = {.arg = t,
		.packet = on_packet,
		.gone = on_gone,
		.changed = on_changed,
		.now_ns = now_ns};
	struct key private_key;

	*t = (struct test){.base = event_base_new(), .map = {.n_regions = 2}};
	t->net = net_create(t->base);
	t->pool = derp_pool_create(t->base, t->net, &env);
	assert_non_null(t->pool);
	x25519_generate(private_key.bytes);
	derp_pool_set_key(t->pool, &private_key);
	t->map.regions = t->regions;
	for (int i = 0; i < 2; i++)
		t->regions[i] = (struct nm_derp_region){.id = REGION + (uint32_t)i,
			.code = "test",
			.nodes = t->nodes[i],
			.n_nodes = 1};
}

// Servers of both regions, by port; 0: nobody is there.
static inline void set_ports(struct test *t, uint16_t a, uint16_t b)
{
	const uint16_t ports[] = {a ? a : dead_port(), b ? b : dead_port()};

	for (int i = 0; i < 2; i++)
		t->nodes[i][0] = (struct nm_derp_node){.name = "n",
			.host = "localhost",
			.ipv4 = "127.0.0.1",
			.ipv6 = "none",
			.derp_port = ports[i]};
	derp_pool_set_map(t->pool, &t->map);
}

static inline void end(struct test *t)
{
	derp_pool_destroy(t->pool);
	net_destroy(t->net);
	event_base_free(t->base);
}

static inline void run(struct test *t, unsigned ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_base_loopexit(t->base, &tv);
	event_base_dispatch(t->base);
}

static inline struct derp_region_info info_of(struct test *t, uint16_t region)
{
	struct derp_region_info info;

	assert_true(derp_pool_region(t->pool, region, &info));
	return info;
}

#define WAIT(t, condition)                                                                         \
	do {                                                                                       \
		for (unsigned turn_ = 0; turn_ < 5000 && !(condition); turn_++)                    \
			run(t, 10);                                                                \
		assert_true(condition);                                                            \
	} while (0)

// Time goes by.
static inline void jump(struct test *t, unsigned s)
{
	t->jumped_ns += s * DERP_S;
	for (uint32_t i = 0; i < t->pool->n_regions; i++)
		derp_region_tick(-1, 0, t->pool->regions[i]);
}

static inline bool saw(struct test *t, uint8_t type, const void *payload, size_t len)
{
	for (unsigned i = 0; i < t->packets && i < PACKETS_MAX; i++)
		if (t->seen_len[i] == len + 1 && t->seen[i][0] == type &&
			memcmp(t->seen[i] + 1, payload, len) == 0)
			return true;
	return false;
}

static inline int setup(void **state)
{
	log_init(LOG_LEVEL_ERROR);
	return sodium_init() < 0 ? -1 : pki_setup(state);
}
