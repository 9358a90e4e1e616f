// A second connection to the coordination server, for the doctor.
#include "tests/unit/coord_fixture.h"

static struct coord_probe_result last;
static unsigned n_done;

static void no_request(struct server *, struct server_stream *)
{
	fail_msg("a request came through");
}

static void on_done(void *, const struct coord_probe_result *r)
{
	last = *r;
	n_done++;
}

static bool is_done(struct fixture *)
{
	return n_done > 0;
}

static struct fixture *create(void)
{
	struct fixture *f = fixture_create(no_request);
	snprintf(f->persist.login_server, sizeof(f->persist.login_server), "http://127.0.0.1:%u",
		f->server.port);
	n_done = 0;
	return f;
}

static void test_outcomes(void **)
{
	static const struct {
		const char *name, *key;
		enum server_upgrade upgrade;
		enum coord_trouble trouble;
		const char *why;
	} cases[] = {
		{"well", NULL, UPGRADE_GOOD, COORD_TROUBLE_NONE, "http, port "},
		{"closed after the 101", NULL, UPGRADE_CLOSE, COORD_TROUBLE_VERSION,
			"upgrade Tailgate"},
		{"an old client",
			"HTTP/1.1 400 Bad Request\r\nContent-Length: 26\r\n\r\nunsupported client "
			"version",
			UPGRADE_GOOD, COORD_TROUBLE_VERSION, "does not take our version"},
		{"no coordination server", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
			UPGRADE_GOOD, COORD_TROUBLE_WRONG_SERVER, "HTTP 404 for GET /key"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture *f = create();
		print_message("%s\n", cases[i].name);
		if (cases[i].key != NULL)
			f->server.key_answer = cases[i].key;
		f->server.upgrade = cases[i].upgrade;
		assert_int_equal(coord_client_probe(f->client, on_done, NULL), 0);
		assert_int_equal(n_done, 0); // only from the loop
		assert_int_equal(coord_client_probe(f->client, on_done, NULL), -EBUSY);
		wait_until(f, is_done);
		assert_int_equal(last.trouble, cases[i].trouble);
		assert_non_null(strstr(last.why, cases[i].why));
		// Nothing of it is the client's own.
		assert_int_equal(f->status->state, COORD_OFF);
		assert_int_equal(f->status->connects + f->status->failures, 0);
		assert_int_equal(f->saves, 0);
		// Another one may follow.
		n_done = 0;
		assert_int_equal(coord_client_probe(f->client, on_done, NULL), 0);
		wait_until(f, is_done);
		fixture_destroy(f);
		assert_int_equal(n_done, 1);
	}
}

static void test_refusals(void **)
{
	struct fixture *f = create();
	f->persist.login_server[0] = '\0';
	assert_int_equal(coord_client_probe(f->client, on_done, NULL), -ENOTCONN);
	snprintf(f->persist.login_server, sizeof(f->persist.login_server), "not a URL");
	assert_int_equal(coord_client_probe(f->client, on_done, NULL), -ENOTCONN);
	fixture_destroy(f);
	assert_int_equal(n_done, 0);
}

// Under way when the client goes: it is told.
static void test_destroyed(void **)
{
	static const unsigned after_ms[] = {0, 100};
	for (size_t i = 0; i < COUNT(after_ms); i++) {
		struct fixture *f = create();
		f->server.upgrade = i ? UPGRADE_GOOD : UPGRADE_SILENT;
		assert_int_equal(coord_client_probe(f->client, on_done, NULL), 0);
		run_ms(f, after_ms[i]);
		assert_int_equal(n_done, 0);
		fixture_destroy(f);
		assert_int_equal(n_done, 1);
		assert_int_equal(last.trouble, COORD_TROUBLE_CLOSED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_destroyed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
