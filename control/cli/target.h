// The node that an argument means.
#pragma once

#include <jansson.h>

#include "control/cli/cli.h"

enum { TARGET_IP_LEN = 64 };

// An address as it is, a peer's or our own name, or a name of the system's DNS. *self: our own
// name. 0, or -ENOENT with a line in err. May wait for DNS.
int target_find(const json_t *status, const char *name, char ip[static TARGET_IP_LEN], bool *self,
	char err[static CLI_ERROR_LEN]) must_check;
