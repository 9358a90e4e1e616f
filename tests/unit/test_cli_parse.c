// The command line.
#include "control/cli/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

// Command lines that are good, and what they say.
static void test_parse(void **)
{
	char err[CLI_ERROR_LEN];
	struct cli cli;
	char *all[] = {"tailgate", "--socket", "/s", "trace", "--worker=1", "5", "--json",
		"--timeout", "3"};
	assert_int_equal(cli_parse(N(all), all, &cli, err), 0);
	assert_string_equal(cli.command->name, "trace");
	assert_true(cli.json && strcmp(cli.socket, "/s") == 0);
	assert_string_equal(cli.arg[0], "5");
	assert_string_equal(cli_option(&cli, "--worker"), "1");
	assert_string_equal(cli_option(&cli, "--timeout"), "3");

	char *capture[] = {"tailgate", "capture", "-w", "-"};
	assert_int_equal(cli_parse(N(capture), capture, &cli, err), 0);
	assert_string_equal(cli_option(&cli, "-w"), "-");
	assert_null(cli_option(&cli, "--peer"));
	assert_string_equal(cli.socket, CLI_SOCKET_DEFAULT);

	char *help[] = {"tailgate", "capture", "--help"};
	assert_int_equal(cli_parse(N(help), help, &cli, err), 0);
	assert_string_equal(cli.command->name, "help");
	assert_string_equal(cli.arg[0], "capture");
}

static void test_parse_refusals(void **)
{
	static const struct {
		const char *name;
		char *word[4];
	} cases[] = {
		{"nothing", {NULL}},
		{"unknown command", {"frob"}},
		{"option before the command that has it", {"--worker", "1", "trace"}},
		{"unknown option", {"status", "--frob"}},
		{"option of another command", {"status", "--peer", "x"}},
		{"value missing", {"capture", "--peer"}},
		{"value of the socket missing", {"status", "--socket"}},
		{"switch that is neither", {"stats", "--all=maybe"}},
		{"argument too many", {"trace", "1", "2"}},
		{"argument where none is taken", {"status", "x"}},
		{"argument missing", {"import"}},
		{"negative number", {"trace", "-5"}},
		{"switch that is empty", {"stats", "--all="}},
		{"half of an option", {"up", "--accept"}},
		{"more than an option", {"up", "--accept-routes-too"}},
		{"three dashes", {"up", "---accept-routes"}},
		{"dashes alone before the command", {"--", "status"}},
		{"option behind the dashes", {"down", "--", "--json"}},
		{"value that is missing at the end", {"ping", "b", "-c"}},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char *argv[5] = {"tailgate"}, err[CLI_ERROR_LEN] = "";
		struct cli cli;
		int argc = 1;
		while (argc < 5 && cases[i].word[argc - 1] != NULL) {
			argv[argc] = cases[i].word[argc - 1];
			argc++;
		}
		if (cli_parse(argc, argv, &cli, err) == 0 || strlen(err) < 5)
			fail_msg("%s: %s", cases[i].name, err);
	}
}

// Command lines as the tailscale command takes them.
static void test_parse_as_go(void **)
{
	static const struct {
		char *word[6];
		const char *option, *value; // NULL: not given
	} cases[] = {
		{{"up", "--accept-routes"}, "--accept-routes", "true"},
		{{"up", "-accept-routes"}, "--accept-routes", "true"},
		{{"up", "--accept-routes=false"}, "--accept-routes", "false"},
		{{"up", "--accept-routes=0"}, "--accept-routes", "false"},
		{{"up", "--accept-routes=T"}, "--accept-routes", "true"},
		{{"up", "--accept-routes", "--accept-routes=false"}, "--accept-routes", "false"},
		{{"up", "--shields-up"}, "--accept-routes", NULL},
		{{"up", "--exit-node-allow-lan-access"}, "--exit-node", NULL},
		{{"up", "--authkey=a=b"}, "--auth-key", "a=b"},
		{{"up", "-authkey", "k"}, "--auth-key", "k"},
		{{"up", "--hostname="}, "--hostname", ""},
		{{"up", "--hostname", "--json"}, "--hostname", "--json"},
		{{"ping", "-c=5", "b"}, "-c", "5"},
		{{"ping", "--c", "5", "b"}, "-c", "5"},
		{{"ping", "b", "-c", "5"}, "-c", "5"},
		{{"ip", "-4"}, "-4", "true"},
		{{"ip", "--4=f"}, "-4", "false"},
		{{"-json", "ip", "-1"}, "-1", "true"},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char *argv[7] = {"tailgate"}, err[CLI_ERROR_LEN] = "";
		struct cli cli;
		int argc = 1;
		for (; argc < 7 && cases[i].word[argc - 1] != NULL; argc++)
			argv[argc] = cases[i].word[argc - 1];
		if (cli_parse(argc, argv, &cli, err) < 0)
			fail_msg("case %u: %s", i, err);
		const char *value = cli_option(&cli, cases[i].option);
		if ((value == NULL) != (cases[i].value == NULL) ||
			(value != NULL && strcmp(value, cases[i].value) != 0))
			fail_msg("case %u: %s is %s", i, cases[i].option, value);
	}
	char *dashes[] = {"tailgate", "ping", "-c", "3", "--", "-c"}, err[CLI_ERROR_LEN];
	struct cli cli;
	assert_int_equal(cli_parse(N(dashes), dashes, &cli, err), 0);
	assert_string_equal(cli.arg[0], "-c");
	assert_true(cli_switch(&cli, "--until-direct", true));
	assert_false(cli_switch(&cli, "--until-direct", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_refusals),
		cmocka_unit_test(test_parse_as_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
