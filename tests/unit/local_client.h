// Clients of the LocalAPI, over the daemon of ctl_fixture.h with the tailnet of tailnet_double.h.
#pragma once

#include "tests/unit/ctl_client.h"

#include <sys/stat.h>
#include <unistd.h>

#include "control/ctl/local_priv.h"

#define API "/localapi/v0/"

// Sends a request; headers: lines with their line ends.
static inline void local_send(struct client *c, const char *method, const char *path,
	const char *headers, const char *body)
{
	const size_t room = strlen(body) + 1024;
	char *request = malloc(room);
	const int n = snprintf(request, room,
		"%s %s HTTP/1.1\r\n%sConnection: close\r\nContent-Length: %zu\r\n\r\n%s", method,
		path, headers, strlen(body), body);

	assert_true(n > 0 && (size_t)n < room);
	client_send(c, request, (size_t)n);
	free(request);
}

#define HOST "Host: local-tailscaled.sock\r\n"

// The answer's body, to be freed; the code is checked.
static inline char *local_text_of(
	const char *method, const char *path, const char *headers, const char *body, int code)
{
	struct client c = client_open();

	local_send(&c, method, path, headers, body);
	client_wait(&c);
	if (status_of(&c) != code)
		fail_msg("%s %s %s: not %d but %s", method, path, body, code, c.answer);
	char *text = strdup(body_of(&c));
	client_close(&c);
	return text;
}

static inline json_t *local_json_of(
	const char *method, const char *path, const char *body, int code)
{
	char *text = local_text_of(method, path, HOST, body, code);
	json_error_t error;
	json_t *json = json_loads(text, JSON_DECODE_ANY, &error);

	if (json == NULL)
		fail_msg("%s: %s", path, error.text);
	free(text);
	return json;
}

static inline void local_expect(
	const char *method, const char *path, const char *body, int code, const char *says)
{
	char *text = local_text_of(method, path, HOST, body, code);

	if (text == NULL || strstr(text, says) == NULL)
		fail_msg("%s %s %s: '%s' is not in the answer", method, path, body, says);
	free(text);
}

enum { LOCAL_NOBODY = 65534 };

// A connection of a user who is neither root nor the daemon's: the server sees who connected.
static inline struct client open_as_nobody(void)
{
	assert_int_equal(setegid(LOCAL_NOBODY), 0);
	assert_int_equal(seteuid(LOCAL_NOBODY), 0);
	struct client c = client_open();
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(setegid(0), 0);
	return c;
}

static inline void as_nobody(
	const char *method, const char *path, const char *body, int code, const char *says)
{
	struct client c = open_as_nobody();

	local_send(&c, method, path, HOST, body);
	client_wait(&c);
	if (status_of(&c) != code || strstr(c.answer, says) == NULL)
		fail_msg("%s %s: not %d '%s' but %s", method, path, code, says, c.answer);
	client_close(&c);
}

// Whoever is not root has to get through to the socket, too.
static inline int local_setup(void **state)
{
	const int error = client_setup(state);

	double_create();
	double_run();
	fixture.daemon.tailnet = &tailnet;
	return error != 0 ? error : chmod(t.folder, 0711);
}

static inline int local_teardown(void **state)
{
	const int error = client_teardown(state);

	double_destroy();
	return error;
}
