#include "control/kernel/rtmsg.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <rte_byteorder.h>
#include <stddef.h>

enum {
	ATTRS = 64,	      // numbers above are not looked at; those that are read are below 48
	VXLAN_VNIFILTER = 30, // IFLA_VXLAN_VNIFILTER of Linux 5.18
	VNI_MAX = (1 << 24) - 1,
	NUD_USABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT,
};

struct attrs {
	const struct nlattr *at[ATTRS]; // NULL: not there
};

static int attrs_read(const void *from, size_t len, struct attrs *out)
{
	const struct nlattr *a = from;
	*out = (struct attrs){0};
	for (; mnl_attr_ok(a, (int)len); a = mnl_attr_next(a)) {
		if (mnl_attr_get_type(a) < ATTRS)
			out->at[mnl_attr_get_type(a)] = a;
		size_t step = MNL_ALIGN(a->nla_len);
		len -= step < len ? step : len;
	}
	return len ? -EINVAL : 0;
}

// Attributes behind a message's fixed part. -EINVAL also when that is cut short.
static int message_attrs(const struct nlmsghdr *nh, size_t fixed, struct attrs *out)
{
	size_t len = nh->nlmsg_len - NLMSG_HDRLEN;
	if (nh->nlmsg_len < NLMSG_HDRLEN || len < fixed)
		return -EINVAL;
	size_t start = MNL_ALIGN(fixed);
	return attrs_read((const uint8_t *)mnl_nlmsg_get_payload(nh) + start,
		len > start ? len - start : 0, out);
}

// A number of exactly n bytes; out stays as it is without the attribute.
static int read_fixed(const struct nlattr *a, void *out, size_t n)
{
	if (!a)
		return 0;
	if (mnl_attr_get_payload_len(a) != n)
		return -EINVAL;
	memcpy(out, mnl_attr_get_payload(a), n);
	return 0;
}

static int read_u32(const struct nlattr *a, uint32_t *out)
{
	return read_fixed(a, out, sizeof(*out));
}

static int read_u16(const struct nlattr *a, uint16_t *out)
{
	return read_fixed(a, out, sizeof(*out));
}

static int read_u8(const struct nlattr *a, uint8_t *out)
{
	return read_fixed(a, out, sizeof(*out));
}

// In network order there, in host order here.
static int read_be16(const struct nlattr *a, uint16_t *out)
{
	rte_be16_t port;
	if (!a)
		return 0;
	if (mnl_attr_get_payload_len(a) != sizeof(port))
		return -EINVAL;
	memcpy(&port, mnl_attr_get_payload(a), sizeof(port));
	*out = rte_be_to_cpu_16(port);
	return 0;
}

static enum ip_family family_of(unsigned char af)
{
	return af == AF_INET ? IP_V4 : af == AF_INET6 ? IP_V6 : IP_NONE;
}

static int read_addr(const struct nlattr *a, enum ip_family family, struct ip_addr *out)
{
	if (!a)
		return 0;
	if (mnl_attr_get_payload_len(a) != (family == IP_V4 ? 4 : 16))
		return -EINVAL;
	const void *bytes = mnl_attr_get_payload(a);
	*out = family == IP_V4 ? ip_addr_v4(bytes) : ip_addr_v6(bytes);
	return 0;
}

static int attrs_nested(const struct nlattr *a, struct attrs *out)
{
	return attrs_read(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), out);
}

static int vxlan_ports(const struct attrs *a, struct rt_vxlan *v)
{
	const struct nlattr *range = a->at[IFLA_VXLAN_PORT_RANGE];
	struct ifla_vxlan_port_range r;
	if (read_be16(a->at[IFLA_VXLAN_PORT], &v->port))
		return -EINVAL;
	if (!range)
		return 0;
	if (mnl_attr_get_payload_len(range) != sizeof(r))
		return -EINVAL;
	memcpy(&r, mnl_attr_get_payload(range), sizeof(r));
	v->port_min = rte_be_to_cpu_16(r.low);
	v->port_max = rte_be_to_cpu_16(r.high);
	return 0;
}

static int vxlan_flags(const struct attrs *a, struct rt_vxlan *v)
{
	static const uint16_t unusual[] = {IFLA_VXLAN_COLLECT_METADATA, IFLA_VXLAN_REMCSUM_TX,
		IFLA_VXLAN_REMCSUM_RX, VXLAN_VNIFILTER};
	uint8_t csum4 = 0, nocsum6 = 0, df = 0;
	if (read_u8(a->at[IFLA_VXLAN_UDP_CSUM], &csum4) ||
		read_u8(a->at[IFLA_VXLAN_UDP_ZERO_CSUM6_TX], &nocsum6) ||
		read_u8(a->at[IFLA_VXLAN_DF], &df) || read_u8(a->at[IFLA_VXLAN_TTL], &v->ttl) ||
		read_u8(a->at[IFLA_VXLAN_TOS], &v->tos))
		return -EINVAL;
	v->csum4 = csum4;
	v->nocsum6 = nocsum6;
	v->df = df;
	// Flags, there or not.
	v->plain = !a->at[IFLA_VXLAN_GBP] && !a->at[IFLA_VXLAN_GPE];
	for (unsigned i = 0; i < sizeof(unusual) / sizeof(unusual[0]); i++) {
		uint8_t on = 0;
		if (read_u8(a->at[unusual[i]], &on))
			return -EINVAL;
		v->plain &= !on;
	}
	return 0;
}

// data: IFLA_INFO_DATA. foreign: its datagrams belong to another network namespace.
static int read_vxlan(const struct nlattr *data, bool foreign, struct rt_vxlan *v)
{
	struct attrs a;
	memset(v, 0, sizeof(*v));
	if (attrs_nested(data, &a) || read_u32(a.at[IFLA_VXLAN_ID], &v->vni) ||
		read_u32(a.at[IFLA_VXLAN_LINK], &v->underlay) || vxlan_ports(&a, v) ||
		vxlan_flags(&a, v))
		return -EINVAL;
	if (read_addr(a.at[IFLA_VXLAN_LOCAL], IP_V4, &v->local) ||
		read_addr(a.at[IFLA_VXLAN_LOCAL6], IP_V6, &v->local) || v->vni > VNI_MAX)
		return -EINVAL;
	v->plain &= !foreign && v->port != 0;
	return 0;
}

static int read_bridge(const struct nlattr *data, struct rt_link *l)
{
	struct attrs a;
	uint8_t vlans = 0;
	uint32_t stp = 0;
	if (attrs_nested(data, &a) || read_u8(a.at[IFLA_BR_VLAN_FILTERING], &vlans) ||
		read_u32(a.at[IFLA_BR_STP_STATE], &stp))
		return -EINVAL;
	l->is_bridge = true;
	l->vlan_aware = vlans;
	l->stp = stp;
	return 0;
}

static bool is_kind(const struct nlattr *kind, const char *name)
{
	size_t len = strlen(name) + 1;
	return mnl_attr_get_payload_len(kind) == len &&
	       memcmp(mnl_attr_get_payload(kind), name, len) == 0;
}

static int read_linkinfo(const struct nlattr *info, bool foreign, struct rt_link *l)
{
	struct attrs a;
	if (!info)
		return 0;
	if (attrs_nested(info, &a))
		return -EINVAL;
	const struct nlattr *kind = a.at[IFLA_INFO_KIND], *data = a.at[IFLA_INFO_DATA];
	if (!kind || !data)
		return 0;
	if (is_kind(kind, "bridge"))
		return read_bridge(data, l);
	if (!is_kind(kind, "vxlan"))
		return 0;
	l->is_vxlan = true;
	return read_vxlan(data, foreign, &l->vxlan);
}

static int parse_link(const struct nlmsghdr *nh, struct rt_link *l)
{
	struct attrs a;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nh);
	if (message_attrs(nh, sizeof(*info), &a))
		return -EINVAL;
	if (info->ifi_family != AF_UNSPEC)
		return -ENOENT;
	if (info->ifi_index <= 0)
		return -EINVAL;
	*l = (struct rt_link){.ifindex = (uint32_t)info->ifi_index, .up = info->ifi_flags & IFF_UP};
	const struct nlattr *name = a.at[IFLA_IFNAME], *mac = a.at[IFLA_ADDRESS];
	if (!name) // a wireless event: nothing else in it
		return -ENOENT;
	if (mnl_attr_get_payload_len(name) > sizeof(l->name))
		return -EINVAL;
	memcpy(l->name, mnl_attr_get_payload(name), mnl_attr_get_payload_len(name));
	if (l->name[sizeof(l->name) - 1] != '\0')
		return -EINVAL;
	l->has_mac = mac && mnl_attr_get_payload_len(mac) == sizeof(l->mac);
	if (l->has_mac)
		memcpy(l->mac, mnl_attr_get_payload(mac), sizeof(l->mac));
	if (read_u32(a.at[IFLA_MTU], &l->mtu) || read_u32(a.at[IFLA_MASTER], &l->master))
		return -EINVAL;
	return read_linkinfo(a.at[IFLA_LINKINFO], a.at[IFLA_LINK_NETNSID], l);
}

static int parse_addr(const struct nlmsghdr *nh, struct rt_addr *r)
{
	struct attrs a;
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(nh);
	if (message_attrs(nh, sizeof(*info), &a))
		return -EINVAL;
	enum ip_family family = family_of(info->ifa_family);
	uint32_t flags = info->ifa_flags;
	if (family == IP_NONE)
		return -ENOENT;
	*r = (struct rt_addr){.ifindex = info->ifa_index, .scope = info->ifa_scope};
	r->local.len = info->ifa_prefixlen;
	const struct nlattr *local = a.at[IFA_LOCAL] ? a.at[IFA_LOCAL] : a.at[IFA_ADDRESS];
	if (!local || read_addr(local, family, &r->local.addr) ||
		read_u32(a.at[IFA_FLAGS], &flags) || r->local.len > ip_addr_bits(&r->local.addr))
		return -EINVAL;
	r->secondary = family == IP_V4 && (flags & IFA_F_SECONDARY);
	r->unready = flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED);
	return 0;
}

// RTA_GATEWAY, or RTA_VIA where the gateway is of the other family.
static int read_gateway(const struct attrs *a, enum ip_family family, struct ip_addr *out)
{
	const struct nlattr *via = a->at[RTA_VIA];
	if (!via)
		return read_addr(a->at[RTA_GATEWAY], family, out);
	const struct rtvia *v = mnl_attr_get_payload(via);
	size_t len = mnl_attr_get_payload_len(via);
	if (len < sizeof(*v))
		return -EINVAL;
	family = family_of((unsigned char)v->rtvia_family);
	if (family == IP_NONE || len - sizeof(*v) != (family == IP_V4 ? 4 : 16))
		return -EINVAL;
	*out = family == IP_V4 ? ip_addr_v4(v->rtvia_addr) : ip_addr_v6(v->rtvia_addr);
	return 0;
}

// IPv6 writes "no gateway" as :: in some messages.
static int add_hop(struct rt_route *r, const struct attrs *a, uint32_t ifindex, unsigned flags)
{
	static const uint8_t zero[16];
	struct rt_hop h = {.ifindex = ifindex, .dead = flags & RTNH_F_DEAD};
	if (read_gateway(a, r->dst.addr.family, &h.gateway))
		return -EINVAL;
	if (memcmp(h.gateway.bytes, zero, sizeof(zero)) == 0)
		h.gateway.family = IP_NONE;
	if (r->n_hops < RT_HOPS_MAX)
		r->hop[r->n_hops++] = h;
	return 0;
}

static int read_multipath(const struct nlattr *list, struct rt_route *r)
{
	const uint8_t *at = mnl_attr_get_payload(list);
	size_t left = mnl_attr_get_payload_len(list);
	while (left >= sizeof(struct rtnexthop)) {
		const struct rtnexthop *hop = (const void *)at;
		size_t len = hop->rtnh_len;
		struct attrs a;
		if (len < sizeof(*hop) || len > left ||
			attrs_read(at + sizeof(*hop), len - sizeof(*hop), &a) ||
			add_hop(r, &a, (uint32_t)hop->rtnh_ifindex, hop->rtnh_flags))
			return -EINVAL;
		size_t step = RTNH_ALIGN(len);
		at += step;
		left -= step < left ? step : left;
	}
	return left || r->n_hops == 0 ? -EINVAL : 0;
}

static int read_hops(const struct attrs *a, unsigned flags, struct rt_route *r)
{
	uint32_t ifindex = 0;
	if (a->at[RTA_MULTIPATH])
		return read_multipath(a->at[RTA_MULTIPATH], r);
	if (read_u32(a->at[RTA_OIF], &ifindex))
		return -EINVAL;
	return add_hop(r, a, ifindex, flags);
}

static int read_mtu(const struct nlattr *metrics, uint16_t *out)
{
	struct attrs a;
	uint32_t mtu = 0;
	if (!metrics)
		return 0;
	if (attrs_read(mnl_attr_get_payload(metrics), mnl_attr_get_payload_len(metrics), &a) ||
		read_u32(a.at[RTAX_MTU], &mtu))
		return -EINVAL;
	*out = (uint16_t)(mtu > UINT16_MAX ? UINT16_MAX : mtu);
	return 0;
}

static int parse_route(const struct nlmsghdr *nh, struct rt_route *r)
{
	struct attrs a;
	const struct rtmsg *info = mnl_nlmsg_get_payload(nh);
	if (message_attrs(nh, sizeof(*info), &a))
		return -EINVAL;
	enum ip_family family = family_of(info->rtm_family);
	if (family == IP_NONE || (info->rtm_flags & RTM_F_CLONED) || info->rtm_src_len ||
		info->rtm_tos)
		return -ENOENT;
	*r = (struct rt_route){.table = info->rtm_table,
		.type = info->rtm_type,
		.protocol = info->rtm_protocol,
		.dst.addr.family = family,
		.dst.len = info->rtm_dst_len};
	if (r->dst.len > ip_addr_bits(&r->dst.addr) || (r->dst.len > 0 && !a.at[RTA_DST]))
		return -EINVAL;
	if (read_addr(a.at[RTA_DST], family, &r->dst.addr) ||
		read_u32(a.at[RTA_TABLE], &r->table) || read_u32(a.at[RTA_PRIORITY], &r->metric) ||
		read_addr(a.at[RTA_PREFSRC], family, &r->prefsrc) ||
		read_mtu(a.at[RTA_METRICS], &r->mtu))
		return -EINVAL;
	if (!ip_prefix_contains(&r->dst, &r->dst.addr)) // host bits
		return -EINVAL;
	return read_hops(&a, info->rtm_flags, r);
}

static bool is_machine(const uint8_t mac[static 6])
{
	static const uint8_t none[6];
	return !(mac[0] & 1) && memcmp(mac, none, sizeof(none)) != 0;
}

static int parse_neigh(const struct nlmsghdr *nh, struct rt_neigh *n)
{
	struct attrs a;
	const struct ndmsg *info = mnl_nlmsg_get_payload(nh);
	if (message_attrs(nh, sizeof(*info), &a))
		return -EINVAL;
	enum ip_family family = family_of(info->ndm_family);
	if (family == IP_NONE || (info->ndm_flags & NTF_PROXY))
		return -ENOENT;
	*n = (struct rt_neigh){.ifindex = (uint32_t)info->ndm_ifindex};
	if (!a.at[NDA_DST] || read_addr(a.at[NDA_DST], family, &n->addr))
		return -EINVAL;
	const struct nlattr *mac = a.at[NDA_LLADDR];
	n->valid = (info->ndm_state & (NUD_USABLE | NUD_NOARP)) && mac &&
		   mnl_attr_get_payload_len(mac) == sizeof(n->mac);
	if (n->valid)
		memcpy(n->mac, mnl_attr_get_payload(mac), sizeof(n->mac));
	// Groups and broadcast are NOARP by themselves.
	n->valid &= !(info->ndm_state & NUD_NOARP) || is_machine(n->mac);
	return 0;
}

// Forwarding databases are told of in the shape of neighbours: a VXLAN device's entries have a
// destination, a bridge's have the bridge.
static int parse_fdb(const struct nlmsghdr *nh, struct rt_fdb *f)
{
	struct attrs a;
	const struct ndmsg *info = mnl_nlmsg_get_payload(nh);
	if (message_attrs(nh, sizeof(*info), &a))
		return -EINVAL;
	const struct nlattr *dst = a.at[NDA_DST], *mac = a.at[NDA_LLADDR];
	const struct nlattr *bridge = a.at[NDA_MASTER];
	if (!mac || info->ndm_ifindex <= 0 || !(dst || bridge || a.at[NDA_NH_ID]))
		return -ENOENT;
	*f = (struct rt_fdb){.ifindex = (uint32_t)info->ndm_ifindex};
	if (mnl_attr_get_payload_len(mac) != sizeof(f->mac))
		return -EINVAL;
	memcpy(f->mac, mnl_attr_get_payload(mac), sizeof(f->mac));
	if (!dst && bridge) {
		f->behind = f->ifindex;
		return read_u32(bridge, &f->ifindex) || read_u16(a.at[NDA_VLAN], &f->vlan) ? -EINVAL
											   : 0;
	}
	if (!dst)
		return 0;
	enum ip_family family = mnl_attr_get_payload_len(dst) == 4 ? IP_V4 : IP_V6;
	if (read_addr(dst, family, &f->remote) || read_be16(a.at[NDA_PORT], &f->port) ||
		read_u32(a.at[NDA_VNI], &f->vni) || f->vni > VNI_MAX)
		return -EINVAL;
	return 0;
}

// The VLANs of a port of a bridge, or of the bridge. One that has none says nothing of any.
static int parse_bridge_vlan(const struct nlmsghdr *nh, struct rt_bridge_vlan *out)
{
	enum { UNTAGGED = BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED };
	struct attrs a;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nh);
	const struct nlattr *vlan;
	if (message_attrs(nh, sizeof(*info), &a) || info->ifi_index <= 0)
		return -EINVAL;
	*out = (struct rt_bridge_vlan){.ifindex = (uint32_t)info->ifi_index};
	if (!a.at[IFLA_AF_SPEC])
		return 0;
	mnl_attr_for_each_nested(vlan, a.at[IFLA_AF_SPEC])
	{
		struct bridge_vlan_info v;
		if (mnl_attr_get_type(vlan) != IFLA_BRIDGE_VLAN_INFO)
			continue;
		if (mnl_attr_get_payload_len(vlan) != sizeof(v))
			return -EINVAL;
		memcpy(&v, mnl_attr_get_payload(vlan), sizeof(v));
		if ((v.flags & UNTAGGED) == UNTAGGED)
			out->untagged = v.vid;
	}
	return 0;
}

// Neighbours and links begin with their family.
static bool is_of_bridge(const struct nlmsghdr *nh)
{
	return nh->nlmsg_len > NLMSG_HDRLEN &&
	       *(const uint8_t *)mnl_nlmsg_get_payload(nh) == AF_BRIDGE;
}

const struct nlmsghdr *rt_next(const uint8_t **at, size_t *left)
{
	const struct nlmsghdr *nh = (const void *)*at;
	if (*left < NLMSG_HDRLEN || nh->nlmsg_len < NLMSG_HDRLEN || nh->nlmsg_len > *left)
		return NULL;
	size_t step = NLMSG_ALIGN((size_t)nh->nlmsg_len);
	if (step > *left)
		step = *left;
	*at += step;
	*left -= step;
	return nh;
}

int rt_parse(const struct nlmsghdr *nh, struct rt_message *out)
{
	*out = (struct rt_message){0};
	switch (nh->nlmsg_type) {
	case RTM_DELLINK:
	case RTM_NEWLINK:
		out->gone = nh->nlmsg_type == RTM_DELLINK;
		if (is_of_bridge(nh)) {
			out->kind = RT_BRIDGE_VLAN;
			return parse_bridge_vlan(nh, &out->vlan);
		}
		out->kind = RT_LINK;
		return parse_link(nh, &out->link);
	case RTM_DELADDR:
	case RTM_NEWADDR:
		out->kind = RT_ADDR;
		out->gone = nh->nlmsg_type == RTM_DELADDR;
		return parse_addr(nh, &out->addr);
	case RTM_DELROUTE:
	case RTM_NEWROUTE:
		out->kind = RT_ROUTE;
		out->gone = nh->nlmsg_type == RTM_DELROUTE;
		out->replace = nh->nlmsg_flags & NLM_F_REPLACE;
		return parse_route(nh, &out->route);
	case RTM_DELNEIGH:
	case RTM_NEWNEIGH:
		out->gone = nh->nlmsg_type == RTM_DELNEIGH;
		if (is_of_bridge(nh)) {
			out->kind = RT_FDB;
			return parse_fdb(nh, &out->fdb);
		}
		out->kind = RT_NEIGH;
		return parse_neigh(nh, &out->neigh);
	default:
		return -ENOENT;
	}
}
