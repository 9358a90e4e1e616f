#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/cli/blocks.h"
#include "control/cli/client.h"

enum { PATH_ROOM = 1024 };

static volatile int interrupted;

static void on_signal(int)
{
	interrupted = 1;
}

static bool take(void *arg, const char *bytes, size_t n)
{
	return blocks_take(arg, bytes, n);
}

static FILE *open_output(const struct cli *cli, const char *path)
{
	if (path == NULL || strcmp(path, "-") == 0) {
		if (isatty(STDOUT_FILENO)) {
			cli_fail(cli,
				"capture: a terminal shows no pcapng: use -w FILE, or pipe it "
				"to 'tcpdump -nr -'");
			return NULL;
		}
		return stdout;
	}
	FILE *file = fopen(path, "we");
	if (file == NULL)
		cli_fail(cli, "capture: cannot write %s: %s", path, strerror(errno));
	return file;
}

static bool make_path(const struct cli *cli, char path[static PATH_ROOM])
{
	static const struct {
		const char *option, *param;
	} params[] = {{"--peer", "peer"}, {"--port", "port"}, {"--point", "point"},
		{"--count", "count"}, {"--snaplen", "snaplen"}};
	snprintf(path, PATH_ROOM, "/tailgate/v0/capture");
	for (unsigned i = 0; i < sizeof(params) / sizeof(params[0]); i++)
		if (!client_param(
			    path, PATH_ROOM, params[i].param, cli_option(cli, params[i].option)))
			return false;
	return true;
}

// Not on the stream that carries the packets.
static void summarize(const struct cli *cli, const struct blocks *b, const char *file)
{
	FILE *out = b->out == stdout ? stderr : cli->out;
	if (cli->json)
		fprintf(out, "{\"packets\": %lu, \"bytes\": %lu}\n", b->packets, b->bytes);
	else
		fprintf(stderr, "%lu packets, %lu bytes in %s\n", b->packets, b->bytes, file);
}

int cmd_capture(const struct cli *cli)
{
	const char *file = cli_option(cli, "-w");
	char err[CLI_ERROR_LEN], path[PATH_ROOM];
	struct sigaction action = {.sa_handler = on_signal};
	int result = CLI_OK;
	struct blocks *b = calloc(1, sizeof(*b));
	if (b == NULL || !make_path(cli, path)) {
		free(b);
		return cli_fail(cli, "capture: an argument is too long");
	}
	if ((b->out = open_output(cli, file)) == NULL) {
		free(b);
		return CLI_FAILED;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN); // the reader of our output may end first
	int error = client_stream(cli->socket, "GET", path, 0, take, b, &interrupted, err);
	if (error == -ECANCELED && !interrupted && errno != EPIPE)
		result = cli_fail(cli, "capture: cannot write: %s", strerror(errno));
	else if (error < 0 && error != -ECANCELED)
		result = cli_fail(cli, "%s", err);
	if (result == CLI_OK)
		summarize(cli, b, file != NULL ? file : "-");
	if (b->out != stdout && fclose(b->out) != 0 && result == CLI_OK)
		result = cli_fail(cli, "capture: cannot write %s: %s", file, strerror(errno));
	free(b);
	return result;
}
