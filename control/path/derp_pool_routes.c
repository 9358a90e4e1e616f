// Where peers were heard from, and how much may wait: the pool's memory without connections.
#include "control/path/derp_pool_priv.h"

enum {
	WINDOW_MS = 100,
	BACKLOG_MIN = 256 << 10, // bytes: the bursts of the workers
	BACKLOG_MAX = 1 << 20,
};

// Keyed: peers choose their keys.
static uint32_t set_of(const struct derp_routes *r, const struct key *peer)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t low;

	crypto_shorthash(hash, peer->bytes, KEY_LEN, r->seed);
	memcpy(&low, hash, sizeof(low));
	return low % DERP_ROUTE_SETS;
}

const struct derp_route *derp_routes_find(const struct derp_routes *r, const struct key *peer)
{
	const struct derp_route *set = r->sets[set_of(r, peer)];

	for (unsigned i = 0; i < DERP_ROUTE_WAYS; i++)
		if (set[i].region && memcmp(&set[i].peer, peer, sizeof(*peer)) == 0)
			return &set[i];
	return NULL;
}

void derp_routes_learn(
	struct derp_routes *r, const struct key *peer, uint16_t region, uint64_t generation)
{
	const uint32_t set = set_of(r, peer);
	struct derp_route *route = (struct derp_route *)derp_routes_find(r, peer);

	if (!route)
		route = &r->sets[set][r->next[set]++ % DERP_ROUTE_WAYS];
	*route = (struct derp_route){*peer, region, generation};
}

void derp_routes_forget(struct derp_routes *r, const struct key *peer, uint16_t region)
{
	struct derp_route *route = (struct derp_route *)derp_routes_find(r, peer);

	if (route && route->region == region)
		route->region = 0;
}

void derp_backlog_init(struct derp_backlog *b, uint64_t now_ns)
{
	*b = (struct derp_backlog){.since_ns = now_ns, .emptied = true, .limit = BACKLOG_MAX};
}

bool derp_backlog_room(struct derp_backlog *b, uint64_t now_ns, size_t queued)
{
	const uint64_t elapsed = now_ns - b->since_ns;

	if (elapsed >= WINDOW_MS * DERP_MS) {
		const size_t left = b->queued + b->written - queued;
		size_t limit =
			(size_t)((double)left * WINDOW_MS * (double)DERP_MS / (double)elapsed);
		if (b->emptied || limit > BACKLOG_MAX)
			limit = BACKLOG_MAX;
		else if (limit < BACKLOG_MIN)
			limit = BACKLOG_MIN;
		*b = (struct derp_backlog){
			.since_ns = now_ns,
			.queued = queued,
			.emptied = queued == 0,
			.limit = limit,
		};
	}
	return queued < b->limit;
}
