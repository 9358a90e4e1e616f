// 'tailscale ping': one ping per request.
#include <stdio.h>
#include <stdlib.h>

#include "control/ctl/local_priv.h"

enum {
	// Longer than the command waits (5 s unless told): it says that it timed out, and goes on.
	PING_TIMEOUT_MS = 15000,
	PING_SIZE_MAX = UINT16_MAX - 20 - 8, // a datagram without IPv4 and UDP header
};

struct ping {
	struct local_waiting *waiting;
	struct ip_addr to;
	enum tailnet_ping_type type;
};

// The first label of the DNS name, else the name it gives itself.
static json_t *name_of(const struct nm_node *n)
{
	if (n == NULL)
		return json_string("");
	if (n->name != NULL && *n->name != '\0')
		return json_stringn(n->name, strcspn(n->name, "."));
	return json_string(n->hostname != NULL ? n->hostname : "");
}

static json_t *error_of(const struct ip_addr *to, const struct tailnet_pong *pong)
{
	char text[ADDR_TEXT_LEN];

	if (pong->is_local && pong->error[0] == '\0')
		return json_sprintf("%s is local Tailscale IP", ip_addr_format(to, text));
	return json_string(pong->error);
}

static json_t *result(
	const struct tailnet *t, const struct ping *ping, const struct tailnet_pong *pong)
{
	const struct ip_addr *to = &ping->to;
	const struct nm_node *n = pong->peer != NULL ? pong->peer->node : NULL;
	char at[ENDPOINT_TEXT_LEN] = "", via[ENDPOINT_TEXT_LEN + 24] = "";
	json_t *o = json_object();

	if (pong->endpoint.port != 0)
		endpoint_format(&pong->endpoint, at);
	if (pong->relay_vni != 0)
		snprintf(via, sizeof(via), "%s:vni:%u", at, pong->relay_vni);
	json_object_set_new(o, "IP", local_address(to));
	// What went through the tunnel names the address that it went to.
	if (n != NULL && ping->type == TAILNET_PING_DISCO && n->n_addresses > 0)
		to = &n->addresses[0].addr;
	json_object_set_new(o, "NodeIP", n != NULL ? local_address(to) : json_string(""));
	json_object_set_new(o, "NodeName", name_of(n));
	json_object_set_new(o, "Err", error_of(&ping->to, pong));
	json_object_set_new(o, "LatencySeconds", json_real(pong->seconds));
	json_object_set_new(o, "Endpoint", json_string(pong->relay_vni == 0 ? at : ""));
	json_object_set_new(o, "PeerRelay", json_string(via));
	json_object_set_new(o, "DERPRegionID", json_integer(pong->derp_region));
	json_object_set_new(o, "DERPRegionCode",
		json_string(
			pong->derp_region != 0 ? tailnet_region_code(t, pong->derp_region) : ""));
	if (pong->peerapi_port != 0)
		json_object_set_new(o, "PeerAPIPort", json_integer(pong->peerapi_port));
	if (pong->peerapi_url[0] != '\0')
		json_object_set_new(o, "PeerAPIURL", json_string(pong->peerapi_url));
	if (pong->is_local)
		json_object_set_new(o, "IsLocalIP", json_true());
	return o;
}

static void on_pong(void *arg, const struct tailnet_pong *pong)
{
	struct ping *ping = arg;
	struct local_request r;

	if (local_resume(ping->waiting, &r))
		local_json(&r, HTTP_OK, result(r.t, ping, pong));
	free(ping);
}

static bool read_type(const char *text, enum tailnet_ping_type *out)
{
	static const char *const names[] = {
		[TAILNET_PING_DISCO] = "disco",
		[TAILNET_PING_TSMP] = "TSMP",
		[TAILNET_PING_ICMP] = "ICMP",
		[TAILNET_PING_PEERAPI] = "peerapi",
	};

	for (unsigned i = 0; i < RTE_DIM(names); i++)
		if (strcmp(names[i], text) == 0) {
			*out = (enum tailnet_ping_type)i;
			return true;
		}
	return false;
}

// Empty is 0.
static bool read_size(const char *text, unsigned *out)
{
	char *end = NULL;
	unsigned long n = text != NULL ? strtoul(text, &end, 10) : 0;

	if (text != NULL && (*end != '\0' || text[0] < '0' || text[0] > '9'))
		return false;
	*out = n <= PING_SIZE_MAX ? (unsigned)n : PING_SIZE_MAX + 1;
	return true;
}

// NULL, or what is wrong with the query.
static const char *read_query(const struct local_request *r, struct ip_addr *ip,
	enum tailnet_ping_type *type, unsigned *size)
{
	const char *ip_text = local_query(r, "ip"), *type_text = local_query(r, "type");

	if (ip_text == NULL)
		return "missing 'ip' parameter";
	if (ip_addr_parse(ip_text, ip) < 0)
		return "invalid IP";
	if (type_text == NULL)
		return "missing 'type' parameter";
	if (!read_type(type_text, type))
		return "invalid 'type' parameter";
	if (!read_size(local_query(r, "size"), size))
		return "invalid 'size' parameter";
	if (*size != 0 && *type != TAILNET_PING_DISCO)
		return "'size' parameter is only supported with disco pings";
	return *size <= PING_SIZE_MAX ? NULL : "value of 'size' is too big";
}

void local_handle_ping(struct local_request *r)
{
	enum tailnet_ping_type type;
	struct ip_addr ip;
	unsigned size;
	const char *wrong = read_query(r, &ip, &type, &size);

	if (wrong != NULL) {
		local_text(r, HTTP_BADREQUEST, "%s", wrong);
		return;
	}
	struct local_waiting *waiting = local_wait(r);
	if (waiting == NULL)
		return;
	struct ping *ping = malloc(sizeof(*ping));
	if (ping == NULL)
		abort();
	*ping = (struct ping){waiting, ip, type};
	tailnet_ping(r->t, &ip, type, size, PING_TIMEOUT_MS, on_pong, ping);
}
