// What a way over IPv4 carries. Data to peers goes there without DF, as that of every WireGuard: a
// narrow way cuts it, and no router has a reason to say so. So while large packets go to a static
// peer, a datagram as large as the largest of them goes along with DF: one of the peer's session,
// with a counter that no message has, which whoever speaks WireGuard drops. Nobody answers, so that
// it got through is not known; that it is too large for a router is what that router says, quoting
// it (too_big.c). Where nobody says so, nothing changes.
#include "control/wg/device.h"
#include "dataplane/wire/ledger.h"

enum {
	PROBE_MS = 2000,
	PROBE_FULL = 500,	   // bytes of a packet, on average: some are large
	PROBE_LEN_MAX = 9216 - 64, // jumbo frames
};

// Whether large packets went to the peer since the last look.
static bool sends_large(struct session *s)
{
	uint64_t packets = atomic_load_explicit(&s->peer->tx_packets, memory_order_relaxed);
	uint64_t bytes = atomic_load_explicit(&s->peer->tx_bytes, memory_order_relaxed);
	uint64_t more = packets - s->probe_packets, more_bytes = bytes - s->probe_bytes;
	s->probe_packets = packets;
	s->probe_bytes = bytes;
	return more > 0 && more_bytes / more >= PROBE_FULL;
}

static void probe(const struct session *s)
{
	uint8_t datagram[PROBE_LEN_MAX] = {0};
	struct wg *w = s->wg;
	uint16_t mtu = atomic_load(&w->gw->tunnel_mtu);
	size_t len = ledger_lower(mtu, s->link_mtu) + (size_t)WG_DATA_OVERHEAD;
	const struct wg_data h = {
		.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(s->current->remote_index),
		.counter = rte_cpu_to_le_64(WG_PROBE_COUNTER),
	};
	memcpy(datagram, &h, sizeof(h));
	if (w->env.send(w->env.arg, s->peer, &s->local, &s->endpoint, datagram,
		    RTE_MIN(len, sizeof(datagram))))
		wg_count(w, WG_COUNTER_PROBE_SENT);
}

void session_probe(struct session *s, uint64_t now)
{
	if (s->meshed || s->endpoint.addr.family != IP_V4 || !s->current || now < s->probe_at ||
		!sends_large(s))
		return;
	s->probe_at = now + wg_tsc(s->wg, PROBE_MS);
	probe(s);
}
