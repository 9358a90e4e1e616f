#include "control/ctl/request.h"

#include "control/ctl/answer.h"

void ctl_reply_json(struct evhttp_request *req, int code, json_t *json)
{
	ctl_send_json(req, code, json, JSON_COMPACT);
}

void ctl_reply_error(struct evhttp_request *req, int code, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	// A cut text may end within a character, which JSON refuses: then without it.
	json_t *json = json_pack("{s:s}", "error", text);
	ctl_reply_json(req, code, json != NULL ? json : json_pack("{s:s}", "error", "refused"));
}

bool ctl_query(struct evhttp_request *req, const char *const names[], struct query *q)
{
	char err[QUERY_ERROR_LEN];
	const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
	if (query_parse(text, names, q, err) == 0)
		return true;
	ctl_reply_error(req, HTTP_BADREQUEST, "%s", err);
	return false;
}

bool ctl_query_number(struct evhttp_request *req, const struct query *q, const char *name,
	uint32_t otherwise, uint32_t min, uint32_t max, uint32_t *out)
{
	char err[QUERY_ERROR_LEN];
	if (query_number(q, name, otherwise, min, max, out, err) == 0)
		return true;
	ctl_reply_error(req, HTTP_BADREQUEST, "%s", err);
	return false;
}
