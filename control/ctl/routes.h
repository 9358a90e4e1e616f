// The networks that this node of a tailnet advertises: what became of each, and handing them over.
// [ctl]
#pragma once

#include "control/ctl/request.h"

// GET routes
void ctl_routes_handle(struct ctl_server *, struct evhttp_request *);
// GET services: of the tailnet, that this node hosts
void ctl_services_handle(struct ctl_server *, struct evhttp_request *);
// POST drain?on=1: offer no routes any more (0: again); answers as GET routes.
void ctl_drain_handle(struct ctl_server *, struct evhttp_request *);
