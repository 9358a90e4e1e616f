// Files of the state directory: mode 0600, replaced as a whole, so that after a kill or a power cut
// at any moment there is the old one or the new one. [ctl]
#pragma once

#include "dataplane/base/types.h"

// Header, a text, then the bytes. 0 or -errno; the old file stays then.
int statefile_write(const char *dir, const char *name, const char *header, const void *bytes,
	size_t len) must_check;
// The whole file with a zero behind it; the caller wipes and frees it. -ENOENT; -EACCES: others can
// read it, or it is not ours; -EFBIG: longer than max; -errno.
int statefile_read(
	const char *dir, const char *name, size_t max, char **bytes, size_t *len) must_check;
// 0, also when there is none, or -errno.
int statefile_remove(const char *dir, const char *name) must_check;
