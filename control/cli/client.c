#include "control/cli/client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

enum {
	CONNECT_TIMEOUT_S = 5,
	ANSWER_MAX = 256 << 20, // bytes
	REFUSAL_MAX = 4096,
};

struct transfer {
	CURL *curl;
	client_take *take;
	void *arg;
	const volatile int *stop;
	char refusal[REFUSAL_MAX]; // the answer's text if it is one
	size_t refusal_len;
	bool ended; // by take or stop
};

static size_t on_bytes(char *bytes, size_t, size_t n, void *arg)
{
	struct transfer *t = arg;
	long code = 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	if (code != 200) {
		size_t room = sizeof(t->refusal) - 1 - t->refusal_len, used = n < room ? n : room;
		memcpy(t->refusal + t->refusal_len, bytes, used);
		t->refusal_len += used;
		return n;
	}
	if (t->take(t->arg, bytes, n))
		return n;
	t->ended = true;
	return 0;
}

static int on_progress(void *arg, curl_off_t, curl_off_t, curl_off_t, curl_off_t)
{
	struct transfer *t = arg;
	t->ended |= t->stop != NULL && *t->stop;
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

// The daemon's own words: {"error": "..."}.
static int refused(const struct transfer *t, long code, char err[static CLI_ERROR_LEN])
{
	json_t *json = json_loadb(t->refusal, t->refusal_len, 0, NULL);
	const char *text = json_string_value(json_object_get(json, "error"));
	if (text != NULL)
		snprintf(err, CLI_ERROR_LEN, "%s", text);
	else
		snprintf(err, CLI_ERROR_LEN, "the daemon answered with HTTP status %ld", code);
	json_decref(json);
	return -EPROTO;
}

static int outcome(const struct transfer *t, CURLcode result, const char *socket,
	char err[static CLI_ERROR_LEN])
{
	long code = 0, os_error = 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	curl_easy_getinfo(t->curl, CURLINFO_OS_ERRNO, &os_error);
	if (t->ended) {
		snprintf(err, CLI_ERROR_LEN, "ended");
		return -ECANCELED;
	}
	if (result == CURLE_COULDNT_CONNECT)
		return cannot_connect(socket, os_error, err);
	if (result != CURLE_OK) {
		snprintf(err, CLI_ERROR_LEN, "the daemon at %s does not answer: %s", socket,
			curl_easy_strerror(result));
		return -EIO;
	}
	return code == 200 ? 0 : refused(t, code, err);
}

static void set_up(
	CURL *curl, const char *socket, const char *method, const char *url, unsigned timeout_s)
{
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)timeout_s);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (strcmp(method, "POST") == 0) {
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
	}
}

int client_stream(const char *socket, const char *method, const char *path, unsigned timeout_s,
	client_take *take, void *arg, const volatile int *stop, char err[static CLI_ERROR_LEN])
{
	char url[1024];
	struct transfer t = {.take = take, .arg = arg, .stop = stop};
	snprintf(url, sizeof(url), "http://tailgate%s", path);
	t.curl = curl_easy_init();
	if (t.curl == NULL) {
		snprintf(err, CLI_ERROR_LEN, "out of memory");
		return -ENOMEM;
	}
	set_up(t.curl, socket, method, url, timeout_s);
	curl_easy_setopt(t.curl, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(t.curl, CURLOPT_WRITEDATA, &t);
	curl_easy_setopt(t.curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(t.curl, CURLOPT_XFERINFODATA, &t);
	curl_easy_setopt(t.curl, CURLOPT_NOPROGRESS, 0L);
	int error = outcome(&t, curl_easy_perform(t.curl), socket, err);
	curl_easy_cleanup(t.curl);
	return error;
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

int client_text(const char *socket, const char *method, const char *path, unsigned timeout_s,
	char **out, char err[static CLI_ERROR_LEN])
{
	struct text t = {.bytes = calloc(1, 1)};
	int error = client_stream(socket, method, path, timeout_s, take_text, &t, NULL, err);
	if (error == 0 && t.bytes != NULL) {
		*out = t.bytes;
		return 0;
	}
	if (error == -ECANCELED || error == 0)
		snprintf(err, CLI_ERROR_LEN, "the answer is too large");
	free(t.bytes);
	return error < 0 ? error : -ENOMEM;
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
