#include "control/path/stun.h"

#include <errno.h>

#include "dataplane/wire/classify_udp.h"

enum {
	MAPPED_HEADER_LEN = 4, // zero, family, port
	CRC_POLYNOMIAL = 0xedb88320,
};

// ITU V.42, as in zlib; 32 bytes per request are not worth a table.
static uint32_t crc32(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= b[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
	}
	return ~crc;
}

static struct stun_attribute_header attribute(enum stun_attribute type, size_t len)
{
	return (struct stun_attribute_header){
		.type = rte_cpu_to_be_16((uint16_t)type),
		.length = rte_cpu_to_be_16((uint16_t)len),
	};
}

void stun_request(const uint8_t txid[static STUN_TXID_LEN], struct stun_request *out)
{
	*out = (struct stun_request){
		.header = {.type = rte_cpu_to_be_16(STUN_TYPE_REQUEST),
			.length = rte_cpu_to_be_16(sizeof(*out) - STUN_HEADER_LEN),
			.magic = rte_cpu_to_be_32(STUN_MAGIC_COOKIE)},
		.software = attribute(STUN_SOFTWARE, sizeof(out->software_name)),
		.software_name = {'t', 'a', 'i', 'l', 'n', 'o', 'd', 'e'},
		.fingerprint = attribute(STUN_FINGERPRINT, sizeof(out->crc)),
	};
	memcpy(out->header.txid, txid, STUN_TXID_LEN);
	out->crc = rte_cpu_to_be_32(
		crc32(out, offsetof(struct stun_request, fingerprint)) ^ STUN_FINGERPRINT_XOR);
}

static struct ip_addr unmapped(const uint8_t addr[static 16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(addr, prefix, sizeof(prefix)) == 0 ? ip_addr_v4(addr + sizeof(prefix))
							 : ip_addr_v6(addr);
}

// mask: what port and address are XORed with, from the magic on; NULL for none.
static int parse_mapped(const uint8_t *value, size_t len, const uint8_t *mask, struct endpoint *out)
{
	uint8_t addr[16];

	if (len < MAPPED_HEADER_LEN)
		return -EBADMSG;
	const size_t addr_len = value[1] == STUN_FAMILY_IPV4 ? 4 : 16;
	if (value[1] != STUN_FAMILY_IPV4 && value[1] != STUN_FAMILY_IPV6)
		return -EBADMSG;
	if (len - MAPPED_HEADER_LEN < addr_len)
		return -EBADMSG;
	for (size_t i = 0; i < addr_len; i++)
		addr[i] = value[MAPPED_HEADER_LEN + i] ^ (mask ? mask[i] : 0);
	const unsigned port = (unsigned)(value[2] ^ (mask ? mask[0] : 0)) << 8 |
			      (unsigned)(value[3] ^ (mask ? mask[1] : 0));
	*out = (struct endpoint){
		.addr = addr_len == 4 ? ip_addr_v4(addr) : unmapped(addr),
		.port = (uint16_t)port,
	};
	return 0;
}

struct found {
	struct endpoint mapped, xor_mapped; // port 0: none
};

static int parse_attribute(const struct stun_header *header, unsigned type, const uint8_t *value,
	size_t len, struct found *found)
{
	const uint8_t *mask = (const uint8_t *)header + offsetof(struct stun_header, magic);

	switch (type) {
	case STUN_XOR_MAPPED_ADDRESS:
	case STUN_XOR_MAPPED_ADDRESS_ALT:
		return found->xor_mapped.port ? 0
					      : parse_mapped(value, len, mask, &found->xor_mapped);
	case STUN_MAPPED_ADDRESS:
		return found->mapped.port ? 0 : parse_mapped(value, len, NULL, &found->mapped);
	}
	return 0;
}

static int parse_attributes(
	const struct stun_header *header, const uint8_t *at, size_t left, struct found *found)
{
	while (left > 0) {
		struct stun_attribute_header attr;

		if (left < sizeof(attr))
			return -EBADMSG;
		memcpy(&attr, at, sizeof(attr));
		at += sizeof(attr);
		left -= sizeof(attr);
		const size_t len = rte_be_to_cpu_16(attr.length);
		const size_t padded = (len + 3) & ~(size_t)3;
		if (padded > left)
			return -EBADMSG;
		const int error =
			parse_attribute(header, rte_be_to_cpu_16(attr.type), at, len, found);
		if (error)
			return error;
		at += padded;
		left -= padded;
	}
	return 0;
}

int stun_response_parse(const uint8_t *packet, size_t len, uint8_t txid[static STUN_TXID_LEN],
	struct endpoint *mapped)
{
	const struct stun_header *header = (const void *)packet;
	struct found found = {0};

	if (!udp_is_stun(packet, len) || header->type != rte_cpu_to_be_16(STUN_TYPE_RESPONSE))
		return -EPROTO;
	const size_t attributes = rte_be_to_cpu_16(header->length);
	if (attributes > len - STUN_HEADER_LEN)
		return -EBADMSG;
	const int error = parse_attributes(header, packet + STUN_HEADER_LEN, attributes, &found);
	if (error)
		return error;
	const struct endpoint *best = found.xor_mapped.port ? &found.xor_mapped : &found.mapped;
	if (best->port == 0)
		return -EBADMSG;
	memcpy(txid, header->txid, STUN_TXID_LEN);
	*mapped = *best;
	return 0;
}
