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

// "a string", "a number": what somebody wrote.
const char *reader_kind(const config_setting_t *s);

// The key in a file. Relative names start at the directory of r->path. 0, or as config_load.
int reader_key_file(struct config_reader *r, const config_setting_t *s, const char *name,
	struct key *out) must_check;

// What no single key can tell: contradictions, duplicates, missing keys. Sorts peers_by_key.
int reader_check(struct config_reader *r) must_check;
