#include "dataplane/table/nat_config.h"

#include <netinet/in.h>
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

bool nat_is_via(const struct nat_config *c, const struct ip_addr *to)
{
	for (uint32_t i = 0; to->family == IP_V6 && i < c->n_via; i++) {
		if (ip_prefix_contains(&c->via[i], to))
			return true;
	}
	return false;
}

static bool fits(const struct nat_service *s, uint8_t proto, uint16_t port)
{
	bool has_port = proto == IPPROTO_TCP || proto == IPPROTO_UDP;
	if (s->proto == 0)
		return s->n_backends > 0 || has_port;
	return s->proto == proto && port >= s->port_first && port <= s->port_last;
}

const struct nat_service *nat_service_of(
	const struct nat_config *c, const struct ip_addr *to, uint8_t proto, uint16_t port)
{
	for (uint32_t i = 0; i < c->n_services; i++) {
		if (ip_addr_equal(&c->service[i].vip, to) && fits(&c->service[i], proto, port))
			return &c->service[i];
	}
	return NULL;
}

// The first prefix of the table that holds the address has another one for it.
const uint8_t *nat_mapped(const struct nat_config *config, bool to_real, const uint8_t *addr,
	uint8_t family, uint8_t to[static 16])
{
	struct ip_addr a = family == IP_V4 ? ip_addr_v4(addr) : ip_addr_v6(addr);
	for (uint32_t i = 0; i < config->n_remap; i++) {
		const struct nat_remap *r = &config->remap[i];
		const struct ip_prefix *from = to_real ? &r->known : &r->real;
		const struct ip_prefix *into = to_real ? &r->real : &r->known;
		if (!ip_prefix_contains(from, &a))
			continue;
		memcpy(to, a.bytes, sizeof(a.bytes));
		memcpy(to, into->addr.bytes, into->len / 8);
		if (into->len % 8) {
			uint8_t net = (uint8_t)(0xff00 >> into->len % 8), *at = to + into->len / 8;
			*at = (into->addr.bytes[into->len / 8] & net) | (*at & ~net);
		}
		return to;
	}
	return NULL;
}
