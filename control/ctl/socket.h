// A Unix socket to listen on. [ctl]
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include "control/ctl/server.h"

// A listening, non-blocking descriptor with mode 0666 that belongs to the group of user, or -errno
// and one line in err.
int ctl_socket_listen(
	const char *path, const char *user, char err[static CTL_ERROR_LEN]) must_check;
// Who connected. 0 or -errno.
int ctl_socket_peer(int fd, struct ucred *out) must_check;
// Whether it is root, our own user or a member of the group, who may do everything.
bool ctl_socket_peer_manages(int fd, gid_t group);
