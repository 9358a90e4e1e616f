#include "control/join.h"

#include "control/tailnet/hooks.h"
#include "dataplane/wire/geneve.h"

// Where DERP's packets seem to be sent to: no address of ours is in them.
static const struct ip_addr nowhere = {.bytes = {127, 0, 0, 1}, .family = IP_V4};

static bool send_udp(void *arg, const struct ip_addr *local, uint16_t local_port,
	const struct endpoint *to, const uint8_t *data, size_t len)
{
	return underlay_send_from(arg, local, local_port, to, data, len);
}

static void inject_wg(void *arg, const struct endpoint *from, const uint8_t *data, size_t len)
{
	underlay_inject_wg(arg, from, &nowhere, data, len);
}

static void send_inner(void *arg, const uint8_t *packet, size_t len)
{
	underlay_send_inner(arg, packet, len);
}

static void on_datagram(void *arg, const struct endpoint *from, const struct endpoint *to,
	enum udp_class class, const uint8_t *data, size_t len)
{
	struct daemon *d = arg;
	if (class == UDP_GENEVE_WIREGUARD)
		wg_receive(
			d->wg, data + GENEVE_HEADER_LEN, len - GENEVE_HEADER_LEN, from, &to->addr);
	else
		tailnet_datagram(d->tailnet, from, to->port, class, data, len);
}

static void on_derp(void *arg, struct peer *peer, const uint8_t *data, size_t len)
{
	const struct daemon *d = arg;
	tailnet_derp_out(d->tailnet, peer, data, len);
}

static void on_tsmp(void *arg, struct peer *peer, const uint8_t *packet, size_t len)
{
	const struct daemon *d = arg;
	tailnet_tsmp(d->tailnet, peer, packet, len);
}

static int open_ports(void *arg, unsigned n, uint16_t *first)
{
	return daemon_open_ports(arg, n, first);
}

static void close_ports(void *arg)
{
	daemon_close_ports(arg);
}

static void nat_ports(void *arg, uint16_t first, uint16_t last)
{
	daemon_nat_ports(arg, first, last);
}

static struct mesh_birthday birthday(const struct config *c)
{
	return (struct mesh_birthday){
		.ports = c->birthday_ports,
		.rate = c->birthday_rate,
		.seconds = c->birthday_s,
	};
}

void join_tune(struct daemon *d)
{
	const struct mesh_birthday limits = birthday(d->config);
	if (d->tailnet)
		tailnet_set_birthday(d->tailnet, &limits);
	if (d->tailnet) {
		tailnet_set_nat(d->tailnet, &d->config->nat);
		tailnet_set_probes(d->tailnet, &d->config->route_probes);
		tailnet_set_learned(d->tailnet, &d->config->learned);
		tailnet_set_announce(d->tailnet, (uint8_t)d->config->announce_table);
		tailnet_set_app_domains(d->tailnet, &d->config->app_domains);
		tailnet_set_services(d->tailnet, &d->config->services);
	}
}

int join_start(struct daemon *d, struct underlay *u, char err[static 512])
{
	const struct tailnet_params params = {
		.base = d->base,
		.gw = d->gw,
		.wg = d->wg,
		.mirror = d->mirror,
		.state_dir = d->config->state_dir,
		.mtu = d->config->mtu,
		.wg_port = (uint16_t)d->config->listen_port,
		.endpoints = d->config->endpoints,
		.dns_listen = d->config->dns_listen,
		.env = {.arg = u,
			.send = send_udp,
			.inject_wg = inject_wg,
			.send_inner = send_inner,
			.ports_arg = d,
			.open_ports = open_ports,
			.close_ports = close_ports,
			.nat_ports = nat_ports},
		.birthday = birthday(d->config),
		.nat = d->config->nat,
		.probes = d->config->route_probes,
		.learned = d->config->learned,
		.announce_table = (uint8_t)d->config->announce_table,
		.app_domains = &d->config->app_domains,
		.services = &d->config->services,
	};
	int r = tailnet_create(&params, &d->tailnet, err);
	if (r < 0)
		return r;
	underlay_set_disco(u, on_datagram, d);
	underlay_set_derp(u, on_derp, d);
	underlay_set_tsmp(u, on_tsmp, d);
	return 0;
}

void join_stop(struct daemon *d, struct underlay *u)
{
	if (!d->tailnet)
		return;
	underlay_set_disco(u, NULL, NULL);
	underlay_set_derp(u, NULL, NULL);
	underlay_set_tsmp(u, NULL, NULL);
	tailnet_destroy(d->tailnet);
	d->tailnet = NULL;
}
