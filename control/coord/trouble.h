// What went wrong with the coordination server, as one line for people: what happened, the probable
// cause, the remedy. [ctl]
#pragma once

#include "control/coord/client.h"

struct trouble {
	enum coord_trouble kind;
	bool refused;		   // by the server, for good: trying again soon is of no use
	bool complete;		   // the text has its remedy already
	unsigned wait_s;	   // as the server wishes; 0: back off as usual
	char what[COORD_TEXT_LEN]; // what happened, and its cause
};

// The text comes out printable and in one line.
void trouble_set(struct trouble *, enum coord_trouble, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
// What a stream or a fetch said. why: its line for people.
void trouble_net(struct trouble *, int error, const char *why);
// An answer of HTTP that is not the expected one. asked: "GET /key".
void trouble_status(struct trouble *, const char *asked, int status, const char *location);
// Two attempts failed: the kind that says more, the texts of both.
void trouble_join(
	struct trouble *, const char *name, const struct trouble *other, const char *other_name);
// With the remedy. Returns out.
const char *trouble_line(const struct trouble *, char out[static COORD_TEXT_LEN]);
