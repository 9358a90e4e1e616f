// 'bench': what a TCP stream gets over one way beside another.
#include <stdlib.h>

#include "control/cli/bench.h"
#include "control/cli/format.h"
#include "control/cli/values.h"

enum {
	ROUNDS = 3, // the ways take turns: what else goes on meets both
	WAYS = 2,
	MS_DEFAULT = 2000,
	JSON_FORM = JSON_INDENT(2) | JSON_REAL_PRECISION(6),
};

static const double worse = 0.75; // than this is more than smaller packets explain

static int by_rate(const void *a, const void *b)
{
	double x = ((const struct bench_result *)a)->bits_per_second;
	double y = ((const struct bench_result *)b)->bits_per_second;
	return (x > y) - (x < y);
}

// The median of the rounds, with the retransmits of all.
static struct bench_result middle(struct bench_result rounds[static ROUNDS])
{
	uint32_t retransmits = 0;
	for (unsigned i = 0; i < ROUNDS; i++)
		retransmits += rounds[i].retransmits;
	qsort(rounds, ROUNDS, sizeof(*rounds), by_rate);
	rounds[ROUNDS / 2].retransmits = retransmits;
	return rounds[ROUNDS / 2];
}

static int print_json(
	const struct cli *cli, const struct bench_result way[static WAYS], double ratio)
{
	json_t *ways = json_array();
	for (unsigned i = 0; i < WAYS; i++)
		json_array_append_new(
			ways, json_pack("{s:s, s:f, s:I, s:I, s:I}", "to", cli->arg[1 + i],
				      "bits_per_second", way[i].bits_per_second, "retransmits",
				      (json_int_t)way[i].retransmits, "mss", (json_int_t)way[i].mss,
				      "rtt_us", (json_int_t)way[i].rtt_us));
	return cli_print_json(
		cli, json_pack("{s:o, s:f}", "ways", ways, "ratio", ratio), JSON_FORM);
}

static void print_text(
	const struct cli *cli, const struct bench_result way[static WAYS], double ratio)
{
	char rate[FORMAT_LEN];
	for (unsigned i = 0; i < WAYS; i++)
		fprintf(cli->out, "%-24s %12s  segments of %u bytes, %u sent again, RTT %.2f ms\n",
			cli->arg[1 + i], format_rate(way[i].bits_per_second, "b/s", rate),
			way[i].mss, way[i].retransmits, way[i].rtt_us / 1e3);
	fprintf(cli->out, "ratio %.3g\n", ratio);
	if (ratio < worse)
		fprintf(cli->out,
			"F079: the second way has much less than the first, with segments %.2f as "
			"large: 'tailgate doctor mtu' on the hosts of that way looks for overlays "
			"whose MTUs do not fit\n",
			way[0].mss ? (double)way[1].mss / way[0].mss : 0);
}

static int compare(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	struct bench_target to[WAYS];
	struct bench_result rounds[WAYS][ROUNDS], way[WAYS];
	unsigned ms = MS_DEFAULT;
	const char *time = cli_option(cli, "--time");
	for (unsigned i = 0; i < WAYS; i++) {
		if (bench_target_parse(cli->arg[1 + i], &to[i], err) < 0) {
			cli_fail(cli, "bench: %s", err);
			return CLI_USAGE;
		}
	}
	if (time != NULL && (value_duration(time, &ms) < 0 || ms == 0)) {
		cli_fail(cli, "bench: --time takes a time like 5s");
		return CLI_USAGE;
	}
	for (unsigned i = 0; i < ROUNDS * WAYS; i++) {
		if (bench_send(&to[i % WAYS], ms, &rounds[i % WAYS][i / WAYS], err) < 0) {
			cli_fail(cli, "bench: %s", err);
			return CLI_USAGE; // not to be taken for a bad ratio
		}
	}
	for (unsigned i = 0; i < WAYS; i++)
		way[i] = middle(rounds[i]);
	double ratio =
		way[0].bits_per_second > 0 ? way[1].bits_per_second / way[0].bits_per_second : 0;
	if (!cli->json)
		print_text(cli, way, ratio);
	else if (print_json(cli, way, ratio) != CLI_OK)
		return CLI_FAILED;
	return ratio < worse ? CLI_FAILED : CLI_OK;
}

static int serve(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	if (cli->n_args > 2) {
		cli_fail(cli, "bench: serve takes a port at most");
		return CLI_USAGE;
	}
	int fd = bench_listen(
		cli_option(cli, "--bind"), cli->n_args > 1 ? cli->arg[1] : BENCH_PORT, err);
	if (fd < 0)
		return cli_fail(cli, "bench: %s", err);
	fprintf(cli->out, "listening on port %u, until Ctrl-C\n", bench_port(fd));
	fflush(cli->out);
	return cli_fail(cli, "bench: %s", strerror(-bench_sink(fd)));
}

int cmd_bench(const struct cli *cli)
{
	if (strcmp(cli->arg[0], "serve") == 0)
		return serve(cli);
	if (strcmp(cli->arg[0], "compare") == 0 && cli->n_args == 1 + WAYS)
		return compare(cli);
	cli_fail(cli, "bench: 'compare HOST HOST' or 'serve [PORT]'");
	return CLI_USAGE;
}
