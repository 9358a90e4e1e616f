// How the keys of the address translation are read.
#include <errno.h>
#include <stdlib.h>

#include "config/reader.h"
#include "config/value.h"
#include "dataplane/base/prefix.h"

enum { PORTS_LEAST = 1024 };

// Decimal 1 to 65535, or 0; *end behind it.
static uint16_t port_of(const char *text, const char **end)
{
	size_t n = strspn(text, "0123456789");
	unsigned long v = n > 0 && n <= 5 ? strtoul(text, NULL, 10) : 0;
	*end = text + n;
	return v <= 65535 ? (uint16_t)v : 0;
}

static int read_port_range(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_port_range *out = field;
	const char *text = reader_string(r, s), *end;
	if (!text)
		return -EINVAL;
	uint16_t first = port_of(text, &end);
	uint16_t last = first && *end == '-' ? port_of(end + 1, &end) : 0;
	if (!first || !last || *end || first > last)
		return reader_refuse(
			r, s, "\"%s\" is not a range of ports, such as \"16384-32767\"", text);
	if (last - first + 1 < PORTS_LEAST)
		return reader_refuse(r, s, "%u ports are too few; write at least %u",
			last - first + 1, PORTS_LEAST);
	*out = (struct config_port_range){first, last};
	return 0;
}

// An address that can be a sender's.
static bool is_sender(const struct ip_addr *a)
{
	const struct ip_addr none = {.family = a->family};
	bool multicast = a->family == IP_V4 ? (a->bytes[0] & 0xe0) == 0xe0 : a->bytes[0] == 0xff;
	return !ip_addr_equal(a, &none) && !multicast && !ip_addr_is_loopback(a);
}

// Addresses of hosts, each once; how many, or -EINVAL.
static int read_addrs(struct config_reader *r, const config_setting_t *s, unsigned max,
	const char *example, struct ip_addr *out)
{
	int n = reader_array(r, s, max, example);
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		const char *text = reader_string(r, e);
		if (!text)
			return -EINVAL;
		if (ip_addr_parse(text, &out[i]) < 0 || !is_sender(&out[i]))
			return reader_refuse(r, e,
				"\"%s\" is not the address of a host, such as %s", text, example);
		for (int j = 0; j < i; j++) {
			if (ip_addr_equal(&out[j], &out[i]))
				return reader_refuse(r, e, "\"%s\" is in the list twice", text);
		}
	}
	return n;
}

static int read_pool(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_nat *nat = field;
	int n = read_addrs(r, s, CONFIG_NAT_POOL_MAX, "\"203.0.113.6\"", nat->pool);
	nat->n_pool = n < 0 ? 0 : (uint32_t)n;
	return n < 0 ? n : 0;
}

static int read_hosts(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_hosts *hosts = field;
	int n = read_addrs(r, s, CONFIG_HOSTS_MAX, "\"10.1.0.254\"", hosts->list);
	hosts->count = n < 0 ? 0 : (uint32_t)n;
	return n < 0 ? n : 0;
}

// "KNOWN = REAL"; spaces do not count. 0 or -EINVAL.
static int remap_of(const char *text, struct config_remap *out)
{
	char known[PREFIX_TEXT_LEN], real[PREFIX_TEXT_LEN];
	size_t n = strcspn(text, " =");
	const char *next = text + n + strspn(text + n, " ");
	if (n >= sizeof(known) || *next != '=')
		return -EINVAL;
	memcpy(known, text, n);
	known[n] = '\0';
	next += 1 + strspn(next + 1, " ");
	if (snprintf(real, sizeof(real), "%s", next) >= (int)sizeof(real))
		return -EINVAL;
	if (ip_prefix_parse(known, &out->known) < 0 || ip_prefix_parse(real, &out->real) < 0)
		return -EINVAL;
	return 0;
}

static int check_remap(struct config_reader *r, const config_setting_t *s,
	const struct config_nat *nat, unsigned i)
{
	char text[PREFIX_TEXT_LEN];
	const struct config_remap *m = &nat->remap[i];
	if (m->known.addr.family != m->real.addr.family || m->known.len != m->real.len)
		return reader_refuse(r, s, "both networks have to be of one family and length");
	if (ip_prefix_overlap(&m->known, &m->real))
		return reader_refuse(r, s, "the networks overlap: %s would be translated twice",
			ip_prefix_format(&m->known, text));
	for (unsigned j = 0; j < i; j++) {
		const struct config_remap *o = &nat->remap[j];
		if (ip_prefix_overlap(&m->known, &o->known) ||
			ip_prefix_overlap(&m->real, &o->real) ||
			ip_prefix_overlap(&m->known, &o->real) ||
			ip_prefix_overlap(&m->real, &o->known))
			return reader_refuse(r, s, "overlaps with nat_remap[%u]", j);
	}
	return 0;
}

static int read_remap(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_nat *nat = field;
	int n = reader_array(r, s, CONFIG_NAT_REMAP_MAX, "\"10.9.0.0/24 = 192.168.1.0/24\"");
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		const char *text = reader_string(r, e);
		if (!text)
			return -EINVAL;
		if (remap_of(text, &nat->remap[i]) < 0)
			return reader_refuse(r, e,
				"\"%s\" does not name two networks, such as "
				"\"10.9.0.0/24 = 192.168.1.0/24\"",
				text);
		if (check_remap(r, e, nat, (unsigned)i) < 0)
			return -EINVAL;
	}
	if (n < 0)
		return n;
	nat->n_remap = (uint32_t)n;
	return 0;
}

const struct config_type type_port_range = {"string, a range of ports", read_port_range};
const struct config_type type_hosts = {"array of strings", read_hosts};
const struct config_type type_pool = {"array of strings", read_pool};
const struct config_type type_remap = {"array of strings", read_remap};
