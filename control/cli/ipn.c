#include "control/cli/ipn.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

enum { LABEL_MAX = 63 };

static void clean_text(json_t *json)
{
	const char *from = json_string_value(json);
	char *text = strdup(from), *to = text;
	if (text == NULL)
		return;
	for (unsigned char c; (c = (unsigned char)*from) != '\0'; from++) {
		bool is_c1 = c == 0xc2 && ((unsigned char)from[1] & 0xe0) == 0x80;
		from += is_c1;
		if (c == '\n' || c == '\t')
			*to++ = ' ';
		else if (c < ' ' || c == 0x7f || is_c1)
			*to++ = '?';
		else
			*to++ = (char)c;
	}
	*to = '\0';
	json_string_set(json, text);
	free(text);
}

// jansson has limited the depth when it read the text.
void ipn_clean(json_t *json)
{
	const char *name;
	size_t i;
	json_t *member;
	if (json_is_string(json))
		clean_text(json);
	json_object_foreach(json, name, member) ipn_clean(member);
	json_array_foreach(json, i, member) ipn_clean(member);
}

bool ipn_is_up(const json_t *status, char description[static IPN_DESCRIPTION_LEN])
{
	const char *state = show_text(status, "BackendState"), *url = show_text(status, "AuthURL");
	bool is_up = strcmp(state, "Running") == 0 || strcmp(state, "Starting") == 0;
	if (strcmp(state, "Stopped") == 0)
		snprintf(description, IPN_DESCRIPTION_LEN, "Tailscale is stopped.");
	else if (strcmp(state, "NeedsLogin") == 0)
		snprintf(description, IPN_DESCRIPTION_LEN, "Logged out.%s%.500s",
			*url != '\0' ? "\nLog in at: " : "", url);
	else if (strcmp(state, "NeedsMachineAuth") == 0)
		snprintf(description, IPN_DESCRIPTION_LEN,
			"Machine is not yet approved by tailnet admin.");
	else
		snprintf(description, IPN_DESCRIPTION_LEN, "%s%.60s",
			is_up ? "" : "unexpected state: ", state);
	return is_up;
}

static int compare_ips(const json_t *a, const json_t *b)
{
	struct ip_addr x, y;
	if (ip_addr_parse(ipn_first_ip(a), &x) < 0 || ip_addr_parse(ipn_first_ip(b), &y) < 0)
		return 0;
	if (x.family != y.family)
		return x.family < y.family ? -1 : 1;
	return memcmp(x.bytes, y.bytes, sizeof(x.bytes));
}

static int compare_peers(const void *x, const void *y)
{
	const json_t *a = *(const json_t *const *)x, *b = *(const json_t *const *)y;
	int order = strcmp(show_text(a, "DNSName"), show_text(b, "DNSName"));
	if (order == 0)
		order = strcmp(show_text(a, "HostName"), show_text(b, "HostName"));
	if (order == 0)
		order = compare_ips(a, b);
	return order != 0 ? order : strcmp(show_text(a, "PublicKey"), show_text(b, "PublicKey"));
}

const json_t **ipn_sorted_peers(const json_t *status, size_t *n)
{
	const char *key;
	json_t *peer, *all = json_object_get(status, "Peer");
	const json_t **list = calloc(json_object_size(all) + 1, sizeof(*list));
	*n = 0;
	if (list == NULL)
		return NULL;
	json_object_foreach(all, key, peer) list[(*n)++] = peer;
	qsort(list, *n, sizeof(*list), compare_peers);
	return list;
}

// The length of name without its final dot.
static size_t undotted(const char *name)
{
	size_t n = strlen(name);
	return n > 0 && name[n - 1] == '.' ? n - 1 : n;
}

// The length of a DNS name without the tailnet's suffix and final dot.
static size_t base_len(const char *name, const char *suffix)
{
	suffix += *suffix == '.';
	size_t n = undotted(name), tail = undotted(suffix);
	bool has = tail > 0 && n > tail + 1 && name[n - tail - 1] == '.' &&
		   strncmp(name + n - tail, suffix, tail) == 0;
	return has ? n - tail - 1 : n;
}

// The host name as a DNS label would have it.
static void sanitize(const char *host, char text[static LABEL_MAX + 1])
{
	static const char *const common[] = {".local", ".localdomain", ".lan"};
	size_t n = strlen(host), to = 0, from = 0;
	for (unsigned i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
		size_t tail = strlen(common[i]);
		if (n >= tail && strncmp(host + n - tail, common[i], tail) == 0)
			n -= tail;
	}
	n = n < LABEL_MAX ? n : LABEL_MAX;
	while (from < n && !isalnum((unsigned char)host[from]))
		from++;
	while (n > from && !isalnum((unsigned char)host[n - 1]))
		n--;
	for (; from < n; from++) {
		unsigned char c = (unsigned char)host[from];
		if (strchr(" .@_", c) != NULL)
			text[to++] = '-';
		else if (c < 0x80 && (isalnum(c) || c == '-'))
			text[to++] = (char)tolower(c);
	}
	text[to] = '\0';
}

const char *ipn_name(const json_t *status, const json_t *peer, char text[static IPN_NAME_LEN])
{
	char host[LABEL_MAX + 1];
	const char *name = show_text(peer, "DNSName");
	size_t n = base_len(name, show_text(status, "MagicDNSSuffix"));
	if (n > 0) {
		snprintf(text, IPN_NAME_LEN, "%.*s", (int)(n < 255 ? n : 255), name);
		return text;
	}
	sanitize(show_text(peer, "HostName"), host);
	snprintf(text, IPN_NAME_LEN, "(\"%s\")", host);
	return text;
}

bool ipn_is_named(const json_t *status, const json_t *peer, const char *name)
{
	char text[IPN_NAME_LEN];
	const char *full = show_text(peer, "DNSName");
	size_t n = undotted(full);
	return strcasecmp(name, ipn_name(status, peer, text)) == 0 ||
	       (n > 0 && undotted(name) == n && strncasecmp(name, full, n) == 0);
}

const char *ipn_first_ip(const json_t *peer)
{
	const char *text =
		json_string_value(json_array_get(json_object_get(peer, "TailscaleIPs"), 0));
	return text != NULL ? text : "";
}

bool ipn_has_ip(const json_t *peer, const struct ip_addr *ip)
{
	size_t i;
	json_t *text;
	struct ip_addr its;
	json_array_foreach(json_object_get(peer, "TailscaleIPs"), i, text)
	{
		if (json_is_string(text) && ip_addr_parse(json_string_value(text), &its) == 0 &&
			ip_addr_equal(&its, ip))
			return true;
	}
	return false;
}

const json_t *ipn_find_ip(const json_t *status, const struct ip_addr *ip)
{
	const char *key;
	json_t *peer;
	json_object_foreach(json_object_get(status, "Peer"), key, peer)
	{
		if (ipn_has_ip(peer, ip))
			return peer;
	}
	peer = json_object_get(status, "Self");
	return ipn_has_ip(peer, ip) ? peer : NULL;
}

const json_t *ipn_find_name(const json_t *status, const char *name)
{
	const char *key;
	json_t *peer;
	json_object_foreach(json_object_get(status, "Peer"), key, peer)
	{
		if (ipn_is_named(status, peer, name))
			return peer;
	}
	peer = json_object_get(status, "Self");
	return ipn_is_named(status, peer, name) ? peer : NULL;
}
