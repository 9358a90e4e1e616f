// Socket files of virtual devices: what nobody listens at goes, everything else stays.
#include "dataplane/port/vdev_socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

static char folder[] = "/tmp/test_vdev_socket.XXXXXX", path[64];

static int setup(void **)
{
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sock", folder);
	return 0;
}

static int teardown(void **)
{
	unlink(path);
	return rmdir(folder);
}

// A file as a listener of that type makes it, who lives (returns the descriptor) or is gone.
static int leave(int type, bool alive)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	strcpy(at.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 4), 0);
	if (alive)
		return fd;
	close(fd);
	return -1;
}

static void test_devices(void **)
{
	static const struct {
		const char *device; // %s: the path
		int type;
		bool alive, cleared;
	} cases[] = {
		{"net_memif0,role=server,socket=%s,socket-abstract=no", SOCK_SEQPACKET, false,
			true},
		{"net_memif0,socket-abstract=no,socket=%s", SOCK_SEQPACKET, false, true},
		{"net_vhost0,iface=%s", SOCK_STREAM, false, true},
		{"net_vhost0,iface=%s,client=0", SOCK_STREAM, false, true},
		{"net_memif0,role=server,socket=%s,socket-abstract=no", SOCK_SEQPACKET, true,
			false},
		{"net_memif0,role=client,socket=%s,socket-abstract=no", SOCK_SEQPACKET, false,
			false},
		{"net_memif0,role=server,socket=%s,socket-abstract=yes", SOCK_SEQPACKET, false,
			false},
		{"net_memif0,role=server,socket=%s", SOCK_SEQPACKET, false, false},
		{"net_memif0,role=server,socket=/nonexistent%s,socket-abstract=no", SOCK_SEQPACKET,
			false, false},
		{"net_memif0,role=server,socket=%s,socket-abstract=no", SOCK_STREAM, true, false},
		{"net_vhost0,iface=%s", SOCK_STREAM, true, false},
		{"net_vhost0,iface=%s,client=1", SOCK_STREAM, false, false},
		{"net_vhost0,queues=1", SOCK_STREAM, false, false},
		{"net_vhost0", SOCK_STREAM, false, false},
		{"net_virtio_user0,path=%s,server=1", SOCK_STREAM, false, false},
		{"net_af_xdp0,iface=%s", SOCK_STREAM, false, false},
		{"0000:01:00.0", SOCK_STREAM, false, false},
		{"", SOCK_STREAM, false, false},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char device[256];
		int fd = leave(cases[i].type, cases[i].alive);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(device, sizeof(device), cases[i].device, path);
#pragma GCC diagnostic pop
		if (vdev_socket_clear(device) != cases[i].cleared ||
			(access(path, F_OK) != 0) != cases[i].cleared)
			fail_msg("case %u: %s", i, device);
		if (fd >= 0)
			close(fd);
	}
}

// Neither files of another kind nor links are touched.
static void test_others(void **)
{
	char device[256], target[80];
	snprintf(device, sizeof(device), "net_vhost0,iface=%s", path);
	unlink(path);
	assert_false(vdev_socket_clear(device));
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	fclose(f);
	assert_false(vdev_socket_clear(device));
	assert_int_equal(access(path, F_OK), 0);
	leave(SOCK_STREAM, false);
	snprintf(target, sizeof(target), "%s/target", folder);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_false(vdev_socket_clear(device));
	assert_int_equal(access(target, F_OK), 0);
	unlink(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_others),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
