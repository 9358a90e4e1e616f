// The LocalAPI's smaller questions.
#include <event2/buffer.h>
#include <stdlib.h>

#include "control/coord/json.h"
#include "control/ctl/local_priv.h"
#include "control/tailnet/filter.h"

// The node attribute of an administrator who allows it.

// The workers forward and segment, not the kernel: its switches do not matter.
void local_handle_warning(struct local_request *r)
{
	local_json(r, HTTP_OK, json_pack("{s:s}", "Warning", ""));
}

// Our own datagrams leave past the kernel's routing, so its filter of return paths does not hit
// them either, as if they were marked.
void local_handle_so_mark(struct local_request *r)
{
	local_json(r, HTTP_OK, json_pack("{s:b}", "UseSOMark", true));
}

// Nothing is served.
void local_handle_serve(struct local_request *r)
{
	local_json(r, HTTP_OK, json_object());
}

// No addresses of services are known here.
void local_handle_services(struct local_request *r)
{
	local_json(r, HTTP_OK, json_object());
}

void local_handle_appc(struct local_request *r)
{
	local_json(r, HTTP_OK, tailnet_appc(r->t));
}

void local_handle_derpmap(struct local_request *r)
{
	local_json(r, HTTP_OK, local_derp_map(tailnet_netmap(r->t)));
}

// A netmap; false: answered that there is none.
static bool has_netmap(struct local_request *r)
{
	if (tailnet_netmap(r->t)->self != NULL)
		return true;
	local_text(r, HTTP_SERVUNAVAIL, "no netmap");
	return false;
}

void local_handle_dns(struct local_request *r)
{
	if (has_netmap(r))
		local_json(r, HTTP_OK, local_dns(&tailnet_netmap(r->t)->dns));
}

void local_handle_cert_domains(struct local_request *r)
{
	const struct nm_dns *dns = &tailnet_netmap(r->t)->dns;

	local_json(r, HTTP_OK, local_texts(dns->cert_domains, dns->n_cert_domains));
}

void local_handle_reload(struct local_request *r)
{
	char err[512] = "";
	bool reloaded = daemon_reload(r->local->d, err) == 0;

	local_json(r, HTTP_OK, json_pack("{s:b, s:s}", "Reloaded", reloaded, "Err", err));
}

// A positive number; false: answered.
static bool read_id(struct local_request *r, int64_t *out)
{
	const char *text = local_query(r, "id");
	char *end = NULL;
	long long id = text != NULL ? strtoll(text, &end, 10) : 0;

	*out = id;
	if (text != NULL && *end == '\0' && id > 0)
		return true;
	local_text(r, HTTP_BADREQUEST, "invalid 'id' parameter");
	return false;
}

void local_handle_peer(struct local_request *r)
{
	int64_t id;

	if (!read_id(r, &id))
		return;
	const struct nm_peer *peer = netmap_peer(tailnet_netmap(r->t), id);
	if (peer == NULL)
		local_text(r, HTTP_NOTFOUND, "no peer with that NodeID");
	else
		local_json(r, HTTP_OK, local_node(peer->node));
}

void local_handle_user(struct local_request *r)
{
	int64_t id;

	if (!read_id(r, &id))
		return;
	const struct nm_user *user = local_user_of(tailnet_netmap(r->t), id);
	if (user == NULL)
		local_text(r, HTTP_NOTFOUND, "no user with that UserID");
	else
		local_json(r, HTTP_OK, local_user(user));
}

static bool has_address(const struct nm_node *n, const struct ip_addr *addr)
{
	for (uint32_t i = 0; i < n->n_addresses; i++)
		if (ip_addr_equal(&n->addresses[i].addr, addr))
			return true;
	return false;
}

static const struct nm_node *node_by_addr(const struct netmap *nm, const struct ip_addr *addr)
{
	if (nm->self != NULL && has_address(nm->self, addr))
		return nm->self;
	const struct nm_peer *peer = netmap_peer_by_addr(nm, addr);
	return peer != NULL ? peer->node : NULL;
}

static const struct nm_node *node_by_key(const struct netmap *nm, const struct key *key)
{
	if (nm->self != NULL && memcmp(&nm->self->key, key, sizeof(*key)) == 0)
		return nm->self;
	const struct nm_peer *peer = netmap_peer_by_key(nm, key);
	return peer != NULL ? peer->node : NULL;
}

// "100.64.0.1", "[fd7a::1]:80", "nodekey:...". NULL in *out: nobody's. Returns NULL, or what is
// wrong with the text.
static const char *find_node(const struct netmap *nm, const char *text, const struct nm_node **out)
{
	struct endpoint at = {};
	struct key key;

	if (text == NULL)
		return "missing 'addr' parameter";
	if (strncmp(text, "nodekey:", 8) == 0) {
		if (typed_key_parse(text, "nodekey:", &key) < 0)
			return "invalid nodekey in 'addr' parameter";
		*out = node_by_key(nm, &key);
		return NULL;
	}
	if (ip_addr_parse(text, &at.addr) < 0 && endpoint_parse(text, &at) < 0)
		return "invalid 'addr' parameter";
	*out = node_by_addr(nm, &at.addr);
	return NULL;
}

// What the node may do here by grants of the packet filter, judged by its first address.
static json_t *caps_of(const struct netmap *nm, const struct nm_node *n)
{
	const struct ip_addr *src = n->n_addresses > 0 ? &n->addresses[0].addr : NULL, *dst = NULL;

	for (uint32_t i = 0; src != NULL && dst == NULL && i < nm->self->n_addresses; i++)
		if (nm->self->addresses[i].addr.family == src->family)
			dst = &nm->self->addresses[i].addr;
	json_t *caps = dst != NULL ? tn_peer_caps(nm, src, dst) : NULL;
	if (json_object_size(caps) > 0)
		return caps;
	json_decref(caps);
	return json_null();
}

static json_t *profile_of(const struct netmap *nm, int64_t id)
{
	const struct nm_user *user = local_user_of(nm, id);
	const struct nm_user nobody = {.id = id};

	return local_user(user != NULL ? user : &nobody);
}

void local_handle_whois(struct local_request *r)
{
	const struct netmap *nm = tailnet_netmap(r->t);
	const struct nm_node *node = NULL;
	const char *wrong = find_node(nm, local_query(r, "addr"), &node);

	if (wrong != NULL)
		local_text(r, HTTP_BADREQUEST, "%s", wrong);
	else if (node == NULL || nm->self == NULL)
		local_text(r, HTTP_NOTFOUND, "no match for IP:port");
	else
		local_json(r, HTTP_OK,
			json_pack("{s:o, s:o, s:o}", "Node", local_node(node), "UserProfile",
				profile_of(nm, node->user), "CapMap", caps_of(nm, node)));
}

void local_handle_suggest(struct local_request *r)
{
	const char *why;
	const struct nm_node *n = tailnet_suggest_exit(r->t, &why);

	if (why != NULL)
		local_json(r, HTTP_INTERNAL, json_pack("{s:s}", "error", why));
	else
		local_json(r, HTTP_OK,
			json_pack("{s:s, s:s}", "ID",
				n != NULL && n->stable_id != NULL ? n->stable_id : "", "Name",
				n != NULL && n->name != NULL ? n->name : ""));
}

static unsigned count_routes(const struct ip_prefix *list, uint32_t n)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += list[i].len != 0;
	return count;
}

// Of the routes that we advertise, those that peers may use.
static unsigned count_approved(const struct ip_prefix *list, uint32_t n, const struct nm_node *self)
{
	unsigned count = 0;

	for (uint32_t i = 0; self != NULL && i < n; i++)
		for (uint32_t k = 0; k < self->n_allowed_ips; k++)
			count += list[i].len != 0 && list[i].len == self->allowed_ips[k].len &&
				 ip_addr_equal(&list[i].addr, &self->allowed_ips[k].addr);
	return count;
}

static void add_gauge(struct evbuffer *out, const char *name, const char *labels, const char *help,
	unsigned value)
{
	evbuffer_add_printf(
		out, "# TYPE tailscaled_%s gauge\n# HELP tailscaled_%s %s\n", name, name, help);
	evbuffer_add_printf(out, "tailscaled_%s%s %u\n", name, labels, value);
}

// The names of the real daemon. Traffic is under Tailgate's own names in its metrics.
void local_handle_metrics(struct local_request *r)
{
	const struct nm_node *self = tailnet_netmap(r->t)->self;
	uint32_t n, n_apps;
	const struct ip_prefix *networks = tailnet_networks(r->t, &n);
	const struct ip_prefix *apps = tailnet_app_networks(r->t, &n_apps);
	struct evbuffer *out = evbuffer_new();
	unsigned n_health = 0;

	if (out == NULL) {
		local_text(r, HTTP_INTERNAL, "out of memory");
		return;
	}
	tailnet_health(r->t, &n_health);
	add_gauge(out, "advertised_routes", "",
		"Number of advertised network routes (e.g. by a subnet router)",
		count_routes(networks, n) + n_apps);
	add_gauge(out, "approved_routes", "",
		"Number of approved network routes (e.g. by a subnet router)",
		count_approved(networks, n, self) + count_approved(apps, n_apps, self));
	add_gauge(out, "health_messages", "{type=\"warning\"}",
		"Number of health messages broken down by type.", n_health);
	add_gauge(out, "home_derp_region_id", "", "DERP region ID of this node's home relay server",
		tailnet_netcheck(r->t)->preferred);
	ctl_send(r->req, HTTP_OK, "text/plain;version=0.0.4;charset=utf-8", out);
	evbuffer_free(out);
}
