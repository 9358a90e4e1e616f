#include "config/import.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

#include "config/reader.h"

struct import {
	const char *name; // of the file
	FILE *warnings;
	struct config_error *err;
	struct config *config;
	unsigned line;
	const char *key;       // of this line, as written
	bool interface;	       // the line is in [Interface]; otherwise in the last [Peer]
	unsigned section_line; // 0: before the first section
	bool has_private_key;
	bool has_listen_port;
	uint32_t peers_room;
	uint32_t allowed_room; // of the last peer
};

// How a key's value is taken; value is trimmed and may be written to.
struct import_key {
	const char *name;
	bool interface;
	int (*take)(struct import *m, char *value);
	const char *left_out; // instead of take: why there is no equivalent
};

static int refuse(struct import *m, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int refuse(struct import *m, unsigned line, const char *format, ...)
{
	va_list args;
	memset(m->err, 0, sizeof(*m->err));
	m->err->line = line;
	snprintf(m->err->file, sizeof(m->err->file), "%s", m->name);
	if (m->key)
		snprintf(m->err->key, sizeof(m->err->key), "%s", m->key);
	va_start(args, format);
	vsnprintf(m->err->message, sizeof(m->err->message), format, args);
	va_end(args);
	for (char *c = m->err->message; *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	return -EINVAL;
}

static int out_of_memory(struct import *m)
{
	(void)refuse(m, m->line, "out of memory");
	return -ENOMEM;
}

static void warn(struct import *m, const char *text)
{
	fprintf(m->warnings, "%s:%u: %s: %s\n", m->name, m->line, m->key, text);
}

static char *trim(char *text)
{
	size_t n = strlen(text);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	text[n] = '\0';
	return text + strspn(text, " \t\r\v\f");
}

static struct config_peer *last_peer(struct import *m)
{
	return &m->config->peers[m->config->n_peers - 1];
}

static int number_of(struct import *m, const char *value, unsigned min, unsigned max, uint32_t *out)
{
	size_t n = strlen(value);
	unsigned long v = strtoul(value, NULL, 10);
	if (n == 0 || n > 9 || strspn(value, "0123456789") != n || v < min || v > max)
		return refuse(m, m->line, "\"%s\" is not a number from %u to %u", value, min, max);
	*out = (uint32_t)v;
	return 0;
}

static int key_of(struct import *m, const char *value, struct key *out)
{
	if (key_parse(value, out) < 0)
		return refuse(m, m->line, "is not a key of %d characters of base64", KEY_TEXT_LEN);
	return 0;
}

static int take_private_key(struct import *m, char *value)
{
	int rc = key_of(m, value, &m->config->private_key);
	if (rc == 0 && key_is_zero(&m->config->private_key))
		return refuse(m, m->line, "is a key of zeroes only");
	m->has_private_key = true;
	return rc;
}

static int take_listen_port(struct import *m, char *value)
{
	m->has_listen_port = true;
	return number_of(m, value, 0, 65535, &m->config->listen_port);
}

static int take_mtu(struct import *m, char *value)
{
	return number_of(m, value, CONFIG_MTU_MIN, CONFIG_MTU_MAX, &m->config->mtu);
}

static int take_table(struct import *m, char *value)
{
	if (strcasecmp(value, "auto") == 0)
		return 0;
	m->config->routes = false;
	if (strcasecmp(value, "off") != 0)
		warn(m, "routes go into the main table only; routes = false is written, install "
			"them yourself");
	return 0;
}

static int take_fwmark(struct import *m, char *value)
{
	if (strcmp(value, "0") != 0 && strcasecmp(value, "off") != 0)
		warn(m, "there is no equivalent; Tailgate's packets do not cross the kernel's "
			"routing");
	return 0;
}

static int take_save_config(struct import *m, char *value)
{
	if (strcasecmp(value, "true") == 0)
		warn(m, "there is no equivalent; tailgate.conf is never written to");
	return 0;
}

// Each element of a list with commas. An empty value is an empty list.
static int each_element(struct import *m, char *value, int (*take)(struct import *m, char *element))
{
	char *rest = value, *element;
	if (*value == '\0')
		return 0;
	while ((element = strsep(&rest, ","))) {
		int rc = take(m, trim(element));
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int take_one_address(struct import *m, char *text)
{
	struct config_addresses *a = &m->config->addresses;
	struct ip_ifaddr address;
	if (ip_ifaddr_parse(text, &address) < 0)
		return refuse(m, m->line, "\"%s\" is not an address", text);
	for (uint32_t i = 0; i < a->count; i++) {
		if (ip_addr_equal(&a->list[i].addr, &address.addr))
			return refuse(m, m->line, "\"%s\" is there twice", text);
	}
	if (a->count == CONFIG_ADDRESSES_MAX)
		return refuse(m, m->line, "more than %d addresses", CONFIG_ADDRESSES_MAX);
	a->list[a->count++] = address;
	return 0;
}

static int take_address(struct import *m, char *value)
{
	return each_element(m, value, take_one_address);
}

static int take_public_key(struct import *m, char *value)
{
	return key_of(m, value, &last_peer(m)->public_key);
}

static int take_preshared_key(struct import *m, char *value)
{
	return key_of(m, value, &last_peer(m)->preshared_key);
}

static int take_endpoint(struct import *m, char *value)
{
	if (config_endpoint_parse(value, last_peer(m)) < 0)
		return refuse(
			m, m->line, "\"%s\" is not an address or a host name with a port", value);
	return 0;
}

static int take_keepalive(struct import *m, char *value)
{
	uint32_t *keepalive = &last_peer(m)->persistent_keepalive_s;
	if (strcasecmp(value, "off") != 0)
		return number_of(m, value, 0, 65535, keepalive);
	*keepalive = 0;
	return 0;
}

static int take_one_allowed_ip(struct import *m, char *text)
{
	struct config_peer *p = last_peer(m);
	struct ip_prefix prefix;
	if (ip_prefix_parse(text, &prefix) < 0)
		return refuse(m, m->line, "\"%s\" is not a network", text);
	if (p->n_allowed_ips == CONFIG_ALLOWED_IPS_MAX)
		return refuse(m, m->line, "more than %d allowed IPs", CONFIG_ALLOWED_IPS_MAX);
	if (p->n_allowed_ips == m->allowed_room) {
		uint32_t room = m->allowed_room ? m->allowed_room * 2 : 4;
		void *grown = realloc(p->allowed_ips, room * sizeof(prefix));
		if (!grown)
			return out_of_memory(m);
		p->allowed_ips = grown;
		m->allowed_room = room;
	}
	p->allowed_ips[p->n_allowed_ips++] = prefix;
	return 0;
}

static int take_allowed_ips(struct import *m, char *value)
{
	return each_element(m, value, take_one_allowed_ip);
}

static const char not_executed[] =
	"not executed; do it in a unit of the init system, if it is needed";

static const struct import_key keys[] = {
	{"PrivateKey", true, take_private_key, NULL},
	{"ListenPort", true, take_listen_port, NULL},
	{"Address", true, take_address, NULL},
	{"MTU", true, take_mtu, NULL},
	{"Table", true, take_table, NULL},
	{"FwMark", true, take_fwmark, NULL},
	{"SaveConfig", true, take_save_config, NULL},
	{"DNS", true, NULL, "there is no equivalent; set the host's resolver yourself"},
	{"PreUp", true, NULL, not_executed},
	{"PostUp", true, NULL, not_executed},
	{"PreDown", true, NULL, not_executed},
	{"PostDown", true, NULL, not_executed},
	{"PublicKey", false, take_public_key, NULL},
	{"PresharedKey", false, take_preshared_key, NULL},
	{"AllowedIPs", false, take_allowed_ips, NULL},
	{"Endpoint", false, take_endpoint, NULL},
	{"PersistentKeepalive", false, take_keepalive, NULL},
};

// The last [Peer] is over: it needs a key.
static int close_peer(struct import *m)
{
	if (m->section_line == 0 || m->interface || !key_is_zero(&last_peer(m)->public_key))
		return 0;
	m->key = "PublicKey";
	return refuse(m, m->section_line, "missing in this [Peer]");
}

static int open_peer(struct import *m)
{
	struct config *c = m->config;
	if (c->n_peers == CONFIG_PEERS_MAX)
		return refuse(m, m->line, "more than %d peers", CONFIG_PEERS_MAX);
	if (c->n_peers == m->peers_room) {
		uint32_t room = m->peers_room ? m->peers_room * 2 : 4;
		void *grown = calloc(room, sizeof(*c->peers));
		if (!grown)
			return out_of_memory(m);
		if (c->n_peers > 0)
			memcpy(grown, c->peers, c->n_peers * sizeof(*c->peers));
		if (c->peers) // has preshared keys
			sodium_memzero(c->peers, c->n_peers * sizeof(*c->peers));
		free(c->peers);
		c->peers = grown;
		m->peers_room = room;
	}
	memset(&c->peers[c->n_peers++], 0, sizeof(*c->peers));
	m->allowed_room = 0;
	return 0;
}

static int take_section(struct import *m, const char *text)
{
	int rc = close_peer(m);
	if (rc < 0)
		return rc;
	m->key = NULL;
	m->interface = strcasecmp(text, "[Interface]") == 0;
	if (!m->interface && strcasecmp(text, "[Peer]") != 0)
		return refuse(m, m->line, "unknown section; expected [Interface] or [Peer]");
	rc = m->interface ? 0 : open_peer(m);
	if (rc == 0)
		m->section_line = m->line;
	return rc;
}

static int take_setting(struct import *m, char *text)
{
	char *value = strchr(text, '=');
	if (!value)
		return refuse(m, m->line, "expected a section or Key = Value");
	*value++ = '\0';
	m->key = trim(text);
	value = trim(value);
	if (m->section_line == 0)
		return refuse(m, m->line, "stands before the first section");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i].interface != m->interface || strcasecmp(keys[i].name, m->key) != 0)
			continue;
		m->key = keys[i].name;
		if (keys[i].take)
			return keys[i].take(m, value);
		warn(m, keys[i].left_out);
		return 0;
	}
	return refuse(m, m->line, "unknown key in %s", m->interface ? "[Interface]" : "[Peer]");
}

static int take_line(struct import *m, char *text, size_t n)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";
	m->key = NULL;
	if (memchr(text, '\0', n))
		return refuse(m, m->line, "contains a zero byte; expected text in ASCII or UTF-8");
	if (m->line == 1 && strncmp(text, byte_order_mark, 3) == 0)
		text += 3;
	text[strcspn(text, "#")] = '\0';
	text = trim(text);
	if (*text == '\0')
		return 0;
	return *text == '[' ? take_section(m, text) : take_setting(m, text);
}

static int read_lines(struct import *m, FILE *in)
{
	char *text = NULL;
	size_t room = 0;
	ssize_t n;
	int rc = 0;
	errno = 0;
	while (rc == 0 && (n = getline(&text, &room, in)) >= 0) {
		m->line++;
		rc = take_line(m, text, (size_t)n);
	}
	if (rc == 0 && !feof(in)) {
		rc = errno ? -errno : -EIO;
		m->key = NULL;
		(void)refuse(m, 0, "cannot be read: %s", strerror(-rc));
	}
	if (rc == 0)
		rc = close_peer(m);
	m->key = NULL; // it may point into text
	if (text)
		sodium_memzero(text, room);
	free(text);
	return rc;
}

// One allowed IP and its place in the file.
struct allowed_at {
	struct ip_prefix *prefix;
	uint32_t peer;
	uint32_t index;
};

static int order_of_prefixes(const void *first, const void *second)
{
	const struct allowed_at *a = first, *b = second;
	int order = memcmp(a->prefix, b->prefix, sizeof(*a->prefix));
	if (order == 0)
		order = (a->peer > b->peer) - (a->peer < b->peer);
	return order ? order : (a->index > b->index) - (a->index < b->index);
}

static void drop_marked(struct config_peer *p)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < p->n_allowed_ips; i++) {
		if (p->allowed_ips[i].addr.family != IP_NONE)
			p->allowed_ips[kept++] = p->allowed_ips[i];
	}
	p->n_allowed_ips = kept;
}

// A later peer takes an allowed IP away from an earlier one, as in the kernel.
static int settle_allowed_ips(struct import *m)
{
	struct config *c = m->config;
	char text[PREFIX_TEXT_LEN];
	size_t total = 0, n = 0;
	for (uint32_t i = 0; i < c->n_peers; i++)
		total += c->peers[i].n_allowed_ips;
	struct allowed_at *all = calloc(total + 1, sizeof(*all));
	if (!all)
		return out_of_memory(m);
	for (uint32_t i = 0; i < c->n_peers; i++)
		for (uint32_t j = 0; j < c->peers[i].n_allowed_ips; j++)
			all[n++] = (struct allowed_at){&c->peers[i].allowed_ips[j], i, j};
	qsort(all, n, sizeof(*all), order_of_prefixes);
	for (size_t i = 1; i < n; i++) {
		struct allowed_at *lost = &all[i - 1];
		if (memcmp(lost->prefix, all[i].prefix, sizeof(*lost->prefix)) != 0)
			continue;
		if (lost->peer != all[i].peer)
			fprintf(m->warnings,
				"%s: AllowedIPs: %s is there for peers %u and %u; the later one "
				"gets it\n",
				m->name, ip_prefix_format(lost->prefix, text), lost->peer + 1,
				all[i].peer + 1);
		lost->prefix->addr.family = IP_NONE;
	}
	free(all);
	for (uint32_t i = 0; i < c->n_peers; i++)
		drop_marked(&c->peers[i]);
	return 0;
}

// Hold the result against the reader, with the key inline.
static int check_result(struct import *m)
{
	struct config *c = NULL;
	struct config_error err;
	char *text = NULL;
	size_t n = 0;
	FILE *memory = open_memstream(&text, &n);
	if (!memory)
		return out_of_memory(m);
	if (!m->has_private_key)
		m->config->private_key.bytes[0] = 1; // any key, for the check alone
	import_write(m->config, m->has_listen_port, NULL, memory);
	if (!m->has_private_key)
		m->config->private_key.bytes[0] = 0;
	if (fclose(memory) != 0) {
		free(text);
		return out_of_memory(m);
	}
	int rc = config_parse_string(text, m->name, &c, &err);
	sodium_memzero(text, n);
	free(text);
	config_free(c);
	if (rc < 0) {
		m->key = err.key;
		rc = refuse(m, 0, "%s", err.message);
	}
	return rc;
}

static int import(struct import *m, FILE *in, const char *key_path, FILE *out)
{
	int rc = read_lines(m, in);
	if (rc == 0)
		rc = settle_allowed_ips(m);
	if (rc == 0 && !m->has_listen_port)
		m->config->listen_port = 0;
	if (rc == 0)
		rc = check_result(m);
	if (rc < 0)
		return rc;
	if (m->has_private_key && key_path)
		rc = import_write_key(&m->config->private_key, key_path);
	if (rc < 0) {
		(void)refuse(m, 0, "the private key cannot be written to %s: %s", key_path,
			strerror(-rc));
		return rc;
	}
	import_write(m->config, m->has_listen_port, key_path, out);
	if (!m->has_private_key)
		fprintf(m->warnings,
			"%s: PrivateKey: missing; set private_key_file before the start\n",
			m->name);
	return 0;
}

int import_wg(FILE *in, const char *name, const char *key_path, FILE *out, FILE *warnings,
	struct config_error *err)
{
	struct import m = {.name = name, .warnings = warnings, .err = err};
	m.config = config_create();
	if (!m.config)
		return out_of_memory(&m);
	int rc = import(&m, in, key_path, out);
	config_free(m.config);
	return rc;
}
