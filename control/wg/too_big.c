// ICMP that says too big. Anybody can send it: of a peer without probes it is believed when it
// quotes what only somebody on the way has seen, the receiver index of the session at the peer, in
// a packet of ours that no router may cut and that is larger than what is said. Nobody who is
// believed stops a path from working: the limits are those of RFC 791 and 8200.
#include <stdlib.h>

#include "control/wg/device.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/wire/icmp_quote.h"
#include "dataplane/wire/ledger.h"

enum {
	TOO_BIG_PER_S = 50, // looked at; as many at once
	TOLD_S = 600,	    // believed for (the kernel's net.ipv6.route.mtu_expires)
	TOLD_PROBED_S = 20, // over IPv4: ten probes to which no router said anything
};

static bool paced(struct wg *w, uint64_t now)
{
	uint64_t interval = wg_tsc(w, 1000) / TOO_BIG_PER_S, tat = RTE_MAX(w->too_big_tat, now);
	if (tat - now > wg_tsc(w, 1000))
		return false;
	w->too_big_tat = tat + interval;
	return true;
}

static bool has_index(const struct keypair *kp, uint32_t index)
{
	return kp && kp->remote_index == index;
}

// Whether this session sends such datagrams: from our address and port to its peer, for the peer's
// session.
static bool has_sent(const struct session *s, const struct icmp_quote *q)
{
	const struct peer_path *path = atomic_load(&s->peer->path);
	const struct wg_data *h = (const struct wg_data *)q->payload;
	if (!endpoint_equal(&s->endpoint, &q->to) || !ip_addr_equal(&path->local, &q->from.addr) ||
		q->len < offsetof(struct wg_data, counter) ||
		h->type != wg_type_field(WG_TYPE_DATA))
		return false;
	uint32_t index = rte_le_to_cpu_32(h->receiver);
	return has_index(s->current, index) || has_index(s->previous, index) ||
	       has_index(s->next, index);
}

static struct session *sender_of(const struct wg *w, const struct icmp_quote *q)
{
	const struct peer *peer;
	for (uint32_t id = 0; (peer = peer_table_next(w->gw->peers, &id));) {
		struct session *s = peer->session;
		if (!s->meshed && has_sent(s, q))
			return s;
	}
	return NULL;
}

static bool is_ours(const struct wg *w, const struct icmp_quote *q)
{
	return q->from.port == atomic_load(&w->gw->wg_port) && !q->may_cut;
}

static bool can_be(const struct icmp_quote *q)
{
	uint16_t least = q->to.addr.family == IP_V6 ? LEDGER_MTU_MIN6 : LEDGER_MTU_MIN4;
	return q->mtu >= least && q->mtu < q->total_len;
}

static void believe(struct session *s, const struct icmp_quote *q, uint64_t now)
{
	struct wg *w = s->wg;
	bool probed = q->to.addr.family == IP_V4;
	unsigned seconds = probed ? TOLD_PROBED_S : TOLD_S;
	const struct peer_path *path = atomic_load(&s->peer->path);
	uint16_t mtu = ledger_inside(
		(uint16_t)q->mtu, ledger_carrier((enum ip_family)q->to.addr.family, s->vni != 0));
	bool again = probed && mtu != 0 && mtu == s->told.mtu;
	if (!again && (mtu == 0 || (path->mtu && mtu >= path->mtu)))
		return wg_count(w, WG_COUNTER_TOO_BIG_FALSE); // and no longer believed for it
	wg_count(w, WG_COUNTER_TOO_BIG);
	s->told_until = now + wg_tsc(w, seconds * 1000ull);
	if (again)
		return;
	s->told = (struct wg_learned){mtu, unix_now_ns()};
	log_info("wg", "peer %s: a router on the way takes %u bytes: packets of %u fit",
		s->peer->name, q->mtu, mtu);
	session_time(s);
	session_update_path(s);
}

void wg_too_big(struct wg *w, const uint8_t *packet, size_t len)
{
	struct icmp_quote q;
	uint64_t now = wg_now(w);
	if (!paced(w, now))
		return wg_count(w, WG_COUNTER_TOO_BIG_LIMITED);
	int rc = icmp_quote_read(packet, len, &q);
	if (rc < 0)
		return wg_count(w, WG_COUNTER_TOO_BIG_MALFORMED);
	if (!is_ours(w, &q))
		return wg_count(w, WG_COUNTER_TOO_BIG_UNASKED);
	if (!can_be(&q))
		return wg_count(w, WG_COUNTER_TOO_BIG_FALSE);
	struct session *s = sender_of(w, &q);
	if (s)
		return believe(s, &q, now);
	if (!w->env.too_big)
		return wg_count(w, WG_COUNTER_TOO_BIG_UNASKED);
	wg_count(w, WG_COUNTER_TOO_BIG);
	w->env.too_big(w->env.arg, &q.to, q.mtu);
}

void session_forget_told(struct session *s, uint64_t now)
{
	if (s->told.mtu == 0 || now < s->told_until)
		return;
	log_info("wg", "peer %s: trying packets larger than %u bytes again", s->peer->name,
		s->told.mtu);
	s->told = (struct wg_learned){0};
	session_update_path(s);
}
