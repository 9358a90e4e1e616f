#include "control/cli/format.h"
#include "control/cli/show.h"

// "a, b, c", or otherwise when there is none.
static void print_list(FILE *out, const json_t *array, const char *otherwise)
{
	size_t i;
	json_t *element;
	if (json_array_size(array) == 0)
		fputs(otherwise, out);
	json_array_foreach(array, i, element)
	{
		const char *text = json_string_value(element);
		fprintf(out, "%s%s", i > 0 ? ", " : "", text != NULL ? text : "");
	}
}

static void show_gateway(FILE *out, const json_t *status)
{
	char text[FORMAT_LEN];
	size_t i;
	json_t *warning;
	fprintf(out, "tailgate %s, up %s\n", show_text(status, "version"),
		format_duration((uint64_t)show_number(status, "uptime_s"), text));
	fprintf(out, "  public key: %s\n", show_text(status, "public_key"));
	fprintf(out, "  listening port: %.0f", show_number(status, "listen_port"));
	if (json_is_true(json_object_get(status, "listen_port_fallback")))
		fprintf(out, " (%.0f was taken: free it, or tell the peers of this one)",
			show_number(status, "listen_port_configured"));
	fprintf(out, "\n  encryption: %s\n", show_text(status, "aead"));
	fprintf(out, "  workers: %.0f\n", show_number(status, "workers"));
	fprintf(out, "  configuration: %s\n", show_text(status, "config"));
	if (show_number(status, "reload_failures") > 0 &&
		*show_text(status, "last_reload_error") != '\0')
		fprintf(out, "  last reload failed: %s\n", show_text(status, "last_reload_error"));
	if (json_is_true(json_object_get(status, "under_load")))
		fputs("  under load: handshakes are answered with cookies\n", out);
	json_array_foreach(json_object_get(status, "warnings"), i, warning) fprintf(
		out, "  warning: %s\n", json_is_string(warning) ? json_string_value(warning) : "");
}

static void show_port(FILE *out, const json_t *port)
{
	const json_t *offloads = json_object_get(port, "offloads");
	const json_t *rx = json_object_get(offloads, "rx"), *tx = json_object_get(offloads, "tx");
	fprintf(out, "\nport: %s\n", show_text(port, "name"));
	fprintf(out, "  device: %s (%s), %s, mtu %.0f", show_text(port, "device"),
		show_text(port, "kind"), json_is_true(json_object_get(port, "up")) ? "up" : "DOWN",
		show_number(port, "mtu"));
	if (*show_text(port, "mac") != '\0')
		fprintf(out, ", %s", show_text(port, "mac"));
	fputs("\n  offloads: receive ", out);
	print_list(out, rx, "none");
	fputs("; send ", out);
	print_list(out, tx, "none");
	fputc('\n', out);
}

static void show_handshake(FILE *out, const json_t *peer, double now)
{
	char text[FORMAT_LEN];
	double at = show_number(peer, "latest_handshake");
	if (at == 0)
		fputs("  latest handshake: none yet\n", out);
	else if (at > now + 1)
		fputs("  latest handshake: in the future (the clock went back)\n", out);
	else if (now - at < 1)
		fputs("  latest handshake: now\n", out);
	else
		fprintf(out, "  latest handshake: %s ago\n",
			format_duration((uint64_t)(now - at), text));
}

void show_mtu_learned(FILE *out, const json_t *peer, const char *name, const char *how, double now)
{
	char text[FORMAT_LEN];
	const json_t *learned = json_object_get(peer, name);
	double ago = now - show_number(learned, "since");
	if (json_is_object(learned))
		fprintf(out, " (%s: %.0f, since %s)", how, show_number(learned, "bytes"),
			ago < 1 ? "now" : format_duration((uint64_t)ago, text));
}

static void show_mtu(FILE *out, const json_t *peer, double now)
{
	fprintf(out, "  worker: %.0f, path mtu: %.0f", show_number(peer, "worker"),
		show_number(peer, "mtu"));
	show_mtu_learned(out, peer, "mtu_probed", "probed", now);
	show_mtu_learned(out, peer, "mtu_told", "told by a router", now);
	fputc('\n', out);
}

static void show_peer(FILE *out, const json_t *peer, double now)
{
	char received[FORMAT_LEN], sent[FORMAT_LEN];
	const char *name = show_text(peer, "name"), *key = show_text(peer, "public_key");
	const char *endpoint = show_text(peer, "endpoint"), *remedy = show_text(peer, "remedy");
	const char *state = show_text(peer, "state");
	fprintf(out, "\npeer: %s\n", *name != '\0' ? name : key);
	if (*name != '\0')
		fprintf(out, "  public key: %s\n", key);
	if (json_is_true(json_object_get(peer, "preshared_key")))
		fputs("  preshared key: (hidden)\n", out);
	fprintf(out, "  endpoint: %s\n", *endpoint != '\0' ? endpoint : "(none)");
	fputs("  allowed ips: ", out);
	print_list(out, json_object_get(peer, "allowed_ips"), "(none)");
	fputc('\n', out);
	show_handshake(out, peer, now);
	fprintf(out, "  transfer: %s received, %s sent\n",
		format_bytes(show_number(peer, "rx_bytes"), received),
		format_bytes(show_number(peer, "tx_bytes"), sent));
	if (show_number(peer, "keepalive_s") > 0)
		fprintf(out, "  persistent keepalive: every %.0f seconds\n",
			show_number(peer, "keepalive_s"));
	show_mtu(out, peer, now);
	if (*remedy != '\0')
		fprintf(out, "  NOT UP: %s: %s\n", state, remedy);
	else
		fprintf(out, "  state: %s\n", state);
}

// The LocalAPI has node keys as "nodekey:" and hex digits, the gateway's report has Base64.
static bool is_of_tailnet(const json_t *peer, const json_t *tailnet)
{
	struct key key;
	char name[8 + 2 * KEY_LEN + 1] = "nodekey:";
	if (tailnet == NULL || key_parse(show_text(peer, "public_key"), &key) < 0)
		return false;
	for (unsigned i = 0; i < KEY_LEN; i++)
		snprintf(name + 8 + 2 * i, 3, "%02x", key.bytes[i]);
	return json_object_get(json_object_get(tailnet, "Peer"), name) != NULL;
}

bool show_has_static_peers(const json_t *status, const json_t *tailnet)
{
	size_t i;
	json_t *peer;
	json_array_foreach(json_object_get(status, "peers"), i, peer)
	{
		if (!is_of_tailnet(peer, tailnet))
			return true;
	}
	return false;
}

static void show_vxlan(FILE *out, const json_t *vxlan)
{
	const char *why = show_text(vxlan, "left_because");
	const char *bridge = show_text(vxlan, "bridge");
	fprintf(out, "vxlan: %s, ", show_text(vxlan, "name"));
	if (*bridge != '\0')
		fprintf(out, "of %s, ", bridge);
	fprintf(out, "VNI %.0f, port %.0f, mtu %.0f, ", show_number(vxlan, "vni"),
		show_number(vxlan, "port"), show_number(vxlan, "mtu"));
	if (*why != '\0')
		fprintf(out, "left to the kernel: %s\n", why);
	else
		fprintf(out, "ends here, %.0f of %.0f remote VTEPs reached\n",
			show_number(vxlan, "reached"), show_number(vxlan, "remotes"));
}

void show_status(FILE *out, const json_t *status, const json_t *tailnet, double now)
{
	size_t i;
	json_t *element;
	show_gateway(out, status);
	json_array_foreach(json_object_get(status, "ports"), i, element) show_port(out, element);
	json_array_foreach(json_object_get(status, "vxlans"), i, element) show_vxlan(out, element);
	json_array_foreach(json_object_get(status, "peers"), i, element)
	{
		if (!is_of_tailnet(element, tailnet))
			show_peer(out, element, now);
	}
}
