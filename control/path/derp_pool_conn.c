// The life of one region's connection: dial, greet, carry, back off, close when idle.
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/path/derp_pool_priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"

enum {
	BACKOFF_STEP_MS = 10, // times the square of the failures in a row
	BACKOFF_MAX_MS = 5000,
	FAILURES_MAX = 1000, // counted
	LIVED_S = 10,	     // a connection that lasted so long was no failure
	RESTART_WAIT_MAX_MS = 30000,
	RESTART_TRY_MAX_MS = 300000,
	RESTART_PAUSE_MS = 500,
};

static bool is_home(const struct derp_region *r)
{
	return r->def.id == r->pool->home;
}

static bool wanted(const struct derp_region *r, uint64_t now)
{
	return r->pool->has_key &&
	       (is_home(r) || (r->used_ns && now - r->used_ns < DERP_IDLE_S * DERP_S));
}

void derp_region_close(struct derp_region *r)
{
	stream_close(r->stream);
	derp_destroy(r->derp);
	r->stream = NULL;
	r->derp = NULL;
	r->node = NULL;
	r->step = 0;
	r->ready = false;
	r->open = false;
	r->info.connected = false;
	r->info.local = r->info.remote = (struct endpoint){0};
	r->ping_deadline_ns = UINT64_MAX;
}

static void changed(struct derp_region *r)
{
	r->pool->env.changed(r->pool->env.arg, (uint16_t)r->def.id);
}

// As the real client: random, growing with the square, never above 5 s.
static uint64_t pause_ns(struct derp_region *r, uint64_t now)
{
	uint64_t ms = BACKOFF_MAX_MS;

	if (r->failures * r->failures < BACKOFF_MAX_MS / BACKOFF_STEP_MS)
		ms = r->failures * r->failures * BACKOFF_STEP_MS;
	if (now < r->restart_until_ns && ms > RESTART_PAUSE_MS)
		ms = RESTART_PAUSE_MS;
	ms = ms / 2 + randombytes_uniform((uint32_t)ms + 1);
	return (ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS) * DERP_MS;
}

void derp_region_say(struct derp_region *r, const char *why)
{
	snprintf(r->info.error, sizeof(r->info.error), "%s", why);
}

// Once per cause: it is tried for as long as it is wanted.
static void log_failure(struct derp_region *r)
{
	if (strcmp(r->info.error, r->logged) == 0)
		return;
	memcpy(r->logged, r->info.error, sizeof(r->logged));
	log_warn(
		"derp", "region %u (%s): %s", r->def.id, r->def.code ? r->def.code : "", r->logged);
}

static void begin_pause(struct derp_region *r, uint64_t now)
{
	if (r->failures < FAILURES_MAX)
		r->failures++;
	log_failure(r);
	const uint64_t at = now + pause_ns(r, now);
	if (r->retry_ns < at) // a restart may have said later
		r->retry_ns = at;
	derp_region_poke(r);
	changed(r);
}

static void dial(struct derp_region *r);

// The attempt or the connection failed; its other nodes get their turn before a pause.
static void failed(struct derp_region *r, const char *why)
{
	const uint64_t now = derp_pool_now(r->pool);
	const bool was_open = r->open;
	const uint32_t next = r->step + 1;

	derp_region_say(r, why);
	// Something between us and the server answers instead of it: the old way gets through.
	if (r->fast_start && r->derp && !was_open)
		r->fast_start_failed = true;
	derp_region_close(r);
	if (was_open && now - r->info.connected_ns > LIVED_S * DERP_S)
		r->failures = 0;
	if (was_open) {
		begin_pause(r, now);
		return;
	}
	r->step = next;
	dial(r);
}

// What can be sent now that could not before.
static void progress(struct derp_region *r)
{
	if (r->ready || !derp_can_send(r->derp))
		return;
	r->ready = true;
	if (is_home(r))
		derp_region_note(r);
	for (struct derp_waiting *w; (w = STAILQ_FIRST(&r->waiting));) {
		STAILQ_REMOVE_HEAD(&r->waiting, entry);
		r->n_waiting--;
		if (derp_region_send(r, &w->to, w->bytes, w->len) < 0)
			log_debug("derp", "region %u: a waiting packet was dropped", r->def.id);
		free(w);
	}
}

static int on_write(void *arg, const struct iovec *parts, int n)
{
	struct derp_region *r = arg;
	const int error = stream_write(r->stream, parts, n);

	for (int i = 0; !error && i < n; i++)
		r->backlog.written += parts[i].iov_len;
	return error;
}

static void on_packet(struct derp_region *r, const struct derp_event *e)
{
	struct derp_pool *p = r->pool;

	r->info.rx_packets++;
	r->info.rx_bytes += e->len;
	if (memcmp(&r->last_peer, e->key, sizeof(*e->key)) != 0) { // one look per run
		derp_routes_learn(&p->routes, e->key, (uint16_t)r->def.id, r->generation);
		r->last_peer = *e->key;
	}
	p->env.packet(p->env.arg, (uint16_t)r->def.id, e->key, e->data, e->len);
}

static void on_info(struct derp_region *r)
{
	char text[ENDPOINT_TEXT_LEN];

	r->open = true;
	r->generation = ++r->pool->generation;
	r->last_peer = (struct key){0};
	r->info.connected = true;
	r->info.connected_ns = derp_pool_now(r->pool);
	r->info.connects++;
	if (!r->fast_start) // the next one may try it again
		r->fast_start_failed = false;
	r->info.error[0] = '\0';
	r->logged[0] = '\0';
	stream_addresses(r->stream, &r->info.local, &r->info.remote);
	log_info("derp", "region %u (%s): connected to %s, %s%s", r->def.id,
		r->def.code ? r->def.code : "", r->host, endpoint_format(&r->info.remote, text),
		r->fast_start ? ", fast start" : "");
	changed(r);
}

static void on_health(struct derp_region *r, const struct derp_event *e)
{
	int n = 0;

	if (e->len > 0)
		n = snprintf(r->info.error, sizeof(r->info.error), "the server says: %.*s",
			(int)(e->len < STREAM_WHY_LEN ? e->len : STREAM_WHY_LEN),
			(const char *)e->data);
	else
		r->info.error[0] = '\0';
	for (char *c = r->info.error; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	if (n > 0)
		log_warn("derp", "region %u: %s", r->def.id, r->info.error);
	changed(r);
}

static void on_restarting(struct derp_region *r, const struct derp_event *e)
{
	const uint64_t now = derp_pool_now(r->pool);
	const uint32_t wait =
		e->reconnect_in_ms < RESTART_WAIT_MAX_MS ? e->reconnect_in_ms : RESTART_WAIT_MAX_MS;
	const uint32_t try =
		e->try_for_ms < RESTART_TRY_MAX_MS ? e->try_for_ms : RESTART_TRY_MAX_MS;

	r->retry_ns = now + wait * DERP_MS; // counts once the connection has ended
	r->restart_until_ns = r->retry_ns + try * DERP_MS;
	log_info("derp", "region %u: the server restarts, back in %u ms", r->def.id, wait);
}

static void on_event(void *arg, const struct derp_event *e)
{
	struct derp_region *r = arg;
	struct derp_pool *p = r->pool;

	r->info.heard_ns = derp_pool_now(p);
	switch (e->type) {
	case DERP_EVENT_SERVER_INFO:
		on_info(r);
		break;
	case DERP_EVENT_PACKET:
		on_packet(r, e);
		break;
	case DERP_EVENT_PEER_GONE:
		derp_routes_forget(&p->routes, e->key, (uint16_t)r->def.id);
		r->last_peer = (struct key){0};
		p->env.gone(p->env.arg, (uint16_t)r->def.id, e->key, e->reason);
		break;
	case DERP_EVENT_PONG:
		if (memcmp(e->data, r->ping, sizeof(r->ping)) == 0)
			r->ping_deadline_ns = UINT64_MAX;
		break;
	case DERP_EVENT_HEALTH:
		on_health(r, e);
		break;
	case DERP_EVENT_RESTARTING:
		on_restarting(r, e);
		break;
	case DERP_EVENT_SERVER_KEY:
	case DERP_EVENT_KEEP_ALIVE:
	case DERP_EVENT_PING:
		break;
	}
}

static void on_connected(void *arg)
{
	struct derp_region *r = arg;
	const struct derp_io io = {.write = on_write, .event = on_event, .arg = r};
	const int error = derp_region_greet(r, &io);

	if (error) {
		failed(r,
			r->derp && derp_error(r->derp)[0] ? derp_error(r->derp) : strerror(-error));
		return;
	}
	progress(r);
	derp_region_poke(r);
}

static void on_data(void *arg, const uint8_t *bytes, size_t len)
{
	struct derp_region *r = arg;

	if (derp_feed(r->derp, derp_pool_now(r->pool), bytes, len) < 0)
		failed(r, derp_error(r->derp));
	else
		progress(r);
}

static void on_drained(void *arg)
{
	struct derp_region *r = arg;

	r->backlog.emptied = true;
}

static void on_closed(void *arg, int error, const char *why)
{
	struct derp_region *r = arg;

	if (r->derp && !error && derp_eof(r->derp) < 0)
		failed(r, derp_error(r->derp));
	else
		failed(r, why);
}

static void dial(struct derp_region *r)
{
	const struct stream_events events = {
		.connected = on_connected,
		.data = on_data,
		.drained = on_drained,
		.closed = on_closed,
		.arg = r,
	};

	if (derp_region_dial(r, &events) < 0) {
		r->step = 0;
		begin_pause(r, derp_pool_now(r->pool));
	}
}

void derp_region_note(struct derp_region *r)
{
	if (r->ready && derp_note_preferred(r->derp, is_home(r)) < 0)
		log_warn("derp", "region %u: no room to say which region is home", r->def.id);
}

static unsigned connections(const struct derp_pool *p)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < p->n_regions; i++)
		n += p->regions[i]->stream && !is_home(p->regions[i]);
	return n;
}

// What a connection has to be told, or why it ends.
static void watch(struct derp_region *r, uint64_t now)
{
	if (!wanted(r, now)) {
		derp_region_close(r);
		r->info.error[0] = '\0';
		changed(r);
	} else if (r->derp && derp_check(r->derp, now) < 0) {
		failed(r, derp_error(r->derp));
	} else if (now >= r->ping_deadline_ns) {
		failed(r, "no answer to a ping after the network changed");
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_due(const struct derp_region *r)
{
	uint64_t due = UINT64_MAX;

	if (r->derp)
		due = earlier(r->ping_deadline_ns, derp_deadline_ns(r->derp));
	if (!is_home(r) && r->used_ns && (r->stream || r->n_waiting))
		due = earlier(due, r->used_ns + DERP_IDLE_S * DERP_S);
	if (!r->stream && wanted(r, derp_pool_now(r->pool)))
		due = earlier(due, r->retry_ns);
	return due;
}

void derp_region_poke(struct derp_region *r)
{
	const uint64_t due = next_due(r), now = derp_pool_now(r->pool);
	const uint64_t us = due > now ? (due - now) / 1000 + 1 : 0;
	const struct timeval tv = {
		.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};

	if (due == UINT64_MAX)
		event_del(r->timer);
	else
		event_add(r->timer, &tv);
}

void derp_region_tick(evutil_socket_t, short, void *arg)
{
	struct derp_region *r = arg;
	const uint64_t now = derp_pool_now(r->pool);

	if (r->stream)
		watch(r, now);
	else if (!wanted(r, now))
		derp_region_drop_waiting(r);
	else if (now >= r->retry_ns)
		dial(r);
	derp_region_poke(r);
}

static int enqueue(struct derp_region *r, const struct key *to, const void *packet, size_t len)
{
	if (len > DERP_PACKET_MAX)
		return -EMSGSIZE;
	if (!r->stream && !is_home(r) && connections(r->pool) >= DERP_POOL_CONNECTIONS_MAX) {
		r->info.tx_dropped++;
		return -ENOBUFS;
	}
	struct derp_waiting *w = malloc(sizeof(*w) + len);
	if (!w)
		return -ENOBUFS;
	w->to = *to;
	w->len = len;
	memcpy(w->bytes, packet, len);
	STAILQ_INSERT_TAIL(&r->waiting, w, entry);
	if (r->n_waiting++ < DERP_WAITING_MAX)
		return 0;
	w = STAILQ_FIRST(&r->waiting);
	STAILQ_REMOVE_HEAD(&r->waiting, entry);
	free(w);
	r->n_waiting--;
	r->info.tx_dropped++;
	return 0;
}

int derp_region_send(struct derp_region *r, const struct key *to, const void *packet, size_t len)
{
	const uint64_t now = derp_pool_now(r->pool);
	int error = -ENOBUFS;

	if (!r->ready) {
		error = enqueue(r, to, packet, len);
		if (!error) {
			r->used_ns = now;
			derp_region_poke(r);
		}
		return error;
	}
	r->used_ns = now;
	if (derp_backlog_room(&r->backlog, now, stream_queued(r->stream)))
		error = derp_send_packet(r->derp, now, to, packet, len);
	if (error) {
		r->info.tx_dropped++;
		return error == -EMSGSIZE ? error : -ENOBUFS;
	}
	r->info.tx_packets++;
	r->info.tx_bytes += len;
	return 0;
}

// Whether an interface still has the address.
static bool is_ours(const struct ip_addr *a)
{
	struct ifaddrs *list, *i;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return true;
	for (i = list; i && !found; i = i->ifa_next) {
		const int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
		struct ip_addr other = {0};
		if (family == AF_INET)
			other = ip_addr_v4(&((struct sockaddr_in *)i->ifa_addr)->sin_addr);
		else if (family == AF_INET6)
			other = ip_addr_v6(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr);
		found = other.family && ip_addr_equal(&other, a);
	}
	freeifaddrs(list);
	return found;
}

void derp_region_rebind(struct derp_region *r)
{
	const uint64_t now = derp_pool_now(r->pool);
	const bool was_open = r->open;

	r->fast_start_failed = false;
	r->failures = 0;
	r->retry_ns = 0;
	if (r->open && is_ours(&r->info.local.addr)) {
		randombytes_buf(r->ping, sizeof(r->ping));
		if (derp_ping(r->derp, r->ping) == 0)
			r->ping_deadline_ns = now + DERP_PING_TIMEOUT_S * DERP_S;
	} else if (r->stream) {
		derp_region_close(r);
	}
	derp_region_poke(r);
	if (was_open && !r->open)
		changed(r);
}
