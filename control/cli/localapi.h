// The LocalAPI as the commands use it.
#pragma once

#include "control/cli/client.h"

#define LOCALAPI "/localapi/v0/"

enum { LOCALAPI_TIMEOUT_MS = 30000 };

// Ask. body: taken; NULL: none. out: NULL, or the answer. 0, or as client_request; -EPROTO: no
// JSON.
int localapi_call(const struct cli *, const char *method, const char *path, json_t *body,
	json_t **out, char err[static CLI_ERROR_LEN]) must_check;
// ipnstate.Status, clean for a terminal (ipn_clean).
int localapi_status(
	const struct cli *, bool peers, json_t **out, char err[static CLI_ERROR_LEN]) must_check;
