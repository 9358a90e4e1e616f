#include "control/coord/register.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	HTTP_OK = 200,
	HTTP_BAD_REQUEST = 400,
	HTTP_TOO_MANY = 429,
	WAIT_MIN_S = 5, // without a Retry-After
	WAIT_SPREAD_S = 6,
};

static void set_key(json_t *o, const char *name, const char *prefix, const struct key *key)
{
	char text[TYPED_KEY_TEXT_LEN];

	json_object_set_new(o, name, json_string(typed_key_format(key, prefix, text)));
}

char *register_request_text(const struct register_request *r, size_t *len)
{
	static const struct key none;
	json_t *const o = json_object();
	char expiry[TIME_TEXT_LEN];

	json_object_set_new(o, "Version", json_integer(r->version));
	set_key(o, "NodeKey", "nodekey:", &r->node_key);
	set_key(o, "OldNodeKey", "nodekey:", &r->old_node_key);
	set_key(o, "NLKey", "nlpub:", &none);
	if (r->auth_key)
		json_object_set_new(o, "Auth", json_pack("{s:s}", "AuthKey", r->auth_key));
	json_object_set_new(o, "Expiry", json_string(time_format(r->expiry, expiry)));
	json_object_set_new(o, "Followup", json_string(r->followup ? r->followup : ""));
	json_object_set_new(o, "Hostinfo", hostinfo_json(r->hostinfo));
	if (r->ephemeral)
		json_object_set_new(o, "Ephemeral", json_true());
	json_object_set_new(o, "NodeKeySignature", json_null());
	if (r->tailnet)
		json_object_set_new(o, "Tailnet", json_string(r->tailnet));
	char *const text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	*len = text ? strlen(text) : 0;
	return text;
}

// The server's text becomes one line that a terminal takes without harm.
static void keep_text(char *to, size_t size, const char *text, size_t len)
{
	size_t n = 0;

	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	for (; n < len && n + 1 < size; n++)
		to[n] = (uint8_t)text[n] < ' ' || text[n] == 0x7f ? '?' : text[n];
	to[n] = '\0';
}

// Seconds, or an HTTP date.
static unsigned wait_of(const char *retry_after, int64_t now_s, uint32_t random)
{
	const unsigned usual = WAIT_MIN_S + random % WAIT_SPREAD_S;
	struct tm tm = {0};
	char *end;

	if (!retry_after || !*retry_after)
		return usual;
	int64_t wait = strtoll(retry_after, &end, 10);
	if (*end) {
		end = strptime(retry_after, "%a, %d %b %Y %H:%M:%S GMT", &tm);
		if (!end || *end)
			return usual;
		wait = (int64_t)timegm(&tm) - now_s;
	}
	return wait > 0 && wait <= REGISTER_WAIT_MAX_S ? (unsigned)wait : usual;
}

static void status_answer(int status, const char *retry_after, const char *body, size_t len,
	int64_t now_s, uint32_t random, struct register_result *out)
{
	static const char too_old[] = "unsupported client version";

	keep_text(out->text, sizeof(out->text), body, len);
	out->action = REGISTER_BACK_OFF;
	if (status == HTTP_TOO_MANY) {
		out->action = REGISTER_WAIT;
		out->wait_s = wait_of(retry_after, now_s, random);
	} else if (status == HTTP_BAD_REQUEST &&
		   !strncmp(out->text, too_old, sizeof(too_old) - 1)) {
		out->action = REGISTER_TOO_OLD;
	} else if (!out->text[0]) {
		snprintf(out->text, sizeof(out->text), "the server answered with HTTP %d", status);
	}
}

static bool is_url(const char *text)
{
	if (strncmp(text, "http://", 7) && strncmp(text, "https://", 8))
		return false;
	for (; *text; text++) // shown on a terminal
		if ((uint8_t)*text <= ' ' || (uint8_t)*text >= 0x7f)
			return false;
	return true;
}

static void url_answer(struct register_progress *p, const char *url, struct register_result *out)
{
	const size_t len = strlen(url);

	if (len >= sizeof(p->url) || !is_url(url)) {
		out->action = REGISTER_FAILED;
		snprintf(out->text, sizeof(out->text), "the server gave no proper login URL");
	} else if (!strcmp(p->url, url)) {
		out->action = REGISTER_BACK_OFF;
	} else {
		out->action = REGISTER_VISIT_URL;
		memcpy(p->url, url, len + 1);
	}
}

static void key_expired(struct register_progress *p, struct register_result *out)
{
	out->action = p->rotated ? REGISTER_FAILED : REGISTER_NEW_KEY;
	if (p->rotated)
		snprintf(out->text, sizeof(out->text), "the server calls a new node key expired");
	p->rotated = true;
}

static void user_read(struct json_object *o, struct register_result *out)
{
	struct json_object user = json_open(json_object_of(o, "User")),
			   login = json_open(json_object_of(o, "Login"));
	const char *const names[] = {
		json_text(&login, "LoginName"), json_text(&user, "DisplayName")};

	out->user = json_number(&user, "ID", INT64_MIN, INT64_MAX);
	for (size_t i = 0; i < 2 && !out->login[0]; i++)
		if (names[i])
			keep_text(out->login, sizeof(out->login), names[i], strlen(names[i]));
}

// The order of the questions is the real client's.
static void body_answer(
	struct register_progress *p, struct json_object *o, struct register_result *out)
{
	const char *const error = json_text(o, "Error"), *const url = json_text(o, "AuthURL"),
			  *const signature = json_text(o, "NodeKeySignature");
	const bool expired = json_flag(o, "NodeKeyExpired"),
		   authorized = json_flag(o, "MachineAuthorized");

	if (o->bad) {
		out->action = REGISTER_BACK_OFF;
		snprintf(out->text, sizeof(out->text), "the answer is no proper JSON: %s", o->bad);
	} else if (error) {
		out->action = REGISTER_FAILED;
		keep_text(out->text, sizeof(out->text), error, strlen(error));
	} else if (signature) {
		out->action = REGISTER_SIGN;
	} else if (expired) {
		key_expired(p, out);
	} else if (url) {
		url_answer(p, url, out);
	} else {
		out->action = authorized ? REGISTER_DONE : REGISTER_AWAIT_APPROVAL;
		user_read(o, out);
	}
}

void register_answer(struct register_progress *p, int status, const char *retry_after,
	const char *body, size_t len, int64_t now_s, uint32_t random, struct register_result *out)
{
	*out = (struct register_result){0};
	if (status != HTTP_OK) {
		status_answer(status, retry_after, body, len, now_s, random, out);
		return;
	}
	json_t *const v = json_piece((struct slice){body, len});
	struct json_object o = json_open(v);
	body_answer(p, &o, out);
	json_decref(v);
}
