// Requests about names: what the resolver does, and the doctor, who asks every resolver first.
// [ctl]
#pragma once

#include "control/ctl/request.h"

// GET /tailgate/v0/dns.
void ctl_dns_handle(struct ctl_server *, struct evhttp_request *);
// GET /tailgate/v0/doctor: answered when the resolvers have answered, or not.
void ctl_doctor_handle(struct ctl_server *, struct evhttp_request *);
// Those that still wait get an answer.
void ctl_doctor_abort(struct ctl_server *);
