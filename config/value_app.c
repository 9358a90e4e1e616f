// How the keys of app connectors and services are read.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "config/reader.h"
#include "config/value.h"

enum {
	LABEL_MAX = 63,
	NAME_MAX_LEN = 253,
};

#define SERVICE_EXAMPLE "\"svc:web tcp:443 = 10.1.0.5:8443\""

// Letters, digits, dashes and underscores, dots between.
static bool is_domain(const char *text)
{
	size_t len = strlen(text);
	if (len > NAME_MAX_LEN)
		return false;
	for (;;) {
		size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					"0123456789-_");
		if (n == 0 || n > LABEL_MAX || text[0] == '-' || text[n - 1] == '-')
			return false;
		if (text[n] == '\0')
			return true;
		if (text[n] != '.')
			return false;
		text += n + 1;
	}
}

static int read_domains(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_domains *out = field;
	int n = reader_array(r, s, CONFIG_DOMAINS_MAX, "\"*.example.com\"");
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		const char *text = reader_string(r, e);
		if (!text)
			return -EINVAL;
		if (!is_domain(strncmp(text, "*.", 2) == 0 ? text + 2 : text))
			return reader_refuse(r, e,
				"\"%s\" is not a domain, such as \"example.com\" or "
				"\"*.example.com\"",
				text);
		snprintf(out->list[i], sizeof(out->list[i]), "%s", text);
	}
	if (n < 0)
		return n;
	out->count = (uint32_t)n;
	return 0;
}

// -- services -------------------------------------------------------------------------------------

// Up to the next of the ends; spaces around it do not count. Returns what follows; NULL: too long.
static const char *word_of(const char *text, const char *ends, char *out, size_t room)
{
	text += strspn(text, " ");
	size_t n = strcspn(text, ends), kept = n;
	while (kept > 0 && text[kept - 1] == ' ')
		kept--;
	if (kept >= room)
		return NULL;
	memcpy(out, text, kept);
	out[kept] = '\0';
	return text + n;
}

static bool is_service(const char *name)
{
	return strncmp(name, "svc:", 4) == 0 && !strchr(name, '_') && !strchr(name, '.') &&
	       is_domain(name + 4);
}

// Decimal 1 to 65535, or 0; *end behind it.
static uint16_t port_of(const char *text, const char **end)
{
	size_t n = strspn(text, "0123456789");
	unsigned long v = n > 0 && n <= 5 ? strtoul(text, NULL, 10) : 0;
	*end = text + n;
	return v <= 65535 ? (uint16_t)v : 0;
}

// "tcp:443", "udp:5000-5010", "*".
static bool ports_of(const char *text, struct config_service *out)
{
	const char *end;
	if (strcmp(text, "*") == 0) {
		out->last = UINT16_MAX;
		return true;
	}
	if (strncmp(text, "tcp:", 4) != 0 && strncmp(text, "udp:", 4) != 0)
		return false;
	out->proto = text[0] == 't' ? CONFIG_PROTO_TCP : CONFIG_PROTO_UDP;
	out->first = out->last = port_of(text + 4, &end);
	if (*end == '-')
		out->last = port_of(end + 1, &end);
	return *end == '\0' && out->first != 0 && out->first <= out->last;
}

// An address that a backend can have, with a port or without.
static bool backend_of(const char *text, struct endpoint *out)
{
	*out = (struct endpoint){0};
	if (ip_addr_parse(text, &out->addr) < 0 && (endpoint_parse(text, out) < 0 || !out->port))
		return false;
	const struct ip_addr none = {.family = out->addr.family};
	bool multicast =
		out->addr.family == IP_V4 ? out->addr.bytes[0] >= 224 : out->addr.bytes[0] == 0xff;
	return !multicast && !ip_addr_equal(&out->addr, &none) &&
	       !ip_addr_is_loopback(&out->addr) && !ip_addr_is_link_local(&out->addr);
}

static int read_backends(struct config_reader *r, const config_setting_t *e, const char *text,
	struct config_service *out)
{
	char word[ENDPOINT_TEXT_LEN];
	for (;;) {
		if (out->n_backends == CONFIG_BACKENDS_MAX)
			return reader_refuse(
				r, e, "has more than %u backends", CONFIG_BACKENDS_MAX);
		struct endpoint *b = &out->backend[out->n_backends++];
		text = word_of(text, ",", word, sizeof(word));
		if (!text || !backend_of(word, b))
			return reader_refuse(r, e,
				"\"%s\" is not the address of a backend, with its port or "
				"without, such as \"10.1.0.5:8443\"",
				text ? word : "...");
		if (b->port && out->first != out->last)
			return reader_refuse(r, e,
				"several ports go to the same ports of the backend; leave \":%u\" "
				"out",
				b->port);
		if (*text == '\0')
			return 0;
		text++;
	}
}

static bool overlap(const struct config_service *a, const struct config_service *b)
{
	return strcmp(a->name, b->name) == 0 &&
	       (a->proto == b->proto || a->proto == 0 || b->proto == 0) && a->first <= b->last &&
	       b->first <= a->last;
}

static int read_service(
	struct config_reader *r, const config_setting_t *e, struct config_service *out)
{
	char ports[32];
	const char *text = reader_string(r, e), *rest = text;
	if (!text)
		return -EINVAL;
	rest = word_of(rest, " =", out->name, sizeof(out->name));
	if (!rest || !is_service(out->name))
		return reader_refuse(r, e,
			"\"%s\" does not begin with the name of a service, such as svc:web", text);
	rest = word_of(rest, "=", ports, sizeof(ports));
	if (!rest || *rest != '=' || !ports_of(ports, out))
		return reader_refuse(r, e,
			"\"%s\" does not name ports, such as tcp:443, udp:5000-5010 or *, and "
			"behind = where they lead; write " SERVICE_EXAMPLE,
			text);
	return read_backends(r, e, rest + 1, out);
}

static int read_services(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_services *out = field;
	int n = reader_array(r, s, CONFIG_SERVICES_MAX, SERVICE_EXAMPLE);
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		if (read_service(r, e, &out->list[i]) < 0)
			return -EINVAL;
		for (int j = 0; j < i; j++) {
			if (overlap(&out->list[i], &out->list[j]))
				return reader_refuse(
					r, e, "its ports are in services[%d] already", j);
		}
	}
	if (n < 0)
		return n;
	out->count = (uint32_t)n;
	return 0;
}

const struct config_type type_domains = {"array of strings", read_domains};
const struct config_type type_services = {"array of strings", read_services};
