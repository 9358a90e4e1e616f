#include "control/net/echo.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/mem.h"
#include "dataplane/wire/csum.h"

enum {
	REQUEST4 = 8,
	REPLY4 = 0,
	REQUEST6 = 128,
	REPLY6 = 129,
	PACKETS_PER_WAKEUP = 32,
};

struct echo_socket {
	struct echo *echo;
	enum ip_family family;
	int fd; // -1: not open
	struct event *event;
};

struct echo { // ctl only
	struct event_base *base;
	uint32_t mark;
	void (*on_reply)(void *arg, const struct ip_addr *from, uint16_t seq);
	void *arg;
	uint16_t id;
	uint8_t token[8]; // nobody else's answer has it
	struct echo_socket v4, v6;
};

void echo_write(uint8_t out[static ECHO_LEN], enum ip_family family, uint16_t id, uint16_t seq,
	const uint8_t token[static 8])
{
	memset(out, 0, 4);
	out[0] = family == IP_V4 ? REQUEST4 : REQUEST6;
	out[4] = (uint8_t)(id >> 8);
	out[5] = (uint8_t)id;
	out[6] = (uint8_t)(seq >> 8);
	out[7] = (uint8_t)seq;
	memcpy(out + 8, token, 8);
	if (family == IP_V6)
		return;
	uint16_t csum = csum_finish(csum_add(out, ECHO_LEN, 0));
	memcpy(out + 2, &csum, sizeof(csum));
}

bool echo_read(const uint8_t *data, size_t len, enum ip_family family, uint16_t id,
	const uint8_t token[static 8], uint16_t *seq)
{
	if (family == IP_V4) {
		size_t header = len > 0 ? (size_t)(data[0] & 15) * 4 : 0;
		if (header < IP4_HDR_LEN || len < header)
			return false;
		data += header;
		len -= header;
	}
	if (len != ECHO_LEN || data[0] != (family == IP_V4 ? REPLY4 : REPLY6) || data[1] != 0 ||
		(data[4] << 8 | data[5]) != id || memcmp(data + 8, token, 8) != 0)
		return false;
	*seq = (uint16_t)(data[6] << 8 | data[7]);
	return true;
}

static struct ip_addr source_of(const struct sockaddr_storage *from)
{
	if (from->ss_family == AF_INET)
		return ip_addr_v4(&((const struct sockaddr_in *)from)->sin_addr);
	return ip_addr_v6(&((const struct sockaddr_in6 *)from)->sin6_addr);
}

static void on_readable(evutil_socket_t fd, short, void *arg)
{
	struct echo_socket *s = arg;
	struct echo *e = s->echo;
	for (unsigned i = 0; i < PACKETS_PER_WAKEUP; i++) {
		uint8_t data[128];
		struct sockaddr_storage from = {0};
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (void *)&from, &from_len);
		uint16_t seq;
		if (n < 0)
			return;
		if (!echo_read(data, (size_t)n, s->family, e->id, e->token, &seq))
			continue;
		struct ip_addr addr = source_of(&from);
		e->on_reply(e->arg, &addr, seq);
	}
}

static void close_socket(struct echo_socket *s)
{
	if (s->event)
		event_free(s->event);
	if (s->fd >= 0)
		close(s->fd);
	s->event = NULL;
	s->fd = -1;
}

static int open_socket(struct echo_socket *s)
{
	const struct echo *e = s->echo;
	bool v4 = s->family == IP_V4;
	s->fd = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	if (s->fd < 0)
		return -errno;
	struct icmp6_filter filter;
	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(REPLY6, &filter);
	int r = 0;
	if (!v4 && setsockopt(s->fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)) < 0)
		r = -errno;
	if (r == 0 && e->mark &&
		setsockopt(s->fd, SOL_SOCKET, SO_MARK, &e->mark, sizeof(e->mark)) < 0)
		r = -errno;
	if (r == 0) {
		s->event = event_new(e->base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
		if (!s->event || event_add(s->event, NULL) < 0)
			r = -ENOMEM;
	}
	if (r < 0)
		close_socket(s);
	return r;
}

struct echo *echo_create(struct event_base *base, uint32_t mark,
	void (*on_reply)(void *arg, const struct ip_addr *from, uint16_t seq), void *arg)
{
	struct echo *e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	*e = (struct echo){
		.base = base,
		.mark = mark,
		.on_reply = on_reply,
		.arg = arg,
		.v4 = {.echo = e, .family = IP_V4, .fd = -1},
		.v6 = {.echo = e, .family = IP_V6, .fd = -1},
	};
	randombytes_buf(&e->id, sizeof(e->id));
	randombytes_buf(e->token, sizeof(e->token));
	return e;
}

void echo_destroy(struct echo *e)
{
	if (!e)
		return;
	close_socket(&e->v4);
	close_socket(&e->v6);
	free(e);
}

int echo_send(struct echo *e, const struct ip_addr *to, uint16_t seq)
{
	struct echo_socket *s = to->family == IP_V4 ? &e->v4 : &e->v6;
	struct sockaddr_in a4 = {.sin_family = AF_INET};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
	uint8_t data[ECHO_LEN];
	int r = s->fd < 0 ? open_socket(s) : 0;
	if (r < 0)
		return r;
	memcpy(&a4.sin_addr, to->bytes, 4);
	memcpy(&a6.sin6_addr, to->bytes, 16);
	echo_write(data, s->family, e->id, seq, e->token);
	const struct sockaddr *a = s->family == IP_V4 ? (void *)&a4 : (void *)&a6;
	socklen_t len = s->family == IP_V4 ? sizeof(a4) : sizeof(a6);
	return sendto(s->fd, data, sizeof(data), 0, a, len) < 0 ? -errno : 0;
}
