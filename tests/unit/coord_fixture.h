// A client of the coordination server with what the daemon would give it, and a server for it.
#pragma once

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/coord_server.h"

#include "control/coord/client.h"
#include "control/coord/json.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define S UINT64_C(1000000000)

enum { SAVES = 16 };

struct fixture {
	struct event_base *base;
	struct event *step;
	struct net *net;
	struct server server;
	struct persist_state persist;
	struct netmap *netmap;
	struct coord_client *client;
	const struct coord_status *status;
	uint64_t skew_ns; // of the client's clock
	// What the client asked for:
	struct persist_state saved[SAVES]; // the first ones
	unsigned saves, maps, changes, pings, c2ns;
	int save_error;
	char ping[256], c2n[256];
	void (*on_map)(struct fixture *);
	void (*on_change)(struct fixture *);
	struct map_endpoint endpoint;
	int logged_out;
	bool logout_done;
	// Of the test's server:
	int script;
	unsigned registers, streams, lites, posts, pinged;
	char last_register[4096], last_map[4096], last_lite[4096], last_post[4096];
	struct key node_key; // of the last registration
	struct server_stream *stream;
};

static inline uint64_t fixture_now(void *arg)
{
	const struct fixture *f = arg;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * S + (uint64_t)t.tv_nsec + f->skew_ns;
}

static inline const struct hostinfo *fixture_hostinfo(void *)
{
	static const struct hostinfo h = {.version = "1",
		.backend_log_id = "abab",
		.os = "linux",
		.hostname = "test",
		.userspace = -1,
		.userspace_router = -1};

	return &h;
}

static inline size_t fixture_endpoints(void *arg, struct map_endpoint *out, size_t max)
{
	const struct fixture *f = arg;

	assert_true(max >= 1);
	*out = f->endpoint;
	return f->endpoint.endpoint.port != 0;
}

static inline struct key fixture_disco_key(void *)
{
	return (struct key){{7}};
}

static inline int fixture_save(void *arg)
{
	struct fixture *f = arg;

	if (f->save_error)
		return f->save_error;
	if (f->saves < SAVES)
		f->saved[f->saves] = f->persist;
	f->saves++;
	return 0;
}

static inline void fixture_map(void *arg, const struct netmap_delta *)
{
	struct fixture *f = arg;

	f->maps++;
	if (f->on_map)
		f->on_map(f);
}

static inline void fixture_changed(void *arg)
{
	struct fixture *f = arg;

	f->changes++;
	if (f->on_change)
		f->on_change(f);
}

static inline void fixture_ping(void *arg, const char *request)
{
	struct fixture *f = arg;

	f->pings++;
	snprintf(f->ping, sizeof(f->ping), "%s", request);
}

static inline char *fixture_c2n(void *arg, const char *request, size_t len, size_t *answer_len)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	struct fixture *f = arg;

	f->c2ns++;
	snprintf(f->c2n, sizeof(f->c2n), "%.*s", (int)len, request);
	if (strncmp(f->c2n, "POST /echo ", 11) != 0)
		return NULL;
	*answer_len = sizeof(answer) - 1;
	return strdup(answer);
}

static inline void fixture_step(evutil_socket_t, short, void *)
{
}

static inline struct coord_client *fixture_client(struct fixture *f)
{
	const struct coord_env env = {.arg = f,
		.now_ns = fixture_now,
		.hostinfo = fixture_hostinfo,
		.endpoints = fixture_endpoints,
		.disco_key = fixture_disco_key,
		.save = fixture_save,
		.map = fixture_map,
		.changed = fixture_changed,
		.ping = fixture_ping,
		.c2n = fixture_c2n};
	struct coord_client *c = coord_client_create(f->base, f->net, &f->persist, f->netmap, &env);

	assert_non_null(c);
	f->client = c;
	f->status = coord_client_status(c);
	return c;
}

static inline struct fixture *fixture_create(
	void (*request)(struct server *, struct server_stream *))
{
	static const struct timeval often = {.tv_usec = 5000};
	static const struct key none;
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->base = event_base_new();
	f->step = event_new(f->base, -1, EV_PERSIST, fixture_step, NULL);
	event_add(f->step, &often);
	f->net = net_create(f->base);
	assert_non_null(f->net);
	server_open(&f->server, f->base, request);
	x25519_generate(f->persist.machine_private.bytes);
	f->netmap = netmap_create(&none);
	fixture_client(f);
	return f;
}

static inline void fixture_destroy(struct fixture *f)
{
	coord_client_destroy(f->client);
	server_shut(&f->server);
	net_destroy(f->net);
	netmap_destroy(f->netmap);
	event_free(f->step);
	event_base_free(f->base);
	free(f);
}

// Whose server it is.
static inline struct fixture *fixture_of(struct server *s)
{
	return (struct fixture *)((char *)s - offsetof(struct fixture, server));
}

static inline void fixture_start(struct fixture *f, const char *auth_key, bool interactive)
{
	char url[64];
	const struct coord_login login = {
		.server = url, .auth_key = auth_key, .interactive = interactive};

	snprintf(url, sizeof(url), "http://127.0.0.1:%u", f->server.port);
	assert_int_equal(coord_client_start(f->client, &login), 0);
}

static inline bool fixture_wait_ms(struct fixture *f, bool (*there)(struct fixture *), unsigned ms)
{
	struct timespec t;
	const uint64_t start = (clock_gettime(CLOCK_MONOTONIC, &t),
		(uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
	uint64_t now = start;

	while (!there(f) && now - start < ms) {
		event_base_loop(f->base, EVLOOP_ONCE);
		clock_gettime(CLOCK_MONOTONIC, &t);
		now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	}
	return there(f);
}

// Until it is there, or the test has failed.
#define wait_until(f, there)                                                                       \
	do {                                                                                       \
		if (!fixture_wait_ms(f, there, 60000))                                             \
			fail_msg(#there ": state %d, %s: %s", (f)->status->state,                  \
				coord_trouble_label((f)->status->trouble), (f)->status->why);      \
	} while (0)

// For so long, and so many turns: a busy machine may take all of the time for one.
static inline void run_ms(struct fixture *f, unsigned ms)
{
	const uint64_t end = fixture_now(f) + ms * (S / 1000);

	for (unsigned turn = 0; turn < ms || fixture_now(f) < end; turn++) {
		event_base_loop(f->base, EVLOOP_NONBLOCK);
		usleep(500);
	}
}

static inline bool is_streaming(struct fixture *f)
{
	return f->status->state == COORD_STREAMING;
}

static inline bool has_failed(struct fixture *f)
{
	return f->status->failures > 0;
}

// The first failure: what kind, and what is said of it.
static inline void assert_failure(
	struct fixture *f, const char *name, enum coord_trouble trouble, const char *why)
{
	wait_until(f, has_failed);
	print_message("%s: %s\n", name, f->status->why);
	assert_string_equal(coord_trouble_label(f->status->trouble), coord_trouble_label(trouble));
	assert_non_null(strstr(f->status->why, why));
}

// --- What a good server does.

// The value of a member that is a plain text: up to its quote.
static inline const char *body_text(const char *body, const char *name, char *out, size_t size)
{
	char start[64];

	snprintf(start, sizeof(start), "\"%s\":\"", name);
	const char *const at = strstr(body, start);
	assert_non_null(at);
	const char *const value = at + strlen(start);
	snprintf(out, size, "%.*s", (int)strcspn(value, "\""), value);
	return out;
}

static inline struct key body_key(const char *body, const char *name)
{
	char text[TYPED_KEY_TEXT_LEN + 1];
	struct key key;

	assert_int_equal(
		typed_key_parse(body_text(body, name, text, sizeof(text)), "nodekey:", &key), 0);
	return key;
}

static inline struct key public_of(const struct key *private_key)
{
	struct key key = {0};

	if (!key_is_zero(private_key))
		x25519_public(key.bytes, private_key->bytes);
	return key;
}

static inline void assert_key_equal(struct key a, struct key b)
{
	assert_memory_equal(a.bytes, b.bytes, KEY_LEN);
}

static const char register_done[] =
	"{\"User\":{\"ID\":5,\"DisplayName\":\"Lab\"},\"Login\":{\"LoginName\":\"lab@x\"},"
	"\"NodeKeyExpired\":false,\"MachineAuthorized\":true,\"AuthURL\":\"\"}";

// The first message of a stream; extra: more members of Node, with a comma in front.
static inline void send_self(struct fixture *f, const char *extra)
{
	char text[2048], key[TYPED_KEY_TEXT_LEN];

	snprintf(text, sizeof(text),
		"{\"Node\":{\"ID\":1,\"StableID\":\"n1\",\"Name\":\"test.lab.\",\"Key\":\"%s\","
		"\"Addresses\":[\"100.64.0.1/32\"]%s}}",
		typed_key_format(&f->node_key, "nodekey:", key), extra);
	server_message(f->stream, text);
}

static inline void take_register(struct fixture *f, struct server_stream *s)
{
	f->registers++;
	snprintf(f->last_register, sizeof(f->last_register), "%s", s->body);
	f->node_key = body_key(s->body, "NodeKey");
}

static inline bool is_lite(const struct server_stream *s)
{
	return strstr(s->body, "\"OmitPeers\":true") != NULL;
}

static inline void take_stream(struct fixture *f, struct server_stream *s)
{
	f->streams++;
	f->stream = s;
	snprintf(f->last_map, sizeof(f->last_map), "%s", s->body);
	assert_key_equal(body_key(s->body, "NodeKey"), f->node_key);
}

static inline void take_lite(struct fixture *f, struct server_stream *s)
{
	f->lites++;
	snprintf(f->last_lite, sizeof(f->last_lite), "%s", s->body);
}

static inline void good_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);

	if (!strcmp(s->path, "/machine/register")) {
		take_register(f, s);
		server_respond(s, 200, NULL, register_done, false);
	} else if (!strcmp(s->path, "/machine/map") && is_lite(s)) {
		take_lite(f, s);
		server_respond(s, 200, NULL, "", false);
	} else if (!strcmp(s->path, "/machine/map")) {
		take_stream(f, s);
		server_respond(s, 200, NULL, "", true);
		send_self(f, ",\"MachineAuthorized\":true");
	} else if (!strcmp(s->method, "POST")) {
		f->posts++;
		snprintf(f->last_post, sizeof(f->last_post), "%s %s", s->path, s->body);
		server_respond(s, 200, NULL, "", false);
	} else {
		assert_string_equal(s->method, "HEAD");
		f->pinged++;
		server_respond(s, 200, NULL, "", false);
	}
}

static inline bool has_lite(struct fixture *f)
{
	return f->status->lite_updates > 0;
}

// One that streams already, in front of a good server.
static inline struct fixture *streaming(void)
{
	struct fixture *f = fixture_create(good_request);

	fixture_start(f, "k", false);
	wait_until(f, is_streaming);
	wait_until(f, has_lite);
	return f;
}
