// Handshakes in both roles, and the keypairs that come out of them.
#include "control/wg/device.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/crypto/x25519.h"

static uint64_t unix_ns(const struct wg *w)
{
	return unlikely(w->set_unix_ns) ? w->set_unix_ns : unix_now_ns();
}

// TAI64N that grows even when the clock is set back: the peer refuses what is not newer. Of each
// peer's own, so that many handshakes do not run ahead of the clock: a restart could not catch up.
static void timestamp(struct session *s, uint8_t out[static WG_TAI64N_LEN])
{
	uint64_t now = unix_ns(s->wg), least = s->told_unix_ns + (1 << 24);
	s->told_unix_ns = RTE_MAX(now, least);
	noise_tai64n(out, s->told_unix_ns);
}

static int take_index(struct wg *w, struct session *s, uint32_t *index)
{
	// 0 stands for none.
	int r = index_alloc(w->gw->index, randombytes_uniform(UINT32_MAX) + 1, index);
	if (r == 0 && *index == 0) {
		index_free(w->gw->index, 0);
		r = -ENOSPC; // all above the drawn one are taken
	}
	if (r == 0) {
		w->by_slot[*index % INDEX_SLOTS] = s;
		session_time(s);
	} else {
		wg_count(w, WG_COUNTER_NO_INDEX);
	}
	return r;
}

static void drop_index(struct wg *w, uint32_t index)
{
	w->by_slot[index % INDEX_SLOTS] = NULL;
	index_free(w->gw->index, index);
}

static void drop_keypair(struct session *s, struct keypair **kp)
{
	if (*kp)
		drop_index(s->wg, (*kp)->local_index);
	*kp = NULL;
}

void session_wipe_handshake(struct session *s)
{
	if (s->hs_index)
		drop_index(s->wg, s->hs_index);
	s->hs_index = 0;
	s->hs_retry_at = 0;
	s->hs_attempts = 0;
	noise_handshake_fini(&s->hs);
}

void session_wipe_keypairs(struct session *s)
{
	peer_set_sending(s->peer, NULL);
	drop_keypair(s, &s->current);
	drop_keypair(s, &s->previous);
	drop_keypair(s, &s->next);
}

void session_reset(struct session *s)
{
	session_wipe_keypairs(s);
	session_wipe_handshake(s);
	s->hs_sent = 0;
}

static bool reachable(const struct session *s)
{
	return s->meshed || s->endpoint.port != 0;
}

// from: what it answers came from there; else NULL.
static void send_to_peer(struct session *s, const struct endpoint *from, void *message, size_t len)
{
	struct wg *w = s->wg;
	const struct endpoint *to = s->meshed && from ? from : &s->endpoint;
	cookie_jar_stamp(&s->jar, message, len, wg_now_ns(w));
	if (!reachable(s) || !w->env.send(w->env.arg, s->peer, &s->local, to, message, len))
		wg_count(w, WG_COUNTER_NO_PATH);
}

void session_initiate(struct session *s, bool is_retry)
{
	struct wg *w = s->wg;
	struct wg_initiation message;
	struct key ephemeral;
	uint8_t tai[WG_TAI64N_LEN];
	uint64_t now = wg_now(w);
	uint32_t index;
	if (!w->has_key || !reachable(s) || (s->hs_retry_at && !is_retry) ||
		(s->hs_sent && now - s->hs_sent < wg_tsc(w, WG_REKEY_TIMEOUT_S * 1000)) ||
		!session_remote(s))
		return;
	unsigned attempts = is_retry ? s->hs_attempts : 0;
	session_wipe_handshake(s);
	if (take_index(w, s, &index) < 0)
		return;
	s->hs_index = index;
	x25519_generate(ephemeral.bytes);
	timestamp(s, tai);
	int r = noise_initiation_create(
		&s->hs, &w->identity, &s->remote, index, ephemeral.bytes, tai, &message);
	sodium_memzero(&ephemeral, sizeof(ephemeral));
	if (r < 0) {
		session_wipe_handshake(s);
		return;
	}
	s->hs_sent = now;
	s->hs_attempts = attempts + 1;
	s->hs_retry_at = now + wg_tsc(w, WG_REKEY_TIMEOUT_S * 1000 +
						 randombytes_uniform(WG_REKEY_TIMEOUT_JITTER_MS));
	s->sent++;
	wg_count(w, WG_COUNTER_INITIATION_SENT);
	send_to_peer(s, NULL, &message, sizeof(message));
}

static struct keypair *make_keypair(struct session *s, struct noise_handshake *hs)
{
	struct wg *w = s->wg;
	struct noise_keys keys;
	if (noise_keys_derive(hs, &keys) < 0)
		return NULL;
	uint64_t now = wg_now(w);
	struct keypair *kp = mem_alloc(sizeof(*kp));
	memcpy(kp->recv_key, keys.recv.bytes, KEY_LEN);
	memcpy(kp->send_key, keys.send.bytes, KEY_LEN);
	kp->peer = s->peer;
	kp->local_index = keys.local_index;
	kp->remote_index = keys.remote_index;
	kp->initiator = keys.initiator;
	kp->rekey_send_at =
		keys.initiator ? now + wg_tsc(w, WG_REKEY_AFTER_TIME_S * 1000) : UINT64_MAX;
	kp->rekey_recv_at = now + wg_tsc(w, WG_REKEY_AFTER_TIME_RECV_S * 1000);
	kp->reject_at = now + wg_tsc(w, WG_REJECT_AFTER_TIME_S * 1000);
	atomic_store(&kp->confirmed, keys.initiator);
	noise_keys_fini(&keys);
	s->derived = now;
	return kp;
}

// Both sides have the keypair: what the kernel's wg_timers_handshake_complete does.
static void handshake_complete(struct session *s)
{
	struct wg *w = s->wg;
	s->handshake_unix_ns = unix_ns(w);
	session_wipe_handshake(s);
	if (w->env.keyed)
		w->env.keyed(w->env.arg, s->peer);
}

// Our initiation was answered: use the new keypair at once.
static void begin_as_initiator(struct session *s, struct keypair *kp)
{
	index_publish(s->wg->gw->index, kp); // before an answer can come
	peer_set_sending(s->peer, kp);
	drop_keypair(s, &s->previous);
	if (s->next) { // the peer began as well and may use that one
		drop_keypair(s, &s->current);
		s->previous = s->next;
		s->next = NULL;
	} else {
		s->previous = s->current;
	}
	s->current = kp;
	handshake_complete(s);
	session_tell_worker(s, SELF_KEYED);
}

// We answered: the keypair is used from the initiator's first packet on.
static void begin_as_responder(struct session *s, struct keypair *kp)
{
	drop_keypair(s, &s->next);
	drop_keypair(s, &s->previous);
	s->next = kp;
	index_publish(s->wg->gw->index, kp);
}

void session_confirmed(struct session *s, uint32_t index)
{
	if (!s->next || s->next->local_index != index)
		return;
	peer_set_sending(s->peer, s->next);
	drop_keypair(s, &s->previous);
	s->previous = s->current;
	s->current = s->next;
	s->next = NULL;
	handshake_complete(s);
	session_tell_worker(s, SELF_FLUSH);
}

static void learn_endpoint(struct session *s, const struct endpoint *from, const struct ip_addr *to)
{
	if (from->port != 0 && !s->meshed &&
		(s->endpoint.port == 0 || atomic_load(&s->peer->roaming)))
		session_set_endpoint(s, from, to);
}

static void respond(
	struct wg *w, struct session *s, struct noise_handshake *hs, const struct endpoint *from)
{
	struct wg_response message;
	struct key ephemeral;
	uint32_t index;
	if (take_index(w, s, &index) < 0)
		return;
	x25519_generate(ephemeral.bytes);
	int r = noise_response_create(hs, &s->remote, index, ephemeral.bytes, &message);
	sodium_memzero(&ephemeral, sizeof(ephemeral));
	struct keypair *kp = r == 0 ? make_keypair(s, hs) : NULL;
	if (!kp) {
		drop_index(w, index);
		return;
	}
	begin_as_responder(s, kp);
	wg_count(w, WG_COUNTER_RESPONSE_SENT);
	send_to_peer(s, from, &message, sizeof(message));
}

static enum wg_counter reason_of(int error)
{
	return error == -ESTALE ? WG_COUNTER_REPLAYED : WG_COUNTER_FORGED;
}

static void initiation(struct wg *w, const uint8_t *data, size_t len, const struct endpoint *from,
	const struct ip_addr *to)
{
	struct noise_handshake hs = {0};
	uint64_t now = wg_now(w);
	int r = noise_initiation_open(&hs, &w->identity, data, len);
	if (r < 0) {
		wg_count(w, WG_COUNTER_FORGED);
		return;
	}
	struct peer *peer = peer_table_find(w->gw->peers, &hs.remote_static);
	if (!peer) {
		wg_count(w, WG_COUNTER_UNKNOWN_PEER);
		goto out;
	}
	struct session *s = peer->session;
	if (!session_remote(s))
		goto out;
	if (s->initiation_received &&
		now - s->initiation_received < wg_tsc(w, WG_MIN_INITIATION_INTERVAL_MS)) {
		wg_count(w, WG_COUNTER_FLOOD);
		goto out;
	}
	r = noise_initiation_accept(&hs, &s->remote);
	if (r < 0) {
		wg_count(w, reason_of(r));
		s->failed++;
		goto out;
	}
	s->initiation_received = s->settled = now;
	s->received++;
	wg_count(w, WG_COUNTER_INITIATION_RECEIVED);
	learn_endpoint(s, from, to);
	respond(w, s, &hs, from);
out:
	noise_handshake_fini(&hs);
}

static bool has_index(const struct keypair *kp, uint32_t index)
{
	return kp && kp->local_index == index;
}

// Whose handshake or keypair has this index of ours; NULL: nobody's.
static struct session *session_of(const struct wg *w, uint32_t index)
{
	struct session *s = w->by_slot[index % INDEX_SLOTS];
	return s && (s->hs_index == index || has_index(s->current, index) ||
			    has_index(s->next, index) || has_index(s->previous, index))
		       ? s
		       : NULL;
}

static void response(struct wg *w, const uint8_t *data, size_t len, const struct endpoint *from,
	const struct ip_addr *to)
{
	const struct wg_response *m = (const struct wg_response *)data;
	uint32_t index = rte_le_to_cpu_32(m->receiver);
	struct session *s = session_of(w, index);
	if (!s || s->hs_index != index) {
		wg_count(w, WG_COUNTER_UNKNOWN_INDEX);
		return;
	}
	if (noise_response_open(&s->hs, &w->identity, &s->remote, data, len) < 0) {
		wg_count(w, WG_COUNTER_FORGED);
		s->failed++;
		return;
	}
	struct keypair *kp = make_keypair(s, &s->hs);
	if (!kp)
		return;
	s->hs_index = 0; // now the keypair's
	s->settled = wg_now(w);
	wg_count(w, WG_COUNTER_RESPONSE_RECEIVED);
	learn_endpoint(s, from, to);
	begin_as_initiator(s, kp);
}

static void cookie(struct wg *w, const uint8_t *data, size_t len)
{
	const struct wg_cookie_reply *m = (const struct wg_cookie_reply *)data;
	struct session *s = session_of(w, rte_le_to_cpu_32(m->receiver));
	if (!s) {
		wg_count(w, WG_COUNTER_UNKNOWN_INDEX);
		return;
	}
	bool ok = cookie_jar_consume(&s->jar, &s->remote, data, len, wg_now_ns(w)) == 0;
	wg_count(w, ok ? WG_COUNTER_COOKIE_RECEIVED : WG_COUNTER_FORGED);
}

bool wg_under_load(const struct wg *w)
{
	return wg_now(w) < w->load_until;
}

// Load: many handshakes wait, or more came within this second than the configuration expects.
static bool measure_load(struct wg *w)
{
	uint64_t now = wg_now(w);
	if (now - w->second_start > wg_tsc(w, 1000)) {
		w->second_start = now;
		w->second_count = 0;
	}
	w->second_count++;
	uint32_t waiting =
		atomic_load_explicit(&w->gw->punted_n[PUNT_DATAGRAM], memory_order_relaxed);
	if (w->second_count > w->handshake_rate || waiting >= PUNTED_SIZE / 8)
		w->load_until = now + wg_tsc(w, WG_LOAD_STICKY_MS);
	return now < w->load_until;
}

// Under load only who holds a cookie, and 20 a second from each address. True: go on.
static bool admit(struct wg *w, const uint8_t *data, size_t len, const struct endpoint *from,
	const struct ip_addr *to)
{
	struct wg_cookie_reply reply;
	uint64_t now = wg_now_ns(w);
	if (!cookie_mac1_valid(&w->identity, data, len)) {
		wg_count(w, WG_COUNTER_BAD_MAC1);
		return false;
	}
	if (!measure_load(w))
		return true;
	if (!cookie_mac2_valid(&w->cookies, data, len, from, now)) {
		wg_count(w, WG_COUNTER_BAD_MAC2);
		if (cookie_reply_create(&w->cookies, &w->identity, data, len, from, now, &reply) ==
				0 &&
			w->env.send(w->env.arg, NULL, to, from, (uint8_t *)&reply, sizeof(reply)))
			wg_count(w, WG_COUNTER_COOKIE_SENT);
		return false;
	}
	if (!ratelimit_allow(w->ratelimit, &from->addr, now)) {
		wg_count(w, WG_COUNTER_RATE_LIMITED);
		return false;
	}
	return true;
}

void wg_receive(struct wg *w, const uint8_t *data, size_t len, const struct endpoint *from,
	const struct ip_addr *to)
{
	if (!w->has_key)
		return;
	if (len == WG_COOKIE_REPLY_LEN)
		cookie(w, data, len);
	else if (len != WG_INITIATION_LEN && len != WG_RESPONSE_LEN)
		wg_count(w, WG_COUNTER_BAD_LENGTH);
	else if (!admit(w, data, len, from, to))
		return;
	else if (len == WG_INITIATION_LEN)
		initiation(w, data, len, from, to);
	else
		response(w, data, len, from, to);
}

void wg_event(struct wg *w, const struct worker_event *e)
{
	struct peer *peer = peer_table_get(w->gw->peers, e->peer_id);
	if (!peer)
		return;
	struct session *s = peer->session;
	switch (e->type) {
	case EVENT_NEED_HANDSHAKE:
		session_initiate(s, false);
		break;
	case EVENT_NEED_PATH:
		session_update_path(s);
		break;
	case EVENT_CONFIRMED:
		session_confirmed(s, e->index);
		break;
	case EVENT_ROAM:
		// Of a session that lasts, not of one that a change of keys ended.
		if (session_of(w, e->index) != s)
			break;
		learn_endpoint(s, &e->source, &e->local);
		if (s->meshed && w->env.heard)
			w->env.heard(w->env.arg, peer, &e->source);
		break;
	default:
		break;
	}
}
