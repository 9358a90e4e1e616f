// Two devices of control/wg that hear each other through a queue of datagrams which the test holds:
// what it does not pass on is lost, what it passes on twice is repeated. Clocks stand until
// the test moves them. Workers are played by the test: it tells events and sets the times of
// packets.
//
//   A 192.0.2.1:41641 ---- net.queue ---- 192.0.2.2:41641 B
#pragma once

#include "tests/unit/vectors.h"

#include "control/wg/device.h"
#include "dataplane/crypto/x25519.h"
#include "tests/unit/gateway.h"

enum {
	QUEUE_MAX = 256,
};

struct message {
	struct endpoint from, to;
	uint8_t data[WG_INITIATION_LEN];
	size_t len;
};

struct net;

struct end {
	struct gw g;
	struct wg *w;
	struct net *net;
	struct endpoint at;
	struct key private_key;
	struct session *s; // the other end, as seen here; NULL: not configured
	bool no_path;
	struct endpoint heard_from; // see struct wg_env
	unsigned n_heard;
};

struct net {
	struct event_base *base;
	struct end a, b;
	struct message queue[QUEUE_MAX];
	unsigned n;
};

// A private key that is nothing but its number.
static inline struct key secret_key(uint8_t number)
{
	struct key key;
	memset(key.bytes, number, sizeof(key.bytes));
	return key;
}

static inline struct endpoint end_at(uint8_t host, uint16_t port)
{
	return (struct endpoint){.addr = ip_addr_v4((uint8_t[]){192, 0, 2, host}), .port = port};
}

static inline bool end_send(void *arg, const struct peer *, const struct ip_addr *local,
	const struct endpoint *to, const uint8_t *data, size_t len)
{
	struct end *e = arg;
	struct net *n = e->net;
	assert_true(len <= WG_INITIATION_LEN);
	if (e->no_path || n->n == QUEUE_MAX)
		return false;
	struct message *m = &n->queue[n->n++];
	*m = (struct message){.from = e->at, .to = *to, .len = len};
	if (local->family != IP_NONE)
		m->from.addr = *local;
	memcpy(m->data, data, len);
	return true;
}

static inline bool end_path(void *arg, const struct endpoint *, struct peer_path *path)
{
	const struct end *e = arg;
	const struct endpoint remote = path->remote;
	*path = gw_path(&e->g);
	path->remote = remote;
	return !e->no_path;
}

static inline void end_heard_from(void *arg, const struct peer *peer, const struct endpoint *from)
{
	struct end *e = arg;
	assert_ptr_equal(peer, e->s->peer);
	e->heard_from = *from;
	e->n_heard++;
}

static inline int end_configure(struct end *e, const struct key *peer, const struct endpoint *to,
	const struct key *psk, uint32_t keepalive_s, bool roaming)
{
	struct ip_prefix allowed = {.addr = {.family = IP_V4}, .len = 0};
	struct config_peer c = {
		.name = "other",
		.public_key = *peer,
		.allowed_ips = &allowed,
		.n_allowed_ips = 1,
		.persistent_keepalive_s = keepalive_s,
	};
	if (to)
		c.endpoint = *to;
	if (psk)
		c.preshared_key = *psk;
	int r = wg_peer_set(e->w, &c, roaming ? WG_ROAMING : WG_FIXED);
	const struct peer *p = peer_table_find(e->g.gw.peers, peer);
	e->s = p ? p->session : NULL;
	return r;
}

static inline void end_open(struct net *n, struct end *e, uint8_t number)
{
	const struct wg_env env = {
		.arg = e, .send = end_send, .resolve_path = end_path, .heard = end_heard_from};
	gw_open(&e->g, number, &(struct gw_params){.pkts = 1023, .large = 63});
	e->net = n;
	e->at = end_at(number, GW_PORT);
	e->private_key = secret_key(0xa0 + number);
	e->w = wg_create(n->base, &e->g.gw, &env);
	assert_non_null(e->w);
	e->w->set_tsc = rte_rdtsc();
	e->w->set_unix_ns = UINT64_C(1800000000) * 1000000000;
	assert_int_equal(wg_set_key(e->w, &e->private_key), 0);
}

// What the worker was asked; -1: nothing (more).
static inline int end_told(struct end *e)
{
	struct rte_mbuf *m;
	if (mailbox_get(e->g.gw.graph[0]->inbox, &m, 1) != 1)
		return -1;
	int reason = pkt_of(m)->reason;
	assert_int_equal(pkt_of(m)->node, NODE_WG_ROUTE);
	assert_int_equal(pkt_of(m)->from, FROM_SELF);
	rte_pktmbuf_free(m);
	return reason;
}

static inline void end_close(struct end *e)
{
	while (end_told(e) >= 0)
		;
	wg_destroy(e->w);
	assert_int_equal(index_count(e->g.gw.index), 0);
	assert_int_equal(peer_table_count(e->g.gw.peers), 0);
	assert_int_equal(gw_close(&e->g), 0);
}

// Both ends with keys and no peers.
static inline int net_open(void **state)
{
	static struct net n;
	test_eal_init();
	log_init(LOG_LEVEL_ERROR);
	n = (struct net){.base = event_base_new()};
	end_open(&n, &n.a, 1);
	end_open(&n, &n.b, 2);
	*state = &n;
	return 0;
}

// And each other's peer, with endpoints, roaming.
static inline int net_open_peers(void **state)
{
	net_open(state);
	struct net *n = *state;
	assert_int_equal(end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, NULL, 0, true), 0);
	assert_int_equal(end_configure(&n->b, wg_public_key(n->a.w), &n->a.at, NULL, 0, true), 0);
	return 0;
}

static inline int net_close(void **state)
{
	struct net *n = *state;
	end_close(&n->a);
	end_close(&n->b);
	event_base_free(n->base);
	return 0;
}

#define net_test(f) cmocka_unit_test_setup_teardown(f, net_open_peers, net_close)
#define bare_test(f) cmocka_unit_test_setup_teardown(f, net_open, net_close)

// The oldest datagram under way; false: none.
static inline bool net_take(struct net *n, struct message *m)
{
	if (n->n == 0)
		return false;
	*m = n->queue[0];
	memmove(n->queue, n->queue + 1, --n->n * sizeof(*m));
	return true;
}

static inline void net_put(struct net *n, const struct message *m)
{
	struct end *e = endpoint_equal(&m->to, &n->a.at) ? &n->a : &n->b;
	wg_receive(e->w, m->data, m->len, &m->from, &m->to.addr);
}

// The next datagram arrives, and is of this type.
static inline void net_pass(struct net *n, struct message *copy, enum wg_type type)
{
	struct message m;
	assert_true(net_take(n, &m));
	assert_int_equal(m.data[0], type);
	if (copy)
		*copy = m;
	net_put(n, &m);
}

static inline void net_lose(struct net *n, enum wg_type type)
{
	struct message m;
	assert_true(net_take(n, &m));
	assert_int_equal(m.data[0], type);
}

static inline void net_pass_all(struct net *n)
{
	struct message m;
	while (net_take(n, &m))
		net_put(n, &m);
}

// A worker has something to send and no key, or an old one.
static inline void end_ask(struct end *e)
{
	wg_event(e->w,
		&(struct worker_event){.type = EVENT_NEED_HANDSHAKE, .peer_id = e->s->peer->id});
}

// The first packet with the next keypair came in.
static inline void end_confirm(struct end *e)
{
	assert_non_null(e->s->next);
	wg_event(e->w, &(struct worker_event){
			       .type = EVENT_CONFIRMED,
			       .peer_id = e->s->peer->id,
			       .index = e->s->next->local_index,
		       });
}

static inline void end_tick(struct end *e)
{
	if (e->s && e->s->is_timed) // as on_tick of wg
		session_tick(e->s, wg_now(e->w));
	rcu_reclaim(e->g.gw.rcu);
}

static inline void end_advance(struct end *e, uint64_t ms)
{
	e->w->set_tsc += wg_tsc(e->w, ms);
	e->w->set_unix_ns += ms * 1000000;
}

// Time passes, with ticks, at both ends. Datagrams stay where they are.
static inline void net_wait(struct net *n, uint64_t ms)
{
	for (uint64_t passed = 0; passed < ms; passed += WG_TICK_MS) {
		uint64_t step = RTE_MIN(ms - passed, (uint64_t)WG_TICK_MS);
		end_advance(&n->a, step);
		end_advance(&n->b, step);
		end_tick(&n->a);
		end_tick(&n->b);
	}
}

// A worker's packets, by their times in the peer.
static inline void end_sent(struct end *e, bool data)
{
	atomic_store(&e->s->peer->last_tx, wg_now(e->w));
	if (data)
		atomic_store(&e->s->peer->last_tx_data, wg_now(e->w));
}

static inline void end_heard(struct end *e, bool data)
{
	atomic_store(&e->s->peer->last_rx, wg_now(e->w));
	if (data)
		atomic_store(&e->s->peer->last_rx_data, wg_now(e->w));
}

// How often c was counted since it was last asked.
static inline uint64_t end_counted(struct end *e, enum wg_counter c)
{
	uint64_t n = wg_counter(e->w, c);
	e->w->counters[c] = 0;
	return n;
}

// Nothing else was counted.
static inline void end_counted_no_more(struct end *e)
{
	for (unsigned i = 0; i < WG_COUNTER_COUNT; i++) {
		if (e->w->counters[i])
			fail_msg(
				"%s: %lu", wg_counter_label((enum wg_counter)i), e->w->counters[i]);
	}
}

static inline void end_counted_only(struct end *e, enum wg_counter c, uint64_t n)
{
	assert_int_equal(end_counted(e, c), n);
	end_counted_no_more(e);
}

static inline void end_forget_counts(struct end *e)
{
	memset(e->w->counters, 0, sizeof(e->w->counters));
}

// What one seals the other opens.
static inline void assert_keys_match(const struct keypair *x, const struct keypair *y)
{
	assert_non_null(x);
	assert_non_null(y);
	assert_memory_equal(x->send_key, y->recv_key, KEY_LEN);
	assert_memory_equal(x->recv_key, y->send_key, KEY_LEN);
	assert_memory_not_equal(x->send_key, x->recv_key, KEY_LEN);
	assert_int_equal(x->remote_index, y->local_index);
	assert_int_equal(y->remote_index, x->local_index);
	assert_true(x->initiator != y->initiator);
}

// x begins, y answers and hears the first packet: both send with the new keypair.
static inline void net_shake(struct net *n, struct end *x, struct end *y)
{
	end_ask(x);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	end_confirm(y);
	assert_keys_match(x->s->current, y->s->current);
	assert_int_equal(end_told(x), SELF_KEYED);
	assert_int_equal(end_told(y), SELF_FLUSH);
	end_forget_counts(x);
	end_forget_counts(y);
}
