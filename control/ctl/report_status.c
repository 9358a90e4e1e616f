#include <unistd.h>

#include "control/ctl/read.h"
#include "control/ctl/report.h"
#include "control/kernel/mirror.h"
#include "dataplane/wire/wireguard.h"
#include "dataplane/base/clock.h"

static const struct offload {
	uint64_t flag;
	const char *name;
} rx_offloads[] =
	{
		{RTE_ETH_RX_OFFLOAD_TCP_LRO, "tcp_lro"},
		{RTE_ETH_RX_OFFLOAD_TCP_CKSUM, "tcp_checksum"},
		{RTE_ETH_RX_OFFLOAD_UDP_CKSUM, "udp_checksum"},
},
  tx_offloads[] = {
	  {RTE_ETH_TX_OFFLOAD_TCP_TSO, "tcp_tso"},
	  {RTE_ETH_TX_OFFLOAD_UDP_TSO, "udp_tso"},
	  {RTE_ETH_TX_OFFLOAD_TCP_CKSUM, "tcp_checksum"},
	  {RTE_ETH_TX_OFFLOAD_UDP_CKSUM, "udp_checksum"},
	  {RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO, "vxlan_tcp_tso"},
};

static json_t *offload_names(uint64_t flags, const struct offload *table, unsigned n)
{
	json_t *names = json_array();
	for (unsigned i = 0; i < n; i++)
		if (flags & table[i].flag)
			json_array_append_new(names, json_string(table[i].name));
	return names;
}

static json_t *port_status(const struct port *port)
{
	char mac[RTE_ETHER_ADDR_FMT_SIZE] = "";
	if (port->l2)
		rte_ether_format_addr(mac, sizeof(mac), &port->mac);
	return json_pack("{s:s, s:s, s:s, s:b, s:i, s:s, s:i, s:{s:o, s:o}}", //
		"name", port->name, "kind", port_kind_name(port->kind), "device", port->device,
		"up", atomic_load_explicit(&port->up, memory_order_relaxed),   //
		"mtu", atomic_load_explicit(&port->mtu, memory_order_relaxed), //
		"mac", mac, "queues", port->n_queues,			       //
		"offloads", "rx",
		offload_names(port->rx_offloads, rx_offloads, RTE_DIM(rx_offloads)), "tx",
		offload_names(port->tx_offloads, tx_offloads, RTE_DIM(tx_offloads)));
}

const char *report_peer_state(
	const struct wg_peer_info *p, uint64_t now_unix_ns, const char **remedy)
{
	uint64_t age_ns = now_unix_ns - RTE_MIN(p->handshake_unix_ns, now_unix_ns);
	*remedy = NULL;
	if (p->endpoint.addr.family == IP_NONE || p->endpoint.port == 0) {
		*remedy = "no endpoint is known: it has to start, or give it an endpoint";
		return "no endpoint";
	}
	if (p->port_out == PORT_NONE) {
		*remedy = "no route or no neighbour towards the endpoint: see 'ip route get'";
		return "no route";
	}
	if (p->handshake_unix_ns > 0 && age_ns <= WG_REJECT_AFTER_TIME_S * UINT64_C(1000000000))
		return "up";
	if (p->handshake_unix_ns == 0 && p->handshakes_sent > 0) {
		*remedy = "handshakes are not answered: check its endpoint, keys and firewall";
		return "no answer";
	}
	return "idle"; // the next packet starts a handshake
}

static json_t *endpoint_json(const struct endpoint *e)
{
	char text[ENDPOINT_TEXT_LEN];
	if (e->addr.family == IP_NONE)
		return json_null();
	return json_string(endpoint_format(e, text));
}

static json_t *prefixes_json(const struct ip_prefix *list, uint32_t n)
{
	char text[PREFIX_TEXT_LEN];
	json_t *array = json_array();
	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(ip_prefix_format(&list[i], text)));
	return array;
}

json_t *report_learned(const struct wg_learned *l)
{
	return json_pack("{s:i, s:f}", "bytes", l->mtu, "since", (double)l->unix_ns / 1e9);
}

static void set_learned(json_t *peer, const char *name, const struct wg_learned *l)
{
	if (l->mtu)
		json_object_set_new(peer, name, report_learned(l));
}

static json_t *peer_status(const struct gateway *gw, const struct wg_peer_info *p)
{
	char key[KEY_TEXT_LEN + 1];
	const char *remedy, *state = report_peer_state(p, unix_now_ns(), &remedy);

	json_t *peer = json_pack("{s:s, s:s, s:o, s:s, s:s?, s:f, s:I, s:I, s:I, s:I}",	    //
		"name", p->peer->name, "public_key", key_format(&p->peer->public_key, key), //
		"endpoint", endpoint_json(&p->endpoint), "state", state, "remedy", remedy,  //
		"latest_handshake", (double)p->handshake_unix_ns / 1e9,			    //
		"rx_bytes", (json_int_t)p->rx_wire_bytes, "tx_bytes", (json_int_t)p->tx_wire_bytes,
		"rx_packets", (json_int_t)p->rx_packets, "tx_packets", (json_int_t)p->tx_packets);
	json_t *more = json_pack("{s:o, s:i, s:b, s:b, s:i, s:i, s:s?, s:{s:I, s:I, s:I}}", //
		"allowed_ips", prefixes_json(p->allowed, p->n_allowed),			    //
		"keepalive_s", (int)p->keepalive_s, "roaming", p->roaming, "preshared_key",
		p->has_psk, "worker", p->owner, "mtu", p->mtu,				//
		"port", p->port_out < gw->n_ports ? gw->port[p->port_out]->name : NULL, //
		"handshakes", "sent", (json_int_t)p->handshakes_sent,			//
		"received", (json_int_t)p->handshakes_received,				//
		"failed", (json_int_t)p->handshakes_failed);
	json_object_update_new(peer, more);
	set_learned(peer, "mtu_probed", &p->probed);
	set_learned(peer, "mtu_told", &p->told);
	json_object_set_new(peer, "vni", json_integer(p->vni));
	json_object_set_new(peer, "derp", json_boolean(p->derp));
	return peer;
}

json_t *report_status_peer(const struct daemon *d, size_t *at)
{
	uint32_t next = (uint32_t)*at;
	struct wg_peer_info info;
	bool found = wg_peers_next(d->wg, &next, &info);
	*at = next;
	return found ? peer_status(d->gw, &info) : NULL;
}

static json_t *warnings_json(const struct daemon *d)
{
	json_t *array = json_array();
	for (unsigned i = 0; i < d->n_warnings; i++)
		json_array_append_new(array, json_string(d->warnings[i]));
	return array;
}

json_t *report_status(const struct daemon *d)
{
	const struct gateway *gw = d->gw;
	uint64_t now = unix_now_ns();
	char key[KEY_TEXT_LEN + 1];

	json_t *ports = json_array();
	for (unsigned i = 0; i < gw->n_ports; i++)
		json_array_append_new(ports, port_status(gw->port[i]));
	json_t *status = json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:b, s:f, s:f}",	     //
		"version", TAILGATE_VERSION, "pid", (int)getpid(), "config", d->config_path, //
		"public_key", key_format(wg_public_key(d->wg), key),			     //
		"listen_port", d->wg_port, "listen_port_configured", (int)d->config->listen_port,
		"listen_port_fallback", d->wg_port_fallback, //
		"started", (double)d->started_unix_ns / 1e9, //
		"uptime_s", (double)(now - RTE_MIN(d->started_unix_ns, now)) / 1e9);
	json_t *more = json_pack("{s:s, s:i, s:i, s:b, s:I, s:I, s:s, s:o, s:o}",      //
		"aead", gw->n_workers > 0 ? aead_engine_name(gw->graph[0]->aead) : "", //
		"workers", gw->n_workers, "tunnel_mtu",
		atomic_load_explicit(&gw->tunnel_mtu, memory_order_relaxed), //
		"under_load", wg_under_load(d->wg),			     //
		"reloads", (json_int_t)d->reloads, "reload_failures",
		(json_int_t)d->reload_failures, "last_reload_error", d->last_reload_error, //
		"warnings", warnings_json(d), "ports", ports);
	json_object_update_new(status, more);
	json_object_set_new(status, "vxlans", report_vxlans(d->mirror));
	return status;
}
