#include "dataplane/table/nat_config.h"

#include <stdlib.h>

void nat_config_destroy(void *arg)
{
	struct nat_config *config = arg;
	if (!config)
		return;
	free(config->via);
	free(config->remap);
	free(config->service);
	free(config);
}

void nat_config_publish(struct nat_config *_Atomic *at, struct rcu *rcu, struct nat_config *config)
{
	struct nat_config *old = atomic_exchange_explicit(at, config, memory_order_acq_rel);
	if (old)
		rcu_defer(rcu, nat_config_destroy, old);
}
