// Which networks we offer to stand for: the advertised ones, but for those whose hosts are gone,
// and none while draining. What peers still send is forwarded all the same. [ctl]
#pragma once

#include "control/tailnet/reach.h"

struct tn_offer_spec {
	const struct ip_prefix *routes; // advertised; sorted
	uint32_t n_routes;
	const struct reach_host *hosts; // that are watched
	unsigned n_hosts;
	bool draining;
};

// Whether hosts in the network are watched and all of them are gone.
bool tn_is_cut_off(const struct tn_offer_spec *, const struct ip_prefix *);
// Into out, which has room for n_routes; how many.
uint32_t tn_offer(const struct tn_offer_spec *, struct ip_prefix *out);
