#include "control/cli/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "control/cli/values.h"

enum {
	CHUNK = 128 << 10, // bytes of a call
	CONNECT_MS = 5000,
	STALL_MS = 10000, // without a byte going: the way is broken
	CONNECTIONS = 8,
	CONNECTION_MS = 120000,
	BACKLOG = 8,
};

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int bench_target_parse(const char *text, struct bench_target *out, char err[static CLI_ERROR_LEN])
{
	const char *host = text, *end, *port = BENCH_PORT;
	unsigned number;
	if (*text == '[') {
		host++;
		end = strchr(host, ']');
		if (end && end[1] == ':')
			port = end + 2;
		else if (end && end[1] != '\0')
			end = NULL;
	} else {
		end = strchr(text, ':');
		if (end && !strchr(end + 1, ':'))
			port = end + 1;
		else
			end = text + strlen(text); // an IPv6 address, or no port
	}
	size_t n = end ? (size_t)(end - host) : 0;
	if (n == 0 || n >= sizeof(out->host) || value_number(port, 65535, &number) < 0 ||
		number == 0) {
		snprintf(err, CLI_ERROR_LEN,
			"'%.60s' is no HOST, HOST:PORT or [ADDRESS]:PORT with a port from 1 to "
			"65535",
			text);
		return -EINVAL;
	}
	memcpy(out->host, host, n);
	out->host[n] = '\0';
	snprintf(out->port, sizeof(out->port), "%u", (uint16_t)number);
	return 0;
}

// 0 or -errno.
static int connected(int fd, const struct addrinfo *to)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int error = 0;
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&p, 1, CONNECT_MS) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)}) < 0)
		return -errno;
	return -error;
}

// A socket by the first address that answers. It, or -errno with a line in err.
static int dial(const struct bench_target *to, char err[static CLI_ERROR_LEN])
{
	struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	int error = getaddrinfo(to->host, to->port, &hints, &list);
	if (error != 0) {
		snprintf(err, CLI_ERROR_LEN, "%s: %s", to->host, gai_strerror(error));
		return -ENOENT;
	}
	int fd = -1, rc = -ENOENT;
	for (const struct addrinfo *a = list; a && rc < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		rc = fd < 0 ? -errno : connected(fd, a);
		if (rc < 0 && fd >= 0)
			close(fd);
	}
	freeaddrinfo(list);
	if (rc < 0)
		snprintf(err, CLI_ERROR_LEN,
			"%s port %s: %s: 'tailgate bench serve %s' there takes the stream",
			to->host, to->port, strerror(-rc), to->port);
	return rc < 0 ? rc : fd;
}

// 0 or -errno.
static int stream(int fd, unsigned ms)
{
	static const char zeros[CHUNK];
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	for (uint64_t end = now_ms() + ms; now_ms() < end;) {
		int ready = poll(&p, 1, STALL_MS);
		if (ready == 0)
			return -ETIMEDOUT;
		ssize_t n = send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return 0;
}

int bench_send(const struct bench_target *to, unsigned ms, struct bench_result *out,
	char err[static CLI_ERROR_LEN])
{
	struct tcp_info info = {0};
	int fd = dial(to, err);
	if (fd < 0)
		return fd;
	uint64_t begin = now_ms();
	int rc = stream(fd, ms);
	if (rc == 0 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof(info)}) < 0)
		rc = -errno;
	uint64_t took = now_ms() - begin;
	// Nobody waits for what is still in the buffer.
	setsockopt(
		fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
	close(fd);
	if (rc < 0) {
		snprintf(err, CLI_ERROR_LEN, "%s port %s: %s in the middle of the stream", to->host,
			to->port, strerror(-rc));
		return rc;
	}
	*out = (struct bench_result){
		.bits_per_second = (double)info.tcpi_bytes_acked * 8e3 / (double)(took ? took : 1),
		.bytes = info.tcpi_bytes_acked,
		.retransmits = info.tcpi_total_retrans,
		.mss = info.tcpi_snd_mss,
		.rtt_us = info.tcpi_rtt,
	};
	return 0;
}

int bench_listen(const char *address, const char *port, char err[static CLI_ERROR_LEN])
{
	struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	unsigned number;
	if (value_number(port, 65535, &number) < 0 ||
		getaddrinfo(address ? address : "::", port, &hints, &list) != 0) {
		snprintf(err, CLI_ERROR_LEN, "'%.60s' port '%.20s' is no address to listen on",
			address ? address : "::", port);
		return -EINVAL;
	}
	int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 && !address && errno == EAFNOSUPPORT) { // a host without IPv6
		freeaddrinfo(list);
		return bench_listen("0.0.0.0", port, err);
	}
	int rc = 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (list->ai_family == AF_INET6) // IPv4 as well where no address is asked for
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){address != NULL}, sizeof(int));
	if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		rc = -errno;
	freeaddrinfo(list);
	if (rc == 0)
		return fd;
	snprintf(err, CLI_ERROR_LEN, "port %s: %s", port, strerror(-rc));
	if (fd >= 0)
		close(fd);
	return rc;
}

unsigned bench_port(int fd)
{
	struct sockaddr_in6 a; // whose port is where IPv4's is
	if (getsockname(fd, (struct sockaddr *)&a, &(socklen_t){sizeof(a)}) < 0)
		return 0;
	return ntohs(a.sin6_port);
}

// Whether there may come more.
static bool drop(int fd)
{
	static char room[CHUNK];
	ssize_t n = recv(fd, room, sizeof(room), MSG_DONTWAIT);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

int bench_sink(int fd)
{
	struct pollfd p[1 + CONNECTIONS] = {{.fd = fd, .events = POLLIN}};
	uint64_t until[1 + CONNECTIONS] = {0};
	for (unsigned i = 1; i <= CONNECTIONS; i++)
		p[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	for (;;) {
		if (poll(p, 1 + CONNECTIONS, 1000) < 0 && errno != EINTR)
			return -errno;
		for (unsigned i = 1; i <= CONNECTIONS; i++) {
			if (p[i].fd >= 0 &&
				((p[i].revents && !drop(p[i].fd)) || now_ms() > until[i])) {
				close(p[i].fd);
				p[i].fd = -1;
			}
		}
		if (!p[0].revents)
			continue;
		int one = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		unsigned at = 1;
		while (at <= CONNECTIONS && p[at].fd >= 0)
			at++;
		if (one >= 0 && at > CONNECTIONS)
			close(one); // as many as there may be are there
		else if (one >= 0) {
			p[at] = (struct pollfd){.fd = one, .events = POLLIN};
			until[at] = now_ms() + CONNECTION_MS;
		}
	}
}
