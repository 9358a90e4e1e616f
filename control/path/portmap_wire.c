#include "control/path/portmap_wire.h"

#include <errno.h>

enum {
	NATPMP_VERSION = 0,
	PCP_VERSION = 2,
	OP_EXTERNAL = 0, // NAT-PMP
	OP_ANNOUNCE = 0, // PCP
	OP_MAP = 1,	 // NAT-PMP: of UDP
	OP_RESPONSE = 0x80,
	PROTOCOL_UDP = 17,
};

struct natpmp_response {
	uint8_t version, opcode;
	rte_be16_t result;
	rte_be32_t epoch_s;
} __attribute__((packed));
static_assert(sizeof(struct natpmp_response) == 8, "RFC 6886 section 3.5");

struct natpmp_map_response {
	struct natpmp_response header;
	rte_be16_t local_port, external_port;
	rte_be32_t lifetime_s;
} __attribute__((packed));
static_assert(sizeof(struct natpmp_map_response) == 16, "RFC 6886 section 3.3");

struct pcp_response {
	uint8_t version, opcode, reserved, result;
	rte_be32_t lifetime_s;
	rte_be32_t epoch_s;
	uint8_t reserved2[12];
} __attribute__((packed));
static_assert(sizeof(struct pcp_response) == 24, "RFC 6887 section 7.2");

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static void write_mapped(uint8_t out[static 16], const struct ip_addr *a)
{
	memcpy(out, mapped_prefix, sizeof(mapped_prefix));
	memcpy(out + sizeof(mapped_prefix), a->bytes, 4); // of IP_NONE: 0.0.0.0, any
}

void natpmp_external_request_write(struct natpmp_external_request *out)
{
	*out = (struct natpmp_external_request){NATPMP_VERSION, OP_EXTERNAL};
}

void natpmp_map_request_write(struct natpmp_map_request *out, const struct portmap_want *want)
{
	*out = (struct natpmp_map_request){
		.version = NATPMP_VERSION,
		.opcode = OP_MAP,
		.local_port = rte_cpu_to_be_16(want->local_port),
		// Section 3.4: deleting has no wish.
		.wanted_port = rte_cpu_to_be_16(want->lifetime_s ? want->external_port : 0),
		.lifetime_s = rte_cpu_to_be_32(want->lifetime_s),
	};
}

void pcp_announce_request_write(struct pcp_request *out, const struct ip_addr *client)
{
	*out = (struct pcp_request){.version = PCP_VERSION, .opcode = OP_ANNOUNCE};
	write_mapped(out->client, client);
}

void pcp_map_request_write(struct pcp_map_request *out, const struct portmap_want *want)
{
	*out = (struct pcp_map_request){
		.header = {.version = PCP_VERSION,
			.opcode = OP_MAP,
			.lifetime_s = rte_cpu_to_be_32(want->lifetime_s)},
		.map = {.protocol = PROTOCOL_UDP,
			.local_port = rte_cpu_to_be_16(want->local_port),
			.external_port = rte_cpu_to_be_16(want->external_port)},
	};
	write_mapped(out->header.client, &want->client);
	memcpy(out->map.nonce, want->nonce, PCP_NONCE_LEN);
	write_mapped(out->map.external, &want->external);
}

static int parse_natpmp(const uint8_t *packet, size_t len, struct portmap_response *out)
{
	const struct natpmp_response *header = (const void *)packet;
	const struct natpmp_map_response *map = (const void *)packet;

	if (len < sizeof(*header))
		return -EBADMSG;
	if (header->opcode == (OP_RESPONSE | OP_EXTERNAL))
		out->kind = NATPMP_EXTERNAL;
	else if (header->opcode == (OP_RESPONSE | OP_MAP))
		out->kind = NATPMP_MAP;
	else
		return -EPROTO;
	out->result = rte_be_to_cpu_16(header->result);
	out->epoch_s = rte_be_to_cpu_32(header->epoch_s);
	if (out->result != PORTMAP_SUCCESS)
		return 0;
	if (out->kind == NATPMP_EXTERNAL) {
		if (len < sizeof(*header) + 4)
			return -EBADMSG;
		out->external = ip_addr_v4(packet + sizeof(*header));
		return 0;
	}
	if (len < sizeof(*map))
		return -EBADMSG;
	out->local_port = rte_be_to_cpu_16(map->local_port);
	out->external_port = rte_be_to_cpu_16(map->external_port);
	out->lifetime_s = rte_be_to_cpu_32(map->lifetime_s);
	return 0;
}

static int parse_pcp_map(const uint8_t *body, size_t len, struct portmap_response *out)
{
	const struct pcp_map *map = (const void *)body;

	if (len < sizeof(*map))
		return -EBADMSG;
	if (map->protocol != PROTOCOL_UDP ||
		memcmp(map->external, mapped_prefix, sizeof(mapped_prefix)) != 0)
		return -EPROTO;
	memcpy(out->nonce, map->nonce, PCP_NONCE_LEN);
	out->local_port = rte_be_to_cpu_16(map->local_port);
	out->external_port = rte_be_to_cpu_16(map->external_port);
	out->external = ip_addr_v4(map->external + sizeof(mapped_prefix));
	return 0;
}

static int parse_pcp(const uint8_t *packet, size_t len, struct portmap_response *out)
{
	const struct pcp_response *header = (const void *)packet;

	if (len < sizeof(*header))
		return -EBADMSG;
	if (header->opcode == (OP_RESPONSE | OP_ANNOUNCE))
		out->kind = PCP_ANNOUNCE;
	else if (header->opcode == (OP_RESPONSE | OP_MAP))
		out->kind = PCP_MAP;
	else
		return -EPROTO;
	out->result = header->result;
	out->epoch_s = rte_be_to_cpu_32(header->epoch_s);
	if (out->result != PORTMAP_SUCCESS || out->kind == PCP_ANNOUNCE)
		return 0;
	out->lifetime_s = rte_be_to_cpu_32(header->lifetime_s);
	return parse_pcp_map(packet + sizeof(*header), len - sizeof(*header), out);
}

int portmap_response_parse(const uint8_t *packet, size_t len, struct portmap_response *out)
{
	*out = (struct portmap_response){0};
	if (len < 1)
		return -EBADMSG;
	if (len > PORTMAP_RESPONSE_MAX)
		return -EPROTO;
	switch (packet[0]) {
	case NATPMP_VERSION:
		return parse_natpmp(packet, len, out);
	case PCP_VERSION:
		return parse_pcp(packet, len, out);
	}
	return -EPROTO;
}

const char *portmap_result_text(const struct portmap_response *r)
{
	static const char *const natpmp[] = {"success", "version not supported",
		"refused: switched off at the gateway", "the gateway has no address itself",
		"out of mappings", "operation not supported"};
	static const char *const pcp[] = {"success", "version not supported",
		"refused: switched off at the gateway", "malformed request",
		"operation not supported", "option not supported", "malformed option",
		"the gateway has no address itself", "out of mappings", "protocol not supported",
		"out of mappings for this host", "cannot provide the external address",
		"another NAT is between here and the gateway", "too many remote peers"};
	const bool is_pcp = r->kind == PCP_ANNOUNCE || r->kind == PCP_MAP;
	const size_t n = is_pcp ? sizeof(pcp) / sizeof(pcp[0]) : sizeof(natpmp) / sizeof(natpmp[0]);

	if (r->result >= n)
		return "unknown result";
	return is_pcp ? pcp[r->result] : natpmp[r->result];
}

// 0.0.0.0/8, multicast and broadcast are nobody's address.
static bool address_usable(const struct ip_addr *a)
{
	return a->bytes[0] != 0 && a->bytes[0] < 224;
}

int portmap_granted(const struct portmap_response *r, const struct portmap_want *want,
	uint64_t now_ns, struct portmap_lease *out)
{
	const uint64_t s = UINT64_C(1000000000);

	if (r->kind != NATPMP_MAP && r->kind != PCP_MAP)
		return -EPROTO;
	if (r->result != PORTMAP_SUCCESS)
		return -EACCES;
	if (r->local_port != want->local_port || r->external_port == 0 || r->lifetime_s == 0)
		return -EPROTO;
	if (r->kind == PCP_MAP && (memcmp(r->nonce, want->nonce, PCP_NONCE_LEN) != 0 ||
					  !address_usable(&r->external)))
		return -EPROTO;
	const uint32_t lifetime_s =
		r->lifetime_s < PORTMAP_LIFETIME_MAX_S ? r->lifetime_s : PORTMAP_LIFETIME_MAX_S;
	*out = (struct portmap_lease){
		.external = {.addr = r->external, .port = r->external_port},
		.lifetime_s = lifetime_s,
		.renew_ns = now_ns + lifetime_s * s / 2,
		.expires_ns = now_ns + lifetime_s * s,
	};
	return 0;
}

// It may run up to 1/8 slow, and fast as it likes.
static bool natpmp_continues(const struct portmap_epoch *e, uint64_t client_s, uint32_t server_s)
{
	return server_s + UINT64_C(2) >= e->server_s + client_s * 7 / 8;
}

// Each side may run 1/16 slower than the other.
static bool pcp_continues(const struct portmap_epoch *e, uint64_t client_s, uint32_t server_s)
{
	if (server_s + UINT64_C(1) < e->server_s)
		return false;
	const uint64_t server_delta = server_s > e->server_s ? server_s - e->server_s : 0;
	return client_s + 2 >= server_delta - server_delta / 16 &&
	       server_delta + 2 >= client_s - client_s / 16;
}

bool portmap_epoch_continues(
	struct portmap_epoch *e, enum portmap_kind kind, uint32_t server_s, uint64_t now_ns)
{
	const uint64_t client_s =
		now_ns > e->client_ns ? (now_ns - e->client_ns) / UINT64_C(1000000000) : 0;
	const bool pcp = kind == PCP_ANNOUNCE || kind == PCP_MAP;
	const bool continues = !e->known || (pcp ? pcp_continues(e, client_s, server_s)
						 : natpmp_continues(e, client_s, server_s));

	*e = (struct portmap_epoch){.known = true, .server_s = server_s, .client_ns = now_ns};
	return continues;
}
