#include "control/coord/clock_hint.h"

#include <stdio.h>

enum {
	HINT_BODY_MAX = 64 << 10,
	WHAT_LEN = 300, // of what went wrong, so that the hint has room behind it
};

bool clock_hint_wanted(const struct trouble *t)
{
	return (t->kind == COORD_TROUBLE_CERTIFICATE || t->kind == COORD_TROUBLE_CLOCK) &&
	       strstr(t->what, "the clock here says") != NULL;
}

// "3 days", in the largest unit of which there are two.
static const char *span_text(int64_t s, char out[static 32])
{
	static const struct {
		const char *name;
		int64_t s;
	} units[] = {{"days", 86400}, {"hours", 3600}, {"minutes", 60}, {"seconds", 1}};
	unsigned i = 0;

	while (i + 1 < sizeof(units) / sizeof(units[0]) && s < 2 * units[i].s)
		i++;
	snprintf(out, 32, "%lld %s", (long long)(s / units[i].s), units[i].name);
	return out;
}

void clock_hint_judge(struct trouble *t, const struct login_url *u, int64_t date, int64_t now)
{
	const int64_t off = date - now, distance = off < 0 ? -off : off;
	// What to do follows from the hint, not from what stands behind the colon.
	const char *const end = strstr(t->what, ": if the clock is wrong");
	const int len = end ? (int)(end - t->what) : (int)strlen(t->what);
	char what[WHAT_LEN], span[32];

	if (date == 0)
		return;
	snprintf(what, sizeof(what), "%.*s", len, t->what);
	if (distance >= CLOCK_HINT_OFF_S) {
		trouble_set(t, COORD_TROUBLE_CLOCK, "%s; by what port %u of %s says it is %s %s",
			what, u->http_port, u->host, span_text(distance, span),
			off > 0 ? "behind" : "ahead");
	} else {
		trouble_set(t, COORD_TROUBLE_CERTIFICATE,
			"%s, with which port %u of %s agrees: it is the certificate", what,
			u->http_port, u->host);
	}
}

int clock_hint_start(struct fetch **out, struct net *net, const struct login_url *u,
	void (*done)(void *arg, const struct fetch_answer *), void *arg)
{
	const bool v6 = strchr(u->host, ':') != NULL;
	char url[LOGIN_URL_MAX + 16];
	const struct fetch_request request = {
		.method = "HEAD",
		.url = url,
		.max = HINT_BODY_MAX,
		.timeout_ms = CLOCK_HINT_TIMEOUT_MS,
	};

	snprintf(url, sizeof(url), "http://%s%s%s:%u/key", v6 ? "[" : "", u->host, v6 ? "]" : "",
		u->http_port);
	return fetch_start(out, net, &request, done, arg);
}
