// Registration: keys, their rotation and what a kill leaves behind, refusals, the login URL,
// logout.
#include "tests/unit/coord_fixture.h"

#define URL "https://login.example/a"
#define VISIT "{\"AuthURL\":\"" URL "\"}"

static const struct key none;

static bool lite_came(struct fixture *f)
{
	return f->lites > 0;
}

static void test_join(void **)
{
	struct fixture *f = fixture_create(good_request);
	char text[256];

	fixture_start(f, "tskey-auth-x", false);
	wait_until(f, is_streaming);
	wait_until(f, lite_came);
	assert_int_equal(f->server.version, COORD_CAP_VERSION);
	assert_key_equal(f->server.client, public_of(&f->persist.machine_private));
	assert_string_equal(
		body_text(f->last_register, "AuthKey", text, sizeof(text)), "tskey-auth-x");
	assert_key_equal(body_key(f->last_register, "OldNodeKey"), none);
	assert_non_null(strstr(f->last_register, "\"Hostname\":\"test\""));
	assert_key_equal(f->node_key, public_of(&f->persist.node_private));
	assert_key_equal(f->node_key, f->netmap->own_key);
	assert_key_equal(f->saved[0].node_private, f->persist.node_private);
	assert_string_equal(f->persist.stable_id, "n1");
	assert_string_equal(f->persist.login, "lab@x");
	assert_int_equal(f->persist.user, 5);
	assert_int_equal(memcmp(&f->saved[f->saves - 1], &f->persist, sizeof(f->persist)), 0);
	assert_string_equal(f->status->user, "lab@x");
	assert_string_equal(f->status->why, "");
	assert_int_equal(f->server.upgrades, 1); // one connection for all
	assert_int_equal(f->status->connects, 1);
	assert_int_equal(f->maps, 1);
	assert_non_null(strstr(f->last_map, "\"Stream\":true"));
	assert_non_null(strstr(f->last_map, "\"DiscoKey\":\"discokey:07"));
	assert_null(strstr(f->last_map, "\"Endpoints\""));
	assert_non_null(strstr(f->last_lite, "\"Endpoints\":[]"));
	fixture_destroy(f);
}

// The same node key again, and nobody asks for the auth key.
static void test_restart(void **)
{
	struct fixture *f = fixture_create(good_request);

	fixture_start(f, "k", false);
	wait_until(f, is_streaming);
	const struct key key = f->node_key;
	const unsigned saves = f->saves;
	fixture_start(f, NULL, false);
	assert_int_equal(f->status->state, COORD_CONNECTING);
	wait_until(f, is_streaming);
	assert_int_equal(f->registers, 2);
	assert_key_equal(f->node_key, key);
	assert_null(strstr(f->last_register, "AuthKey"));
	assert_int_equal(f->saves, saves); // nothing new to keep
	fixture_destroy(f);
}

// --- Rotation.

// Registers the old key as expired, and any other as good. At that moment both are on disk.
static void expiring_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);

	if (strcmp(s->path, "/machine/register") != 0) {
		good_request(server, s);
		return;
	}
	take_register(f, s);
	if (f->registers == 1) {
		server_respond(s, 200, NULL, "{\"NodeKeyExpired\":true}", false);
		return;
	}
	const struct persist_state *const disk = &f->saved[f->saves - 1];
	assert_key_equal(f->node_key, public_of(&disk->node_private));
	assert_key_equal(body_key(s->body, "OldNodeKey"), public_of(&disk->old_node_private));
	assert_key_equal(f->netmap->own_key, public_of(&disk->old_node_private));
	assert_key_equal(*coord_key_in_use(&f->persist), disk->old_node_private);
	server_respond(s, 200, NULL, register_done, false);
}

static void test_expired_key(void **)
{
	struct fixture *f = fixture_create(expiring_request);
	struct key old;

	x25519_generate(f->persist.node_private.bytes);
	old = f->persist.node_private;
	fixture_start(f, NULL, false);
	wait_until(f, is_streaming);
	assert_int_equal(f->registers, 2);
	assert_key_equal(f->saved[0].old_node_private, old);
	assert_key_equal(f->persist.old_node_private, none);
	assert_key_equal(f->saved[f->saves - 1].old_node_private, none);
	assert_key_equal(f->netmap->own_key, public_of(&f->persist.node_private));
	assert_key_equal(*coord_key_in_use(&f->persist), f->persist.node_private);
	assert_memory_not_equal(&f->persist.node_private, &old, sizeof(old));
	assert_int_equal(f->status->troubles[COORD_TROUBLE_EXPIRED], 1);
	fixture_destroy(f);
}

static void test_interactive(void **)
{
	struct fixture *f = fixture_create(good_request);

	fixture_start(f, "k", false);
	wait_until(f, is_streaming);
	const struct key key = f->node_key;
	fixture_start(f, NULL, true);
	wait_until(f, is_streaming);
	assert_memory_not_equal(&f->node_key, &key, sizeof(key));
	assert_key_equal(body_key(f->last_register, "OldNodeKey"), key);
	assert_key_equal(f->netmap->own_key, f->node_key);
	fixture_destroy(f);
}

// What the server makes of a key after a kill in the middle.
static struct key server_knows;

static void knowing_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);

	if (strcmp(s->path, "/machine/register") != 0) {
		good_request(server, s);
		return;
	}
	take_register(f, s);
	const bool known = !memcmp(&f->node_key, &server_knows, sizeof(server_knows));
	server_respond(s, 200, NULL, known ? register_done : VISIT, false);
}

static void test_killed_during_rotation(void **)
{
	static const struct {
		const char *name;
		bool taken;
		unsigned registers;
	} cases[] = {
		{"the server has taken the new key", true, 1},
		{"the server has never heard of it", false, 2},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture *f = fixture_create(knowing_request);
		struct key old, new;
		print_message("%s\n", cases[i].name);
		x25519_generate(old.bytes);
		x25519_generate(new.bytes);
		f->persist.old_node_private = old;
		f->persist.node_private = new;
		server_knows = public_of(cases[i].taken ? &new : &old);
		fixture_start(f, NULL, false);
		assert_key_equal(f->netmap->own_key, public_of(&old)); // as the peers know us
		wait_until(f, is_streaming);
		assert_int_equal(f->registers, cases[i].registers);
		assert_key_equal(f->persist.node_private, cases[i].taken ? new : old);
		assert_key_equal(f->persist.old_node_private, none);
		assert_key_equal(f->netmap->own_key, server_knows);
		assert_key_equal(f->saved[f->saves - 1].node_private, f->persist.node_private);
		fixture_destroy(f);
	}
}

static bool shows_url(struct fixture *f)
{
	return f->status->state == COORD_VISIT_URL;
}

// Neither is: somebody has to log in, and both keys stay.
static void test_killed_and_forgotten(void **)
{
	struct fixture *f = fixture_create(knowing_request);

	x25519_generate(f->persist.old_node_private.bytes);
	x25519_generate(f->persist.node_private.bytes);
	server_knows = none;
	fixture_start(f, NULL, false);
	wait_until(f, shows_url);
	assert_string_equal(f->status->url, URL);
	assert_false(key_is_zero(&f->persist.old_node_private));
	assert_false(key_is_zero(&f->persist.node_private));
	fixture_destroy(f);
}

static void test_storage(void **)
{
	struct fixture *f = fixture_create(good_request);

	f->save_error = -ENOSPC;
	fixture_start(f, "k", false);
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_STORAGE);
	assert_non_null(strstr(f->status->why, "state directory"));
	assert_int_equal(f->registers, 0);
	assert_key_equal(f->persist.node_private, none);
	f->save_error = 0;
	wait_until(f, is_streaming);
	assert_string_equal(f->status->why, "");
	fixture_destroy(f);
}

static void test_another_server(void **)
{
	struct fixture *f = fixture_create(good_request);

	x25519_generate(f->persist.node_private.bytes);
	x25519_generate(f->persist.old_node_private.bytes);
	strcpy(f->persist.login_server, "https://elsewhere.example");
	const struct key before = public_of(&f->persist.node_private);
	fixture_start(f, "k", false);
	wait_until(f, is_streaming);
	assert_memory_not_equal(&f->node_key, &before, sizeof(before));
	assert_key_equal(body_key(f->last_register, "OldNodeKey"), none);
	assert_string_not_equal(f->persist.login_server, "https://elsewhere.example");
	fixture_destroy(f);
}

// --- Answers.

static const struct {
	const char *name;
	int status;
	const char *retry_after, *body, *auth_key;
	enum coord_trouble trouble;
	enum coord_state state;
	const char *why;
	unsigned wait_s; // at least
} answers[] = {
	{"a used auth key", 200, NULL, "{\"Error\":\"authkey already used\"}", "k",
		COORD_TROUBLE_KEY, COORD_REFUSED, "authkey already used; make a new auth key", 25},
	{"tags", 200, NULL, "{\"Error\":\"requested tags [tag:a] are invalid or not permitted\"}",
		"k", COORD_TROUBLE_REFUSED, COORD_REFUSED, "tag:a", 25},
	{"another machine's node", 200, NULL,
		"{\"Error\":\"node exists with a different machine key\"}", NULL,
		COORD_TROUBLE_REFUSED, COORD_REFUSED, "different machine key", 25},
	{"an error with escapes", 200, NULL, "{\"Error\":\"\\u001b[2J\"}", NULL,
		COORD_TROUBLE_REFUSED, COORD_REFUSED, "?[2J", 25},
	{"a locked tailnet", 200, NULL, "{\"NodeKeySignature\":\"AA==\"}", NULL,
		COORD_TROUBLE_REFUSED, COORD_REFUSED, "locked", 25},
	{"expired for ever", 200, NULL, "{\"NodeKeyExpired\":true}", NULL, COORD_TROUBLE_EXPIRED,
		COORD_REFUSED, "new node key expired", 25},
	{"too old", 400, NULL, "unsupported client version: v1.78 (109)\n", "k",
		COORD_TROUBLE_VERSION, COORD_REFUSED, "v1.78 (109); upgrade Tailgate", 25},
	{"too many", 429, "17", "slow down", "k", COORD_TROUBLE_RATE_LIMITED, COORD_CONNECTING,
		"17 s: slow down", 16},
	{"too many, no word of when", 429, NULL, "", "k", COORD_TROUBLE_RATE_LIMITED,
		COORD_CONNECTING, "no registrations", 4},
	{"too many, for a year", 429, "31536000", "", "k", COORD_TROUBLE_RATE_LIMITED,
		COORD_CONNECTING, "no registrations", 4},
	{"no such page", 404, NULL, "<html>", "k", COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING,
		"HTTP 404 for POST /machine/register", 0},
	{"broken inside", 500, NULL, "", "k", COORD_TROUBLE_CONNECT, COORD_CONNECTING, "HTTP 500",
		0},
	{"a redirect", 302, NULL, "", "k", COORD_TROUBLE_REDIRECT, COORD_CONNECTING, "HTTP 302", 0},
	{"a page", 200, NULL, "<html>", "k", COORD_TROUBLE_PROTOCOL, COORD_CONNECTING,
		"no proper JSON", 0},
	{"wrong types", 200, NULL, "{\"NodeKeyExpired\":1}", "k", COORD_TROUBLE_PROTOCOL,
		COORD_CONNECTING, "NodeKeyExpired", 0},
	{"another 400", 400, NULL, "bad thing", "k", COORD_TROUBLE_PROTOCOL, COORD_CONNECTING,
		"bad thing", 0},
	{"a URL that is none", 200, NULL, "{\"AuthURL\":\"javascript:x\"}", NULL,
		COORD_TROUBLE_REFUSED, COORD_REFUSED, "no proper login URL", 25},
};

static void answering_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);

	take_register(f, s);
	server_respond(s, answers[f->script].status, answers[f->script].retry_after,
		answers[f->script].body, false);
}

static void test_answers(void **)
{
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct fixture *f = fixture_create(answering_request);

		f->script = (int)i;
		fixture_start(f, answers[i].auth_key, false);
		assert_failure(f, answers[i].name, answers[i].trouble, answers[i].why);
		assert_int_equal(f->status->state, answers[i].state);
		assert_true(f->status->retry_ns + S / 2 > fixture_now(f) + answers[i].wait_s * S);
		assert_string_equal(f->status->url, "");
		fixture_destroy(f);
	}
}

static void endless_request(struct server *server, struct server_stream *s)
{
	static char body[REGISTER_ANSWER_MAX + 2];

	take_register(fixture_of(server), s);
	memset(body, ' ', sizeof(body) - 1);
	server_respond(s, 200, NULL, body, true);
}

static void test_endless_answer(void **)
{
	struct fixture *f = fixture_create(endless_request);

	fixture_start(f, "k", false);
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_PROTOCOL);
	assert_non_null(strstr(f->status->why, "too long"));
	fixture_destroy(f);
}

static void silent_request(struct server *server, struct server_stream *s)
{
	take_register(fixture_of(server), s);
}

static bool registered_once(struct fixture *f)
{
	return f->registers == 1;
}

static void test_no_answer(void **)
{
	struct fixture *f = fixture_create(silent_request);

	fixture_start(f, "k", false);
	wait_until(f, registered_once);
	run_ms(f, 100);
	assert_int_equal(f->status->failures, 0);
	f->skew_ns += UINT64_C(61000000000);
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_SILENT);
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_expired_key),
		cmocka_unit_test(test_interactive),
		cmocka_unit_test(test_killed_during_rotation),
		cmocka_unit_test(test_killed_and_forgotten),
		cmocka_unit_test(test_storage),
		cmocka_unit_test(test_another_server),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_endless_answer),
		cmocka_unit_test(test_no_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
