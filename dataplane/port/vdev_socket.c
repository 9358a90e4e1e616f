#include "dataplane/port/vdev_socket.h"

#include <errno.h>
#include <rte_kvargs.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dataplane/base/log.h"

// drivers/net/memif/rte_eth_memif.c, drivers/net/vhost/rte_eth_vhost.c
static const struct driver {
	const char *name, *path; // prefix of the device, the key that names the file
	const char *otherwise;	 // the file, where no key does; NULL: none
	int type;
	const char *role, *client; // key and value of one that connects; else it listens
	const char *abstract;	   // key that has to be "no", for there to be a file; NULL: none
} drivers[] = {
	{"net_memif", "socket", "/run/memif.sock", SOCK_SEQPACKET, "role", "client",
		"socket-abstract"},
	{"net_vhost", "iface", NULL, SOCK_STREAM, "client", "1", NULL},
	{"eth_vhost", "iface", NULL, SOCK_STREAM, "client", "1", NULL},
};

static const struct driver *driver_of(const char *device)
{
	for (unsigned i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (strncmp(device, drivers[i].name, strlen(drivers[i].name)) == 0)
			return &drivers[i];
	}
	return NULL;
}

static bool has(const struct rte_kvargs *args, const char *key, const char *value)
{
	const char *v = rte_kvargs_get(args, key);
	return v != NULL && strcmp(v, value) == 0;
}

// A socket's file at which nobody listens.
static bool is_left(const char *path, int type)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct stat st;
	if (strlen(path) >= sizeof(to.sun_path) || lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	strcpy(to.sun_path, path);
	const int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	const bool refused =
		connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

static bool clear(const struct driver *d, const struct rte_kvargs *args)
{
	const char *path = rte_kvargs_get(args, d->path);
	if (path == NULL)
		path = d->otherwise;
	if (path == NULL || has(args, d->role, d->client) ||
		(d->abstract != NULL && !has(args, d->abstract, "no")) || !is_left(path, d->type))
		return false;
	if (unlink(path) < 0) {
		log_warn("port", "%s of a process that is gone: %s; remove it", path,
			strerror(errno));
		return false;
	}
	log_info("port", "%s of a process that is gone: removed", path);
	return true;
}

bool vdev_socket_clear(const char *device)
{
	const struct driver *d = driver_of(device);
	const char *comma = strchr(device, ',');
	if (d == NULL || (comma == NULL && d->otherwise == NULL))
		return false;
	struct rte_kvargs *args = rte_kvargs_parse(comma != NULL ? comma + 1 : "", NULL);
	if (args == NULL)
		return false;
	const bool cleared = clear(d, args);
	rte_kvargs_free(args);
	return cleared;
}
