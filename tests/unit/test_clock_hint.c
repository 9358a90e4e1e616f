// Whose fault it is when a certificate's dates are refused.
#include "control/coord/clock_hint.h"
#include "tests/unit/stream_client.h"

#define EARLY                                                                                      \
	"the certificate of a.example is not valid before 2026-03-01 00:00:00 UTC and the clock "  \
	"here says 2020-01-01 00:00:00 UTC"
#define LATE                                                                                       \
	"the certificate of a.example expired at 2026-03-01 00:00:00 UTC and the clock here says " \
	"2026-04-01 00:00:00 UTC"
#define REMEDY                                                                                     \
	": if the clock is wrong, set it (timedatectl); else the server needs a new certificate"

static struct trouble refused(const char *why)
{
	struct trouble t;
	trouble_net(&t, -EKEYREJECTED, why);
	return t;
}

static void test_wanted(void **)
{
	static const struct {
		int error;
		const char *why;
		bool wanted;
	} cases[] = {
		{-EKEYREJECTED, EARLY REMEDY, true},
		{-EKEYREJECTED, LATE REMEDY, true},
		{-EKEYREJECTED, "the certificate of a.example is for b.example", false},
		{-EKEYREJECTED, "", false},
		{-ECONNREFUSED, "a.example refuses; the clock here says", false},
		{-ETIMEDOUT, EARLY, false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct trouble t;
		trouble_net(&t, cases[i].error, cases[i].why);
		assert_int_equal(clock_hint_wanted(&t), cases[i].wanted);
	}
}

static void test_judge(void **)
{
	static const int64_t now = 1577836800;
	static const struct {
		const char *why;
		int64_t date;
		enum coord_trouble kind;
		const char *line;
	} cases[] = {
		{EARLY REMEDY, now + 2251 * 86400, COORD_TROUBLE_CLOCK,
			EARLY "; by what port 80 of a.example says it is 2251 days behind; set "
			      "the clock (timedatectl, NTP)"},
		{LATE REMEDY, now - 3 * 86400, COORD_TROUBLE_CLOCK,
			LATE "; by what port 80 of a.example says it is 3 days ahead; set the "
			     "clock (timedatectl, NTP)"},
		{EARLY REMEDY, now + 300, COORD_TROUBLE_CLOCK,
			EARLY "; by what port 80 of a.example says it is 5 minutes behind; set "
			      "the clock (timedatectl, NTP)"},
		{EARLY REMEDY, now + 47 * 3600, COORD_TROUBLE_CLOCK,
			EARLY "; by what port 80 of a.example says it is 47 hours behind; set "
			      "the clock (timedatectl, NTP)"},
		{LATE REMEDY, now - 299, COORD_TROUBLE_CERTIFICATE,
			LATE ", with which port 80 of a.example agrees: it is the certificate; "
			     "trust its CA on this machine, or renew the server's certificate"},
		{LATE REMEDY, now + 1, COORD_TROUBLE_CERTIFICATE,
			LATE ", with which port 80 of a.example agrees: it is the certificate; "
			     "trust its CA on this machine, or renew the server's certificate"},
		// It says nothing: as it was.
		{LATE REMEDY, 0, COORD_TROUBLE_CERTIFICATE, LATE REMEDY},
	};
	struct login_url u;
	assert_int_equal(login_url_parse("https://a.example", &u), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct trouble t = refused(cases[i].why);
		char line[COORD_TEXT_LEN];
		clock_hint_judge(&t, &u, cases[i].date, now);
		assert_int_equal(t.kind, cases[i].kind);
		assert_string_equal(trouble_line(&t, line), cases[i].line);
	}
}

// No server's date brings a line beyond its bounds or makes it more than one.
static void test_longest(void **)
{
	char host[LOGIN_HOST_MAX + 9] = "https://", why[STREAM_WHY_LEN], line[COORD_TEXT_LEN];
	struct login_url u;
	memset(host + 8, 'a', LOGIN_HOST_MAX);
	assert_int_equal(login_url_parse(host, &u), 0);
	snprintf(why, sizeof(why), "the certificate of %.240s expired at x and the clock here says",
		u.host);
	static const int64_t dates[] = {1, INT64_MAX / 2, 4102444800};
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		struct trouble t = refused(why);
		clock_hint_judge(&t, &u, dates[i], 1577836800);
		assert_int_equal(t.kind, COORD_TROUBLE_CLOCK);
		trouble_line(&t, line);
		assert_in_range(strlen(line), 1, COORD_TEXT_LEN - 1);
		assert_null(strchr(line, '\n'));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_longest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
