// The netmap as one MapResponse, as netmap_apply takes it.
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

static void dump_text(json_t *o, const char *name, const char *text)
{
	if (text)
		json_object_set_new(o, name, json_string(text));
}

static void dump_number(json_t *o, const char *name, int64_t n)
{
	if (n)
		json_object_set_new(o, name, json_integer(n));
}

static void dump_flag(json_t *o, const char *name, bool flag)
{
	if (flag)
		json_object_set_new(o, name, json_true());
}

static void dump_time(json_t *o, const char *name, int64_t t)
{
	char text[TIME_TEXT_LEN];

	if (t)
		json_object_set_new(o, name, json_string(time_format(t, text)));
}

static void dump_key(json_t *o, const char *name, const char *prefix, const struct key *key)
{
	char text[TYPED_KEY_TEXT_LEN];

	if (!key_is_zero(key))
		json_object_set_new(o, name, json_string(typed_key_format(key, prefix, text)));
}

static void dump_prefixes(json_t *o, const char *name, const struct ip_prefix *list, uint32_t n)
{
	json_t *const array = json_array();
	char text[PREFIX_TEXT_LEN];

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(ip_prefix_format(&list[i], text)));
	json_object_set_new(o, name, array);
}

static void dump_address(json_t *o, const char *name, const struct ip_addr *a)
{
	char text[ADDR_TEXT_LEN];

	if (a->family != IP_NONE)
		json_object_set_new(o, name, json_string(ip_addr_format(a, text)));
}

static void dump_lists(json_t *o, const struct nm_node *node)
{
	json_t *const endpoints = json_array(), *const tags = json_array(), *caps = json_object();
	char text[ENDPOINT_TEXT_LEN];

	for (uint32_t i = 0; i < node->n_endpoints; i++)
		json_array_append_new(
			endpoints, json_string(endpoint_format(&node->endpoints[i], text)));
	for (uint32_t i = 0; i < node->n_tags; i++)
		json_array_append_new(tags, json_string(node->tags[i]));
	for (uint32_t i = 0; i < node->n_caps; i++)
		json_object_set_new(caps, node->caps[i].name,
			node->caps[i].values ? json_loads(node->caps[i].values, 0, NULL)
					     : json_null());
	json_object_set_new(o, "Endpoints", endpoints);
	json_object_set_new(o, "Tags", tags);
	json_object_set_new(o, "CapMap", caps);
	dump_prefixes(o, "Addresses", node->addresses, node->n_addresses);
	dump_prefixes(o, "AllowedIPs", node->allowed_ips, node->n_allowed_ips);
	dump_prefixes(o, "PrimaryRoutes", node->primary_routes, node->n_primary_routes);
}

static void dump_service(json_t *services, const char *proto, uint16_t port)
{
	if (port)
		json_array_append_new(
			services, json_pack("{s:s,s:i}", "Proto", proto, "Port", (int)port));
}

static json_t *dump_hostinfo(const struct nm_node *node)
{
	json_t *const h = json_object(), *const services = json_array();

	dump_text(h, "OS", node->os);
	dump_text(h, "Hostname", node->hostname);
	dump_text(h, "IPNVersion", node->version);
	dump_flag(h, "PeerRelay", node->peer_relay);
	dump_service(services, "peerapi4", node->peerapi4);
	dump_service(services, "peerapi6", node->peerapi6);
	dump_service(services, "peerapi-dns-proxy", node->peerapi_dns);
	json_object_set_new(h, "Services", services);
	return h;
}

json_t *nm_node_dump(const struct nm_node *node)
{
	json_t *const o = json_object();

	dump_number(o, "ID", node->id);
	dump_number(o, "User", node->user);
	dump_number(o, "Sharer", node->sharer);
	dump_number(o, "HomeDERP", node->home_derp);
	dump_number(o, "Cap", node->cap);
	dump_time(o, "KeyExpiry", node->key_expiry);
	dump_time(o, "Created", node->created);
	dump_time(o, "LastSeen", node->last_seen);
	dump_text(o, "StableID", node->stable_id);
	dump_text(o, "Name", node->name);
	dump_text(o, "KeySignature", node->key_signature);
	dump_text(o, "DataPlaneAuditLogID", node->audit_id);
	dump_key(o, "Key", NM_NODE_KEY, &node->key);
	dump_key(o, "Machine", NM_MACHINE_KEY, &node->machine);
	dump_key(o, "DiscoKey", NM_DISCO_KEY, &node->disco);
	dump_address(o, "SelfNodeV4MasqAddrForThisPeer", &node->masq_v4);
	dump_address(o, "SelfNodeV6MasqAddrForThisPeer", &node->masq_v6);
	dump_flag(o, "MachineAuthorized", node->machine_authorized);
	dump_flag(o, "Expired", node->expired);
	dump_flag(o, "IsWireGuardOnly", node->wg_only);
	dump_flag(o, "IsJailed", node->jailed);
	dump_flag(o, "UnsignedPeerAPIOnly", node->unsigned_peerapi_only);
	if (node->exit_dns)
		json_object_set_new(o, "ExitNodeDNSResolvers", json_loads(node->exit_dns, 0, NULL));
	dump_lists(o, node);
	json_object_set_new(o, "Hostinfo", dump_hostinfo(node));
	return o;
}

// A text that grows.
struct text {
	char *bytes;
	size_t len, room;
};

static void put(struct text *t, const char *bytes, size_t len)
{
	if (t->len + len + 1 > t->room) {
		t->room = (t->len + len + 1) * 2;
		t->bytes = realloc(t->bytes, t->room);
		if (!t->bytes)
			abort();
	}
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
	t->bytes[t->len] = '\0';
}

static void put_text(struct text *t, const char *text)
{
	put(t, text, strlen(text));
}

static int put_piece(const char *bytes, size_t len, void *arg)
{
	put(arg, bytes, len);
	return 0;
}

static void put_json(struct text *t, json_t *value)
{
	if (value)
		json_dump_callback(value, put_piece, t, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(value);
}

// ,"name":value; nothing without a value.
static void put_member(struct text *t, const char *name, const char *value)
{
	if (!value)
		return;
	put_text(t, ",\"");
	put_text(t, name);
	put_text(t, "\":");
	put_text(t, value);
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
		json_t *const o = json_object();
		json_object_set_new(o, "ID", json_integer(u->id));
		dump_text(o, "LoginName", u->login);
		dump_text(o, "DisplayName", u->name);
		dump_text(o, "ProfilePicURL", u->picture);
		put_text(t, i ? "," : "");
		put_json(t, o);
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
	put_json(&t, nm_node_dump(nm->self));
	put_text(&t, ",\"Peers\":[");
	for (size_t i = 0; i < nm->n_peers; i++) {
		put_text(&t, i ? "," : "");
		put_json(&t, nm_node_dump(nm->peers[i]->node));
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
	if (nm->domain) {
		put_text(&t, ",\"Domain\":");
		put_json(&t, json_string(nm->domain));
	}
	if (nm->audit_id) {
		put_text(&t, ",\"DomainDataPlaneAuditLogID\":");
		put_json(&t, json_string(nm->audit_id));
	}
	put_text(&t, "}");
	*len = t.len;
	return t.bytes;
}
