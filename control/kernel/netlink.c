#include "control/kernel/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/time.h>

#include "control/kernel/rtmsg.h"

enum {
	REQUEST_MAX = 512, // bytes
	DUMP_MAX = 32768,  // one part of a dump
	CLEAR_AT_ONCE = 128,
	REPLY_MAX = 8192, // an error quotes the request
	REPLY_WAIT_S = 1, // the answer is there when the send returns; this bounds a surprise
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

struct place { // of a route
	uint8_t table;
	uint32_t ifindex; // 0: throw
};

static int route(struct netlink *n, uint16_t type, uint16_t flags, const struct ip_prefix *p,
	const struct place *at)
{
	struct request r;
	struct rtmsg *m = request_begin(&r, type, flags, sizeof(*m));
	bool on_link = at->ifindex && p->addr.family == IP_V4;
	m->rtm_family = af_of(&p->addr);
	m->rtm_dst_len = p->len;
	m->rtm_table = at->table;
	m->rtm_protocol = NETLINK_PROTOCOL;
	m->rtm_scope = on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	m->rtm_type = at->ifindex ? RTN_UNICAST : RTN_THROW;
	put_addr(&r, RTA_DST, &p->addr);
	if (at->ifindex)
		mnl_attr_put_u32(r.nh, RTA_OIF, at->ifindex);
	return request(n, &r);
}

static int route_add(struct netlink *n, const struct ip_prefix *p, const struct place *at)
{
	int error = route(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, p, at);
	if (error != -EEXIST)
		return error;
	// Ours from before? Deleting names protocol and interface, so it touches no other.
	error = route(n, RTM_DELROUTE, 0, p, at);
	return error ? -EEXIST : route(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, p, at);
}

int netlink_route_add(struct netlink *n, const struct ip_prefix *p, uint32_t ifindex)
{
	return route_add(n, p, &(struct place){RT_TABLE_MAIN, ifindex});
}

int netlink_route_del(struct netlink *n, const struct ip_prefix *p, uint32_t ifindex)
{
	return route(n, RTM_DELROUTE, 0, p, &(struct place){RT_TABLE_MAIN, ifindex});
}

int netlink_table_add(struct netlink *n, uint8_t table, const struct ip_prefix *p, uint32_t ifindex)
{
	return route_add(n, p, &(struct place){table, ifindex});
}

int netlink_table_del(struct netlink *n, uint8_t table, const struct ip_prefix *p, uint32_t ifindex)
{
	return route(n, RTM_DELROUTE, 0, p, &(struct place){table, ifindex});
}

// A throw route of ours in one message of a dump; false: something else.
static bool is_our_throw(const struct nlmsghdr *nh, uint8_t table, struct ip_prefix *out)
{
	struct rt_message msg;
	if (rt_parse(nh, &msg) || msg.kind != RT_ROUTE || msg.route.table != table ||
		msg.route.type != RTN_THROW || msg.route.protocol != NETLINK_PROTOCOL)
		return false;
	*out = msg.route.dst;
	return true;
}

// Up to max of them. -errno.
static int list_throws(struct netlink *n, uint8_t table, struct ip_prefix *out, int max)
{
	alignas(struct nlmsghdr) uint8_t reply[DUMP_MAX];
	struct request r;
	int found = 0;
	request_begin(&r, RTM_GETROUTE, NLM_F_DUMP, sizeof(struct rtmsg));
	int error = send_request(n, &r);
	if (error)
		return error;
	for (;;) {
		const uint8_t *at = reply;
		const struct nlmsghdr *nh;
		ssize_t len = mnl_socket_recvfrom(n->socket, reply, sizeof(reply));
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		for (size_t left = (size_t)len; (nh = rt_next(&at, &left));) {
			if (nh->nlmsg_seq != n->seq)
				continue;
			if (nh->nlmsg_type == NLMSG_DONE || nh->nlmsg_type == NLMSG_ERROR)
				return found;
			found += found < max && is_our_throw(nh, table, &out[found]);
		}
	}
}

int netlink_table_clear(struct netlink *n, uint8_t table)
{
	struct ip_prefix list[CLEAR_AT_ONCE];
	int found;
	do {
		found = list_throws(n, table, list, CLEAR_AT_ONCE);
		for (int i = 0; i < found; i++) {
			int error = netlink_table_del(n, table, &list[i], 0);
			if (error)
				return error;
		}
	} while (found == CLEAR_AT_ONCE);
	return found < 0 ? found : 0;
}

static int rule(struct netlink *n, uint16_t type, uint16_t flags, const struct netlink_rule *rule)
{
	struct request r;
	struct fib_rule_hdr *h = request_begin(&r, type, flags, sizeof(*h));
	h->family = rule->family == IP_V4 ? AF_INET : AF_INET6;
	h->action = rule->table ? FR_ACT_TO_TBL : FR_ACT_UNREACHABLE;
	h->table = rule->table;
	mnl_attr_put_u32(r.nh, FRA_PRIORITY, rule->priority);
	if (rule->mask) {
		mnl_attr_put_u32(r.nh, FRA_FWMARK, rule->mark);
		mnl_attr_put_u32(r.nh, FRA_FWMASK, rule->mask);
	}
	return request(n, &r);
}

int netlink_rule_add(struct netlink *n, const struct netlink_rule *r)
{
	int error = rule(n, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, r);
	return error == -EEXIST ? 0 : error;
}

int netlink_rule_del(struct netlink *n, const struct netlink_rule *r)
{
	return rule(n, RTM_DELRULE, 0, r);
}

static int addr(struct netlink *n, uint16_t type, uint16_t flags, const struct ip_ifaddr *a,
	uint32_t ifindex, bool local)
{
	struct request r;
	struct ifaddrmsg *m = request_begin(&r, type, flags, sizeof(*m));
	m->ifa_family = af_of(&a->addr);
	m->ifa_prefixlen = a->len;
	m->ifa_index = ifindex;
	m->ifa_flags = a->addr.family == IP_V6 ? IFA_F_NODAD : 0;
	put_addr(&r, IFA_LOCAL, &a->addr);
	put_addr(&r, IFA_ADDRESS, &a->addr);
	if (local && a->addr.family == IP_V4)
		m->ifa_scope = RT_SCOPE_HOST;
	// IPv6 has no such scope, but does not take what is deprecated.
	const struct ifa_cacheinfo life = {.ifa_valid = UINT32_MAX};
	if (local && a->addr.family == IP_V6)
		mnl_attr_put(r.nh, IFA_CACHEINFO, sizeof(life), &life);
	return request(n, &r);
}

int netlink_addr_add_local(struct netlink *n, const struct ip_ifaddr *a, uint32_t ifindex)
{
	int error = addr(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, a, ifindex, true);
	return error == -EEXIST ? 0 : error;
}

int netlink_addr_add(struct netlink *n, const struct ip_ifaddr *a, uint32_t ifindex)
{
	int error = addr(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, a, ifindex, false);
	return error == -EEXIST ? 0 : error;
}

int netlink_addr_del(struct netlink *n, const struct ip_ifaddr *a, uint32_t ifindex)
{
	return addr(n, RTM_DELADDR, 0, a, ifindex, false);
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
