// Ping requests of the server: it wants to know whether we are there, or asks us something (c2n).
#include "control/coord/client_parts.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/json.h"
#include "dataplane/base/log.h"

enum {
	PING_ANSWER_MAX = 4096,
	C2N_MAX = 256 << 10, // bytes of a request
};

static const char c2n_refused[] =
	"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\n"
	"unknown c2n path\n";

static void nothing(void *, const struct session_answer *)
{
}

static int request_send(
	struct coord_client *c, const char *method, const char *path, const void *body, size_t len)
{
	const struct session_request request = {
		.method = method,
		.path = path,
		.body = body,
		.body_len = len,
		.answer_max = PING_ANSWER_MAX,
		.timeout_s = COORD_SHORT_S,
		.done = nothing,
		.arg = c,
	};

	return c->session ? coord_session_send(c->session, &request, coord_now(c)) : -ENOTCONN;
}

// A path that HTTP/2 may carry, of a URL or by itself.
static const char *path_of(const char *url)
{
	const char *const path = *url == '/' ? url : url_path(url);

	for (const char *at = path; at && *at; at++)
		if ((uint8_t)*at <= ' ' || (uint8_t)*at >= 0x7f)
			return NULL;
	return path;
}

int coord_client_post(struct coord_client *c, const char *path, const char *body, size_t len)
{
	const char *const at = path_of(path);
	const int error = at ? request_send(c, "POST", at, body, len) : -EINVAL;

	return error && error != -EINVAL ? -ENOTCONN : error;
}

// --- Repeated requests: one URL is answered once.

static bool is_new(struct coord_client *c, const char *url)
{
	for (unsigned i = 0; i < COORD_PINGS_REMEMBERED; i++)
		if (c->ping_urls[i] && !strcmp(c->ping_urls[i], url))
			return false;
	free(c->ping_urls[c->next_ping_url]);
	c->ping_urls[c->next_ping_url] = strdup(url);
	c->next_ping_url = (c->next_ping_url + 1) % COORD_PINGS_REMEMBERED;
	return true;
}

void pings_fini(struct coord_client *c)
{
	for (unsigned i = 0; i < COORD_PINGS_REMEMBERED; i++)
		free(c->ping_urls[i]);
	for (unsigned i = 0; i < COORD_PINGS_MAX; i++)
		fetch_cancel(c->heads[i].fetch);
}

// --- HEAD.

static void on_head(void *arg, const struct fetch_answer *a)
{
	struct coord_head *const h = arg;

	h->fetch = NULL;
	if (a->error)
		log_info("coord", "a ping that the server asked for failed: %s", a->why);
}

static int head_fetch(struct coord_client *c, const char *url)
{
	const struct fetch_request request = {
		.method = "HEAD",
		.url = url,
		.max = PING_ANSWER_MAX,
		.timeout_ms = COORD_SHORT_S * 1000,
		.follow = true,
	};

	for (unsigned i = 0; i < COORD_PINGS_MAX; i++) {
		struct coord_head *const h = &c->heads[i];
		if (h->fetch)
			continue;
		h->client = c;
		return fetch_start(&h->fetch, c->net, &request, on_head, h);
	}
	return -EBUSY;
}

// --- c2n.

static int c2n(struct coord_client *c, const char *path, const char *payload)
{
	const size_t max = strlen(payload);
	size_t len = 0, answer_len = 0;
	char *answer = NULL;

	if (max > C2N_MAX)
		return -EMSGSIZE;
	char *const request = calloc(1, max + 1);
	if (!request)
		return -ENOMEM;
	int error = sodium_base642bin((uint8_t *)request, max, payload, max, NULL, &len, NULL,
			    sodium_base64_VARIANT_ORIGINAL)
			    ? -EBADMSG
			    : 0;
	if (!error && c->env.c2n)
		answer = c->env.c2n(c->env.arg, request, len, &answer_len);
	if (!error)
		error = answer ? request_send(c, "POST", path, answer, answer_len)
			       : request_send(
					 c, "POST", path, c2n_refused, sizeof(c2n_refused) - 1);
	free(answer);
	free(request);
	return error;
}

static int answer(struct coord_client *c, struct json_object *o, const char *request)
{
	const char *const url = json_text(o, "URL"), *const types = json_text(o, "Types"),
			  *const payload = json_text(o, "Payload"),
			  *const path = url ? path_of(url) : NULL;
	const bool noise = json_flag(o, "URLIsNoise");

	if (o->bad || !path || *url == '/')
		return -EBADMSG;
	if (!is_new(c, url))
		return 0;
	c->status.ping_requests++;
	if (json_flag(o, "Log"))
		log_info("coord", "the server asks for a ping: %s", types ? types : "HEAD");
	if (!types)
		return noise ? request_send(c, "HEAD", path, NULL, 0) : head_fetch(c, url);
	if (!strcmp(types, "c2n"))
		return c2n(c, path, payload ? payload : "");
	if (!c->env.ping)
		return -EOPNOTSUPP;
	c->env.ping(c->env.arg, request);
	return 0;
}

void pings_take(struct coord_client *c, const char *request)
{
	json_t *const v = json_piece((struct slice){request, strlen(request)});
	struct json_object o = json_open(v);
	const int error = answer(c, &o, request);

	if (error)
		log_warn("coord", "a ping request of the server is not answered: %s",
			strerror(-error));
	json_decref(v);
}
