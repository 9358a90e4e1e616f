// Who has how many flows. Clients come and go with their flows; when all numbers are taken, those
// that come share the first.
#include <stdlib.h>

#include "dataplane/table/nat_priv.h"

enum {
	SHARED = 1, // number of the client that stands for all who found no room; 0: nobody
	FIRST = 2,
};

struct client {
	uint8_t addr[16];
	uint8_t family;
	uint16_t next; // in its bucket, or of the free ones
	uint32_t flows;
};

struct nat_clients {
	struct client *client;
	uint16_t *bucket;
	uint32_t mask, n; // buckets - 1; clients and the two below FIRST
	uint32_t touched;
	uint16_t free;
};

struct nat_clients *nat_clients_create(uint32_t n)
{
	struct nat_clients *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->n = RTE_MIN(n + FIRST, (uint32_t)NAT_CLIENTS_MAX);
	c->mask = rte_align32pow2(c->n) - 1;
	c->touched = FIRST;
	c->client = calloc(c->n, sizeof(*c->client));
	c->bucket = calloc(c->mask + 1, sizeof(*c->bucket));
	if (!c->client || !c->bucket) {
		nat_clients_destroy(c);
		return NULL;
	}
	return c;
}

void nat_clients_destroy(struct nat_clients *c)
{
	if (!c)
		return;
	free(c->client);
	free(c->bucket);
	free(c);
}

size_t nat_clients_memory(const struct nat_clients *c)
{
	return sizeof(*c) + c->n * sizeof(*c->client) + (c->mask + 1) * sizeof(*c->bucket);
}

static uint16_t *bucket_of(
	const struct nat_clients *c, const uint8_t *addr, uint8_t family, uint64_t key)
{
	unsigned __int128 h = (unsigned __int128)(tuple_word(addr) + key) *
			      (tuple_word(addr + 8) + family + (key << 32 | key >> 32));
	return &c->bucket[((uint64_t)h ^ (uint64_t)(h >> 64)) * (key | 1) >> 32 & c->mask];
}

static uint16_t take(struct nat_clients *c)
{
	uint16_t number = c->free;
	if (number)
		c->free = c->client[number].next;
	else if (c->touched < c->n)
		number = (uint16_t)c->touched++;
	return number;
}

uint16_t nat_client_get(struct nat_clients *c, const struct nat_key *inside, uint64_t key)
{
	uint16_t *bucket = bucket_of(c, inside->local, inside->family, key);
	uint16_t number = *bucket;
	while (number && (c->client[number].family != inside->family ||
				 memcmp(c->client[number].addr, inside->local, 16) != 0))
		number = c->client[number].next;
	if (number)
		return number;
	number = take(c);
	if (!number)
		return SHARED;
	c->client[number] = (struct client){.family = inside->family, .next = *bucket};
	memcpy(c->client[number].addr, inside->local, 16);
	*bucket = number;
	return number;
}

uint32_t nat_client_flows(const struct nat_clients *c, uint16_t client)
{
	return c->client[client].flows;
}

void nat_client_add(struct nat_clients *c, uint16_t client)
{
	c->client[client].flows++;
}

void nat_client_release(struct nat_clients *c, uint16_t client, uint64_t key)
{
	struct client *gone = &c->client[client];
	if (client < FIRST || gone->flows > 0)
		return;
	uint16_t *at = bucket_of(c, gone->addr, gone->family, key);
	while (*at != client)
		at = &c->client[*at].next;
	*at = gone->next;
	gone->next = c->free;
	c->free = client;
}

void nat_client_remove(struct nat_clients *c, uint16_t client, uint64_t key)
{
	c->client[client].flows--;
	nat_client_release(c, client, key);
}
