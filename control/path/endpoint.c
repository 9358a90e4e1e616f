#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "control/path/endpoint_priv.h"
#include "dataplane/base/mem.h"

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

static void act(struct path_search *p, const struct path_action *action)
{
	p->io.act(p->io.arg, action);
}

static void set_best(struct path_search *p, const struct path_quality *q)
{
	const bool changed = !path_addr_equal(&p->best.addr, &q->addr);

	p->best = *q;
	if (changed)
		act(p, &(struct path_action){.type = PATH_CHANGED, .addr = q->addr});
}

static void clear_best(struct path_search *p)
{
	p->trust_until_ns = p->doubt_ns = 0;
	set_best(p, &(struct path_quality){0});
}

static void prune(struct path_search *p, uint64_t now_ns)
{
	const struct path_addr *best = &p->best.addr;

	path_drop_stale(p, now_ns);
	if (path_addr_is_direct(best) && !path_find(p, &best->to, best->local_port))
		clear_best(p);
}

bool peer_path_trusted(const struct path_search *p, uint64_t now_ns)
{
	return path_addr_exists(&p->best.addr) && now_ns <= p->trust_until_ns;
}

static bool trusts_direct(const struct path_search *p, uint64_t now_ns)
{
	return path_addr_is_direct(&p->best.addr) && peer_path_trusted(p, now_ns);
}

// Data was sent within that time.
static bool sent_within(const struct path_search *p, unsigned ms, uint64_t now_ns)
{
	return p->last_send_ns && now_ns - p->last_send_ns <= ms * PATH_MS;
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

static void start_ping(
	struct path_search *p, const struct path_addr *to, bool is_retry, uint64_t now_ns)
{
	struct path_action action = {.type = PATH_PING, .addr = *to, .is_retry = is_retry};

	if (!path_grow((void **)&p->pings, p->n_pings, &p->max_pings, sizeof(*p->pings),
		    PATH_PINGS_MAX))
		memmove(p->pings, p->pings + 1, --p->n_pings * sizeof(*p->pings));
	p->io.random(p->io.arg, action.txid, sizeof(action.txid));
	struct path_ping *ping = &p->pings[p->n_pings++];
	*ping = (struct path_ping){.to = *to, .sent_ns = now_ns};
	memcpy(ping->txid, action.txid, sizeof(ping->txid));
	act(p, &action);
}

static void ping_candidate(struct path_search *p, struct path_candidate *c, uint64_t now_ns)
{
	c->pinged_ns = now_ns;
	start_ping(
		p, &(struct path_addr){.to = c->addr, .local_port = c->local_port}, false, now_ns);
}

static void forget_ping(struct path_search *p, size_t i)
{
	memmove(p->pings + i, p->pings + i + 1, (--p->n_pings - i) * sizeof(*p->pings));
}

static void full_ping(struct path_search *p, uint64_t now_ns, bool call)
{
	bool any = false;

	prune(p, now_ns);
	p->full_ping_ns = now_ns;
	for (size_t i = 0; i < p->n_candidates; i++) {
		struct path_candidate *c = &p->candidates[i];
		if (c->pinged_ns && now_ns - c->pinged_ns < PATH_PING_INTERVAL_MS * PATH_MS)
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

	if (!p->relays || (trusted && path_addr_is_direct(&p->best.addr)))
		return false;
	if (p->relay_discovery_ns == 0)
		return !trusted;
	return ago >= (trusted ? PATH_UPGRADE_MS : PATH_DISCOVER_RELAY_MS) * PATH_MS;
}

static void discover_relay_if_due(struct path_search *p, uint64_t now_ns)
{
	if (!relay_discovery_due(p, now_ns))
		return;
	p->relay_discovery_ns = now_ns;
	act(p, &(struct path_action){.type = PATH_DISCOVER_RELAY});
}

// Traffic has no direct way and had one: ask that one again and again. What took it away, a link or
// a firewall for a moment, often gives it back, and full pings are PATH_PING_INTERVAL_MS apart.
static void start_retry(struct path_search *p, uint64_t now_ns)
{
	if (!path_addr_exists(&p->proven) || p->retry_ns)
		return;
	if (p->lost_ns == 0)
		p->lost_ns = now_ns;
	if (now_ns - p->lost_ns < PATH_RETRY_END_MS * PATH_MS)
		p->retry_ns = now_ns + PATH_RETRY_MS * PATH_MS;
}

static void retry(struct path_search *p, uint64_t now_ns)
{
	const uint64_t ago = now_ns - p->lost_ns;

	p->retry_ns = 0; // the next packet starts it again
	if (trusts_direct(p, now_ns) || !sent_within(p, PATH_RETRY_TRAFFIC_MS, now_ns) ||
		ago >= PATH_RETRY_END_MS * PATH_MS ||
		!path_find(p, &p->proven.to, p->proven.local_port))
		return;
	// Not one of the pings between which PATH_PING_INTERVAL_MS is kept: a call-me-maybe goes
	// with those alone.
	start_ping(p, &p->proven, true, now_ns);
	p->retry_ns =
		now_ns +
		(ago < PATH_RETRY_FAST_MS * PATH_MS ? PATH_RETRY_MS : PATH_RETRY_SLOW_MS) * PATH_MS;
}

int peer_path_send(struct path_search *p, uint64_t now_ns, struct path_choice *out)
{
	*out = peer_path_choice(p, now_ns);
	p->last_send_ns = now_ns;
	if (p->heartbeat_ns == 0 && !p->silent)
		p->heartbeat_ns = now_ns + PATH_HEARTBEAT_MS * PATH_MS;
	if (!trusts_direct(p, now_ns)) {
		full_ping(p, now_ns, true);
		discover_relay_if_due(p, now_ns);
		start_retry(p, now_ns);
	}
	return path_addr_exists(&out->udp) || out->derp_region ? 0 : -EHOSTUNREACH;
}

static bool full_ping_due(const struct path_search *p, uint64_t now_ns)
{
	if (p->full_ping_ns == 0 || !trusts_direct(p, now_ns))
		return true;
	return p->best.latency_ns > PATH_GOOD_LATENCY_MS * PATH_MS &&
	       now_ns - p->full_ping_ns >= PATH_UPGRADE_MS * PATH_MS;
}

static void ask_best(struct path_search *p, uint64_t now_ns)
{
	start_ping(p, &p->best.addr, false, now_ns);
	p->doubt_ns = now_ns + PATH_DOUBT_MS * PATH_MS + 4 * p->best.latency_ns;
}

// A heartbeat was not answered in time: ask once more, then DERP helps out, which the peer takes as
// well as UDP. Without this, what is sent is lost until the trust of 6.5 s has run out.
static void doubt(struct path_search *p, uint64_t now_ns)
{
	p->doubt_ns = 0;
	if (!peer_path_trusted(p, now_ns) || !sent_within(p, PATH_SESSION_MS, now_ns))
		return;
	if (++p->unanswered < PATH_UNANSWERED_MAX)
		ask_best(p, now_ns);
	else {
		p->trust_until_ns = 0;
		start_retry(p, now_ns);
	}
}

static void heartbeat(struct path_search *p, uint64_t now_ns)
{
	p->heartbeat_ns = 0;
	if (!sent_within(p, PATH_SESSION_MS, now_ns))
		return;
	if (path_addr_exists(&p->best.addr)) {
		struct path_candidate *c =
			path_addr_is_direct(&p->best.addr)
				? path_find(p, &p->best.addr.to, p->best.addr.local_port)
				: NULL;
		if (c)
			c->pinged_ns = now_ns;
		p->unanswered = 0;
		ask_best(p, now_ns);
	}
	if (full_ping_due(p, now_ns))
		full_ping(p, now_ns, true);
	discover_relay_if_due(p, now_ns);
	p->heartbeat_ns = now_ns + PATH_HEARTBEAT_MS * PATH_MS;
}

static void expire_pings(struct path_search *p, uint64_t now_ns)
{
	while (p->n_pings > 0 && now_ns - p->pings[0].sent_ns >= PATH_PING_TIMEOUT_MS * PATH_MS) {
		const struct path_addr to = p->pings[0].to;
		forget_ping(p, 0);
		if (path_addr_equal(&to, &p->best.addr) && !peer_path_trusted(p, now_ns))
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
	if (p->retry_ns && now_ns >= p->retry_ns)
		retry(p, now_ns);
}

uint64_t peer_path_next_ns(const struct path_search *p)
{
	uint64_t next = p->heartbeat_ns ? p->heartbeat_ns : UINT64_MAX;

	if (p->doubt_ns && p->doubt_ns < next)
		next = p->doubt_ns;
	if (p->retry_ns && p->retry_ns < next)
		next = p->retry_ns;
	if (p->n_pings > 0 && p->pings[0].sent_ns + PATH_PING_TIMEOUT_MS * PATH_MS < next)
		next = p->pings[0].sent_ns + PATH_PING_TIMEOUT_MS * PATH_MS;
	return next;
}

void peer_path_probe(struct path_search *p, uint64_t now_ns)
{
	const bool trusted = peer_path_trusted(p, now_ns);

	if (trusted)
		start_ping(p, &p->best.addr, false, now_ns);
	if (trusts_direct(p, now_ns))
		return;
	for (size_t i = 0; i < p->n_candidates; i++)
		p->candidates[i].pinged_ns = 0;
}

static void ping_back(struct path_search *p, struct path_candidate *c, uint64_t now_ns)
{
	if (peer_path_trusted(p, now_ns) || !sent_within(p, PATH_SESSION_MS, now_ns))
		return;
	if (c->pinged_back_ns && now_ns - c->pinged_back_ns < PATH_PING_BACK_MS * PATH_MS)
		return;
	c->pinged_back_ns = now_ns;
	ping_candidate(p, c, now_ns);
}

static struct path_candidate *heard_of(
	struct path_search *p, const struct path_addr *from, uint64_t now_ns)
{
	if (p->n_candidates == PATH_CANDIDATES_MAX)
		prune(p, now_ns);
	return path_find_or_add(p, &from->to, from->local_port);
}

void peer_path_hint(struct path_search *p, const struct path_addr *from, uint64_t now_ns)
{
	struct path_candidate *c = heard_of(p, from, now_ns);
	if (!c)
		return;
	c->heard_ns = now_ns;
	ping_back(p, c, now_ns);
}

bool peer_path_ping(struct path_search *p, const struct path_addr *from,
	const uint8_t txid[static DISCO_TXID_LEN], uint64_t now_ns)
{
	struct path_candidate *c = heard_of(p, from, now_ns);
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

static void credit(struct path_search *p, const struct path_ping *ping, uint64_t now_ns)
{
	const struct path_quality q = {
		.addr = ping->to,
		.latency_ns = now_ns - ping->sent_ns,
		.mtu = PATH_MTU,
	};
	const bool is_best = path_addr_equal(&q.addr, &p->best.addr);
	struct path_candidate *c =
		path_addr_is_direct(&q.addr) ? path_find(p, &q.addr.to, q.addr.local_port) : NULL;

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
	p->trust_until_ns = now_ns + PATH_TRUST_MS * PATH_MS;
	if (path_addr_is_direct(&q.addr)) {
		p->proven = q.addr;
		p->lost_ns = p->retry_ns = 0;
	}
	if (!is_best)
		set_best(p, &q);
}

int peer_path_pong(
	struct path_search *p, const uint8_t txid[static DISCO_TXID_LEN], uint64_t now_ns)
{
	for (size_t i = 0; i < p->n_pings; i++) {
		if (sodium_memcmp(p->pings[i].txid, txid, DISCO_TXID_LEN) != 0)
			continue;
		const struct path_ping ping = p->pings[i];
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
			struct path_candidate *c = pass == 0
							   ? path_find(p, &endpoints[i], 0)
							   : path_find_or_add(p, &endpoints[i], 0);
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
	p->trust_until_ns = now_ns + PATH_TRUST_MS * PATH_MS;
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
	if (!to) {
		p->n_pings = 0;
		p->lost_ns = 0;
	}
	p->full_ping_ns = 0;
	clear_best(p);
}

void peer_path_set_silent(struct path_search *p, bool silent)
{
	p->silent = silent;
	if (silent)
		p->heartbeat_ns = p->doubt_ns = 0;
}

void peer_path_heard(struct path_search *p, uint64_t now_ns)
{
	if (p->silent && peer_path_trusted(p, now_ns))
		p->trust_until_ns = now_ns + PATH_TRUST_MS * PATH_MS;
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
