// File or text to struct config, through libconfig. The scan before it refuses what libconfig 1.5
// handles badly: it ends the process when an included file cannot be read, and it takes a number
// modulo 2^32 without a word.
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"
#include "config/reader.h"
#include "config/value.h"

// Characters of a key's name.
#define WORD "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-*"

enum { FILE_SIZE_MAX = 256 << 20 }; // bytes; the limits on peers and networks come far earlier

static int read_unknown(
	struct config_reader *r, enum config_section section, const config_setting_t *s)
{
	for (unsigned other = 0; other < SECTIONS; other++) {
		if (!config_key_find(other, s->name))
			continue;
		if (other == SECTION_TOP)
			return reader_refuse(r, s, "belongs to the top level of the file");
		return reader_refuse(
			r, s, "belongs inside %s = ( { ... } )", config_section_name(other));
	}
	const struct config_key *near = config_key_nearest(section, s->name);
	if (near)
		return reader_refuse(r, s, "unknown key; did you mean %s?", near->name);
	return reader_refuse(r, s, "unknown key; tailgate.conf(5) lists those that there are");
}

// All keys of one group into the struct of its section.
static int read_group(
	struct config_reader *r, enum config_section section, config_setting_t *group, void *target)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		const struct config_key *k = config_key_find(section, s->name);
		if (!k)
			return read_unknown(r, section, s);
		int rc = k->type->read(r, k, s, (char *)target + k->offset);
		if (rc < 0)
			return rc;
	}
	return 0;
}

// The groups of a section's list; 0 without one.
static int section_groups(struct config_reader *r, enum config_section section, unsigned max,
	config_setting_t **list, unsigned *n)
{
	const char *name = config_section_name(section);
	*list = config_setting_get_member(r->tree.root, name);
	*n = *list ? (unsigned)config_setting_length(*list) : 0;
	if (*n > max)
		return reader_refuse(r, *list, "has %u elements; at most %u are possible", *n, max);
	for (unsigned i = 0; i < *n; i++) {
		const config_setting_t *s = config_setting_get_elem(*list, i);
		if (s->type != CONFIG_TYPE_GROUP)
			return reader_refuse(
				r, s, "expected a group { ... }, found %s", reader_kind(s));
	}
	return 0;
}

static int read_ports(struct config_reader *r)
{
	struct config *c = r->config;
	config_setting_t *list;
	unsigned n;
	int rc = section_groups(r, SECTION_PORT, CONFIG_PORTS_MAX, &list, &n);
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		struct config_port *p = &c->ports[i];
		config_setting_t *group = config_setting_get_elem(list, i);
		config_key_defaults(SECTION_PORT, p);
		rc = read_group(r, SECTION_PORT, group, p);
		if (p->device[0] && !config_setting_get_member(group, "mirror"))
			strcpy(p->mirror, p->name);
	}
	if (rc == 0)
		c->n_ports = n;
	return rc;
}

static int read_peers(struct config_reader *r)
{
	struct config *c = r->config;
	config_setting_t *list;
	unsigned n;
	int rc = section_groups(r, SECTION_PEER, CONFIG_PEERS_MAX, &list, &n);
	if (rc < 0 || n == 0)
		return rc;
	c->peers = calloc(n, sizeof(*c->peers));
	c->peers_by_key = calloc(n, sizeof(*c->peers_by_key));
	if (!c->peers || !c->peers_by_key) {
		(void)reader_refuse(r, list, "out of memory");
		return -ENOMEM;
	}
	c->n_peers = n;
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		struct config_peer *p = &c->peers[i];
		config_key_defaults(SECTION_PEER, p);
		p->roaming = c->roaming;
		rc = read_group(r, SECTION_PEER, config_setting_get_elem(list, i), p);
	}
	return rc;
}

// A number that starts at text: its end, or NULL when libconfig would cut it off.
static const char *scan_number(const char *text)
{
	char *end;
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	errno = 0;
	long long v = strtoll(text, &end, hex ? 16 : 10);
	if (errno == ERANGE || v > INT_MAX)
		return NULL;
	return end;
}

// Past a string or a comment that starts at text; *line counts the lines in it. NULL when it has no
// end (libconfig would take the rest of the file into the comment, and leak the string).
static const char *scan_skip(const char *text, unsigned *line)
{
	const char *stop = *text == '"' ? "\"" : text[1] == '*' ? "*/" : "\n";
	bool string = *text == '"';
	for (text += *text == '/' ? 2 : 1; *text; text++) {
		if (strncmp(text, stop, strlen(stop)) == 0)
			return *stop == '\n' ? text : text + strlen(stop);
		if (string && *text == '\\' && text[1])
			text++;
		if (*text == '\n')
			++*line;
	}
	return *stop == '\n' ? text : NULL;
}

static bool is_include(const char *line)
{
	static const char word[] = "@include";
	line += strspn(line, " \t");
	return strncmp(line, word, sizeof(word) - 1) == 0;
}

// Refuse @include at the start of any line, and numbers that do not fit.
static int scan(struct config_reader *r, const char *text)
{
	unsigned line = 1;
	const char *next = text;
	for (const char *start = text; start; start = strchr(start, '\n'), line++) {
		start += line > 1; // past the end of the line before
		if (is_include(start))
			return reader_refuse_line(
				r, line, "@include is not possible; put everything into one file");
	}
	for (line = 1; *next;) {
		bool comment = *next == '/' && (next[1] == '/' || next[1] == '*');
		unsigned start = line;
		if (*next == '"' || *next == '#' || comment) {
			const char *end = scan_skip(next, &line);
			if (!end)
				return reader_refuse_line(r, start, "this %s has no end",
					*next == '"' ? "string" : "comment");
			next = end;
		} else if (isdigit((unsigned char)*next)) {
			const char *end = scan_number(next);
			if (!end)
				return reader_refuse_line(r, line, "%.*s is too large a number",
					(int)strspn(next, "0123456789abcdefABCDEFxX"), next);
			next = end;
		} else if (isalpha((unsigned char)*next)) {
			next += strspn(next, WORD);
		} else {
			line += *next++ == '\n';
		}
	}
	return 0;
}

// Before libconfig frees its strings. (Its scanner's own copy of the text is out of reach, which
// is one more reason for key files.)
static void wipe_strings(config_setting_t *s)
{
	if (s->type == CONFIG_TYPE_STRING && s->value.sval)
		sodium_memzero(s->value.sval, strlen(s->value.sval));
	else if (s->type == CONFIG_TYPE_GROUP || s->type == CONFIG_TYPE_LIST)
		for (int i = 0; i < config_setting_length(s); i++)
			wipe_strings(config_setting_get_elem(s, (unsigned)i));
}

static int read_tree(struct config_reader *r, const char *text)
{
	int rc = scan(r, text);
	if (rc < 0)
		return rc;
	if (!config_read_string(&r->tree, text)) {
		const char *reason = config_error_text(&r->tree);
		bool syntax = !reason || strcmp(reason, "syntax error") == 0;
		return reader_refuse_line(r, (unsigned)config_error_line(&r->tree), "%s",
			syntax ? "syntax error, here or at the end of the line before" : reason);
	}
	rc = read_group(r, SECTION_TOP, r->tree.root, r->config);
	if (rc == 0)
		rc = read_ports(r);
	if (rc == 0)
		rc = read_peers(r);
	return rc < 0 ? rc : reader_check(r);
}

static int parse(const char *text, const char *path, mode_t mode, struct config **out,
	struct config_error *err)
{
	struct config_reader r = {.err = err, .path = path, .mode = mode};
	r.config = config_create();
	if (!r.config) {
		(void)reader_refuse_line(&r, 0, "out of memory");
		return -ENOMEM;
	}
	config_init(&r.tree);
	int rc = read_tree(&r, text);
	wipe_strings(r.tree.root);
	config_destroy(&r.tree);
	if (rc < 0)
		config_free(r.config);
	else
		*out = r.config;
	return rc;
}

int config_parse_string(
	const char *text, const char *name, struct config **out, struct config_error *err)
{
	return parse(text, name, 0, out, err);
}

// All of a file as a string that the caller wipes and frees; NULL and errno otherwise.
static char *file_text(int fd, size_t size)
{
	char *text = malloc(size + 1);
	size_t n = 0;
	while (text && n < size) {
		ssize_t got = read(fd, text + n, size - n);
		if (got < 0) {
			free(text);
			return NULL;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (text)
		text[n] = '\0';
	return text;
}

static int load_fd(int fd, const char *path, struct config **out, struct config_error *err)
{
	struct config_reader r = {.err = err, .path = path};
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return reader_refuse_line(&r, 0, "is not a regular file");
	if (st.st_size > FILE_SIZE_MAX)
		return reader_refuse_line(&r, 0, "is larger than %d MiB", FILE_SIZE_MAX >> 20);
	char *text = file_text(fd, (size_t)st.st_size);
	if (!text) {
		int e = errno;
		(void)reader_refuse_line(&r, 0, "cannot be read: %s", strerror(e));
		return -e;
	}
	int rc = parse(text, path, st.st_mode, out, err);
	sodium_memzero(text, (size_t)st.st_size);
	free(text);
	return rc;
}

int config_load(const char *path, struct config **out, struct config_error *err)
{
	// O_NONBLOCK: a FIFO must not stop the daemon.
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		int e = errno;
		struct config_reader r = {.err = err, .path = path};
		(void)reader_refuse_line(&r, 0, "cannot be opened: %s", strerror(e));
		return -e;
	}
	int rc = load_fd(fd, path, out, err);
	close(fd);
	return rc;
}
