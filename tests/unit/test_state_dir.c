// Directories that are, and are not, fit for the state of the user that the daemon becomes.
#include "config/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

static char folder[64];
static uid_t nobody;

enum made { NOTHING, OF_ROOT, OF_NOBODY, FILE_INSTEAD, NO_PARENT };

static const struct {
	const char *name;
	enum made made;
	mode_t mode, parent; // of the directory, of the folder around it (root's)
	const char *user;
	int result;
	const char *says[2];
} cases[] = {
	{"root's own", OF_ROOT, 0700, 0755, "", 0, {}},
	{"root's own, by name", OF_ROOT, 0755, 0755, "root", 0, {}},
	{"root makes it", NOTHING, 0, 0700, "", 0, {}},
	{"the user's own", OF_NOBODY, 0700, 0700, "nobody", 0, {}},
	{"the user makes it", NOTHING, 0, 0777, "nobody", 0, {}},
	{"root's, the user is another", OF_ROOT, 0700, 0755, "nobody", -EACCES,
		{"/state belongs to root, but the daemon runs as nobody", "chown -R nobody /tmp/"}},
	{"root's, for all to write", OF_ROOT, 0777, 0755, "nobody", -EACCES, {"belongs to root"}},
	{"the user's, root comes", OF_NOBODY, 0700, 0755, "", -EACCES,
		{"belongs to nobody, but the daemon runs as root", "chown -R root"}},
	{"others may write", OF_NOBODY, 0702, 0755, "nobody", -EACCES,
		{"others than nobody may write", "chmod 700 /tmp/"}},
	{"the group may write", OF_ROOT, 0770, 0755, "", -EACCES, {"others than root may write"}},
	{"the user may not make it", NOTHING, 0, 0755, "nobody", -EACCES,
		{"does not exist, and nobody may not make it",
			"install -d -m 700 -o nobody /tmp/"}},
	{"the user may list, not enter", NOTHING, 0, 0776, "nobody", -EACCES, {"may not make it"}},
	{"a file", FILE_INSTEAD, 0600, 0755, "", -ENOTDIR, {"is no directory"}},
	{"nowhere", NO_PARENT, 0, 0755, "nobody", -ENOENT,
		{"nor does the folder", "install -d -m 700 -o nobody"}},
	{"no such user", OF_ROOT, 0700, 0755, "no-such-user-here", -ENOENT,
		{"user 'no-such-user-here' does not exist", "adduser --system"}},
};

static void make(const char *dir, enum made made, mode_t mode)
{
	int fd;
	switch (made) {
	case OF_ROOT:
	case OF_NOBODY:
		assert_int_equal(mkdir(dir, 0700), 0);
		assert_int_equal(chown(dir, made == OF_ROOT ? 0 : nobody, (gid_t)-1), 0);
		assert_int_equal(chmod(dir, mode), 0);
		break;
	case FILE_INSTEAD:
		fd = open(dir, O_CREAT | O_WRONLY, mode);
		assert_true(fd >= 0);
		close(fd);
		break;
	case NOTHING:
	case NO_PARENT:
		break;
	}
}

static void test_cases(void **)
{
	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char dir[128], why[STATE_DIR_WHY_LEN] = "";
		snprintf(dir, sizeof(dir), "%s%s/state", folder,
			cases[i].made == NO_PARENT ? "/none" : "");
		make(dir, cases[i].made, cases[i].mode);
		assert_int_equal(chmod(folder, cases[i].parent), 0);
		int result = state_dir_check(dir, cases[i].user, why);
		if (result != cases[i].result)
			fail_msg("%s: %d %s", cases[i].name, result, why);
		for (unsigned k = 0; k < 2 && cases[i].says[k] != NULL; k++)
			if (strstr(why, cases[i].says[k]) == NULL)
				fail_msg("%s: %s", cases[i].name, why);
		if (rmdir(dir) < 0)
			unlink(dir);
	}
}

// A path of any length fits into the line.
static void test_longest(void **)
{
	char path[2000], why[STATE_DIR_WHY_LEN];
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(state_dir_check(path, "", why), 0); // ENAMETOOLONG: the daemon says so
	for (size_t i = 200; i < sizeof(path) - 1; i += 200)
		path[i] = '/';
	path[1000] = '\0';
	assert_int_equal(state_dir_check(path, "nobody", why), -ENOENT);
	assert_in_range(strlen(why), 1, STATE_DIR_WHY_LEN - 1);
}

static int setup(void **)
{
	const struct passwd *entry = getpwnam("nobody");
	strcpy(folder, "/tmp/tailgate-state-XXXXXX");
	if (entry == NULL || mkdtemp(folder) == NULL)
		return -1;
	nobody = entry->pw_uid;
	return 0;
}

static int teardown(void **)
{
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_longest),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
