#include "dataplane/table/fragments.h"

#include <rte_common.h>
#include <stdlib.h>

#include "dataplane/base/mem.h"

enum {
	LOADS = 256,
	ECN = 3, // bits of tos; all of them: congestion experienced
};

struct datagram {
	struct fragment_key key;
	uint64_t until;	       // TSC; 0: unused
	struct rte_mbuf *list; // by offset, through next
	uint32_t buffers, fragments;
	uint32_t have, total; // bytes of payload; total 0: the last fragment has not come
	uint16_t head_len;    // 0: the first has not come
	bool refused, congested;
	uint8_t head[FRAGMENTS_HEAD_MAX];
};

struct fragments { // wrk only
	uint64_t tsc_per_ms, next_expiry;
	struct rte_mempool *pool;
	uint32_t n, buffers, buffers_max;
	struct fragments_ended ended;
	struct datagram datagram[FRAGMENTS_DATAGRAMS_MAX];
};

// Where a buffer's bytes belong in the payload; it stands in the buffer's private area.
static uint32_t *offset_of(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}

static uint32_t end_of(struct rte_mbuf *m)
{
	return *offset_of(m) + m->data_len;
}

struct fragments *fragments_create(uint64_t tsc_per_ms, struct rte_mempool *pool)
{
	struct fragments *f = mem_alloc(sizeof(*f));
	f->tsc_per_ms = tsc_per_ms;
	f->pool = pool;
	f->buffers_max = RTE_MIN((uint32_t)FRAGMENTS_BUFFERS_MAX, pool->size / 16);
	return f;
}

static void free_list(struct fragments *f, struct datagram *d)
{
	for (struct rte_mbuf *m = d->list, *next; m; m = next) {
		next = m->next;
		m->next = NULL;
		rte_pktmbuf_free(m);
	}
	f->buffers -= d->buffers;
	d->list = NULL;
	d->buffers = 0;
}

static void end(struct fragments *f, struct datagram *d)
{
	free_list(f, d);
	*d = (struct datagram){0};
	f->n--;
}

void fragments_clear(struct fragments *f)
{
	for (unsigned i = 0; i < FRAGMENTS_DATAGRAMS_MAX; i++) {
		if (f->datagram[i].until)
			end(f, &f->datagram[i]);
	}
}

void fragments_destroy(struct fragments *f)
{
	if (!f)
		return;
	fragments_clear(f);
	free(f);
}

bool fragments_expire(struct fragments *f, uint64_t now)
{
	if (now < f->next_expiry)
		return f->n > 0;
	f->next_expiry = UINT64_MAX;
	for (unsigned i = 0; i < FRAGMENTS_DATAGRAMS_MAX; i++) {
		struct datagram *d = &f->datagram[i];
		if (!d->until)
			continue;
		if (d->until <= now) {
			f->ended.timeout += d->fragments;
			end(f, d);
		} else {
			f->next_expiry = RTE_MIN(f->next_expiry, d->until);
		}
	}
	return f->n > 0;
}

struct fragments_ended *fragments_ended(struct fragments *f)
{
	return &f->ended;
}

static unsigned load_of(uint32_t origin)
{
	return (origin * 2654435761u) >> 24;
}
static_assert(LOADS == 1 << (32 - 24));

// The oldest datagram of whoever has most; there is one.
static struct datagram *victim(struct fragments *f)
{
	uint32_t load[LOADS] = {0}, most = 0;
	struct datagram *found = NULL;
	for (unsigned i = 0; i < FRAGMENTS_DATAGRAMS_MAX; i++) {
		const struct datagram *d = &f->datagram[i];
		if (d->until)
			load[load_of(d->key.origin)] += d->buffers + 1;
	}
	for (unsigned i = 0; i < FRAGMENTS_DATAGRAMS_MAX; i++) {
		struct datagram *d = &f->datagram[i];
		uint32_t its = load[load_of(d->key.origin)];
		if (d->until && (its > most || (its == most && d->until < found->until))) {
			most = its;
			found = d;
		}
	}
	return found;
}

static void evict(struct fragments *f)
{
	struct datagram *d = victim(f);
	f->ended.full += d->fragments;
	end(f, d);
}

static struct datagram *find(struct fragments *f, const struct fragment_key *key, uint64_t now)
{
	struct datagram *unused = NULL;
	for (unsigned i = 0; i < FRAGMENTS_DATAGRAMS_MAX; i++) {
		struct datagram *d = &f->datagram[i];
		if (!d->until)
			unused = d;
		else if (d->key.id == key->id && memcmp(&d->key, key, sizeof(*key)) == 0)
			return d;
	}
	if (!unused) {
		evict(f);
		return find(f, key, now);
	}
	*unused =
		(struct datagram){.key = *key, .until = now + f->tsc_per_ms * FRAGMENTS_TIMEOUT_MS};
	f->next_expiry = f->n++ ? RTE_MIN(f->next_expiry, unused->until) : unused->until;
	return unused;
}

// Nothing of it comes together any more: what follows ends, too, until its time is over.
static void refuse(struct fragments *f, struct datagram *d)
{
	f->ended.refused += d->fragments;
	free_list(f, d);
	d->fragments = 0;
	d->refused = true;
}

// The same bytes at the same place, in buffers that begin and end there.
static bool is_copy(
	struct rte_mbuf *at, const struct fragment *p, const struct rte_mbuf *m, uint8_t *room)
{
	uint32_t done = 0;
	if (*offset_of(at) != p->offset)
		return false;
	for (; at && done < p->len; done += at->data_len, at = at->next) {
		if (*offset_of(at) != p->offset + done || at->data_len > p->len - done)
			return false;
		const void *bytes = rte_pktmbuf_read(m, p->data_at + done, at->data_len, room);
		if (!bytes || memcmp(bytes, rte_pktmbuf_mtod(at, void *), at->data_len) != 0)
			return false;
	}
	return done == p->len;
}

// Where it is to be put: the link to the first buffer behind it.
static struct rte_mbuf **place_of(struct datagram *d, const struct fragment *p)
{
	struct rte_mbuf **link = &d->list;
	while (*link && end_of(*link) <= p->offset)
		link = &(*link)->next;
	return link;
}

static bool has_place(struct datagram *d, const struct fragment *p)
{
	struct rte_mbuf *behind = *place_of(d, p);
	return !behind || *offset_of(behind) >= (uint32_t)p->offset + p->len;
}

// One buffer's worth, from done bytes into the fragment on. NULL: none is left.
static struct rte_mbuf *copy_part(
	struct fragments *f, const struct fragment *p, const struct rte_mbuf *m, uint32_t done)
{
	struct rte_mbuf *b = rte_pktmbuf_alloc(f->pool);
	if (!b)
		return NULL;
	uint16_t len = (uint16_t)RTE_MIN((uint32_t)rte_pktmbuf_tailroom(b), p->len - done);
	uint8_t *to = (uint8_t *)rte_pktmbuf_append(b, len);
	const void *from = rte_pktmbuf_read(m, p->data_at + done, len, to);
	if (!from) { // the caller has checked the length
		rte_pktmbuf_free(b);
		return NULL;
	}
	if (from != to)
		memcpy(to, from, len);
	*offset_of(b) = p->offset + done;
	return b;
}

static bool insert(
	struct fragments *f, struct datagram *d, const struct fragment *p, const struct rte_mbuf *m)
{
	struct rte_mbuf **link = place_of(d, p), *behind = *link, *b;
	for (uint32_t done = 0; done < p->len; done += b->data_len) {
		b = copy_part(f, p, m, done);
		if (!b)
			return false; // what is in stays: it counts as not complete
		d->buffers++;
		f->buffers++;
		b->next = behind;
		*link = b;
		link = &b->next;
	}
	d->have += p->len;
	d->fragments++;
	return true;
}

static bool is_sound(const struct datagram *d, const struct fragment *p)
{
	uint32_t end = (uint32_t)p->offset + p->len;
	struct rte_mbuf *last = d->list;
	if (p->len == 0 || end > FRAGMENTS_LEN_MAX || (p->more && p->len % 8 != 0) ||
		(p->offset == 0 && p->head_len > FRAGMENTS_HEAD_MAX))
		return false;
	if (d->total)
		return p->more ? end < d->total : end == d->total;
	while (last && last->next)
		last = last->next;
	return p->more || !last || end_of(last) <= end;
}

static void learn(struct datagram *d, const struct fragment *p)
{
	if (!p->more)
		d->total = (uint32_t)p->offset + p->len;
	if (p->offset == 0) {
		d->head_len = p->head_len;
		memcpy(d->head, p->head, p->head_len);
	}
	d->congested |= (p->tos & ECN) == ECN;
}

// Congestion that one fragment has seen (RFC 3168 5.3).
static void mark_congested(struct datagram *d)
{
	uint8_t *high = &d->head[1]; // IPv4: tos; IPv6: its low half is in the high bits
	unsigned shift = d->key.family == IP_V4 ? 0 : 4;
	if (d->congested && (*high >> shift & ECN))
		*high |= (uint8_t)(ECN << shift);
}

static struct rte_mbuf *assemble(struct fragments *f, struct datagram *d, struct rte_mempool *large)
{
	uint32_t len = d->head_len + d->total;
	bool small = len + RTE_PKTMBUF_HEADROOM <= rte_pktmbuf_data_room_size(f->pool);
	struct rte_mbuf *w = rte_pktmbuf_alloc(small ? f->pool : large);
	if (!w || len > rte_pktmbuf_tailroom(w)) {
		rte_pktmbuf_free(w);
		return NULL;
	}
	uint8_t *to = (uint8_t *)rte_pktmbuf_append(w, (uint16_t)len);
	mark_congested(d);
	memcpy(to, d->head, d->head_len);
	for (struct rte_mbuf *b = d->list; b; b = b->next)
		memcpy(to + d->head_len + *offset_of(b), rte_pktmbuf_mtod(b, void *), b->data_len);
	return w;
}

static void make_room(struct fragments *f, const struct fragment *p)
{
	uint32_t room = rte_pktmbuf_data_room_size(f->pool) - RTE_PKTMBUF_HEADROOM;
	while (f->n > 0 && f->buffers + (p->len + room - 1) / room > f->buffers_max)
		evict(f);
}

static enum fragment_verdict complete(
	struct fragments *f, struct datagram *d, struct rte_mempool *large, struct rte_mbuf **whole)
{
	if (!d->head_len || !d->total || d->have != d->total)
		return FRAGMENT_WAITS;
	if (d->head_len + d->total > FRAGMENTS_PACKET_MAX) {
		d->fragments--; // this one is counted by its verdict
		refuse(f, d);
		return FRAGMENT_MALFORMED;
	}
	*whole = assemble(f, d, large);
	if (!*whole)
		f->ended.full += d->fragments - 1;
	end(f, d);
	return *whole ? FRAGMENT_WHOLE : FRAGMENT_NO_BUFFER;
}

enum fragment_verdict fragments_add(struct fragments *f, const struct fragment *p,
	const struct rte_mbuf *m, uint64_t now, struct rte_mempool *large, struct rte_mbuf **whole)
{
	uint8_t room[RTE_MBUF_DEFAULT_DATAROOM];
	fragments_expire(f, now);
	make_room(f, p);
	struct datagram *d = find(f, &p->key, now);
	if (d->refused)
		return FRAGMENT_OVERLAP;
	if (!is_sound(d, p) || m->pkt_len < p->data_at + p->len ||
		d->buffers >= FRAGMENTS_DATAGRAM_BUFFERS) {
		refuse(f, d);
		return FRAGMENT_MALFORMED;
	}
	if (!has_place(d, p)) {
		if (is_copy(*place_of(d, p), p, m, room))
			return FRAGMENT_COPY;
		refuse(f, d);
		return FRAGMENT_OVERLAP;
	}
	if (!insert(f, d, p, m)) {
		refuse(f, d);
		return FRAGMENT_NO_BUFFER;
	}
	learn(d, p);
	return complete(f, d, large, whole);
}

uint32_t fragments_buffers(const struct fragments *f)
{
	return f->buffers;
}
