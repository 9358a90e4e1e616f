// HTTP to the daemon's Unix socket.
#pragma once

#include <jansson.h>

#include "control/cli/cli.h"

// Take n bytes of the answer; false ends the transfer.
typedef bool client_take(void *arg, const char *bytes, size_t n);

struct client_request {
	const char *socket, *method, *path;
	const char *body;    // JSON, or NULL
	unsigned timeout_ms; // 0: none
	client_take *take;   // of an answer 2xx
	bool (*begun)(
		void *arg); // its head is there; may be NULL; false: end. May ask other things
	void *arg;	    // of both
	const volatile int *stop; // NULL, or looked at about once a second and at every signal
};

// Ask and hand the answer on as it comes. 0; or -errno and one line in err: the daemon is not
// there, its own words for a refusal (-EACCES: 403, -ENODATA: 404, else -EPROTO), -ETIMEDOUT, or
// -ECANCELED when take or stop ended it.
int client_request(const struct client_request *, char err[static CLI_ERROR_LEN]) must_check;
// Likewise, in a line. timeout_s: 0: none.
int client_stream(const char *socket, const char *method, const char *path, unsigned timeout_s,
	client_take *take, void *arg, const volatile int *stop,
	char err[static CLI_ERROR_LEN]) must_check;
// The whole answer as text (to be freed) or as JSON. take, begun and arg of the request are not
// used.
int client_whole(
	const struct client_request *, char **out, char err[static CLI_ERROR_LEN]) must_check;
int client_text(const char *socket, const char *method, const char *path, unsigned timeout_s,
	char **out, char err[static CLI_ERROR_LEN]) must_check;
int client_json(const char *socket, const char *method, const char *path, unsigned timeout_s,
	json_t **out, char err[static CLI_ERROR_LEN]) must_check;
// Append "name=value" to a path with '?' or '&', the value percent-encoded; NULL: nothing.
// False: no room.
bool client_param(char *path, size_t room, const char *name, const char *value);
