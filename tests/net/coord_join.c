// Talks to a coordination server as the daemon does, and to nobody else: for tests/net/coord.sh.
//
// usage: coord_join STATEDIR FIFO HOSTNAME
//
// Commands come through the FIFO, a line each:
//   start URL [KEY]       log in with the node key that is there
//   relogin URL [KEY]     ... with a new one
//   endpoint ADDR:PORT    have this endpoint from now on
//   pause, logout
// What happens goes to standard output: "state NAME", "trouble LABEL: WHY", "url URL", "netmap
// ...", "lite N", "logged out N".
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "control/coord/client.h"
#include "dataplane/base/log.h"
#include "dataplane/crypto/x25519.h"

static struct {
	const char *dir, *hostname;
	struct event_base *base;
	struct coord_client *client;
	struct persist_state persist;
	struct netmap *netmap;
	struct map_endpoint endpoint;
	struct key disco;
	struct coord_status said;
} node;

static uint64_t now_ns(void *)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static const struct hostinfo *hostinfo(void *)
{
	static struct hostinfo h = {.version = TAILGATE_VERSION,
		.os = "linux",
		.go_arch = "amd64",
		.no_logs = true,
		.userspace = -1,
		.userspace_router = -1};

	h.backend_log_id = node.persist.backend_log_id;
	h.hostname = node.hostname;
	return &h;
}

static size_t endpoints(void *, struct map_endpoint *out, size_t)
{
	*out = node.endpoint;
	return node.endpoint.endpoint.port != 0;
}

static struct key disco_key(void *)
{
	return node.disco;
}

static int save(void *)
{
	return persist_state_save(node.dir, &node.persist);
}

static void peer_print(const struct nm_peer_delta *d)
{
	char text[ENDPOINT_TEXT_LEN];

	if (!d->peer) {
		printf("peer %ld is gone\n", d->id);
		return;
	}
	const struct nm_node *const n = d->peer->node;
	printf("peer %s online=%d endpoints", n->name, n->online == NM_ONLINE);
	for (uint32_t i = 0; i < n->n_endpoints; i++)
		printf(" %s", endpoint_format(&n->endpoints[i], text));
	printf("\n");
}

static void map(void *, const struct netmap_delta *delta)
{
	const struct nm_node *const self = node.netmap->self;

	if (delta->full)
		printf("netmap self=%s key=%d peers=%zu\n", self->name,
			!memcmp(&self->key, &node.netmap->own_key, sizeof(self->key)),
			node.netmap->n_peers);
	for (size_t i = 0; i < delta->n_peers; i++)
		peer_print(&delta->peers[i]);
}

static const char *state_name(enum coord_state state)
{
	static const char *const names[] = {
		"off", "connecting", "visit_url", "await_approval", "refused", "streaming"};

	return names[state];
}

static void changed(void *)
{
	const struct coord_status *const s = coord_client_status(node.client);

	if (s->state != node.said.state)
		printf("state %s\n", state_name(s->state));
	if (strcmp(s->why, node.said.why) != 0)
		printf("trouble %s: %s\n", coord_trouble_label(s->trouble), s->why);
	if (strcmp(s->url, node.said.url) != 0)
		printf("url %s\n", s->url);
	node.said = *s;
}

static void on_tick(evutil_socket_t, short, void *)
{
	const uint64_t lite = coord_client_status(node.client)->lite_updates;

	if (lite != node.said.lite_updates)
		printf("lite %lu\n", lite);
	node.said.lite_updates = lite;
}

static void logged_out(void *, int error)
{
	printf("logged out %d\n", error);
}

static void command(char *line)
{
	char *const word = strtok(line, " \n"), *const url = strtok(NULL, " \n"),
		    *const key = strtok(NULL, " \n");

	if (!word)
		return;
	printf("> %s\n", word);
	if (!strcmp(word, "start") || !strcmp(word, "relogin")) {
		const struct coord_login login = {
			.server = url, .auth_key = key, .interactive = *word == 'r'};
		if (coord_client_start(node.client, &login))
			printf("no start\n");
	} else if (!strcmp(word, "endpoint")) {
		node.endpoint.type = ENDPOINT_STUN;
		if (endpoint_parse(url, &node.endpoint.endpoint))
			printf("no endpoint\n");
		coord_client_update(node.client);
	} else if (!strcmp(word, "pause")) {
		coord_client_pause(node.client);
	} else if (!strcmp(word, "logout")) {
		coord_client_logout(node.client, logged_out, NULL);
	}
}

static void on_command(evutil_socket_t fd, short, void *)
{
	static char text[1024];
	const ssize_t n = read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return;
	text[n] = '\0';
	for (char *line = text, *end; line; line = end ? end + 1 : NULL) {
		end = strchr(line, '\n');
		if (end)
			*end = '\0';
		command(line);
	}
}

static void on_end(evutil_socket_t, short, void *)
{
	event_base_loopbreak(node.base);
}

static void identity_load(void)
{
	if (persist_dir(node.dir))
		errx(1, "%s cannot be used", node.dir);
	const int error = persist_state_load(node.dir, &node.persist);
	if (error && error != -ENOENT)
		errx(1, "state: %s", strerror(-error));
	if (error) {
		x25519_generate(node.persist.machine_private.bytes);
		memset(node.persist.backend_log_id, 'a', 64);
	}
	struct key own = {0}, disco;
	if (!key_is_zero(coord_key_in_use(&node.persist)))
		x25519_public(own.bytes, coord_key_in_use(&node.persist)->bytes);
	node.netmap = netmap_create(&own);
	x25519_generate(disco.bytes);
	x25519_public(node.disco.bytes, disco.bytes);
}

int main(int argc, char **argv)
{
	const struct coord_env env = {.now_ns = now_ns,
		.hostinfo = hostinfo,
		.endpoints = endpoints,
		.disco_key = disco_key,
		.save = save,
		.map = map,
		.changed = changed};
	static const struct timeval often = {.tv_usec = 50000};

	if (argc != 4)
		errx(2, "usage: coord_join STATEDIR FIFO HOSTNAME");
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_init(LOG_LEVEL_INFO);
	node.dir = argv[1];
	node.hostname = argv[3];
	node.base = event_base_new();
	identity_load();
	struct net *const net = net_create(node.base);
	const int fifo = open(argv[2], O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (!net || fifo < 0)
		err(1, "%s", argv[2]);
	node.client = coord_client_create(node.base, net, &node.persist, node.netmap, &env);
	struct event *const commands =
		event_new(node.base, fifo, EV_READ | EV_PERSIST, on_command, NULL);
	struct event *const tick = event_new(node.base, -1, EV_PERSIST, on_tick, NULL);
	struct event *const end = evsignal_new(node.base, SIGTERM, on_end, NULL);
	if (!node.client || !commands || !tick || !end)
		errx(1, "no memory");
	event_add(end, NULL);
	event_add(commands, NULL);
	event_add(tick, &often);
	event_base_dispatch(node.base); // until SIGTERM
	event_free(end);
	event_free(commands);
	event_free(tick);
	coord_client_destroy(node.client);
	net_destroy(net);
	netmap_destroy(node.netmap);
	persist_state_fini(&node.persist);
	event_base_free(node.base);
	close(fifo);
	return 0;
}
