// The daemon's socket: HTTP over a Unix socket with JSON answers, for the tailgate command and for
// scripts; and the metrics alone on a TCP address. Runs in the daemon's event loop. [ctl]
#pragma once

#include "control/daemon.h"

enum {
	CTL_ERROR_LEN = 256,
};

struct ctl_params {
	const char *path;	 // of the socket; its folder is made if it is missing
	const char *user;	 // owner of the socket, NULL or "": root
	struct endpoint metrics; // port 0: off
};

struct ctl_server;

// Listen. The socket file that a dead daemon left is replaced; where a live one answers it is
// -EADDRINUSE. From here on the process ignores SIGPIPE. 0, or -errno and one line in err.
int ctl_server_create(struct daemon *, const struct ctl_params *, struct ctl_server **out,
	char err[static CTL_ERROR_LEN]) must_check;
// Ends a running trace and capture, closes all connections, removes the socket. NULL is fine.
void ctl_server_destroy(struct ctl_server *);
