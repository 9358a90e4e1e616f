#include "control/kernel/guard.h"

#include <errno.h>
#include <jansson.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/mem.h"

struct guard { // ctl only
	struct nft_ctx *nft;
	char table[GUARD_NAME_LEN];
	bool owned; // the kernel removes the table with us
	bool fib;
	bool forwards;		      // there is a table of the inet family, too
	struct guard_counters before; // of tables that were replaced
};

// The ways to write the rules, best first; older kernels refuse the first ones.
static const struct guard_way {
	bool owned, fib;
} ways[] = {{true, true}, {false, true}, {true, false}, {false, false}};

static const char *const counter_names[] = {"tunnel", "routed", "nat"};

static int run(struct guard *g, const char *commands)
{
	if (nft_run_cmd_from_buffer(g->nft, commands) == 0)
		return 0;
	return -EIO;
}

static bool name_fits(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-.@:";
	size_t len = strspn(name, letters);
	return len > 0 && len < IFNAME_LEN && name[len] == '\0';
}

// Table names are narrower than interface names.
static void table_name(const char *tun, char out[static GUARD_NAME_LEN])
{
	snprintf(out, GUARD_NAME_LEN, "tailgate_%.20s", tun);
	for (char *c = out; *c; c++) {
		if (strchr("-.@:", *c))
			*c = '_';
	}
}

// Where rules are put, and what says there that a frame is to this host.
struct chain {
	FILE *f;
	char host[48];
};

static void put_prefixes(const struct chain *c, const struct ip_prefix *prefixes, unsigned n,
	bool only_v4, const char *rest)
{
	char text[PREFIX_TEXT_LEN];
	for (unsigned i = 0; i < n; i++) {
		if (only_v4 && prefixes[i].addr.family != IP_V4)
			continue;
		fprintf(c->f, "%s %s daddr %s %s\n", c->host,
			prefixes[i].addr.family == IP_V4 ? "ip" : "ip6",
			ip_prefix_format(&prefixes[i], text), rest);
	}
}

static void put_tunnel(const struct chain *c, const struct guard_params *p, bool fib,
	uint16_t first, unsigned n, bool only_v4)
{
	char tunnel[80];
	snprintf(tunnel, sizeof(tunnel), "%sudp dport %u-%u counter name tunnel drop",
		only_v4 ? "meta protocol ip " : "", first, first + n - 1);
	if (fib)
		fprintf(c->f, "%s fib daddr type local %s\n", c->host, tunnel);
	else
		put_prefixes(c, p->locals, p->n_locals, only_v4, tunnel);
}

// What answers translated flows: the kernel has no socket for it, and would refuse it.
static void put_nat(const struct chain *c, const struct guard_params *p, bool fib)
{
	char nat[96];
	if (p->nat_first == 0)
		return;
	snprintf(nat, sizeof(nat), "meta l4proto { tcp, udp } th dport %u-%u counter name nat drop",
		p->nat_first, p->nat_last);
	if (fib)
		fprintf(c->f, "%s fib daddr type local %s\n", c->host, nat);
	else
		put_prefixes(c, p->locals, p->n_locals, false, nat);
}

static void put_rules(
	const struct chain *c, const struct guard_params *p, const struct guard_way *way)
{
	// A tag that the NIC took off is seen here: such a packet belongs to the VLAN's interface.
	fprintf(c->f, "ether type { 8021q, 8021ad } accept\n");
	put_tunnel(c, p, way->fib, p->udp_port, 1, false);
	if (p->n_extra_ports > 0)
		put_tunnel(c, p, way->fib, p->extra_port, p->n_extra_ports, true);
	put_nat(c, p, way->fib);
	if (way->fib) {
		if (p->tun)
			fprintf(c->f, "%s fib daddr oifname \"%s\" counter name routed drop\n",
				c->host, p->tun);
		return;
	}
	put_prefixes(c, p->routed, p->n_routed, false, "counter name routed drop");
}

static void put_chain(const struct chain *c, unsigned number, const char *device,
	const struct guard_params *p, const struct guard_way *way)
{
	fprintf(c->f,
		"chain port%u {\ntype filter hook ingress device \"%s\" priority -500; "
		"policy accept;\n",
		number, device);
	put_rules(c, p, way);
	fprintf(c->f, "}\n");
}

// A packet that comes straight from a socket in another namespace whose interface has the same
// number (veth: both ends may be 2) is one of the interface's own to the fib expression at ingress
// (Linux, nft_fib_can_skip), and passes. Behind the kernel's routing there is no doubt left.
static void put_forward(
	FILE *f, const struct guard *g, const struct guard_params *p, const struct guard_way *way)
{
	const char *owner = way->owned ? "flags owner\n" : "";
	fprintf(f, "add table inet %s%s\ndelete table inet %s\n", g->table,
		way->owned ? " { flags owner; }" : "", g->table);
	if (!p->tun || p->n_devices == 0)
		return;
	fprintf(f,
		"table inet %s {\n%scounter routed { }\nchain forward {\n"
		"type filter hook forward priority -300; policy accept;\noifname \"%s\" iifname {",
		g->table, owner, p->tun);
	for (unsigned i = 0; i < p->n_devices; i++)
		fprintf(f, "%s \"%s\"", i ? "," : "", p->devices[i]);
	fprintf(f, " } counter name routed drop\n}\n}\n");
}

// One transaction: what was there goes and what is to be comes, or nothing changes.
static char *script(
	const struct guard *g, const struct guard_params *p, const struct guard_way *way)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	fprintf(f, "add table netdev %s%s\ndelete table netdev %s\ntable netdev %s {\n", g->table,
		way->owned ? " { flags owner; }" : "", g->table, g->table);
	fprintf(f, "%scounter tunnel { }\ncounter routed { }\ncounter nat { }\n",
		way->owned ? "flags owner\n" : "");
	for (unsigned i = 0; i < p->n_devices + p->n_bridged; i++) {
		struct chain c = {.f = f, .host = "meta pkttype host"};
		const struct guard_bridged *b =
			i < p->n_devices ? NULL : &p->bridged[i - p->n_devices];
		if (b)
			snprintf(c.host, sizeof(c.host),
				"ether daddr %02x:%02x:%02x:%02x:%02x:%02x", b->mac[0], b->mac[1],
				b->mac[2], b->mac[3], b->mac[4], b->mac[5]);
		put_chain(&c, i, b ? b->device : p->devices[i], p, way);
	}
	fprintf(f, "}\n");
	put_forward(f, g, p, way);
	fclose(f);
	return text;
}

// Two lines at most of what nft said; its first names the cause.
static void explain(struct guard *g, char err[static 256])
{
	const char *said = nft_ctx_get_error_buffer(g->nft);
	snprintf(err, 256, "nftables refused the ingress rules: %.*s", (int)strcspn(said, "\n"),
		said);
}

static int install(struct guard *g, const struct guard_params *p, char err[static 256])
{
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (p->avoid_fib && ways[i].fib)
			continue;
		char *text = script(g, p, &ways[i]);
		int rc = run(g, text);
		free(text);
		if (rc == 0) {
			g->owned = ways[i].owned;
			g->fib = ways[i].fib;
			g->forwards = p->tun && p->n_devices > 0;
			return 0;
		}
		explain(g, err);
	}
	return -EIO;
}

static bool params_fit(const struct guard_params *p, char err[static 256])
{
	const char *bad = p->tun && !name_fits(p->tun) ? p->tun : NULL;
	for (unsigned i = 0; i < p->n_devices; i++) {
		if (!name_fits(p->devices[i]))
			bad = p->devices[i];
	}
	for (unsigned i = 0; i < p->n_bridged; i++) {
		if (!name_fits(p->bridged[i].device))
			bad = p->bridged[i].device;
	}
	if (bad)
		snprintf(err, 256, "nftables takes no interface named '%.64s'", bad);
	return !bad;
}

int guard_create(const struct guard_params *p, struct guard **out, char err[static 256])
{
	if (!params_fit(p, err))
		return -EINVAL;
	struct guard *g = mem_alloc(sizeof(*g));
	table_name(p->tun ? p->tun : "gateway", g->table);
	g->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!g->nft) {
		free(g);
		snprintf(err, 256, "no nftables context: it takes root or CAP_NET_ADMIN");
		return -EPERM;
	}
	nft_ctx_buffer_output(g->nft);
	nft_ctx_buffer_error(g->nft);
	int rc = install(g, p, err);
	if (rc != 0) {
		nft_ctx_free(g->nft);
		free(g);
		return rc;
	}
	*out = g;
	return 0;
}

int guard_update(struct guard *g, const struct guard_params *p, char err[static 256])
{
	struct guard_counters total = g->before;
	if (!params_fit(p, err))
		return -EINVAL;
	(void)!guard_counters(g, &total); // at worst the counts start again
	int rc = install(g, p, err);
	if (rc == 0)
		g->before = total;
	return rc;
}

static void add_counter(const char *name, json_t *counter, struct guard_counters *sum)
{
	uint64_t packets = json_integer_value(json_object_get(counter, "packets"));
	uint64_t bytes = json_integer_value(json_object_get(counter, "bytes"));
	if (strcmp(name, counter_names[0]) == 0) {
		sum->tunnel_packets += packets;
		sum->tunnel_bytes += bytes;
	} else if (strcmp(name, counter_names[1]) == 0) {
		sum->routed_packets += packets;
		sum->routed_bytes += bytes;
	} else if (strcmp(name, counter_names[2]) == 0) {
		sum->nat_packets += packets;
		sum->nat_bytes += bytes;
	}
}

static int add_counters(struct guard *g, const char *family, struct guard_counters *sum)
{
	char command[64];
	snprintf(command, sizeof(command), "list counters table %s %s", family, g->table);
	nft_ctx_output_set_flags(g->nft, NFT_CTX_OUTPUT_JSON);
	int rc = run(g, command);
	json_t *root = json_loads(nft_ctx_get_output_buffer(g->nft), 0, NULL);
	nft_ctx_output_set_flags(g->nft, 0);
	if (rc != 0 || !root) {
		json_decref(root);
		return -EIO;
	}
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(root, "nftables"), i, item)
	{
		json_t *counter = json_object_get(item, "counter");
		const char *name = json_string_value(json_object_get(counter, "name"));
		if (name)
			add_counter(name, counter, sum);
	}
	json_decref(root);
	return 0;
}

int guard_counters(struct guard *g, struct guard_counters *out)
{
	struct guard_counters sum = g->before;
	int rc = add_counters(g, "netdev", &sum);
	if (rc == 0 && g->forwards)
		rc = add_counters(g, "inet", &sum);
	if (rc == 0)
		*out = sum;
	return rc;
}

bool guard_has_fib(const struct guard *g)
{
	return g->fib;
}

const char *guard_table(const struct guard *g)
{
	return g->table;
}

void guard_destroy(struct guard *g)
{
	if (!g)
		return;
	char command[64];
	snprintf(command, sizeof(command), "delete table netdev %s", g->table);
	(void)!run(g, command); // gone already: somebody cleaned up
	snprintf(command, sizeof(command), "delete table inet %s", g->table);
	if (g->forwards)
		(void)!run(g, command);
	nft_ctx_free(g->nft);
	free(g);
}
