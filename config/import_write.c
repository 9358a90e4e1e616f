// An imported configuration as text, and its private key as a file.
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

#include "config/reader.h"

static void write_addresses(FILE *out, const struct config_addresses *a)
{
	char text[ADDR_TEXT_LEN];
	if (a->count == 0)
		return;
	fputs("addresses = [", out);
	for (uint32_t i = 0; i < a->count; i++)
		fprintf(out, "%s \"%s/%u\"", i ? "," : "", ip_addr_format(&a->list[i].addr, text),
			a->list[i].len);
	fputs(" ];\n", out);
}

static void write_peer(FILE *out, const struct config_peer *p)
{
	char key[KEY_TEXT_LEN + 1], text[PREFIX_TEXT_LEN];
	bool v6 = p->endpoint.addr.family == IP_V6;
	fprintf(out, "\t{\n\t\tpublic_key = \"%s\";\n", key_format(&p->public_key, key));
	if (!key_is_zero(&p->preshared_key))
		fprintf(out, "\t\tpreshared_key = \"%s\";\n", key_format(&p->preshared_key, key));
	sodium_memzero(key, sizeof(key));
	if (p->endpoint_port)
		fprintf(out, "\t\tendpoint = \"%s%s%s:%u\";\n", v6 ? "[" : "", p->endpoint_host,
			v6 ? "]" : "", p->endpoint_port);
	fputs("\t\tallowed_ips = [", out);
	for (uint32_t i = 0; i < p->n_allowed_ips; i++)
		fprintf(out, "%s \"%s\"", i ? "," : "", ip_prefix_format(&p->allowed_ips[i], text));
	fputs(" ];\n", out);
	if (p->persistent_keepalive_s)
		fprintf(out, "\t\tpersistent_keepalive = %u;\n", p->persistent_keepalive_s);
	fputs("\t}", out);
}

// A libconfig string; control characters become '?'.
static void write_quoted(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(iscntrl((unsigned char)*text) ? '?' : *text, out);
	}
}

void import_write(const struct config *c, bool has_listen_port, const char *key_path, FILE *out)
{
	char key[KEY_TEXT_LEN + 1];
	fputs("# Imported from a WireGuard file by 'tailgate import'.\n", out);
	if (key_is_zero(&c->private_key)) {
		fputs("#private_key_file = \"/etc/tailgate/private.key\";\n", out);
	} else if (key_path) {
		fputs("private_key_file = \"", out);
		write_quoted(out, key_path);
		fputs("\";\n", out);
	} else {
		fprintf(out, "private_key = \"%s\";\n", key_format(&c->private_key, key));
		sodium_memzero(key, sizeof(key));
	}
	fprintf(out, "listen_port = %u;%s\n", c->listen_port,
		has_listen_port ? "" : " # a random one: the imported file names none");
	fprintf(out, "mtu = %u;\n", c->mtu);
	write_addresses(out, &c->addresses);
	if (!c->routes)
		fputs("routes = false;\n", out);
	fputs("peers = (\n", out);
	for (uint32_t i = 0; i < c->n_peers; i++) {
		write_peer(out, &c->peers[i]);
		fputs(i + 1 < c->n_peers ? ",\n" : "\n", out);
	}
	fputs(");\n", out);
}

int import_write_key(const struct key *key, const char *path)
{
	char text[KEY_TEXT_LEN + 1];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	key_format(key, text);
	text[KEY_TEXT_LEN] = '\n';
	ssize_t n = write(fd, text, sizeof(text));
	int rc = n == sizeof(text) ? 0 : n < 0 ? -errno : -ENOSPC;
	sodium_memzero(text, sizeof(text));
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc < 0)
		unlink(path);
	return rc;
}
