#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

int nm_text_to_prefix(struct arena *, const char *text, void *out)
{
	return ip_prefix_parse(text, out);
}

// A peer chose these texts (a zone, for one, is valid to the server): leave out, do not refuse.
static int to_endpoint(struct arena *, const char *text, void *out)
{
	return endpoint_parse(text, out) ? -EAGAIN : 0;
}

void *nm_texts_parse(struct arena *arena, struct json_object *o, const char *name, uint32_t max,
	size_t size, nm_text_fn parse, uint32_t *n)
{
	const json_t *array = json_array_of(o, name), *v;
	const size_t count = json_array_size(array);
	size_t i;

	*n = 0;
	if (count > max)
		o->bad = name;
	if (!count || o->bad)
		return NULL;
	uint8_t *const out = arena_alloc(arena, count * size);
	json_array_foreach((json_t *)array, i, v)
	{
		const char *const text = json_string_value(v);
		const int error = text ? parse(arena, text, out + *n * size) : -EINVAL;
		if (!error)
			++*n;
		else if (error != -EAGAIN)
			o->bad = name;
	}
	return out;
}

static int to_text(struct arena *, const char *text, void *out)
{
	*(const char **)out = text;
	return 0;
}

struct nm_cap *nm_caps_parse(struct arena *scratch, const json_t *object, uint32_t *n)
{
	const size_t count = json_object_size(object);
	struct nm_cap *const caps = arena_alloc(scratch, (count ? count : 1) * sizeof(*caps));
	const char *name;
	json_t *values;

	*n = 0;
	json_object_foreach((json_t *)object, name, values)
	{
		caps[*n].name = arena_text(scratch, name);
		if (json_array_size(values)) {
			char *const text = json_dumps(values, JSON_COMPACT);
			caps[*n].values = arena_text(scratch, text);
			free(text);
		}
		++*n;
	}
	return caps;
}

static int cap_order(const void *a, const void *b)
{
	return strcmp(((const struct nm_cap *)a)->name, ((const struct nm_cap *)b)->name);
}

const struct nm_cap *nm_node_cap(const struct nm_node *node, const char *name)
{
	const struct nm_cap key = {.name = name};

	return node->n_caps ? bsearch(&key, node->caps, node->n_caps, sizeof(key), cap_order)
			    : NULL;
}

static bool caps_have(const struct nm_cap *caps, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(caps[i].name, name))
			return true;
	return false;
}

// CapMap, and the old Capabilities merged into it.
static void caps_read(struct arena *scratch, struct json_object *o, struct nm_node *d)
{
	const json_t *map = json_object_of(o, "CapMap"), *list = json_array_of(o, "Capabilities"),
		     *v;
	const size_t count = json_array_size(list);
	size_t i;

	if (json_object_size(map) + count > NM_LIST_MAX)
		o->bad = "CapMap";
	if (o->bad)
		return;
	struct nm_cap *const caps = nm_caps_parse(scratch, map, &d->n_caps);
	d->caps = arena_alloc(scratch, (d->n_caps + count + 1) * sizeof(*caps));
	memcpy(d->caps, caps, d->n_caps * sizeof(*caps));
	json_array_foreach((json_t *)list, i, v)
	{
		const char *const name = json_string_value(v);
		if (!name)
			o->bad = "Capabilities";
		else if (!caps_have(d->caps, d->n_caps, name))
			d->caps[d->n_caps++].name = name;
	}
}

static void hostinfo_read(struct json_object *o, struct nm_node *d)
{
	const json_t *value = json_object_of(o, "Hostinfo"), *service;
	size_t i;

	if (!value)
		return;
	struct json_object h = json_open(value);
	d->os = json_text(&h, "OS");
	d->hostname = json_text(&h, "Hostname");
	d->version = json_text(&h, "IPNVersion");
	d->peer_relay = json_flag(&h, "PeerRelay");
	const json_t *const services = json_array_of(&h, "Services");
	json_array_foreach((json_t *)services, i, service)
	{
		struct json_object s = json_open(service);
		const char *const proto = json_text(&s, "Proto");
		const uint16_t port = (uint16_t)json_number(&s, "Port", 0, 65535);
		if (s.bad || !proto)
			continue;
		if (!strcmp(proto, "peerapi4"))
			d->peerapi4 = port;
		else if (!strcmp(proto, "peerapi6"))
			d->peerapi6 = port;
		else if (!strcmp(proto, "peerapi-dns-proxy"))
			d->peerapi_dns = port != 0;
	}
	if (h.bad) // it is the peer's own text: nothing to refuse the node for
		d->os = d->hostname = d->version = NULL;
}

static uint32_t home_derp_read(struct json_object *o)
{
	static const char legacy[] = "127.3.3.40:";
	const char *const text = json_text(o, "DERP");
	const int64_t home = json_number(o, "HomeDERP", 0, 65535);

	if (home || !text || strncmp(text, legacy, sizeof(legacy) - 1))
		return (uint32_t)home;
	char *end;
	const unsigned long n = strtoul(text + sizeof(legacy) - 1, &end, 10);
	return *end || n > 65535 ? 0 : (uint32_t)n;
}

static struct ip_addr address_read(struct json_object *o, const char *name, enum ip_family family)
{
	const char *const text = json_text(o, name);
	struct ip_addr a = {0};

	if (text && (ip_addr_parse(text, &a) || a.family != family))
		o->bad = name;
	return a;
}

static const char *dumped(struct arena *scratch, const json_t *value)
{
	char *const text = value && !json_is_null(value) ? json_dumps(value, JSON_COMPACT) : NULL;
	const char *const kept = arena_text(scratch, text);

	free(text);
	return kept;
}

static enum nm_online online_of(int flag)
{
	return flag < 0 ? NM_ONLINE_UNKNOWN : flag ? NM_ONLINE : NM_OFFLINE;
}

static void routes_read(struct arena *scratch, struct json_object *o, struct nm_node *d)
{
	const size_t size = sizeof(struct ip_prefix);
	const json_t *const allowed = json_array_of(o, "AllowedIPs");

	d->addresses = nm_texts_parse(
		scratch, o, "Addresses", NM_LIST_MAX, size, nm_text_to_prefix, &d->n_addresses);
	d->allowed_ips = nm_texts_parse(
		scratch, o, "AllowedIPs", NM_LIST_MAX, size, nm_text_to_prefix, &d->n_allowed_ips);
	d->primary_routes = nm_texts_parse(scratch, o, "PrimaryRoutes", NM_LIST_MAX, size,
		nm_text_to_prefix, &d->n_primary_routes);
	d->unsigned_peerapi_only = json_flag(o, "UnsignedPeerAPIOnly");
	if (!allowed || d->unsigned_peerapi_only) { // null and absent; [] is empty
		d->allowed_ips = d->addresses;
		d->n_allowed_ips = d->n_addresses;
	}
}

struct nm_node *nm_node_parse(struct arena *scratch, const json_t *value)
{
	struct json_object o = json_open(value);
	struct nm_node d = {
		.id = json_number(&o, "ID", 0, INT64_MAX),
		.user = json_number(&o, "User", INT64_MIN, INT64_MAX),
		.sharer = json_number(&o, "Sharer", INT64_MIN, INT64_MAX),
		.key_expiry = json_time(&o, "KeyExpiry"),
		.created = json_time(&o, "Created"),
		.last_seen = json_time(&o, "LastSeen"),
		.stable_id = json_text(&o, "StableID"),
		.name = json_text(&o, "Name"),
		.key = json_key(&o, "Key", NM_NODE_KEY),
		.machine = json_key(&o, "Machine", NM_MACHINE_KEY),
		.disco = json_key(&o, "DiscoKey", NM_DISCO_KEY),
		.exit_dns = dumped(scratch, json_array_of(&o, "ExitNodeDNSResolvers")),
		.key_signature = json_text(&o, "KeySignature"),
		.audit_id = json_text(&o, "DataPlaneAuditLogID"),
		.home_derp = home_derp_read(&o),
		.cap = (uint32_t)json_number(&o, "Cap", 0, 1 << 20),
		.masq_v4 = address_read(&o, "SelfNodeV4MasqAddrForThisPeer", IP_V4),
		.masq_v6 = address_read(&o, "SelfNodeV6MasqAddrForThisPeer", IP_V6),
		.online = (uint8_t)online_of(json_opt_flag(&o, "Online")),
		.machine_authorized = json_flag(&o, "MachineAuthorized"),
		.expired = json_flag(&o, "Expired"),
		.wg_only = json_flag(&o, "IsWireGuardOnly"),
		.jailed = json_flag(&o, "IsJailed"),
	};

	routes_read(scratch, &o, &d);
	d.endpoints = nm_texts_parse(scratch, &o, "Endpoints", NM_LIST_MAX, sizeof(*d.endpoints),
		to_endpoint, &d.n_endpoints);
	d.tags = nm_texts_parse(
		scratch, &o, "Tags", NM_LIST_MAX, sizeof(*d.tags), to_text, &d.n_tags);
	caps_read(scratch, &o, &d);
	hostinfo_read(&o, &d);
	return o.bad || key_is_zero(&d.key) ? NULL : nm_node_freeze(&d);
}

struct nm_node *nm_node_patch(
	struct arena *scratch, const struct nm_node *old, struct json_object *o)
{
	struct nm_node d = *old;
	uint32_t n;

	if (json_any(o, "DERPRegion"))
		d.home_derp = (uint32_t)json_number(o, "DERPRegion", 0, 65535);
	if (json_any(o, "Cap"))
		d.cap = (uint32_t)json_number(o, "Cap", 0, 1 << 20);
	if (json_object_of(o, "CapMap"))
		caps_read(scratch, o, &d);
	if (json_array_of(o, "Endpoints")) {
		d.endpoints = nm_texts_parse(scratch, o, "Endpoints", NM_LIST_MAX,
			sizeof(*d.endpoints), to_endpoint, &n);
		d.n_endpoints = n;
	}
	const struct key key = json_key(o, "Key", NM_NODE_KEY),
			 disco = json_key(o, "DiscoKey", NM_DISCO_KEY);
	if (!key_is_zero(&key))
		d.key = key;
	if (!key_is_zero(&disco))
		d.disco = disco;
	if (json_text(o, "KeySignature"))
		d.key_signature = json_text(o, "KeySignature");
	const int online = json_opt_flag(o, "Online");
	if (online >= 0)
		d.online = (uint8_t)online_of(online);
	if (json_text(o, "LastSeen"))
		d.last_seen = json_time(o, "LastSeen");
	if (json_text(o, "KeyExpiry"))
		d.key_expiry = json_time(o, "KeyExpiry");
	return o->bad ? NULL : nm_node_freeze(&d);
}

// Two passes over the same steps: the first counts the bytes, the second copies.
struct block {
	uint8_t *at; // NULL: counting
	size_t used;
};

static void *block_take(struct block *b, const void *from, size_t len)
{
	const size_t place = (b->used + 7) & ~(size_t)7;

	b->used = place + len;
	return b->at && len ? memcpy(b->at + place, from, len) : NULL;
}

static const char *block_text(struct block *b, const char *text)
{
	return text ? block_take(b, text, strlen(text) + 1) : NULL;
}

static void block_fill(struct block *b, struct nm_node *to, const struct nm_node *from)
{
	to->stable_id = block_text(b, from->stable_id);
	to->name = block_text(b, from->name);
	to->exit_dns = block_text(b, from->exit_dns);
	to->key_signature = block_text(b, from->key_signature);
	to->audit_id = block_text(b, from->audit_id);
	to->os = block_text(b, from->os);
	to->hostname = block_text(b, from->hostname);
	to->version = block_text(b, from->version);
	to->addresses =
		block_take(b, from->addresses, from->n_addresses * sizeof(*from->addresses));
	to->allowed_ips =
		block_take(b, from->allowed_ips, from->n_allowed_ips * sizeof(*from->allowed_ips));
	to->primary_routes = block_take(
		b, from->primary_routes, from->n_primary_routes * sizeof(*from->primary_routes));
	to->endpoints =
		block_take(b, from->endpoints, from->n_endpoints * sizeof(*from->endpoints));
	to->tags = block_take(b, from->tags, from->n_tags * sizeof(*from->tags));
	to->caps = block_take(b, from->caps, from->n_caps * sizeof(*from->caps));
	for (uint32_t i = 0; i < from->n_tags; i++) {
		const char *const text = block_text(b, from->tags[i]);
		if (b->at)
			to->tags[i] = text;
	}
	for (uint32_t i = 0; i < from->n_caps; i++) {
		const char *const name = block_text(b, from->caps[i].name),
				  *const values = block_text(b, from->caps[i].values);
		if (b->at)
			to->caps[i] = (struct nm_cap){name, values};
	}
}

struct nm_node *nm_node_freeze(const struct nm_node *draft)
{
	struct nm_node ignored = {0};
	struct block b = {.used = sizeof(*draft)};

	block_fill(&b, &ignored, draft);
	struct nm_node *const node = malloc(b.used);
	if (!node)
		abort();
	*node = *draft;
	b = (struct block){.at = (uint8_t *)node, .used = sizeof(*draft)};
	block_fill(&b, node, draft);
	if (node->n_caps)
		qsort(node->caps, node->n_caps, sizeof(*node->caps), cap_order);
	return node;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_list(const void *a, uint32_t n_a, const void *b, uint32_t n_b, size_t size)
{
	return n_a == n_b && (!n_a || !memcmp(a, b, n_a * size));
}

static bool same_caps(const struct nm_node *a, const struct nm_node *b)
{
	if (a->cap != b->cap || a->n_caps != b->n_caps)
		return false;
	for (uint32_t i = 0; i < a->n_caps; i++)
		if (!same_text(a->caps[i].name, b->caps[i].name) ||
			!same_text(a->caps[i].values, b->caps[i].values))
			return false;
	return true;
}

static bool same_names(const struct nm_node *a, const struct nm_node *b)
{
	if (!same_text(a->name, b->name) || !same_text(a->stable_id, b->stable_id) ||
		a->user != b->user || a->sharer != b->sharer || a->created != b->created ||
		a->n_tags != b->n_tags)
		return false;
	for (uint32_t i = 0; i < a->n_tags; i++)
		if (strcmp(a->tags[i], b->tags[i]))
			return false;
	return true;
}

static bool same_endpoints(const struct nm_node *a, const struct nm_node *b)
{
	if (a->n_endpoints != b->n_endpoints)
		return false;
	for (uint32_t i = 0; i < a->n_endpoints; i++)
		if (!endpoint_equal(&a->endpoints[i], &b->endpoints[i]))
			return false;
	return true;
}

#define SAME_PREFIXES(a, b, list)                                                                  \
	same_list((a)->list, (a)->n_##list, (b)->list, (b)->n_##list, sizeof(*(a)->list))

uint32_t nm_node_diff(const struct nm_node *a, const struct nm_node *b)
{
	const struct {
		uint32_t field;
		bool same;
	} parts[] = {
		{NM_F_KEY, !memcmp(&a->key, &b->key, KEY_LEN)},
		{NM_F_DISCO, !memcmp(&a->disco, &b->disco, KEY_LEN)},
		{NM_F_ADDRESSES, SAME_PREFIXES(a, b, addresses)},
		{NM_F_ALLOWED_IPS,
			SAME_PREFIXES(a, b, allowed_ips) && SAME_PREFIXES(a, b, primary_routes)},
		{NM_F_ENDPOINTS, same_endpoints(a, b)},
		{NM_F_HOME_DERP, a->home_derp == b->home_derp},
		{NM_F_ONLINE, a->online == b->online && a->last_seen == b->last_seen},
		{NM_F_EXPIRY, a->key_expiry == b->key_expiry && a->expired == b->expired},
		{NM_F_CAPS, same_caps(a, b)},
		{NM_F_NAME, same_names(a, b)},
		{NM_F_MASQ, ip_addr_equal(&a->masq_v4, &b->masq_v4) &&
				    ip_addr_equal(&a->masq_v6, &b->masq_v6)},
		{NM_F_FLAGS, a->machine_authorized == b->machine_authorized &&
				     a->wg_only == b->wg_only && a->jailed == b->jailed &&
				     a->unsigned_peerapi_only == b->unsigned_peerapi_only},
		{NM_F_HOSTINFO, same_text(a->os, b->os) && same_text(a->hostname, b->hostname) &&
					same_text(a->version, b->version) &&
					a->peerapi4 == b->peerapi4 && a->peerapi6 == b->peerapi6 &&
					a->peerapi_dns == b->peerapi_dns &&
					a->peer_relay == b->peer_relay},
		{NM_F_OTHER, same_text(a->key_signature, b->key_signature) &&
				     same_text(a->audit_id, b->audit_id) &&
				     same_text(a->exit_dns, b->exit_dns) &&
				     !memcmp(&a->machine, &b->machine, KEY_LEN)},
	};
	uint32_t fields = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		fields |= parts[i].same ? 0 : parts[i].field;
	return fields;
}
