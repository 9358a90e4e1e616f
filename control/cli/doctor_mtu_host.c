// The facts of this host: files, /proc and netlink. What is not there, or goes while it is read, is
// no error.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/cli/doctor_mtu.h"

// At most DOCTOR_MTU_FILE_MAX bytes of a regular file: length or -errno.
static ssize_t read_file(const char *root, const char *path, char *text)
{
	char full[PATH_MAX];
	struct stat st;
	size_t len = 0;
	ssize_t n = 1;
	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	while (len < DOCTOR_MTU_FILE_MAX && n > 0) {
		n = read(fd, text + len, DOCTOR_MTU_FILE_MAX - len);
		len += n > 0 ? n : 0;
	}
	int error = n < 0 ? -errno : 0;
	close(fd);
	return error < 0 ? error : (ssize_t)len;
}

static bool exists(const char *root, const char *path)
{
	char full[PATH_MAX];
	return snprintf(full, sizeof(full), "%s%s", root, path) < (int)sizeof(full) &&
	       access(full, F_OK) == 0;
}

static void keep_proxy(struct doctor_mtu_facts *f, const char *pid)
{
	uint32_t *netnsid = &f->proxy[f->n_proxies];
	if (f->n_proxies < DOCTOR_MTU_PROXIES_MAX &&
		stack_netnsid_of(strtoul(pid, NULL, 10), netnsid) == 0)
		f->n_proxies++;
}

// Processes of all pods are seen where there is no PID namespace between.
static void read_processes(const char *root, struct doctor_mtu_facts *f, char *text)
{
	char path[PATH_MAX];
	const struct dirent *entry;
	if (snprintf(path, sizeof(path), "%s/proc", root) >= (int)sizeof(path))
		return;
	DIR *dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
		ssize_t n = read_file(root, path, text);
		if (n > 0 && doctor_mtu_read_process(f, text, n))
			keep_proxy(f, entry->d_name);
	}
	if (dir != NULL)
		closedir(dir);
}

int doctor_mtu_read_files(const char *root, struct doctor_mtu_facts *f)
{
	static const char unit[] = "/etc/systemd/system/k3s-agent.service";
	char *text = malloc(DOCTOR_MTU_FILE_MAX);
	if (text == NULL)
		return -ENOMEM;
	ssize_t n = read_file(root, "/run/flannel/subnet.env", text);
	if (n >= 0)
		doctor_mtu_read_env(f, text, n);
	else
		f->env = n == -ENOENT ? DOCTOR_MTU_ABSENT : DOCTOR_MTU_BAD;
	n = read_file(root, "/etc/rancher/k3s/config.yaml", text);
	if (n >= 0)
		doctor_mtu_read_k3s(f, text, n);
	else
		f->k3s = n == -ENOENT ? DOCTOR_MTU_ABSENT : DOCTOR_MTU_BAD;
	f->agent = exists(root, unit);
	read_processes(root, f, text);
	free(text);
	return 0;
}

// Of our own network namespace, whatever the root is: as netlink's.
static int read_counts(struct doctor_mtu_counts *counts)
{
	static const char *const files[] = {"/proc/self/net/snmp", "/proc/self/net/snmp6"};
	char *text = malloc(DOCTOR_MTU_FILE_MAX);
	if (text == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		ssize_t n = read_file("", files[i], text);
		if (n > 0)
			doctor_mtu_read_counts(counts, text, n);
	}
	free(text);
	return 0;
}

static int collect(const char *root, struct doctor_mtu_facts *f)
{
	const struct timespec watch = {.tv_nsec = DOCTOR_MTU_WATCH_MS * 1000000};
	int error = stack_read(&f->before);
	if (error == 0)
		error = read_counts(&f->count_before);
	if (error == 0)
		nanosleep(&watch, NULL);
	if (error == 0)
		error = stack_read(&f->stack);
	if (error == 0)
		error = read_counts(&f->count);
	if (error == 0)
		error = doctor_mtu_read_files(root, f);
	return error;
}

int doctor_mtu_report(const char *root, json_t **report, char err[static CLI_ERROR_LEN])
{
	struct doctor_mtu_facts *f = calloc(1, sizeof(*f));
	int error = f != NULL ? collect(root, f) : -ENOMEM;
	*report = error == 0 ? doctor_mtu_judge(f) : NULL;
	free(f);
	if (error == 0 && *report == NULL)
		error = -ENOMEM;
	if (error < 0)
		snprintf(err, CLI_ERROR_LEN, "doctor mtu: cannot read this host's interfaces: %s",
			error == -EINTR ? "they keep changing; run it again" : strerror(-error));
	return error;
}
