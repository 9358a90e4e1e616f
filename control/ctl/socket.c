#include "control/ctl/socket.h"

#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	CTL_BACKLOG = 16,
	CTL_MODE = 0666, // who may do what is asked of each request
	CTL_GROUPS_MAX = 1024,
};

static int make_folder(const char *path, char err[static CTL_ERROR_LEN])
{
	char copy[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	snprintf(copy, sizeof(copy), "%s", path);
	const char *folder = dirname(copy);
	if (mkdir(folder, 0755) == 0 || errno == EEXIST)
		return 0;
	int error = -errno;
	snprintf(err, CTL_ERROR_LEN, "cannot make folder %s for the socket: %s", folder,
		strerror(-error));
	return error;
}

// Make room for our socket where nobody listens any more. 0 or -errno.
static int remove_stale(int fd, const struct sockaddr_un *address, char err[static CTL_ERROR_LEN])
{
	struct stat st;
	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(err, CTL_ERROR_LEN, "%s exists and is no socket: move it away",
			address->sun_path);
		return -EEXIST;
	}
	// EAGAIN: its backlog is full, so somebody has it.
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
		errno != ECONNREFUSED) {
		snprintf(err, CTL_ERROR_LEN,
			"another tailgated answers on %s: stop it first, or name another socket",
			address->sun_path);
		return -EADDRINUSE;
	}
	return unlink(address->sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int set_owner(const char *path, const char *user, char err[static CTL_ERROR_LEN])
{
	if (user == NULL || *user == '\0')
		return 0;
	const struct passwd *entry = getpwnam(user);
	if (entry == NULL) {
		snprintf(err, CTL_ERROR_LEN, "user '%s' does not exist", user);
		return -ENOENT;
	}
	// It stays root's, so that a later start, which has no power over others' files, finds out
	// whether somebody listens.
	return chown(path, (uid_t)-1, entry->pw_gid) == 0 ? 0 : -errno;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address)
{
	// With the mode from the start, whatever the umask is.
	mode_t before = umask(0777 & ~CTL_MODE);
	int failed = bind(fd, (const struct sockaddr *)address, sizeof(*address));
	umask(before);
	if (failed || listen(fd, CTL_BACKLOG) < 0)
		return -errno;
	return 0;
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

int ctl_socket_listen(const char *path, const char *user, char err[static CTL_ERROR_LEN])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (*path == '\0' || strlen(path) >= sizeof(address.sun_path)) {
		snprintf(err, CTL_ERROR_LEN, "the socket's path must have 1 to %zu characters",
			sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	*err = '\0';

	int error = make_folder(path, err), fd = -1, probe = -1;
	if (error == 0)
		error = probe = new_socket();
	if (error >= 0)
		error = remove_stale(probe, &address, err);
	if (error == 0)
		error = fd = new_socket();
	if (error >= 0)
		error = bind_and_listen(fd, &address);
	if (error == 0)
		error = set_owner(path, user, err);
	if (probe >= 0)
		close(probe);
	if (error == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	if (*err == '\0')
		snprintf(err, CTL_ERROR_LEN, "cannot listen on %s: %s", path, strerror(-error));
	return error;
}

int ctl_socket_peer(int fd, struct ucred *out)
{
	socklen_t len = sizeof(*out);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, out, &len) == 0 ? 0 : -errno;
}

bool ctl_socket_peer_manages(int fd, gid_t group)
{
	gid_t groups[CTL_GROUPS_MAX];
	socklen_t len = sizeof(groups);
	struct ucred peer;
	if (ctl_socket_peer(fd, &peer) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == group)
		return true;
	// The others of its groups, as they were when it connected.
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (unsigned i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}
