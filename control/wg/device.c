// The device and its peers: what is configured.
#include "control/wg/device.h"

#include <errno.h>
#include <stdlib.h>

#include "control/wg/noise.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mailbox.h"
#include "dataplane/wire/ledger.h"

static const struct {
	const char *label, *help;
} counter_texts[WG_COUNTER_COUNT] = {
#define X(name, label, help) [WG_COUNTER_##name] = {label, help},
	WG_COUNTERS(X)
#undef X
};

const char *wg_counter_label(enum wg_counter c)
{
	return counter_texts[c].label;
}

const char *wg_counter_help(enum wg_counter c)
{
	return counter_texts[c].help;
}

uint64_t wg_counter(const struct wg *w, enum wg_counter c)
{
	return w->counters[c];
}

static void on_tick(evutil_socket_t, short, void *arg)
{
	struct wg *w = arg;
	uint64_t now = wg_now(w);
	for (struct session *s = LIST_FIRST(&w->timed), *next; s; s = next) {
		next = LIST_NEXT(s, timed);
		session_tick(s, now);
	}
	rcu_reclaim(w->gw->rcu);
}

struct wg *wg_create(struct event_base *base, struct gateway *gw, const struct wg_env *env)
{
	const struct timeval interval = {.tv_usec = WG_TICK_MS * 1000};
	struct wg *w = mem_alloc(sizeof(*w));
	*w = (struct wg){.base = base, .gw = gw, .env = *env, .handshake_rate = UINT32_MAX};
	w->by_slot = calloc(INDEX_SLOTS, sizeof(w->by_slot[0]));
	w->ratelimit = ratelimit_create();
	w->tick = event_new(base, -1, EV_PERSIST, on_tick, w);
	if (!w->by_slot || !w->ratelimit || !w->tick || event_add(w->tick, &interval) < 0) {
		wg_destroy(w);
		return NULL;
	}
	return w;
}

static void session_destroy(struct session *s)
{
	struct wg *w = s->wg;
	for (uint32_t i = 0; i < s->n_allowed; i++)
		allowedips_clear(w->gw->allowed, &s->allowed[i], s->peer);
	session_reset(s);
	session_untime(s);
	peer_table_remove(w->gw->peers, s->peer);
	noise_remote_fini(&s->remote);
	free(s->allowed);
	mem_wipe_free(s, sizeof(*s)); // the preshared key as well
}

void wg_destroy(struct wg *w)
{
	struct peer *peer;
	if (!w)
		return;
	for (uint32_t id = 0; (peer = peer_table_next(w->gw->peers, &id));)
		session_destroy(peer->session);
	if (w->tick)
		event_free(w->tick);
	ratelimit_destroy(w->ratelimit);
	cookie_maker_fini(&w->cookies);
	noise_identity_fini(&w->identity);
	free(w->by_slot);
	mem_wipe_free(w, sizeof(*w));
}

// The newest timestamp stays: an initiation that was recorded before the change would still open,
// and its sender could take the peer's endpoint over.
bool session_remote(struct session *s)
{
	struct noise_remote remote;
	if (!s->remote_stale)
		return s->remote_valid;
	int r = noise_remote_init(
		&remote, &s->wg->identity, &s->peer->public_key, &s->preshared_key);
	memcpy(remote.timestamp, s->remote.timestamp, sizeof(remote.timestamp));
	s->remote = remote;
	s->remote_valid = r == 0;
	s->remote_stale = false;
	noise_remote_fini(&remote);
	if (r < 0)
		log_warn("wg", "peer %s: its public key cannot be used", s->peer->name);
	return s->remote_valid;
}

int wg_set_key(struct wg *w, const struct key *private_key)
{
	struct noise_identity identity;
	struct peer *peer;
	int r = noise_identity_init(&identity, private_key);
	if (r < 0)
		return r;
	if (w->has_key && sodium_memcmp(&identity.private_key, &w->identity.private_key,
				  sizeof(struct key)) == 0) {
		noise_identity_fini(&identity);
		return 0;
	}
	noise_identity_fini(&w->identity);
	w->identity = identity;
	w->has_key = true;
	noise_identity_fini(&identity);
	if (wg_peer_remove(w, &w->identity.public_key) == 0)
		log_warn("wg", "the new key is that of a peer, which is removed");
	for (uint32_t id = 0; (peer = peer_table_next(w->gw->peers, &id));) {
		struct session *s = peer->session;
		session_reset(s);
		s->remote_stale = true;
		if (!s->meshed)
			session_remote(s);
	}
	return 0;
}

const struct key *wg_public_key(const struct wg *w)
{
	return &w->identity.public_key;
}

void wg_set_handshake_rate(struct wg *w, uint32_t per_s)
{
	w->handshake_rate = per_s;
}

void session_tell_worker(struct session *s, enum self_reason reason)
{
	struct gateway *gw = s->wg->gw;
	struct rte_mbuf *m = rte_pktmbuf_alloc(gw->pool);
	if (!m)
		return; // the timers come back to it
	*pkt_of(m) = (struct pkt){
		.from = FROM_SELF,
		.node = NODE_WG_ROUTE,
		.reason = (uint8_t)reason,
		.counter = s->peer->id,
	};
	if (!mailbox_put(gw->graph[s->peer->owner]->inbox, &m))
		rte_pktmbuf_free(m);
}

// By what was learned of the way. No sender of IPv6 goes below its least MTU, so that much is let
// in while our own link takes it: the datagrams are cut on the way, or nothing could be sent.
static void limit(struct peer_path *path, uint16_t mtu)
{
	uint16_t link = path->mtu;
	if (link == 0 || mtu == 0 || mtu >= link)
		return;
	path->mtu = mtu;
	if (mtu < LEDGER_MTU_MIN6)
		path->least6 = RTE_MIN(link, (uint16_t)LEDGER_MTU_MIN6);
}

void session_update_path(struct session *s)
{
	struct wg *w = s->wg;
	struct peer_path path = {
		.port = PORT_NONE,
		.remote = s->endpoint,
		.local = s->local,
		.local_port = s->local_port,
		.vni = s->vni,
		.derp = s->derp,
	};
	if (s->endpoint.port != 0 && !w->env.resolve_path(w->env.arg, &s->endpoint, &path))
		path.port = PORT_NONE;
	s->link_mtu = path.mtu;
	limit(&path, s->probed.mtu);
	limit(&path, s->told.mtu);
	const struct peer_path *old = atomic_load(&s->peer->path);
	path.ip_sum = old->ip_sum; // follows from the rest
	if (memcmp(old, &path, sizeof(path)) == 0)
		return;
	bool found = old->port == PORT_NONE && !old->derp && (path.port != PORT_NONE || path.derp);
	peer_set_path(w->gw->rcu, s->peer, &path);
	if (found && s->current)
		session_tell_worker(s, SELF_FLUSH);
}

void session_set_endpoint(
	struct session *s, const struct endpoint *endpoint, const struct ip_addr *local)
{
	char text[ENDPOINT_TEXT_LEN];
	if (endpoint_equal(&s->endpoint, endpoint) && ip_addr_equal(&s->local, local))
		return;
	if (!endpoint_equal(&s->endpoint, endpoint))
		log_info("wg", "peer %s: endpoint is now %s", s->peer->name,
			endpoint_format(endpoint, text));
	s->endpoint = *endpoint;
	s->local = *local;
	s->told.mtu = 0; // that was another way
	s->probe_at = 0;
	session_update_path(s);
}

void wg_paths_changed(struct wg *w)
{
	struct peer *peer;
	for (uint32_t id = 0; (peer = peer_table_next(w->gw->peers, &id));)
		session_update_path(peer->session);
}

static bool listed(const struct ip_prefix *p, const struct ip_prefix *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (p->len == list[i].len && ip_addr_equal(&p->addr, &list[i].addr))
			return true;
	}
	return false;
}

// Old prefixes that are gone go, new ones come; those that stay are never missing meanwhile.
static int set_allowed(struct session *s, const struct ip_prefix *list, uint32_t n)
{
	struct gateway *gw = s->wg->gw;
	struct ip_prefix *copy = calloc(n ? n : 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->n_allowed; i++) {
		if (!listed(&s->allowed[i], list, n))
			allowedips_clear(gw->allowed, &s->allowed[i], s->peer);
	}
	int r = 0;
	for (uint32_t i = 0; i < n; i++) {
		copy[i] = list[i];
		int set = allowedips_set(gw->allowed, &list[i], s->peer);
		r = set < 0 ? set : r;
	}
	free(s->allowed);
	s->allowed = copy;
	s->n_allowed = n;
	return r;
}

static struct session *session_create(struct wg *w, struct peer *peer)
{
	struct session *s = mem_alloc(sizeof(*s));
	s->wg = w;
	s->peer = peer;
	peer->session = s;
	return s;
}

static void set_keepalive(struct session *s, uint32_t seconds)
{
	bool starts = s->keepalive_s == 0 && seconds > 0;
	s->keepalive_s = seconds;
	if (seconds > 0)
		session_time(s);
	// As wg(8) does: the first one at once, which shakes hands.
	if (starts)
		s->persistent_from = wg_now(s->wg) - wg_tsc(s->wg, seconds * 1000ull);
}

static void name_peer(struct peer *peer, const struct config_peer *c)
{
	char key[KEY_TEXT_LEN + 1];
	snprintf(peer->name, sizeof(peer->name), "%s",
		c->name[0] ? c->name : key_format(&c->public_key, key));
}

// The configuration's word counts when it changes; in between the peer may roam.
static void configure_endpoint(struct session *s, const struct endpoint *e)
{
	struct ip_addr any = {0};
	if (endpoint_equal(e, &s->configured))
		return;
	s->configured = *e;
	session_set_endpoint(s, e, &any);
}

int wg_peer_endpoint(struct wg *w, const struct key *public_key, const struct endpoint *e)
{
	struct peer *peer = peer_table_find(w->gw->peers, public_key);
	if (!peer)
		return -ENOENT;
	configure_endpoint(peer->session, e);
	return 0;
}

// How much the way is known to carry; of another way nothing is.
static void learn(struct session *s, struct wg_learned *what, uint16_t mtu, const char *how)
{
	if (what->mtu == mtu)
		return;
	*what = (struct wg_learned){mtu, mtu ? unix_now_ns() : 0};
	if (mtu)
		log_debug("wg", "peer %s: its path takes packets of %u bytes, by %s", s->peer->name,
			mtu, how);
}

int wg_peer_route(struct wg *w, const struct key *public_key, const struct wg_route *route)
{
	struct peer *peer = peer_table_find(w->gw->peers, public_key);
	if (!peer)
		return -ENOENT;
	struct session *s = peer->session;
	s->endpoint = route->to;
	s->local_port = route->local_port;
	s->vni = route->vni;
	s->derp = route->derp;
	learn(s, &s->probed, route->mtu, "probes");
	session_update_path(s);
	return 0;
}

uint64_t wg_peer_handshake_unix_ns(const struct wg *w, const struct key *public_key)
{
	const struct peer *peer = peer_table_find(w->gw->peers, public_key);
	return peer ? ((const struct session *)peer->session)->handshake_unix_ns : 0;
}

int wg_peer_set(struct wg *w, const struct config_peer *c, enum wg_mobility mobility)
{
	struct peer *peer = peer_table_find(w->gw->peers, &c->public_key);
	struct session *s = peer ? peer->session : NULL;
	if (memcmp(&c->public_key, &w->identity.public_key, sizeof(struct key)) == 0)
		return -EINVAL;
	if (!peer) {
		int r = peer_table_add(w->gw->peers, &c->public_key, c->name, &peer);
		if (r < 0)
			return r;
		s = session_create(w, peer);
		s->remote_stale = true;
	} else if (sodium_memcmp(&s->preshared_key, &c->preshared_key, sizeof(struct key)) != 0) {
		session_reset(s);
		s->remote_stale = true;
	}
	s->preshared_key = c->preshared_key;
	s->meshed = mobility == WG_MESHED;
	name_peer(peer, c);
	atomic_store(&peer->has_psk, !key_is_zero(&c->preshared_key));
	atomic_store(&peer->roaming, mobility == WG_ROAMING);
	int allowed = set_allowed(s, c->allowed_ips, c->n_allowed_ips);
	if (c->endpoint.port != 0)
		configure_endpoint(s, &c->endpoint);
	set_keepalive(s, c->persistent_keepalive_s);
	return !s->meshed && !session_remote(s) ? -EKEYREJECTED : allowed;
}

int wg_peer_remove(struct wg *w, const struct key *public_key)
{
	struct peer *peer = peer_table_find(w->gw->peers, public_key);
	if (!peer)
		return -ENOENT;
	session_destroy(peer->session);
	return 0;
}

static struct wg_peer_info info_of(const struct peer *peer)
{
	const struct session *s = peer->session;
	const struct peer_path *path = atomic_load(&peer->path);
	return (struct wg_peer_info){
		.peer = peer,
		.endpoint = s->endpoint,
		.handshake_unix_ns = s->handshake_unix_ns,
		.keepalive_s = s->keepalive_s,
		.roaming = atomic_load(&peer->roaming),
		.has_psk = atomic_load(&peer->has_psk),
		.n_allowed = s->n_allowed,
		.allowed = s->allowed,
		.rx_wire_bytes = atomic_load(&peer->rx_wire_bytes),
		.tx_wire_bytes = atomic_load(&peer->tx_wire_bytes),
		.rx_packets = atomic_load(&peer->rx_packets),
		.tx_packets = atomic_load(&peer->tx_packets),
		.owner = peer->owner,
		.mtu = path->mtu,
		.probed = s->probed,
		.told = s->told,
		.vni = path->vni,
		.derp = path->derp,
		.port_out = path->port,
		.handshakes_sent = s->sent,
		.handshakes_received = s->received,
		.handshakes_failed = s->failed,
	};
}

int wg_peer_info(const struct wg *w, const struct key *public_key, struct wg_peer_info *out)
{
	const struct peer *peer = peer_table_find(w->gw->peers, public_key);
	if (!peer)
		return -ENOENT;
	*out = info_of(peer);
	return 0;
}

bool wg_peers_next(const struct wg *w, uint32_t *at, struct wg_peer_info *out)
{
	const struct peer *peer = peer_table_next(w->gw->peers, at);
	if (peer)
		*out = info_of(peer);
	return peer != NULL;
}

void wg_peers_each(struct wg *w, void (*fn)(void *arg, const struct wg_peer_info *), void *arg)
{
	struct wg_peer_info info;
	for (uint32_t at = 0; wg_peers_next(w, &at, &info);)
		fn(arg, &info);
}
