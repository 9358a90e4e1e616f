// Life and state of the tailnet node.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/state_dir.h"
#include "control/dns/dns.h"
#include "control/kernel/netfilter.h"
#include "control/tailnet/peerapi.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"
#include "dataplane/crypto/x25519.h"

uint64_t tn_now_ns(void *arg)
{
	const struct tailnet *t = arg;
	return (uint64_t)((double)rte_rdtsc() / t->params.gw->tsc_per_ns);
}

uint64_t tn_unix_of(const struct tailnet *t, uint64_t ns)
{
	uint64_t now = tn_now_ns((void *)t);
	return ns == 0 ? 0 : unix_now_ns() - (now > ns ? now - ns : 0);
}

const char *tailnet_state_text(enum tailnet_state state)
{
	switch (state) {
	case TAILNET_NEEDS_LOGIN:
		return "NeedsLogin";
	case TAILNET_NEEDS_MACHINE_AUTH:
		return "NeedsMachineAuth";
	case TAILNET_STOPPED:
		return "Stopped";
	case TAILNET_STARTING:
		return "Starting";
	case TAILNET_RUNNING:
		return "Running";
	default:
		return "NoState";
	}
}

int tn_save_state(struct tailnet *t)
{
	int r = persist_state_save(t->state_dir, &t->persist);
	if (r < 0)
		log_error("tailnet",
			"%s: the state cannot be written: %s; see its free space and mode",
			t->state_dir, strerror(-r));
	return r;
}

// Our own key is no longer good, by the server's clock.
static bool own_key_expired(const struct tailnet *t)
{
	const struct nm_node *self = t->netmap->self;
	int64_t now = (int64_t)(unix_now_ns() / 1000000000) + t->netmap->clock_offset_s;
	return self && (self->expired || (self->key_expiry && self->key_expiry <= now));
}

static enum tailnet_state judge(const struct tailnet *t)
{
	const struct coord_status *c = coord_client_status(t->coord);
	bool has_key = !key_is_zero(&t->node_key);
	if (c->state == COORD_VISIT_URL)
		return TAILNET_NEEDS_LOGIN;
	if (!has_key && c->state != COORD_CONNECTING)
		return TAILNET_NEEDS_LOGIN;
	if (!t->prefs->want_running)
		return has_key && !t->prefs->logged_out ? TAILNET_STOPPED : TAILNET_NEEDS_LOGIN;
	if (c->state == COORD_AWAIT_APPROVAL)
		return TAILNET_NEEDS_MACHINE_AUTH;
	bool mapped = t->netmap->ready && !t->stale;
	if (t->login_runs && c->state == COORD_CONNECTING)
		return TAILNET_STARTING;
	if (mapped && own_key_expired(t))
		return TAILNET_NEEDS_LOGIN;
	if (c->state == COORD_REFUSED && !mapped)
		return TAILNET_NEEDS_LOGIN;
	return mapped ? TAILNET_RUNNING : TAILNET_STARTING;
}

// A login that runs beside a good netmap stops nobody's packets.
static bool forwards(const struct tailnet *t)
{
	return tn_wants_up(t) && !key_is_zero(&t->node_key) && t->netmap->ready && !t->stale &&
	       !own_key_expired(t) && coord_client_status(t->coord)->state != COORD_AWAIT_APPROVAL;
}

void tn_evaluate(struct tailnet *t)
{
	enum tailnet_state now = judge(t);
	bool active = forwards(t);
	if (active != t->active) {
		t->active = active;
		if (active)
			tn_up(t);
		else
			tn_down(t);
	}
	if (now == t->state)
		return;
	log_info("tailnet", "%s", tailnet_state_text(now));
	t->state = now;
	tn_changed(t, TAILNET_CHANGED_STATE);
}

enum tailnet_state tailnet_state(const struct tailnet *t)
{
	return t->state;
}

// -- who listens ----------------------------------------------------------------------------------

static const struct timeval settle_time = {.tv_usec = TN_SETTLE_MS * 1000};

void tn_changed(struct tailnet *t, unsigned changes)
{
	t->pending_changes |= changes;
	if (t->settle && !event_pending(t->settle, EV_TIMEOUT, NULL))
		event_add(t->settle, &settle_time);
}

struct tailnet_listener *tailnet_listen(
	struct tailnet *t, void (*fn)(void *arg, unsigned changes), void *arg)
{
	if (t->n_listeners == TN_LISTENERS_MAX)
		return NULL;
	struct tailnet_listener *l = mem_alloc(sizeof(*l));
	*l = (struct tailnet_listener){.t = t, .fn = fn, .arg = arg, .next = t->listeners};
	t->listeners = l;
	t->n_listeners++;
	return l;
}

void tailnet_unlisten(struct tailnet_listener *l)
{
	struct tailnet_listener **at = &l->t->listeners;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->t->n_listeners--;
	free(l);
}

// A burst of changes is over: tables that follow from the whole, then who listens.
static void on_settle(evutil_socket_t, short, void *arg)
{
	struct tailnet *t = arg;
	unsigned changes = t->pending_changes;
	uint64_t begin_ns = thread_cpu_ns();
	t->pending_changes = 0;
	tn_net_settled(t);
	tn_exit_settle(t);
	tn_peerapi_settle(t);
	tn_firewall_settle(t);
	tn_offer_settle(t);
	tn_routes_settle(t);
	tn_routes_apply(t);
	tn_map_settled(t);
	tn_names_settled(t);
	if (t->settle_full)
		t->times.settle_ns = thread_cpu_ns() - begin_ns;
	t->settle_full = false;
	for (struct tailnet_listener *l = changes ? t->listeners : NULL, *next; l; l = next) {
		next = l->next; // it may end itself
		l->fn(l->arg, changes);
	}
}

static void on_second(evutil_socket_t, short, void *arg)
{
	struct tailnet *t = arg;
	struct netmap_delta delta;
	netmap_expire(t->netmap, (int64_t)(unix_now_ns() / 1000000000), &delta);
	if (delta.n_peers)
		tn_map(t, &delta);
	tn_net_tick(t);
	tn_learned_tick(t);
	tn_offer_tick(t);
	if (t->networks_dirty) {
		t->networks_dirty = false;
		t->filter_dirty = true;
		tn_routes_networks(t);
		tn_changed(t, 0);
	}
	if (t->auth_key[0] && tn_now_ns(t) >= t->auth_key_until_ns)
		tn_forget_auth_key(t);
	tn_evaluate(t);
}

static void on_save(evutil_socket_t, short, void *arg)
{
	struct tailnet *t = arg;
	size_t len;
	uint64_t begin_ns = thread_cpu_ns();
	if (t->stale) // logged out: its file has gone, for good
		return;
	char *text = netmap_dump(t->netmap, &len);
	if (!text)
		return;
	int r = persist_netmap_save(t->state_dir, text, len);
	if (r < 0)
		log_error("tailnet", "%s: the netmap cannot be written: %s", t->state_dir,
			strerror(-r));
	free(text);
	t->times.save_ns = thread_cpu_ns() - begin_ns;
}

const struct tailnet_times *tailnet_times(const struct tailnet *t)
{
	return &t->times;
}

// -- start ----------------------------------------------------------------------------------------

static int load_state(struct tailnet *t, char err[static 512])
{
	char why[STATE_DIR_WHY_LEN];
	int r = state_dir_check(t->state_dir, "", why);
	if (r == 0) {
		r = persist_dir(t->state_dir);
		snprintf(why, sizeof(why), "%.200s: %s", t->state_dir, strerror(-r));
	}
	if (r < 0) {
		snprintf(err, 512, "state_dir: %.490s", why);
		return r;
	}
	r = persist_state_load(t->state_dir, &t->persist);
	if (r == -ENOENT) {
		x25519_generate(t->persist.machine_private.bytes);
		uint8_t id[32];
		randombytes_buf(id, sizeof(id));
		sodium_bin2hex(t->persist.backend_log_id, sizeof(t->persist.backend_log_id), id,
			sizeof(id));
		r = persist_state_save(t->state_dir, &t->persist);
	}
	if (r < 0)
		snprintf(err, 512,
			"%.200s/state: %s; take it away to begin as a new machine, or see its "
			"owner and mode (0600)",
			t->state_dir, strerror(-r));
	return r;
}

static int load_prefs(struct tailnet *t, char err[static 512])
{
	char why[PREFS_ERROR_LEN];
	int r = prefs_load(t->state_dir, &t->prefs, why);
	if (r == -ENOENT) {
		t->prefs = prefs_create();
		return 0;
	}
	if (r < 0)
		snprintf(err, 512, "%.200s: %.200s", t->state_dir, why[0] ? why : strerror(-r));
	return r;
}

// The netmap of before: the gateway forwards by it until the server says more.
static void load_netmap(struct tailnet *t)
{
	struct netmap_delta delta;
	char *text;
	size_t len;
	int r = persist_netmap_load(t->state_dir, &text, &len);
	if (r == -ENOENT || key_is_zero(&t->node_key))
		return;
	if (r == 0) {
		r = netmap_apply(
			t->netmap, text, len, (int64_t)(unix_now_ns() / 1000000000), &delta);
		free(text);
	}
	if (r < 0)
		log_warn("tailnet",
			"the netmap of before cannot be used (%s): waiting for the server",
			strerror(-r));
	else
		log_info("tailnet", "the netmap of before has %zu peers", t->netmap->n_peers);
}

static int create_parts(struct tailnet *t)
{
	const struct timeval second = {.tv_sec = 1};
	const struct coord_env env = {
		.arg = t,
		.now_ns = tn_now_ns,
		.hostinfo = tn_hostinfo,
		.endpoints = tn_map_endpoints,
		.disco_key = tn_disco_key,
		.save = tn_coord_save,
		.map = tn_map,
		.changed = tn_coord_changed,
		.ping = tn_ping_request,
		.c2n = tn_c2n,
	};
	struct event_base *base = t->params.base;
	const struct key no_key = {0};
	t->netmap = netmap_create(&t->node_key);
	t->none = netmap_create(&no_key);
	t->net = net_create(base);
	tn_services_create(t);
	t->settle = event_new(base, -1, 0, on_settle, t);
	t->save = event_new(base, -1, 0, on_save, t);
	t->second = event_new(base, -1, EV_PERSIST, on_second, t);
	t->reach = reach_create(base, 0, tn_reach_changed, t);
	if (tn_appc_create(t) < 0 || !t->net || !t->settle || !t->save || !t->second || !t->reach ||
		event_add(t->second, &second) < 0 || tn_lookup_init(t) < 0 ||
		tn_net_create(t) < 0 || tn_names_create(t) < 0 || tn_peerapi_create(t) < 0)
		return -ENOMEM;
	tailnet_set_probes(t, &t->params.probes);
	tailnet_set_learned(t, &t->params.learned);
	t->coord = coord_client_create(base, t->net, &t->persist, t->netmap, &env);
	return t->coord ? 0 : -ENOMEM;
}

int tailnet_create(const struct tailnet_params *params, struct tailnet **out, char err[static 512])
{
	struct tailnet *t = mem_alloc(sizeof(*t));
	t->params = *params;
	snprintf(t->state_dir, sizeof(t->state_dir), "%s", params->state_dir);
	int r = load_state(t, err);
	if (r == 0)
		r = load_prefs(t, err);
	if (r == 0) {
		tn_self_init(t);
		tn_own_key(t);
		r = create_parts(t);
		if (r < 0)
			snprintf(err, 512, "tailnet: %s", strerror(-r));
	}
	if (r < 0) {
		tailnet_destroy(t);
		return r;
	}
	load_netmap(t);
	tn_services_read(t);
	tn_appc_settle(t);
	tn_net_map(t);
	if (tn_wants_up(t) && !key_is_zero(&t->node_key))
		tn_login(t, NULL, false);
	tn_evaluate(t);
	*out = t;
	return 0;
}

void tailnet_destroy(struct tailnet *t)
{
	if (!t)
		return;
	if (t->save && event_pending(t->save, EV_TIMEOUT, NULL))
		on_save(-1, 0, t);
	coord_client_destroy(t->coord);
	if (t->active)
		tn_down(t);
	mirror_watch(t->params.mirror, NULL, NULL);
	tn_net_destroy(t);
	tn_ping_end(t);
	peerapi_destroy(t->peerapi);
	netfilter_destroy(t->firewall);
	dns_destroy(t->names);
	tn_appc_destroy(t);
	tn_services_destroy(t);
	net_destroy(t->net);
	struct event *const events[] = {t->settle, t->second, t->save, t->rules_again};
	for (unsigned i = 0; i < RTE_DIM(events); i++) {
		if (events[i])
			event_free(events[i]);
	}
	for (struct tailnet_listener *l = t->listeners, *next; l; l = next) {
		next = l->next;
		free(l);
	}
	if (t->netmap) {
		netmap_destroy(t->netmap);
		netmap_destroy(t->none);
	}
	reach_destroy(t->reach);
	free(t->offered);
	tn_networks_free(&t->networks);
	learned_fini(&t->learned);
	free(t->kernel.attached.at);
	prefs_destroy(t->prefs);
	persist_state_fini(&t->persist);
	mem_wipe_free(t, sizeof(*t));
}
