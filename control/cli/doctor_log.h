// Logs for 'tailgate doctor': a file, or the journal of a unit.
#pragma once

#include <jansson.h>

#include "control/cli/cli.h"

// What logscan_report says. path "-": standard input. 0, or -errno and a line in err.
int doctor_read_log(const char *path, json_t **report, char err[static CLI_ERROR_LEN]) must_check;
// Its last lines, up to 50,000.
int doctor_read_journal(
	const char *unit, json_t **report, char err[static CLI_ERROR_LEN]) must_check;
