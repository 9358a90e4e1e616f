// A server on a socket of its own, over the hand-filled daemon of ctl_fixture.h, and clients that
// take turns with it in one thread.
#pragma once

#include "control/ctl/request.h"
#include "control/ctl/server.h"
#include "dataplane/node/capture.h"
#include "tests/unit/ctl_fixture.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum { ANSWER_MAX = 1 << 20, DEADLINE_S = 60 };

static struct {
	char folder[64], path[96];
	struct event_base *base;
	struct ctl_server *server;
	struct rte_mempool *pool;
} t;

// One connection to the server, whose answer is collected until it closes.
struct client {
	int fd;
	bool closed;
	size_t n;
	char *answer; // ANSWER_MAX + 1
};

static inline double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static inline struct client client_open(void)
{
	struct client c = {.fd = connect_to(t.path), .answer = calloc(1, ANSWER_MAX + 1)};
	assert_true(c.fd >= 0);
	return c;
}

static inline void client_close(struct client *c)
{
	close(c->fd);
	free(c->answer);
}

// Let everything run that can, once.
static inline void spin(struct client *c)
{
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	rcu_reclaim(fixture.gw.rcu);
	if (c == NULL || c->closed)
		return;
	ssize_t n = read(c->fd, c->answer + c->n, ANSWER_MAX - c->n);
	if (n > 0)
		c->n += (size_t)n;
	c->closed = n == 0;
}

static inline void client_send(struct client *c, const char *bytes, size_t n)
{
	double deadline = seconds() + DEADLINE_S;
	while (n > 0 && seconds() < deadline) {
		ssize_t sent = send(c->fd, bytes, n, MSG_NOSIGNAL);
		if (sent > 0) {
			bytes += sent;
			n -= (size_t)sent;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return; // the server has had enough
		}
		spin(c);
	}
}

static inline void client_wait(struct client *c)
{
	double deadline = seconds() + DEADLINE_S;
	while (!c->closed && seconds() < deadline)
		spin(c);
	if (!c->closed)
		fail_msg("no end of the answer: %s", c->answer);
}

static inline void client_ask(struct client *c, const char *method, const char *path)
{
	char request[512];
	int n = snprintf(request, sizeof(request),
		"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		method, path);
	client_send(c, request, (size_t)n);
}

static inline int status_of(const struct client *c)
{
	int code = 0;
	sscanf(c->answer, "HTTP/1.%*d %d", &code);
	return code;
}

static const char *body_of(const struct client *c)
{
	const char *end = strstr(c->answer, "\r\n\r\n");
	return end != NULL ? end + 4 : "";
}

// Ask, check the code, read the JSON.
static inline json_t *ask(const char *method, const char *path, int code)
{
	struct client c = client_open();
	json_error_t error;
	client_ask(&c, method, path);
	client_wait(&c);
	if (status_of(&c) != code)
		fail_msg("%s %s: %s", method, path, c.answer);
	json_t *json = json_loads(body_of(&c), 0, &error);
	if (json == NULL)
		fail_msg("%s: %s in %s", path, error.text, c.answer);
	client_close(&c);
	return json;
}

static const char *text_at(json_t *json, const char *name)
{
	const char *text = json_string_value(json_object_get(json, name));
	return text != NULL ? text : "(none)";
}

static inline json_int_t number_at(json_t *json, const char *name)
{
	return json_integer_value(json_object_get(json, name));
}

// The object of an array whose member name has this value.
static inline json_t *find(json_t *array, const char *name, const char *value)
{
	size_t i;
	json_t *element;
	json_array_foreach(
		array, i, element) if (strcmp(text_at(element, name), value) == 0) return element;
	fail_msg("nothing with %s %s", name, value);
	return NULL;
}

static inline int client_setup(void **)
{
	char err[CTL_ERROR_LEN];
	test_eal_init();
	t.base = event_base_new();
	fixture_create(t.base);
	t.pool = rte_pktmbuf_pool_create(
		"ctl", 255, 0, PKT_PRIV_LEN, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	strcpy(t.folder, "/tmp/tailgate-ctl-XXXXXX");
	if (t.pool == NULL || mkdtemp(t.folder) == NULL)
		return -1;
	snprintf(t.path, sizeof(t.path), "%s/ctl.sock", t.folder);
	struct ctl_params params = {.path = t.path};
	return ctl_server_create(&fixture.daemon, &params, &t.server, err);
}

static inline int client_teardown(void **)
{
	ctl_server_destroy(t.server);
	fixture_destroy();
	rte_mempool_free(t.pool);
	event_base_free(t.base);
	return rmdir(t.folder);
}
