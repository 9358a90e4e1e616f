// The netmap's parts as JSON, in the forms of tailcfg.
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "control/coord/json.h"
#include "control/ctl/local_priv.h"

enum {
	STUN_PORT = 3478,
	DERP_PORT = 443,
};

json_t *local_time(uint64_t unix_ns)
{
	char text[LOCAL_TIME_LEN], seconds[TIME_TEXT_LEN];
	unsigned ns = (unsigned)(unix_ns % NS_PER_S);
	int digits = 9;

	time_format((int64_t)(unix_ns / NS_PER_S), seconds);
	if (ns == 0)
		return json_string(seconds);
	for (; ns % 10 == 0; ns /= 10)
		digits--;
	snprintf(text, sizeof(text), "%.*s.%0*uZ", (int)strlen(seconds) - 1, seconds, digits, ns);
	return json_string(text);
}

static json_t *time_of_seconds(int64_t seconds)
{
	char text[TIME_TEXT_LEN];

	return json_string(time_format(seconds, text));
}

json_t *local_address(const struct ip_addr *addr)
{
	char text[ADDR_TEXT_LEN];

	return json_string(addr->family != IP_NONE ? ip_addr_format(addr, text) : "");
}

json_t *local_prefixes(const struct ip_prefix *list, uint32_t n)
{
	json_t *array = json_array();
	char text[PREFIX_TEXT_LEN];

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(ip_prefix_format(&list[i], text)));
	return array;
}

json_t *local_texts(const char *const *list, uint32_t n)
{
	json_t *array = n > 0 ? json_array() : json_null();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

json_t *local_key(const struct key *key, const char *prefix)
{
	char text[TYPED_KEY_TEXT_LEN];

	return json_string(typed_key_format(key, prefix, text));
}

json_t *local_caps(const struct nm_cap *caps, uint32_t n, bool null_as_list)
{
	json_t *map = json_object();

	for (uint32_t i = 0; i < n; i++) {
		json_t *values =
			caps[i].values != NULL ? json_loads(caps[i].values, 0, NULL) : NULL;
		if (values == NULL)
			values = null_as_list ? json_array() : json_null();
		json_object_set_new(map, caps[i].name, values);
	}
	return map;
}

void local_suffix(const char *fqdn, char *to, size_t room)
{
	const char *dot = fqdn != NULL ? strchr(fqdn, '.') : NULL;

	snprintf(to, room, "%s", dot != NULL ? dot + 1 : "");
	size_t n = strlen(to);
	if (n > 0 && to[n - 1] == '.')
		to[n - 1] = '\0';
}

const struct nm_user *local_user_of(const struct netmap *nm, int64_t id)
{
	for (size_t i = 0; i < nm->n_users; i++)
		if (nm->users[i].id == id)
			return &nm->users[i];
	return NULL;
}

static void set_text(json_t *object, const char *name, const char *text)
{
	if (text != NULL && *text != '\0')
		json_object_set_new(object, name, json_string(text));
}

static void set_flag(json_t *object, const char *name, bool value)
{
	if (value)
		json_object_set_new(object, name, json_true());
}

static void set_number(json_t *object, const char *name, int64_t value)
{
	if (value != 0)
		json_object_set_new(object, name, json_integer(value));
}

static void add_service(json_t *services, const char *proto, uint16_t port)
{
	if (port != 0)
		json_array_append_new(
			services, json_pack("{s:s, s:i}", "Proto", proto, "Port", port));
}

static json_t *hostinfo_of(const struct nm_node *node)
{
	json_t *info = json_object(), *services = json_array();

	set_text(info, "IPNVersion", node->version);
	set_text(info, "OS", node->os);
	set_text(info, "Hostname", node->hostname);
	add_service(services, "peerapi4", node->peerapi4);
	add_service(services, "peerapi6", node->peerapi6);
	add_service(services, "peerapi-dns-proxy", node->peerapi_dns);
	if (json_array_size(services) > 0)
		json_object_set(info, "Services", services);
	json_decref(services);
	return info;
}

static json_t *endpoints_of(const struct nm_node *node)
{
	json_t *array = json_array();
	char text[ENDPOINT_TEXT_LEN];

	for (uint32_t i = 0; i < node->n_endpoints; i++)
		json_array_append_new(
			array, json_string(endpoint_format(&node->endpoints[i], text)));
	return array;
}

// Who it is, and where.
static json_t *identity_of(const struct nm_node *node)
{
	json_t *o = json_object();

	json_object_set_new(o, "ID", json_integer(node->id));
	json_object_set_new(
		o, "StableID", json_string(node->stable_id != NULL ? node->stable_id : ""));
	json_object_set_new(o, "Name", json_string(node->name != NULL ? node->name : ""));
	json_object_set_new(o, "User", json_integer(node->user));
	set_number(o, "Sharer", node->sharer);
	json_object_set_new(o, "Key", local_key(&node->key, "nodekey:"));
	json_object_set_new(o, "KeyExpiry", time_of_seconds(node->key_expiry));
	json_object_set_new(o, "Machine", local_key(&node->machine, "mkey:"));
	if (!key_is_zero(&node->disco))
		json_object_set_new(o, "DiscoKey", local_key(&node->disco, "discokey:"));
	json_object_set_new(o, "Addresses", local_prefixes(node->addresses, node->n_addresses));
	json_object_set_new(
		o, "AllowedIPs", local_prefixes(node->allowed_ips, node->n_allowed_ips));
	if (node->n_endpoints > 0)
		json_object_set_new(o, "Endpoints", endpoints_of(node));
	set_number(o, "HomeDERP", node->home_derp);
	return o;
}

json_t *local_node(const struct nm_node *node)
{
	json_t *o = identity_of(node);
	const char *name = node->name != NULL ? node->name : "";

	json_object_set_new(o, "Hostinfo", hostinfo_of(node));
	json_object_set_new(o, "Created", time_of_seconds(node->created));
	set_number(o, "Cap", node->cap);
	if (node->n_tags > 0)
		json_object_set_new(o, "Tags", local_texts(node->tags, node->n_tags));
	if (node->n_primary_routes > 0)
		json_object_set_new(o, "PrimaryRoutes",
			local_prefixes(node->primary_routes, node->n_primary_routes));
	if (node->last_seen != 0)
		json_object_set_new(o, "LastSeen", time_of_seconds(node->last_seen));
	if (node->online != NM_ONLINE_UNKNOWN)
		json_object_set_new(o, "Online", json_boolean(node->online == NM_ONLINE));
	set_flag(o, "MachineAuthorized", node->machine_authorized);
	if (node->n_caps > 0)
		json_object_set_new(o, "CapMap", local_caps(node->caps, node->n_caps, false));
	json_object_set_new(o, "ComputedName", json_stringn(name, strcspn(name, ".")));
	json_object_set_new(o, "ComputedNameWithHost", json_stringn(name, strcspn(name, ".")));
	set_flag(o, "Expired", node->expired);
	set_flag(o, "IsWireGuardOnly", node->wg_only);
	set_flag(o, "IsJailed", node->jailed);
	return o;
}

json_t *local_user(const struct nm_user *user)
{
	json_t *o = json_object();

	json_object_set_new(o, "ID", json_integer(user->id));
	json_object_set_new(o, "LoginName", json_string(user->login != NULL ? user->login : ""));
	json_object_set_new(o, "DisplayName", json_string(user->name != NULL ? user->name : ""));
	set_text(o, "ProfilePicURL", user->picture);
	return o;
}

static json_t *derp_node(const struct nm_derp_node *node, uint32_t region)
{
	json_t *o = json_object();

	json_object_set_new(o, "Name", json_string(node->name != NULL ? node->name : ""));
	json_object_set_new(o, "RegionID", json_integer(region));
	json_object_set_new(o, "HostName", json_string(node->host));
	set_text(o, "CertName", node->cert);
	set_text(o, "IPv4", node->ipv4);
	set_text(o, "IPv6", node->ipv6);
	if (node->stun_port != STUN_PORT) // -1: none
		set_number(o, "STUNPort", node->stun_port != 0 ? node->stun_port : -1);
	set_flag(o, "STUNOnly", node->stun_only);
	if (node->derp_port != DERP_PORT)
		set_number(o, "DERPPort", node->derp_port);
	set_flag(o, "InsecureForTests", node->insecure);
	set_flag(o, "CanPort80", node->port_80);
	return o;
}

static json_t *derp_region(const struct nm_derp_region *region)
{
	json_t *o = json_object(), *nodes = json_array();

	json_object_set_new(o, "RegionID", json_integer(region->id));
	json_object_set_new(o, "RegionCode", json_string(region->code != NULL ? region->code : ""));
	json_object_set_new(o, "RegionName", json_string(region->name != NULL ? region->name : ""));
	set_flag(o, "Avoid", region->avoid);
	set_flag(o, "NoMeasureNoHome", region->no_measure_no_home);
	for (uint32_t i = 0; i < region->n_nodes; i++)
		json_array_append_new(nodes, derp_node(&region->nodes[i], region->id));
	json_object_set_new(o, "Nodes", nodes);
	return o;
}

json_t *local_derp_map(const struct netmap *nm)
{
	const struct nm_derp_map *map = &nm->derp;
	json_t *o = json_object(), *regions = json_object(), *scores = json_object();
	char id[16];

	if (!nm->ready) {
		json_decref(o);
		o = json_null();
	}
	for (uint32_t i = 0; i < map->n_regions; i++) {
		snprintf(id, sizeof(id), "%u", map->regions[i].id);
		json_object_set_new(regions, id, derp_region(&map->regions[i]));
		if (map->regions[i].score != 0 && isfinite(map->regions[i].score))
			json_object_set_new(scores, id, json_real(map->regions[i].score));
	}
	if (json_object_size(scores) > 0)
		json_object_set_new(o, "HomeParams", json_pack("{s:O}", "RegionScore", scores));
	json_object_set(o, "Regions", regions);
	set_flag(o, "omitDefaultRegions", nm->ready && map->omit_default_regions);
	json_decref(regions);
	json_decref(scores);
	return o;
}

static json_t *resolvers(const struct nm_dns_list *list)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < list->n; i++)
		json_array_append_new(array, json_pack("{s:s}", "Addr", list->addresses[i]));
	return array;
}

static void set_texts(json_t *o, const char *name, const char *const *list, uint32_t n)
{
	if (n > 0)
		json_object_set_new(o, name, local_texts(list, n));
}

static json_t *records(const struct nm_dns *dns)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < dns->n_records; i++) {
		json_t *o = json_object();
		json_object_set_new(o, "Name", json_string(dns->records[i].name));
		set_text(o, "Type", dns->records[i].type);
		json_object_set_new(o, "Value", json_string(dns->records[i].value));
		json_array_append_new(array, o);
	}
	return array;
}

json_t *local_dns(const struct nm_dns *dns)
{
	json_t *o = json_object(), *routes = json_object();

	if (dns->resolvers.n > 0)
		json_object_set_new(o, "Resolvers", resolvers(&dns->resolvers));
	for (uint32_t i = 0; i < dns->n_routes; i++)
		json_object_set_new(routes, dns->routes[i].suffix, resolvers(&dns->routes[i]));
	if (dns->n_routes > 0)
		json_object_set(o, "Routes", routes);
	json_decref(routes);
	if (dns->fallback.n > 0)
		json_object_set_new(o, "FallbackResolvers", resolvers(&dns->fallback));
	set_texts(o, "Domains", dns->domains, dns->n_domains);
	set_flag(o, "Proxied", dns->proxied);
	set_texts(o, "CertDomains", dns->cert_domains, dns->n_cert_domains);
	if (dns->n_records > 0)
		json_object_set_new(o, "ExtraRecords", records(dns));
	set_texts(o, "ExitNodeFilteredSet", dns->exit_filtered, dns->n_exit_filtered);
	return o;
}
