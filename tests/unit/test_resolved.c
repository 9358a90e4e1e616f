// What systemd-resolved is told over D-Bus, and what comes of its answers: the test is the bus.
#include "control/dns/resolved.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum { TEXT_LEN = 1024, ROUNDS = 2000, ROUND_US = 1000 };

static const struct {
	const char *name;
	unsigned n_search;
	const char *refuse;	// the call that is answered by an error; NULL: none
	const char *close;	// the one at which the bus goes away
	const char *told, *why; // why: NULL: any reason
} rows[] = {
	{"two domains", 2, NULL, NULL,
		"SetLinkDNS 7 2:100.100.100.100; SetLinkDomains 7 ~. lab.test corp.test; "
		"SetLinkDefaultRoute 7 yes; ",
		""},
	{"none", 0, NULL, NULL,
		"SetLinkDNS 7 2:100.100.100.100; SetLinkDomains 7 ~.; SetLinkDefaultRoute 7 yes; ",
		""},
	{"the first is refused", 1, "SetLinkDNS", NULL,
		"SetLinkDNS 7 2:100.100.100.100; SetLinkDomains 7 ~. lab.test; "
		"SetLinkDefaultRoute 7 yes; ",
		"not allowed"},
	{"the last is refused", 1, "SetLinkDefaultRoute", NULL,
		"SetLinkDNS 7 2:100.100.100.100; SetLinkDomains 7 ~. lab.test; "
		"SetLinkDefaultRoute 7 yes; ",
		"not allowed"},
	{"the bus goes away", 1, NULL, "SetLinkDNS", "SetLinkDNS 7 2:100.100.100.100; ", NULL},
};

static struct {
	char folder[32], told[TEXT_LEN], why[TEXT_LEN];
	unsigned row, done;
	int listener;
	sd_bus *bus; // our end
	struct event_base *base;
} t;

static void say(const char *format, ...)
{
	const size_t used = strlen(t.told);
	va_list args;
	va_start(args, format);
	vsnprintf(t.told + used, sizeof(t.told) - used, format, args);
	va_end(args);
}

static void say_servers(sd_bus_message *m)
{
	const uint8_t *a;
	size_t n;
	int family;
	assert_true(sd_bus_message_enter_container(m, 'a', "(iay)") > 0);
	while (sd_bus_message_enter_container(m, 'r', "iay") > 0) {
		assert_true(sd_bus_message_read(m, "i", &family) > 0);
		assert_true(sd_bus_message_read_array(m, 'y', (const void **)&a, &n) > 0);
		assert_int_equal(n, 4);
		say(" %d:%u.%u.%u.%u", family, a[0], a[1], a[2], a[3]);
		sd_bus_message_exit_container(m);
	}
}

static void say_domains(sd_bus_message *m)
{
	const char *name;
	int only_routes;
	assert_true(sd_bus_message_enter_container(m, 'a', "(sb)") > 0);
	while (sd_bus_message_read(m, "(sb)", &name, &only_routes) > 0)
		say(" %s%s", only_routes ? "~" : "", name);
}

static void say_call(sd_bus_message *m, const char *member)
{
	int ifindex, yes;
	assert_string_equal(sd_bus_message_get_destination(m), "org.freedesktop.resolve1");
	assert_string_equal(sd_bus_message_get_path(m), "/org/freedesktop/resolve1");
	assert_string_equal(sd_bus_message_get_interface(m), "org.freedesktop.resolve1.Manager");
	assert_true(sd_bus_message_read(m, "i", &ifindex) > 0);
	say("%s %d", member, ifindex);
	if (strcmp(member, "SetLinkDNS") == 0)
		say_servers(m);
	else if (strcmp(member, "SetLinkDomains") == 0)
		say_domains(m);
	else if (strcmp(member, "SetLinkDefaultRoute") == 0 &&
		 sd_bus_message_read(m, "b", &yes) > 0)
		say(yes ? " yes" : " no");
	say("; ");
}

static bool is(const char *text, const char *wanted)
{
	return wanted && strcmp(text, wanted) == 0;
}

static int on_message(sd_bus_message *m, void *, sd_bus_error *)
{
	const char *member = sd_bus_message_get_member(m);
	if (!sd_bus_message_is_method_call(m, NULL, NULL))
		return 1;
	if (strcmp(member, "Hello") == 0)
		return sd_bus_reply_method_return(m, "s", ":1.7") < 0 ? -EIO : 1;
	say_call(m, member);
	if (is(member, rows[t.row].close))
		sd_bus_close(t.bus);
	else if (is(member, rows[t.row].refuse))
		sd_bus_reply_method_errorf(
			m, "org.freedesktop.DBus.Error.AccessDenied", "not allowed");
	else
		sd_bus_reply_method_return(m, NULL);
	return 1;
}

static void accept_client(void)
{
	sd_id128_t id = {.bytes = {1}};
	const int fd = accept4(t.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(sd_bus_new(&t.bus) >= 0);
	assert_true(sd_bus_set_fd(t.bus, fd, fd) >= 0);
	assert_true(sd_bus_set_server(t.bus, 1, id) >= 0);
	assert_true(sd_bus_set_trusted(t.bus, 1) >= 0);
	assert_true(sd_bus_add_filter(t.bus, NULL, on_message, NULL) >= 0);
	assert_true(sd_bus_start(t.bus) >= 0);
}

static void turn(void)
{
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	while (t.bus && sd_bus_process(t.bus, NULL) > 0)
		;
	usleep(ROUND_US);
}

static void on_done(void *arg, const char *why)
{
	assert_ptr_equal(arg, &t);
	t.done++;
	snprintf(t.why, sizeof(t.why), "%s", why);
}

static int set_up(void **)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char address[sizeof(un.sun_path) + 16];
	memset(&t, 0, sizeof(t));
	strcpy(t.folder, "/tmp/resolved.XXXXXX");
	assert_non_null(mkdtemp(t.folder));
	snprintf(un.sun_path, sizeof(un.sun_path), "%s/bus", t.folder);
	snprintf(address, sizeof(address), "unix:path=%s", un.sun_path);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
	t.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t.listener, (const struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(t.listener, 1), 0);
	t.base = event_base_new();
	return 0;
}

static int tear_down(void **)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/bus", t.folder);
	event_base_free(t.base);
	close(t.listener);
	return unlink(path) < 0 || rmdir(t.folder) < 0;
}

static void end_client(struct resolved *r)
{
	resolved_end(r);
	sd_bus_flush_close_unref(t.bus);
	t.bus = NULL;
}

static struct resolved *tell(unsigned row)
{
	static const char *const search[] = {"lab.test", "corp.test"};
	t.row = row;
	t.told[0] = '\0';
	t.done = 0;
	struct resolved *r = resolved_tell(t.base, 7, search, rows[row].n_search, on_done, &t);
	assert_non_null(r);
	accept_client();
	for (unsigned i = 0; i < ROUNDS && t.done == 0; i++)
		turn();
	for (unsigned i = 0; i < 20; i++) // what comes behind an error changes nothing
		turn();
	return r;
}

static void each_row(void **)
{
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct resolved *r = tell(i);
		print_message("%s: %s%s\n", rows[i].name, t.told, t.why);
		assert_int_equal(t.done, 1);
		assert_string_equal(t.told, rows[i].told);
		if (rows[i].why)
			assert_string_equal(t.why, rows[i].why);
		else
			assert_true(t.why[0] != '\0');
		end_client(r);
	}
}

static void test_revert(void **)
{
	struct resolved *r = tell(0);
	t.told[0] = '\0';
	resolved_revert(r, 7);
	for (unsigned i = 0; i < ROUNDS && t.told[0] == '\0'; i++)
		turn();
	assert_string_equal(t.told, "RevertLink 7; ");
	assert_int_equal(t.done, 1);
	end_client(r);
}

static void test_no_bus(void **)
{
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	assert_null(resolved_tell(t.base, 7, NULL, 0, on_done, &t));
	assert_int_equal(t.done, 1);
	assert_string_equal(t.why, "No such file or directory");
	resolved_revert(NULL, 7);
	resolved_end(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_row, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_revert, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_bus, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
