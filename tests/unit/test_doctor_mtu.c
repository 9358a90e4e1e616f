// Hosts as k3s with flannel leaves them, right and wrong: what is found on each, and whether what
// is said to mend it does, when run from the first command to the last.
#include "control/cli/doctor_mtu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after the above, as cmocka asks
#include <cmocka.h>

#include "control/cli/show.h"

#define N(array) (sizeof(array) / sizeof(array[0]))

enum { LINKS = 8, ETH = 1, TAILNET = 2, FLANNEL = 3, CNI = 4, ETH1 = 5, VX7 = 7, BR0 = 8, POD = 9 };

#define LAN_IP                                                                                     \
	{                                                                                          \
		.family = IP_V4, .bytes = { 192, 168, 1, 7 }                                       \
	}
#define OTHER_IP                                                                                   \
	{                                                                                          \
		.family = IP_V4, .bytes = { 192, 168, 1, 99 }                                      \
	}
// Of a network card, a tailnet's interface, flannel's VXLAN device and its bridge, a pod, and
// another VXLAN device with a bridge, with these MTUs.
#define CARD(m, index, text)                                                                       \
	{                                                                                          \
		.ifindex = index, .name = text, .mtu = m, .n_addresses = 1, .address = {           \
			{.addr = LAN_IP}                                                           \
		}                                                                                  \
	}
#define LAN(m) CARD(m, ETH, "eth0")
#define TAIL(m)                                                                                    \
	{                                                                                          \
		.ifindex = TAILNET, .name = "tailscale0", .mtu = m, .kind = STACK_TUN              \
	}
#define VX(m, on)                                                                                  \
	{                                                                                          \
		.ifindex = FLANNEL, .name = "flannel.1", .mtu = m, .kind = STACK_VXLAN, .vni = 1,  \
		.lower = on                                                                        \
	}
#define VX_FROM(m, ...)                                                                            \
	{                                                                                          \
		.ifindex = FLANNEL, .name = "flannel.1", .mtu = m, .kind = STACK_VXLAN,            \
		.lower = ETH, .local = __VA_ARGS__                                                 \
	}
#define BR(m)                                                                                      \
	{                                                                                          \
		.ifindex = CNI, .name = "cni0", .mtu = m, .kind = STACK_BRIDGE                     \
	}
#define PODS(m, inside)                                                                            \
	{                                                                                          \
		.ifindex = POD, .name = "veth12ab", .mtu = m, .kind = STACK_VETH, .master = CNI,   \
		.lower = 2, .lower_elsewhere = true, .peer_mtu = inside                            \
	}
#define OTHER_VX(m, on, in)                                                                        \
	{                                                                                          \
		.ifindex = VX7, .name = "vx7", .mtu = m, .kind = STACK_VXLAN, .lower = on,         \
		.master = in                                                                       \
	}
#define OTHER_BR(m, ...)                                                                           \
	{                                                                                          \
		.ifindex = BR0, .mtu = m, .kind = STACK_BRIDGE, __VA_ARGS__                        \
	}

static const char restart_pods[] =
	"kubectl delete pods -n tailscale $(kubectl get pods -n tailscale --no-headers -o name | "
	"grep -v operator | xargs -I{} basename {})";

static const struct {
	const char *name;
	struct stack_link link[LINKS];
	const char *env, *k3s; // NULL: absent
	const char *wrong;     // "F074 error," for each that is not well
	const char *commands;  // one that has to be there, and all mend it; NULL: none at all
	bool agent;
} hosts[] = {
	{"nothing", {}, NULL, NULL, "", NULL},
	{"a plain host", {LAN(1500)}, NULL, NULL, "", NULL},
	{"a node of a tailnet", {LAN(1500), TAIL(1280)}, NULL, NULL, "", NULL},
	{"all is right", {LAN(1500), TAIL(1280), VX(1450, ETH), BR(1450), PODS(1450, 1450)},
		"FLANNEL_MTU=1450\n", "flannel-iface: eth0\n", "", NULL},
	{"jumbo frames", {LAN(9000), VX(8950, ETH), BR(8950)}, "FLANNEL_MTU=8950\n", NULL, "",
		NULL},
	{"carried by an address", {LAN(1500), VX_FROM(1450, LAN_IP)}, NULL, NULL, "", NULL},
	{"a LAN with no more room", {LAN(1400), VX(1350, ETH), BR(1350)}, NULL, NULL, "", NULL},
	{"another overlay, smaller by choice", {LAN(1500), OTHER_VX(1400, ETH, 0)}, NULL, NULL, "",
		NULL},
	{"carried by what has gone", {LAN(1500), VX(1450, 77), BR(1450)}, NULL, NULL, "", NULL},
	{"a pod whose bridge has gone", {LAN(1500), VX(1450, ETH), PODS(1230, 1230)}, NULL, NULL,
		"", NULL},
	{"a pod that has just ended", {LAN(1500), VX(1450, ETH), BR(1450), PODS(1450, 0)}, NULL,
		NULL, "", NULL},

	{"flannel on the tailnet",
		{LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230), PODS(1230, 1230)},
		"FLANNEL_MTU=1230\n", "node-ip: 192.168.1.7\nflannel-iface: tailscale0\n",
		"F085 error,F074 error,F102 warn,F082 warn,F103 warn,F104 warn,F077 warn,",
		"sed -i 's/^flannel-iface:.*/flannel-iface: eth0/' /etc/rancher/k3s/config.yaml"},
	{"the same, mended in the file only", {LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230)},
		NULL, "flannel-iface: eth0\n", "F074 error,F102 warn,F103 warn,F077 warn,",
		"systemctl restart k3s"},
	{"the same on an agent", {LAN(1500), TAIL(1280), VX(1230, TAILNET)}, NULL,
		"flannel-iface: eth0\n", "F074 error,F102 warn,F077 warn,",
		"systemctl restart k3s-agent", true},
	{"the same, not told so", {LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230)}, NULL, "",
		"F074 error,F102 warn,F103 warn,F077 warn,",
		"sed -i '$a flannel-iface: eth0' /etc/rancher/k3s/config.yaml"},
	{"the same, and no bridge is forgotten",
		{LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230)}, NULL, NULL,
		"F074 error,F102 warn,F103 warn,F077 warn,", "ip link set dev cni0 mtu 1450"},
	{"the same, and the agents' bridges neither",
		{LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230)}, NULL, NULL,
		"F074 error,F102 warn,F103 warn,F077 warn,",
		"for node in $(kubectl get nodes -l '!node-role.kubernetes.io/control-plane' -o "
		"name); do kubectl debug $node --attach --image=ubuntu -- chroot /host ip link set "
		"dev cni0 mtu 1450; done"},
	{"the same with a stale bridge",
		{LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1500), PODS(1500, 1500)}, NULL, NULL,
		"F074 error,F102 warn,F096 error,F098 error,F077 warn,", restart_pods},
	{"told so, not yet started", {LAN(1500), TAIL(1280)}, NULL, "flannel-iface: tailscale0\n",
		"F085 error,", "systemctl restart k3s"},
	{"too large on the tailnet", {LAN(1500), TAIL(1280), VX(1450, TAILNET)}, NULL, NULL,
		"F074 error,F069 error,F077 warn,", "systemctl restart k3s"},
	{"on the tailnet, of two cards",
		{LAN(1500), CARD(1500, ETH1, "eth1"), TAIL(1280), VX(1230, TAILNET), BR(1230)},
		NULL, "flannel-iface: tailscale0\n",
		"F085 error,F085 warn,F074 error,F102 warn,F103 warn,F077 warn,", NULL},
	{"of two cards, one named",
		{LAN(1500), CARD(9000, ETH1, "eth1"), TAIL(1280), VX(1230, TAILNET), BR(1230)},
		NULL, "flannel-iface: eth1\n", "F074 error,F102 warn,F103 warn,F077 warn,",
		"ip link set dev cni0 mtu 8950"},
	{"on the tailnet, and the file is not clear",
		{LAN(1500), TAIL(1280), VX(1230, TAILNET), BR(1230)}, NULL,
		"flannel-iface: $(id)\n", "F085 warn,F074 error,F102 warn,F103 warn,F077 warn,",
		NULL},
	{"any VXLAN on WireGuard",
		{LAN(1500),
			{.ifindex = TAILNET, .name = "wan", .mtu = 1420, .kind = STACK_WIREGUARD},
			OTHER_VX(1370, TAILNET, 0)},
		NULL, NULL, "F074 warn,", NULL},
	{"larger than its LAN takes", {LAN(1500), VX(1500, ETH), BR(1450)}, NULL, NULL,
		"F069 error,", "ip link set dev flannel.1 mtu 1450"},
	{"another one likewise", {LAN(1500), OTHER_VX(1500, ETH, 0)}, NULL, NULL, "F069 error,",
		"ip link set dev vx7 mtu 1450"},
	{"larger over IPv6",
		{LAN(1500), {.ifindex = FLANNEL,
				    .name = "flannel-v6.1",
				    .mtu = 1450,
				    .kind = STACK_VXLAN,
				    .lower = ETH,
				    .remote = {.family = IP_V6}}},
		NULL, NULL, "F069 error,", "ip link set dev flannel-v6.1 mtu 1430"},
	{"the LAN has shrunk", {LAN(1400), VX(1450, ETH), BR(1450), PODS(1450, 1450)},
		"FLANNEL_MTU=1450\n", NULL, "F069 error,F082 warn,F096 error,F098 error,",
		"systemctl restart k3s"},
	{"left behind", {LAN(1500), VX(1230, ETH), BR(1230), PODS(1230, 1230)},
		"FLANNEL_MTU=1230\n", NULL, "F102 warn,F082 warn,F103 warn,F104 warn,F077 warn,",
		"ip link set dev flannel.1 mtu 1450"},
	{"a stale bridge", {LAN(1500), VX(1450, ETH), BR(1230)}, "FLANNEL_MTU=1450\n", NULL,
		"F096 warn,", "ip link set dev cni0 mtu 1450"},
	{"a bridge that is too large", {LAN(1500), VX(1450, ETH), BR(1500)}, NULL, NULL,
		"F096 error,", "ip link set dev cni0 mtu 1450"},
	{"a pod older than the change", {LAN(1500), VX(1450, ETH), BR(1450), PODS(1230, 1230)},
		"FLANNEL_MTU=1450\n", NULL, "F098 warn,", restart_pods},
	{"a pod that is too large", {LAN(1500), VX(1450, ETH), BR(1450), PODS(1500, 1500)},
		"FLANNEL_MTU=1450\n", NULL, "F098 error,", restart_pods},
	{"a pod older in itself only", {LAN(1500), VX(1450, ETH), BR(1450), PODS(1450, 1230)},
		"FLANNEL_MTU=1450\n", NULL, "F098 warn,", restart_pods},
	{"a pod too large in itself only", {LAN(1500), VX(1450, ETH), BR(1450), PODS(1450, 1500)},
		"FLANNEL_MTU=1450\n", NULL, "F098 error,", restart_pods},
	{"a pod that may not be looked into",
		{LAN(1500), VX(1450, ETH), BR(1450),
			{.ifindex = POD,
				.name = "veth12ab",
				.mtu = 1450,
				.kind = STACK_VETH,
				.master = CNI,
				.peer_hidden = true}},
		NULL, NULL, "F084 warn,", NULL},
	{"a bridge above its overlay",
		{LAN(1500), OTHER_VX(1450, ETH, BR0), OTHER_BR(1500, .name = "br0")}, NULL, NULL,
		"F096 error,", "ip link set dev br0 mtu 1450"},
	{"the same with a name for a shell",
		{LAN(1500), OTHER_VX(1450, ETH, BR0),
			OTHER_BR(1500, .name = "?(x)", .odd_name = true)},
		NULL, NULL, "F096 error,", NULL},
	{"a tunnel larger than the LAN", {LAN(1500), TAIL(1500)}, NULL, NULL, "F068 warn,",
		"ip link set dev tailscale0 mtu 1420"},
	{"flannel's file is older", {LAN(1500), VX(1450, ETH), BR(1450)}, "FLANNEL_MTU=1230\n",
		NULL, "F082 error,", "systemctl restart k3s"},
	{"flannel's file is no such", {LAN(1500), VX(1450, ETH)}, "FLANNEL_MTU=big\n", NULL,
		"F082 warn,", "systemctl restart k3s"},
	{"flannel's file is half written", {LAN(9000), VX(8950, ETH)}, "FLANNEL_MTU=895", NULL,
		"F082 warn,", "systemctl restart k3s"},
	{"the LAN's address has changed", {LAN(1500), VX_FROM(1450, OTHER_IP), BR(1450)}, NULL,
		NULL, "F091 error,", "systemctl restart k3s"},
	{"and is gone",
		{{.ifindex = ETH, .name = "eth0", .mtu = 1500}, VX_FROM(1450, OTHER_IP), BR(1450)},
		NULL, NULL, "F091 error,", "sleep 30 && kubectl get nodes"},
	{"k3s' file is not clear", {LAN(1500), VX(1450, ETH)}, NULL,
		"flannel-iface: eth0\nflannel-iface: tailscale0\n", "F085 warn,", NULL},
	{"an interface that is not there", {LAN(1500)}, NULL, "flannel-iface: eth1\n", "F085 warn,",
		"sed -i 's/^flannel-iface:.*/flannel-iface: eth0/' /etc/rancher/k3s/config.yaml"},
	{"nor is any other", {TAIL(1280)}, NULL, "flannel-iface: eth1\n", "F085 warn,F085 warn,",
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

// What is wrong, as in the table.
static const char *wrong_of(const struct doctor_mtu_facts *f, json_t **report)
{
	static char wrong[512];
	size_t k;
	json_t *finding;
	*report = doctor_mtu_judge(f);
	assert_non_null(*report);
	*wrong = '\0';
	json_array_foreach(json_object_get(*report, "findings"), k, finding)
	{
		const char *severity = show_text(finding, "severity");
		if (strcmp(severity, "ok") == 0 || strcmp(severity, "info") == 0)
			continue;
		snprintf(wrong + strlen(wrong), sizeof(wrong) - strlen(wrong), "%s %s,",
			show_text(finding, "id"), severity);
		assert_true(*show_text(finding, "evidence") != '\0');
		assert_true(*show_text(finding, "remedy") != '\0');
	}
	return wrong;
}

// --- What the commands do.

static struct stack_link *link_named(struct doctor_mtu_facts *f, const char *name)
{
	struct stack_link *l = (struct stack_link *)stack_named(&f->stack, name);
	if (l == NULL)
		fail_msg("a command for %s, which is not there", name);
	return l;
}

// As flannel: a device is made anew when its interface or address is another one, and only then.
static void restart_flannel(struct doctor_mtu_facts *f)
{
	const struct stack_link *lan = stack_named(&f->stack, f->flannel_iface);
	struct stack_link *l = (struct stack_link *)stack_named(&f->stack, "flannel.1");
	if (l == NULL) {
		l = &f->stack.link[f->stack.n++];
		*l = (struct stack_link){
			.ifindex = FLANNEL, .name = "flannel.1", .kind = STACK_VXLAN};
	}
	if (lan == NULL)
		lan = stack_find(&f->stack, l->lower);
	assert_non_null(lan);
	if (l->lower != lan->ifindex)
		l->mtu = lan->mtu - 50;
	l->lower = lan->ifindex;
	l->local = lan->address[0].addr;
	f->flannel_mtu = lan->mtu - 50;
	f->env = DOCTOR_MTU_READ;
}

static void restart_all_pods(struct doctor_mtu_facts *f)
{
	for (unsigned i = 0; i < f->stack.n; i++)
		if (f->stack.link[i].master == CNI)
			f->stack.link[i].mtu = f->stack.link[i].peer_mtu =
				f->env == DOCTOR_MTU_READ ? f->flannel_mtu
							  : link_named(f, "cni0")->mtu;
}

static void run(struct doctor_mtu_facts *f, const char *command)
{
	char name[IFNAME_LEN];
	unsigned mtu;
	const char *iface = strstr(command, "flannel-iface: ");
	if (strncmp(command, "for ", 4) == 0 || strncmp(command, "sleep 30 ", 9) == 0 ||
		strcmp(command, "tailgate doctor mtu --verify") == 0)
		return;
	if (sscanf(command, "ip link set dev %15s mtu %u", name, &mtu) == 2)
		link_named(f, name)->mtu = mtu;
	else if (iface != NULL && sscanf(iface, "flannel-iface: %15[a-z0-9]", name) == 1) {
		memcpy(f->flannel_iface, name, sizeof(name));
		f->k3s = DOCTOR_MTU_READ;
	} else if (strncmp(command, "systemctl restart k3s", 21) == 0) {
		assert_string_equal(command + 21, f->agent ? "-agent" : "");
		restart_flannel(f);
	} else if (strcmp(command, restart_pods) == 0)
		restart_all_pods(f);
	else
		fail_msg("what does '%s' do?", command);
}

static void test_hosts(void **)
{
	static struct doctor_mtu_facts facts;
	for (unsigned i = 0; i < N(hosts); i++) {
		bool named = hosts[i].commands == NULL;
		size_t c;
		json_t *command, *report;
		fill(&facts, i);
		const char *wrong = wrong_of(&facts, &report);
		json_array_foreach(json_object_get(report, "commands"), c, command)
		{
			const char *text = json_string_value(command);
			if (hosts[i].commands == NULL)
				fail_msg("%s: %s", hosts[i].name, text);
			named |= strcmp(text, hosts[i].commands) == 0;
			run(&facts, text);
		}
		if (strcmp(wrong, hosts[i].wrong) != 0 || !named)
			fail_msg("%s: %s instead of %s%s", hosts[i].name, wrong, hosts[i].wrong,
				named ? "" : ", and the command is not there");
		json_decref(report);
		if (hosts[i].commands == NULL)
			continue;
		if (*wrong_of(&facts, &report) != '\0')
			fail_msg("%s: %s after its commands", hosts[i].name,
				wrong_of(&facts, &report));
		assert_int_equal(json_array_size(json_object_get(report, "commands")), 0);
		json_decref(report);
	}
}

static const json_t *finding_of(const json_t *report, const char *id)
{
	size_t k;
	json_t *finding;
	json_array_foreach(json_object_get(report, "findings"), k, finding)
	{
		if (strcmp(show_text(finding, "id"), id) == 0)
			return finding;
	}
	return NULL;
}

static unsigned host(const char *name)
{
	for (unsigned i = 0; i < N(hosts); i++)
		if (strcmp(hosts[i].name, name) == 0)
			return i;
	fail_msg("no host '%s'", name);
	return 0;
}

// The table of the feature list: 1150 bytes are 81 % of 1420, 1370 are 96 %.
static void test_figures(void **)
{
	static const struct {
		const char *host, *id, *text;
	} figures[] = {
		{"all is right", "F100", "eth0 (1500)"},
		{"all is right", "F101", "tailscale0 (1280)"},
		{"all is right", "F102", "flannel.1 (1450) on eth0 (1500): fits"},
		{"all is right", "F103", "cni0 (1450): fits"},
		{"all is right", "F104", "1 on cni0 (1450): fit"},
		{"all is right", "F105",
			"1370 bytes fit through a tunnel in a pod, 96.5 % of one on the LAN"},
		{"all is right", "F077",
			"1280-byte packets of a tailnet become 1360 bytes, pods take 1450"},
		{"flannel on the tailnet", "F105",
			"1150 bytes fit through a tunnel in a pod, 81.0 % of one on the LAN"},
		{"flannel on the tailnet", "F077",
			"1280-byte packets of a tailnet become 1360 bytes, pods take 1230: cut "
			"into 2"},
		{"flannel on the tailnet", "F082",
			"FLANNEL_MTU=1230 is degraded: on eth0 1450 fit"},
		{"flannel on the tailnet", "F102",
			"flannel.1 is degraded: an MTU of 1230, and on eth0 1450 fit"},
		{"flannel on the tailnet", "F103",
			"cni0 is degraded, as flannel.1: 1230 instead of 1450"},
		{"flannel on the tailnet", "F104",
			"1 of 1 on cni0 have another MTU than 1450: veth12ab 1230"},
		{"a pod older in itself only", "F098",
			"1 of 1 on cni0 have another MTU than 1450: veth12ab 1450 (in the pod "
			"1230)"},
		{"the LAN's address has changed", "F091",
			"flannel.1 sends from 192.168.1.99, which is no address of eth0"},
	};
	static struct doctor_mtu_facts facts;
	for (unsigned i = 0; i < N(figures); i++) {
		fill(&facts, host(figures[i].host));
		json_t *report = doctor_mtu_judge(&facts);
		const json_t *finding = finding_of(report, figures[i].id);
		const char *text = finding != NULL ? show_text(finding, "evidence") : "nothing";
		if (strcmp(text, figures[i].text) != 0)
			fail_msg(
				"%s: '%s' instead of '%s'", figures[i].host, text, figures[i].text);
		json_decref(report);
	}
}

// To be known, and no defect: the lease may be reserved.
static void test_leased(void **)
{
	static struct doctor_mtu_facts facts;
	static const struct {
		const char *name, *host;
		bool leased, v6, said;
	} cases[] = {
		{"by hand", "all is right", false, false, false},
		{"by DHCP", "all is right", true, false, true},
		{"IPv6, whose addresses have lifetimes anyway", "all is right", true, true, false},
		{"not below flannel", "a node of a tailnet", true, false, false},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		fill(&facts, host(cases[i].host));
		struct stack_address *a = &facts.stack.link[0].address[0];
		a->leased = cases[i].leased;
		if (cases[i].v6)
			a->addr.family = IP_V6;
		json_t *report = doctor_mtu_judge(&facts);
		const json_t *finding = finding_of(report, "F090");
		if ((finding != NULL) != cases[i].said)
			fail_msg("%s", cases[i].name);
		if (finding != NULL) {
			assert_string_equal(show_text(finding, "severity"), "info");
			assert_string_equal(show_text(finding, "evidence"),
				"192.168.1.7 on eth0 is leased (DHCP)");
		}
		assert_int_equal(json_array_size(json_object_get(report, "commands")), 0);
		json_decref(report);
	}
}

// All that is well or to be known goes, but for flannel's file, its bridge, the pods and proxies.
static void test_verified(void **)
{
	static struct doctor_mtu_facts facts;
	fill(&facts, host("all is right"));
	json_t *report = doctor_mtu_judge(&facts);
	doctor_mtu_keep_verified(report);
	const json_t *findings = json_object_get(report, "findings");
	assert_int_equal(json_array_size(findings), 3);
	assert_string_equal(show_text(json_array_get(findings, 0), "evidence"),
		"FLANNEL_MTU=1450, as flannel.1");
	assert_string_equal(show_text(json_array_get(findings, 1), "id"), "F103");
	assert_string_equal(show_text(json_array_get(findings, 2), "id"), "F104");
	assert_int_equal(show_worst_finding(findings), SHOW_OK);
	json_decref(report);

	facts.proxy[0] = 5; // of no pod here
	facts.proxy[1] = 0;
	facts.n_proxies = 2;
	report = doctor_mtu_judge(&facts);
	doctor_mtu_keep_verified(report);
	assert_string_equal(show_text(finding_of(report, "F099"), "evidence"),
		"1 of them run a tailscaled: veth12ab 1450");
	json_decref(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_figures),
		cmocka_unit_test(test_leased),
		cmocka_unit_test(test_verified),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
