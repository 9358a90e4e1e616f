// Peers by node key and by disco key, secrets by disco key, buckets by source. Hashes are keyed:
// neither the server nor a peer can choose what collides.
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "control/path/mesh_priv.h"

static_assert(sizeof((struct mesh){}.hash_key) == crypto_shorthash_KEYBYTES);

static size_t hash_of(const struct mesh *m, const void *bytes, size_t len, size_t n_buckets)
{
	uint64_t hash;

	crypto_shorthash((uint8_t *)&hash, bytes, len, m->hash_key);
	return hash & (n_buckets - 1);
}

static size_t key_hash(const struct mesh *m, const struct key *key, size_t n_buckets)
{
	return hash_of(m, key->bytes, KEY_LEN, n_buckets);
}

struct mesh_peer *mesh_find(const struct mesh *m, const struct key *node)
{
	struct mesh_peer *p = m->by_node[key_hash(m, node, MESH_BUCKETS)];

	while (p && !mesh_key_equal(&p->node, node))
		p = p->next_node;
	return p;
}

void mesh_add_node(struct mesh *m, struct mesh_peer *p)
{
	struct mesh_peer **bucket = &m->by_node[key_hash(m, &p->node, MESH_BUCKETS)];

	p->next_node = *bucket;
	*bucket = p;
	m->n_peers++;
}

void mesh_remove_node(struct mesh *m, struct mesh_peer *p)
{
	struct mesh_peer **at = &m->by_node[key_hash(m, &p->node, MESH_BUCKETS)];

	while (*at != p)
		at = &(*at)->next_node;
	*at = p->next_node;
	m->n_peers--;
}

static struct mesh_peer *first_of(struct mesh_peer *p, const struct key *disco)
{
	while (p && !mesh_key_equal(&p->disco, disco))
		p = p->next_disco;
	return p;
}

struct mesh_peer *mesh_find_disco(const struct mesh *m, const struct key *disco)
{
	return first_of(m->by_disco[key_hash(m, disco, MESH_BUCKETS)], disco);
}

struct mesh_peer *mesh_next_disco(const struct mesh_peer *p)
{
	return first_of(p->next_disco, &p->disco);
}

static struct mesh_box **find_box(struct mesh *m, const struct key *disco)
{
	struct mesh_box **at = &m->boxes[key_hash(m, disco, MESH_BOX_BUCKETS)];

	while (*at && !mesh_key_equal(&(*at)->disco, disco))
		at = &(*at)->next;
	return at;
}

static void free_box(struct mesh *m, struct mesh_box **at)
{
	struct mesh_box *b = *at;

	*at = b->next;
	box_fini(&b->box);
	free(b);
	m->n_boxes--;
}

const struct box *mesh_box(struct mesh *m, const struct key *disco, uint64_t now_ns)
{
	struct mesh_box **at = find_box(m, disco), *b = *at;

	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return NULL;
		b->disco = *disco;
		b->bad = box_init(&b->box, m->self.disco_private.bytes, disco->bytes) != 0;
		*at = b;
		m->n_boxes++;
		mesh_arm(m, m->boxes_aged_ns + MESH_IDLE_S * 1000 * MESH_MS, now_ns);
	}
	b->used_ns = now_ns;
	return b->bad ? NULL : &b->box;
}

void mesh_forget_boxes(struct mesh *m, uint64_t unused_since_ns)
{
	for (size_t i = 0; i < MESH_BOX_BUCKETS; i++)
		for (struct mesh_box **at = &m->boxes[i]; *at;) {
			if ((*at)->used_ns <= unused_since_ns)
				free_box(m, at);
			else
				at = &(*at)->next;
		}
}

static void leave_disco(struct mesh *m, struct mesh_peer *p)
{
	if (!p->at_disco)
		return;
	*p->at_disco = p->next_disco;
	if (p->next_disco)
		p->next_disco->at_disco = p->at_disco;
	p->at_disco = NULL;
	if (mesh_find_disco(m, &p->disco))
		return;
	struct mesh_box **box = find_box(m, &p->disco);
	if (*box)
		free_box(m, box);
}

void mesh_set_disco(struct mesh *m, struct mesh_peer *p, const struct key *disco)
{
	leave_disco(m, p);
	p->disco = *disco;
	if (key_is_zero(disco))
		return;
	struct mesh_peer **bucket = &m->by_disco[key_hash(m, disco, MESH_BUCKETS)];
	p->next_disco = *bucket;
	if (p->next_disco)
		p->next_disco->at_disco = &p->next_disco;
	*bucket = p;
	p->at_disco = bucket;
}

bool mesh_paced(uint64_t *tat_ns, uint64_t interval_ns, unsigned burst, uint64_t now_ns)
{
	const uint64_t tat = *tat_ns > now_ns ? *tat_ns : now_ns;

	if (tat - now_ns > interval_ns * (burst - 1))
		return false;
	*tat_ns = tat + interval_ns;
	return true;
}

// A /64 is one host.
static void name_source(
	const struct endpoint *from, const struct key *derp, uint8_t name[static 17])
{
	const size_t len = from && from->addr.family == IP_V6 ? 8 : 16;

	memset(name, 0, 17);
	memcpy(name + 1, from ? from->addr.bytes : derp->bytes, len);
	name[0] = from ? from->addr.family : UINT8_MAX;
}

bool mesh_source_allowed(
	struct mesh *m, const struct endpoint *from, const struct key *derp, uint64_t now_ns)
{
	uint8_t name[17];

	name_source(from, derp, name);
	struct mesh_source *set = m->sources[hash_of(m, name, sizeof(name), MESH_SOURCE_SETS)];
	struct mesh_source *s = set;
	for (unsigned i = 0; i < MESH_SOURCE_WAYS; i++) {
		if (memcmp(set[i].name, name, sizeof(name)) == 0) {
			s = &set[i];
			break;
		}
		if (set[i].tat_ns < s->tat_ns)
			s = &set[i]; // quiet for longest
	}
	if (memcmp(s->name, name, sizeof(name)) != 0) {
		memcpy(s->name, name, sizeof(name));
		s->tat_ns = 0;
	}
	return mesh_paced(
		&s->tat_ns, 1000 * MESH_MS / MESH_SOURCE_PER_S, MESH_SOURCE_PER_S, now_ns);
}
