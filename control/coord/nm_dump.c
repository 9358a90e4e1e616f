// The netmap as one MapResponse, as netmap_apply takes it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

// A text that grows.
struct text {
	char *bytes;
	size_t len, room;
};

static char *room_for(struct text *t, size_t len)
{
	if (t->len + len + 1 > t->room) {
		t->room = (t->len + len + 1) * 2;
		t->bytes = realloc(t->bytes, t->room);
		if (!t->bytes)
			abort();
	}
	return t->bytes + t->len;
}

static void put(struct text *t, const char *bytes, size_t len)
{
	memcpy(room_for(t, len), bytes, len);
	t->len += len;
	t->bytes[t->len] = '\0';
}

static void put_text(struct text *t, const char *text)
{
	put(t, text, strlen(text));
}

// As a JSON string. What we keep came out of jansson, so it is valid UTF-8.
static void put_string(struct text *t, const char *s)
{
	static const char hex[] = "0123456789abcdef";
	char *to = room_for(t, 6 * strlen(s) + 2); // each as \u0000

	*to++ = '"';
	for (; *s; s++) {
		const uint8_t c = (uint8_t)*s;
		if (c < ' ') {
			memcpy(to, "\\u00", 4);
			to[4] = hex[c >> 4];
			to[5] = hex[c & 15];
			to += 6;
			continue;
		}
		if (c == '"' || c == '\\')
			*to++ = '\\';
		*to++ = *s;
	}
	*to++ = '"';
	*to = '\0';
	t->len = (size_t)(to - t->bytes);
}

// ,"name":
static void put_name(struct text *t, const char *name)
{
	put_text(t, ",\"");
	put_text(t, name);
	put_text(t, "\":");
}

// ,"name":value; nothing without a value.
static void put_member(struct text *t, const char *name, const char *value)
{
	if (!value)
		return;
	put_name(t, name);
	put_text(t, value);
}

static void put_string_member(struct text *t, const char *name, const char *value)
{
	if (!value)
		return;
	put_name(t, name);
	put_string(t, value);
}

static void put_number(struct text *t, const char *name, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, n);
	put_member(t, name, n ? text : NULL);
}

static void put_flag(struct text *t, const char *name, bool flag)
{
	put_member(t, name, flag ? "true" : NULL);
}

static void put_time(struct text *t, const char *name, int64_t time)
{
	char text[TIME_TEXT_LEN];

	put_string_member(t, name, time ? time_format(time, text) : NULL);
}

static void put_key(struct text *t, const char *name, const char *prefix, const struct key *key)
{
	char text[TYPED_KEY_TEXT_LEN];

	put_string_member(t, name, key_is_zero(key) ? NULL : typed_key_format(key, prefix, text));
}

static void put_address(struct text *t, const char *name, const struct ip_addr *a)
{
	char text[ADDR_TEXT_LEN];

	put_string_member(t, name, a->family == IP_NONE ? NULL : ip_addr_format(a, text));
}

static void put_prefixes(struct text *t, const char *name, const struct ip_prefix *list, uint32_t n)
{
	char text[PREFIX_TEXT_LEN];

	put_name(t, name);
	put_text(t, "[");
	for (uint32_t i = 0; i < n; i++) {
		put_text(t, i ? "," : "");
		put_string(t, ip_prefix_format(&list[i], text));
	}
	put_text(t, "]");
}

static void put_lists(struct text *t, const struct nm_node *node)
{
	char text[ENDPOINT_TEXT_LEN];

	put_text(t, ",\"Endpoints\":[");
	for (uint32_t i = 0; i < node->n_endpoints; i++) {
		put_text(t, i ? "," : "");
		put_string(t, endpoint_format(&node->endpoints[i], text));
	}
	put_text(t, "],\"Tags\":[");
	for (uint32_t i = 0; i < node->n_tags; i++) {
		put_text(t, i ? "," : "");
		put_string(t, node->tags[i]);
	}
	put_text(t, "],\"CapMap\":{");
	for (uint32_t i = 0; i < node->n_caps; i++) {
		put_text(t, i ? "," : "");
		put_string(t, node->caps[i].name);
		put_text(t, ":");
		put_text(t, node->caps[i].values ? node->caps[i].values : "null");
	}
	put_text(t, "}");
	put_prefixes(t, "Addresses", node->addresses, node->n_addresses);
	put_prefixes(t, "AllowedIPs", node->allowed_ips, node->n_allowed_ips);
	put_prefixes(t, "PrimaryRoutes", node->primary_routes, node->n_primary_routes);
}

static void put_hostinfo(struct text *t, const struct nm_node *node)
{
	const struct {
		const char *proto;
		uint16_t port;
	} services[] = {{"peerapi4", node->peerapi4}, {"peerapi6", node->peerapi6},
		{"peerapi-dns-proxy", node->peerapi_dns}};
	bool first = true;

	put_text(t, ",\"Hostinfo\":{\"Services\":[");
	for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++) {
		char text[64];
		if (!services[i].port)
			continue;
		snprintf(text, sizeof(text), "%s{\"Proto\":\"%s\",\"Port\":%u}", first ? "" : ",",
			services[i].proto, services[i].port);
		put_text(t, text);
		first = false;
	}
	put_text(t, "]");
	put_string_member(t, "OS", node->os);
	put_string_member(t, "Hostname", node->hostname);
	put_string_member(t, "IPNVersion", node->version);
	put_flag(t, "PeerRelay", node->peer_relay);
	put_text(t, "}");
}

static void put_node(struct text *t, const struct nm_node *node)
{
	char id[32];

	snprintf(id, sizeof(id), "{\"ID\":%" PRId64, node->id);
	put_text(t, id);
	put_number(t, "User", node->user);
	put_number(t, "Sharer", node->sharer);
	put_number(t, "HomeDERP", node->home_derp);
	put_number(t, "Cap", node->cap);
	put_time(t, "KeyExpiry", node->key_expiry);
	put_time(t, "Created", node->created);
	put_time(t, "LastSeen", node->last_seen);
	put_string_member(t, "StableID", node->stable_id);
	put_string_member(t, "Name", node->name);
	put_string_member(t, "KeySignature", node->key_signature);
	put_string_member(t, "DataPlaneAuditLogID", node->audit_id);
	put_key(t, "Key", NM_NODE_KEY, &node->key);
	put_key(t, "Machine", NM_MACHINE_KEY, &node->machine);
	put_key(t, "DiscoKey", NM_DISCO_KEY, &node->disco);
	put_address(t, "SelfNodeV4MasqAddrForThisPeer", &node->masq_v4);
	put_address(t, "SelfNodeV6MasqAddrForThisPeer", &node->masq_v6);
	put_flag(t, "MachineAuthorized", node->machine_authorized);
	put_flag(t, "Expired", node->expired);
	put_flag(t, "IsWireGuardOnly", node->wg_only);
	put_flag(t, "IsJailed", node->jailed);
	put_flag(t, "UnsignedPeerAPIOnly", node->unsigned_peerapi_only);
	put_member(t, "ExitNodeDNSResolvers", node->exit_dns);
	put_lists(t, node);
	put_hostinfo(t, node);
	put_text(t, "}");
}

static void put_filter(struct text *t, const struct netmap *nm)
{
	put_text(t, ",\"PacketFilters\":{");
	for (size_t i = 0; i < nm->n_filter; i++) {
		put_text(t, i ? ",\"" : "\"");
		put_text(t, nm->filter[i].name);
		put_text(t, "\":");
		put_text(t, nm->filter[i].text);
	}
	put_text(t, "}");
}

static void put_users(struct text *t, const struct netmap *nm)
{
	put_text(t, ",\"UserProfiles\":[");
	for (size_t i = 0; i < nm->n_users; i++) {
		const struct nm_user *const u = &nm->users[i];
		char id[32];
		snprintf(id, sizeof(id), "%s{\"ID\":%" PRId64, i ? "," : "", u->id);
		put_text(t, id);
		put_string_member(t, "LoginName", u->login);
		put_string_member(t, "DisplayName", u->name);
		put_string_member(t, "ProfilePicURL", u->picture);
		put_text(t, "}");
	}
	put_text(t, "]");
}

static void put_derp(struct text *t, const struct netmap *nm)
{
	put_text(t, ",\"DERPMap\":{\"omitDefaultRegions\":");
	put_text(t, nm->derp.omit_default_regions ? "true" : "false");
	put_member(t, "Regions", nm->derp_regions_text);
	if (nm->derp_home_text) {
		put_text(t, ",\"HomeParams\":{\"RegionScore\":");
		put_text(t, nm->derp_home_text);
		put_text(t, "}");
	}
	put_text(t, "}");
}

char *netmap_dump(const struct netmap *nm, size_t *len)
{
	struct text t = {0};

	if (!nm->self)
		return NULL;
	put_text(&t, "{\"Node\":");
	put_node(&t, nm->self);
	put_text(&t, ",\"Peers\":[");
	for (size_t i = 0; i < nm->n_peers; i++) {
		put_text(&t, i ? "," : "");
		put_node(&t, nm->peers[i]->node);
	}
	put_text(&t, "]");
	if (nm->derp_regions_text || nm->derp_home_text)
		put_derp(&t, nm);
	put_member(&t, "DNSConfig", nm->dns_text);
	put_filter(&t, nm);
	put_users(&t, nm);
	put_member(&t, "Health", nm->health);
	put_member(&t, "DisplayMessages", nm->messages);
	put_member(&t, "ControlDialPlan", nm->dial_plan);
	put_member(&t, "SSHPolicy", nm->ssh_policy);
	put_string_member(&t, "Domain", nm->domain);
	put_string_member(&t, "DomainDataPlaneAuditLogID", nm->audit_id);
	put_text(&t, "}");
	*len = t.len;
	return t.bytes;
}
