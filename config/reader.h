// What the parts of the reader share; only config/ includes this.
#pragma once

#include <libconfig.h>
#include <sys/types.h>

#include "config/config.h"

struct config_reader {
	config_t tree;
	struct config *config; // being filled
	struct config_error *err;
	const char *path; // as the user named the file
	mode_t mode;	  // permissions of the file; 0: a text in memory
};

// Fill r->err from a setting (NULL: the whole file) and a reason. Returns -EINVAL.
int reader_refuse(struct config_reader *r, const config_setting_t *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
// The same about member `name` of a group, whether it is there (its line) or missing (the group's).
int reader_refuse_member(struct config_reader *r, const config_setting_t *group, const char *name,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

// The same about a line, where there is no setting yet.
int reader_refuse_line(struct config_reader *r, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

// "a string", "a number": what somebody wrote.
const char *reader_kind(const config_setting_t *s);

// The string that s is, or NULL and r->err filled.
const char *reader_string(struct config_reader *r, const config_setting_t *s);
// Elements of [ ] or of ( ), at most max; or -EINVAL and r->err filled. example: of elements.
int reader_array(
	struct config_reader *r, const config_setting_t *s, unsigned max, const char *example);

// "host:port" into the three endpoint fields of a peer. 0, -ENOENT without a port, -ERANGE for a
// port that is none, -EINVAL for a host that is none.
int config_endpoint_parse(const char *text, struct config_peer *p) must_check;

// The key in a file. Relative names start at the directory of r->path. 0, or as config_load.
int reader_key_file(struct config_reader *r, const config_setting_t *s, const char *name,
	struct key *out) must_check;

// What no single key can tell: contradictions, duplicates, missing keys. Sorts peers_by_key.
int reader_check(struct config_reader *r) must_check;

// The keys that a WireGuard file can set, as the text of a tailgate.conf. key_path as import_wg.
void import_write(const struct config *c, bool has_listen_port, const char *key_path, FILE *out);
// One line of base64 in a new file, mode 0600. 0 or -errno.
int import_write_key(const struct key *key, const char *path) must_check;
