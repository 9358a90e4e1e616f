#include "control/ctl/doctor.h"

#include <stdarg.h>
#include <stdio.h>

struct doctor_finding *doctor_note(struct doctor_report *r, const char *id,
	enum doctor_severity severity, const char *check, const char *meaning, const char *remedy,
	const char *evidence, ...)
{
	va_list args;
	if (r->n == DOCTOR_FINDINGS_MAX) {
		r->omitted++;
		return NULL;
	}
	struct doctor_finding *f = &r->finding[r->n++];
	*f = (struct doctor_finding){.id = id, .severity = severity, .check = check};
	snprintf(f->meaning, sizeof(f->meaning), "%s", meaning);
	snprintf(f->remedy, sizeof(f->remedy), "%s", remedy);
	va_start(args, evidence);
	vsnprintf(f->evidence, sizeof(f->evidence), evidence, args);
	va_end(args);
	// Others' words are in it; cut within a character, JSON would refuse them.
	for (char *c = f->evidence; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return f;
}

// --- Coordination

static const char coordination[] = "coordination";

// What each trouble means. Before it stands what the client saw.
static const struct trouble_help {
	const char *id;
	enum doctor_severity severity;
	const char *meaning, *remedy;
} troubles[COORD_TROUBLE_COUNT] = {
	[COORD_TROUBLE_DNS] = {"F190", DOCTOR_ERROR,
		"The name of the coordination server is not found.",
		"Check the name in --login-server and the resolver of this host (getent hosts "
		"NAME)."},
	[COORD_TROUBLE_CONNECT] = {"F194", DOCTOR_ERROR,
		"Nothing answers at the coordination server, or something on the way refuses.",
		"Check that the server runs, and that TCP 443 (or the port of --login-server) is "
		"let out: curl -v URL/key?v=142"},
	[COORD_TROUBLE_CERTIFICATE] = {"F197", DOCTOR_ERROR,
		"The server's certificate is not one that this host trusts: expired, for another "
		"name, or of an unknown authority; or this host's clock is off.",
		"Renew the certificate, or install its authority on this host "
		"(update-ca-certificates); check the clock."},
	[COORD_TROUBLE_WRONG_SERVER] = {"F194", DOCTOR_ERROR,
		"Something answers there, but it is no coordination server; or a reverse proxy "
		"does "
		"not pass the Upgrade header on.",
		"Check --login-server. Behind a proxy, let it pass 'Upgrade: "
		"tailscale-control-protocol' with POST."},
	[COORD_TROUBLE_REDIRECT] = {"F196", DOCTOR_ERROR,
		"A proxy before the server redirects, as Caddy does from HTTP to HTTPS (308); the "
		"protocol cannot follow.",
		"Give the address that it redirects to in --login-server, or exempt /ts2021 and "
		"/key from the redirect."},
	[COORD_TROUBLE_VERSION] = {"F193", DOCTOR_ERROR,
		"The server refuses this client's version. Relayed traffic may go on, but no "
		"endpoints are exchanged: opening firewalls does not help.",
		"Upgrade Tailgate (apt update && apt upgrade, then systemctl restart tailgated), "
		"or "
		"a server that is too old for this client."},
	[COORD_TROUBLE_KEY] = {"F203", DOCTOR_ERROR,
		"The server does not take the auth key: used up, expired, or of another server.",
		"Make a new one (headscale preauthkeys create) and run 'tailgate up --auth-key "
		"KEY'."},
	[COORD_TROUBLE_REFUSED] = {"F190", DOCTOR_ERROR,
		"The server does not want this node; its words stand above.",
		"Ask who runs the server: the node may be deleted, not allowed, or over a limit."},
	[COORD_TROUBLE_EXPIRED] = {"F010", DOCTOR_ERROR,
		"The node key has expired: peers take no packets from this node any more.",
		"Log in again: tailgate up --force-reauth"},
	[COORD_TROUBLE_UNKNOWN_NODE] = {"F190", DOCTOR_ERROR,
		"The server does not know this node any more: it was deleted there, or the server "
		"lost its database.",
		"Log in again: tailgate up --force-reauth"},
	[COORD_TROUBLE_RATE_LIMITED] = {"F190", DOCTOR_WARN, "The server asks to come back later.",
		"Wait; look for a node that logs in in a "
		"loop."},
	[COORD_TROUBLE_CLOSED] = {"F197", DOCTOR_WARN,
		"The server, or a proxy before it, closed the connection.",
		"If it stays so, read the server's log: a refused version or a proxy that ends "
		"long "
		"requests looks like this from here."},
	[COORD_TROUBLE_SILENT] = {"F199", DOCTOR_WARN,
		"The server has said nothing for two minutes, though it should every minute.",
		"Check the way to the server, and proxies that hold answers back (disable response "
		"buffering)."},
	[COORD_TROUBLE_PROTOCOL] = {"F194", DOCTOR_ERROR,
		"The server's answer cannot be understood.",
		"Check --login-server and the proxies before it; compare the versions of both "
		"sides."},
	[COORD_TROUBLE_CLOCK] = {"time", DOCTOR_ERROR,
		"The clock of this host is so far off that certificates and keys seem invalid.",
		"Set it: timedatectl set-ntp true"},
	[COORD_TROUBLE_STORAGE] = {"F017", DOCTOR_ERROR,
		"New keys cannot be kept: the node would come back as another one.",
		"Make room and allow writing in the state directory (--statedir)."},
};

bool doctor_coord_is_well(const struct doctor_facts *f)
{
	return f->coord.state == COORD_STREAMING && f->coord.trouble == COORD_TROUBLE_NONE;
}

// States in which the server is not to blame.
static bool note_state(const struct doctor_facts *f, struct doctor_report *r)
{
	if (f->state == TAILNET_STOPPED || !f->want_running)
		doctor_note(r, "F190", DOCTOR_INFO, coordination,
			"The node is switched off: no peer reaches it.", "tailgate up",
			"%s by 'tailgate down' or not joined yet",
			f->state == TAILNET_STOPPED ? "stopped" : "not running");
	else if (f->state == TAILNET_NEEDS_MACHINE_AUTH || f->coord.state == COORD_AWAIT_APPROVAL)
		doctor_note(r, "F190", DOCTOR_WARN, coordination,
			"The server waits for an administrator to approve this machine.",
			"Approve it in the server's console, or with its command line.",
			"registered, but not approved");
	else if (f->coord.state == COORD_VISIT_URL)
		doctor_note(r, "F203", DOCTOR_WARN, coordination,
			"Somebody has to log in for this node.",
			"Visit the address, or log in with a key: tailgate up --auth-key KEY",
			"the server waits for a login at %.300s", f->coord.url);
	else if (f->state == TAILNET_NEEDS_LOGIN && f->coord.trouble == COORD_TROUBLE_NONE)
		doctor_note(r, "F203", DOCTOR_ERROR, coordination,
			"The node has no valid key for its tailnet.",
			"tailgate up --login-server URL --auth-key KEY", "logged out");
	else
		return false;
	return true;
}

static void note_well(const struct doctor_facts *f, struct doctor_report *r)
{
	bool silent = f->heard_age_s > DOCTOR_SILENT_S;
	doctor_note(r, silent ? "F199" : "F190", silent ? DOCTOR_WARN : DOCTOR_OK, coordination,
		silent ? "The server should be heard every minute."
		       : "The server tells of every change of the tailnet.",
		silent ? "Wait for the reconnection; then check the way to the server." : "",
		"connected (%.60s) for %lld s, last heard %lld s ago; a new connection was last "
		"accepted when this one began",
		f->coord.path, (long long)f->stream_age_s, (long long)f->heard_age_s);
}

// The stream may be older than what the server takes now.
static void note_fresh(const struct doctor_facts *f, struct doctor_report *r)
{
	const struct coord_probe_result *fresh = &f->tries.fresh;
	enum coord_trouble trouble =
		fresh->trouble < COORD_TROUBLE_COUNT ? fresh->trouble : COORD_TROUBLE_PROTOCOL;
	char meaning[DOCTOR_TEXT_LEN];
	if (!f->tries.coord || strncmp(fresh->why, "not tried", 9) == 0)
		return;
	if (trouble == COORD_TROUBLE_NONE) {
		doctor_note(r, "F198", DOCTOR_OK, coordination, "", "",
			"a second connection (%.60s) was taken after %u ms", fresh->why,
			fresh->took_ms);
		return;
	}
	snprintf(meaning, sizeof(meaning),
		"What runs goes on, but after a restart or a break this node stays out: a new "
		"connection is not taken. %s",
		troubles[trouble].meaning);
	doctor_note(r, "F198", DOCTOR_ERROR, coordination, meaning, troubles[trouble].remedy, "%s",
		fresh->why);
}

static void check_coordination(const struct doctor_facts *f, struct doctor_report *r)
{
	enum coord_trouble trouble =
		f->coord.trouble < COORD_TROUBLE_COUNT ? f->coord.trouble : COORD_TROUBLE_PROTOCOL;
	const struct trouble_help *help = &troubles[trouble];
	if (note_state(f, r))
		return;
	if (doctor_coord_is_well(f)) {
		note_well(f, r);
		note_fresh(f, r);
		return;
	}
	if (trouble != COORD_TROUBLE_NONE)
		doctor_note(r, help->id, help->severity, coordination, help->meaning, help->remedy,
			"%s", f->coord.why);
	else
		doctor_note(r, "F190", DOCTOR_WARN, coordination,
			"The node is on its way to the server.", "Look again in some seconds.",
			"not connected yet, %llu failures so far",
			(unsigned long long)f->coord.failures);
	if (f->has_netmap)
		doctor_note(r, "F199", DOCTOR_INFO, "data plane",
			"Traffic between known nodes goes on; new nodes, moved endpoints and "
			"policies are not learnt.",
			"Repair coordination first, before looking at firewalls.",
			"the last netmap is in use");
}

static void check_clock(const struct doctor_facts *f, struct doctor_report *r)
{
	int64_t off = f->clock_offset_s < 0 ? -f->clock_offset_s : f->clock_offset_s;
	if (off < DOCTOR_CLOCK_WARN_S)
		doctor_note(r, "time", DOCTOR_OK, "clock", "Keys and certificates are judged well.",
			"", "within a minute of the server's");
	else
		doctor_note(r, "time", off < DOCTOR_CLOCK_ERROR_S ? DOCTOR_WARN : DOCTOR_ERROR,
			"clock",
			"Keys expire by it, and WireGuard refuses handshakes after it went back.",
			"Set it: timedatectl set-ntp true", "%lld s %s the server's",
			(long long)off, f->clock_offset_s > 0 ? "behind" : "ahead of");
}

static void check_key(const struct doctor_facts *f, struct doctor_report *r)
{
	int64_t left = f->key_expiry - f->now_s;
	if (f->key_expiry == 0)
		doctor_note(r, "F010", DOCTOR_OK, "node key", "", "", "never expires");
	else if (left > DOCTOR_EXPIRY_WARN_S)
		doctor_note(r, "F010", DOCTOR_OK, "node key", "", "", "expires in %lld days",
			(long long)(left / 86400));
	else if (f->coord.trouble != COORD_TROUBLE_EXPIRED)
		doctor_note(r, "F010", left > 0 ? DOCTOR_WARN : DOCTOR_ERROR, "node key",
			"After that, peers take no packets from this node.",
			"Log in again (tailgate up --force-reauth), or take the expiry off at the "
			"server.",
			left > 0 ? "expires in %lld hours" : "expired %lld hours ago",
			(long long)((left > 0 ? left : -left) / 3600));
}

// --- Versions

// "1.94.2-t1234": 194... as major * 1000 + minor; 0: unknown.
static unsigned version_number(const char *text)
{
	unsigned major, minor;
	if (sscanf(text, "%4u.%3u", &major, &minor) != 2)
		return 0;
	return major * 1000 + minor;
}

// Versions of the same major that lie too far apart.
static bool is_behind(unsigned version, unsigned newest)
{
	return version > 0 && version / 1000 == newest / 1000 &&
	       newest - version > DOCTOR_MINORS_BEHIND_MAX;
}

static void check_versions(const struct doctor_facts *f, struct doctor_report *r)
{
	char names[DOCTOR_TEXT_LEN / 2] = "";
	unsigned newest = 0, n = 0;
	uint32_t cap = 0;
	for (size_t i = 0; i < f->n_peers; i++) {
		unsigned version = version_number(f->peers[i].version);
		newest = version > newest ? version : newest;
		cap = f->peers[i].cap > cap ? f->peers[i].cap : cap;
	}
	for (size_t i = 0; i < f->n_peers; i++) {
		const struct doctor_peer *p = &f->peers[i];
		size_t len = strlen(names);
		bool old = (p->cap > 0 && p->cap < DOCTOR_CAP_MIN) ||
			   is_behind(version_number(p->version), newest);
		if (!old)
			continue;
		if (n++ < 6)
			snprintf(names + len, sizeof(names) - len, "%s%.30s (%.16s)",
				len > 0 ? ", " : "", p->name, p->version);
	}
	if (n > 0)
		doctor_note(r, "F201", DOCTOR_WARN, "versions",
			"A client that is too old is refused by new coordination servers once it "
			"reconnects; then it falls back to relays for good.",
			"Upgrade it there (apt update && apt upgrade, systemctl restart "
			"tailscaled).",
			"%u peer%s far behind the newest (%u.%u) or below capability %d: %s%s", n,
			n == 1 ? "" : "s", newest / 1000, newest % 1000, DOCTOR_CAP_MIN, names,
			n > 6 ? ", ..." : "");
	else
		doctor_note(r, "F201", DOCTOR_OK, "versions", "", "",
			"this node declares capability %u, the newest peer %u", f->cap, cap);
}

// --- The port

static void check_port(const struct doctor_facts *f, struct doctor_report *r)
{
	if (f->port == f->port_configured)
		doctor_note(r, "F006", DOCTOR_OK, "port", "", "", "UDP %u, as configured", f->port);
	else
		doctor_note(r, "F157", DOCTOR_WARN, "port",
			"Port forwards and firewall rules for the configured port do not work.",
			"Free it, or configure another one, and restart tailgated.",
			"UDP %u instead of the configured %u, which %.60s has", f->port,
			f->port_configured,
			f->port_user[0] != '\0' ? f->port_user : "somebody else");
	if (f->misplaced_defaults)
		doctor_note(r, "F135", DOCTOR_INFO, "settings file", "Nobody reads that file.",
			"tailscaled's is /etc/default/tailscaled; Tailgate has --port and "
			"listen_port.",
			"there is an /etc/defaults/tailscaled");
}

// What the node itself has to say and no check above said.
static void check_health(const struct doctor_facts *f, struct doctor_report *r)
{
	bool network_said = f->net.unix_ns != 0;
	for (unsigned i = 0; i < f->n_health; i++) {
		bool said = strcmp(f->health[i], f->coord.why) == 0 ||
			    strstr(f->health[i], "clock") != NULL ||
			    (network_said && (strstr(f->health[i], "UDP") != NULL ||
						     strstr(f->health[i], "DERP") != NULL));
		if (!said)
			doctor_note(r, "F334", DOCTOR_INFO, "health", "", "", "%s", f->health[i]);
	}
}

void doctor_check(const struct doctor_facts *f, struct doctor_report *out)
{
	out->n = out->omitted = 0;
	if (!f->is_node) {
		doctor_note(out, "F190", DOCTOR_INFO, coordination,
			"Its peers are those of the configuration: tailgate status tells of them.",
			"", "this gateway is no node of a tailnet");
		check_port(f, out);
		return;
	}
	check_coordination(f, out);
	if (f->state != TAILNET_RUNNING && f->state != TAILNET_STARTING && !f->has_netmap) {
		check_port(f, out);
		return;
	}
	check_clock(f, out);
	check_key(f, out);
	check_versions(f, out);
	check_port(f, out);
	doctor_check_network(f, out);
	doctor_check_tries(f, out);
	doctor_check_peers(f, out);
	doctor_check_dns(f, out);
	doctor_check_host(f, out);
	check_health(f, out);
}

json_t *doctor_json(const struct doctor_report *r)
{
	static const char *const severities[] = {"ok", "info", "warn", "error"};
	json_t *findings = json_array();
	for (unsigned i = 0; i < r->n; i++) {
		const struct doctor_finding *f = &r->finding[i];
		json_array_append_new(findings,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", f->id, "severity",
				severities[f->severity], "check", f->check, "evidence", f->evidence,
				"meaning", f->meaning, "remedy", f->remedy));
	}
	return json_pack("{s:o, s:i}", "findings", findings, "omitted", (int)r->omitted);
}
