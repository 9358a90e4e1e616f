// Asks a resolver for names at a fixed rate, or stands in for one. Prints one JSON object.
//
//   perf_dnsload ask ADDRESS PORT RATE SECONDS NAME...   A records of the names in turns
//   perf_dnsload echo ADDRESS PORT                       answers everything, as cheaply as can be
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "control/dns/wire.h"

enum {
	SOCKETS = 16, // a source port each
	BURST = 32,
	SLOTS = 65536, // queries under way, by ID
};

static uint64_t sent_ns[SLOTS];
static uint32_t latency_us[1 << 16]; // how many answers took so long
static uint64_t n_sent, n_answered, n_failed, n_unsent;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in address(char *const argv[])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
	if (inet_pton(AF_INET, argv[0], &sa.sin_addr) != 1) {
		fprintf(stderr, "perf_dnsload: %s is no IPv4 address\n", argv[0]);
		exit(2);
	}
	return sa;
}

static int echo(char *const argv[])
{
	const struct sockaddr_in at = address(argv);
	static uint8_t bytes[BURST][1500];
	struct sockaddr_in from[BURST];
	struct iovec io[BURST];
	struct mmsghdr m[BURST];
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return perror("perf_dnsload"), 1;
	for (;;) {
		for (unsigned i = 0; i < BURST; i++) {
			io[i] = (struct iovec){bytes[i], sizeof(bytes[i])};
			m[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
				.msg_namelen = sizeof(from[i]),
				.msg_iov = &io[i],
				.msg_iovlen = 1};
		}
		const int n = recvmmsg(fd, m, BURST, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++) {
			bytes[i][2] |= 0x80;
			io[i].iov_len = m[i].msg_len;
		}
		if (n > 0 && sendmmsg(fd, m, (unsigned)n, 0) < 0)
			return perror("perf_dnsload"), 1;
	}
}

static void receive(const int fds[SOCKETS])
{
	uint8_t answer[1500];
	for (unsigned i = 0; i < SOCKETS; i++) {
		ssize_t n;
		while ((n = recv(fds[i], answer, sizeof(answer), MSG_DONTWAIT)) >= DNS_HEADER_LEN) {
			const unsigned id = (unsigned)answer[0] << 8 | answer[1];
			const uint64_t us = (now_ns() - sent_ns[id]) / 1000;
			if (!sent_ns[id])
				continue;
			sent_ns[id] = 0;
			latency_us[us < 65535 ? us : 65535]++;
			n_answered++;
			n_failed += (answer[3] & 0xf) != 0;
		}
	}
}

static uint32_t quantile_us(double q)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < 65536; i++) {
		sum += latency_us[i];
		if ((double)sum >= q * (double)n_answered)
			return i;
	}
	return 65535;
}

static void send_one(const int fds[SOCKETS], char *const names[], unsigned n_names)
{
	static const uint8_t lower[32];
	static uint16_t id;
	uint8_t query[300];
	const size_t len = dns_question_write(
		query, sizeof(query), ++id, names[n_sent % n_names], ns_t_a, false, false, lower);
	sent_ns[id] = now_ns();
	if (send(fds[id % SOCKETS], query, len, MSG_DONTWAIT) < 0)
		n_unsent++;
	n_sent++;
}

static int ask(char *const argv[], unsigned n_names)
{
	const struct sockaddr_in to = address(argv);
	const double rate = atof(argv[2]), seconds = atof(argv[3]);
	const struct timespec nap = {.tv_nsec = 200000};
	int fds[SOCKETS];
	for (unsigned i = 0; i < SOCKETS; i++) {
		fds[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (fds[i] < 0 || connect(fds[i], (const struct sockaddr *)&to, sizeof(to)) < 0)
			return perror("perf_dnsload"), 1;
	}
	const uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9);
	for (uint64_t now; (now = now_ns()) < end + 200000000;) {
		const double due = now < end ? (double)(now - begin) * rate / 1e9 : 0;
		while ((double)n_sent < due)
			send_one(fds, argv + 4, n_names);
		receive(fds);
		nanosleep(&nap, NULL);
	}
	printf("{\"sent\": %lu, \"answered\": %lu, \"failed\": %lu, \"unsent\": %lu, "
	       "\"per_second\": %.0f, \"p50_us\": %u, \"p99_us\": %u}\n",
		n_sent, n_answered, n_failed, n_unsent, (double)n_answered / seconds,
		quantile_us(0.5), quantile_us(0.99));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "echo") == 0)
		return echo(argv + 2);
	if (argc > 6 && strcmp(argv[1], "ask") == 0)
		return ask(argv + 2, (unsigned)(argc - 6));
	fputs("usage: perf_dnsload ask ADDRESS PORT RATE SECONDS NAME... | echo ADDRESS PORT\n",
		stderr);
	return 2;
}
