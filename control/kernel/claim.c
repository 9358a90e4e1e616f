#include "control/kernel/claim.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sodium.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CLAIM_TRIES = 32, // random ports that are free in IPv4 but not in IPv6
	// Linux gives out 32768 to 60999.
	RANGE_FIRST = 16384,
	RANGE_END = 32768,
	RANGE_TRIES = 16,
};

// A socket that receives nothing, bound to all addresses; or -errno.
static int claim_socket(const struct sockaddr *addr, socklen_t len)
{
	int fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = {.len = 1, .filter = &drop};
	int one = 1, least = 0;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)) != 0 ||
		(addr->sa_family == AF_INET6 &&
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0) ||
		bind(fd, addr, len) != 0) {
		int error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

static int claim_both(uint16_t port, struct port_claim *out)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof(a4);
	int fd4 = claim_socket((struct sockaddr *)&a4, sizeof(a4));
	if (fd4 < 0)
		return fd4;
	if (getsockname(fd4, (struct sockaddr *)&a4, &len) != 0) {
		close(fd4);
		return -EIO;
	}
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = a4.sin_port};
	int fd6 = claim_socket((struct sockaddr *)&a6, sizeof(a6));
	if (fd6 < 0 && fd6 != -EAFNOSUPPORT) {
		close(fd4);
		return fd6;
	}
	*out = (struct port_claim){
		.fd4 = fd4, .fd6 = fd6 < 0 ? -1 : fd6, .port = ntohs(a4.sin_port)};
	return 0;
}

int port_claim_open(uint16_t port, struct port_claim *out)
{
	int rc = claim_both(port, out);
	for (int i = 0; port == 0 && rc == -EADDRINUSE && i < CLAIM_TRIES; i++)
		rc = claim_both(0, out);
	return rc;
}

void port_claim_close(struct port_claim *c)
{
	if (c->fd4 >= 0)
		close(c->fd4);
	if (c->fd6 >= 0)
		close(c->fd6);
	*c = (struct port_claim){.fd4 = -1, .fd6 = -1};
}

static int claim_row(uint16_t first, unsigned n, struct port_range *out)
{
	*out = (struct port_range){.first = first};
	while (out->n < n) {
		struct sockaddr_in a = {
			.sin_family = AF_INET, .sin_port = htons((uint16_t)(first + out->n))};
		int fd = claim_socket((struct sockaddr *)&a, sizeof(a));
		if (fd < 0) {
			port_range_close(out);
			return fd;
		}
		out->fd[out->n++] = fd;
	}
	return 0;
}

int port_range_open(unsigned n, struct port_range *out)
{
	int rc = -EADDRINUSE;
	if (n == 0 || n > PORT_RANGE_MAX)
		return -EINVAL;
	for (int i = 0; rc == -EADDRINUSE && i < RANGE_TRIES; i++)
		rc = claim_row(
			(uint16_t)(RANGE_FIRST + randombytes_uniform(RANGE_END - RANGE_FIRST - n)),
			n, out);
	return rc;
}

void port_range_close(struct port_range *r)
{
	for (unsigned i = 0; i < r->n; i++)
		close(r->fd[i]);
	r->n = 0;
}
