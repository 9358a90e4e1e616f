// Whatever the bytes: what icmp_quote_read accepts says too big with a right checksum, about a
// datagram that lies within them.
#include "dataplane/wire/icmp_quote.h"
#include "tests/fuzz/fuzz.h"

#include "dataplane/wire/csum.h"

static void check_read(const uint8_t *data, size_t size)
{
	struct icmp_quote q;
	struct ip_info ip;
	if (icmp_quote_read(data, size, &q) < 0)
		return;
	check(ip_parse(data, (uint32_t)size, &ip) == 0 && ip.total_len <= size);
	check(icmp_is_too_big((enum ip_family)ip.family, data + ip.l3_len));
	check(q.mtu > 0 && q.from.addr.family == ip.family && q.to.addr.family == ip.family);
	check(q.payload >= data + ip.l3_len + 8 + UDP_HDR_LEN);
	check(q.payload + q.len == data + ip.total_len);
}

// The checksum is set right, or nothing would get beyond it.
static void mend(uint8_t *data, size_t size)
{
	struct ip_info ip;
	if (size > UINT16_MAX || ip_parse(data, (uint32_t)size, &ip) < 0 ||
		ip.total_len < ip.l3_len + 4u)
		return;
	uint32_t len = ip.total_len - ip.l3_len;
	uint64_t sum = ip.family == IP_V6 ? csum_pseudo6(data, IPPROTO_ICMPV6, len) : 0;
	memset(data + ip.l3_len + 2, 0, 2);
	uint16_t csum = csum_finish(csum_add(data + ip.l3_len, len, sum));
	memcpy(data + ip.l3_len + 2, &csum, sizeof(csum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = exact_copy(data, size);
	check_read(copy, size);
	mend(copy, size);
	check_read(copy, size);
	free(copy);
	return 0;
}
