#include "control/cli/doctor_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-journal.h>

#include "control/cli/logscan.h"

enum {
	JOURNAL_LINES_MAX = 50000,
	UNIT_LEN = 256,
};

static int report_of(const struct logscan *scan, const char *name, json_t **report,
	char err[static CLI_ERROR_LEN])
{
	*report = logscan_report(scan, name);
	if (*report != NULL)
		return 0;
	snprintf(err, CLI_ERROR_LEN, "out of memory");
	return -ENOMEM;
}

// Of a line longer than the room, what is beyond it is passed over.
static void scan_file(FILE *f, struct logscan *scan)
{
	char line[LOGSCAN_LINE_MAX];
	size_t n = 0;
	bool any = false;
	for (int c; (c = getc_unlocked(f)) != EOF;) {
		any = true;
		if (c != '\n') {
			if (n < sizeof(line))
				line[n++] = (char)c;
			continue;
		}
		logscan_line(scan, line, n);
		n = 0;
		any = false;
	}
	if (any)
		logscan_line(scan, line, n);
}

int doctor_read_log(const char *path, json_t **report, char err[static CLI_ERROR_LEN])
{
	bool standard = strcmp(path, "-") == 0;
	FILE *f = standard ? stdin : fopen(path, "re");
	struct logscan *scan = calloc(1, sizeof(*scan));
	int error = 0;
	if (f == NULL || scan == NULL)
		error = f == NULL ? -errno : -ENOMEM;
	if (error == 0) {
		scan_file(f, scan);
		if (ferror(f))
			error = errno != 0 ? -errno : -EIO;
	}
	if (error == 0)
		error = report_of(scan, standard ? "standard input" : path, report, err);
	else
		snprintf(err, CLI_ERROR_LEN, "cannot read the log %s: %s", path, strerror(-error));
	if (f != NULL && !standard)
		fclose(f);
	free(scan);
	return error;
}

static int open_journal(const char *unit, sd_journal **j)
{
	char match[UNIT_LEN + 32];
	const char *suffix = strchr(unit, '.') != NULL ? "" : ".service";
	int error = sd_journal_open(j, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
	snprintf(match, sizeof(match), "_SYSTEMD_UNIT=%s%s", unit, suffix);
	if (error >= 0)
		error = sd_journal_add_match(*j, match, 0);
	if (error >= 0)
		error = sd_journal_seek_tail(*j);
	if (error >= 0)
		error = sd_journal_previous_skip(*j, JOURNAL_LINES_MAX);
	return error;
}

static int scan_journal(sd_journal *j, struct logscan *scan)
{
	static const char field[] = "MESSAGE=";
	const void *data;
	size_t len;
	int more;
	do {
		if (sd_journal_get_data(j, "MESSAGE", &data, &len) >= 0 && len >= sizeof(field) - 1)
			logscan_line(scan, (const char *)data + sizeof(field) - 1,
				len - (sizeof(field) - 1));
		more = sd_journal_next(j);
	} while (more > 0);
	return more;
}

int doctor_read_journal(const char *unit, json_t **report, char err[static CLI_ERROR_LEN])
{
	struct logscan *scan = calloc(1, sizeof(*scan));
	sd_journal *j = NULL;
	int error = scan == NULL ? -ENOMEM : strlen(unit) >= UNIT_LEN ? -ENAMETOOLONG : 0;
	if (error == 0)
		error = open_journal(unit, &j);
	bool empty = error == 0; // nothing was skipped back over
	if (error > 0)
		error = scan_journal(j, scan);
	if (error < 0)
		snprintf(err, CLI_ERROR_LEN, "cannot read the journal: %s", strerror(-error));
	else if (empty) {
		error = -ENOENT;
		snprintf(err, CLI_ERROR_LEN,
			"the journal has nothing of the unit %s: is it the name, and may you read "
			"the journal?",
			unit);
	} else
		error = report_of(scan, unit, report, err);
	sd_journal_close(j);
	free(scan);
	return error;
}
