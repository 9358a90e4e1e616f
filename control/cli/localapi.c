#include "control/cli/localapi.h"

#include <errno.h>
#include <stdlib.h>

#include "control/cli/ipn.h"

int localapi_call(const struct cli *cli, const char *method, const char *path, json_t *body,
	json_t **out, char err[static CLI_ERROR_LEN])
{
	char *answer, *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	struct client_request request = {.socket = cli->socket,
		.method = method,
		.path = path,
		.body = text,
		.timeout_ms = LOCALAPI_TIMEOUT_MS};
	bool no_text = body != NULL && text == NULL;
	json_decref(body);
	if (no_text) {
		snprintf(err, CLI_ERROR_LEN, "out of memory");
		return -ENOMEM;
	}
	int error = client_whole(&request, &answer, err);
	free(text);
	if (error < 0)
		return error;
	json_t *json = out != NULL ? json_loads(answer, JSON_DECODE_ANY, NULL) : NULL;
	free(answer);
	if (out == NULL)
		return 0;
	snprintf(err, CLI_ERROR_LEN, "the daemon's answer to %s is no JSON", path);
	*out = json;
	return json != NULL ? 0 : -EPROTO;
}

int localapi_status(const struct cli *cli, bool peers, json_t **out, char err[static CLI_ERROR_LEN])
{
	int error = localapi_call(cli, "GET",
		peers ? LOCALAPI "status" : LOCALAPI "status?peers=false", NULL, out, err);
	if (error == 0)
		ipn_clean(*out);
	return error;
}
