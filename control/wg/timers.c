// The timers of the WireGuard paper, section 6, seen from outside the workers: they leave the times
// of the last packets in the peer, and every tick compares. Of thousands of peers of a tailnet most
// are idle; a tick looks only at those that are not.
//
//	passive keepalive    data came and nothing went out for 10 s
//	new handshake        data went out and nothing came for 15 s (plus jitter)
//	retry                an initiation was not answered within 5 s (plus jitter); up to 90 s
//	persistent keepalive nothing in either direction for the configured time
//	wipe                 540 s after the last handshake
//
// Rekeying after 120 s (sending) and 165 s (receiving) is asked for by the workers.
#include "control/wg/device.h"

#include "dataplane/base/log.h"

static uint64_t load(const _Atomic uint64_t *t)
{
	return atomic_load_explicit(t, memory_order_relaxed);
}

static void passive_keepalive(struct session *s, uint64_t now)
{
	uint64_t data = load(&s->peer->last_rx_data);
	uint64_t sent = RTE_MAX(load(&s->peer->last_tx), s->kept_alive);
	if (data <= sent || sent > s->heard_from)
		s->keepalive_at = 0;
	if (data <= sent)
		return;
	if (s->keepalive_at == 0) {
		s->heard_from = data;
		s->keepalive_at = data + wg_tsc(s->wg, WG_KEEPALIVE_TIMEOUT_S * 1000);
	}
	if (now < s->keepalive_at)
		return;
	s->keepalive_at = 0;
	s->kept_alive = now;
	session_tell_worker(s, SELF_KEEPALIVE);
}

// The address that we send from may be the trouble: let the route choose again.
static void forget_source(struct session *s)
{
	s->local = (struct ip_addr){0};
	session_update_path(s);
}

static void unanswered(struct session *s, uint64_t now)
{
	uint64_t data = load(&s->peer->last_tx_data);
	uint64_t heard = RTE_MAX(load(&s->peer->last_rx), s->settled);
	if (data <= heard || heard > s->asked_from)
		s->silent_at = 0;
	if (data <= heard)
		return;
	if (s->silent_at == 0) {
		uint32_t jitter = randombytes_uniform(WG_REKEY_TIMEOUT_JITTER_MS);
		s->asked_from = data;
		s->silent_at = data + wg_tsc(s->wg, WG_UNANSWERED_S * 1000 + jitter);
	}
	if (now < s->silent_at)
		return;
	s->silent_at = 0;
	s->settled = now;
	forget_source(s);
	log_info("wg", "peer %s: no answer for %u s, shaking hands again", s->peer->name,
		WG_UNANSWERED_S);
	session_initiate(s, false);
}

static void retry(struct session *s, uint64_t now)
{
	if (s->hs_retry_at == 0 || now < s->hs_retry_at)
		return;
	if (s->hs_attempts <= WG_GIVE_UP_ATTEMPTS) {
		forget_source(s);
		session_initiate(s, true);
		return;
	}
	log_info("wg",
		"peer %s: handshake not answered for %u s; its endpoint may be wrong or filtered",
		s->peer->name, WG_REKEY_ATTEMPT_TIME_S);
	wg_count(s->wg, WG_COUNTER_GAVE_UP);
	s->failed++;
	session_wipe_handshake(s);
	session_tell_worker(s, SELF_GIVE_UP);
}

static void persistent_keepalive(struct session *s, uint64_t now)
{
	uint64_t interval = wg_tsc(s->wg, s->keepalive_s * 1000ull);
	uint64_t last = RTE_MAX(load(&s->peer->last_tx), load(&s->peer->last_rx));
	// A worker's time may be later than now.
	if (s->keepalive_s == 0 || now < RTE_MAX(last, s->persistent_from) + interval)
		return;
	s->persistent_from = now;
	if (s->current)
		session_tell_worker(s, SELF_KEEPALIVE);
	if (!s->current || now >= s->current->reject_at)
		session_initiate(s, false);
}

void session_time(struct session *s)
{
	if (!s->is_timed)
		LIST_INSERT_HEAD(&s->wg->timed, s, timed);
	s->is_timed = true;
}

void session_untime(struct session *s)
{
	if (s->is_timed)
		LIST_REMOVE(s, timed);
	s->is_timed = false;
}

// Nothing will be due before a handshake begins, which takes an index.
static bool is_idle(const struct session *s)
{
	return s->keepalive_s == 0 && s->told.mtu == 0 && s->hs_index == 0 && s->hs_retry_at == 0 &&
	       !s->current && !s->previous && !s->next;
}

void session_tick(struct session *s, uint64_t now)
{
	retry(s, now);
	persistent_keepalive(s, now);
	session_forget_told(s, now);
	session_probe(s, now);
	if (s->current || s->next) {
		passive_keepalive(s, now);
		unanswered(s, now);
		if (now - s->derived > wg_tsc(s->wg, WG_WIPE_KEYS_S * 1000))
			session_wipe_keypairs(s);
	}
	if (is_idle(s))
		session_untime(s);
}
