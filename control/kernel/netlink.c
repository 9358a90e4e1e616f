#include "control/kernel/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/time.h>

enum {
	REQUEST_MAX = 512, // bytes
	REPLY_MAX = 8192,  // an error quotes the request
	REPLY_WAIT_S = 1,  // the answer is there when the send returns; this bounds a surprise
};

struct netlink {
	struct mnl_socket *socket;
	uint32_t seq;
};

struct request {
	alignas(struct nlmsghdr) uint8_t bytes[REQUEST_MAX];
	struct nlmsghdr *nh;
};

struct netlink *netlink_open(void)
{
	struct timeval wait = {.tv_sec = REPLY_WAIT_S};
	struct netlink *n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!n->socket)
		goto no_socket;
	if (mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
		setsockopt(mnl_socket_get_fd(n->socket), SOL_SOCKET, SO_RCVTIMEO, &wait,
			sizeof(wait)) < 0)
		goto no_bind;
	return n;
no_bind:
	mnl_socket_close(n->socket);
no_socket:
	free(n);
	return NULL;
}

void netlink_close(struct netlink *n)
{
	if (!n)
		return;
	mnl_socket_close(n->socket);
	free(n);
}

// A message of that type with its fixed part zeroed, which is returned.
static void *request_begin(struct request *r, uint16_t type, uint16_t flags, size_t fixed)
{
	r->nh = mnl_nlmsg_put_header(r->bytes);
	r->nh->nlmsg_type = type;
	r->nh->nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(r->nh, fixed);
}

static int send_request(struct netlink *n, struct request *r)
{
	r->nh->nlmsg_seq = ++n->seq;
	return mnl_socket_sendto(n->socket, r->nh, r->nh->nlmsg_len) < 0 ? -errno : 0;
}

// Late answers to requests that nobody waited for are skipped.
static int read_reply(struct netlink *n)
{
	alignas(struct nlmsghdr) uint8_t reply[REPLY_MAX];
	for (;;) {
		ssize_t len = mnl_socket_recvfrom(n->socket, reply, sizeof(reply));
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		const struct nlmsghdr *nh = (const void *)reply;
		if (!mnl_nlmsg_ok(nh, (int)len) || nh->nlmsg_seq != n->seq)
			continue;
		const struct nlmsgerr *err = mnl_nlmsg_get_payload(nh);
		if (nh->nlmsg_type == NLMSG_ERROR &&
			mnl_nlmsg_get_payload_len(nh) >= sizeof(err->error))
			return err->error;
	}
}

static int request(struct netlink *n, struct request *r)
{
	r->nh->nlmsg_flags |= NLM_F_ACK;
	int error = send_request(n, r);
	return error ? error : read_reply(n);
}

static unsigned char af_of(const struct ip_addr *a)
{
	return a->family == IP_V4 ? AF_INET : AF_INET6;
}

static void put_addr(struct request *r, uint16_t type, const struct ip_addr *a)
{
	mnl_attr_put(r->nh, type, ip_addr_bits(a) / 8, a->bytes);
}

static int route(struct netlink *n, uint16_t type, uint16_t flags, const struct ip_prefix *p,
	uint32_t ifindex)
{
	struct request r;
	struct rtmsg *m = request_begin(&r, type, flags, sizeof(*m));
	m->rtm_family = af_of(&p->addr);
	m->rtm_dst_len = p->len;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = NETLINK_PROTOCOL;
	m->rtm_scope = p->addr.family == IP_V4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	put_addr(&r, RTA_DST, &p->addr);
	mnl_attr_put_u32(r.nh, RTA_OIF, ifindex);
	return request(n, &r);
}

int netlink_route_add(struct netlink *n, const struct ip_prefix *p, uint32_t ifindex)
{
	int error = route(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, p, ifindex);
	if (error != -EEXIST)
		return error;
	// Ours from before? Deleting names protocol and interface, so it touches no other.
	error = route(n, RTM_DELROUTE, 0, p, ifindex);
	return error ? -EEXIST : route(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, p, ifindex);
}

int netlink_route_del(struct netlink *n, const struct ip_prefix *p, uint32_t ifindex)
{
	return route(n, RTM_DELROUTE, 0, p, ifindex);
}

static int addr(struct netlink *n, uint16_t type, uint16_t flags, const struct ip_ifaddr *a,
	uint32_t ifindex)
{
	struct request r;
	struct ifaddrmsg *m = request_begin(&r, type, flags, sizeof(*m));
	m->ifa_family = af_of(&a->addr);
	m->ifa_prefixlen = a->len;
	m->ifa_index = ifindex;
	m->ifa_flags = a->addr.family == IP_V6 ? IFA_F_NODAD : 0;
	put_addr(&r, IFA_LOCAL, &a->addr);
	put_addr(&r, IFA_ADDRESS, &a->addr);
	return request(n, &r);
}

int netlink_addr_add(struct netlink *n, const struct ip_ifaddr *a, uint32_t ifindex)
{
	int error = addr(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, a, ifindex);
	return error == -EEXIST ? 0 : error;
}

int netlink_addr_del(struct netlink *n, const struct ip_ifaddr *a, uint32_t ifindex)
{
	return addr(n, RTM_DELADDR, 0, a, ifindex);
}

int netlink_link_up(struct netlink *n, uint32_t ifindex)
{
	struct request r;
	struct ifinfomsg *m = request_begin(&r, RTM_NEWLINK, 0, sizeof(*m));
	m->ifi_index = (int)ifindex;
	m->ifi_flags = IFF_UP;
	m->ifi_change = IFF_UP;
	return request(n, &r);
}

int netlink_link_mtu(struct netlink *n, uint32_t ifindex, uint32_t mtu)
{
	struct request r;
	struct ifinfomsg *m = request_begin(&r, RTM_NEWLINK, 0, sizeof(*m));
	m->ifi_index = (int)ifindex;
	mnl_attr_put_u32(r.nh, IFLA_MTU, mtu);
	return request(n, &r);
}

int netlink_neigh_use(struct netlink *n, const struct ip_addr *a, uint32_t ifindex)
{
	struct request r;
	struct ndmsg *m = request_begin(&r, RTM_NEWNEIGH, NLM_F_CREATE, sizeof(*m));
	m->ndm_family = af_of(a);
	m->ndm_ifindex = (int)ifindex;
	m->ndm_state = NUD_NONE;
	m->ndm_flags = NTF_USE;
	put_addr(&r, NDA_DST, a);
	return request(n, &r);
}
