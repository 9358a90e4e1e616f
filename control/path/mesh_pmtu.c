// The path MTU of each UDP path in use: pmtu.c decides, this sends its probes (padded pings) and
// tells it of traffic and pongs.
#include <sodium.h>

#include "control/path/mesh_priv.h"
#include "dataplane/wire/ledger.h"

// What a ping is longer on the wire than as a disco message.
static uint16_t outside(const struct path_addr *to)
{
	return ledger_overhead(ledger_carrier(to->to.addr.family, to->vni != 0)) - WG_DATA_OVERHEAD;
}

static uint16_t least(const struct path_addr *to)
{
	return to->to.addr.family == IP_V6 ? LEDGER_MTU_MIN6 : LEDGER_MTU_MIN4;
}

static uint16_t most(const struct mesh *m, const struct path_addr *to)
{
	const uint32_t probe = DISCO_PACKET_MAX + outside(to);
	const uint16_t link = m->env.link_mtu(m->env.arg, to);

	return link < probe ? link : (uint16_t)probe;
}

static void probe(struct mesh_active *a, uint16_t size, uint64_t now_ns)
{
	struct mesh *m = a->mesh;
	struct mesh_peer *p = a->peer;
	struct disco_message message;
	uint8_t txid[DISCO_TXID_LEN];

	if (!mesh_paced(&m->pmtu_tat_ns, 1000 * MESH_MS / MESH_PMTU_PER_S, MESH_PMTU_PER_S / 4,
		    now_ns)) {
		mesh_count(m, MESH_COUNTER_PMTU_LIMITED);
		return;
	}
	randombytes_buf(txid, sizeof(txid));
	mesh_ping_message(m, size - outside(&a->pmtu_addr), txid, &message);
	if (!mesh_disco_udp(m, &p->disco, &a->pmtu_addr, &message, now_ns))
		return;
	pmtu_sent(&a->pmtu, size, txid);
	p->stats.pings_tx++;
	p->stats.last_ping_ns = now_ns;
	mesh_count(m, MESH_COUNTER_PMTU_TX);
}

static void count_change(struct mesh *m, uint16_t before, uint16_t after)
{
	if (before && after && after < before)
		mesh_count(m, MESH_COUNTER_PMTU_LOWERED);
	else if (before && after > before)
		mesh_count(m, MESH_COUNTER_PMTU_RAISED);
}

void mesh_pmtu_step(struct mesh_active *a, uint64_t now_ns)
{
	const struct path_quality *best = peer_path_best(a->path);
	const uint16_t before = a->pmtu.mtu;
	uint16_t sizes[PMTU_ROUND_MAX];

	if (!path_addr_equal(&a->pmtu_addr, &best->addr)) {
		pmtu_reset(&a->pmtu);
		a->pmtu_addr = best->addr;
	}
	if (!peer_path_trusted(a->path, now_ns))
		return;
	pmtu_set_limits(&a->pmtu, least(&best->addr), most(a->mesh, &best->addr), now_ns);
	const unsigned n = pmtu_tick(&a->pmtu, best->latency_ns, now_ns, sizes);
	for (unsigned i = 0; i < n; i++)
		probe(a, sizes[i], now_ns);
	count_change(a->mesh, before, a->pmtu.mtu);
}

// Packets on average so long that some are large; and whether the peer is silent meanwhile.
static enum pmtu_traffic traffic_of(struct mesh_active *a, uint64_t now_ns)
{
	struct mesh *m = a->mesh;
	struct mesh_sent sent = {0};

	m->env.sent(m->env.arg, &a->peer->node, &sent);
	const uint64_t packets = sent.packets - a->sent.packets, bytes = sent.bytes - a->sent.bytes;
	a->sent = sent;
	if (packets == 0 || bytes / packets < MESH_PMTU_FULL)
		return PMTU_SMALL;
	const uint64_t heard_ns = m->env.last_rx_ns(m->env.arg, &a->peer->node);
	const uint64_t patience_ns =
		MESH_PMTU_SILENT_MS * MESH_MS + 2 * peer_path_best(a->path)->latency_ns;
	return heard_ns + patience_ns < now_ns ? PMTU_SUSPECT : PMTU_FULL;
}

void mesh_pmtu_traffic(struct mesh_active *a, uint64_t now_ns)
{
	enum pmtu_traffic traffic = traffic_of(a, now_ns);

	// With little disco wanted, large packets alone are no reason to look again and again.
	if (a->mesh->silent && traffic == PMTU_FULL)
		traffic = PMTU_SMALL;
	pmtu_traffic(&a->pmtu, traffic, now_ns);
}

bool mesh_pmtu_pong(
	struct mesh_active *a, const uint8_t txid[static DISCO_TXID_LEN], uint64_t now_ns)
{
	if (pmtu_answered(&a->pmtu, txid, peer_path_best(a->path)->latency_ns, now_ns))
		return false;
	mesh_count(a->mesh, MESH_COUNTER_PMTU_RX);
	return true;
}

void mesh_too_big(struct mesh *m, const struct endpoint *to, uint32_t mtu)
{
	if (mtu > UINT16_MAX)
		return;
	for (struct mesh_active *a = m->active; a; a = a->next)
		if (endpoint_equal(&a->pmtu_addr.to, to))
			pmtu_hint(&a->pmtu, (uint16_t)mtu);
}

uint64_t mesh_pmtu_next_ns(const struct mesh_active *a, uint64_t now_ns)
{
	return peer_path_trusted(a->path, now_ns) ? pmtu_next_ns(&a->pmtu, now_ns) : UINT64_MAX;
}

uint16_t mesh_pmtu(const struct mesh_active *a, const struct path_addr *to)
{
	return path_addr_exists(to) && path_addr_equal(to, &a->pmtu_addr) ? a->pmtu.mtu : 0;
}
