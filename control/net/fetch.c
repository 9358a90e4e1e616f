#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/net/transfer.h"
#include "dataplane/base/mem.h"

enum {
	HEAD_MAX = 64 << 10, // bytes of headers, those of redirects included
	REDIRECTS_MAX = 5,
	VALUE_MAX = 512,
	BODY_ROOM_MIN = 4096,
};

struct fetch { // ctl only
	struct transfer transfer;
	void (*done)(void *arg, const struct fetch_answer *);
	void *arg;
	struct curl_slist *headers;
	char *body; // terminated
	size_t len, room, max, head_len;
	bool too_large;
	bool headed; // the empty line behind the headers came
	char challenge_answer[VALUE_MAX];
	char date[VALUE_MAX];
};

void fetch_cancel(struct fetch *f)
{
	if (!f)
		return;
	transfer_fini(&f->transfer);
	curl_slist_free_all(f->headers);
	free(f->body);
	free(f);
}

// The body keeps a terminating zero.
static size_t on_body(char *bytes, size_t, size_t n, void *arg)
{
	struct fetch *f = arg;
	size_t room = f->room ? f->room : BODY_ROOM_MIN;

	if (n > f->max - f->len) {
		f->too_large = true;
		return 0;
	}
	while (room <= f->len + n)
		room *= 2;
	if (room > f->room) {
		char *body = realloc(f->body, room);
		if (!body)
			return 0;
		f->body = body;
		f->room = room;
	}
	memcpy(f->body + f->len, bytes, n);
	f->len += n;
	f->body[f->len] = '\0';
	return n;
}

// The value without the space around it, if the line is that header and there is room.
static void take_header(const char *line, size_t n, const char *name, char value[static VALUE_MAX])
{
	size_t from = strlen(name), to = n;

	if (n < from || strncasecmp(line, name, from) != 0)
		return;
	while (from < to && (line[from] == ' ' || line[from] == '\t'))
		from++;
	while (to > from && strchr("\r\n \t", line[to - 1]))
		to--;
	if (to - from >= VALUE_MAX)
		return;
	memcpy(value, line + from, to - from);
	value[to - from] = '\0';
}

static size_t on_header(char *line, size_t, size_t n, void *arg)
{
	struct fetch *f = arg;

	f->head_len += n;
	if (f->head_len > HEAD_MAX) {
		f->too_large = true;
		return 0;
	}
	if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) // of the next answer, behind a redirect
		f->challenge_answer[0] = f->date[0] = '\0';
	f->headed = line[0] == '\r' || line[0] == '\n';
	take_header(line, n, "X-Tailscale-Response:", f->challenge_answer);
	take_header(line, n, "Date:", f->date);
	return n;
}

static int64_t date_of(const char *text)
{
	const time_t date = *text ? curl_getdate(text, NULL) : -1;

	return date > 0 ? date : 0;
}

static double seconds_to_answer(CURL *easy)
{
	curl_off_t ready = 0, first = 0;

	curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
	curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME_T, &first);
	return first > ready ? (double)(first - ready) / 1e6 : 0;
}

static void on_done(void *arg, CURLcode code)
{
	struct fetch *f = arg;
	char why[STREAM_WHY_LEN] = "";
	const char *location = NULL;
	long status = 0;
	struct fetch_answer answer = {
		.why = why,
		.body = f->body ? f->body : "",
		.len = f->len,
		.header = f->challenge_answer,
	};

	if (code == CURLE_OK && !f->headed) // libcurl takes such an end for one
		code = CURLE_PARTIAL_FILE;
	if (code != CURLE_OK)
		answer.error = transfer_explain(
			&f->transfer, f->too_large ? CURLE_FILESIZE_EXCEEDED : code, why);
	curl_easy_getinfo(f->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(f->transfer.easy, CURLINFO_REDIRECT_URL, &location);
	answer.status = (int)status;
	answer.location = location ? location : "";
	answer.date = date_of(f->date);
	answer.seconds = seconds_to_answer(f->transfer.easy);
	f->done(f->arg, &answer);
	fetch_cancel(f);
}

// Host and port of the URL, as libcurl will understand it. 0, -EINVAL, -ENOMEM.
static int split_url(
	const char *text, char host[static TLS_CHECK_NAME_MAX], uint16_t *port, bool *https)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *name = NULL, *number = NULL;
	int error = u ? -EINVAL : -ENOMEM;

	if (u && !curl_url_set(u, CURLUPART_URL, text, 0) &&
		!curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
		!curl_url_get(u, CURLUPART_HOST, &name, 0) &&
		!curl_url_get(u, CURLUPART_PORT, &number, CURLU_DEFAULT_PORT) &&
		strlen(name) < TLS_CHECK_NAME_MAX) {
		const size_t brackets = name[0] == '[';
		strcpy(host, name + brackets);
		if (brackets)
			host[strlen(host) - 1] = '\0';
		*port = (uint16_t)atoi(number);
		*https = strcmp(scheme, "https") == 0;
		error = *https || strcmp(scheme, "http") == 0 ? 0 : -EINVAL;
	}
	curl_free(scheme);
	curl_free(name);
	curl_free(number);
	curl_url_cleanup(u);
	return error;
}

static bool set_options(struct fetch *f, const struct fetch_request *r, bool https)
{
	CURL *e = f->transfer.easy;

	if (r->header) {
		f->headers = curl_slist_append(NULL, r->header);
		if (!f->headers)
			return false;
	}
	const bool head = strcmp(r->method, "HEAD") == 0;
	return curl_easy_setopt(e, CURLOPT_NOBODY, (long)head) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)(head ? 0 : r->max)) ==
		       CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_HTTPHEADER, f->headers) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_USERAGENT, "tailgate/" TAILGATE_VERSION) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_WRITEDATA, f) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_HEADERDATA, f) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, r->follow ? 1L : 0L) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https") ==
		       CURLE_OK;
}

static int set_up(struct fetch *f, struct net *net, const struct fetch_request *r)
{
	char host[TLS_CHECK_NAME_MAX];
	bool https;
	struct transfer_target t = {
		.url = r->url,
		.host = host,
		.address = r->address,
		.cert = r->cert,
		.inside = r->inside,
	};
	int error = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0 ? 0 : -EINVAL;

	if (!error)
		error = split_url(r->url, host, &t.port, &https);
	if (!error)
		error = transfer_init(&f->transfer, net, &t, on_done, f);
	if (!error && !set_options(f, r, https))
		error = -ENOMEM;
	return error ? error : transfer_start(&f->transfer);
}

int fetch_start(struct fetch **out, struct net *net, const struct fetch_request *request,
	void (*done)(void *arg, const struct fetch_answer *), void *arg)
{
	struct fetch *f = mem_alloc(sizeof(*f));

	f->done = done;
	f->arg = arg;
	f->max = request->max;
	const int error = set_up(f, net, request);
	if (error) {
		fetch_cancel(f);
		return error;
	}
	*out = f;
	return 0;
}
