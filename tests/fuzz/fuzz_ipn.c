// What a LocalAPI says, whoever it is, as the command shows it; and times and durations as text.
#include "control/cli/ipn.h"
#include "control/cli/values.h"
#include "tests/fuzz/fuzz.h"

static void values(const uint8_t *data, size_t len)
{
	char text[64], out[VALUE_TEXT_LEN];
	unsigned ms;
	size_t n = len < sizeof(text) - 1 ? len : sizeof(text) - 1;
	memcpy(text, data, n);
	text[n] = '\0';
	value_last_seen(value_time(text), 1795240429, out);
	if (value_duration(text, &ms) == 0 && ms > 7 * 86400000u)
		abort();
}

// Nothing but the lines we make ourselves, and no escape.
static void check_shown(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if ((c < ' ' && c != '\n') || c == 0x7f)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct ipn_view view = {
		.self = true, .peers = true, .header = true, .now_s = 1795240429};
	char err[CLI_ERROR_LEN], description[IPN_DESCRIPTION_LEN], *text = NULL;
	size_t n;
	struct ip_addr ip = {.family = IP_V4, .bytes = {100, 64, 0, 1}};
	values(data, len);
	json_t *json = json_loadb((const char *)data, len, 0, NULL);
	FILE *out = json != NULL ? open_memstream(&text, &n) : NULL;
	if (out != NULL) {
		ipn_clean(json);
		(void)ipn_is_up(json, description);
		(void)ipn_show(out, json, &view);
		(void)ipn_show_exit_nodes(out, json, NULL, view.now_s, err);
		(void)ipn_show_exit_nodes(out, json, "Sweden", view.now_s, err);
		(void)ipn_show_whois(out, json);
		ipn_show_pong(out, json, "disco");
		(void)ipn_find_ip(json, &ip);
		(void)ipn_find_name(json, "alice");
		fclose(out);
		check_shown(text, n);
		free(text);
	}
	json_decref(json);
	return 0;
}
