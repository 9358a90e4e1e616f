// What the socket says of the tailnet node beside the LocalAPI: why each path is what it is, and
// reports of the network. [ctl]
#pragma once

#include "control/ctl/request.h"

// GET tailnet: peers with their paths, coordination, home, health.
void ctl_tailnet_handle(struct ctl_server *, struct evhttp_request *);
// GET netcheck: the last report; POST netcheck?full=1: a new one, answered when it is complete.
void ctl_netcheck_handle(struct ctl_server *, struct evhttp_request *);
// Before the server goes: waiting requests are answered.
void ctl_netcheck_abort(struct ctl_server *);
