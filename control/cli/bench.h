// What a TCP stream gets over a way: the sender and the sink.
#pragma once

#include "control/cli/cli.h"

#define BENCH_PORT "9" // discard (RFC 863)

enum { BENCH_HOST_LEN = 254, BENCH_PORT_LEN = 6 };

struct bench_target {
	char host[BENCH_HOST_LEN], port[BENCH_PORT_LEN];
};

struct bench_result {
	double bits_per_second; // acknowledged
	uint64_t bytes;
	uint32_t retransmits; // segments
	uint32_t mss, rtt_us; // at the end
};

// "HOST", "HOST:PORT", "ADDRESS", "[ADDRESS]:PORT"; without a port BENCH_PORT. 0; -EINVAL with a
// line in err.
int bench_target_parse(
	const char *text, struct bench_target *out, char err[static CLI_ERROR_LEN]) must_check;
// Send for so long to who takes everything. 0; -errno with a line in err.
int bench_send(const struct bench_target *to, unsigned ms, struct bench_result *out,
	char err[static CLI_ERROR_LEN]) must_check;

// A socket that listens on this address (NULL: on all) and port, "0": any that is free. It, or
// -errno with a line in err.
int bench_listen(const char *address, const char *port, char err[static CLI_ERROR_LEN]) must_check;
unsigned bench_port(int fd); // that it listens on
// Takes what connections to fd send, and drops it: 8 at once, each for two minutes at most.
// Returns, with -errno, only when it cannot go on.
int bench_sink(int fd) must_check;
