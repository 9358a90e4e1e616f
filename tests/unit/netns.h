// A network namespace of the test's own, for tests that need interfaces. Needs root; without it
// the test program ends with 77, which meson counts as skipped.
#pragma once

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	TEST_SKIP = 77,
};

static inline void netns_enter(void)
{
	if (unshare(CLONE_NEWNET) != 0) {
		perror("skipped: a network namespace takes root");
		exit(TEST_SKIP);
	}
}

// Run a command and show it; the test cannot go on when it fails.
static inline void __attribute__((format(printf, 1, 2))) netns_run(const char *format, ...)
{
	char command[512];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	fprintf(stderr, "+ %s\n", command);
	if (system(command) != 0) {
		fprintf(stderr, "failed: %s\n", command);
		exit(1);
	}
}

// Turn a device's checksum offload (and with it all segmentation offload) on or off.
static inline void netns_offload(const char *device, bool on)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ethtool_value value = {.cmd = ETHTOOL_STXCSUM, .data = on};
	struct ifreq ifr = {.ifr_data = (char *)&value};
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", device);
	if (ioctl(fd, SIOCETHTOOL, &ifr) != 0) {
		perror("SIOCETHTOOL");
		exit(1);
	}
	close(fd);
}
