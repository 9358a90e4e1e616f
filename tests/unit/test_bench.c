// Streams to a sink on this host: what they get, who is refused.
#include "control/cli/bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

enum { STREAM_MS = 50, AT_ONCE = 8 };

static void test_targets(void **)
{
	static const struct {
		const char *text, *host, *port;
	} good[] = {
		{"server", "server", "9"},
		{"server:5000", "server", "5000"},
		{"192.0.2.1", "192.0.2.1", "9"},
		{"192.0.2.1:65535", "192.0.2.1", "65535"},
		{"2001:db8::1", "2001:db8::1", "9"},
		{"[2001:db8::1]", "2001:db8::1", "9"},
		{"[2001:db8::1]:5000", "2001:db8::1", "5000"},
	};
	static const char *const bad[] = {"", ":", ":5000", "server:", "server:0", "server:65536",
		"server:-1", "server:5000x", "server:x", "[]", "[]:5000", "[2001:db8::1",
		"[2001:db8::1]5000", "[2001:db8::1]:", "[2001:db8::1]:0"};
	struct bench_target t;
	char err[CLI_ERROR_LEN], longest[BENCH_HOST_LEN + 1];
	for (unsigned i = 0; i < N(good); i++) {
		assert_int_equal(bench_target_parse(good[i].text, &t, err), 0);
		assert_string_equal(t.host, good[i].host);
		assert_string_equal(t.port, good[i].port);
	}
	for (unsigned i = 0; i < N(bad); i++)
		if (bench_target_parse(bad[i], &t, err) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[BENCH_HOST_LEN] = '\0';
	assert_int_equal(bench_target_parse(longest, &t, err), -EINVAL);
	longest[BENCH_HOST_LEN - 1] = '\0';
	assert_int_equal(bench_target_parse(longest, &t, err), 0);
}

static struct bench_target target(const char *host, int fd)
{
	struct bench_target t;
	snprintf(t.host, sizeof(t.host), "%s", host);
	snprintf(t.port, sizeof(t.port), "%u", (uint16_t)bench_port(fd));
	return t;
}

static int listening(void)
{
	char err[CLI_ERROR_LEN];
	int fd = bench_listen(NULL, "0", err);
	assert_true(fd >= 0);
	assert_int_not_equal(bench_port(fd), 0);
	return fd;
}

// A child that is the sink.
static pid_t sink(int fd)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(bench_sink(fd) != 0);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_streams(void **)
{
	static const char *const hosts[] = {"127.0.0.1", "::1", "localhost"};
	char err[CLI_ERROR_LEN];
	int fd = listening();
	pid_t pid = sink(fd);
	for (unsigned i = 0; i < N(hosts); i++) {
		struct bench_target t = target(hosts[i], fd);
		struct bench_result r = {0};
		assert_int_equal(bench_send(&t, STREAM_MS, &r, err), 0);
		print_message("%s: %.2f Gb/s, segments of %u\n", hosts[i], r.bits_per_second / 1e9,
			r.mss);
		assert_true(r.bytes > 0 && r.bits_per_second > 0);
		assert_in_range(r.mss, 500, 65535);
	}
	end(pid);
	close(fd);
}

static void test_nobody_listens(void **)
{
	char err[CLI_ERROR_LEN];
	struct bench_result r;
	int fd = listening();
	struct bench_target t = target("127.0.0.1", fd);
	close(fd);
	assert_int_equal(bench_send(&t, STREAM_MS, &r, err), -ECONNREFUSED);
	assert_non_null(strstr(err, "tailgate bench serve"));
	t = (struct bench_target){"a..b", "9"};
	assert_int_equal(bench_send(&t, STREAM_MS, &r, err), -ENOENT);
	assert_non_null(strstr(err, "a..b"));
}

// More connections than are taken at once: the last is closed, and told.
static void test_too_many(void **)
{
	char err[CLI_ERROR_LEN];
	struct bench_result r;
	int fd = listening(), idle[AT_ONCE];
	struct bench_target t = target("127.0.0.1", fd);
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)bench_port(fd))};
	pid_t pid = sink(fd);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		idle[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(idle[i], (struct sockaddr *)&a, sizeof(a)), 0);
	}
	int rc = bench_send(&t, 10000, &r, err);
	assert_true(rc == -ECONNRESET || rc == -EPIPE);
	assert_non_null(strstr(err, "in the middle of the stream"));
	for (unsigned i = 0; i < AT_ONCE; i++)
		close(idle[i]);
	unsigned tries = 0;
	while (bench_send(&t, STREAM_MS, &r, err) < 0 && tries++ < 1000)
		usleep(10000);
	assert_true(tries < 1000);
	end(pid);
	close(fd);
}

static void test_no_place_to_listen(void **)
{
	static const struct {
		const char *address, *port;
	} bad[] = {{NULL, "x"}, {NULL, ""}, {NULL, "65536"}, {NULL, "-1"}, {"localhost", "0"},
		{"300.0.2.1", "0"}, {"", "0"}, {"2001:db8::1::2", "0"}};
	char err[CLI_ERROR_LEN], port[BENCH_PORT_LEN];
	for (unsigned i = 0; i < N(bad); i++)
		if (bench_listen(bad[i].address, bad[i].port, err) != -EINVAL)
			fail_msg("%s port %s is taken", bad[i].address, bad[i].port);
	assert_int_equal(bench_listen("192.0.2.1", "0", err), -EADDRNOTAVAIL);
	int fd = listening();
	snprintf(port, sizeof(port), "%u", (uint16_t)bench_port(fd));
	assert_int_equal(bench_listen(NULL, port, err), -EADDRINUSE);
	assert_non_null(strstr(err, port));
	close(fd);
	fd = bench_listen("127.0.0.1", port, err);
	assert_true(fd >= 0);
	assert_int_equal(bench_port(fd), atoi(port));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_no_place_to_listen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
