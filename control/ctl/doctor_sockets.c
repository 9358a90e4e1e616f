// Sockets of other programs, as /proc tells of them.
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/ctl/doctor.h"

enum {
	STATE_LISTEN = 10, // include/net/tcp_states.h
	STATE_UNCONNECTED = 7,
};

static bool has_socket(const char *pid, unsigned long inode)
{
	char path[300], target[64], wanted[64];
	bool found = false;
	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir != NULL && !found && (e = readdir(dir)) != NULL;) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		found = strcmp(target, wanted) == 0;
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

static void name_process(const char *pid, char out[static DOCTOR_NAME_LEN])
{
	char path[64], name[32] = "";
	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	FILE *f = fopen(path, "re");
	if (f != NULL && fgets(name, sizeof(name), f) != NULL)
		name[strcspn(name, "\n")] = '\0';
	if (f != NULL)
		fclose(f);
	snprintf(out, DOCTOR_NAME_LEN, "%s (process %.20s)", name, pid);
}

void doctor_socket_user(unsigned long inode, char out[static DOCTOR_NAME_LEN])
{
	DIR *dir = opendir("/proc");
	for (struct dirent *e; dir != NULL && out[0] == '\0' && (e = readdir(dir)) != NULL;)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && has_socket(e->d_name, inode))
			name_process(e->d_name, out);
	if (dir != NULL)
		closedir(dir);
}

// Words of 32 bits in this machine's order, which is little-endian: 127.0.0.1, ::1.
static bool is_loopback(const char *address)
{
	static const char v6[] = "00000000000000000000000001000000";
	const size_t n = strlen(address);
	return n == 8 ? strcmp(address + 6, "7F") == 0 : strcmp(address, v6) == 0;
}

bool doctor_socket_read(const char *line, bool tcp, struct doctor_socket_line *out)
{
	char address[33];
	unsigned port, remote_port, state;
	unsigned long inode;
	if (sscanf(line, " %*u: %32[0-9A-F]:%x %*[0-9A-F]:%x %x %*s %*s %*s %*u %*u %lu", address,
		    &port, &remote_port, &state, &inode) != 5 ||
		port > UINT16_MAX || (strlen(address) != 8 && strlen(address) != 32))
		return false;
	*out = (struct doctor_socket_line){
		.port = (uint16_t)port,
		.tcp = tcp,
		.listens = tcp ? state == STATE_LISTEN
			       : state == STATE_UNCONNECTED && remote_port == 0,
		.loopback = is_loopback(address),
		.inode = inode,
	};
	return true;
}

bool doctor_ports_hold(const char *list, uint16_t first, uint16_t last)
{
	unsigned wanted = first, a, b;
	int n;
	// The kernel keeps the list in order, and what touches in one.
	for (; sscanf(list, " %u%n", &a, &n) == 1; list += *list == ',') {
		list += n;
		b = a;
		if (sscanf(list, "-%u%n", &b, &n) == 1)
			list += n;
		if (a <= wanted && b >= wanted)
			wanted = b + 1;
		if (wanted > last)
			return true;
	}
	return false;
}
