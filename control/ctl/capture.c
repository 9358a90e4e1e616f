#include "control/ctl/capture.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <poll.h>
#include <stdlib.h>

#include "control/ctl/answer.h"
#include "control/ctl/pcapng.h"
#include "control/ctl/read.h"
#include "dataplane/node/capture.h"
#include "dataplane/base/clock.h"

enum {
	CAPTURE_POLL_MS = 5,
	CAPTURE_TICK_PACKETS = 2048, // at most, so that handshakes get their turn
	CAPTURE_DRAIN = 64,
	// A client that reads too slowly: what is not taken off the ring is counted as lost.
	CAPTURE_BACKLOG = 8 << 20,
	CAPTURE_PIECES = CAPTURE_SNAPLEN_MAX / CAPTURE_ROOM,
};

enum {
	// A copy's place in the file: inner packets, then those of each port.
	SLOT_PLAIN,
	SLOT_PORTS,
	SLOT_COUNT = SLOT_PORTS + PORT_MAX,
	NO_INTERFACE = UINT32_MAX,
};

struct ctl_capture {
	struct ctl_server *server;
	struct evhttp_request *req;
	struct event *timer;
	struct capture *capture;
	uint32_t left; // packets to send; 0: no limit
	bool gone;     // the connection is closed and no longer the request's
	bool failed;   // no memory for the file's head: it ends at the next tick
	uint64_t start_unix_ns, start_tsc;
	uint32_t n_interfaces;
	uint32_t interface[SLOT_COUNT]; // of the file, or NO_INTERFACE
};

static void finish(struct ctl_capture *c)
{
	struct daemon *d = c->server->d;
	capture_stop(d->gw, c->capture);
	rcu_defer(d->gw->rcu, capture_destroy, c->capture);
	if (!c->gone)
		ctl_conns_on_close(c->server->conns, c->req, NULL, NULL);
	evhttp_send_reply_end(c->req);
	event_free(c->timer);
	c->server->capture = NULL;
	free(c);
}

static void on_close(void *arg)
{
	struct ctl_capture *c = arg;
	c->gone = true; // the next tick finishes; libevent still works on the connection here
}

// Whether the client left; nothing is read, and so nobody notices, while an answer is under way.
static bool has_left(const struct ctl_capture *c)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(c->req);
	if (c->gone || c->failed || connection == NULL)
		return true;
	struct pollfd p = {
		.fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection)),
		.events = POLLRDHUP,
	};
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

static size_t backlog(const struct ctl_capture *c)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(c->req);
	return evbuffer_get_length(
		bufferevent_get_output(evhttp_connection_get_bufferevent(connection)));
}

static int add_interface(struct ctl_capture *c, struct evbuffer *out, unsigned slot,
	enum pcapng_link link, uint32_t snaplen, const char *name, const char *description)
{
	c->interface[slot] = c->n_interfaces++;
	return pcapng_add_interface(out, link, snaplen, name, description);
}

// The section and only such interfaces as can have packets: libpcap, and so tcpdump, reads a file
// only if all of them have the same link type (and of raw IP only one); that is so with point=plain
// and with point=wire. The direction is a flag of each packet.
static int add_header(
	struct ctl_capture *c, struct evbuffer *out, const struct capture_filter *filter)
{
	const struct gateway *gw = c->server->d->gw;
	char name[40], description[160];
	int error = pcapng_add_section(out, "tailgate " TAILGATE_VERSION);
	for (unsigned i = 0; i < SLOT_COUNT; i++)
		c->interface[i] = NO_INTERFACE;
	if (error == 0 && (filter->points & 1 << CAPTURE_PLAIN_OUT))
		error = add_interface(c, out, SLOT_PLAIN, PCAPNG_RAW, filter->snaplen, "plain",
			"inner packets before encryption (out) and after decryption (in)");
	for (unsigned i = 0; error == 0 && i < gw->n_ports; i++) {
		const struct port *port = gw->port[i];
		bool on_wire = port->kind == PORT_SHARED || port->kind == PORT_OWNED;
		if (!(filter->points & 1 << CAPTURE_WIRE_IN) || !on_wire)
			continue;
		snprintf(name, sizeof(name), "wire-%s", port->name);
		snprintf(description, sizeof(description), "WireGuard packets on %s", port->device);
		error = add_interface(c, out, SLOT_PORTS + i,
			port->l2 ? PCAPNG_ETHERNET : PCAPNG_RAW, filter->snaplen, name,
			description);
	}
	return error;
}

static uint32_t interface_of(const struct ctl_capture *c, const struct capture_slot *copy)
{
	if (copy->point == CAPTURE_PLAIN_OUT || copy->point == CAPTURE_PLAIN_IN)
		return c->interface[SLOT_PLAIN];
	return copy->port < PORT_MAX ? c->interface[SLOT_PORTS + copy->port] : NO_INTERFACE;
}

static const char *peer_comment(
	const struct daemon *d, const struct key *key, char text[static KEY_TEXT_LEN + 1])
{
	if (key_is_zero(key))
		return NULL;
	const struct config_peer *peer = config_peer_find(d->config, key);
	return peer != NULL && peer->name[0] != '\0' ? peer->name : key_format(key, text);
}

static int add_packet(struct evbuffer *out, const struct ctl_capture *c, struct capture_slot *copy)
{
	const struct daemon *d = c->server->d;
	bool in = copy->point == CAPTURE_WIRE_IN || copy->point == CAPTURE_PLAIN_IN;
	struct iovec pieces[CAPTURE_PIECES];
	unsigned n = 0;
	char key[KEY_TEXT_LEN + 1];

	uint32_t interface = interface_of(c, copy);
	if (interface == NO_INTERFACE)
		return 0;
	for (struct capture_slot *slot = copy; slot != NULL && n < CAPTURE_PIECES;
		slot = slot->next)
		pieces[n++] = (struct iovec){slot->data, slot->n};
	double after_ns = (double)(int64_t)(copy->tsc - c->start_tsc) / d->gw->tsc_per_ns;
	struct pcapng_packet packet = {
		.interface = interface,
		.unix_ns = c->start_unix_ns + (uint64_t)(int64_t)after_ns,
		.data = pieces,
		.n = n,
		.len = copy->len,
		.direction = in ? PCAPNG_IN : PCAPNG_OUT,
		.comment = peer_comment(d, &copy->peer_key, key),
	};
	return pcapng_add_packet(out, &packet);
}

// Packets off the ring into the stream; true: the last one wanted was among them.
static bool send_packets(struct ctl_capture *c, struct evbuffer *chunk)
{
	struct capture_slot *copies[CAPTURE_DRAIN];
	unsigned drained = 0, n;
	bool done = false;
	do {
		unsigned want =
			c->left > 0 ? RTE_MIN(c->left, (uint32_t)CAPTURE_DRAIN) : CAPTURE_DRAIN;
		n = capture_drain(c->capture, copies, want);
		for (unsigned i = 0; i < n; i++) {
			done |= add_packet(chunk, c, copies[i]) < 0;
			capture_release(c->capture, copies[i]);
		}
		if (c->left > 0 && n > 0) {
			c->left -= n;
			done |= c->left == 0;
		}
		drained += n;
	} while (n > 0 && !done && drained < CAPTURE_TICK_PACKETS &&
		 evbuffer_get_length(chunk) < CAPTURE_BACKLOG);
	return done;
}

static void tick(evutil_socket_t, short, void *arg)
{
	struct ctl_capture *c = arg;
	if (has_left(c)) {
		finish(c);
		return;
	}
	if (backlog(c) >= CAPTURE_BACKLOG)
		return;
	struct evbuffer *chunk = evbuffer_new();
	bool done = chunk == NULL || send_packets(c, chunk);
	if (chunk != NULL && evbuffer_get_length(chunk) > 0)
		ctl_send_piece(c->req, chunk, NULL, NULL);
	if (chunk != NULL)
		evbuffer_free(chunk);
	if (done)
		finish(c);
}

struct peer_search {
	const char *text; // name or public key
	struct capture_filter *filter;
	bool found;
};

static void match_peer(void *arg, const struct wg_peer_info *p)
{
	struct peer_search *search = arg;
	char key[KEY_TEXT_LEN + 1];
	if (search->found ||
		(strcmp(p->peer->name, search->text) != 0 &&
			strcmp(key_format(&p->peer->public_key, key), search->text) != 0))
		return;
	search->found = true;
	search->filter->peer_key = p->peer->public_key;
	search->filter->peer_endpoint = p->endpoint;
}

static uint16_t find_port(const struct gateway *gw, const char *name)
{
	for (uint16_t i = 0; i < gw->n_ports; i++)
		if (strcmp(gw->port[i]->name, name) == 0)
			return i;
	return PORT_NONE;
}

// The filter that the query asks for; false: answered with an error.
static bool read_filter(struct ctl_server *s, struct evhttp_request *req, const struct query *q,
	struct capture_filter *filter)
{
	enum {
		PLAIN = 1 << CAPTURE_PLAIN_IN | 1 << CAPTURE_PLAIN_OUT,
		WIRE = 1 << CAPTURE_WIRE_IN | 1 << CAPTURE_WIRE_OUT,
	};
	const char *peer = query_text(q, "peer"), *port = query_text(q, "port");
	const char *point = query_text(q, "point");
	struct peer_search search = {.text = peer, .filter = filter};

	*filter = (struct capture_filter){.points = PLAIN | WIRE, .port = PORT_NONE};
	if (!ctl_query_number(req, q, "snaplen", CAPTURE_SNAPLEN_DEFAULT, CAPTURE_SNAPLEN_MIN,
		    CAPTURE_SNAPLEN_MAX, &filter->snaplen))
		return false;
	if (point != NULL && strcmp(point, "plain") != 0 && strcmp(point, "wire") != 0) {
		ctl_reply_error(req, HTTP_BADREQUEST, "point must be plain or wire");
		return false;
	}
	if (point != NULL)
		filter->points = point[0] == 'p' ? PLAIN : WIRE;
	if (port != NULL && (filter->port = find_port(s->d->gw, port)) == PORT_NONE) {
		ctl_reply_error(req, HTTP_NOTFOUND, "no port is named '%s'", port);
		return false;
	}
	if (peer != NULL)
		wg_peers_each(s->d->wg, match_peer, &search);
	if (peer != NULL && !search.found) {
		ctl_reply_error(req, HTTP_NOTFOUND, "no peer has the name or key '%s'", peer);
		return false;
	}
	return true;
}

static void start_stream(struct ctl_capture *c, const struct capture_filter *filter)
{
	struct evbuffer *chunk = evbuffer_new();
	ctl_conns_on_close(c->server->conns, c->req, on_close, c);
	ctl_send_begin(c->req, "application/x-pcapng");
	if (chunk == NULL || add_header(c, chunk, filter) < 0)
		c->failed = true;
	else
		ctl_send_piece(c->req, chunk, NULL, NULL);
	if (chunk != NULL)
		evbuffer_free(chunk);
}

void ctl_capture_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const names[] = {"peer", "port", "point", "count", "snaplen", NULL};
	static const struct timeval interval = {.tv_usec = CAPTURE_POLL_MS * 1000};
	struct capture_filter filter;
	struct query q;
	uint32_t count;
	if (!ctl_query(req, names, &q) || !read_filter(s, req, &q, &filter) ||
		!ctl_query_number(req, &q, "count", 0, 1, UINT32_MAX, &count))
		return;
	if (s->capture != NULL) {
		ctl_reply_error(req, 409, "another capture is running; end it first");
		return;
	}
	struct ctl_capture *c = calloc(1, sizeof(*c));
	struct event *timer = c != NULL ? event_new(s->d->base, -1, EV_PERSIST, tick, c) : NULL;
	if (timer == NULL || capture_create(&filter, &c->capture) < 0)
		goto no_memory;
	c->server = s;
	c->req = req;
	c->timer = timer;
	c->left = count;
	c->start_unix_ns = unix_now_ns();
	c->start_tsc = rte_rdtsc();
	if (event_add(timer, &interval) < 0 || capture_start(s->d->gw, c->capture) < 0) {
		capture_destroy(c->capture);
		goto no_memory;
	}
	s->capture = c;
	start_stream(c, &filter);
	return;
no_memory:
	if (timer != NULL)
		event_free(timer);
	free(c);
	ctl_reply_error(req, HTTP_SERVUNAVAIL, "no memory for the capture's buffers");
}

void ctl_capture_abort(struct ctl_server *s)
{
	if (s->capture != NULL)
		finish(s->capture);
}
