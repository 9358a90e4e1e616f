// rtnetlink messages: those recorded in tests/vectors/rtnetlink.json, and those a test builds.
#pragma once

#include <libmnl/libmnl.h>
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
