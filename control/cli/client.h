// HTTP to the daemon's Unix socket.
#pragma once

#include <jansson.h>

#include "control/cli/cli.h"

// Take n bytes of the answer; false ends the transfer.
typedef bool client_take(void *arg, const char *bytes, size_t n);

// Ask and hand the answer on as it comes. 0; or -errno and one line in err: the daemon is not
// there, its own words for a refusal, or -ECANCELED when take or stop ended it. stop: NULL, or
// looked at about once a second and at every signal. timeout_s: 0: none.
int client_stream(const char *socket, const char *method, const char *path, unsigned timeout_s,
	client_take *take, void *arg, const volatile int *stop,
	char err[static CLI_ERROR_LEN]) must_check;
// The whole answer as text (to be freed) or as JSON.
int client_text(const char *socket, const char *method, const char *path, unsigned timeout_s,
	char **out, char err[static CLI_ERROR_LEN]) must_check;
int client_json(const char *socket, const char *method, const char *path, unsigned timeout_s,
	json_t **out, char err[static CLI_ERROR_LEN]) must_check;
// Append "name=value" to a path with '?' or '&', the value percent-encoded; NULL: nothing.
// False: no room.
bool client_param(char *path, size_t room, const char *name, const char *value);
