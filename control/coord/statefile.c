#include "control/coord/statefile.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	OTHERS = 077, // bits of a mode
	NAME_MAX_LEN = 32,
};

static int write_all(int fd, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len) {
		const ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

// The new file complete and on the disk, under a name that nobody reads.
static int temporary_write(
	int dir, const char *name, const char *header, const void *bytes, size_t len)
{
	if (unlinkat(dir, name, 0) && errno != ENOENT) // of a write that was killed
		return -errno;
	const int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int error = write_all(fd, header, strlen(header));
	if (!error)
		error = write_all(fd, bytes, len);
	if (!error && fsync(fd))
		error = -errno;
	if (close(fd) && !error)
		error = -errno;
	if (error)
		unlinkat(dir, name, 0);
	return error;
}

int statefile_write(
	const char *path, const char *name, const char *header, const void *bytes, size_t len)
{
	char temporary[NAME_MAX_LEN + 8];
	const int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	snprintf(temporary, sizeof(temporary), ".%.*s.new", NAME_MAX_LEN, name);
	int error = temporary_write(dir, temporary, header, bytes, len);
	if (!error && renameat(dir, temporary, dir, name))
		error = -errno;
	if (!error && fsync(dir)) // or the name is lost with the power
		error = -errno;
	close(dir);
	return error;
}

static int read_all(int fd, size_t max, char **bytes, size_t *len)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_mode & OTHERS || st.st_uid != geteuid())
		return -EACCES;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	const size_t size = (size_t)st.st_size;
	*bytes = malloc(size + 1);
	if (!*bytes)
		return -ENOMEM;
	*len = 0;
	while (*len < size) {
		const ssize_t n = read(fd, *bytes + *len, size - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		*len += (size_t)n;
	}
	(*bytes)[*len] = '\0';
	return 0;
}

int statefile_read(const char *path, const char *name, size_t max, char **out, size_t *out_len)
{
	char *bytes = NULL;
	size_t len = 0;
	const int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	const int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	const int error = fd < 0 ? -errno : read_all(fd, max, &bytes, &len);
	if (fd >= 0)
		close(fd);
	close(dir);
	if (error) {
		if (bytes)
			sodium_memzero(bytes, len);
		free(bytes);
		return error == -ELOOP ? -EACCES : error;
	}
	*out = bytes;
	*out_len = len;
	return 0;
}

int statefile_remove(const char *path, const char *name)
{
	const int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOENT ? 0 : -errno;
	int error = unlinkat(dir, name, 0) && errno != ENOENT ? -errno : 0;
	if (!error && fsync(dir))
		error = -errno;
	close(dir);
	return error;
}
