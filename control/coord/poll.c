// The map stream, which keeps the netmap current, and lite updates beside it.
#include "control/coord/client_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"

static const char asked[] = "POST /machine/map", path[] = "/machine/map";

enum {
	LITE_AFTER_MS = 20, // what changes together goes together
	LITE_ANSWER_MAX = 64 << 10,
	CLOCK_OFF_S = 300, // certificates and expiries are wrong about as much
};
#define NS_PER_S UINT64_C(1000000000)

// --- What our own node says about us.

static bool self_trouble(const struct coord_client *c, struct trouble *t)
{
	const struct netmap *const nm = c->netmap;
	const struct nm_node *const self = nm->self;
	const int64_t server_s = time(NULL) + nm->clock_offset_s;
	char text[TIME_TEXT_LEN];

	if (self->expired || (self->key_expiry && self->key_expiry <= server_s)) {
		trouble_set(t, COORD_TROUBLE_EXPIRED, "this node's key expired at %s",
			self->key_expiry ? time_format(self->key_expiry, text) : "an unknown time");
		return true;
	}
	if (llabs(nm->clock_offset_s) < CLOCK_OFF_S)
		return false;
	trouble_set(t, COORD_TROUBLE_CLOCK, "the clock here is %lld s %s the coordination server's",
		llabs(nm->clock_offset_s), nm->clock_offset_s > 0 ? "behind" : "ahead of");
	return true;
}

static void self_judge(struct coord_client *c)
{
	const struct nm_node *const self = c->netmap->self;
	struct trouble t;

	if (!self || !c->status.connected_ns)
		return;
	const bool trouble = self_trouble(c, &t);
	const bool expired = trouble && t.kind == COORD_TROUBLE_EXPIRED;
	const enum coord_state before = c->status.state;
	// An expired node lacks the flag as well.
	c->status.state =
		self->machine_authorized || expired ? COORD_STREAMING : COORD_AWAIT_APPROVAL;
	if (c->status.state != before)
		coord_changed(c);
	if (c->phase == PHASE_POLL)
		coord_note(c, trouble ? &t : NULL);
}

static void stable_id_keep(struct coord_client *c)
{
	char *const kept = c->persist->stable_id;
	const char *const id = c->netmap->self->stable_id;

	if (!id || strlen(id) >= PERSIST_TEXT_LEN || !strcmp(id, kept))
		return;
	strcpy(kept, id);
	if (c->env.save(c->env.arg))
		log_warn("coord", "the node's ID cannot be written to the state directory");
}

// --- Messages.

static void url_pop(struct coord_client *c, const char *url)
{
	if (!url_path(url) || strlen(url) >= sizeof(c->status.url) || !strcmp(url, c->status.url))
		return;
	snprintf(c->status.url, sizeof(c->status.url), "%s", url);
	log_info("coord", "the server asks to visit %s", url);
	coord_changed(c);
}

static void stream_is_up(struct coord_client *c)
{
	c->status.connected_ns = c->alive_ns;
	log_info("coord", "the netmap of %s has come: %zu peers", c->url.authority,
		c->netmap->n_peers);
	stable_id_keep(c);
}

static int message_take(struct coord_client *c, const char *text, size_t len)
{
	struct netmap_delta delta;
	const uint64_t begin_ns = thread_cpu_ns();
	const int error = netmap_apply(c->netmap, text, len, time(NULL), &delta);

	if (error)
		return error;
	c->status.messages++;
	c->status.heard_ns = c->alive_ns = coord_now(c);
	if (delta.full)
		stream_is_up(c);
	char *const ping = delta.ping_request ? strdup(delta.ping_request) : NULL;
	char *const url = delta.pop_browser_url ? strdup(delta.pop_browser_url) : NULL;
	const bool full = delta.full;
	const uint64_t parsed_ns = thread_cpu_ns();
	c->env.map(c->env.arg, &delta);
	if (full) {
		c->status.parse_ns = parsed_ns - begin_ns;
		c->status.apply_ns = thread_cpu_ns() - parsed_ns;
	}
	// Whoever was told may have ended it all.
	if (c->phase == PHASE_POLL)
		self_judge(c);
	if (c->phase == PHASE_POLL && ping)
		pings_take(c, ping);
	if (c->phase == PHASE_POLL && url)
		url_pop(c, url);
	if (c->phase == PHASE_POLL && delta.sleep_s > 0) {
		log_info("coord", "the server wants silence for %.1f s", delta.sleep_s);
		coord_redial(c, (uint64_t)(delta.sleep_s * 1000));
	}
	free(ping);
	free(url);
	return 0;
}

static int on_message(void *arg, const char *text, size_t len)
{
	struct coord_client *const c = arg;

	if (c->phase != PHASE_POLL)
		return -ECANCELED;
	const int error = message_take(c, text, len);
	if (error)
		coord_fail_text(c, COORD_TROUBLE_PROTOCOL, "a netmap that cannot be taken: %s",
			c->netmap->error);
	return error || c->phase != PHASE_POLL ? -ECANCELED : 0;
}

static int on_data(void *arg, const uint8_t *bytes, size_t len)
{
	struct coord_client *const c = arg;
	const int error = mapstream_feed(c->stream, bytes, len);

	if (error && error != -ECANCELED)
		coord_fail_text(c, COORD_TROUBLE_PROTOCOL, "the map stream is broken: %s",
			error == -EMSGSIZE ? "a message is too long" : "no zstd frame");
	return error;
}

static void unknown_node(struct coord_client *c)
{
	c->registered = false;
	coord_fail_text(
		c, COORD_TROUBLE_UNKNOWN_NODE, "the server does not know this node any more");
}

static void on_end(void *arg, const struct session_answer *a)
{
	struct coord_client *const c = arg;
	struct trouble t;

	if (a->status == 404) {
		unknown_node(c);
	} else if (a->status == 429) {
		trouble_status(&t, asked, a->status, "");
		t.wait_s = a->retry_after ? (unsigned)strtoul(a->retry_after, NULL, 10) : 0;
		t.wait_s = t.wait_s <= REGISTER_WAIT_MAX_S ? t.wait_s : 0;
		coord_fail(c, &t);
	} else {
		coord_fail_answer(c, asked, a);
	}
}

static int map_post(
	struct coord_client *c, bool stream, void (*done)(void *arg, const struct session_answer *))
{
	struct map_endpoint endpoints[COORD_ENDPOINTS_MAX];
	const size_t n = c->env.endpoints(c->env.arg, endpoints, COORD_ENDPOINTS_MAX);
	const struct map_request map = {
		.version = COORD_CAP_VERSION,
		.node_key = login_public(&c->persist->node_private),
		.disco_key = c->env.disco_key(c->env.arg),
		.stream = stream,
		.hostinfo = c->env.hostinfo(c->env.arg),
		.endpoints = endpoints,
		.n_endpoints = n,
		.has_endpoints = n || !stream, // none known yet is not none
	};
	size_t len;
	char *const text = map_request_text(&map, &len);
	const struct session_request request = {
		.method = "POST",
		.path = path,
		.body = text,
		.body_len = len,
		.answer_max = stream ? 0 : LITE_ANSWER_MAX,
		.timeout_s = stream ? 0 : COORD_SHORT_S,
		.data = stream ? on_data : NULL,
		.done = done,
		.arg = c,
	};
	const int error = text ? coord_session_send(c->session, &request, coord_now(c)) : -ENOMEM;

	free(text);
	return error;
}

void poll_start(struct coord_client *c)
{
	if (!c->session) // whoever was told of a change has ended it
		return;
	mapstream_destroy(c->stream);
	c->stream = mapstream_create(on_message, c);
	netmap_stream_start(c->netmap);
	c->phase = PHASE_POLL;
	c->alive_ns = coord_now(c);
	c->lite_failures = 0;
	if (map_post(c, true, on_end)) {
		coord_fail_text(c, COORD_TROUBLE_CLOSED, "the server takes no more requests");
		return;
	}
	coord_client_update(c); // the stream's request is read-only, officially
}

void poll_tick(struct coord_client *c, uint64_t now_ns)
{
	if (now_ns - c->alive_ns > MAPSTREAM_SILENCE_S * NS_PER_S)
		coord_fail_text(c, COORD_TROUBLE_SILENT, "nothing from the server for %d s",
			MAPSTREAM_SILENCE_S);
	else
		self_judge(c); // keys expire by themselves
}

// --- Lite updates.

static void on_lite(void *arg, const struct session_answer *a)
{
	struct coord_client *const c = arg;

	c->lite_busy = false;
	if (a->error == -ETIMEDOUT) { // nor would the stream's end be noticed soon
		coord_fail_answer(c, "POST /machine/map (update)", a);
		return;
	}
	if (!a->error && a->status == 404) {
		unknown_node(c);
		return;
	}
	if (!a->error && a->status == 200) {
		c->status.lite_updates++;
		c->lite_failures = 0;
		if (c->lite_wanted)
			coord_timer(c->lite, LITE_AFTER_MS);
		return;
	}
	log_warn("coord", "an update was not taken: %s %d", a->error ? strerror(-a->error) : "HTTP",
		a->status);
	c->lite_wanted = true;
	c->lite_failures++;
	coord_timer(c->lite, LITE_AFTER_MS + coord_backoff_ms(c->lite_failures));
}

void on_lite_timer(evutil_socket_t, short, void *arg)
{
	struct coord_client *const c = arg;

	if (c->phase != PHASE_POLL || c->lite_busy || !c->lite_wanted)
		return;
	c->lite_wanted = false;
	c->lite_busy = true;
	if (!map_post(c, false, on_lite))
		return;
	c->lite_busy = false;
	coord_fail_text(c, COORD_TROUBLE_CLOSED, "the server takes no more requests");
}

void coord_client_update(struct coord_client *c)
{
	c->lite_wanted = true;
	if (c->phase == PHASE_POLL && !c->lite_busy && !event_pending(c->lite, EV_TIMEOUT, NULL))
		coord_timer(c->lite, LITE_AFTER_MS);
}
