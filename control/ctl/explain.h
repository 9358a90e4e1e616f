// Why a packet from a peer of the tailnet would be let in, or not. [ctl]
#pragma once

#include "control/ctl/request.h"
#include "control/tailnet/explain.h"

// GET explain?src=IP&dst=IP&proto=N&port=N
void ctl_explain_handle(struct ctl_server *, struct evhttp_request *);

// Where it would go when it is let in, as an object: "route" (the kind of next hop, "closed" for
// what a translation leads nowhere, "none"), "port"; of a translated destination "translation" and
// "to", of masquerading "from": arrays of the addresses of which a client gets one.
json_t *ctl_explain_way(const struct gateway *, const struct explain_query *) must_check;
