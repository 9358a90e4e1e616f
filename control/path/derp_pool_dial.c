// Which node of a region, where, and with which greeting.
#include <errno.h>
#include <stdio.h>

#include "control/path/derp_pool_priv.h"

enum {
	DIAL_TIMEOUT_MS = 10000,
	DIAL_TIMEOUT_NEXT_MS = 5000, // when there is another node
	HTTPS_PORT = 443,
	UNSENT_MAX = 256 << 10,
};

enum { BY_ADDRESS, BY_NAME, WAYS };

static bool is_off(const char *address)
{
	return address && strcmp(address, "none") == 0;
}

static bool is_given(const char *address)
{
	struct ip_addr a;

	return address && ip_addr_parse(address, &a) == 0;
}

// The addresses of the map, so that DNS is not needed; the name if a family is left to DNS.
static bool way_exists(const struct nm_derp_node *n, unsigned way, char address[static 128])
{
	const char *v4 = is_given(n->ipv4) ? n->ipv4 : NULL;
	const char *v6 = is_given(n->ipv6) ? n->ipv6 : NULL;
	const bool unnamed = (v4 || is_off(n->ipv4)) && (v6 || is_off(n->ipv6));

	if (n->stun_only)
		return false;
	if (way == BY_NAME)
		return !unnamed && !is_given(n->host);
	snprintf(address, 128, "%s%s%s", v4 ? v4 : "", v4 && v6 ? "," : "", v6 ? v6 : "");
	return v4 || v6 || (!unnamed && is_given(n->host));
}

static int open_node(struct derp_region *r, const struct nm_derp_node *n, const char *address,
	bool last, const struct stream_events *events)
{
	const struct stream_target target = {
		.host = n->host,
		.port = n->derp_port,
		.tls = true,
		.address = address[0] ? address : NULL,
		.cert = n->cert && n->cert[0] ? n->cert : NULL,
		.any_certificate = n->insecure && !n->cert,
		.timeout_ms = last ? DIAL_TIMEOUT_MS : DIAL_TIMEOUT_NEXT_MS,
	};
	const bool v6 = strchr(n->host, ':');
	const int len = n->derp_port == HTTPS_PORT
				? snprintf(r->host, sizeof(r->host), v6 ? "[%s]" : "%s", n->host)
				: snprintf(r->host, sizeof(r->host), v6 ? "[%s]:%u" : "%s:%u",
					  n->host, n->derp_port);

	if (len >= (int)sizeof(r->host))
		return -EINVAL;
	return stream_open(&r->stream, r->pool->net, &target, events);
}

int derp_region_dial(struct derp_region *r, const struct stream_events *events)
{
	bool tried = r->step > 0;
	int error;

	for (; r->step < r->def.n_nodes * WAYS; r->step++) {
		const struct nm_derp_node *n = &r->def.nodes[r->step / WAYS];
		char address[128] = "", why[STREAM_WHY_LEN];
		if (!way_exists(n, r->step % WAYS, address))
			continue;
		r->node = n;
		tried = true;
		error = open_node(r, n, address, r->step / WAYS + 1 == r->def.n_nodes, events);
		if (!error)
			return 0;
		snprintf(why, sizeof(why), "the DERP map's node %.80s cannot be dialled: %s",
			n->host, strerror(-error));
		derp_region_say(r, why);
	}
	if (!tried)
		derp_region_say(r, "no node can be dialled: only STUN, or without addresses");
	return -EHOSTUNREACH;
}

// The key of fast start, when the server's certificates name it.
static bool fast_start_key(struct derp_region *r, struct key *out)
{
	char name[256];
	uint64_t serial;

	return !r->fast_start_failed && stream_last_certificate(r->stream, name, &serial) == 0 &&
	       derp_certificate_key(name, serial, out) == 0;
}

int derp_region_greet(struct derp_region *r, const struct derp_io *io)
{
	const struct nm_derp_node *first = &r->def.nodes[0];
	struct derp_options options = {
		.private_key = r->pool->private_key,
		.public_key = r->pool->public_key,
		.host = r->host,
		.ideal_node =
			r->node != first && first->name && first->name[0] ? first->name : NULL,
	};
	struct key server;

	randombytes_buf(options.nonce, sizeof(options.nonce));
	r->fast_start = fast_start_key(r, &server);
	options.server_key = r->fast_start ? &server : NULL;
	int error = derp_create(&r->derp, &options, io);
	if (error == -EINVAL && options.ideal_node) { // a name that does not fit into a header
		options.ideal_node = NULL;
		error = derp_create(&r->derp, &options, io);
	}
	sodium_memzero(&options, sizeof(options));
	if (error)
		return error;
	stream_limit_unsent(r->stream, UNSENT_MAX);
	derp_backlog_init(&r->backlog, derp_pool_now(r->pool));
	return derp_start(r->derp, derp_pool_now(r->pool));
}
