#include "dataplane/port/kernel.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <unistd.h>

enum {
	LINK_REPLY = 16 * 1024, // bytes; one RTM_NEWLINK without VF list is about 2 KiB
};

int kernel_link_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return fd >= 0 ? fd : -errno;
}

// The request's bytes go out, its answer comes back into the same buffer.
static int link_talk(int netlink, struct nlmsghdr *nlh, char *buffer, mnl_cb_t cb, void *arg)
{
	static uint32_t seq; // ctl only
	nlh->nlmsg_seq = ++seq;
	if (send(netlink, nlh, nlh->nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t len = recv(netlink, buffer, LINK_REPLY, 0);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		// An answer to an earlier request that was given up is no longer ours.
		if (((struct nlmsghdr *)buffer)->nlmsg_seq != seq)
			continue;
		return mnl_cb_run(buffer, len, seq, 0, cb, arg) < 0 ? -errno : 0;
	}
}

static int link_attribute(const struct nlattr *attr, void *arg)
{
	struct kernel_link *out = arg;
	switch (mnl_attr_get_type(attr)) {
	case IFLA_MTU:
		if (mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			out->mtu = mnl_attr_get_u32(attr);
		break;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(attr) == sizeof(out->mac))
			memcpy(&out->mac, mnl_attr_get_payload(attr), sizeof(out->mac));
		break;
	case IFLA_STATS64:
		if (mnl_attr_get_payload_len(attr) >=
			offsetof(struct rtnl_link_stats64, multicast)) {
			struct rtnl_link_stats64 stats = {0};
			memcpy(&stats, mnl_attr_get_payload(attr),
				RTE_MIN(sizeof(stats), mnl_attr_get_payload_len(attr)));
			out->tx_dropped = stats.tx_dropped;
		}
		break;
	}
	return MNL_CB_OK;
}

static int link_message(const struct nlmsghdr *nlh, void *arg)
{
	struct kernel_link *out = arg;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
	if (nlh->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	out->ifindex = info->ifi_index;
	out->flags = info->ifi_flags;
	out->type = info->ifi_type;
	return mnl_attr_parse(nlh, sizeof(*info), link_attribute, out);
}

int kernel_link_get(int netlink, const char *name, struct kernel_link *out)
{
	char buffer[LINK_REPLY] = {0};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	*out = (struct kernel_link){0};
	return link_talk(netlink, nlh, buffer, link_message, out);
}

int kernel_link_set(int netlink, uint32_t ifindex, uint32_t mtu, const struct rte_ether_addr *mac)
{
	char buffer[LINK_REPLY] = {0};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
	info->ifi_index = ifindex;
	info->ifi_flags = info->ifi_change = IFF_UP;
	if (mtu != 0)
		mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	if (mac)
		mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(*mac), mac);
	return link_talk(netlink, nlh, buffer, NULL, NULL);
}
