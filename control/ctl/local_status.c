// ipnstate.Status: the node, its peers and whose they are.
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "control/ctl/local_priv.h"

// What the real daemon puts in front of the names, for clients that still look there.
#define CAPABILITIES_MOVED                                                                         \
	"HTTPS://TAILSCALE.COM/s/"                                                                 \
	"DEPRECATED-NODE-CAPS#see-https://github.com/tailscale/tailscale/issues/11508"
#define ACCEPT_ROUTES_OFF "Some peers are advertising routes but --accept-routes is false"

// NULL: there is none yet.
static const struct netmap *netmap_of(const struct tailnet *t)
{
	return t != NULL && tailnet_netmap(t)->self != NULL ? tailnet_netmap(t) : NULL;
}

static const char *text_or_empty(const char *text)
{
	return text != NULL ? text : "";
}

static void set(json_t *o, const char *name, json_t *value)
{
	json_object_set_new_nocheck(o, name, value);
}

const char *local_auth_url(const struct tailnet *t)
{
	const struct coord_status *coord = tailnet_coord(t);

	return coord->state == COORD_VISIT_URL ? coord->url : "";
}

// Its own addresses, not the routes behind it.
static json_t *addresses_of(const struct nm_node *node)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < node->n_addresses; i++)
		if (node->addresses[i].len == ip_addr_bits(&node->addresses[i].addr))
			json_array_append_new(array, local_address(&node->addresses[i].addr));
	return array;
}

static void add_peerapi(json_t *urls, const struct nm_node *node, uint8_t family, uint16_t port)
{
	char text[ENDPOINT_TEXT_LEN], url[ENDPOINT_TEXT_LEN + 8];

	for (uint32_t i = 0; port != 0 && i < node->n_addresses; i++) {
		struct endpoint at = {node->addresses[i].addr, port};
		if (at.addr.family != family)
			continue;
		snprintf(url, sizeof(url), "http://%s", endpoint_format(&at, text));
		json_array_append_new(urls, json_string(url));
		return;
	}
}

static json_t *peerapi_of(const struct nm_node *node)
{
	json_t *urls = json_array();

	add_peerapi(urls, node, IP_V4, node->peerapi4);
	add_peerapi(urls, node, IP_V6, node->peerapi6);
	if (json_array_size(urls) > 0)
		return urls;
	json_decref(urls);
	return json_null();
}

// What the netmap says of a node; n may be NULL: nothing yet.
static void set_identity(json_t *o, const struct nm_node *n, const struct key *key)
{
	set(o, "ID", json_string(n != NULL ? text_or_empty(n->stable_id) : ""));
	set(o, "NodeID", json_integer(n != NULL ? n->id : 0));
	set(o, "PublicKey", local_key(key, "nodekey:"));
	set(o, "HostName", json_string(n != NULL ? text_or_empty(n->hostname) : ""));
	set(o, "DNSName", json_string(n != NULL ? text_or_empty(n->name) : ""));
	set(o, "OS", json_string(n != NULL ? text_or_empty(n->os) : ""));
	set(o, "UserID", json_integer(n != NULL ? n->user : 0));
	if (n != NULL && n->sharer != 0)
		set(o, "AltSharerUserID", json_integer(n->sharer));
	set(o, "TailscaleIPs", n != NULL ? addresses_of(n) : json_null());
	if (n == NULL)
		return;
	if (n->n_allowed_ips > 0)
		set(o, "AllowedIPs", local_prefixes(n->allowed_ips, n->n_allowed_ips));
	if (n->n_tags > 0)
		set(o, "Tags", local_texts(n->tags, n->n_tags));
	if (n->n_primary_routes > 0)
		set(o, "PrimaryRoutes", local_prefixes(n->primary_routes, n->n_primary_routes));
}

static void set_path(
	json_t *o, const struct tailnet_peer_info *info, const char *relay, json_t *addresses)
{
	char text[ENDPOINT_TEXT_LEN] = "", via[ENDPOINT_TEXT_LEN + 24] = "";

	if (info->direct.port != 0)
		endpoint_format(&info->direct, text);
	if (info->relay_vni != 0)
		snprintf(via, sizeof(via), "%s:vni:%u", text, info->relay_vni);
	set(o, "Addrs", addresses);
	set(o, "CurAddr", json_string(info->relay_vni == 0 ? text : ""));
	set(o, "Relay", json_string(relay));
	set(o, "PeerRelay", json_string(via));
	set(o, "RxBytes", json_integer((json_int_t)info->rx_bytes));
	set(o, "TxBytes", json_integer((json_int_t)info->tx_bytes));
}

static void set_times(json_t *o, const struct nm_node *n, const struct tailnet_peer_info *info)
{

	set(o, "Created", local_time(n != NULL ? (uint64_t)n->created * NS_PER_S : 0));
	set(o, "LastWrite", local_time(info->last_write_unix_ns));
	set(o, "LastSeen", local_time(n != NULL ? (uint64_t)n->last_seen * NS_PER_S : 0));
	set(o, "LastHandshake", local_time(info->handshake_unix_ns));
}

static void set_rest(json_t *o, const struct nm_node *n, bool in_magicsock, bool in_engine)
{
	set(o, "PeerAPIURL", n != NULL ? peerapi_of(n) : json_null());
	set(o, "TaildropTarget", json_integer(0)); // unknown: there is no Taildrop here
	set(o, "NoFileSharingReason", json_string(""));
	if (n != NULL && n->n_caps > 0)
		set(o, "CapMap", local_caps(n->caps, n->n_caps, true));
	set(o, "InNetworkMap", json_boolean(n != NULL));
	set(o, "InMagicSock", json_boolean(in_magicsock));
	set(o, "InEngine", json_boolean(in_engine));
	if (n != NULL && n->expired)
		set(o, "Expired", json_true());
	if (n != NULL && n->key_expiry != 0)
		set(o, "KeyExpiry", local_time((uint64_t)n->key_expiry * NS_PER_S));
}

static json_t *capabilities_of(const struct nm_node *n)
{
	json_t *array = json_array();

	json_array_append_new(array, json_string(CAPABILITIES_MOVED));
	for (uint32_t i = 0; i < n->n_caps; i++)
		json_array_append_new(array, json_string(n->caps[i].name));
	return array;
}

static json_t *own_endpoints(const struct nm_node *n)
{
	json_t *array = json_array();
	char text[ENDPOINT_TEXT_LEN];

	for (uint32_t i = 0; n != NULL && i < n->n_endpoints; i++)
		json_array_append_new(array, json_string(endpoint_format(&n->endpoints[i], text)));
	return array;
}

static json_t *self_of(const struct tailnet *t)
{
	static const struct tailnet_peer_info nothing;
	static const struct key no_key;
	const struct nm_node *n = t != NULL ? tailnet_netmap(t)->self : NULL;
	json_t *o = json_object();
	char hostname[256] = "";

	set_identity(o, n, n != NULL ? &n->key : t != NULL ? tailnet_node_key(t) : &no_key);
	if (n == NULL && gethostname(hostname, sizeof(hostname) - 1) == 0)
		set(o, "HostName", json_string(hostname));
	set(o, "OS", json_string("linux"));
	uint32_t home = t != NULL ? tailnet_netcheck(t)->preferred : 0;
	if (home == 0 && n != NULL)
		home = n->home_derp;
	set_path(o, &nothing, home != 0 ? tailnet_region_code(t, home) : "", own_endpoints(n));
	set_times(o, n, &nothing);
	set(o, "LastSeen", local_time(0));
	set(o, "Online", json_boolean(t != NULL && tailnet_coord(t)->state == COORD_STREAMING));
	set(o, "ExitNode", json_false());
	set(o, "ExitNodeOption", json_boolean(n != NULL && tailnet_offers_exit(n)));
	set(o, "Active", json_false());
	set_rest(o, n, false, false);
	if (n != NULL && n->n_caps > 0)
		set(o, "Capabilities", capabilities_of(n));
	return o;
}

static json_t *peer_of(const struct tailnet *t, const struct nm_peer *peer)
{
	const struct nm_node *n = peer->node;
	struct tailnet_peer_info info = {};
	bool known = tailnet_peer_info(t, peer, &info);
	uint32_t region = info.derp_region != 0 ? info.derp_region : n->home_derp;
	json_t *o = json_object();

	set_identity(o, n, &n->key);
	set_path(o, &info, region != 0 ? tailnet_region_code(t, region) : "", json_null());
	set_times(o, n, &info);
	set(o, "Online", json_boolean(n->online == NM_ONLINE));
	set(o, "ExitNode", json_boolean(peer == tailnet_exit_node(t)));
	set(o, "ExitNodeOption", json_boolean(tailnet_offers_exit(n)));
	set(o, "Active", json_boolean(info.active));
	set_rest(o, n, known,
		info.handshake_unix_ns != 0 || info.rx_bytes != 0 || info.tx_bytes != 0);
	return o;
}

static json_t *users_of(const struct netmap *nm, bool all)
{
	json_t *o = json_object();
	char id[24];

	for (size_t i = 0; i < nm->n_users; i++) {
		if (!all && (nm->self == NULL || nm->users[i].id != nm->self->user))
			continue;
		snprintf(id, sizeof(id), "%lld", (long long)nm->users[i].id);
		set(o, id, local_user(&nm->users[i]));
	}
	return o;
}

static bool peers_have_routes(const struct netmap *nm)
{
	for (size_t i = 0; i < nm->n_peers; i++)
		if (nm->peers[i]->node->n_primary_routes > 0)
			return true;
	return false;
}

static json_t *health_of(const struct tailnet *t)
{
	json_t *array = json_array();
	unsigned n = 0;

	if (t == NULL) {
		json_array_append_new(array, json_string(local_no_tailnet));
		return array;
	}
	const char *const *lines = tailnet_health(t, &n);
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(array, json_string(lines[i]));
	if (tailnet_netmap(t)->ready && !tailnet_prefs(t)->route_all &&
		peers_have_routes(tailnet_netmap(t)))
		json_array_append_new(array, json_string(ACCEPT_ROUTES_OFF));
	return array;
}

static json_t *exit_status(const struct tailnet *t)
{
	const struct nm_peer *exit = tailnet_exit_node(t);

	if (exit == NULL)
		return NULL;
	return json_pack("{s:s, s:b, s:o}", "ID", text_or_empty(exit->node->stable_id), "Online",
		exit->node->online == NM_ONLINE, "TailscaleIPs",
		local_prefixes(exit->node->addresses, exit->node->n_addresses));
}

// What concerns the tailnet as a whole; none before the first netmap.
static void set_tailnet(json_t *o, const struct netmap *nm)
{
	char suffix[256] = "";
	json_t *dns = nm != NULL ? local_dns(&nm->dns) : json_object();
	json_t *certs = json_object_get(dns, "CertDomains");
	json_t *extra = json_object_get(dns, "ExtraRecords");

	if (nm != NULL)
		local_suffix(nm->self->name, suffix, sizeof(suffix));
	set(o, "MagicDNSSuffix", json_string(suffix));
	set(o, "CurrentTailnet",
		nm == NULL ? json_null()
			   : json_pack("{s:s, s:s, s:b}", "Name", text_or_empty(nm->domain),
				     "MagicDNSSuffix", suffix, "MagicDNSEnabled", nm->dns.proxied));
	set(o, "CertDomains", certs != NULL ? json_incref(certs) : json_null());
	set(o, "ExtraRecords", extra != NULL ? json_incref(extra) : json_null());
	json_decref(dns);
}

// All but the peers, whose place is empty.
static json_t *status_of(const struct tailnet *t, bool with_users)
{
	const struct netmap *nm = netmap_of(t);
	json_t *o = json_object();

	set(o, "Version", json_string(TAILGATE_VERSION));
	set(o, "TUN", json_true());
	set(o, "BackendState",
		json_string(tailnet_state_text(t != NULL ? tailnet_state(t) : TAILNET_NO_STATE)));
	if (t != NULL && tailnet_has_node_key(t))
		set(o, "HaveNodeKey", json_true());
	set(o, "AuthURL", json_string(t != NULL ? local_auth_url(t) : ""));
	set(o, "TailscaleIPs", nm != NULL ? addresses_of(nm->self) : json_null());
	set(o, "Self", self_of(t));
	json_t *exit = nm != NULL ? exit_status(t) : NULL;
	if (exit != NULL)
		set(o, "ExitNodeStatus", exit);
	set(o, "Health", health_of(t));
	set_tailnet(o, nm);
	set(o, "User", nm != NULL ? users_of(nm, with_users) : json_null());
	set(o, "ClientVersion", json_null());
	return o;
}

static json_t *next_peer(void *arg, size_t *at, char name[static CTL_MEMBER_LEN])
{
	const struct tailnet *t = ((const struct daemon *)arg)->tailnet;
	const struct netmap *nm = netmap_of(t);
	char key[TYPED_KEY_TEXT_LEN];

	if (nm == NULL || *at >= nm->n_peers)
		return NULL;
	const struct nm_peer *peer = nm->peers[(*at)++];
	snprintf(name, CTL_MEMBER_LEN, "%s", typed_key_format(&peer->node->key, "nodekey:", key));
	return peer_of(t, peer);
}

struct ctl_list local_status_list(struct daemon *d, bool with_peers)
{
	const struct netmap *nm = with_peers ? netmap_of(d->tailnet) : NULL;
	struct ctl_list list = {.object = status_of(d->tailnet, with_peers)};

	if (nm != NULL && nm->n_peers > 0) {
		list.member = "Peer";
		list.named = true;
		list.next = next_peer;
		list.arg = d;
	} else {
		set(list.object, "Peer", json_null());
	}
	return list;
}

// To whoever may only read.
static void on_shared(void *arg, struct evbuffer *text)
{
	struct evbuffer *copy = evbuffer_new();
	struct local_request r;

	if (local_resume(arg, &r)) {
		if (text != NULL && copy != NULL &&
			evbuffer_add_buffer_reference(copy, text) == 0 &&
			evbuffer_add(copy, "\n", 1) == 0)
			ctl_send(r.req, HTTP_OK, "application/json", copy);
		else
			local_text(&r, HTTP_INTERNAL, "out of memory");
	}
	if (copy != NULL)
		evbuffer_free(copy);
}

void local_handle_status(struct local_request *r)
{
	const char *peers = local_query(r, "peers");
	bool without = peers != NULL && (strcmp(peers, "false") == 0 || strcmp(peers, "0") == 0);

	if (r->may_write || without) {
		const struct ctl_list list = local_status_list(r->local->d, !without);
		ctl_send_list(r->local->conns, r->req, &list);
		return;
	}
	struct local_waiting *w = local_wait(r);
	if (w != NULL && local_share(r->local, on_shared, w) < 0)
		on_shared(w, NULL);
}
