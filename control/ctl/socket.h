// A Unix socket to listen on. [ctl]
#pragma once

#include "control/ctl/server.h"

// A listening, non-blocking descriptor with mode 0660 that belongs to user, or -errno and one line
// in err.
int ctl_socket_listen(
	const char *path, const char *user, char err[static CTL_ERROR_LEN]) must_check;
