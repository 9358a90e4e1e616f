// Values about peers: keys, endpoints, allowed IPs. No message ever repeats a key: somebody may
// have put the private one where the public one belongs.
#include "config/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/reader.h"

static int key_of(struct config_reader *r, const config_setting_t *s, struct key *out)
{
	if (s->type != CONFIG_TYPE_STRING)
		return reader_refuse(r, s, "expected a key in quotes, found %s", reader_kind(s));
	const char *text = config_setting_get_string(s);
	size_t n = strlen(text);
	if (n != KEY_TEXT_LEN)
		return reader_refuse(
			r, s, "a key has %d characters of base64, this one %zu", KEY_TEXT_LEN, n);
	if (key_parse(text, out) < 0)
		return reader_refuse(r, s, "is not a key in base64, as 'wg genkey' writes it");
	if (key_is_zero(out))
		return reader_refuse(r, s, "is a key of zeroes only");
	return 0;
}

static int read_public_key(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	return key_of(r, s, field);
}

static int read_secret(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	if (r->mode & 077) {
		(void)reader_refuse(r, s,
			"is in a file that group or others may use (mode %04o); chmod 600 %s",
			(unsigned)r->mode & 07777, r->path);
		return -EACCES;
	}
	return key_of(r, s, field);
}

// Open a key file that only its owner may use: the descriptor, or a negative errno.
static int key_file_open(struct config_reader *r, const config_setting_t *s, const char *path)
{
	struct stat st;
	// O_NONBLOCK: a FIFO must not stop the daemon.
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int e = errno;
		(void)reader_refuse(r, s, "cannot open %s: %s", path, strerror(e));
		if (fd >= 0)
			close(fd);
		return -e;
	}
	int rc = 0;
	if (!S_ISREG(st.st_mode)) {
		rc = reader_refuse(r, s, "%s is not a regular file", path);
	} else if (st.st_mode & 077) {
		(void)reader_refuse(r, s, "group or others may use %s (mode %04o); chmod 600 %s",
			path, (unsigned)st.st_mode & 07777, path);
		rc = -EACCES;
	}
	if (rc < 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

// One key and white space around it.
static int key_file_parse(char *text, size_t n, struct key *out)
{
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	text[n] = '\0';
	while (isspace((unsigned char)*text))
		text++;
	return key_parse(text, out);
}

int reader_key_file(
	struct config_reader *r, const config_setting_t *s, const char *name, struct key *out)
{
	char path[CONFIG_PATH_LEN];
	char text[KEY_TEXT_LEN + 20]; // white space around it is fine
	const char *slash = strrchr(r->path, '/');
	int dir_len = name[0] != '/' && slash ? (int)(slash - r->path + 1) : 0;
	if (snprintf(path, sizeof(path), "%.*s%s", dir_len, r->path, name) >= (int)sizeof(path))
		return reader_refuse(r, s, "is longer than %d characters", CONFIG_PATH_LEN - 1);
	int fd = key_file_open(r, s, path);
	if (fd < 0)
		return fd;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	int rc = 0;
	if (n < 0) {
		rc = -errno;
		(void)reader_refuse(r, s, "cannot read %s: %s", path, strerror(-rc));
	} else if (key_file_parse(text, (size_t)n, out) < 0) {
		rc = reader_refuse(r, s,
			"%s holds no key: expected one line of %d characters of base64", path,
			KEY_TEXT_LEN);
	} else if (key_is_zero(out)) {
		rc = reader_refuse(r, s, "%s holds a key of zeroes only", path);
	}
	sodium_memzero(text, sizeof(text));
	close(fd);
	return rc;
}

static int read_secret_file(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	if (s->type != CONFIG_TYPE_STRING)
		return reader_refuse(
			r, s, "expected a file name in quotes, found %s", reader_kind(s));
	const char *name = config_setting_get_string(s);
	if (name[0] == '\0')
		return reader_refuse(r, s, "is empty; write the name of a file");
	return reader_key_file(r, s, name, field);
}

// Letters, digits, '-', '_' in labels of 1 to 63 characters (RFC 1123 and what DNS holds).
static bool is_host_name(const char *host)
{
	size_t label = 0;
	bool letter = false; // a name of digits and dots only is a mistyped address
	if (strlen(host) > 253)
		return false;
	for (const char *c = host; *c; c++) {
		letter = letter || isalpha((unsigned char)*c);
		if (*c == '.' && (label == 0 || label > 63))
			return false;
		if (*c != '.' && !isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return false;
		label = *c == '.' ? 0 : label + 1;
	}
	return letter && label <= 63 && host[0] != '-';
}

// Decimal 1 to 65535, or 0.
static unsigned port_of(const char *text)
{
	size_t n = strspn(text, "0123456789");
	if (n == 0 || n > 5 || text[n])
		return 0;
	unsigned long v = strtoul(text, NULL, 10);
	return v <= 65535 ? (unsigned)v : 0;
}

// The port's colon; NULL when there is none. In a bare IPv6 address no colon is the port's.
static const char *port_colon(const char *text)
{
	struct ip_addr a;
	const char *colon = strrchr(text, ':');
	if (text[0] == '[')
		return colon && colon[-1] == ']' ? colon : NULL;
	return ip_addr_parse(text, &a) < 0 ? colon : NULL;
}

int config_endpoint_parse(const char *text, struct config_peer *p)
{
	struct ip_addr addr = {0};
	const char *colon = port_colon(text);
	if (!colon)
		return -ENOENT;
	unsigned port = port_of(colon + 1);
	if (port == 0)
		return -ERANGE;
	bool bracketed = text[0] == '[';
	size_t n = (size_t)(colon - text) - (bracketed ? 2 : 0);
	char host[sizeof(p->endpoint_host)];
	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text + bracketed, n);
	host[n] = '\0';
	bool is_addr = ip_addr_parse(host, &addr) == 0;
	if (bracketed != (addr.family == IP_V6) || (!is_addr && !is_host_name(host)))
		return -EINVAL;
	memcpy(p->endpoint_host, host, n + 1);
	p->endpoint_port = (uint16_t)port;
	p->endpoint = (struct endpoint){.addr = addr, .port = is_addr ? (uint16_t)port : 0};
	return 0;
}

static int refuse_endpoint(
	struct config_reader *r, const config_setting_t *s, const char *text, int reason)
{
	const char *colon = strrchr(text, ':');
	bool bare_v6 = colon && text[0] != '[';
	if (reason == -ENOENT)
		return reader_refuse(r, s, "\"%s\" has no port; write \"%s%s%s:51820\"", text,
			bare_v6 ? "[" : "", text, bare_v6 ? "]" : "");
	if (reason == -ERANGE)
		return reader_refuse(r, s, "\"%s\" is not a UDP port; write 1 to 65535", colon + 1);
	return reader_refuse(r, s,
		"\"%s\" is neither an address nor a host name with a port; write "
		"\"203.0.113.5%s\", \"[2001:db8::5]%s\" or \"gw.example.org%s\"",
		text, colon, colon, colon);
}

static int read_endpoint(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	if (s->type != CONFIG_TYPE_STRING)
		return reader_refuse(r, s, "expected a string in quotes, found %s", reader_kind(s));
	const char *text = config_setting_get_string(s);
	int rc = config_endpoint_parse(text, field);
	return rc < 0 ? refuse_endpoint(r, s, text, rc) : 0;
}

static int allowed_ip_of(struct config_reader *r, const config_setting_t *s, struct ip_prefix *out)
{
	if (s->type != CONFIG_TYPE_STRING)
		return reader_refuse(r, s, "expected a string in quotes, found %s", reader_kind(s));
	const char *text = config_setting_get_string(s);
	if (ip_prefix_parse(text, out) < 0)
		return reader_refuse(r, s,
			"\"%s\" is not a network, such as \"10.2.0.0/24\" or \"fd00:2::/64\"",
			text);
	return 0;
}

static int read_allowed_ips(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_peer *p = field;
	if (s->type != CONFIG_TYPE_ARRAY && s->type != CONFIG_TYPE_LIST)
		return reader_refuse(r, s, "expected an array, found %s; write [ \"10.2.0.0/24\" ]",
			reader_kind(s));
	unsigned n = (unsigned)config_setting_length(s);
	if (n > CONFIG_ALLOWED_IPS_MAX)
		return reader_refuse(r, s, "has %u networks; at most %d are possible", n,
			CONFIG_ALLOWED_IPS_MAX);
	p->allowed_ips = calloc(n > 0 ? n : 1, sizeof(*p->allowed_ips));
	if (!p->allowed_ips) {
		(void)reader_refuse(r, s, "out of memory");
		return -ENOMEM;
	}
	p->n_allowed_ips = n;
	for (unsigned i = 0; i < n; i++) {
		if (allowed_ip_of(r, config_setting_get_elem(s, i), &p->allowed_ips[i]) < 0)
			return -EINVAL;
	}
	return 0;
}

const struct config_type type_public_key = {"string, a key in base64", read_public_key};
const struct config_type type_secret = {"string, a key in base64", read_secret};
const struct config_type type_secret_file = {"string, a file name", read_secret_file};
const struct config_type type_endpoint = {"string", read_endpoint};
const struct config_type type_allowed_ips = {"array of strings", read_allowed_ips};
