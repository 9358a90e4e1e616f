// Login by URL, where somebody takes their time, and logout.
#include "tests/unit/coord_fixture.h"

#define URL "https://login.example/a"
#define VISIT "{\"AuthURL\":\"" URL "\"}"

static const struct key none;

// --- Login by URL.

enum { URL_HOLD, URL_FLOOD };

static struct server_stream *held;

static void url_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);
	const struct key before = f->node_key;
	char url[128];

	if (strcmp(s->path, "/machine/register") != 0) {
		good_request(server, s);
		return;
	}
	take_register(f, s);
	body_text(s->body, "Followup", url, sizeof(url));
	if (f->script == URL_FLOOD) {
		snprintf(url, sizeof(url), "{\"AuthURL\":\"" URL "%u\"}", f->registers);
		server_respond(s, 200, NULL, url, false);
	} else if (!url[0]) {
		server_respond(s, 200, NULL, VISIT, false);
	} else {
		assert_string_equal(url, URL);
		assert_key_equal(f->node_key, before);
		held = s;
	}
}

static bool followed(struct fixture *f)
{
	return held != NULL;
}

static void test_url(void **)
{
	struct fixture *f = fixture_create(url_request);

	held = NULL;
	fixture_start(f, NULL, false);
	wait_until(f, followed);
	assert_int_equal(f->status->state, COORD_VISIT_URL);
	assert_string_equal(f->status->url, URL);

	// The server goes away meanwhile: the URL stays good.
	held = NULL;
	server_cut(&f->server);
	wait_until(f, followed);
	assert_int_equal(f->status->state, COORD_VISIT_URL);
	assert_string_equal(f->status->url, URL);
	assert_int_equal(f->server.upgrades, 2);

	// Nobody logs in for long: asked anew on a new connection, and no trouble.
	const uint64_t failures = f->status->failures;
	held = NULL;
	f->skew_ns += UINT64_C(301000000000);
	wait_until(f, followed);
	assert_int_equal(f->server.upgrades, 3);
	assert_int_equal(f->status->failures, failures);

	server_respond(held, 200, NULL, register_done, false);
	server_pump(held->conn);
	wait_until(f, is_streaming);
	assert_string_equal(f->status->url, "");
	assert_int_equal(f->registers, 4);
	fixture_destroy(f);
}

// A second attempt of a node that never was in: its first key counts for nothing.
static void test_url_anew(void **)
{
	struct fixture *f = fixture_create(url_request);

	held = NULL;
	fixture_start(f, NULL, false);
	wait_until(f, followed);
	const struct key first = f->node_key;
	held = NULL;
	fixture_start(f, NULL, true);
	wait_until(f, followed);
	assert_memory_not_equal(&f->node_key, &first, sizeof(first));
	assert_key_equal(body_key(f->last_register, "OldNodeKey"), none);
	assert_key_equal(f->netmap->own_key, f->node_key);
	fixture_destroy(f);
}

// The same URL in answer to its followup: back off, but it stays to be visited.
static void test_same_url(void **)
{
	struct fixture *f = fixture_create(url_request);

	held = NULL;
	fixture_start(f, NULL, false);
	wait_until(f, followed);
	server_respond(held, 200, NULL, VISIT, false);
	server_pump(held->conn);
	held = NULL;
	wait_until(f, followed);
	assert_int_equal(f->server.upgrades, 2);
	assert_int_equal(f->status->state, COORD_VISIT_URL);
	assert_string_equal(f->status->url, URL);
	assert_string_equal(f->status->why, "");
	fixture_destroy(f);
}

static bool has_protocol_trouble(struct fixture *f)
{
	return f->status->troubles[COORD_TROUBLE_PROTOCOL] > 0;
}

static void test_url_flood(void **)
{
	struct fixture *f = fixture_create(url_request);

	f->script = URL_FLOOD;
	fixture_start(f, NULL, false);
	run_ms(f, 1000);
	print_message("%u registrations in a second\n", f->registers);
	assert_true(f->registers < 30);
	wait_until(f, has_protocol_trouble);
	fixture_destroy(f);
}

// --- Logout.

static void on_logged_out(void *arg, int error)
{
	struct fixture *f = arg;

	assert_false(f->logout_done);
	f->logout_done = true;
	f->logged_out = error;
}

static bool is_logged_out(struct fixture *f)
{
	return f->logout_done;
}

static void assert_forgotten(const struct fixture *f)
{
	assert_int_equal(f->status->state, COORD_OFF);
	assert_key_equal(f->persist.node_private, none);
	assert_key_equal(f->persist.old_node_private, none);
	assert_true(f->persist.logged_out);
	assert_string_equal(f->persist.login, "");
	assert_false(key_is_zero(&f->persist.machine_private));
	assert_int_equal(memcmp(&f->saved[f->saves - 1], &f->persist, sizeof(f->persist)), 0);
}

static void test_logout(void **)
{
	struct fixture *f = fixture_create(good_request);
	char text[64];

	fixture_start(f, "k", false);
	wait_until(f, is_streaming);
	const struct key key = f->node_key;
	coord_client_logout(f->client, on_logged_out, f);
	assert_false(f->logout_done);
	wait_until(f, is_logged_out);
	assert_int_equal(f->logged_out, 0);
	assert_key_equal(f->node_key, key);
	assert_string_equal(
		body_text(f->last_register, "Expiry", text, sizeof(text)), "1970-01-01T00:02:03Z");
	assert_forgotten(f);
	fixture_start(f, "k", false); // and in again, as another node
	wait_until(f, is_streaming);
	assert_memory_not_equal(&f->node_key, &key, sizeof(key));
	assert_false(f->persist.logged_out);
	fixture_destroy(f);
}

static void test_logout_unheard(void **)
{
	static const struct {
		const char *name;
		enum server_upgrade upgrade;
		int error;
	} cases[] = {
		{"the server refuses the connection", UPGRADE_CLOSE, -ENOTCONN},
		{"the server is silent", UPGRADE_SILENT, -ETIMEDOUT},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture *f = fixture_create(good_request);
		print_message("%s\n", cases[i].name);
		fixture_start(f, "k", false);
		wait_until(f, is_streaming);
		f->server.upgrade = cases[i].upgrade;
		coord_client_logout(f->client, on_logged_out, f);
		wait_until(f, is_logged_out);
		assert_int_equal(f->logged_out, cases[i].error);
		assert_forgotten(f);
		fixture_destroy(f);
	}
}

static void test_logout_without_login(void **)
{
	struct fixture *f = fixture_create(good_request);

	coord_client_logout(f->client, on_logged_out, f);
	assert_false(f->logout_done);
	wait_until(f, is_logged_out);
	assert_int_equal(f->logged_out, 0);
	assert_int_equal(f->server.keys, 0);
	fixture_destroy(f);
}

static void test_start_during_logout(void **)
{
	struct fixture *f = fixture_create(good_request);

	fixture_start(f, "k", false);
	wait_until(f, is_streaming);
	coord_client_logout(f->client, on_logged_out, f);
	fixture_start(f, "k", false);
	assert_true(f->logout_done);
	assert_int_equal(f->logged_out, -ECANCELED);
	wait_until(f, is_streaming);
	run_ms(f, 100);
	assert_int_equal(f->status->state, COORD_STREAMING);
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_url_anew),
		cmocka_unit_test(test_same_url),
		cmocka_unit_test(test_url_flood),
		cmocka_unit_test(test_logout),
		cmocka_unit_test(test_logout_unheard),
		cmocka_unit_test(test_logout_without_login),
		cmocka_unit_test(test_start_during_logout),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
