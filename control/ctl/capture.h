// 'tailgate capture': what workers copied, as a stream of pcapng. [ctl]
#pragma once

#include "control/ctl/request.h"

// GET capture?peer=&port=&point=plain|wire&count=&snaplen=: streams until count packets are sent or
// the client goes away. peer: name or public key.
void ctl_capture_handle(struct ctl_server *, struct evhttp_request *);
// End the stream.
void ctl_capture_abort(struct ctl_server *);
