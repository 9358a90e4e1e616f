// rtnetlink messages: those recorded in tests/vectors/rtnetlink.json, and those a test builds.
#pragma once

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>

#include "dataplane/base/types.h"
#include "tests/unit/vectors.h"

enum {
	MESSAGE_MAX = 4096,
};

// Number i of the recording into out (MESSAGE_MAX bytes); its length, 0 behind the last.
static inline size_t message(size_t i, uint8_t *out)
{
	json_t *root = vectors_load("rtnetlink.json");
	const json_t *m = json_array_get(json_object_get(root, "messages"), i);
	size_t len = m ? vectors_bytes(m, "message", out, MESSAGE_MAX) : 0;
	json_decref(root);
	return len;
}

// The message that a command led to; nth: of several.
static inline size_t message_of(const char *command, unsigned nth, uint8_t *out)
{
	json_t *root = vectors_load("rtnetlink.json");
	size_t i, len = 0;
	json_t *m;
	json_array_foreach(json_object_get(root, "messages"), i, m)
	{
		const char *text = json_string_value(json_object_get(m, "command"));
		if (strcmp(text, command) == 0 && nth-- == 0)
			len = vectors_bytes(m, "message", out, MESSAGE_MAX);
	}
	json_decref(root);
	if (len == 0)
		fail_msg("no record of %s", command);
	return len;
}

// A message in the making: the header is put first, then attributes to nh.
struct builder {
	alignas(8) uint8_t bytes[MESSAGE_MAX];
	struct nlmsghdr *nh;
};

// Begins one of a type. Returns the header of so many bytes behind netlink's, of zeros.
static inline void *begin(struct builder *b, uint16_t type, size_t fixed)
{
	b->nh = mnl_nlmsg_put_header(b->bytes);
	b->nh->nlmsg_type = type;
	return mnl_nlmsg_put_extra_header(b->nh, fixed);
}

static inline void put_addr(struct builder *b, uint16_t type, const struct ip_addr *a)
{
	mnl_attr_put(b->nh, type, ip_addr_bits(a) / 8, a->bytes);
}

static inline struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	if (ip_addr_parse(text, &a) < 0)
		fail_msg("%s", text);
	return a;
}

// All of a neighbour.
static inline void put_neigh(
	struct builder *b, uint32_t ifindex, const char *text, uint16_t state, uint8_t mac_end)
{
	uint8_t mac[6] = {6, 0, 0, 0, 0, mac_end};
	struct ip_addr a = addr(text);
	struct ndmsg *m = begin(b, RTM_NEWNEIGH, sizeof(*m));
	m->ndm_family = a.family == IP_V4 ? AF_INET : AF_INET6;
	m->ndm_ifindex = (int)ifindex;
	m->ndm_state = state;
	put_addr(b, NDA_DST, &a);
	mnl_attr_put(b->nh, NDA_LLADDR, sizeof(mac), mac);
}

// All of a link.
static inline void put_link(
	struct builder *b, uint32_t ifindex, uint32_t mtu, uint8_t mac_end, bool up)
{
	uint8_t mac[6] = {2, 0, 0, 0, 0, mac_end};
	struct ifinfomsg *m = begin(b, RTM_NEWLINK, sizeof(*m));
	m->ifi_index = (int)ifindex;
	m->ifi_flags = up ? IFF_UP : 0;
	mnl_attr_put_strz(b->nh, IFLA_IFNAME, "x");
	mnl_attr_put_u32(b->nh, IFLA_MTU, mtu);
	mnl_attr_put(b->nh, IFLA_ADDRESS, sizeof(mac), mac);
}
