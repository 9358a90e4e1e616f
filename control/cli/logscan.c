#include "control/cli/logscan.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEEDLES_MAX 3

static const char control[] = "coordination", derp[] = "DERP", udp[] = "UDP", paths[] = "paths";

// In the order in which one should look. A line has a symptom if all its needles are in it, in any
// case of letters; the first that fits counts. Sources: tailscale control/controlhttp,
// control/controlclient, derp/derphttp, wgengine, net/netcheck; headscale hscontrol.
static const struct symptom {
	const char *needles[NEEDLES_MAX];
	const char *id, *severity, *check, *meaning, *remedy;
} symptoms[] = {
	{{"unsupported client version"}, "F195", "error", control,
		"The coordination server refuses a client that is too old; its version stands in "
		"the line. It keeps what it knows, so that relayed traffic may go on, but gets no "
		"endpoints any more: opening firewalls does not help.",
		"Upgrade that client and restart it: sudo apt update && sudo apt upgrade, sudo "
		"systemctl restart tailscaled."},
	{{"all connection attempts failed", "reading response header: EOF"}, "F194", "error",
		control,
		"The coordination server closes connections of this client: it refuses its "
		"version. A redirect (308) in the same line is a reverse proxy that forces HTTPS; "
		"it is not the cause.",
		"Upgrade the client (sudo apt update && sudo apt upgrade) and restart it. If it "
		"is new, look at the server's log, and let the proxy pass POST /ts2021 with its "
		"Upgrade header."},
	{{"unexpected HTTP response: 30"}, "F196", "error", control,
		"A reverse proxy before the coordination server redirects instead of passing the "
		"request on.",
		"Use the address that it redirects to as login server, or exempt /ts2021 and /key "
		"from the redirect."},
	{{"No Upgrade header"}, "F196", "warn", control,
		"A reverse proxy before headscale does not pass the Upgrade header on.",
		"Let the proxy pass WebSockets and 'Upgrade: tailscale-control-protocol'."},
	{{"reading response header: EOF"}, "F197", "error", control,
		"The server, or a proxy before it, closes the connection within the handshake: a "
		"refused version looks like this from the client.",
		"Look at the server's log at that time; upgrade the client."},
	{{"noise handshake failed", "decrypting machine key"}, "F194", "warn", control,
		"A client knows another key of this server than it has: the server's key was "
		"replaced, or the client is of another server.",
		"Restore the server's noise private key, or log the client in anew."},
	{{"x509: ", "current time", " is before "}, "time", "error", "clock",
		"The clock of that machine is behind: certificates are of its future.",
		"Set it: timedatectl set-ntp true"},
	{{"x509: ", "current time", " is after "}, "time", "error", "clock",
		"A certificate has expired, or the clock of that machine is ahead.",
		"Compare the time in the line with a clock; set it (timedatectl set-ntp true), or "
		"renew the certificate."},
	{{"x509: "}, "F197", "error", "certificate",
		"A server's certificate is not one that the machine trusts.",
		"Renew it, or install its authority (update-ca-certificates). Something on the way "
		"may intercept TLS."},
	{{"node key expired"}, "F010", "error", "node key",
		"The node key has expired: peers take no packets from that node any more.",
		"Log in again (tailscale up --force-reauth), or take the expiry off at the "
		"server."},
	{{"key expired; run"}, "F010", "error", "node key",
		"The node key has expired: peers take no packets from that node any more.",
		"Log in again (tailscale up --force-reauth), or take the expiry off at the "
		"server."},
	{{"authkey expired"}, "F203", "error", control, "The auth key has expired.",
		"Make a new one (headscale preauthkeys create) and log in with it."},
	{{"authkey already used"}, "F203", "error", control,
		"The auth key is for one node only, and is used up.",
		"Make a new one (headscale preauthkeys create --reusable) and log in with it."},
	{{"dial tcp: lookup ", "no such host"}, "F190", "error", control,
		"The name of the coordination or of a DERP server is not found.",
		"Check the name and the resolver of that machine (getent hosts NAME)."},
	{{"fetch control key"}, "F194", "error", control,
		"The coordination server's key cannot be had: it does not answer, or something "
		"else does.",
		"On that machine: curl -v https://SERVER/key?v=142"},
	{{"unable to bind", "address already in use"}, "F157", "warn", "port",
		"Another program has the UDP port, so that port forwards do not work.",
		"See who has it (ss -lunp), stop it or choose another port."},
	{{"UDP is blocked"}, "F126", "warn", udp,
		"No STUN server answered over UDP: everything is relayed over DERP on TCP 443.",
		"Let UDP out, at least to port 3478 and from the client's port, and answers in."},
	{{"derphttp.Client", "connect to "}, "F165", "warn", derp,
		"A DERP server cannot be reached: whoever is at home there is not found.",
		"Check that it runs and that TCP 443 to it is let out; the line says what failed."},
	{{"open-conn-track: timeout opening", "; peer node", "not connected to any DERP"}, "F163",
		"warn", paths,
		"A connection was tried to a peer that has no home relay: it is off, or its TCP "
		"443 "
		"is blocked.",
		"Look at that peer: is its client running, and does tailscale netcheck find a "
		"DERP region?"},
	{{"open-conn-track: timeout opening"}, "F161", "info", paths,
		"Connections through the tunnel were not answered: the policy, the service behind, "
		"or the path.",
		"Compare tailscale ping (the path) with ping (the service); check the policy."},
	{{"no cipher suite supported by both client and server"}, "F106", "warn", "TLS",
		"A client of a served name knows none of the suites that the proxy offers: an old "
		"one, of TLS 1.2 only. Its connections fail; it is nothing to do with MTUs, or "
		"with others being slow.",
		"Update that client; or serve it by a proxy of your own that allows its suites."},
};

#define N_SYMPTOMS (sizeof(symptoms) / sizeof(symptoms[0]))
static_assert(N_SYMPTOMS <= LOGSCAN_SYMPTOMS);

// As strcasestr, in bytes that may have zeros.
static bool has(const char *line, size_t len, const char *needle)
{
	size_t n = strlen(needle);
	for (size_t i = 0; i + n <= len; i++) {
		size_t k = 0;
		while (k < n &&
			tolower((unsigned char)line[i + k]) == tolower((unsigned char)needle[k]))
			k++;
		if (k == n)
			return true;
	}
	return false;
}

static bool fits(const struct symptom *s, const char *line, size_t len)
{
	for (unsigned i = 0; i < NEEDLES_MAX && s->needles[i] != NULL; i++)
		if (!has(line, len, s->needles[i]))
			return false;
	return true;
}

// The beginning is a time stamp, the end the cause: of a long line the end is kept.
static void keep(struct logscan_hit *hit, const char *line, size_t len)
{
	size_t room = sizeof(hit->last) - 1, skip = len > room ? len - room : 0;
	size_t n = len - skip;
	for (size_t i = 0; i < n; i++)
		hit->last[i] = isprint((unsigned char)line[skip + i]) ? line[skip + i] : '?';
	hit->last[n] = '\0';
	hit->n++;
}

void logscan_line(struct logscan *s, const char *line, size_t len)
{
	s->lines++;
	if (len > LOGSCAN_LINE_MAX)
		len = LOGSCAN_LINE_MAX;
	for (unsigned i = 0; i < N_SYMPTOMS; i++)
		if (fits(&symptoms[i], line, len)) {
			keep(&s->hit[i], line, len);
			return;
		}
}

static void add(json_t *findings, const struct symptom *s, const char *evidence)
{
	json_array_append_new(
		findings, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", s->id, "severity",
				  s->severity, "check", s->check, "evidence", evidence, "meaning",
				  s->meaning, "remedy", s->remedy));
}

json_t *logscan_report(const struct logscan *s, const char *name)
{
	static const struct symptom none = {
		.id = "F334", .severity = "ok", .check = "log", .meaning = "", .remedy = ""};
	char evidence[sizeof(s->hit[0].last) + 64];
	json_t *findings = json_array();
	for (unsigned i = 0; i < N_SYMPTOMS; i++) {
		const struct logscan_hit *hit = &s->hit[i];
		if (hit->n == 0)
			continue;
		snprintf(evidence, sizeof(evidence), "%lu line%s, the last: %s", hit->n,
			hit->n == 1 ? "" : "s", hit->last);
		add(findings, &symptoms[i], evidence);
	}
	snprintf(evidence, sizeof(evidence), "%lu lines of %.200s, none with a known symptom",
		s->lines, name);
	if (json_array_size(findings) == 0)
		add(findings, &none, evidence);
	return json_pack("{s:o, s:i}", "findings", findings, "omitted", 0);
}
