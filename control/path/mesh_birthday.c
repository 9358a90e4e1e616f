// Through a hard NAT to a peer behind an easy one that lets strangers' packets in from nowhere: by
// the birthday method (tailscale.com/blog/how-nat-traversal-works).
//
// The side behind the hard NAT pings the peer's address from many ports, each of which its NAT maps
// to a port that nobody knows. The peer has to ping one of these: it pings what a call-me-maybe
// lists, so that lists up to a hundred guesses of ports at our outside address. A peer of our kind
// knows such a list by its look and goes on guessing by itself. With 256 ports open one guess in
// 250 meets one: of 1000 guesses one does with a probability of 98 %. What meets comes in at the
// port that it is for; from there the path is pinged, and stays.
//
// Behind two hard NATs a guess would have to be right twice: that is given up.
#include <errno.h>
#include <sodium.h>
#include <stdio.h>

#include "control/path/mesh_priv.h"

static const int64_t PING_COST = 1000000000;
static const uint64_t SECOND_NS = UINT64_C(1000000000);

enum { GUESS_FIRST = 1024 }; // ports below are of no NAT's

void mesh_set_birthday(struct mesh *m, const struct mesh_birthday *limits)
{
	m->attempts.limits = *limits;
}

static bool is_direct(const struct mesh_active *a, uint64_t now_ns)
{
	const struct path_quality *best = peer_path_best(a->path);

	return best->addr.vni == 0 && peer_path_trusted(a->path, now_ns);
}

static bool is_hard(const struct mesh_tried *tried, uint64_t now_ns)
{
	return tried->hard_ns && now_ns - tried->hard_ns < MESH_ATTEMPT_HARD_S * SECOND_NS;
}

static bool has_traffic(const struct mesh_active *a, uint64_t now_ns)
{
	return a->sent_ns && now_ns - a->sent_ns <= MESH_ATTEMPT_TRAFFIC_MS * MESH_MS;
}

static enum mesh_nat nat_of(const struct mesh *m, struct ip_addr *outside)
{
	return m->env.nat(m->env.arg, outside);
}

// --- Beginning and end.

static struct mesh_attempt *begin(struct mesh_active *a, bool guessing, uint64_t now_ns)
{
	struct mesh_attempts *all = &a->mesh->attempts;

	for (unsigned i = 0; i < MESH_ATTEMPTS_MAX; i++) {
		struct mesh_attempt *t = &all->list[i];
		if (t->active)
			continue;
		*t = (struct mesh_attempt){
			.active = a,
			.guessing = guessing,
			.end_ns = now_ns + all->limits.seconds * SECOND_NS,
			.call_ns = now_ns,
			.key = randombytes_random(),
		};
		a->attempt = t;
		mesh_count(a->mesh, MESH_COUNTER_BIRTHDAY_TRIED);
		mesh_arm(a->mesh, now_ns, now_ns);
		return t;
	}
	return NULL;
}

static void forget(struct mesh_attempt *t)
{
	t->active->attempt = NULL;
	t->active->indirect_ns = 0;
	t->active = NULL;
}

static uint64_t pause_s(const struct mesh_tried *tried)
{
	uint64_t s = MESH_ATTEMPT_PAUSE_S;

	for (unsigned i = 1; i < tried->failures && s < MESH_ATTEMPT_PAUSE_MAX_S; i++)
		s *= 2;
	return s < MESH_ATTEMPT_PAUSE_MAX_S ? s : MESH_ATTEMPT_PAUSE_MAX_S;
}

static void finish(struct mesh *m, struct mesh_attempt *t, uint64_t now_ns)
{
	struct mesh_tried *tried = &t->active->peer->tried;
	const bool won = is_direct(t->active, now_ns);

	tried->ports = t->guessing ? 0 : m->attempts.n_ports;
	tried->guesses = t->guesses;
	tried->failures = won ? 0 : tried->failures < UINT8_MAX ? tried->failures + 1 : UINT8_MAX;
	if (won)
		mesh_count(m, MESH_COUNTER_BIRTHDAY_WON);
	tried->again_ns =
		now_ns + (won || t->guessing ? MESH_ATTEMPT_AGAIN_S : pause_s(tried)) * SECOND_NS;
	forget(t);
}

void mesh_birthday_drop(struct mesh *m, const struct mesh_active *a)
{
	for (unsigned i = 0; i < MESH_ATTEMPTS_MAX; i++) {
		struct mesh_attempt *t = &m->attempts.list[i];
		if (t->active && (!a || t->active == a))
			forget(t);
	}
}

static bool is_over(const struct mesh_attempt *t, uint64_t now_ns)
{
	if (is_direct(t->active, now_ns) || now_ns >= t->end_ns)
		return true;
	return t->guessing && now_ns - t->call_ns > MESH_ATTEMPT_SILENT_MS * MESH_MS;
}

// --- Behind the hard NAT.

static bool is_inside(const struct ip_addr *a)
{
	return ip_addr_is_private(a) || ip_addr_is_loopback(a) || ip_addr_is_link_local(a);
}

// The peer's own order is by what is likely to be reached from outside.
static unsigned choose_targets(const struct mesh_active *a, struct endpoint *out)
{
	struct endpoint list[PATH_CANDIDATES_MAX];
	const size_t n = peer_path_named(a->path, list, PATH_CANDIDATES_MAX);
	unsigned found = 0;

	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < n && found < MESH_ATTEMPT_TARGETS; i++)
			if (list[i].addr.family == IP_V4 && is_inside(&list[i].addr) == (pass == 1))
				out[found++] = list[i];
	return found;
}

static bool open_ports(struct mesh *m)
{
	struct mesh_attempts *all = &m->attempts;

	if (all->n_ports > 0)
		return true;
	if (m->env.open_ports(m->env.arg, all->limits.ports, &all->first))
		return false;
	all->n_ports = (uint16_t)all->limits.ports;
	return true;
}

void mesh_birthday_look(struct mesh_active *a, uint64_t now_ns)
{
	struct mesh *m = a->mesh;
	struct endpoint targets[MESH_ATTEMPT_TARGETS];
	struct ip_addr outside;

	a->looked_ns = now_ns;
	if (is_direct(a, now_ns) || !has_traffic(a, now_ns)) {
		a->indirect_ns = 0;
		return;
	}
	if (!a->indirect_ns || a->attempt ||
		now_ns - a->indirect_ns < MESH_ATTEMPT_AFTER_MS * MESH_MS ||
		m->attempts.limits.ports == 0 || now_ns < a->peer->tried.again_ns ||
		is_hard(&a->peer->tried, now_ns) || a->peer->home == 0 ||
		nat_of(m, &outside) != MESH_NAT_HARD)
		return;
	const unsigned n = choose_targets(a, targets);
	if (n == 0)
		return;
	if (!open_ports(m)) {
		a->peer->tried.again_ns = now_ns + MESH_ATTEMPT_AGAIN_S * SECOND_NS;
		return;
	}
	struct mesh_attempt *t = begin(a, false, now_ns);
	if (!t)
		return;
	memcpy(t->targets, targets, sizeof(targets));
	t->n_targets = n;
}

uint64_t mesh_birthday_next_ns(const struct mesh_active *a)
{
	const uint64_t due_ns = a->indirect_ns + MESH_ATTEMPT_AFTER_MS * MESH_MS;

	if (!a->indirect_ns || a->attempt || a->mesh->attempts.limits.ports == 0)
		return UINT64_MAX;
	return due_ns > a->looked_ns ? due_ns : UINT64_MAX; // then at the next heartbeat
}

// Another number for each (a Feistel network): no port is guessed twice before all had their turn,
// and those in a row, as some NATs give them out, are hit no less than others.
static uint16_t shuffled(uint16_t i, uint32_t key)
{
	uint8_t left = (uint8_t)(i >> 8), right = (uint8_t)i;

	for (unsigned round = 0; round < 4; round++, key >>= 8) {
		const uint32_t in = ((key & 0xff) << 8) + right + 1;
		const uint8_t mixed = left ^ (uint8_t)(in * UINT32_C(0x9e3779b1) >> 24);
		left = right;
		right = mixed;
	}
	return (uint16_t)(left << 8 | right);
}

static uint16_t next_guess(struct mesh_attempt *t)
{
	uint16_t port;

	do
		port = shuffled(t->guess++, t->key);
	while (port < GUESS_FIRST);
	t->guesses++;
	return port;
}

static unsigned running(const struct mesh_attempts *all)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MESH_ATTEMPTS_MAX; i++)
		n += all->list[i].active != NULL;
	return n;
}

// Half of the rate goes into guesses; each makes the peer ping once.
size_t mesh_birthday_guesses(struct mesh_active *a, struct endpoint *out, size_t max)
{
	struct mesh_attempts *all = &a->mesh->attempts;
	struct ip_addr outside;

	if (!a->attempt || a->attempt->guessing || nat_of(a->mesh, &outside) != MESH_NAT_HARD)
		return 0;
	size_t n = all->limits.rate / 2 / running(all);
	n = n < MESH_GUESSES_MIN ? MESH_GUESSES_MIN : n;
	n = n < max ? n : max;
	for (size_t i = 0; i < n; i++)
		out[i] = (struct endpoint){outside, next_guess(a->attempt)};
	all->credit -= (int64_t)n * PING_COST;
	a->mesh->counters[MESH_COUNTER_BIRTHDAY_GUESSED] += n;
	return n;
}

// --- Behind the easy one.

// The address of which a call-me-maybe lists very many ports; NULL: of none.
static const struct ip_addr *guessed_address(const struct disco_message *message)
{
	const struct ip_addr *last = NULL;
	unsigned n = 0;

	if (message->n_endpoints < MESH_GUESSES_MIN)
		return NULL;
	last = &message->endpoints[message->n_endpoints - 1].addr;
	for (uint32_t i = 0; i < message->n_endpoints; i++)
		n += ip_addr_equal(&message->endpoints[i].addr, last);
	return n >= MESH_GUESSES_MIN && last->family == IP_V4 ? last : NULL;
}

// Of the peer itself, says the netmap: nobody shall have us ping the ports of others.
static bool is_of(const struct mesh_peer *p, const struct ip_addr *addr)
{
	for (uint32_t i = 0; i < p->n_endpoints; i++)
		if (ip_addr_equal(&p->endpoints[i].addr, addr))
			return true;
	return false;
}

static size_t without_guesses(const struct disco_message *message, const struct ip_addr *guessed,
	struct endpoint kept[static DISCO_ENDPOINTS_MAX])
{
	size_t n = 0, of_guessed = 0;

	for (uint32_t i = 0; i < message->n_endpoints; i++)
		if (!ip_addr_equal(&message->endpoints[i].addr, guessed) ||
			of_guessed++ < MESH_GUESSES_KEPT)
			kept[n++] = message->endpoints[i];
	return n;
}

bool mesh_birthday_called(struct mesh_active *a, const struct disco_message *message,
	struct endpoint kept[static DISCO_ENDPOINTS_MAX], size_t *n_kept, uint64_t now_ns)
{
	const struct ip_addr *guessed = guessed_address(message);
	struct mesh_tried *tried = &a->peer->tried;
	struct ip_addr outside;

	*n_kept = message->n_endpoints;
	memcpy(kept, message->endpoints, *n_kept * sizeof(kept[0]));
	if (guessed)
		tried->hard_ns = now_ns;
	if (!guessed || a->mesh->attempts.limits.ports == 0)
		return true;
	const enum mesh_nat nat = nat_of(a->mesh, &outside);
	if (a->attempt && a->attempt->guessing) {
		a->attempt->call_ns = now_ns;
		return false;
	}
	if (nat == MESH_NAT_HARD && a->attempt)
		finish(a->mesh, a->attempt, now_ns);
	if (nat == MESH_NAT_HARD)
		*n_kept = without_guesses(message, guessed, kept);
	if (nat != MESH_NAT_EASY || a->attempt || now_ns < tried->again_ns ||
		!is_of(a->peer, guessed) || is_direct(a, now_ns))
		return true;
	struct mesh_attempt *t = begin(a, true, now_ns);
	if (!t)
		return true;
	t->targets[0].addr = *guessed;
	t->n_targets = 1;
	*n_kept = without_guesses(message, guessed, kept);
	return true;
}

// --- Both.

bool mesh_birthday_pong(
	struct mesh *m, const struct key *disco, const struct path_addr *from, uint64_t now_ns)
{
	for (unsigned i = 0; i < MESH_ATTEMPTS_MAX; i++) {
		struct mesh_attempt *t = &m->attempts.list[i];
		struct mesh_active *a = t->active;
		if (!a || !mesh_key_equal(&a->peer->disco, disco) ||
			t->guessing != (from->local_port == 0))
			continue;
		for (unsigned j = 0; j < t->n_targets; j++) {
			if (t->guessing ? !ip_addr_equal(&t->targets[j].addr, &from->to.addr)
					: !endpoint_equal(&t->targets[j], &from->to))
				continue;
			peer_path_hint(a->path, from, now_ns);
			mesh_settle(a, now_ns);
			return true;
		}
	}
	return false;
}

// The next port in turn, of ours or (guessing) of theirs.
static bool send_ping(struct mesh *m, struct mesh_attempt *t, uint64_t now_ns)
{
	struct mesh_attempts *all = &m->attempts;
	struct path_addr to = {.to = t->targets[0]};
	struct disco_message message;
	uint8_t txid[DISCO_TXID_LEN];

	if (t->guessing) {
		to.to.port = next_guess(t);
	} else {
		to.to = t->targets[t->pings / all->n_ports % t->n_targets];
		to.local_port = (uint16_t)(all->first + t->pings % all->n_ports);
	}
	randombytes_buf(txid, sizeof(txid));
	mesh_ping_message(m, 0, txid, &message);
	t->pings++;
	mesh_count(m, MESH_COUNTER_BIRTHDAY_TX);
	return mesh_disco_udp(m, &t->active->peer->disco, &to, &message, now_ns);
}

static void earn(struct mesh_attempts *all, uint64_t now_ns)
{
	const int64_t most = all->limits.rate * PING_COST / 4;
	const uint64_t elapsed = now_ns - all->earned_ns;

	all->credit += (int64_t)((elapsed < SECOND_NS ? elapsed : SECOND_NS) * all->limits.rate);
	if (all->credit > most)
		all->credit = most > PING_COST ? most : PING_COST;
	all->earned_ns = now_ns;
}

static void spend(struct mesh *m, uint64_t now_ns)
{
	struct mesh_attempts *all = &m->attempts;

	for (unsigned i = 0; i < MESH_ATTEMPTS_MAX; i++) {
		struct mesh_attempt *t = &all->list[i];
		if (!t->active || t->guessing || now_ns < t->call_ns)
			continue;
		t->call_ns = now_ns + MESH_ATTEMPT_CALL_MS * MESH_MS;
		mesh_call(t->active, now_ns);
	}
	while (all->credit >= PING_COST) {
		struct mesh_attempt *t = &all->list[all->turn++ % MESH_ATTEMPTS_MAX];
		if (!t->active)
			continue;
		all->credit -= PING_COST;
		if (!send_ping(m, t, now_ns))
			return; // no way there: it will not be better now
	}
}

static void close_unused(struct mesh *m)
{
	for (const struct mesh_active *a = m->active; a; a = a->next)
		if (peer_path_has_local_port(a->path))
			return;
	m->env.close_ports(m->env.arg);
	m->attempts.n_ports = 0;
}

uint64_t mesh_birthday_tick(struct mesh *m, uint64_t now_ns)
{
	struct mesh_attempts *all = &m->attempts;

	for (unsigned i = 0; i < MESH_ATTEMPTS_MAX; i++)
		if (all->list[i].active && is_over(&all->list[i], now_ns))
			finish(m, &all->list[i], now_ns);
	if (running(all) > 0) {
		earn(all, now_ns);
		spend(m, now_ns);
		return now_ns + MESH_TICK_MIN_MS * MESH_MS;
	}
	if (all->n_ports > 0)
		close_unused(m);
	return all->n_ports > 0 ? now_ns + MESH_PORTS_LOOK_MS * MESH_MS : UINT64_MAX;
}

void mesh_birthday_why(const struct mesh_peer *p, uint64_t now_ns, char *out, size_t max)
{
	const struct mesh_attempt *t = p->active->attempt;
	const struct mesh_tried *tried = &p->tried;
	const size_t len = strlen(out);

	out += len;
	max -= len;
	if (t && t->guessing)
		snprintf(out, max, "; its NAT is hard: %u of its ports tried", t->guesses);
	else if (t)
		snprintf(out, max, "; hard NAT: %u ports tried against %u guesses",
			t->pings < p->active->mesh->attempts.n_ports
				? t->pings
				: p->active->mesh->attempts.n_ports,
			t->guesses);
	else if (tried->ports > 0 && tried->failures > 0)
		snprintf(out, max,
			"; %s NAT: %u ports tried against %u guesses in vain, again in %.0f s",
			is_hard(tried, now_ns) ? "both have a hard" : "hard", tried->ports,
			tried->guesses,
			tried->again_ns > now_ns ? (double)(tried->again_ns - now_ns) / 1e9 : 0);
}
