// Whether the daemon can use its state_dir, as it lies on the disk now.
#pragma once

#include "dataplane/base/types.h"

enum { STATE_DIR_WHY_LEN = 512 };

// dir is to be the user's own and only theirs to write to, or such as they can make. user: name,
// or "" for whoever asks. 0, or -errno and a line in why: what is wrong and what to do. What may
// not be looked at passes.
int state_dir_check(
	const char *dir, const char *user, char why[static STATE_DIR_WHY_LEN]) must_check;
