#include "control/net/bypass.h"

#include <event2/event.h>
#include <sys/socket.h>

void net_bypass(int fd)
{
	unsigned mark = 0;
	socklen_t len = sizeof(mark);
	if (getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &len) < 0)
		return;
	mark = (mark & ~(unsigned)NET_BYPASS_MASK) | NET_BYPASS_MARK;
	(void)!setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

static int each(const struct event_base *, const struct event *e, void *)
{
	int type = 0, family = 0, fd = event_get_fd(e);
	socklen_t len = sizeof(type);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_DGRAM)
		return 0;
	len = sizeof(family);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 &&
		(family == AF_INET || family == AF_INET6))
		net_bypass(fd);
	return 0;
}

void net_bypass_datagrams(struct event_base *base)
{
	event_base_foreach_event(base, each, NULL);
}
