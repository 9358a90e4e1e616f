// Why a packet from a peer of the tailnet would be let in, or not. [ctl]
#pragma once

#include "control/ctl/request.h"

// GET explain?src=IP&dst=IP&proto=N&port=N
void ctl_explain_handle(struct ctl_server *, struct evhttp_request *);
