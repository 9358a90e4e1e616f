// What the judgement of MTUs is read from: files, /proc and netlink's messages, most of them
// refused.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after the above, as cmocka asks
#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <stdalign.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/cli/doctor_mtu.h"

#define N(array) (sizeof(array) / sizeof(array[0]))

static void test_env(void **)
{
	static const struct {
		const char *text;
		unsigned mtu; // 0: refused
	} files[] = {
		{"FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n", 1450},
		{"FLANNEL_MTU=\"1230\"\n", 1230},
		{"FLANNEL_MTU=1230\r\nFLANNEL_MTU=1450\r\n", 1450},
		{"", 0},
		{"FLANNEL_MTU=\n", 0},
		{"FLANNEL_MTU=-1450\n", 0},
		{"FLANNEL_MTU=1450x\n", 0},
		{"FLANNEL_MTU=0x5aa\n", 0},
		{"FLANNEL_MTU=575\n", 0},
		{"FLANNEL_MTU=65536\n", 0},
		{"FLANNEL_MTU=99999999999999999999999\n", 0},
		{"XFLANNEL_MTU=1450\n", 0},
		{"#FLANNEL_MTU=1450\n", 0},
		{"FLANNEL_MTU=1450\nFLANNEL_MTU=$(id)\n", 0},
		{"FLANNEL_MTU=1450", 0},
		{"FLANNEL_MTU=1450\nFLANNEL_MTU=8950", 0},
	};
	static struct doctor_mtu_facts f;
	for (unsigned i = 0; i < N(files); i++) {
		doctor_mtu_read_env(&f, files[i].text, strlen(files[i].text));
		assert_int_equal(f.flannel_mtu, files[i].mtu);
		assert_int_equal(f.env, files[i].mtu != 0 ? DOCTOR_MTU_READ : DOCTOR_MTU_BAD);
	}
	doctor_mtu_read_env(&f, "FLANNEL_MTU=14\00050\n", 18);
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

// --- Files.

// As a shell does it, in a directory of its own.
static void in_root(const char *root, const char *script)
{
	char text[1024];
	snprintf(text, sizeof(text), "cd %s && %s", root, script);
	if (system(text) != 0)
		fail_msg("%s", text);
}

static void test_files(void **)
{
	static const struct {
		const char *name, *commands;
		enum doctor_mtu_file env, k3s;
		unsigned n_userspace;
		bool agent;
	} roots[] = {
		{"nothing", "true", DOCTOR_MTU_ABSENT, DOCTOR_MTU_ABSENT},
		{"all",
			"echo FLANNEL_MTU=1450 >env; echo flannel-iface: eth0 >k3s; "
			"printf 'tailscaled\\0--tun=userspace-networking\\0' >proc/7/cmdline",
			DOCTOR_MTU_READ, DOCTOR_MTU_READ, 1},
		{"an agent",
			"mkdir -p etc/systemd/system; touch etc/systemd/system/"
			"k3s-agent.service",
			DOCTOR_MTU_ABSENT, DOCTOR_MTU_ABSENT, 0, true},
		{"empty ones", "touch env k3s proc/7/cmdline", DOCTOR_MTU_BAD, DOCTOR_MTU_READ},
		{"half of one", "printf FLANNEL_MTU=145 >env", DOCTOR_MTU_BAD, DOCTOR_MTU_ABSENT},
		{"directories", "mkdir env k3s proc/7/cmdline", DOCTOR_MTU_BAD, DOCTOR_MTU_BAD},
		{"pipes", "mkfifo env k3s proc/7/cmdline", DOCTOR_MTU_BAD, DOCTOR_MTU_BAD},
		{"devices", "ln -s /dev/zero env; ln -s /dev/tty k3s", DOCTOR_MTU_BAD,
			DOCTOR_MTU_BAD},
		{"links to themselves", "ln -s env env; ln -s k3s k3s", DOCTOR_MTU_BAD,
			DOCTOR_MTU_BAD},
		{"links to what has gone", "ln -s gone env; ln -s gone k3s", DOCTOR_MTU_ABSENT,
			DOCTOR_MTU_ABSENT},
		{"large ones",
			"head -c 99999 /dev/zero >env; cp env k3s; cp env proc/7/cmdline; "
			"echo FLANNEL_MTU=1450 >>env",
			DOCTOR_MTU_BAD, DOCTOR_MTU_READ},
		{"no process", "rmdir proc/7; touch proc/8 proc/x", DOCTOR_MTU_ABSENT,
			DOCTOR_MTU_ABSENT},
		{"no processes", "rmdir proc/7 proc", DOCTOR_MTU_ABSENT, DOCTOR_MTU_ABSENT},
	};
	static struct doctor_mtu_facts f;
	for (unsigned i = 0; i < N(roots); i++) {
		char root[] = "/tmp/doctor_mtu.XXXXXX";
		assert_non_null(mkdtemp(root));
		in_root(root, "mkdir -p run/flannel etc/rancher/k3s proc/7; ln -s ../../env "
			      "run/flannel/subnet.env; ln -s ../../../k3s "
			      "etc/rancher/k3s/config.yaml");
		in_root(root, roots[i].commands);
		memset(&f, 0, sizeof(f));
		assert_int_equal(doctor_mtu_read_files(root, &f), 0);
		in_root(root, "rm -rf run etc proc env k3s");
		assert_int_equal(rmdir(root), 0);
		if (f.env != roots[i].env || f.k3s != roots[i].k3s ||
			f.n_userspace != roots[i].n_userspace || f.agent != roots[i].agent)
			fail_msg("%s: %u %u, %u processes", roots[i].name, f.env, f.k3s,
				f.n_userspace);
	}
}

static void test_processes(void **)
{
	static const struct {
		const char *text;
		size_t len;
		bool userspace, is_one;
	} processes[] = {
#define PROCESS(text, is, one) {text, sizeof(text) - 1, is, one}
		PROCESS("tailscaled\0--tun=userspace-networking\0", true, true),
		PROCESS("/usr/local/bin/tailscaled\0--statedir=/tmp\0-tun=userspace-networking\0",
			true, true),
		PROCESS("tailscaled\0--tun\0userspace-networking\0--x\0", true, true),
		PROCESS("", false, false),
		PROCESS("\0", false, false),
		PROCESS("tailscaled", false, false),
		PROCESS("tailscaled\0", false, true),
		PROCESS("tailscaled\0--tun=userspace-networking", false, true),
		PROCESS("tailscaled\0--tun\0", false, true),
		PROCESS("tailscaled\0--tun\0tailscale0\0", false, true),
		PROCESS("tailscaled\0--tun=tailscale0\0", false, true),
		PROCESS("tailscaled\0userspace-networking\0", false, true),
		PROCESS("tailscaled\0--tun\0--tun\0userspace-networking\0", false, true),
		PROCESS("tailscaled\0--tunnel=userspace-networking\0", false, true),
		PROCESS("tailscaled\0---tun=userspace-networking\0", false, true),
		PROCESS("tailscaled\0tun=userspace-networking\0", false, true),
		PROCESS("tailscaled\0--tun=userspace-networking2\0", false, true),
		PROCESS("grep\0tailscaled\0--tun=userspace-networking\0", false, false),
		PROCESS("tailscale\0--tun=userspace-networking\0", false, false),
		PROCESS("--tun\0userspace-networking\0", false, false),
		PROCESS("/\0--tun=userspace-networking\0", false, false),
	};
	static struct doctor_mtu_facts f;
	for (unsigned i = 0; i < N(processes); i++) {
		char *copy = malloc(processes[i].len + 1);
		memcpy(copy, processes[i].text, processes[i].len);
		f.n_userspace = 0;
		const bool is_one = doctor_mtu_read_process(&f, copy, processes[i].len);
		if (f.n_userspace != processes[i].userspace || is_one != processes[i].is_one)
			fail_msg("process %u: %u", i, f.n_userspace);
		free(copy);
	}
}

// --- Counters.

static void test_counts(void **)
{
	static const struct {
		const char *text;
		unsigned known; // bits
		uint64_t sent, again, cut;
	} files[] = {
		{"Ip: Forwarding FragFails FragCreates ReasmFails\nIp: 1 2 3 4\n"
		 "Tcp: MaxConn OutSegs RetransSegs\nTcp: -1 9 1\n",
			(1u << COUNTS) - 1, 9, 1, 3},
		{"Tcp: OutSegs RetransSegs\nTcp: 18446744073709551615 0\n",
			1u << COUNT_SENT | 1u << COUNT_SENT_AGAIN, UINT64_MAX, 0, 0},
		{"Ip6InReceives \t 1\nIp6FragCreates                  \t7\n", 1u << COUNT_CUT, 0, 0,
			7},
		{"Ip: FragCreates\nIp: 3\nIp6FragCreates 7\n", 1u << COUNT_CUT, 0, 0, 10},
		// Half-written, and what is like it.
		{"", 0, 0, 0, 0},
		{"\n\n\n", 0, 0, 0, 0},
		{"Tcp: OutSegs\nTcp: 9", 0, 0, 0, 0},
		{"Tcp: OutSegs\nTcp: \n", 0, 0, 0, 0},
		{"Tcp: OutSegs\n", 0, 0, 0, 0},
		{"Tcp: OutSegs", 0, 0, 0, 0},
		{"Tcp: A OutSegs\nTcp: 9\n", 0, 0, 0, 0},
		{"Tcp: OutSegs\nUdp: 9\n", 0, 0, 0, 0},
		{"Tcp: OutSegs\n\nTcp: 9\n", 0, 0, 0, 0},
		{"Tcp OutSegs\nTcp 9\n", 0, 0, 0, 0},
		{"Udp: OutSegs\nUdp: 9\n", 0, 0, 0, 0},
		{"Tcp: OutSegs\nTcp: -9\n", 0, 0, 0, 0},
		{"Tcp: OutSegs\nTcp: 9x\n", 0, 0, 0, 0},
		{"Tcp: OutSegs\nTcp: 18446744073709551616\n", 0, 0, 0, 0},
		{"Ip6FragCreates\n", 0, 0, 0, 0},
		{"Ip6FragCreates 7", 0, 0, 0, 0},
		{"OutSegs 9\nFragCreates 9\n", 0, 0, 0, 0},
	};
	for (unsigned i = 0; i < N(files); i++) {
		const size_t len = strlen(files[i].text);
		struct doctor_mtu_counts c = {};
		char *copy = malloc(len + 1);
		memcpy(copy, files[i].text, len);
		doctor_mtu_read_counts(&c, copy, len);
		if (c.known != files[i].known || c.value[COUNT_SENT] != files[i].sent ||
			c.value[COUNT_SENT_AGAIN] != files[i].again ||
			c.value[COUNT_CUT] != files[i].cut)
			fail_msg("%s: %x", files[i].text, c.known);
		free(copy);
	}
}

// --- Netlink.

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

static void test_link_counters(void **)
{
	const struct rtnl_link_stats64 stats = {.rx_packets = 1000, .rx_dropped = 7};
	const size_t least = offsetof(struct rtnl_link_stats64, rx_dropped) + 8;
	static const struct {
		size_t more;
		bool read;
	} cases[] = {{0, true}, {sizeof(stats) - 56, true}, {-1, false}, {-56, false}};
	for (unsigned i = 0; i < N(cases); i++) {
		static struct stack s;
		alignas(struct nlmsghdr) uint8_t bytes[1024] = {0};
		memset(&s, 0, sizeof(s));
		(void)make_link(bytes, "eth0");
		mnl_attr_put((struct nlmsghdr *)bytes, IFLA_STATS64, least + cases[i].more, &stats);
		assert_int_equal(stack_feed(&s, bytes, ((struct nlmsghdr *)bytes)->nlmsg_len), 0);
		assert_int_equal(s.n, 1);
		assert_int_equal(s.link[0].rx_packets, cases[i].read ? 1000 : 0);
		assert_int_equal(s.link[0].rx_dropped, cases[i].read ? 7 : 0);
	}
}

// What the kernel says of a pod's end of its interface.
static void test_peers(void **)
{
	static const struct {
		int error; // 0: the link
		uint32_t mtu;
		bool hidden;
	} answers[] = {{0, 1230, false}, {-ENODEV, 0, false}, {-EPERM, 0, true}, {-EINVAL, 0, true},
		{7, 0, true}};
	for (unsigned i = 0; i < N(answers); i++) {
		struct stack_link l = {};
		alignas(struct nlmsghdr) uint8_t bytes[1024] = {0};
		struct nlmsghdr *nh = (struct nlmsghdr *)bytes;
		if (answers[i].error == 0)
			(void)make_link(bytes, "eth0");
		else {
			mnl_nlmsg_put_header(bytes);
			nh->nlmsg_type = NLMSG_ERROR;
			struct nlmsgerr *e = mnl_nlmsg_put_extra_header(nh, sizeof(*e));
			e->error = answers[i].error;
		}
		const size_t len = nh->nlmsg_len;
		stack_feed_peer(&l, bytes, len);
		assert_int_equal(l.peer_mtu, answers[i].mtu);
		assert_int_equal(l.peer_hidden, answers[i].hidden);
		for (size_t cut = 0; cut < len; cut++) {
			uint8_t *copy = malloc(cut + 1);
			struct stack_link none = {};
			memcpy(copy, bytes, cut);
			stack_feed_peer(&none, copy, cut);
			assert_true(none.peer_mtu == 0 && !none.peer_hidden);
			free(copy);
		}
	}
}

static void test_peer_mtu(void **)
{
	static struct stack s = {.n = 2,
		.link = {{.ifindex = 1, .mtu = 1500, .lower = 2, .peer_mtu = 1230},
			{.ifindex = 2, .mtu = 1400}}};
	assert_int_equal(stack_peer_mtu(&s, &s.link[0]), 1400);
	s.link[0].lower_elsewhere = true; // 2 is another one there
	assert_int_equal(stack_peer_mtu(&s, &s.link[0]), 1230);
	assert_int_equal(stack_peer_mtu(&s, &s.link[1]), 0);
}

// The kernel's number for a process' namespace.
static void test_netnsid(void **)
{
	static const struct {
		uint16_t type;
		int32_t value; // of the attribute, or the error
		size_t len;    // of the attribute; 0: there is none
		int result;
	} answers[] = {
		{RTM_NEWNSID, 7, 4, 0},
		{RTM_NEWNSID, 0, 4, 0},
		{RTM_NEWNSID, -1, 4, -ENOENT},
		{RTM_NEWNSID, 7, 0, -ENOENT},
		{RTM_NEWLINK, 7, 4, -EPROTO},
		{NLMSG_ERROR, -ESRCH, 0, -ESRCH},
		{NLMSG_ERROR, 0, 0, -EPROTO},
	};
	for (unsigned i = 0; i < N(answers); i++) {
		uint32_t netnsid = 99;
		alignas(struct nlmsghdr) uint8_t bytes[256] = {0};
		struct nlmsghdr *nh = mnl_nlmsg_put_header(bytes);
		nh->nlmsg_type = answers[i].type;
		if (answers[i].type == NLMSG_ERROR) {
			struct nlmsgerr *e = mnl_nlmsg_put_extra_header(nh, sizeof(*e));
			e->error = answers[i].value;
		} else
			mnl_nlmsg_put_extra_header(nh, sizeof(struct rtgenmsg));
		if (answers[i].len > 0)
			mnl_attr_put(nh, NETNSA_NSID, answers[i].len, &answers[i].value);
		assert_int_equal(
			stack_feed_netnsid(bytes, nh->nlmsg_len, &netnsid), answers[i].result);
		if (answers[i].result == 0)
			assert_int_equal(netnsid, answers[i].value);
		for (size_t cut = 0; cut < nh->nlmsg_len; cut++)
			assert_int_equal(stack_feed_netnsid(bytes, cut, &netnsid), -EPROTO);
	}
}

// Links came or went while they were told of.
static void test_changed(void **)
{
	static struct stack s;
	alignas(struct nlmsghdr) uint8_t bytes[1024] = {0};
	size_t len = make_link(bytes, "eth0");
	((struct nlmsghdr *)bytes)->nlmsg_flags |= NLM_F_DUMP_INTR;
	assert_int_equal(stack_feed(&s, bytes, len), -EINTR);
	assert_int_equal(s.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_k3s),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_link_counters),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_peer_mtu),
		cmocka_unit_test(test_netnsid),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_odd_names),
		cmocka_unit_test(test_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
