// Columns as the tailscale command lays them out (Go's text/tabwriter with spaces), so that both
// print the same bytes.
#pragma once

#include <stdio.h>

#include "dataplane/base/types.h"

// text: lines of cells that end with a tab; what follows a line's last tab is in no column. A
// column is as wide as its widest cell of adjacent lines and padding, at least min_width. False:
// out of memory.
bool table_print(FILE *out, const char *text, size_t min_width, size_t padding);
