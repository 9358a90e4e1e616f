#include "control/kernel/netfilter.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/mem.h"

enum {
	TABLE_LEN = 32,
};

struct netfilter { // ctl only
	struct nft_ctx *nft;
	char table[TABLE_LEN]; // "": there is none
	char tun[IFNAME_LEN];
	struct netfilter_params now; // tun points to the above
	bool valid_mark;	     // the sysctl was 0 and is 1 by us
};

// Where each chain is called from; no hook when the mode is not on.
static const struct chain {
	const char *name, *hook, *rules; // %1$s: the tunnel's interface
} chains[] = {
	// A node's address from elsewhere is forged. ChromeOS has a part of the range to itself.
	{"input", "type filter hook input priority filter",
		"iifname { \"lo\", \"%1$s\" } accept\n"
		"ip saddr 100.115.92.0/23 return\n"
		"ip saddr 100.64.0.0/10 drop\n"},
	{"forward", "type filter hook forward priority filter",
		"iifname \"%1$s\" meta mark set meta mark & 0xff00ffff | 0x40000\n"
		"meta mark & 0xff0000 == 0x40000 accept\n"
		"oifname \"%1$s\" ip saddr 100.64.0.0/10 drop\n"},
	{"postrouting", "type nat hook postrouting priority srcnat", ""},
	// A strict rp_filter is to find the way of our own sockets (net/bypass.h) for answers, too.
	{"prerouting", "type filter hook prerouting priority mangle",
		"ct state established,related ct mark & 0xff0000 == 0x80000 "
		"meta mark set meta mark & 0xff00ffff | 0x80000\n"},
	{"output", "type route hook output priority mangle",
		"ct state new meta mark & 0xff0000 == 0x80000 "
		"ct mark set ct mark & 0xff00ffff | 0x80000\n"},
};

static void put_chain(FILE *f, const struct chain *c, const struct netfilter_params *p)
{
	fprintf(f, "chain %s {\n", c->name);
	if (p->mode == NETFILTER_ON)
		fprintf(f, "%s; policy accept;\n", c->hook);
	for (const char *at = c->rules; *at;) {
		if (strncmp(at, "%1$s", 4) == 0) {
			fputs(p->tun, f);
			at += 4;
		} else {
			fputc(*at++, f);
		}
	}
	if (strcmp(c->name, "forward") == 0 && p->stateful)
		fprintf(f, "oifname \"%s\" ct state != { established, related } drop\n", p->tun);
	if (strcmp(c->name, "forward") == 0)
		fprintf(f, "oifname \"%s\" accept\n", p->tun);
	if (strcmp(c->name, "postrouting") == 0 && p->masquerade)
		fprintf(f, "meta mark & 0xff0000 == 0x40000 masquerade\n");
	fprintf(f, "}\n");
}

// One transaction: what was there goes and what is to be comes, or nothing changes.
static char *script(const char *table, const struct netfilter_params *p, bool owned)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	const char *flags = owned ? " { flags owner; }" : "";
	fprintf(f, "add table inet %s%s\ndelete table inet %s\n", table, flags, table);
	if (p->mode != NETFILTER_OFF) {
		fprintf(f, "table inet %s {\n%s", table, owned ? "flags owner\n" : "");
		for (unsigned i = 0; i < sizeof(chains) / sizeof(chains[0]); i++)
			put_chain(f, &chains[i], p);
		fprintf(f, "}\n");
	}
	fclose(f);
	return text;
}

static int run(struct netfilter *n, const char *table, const struct netfilter_params *p, bool owned,
	char err[static 256])
{
	char *text = script(table, p, owned);
	int rc = nft_run_cmd_from_buffer(n->nft, text);
	const char *said = nft_ctx_get_error_buffer(n->nft);
	free(text);
	if (rc == 0)
		return 0;
	snprintf(err, 256, "nftables refused the host's rules: %.*s", (int)strcspn(said, "\n"),
		said);
	return -EIO;
}

// A strict rp_filter heeds the mark that prerouting restores only with this. -1: not to be had, as
// where /proc is read-only; the doctor says when that matters.
static const char valid_mark[] = "/proc/sys/net/ipv4/conf/all/src_valid_mark";

static int valid_mark_read(void)
{
	FILE *f = fopen(valid_mark, "re");
	if (!f)
		return -1;
	int c = fgetc(f);
	fclose(f);
	return c == '0' || c == '1' ? c - '0' : -1;
}

static bool valid_mark_write(char value)
{
	FILE *f = fopen(valid_mark, "we");
	if (!f)
		return false;
	bool put = fputc(value, f) == value;
	return fclose(f) == 0 && put;
}

// Set while the rules are in force, and as it was behind them; what is somebody else's stays.
static void settle_valid_mark(struct netfilter *n, bool on)
{
	if (on && !n->valid_mark) {
		n->valid_mark = valid_mark_read() == 0 && valid_mark_write('1');
	} else if (!on && n->valid_mark) {
		n->valid_mark = false;
		if (valid_mark_read() == 1)
			(void)!valid_mark_write('0');
	}
}

static void table_name(const char *tun, char out[static TABLE_LEN])
{
	snprintf(out, TABLE_LEN, "tailgate_host_%.15s", tun);
	for (char *c = out; *c; c++) {
		if (strchr("-.@:", *c))
			*c = '_';
	}
}

int netfilter_set(struct netfilter *n, const struct netfilter_params *p, char err[static 256])
{
	char table[TABLE_LEN];
	const struct netfilter_params *now = &n->now;
	size_t len =
		strspn(p->tun, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
	if (len == 0 || len >= IFNAME_LEN || p->tun[len]) {
		snprintf(err, 256, "nftables takes no interface named '%.64s'", p->tun);
		return -EINVAL;
	}
	if (n->table[0] && strcmp(n->tun, p->tun) == 0 && now->mode == p->mode &&
		now->masquerade == p->masquerade && now->stateful == p->stateful)
		return 0;
	table_name(p->tun, table);
	// An owned table is gone before others are let in: the flag cannot be changed.
	bool owned = p->mode != NETFILTER_NO_DIVERT;
	const struct netfilter_params none = {.tun = p->tun};
	if (n->table[0] && (n->now.mode == NETFILTER_NO_DIVERT) == owned)
		(void)!run(n, n->table, &none, !owned, err);
	int rc = run(n, table, p, owned, err);
	if (rc < 0 && owned) // before Linux 5.12
		rc = run(n, table, p, false, err);
	if (rc < 0)
		return rc;
	memcpy(n->table, table, sizeof(table));
	snprintf(n->tun, sizeof(n->tun), "%s", p->tun);
	n->now = *p;
	n->now.tun = n->tun;
	settle_valid_mark(n, p->mode == NETFILTER_ON);
	return 0;
}

struct netfilter *netfilter_create(void)
{
	struct netfilter *n = mem_alloc(sizeof(*n));
	n->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!n->nft) {
		free(n);
		return NULL;
	}
	nft_ctx_buffer_output(n->nft);
	nft_ctx_buffer_error(n->nft);
	return n;
}

void netfilter_destroy(struct netfilter *n)
{
	char err[256];
	if (!n)
		return;
	if (n->table[0]) {
		const struct netfilter_params off = {.tun = n->tun, .mode = NETFILTER_OFF};
		(void)!netfilter_set(n, &off, err); // gone already: somebody cleaned up
	}
	settle_valid_mark(n, false);
	nft_ctx_free(n->nft);
	free(n);
}
