// Hosts as k3s with flannel leaves them, right and wrong: what is found on each, and what is said
// to mend it. Then the files and messages that it is read from, most of them refused.
#include "control/cli/doctor_mtu.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after the above, as cmocka asks
#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdalign.h>

#include "control/cli/show.h"

#define N(array) (sizeof(array) / sizeof(array[0]))

enum { LINKS = 8, ETH = 1, TAILNET = 2, FLANNEL = 3, CNI = 4 };

// Of a network card, a tailnet's interface, a VXLAN device, a bridge and a pod, with these MTUs.
#define LAN(m)                                                                                     \
	{                                                                                          \
		.ifindex = ETH, .name = "eth0", .mtu = m, .n_addresses = 1, .address = {           \
			{.addr = {.family = IP_V4, .bytes = {192, 168, 1, 7}}}                     \
		}                                                                                  \
	}
#define TAIL(m)                                                                                    \
	{                                                                                          \
		.ifindex = TAILNET, .name = "tailscale0", .mtu = m, .kind = STACK_TUN              \
	}
#define VX(m, on)                                                                                  \
	{                                                                                          \
		.ifindex = FLANNEL, .name = "flannel.1", .mtu = m, .kind = STACK_VXLAN, .vni = 1,  \
		.lower = on                                                                        \
	}
#define BR(m)                                                                                      \
	{                                                                                          \
		.ifindex = CNI, .name = "cni0", .mtu = m, .kind = STACK_BRIDGE                     \
	}
#define POD(m)                                                                                     \
	{                                                                                          \
		.ifindex = 9, .name = "veth12ab", .mtu = m, .kind = STACK_VETH, .master = CNI      \
	}

static const struct {
	const char *name;
	struct stack_link link[LINKS];
	const char *env, *k3s; // NULL: absent
	const char *wrong;     // "F074 error," for each that is not well
	const char *commands;  // one that has to be there; NULL: none at all
	bool agent;
} hosts[] = {
	{"nothing", {}, NULL, NULL, "", NULL},
	{"a plain host", {LAN(1500)}, NULL, NULL, "", NULL},
	{"a node of a tailnet", {LAN(1500), TAIL(1280)}, NULL, NULL, "", NULL},
	{"all is right", {LAN(1500), TAIL(1280), VX(1450, ETH), BR(1450), POD(1450)},
		"FLANNEL_MTU=1450\n", "flannel-iface: eth0\n", "", NULL},
	{"jumbo frames", {LAN(9000), VX(8950, ETH), BR(8950)}, NULL, NULL, "", NULL},
	{"carried by an address",
		{LAN(1500), {.ifindex = FLANNEL,
				    .name = "flannel.1",
				    .mtu = 1450,
				    .kind = STACK_VXLAN,
				    .local = {.family = IP_V4, .bytes = {192, 168, 1, 7}}}},
		NULL, NULL, "", NULL},
	{"a LAN with no more room", {LAN(1400), VX(1350, ETH), BR(1350)}, NULL, NULL, "", NULL},
	{"another overlay, smaller by choice",
		{LAN(1500), {.ifindex = 7,
				    .name = "vx7",
				    .mtu = 1400,
				    .kind = STACK_VXLAN,
				    .lower = ETH}},
		NULL, NULL, "", NULL},

	{"flannel on the tailnet", {LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230), POD(1230)},
		"FLANNEL_MTU=1230\n", "node-ip: 192.168.1.7\nflannel-iface: tailscale0\n",
		"F085 error,F074 error,F077 warn,",
		"sed -i 's/^flannel-iface:.*/flannel-iface: eth0/' /etc/rancher/k3s/config.yaml"},
	{"the same, mended in the file only", {LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230)},
		NULL, "flannel-iface: eth0\n", "F074 error,F077 warn,", "systemctl restart k3s"},
	{"the same on an agent", {LAN(1500), TAIL(1280), VX(1230, TAILNET)}, NULL,
		"flannel-iface: eth0\n", "F074 error,F077 warn,", "systemctl restart k3s-agent",
		true},
	{"the same, not told so", {LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230)}, NULL, "",
		"F074 error,F077 warn,",
		"sed -i '$a flannel-iface: eth0' "
		"/etc/rancher/k3s/config.yaml"},
	{"the same, and no bridge is forgotten",
		{LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230)}, NULL, NULL,
		"F074 error,F077 warn,", "ip link set dev cni0 mtu 1450"},
	{"told so, not yet started", {LAN(1500), TAIL(1280)}, NULL, "flannel-iface: tailscale0\n",
		"F085 error,", "systemctl restart k3s"},
	{"too large on the tailnet", {LAN(1500), TAIL(1280), VX(1450, TAILNET)}, NULL, NULL,
		"F074 error,F069 error,F077 warn,", "ip link set dev flannel.1 mtu 1230"},
	{"any VXLAN on WireGuard",
		{LAN(1500),
			{.ifindex = TAILNET, .name = "wan", .mtu = 1420, .kind = STACK_WIREGUARD},
			{.ifindex = 7,
				.name = "vx7",
				.mtu = 1370,
				.kind = STACK_VXLAN,
				.lower = TAILNET}},
		NULL, NULL, "F074 warn,", NULL},
	{"larger than its LAN takes", {LAN(1500), VX(1500, ETH), BR(1450)}, NULL, NULL,
		"F069 error,", "ip link set dev flannel.1 mtu 1450"},
	{"larger over IPv6",
		{LAN(1500), {.ifindex = FLANNEL,
				    .name = "flannel-v6.1",
				    .mtu = 1450,
				    .kind = STACK_VXLAN,
				    .lower = ETH,
				    .local = {.family = IP_V6}}},
		NULL, NULL, "F069 error,", "ip link set dev flannel-v6.1 mtu 1430"},
	{"left behind", {LAN(1500), VX(1230, ETH), BR(1230)}, "FLANNEL_MTU=1230\n", NULL,
		"F102 warn,F077 warn,", "systemctl restart k3s"},
	{"a stale bridge", {LAN(1500), VX(1450, ETH), BR(1230)}, "FLANNEL_MTU=1450\n", NULL,
		"F096 warn,", "ip link set dev cni0 mtu 1450"},
	{"a bridge that is too large", {LAN(1500), VX(1450, ETH), BR(1500)}, NULL, NULL,
		"F096 error,", "ip link set dev cni0 mtu 1450"},
	{"a pod older than the change", {LAN(1500), VX(1450, ETH), BR(1450), POD(1230)}, NULL, NULL,
		"F098 warn,",
		"kubectl delete pods -n tailscale $(kubectl get pods -n "
		"tailscale --no-headers -o name | grep -v operator | xargs "
		"-I{} basename {})"},
	{"a pod that is too large", {LAN(1500), VX(1450, ETH), BR(1450), POD(1500)}, NULL, NULL,
		"F098 error,",
		"kubectl delete pods -n tailscale $(kubectl get pods -n tailscale "
		"--no-headers -o name | grep -v operator | xargs -I{} basename {})"},
	{"a bridge above its overlay",
		{LAN(1500),
			{.ifindex = 7,
				.name = "vx7",
				.mtu = 1450,
				.kind = STACK_VXLAN,
				.lower = ETH,
				.master = 8},
			{.ifindex = 8, .name = "br0", .mtu = 1500, .kind = STACK_BRIDGE}},
		NULL, NULL, "F096 error,", "ip link set dev br0 mtu 1450"},
	{"the same with a name for a shell",
		{LAN(1500),
			{.ifindex = 7,
				.name = "vx7",
				.mtu = 1450,
				.kind = STACK_VXLAN,
				.lower = ETH,
				.master = 8},
			{.ifindex = 8,
				.name = "?(x)",
				.mtu = 1500,
				.kind = STACK_BRIDGE,
				.odd_name = true}},
		NULL, NULL, "F096 error,", NULL},
	{"a tunnel larger than the LAN", {LAN(1500), TAIL(1500)}, NULL, NULL, "F068 warn,",
		"ip link set dev tailscale0 mtu 1420"},
	{"flannel's file is older", {LAN(1500), VX(1450, ETH), BR(1450)}, "FLANNEL_MTU=1230\n",
		NULL, "F082 error,", "systemctl restart k3s"},
	{"flannel's file is no such", {LAN(1500), VX(1450, ETH)}, "FLANNEL_MTU=big\n", NULL,
		"F082 warn,", NULL},
	{"k3s' file is not clear", {LAN(1500), VX(1450, ETH)}, NULL,
		"flannel-iface: eth0\nflannel-iface: tailscale0\n", "F085 warn,", NULL},
	{"an interface that is not there", {LAN(1500)}, NULL, "flannel-iface: eth1\n", "F085 warn,",
		NULL},
	{"an address that is not there", {LAN(1500)}, NULL, "node-ip: 100.64.0.3\n", "F089 warn,",
		NULL},
};

static void fill(struct doctor_mtu_facts *f, unsigned i)
{
	memset(f, 0, sizeof(*f));
	for (; f->stack.n < LINKS && hosts[i].link[f->stack.n].ifindex != 0; f->stack.n++)
		f->stack.link[f->stack.n] = hosts[i].link[f->stack.n];
	f->agent = hosts[i].agent;
	if (hosts[i].env != NULL)
		doctor_mtu_read_env(f, hosts[i].env, strlen(hosts[i].env));
	if (hosts[i].k3s != NULL)
		doctor_mtu_read_k3s(f, hosts[i].k3s, strlen(hosts[i].k3s));
}

static void test_hosts(void **)
{
	static struct doctor_mtu_facts facts;
	for (unsigned i = 0; i < N(hosts); i++) {
		char wrong[256] = "";
		bool named = hosts[i].commands == NULL;
		size_t k, c;
		json_t *finding, *command;
		fill(&facts, i);
		json_t *report = doctor_mtu_judge(&facts);
		assert_non_null(report);
		doctor_mtu_keep_wrong(report);
		json_array_foreach(json_object_get(report, "findings"), k, finding)
		{
			snprintf(wrong + strlen(wrong), sizeof(wrong) - strlen(wrong), "%s %s,",
				show_text(finding, "id"), show_text(finding, "severity"));
			assert_true(*show_text(finding, "evidence") != '\0');
			assert_true(*show_text(finding, "remedy") != '\0');
			json_array_foreach(json_object_get(finding, "commands"), c, command)
			{
				if (hosts[i].commands == NULL)
					fail_msg("%s: %s", hosts[i].name,
						json_string_value(command));
				named |= strcmp(json_string_value(command), hosts[i].commands) == 0;
			}
		}
		if (strcmp(wrong, hosts[i].wrong) != 0 || !named)
			fail_msg("%s: %s instead of %s%s", hosts[i].name, wrong, hosts[i].wrong,
				named ? "" : ", and the command is not there");
		json_decref(report);
	}
}

// The table of the feature list: 1150 bytes are 81 % of 1420, 1370 are 96 %.
static void test_figures(void **)
{
	static const struct {
		unsigned host;
		const char *text;
	} figures[] = {
		{3, "1370 bytes fit through a tunnel in a pod, 96.5 % of one on the LAN"},
		{8, "1150 bytes fit through a tunnel in a pod, 81.0 % of one on the LAN"},
		{8, "1280-byte packets of a tailnet become 1360 bytes, pods take 1230: cut into 2"},
		{3, "1280-byte packets of a tailnet become 1360 bytes, pods take 1450"},
	};
	static struct doctor_mtu_facts facts;
	for (unsigned i = 0; i < N(figures); i++) {
		bool found = false;
		size_t k;
		json_t *finding;
		fill(&facts, figures[i].host);
		json_t *report = doctor_mtu_judge(&facts);
		json_array_foreach(json_object_get(report, "findings"), k, finding) found |=
			strcmp(show_text(finding, "evidence"), figures[i].text) == 0;
		json_decref(report);
		if (!found)
			fail_msg("nothing says '%s'", figures[i].text);
	}
}

static void test_env(void **)
{
	static const struct {
		const char *text;
		unsigned mtu; // 0: refused
	} files[] = {
		{"FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n", 1450},
		{"FLANNEL_MTU=\"1230\"", 1230},
		{"FLANNEL_MTU=1230\r\nFLANNEL_MTU=1450\r\n", 1450},
		{"", 0},
		{"FLANNEL_MTU=", 0},
		{"FLANNEL_MTU=-1450", 0},
		{"FLANNEL_MTU=1450x", 0},
		{"FLANNEL_MTU=0x5aa", 0},
		{"FLANNEL_MTU=575", 0},
		{"FLANNEL_MTU=65536", 0},
		{"FLANNEL_MTU=99999999999999999999999", 0},
		{"XFLANNEL_MTU=1450", 0},
		{"#FLANNEL_MTU=1450", 0},
		{"FLANNEL_MTU=1450\nFLANNEL_MTU=$(id)", 0},
	};
	static struct doctor_mtu_facts f;
	for (unsigned i = 0; i < N(files); i++) {
		doctor_mtu_read_env(&f, files[i].text, strlen(files[i].text));
		assert_int_equal(f.flannel_mtu, files[i].mtu);
		assert_int_equal(f.env, files[i].mtu != 0 ? DOCTOR_MTU_READ : DOCTOR_MTU_BAD);
	}
	doctor_mtu_read_env(&f, "FLANNEL_MTU=14\00050", 16);
	assert_int_equal(f.env, DOCTOR_MTU_BAD);
}

static void test_k3s(void **)
{
	static const struct {
		const char *text, *iface; // iface NULL: refused
	} files[] = {
		{"", ""},
		{"server: https://a:6443\nflannel-iface: eth0\n", "eth0"},
		{"flannel-iface: \"eth0\" # the LAN\n", "eth0"},
		{"flannel-iface:\t'enp1s0.7'\r\n", "enp1s0.7"},
		{"# flannel-iface: tailscale0\n", ""},
		{"other:\n  flannel-iface: tailscale0\n", ""},
		{"flannel-ifaces: tailscale0\n", ""},
		{"flannel-iface:eth0\n", ""},
		{"flannel-iface:\n", NULL},
		{"flannel-iface: $(reboot)\n", NULL},
		{"flannel-iface: eth0;reboot\n", NULL},
		{"flannel-iface: -a\n", NULL},
		{"flannel-iface: ../x\n", NULL},
		{"flannel-iface: 'eth0\n", NULL},
		{"flannel-iface: a/b\n", NULL},
		{"flannel-iface: sixteen-letters-\n", NULL},
		{"flannel-iface: eth0\nflannel-iface: eth0\n", NULL},
		{"flannel-iface: [eth0]\n", NULL},
		{"flannel-iface: eth0\nnode-ip: 300.1.1.1\n", NULL},
		{"flannel-iface: eth0\nnode-ip:\n  - 10.0.0.1\n", NULL},
		{"node-ip: 10.0.0.1\nnode-ip: 10.0.0.1\n", NULL},
	};
	static struct doctor_mtu_facts f;
	for (unsigned i = 0; i < N(files); i++) {
		const char *iface = files[i].iface;
		doctor_mtu_read_k3s(&f, files[i].text, strlen(files[i].text));
		if (f.k3s != (iface != NULL ? DOCTOR_MTU_READ : DOCTOR_MTU_BAD))
			fail_msg("%s", files[i].text);
		assert_string_equal(f.flannel_iface, iface != NULL ? iface : "");
	}
}

// A link as the kernel tells of it: VXLAN 1 over 2 in the bridge 4, by this name.
static size_t make_link(uint8_t *bytes, const char *name)
{
	struct nlmsghdr *nh = mnl_nlmsg_put_header(bytes);
	nh->nlmsg_type = RTM_NEWLINK;
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(nh, sizeof(*info));
	info->ifi_index = 3;
	mnl_attr_put_strz(nh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nh, IFLA_MTU, 1230);
	mnl_attr_put_u32(nh, IFLA_MASTER, 4);
	struct nlattr *kind = mnl_attr_nest_start(nh, IFLA_LINKINFO);
	mnl_attr_put_strz(nh, IFLA_INFO_KIND, "vxlan");
	struct nlattr *data = mnl_attr_nest_start(nh, IFLA_INFO_DATA);
	mnl_attr_put_u32(nh, IFLA_VXLAN_ID, 1);
	mnl_attr_put_u32(nh, IFLA_VXLAN_LINK, 2);
	mnl_attr_nest_end(nh, data);
	mnl_attr_nest_end(nh, kind);
	return nh->nlmsg_len;
}

static void test_links(void **)
{
	static struct stack s;
	alignas(struct nlmsghdr) uint8_t bytes[1024] = {0};
	size_t len = make_link(bytes, "flannel.1");
	assert_int_equal(stack_feed(&s, bytes, len), 0);
	assert_int_equal(s.n, 1);
	const struct stack_link *l = stack_named(&s, "flannel.1");
	assert_non_null(l);
	assert_true(l->kind == STACK_VXLAN && l->vni == 1 && l->lower == 2);
	assert_true(l->master == 4 && l->mtu == 1230 && l->ifindex == 3);
	assert_null(stack_lower(&s, l)); // nobody has told of it
	assert_int_equal(stack_feed(&s, bytes, len), 0);
	assert_int_equal(s.n, 1); // it is known

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut + 1);
		static struct stack none;
		memset(&none, 0, sizeof(none));
		memcpy(copy, bytes, cut);
		assert_int_equal(stack_feed(&none, copy, cut), 0);
		assert_int_equal(none.n, 0);
		free(copy);
	}
}

static void test_odd_names(void **)
{
	static const char *const names[] = {
		"$(id)", "a;b", "a'b", "`id`", "a|b", "-a", "a\nb", "\xc3\xa4", "a&", "a>b", "..a"};
	for (unsigned i = 0; i < N(names); i++) {
		static struct stack s;
		alignas(struct nlmsghdr) uint8_t bytes[1024] = {0};
		memset(&s, 0, sizeof(s));
		assert_int_equal(stack_feed(&s, bytes, make_link(bytes, names[i])), 0);
		assert_int_equal(s.n, 1);
		assert_true(s.link[0].odd_name);
		assert_null(stack_named(&s, names[i]));
		assert_null(strpbrk(s.link[0].name, "$;'`|\n\xc3&>"));
	}
}

static void test_ends(void **)
{
	static struct stack s;
	alignas(struct nlmsghdr) uint8_t bytes[256] = {0};
	struct nlmsghdr *nh = mnl_nlmsg_put_header(bytes);
	nh->nlmsg_type = NLMSG_ERROR;
	struct nlmsgerr *e = mnl_nlmsg_put_extra_header(nh, sizeof(*e));
	e->error = -EPERM;
	assert_int_equal(stack_feed(&s, bytes, nh->nlmsg_len), -EPERM);
	e->error = 7;
	assert_int_equal(stack_feed(&s, bytes, nh->nlmsg_len), -EPROTO);
	e->error = INT32_MIN;
	assert_int_equal(stack_feed(&s, bytes, nh->nlmsg_len), -EPROTO);
	nh->nlmsg_type = NLMSG_DONE;
	assert_int_equal(stack_feed(&s, bytes, nh->nlmsg_len), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_figures),
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_k3s),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_odd_names),
		cmocka_unit_test(test_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
