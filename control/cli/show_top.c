#include "control/cli/format.h"
#include "control/cli/show.h"

// The element of array whose member is the same as the other's.
static json_t *same_element(const json_t *array, const json_t *other, const char *member)
{
	size_t i;
	json_t *element;
	json_array_foreach(
		array, i, element) if (json_equal(json_object_get(element, member),
					       json_object_get(other, member))) return element;
	return NULL;
}

// A daemon that was started anew counts from zero.
static double growth(const json_t *before, const json_t *after, const char *name)
{
	double a = show_number(before, name), b = show_number(after, name);
	return b >= a ? b - a : b;
}

static json_t *flow_rates(const json_t *before, const json_t *after, double seconds)
{
	return json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "name", show_text(after, "name"),
		"public_key", show_text(after, "public_key"),			   //
		"rx_bits_per_s", growth(before, after, "rx_bytes") * 8 / seconds,  //
		"tx_bits_per_s", growth(before, after, "tx_bytes") * 8 / seconds,  //
		"rx_packets_per_s", growth(before, after, "rx_packets") / seconds, //
		"tx_packets_per_s", growth(before, after, "tx_packets") / seconds);
}

static json_t *all_flow_rates(const json_t *before, const json_t *after, const char *array,
	const char *member, double seconds)
{
	json_t *rates = json_array(), *element;
	size_t i;
	json_array_foreach(json_object_get(after, array), i, element) json_array_append_new(
		rates, flow_rates(same_element(json_object_get(before, array), element, member),
			       element, seconds));
	return rates;
}

static json_t *worker_rates(const json_t *before, const json_t *after, double seconds)
{
	double hz = show_number(after, "tsc_hz");
	json_t *rates = json_array(), *worker;
	size_t i;
	json_array_foreach(json_object_get(after, "workers"), i, worker)
	{
		const json_t *old = same_element(json_object_get(before, "workers"), worker, "id");
		double busy = growth(old, worker, "busy_cycles");
		json_array_append_new(
			rates, json_pack("{s:i, s:f, s:f}", "id", (int)show_number(worker, "id"), //
				       "busy", hz > 0 ? busy / hz / seconds : 0,		  //
				       "sleeps_per_s", growth(old, worker, "sleeps") / seconds));
	}
	return rates;
}

json_t *top_rates(const json_t *before, const json_t *after)
{
	double seconds = growth(before, after, "time_ns") / 1e9;
	if (seconds <= 0)
		seconds = 1;
	return json_pack("{s:f, s:f, s:o, s:o, s:o}", "seconds", seconds,	  //
		"drops_per_s", growth(before, after, "drops") / seconds,	  //
		"workers", worker_rates(before, after, seconds),		  //
		"ports", all_flow_rates(before, after, "ports", "name", seconds), //
		"peers", all_flow_rates(before, after, "peers", "public_key", seconds));
}

static void show_flows(FILE *out, const json_t *flows, const char *title)
{
	size_t i;
	json_t *flow;
	char rx[FORMAT_LEN], tx[FORMAT_LEN], rx_packets[FORMAT_LEN], tx_packets[FORMAT_LEN];
	fprintf(out, "\n%-24s %12s %12s %12s %12s\n", title, "received", "sent", "received",
		"sent");
	json_array_foreach(flows, i, flow)
	{
		const char *name = show_text(flow, "name");
		fprintf(out, "%-24.24s %12s %12s %12s %12s\n",
			*name != '\0' ? name : show_text(flow, "public_key"),
			format_rate(show_number(flow, "rx_bits_per_s"), "b/s", rx),
			format_rate(show_number(flow, "tx_bits_per_s"), "b/s", tx),
			format_rate(show_number(flow, "rx_packets_per_s"), "p/s", rx_packets),
			format_rate(show_number(flow, "tx_packets_per_s"), "p/s", tx_packets));
	}
}

void show_top(FILE *out, const json_t *rates)
{
	size_t i;
	json_t *worker;
	char drops[FORMAT_LEN];
	json_array_foreach(json_object_get(rates, "workers"), i, worker)
		fprintf(out, "worker %.0f: %.1f %% busy\n", show_number(worker, "id"),
			show_number(worker, "busy") * 100);
	fprintf(out, "drops: %s\n", format_rate(show_number(rates, "drops_per_s"), "p/s", drops));
	show_flows(out, json_object_get(rates, "ports"), "port");
	show_flows(out, json_object_get(rates, "peers"), "peer");
}
