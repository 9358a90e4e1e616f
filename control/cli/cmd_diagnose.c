// netcheck and doctor: reports of the daemon.
#include <errno.h>
#include <unistd.h>

#include "control/cli/doctor_log.h"
#include "control/cli/doctor_mtu.h"
#include "control/cli/ipn.h"
#include "control/cli/localapi.h"
#include "control/cli/values.h"

#define API "/tailgate/v0/"

enum { DOCTOR_ERRORS = 2 }; // exit code

// The reason why a report could not be had.
static void no_report(const struct cli *cli, int error, const char *err)
{
	if (error == -ENODATA)
		cli_fail(cli,
			"the daemon does not know this request: is it tailgated, and not an older "
			"one? (%s)",
			err);
	else
		cli_fail(cli, "%s", err);
}

// The netcheck report of the answer, printed as asked.
static int print_netcheck(const struct cli *cli, json_t *answer, const char *format)
{
	json_t *report = json_object_get(answer, "report"), *text = json_object_get(answer, "text");
	if (!json_is_object(report) || !json_is_string(text))
		return cli_fail(cli, "netcheck: the daemon's answer has no report");
	if (*format != '\0')
		return cli_print_json(cli, json_incref(report),
			strcmp(format, "json") == 0 ? JSON_INDENT(2) : JSON_COMPACT);
	fputs(json_string_value(text), cli->out);
	return fflush(cli->out) == 0 ? CLI_OK : CLI_FAILED;
}

static int netcheck_once(const struct cli *cli, bool full, const char *format)
{
	char err[CLI_ERROR_LEN];
	json_t *answer;
	int error = localapi_call(
		cli, "POST", full ? API "netcheck?full=1" : API "netcheck", NULL, &answer, err);
	if (error < 0) {
		no_report(cli, error, err);
		return CLI_FAILED;
	}
	int result = print_netcheck(cli, answer, format);
	json_decref(answer);
	return result;
}

int cmd_netcheck(const struct cli *cli)
{
	const char *format = cli_option(cli, "--format"), *every = cli_option(cli, "--every");
	unsigned every_ms = 0;
	if (format == NULL)
		format = cli->json ? "json" : "";
	if (*format != '\0' && strcmp(format, "json") != 0 && strcmp(format, "json-line") != 0) {
		cli_fail(cli, "netcheck: --format takes json or json-line");
		return CLI_USAGE;
	}
	if (every != NULL && value_duration(every, &every_ms) < 0) {
		cli_fail(cli, "netcheck: --every takes a time like 30s or 5m");
		return CLI_USAGE;
	}
	int result = netcheck_once(cli, true, format);
	while (result == CLI_OK && every_ms > 0) {
		usleep(every_ms % 1000 * 1000);
		sleep(every_ms / 1000);
		result = netcheck_once(cli, false, format);
	}
	return result;
}

// What belongs to the question whether UDP gets in and out.
static bool is_of_udp(const json_t *finding)
{
	static const char *const checks[] = {"port", "UDP", "UDP in", "NAT", "port mapping"};
	for (unsigned i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (strcmp(show_text(finding, "check"), checks[i]) == 0)
			return true;
	return false;
}

static void keep_udp(json_t *findings)
{
	for (size_t i = json_array_size(findings); i-- > 0;)
		if (!is_of_udp(json_array_get(findings, i)))
			json_array_remove(findings, i);
}

// The daemon's report, of a log or of itself. NULL: said why.
static json_t *get_report(const struct cli *cli)
{
	const char *log = cli_option(cli, "--log"), *unit = cli_option(cli, "--journal");
	const bool passive = cli_switch(cli, "--passive", false);
	char err[CLI_ERROR_LEN];
	json_t *report = NULL;
	int error = log != NULL ? doctor_read_log(log, &report, err)
		    : unit != NULL
			    ? doctor_read_journal(unit, &report, err)
			    : localapi_call(cli, "GET", passive ? API "doctor?try=0" : API "doctor",
				      NULL, &report, err);
	if (error == 0)
		return report;
	if (log != NULL || unit != NULL)
		cli_fail(cli, "%s", err);
	else
		no_report(cli, error, err);
	return NULL;
}

// 0: the arguments go together.
static int check_doctor_args(const struct cli *cli)
{
	const char *what = cli->n_args > 0 ? cli->arg[0] : "";
	const bool mtu = strcmp(what, "mtu") == 0;
	const bool log = cli_option(cli, "--log") != NULL || cli_option(cli, "--journal") != NULL;
	if (*what != '\0' && !mtu && strcmp(what, "udp-reach") != 0)
		return cli_fail(
			cli, "doctor: there is no check '%s': it is udp-reach, mtu, or all", what);
	if (cli_option(cli, "--log") != NULL && cli_option(cli, "--journal") != NULL)
		return cli_fail(cli, "doctor: give --log or --journal, not both");
	if (mtu && log)
		return cli_fail(cli, "doctor: mtu looks at this host, not at a log");
	if (!mtu && (cli_option(cli, "--root") != NULL || cli_switch(cli, "--verify", false)))
		return cli_fail(cli, "doctor: --root and --verify belong to 'tailgate doctor mtu'");
	return 0;
}

// NULL: said why.
static json_t *get_mtu_report(const struct cli *cli)
{
	const char *root = cli_option(cli, "--root");
	char err[CLI_ERROR_LEN];
	json_t *report;
	if (doctor_mtu_report(root != NULL ? root : "", &report, err) < 0) {
		cli_fail(cli, "%s", err);
		return NULL;
	}
	if (cli_switch(cli, "--verify", false))
		doctor_mtu_keep_verified(report);
	return report;
}

int cmd_doctor(const struct cli *cli)
{
	if (check_doctor_args(cli) != 0)
		return DOCTOR_ERRORS;
	const bool mtu = cli->n_args > 0 && strcmp(cli->arg[0], "mtu") == 0;
	json_t *report = mtu ? get_mtu_report(cli) : get_report(cli);
	if (report == NULL)
		return DOCTOR_ERRORS;
	if (cli->n_args > 0 && !mtu)
		keep_udp(json_object_get(report, "findings"));
	const json_t *findings = json_object_get(report, "findings");
	unsigned worst = show_worst_finding(findings);
	int result = CLI_OK;
	if (!json_is_array(findings))
		result = cli_fail(cli, "doctor: the daemon's answer has no findings");
	else if (cli->json)
		result = cli_print_json(cli, json_incref(report), JSON_INDENT(2));
	else {
		ipn_clean(report);
		show_doctor(cli->out, findings, cli_switch(cli, "--all", false));
		show_doctor_commands(cli->out, json_object_get(report, "commands"));
	}
	json_decref(report);
	if (result != CLI_OK)
		return DOCTOR_ERRORS;
	return worst == SHOW_ERROR ? DOCTOR_ERRORS : worst == SHOW_WARN ? 1 : CLI_OK;
}
