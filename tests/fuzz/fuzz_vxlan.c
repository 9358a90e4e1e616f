// Whatever the bytes: what vxlan_parse accepts lies within them, and is what its parts say.
#include "dataplane/wire/vxlan.h"
#include "tests/fuzz/fuzz.h"

static void check_parse(const uint8_t *data, uint32_t contig, uint32_t len)
{
	struct ip_info ip, again;
	uint32_t vni = UINT32_MAX;
	enum vxlan_verdict v = vxlan_parse(data, contig, len, &vni, &ip);
	check(v < VXLAN_VERDICTS);
	if (v != VXLAN_OK)
		return;
	check(vni <= VXLAN_VNI_MAX);
	check(VXLAN_L3_AT + ip.l3_len <= contig && VXLAN_L3_AT + ip.total_len <= len);
	check(ip_parse_chain(data + VXLAN_L3_AT, contig - VXLAN_L3_AT, len - VXLAN_L3_AT, &again) ==
		0);
	check(memcmp(&ip, &again, sizeof(ip)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = exact_copy(data, size);
	check_parse(copy, (uint32_t)size, (uint32_t)size);
	check_parse(copy, (uint32_t)size, (uint32_t)size + 1000);
	check_parse(copy, (uint32_t)size / 2, (uint32_t)size);
	free(copy);
	return 0;
}
