// Whatever the bytes: what the parsers accept lies within them, and the short cut of ip_parse and
// its general case agree.
#include "dataplane/wire/ether.h"
#include "dataplane/wire/ip.h"
#include "tests/fuzz/fuzz.h"

static void check_ip(const uint8_t *l3, uint32_t contig, uint32_t len)
{
	struct ip_info fast, slow;
	int err = ip_parse_chain(l3, contig, len, &fast);
	if (ip_parse_slow(l3, contig, len, &slow) != err)
		abort();
	if (err != 0)
		return;
	if (memcmp(&fast, &slow, sizeof(fast)) != 0 || fast.total_len > len ||
		fast.l3_len > fast.total_len || fast.l3_len > contig)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct ether_info ether;
	check_ip(data, (uint32_t)size, (uint32_t)size);
	check_ip(data, (uint32_t)size, (uint32_t)size + data[0] * 16);
	if (ether_parse(data, (uint32_t)size, &ether) == 0) {
		if (ether.l2_len > size)
			abort();
		check_ip(data + ether.l2_len, (uint32_t)size - ether.l2_len,
			(uint32_t)size - ether.l2_len);
	}
	return 0;
}
