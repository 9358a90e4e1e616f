// Stacks of layers in words: what is understood, what is refused and how, and what is shown.
#include "control/cli/mtu_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

// The innermost layer, and the note of the one that has one.
static const struct {
	const char *text;
	uint16_t mtu;
	uint32_t capacity_permill;
	const char *note;
} plans[] = {
	{"eth0:1500", 1500, 1056, ""},
	{"eth0:1500,wg", 1420, 1000, "wg: a node of a tailnet has 1280 unless it is raised"},
	{"eth0:1500,wg:1280", 1280, 901, "wg: its interface has 1280, 1420 would fit"},
	{"eth0:1500,wg:1280,vxlan", 1230, 866, "vxlan: IPv6 needs 1280 and does not go inside"},
	{"eth0:1500,wg,vxlan,wg", 1290, 908, "wg: a node of a tailnet has 1280"},
	{"eth0:1500,vxlan,wg:1280", 1280, 901, "wg: its interface has 1280, 1370 would fit"},
	{"eth0:1500,wg:1280,vxlan,wg", 1150, 810, "wg: IPv6 needs 1280 and does not go inside"},
	{"eth0:1500,vxlan,wg", 1370, 965, "wg: a node of a tailnet has 1280"},
	{"eth0:1500,wg,vxlan", 1370, 965, "wg: a node of a tailnet has 1280"},
	{"eth0:1500,wg4,vxlan,wg6", 1310, 923, "wg4: a node of a tailnet has 1280"},
	{"eth0:1500,wg:1280,vxlan,wg:1280", 1280, 901,
		"wg: full packets are 1360 bytes in vxlan, which takes 1230: cut into 2; with an "
		"MTU of 1150 they fit"},
	{"eth0.7:9000,vlan,vxlan6,vlan,wg4", 8866, 994, "wg4: a node of a tailnet has 1280"},
	{"eth0:1500,vxlan4,vlan:1450", 1450, 1021,
		"vlan: full packets are 1454 bytes in vxlan4, which takes 1450: what carries it is "
		"cut; with an MTU of 1446 they fit"},
	{"wan@if-2:1500,relay4,relay6:1280", 1280, 901, "relay6: its interface has 1280"},
	{"enp129s0f0np0_1:1500,derp4", 1280, 901, ""},
	{"a:1500,derp6:2800", 2800, 1972, ""},
	{"a:01500,wg4", 1440, 1014, "wg4: a node"},
};

static void test_plans(void **)
{
	for (unsigned i = 0; i < N(plans); i++) {
		struct mtu_plan plan;
		char err[CLI_ERROR_LEN], note[MTU_NOTE_LEN];
		bool noted = *plans[i].note == '\0';
		if (mtu_plan_parse(plans[i].text, &plan, err) < 0)
			fail_msg("%s: %s", plans[i].text, err);
		assert_int_equal(plan.layer[plan.n - 1].mtu, plans[i].mtu);
		assert_int_equal(
			ledger_capacity_permill(plan.layer, plan.n), plans[i].capacity_permill);
		for (unsigned k = 0; k < plan.n; k++) {
			const char *said = mtu_plan_note(&plan, k, note);
			if (*plans[i].note == '\0' && *said != '\0')
				fail_msg("%s: %s", plans[i].text, said);
			noted |= strncmp(said, plans[i].note, strlen(plans[i].note)) == 0;
		}
		if (!noted)
			fail_msg("%s: nothing says '%s'", plans[i].text, plans[i].note);
	}
}

static const struct {
	const char *text, *says;
} refusals[] = {
	{"", "layer 1 has no name"},
	{",", "layer 1 has no name"},
	{":1500", "layer 1 has no name"},
	{"eth0:1500,", "layer 2 has no name"},
	{"eth0:1500,,wg4", "layer 2 has no name"},
	{"eth0:1500,wg4,:1280", "layer 3 has no name"},
	{" eth0:1500", "layer 1 has no name"},
	{"eth0:1500, wg4", "layer 2 has no name"},
	{"eth0:1500,wg4;vxlan", "layer 2 has no name"},
	{"eth\x1b[0:1500", "layer 1 has no name"},
	{"eth0:1500,\xc3\xa4", "layer 2 has no name"},
	{"eth0/1:1500", "layer 1 has no name"},
	{"a234567890123456:1500", "layer 1 has no name"},
	{"eth0", "what is the MTU of eth0? Write eth0:1500"},
	{"eth0,wg4", "what is the MTU of eth0?"},
	{"1500", "what is the MTU of 1500?"},
	{"wg4:1420", "'wg4' is no link"},
	{"vxlan", "'vxlan' is no link: begin with one and its MTU, such as eth0:1500,vxlan"},
	{"eth0:", "the MTU of eth0 is no number"},
	{"eth0:0", "the MTU of eth0 is no number"},
	{"eth0:0,wg4", "the MTU of eth0 is no number"},
	{"eth0:-1", "the MTU of eth0 is no number"},
	{"eth0:+1500", "the MTU of eth0 is no number"},
	{"eth0:1500x", "the MTU of eth0 is no number"},
	{"eth0:1500:1500", "the MTU of eth0 is no number"},
	{"eth0:0x5dc", "the MTU of eth0 is no number"},
	{"eth0:65536", "the MTU of eth0 is no number of bytes up to 65535"},
	{"eth0:4294968796", "the MTU of eth0 is no number"},
	{"eth0:00001500", "the MTU of eth0 is no number"},
	{"eth0:1500,wg4:", "the MTU of wg4 is no number"},
	{"eth0:1500,wg4:0", "the MTU of wg4 is no number"},
	{"eth0:1500,wireguard", "'wireguard' is no layer: there are vlan, wg4"},
	{"eth0:1500,WG4", "'WG4' is no layer"},
	{"eth0:1500,wg5", "'wg5' is no layer"},
	{"eth0:1500,eth1:1500", "'eth1' is no layer"},
	{"eth0:9000,wg4,wg4,wg4,wg4,wg4,wg4,wg4,wg4", "more than 8 layers"},
	{"eth0:575", "the MTU of eth0 is 575: IPv4 needs 576"},
	{"eth0:1500,wg4:500", "the MTU of wg4 is 500: IPv4 needs 576"},
	{"eth0:600,wg4",
		"no room is left for wg4: the 600 bytes of eth0 less 60 are under the 576 that "
		"IPv4"},
	{"eth0:1279,wg6", "wg6 goes over IPv6, which needs 1280 bytes, and eth0 has 1279: take "
			  "wg4, or raise"},
	{"eth0:1500,wg4:1280,vxlan,wg6", "and vxlan has 1230: take wg4"},
	{"eth0:1200,derp6", "take derp4"},
	{"eth0:1279,vxlan6", "vxlan6 goes over IPv6, which needs 1280 bytes, and eth0 has 1279: "
			     "take vxlan4"},
	{"eth0:1500,wg:1280,vxlan,relay6", "take relay4"},
	{"eth0:655,wg", "no room is left for wg: the 655 bytes of eth0 less 80 are under the 576"},
	{"eth0:1500,vxlan:575", "the MTU of vxlan is 575: IPv4 needs 576"},
	{"eth0:1500,vxlan6:65535", "vxlan6 adds 70 bytes: with an MTU of 65535 no IP packet"},
	{"eth0:1500,derp4,vlan", "vlan needs Ethernet below, a link or VXLAN: derp4 has none"},
	{"eth0:1500,wg4,vlan", "vlan needs Ethernet below, a link or VXLAN: wg4 has none"},
	{"eth0:1500,vlan:1504", "the MTU of vlan is more than the 1500 of eth0"},
	{"eth0:1500,wg4:65535", "wg4 adds 60 bytes: with an MTU of 65535 no IP packet holds that"},
};

static void test_refusals(void **)
{
	for (unsigned i = 0; i < N(refusals); i++) {
		struct mtu_plan plan;
		char err[CLI_ERROR_LEN] = "";
		if (mtu_plan_parse(refusals[i].text, &plan, err) == 0)
			fail_msg("'%s' is taken", refusals[i].text);
		if (strstr(err, refusals[i].says) == NULL)
			fail_msg("'%s': %s", refusals[i].text, err);
	}
}

static void test_shown(void **)
{
	struct mtu_plan plan;
	char err[CLI_ERROR_LEN], *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	assert_non_null(out);
	assert_int_equal(mtu_plan_parse("eth0:1500,wg4:1280,vxlan,wg4:1280", &plan, err), 0);
	assert_true(mtu_plan_show(out, &plan));
	fclose(out);
	assert_string_equal(text,
		"Layer  Adds  MTU   MSS v4  MSS v6  Packets  Payload\n"
		"eth0   0     1500  1460    1440    1        94.1 %\n"
		"wg4    60    1280  1240    1220    1        89.1 %\n"
		"vxlan  50    1230  1190    -       1        85.5 %\n"
		"wg4    60    1280  1240    1220    2        73.6 %\n"
		"\n"
		"mtu inside: 1280, 90.1 % of the 1420 of one tunnel on eth0\n"
		"wg4: its interface has 1280, 1440 would fit\n"
		"wg4: full packets are 1340 bytes in vxlan, which takes 1230: cut into 2; with an "
		"MTU of 1170 they fit\n");
	free(text);
}

static void test_json(void **)
{
	struct mtu_plan plan;
	char err[CLI_ERROR_LEN];
	assert_int_equal(mtu_plan_parse("eth0:1500,wg:1280,vxlan,wg", &plan, err), 0);
	json_t *json = mtu_plan_json(&plan);
	char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));
	assert_non_null(text);
	static const char last[] =
		"{\"layer\":\"wg\",\"overhead\":80,\"room\":1150,\"mtu\":1150,\"due_to\":\"room\","
		"\"mss_v4\":1110,\"mss_v6\":null,\"outer\":1230,\"fragments\":1,\"packets\":1.0,"
		"\"payload_percent\":78.5,\"note\":\"wg: IPv6 needs 1280 and does not go "
		"inside\"}],"
		"\"mtu\":1150,\"mss_v4\":1110,\"mss_v6\":null,\"packets\":1.0,"
		"\"payload_percent\":78.5,\"capacity_percent\":81.0}";
	if (strlen(text) < sizeof(last) || strcmp(text + strlen(text) - strlen(last), last) != 0)
		fail_msg("%s", text);
	assert_int_equal(json_array_size(json_object_get(json, "layers")), 4);
	free(text);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plans),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
