#include "config/value.h"

#include <ctype.h>
#include <errno.h>

#include "config/reader.h"

static int read_bool(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	if (s->type != CONFIG_TYPE_BOOL)
		return reader_refuse(r, s, "expected true or false, found %s", reader_kind(s));
	*(bool *)field = config_setting_get_bool(s);
	return 0;
}

// Number in the key's range.
static int number_of(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, uint32_t *out)
{
	if (s->type != CONFIG_TYPE_INT && s->type != CONFIG_TYPE_INT64)
		return reader_refuse(r, s, "expected a number, found %s", reader_kind(s));
	long long v = s->type == CONFIG_TYPE_INT ? config_setting_get_int(s)
						 : config_setting_get_int64(s);
	if (v < k->min || v > k->max)
		return reader_refuse(r, s, "%lld is out of range; write %u to %u%s%s", v, k->min,
			k->max, k->unit ? " " : "", k->unit ? k->unit : "");
	*out = (uint32_t)v;
	return 0;
}

static int read_number(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, void *field)
{
	return number_of(r, k, s, field);
}

const char *reader_string(struct config_reader *r, const config_setting_t *s)
{
	if (s->type == CONFIG_TYPE_STRING)
		return config_setting_get_string(s);
	(void)reader_refuse(r, s, "expected a string in quotes, found %s", reader_kind(s));
	return NULL;
}

static int read_choice(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, void *field)
{
	char list[128] = "";
	const char *text = reader_string(r, s);
	if (!text)
		return -EINVAL;
	for (const struct config_choice *c = k->choices; c->name; c++) {
		if (strcmp(c->name, text) == 0) {
			*(uint32_t *)field = c->value;
			return 0;
		}
		size_t n = strlen(list);
		snprintf(list + n, sizeof(list) - n, "%s%s",
			c == k->choices ? "" : (c[1].name ? ", " : " or "), c->name);
	}
	return reader_refuse(r, s, "unknown value \"%s\"; write %s", text, list);
}

// A string that fits into the field and has only printable characters.
static const char *field_text(
	struct config_reader *r, const struct config_key *k, const config_setting_t *s)
{
	const char *text = reader_string(r, s);
	if (!text)
		return NULL;
	if (strlen(text) >= k->size) {
		(void)reader_refuse(
			r, s, "has %zu characters; at most %zu fit", strlen(text), k->size - 1);
		return NULL;
	}
	for (const char *c = text; *c; c++) {
		if (iscntrl((unsigned char)*c)) {
			(void)reader_refuse(r, s, "contains a control character");
			return NULL;
		}
	}
	return text;
}

static int read_text(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, void *field)
{
	const char *text = field_text(r, k, s);
	if (!text)
		return -EINVAL;
	strcpy(field, text);
	return 0;
}

static int read_ifname(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, void *field)
{
	const char *text = field_text(r, k, s);
	if (!text)
		return -EINVAL;
	// The kernel's own rule (dev_valid_name), and no quotes: the guard writes it into nftables.
	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0 || strpbrk(text, "/: \"\\"))
		return reader_refuse(r, s, "\"%s\" is not a valid interface name", text);
	strcpy(field, text);
	return 0;
}

static int read_path(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, void *field)
{
	const char *text = field_text(r, k, s);
	if (!text)
		return -EINVAL;
	if (text[0] != '/')
		return reader_refuse(r, s, "\"%s\" is not an absolute path", text);
	strcpy(field, text);
	return 0;
}

// pattern: x for a hexadecimal digit, anything else for itself.
static bool matches(const char *text, const char *pattern)
{
	for (; *pattern; text++, pattern++) {
		if (*pattern == 'x' ? !isxdigit((unsigned char)*text) : *text != *pattern)
			return false;
	}
	return *text == '\0';
}

// A virtual device is a driver's name with an underscore and a number, then arguments.
static bool is_vdev(const char *text)
{
	size_t n = strcspn(text, ",");
	size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
	return n == word && n > 0 && islower((unsigned char)text[0]) && memchr(text, '_', n);
}

static int read_device(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, void *field)
{
	const char *text = field_text(r, k, s);
	if (!text)
		return -EINVAL;
	if (!matches(text, "xxxx:xx:xx.x") && !matches(text, "xx:xx.x") && !is_vdev(text))
		return reader_refuse(r, s,
			"\"%s\" is neither a PCI address (\"0000:01:00.0\") nor a DPDK virtual "
			"device "
			"(\"net_memif0,role=client\"); a network interface goes into interface",
			text);
	strcpy(field, text);
	return 0;
}

int reader_array(
	struct config_reader *r, const config_setting_t *s, unsigned max, const char *example)
{
	if (s->type != CONFIG_TYPE_ARRAY && s->type != CONFIG_TYPE_LIST)
		return reader_refuse(
			r, s, "expected an array, found %s; write [ %s ]", reader_kind(s), example);
	int n = config_setting_length(s);
	if ((unsigned)n > max)
		return reader_refuse(r, s, "has %d elements; at most %u are possible", n, max);
	return n;
}

static int read_cpus(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, void *field)
{
	uint32_t *cpus = field;
	int n = reader_array(r, s, CONFIG_WORKERS_MAX, "1, 2");
	for (int i = 0; i < n; i++) {
		config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		if (number_of(r, k, e, &cpus[i]) < 0)
			return -EINVAL;
		for (int j = 0; j < i; j++) {
			if (cpus[j] == cpus[i])
				return reader_refuse(r, e, "CPU %u is in the list twice", cpus[i]);
		}
	}
	if (n < 0)
		return n;
	r->config->n_cpus = (uint32_t)n;
	return 0;
}

static int read_udp_ports(
	struct config_reader *r, const struct config_key *k, config_setting_t *s, void *field)
{
	struct config_udp_ports ports = {};
	int n = reader_array(r, s, CONFIG_UDP_PORTS_MAX, "4789, 8472");
	for (int i = 0; i < n; i++) {
		config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		uint32_t port;
		if (number_of(r, k, e, &port) < 0)
			return -EINVAL;
		for (int j = 0; j < i; j++) {
			if (ports.list[j] == port)
				return reader_refuse(r, e, "port %u is in the list twice", port);
		}
		ports.list[i] = (uint16_t)port;
	}
	if (n < 0)
		return n;
	ports.count = (uint32_t)n;
	*(struct config_udp_ports *)field = ports;
	return 0;
}

static bool is_unspecified(const struct ip_addr *a)
{
	const struct ip_addr none = {.family = a->family};
	return ip_addr_equal(a, &none);
}

static int address_of(struct config_reader *r, const config_setting_t *s, struct ip_ifaddr *out)
{
	const char *text = reader_string(r, s);
	if (!text)
		return -EINVAL;
	if (ip_ifaddr_parse(text, out) < 0 || is_unspecified(&out->addr))
		return reader_refuse(r, s,
			"\"%s\" is not an address with the length of its network, such as "
			"\"10.0.0.1/24\" or \"fd00::1/64\"",
			text);
	if (!strchr(text, '/'))
		return reader_refuse(r, s,
			"\"%s\" has no network length; write \"%s/24\" for its network or "
			"\"%s/%u\" "
			"for itself alone",
			text, text, text, out->len);
	return 0;
}

static int read_addresses(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_addresses *a = field;
	int n = reader_array(r, s, CONFIG_ADDRESSES_MAX, "\"10.0.0.1/24\"");
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		if (address_of(r, e, &a->list[i]) < 0)
			return -EINVAL;
		for (int j = 0; j < i; j++) {
			if (ip_addr_equal(&a->list[j].addr, &a->list[i].addr))
				return reader_refuse(r, e, "\"%s\" is in the list twice",
					config_setting_get_string(e));
		}
	}
	if (n < 0)
		return n;
	a->count = (uint32_t)n;
	return 0;
}

static int read_endpoints(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_endpoints *out = field;
	int n = reader_array(r, s, CONFIG_ENDPOINTS_MAX, "\"203.0.113.5:41641\"");
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		const char *text = reader_string(r, e);
		if (!text)
			return -EINVAL;
		if (endpoint_parse(text, &out->list[i]) < 0)
			return reader_refuse(r, e,
				"\"%s\" is not an address with a port, such as "
				"\"203.0.113.5:41641\"",
				text);
	}
	if (n < 0)
		return n;
	out->count = (uint32_t)n;
	return 0;
}

static int dns_listener_of(struct config_reader *r, const config_setting_t *e, struct endpoint *out)
{
	const char *text = reader_string(r, e);
	if (!text)
		return -EINVAL;
	*out = (struct endpoint){.port = 53};
	if (ip_addr_parse(text, &out->addr) < 0 &&
		(endpoint_parse(text, out) < 0 || out->port == 0))
		return reader_refuse(r, e,
			"\"%s\" is not an address, such as \"192.168.1.1\" or, with another port "
			"than 53, \"192.168.1.1:5353\"",
			text);
	if (is_unspecified(&out->addr))
		return reader_refuse(r, e,
			"\"%s\" would answer whoever reaches any interface; name the addresses "
			"that the LAN asks",
			text);
	return 0;
}

static int read_dns_listen(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_endpoints *out = field;
	int n = reader_array(r, s, CONFIG_ENDPOINTS_MAX, "\"192.168.1.1\"");
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		if (dns_listener_of(r, e, &out->list[i]) < 0)
			return -EINVAL;
		for (int j = 0; j < i; j++) {
			if (endpoint_equal(&out->list[j], &out->list[i]))
				return reader_refuse(r, e, "\"%s\" is in the list twice",
					config_setting_get_string(e));
		}
	}
	if (n < 0)
		return n;
	out->count = (uint32_t)n;
	return 0;
}

static int read_listen(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	const char *text = reader_string(r, s);
	if (!text)
		return -EINVAL;
	if (text[0] == '\0') {
		memset(field, 0, sizeof(struct endpoint));
		return 0;
	}
	if (endpoint_parse(text, field) < 0)
		return reader_refuse(r, s,
			"\"%s\" is not an address with a port, such as \"127.0.0.1:9641\" or "
			"\"[::1]:9641\"",
			text);
	return 0;
}

// The reader itself walks into sections, once their parents' values are known.
static int read_section(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *)
{
	if (s->type != CONFIG_TYPE_LIST)
		return reader_refuse(r, s,
			"expected a list of groups, found %s; write %s = ( { ... } )",
			reader_kind(s), s->name);
	return 0;
}

const struct config_type type_bool = {"true or false", read_bool};
const struct config_type type_number = {"number", read_number};
const struct config_type type_choice = {"string", read_choice};
const struct config_type type_text = {"string", read_text};
const struct config_type type_ifname = {"string", read_ifname};
const struct config_type type_path = {"string, an absolute path", read_path};
const struct config_type type_device = {"string", read_device};
const struct config_type type_cpus = {"array of numbers", read_cpus};
const struct config_type type_udp_ports = {"array of numbers", read_udp_ports};
const struct config_type type_addresses = {"array of strings", read_addresses};
const struct config_type type_endpoints = {"array of strings", read_endpoints};
const struct config_type type_dns_listen = {"array of strings", read_dns_listen};
const struct config_type type_listen = {"string", read_listen};
const struct config_type type_section = {"list of groups", read_section};
