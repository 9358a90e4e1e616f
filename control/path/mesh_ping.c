// Pings for people: to the trusted path, or to DERP and all candidates; the first pong counts.
// Those over UDP are the path's own, so that a pong serves it as well.
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "control/path/mesh_priv.h"
#include "dataplane/base/mem.h"

static struct mesh_try *add_try(struct mesh_ping *ping)
{
	return ping->n_tries < sizeof(ping->tries) / sizeof(ping->tries[0])
		       ? &ping->tries[ping->n_tries++]
		       : NULL;
}

void mesh_ping_add(struct mesh_ping *ping, const uint8_t txid[static DISCO_TXID_LEN],
	const struct path_addr *to)
{
	struct mesh_try *t = add_try(ping);

	if (!t)
		return;
	*t = (struct mesh_try){.to = *to};
	memcpy(t->txid, txid, sizeof(t->txid));
}

static void ping_derp(struct mesh *m, struct mesh_peer *p, struct mesh_ping *ping, uint64_t now_ns)
{
	const uint16_t region = mesh_region(p);
	struct disco_message message;
	struct mesh_try *t = add_try(ping);

	if (!t)
		return;
	*t = (struct mesh_try){.region = region};
	randombytes_buf(t->txid, sizeof(t->txid));
	mesh_ping_message(m, ping->size, t->txid, &message);
	if (mesh_disco_derp(m, region, p, &message, now_ns)) {
		ping->n_tries--;
		return;
	}
	p->stats.pings_tx++;
	p->stats.last_ping_ns = now_ns;
}

// Take it off the list and say how it ended. The callback may start another.
static void finish(struct mesh *m, struct mesh_ping **at, const struct mesh_pong *pong)
{
	struct mesh_ping *ping = *at;

	*at = ping->next;
	m->n_pings--;
	ping->done(ping->arg, pong);
	free(ping);
}

static void refuse(void (*done)(void *arg, const struct mesh_pong *), void *arg, int error)
{
	done(arg, &(struct mesh_pong){.error = error});
}

static void start(struct mesh *m, struct mesh_peer *p, struct mesh_ping *ping)
{
	const uint64_t now_ns = ping->start_ns;
	struct mesh_active *a = mesh_activate(m, p, now_ns);
	const bool trusted = peer_path_trusted(a->path, now_ns);

	a->ping = ping;
	peer_path_probe(a->path, now_ns);
	a->told_ns = 0; // or it would not pass it on
	mesh_note_traffic(a, now_ns);
	a->ping = NULL;
	if (!trusted && mesh_region(p))
		ping_derp(m, p, ping, now_ns);
	mesh_settle(a, now_ns);
}

void mesh_ping(struct mesh *m, const struct key *node, unsigned size, unsigned timeout_ms,
	void (*done)(void *arg, const struct mesh_pong *), void *arg)
{
	struct mesh_peer *p = mesh_find(m, node);
	const uint64_t now_ns = mesh_now(m);

	if (!p || !p->at_disco || p->wg_only)
		return refuse(done, arg, -ENOENT);
	if (size > DISCO_PACKET_MAX)
		return refuse(done, arg, -EMSGSIZE);
	if (m->n_pings == MESH_PINGS_MAX)
		return refuse(done, arg, -EBUSY);
	struct mesh_ping *ping = mem_alloc(sizeof(*ping));
	*ping = (struct mesh_ping){
		.node = *node,
		.size = size,
		.start_ns = now_ns,
		.end_ns = now_ns + timeout_ms * MESH_MS,
		.done = done,
		.arg = arg,
	};
	start(m, p, ping);
	ping->next = m->pings;
	m->pings = ping;
	m->n_pings++;
	if (size > DISCO_PING_LEN && ping->n_tries == 0)
		return finish(m, &m->pings, &(struct mesh_pong){.error = -EMSGSIZE});
	mesh_arm(m, ping->end_ns, now_ns);
}

static const struct mesh_try *find_try(
	const struct mesh_ping *ping, const uint8_t txid[static DISCO_TXID_LEN], bool derp)
{
	for (unsigned i = 0; i < ping->n_tries; i++)
		if ((ping->tries[i].region != 0) == derp &&
			sodium_memcmp(ping->tries[i].txid, txid, DISCO_TXID_LEN) == 0)
			return &ping->tries[i];
	return NULL;
}

static bool has_udp_try(const struct mesh_ping *ping)
{
	for (unsigned i = 0; i < ping->n_tries; i++)
		if (ping->tries[i].region == 0)
			return true;
	return false;
}

// A pong over DERP, while pings over UDP are out. Not the last word.
static void hold(
	struct mesh *m, struct mesh_ping *ping, const struct mesh_pong *pong, uint64_t now_ns)
{
	const uint64_t most = MESH_PONG_HOLD_MS * MESH_MS;
	const uint64_t end_ns = now_ns + (pong->latency_ns < most ? pong->latency_ns : most);

	ping->held = *pong;
	if (end_ns < ping->end_ns)
		ping->end_ns = end_ns;
	mesh_arm(m, ping->end_ns, now_ns);
}

bool mesh_ping_pong(struct mesh *m, const struct key *disco,
	const uint8_t txid[static DISCO_TXID_LEN], uint16_t region, uint64_t now_ns)
{
	for (struct mesh_ping **at = &m->pings; *at; at = &(*at)->next) {
		const struct mesh_try *t = find_try(*at, txid, region != 0);
		struct mesh_peer *p = t ? mesh_find(m, &(*at)->node) : NULL;
		if (!p || !mesh_key_equal(&p->disco, disco))
			continue;
		if (t->region) {
			p->stats.pongs_rx++;
			p->stats.pongs_derp_rx++;
			p->stats.last_pong_ns = now_ns;
		}
		const struct mesh_pong pong = {
			.latency_ns = now_ns - (*at)->start_ns,
			.addr = t->to,
			.region = t->region,
		};
		if (t->region && has_udp_try(*at))
			hold(m, *at, &pong, now_ns);
		else
			finish(m, at, &pong);
		return true;
	}
	return false;
}

// Each callback may change the list: from the start again.
static bool finish_due(struct mesh *m, uint64_t now_ns)
{
	for (struct mesh_ping **at = &m->pings; *at; at = &(*at)->next)
		if (now_ns >= (*at)->end_ns) {
			const struct mesh_pong held = (*at)->held;
			finish(m, at,
				held.region ? &held : &(struct mesh_pong){.error = -ETIMEDOUT});
			return true;
		}
	return false;
}

uint64_t mesh_ping_tick(struct mesh *m, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	// One that starts anew without time would go on for ever: the rest at the next tick.
	for (unsigned n = 0; n < MESH_PINGS_MAX && finish_due(m, now_ns); n++)
		;
	for (const struct mesh_ping *ping = m->pings; ping; ping = ping->next)
		next_ns = ping->end_ns < next_ns ? ping->end_ns : next_ns;
	return next_ns;
}

void mesh_ping_drop(struct mesh *m, const struct key *node)
{
	for (struct mesh_ping **at = &m->pings; *at;) {
		if (node && !mesh_key_equal(&(*at)->node, node)) {
			at = &(*at)->next;
			continue;
		}
		finish(m, at, &(struct mesh_pong){.error = -ENOENT});
		at = &m->pings;
	}
}
