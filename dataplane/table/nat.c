#include "dataplane/table/nat_priv.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "dataplane/base/huge.h"

enum {
	BUCKET_FILL = 8, // entries that a line has on average when the table is full
	PORTS = UINT16_MAX + 1,
	IDLE_MAX_S = 86400 * 20, // far from where a difference of milliseconds wraps
};

void *nat_map(size_t size)
{
	void *p = huge_reserve(size, PROT_READ | PROT_WRITE);
	if (p)
		huge_advise(p, size);
	return p;
}

static size_t flows_size(const struct nat_table *t)
{
	return ((size_t)t->bound + 1) * sizeof(*t->flow);
}

static size_t buckets_size(const struct nat_table *t)
{
	return ((size_t)t->mask + 1) * sizeof(*t->bucket);
}

struct nat_table *nat_table_create(
	uint32_t flows, uint16_t worker, uint16_t n_workers, struct nat_claims *claims)
{
	struct nat_table *t = mem_alloc(sizeof(*t));
	t->bound = flows;
	t->mask = rte_align32pow2(RTE_MAX(flows * 2 / BUCKET_FILL, 1u)) - 1;
	t->worker = worker;
	t->n_workers = n_workers;
	t->claims = claims;
	t->touched = NAT_NIL + 1;
	t->flow = nat_map(flows_size(t));
	t->bucket = nat_map(buckets_size(t));
	t->clients = nat_clients_create(flows);
	t->port_flows = calloc(PORTS, sizeof(*t->port_flows));
	randombytes_buf(t->key, sizeof(t->key));
	t->key[TUPLE_HASH_KEYS - 1] |= 1;
	randombytes_buf(&t->random, sizeof(t->random));
	t->random |= 1;
	for (unsigned i = 0; i < NAT_CLASS_COUNT; i++)
		t->idle_ms[i] = UINT32_C(1000) * 60;
	if (nat_held_create(t) && t->flow && t->bucket && t->clients && t->port_flows)
		return t;
	nat_table_destroy(t);
	return NULL;
}

void nat_table_destroy(struct nat_table *t)
{
	if (!t)
		return;
	// What the claims hold goes with the gateway that they are part of.
	if (t->flow)
		munmap(t->flow, flows_size(t));
	if (t->bucket)
		munmap(t->bucket, buckets_size(t));
	nat_clients_destroy(t->clients);
	nat_held_destroy(t);
	free(t->port_flows);
	free(t);
}

size_t nat_table_memory(const struct nat_table *t)
{
	return flows_size(t) + buckets_size(t) + nat_clients_memory(t->clients) +
	       nat_held_memory(t) + PORTS * sizeof(*t->port_flows) + sizeof(*t);
}

void nat_idle_times(struct nat_table *t, const struct nat_config *c)
{
	for (unsigned i = 0; c && i < NAT_CLASS_COUNT; i++)
		t->idle_ms[i] = RTE_MAX(RTE_MIN(c->idle_s[i], (uint32_t)IDLE_MAX_S), 1u) * 1000;
}

// Around what another thread must not see half of.
static void change_begin(struct nat_flow *f)
{
	__atomic_store_n(&f->version, f->version + 1, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_release);
}

static void change_end(struct nat_flow *f)
{
	__atomic_store_n(&f->version, f->version + 1, __ATOMIC_RELEASE);
}

void nat_set_remote(struct nat_flow *f, const struct nat_key *seen, bool hairpin)
{
	change_begin(f);
	f->flags = (uint8_t)((f->flags & ~NAT_HAIRPIN) | (hairpin ? NAT_HAIRPIN : 0));
	for (unsigned i = 0; i < 2; i++) {
		memcpy(f->side[i].remote, seen->remote, sizeof(seen->remote));
		f->side[i].remote_port = seen->remote_port;
	}
	change_end(f);
}

static void unlink_flow(struct nat_table *t, struct nat_flow *f, unsigned sides)
{
	for (unsigned i = 0; i < sides; i++) {
		struct nat_key k = nat_index_key(f, (enum nat_side)i);
		nat_index_remove(t, (enum nat_side)i, &k, nat_number(t, f));
	}
}

// Its outside port, where it is one of ours; NULL: it has none.
static uint32_t *port_flows_of(struct nat_table *t, const struct nat_flow *f)
{
	const uint16_t port = rte_be_to_cpu_16(f->side[NAT_OUTSIDE].local_port);
	return f->flags & (NAT_CLAIMED | NAT_OWN_SOURCE) ? NULL : &t->port_flows[port];
}

// Back among the free ones.
static void put_back(struct nat_table *t, struct nat_flow *f)
{
	change_begin(f);
	f->side[NAT_INSIDE].family = IP_NONE;
	f->next = t->free;
	t->free = nat_number(t, f);
	change_end(f);
}

void nat_close(struct nat_table *t, struct nat_flow *f)
{
	unlink_flow(t, f, 2);
	nat_list_remove(t, nat_number(t, f));
	if (f->flags & NAT_CLAIMED)
		nat_unclaim(t->claims, &f->side[NAT_OUTSIDE], t->worker);
	t->n--;
	t->n_any_remote -= (f->flags & NAT_ANY_REMOTE) != 0;
	t->n_own_source -= (f->flags & NAT_OWN_SOURCE) != 0;
	uint32_t *port = port_flows_of(t, f);
	t->n_ports -= port && --*port == 0;
	if (port)
		nat_held_less(t, f);
	nat_client_remove(t->clients, f->client, t->key[6]);
	put_back(t, f);
}

static struct nat_flow *take(struct nat_table *t)
{
	uint32_t number = t->free;
	if (number)
		t->free = t->flow[number].next;
	else
		number = t->touched++;
	return &t->flow[number];
}

// An idle flow with that key makes way; true: the key is free.
static bool free_key(
	struct nat_table *t, enum nat_side side, const struct nat_key *k, uint32_t now_ms)
{
	struct nat_flow *f = nat_index_find(t, side, k);
	if (f && nat_is_idle(t, f, now_ms)) {
		nat_evict(t, f, now_ms);
		f = NULL;
	}
	return !f;
}

static bool choose_outside(
	struct nat_table *t, const struct nat_config *c, struct nat_new *new, uint16_t client)
{
	if (new->choose)
		return nat_port_choose(t, c, new, client);
	if (!free_key(t, NAT_OUTSIDE, &new->outside, new->now_ms))
		return false;
	return !(new->flags &NAT_CLAIMED) || nat_claim(t->claims, &new->outside, t->worker);
}

static bool index_both(struct nat_table *t, const struct nat_flow *f)
{
	for (unsigned i = 0; i < 2; i++) {
		struct nat_key k = nat_index_key(f, (enum nat_side)i);
		if (nat_index_add(t, (enum nat_side)i, &k, nat_number(t, f)))
			continue;
		unlink_flow(t, (struct nat_flow *)(uintptr_t)f, i);
		return false;
	}
	return true;
}

static void fill(struct nat_flow *f, const struct nat_new *new, uint16_t client)
{
	change_begin(f);
	f->side[NAT_INSIDE] = new->inside;
	f->side[NAT_OUTSIDE] = new->outside;
	f->class = new->class;
	f->flags = new->flags;
	f->client = client;
	f->last_ms = new->now_ms;
	f->generation = new->generation;
	memset(f->bytes, 0, sizeof(f->bytes));
	memset(f->packets, 0, sizeof(f->packets));
	change_end(f);
}

// new: with room for it, its keys free and its claim held. NULL: the index has no room there.
static struct nat_flow *insert(struct nat_table *t, const struct nat_new *new, uint16_t client)
{
	struct nat_flow *f = take(t);
	fill(f, new, client);
	if (!index_both(t, f)) {
		put_back(t, f);
		if (new->flags & NAT_CLAIMED)
			nat_unclaim(t->claims, &new->outside, t->worker);
		return NULL;
	}
	nat_list_add(t, nat_number(t, f), new->now_ms);
	t->n++;
	t->n_any_remote += (new->flags &NAT_ANY_REMOTE) != 0;
	t->n_own_source += (new->flags &NAT_OWN_SOURCE) != 0;
	uint32_t *port = port_flows_of(t, f);
	t->n_ports += port && (*port)++ == 0;
	if (port)
		nat_held_more(t, f);
	t->created++;
	return f;
}

// Whether the client may have the flow that it counts already; one of its own may end for it. Where
// the limit was higher before, that is not enough at once.
static bool is_within_limit(
	struct nat_table *t, const struct nat_config *c, uint16_t client, uint32_t now_ms)
{
	if (c->client_flows == 0 || nat_client_flows(t->clients, client) <= c->client_flows)
		return true;
	return nat_make_room_own(t, client, now_ms) &&
	       nat_client_flows(t->clients, client) <= c->client_flows;
}

struct nat_flow *nat_open(struct nat_table *t, const struct nat_config *c,
	const struct nat_new *wanted, enum nat_refusal *why)
{
	struct nat_new new = *wanted;
	bool any = new.flags &NAT_ANY_REMOTE;
	struct nat_key inside = any ? nat_any_remote(&new.inside) : new.inside;
	struct nat_flow *f = NULL;
	if (!free_key(t, NAT_INSIDE, &inside, new.now_ms)) {
		*why = NAT_REFUSED_PORTS;
		return NULL;
	}
	uint16_t client = nat_client_get(t->clients, &new.inside, t->key[6]);
	nat_client_add(t->clients, client); // so that it stays whatever has to make way
	if (!is_within_limit(t, c, client, new.now_ms))
		*why = NAT_REFUSED_CLIENT;
	else if (t->n == t->bound &&
		 !nat_make_room(t, (enum nat_class) new.class, client, new.now_ms))
		*why = NAT_REFUSED_FULL;
	else if (!choose_outside(t, c, &new, client))
		*why = NAT_REFUSED_PORTS;
	else if (!(f = insert(t, &new, client)))
		*why = NAT_REFUSED_FULL;
	if (!f)
		nat_client_remove(t->clients, client, t->key[6]);
	return f;
}
