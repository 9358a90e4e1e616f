// What flannel and k3s say in their files, and the facts of this host.
#include "control/cli/doctor_mtu.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/wire/ledger.h"

// The next line without its end, in line; false: no further. What is too long or has a zero in it
// stands as an empty line.
static bool next_line(const char **at, const char *end, char line[static DOCTOR_MTU_LINE_MAX])
{
	if (*at == end)
		return false;
	const char *stop = memchr(*at, '\n', end - *at);
	size_t len = (stop != NULL ? stop : end) - *at;
	const char *start = *at;
	*at = stop != NULL ? stop + 1 : end;
	if (len > 0 && start[len - 1] == '\r')
		len--;
	if (len >= DOCTOR_MTU_LINE_MAX || memchr(start, '\0', len) != NULL)
		len = 0;
	memcpy(line, start, len);
	line[len] = '\0';
	return true;
}

// Without spaces at both ends and one pair of quotes, in place.
static char *bare(char *text)
{
	text += strspn(text, " \t");
	size_t len = strlen(text);
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	if (len >= 2 && (text[0] == '"' || text[0] == '\'') && text[len - 1] == text[0]) {
		text++;
		len -= 2;
	}
	text[len] = '\0';
	return text;
}

// An MTU in decimal; 0: none.
static uint16_t read_mtu(const char *text)
{
	unsigned long value = 0;
	if (*text == '\0')
		return 0;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || value > UINT16_MAX)
			return 0;
		value = value * 10 + (*text - '0');
	}
	return value >= LEDGER_MTU_MIN4 && value <= UINT16_MAX ? value : 0;
}

void doctor_mtu_read_env(struct doctor_mtu_facts *f, const char *text, size_t len)
{
	static const char key[] = "FLANNEL_MTU=";
	char line[DOCTOR_MTU_LINE_MAX];
	const char *at = text, *end = text + len;
	f->flannel_mtu = 0;
	while (next_line(&at, end, line))
		if (strncmp(line, key, sizeof(key) - 1) == 0)
			f->flannel_mtu = read_mtu(bare(line + sizeof(key) - 1));
	f->env = f->flannel_mtu != 0 ? DOCTOR_MTU_READ : DOCTOR_MTU_BAD;
}

// The value of "key: value  # comment"; NULL: another line.
static char *yaml_value(char *line, const char *key)
{
	const size_t len = strlen(key);
	if (strncmp(line, key, len) != 0 || line[len] != ':' ||
		(line[len + 1] != '\0' && line[len + 1] != ' ' && line[len + 1] != '\t'))
		return NULL;
	char *value = line + len + 1;
	for (char *c = value; *c != '\0'; c++)
		if (*c == '#' && (c[-1] == ' ' || c[-1] == '\t')) {
			*c = '\0';
			break;
		}
	return bare(value);
}

// false: it is no address, or a list in several lines.
static bool read_node_ip(struct doctor_mtu_facts *f, char *value)
{
	value[strcspn(value, ",")] = '\0';
	return ip_addr_parse(value, &f->node_ip) == 0;
}

void doctor_mtu_read_k3s(struct doctor_mtu_facts *f, const char *text, size_t len)
{
	char line[DOCTOR_MTU_LINE_MAX], *value;
	const char *at = text, *end = text + len;
	unsigned n_iface = 0, n_ip = 0;
	bool good = true;
	f->flannel_iface[0] = '\0';
	f->node_ip = (struct ip_addr){.family = IP_NONE};
	while (next_line(&at, end, line)) {
		if ((value = yaml_value(line, "flannel-iface")) != NULL) {
			good &= n_iface++ == 0 && stack_is_plain_name(value);
			if (good)
				memcpy(f->flannel_iface, value, strlen(value) + 1);
		} else if ((value = yaml_value(line, "node-ip")) != NULL)
			good &= n_ip++ == 0 && read_node_ip(f, value);
	}
	f->k3s = good ? DOCTOR_MTU_READ : DOCTOR_MTU_BAD;
	if (good)
		return;
	f->flannel_iface[0] = '\0';
	f->node_ip = (struct ip_addr){.family = IP_NONE};
}

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

static int collect(const char *root, struct doctor_mtu_facts *f)
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
	free(text);
	return stack_read(&f->stack);
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
			strerror(-error));
	return error;
}
