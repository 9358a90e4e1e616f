// The LocalAPI's watch-ipn-bus.
#include "tests/unit/local_client.h"

#include <grp.h>

// The next object of a stream; NULL: none within 0.1 s and so many turns.
static json_t *next_notify(struct client *c)
{
	const double end = seconds() + 0.1;
	for (unsigned turn = 0; turn < 100 || seconds() < end; turn++) {
		spin(c);
		char *line = c->n > 0 ? strstr(c->answer, "\n{") : NULL;
		char *end_of = line != NULL ? strstr(line, "}\n") : NULL;
		if (end_of == NULL)
			continue;
		json_t *json = json_loadb(line + 1, (size_t)(end_of - line), 0, NULL);
		assert_non_null(json);
		const size_t used = (size_t)(end_of + 1 - c->answer);
		memmove(c->answer, c->answer + used, c->n - used + 1);
		c->n -= used;
		return json;
	}
	return NULL;
}

static struct client watch_on(struct client c, const char *mask)
{
	char path[64];
	const unsigned before = double_listeners();

	snprintf(path, sizeof(path), API "watch-ipn-bus?mask=%s", mask);
	local_send(&c, "GET", path, HOST, "");
	for (double end = seconds() + DEADLINE_S; double_listeners() == before && seconds() < end;)
		spin(&c);
	assert_int_equal(double_listeners(), before + 1);
	return c;
}

static struct client watch(const char *mask)
{
	return watch_on(client_open(), mask);
}

static void no_listener_stays(void)
{
	for (double end = seconds() + DEADLINE_S; double_listeners() > 0 && seconds() < end;)
		spin(NULL);
	assert_int_equal(double_listeners(), 0);
}

static void test_bus_begins(void **)
{
	static const struct {
		const char *mask;
		bool any, state, prefs, self, health, status;
	} cases[] = {
		{"0", false, false, false, false, false, false},
		{"1", false, false, false, false, false, false},
		{"2", true, true, false, false, false, false},
		{"4", true, false, true, false, false, false},
		{"8", true, false, false, true, false, false},
		{"128", true, false, false, false, true, false},
		{"16384", true, false, false, false, false, true},
		{"142", true, true, true, true, true, false},
		{"1048576", false, false, false, false, false, false},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct client c = watch(cases[i].mask);
		json_t *n = next_notify(&c);
		assert_int_equal(n != NULL, cases[i].any);
		assert_int_equal(json_is_integer(json_object_get(n, "State")), cases[i].state);
		assert_int_equal(json_object_get(n, "SessionID") != NULL, cases[i].state);
		assert_int_equal(json_is_object(json_object_get(n, "Prefs")), cases[i].prefs);
		assert_int_equal(json_is_object(json_object_get(n, "SelfChange")), cases[i].self);
		assert_int_equal(json_is_object(json_object_get(n, "Health")), cases[i].health);
		assert_int_equal(
			json_is_object(json_object_get(n, "InitialStatus")), cases[i].status);
		json_decref(n);
		client_close(&c);
	}
	no_listener_stays();
}

static void test_bus_tells(void **)
{
	struct client c = watch("0");

	tailnet.state = TAILNET_STARTING;
	double_change(TAILNET_CHANGED_STATE);
	json_t *n = next_notify(&c);
	assert_int_equal(number_at(n, "State"), 5);
	assert_true(json_is_null(json_object_get(n, "Prefs")));
	json_decref(n);

	tailnet.coord = (struct coord_status){.state = COORD_VISIT_URL, .url = "https://l.test/x"};
	double_change(TAILNET_CHANGED_URL | TAILNET_CHANGED_PREFS);
	n = next_notify(&c);
	assert_string_equal(text_at(n, "BrowseToURL"), "https://l.test/x");
	assert_true(json_is_object(json_object_get(n, "Prefs")));
	json_decref(n);

	// Trouble that trying again may mend would end 'tailscale up': it is not told.
	tailnet.coord = (struct coord_status){.state = COORD_CONNECTING, .why = "no route"};
	double_change(TAILNET_CHANGED_ERROR | TAILNET_CHANGED_URL);
	assert_null(next_notify(&c));
	tailnet.coord.state = COORD_REFUSED;
	double_change(TAILNET_CHANGED_ERROR);
	n = next_notify(&c);
	assert_string_equal(text_at(n, "ErrMessage"), "no route");
	json_decref(n);
	tailnet.coord = (struct coord_status){.state = COORD_STREAMING};

	// Our own node once, then only when it is another.
	double_change(TAILNET_CHANGED_NETMAP);
	n = next_notify(&c);
	assert_string_equal(text_at(json_object_get(n, "SelfChange"), "Name"), "alice.lab.test.");
	json_decref(n);
	double_change(TAILNET_CHANGED_NETMAP);
	assert_null(next_notify(&c));

	tailnet.health[0] = "the clock is wrong";
	tailnet.n_health = 1;
	double_change(TAILNET_CHANGED_HEALTH);
	n = next_notify(&c);
	json_t *warnings = json_object_get(json_object_get(n, "Health"), "Warnings");
	assert_string_equal(
		text_at(json_object_get(warnings, "tailgate-0"), "Text"), "the clock is wrong");
	json_decref(n);
	tailnet.n_health = 0;
	tailnet.state = TAILNET_RUNNING;
	client_close(&c);
	no_listener_stays();
}

static void test_bus_is_bounded(void **)
{
	struct client clients[LOCAL_WATCHERS_MAX];

	for (unsigned i = 0; i < LOCAL_WATCHERS_MAX; i++)
		clients[i] = watch("0");
	local_expect("GET", API "watch-ipn-bus?mask=0", "", 503, "too many");
	for (unsigned i = 0; i < LOCAL_WATCHERS_MAX; i++)
		client_close(&clients[i]);
	no_listener_stays();
	struct client again = watch("2");
	json_decref(next_notify(&again));
	client_close(&again);
	no_listener_stays();
}

// Those who may only read leave room for those who have something to do.
static void test_readers_leave_room(void **)
{
	struct client clients[LOCAL_READERS_MAX];

	if (geteuid() != 0)
		skip();
	assert_int_equal(setgroups(0, NULL), 0);
	for (unsigned i = 0; i < LOCAL_READERS_MAX; i++) {
		clients[i] = watch_on(open_as_nobody(), "0");
	}
	as_nobody("GET", API "watch-ipn-bus?mask=0", "", 503, "too many");
	struct client writer = watch("0");
	client_close(&writer);
	for (unsigned i = 0; i < LOCAL_READERS_MAX; i++)
		client_close(&clients[i]);
	no_listener_stays();
}

// A watcher that does not read loses its stream, not our memory.
static void test_slow_watcher(void **)
{
	struct client c = watch("0");
	unsigned changes = 0;

	for (; double_listeners() > 0 && changes < 200000; changes++) {
		double_change(TAILNET_CHANGED_PREFS);
		if (changes % 256 == 0)
			spin(NULL);
		if (changes > 20000) // surely over the bound by now: wait for the tick
			spin(NULL);
	}
	print_message("left after %u changes\n", changes);
	assert_int_equal(double_listeners(), 0);
	client_close(&c);
	json_decref(local_json_of("GET", API "prefs", "", 200));
}

static void test_server_ends_streams(void **)
{
	char err[CTL_ERROR_LEN];
	const struct ctl_params params = {.path = t.path};
	struct client c = watch("2");

	ctl_server_destroy(t.server);
	assert_int_equal(double_listeners(), 0);
	client_wait(&c);
	client_close(&c);
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &t.server, err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bus_begins),
		cmocka_unit_test(test_bus_tells),
		cmocka_unit_test(test_bus_is_bounded),
		cmocka_unit_test(test_readers_leave_room),
		cmocka_unit_test(test_slow_watcher),
		cmocka_unit_test(test_server_ends_streams),
	};

	return cmocka_run_group_tests(tests, local_setup, local_teardown);
}
