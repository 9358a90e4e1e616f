#include "dataplane/base/via6.h"

#include <errno.h>

static const struct ip_prefix range = {
	.addr = {.bytes = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0x0b, 0x1a}, .family = IP_V6},
	.len = 64,
};

bool via6_is(const struct ip_prefix *p)
{
	return p->len >= VIA6_V4_BITS && ip_prefix_contains(&range, &p->addr);
}

int via6_map(uint32_t site, const struct ip_prefix *v4, struct ip_prefix *out)
{
	if (v4->addr.family != IP_V4)
		return -EINVAL;
	if (site > VIA6_SITE_MAX)
		return -ERANGE;
	*out = range;
	out->addr.bytes[10] = (uint8_t)(site >> 8);
	out->addr.bytes[11] = (uint8_t)site;
	memcpy(out->addr.bytes + 12, v4->addr.bytes, 4);
	out->len = (uint8_t)(VIA6_V4_BITS + v4->len);
	return 0;
}

int via6_split(const struct ip_prefix *p, uint32_t *site, struct ip_prefix *v4)
{
	const uint8_t *b = p->addr.bytes;
	if (!via6_is(p))
		return -EINVAL;
	*site = (uint32_t)b[8] << 24 | (uint32_t)b[9] << 16 | (uint32_t)b[10] << 8 | b[11];
	*v4 = (struct ip_prefix){.addr.family = IP_V4, .len = (uint8_t)(p->len - VIA6_V4_BITS)};
	memcpy(v4->addr.bytes, b + 12, 4);
	return 0;
}
