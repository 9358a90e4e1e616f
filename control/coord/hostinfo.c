#include "control/coord/hostinfo.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

// Source: tailscale tailcfg.Hostinfo, tailcfg.NetInfo; empty members are left out, the order is
// Go's.

static void set_text(json_t *o, const char *name, const char *text)
{
	if (text && *text)
		json_object_set_new(o, name, json_string(text));
}

static void set_flag(json_t *o, const char *name, bool flag)
{
	if (flag)
		json_object_set_new(o, name, json_true());
}

static void set_opt(json_t *o, const char *name, int8_t flag)
{
	if (flag >= 0)
		json_object_set_new(o, name, json_boolean(flag));
}

static json_t *netinfo_json(const struct netinfo *n)
{
	json_t *const o = json_object();
	char region[24];

	set_opt(o, "MappingVariesByDestIP", n->mapping_varies);
	set_opt(o, "WorkingIPv6", n->working_ipv6);
	set_opt(o, "OSHasIPv6", n->os_has_ipv6);
	set_opt(o, "WorkingUDP", n->working_udp);
	set_opt(o, "WorkingICMPv4", n->working_icmp4);
	set_flag(o, "HavePortMap", n->have_port_map);
	set_opt(o, "UPnP", n->upnp);
	set_opt(o, "PMP", n->pmp);
	set_opt(o, "PCP", n->pcp);
	if (n->preferred_derp)
		json_object_set_new(o, "PreferredDERP", json_integer(n->preferred_derp));
	set_text(o, "LinkType", n->link_type);
	if (n->n_latencies) {
		json_t *const latencies = json_object();
		for (size_t i = 0; i < n->n_latencies; i++) {
			snprintf(region, sizeof(region), "%u-v%d", n->latencies[i].region,
				(int)n->latencies[i].family);
			json_object_set_new(latencies, region, json_real(n->latencies[i].seconds));
		}
		json_object_set_new(o, "DERPLatency", latencies);
	}
	set_text(o, "FirewallMode", n->firewall_mode);
	return o;
}

// As netip.Prefix.Compare: family, then length, then address.
static int prefix_order(const void *a, const void *b)
{
	const struct ip_prefix *x = a, *y = b;

	if (x->addr.family != y->addr.family)
		return x->addr.family < y->addr.family ? -1 : 1;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->addr.bytes, y->addr.bytes, sizeof(x->addr.bytes));
}

static json_t *routes_json(const struct hostinfo *h)
{
	struct ip_prefix *const sorted = calloc(h->n_routes, sizeof(*sorted));
	json_t *const array = json_array();
	char text[PREFIX_TEXT_LEN];

	if (!sorted)
		abort();
	memcpy(sorted, h->routes, h->n_routes * sizeof(*sorted));
	qsort(sorted, h->n_routes, sizeof(*sorted), prefix_order);
	for (size_t i = 0; i < h->n_routes; i++)
		json_array_append_new(array, json_string(ip_prefix_format(&sorted[i], text)));
	free(sorted);
	return array;
}

static json_t *services_json(const struct hostinfo *h)
{
	json_t *const array = json_array();

	for (size_t i = 0; i < h->n_services; i++)
		json_array_append_new(array, json_pack("{s:s,s:i}", "Proto", h->services[i].proto,
						     "Port", (int)h->services[i].port));
	return array;
}

static json_t *tags_json(const struct hostinfo *h)
{
	json_t *const array = json_array();

	for (size_t i = 0; i < h->n_tags; i++)
		json_array_append_new(array, json_string(h->tags[i]));
	return array;
}

json_t *hostinfo_json(const struct hostinfo *h)
{
	json_t *const o = json_object();

	set_text(o, "IPNVersion", h->version);
	set_text(o, "BackendLogID", h->backend_log_id);
	set_text(o, "OS", h->os);
	set_text(o, "OSVersion", h->os_version);
	set_text(o, "Package", h->package);
	set_text(o, "App", h->app);
	set_text(o, "Hostname", h->hostname);
	set_flag(o, "ShieldsUp", h->shields_up);
	set_flag(o, "NoLogsNoSupport", h->no_logs);
	set_flag(o, "AllowsUpdate", h->allows_update);
	set_text(o, "Machine", h->machine);
	set_text(o, "GoArch", h->go_arch);
	if (h->n_routes)
		json_object_set_new(o, "RoutableIPs", routes_json(h));
	if (h->n_tags)
		json_object_set_new(o, "RequestTags", tags_json(h));
	if (h->n_services)
		json_object_set_new(o, "Services", services_json(h));
	if (h->netinfo)
		json_object_set_new(o, "NetInfo", netinfo_json(h->netinfo));
	set_text(o, "Distro", h->distro);
	set_opt(o, "Userspace", h->userspace);
	set_opt(o, "UserspaceRouter", h->userspace_router);
	set_flag(o, "AppConnector", h->app_connector);
	set_text(o, "ServicesHash", h->services_hash);
	set_flag(o, "PeerRelay", h->peer_relay);
	set_text(o, "ExitNodeID", h->exit_node_id);
	return o;
}

bool hostinfo_tag_valid(const char *tag)
{
	static const char prefix[] = "tag:";

	if (strncmp(tag, prefix, sizeof(prefix) - 1) || !isalpha((uint8_t)tag[sizeof(prefix) - 1]))
		return false;
	for (tag += sizeof(prefix) - 1; *tag; tag++)
		if (!isalnum((uint8_t)*tag) && *tag != '-')
			return false;
	return true;
}
