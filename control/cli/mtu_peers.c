#include "control/cli/mtu_peers.h"

#include <stdlib.h>

#include "control/cli/show.h"
#include "control/cli/table.h"

// 0: none, or no MTU.
static uint16_t mtu_of(const json_t *object, const char *name)
{
	json_int_t mtu = json_integer_value(json_object_get(object, name));
	return mtu > 0 && mtu <= UINT16_MAX ? (uint16_t)mtu : 0;
}

static uint16_t link_mtu(const json_t *status, const char *name)
{
	size_t i;
	const json_t *port;
	json_array_foreach(json_object_get(status, "ports"), i, port)
	{
		if (strcmp(show_text(port, "name"), name) == 0)
			return mtu_of(port, "mtu");
	}
	return 0;
}

void mtu_path_read(const json_t *status, const json_t *peer, struct mtu_path *out)
{
	struct endpoint to;
	unsigned at;
	bool relayed = json_integer_value(json_object_get(peer, "vni")) != 0;
	*out = (struct mtu_path){
		.name = show_text(peer, "name"),
		.endpoint = show_text(peer, "endpoint"),
		.port = show_text(peer, "port"),
		.way = "none",
	};
	if (*out->name == '\0')
		out->name = show_text(peer, "public_key");
	if (*out->port == '\0' || endpoint_parse(out->endpoint, &to) < 0) {
		out->way = json_is_true(json_object_get(peer, "derp")) ? "derp" : "none";
		return;
	}
	out->way = relayed ? "peer relay" : "direct";
	struct ledger_layer *link = &out->layer[0], *tunnel = &out->layer[1];
	link->kind = LEDGER_LINK;
	link->said[LEDGER_INTERFACE] = link_mtu(status, out->port);
	tunnel->kind = ledger_carrier(to.addr.family, relayed);
	// Of its own tunnel the gateway lets nothing in that does not fit.
	uint16_t room = ledger_inside(link->said[LEDGER_INTERFACE], tunnel->kind);
	uint16_t own = mtu_of(status, "tunnel_mtu");
	tunnel->said[LEDGER_INTERFACE] = own < room ? own : 0;
	uint16_t way = mtu_of(peer, "mtu");
	const json_t *probed = json_object_get(peer, "mtu_probed");
	const json_t *told = json_object_get(peer, "mtu_told");
	out->probed = mtu_of(probed, "bytes");
	out->probed_since = show_number(probed, "since");
	out->told = mtu_of(told, "bytes");
	out->told_since = show_number(told, "since");
	enum ledger_source source = way == out->probed ? LEDGER_PROBE
				    : way == out->told ? LEDGER_ICMP
						       : LEDGER_ROUTE;
	tunnel->said[source] = way;
	out->known = ledger_account(out->layer, RTE_DIM(out->layer), &at) == 0;
}

static bool is_named(const json_t *peer, const char *which)
{
	const char *name = show_text(peer, "name");
	size_t len = strcspn(name, ".");
	if (*which == '\0')
		return false;
	return strcmp(name, which) == 0 || strcmp(show_text(peer, "public_key"), which) == 0 ||
	       (len > 0 && len == strlen(which) && strncmp(name, which, len) == 0);
}

// Bits of the longest of a peer's prefixes that has the address; -1: none.
static int prefix_of(const json_t *peer, const struct ip_addr *ip)
{
	size_t i;
	int longest = -1;
	const json_t *text;
	json_array_foreach(json_object_get(peer, "allowed_ips"), i, text)
	{
		struct ip_prefix prefix;
		const char *s = json_string_value(text);
		if (s && ip_prefix_parse(s, &prefix) == 0 && ip_prefix_contains(&prefix, ip) &&
			prefix.len > longest)
			longest = prefix.len;
	}
	return longest;
}

const json_t *mtu_peer_find(const json_t *status, const char *which)
{
	size_t i;
	struct ip_addr ip;
	int longest = -1;
	const json_t *peer, *found = NULL;
	bool is_ip = ip_addr_parse(which, &ip) == 0;
	json_array_foreach(json_object_get(status, "peers"), i, peer)
	{
		int len = is_ip ? prefix_of(peer, &ip) : -1;
		if (is_named(peer, which))
			return peer;
		if (len <= longest)
			continue;
		longest = len;
		found = peer;
	}
	return found;
}

static void put_path(FILE *f, const struct mtu_path *p, uint16_t own)
{
	static const char *const due[LEDGER_SOURCES] = {
		[LEDGER_ROOM] = "the link",
		[LEDGER_INTERFACE] = "the tunnel's mtu",
		[LEDGER_ROUTE] = "its path",
		[LEDGER_PROBE] = "probes of its path",
		[LEDGER_ICMP] = "a router on its path",
	};
	const struct ledger_layer *l = &p->layer[1];
	fprintf(f, "%s\t%s\t", p->name, p->way);
	if (!p->known) {
		// A stream carries whatever the tunnel has.
		if (strcmp(p->way, "derp") == 0)
			fprintf(f, "-\t-\t%u\t-\t-\t-\tthe tunnel's mtu\n", own);
		else
			fputs("-\t-\t-\t-\t-\t-\tno way is known\n", f);
		return;
	}
	fprintf(f, "%s %u\t%u\t%u\t%u\t", p->port, p->layer[0].mtu, l->overhead, l->mtu, l->mss4);
	if (l->mss6 > 0)
		fprintf(f, "%u\t", l->mss6);
	else
		fputs("-\t", f);
	fprintf(f, "%.1f %%\t%s\n", l->payload_permill / 10.0, due[l->due]);
}

bool mtu_peers_show(FILE *out, const json_t *status, const json_t *only)
{
	char *text = NULL;
	size_t len, i;
	const json_t *peer;
	struct mtu_path path;
	FILE *f = open_memstream(&text, &len);
	if (f == NULL)
		return false;
	fputs("Peer\tWay\tLink\tAdds\tMTU\tMSS v4\tMSS v6\tPayload\tDue to\n", f);
	json_array_foreach(json_object_get(status, "peers"), i, peer)
	{
		if (only != NULL && peer != only)
			continue;
		mtu_path_read(status, peer, &path);
		put_path(f, &path, mtu_of(status, "tunnel_mtu"));
	}
	bool ok = fclose(f) == 0 && table_print(out, text, 4, 2);
	free(text);
	return ok;
}

static json_t *path_json(const json_t *status, const json_t *peer)
{
	struct mtu_path p;
	mtu_path_read(status, peer, &p);
	const struct ledger_layer *l = &p.layer[1];
	json_t *json = json_pack("{s:s, s:O?, s:s, s:s?, s:s?}", "name", p.name, //
		"public_key", json_object_get(peer, "public_key"), "way", p.way, //
		"endpoint", *p.endpoint != '\0' ? p.endpoint : NULL, "port",	 //
		*p.port != '\0' ? p.port : NULL);
	if (json != NULL && p.probed > 0) {
		json_object_set_new(json, "probed", json_integer(p.probed));
		json_object_set_new(json, "probed_since", json_real(p.probed_since));
	}
	if (json != NULL && p.told > 0) {
		json_object_set_new(json, "told", json_integer(p.told));
		json_object_set_new(json, "told_since", json_real(p.told_since));
	}
	if (json == NULL || !p.known)
		return json;
	json_t *account = json_pack("{s:i, s:i, s:i, s:i, s:s, s:i, s:o, s:f}", "link_mtu",
		p.layer[0].mtu, "overhead", l->overhead, "room", l->room, "mtu", l->mtu, //
		"due_to", mtu_due(l->due), "mss_v4", l->mss4,				 //
		"mss_v6", l->mss6 > 0 ? json_integer(l->mss6) : json_null(),		 //
		"payload_percent", l->payload_permill / 10.0);
	json_object_update_new(json, account);
	return json;
}

json_t *mtu_peers_json(const json_t *status, const json_t *only)
{
	size_t i;
	const json_t *peer;
	json_t *peers = json_array();
	json_array_foreach(json_object_get(status, "peers"), i, peer)
	{
		if (only == NULL || peer == only)
			json_array_append_new(peers, path_json(status, peer));
	}
	return json_pack("{s:i, s:o}", "tunnel_mtu", mtu_of(status, "tunnel_mtu"), "peers", peers);
}
