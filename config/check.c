// What no single key can tell: contradictions between keys, duplicates, missing keys.
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "config/reader.h"

static config_setting_t *group_of(const struct config_reader *r, const char *list, uint32_t i)
{
	return config_setting_get_elem(config_setting_get_member(r->tree.root, list), i);
}

static bool has(const config_setting_t *group, const char *name)
{
	return config_setting_get_member(group, name) != NULL;
}

static int check_private_key(struct config_reader *r)
{
	const config_setting_t *root = r->tree.root;
	if (has(root, "private_key") && has(root, "private_key_file"))
		return reader_refuse_member(
			r, root, "private_key", "private_key_file is there as well; keep one");
	bool any = has(root, "private_key") || has(root, "private_key_file");
	if (any && r->config->tailnet)
		return reader_refuse_member(r, root, "tailnet",
			"a tailnet node makes its own key; leave private_key out, or tailnet");
	if (!any && !r->config->tailnet)
		return reader_refuse_member(r, root, "private_key_file",
			"missing; 'wg genkey' makes a key, write the name of its file here");
	return 0;
}

// What a tailnet node gets from the coordination server cannot be written here as well.
static int check_tailnet(struct config_reader *r)
{
	static const char *const theirs[] = {"addresses", "peers"};
	const config_setting_t *root = r->tree.root;
	if (!r->config->tailnet)
		return 0;
	for (unsigned i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++) {
		if (has(root, theirs[i]))
			return reader_refuse_member(r, root, theirs[i],
				"a tailnet node gets them from its coordination server; leave them "
				"out, or tailnet");
	}
	if (!has(root, "mtu"))
		(void)config_tailnet_mtu(getenv(CONFIG_MTU_VARIABLE), &r->config->mtu);
	return 0;
}

static int check_top(struct config_reader *r)
{
	const struct config *c = r->config;
	const config_setting_t *root = r->tree.root;
	if (c->announce_table == CONFIG_TAILNET_TABLE ||
		(c->announce_table >= 252 && c->announce_table <= 253))
		return reader_refuse_member(r, root, "announce_table",
			"%u has other uses; write 1 to 251 but for %u, or 254, which is main",
			c->announce_table, CONFIG_TAILNET_TABLE);
	if (c->n_cpus > 0 && c->n_cpus != c->workers)
		return reader_refuse_member(
			r, root, "cpus", "has %u CPUs for %u workers", c->n_cpus, c->workers);
	if (c->tun[0] == '\0' && c->addresses.count > 0)
		return reader_refuse_member(
			r, root, "addresses", "there is no TUN to give them to; set tun");
	for (uint32_t i = 0; i < c->addresses.count; i++) {
		if (c->addresses.list[i].addr.family == IP_V6 && c->mtu < 1280)
			return reader_refuse_member(r, root, "mtu",
				"%u bytes are too few for the IPv6 address in addresses; write at "
				"least "
				"1280",
				c->mtu);
	}
	return 0;
}

static int check_port_keys(struct config_reader *r, uint32_t i)
{
	const struct config_port *p = &r->config->ports[i];
	const config_setting_t *group = group_of(r, "ports", i);
	if (p->name[0] == '\0')
		return reader_refuse_member(r, group, "name", "missing; every port needs a name");
	if (p->interface[0] && p->device[0])
		return reader_refuse_member(r, group, "device",
			"interface is there as well; keep interface for a port shared with the "
			"kernel or "
			"device for one that DPDK owns");
	if (!p->interface[0] && !p->device[0])
		return reader_refuse_member(r, group, "interface",
			"missing; write the network interface here, or device = a PCI address");
	if (p->interface[0] && has(group, "mirror"))
		return reader_refuse_member(r, group, "mirror",
			"only a port with device has a mirror: %s stays with the kernel",
			p->interface);
	if (p->interface[0] && p->addresses.count > 0)
		return reader_refuse_member(r, group, "addresses",
			"only a port with device takes addresses; give them to %s with ip address",
			p->interface);
	if (p->device[0] && p->mirror[0] == '\0' && p->addresses.count > 0)
		return reader_refuse_member(
			r, group, "addresses", "there is no mirror to give them to; set mirror");
	return 0;
}

// The kernel's name of a port's interface; "" without one.
static const char *port_ifname(const struct config_port *p)
{
	return p->interface[0] ? p->interface : p->mirror;
}

static int check_port_unique(struct config_reader *r, uint32_t i)
{
	const struct config *c = r->config;
	const struct config_port *p = &c->ports[i];
	const config_setting_t *group = group_of(r, "ports", i);
	const char *key = p->interface[0] ? "interface" : has(group, "mirror") ? "mirror" : "name";
	const char *ifname = port_ifname(p);
	if (ifname[0] && strcmp(ifname, c->tun) == 0)
		return reader_refuse_member(
			r, group, key, "\"%s\" is the name of the TUN interface", ifname);
	for (uint32_t j = 0; j < i; j++) {
		const struct config_port *q = &c->ports[j];
		if (strcmp(p->name, q->name) == 0)
			return reader_refuse_member(
				r, group, "name", "\"%s\" is the name of ports[%u]", p->name, j);
		if (p->device[0] && strcmp(p->device, q->device) == 0)
			return reader_refuse_member(r, group, "device",
				"\"%s\" is the device of ports[%u]", p->device, j);
		if (ifname[0] && strcmp(ifname, port_ifname(q)) == 0)
			return reader_refuse_member(
				r, group, key, "\"%s\" is the interface of ports[%u]", ifname, j);
	}
	return 0;
}

static int check_ports(struct config_reader *r)
{
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < r->config->n_ports; i++)
		rc = check_port_keys(r, i);
	for (uint32_t i = 0; rc == 0 && i < r->config->n_ports; i++)
		rc = check_port_unique(r, i);
	return rc;
}

static int check_peer_keys(struct config_reader *r, uint32_t i, const struct key *own)
{
	const config_setting_t *group = group_of(r, "peers", i);
	if (!has(group, "public_key"))
		return reader_refuse_member(
			r, group, "public_key", "missing; every peer needs one");
	if (memcmp(&r->config->peers[i].public_key, own, KEY_LEN) == 0)
		return reader_refuse_member(
			r, group, "public_key", "is this gateway's own; write the peer's");
	if (has(group, "preshared_key") && has(group, "preshared_key_file"))
		return reader_refuse_member(
			r, group, "preshared_key", "preshared_key_file is there as well; keep one");
	return 0;
}

static int order_of_keys(const void *a, const void *b, void *config)
{
	const struct config *c = config;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = memcmp(&c->peers[i].public_key, &c->peers[j].public_key, KEY_LEN);
	return order ? order : (i > j) - (i < j);
}

static int order_of_names(const void *a, const void *b, void *config)
{
	const struct config *c = config;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = strcmp(c->peers[i].name, c->peers[j].name);
	return order ? order : (i > j) - (i < j);
}

static const char *peer_label(const struct config *c, uint32_t i, char text[static 96])
{
	const char *name = c->peers[i].name;
	snprintf(text, 96, name[0] ? "peers[%u] (%s)" : "peers[%u]", i, name);
	return text;
}

// Sort index, and refuse the first peer in the file that repeats an earlier one's key or name.
static int check_peers_unique(struct config_reader *r, uint32_t *index, const char *key,
	int (*order)(const void *, const void *, void *))
{
	struct config *c = r->config;
	uint32_t first = 0, second = UINT32_MAX;
	char label[96];
	bool names = order == order_of_names;
	for (uint32_t i = 0; i < c->n_peers; i++)
		index[i] = i;
	qsort_r(index, c->n_peers, sizeof(*index), order, c);
	for (uint32_t i = 1; i < c->n_peers; i++) {
		const struct config_peer *p = &c->peers[index[i - 1]], *q = &c->peers[index[i]];
		bool same = names ? p->name[0] && strcmp(p->name, q->name) == 0
				  : memcmp(&p->public_key, &q->public_key, KEY_LEN) == 0;
		if (same && index[i] < second) {
			first = index[i - 1];
			second = index[i];
		}
	}
	if (second == UINT32_MAX)
		return 0;
	return reader_refuse_member(r, group_of(r, "peers", second), key,
		"is the same as that of %s", peer_label(c, first, label));
}

// Where an allowed IP stands in the file.
struct allowed_at {
	const struct ip_prefix *prefix;
	uint32_t peer;
	uint32_t index;
};

static int order_in_file(const struct allowed_at *a, const struct allowed_at *b)
{
	if (a->peer != b->peer)
		return a->peer < b->peer ? -1 : 1;
	return (a->index > b->index) - (a->index < b->index);
}

static int order_of_prefixes(const void *first, const void *second)
{
	const struct allowed_at *a = first, *b = second;
	int order = (int)a->prefix->addr.family - (int)b->prefix->addr.family;
	if (order == 0)
		order = (int)a->prefix->len - (int)b->prefix->len;
	if (order == 0)
		order = memcmp(a->prefix->addr.bytes, b->prefix->addr.bytes,
			sizeof(a->prefix->addr.bytes));
	return order ? order : order_in_file(a, b);
}

static bool prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->len == b->len && ip_addr_equal(&a->addr, &b->addr);
}

static int refuse_allowed(
	struct config_reader *r, const struct allowed_at *at, const struct allowed_at *before)
{
	char text[PREFIX_TEXT_LEN], label[96];
	const config_setting_t *group = group_of(r, "peers", at->peer);
	const config_setting_t *list = config_setting_get_member(group, "allowed_ips");
	const config_setting_t *s = config_setting_get_elem(list, at->index);
	ip_prefix_format(at->prefix, text);
	if (at->peer == before->peer)
		return reader_refuse(r, s, "%s is in the list twice", text);
	return reader_refuse(r, s, "%s is an allowed IP of %s already", text,
		peer_label(r->config, before->peer, label));
}

static uint32_t collect_allowed(const struct config *c, struct allowed_at *all)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < c->n_peers; i++)
		for (uint32_t j = 0; j < c->peers[i].n_allowed_ips; j++)
			all[n++] = (struct allowed_at){&c->peers[i].allowed_ips[j], i, j};
	return n;
}

static int check_allowed_ips(struct config_reader *r)
{
	const struct config *c = r->config;
	size_t total = 1;
	for (uint32_t i = 0; i < c->n_peers; i++)
		total += c->peers[i].n_allowed_ips;
	struct allowed_at *all = malloc(total * sizeof(*all));
	if (!all) {
		(void)reader_refuse(r, NULL, "out of memory");
		return -ENOMEM;
	}
	const struct allowed_at *first = NULL, *second = NULL;
	uint32_t n = collect_allowed(c, all);
	qsort(all, n, sizeof(*all), order_of_prefixes);
	for (uint32_t i = 1; i < n; i++) {
		if (prefix_equal(all[i].prefix, all[i - 1].prefix) &&
			(!second || order_in_file(&all[i], second) < 0)) {
			first = &all[i - 1];
			second = &all[i];
		}
	}
	int rc = second ? refuse_allowed(r, second, first) : 0;
	free(all);
	return rc;
}

static int check_peers(struct config_reader *r)
{
	struct config *c = r->config;
	struct key own;
	int rc = 0;
	if (c->n_peers == 0)
		return 0;
	crypto_scalarmult_base(own.bytes, c->private_key.bytes);
	for (uint32_t i = 0; rc == 0 && i < c->n_peers; i++)
		rc = check_peer_keys(r, i, &own);
	// The index is sorted by name first and by key last, as config_peer_find wants it.
	if (rc == 0)
		rc = check_peers_unique(r, c->peers_by_key, "name", order_of_names);
	if (rc == 0)
		rc = check_peers_unique(r, c->peers_by_key, "public_key", order_of_keys);
	return rc < 0 ? rc : check_allowed_ips(r);
}

int reader_check(struct config_reader *r)
{
	int rc = check_private_key(r);
	if (rc == 0)
		rc = check_tailnet(r);
	if (rc == 0)
		rc = check_top(r);
	if (rc == 0)
		rc = check_ports(r);
	if (rc == 0)
		rc = check_peers(r);
	return rc;
}
