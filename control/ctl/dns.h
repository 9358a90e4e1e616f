// What the resolver does. [ctl]
#pragma once

#include "control/ctl/request.h"

// GET /tailgate/v0/dns.
void ctl_dns_handle(struct ctl_server *, struct evhttp_request *);
