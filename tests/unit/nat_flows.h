// Flows for the tests of their table: clients and servers are numbers, the network's side is one
// address, ports are of 20000 to 29999. Behind cmocka.h.
#pragma once

#include "dataplane/table/nat_priv.h"
#include "tests/unit/eal.h"

static struct nat_claims claims;

static inline struct nat_config some_config(void)
{
	return (struct nat_config){.snat = true,
		.port_first = 20000,
		.port_last = 29999,
		.idle_s = {30, 600, 20, 60, 10, 40}};
}

static inline struct nat_key key_of(uint32_t client, uint16_t port, uint32_t server, uint8_t proto)
{
	struct nat_key k = {.family = IP_V4,
		.proto = proto,
		.local_port = rte_cpu_to_be_16(port),
		.remote_port = RTE_BE16(443)};
	memcpy(k.local, &client, 4);
	memcpy(k.remote, &server, 4);
	return k;
}

static enum nat_refusal why;

// A flow of client from port to server; NULL and why.
static inline struct nat_flow *open_flow(struct nat_table *t, const struct nat_config *c,
	uint32_t client, uint16_t port, uint32_t server, uint8_t class, uint32_t now_ms)
{
	uint8_t proto = class <= NAT_TCP_CLOSING ? IPPROTO_TCP : IPPROTO_UDP;
	struct nat_new new = {.inside = key_of(client, port, server, proto),
		.class = class,
		.choose = true,
		.now_ms = now_ms};
	new.outside = new.inside;
	memset(new.outside.local, 9, 4);
	why = NAT_REFUSALS;
	return nat_open(t, c, &new, &why);
}

static inline struct nat_table *create(uint32_t flows, uint16_t worker, uint16_t n)
{
	struct nat_table *t = nat_table_create(flows, worker, n, &claims);
	struct nat_config c = some_config();
	assert_non_null(t);
	nat_idle_times(t, &c);
	return t;
}

static inline uint16_t outside_port(const struct nat_flow *f)
{
	return rte_be_to_cpu_16(f->side[NAT_OUTSIDE].local_port);
}
