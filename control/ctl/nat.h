// GET nat: what is translated, how full the tables are, and the flows. [ctl]
#pragma once

#include "control/ctl/request.h"

void ctl_nat_handle(struct ctl_server *, struct evhttp_request *);
// "tcp-open", of enum nat_class; "": no such class.
const char *ctl_nat_class_name(unsigned class);
