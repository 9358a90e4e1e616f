// Commands by a table: against a socket that answers by a script, what they ask for, print and end
// with.
#pragma once

#include "tests/unit/cli_server.h"

#define N(array) (sizeof(array) / sizeof(array[0]))
#define STATUS "GET /localapi/v0/status"
#define PREFS "GET /localapi/v0/prefs"
#define RUNNING                                                                                    \
	"{\"BackendState\":\"Running\",\"HaveNodeKey\":true,\"MagicDNSSuffix\":\"t\","             \
	"\"TailscaleIPs\":[\"100.64.0.1\"],\"Self\":{\"PublicKey\":\"nodekey:1\","                 \
	"\"DNSName\":\"a.t.\",\"TailscaleIPs\":[\"100.64.0.1\"]},\"Peer\":{\"nodekey:2\":"         \
	"{\"DNSName\":\"b.t.\",\"TailscaleIPs\":[\"100.64.0.2\",\"fd7a::2\"]}}}"

// out and err: all of it when they begin with '=', else parts; asked: parts of the requests.
struct cli_case {
	const char *name;
	const char *words[WORDS_MAX];
	struct answer script[ANSWERS_MAX];
	int result;
	const char *out, *err, *asked[2];
};

static inline void assert_text(
	const char *name, const char *what, const char *expected, const char *text)
{
	bool good =
		*expected == '=' ? strcmp(expected + 1, text) == 0 : strstr(text, expected) != NULL;
	if (!good)
		fail_msg("%s: %s is '%s', not '%s'", name, what, text, expected);
}

static inline void run_cases(const struct cli_case cases[], unsigned n_cases)
{
	for (unsigned i = 0; i < n_cases; i++) {
		struct server *s = start(cases[i].script);
		struct run run = run_at(s->path, cases[i].words);
		if (run.result != cases[i].result)
			fail_msg("%s: ends with %d: %s%s", cases[i].name, run.result, run.out,
				run.err);
		assert_text(cases[i].name, "out", cases[i].out, run.out);
		assert_text(cases[i].name, "err", cases[i].err, run.err);
		for (unsigned n = 0; n < 2 && cases[i].asked[n] != NULL; n++)
			assert_text(cases[i].name, "asked", cases[i].asked[n], s->log);
		done(&run);
		stop(s);
	}
}
