#include "control/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAP(c) (UINT64_C(1) << (c))

// TUN, packet sockets, netlink, nftables; priorities and locked memory of DPDK; the socket's owner.
static const uint64_t kept = CAP(CAP_NET_ADMIN) | CAP(CAP_NET_RAW) | CAP(CAP_NET_BIND_SERVICE) |
			     CAP(CAP_IPC_LOCK) | CAP(CAP_SYS_NICE) | CAP(CAP_SETUID) |
			     CAP(CAP_SETGID) | CAP(CAP_CHOWN) | CAP(CAP_SETPCAP);
// VFIO, physical addresses, AF_XDP's program.
static const uint64_t kept_owned = CAP(CAP_SYS_ADMIN) | CAP(CAP_SYS_RAWIO) | CAP(CAP_BPF) |
				   CAP(CAP_PERFMON) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_SYS_RESOURCE);

static int set_capabilities(uint64_t caps)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2], now[2];
	if (syscall(SYS_capget, &head, now) < 0)
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t word = (uint32_t)(caps >> (32 * i)) & now[i].permitted;
		data[i] = (struct __user_cap_data_struct){.effective = word, .permitted = word};
	}
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

int privileges_limit(bool owned)
{
	uint64_t caps = kept | (owned ? kept_owned : 0);
	if (geteuid() != 0)
		return -EPERM;
	for (unsigned c = 0; c <= CAP_LAST_CAP; c++) {
		if (!(caps & CAP(c)) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EINVAL)
			return -errno;
	}
	// A change of user later keeps what every thread has.
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS, 0, 0, 0) < 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return set_capabilities(caps);
}

int privileges_user(const char *user)
{
	if (!user[0])
		return 0;
	const struct passwd *pw = getpwnam(user);
	if (!pw)
		return -ENOENT;
	// glibc makes all threads follow.
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
		setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return -errno;
	return 0;
}
