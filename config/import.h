// wg and wg-quick files to tailgate.conf.
#pragma once

#include "config/config.h"

// Read the file of wg(8) or wg-quick(8) that `in` is (`name` for messages) and write the same
// configuration to out. The private key goes into a new file key_path, mode 0600 (an absolute name:
// the text repeats it), or with NULL into the text. Preshared keys go into the text, so give out
// mode 0600 as well. What has no equivalent is left out with a line on warnings each; commands such
// as PostUp are never executed. 0; or -EINVAL for a mistake in the file, or the errno of reading it
// or of writing key_path: *err then says why, and neither out nor key_path has been written. Any
// thread.
int import_wg(FILE *in, const char *name, const char *key_path, FILE *out, FILE *warnings,
	struct config_error *err) must_check;
