#include "control/path/endpoint.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "dataplane/base/mem.h"

static const uint64_t MS = UINT64_C(1000000); // ns

struct candidate {
	struct endpoint addr;
	uint16_t local_port; // see struct path_addr
	bool in_map, called; // called: from the last call-me-maybe
	bool has_ping;
	uint8_t last_txid[DISCO_TXID_LEN]; // of the peer's last ping from there
	uint64_t heard_ns;		   // its last ping or answer; 0: none
	uint64_t pinged_ns;		   // 0: ping as soon as there is an occasion
	uint64_t pinged_back_ns;	   // 0: never
};

struct ping {
	uint8_t txid[DISCO_TXID_LEN];
	struct path_addr to;
	uint64_t sent_ns;
};

struct path_search {
	struct path_io io;
	struct path_quality best; // port 0: none
	uint64_t trust_until_ns;
	uint64_t last_send_ns, heartbeat_ns; // heartbeat: when; 0: not armed
	uint64_t doubt_ns;		     // a heartbeat should be answered by then; 0: it was
	unsigned unanswered;		     // in a row
	uint64_t full_ping_ns, relay_discovery_ns; // 0: never
	uint16_t home_region, seen_region;
	bool relays;
	struct candidate *candidates;
	size_t n_candidates, max_candidates;
	struct ping *pings; // oldest first
	size_t n_pings, max_pings;
};

// Room for one more of size bytes, at most limit; false: full.
static bool grow(void **list, size_t n, size_t *max, size_t size, size_t limit)
{
	if (n < *max)
		return true;
	if (n == limit)
		return false;
	const size_t bigger = *max == 0 ? 4 : *max * 2 < limit ? *max * 2 : limit;
	void *copy = mem_alloc(bigger * size);
	if (n > 0)
		memcpy(copy, *list, n * size);
	free(*list);
	*list = copy;
	*max = bigger;
	return true;
}

struct path_search *peer_path_create(const struct path_io *io)
{
	struct path_search *p = mem_alloc(sizeof(*p));

	p->io = *io;
	return p;
}

void peer_path_destroy(struct path_search *p)
{
	if (!p)
		return;
	free(p->candidates);
	free(p->pings);
	free(p);
}

static bool addr_equal(const struct path_addr *a, const struct path_addr *b)
{
	return a->vni == b->vni && a->local_port == b->local_port && endpoint_equal(&a->to, &b->to);
}

static bool addr_exists(const struct path_addr *a)
{
	return a->to.port != 0;
}

static bool is_direct(const struct path_addr *a)
{
	return addr_exists(a) && a->vni == 0;
}

// Nearer is better even when it is a little slower; IPv6 has no NAT.
static int place_points(const struct ip_addr *a)
{
	const int family = a->family == IP_V6 ? 10 : 0;

	if (ip_addr_is_loopback(a))
		return family + 50;
	if (ip_addr_is_link_local(a))
		return family + 30;
	return family + (ip_addr_is_private(a) ? 20 : 0);
}

// Percent by which fast is faster, whole ones.
static int speed_points(uint64_t fast, uint64_t slow)
{
	return slow ? 100 - (int)(fast * 100 / slow) : 0;
}

bool path_better(const struct path_quality *a, const struct path_quality *b)
{
	if (addr_equal(&a->addr, &b->addr))
		return a->mtu > b->mtu;
	if (!addr_exists(&b->addr))
		return true;
	if (!addr_exists(&a->addr))
		return false;
	if (is_direct(&a->addr) != is_direct(&b->addr))
		return is_direct(&a->addr);
	int a_points = place_points(&a->addr.to.addr), b_points = place_points(&b->addr.to.addr);
	if (a->latency_ns > b->latency_ns)
		b_points += speed_points(b->latency_ns, a->latency_ns);
	else
		a_points += speed_points(a->latency_ns, b->latency_ns);
	// About the same: stay.
	if (a_points <= 1 && b_points == 0)
		return false;
	return a_points > b_points;
}

static void act(struct path_search *p, const struct path_action *action)
{
	p->io.act(p->io.arg, action);
}

static void set_best(struct path_search *p, const struct path_quality *q)
{
	const bool changed = !addr_equal(&p->best.addr, &q->addr);

	p->best = *q;
	if (changed)
		act(p, &(struct path_action){.type = PATH_CHANGED, .addr = q->addr});
}

static void clear_best(struct path_search *p)
{
	p->trust_until_ns = p->doubt_ns = 0;
	set_best(p, &(struct path_quality){0});
}

bool peer_path_trusted(const struct path_search *p, uint64_t now_ns)
{
	return addr_exists(&p->best.addr) && now_ns <= p->trust_until_ns;
}

const struct path_quality *peer_path_best(const struct path_search *p)
{
	return &p->best;
}

static uint16_t derp_region(const struct path_search *p)
{
	return p->home_region ? p->home_region : p->seen_region;
}

struct path_choice peer_path_choice(const struct path_search *p, uint64_t now_ns)
{
	return (struct path_choice){
		.udp = p->best.addr,
		.derp_region = peer_path_trusted(p, now_ns) ? 0 : derp_region(p),
	};
}

static void start_ping(struct path_search *p, const struct path_addr *to, uint64_t now_ns)
{
	struct path_action action = {.type = PATH_PING, .addr = *to};

	if (!grow((void **)&p->pings, p->n_pings, &p->max_pings, sizeof(*p->pings), PATH_PINGS_MAX))
		memmove(p->pings, p->pings + 1, --p->n_pings * sizeof(*p->pings));
	p->io.random(p->io.arg, action.txid, sizeof(action.txid));
	struct ping *ping = &p->pings[p->n_pings++];
	*ping = (struct ping){.to = *to, .sent_ns = now_ns};
	memcpy(ping->txid, action.txid, sizeof(ping->txid));
	act(p, &action);
}

static void ping_candidate(struct path_search *p, struct candidate *c, uint64_t now_ns)
{
	c->pinged_ns = now_ns;
	start_ping(p, &(struct path_addr){.to = c->addr, .local_port = c->local_port}, now_ns);
}

static void forget_ping(struct path_search *p, size_t i)
{
	memmove(p->pings + i, p->pings + i + 1, (--p->n_pings - i) * sizeof(*p->pings));
}

static struct candidate *find(
	struct path_search *p, const struct endpoint *addr, uint16_t local_port)
{
	for (size_t i = 0; i < p->n_candidates; i++)
		if (p->candidates[i].local_port == local_port &&
			endpoint_equal(&p->candidates[i].addr, addr))
			return &p->candidates[i];
	return NULL;
}

static bool is_stale(const struct candidate *c, uint64_t now_ns)
{
	return !c->in_map && !c->called &&
	       (!c->heard_ns || now_ns - c->heard_ns > PATH_SESSION_MS * MS);
}

static void prune(struct path_search *p, uint64_t now_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->n_candidates; i++)
		if (!is_stale(&p->candidates[i], now_ns))
			p->candidates[kept++] = p->candidates[i];
	p->n_candidates = kept;
	if (is_direct(&p->best.addr) && !find(p, &p->best.addr.to, p->best.addr.local_port))
		clear_best(p);
}

// The candidate of that address, new if need be; NULL: there are too many, or it is no address.
static struct candidate *find_or_add(
	struct path_search *p, const struct endpoint *addr, uint16_t local_port)
{
	struct candidate *c = find(p, addr, local_port);

	if (c || addr->port == 0 || addr->addr.family == IP_NONE)
		return c;
	if (!grow((void **)&p->candidates, p->n_candidates, &p->max_candidates, sizeof(*c),
		    PATH_CANDIDATES_MAX))
		return NULL;
	c = &p->candidates[p->n_candidates++];
	*c = (struct candidate){.addr = *addr, .local_port = local_port};
	return c;
}

static void full_ping(struct path_search *p, uint64_t now_ns, bool call)
{
	bool any = false;

	prune(p, now_ns);
	p->full_ping_ns = now_ns;
	for (size_t i = 0; i < p->n_candidates; i++) {
		struct candidate *c = &p->candidates[i];
		if (c->pinged_ns && now_ns - c->pinged_ns < PATH_PING_INTERVAL_MS * MS)
			continue;
		ping_candidate(p, c, now_ns);
		any = true;
	}
	// The peer's firewall is to see our pings as answers to its own.
	if (any && call && p->home_region)
		act(p, &(struct path_action){.type = PATH_CALL_ME_MAYBE, .region = p->home_region});
}

static bool relay_discovery_due(const struct path_search *p, uint64_t now_ns)
{
	const uint64_t ago = now_ns - p->relay_discovery_ns;
	const bool trusted = peer_path_trusted(p, now_ns);

	if (!p->relays || (trusted && is_direct(&p->best.addr)))
		return false;
	if (p->relay_discovery_ns == 0)
		return !trusted;
	return ago >= (trusted ? PATH_UPGRADE_MS : PATH_DISCOVER_RELAY_MS) * MS;
}

static void discover_relay_if_due(struct path_search *p, uint64_t now_ns)
{
	if (!relay_discovery_due(p, now_ns))
		return;
	p->relay_discovery_ns = now_ns;
	act(p, &(struct path_action){.type = PATH_DISCOVER_RELAY});
}

int peer_path_send(struct path_search *p, uint64_t now_ns, struct path_choice *out)
{
	*out = peer_path_choice(p, now_ns);
	p->last_send_ns = now_ns;
	if (p->heartbeat_ns == 0)
		p->heartbeat_ns = now_ns + PATH_HEARTBEAT_MS * MS;
	if (!is_direct(&p->best.addr) || !peer_path_trusted(p, now_ns)) {
		full_ping(p, now_ns, true);
		discover_relay_if_due(p, now_ns);
	}
	return addr_exists(&out->udp) || out->derp_region ? 0 : -EHOSTUNREACH;
}

static bool full_ping_due(const struct path_search *p, uint64_t now_ns)
{
	if (!is_direct(&p->best.addr) || p->full_ping_ns == 0 || !peer_path_trusted(p, now_ns))
		return true;
	return p->best.latency_ns > PATH_GOOD_LATENCY_MS * MS &&
	       now_ns - p->full_ping_ns >= PATH_UPGRADE_MS * MS;
}

static void ask_best(struct path_search *p, uint64_t now_ns)
{
	start_ping(p, &p->best.addr, now_ns);
	p->doubt_ns = now_ns + PATH_DOUBT_MS * MS + 4 * p->best.latency_ns;
}

// A heartbeat was not answered in time: ask once more, then DERP helps out, which the peer takes as
// well as UDP. Without this, what is sent is lost until the trust of 6.5 s has run out.
static void doubt(struct path_search *p, uint64_t now_ns)
{
	p->doubt_ns = 0;
	if (!peer_path_trusted(p, now_ns) || now_ns - p->last_send_ns > PATH_SESSION_MS * MS)
		return;
	if (++p->unanswered < PATH_UNANSWERED_MAX)
		ask_best(p, now_ns);
	else
		p->trust_until_ns = 0;
}

static void heartbeat(struct path_search *p, uint64_t now_ns)
{
	p->heartbeat_ns = 0;
	if (now_ns - p->last_send_ns > PATH_SESSION_MS * MS)
		return;
	if (addr_exists(&p->best.addr)) {
		struct candidate *c = is_direct(&p->best.addr)
					      ? find(p, &p->best.addr.to, p->best.addr.local_port)
					      : NULL;
		if (c)
			c->pinged_ns = now_ns;
		p->unanswered = 0;
		ask_best(p, now_ns);
	}
	if (full_ping_due(p, now_ns))
		full_ping(p, now_ns, true);
	discover_relay_if_due(p, now_ns);
	p->heartbeat_ns = now_ns + PATH_HEARTBEAT_MS * MS;
}

static void expire_pings(struct path_search *p, uint64_t now_ns)
{
	while (p->n_pings > 0 && now_ns - p->pings[0].sent_ns >= PATH_PING_TIMEOUT_MS * MS) {
		const struct path_addr to = p->pings[0].to;
		forget_ping(p, 0);
		if (addr_equal(&to, &p->best.addr) && !peer_path_trusted(p, now_ns))
			clear_best(p);
	}
}

void peer_path_tick(struct path_search *p, uint64_t now_ns)
{
	expire_pings(p, now_ns);
	if (p->heartbeat_ns && now_ns >= p->heartbeat_ns)
		heartbeat(p, now_ns);
	if (p->doubt_ns && now_ns >= p->doubt_ns)
		doubt(p, now_ns);
}

uint64_t peer_path_next_ns(const struct path_search *p)
{
	uint64_t next = p->heartbeat_ns ? p->heartbeat_ns : UINT64_MAX;

	if (p->doubt_ns && p->doubt_ns < next)
		next = p->doubt_ns;
	if (p->n_pings > 0 && p->pings[0].sent_ns + PATH_PING_TIMEOUT_MS * MS < next)
		next = p->pings[0].sent_ns + PATH_PING_TIMEOUT_MS * MS;
	return next;
}

size_t peer_path_candidates(const struct path_search *p)
{
	return p->n_candidates;
}

size_t peer_path_named(const struct path_search *p, struct endpoint *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_candidates && n < max; i++)
		if (p->candidates[i].in_map || p->candidates[i].called)
			out[n++] = p->candidates[i].addr;
	return n;
}

uint16_t peer_path_local_port(const struct path_search *p, const struct endpoint *to)
{
	for (size_t i = 0; i < p->n_candidates; i++)
		if (p->candidates[i].local_port && endpoint_equal(&p->candidates[i].addr, to))
			return p->candidates[i].local_port;
	return 0;
}

bool peer_path_has_local_port(const struct path_search *p)
{
	for (size_t i = 0; i < p->n_candidates; i++)
		if (p->candidates[i].local_port)
			return true;
	return false;
}

void peer_path_probe(struct path_search *p, uint64_t now_ns)
{
	const bool trusted = peer_path_trusted(p, now_ns);

	if (trusted)
		start_ping(p, &p->best.addr, now_ns);
	if (trusted && is_direct(&p->best.addr))
		return;
	for (size_t i = 0; i < p->n_candidates; i++)
		p->candidates[i].pinged_ns = 0;
}

static void ping_back(struct path_search *p, struct candidate *c, uint64_t now_ns)
{
	if (peer_path_trusted(p, now_ns) || p->heartbeat_ns == 0)
		return;
	if (c->pinged_back_ns && now_ns - c->pinged_back_ns < PATH_PING_BACK_MS * MS)
		return;
	c->pinged_back_ns = now_ns;
	ping_candidate(p, c, now_ns);
}

static struct candidate *heard_of(
	struct path_search *p, const struct path_addr *from, uint64_t now_ns)
{
	if (p->n_candidates == PATH_CANDIDATES_MAX)
		prune(p, now_ns);
	return find_or_add(p, &from->to, from->local_port);
}

void peer_path_hint(struct path_search *p, const struct path_addr *from, uint64_t now_ns)
{
	struct candidate *c = heard_of(p, from, now_ns);
	if (!c)
		return;
	c->heard_ns = now_ns;
	ping_back(p, c, now_ns);
}

bool peer_path_ping(struct path_search *p, const struct path_addr *from,
	const uint8_t txid[static DISCO_TXID_LEN], uint64_t now_ns)
{
	struct candidate *c = heard_of(p, from, now_ns);
	if (!c)
		return true; // answered, not remembered
	if (c->has_ping && memcmp(c->last_txid, txid, DISCO_TXID_LEN) == 0)
		return false;
	c->has_ping = true;
	c->heard_ns = now_ns;
	memcpy(c->last_txid, txid, DISCO_TXID_LEN);
	ping_back(p, c, now_ns);
	return true;
}

static void credit(struct path_search *p, const struct ping *ping, uint64_t now_ns)
{
	const struct path_quality q = {
		.addr = ping->to,
		.latency_ns = now_ns - ping->sent_ns,
		.mtu = PATH_MTU,
	};
	const bool is_best = addr_equal(&q.addr, &p->best.addr);
	struct candidate *c = is_direct(&q.addr) ? find(p, &q.addr.to, q.addr.local_port) : NULL;

	// To a relay only peer_path_relay_ready changes; and a candidate may have gone meanwhile.
	if (!is_best && !c)
		return;
	// What the peer pinged from and no list names stays while it answers.
	if (c && c->heard_ns)
		c->heard_ns = now_ns;
	if (!is_best && !path_better(&q, &p->best) && peer_path_trusted(p, now_ns))
		return;
	if (is_best) {
		p->best.latency_ns = q.latency_ns;
		p->doubt_ns = 0;
	}
	p->trust_until_ns = now_ns + PATH_TRUST_MS * MS;
	if (!is_best)
		set_best(p, &q);
}

int peer_path_pong(
	struct path_search *p, const uint8_t txid[static DISCO_TXID_LEN], uint64_t now_ns)
{
	for (size_t i = 0; i < p->n_pings; i++) {
		if (sodium_memcmp(p->pings[i].txid, txid, DISCO_TXID_LEN) != 0)
			continue;
		const struct ping ping = p->pings[i];
		forget_ping(p, i);
		credit(p, &ping, now_ns);
		return 0;
	}
	return -ENOENT;
}

// Name the candidates that a list has, old ones first: what no list names any more makes room for
// new ones.
static void name_candidates(struct path_search *p, const struct endpoint *endpoints, size_t n,
	bool by_map, uint64_t now_ns)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			struct candidate *c = pass == 0 ? find(p, &endpoints[i], 0)
							: find_or_add(p, &endpoints[i], 0);
			if (c && by_map)
				c->in_map = true;
			else if (c && !(c->addr.addr.family == IP_V6 &&
					      ip_addr_is_link_local(&c->addr.addr)))
				c->called = true;
		}
		if (pass == 0)
			prune(p, now_ns);
	}
}

void peer_path_call_me_maybe(
	struct path_search *p, const struct endpoint *endpoints, size_t n, uint64_t now_ns)
{
	for (size_t i = 0; i < p->n_candidates; i++) {
		p->candidates[i].called = false;
		p->candidates[i].pinged_ns = 0;
	}
	name_candidates(p, endpoints, n, false, now_ns);
	full_ping(p, now_ns, false); // no call back: the peer is pinging already
	discover_relay_if_due(p, now_ns);
}

void peer_path_relay_ready(struct path_search *p, const struct path_quality *q, uint64_t now_ns)
{
	const bool same_server = p->best.addr.vni && memcmp(p->best.relay_server.bytes,
							     q->relay_server.bytes, KEY_LEN) == 0;

	if (peer_path_trusted(p, now_ns) && !same_server && !path_better(q, &p->best))
		return;
	p->trust_until_ns = now_ns + PATH_TRUST_MS * MS;
	set_best(p, q);
}

void peer_path_derp_seen(struct path_search *p, uint16_t region)
{
	p->seen_region = region;
}

void peer_path_lost(struct path_search *p, const struct endpoint *to)
{
	if (to && !endpoint_equal(to, &p->best.addr.to))
		return;
	for (size_t i = 0; i < p->n_candidates; i++)
		if (!to || endpoint_equal(to, &p->candidates[i].addr))
			p->candidates[i].pinged_ns = 0;
	if (!to)
		p->n_pings = 0;
	p->full_ping_ns = 0;
	clear_best(p);
}

void peer_path_set_map(struct path_search *p, const struct endpoint *endpoints, size_t n,
	uint16_t home_region, bool relays, uint64_t now_ns)
{
	p->home_region = home_region;
	p->relays = relays;
	for (size_t i = 0; i < p->n_candidates; i++)
		p->candidates[i].in_map = false;
	name_candidates(p, endpoints, n, true, now_ns);
}
