// Endpoints and the kernel's socket addresses.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "dataplane/base/types.h"

// Returns its length.
static inline socklen_t dns_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (e->addr.family == IP_V4) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;
		in->sin_family = AF_INET;
		in->sin_port = htons(e->port);
		memcpy(&in->sin_addr, e->addr.bytes, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(e->port);
	memcpy(&in6->sin6_addr, e->addr.bytes, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

static inline struct ip_addr dns_address_of(const struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET)
		return ip_addr_v4(&((const struct sockaddr_in *)sa)->sin_addr);
	return ip_addr_v6(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}
