#include "control/kernel/stack.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>
#include <sys/time.h>

#include "control/kernel/rtmsg.h"

enum {
	DUMP_PART_MAX = 32768, // bytes of one datagram of a dump
	DUMP_PARTS_MAX = 4096, // datagrams
	READ_TRIES = 5,	       // of a dump into which changes fall
	REPLY_WAIT_S = 2,
};

const struct stack_link *stack_find(const struct stack *s, uint32_t ifindex)
{
	for (unsigned i = 0; i < s->n && ifindex != 0; i++)
		if (s->link[i].ifindex == ifindex)
			return &s->link[i];
	return NULL;
}

const struct stack_link *stack_named(const struct stack *s, const char *name)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!s->link[i].odd_name && strcmp(s->link[i].name, name) == 0)
			return &s->link[i];
	return NULL;
}

static const struct stack_link *with_address(const struct stack *s, const struct ip_addr *a)
{
	for (unsigned i = 0; i < s->n && a->family != IP_NONE; i++)
		for (unsigned k = 0; k < s->link[i].n_addresses; k++)
			if (ip_addr_equal(&s->link[i].address[k].addr, a))
				return &s->link[i];
	return NULL;
}

const struct stack_link *stack_lower(const struct stack *s, const struct stack_link *l)
{
	if (l->lower_elsewhere)
		return NULL;
	if (l->lower != 0)
		return stack_find(s, l->lower);
	return l->kind == STACK_VXLAN ? with_address(s, &l->local) : NULL;
}

uint32_t stack_peer_mtu(const struct stack *s, const struct stack_link *l)
{
	const struct stack_link *peer = l->lower_elsewhere ? NULL : stack_find(s, l->lower);
	return peer != NULL ? peer->mtu : l->peer_mtu;
}

bool stack_is_plain_name(const char *name)
{
	const size_t len = strlen(name);
	if (len == 0 || len >= IFNAME_LEN || name[0] == '-' || name[0] == '.')
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') &&
			!(*c >= '0' && *c <= '9') && strchr("._-:", *c) == NULL)
			return false;
	return true;
}

// Whoever may make interfaces chooses their names, and ours are printed within commands.
static void set_name(struct stack_link *l, const char *name)
{
	memcpy(l->name, name, sizeof(l->name));
	l->name[sizeof(l->name) - 1] = '\0';
	if (stack_is_plain_name(l->name))
		return;
	l->odd_name = true;
	for (char *c = l->name; *c != '\0'; c++)
		if (strchr("'\"`$\\;&|<>", *c) != NULL || *c <= ' ' || *c > '~')
			*c = '?';
}

static uint32_t get_u32(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) == sizeof(uint32_t) ? mnl_attr_get_u32(attr) : 0;
}

static struct ip_addr get_address(const struct nlattr *attr, enum ip_family family)
{
	const size_t len = mnl_attr_get_payload_len(attr);
	if (family == IP_V4 && len == 4)
		return ip_addr_v4(mnl_attr_get_payload(attr));
	if (family == IP_V6 && len == 16)
		return ip_addr_v6(mnl_attr_get_payload(attr));
	return (struct ip_addr){.family = IP_NONE};
}

static int on_vxlan(const struct nlattr *attr, void *data)
{
	struct stack_link *l = data;
	switch (mnl_attr_get_type(attr)) {
	case IFLA_VXLAN_ID:
		l->vni = get_u32(attr);
		break;
	case IFLA_VXLAN_LINK:
		l->lower = get_u32(attr);
		break;
	case IFLA_VXLAN_LOCAL:
		l->local = get_address(attr, IP_V4);
		break;
	case IFLA_VXLAN_LOCAL6:
		l->local = get_address(attr, IP_V6);
		break;
	case IFLA_VXLAN_GROUP:
		l->remote = get_address(attr, IP_V4);
		break;
	case IFLA_VXLAN_GROUP6:
		l->remote = get_address(attr, IP_V6);
		break;
	}
	return MNL_CB_OK;
}

static enum stack_kind kind_of(const struct nlattr *attr)
{
	static const char *const kinds[STACK_KINDS] = {
		[STACK_BRIDGE] = "bridge",
		[STACK_VETH] = "veth",
		[STACK_VLAN] = "vlan",
		[STACK_VXLAN] = "vxlan",
		[STACK_TUN] = "tun",
		[STACK_WIREGUARD] = "wireguard",
	};
	if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
		return STACK_PLAIN;
	for (unsigned i = 0; i < STACK_KINDS; i++)
		if (kinds[i] != NULL && strcmp(mnl_attr_get_str(attr), kinds[i]) == 0)
			return i;
	return STACK_PLAIN;
}

// The kernel puts the kind before its data.
static int on_info(const struct nlattr *attr, void *data)
{
	struct stack_link *l = data;
	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
		l->kind = kind_of(attr);
	else if (mnl_attr_get_type(attr) == IFLA_INFO_DATA && l->kind == STACK_VXLAN)
		return mnl_attr_parse_nested(attr, on_vxlan, l);
	return MNL_CB_OK;
}

// The kernel's struct grows at its end.
static void get_counters(const struct nlattr *attr, struct stack_link *l)
{
	struct rtnl_link_stats64 stats;
	const size_t need =
		offsetof(struct rtnl_link_stats64, rx_dropped) + sizeof(stats.rx_dropped);
	if (mnl_attr_get_payload_len(attr) < need)
		return;
	memcpy(&stats, mnl_attr_get_payload(attr), need);
	l->rx_packets = stats.rx_packets;
	l->rx_dropped = stats.rx_dropped;
}

static int on_link(const struct nlattr *attr, void *data)
{
	struct stack_link *l = data;
	switch (mnl_attr_get_type(attr)) {
	case IFLA_LINK:
		l->lower = get_u32(attr);
		break;
	case IFLA_LINK_NETNSID:
		l->lower_elsewhere = true;
		l->netnsid = get_u32(attr);
		break;
	case IFLA_STATS64:
		get_counters(attr, l);
		break;
	case IFLA_MASTER:
		l->master = get_u32(attr);
		break;
	case IFLA_LINKINFO:
		return mnl_attr_parse_nested(attr, on_info, l);
	}
	return MNL_CB_OK;
}

static void feed_link(struct stack *s, const struct nlmsghdr *nh, const struct rt_link *seen)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nh);
	if (stack_find(s, seen->ifindex) != NULL)
		return;
	if (s->n == STACK_LINKS_MAX) {
		s->omitted++;
		return;
	}
	struct stack_link *l = &s->link[s->n];
	*l = (struct stack_link){.ifindex = seen->ifindex, .mtu = seen->mtu};
	if (info->ifi_flags & IFF_LOOPBACK)
		l->kind = STACK_LOOPBACK;
	if (mnl_attr_parse(nh, sizeof(*info), on_link, l) < 0)
		return;
	set_name(l, seen->name);
	s->n++;
}

static void feed_address(struct stack *s, const struct nlmsghdr *nh, const struct rt_addr *seen)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(nh);
	struct stack_link *l = (struct stack_link *)stack_find(s, seen->ifindex);
	if (l == NULL || l->n_addresses == STACK_ADDRESSES_MAX ||
		ip_addr_is_link_local(&seen->local.addr))
		return;
	l->address[l->n_addresses++] = (struct stack_address){
		.addr = seen->local.addr, .leased = !(info->ifa_flags & IFA_F_PERMANENT)};
}

static int error_of(const struct nlmsghdr *nh)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nh);
	if (mnl_nlmsg_get_payload_len(nh) < sizeof(*e) || e->error >= 0 || e->error < -4095)
		return -EPROTO;
	return e->error;
}

int stack_feed(struct stack *s, const uint8_t *bytes, size_t len)
{
	const struct nlmsghdr *nh;
	while ((nh = rt_next(&bytes, &len)) != NULL) {
		struct rt_message m;
		if (nh->nlmsg_flags & NLM_F_DUMP_INTR)
			return -EINTR;
		if (nh->nlmsg_type == NLMSG_DONE)
			return 1;
		if (nh->nlmsg_type == NLMSG_ERROR)
			return error_of(nh);
		if (rt_parse(nh, &m) < 0 || m.gone)
			continue;
		if (m.kind == RT_LINK)
			feed_link(s, nh, &m.link);
		else if (m.kind == RT_ADDR)
			feed_address(s, nh, &m.addr);
	}
	return 0;
}

void stack_feed_peer(struct stack_link *l, const uint8_t *bytes, size_t len)
{
	struct rt_message m;
	const struct nlmsghdr *nh = rt_next(&bytes, &len);
	if (nh == NULL)
		return;
	if (nh->nlmsg_type == NLMSG_ERROR)
		l->peer_hidden = error_of(nh) != -ENODEV; // else its pod has just ended
	else if (rt_parse(nh, &m) == 0 && m.kind == RT_LINK && !m.gone)
		l->peer_mtu = m.link.mtu;
}

static int dump(struct mnl_socket *socket, uint16_t type, uint32_t seq, struct stack *out)
{
	alignas(struct nlmsghdr) uint8_t part[DUMP_PART_MAX];
	struct nlmsghdr *nh = mnl_nlmsg_put_header(part);
	nh->nlmsg_type = type;
	nh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nh->nlmsg_seq = seq;
	struct rtgenmsg *gen = mnl_nlmsg_put_extra_header(nh, sizeof(struct ifinfomsg));
	gen->rtgen_family = AF_UNSPEC;
	if (mnl_socket_sendto(socket, nh, nh->nlmsg_len) < 0)
		return -errno;
	for (unsigned i = 0; i < DUMP_PARTS_MAX; i++) {
		ssize_t n = mnl_socket_recvfrom(socket, part, sizeof(part));
		if (n < 0)
			return -errno;
		int end = stack_feed(out, part, n);
		if (end != 0)
			return end < 0 ? end : 0;
	}
	return -E2BIG;
}

// Whose answer is missed would be taken for the next one's: hence the error.
static int read_peer(struct mnl_socket *socket, struct stack_link *l, uint32_t seq)
{
	alignas(struct nlmsghdr) uint8_t part[DUMP_PART_MAX];
	struct nlmsghdr *nh = mnl_nlmsg_put_header(part);
	nh->nlmsg_type = RTM_GETLINK;
	nh->nlmsg_flags = NLM_F_REQUEST;
	nh->nlmsg_seq = seq;
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(nh, sizeof(*info));
	info->ifi_index = (int)l->lower;
	mnl_attr_put_u32(nh, IFLA_TARGET_NETNSID, l->netnsid);
	if (mnl_socket_sendto(socket, nh, nh->nlmsg_len) < 0)
		return -errno;
	ssize_t n = mnl_socket_recvfrom(socket, part, sizeof(part));
	if (n < 0)
		return -errno;
	stack_feed_peer(l, part, n);
	return 0;
}

static int read_peers(struct mnl_socket *socket, struct stack *s)
{
	int error = 0;
	for (unsigned i = 0; error == 0 && i < s->n; i++) {
		struct stack_link *l = &s->link[i];
		if (l->kind == STACK_VETH && l->master != 0 && l->lower_elsewhere)
			error = read_peer(socket, l, i);
	}
	return error;
}

// A socket whose answers do not come too late. 0 or -errno.
static int open_socket(struct mnl_socket **out)
{
	struct timeval wait = {.tv_sec = REPLY_WAIT_S};
	*out = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (*out == NULL)
		return -errno;
	if (mnl_socket_bind(*out, 0, MNL_SOCKET_AUTOPID) == 0 &&
		setsockopt(mnl_socket_get_fd(*out), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) ==
			0)
		return 0;
	int error = -errno;
	mnl_socket_close(*out);
	return error;
}

static int read_once(struct stack *out)
{
	struct mnl_socket *socket;
	out->n = out->omitted = 0;
	int error = open_socket(&socket);
	if (error < 0)
		return error;
	error = dump(socket, RTM_GETLINK, 1, out);
	if (error == 0)
		error = dump(socket, RTM_GETADDR, 2, out);
	if (error == 0)
		error = read_peers(socket, out);
	mnl_socket_close(socket);
	return error;
}

int stack_read(struct stack *out)
{
	int error = -EINTR;
	for (unsigned i = 0; error == -EINTR && i < READ_TRIES; i++)
		error = read_once(out);
	return error;
}

static int on_netnsid(const struct nlattr *attr, void *data)
{
	uint32_t *netnsid = data;
	if (mnl_attr_get_type(attr) == NETNSA_NSID)
		*netnsid = get_u32(attr);
	return MNL_CB_OK;
}

int stack_feed_netnsid(const uint8_t *bytes, size_t len, uint32_t *netnsid)
{
	const struct nlmsghdr *nh = rt_next(&bytes, &len);
	if (nh == NULL)
		return -EPROTO;
	if (nh->nlmsg_type == NLMSG_ERROR)
		return error_of(nh);
	*netnsid = UINT32_MAX; // NETNSA_NSID_NOT_ASSIGNED
	if (nh->nlmsg_type != RTM_NEWNSID ||
		mnl_nlmsg_get_payload_len(nh) < sizeof(struct rtgenmsg) ||
		mnl_attr_parse(nh, sizeof(struct rtgenmsg), on_netnsid, netnsid) < 0)
		return -EPROTO;
	return *netnsid == UINT32_MAX ? -ENOENT : 0;
}

int stack_netnsid_of(uint32_t pid, uint32_t *netnsid)
{
	alignas(struct nlmsghdr) uint8_t part[DUMP_PART_MAX];
	struct mnl_socket *socket;
	int error = open_socket(&socket);
	if (error < 0)
		return error;
	struct nlmsghdr *nh = mnl_nlmsg_put_header(part);
	nh->nlmsg_type = RTM_GETNSID;
	nh->nlmsg_flags = NLM_F_REQUEST;
	mnl_nlmsg_put_extra_header(nh, sizeof(struct rtgenmsg));
	mnl_attr_put_u32(nh, NETNSA_PID, pid);
	ssize_t n = mnl_socket_sendto(socket, nh, nh->nlmsg_len);
	if (n >= 0)
		n = mnl_socket_recvfrom(socket, part, sizeof(part));
	error = n < 0 ? -errno : stack_feed_netnsid(part, n, netnsid);
	mnl_socket_close(socket);
	return error;
}
