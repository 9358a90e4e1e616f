#include "control/coord/trouble.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum {
	PART_LEN = 220, // of one of two joined texts
	// No clock that is set says less than this code's year: 2025-01-01.
	CLOCK_MIN_S = 1735689600,
};

static const struct {
	const char *label;
	const char *remedy; // NULL: nothing to do but wait
	unsigned rank;	    // of two troubles the higher says more
} kinds[COORD_TROUBLE_COUNT] = {
	[COORD_TROUBLE_DNS] = {.rank = 3,
		.remedy = "check the name of the login server and this machine's resolvers"},
	[COORD_TROUBLE_CONNECT] = {.rank = 2,
		.remedy = "check that the login server runs and that TCP to it is allowed"},
	[COORD_TROUBLE_CERTIFICATE] = {.rank = 6,
		.remedy = "trust its CA on this machine, or renew the server's certificate"},
	[COORD_TROUBLE_WRONG_SERVER] = {.rank = 5,
		.remedy = "check the login server's URL, and that a proxy in front of it passes "
			  "POST /ts2021 with its Upgrade header"},
	[COORD_TROUBLE_REDIRECT] = {.rank = 7,
		.remedy = "log in with the URL that it redirects to, or let the proxy in front of "
			  "it pass POST /ts2021 on port 80"},
	[COORD_TROUBLE_VERSION] = {.rank = 8,
		.remedy = "upgrade Tailgate; if it is the newest, look whether a proxy in front of "
			  "the server cuts upgraded connections"},
	[COORD_TROUBLE_KEY] = {.remedy = "make a new auth key and log in with it"},
	[COORD_TROUBLE_REFUSED] = {.remedy = "see the coordination server's log and policy"},
	[COORD_TROUBLE_EXPIRED] = {.remedy = "log in again"},
	[COORD_TROUBLE_UNKNOWN_NODE] = {.remedy = "registering again; if that asks for a login, "
						  "the node was deleted on the server"},
	[COORD_TROUBLE_RATE_LIMITED] = {.rank = 1},
	[COORD_TROUBLE_CLOSED] = {.rank = 1,
		.remedy = "if it stays so, see the log of the server, or of the proxy before it"},
	[COORD_TROUBLE_SILENT] = {.rank = 1,
		.remedy = "connecting anew; if it repeats, a firewall or proxy on the way forgets "
			  "idle connections"},
	[COORD_TROUBLE_PROTOCOL] = {.rank = 4,
		.remedy = "see the server's log; a proxy that changes bytes does this as well"},
	[COORD_TROUBLE_CLOCK] = {.rank = 9, .remedy = "set the clock (timedatectl, NTP)"},
	[COORD_TROUBLE_STORAGE] = {.remedy = "check the state directory: space and permissions"},
#define X(name, text) [COORD_TROUBLE_##name].label = text,
	COORD_TROUBLES(X)
#undef X
};

const char *coord_trouble_label(enum coord_trouble kind)
{
	return (unsigned)kind < COORD_TROUBLE_COUNT ? kinds[kind].label : "unknown";
}

void trouble_set(struct trouble *t, enum coord_trouble kind, const char *format, ...)
{
	va_list args;

	*t = (struct trouble){.kind = kind};
	va_start(args, format);
	vsnprintf(t->what, sizeof(t->what), format, args);
	va_end(args);
	for (char *c = t->what; *c; c++)
		if (!isprint((uint8_t)*c))
			*c = '?';
}

static enum coord_trouble kind_of(int error, const char *why)
{
	switch (error) {
	case -EKEYREJECTED:
		// Certificates come from the past: one of the future means that our clock is slow.
		return time(NULL) < CLOCK_MIN_S || strstr(why, "is not valid before")
			       ? COORD_TROUBLE_CLOCK
			       : COORD_TROUBLE_CERTIFICATE;
	case -ENODATA:
		return COORD_TROUBLE_DNS;
	case -ECONNRESET:
	case -EPIPE:
		return COORD_TROUBLE_CLOSED;
	case -ELOOP:
	case -EPROTO:
	case -EMSGSIZE:
		return COORD_TROUBLE_WRONG_SERVER;
	default:
		return COORD_TROUBLE_CONNECT;
	}
}

void trouble_net(struct trouble *t, int error, const char *why)
{
	trouble_set(t, kind_of(error, why), "%s", why);
	t->complete = t->kind != COORD_TROUBLE_CLOSED; // then it has no remedy
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

void trouble_status(struct trouble *t, const char *asked, int status, const char *location)
{
	if (is_redirect(status))
		trouble_set(t, COORD_TROUBLE_REDIRECT, "HTTP %d for %s: the server redirects to %s",
			status, asked, *location ? location : "nowhere");
	else if (status == 429)
		trouble_set(t, COORD_TROUBLE_RATE_LIMITED,
			"HTTP 429 for %s: the server wants fewer requests", asked);
	else if (status >= 500)
		trouble_set(t, COORD_TROUBLE_CONNECT,
			"HTTP %d for %s: the server, or a proxy in front of it, cannot serve now",
			status, asked);
	else
		trouble_set(t, COORD_TROUBLE_WRONG_SERVER,
			"HTTP %d for %s: not a coordination server, or a proxy is in front of it",
			status, asked);
}

void trouble_join(
	struct trouble *t, const char *name, const struct trouble *other, const char *other_name)
{
	const struct trouble mine = *t, *const more =
						kinds[other->kind].rank > kinds[mine.kind].rank
							? other
							: &mine;

	trouble_set(t, more->kind, "%s: %.*s; %s: %.*s", name, PART_LEN, mine.what, other_name,
		PART_LEN, other->what);
	t->refused = more->refused;
	t->complete = more->complete;
	t->wait_s = more->wait_s;
}

const char *trouble_line(const struct trouble *t, char out[static COORD_TEXT_LEN])
{
	const char *const remedy = t->complete ? NULL : kinds[t->kind].remedy;
	const int what_max = COORD_TEXT_LEN - (remedy ? (int)strlen(remedy) + 3 : 1);

	snprintf(out, COORD_TEXT_LEN, "%.*s%s%s", what_max, t->what, remedy ? "; " : "",
		remedy ? remedy : "");
	return out;
}
