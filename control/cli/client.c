#include "control/cli/client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

enum {
	CONNECT_TIMEOUT_S = 5,
	ANSWER_MAX = 256 << 20, // bytes
	REFUSAL_MAX = 4096,
	URL_MAX = 2048,
};

#define LOCALAPI_HOST "local-tailscaled.sock" // the only name that a LocalAPI takes

struct transfer {
	CURL *curl;
	const struct client_request *request;
	struct curl_slist *headers;
	char refusal[REFUSAL_MAX]; // the answer's text if it is one
	size_t refusal_len;
	bool begun, ended; // ended: by take or stop
};

static bool is_good(const struct transfer *t)
{
	long code = 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	return code / 100 == 2;
}

static size_t on_bytes(char *bytes, size_t, size_t n, void *arg)
{
	struct transfer *t = arg;
	if (!is_good(t)) {
		size_t room = sizeof(t->refusal) - 1 - t->refusal_len, used = n < room ? n : room;
		memcpy(t->refusal + t->refusal_len, bytes, used);
		t->refusal_len += used;
		return n;
	}
	if (t->request->take(t->request->arg, bytes, n))
		return n;
	t->ended = true;
	return 0;
}

// The empty line ends the head.
static size_t on_header(char *line, size_t, size_t n, void *arg)
{
	struct transfer *t = arg;
	if (n == 2 && *line == '\r' && !t->begun && is_good(t)) {
		t->begun = true;
		t->ended = !t->request->begun(t->request->arg);
	}
	return t->ended ? 0 : n;
}

static int on_progress(void *arg, curl_off_t, curl_off_t, curl_off_t, curl_off_t)
{
	struct transfer *t = arg;
	t->ended |= t->request->stop != NULL && *t->request->stop;
	return t->ended;
}

static int cannot_connect(const char *socket, long os_error, char err[static CLI_ERROR_LEN])
{
	if (os_error == EACCES || os_error == EPERM)
		snprintf(err, CLI_ERROR_LEN,
			"no permission for %s: run as root (sudo tailgate ...)", socket);
	else
		snprintf(err, CLI_ERROR_LEN,
			"tailgated is not running (nobody answers at %s): start it with 'systemctl "
			"start tailgated', or name its socket with --socket",
			socket);
	return os_error > 0 ? -(int)os_error : -ECONNREFUSED;
}

// The daemon's own words: {"error": "..."}, or text.
static int refused(struct transfer *t, long code, char err[static CLI_ERROR_LEN])
{
	size_t n = t->refusal_len;
	json_t *json = json_loadb(t->refusal, n, 0, NULL);
	const char *text = json_string_value(json_object_get(json, "error"));
	while (n > 0 && isspace((unsigned char)t->refusal[n - 1]))
		n--;
	t->refusal[n] = '\0';
	for (char *c = t->refusal; *c != '\0'; c++)
		if (iscntrl((unsigned char)*c))
			*c = ' ';
	if (text == NULL && json == NULL && n > 0)
		text = t->refusal;
	if (code == 403)
		snprintf(err, CLI_ERROR_LEN,
			"%.200s: run as root (sudo tailgate ...), or allow your user once: sudo "
			"tailgate set --operator=$USER",
			text != NULL ? text : "access denied");
	else if (text != NULL)
		snprintf(err, CLI_ERROR_LEN, "%.500s", text);
	else
		snprintf(err, CLI_ERROR_LEN, "the daemon answered with HTTP status %ld", code);
	json_decref(json);
	return code == 403 ? -EACCES : code == 404 ? -ENODATA : -EPROTO;
}

static int outcome(struct transfer *t, CURLcode result, char err[static CLI_ERROR_LEN])
{
	long code = 0, os_error = 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	curl_easy_getinfo(t->curl, CURLINFO_OS_ERRNO, &os_error);
	if (t->ended) {
		snprintf(err, CLI_ERROR_LEN, "ended");
		return -ECANCELED;
	}
	if (result == CURLE_COULDNT_CONNECT)
		return cannot_connect(t->request->socket, os_error, err);
	if (result != CURLE_OK) {
		snprintf(err, CLI_ERROR_LEN, "the daemon at %s does not answer: %s",
			t->request->socket, curl_easy_strerror(result));
		return result == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EIO;
	}
	return code / 100 == 2 ? 0 : refused(t, code, err);
}

static void set_method(struct transfer *t)
{
	const struct client_request *r = t->request;
	if (strcmp(r->method, "GET") == 0)
		return;
	curl_easy_setopt(t->curl, CURLOPT_POST, 1L);
	curl_easy_setopt(t->curl, CURLOPT_CUSTOMREQUEST, r->method);
	curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, r->body != NULL ? r->body : "");
	curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE, -1L);
	// No waiting for "100 Continue".
	t->headers = curl_slist_append(NULL, "Expect:");
	if (t->headers != NULL && r->body != NULL)
		(void)curl_slist_append(t->headers, "Content-Type: application/json");
	curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
}

static void set_up(struct transfer *t)
{
	const struct client_request *r = t->request;
	curl_easy_setopt(t->curl, CURLOPT_UNIX_SOCKET_PATH, r->socket);
	curl_easy_setopt(t->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
	curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
	if (r->begun != NULL) {
		curl_easy_setopt(t->curl, CURLOPT_HEADERFUNCTION, on_header);
		curl_easy_setopt(t->curl, CURLOPT_HEADERDATA, t);
	}
	curl_easy_setopt(t->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(t->curl, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(t->curl, CURLOPT_NOPROGRESS, 0L);
}

int client_request(const struct client_request *request, char err[static CLI_ERROR_LEN])
{
	char url[URL_MAX];
	struct transfer t = {.request = request, .curl = curl_easy_init()};
	int n = snprintf(url, sizeof(url), "http://" LOCALAPI_HOST "%s", request->path);
	if (t.curl == NULL || n >= (int)sizeof(url)) {
		snprintf(err, CLI_ERROR_LEN,
			t.curl == NULL ? "out of memory" : "an argument is too long");
		curl_easy_cleanup(t.curl);
		return t.curl == NULL ? -ENOMEM : -ENAMETOOLONG;
	}
	curl_easy_setopt(t.curl, CURLOPT_URL, url);
	set_up(&t);
	set_method(&t);
	int error = outcome(&t, curl_easy_perform(t.curl), err);
	curl_slist_free_all(t.headers);
	curl_easy_cleanup(t.curl);
	return error;
}

int client_stream(const char *socket, const char *method, const char *path, unsigned timeout_s,
	client_take *take, void *arg, const volatile int *stop, char err[static CLI_ERROR_LEN])
{
	struct client_request request = {.socket = socket,
		.method = method,
		.path = path,
		.timeout_ms = timeout_s * 1000,
		.take = take,
		.arg = arg,
		.stop = stop};
	return client_request(&request, err);
}

struct text {
	char *bytes; // ends with a zero
	size_t n;
};

static bool take_text(void *arg, const char *bytes, size_t n)
{
	struct text *t = arg;
	char *grown = t->n + n <= ANSWER_MAX ? realloc(t->bytes, t->n + n + 1) : NULL;
	if (grown == NULL)
		return false;
	memcpy(grown + t->n, bytes, n);
	t->bytes = grown;
	t->n += n;
	grown[t->n] = '\0';
	return true;
}

int client_whole(const struct client_request *request, char **out, char err[static CLI_ERROR_LEN])
{
	struct text t = {.bytes = calloc(1, 1)};
	struct client_request r = *request;
	r.take = take_text;
	r.begun = NULL;
	r.arg = &t;
	int error = client_request(&r, err);
	if (error == 0 && t.bytes != NULL) {
		*out = t.bytes;
		return 0;
	}
	if ((error == -ECANCELED && r.stop == NULL) || error == 0)
		snprintf(err, CLI_ERROR_LEN, "the answer is too large");
	free(t.bytes);
	return error < 0 ? error : -ENOMEM;
}

int client_text(const char *socket, const char *method, const char *path, unsigned timeout_s,
	char **out, char err[static CLI_ERROR_LEN])
{
	struct client_request request = {
		.socket = socket, .method = method, .path = path, .timeout_ms = timeout_s * 1000};
	return client_whole(&request, out, err);
}

int client_json(const char *socket, const char *method, const char *path, unsigned timeout_s,
	json_t **out, char err[static CLI_ERROR_LEN])
{
	json_error_t mistake;
	char *text;
	int error = client_text(socket, method, path, timeout_s, &text, err);
	if (error < 0)
		return error;
	*out = json_loads(text, 0, &mistake);
	free(text);
	if (*out != NULL)
		return 0;
	snprintf(err, CLI_ERROR_LEN, "the daemon's answer is no JSON: %s", mistake.text);
	return -EPROTO;
}

bool client_param(char *path, size_t room, const char *name, const char *value)
{
	size_t n = strlen(path);
	if (value == NULL)
		return true;
	n += (size_t)snprintf(
		path + n, room - n, "%c%s=", strchr(path, '?') != NULL ? '&' : '?', name);
	for (; *value != '\0' && n + 4 <= room; value++) {
		unsigned char c = (unsigned char)*value;
		bool plain = isalnum(c) || strchr("-_.~+", c) != NULL;
		n += (size_t)snprintf(path + n, room - n, plain ? "%c" : "%%%02X", c);
	}
	return *value == '\0' && n < room;
}
