#include "control/dns/osconf.h"

#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

static char folder[64], file[96], copy[96];
static unsigned changes;

static void on_change(void *)
{
	changes++;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static const char *text_of(const char *path)
{
	static char text[8192];
	FILE *f = fopen(path, "r");
	const size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	text[n] = '\0';
	if (f)
		fclose(f);
	return f ? text : "(none)";
}

static int set_up(void **)
{
	snprintf(folder, sizeof(folder), "/tmp/osconf.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/resolv.conf", folder);
	snprintf(copy, sizeof(copy), "%s/resolv.conf.before", folder);
	changes = 0;
	return 0;
}

static int tear_down(void **)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static struct osconf *create(void)
{
	const struct osconf_params params = {.file = file,
		.resolved = "/nonexistent",
		.state_dir = folder,
		.changed = on_change};
	return osconf_create(&params);
}

static const char *const search[] = {"lab.test", "corp.test"};

static void test_read(void **)
{
	static const char text[] =
		"# comment\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 # x\n"
		"nameserver fe80::1%eth0\nnameserver 100.100.100.100\n"
		"nameserver not-an-address\nnameserver\nserver 192.0.2.9\n"
		"domain old.test\nsearch a.test b.test\noptions ndots:2\n"
		"nameserver 192.0.2.2";
	struct osconf_file f;
	osconf_read(text, sizeof(text) - 1, &f);
	assert_false(f.ours || f.resolved);
	assert_int_equal(f.n_servers, 4);
	assert_string_equal(f.servers[0], "192.0.2.1");
	assert_string_equal(f.servers[1], "2001:db8::1");
	assert_string_equal(f.servers[2], "fe80::1");
	assert_string_equal(f.servers[3], "192.0.2.2");
	assert_int_equal(f.n_search, 2);
	assert_string_equal(f.search[0], "a.test");
	osconf_read("nameserver 127.0.0.53\n", 22, &f);
	assert_true(f.resolved);
	osconf_read("", 0, &f);
	assert_int_equal(f.n_servers, 0);
}

// Its own file names it: it is told by its bus, and where that is not there the user is told what
// to type, with the name that the TUN has.
static void test_resolved_refuses(void **)
{
	char why[OSCONF_TEXT_LEN];
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	write_file(file, "nameserver 127.0.0.53\n");
	const struct osconf_params params = {.file = file,
		.resolved = "/nonexistent",
		.state_dir = folder,
		.base = event_base_new(),
		.changed = on_change};
	struct osconf *o = osconf_create(&params);
	osconf_set(o, true, if_nametoindex("lo"), search, 2);
	assert_int_equal(osconf_how(o, why), OSCONF_FAILED);
	assert_non_null(strstr(why, "(No such file or directory)"));
	assert_non_null(strstr(why, "run 'resolvectl dns lo 100.100.100.100', or"));
	assert_string_equal(text_of(file), "nameserver 127.0.0.53\n");
	osconf_set(o, false, 0, NULL, 0);
	assert_int_equal(osconf_how(o, why), OSCONF_OFF);
	osconf_destroy(o);
	event_base_free(params.base);
}

static void test_read_bad(void **)
{
	char text[4096];
	struct osconf_file f;
	memset(text, 'x', sizeof(text));
	osconf_read(text, sizeof(text), &f);
	assert_int_equal(f.n_servers, 0);
	memset(text, 0, sizeof(text));
	osconf_read(text, sizeof(text), &f);
	assert_int_equal(f.n_servers, 0);
	int n = 0;
	for (unsigned i = 0; i < 100; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "nameserver 192.0.2.%u\n", i);
	osconf_read(text, (size_t)n, &f);
	assert_int_equal(f.n_servers, OSCONF_SERVERS_MAX);
}

static void test_take_and_restore(void **)
{
	static const char before[] = "nameserver 192.0.2.1\nsearch home.test\n";
	char why[OSCONF_TEXT_LEN];
	write_file(file, before);
	struct osconf *o = create();
	assert_int_equal(osconf_base(o)->n_servers, 1);
	assert_string_equal(text_of(file), before);
	osconf_set(o, true, 1, search, 2);
	assert_int_equal(osconf_how(o, why), OSCONF_FILE);
	assert_non_null(strstr(text_of(file), "\nnameserver 100.100.100.100\n"));
	assert_non_null(strstr(text_of(file), "\nsearch lab.test corp.test home.test\n"));
	assert_null(strstr(text_of(file), "192.0.2.1"));
	assert_string_equal(osconf_base(o)->servers[0], "192.0.2.1");
	osconf_set(o, true, 1, search, 1);
	assert_non_null(strstr(text_of(file), "\nsearch lab.test home.test\n"));
	osconf_set(o, false, 0, NULL, 0);
	assert_string_equal(text_of(file), before);
	assert_string_equal(text_of(copy), "(none)");
	osconf_set(o, true, 1, search, 2);
	osconf_destroy(o);
	assert_string_equal(text_of(file), before);
	assert_string_equal(text_of(copy), "(none)");
}

// As after kill -9.
static void test_killed(void **)
{
	static const char before[] = "nameserver 192.0.2.1\n";
	char left[8192];
	write_file(file, before);
	struct osconf *o = create();
	osconf_set(o, true, 1, search, 2);
	snprintf(left, sizeof(left), "%s", text_of(file));
	osconf_destroy(o);
	write_file(file, left);
	write_file(copy, before);
	o = create();
	assert_string_equal(text_of(file), before);
	assert_string_equal(osconf_base(o)->servers[0], "192.0.2.1");
	osconf_destroy(o);
	// There was none before.
	write_file(file, left);
	o = create();
	assert_string_equal(text_of(file), "(none)");
	assert_int_equal(osconf_base(o)->n_servers, 0);
	osconf_destroy(o);
	// Somebody has repaired it meanwhile.
	write_file(file, "nameserver 192.0.2.7\n");
	write_file(copy, before);
	o = create();
	assert_string_equal(text_of(file), "nameserver 192.0.2.7\n");
	assert_string_equal(text_of(copy), "(none)");
	osconf_destroy(o);
}

static void test_none_before(void **)
{
	struct osconf *o = create();
	osconf_set(o, true, 1, search, 2);
	assert_non_null(strstr(text_of(file), "100.100.100.100"));
	osconf_destroy(o);
	assert_string_equal(text_of(file), "(none)");
}

static void test_link(void **)
{
	char target[96];
	struct stat st;
	snprintf(target, sizeof(target), "%s/by-another", folder);
	write_file(target, "nameserver 192.0.2.1\n");
	assert_int_equal(symlink("by-another", file), 0);
	struct osconf *o = create();
	osconf_set(o, true, 1, search, 2);
	assert_int_equal(lstat(file, &st), 0);
	assert_false(S_ISLNK(st.st_mode));
	assert_string_equal(text_of(target), "nameserver 192.0.2.1\n");
	osconf_destroy(o);
	assert_int_equal(lstat(file, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_string_equal(text_of(file), "nameserver 192.0.2.1\n");
}

// A DHCP client writes the file: its servers count from then on, and we have it again.
static void test_written_by_others(void **)
{
	write_file(file, "nameserver 192.0.2.1\n");
	struct osconf *o = create();
	osconf_set(o, true, 1, search, 2);
	changes = 0;
	write_file(file, "nameserver 192.0.2.2\nnameserver 192.0.2.3\n");
	osconf_tick(o);
	assert_int_equal(changes, 1);
	assert_int_equal(osconf_base(o)->n_servers, 2);
	assert_non_null(strstr(text_of(file), "100.100.100.100"));
	osconf_tick(o);
	assert_int_equal(changes, 1);
	osconf_destroy(o);
	assert_string_equal(text_of(file), "nameserver 192.0.2.2\nnameserver 192.0.2.3\n");
}

// Without us in place its changes are noticed, too.
static void test_watch(void **)
{
	write_file(file, "nameserver 192.0.2.1\n");
	struct osconf *o = create();
	write_file(file, "nameserver 192.0.2.22\n");
	osconf_tick(o);
	assert_string_equal(osconf_base(o)->servers[0], "192.0.2.22");
	assert_string_equal(text_of(file), "nameserver 192.0.2.22\n");
	osconf_destroy(o);
}

// The file is a mount of its own, as in a container: it cannot be renamed.
static void test_mount(void **)
{
	char source[96];
	snprintf(source, sizeof(source), "%s/source", folder);
	write_file(source, "nameserver 192.0.2.1\n");
	write_file(file, "");
	if (mount(source, file, NULL, MS_BIND, NULL) < 0)
		skip();
	struct osconf *o = create();
	osconf_set(o, true, 1, search, 2);
	assert_non_null(strstr(text_of(source), "100.100.100.100"));
	osconf_destroy(o);
	assert_string_equal(text_of(source), "nameserver 192.0.2.1\n");
	assert_int_equal(umount(file), 0);
}

static void test_unwritable(void **)
{
	char why[OSCONF_TEXT_LEN];
	assert_int_equal(mkdir(file, 0700), 0); // nobody can write that
	struct osconf *o = create();
	osconf_set(o, true, 1, search, 2);
	assert_int_equal(osconf_how(o, why), OSCONF_FAILED);
	assert_non_null(strstr(why, "cannot be written"));
	osconf_destroy(o);
	assert_int_equal(rmdir(file), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_read_bad),
		cmocka_unit_test_setup_teardown(test_take_and_restore, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_none_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_resolved_refuses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_written_by_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_watch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_mount, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unwritable, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
