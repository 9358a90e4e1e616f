// The table of all configuration keys: the reader, the defaults, the search for misspelt keys, the
// man page and the example all come from it. To add a key: a field in config.h, a row in keys.c.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum config_section {
	SECTION_TOP,  // fields of struct config
	SECTION_PORT, // of struct config_port, in ports = ( { ... } )
	SECTION_PEER, // of struct config_peer, in peers = ( { ... } )
	SECTIONS,
};

struct config_reader;
struct config_setting_t;
struct config_key;

// How a value is read, and what the man page calls it.
struct config_type {
	const char *name;
	// 0 and *field set, or a negative errno and r->err filled.
	int (*read)(struct config_reader *r, const struct config_key *k, struct config_setting_t *s,
		void *field);
};

struct config_choice {
	const char *name;
	uint32_t value;
};

struct config_key {
	const char *name;
	enum config_section section;
	const struct config_type *type;
	size_t offset;	   // of the field in its section's struct
	size_t size;	   // of the field
	const char *unit;  // of numbers; NULL: none
	uint32_t min, max; // of numbers
	uint32_t number;  // default of numbers, choices, booleans; of ranges first << 16 | last, of
			  // two UDP ports likewise
	const char *text; // default of strings
	const char *absent; // what the man page says of a key without a default value
	const struct config_choice *choices; // ends with a NULL name
	const char *example;		     // value in the example file; NULL: the default
	bool live; // the example file sets the key; otherwise it stands there as a comment
	const char *help;
};

extern const struct config_key config_keys[];
extern const unsigned config_n_keys;

// "ports" for SECTION_PORT; "" for SECTION_TOP.
const char *config_section_name(enum config_section section);
const struct config_key *config_key_find(enum config_section section, const char *name);
// The known key that somebody may have meant, or NULL. Case and underscores do not count, so that
// "ListenPort" finds listen_port.
const struct config_key *config_key_nearest(enum config_section section, const char *name);
// Write the defaults of a section into its struct, which is zero before.
void config_key_defaults(enum config_section section, void *target);
