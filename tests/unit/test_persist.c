// State on disk: what comes back, what is refused, and kill -9 at any moment.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control/coord/persist.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static char dir[64];

static int make_dir(void **)
{
	snprintf(dir, sizeof(dir), "/tmp/test_persist.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **)
{
	static const char *const names[] = {
		"state", "netmap", ".state.new", ".netmap.new", "other"};
	char path[128];

	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static struct persist_state example(void)
{
	return (struct persist_state){
		.machine_private = {{1, 2, 3}},
		.node_private = {{4}},
		.logged_out = true,
		.login_server = "https://login.test",
		.stable_id = "n1",
		.user = -7,
		.login = "J\xc3\xb6rg with spaces",
	};
}

static void write_file(const char *name, const char *bytes, size_t len, mode_t mode)
{
	unlink(path_of(name));
	const int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static size_t read_file(const char *name, char *bytes, size_t max)
{
	const int fd = open(path_of(name), O_RDONLY);
	const ssize_t n = read(fd, bytes, max);

	assert_true(n >= 0);
	close(fd);
	return (size_t)n;
}

static void test_state_comes_back(void **)
{
	const struct persist_state state = example();
	struct persist_state loaded;
	struct stat st;

	assert_int_equal(persist_dir(dir), 0);
	assert_int_equal(persist_state_load(dir, &loaded), -ENOENT);
	assert_int_equal(persist_state_save(dir, &state), 0);
	assert_int_equal(persist_state_load(dir, &loaded), 0);
	assert_memory_equal(&loaded.machine_private, &state.machine_private, KEY_LEN);
	assert_memory_equal(&loaded.node_private, &state.node_private, KEY_LEN);
	assert_true(key_is_zero(&loaded.old_node_private));
	assert_true(loaded.logged_out);
	assert_int_equal(loaded.user, -7);
	assert_string_equal(loaded.login_server, state.login_server);
	assert_string_equal(loaded.login, state.login);
	assert_string_equal(loaded.hostname, "");
	assert_int_equal(stat(path_of("state"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	persist_state_fini(&loaded);
	assert_true(key_is_zero(&loaded.machine_private));
}

static void test_netmap_comes_back(void **)
{
	const size_t len = 3 << 20;
	char *text = calloc(len, 1), *loaded = NULL;
	size_t loaded_len = 0;

	for (size_t i = 0; i < len; i++)
		text[i] = (char)i; // zeros and newlines too
	assert_int_equal(persist_netmap_load(dir, &loaded, &loaded_len), -ENOENT);
	assert_int_equal(persist_netmap_save(dir, text, len), 0);
	assert_int_equal(persist_netmap_load(dir, &loaded, &loaded_len), 0);
	assert_int_equal(loaded_len, len);
	assert_memory_equal(loaded, text, len);
	free(loaded);
	assert_int_equal(persist_netmap_remove(dir), 0);
	assert_int_equal(persist_netmap_remove(dir), 0);
	assert_int_equal(persist_netmap_load(dir, &loaded, &loaded_len), -ENOENT);
	assert_int_equal(persist_netmap_save(dir, text, PERSIST_NETMAP_MAX + 1), -EFBIG);
	assert_int_equal(persist_netmap_save("/nonexistent", text, 1), -ENOENT);
	free(text);
}

static void test_texts_refused(void **)
{
	struct persist_state state = example(), loaded;

	assert_int_equal(persist_state_save(dir, &state), 0);
	strcpy(state.hostname, "a\nNodeKey privkey:");
	assert_int_equal(persist_state_save(dir, &state), -EINVAL);
	memset(state.hostname, 'x', sizeof(state.hostname)); // without end
	assert_int_equal(persist_state_save(dir, &state), -EINVAL);
	assert_int_equal(persist_state_load(dir, &loaded), 0); // the old one
	assert_string_equal(loaded.hostname, "");
}

static void assert_refused(int error)
{
	static const struct persist_state zero;
	struct persist_state loaded;

	assert_int_equal(persist_state_load(dir, &loaded), error);
	assert_memory_equal(&loaded, &zero, sizeof(zero));
}

// Every cut and every changed byte is noticed.
static void test_damage(void **)
{
	const struct persist_state state = example();
	char bytes[2048];
	struct persist_state loaded;

	assert_int_equal(persist_state_save(dir, &state), 0);
	const size_t len = read_file("state", bytes, sizeof(bytes));
	for (size_t i = 0; i < len; i++) {
		write_file("state", bytes, i, 0600);
		assert_refused(-EBADMSG);
		bytes[i] ^= 0x10;
		write_file("state", bytes, len, 0600);
		const int error = persist_state_load(dir, &loaded);
		assert_true(error == -EBADMSG || error == -ENOTSUP);
		bytes[i] ^= 0x10;
	}
	bytes[len] = '\n';
	write_file("state", bytes, len + 1, 0600);
	assert_refused(-EBADMSG);
	write_file("state", bytes, len, 0600);
	assert_int_equal(persist_state_load(dir, &loaded), 0);
	// The netmap's file in its place is none.
	assert_int_equal(persist_netmap_save(dir, "{}", 2), 0);
	char netmap[128];
	snprintf(netmap, sizeof(netmap), "%s", path_of("netmap"));
	assert_int_equal(rename(netmap, path_of("state")), 0);
	assert_refused(-EBADMSG);
}

static void test_modes(void **)
{
	static const mode_t modes[] = {0640, 0604, 0660, 0644, 0610, 0601};
	const struct persist_state state = example();
	char *text;
	size_t len;

	assert_int_equal(persist_state_save(dir, &state), 0);
	assert_int_equal(persist_netmap_save(dir, "{}", 2), 0);
	for (size_t i = 0; i < COUNT(modes); i++) {
		assert_int_equal(chmod(path_of("state"), modes[i]), 0);
		assert_refused(-EACCES);
		assert_int_equal(chmod(path_of("netmap"), modes[i]), 0);
		assert_int_equal(persist_netmap_load(dir, &text, &len), -EACCES);
	}
	// Saved anew it is right again, whatever was there, a link included.
	assert_int_equal(persist_state_save(dir, &state), 0);
	char other[128];
	snprintf(other, sizeof(other), "%s", path_of("other"));
	assert_int_equal(rename(path_of("state"), other), 0);
	assert_int_equal(symlink("other", path_of("state")), 0);
	assert_refused(-EACCES);
	assert_int_equal(symlink("other", path_of(".state.new")), 0);
	assert_int_equal(persist_state_save(dir, &state), 0);
	struct persist_state loaded;
	assert_int_equal(persist_state_load(dir, &loaded), 0);
	struct stat st;
	assert_int_equal(lstat(path_of("state"), &st), 0);
	assert_true(S_ISREG(st.st_mode));
	unlink(path_of("state"));
	assert_int_equal(mkfifo(path_of("state"), 0600), 0);
	assert_refused(-EACCES); // and does not wait for a writer
	unlink(path_of("state"));
}

static void test_directories(void **)
{
	char sub[128];

	snprintf(sub, sizeof(sub), "%s/sub", dir);
	assert_int_equal(persist_dir(sub), 0);
	struct stat st;
	assert_int_equal(stat(sub, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(chmod(sub, 0770), 0);
	assert_int_equal(persist_dir(sub), -EACCES);
	assert_int_equal(rmdir(sub), 0);
	write_file("other", "", 0, 0600);
	assert_int_equal(persist_dir(path_of("other")), -ENOTDIR);
	assert_int_equal(persist_dir("/nonexistent/deep"), -ENOENT);
}

static void test_versions(void **)
{
	static const char *const headers[] = {
		"tailgate state 2 0 x\n", "tailgate state 99 -\nmore"};

	for (size_t i = 0; i < COUNT(headers); i++) {
		write_file("state", headers[i], strlen(headers[i]), 0600);
		assert_refused(-ENOTSUP);
	}
	write_file("state", "tailgate state 1 999999999999999999999 x\n", 42, 0600);
	assert_refused(-EBADMSG);
	static char big[PERSIST_STATE_MAX + 512];
	write_file("state", big, sizeof(big), 0600);
	assert_refused(-EFBIG);
}

enum { KILLS = 60 };

// The child writes states and netmaps of growing numbers until it is killed.
static void write_for_ever(void)
{
	static char text[100000];
	struct persist_state state = example();

	for (state.user = 1;; state.user++) {
		memset(text, 'a' + (int)(state.user % 26), sizeof(text));
		if (persist_state_save(dir, &state) || persist_netmap_save(dir, text, sizeof(text)))
			_exit(1);
	}
}

static void test_kill_at_any_moment(void **)
{
	struct persist_state loaded = example();

	assert_int_equal(persist_state_save(dir, &loaded), 0);
	assert_int_equal(persist_netmap_save(dir, "a", 1), 0);
	for (int i = 0; i < KILLS; i++) {
		char *text = NULL;
		size_t len = 0;
		const pid_t child = fork();
		if (child == 0)
			write_for_ever();
		const struct timespec pause = {0, 500000 + i * 500000};
		nanosleep(&pause, NULL);
		assert_int_equal(kill(child, SIGKILL), 0);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(persist_state_load(dir, &loaded), 0);
		assert_int_equal(persist_netmap_load(dir, &text, &len), 0);
		for (size_t c = 1; c < len; c++)
			assert_int_equal(text[c], text[0]);
		free(text);
	}
	print_message(
		"%d kills, the last child wrote %lld states\n", KILLS, (long long)loaded.user);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_comes_back),
		cmocka_unit_test(test_netmap_comes_back),
		cmocka_unit_test(test_texts_refused),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_kill_at_any_moment),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
