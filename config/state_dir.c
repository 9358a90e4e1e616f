#include "config/state_dir.h"

#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	NAME_LEN = 64,
	PATH_LEN = 1024,
};

struct who {
	uid_t uid;
	gid_t gid;
	char name[NAME_LEN];
};

static int say(char why[static STATE_DIR_WHY_LEN], int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int say(char why[static STATE_DIR_WHY_LEN], int error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why, STATE_DIR_WHY_LEN, format, args);
	va_end(args);
	return error;
}

static void name_of(uid_t uid, char out[static NAME_LEN])
{
	const struct passwd *entry = getpwuid(uid);
	if (entry != NULL)
		snprintf(out, NAME_LEN, "%s", entry->pw_name);
	else
		snprintf(out, NAME_LEN, "user %u", (unsigned)uid);
}

static int find_user(const char *user, struct who *out, char why[static STATE_DIR_WHY_LEN])
{
	if (*user == '\0') {
		*out = (struct who){.uid = geteuid(), .gid = getegid()};
		name_of(out->uid, out->name);
		return 0;
	}
	const struct passwd *entry = getpwnam(user);
	if (entry == NULL)
		return say(why, -ENOENT, "user '%.60s' does not exist: adduser --system %.60s",
			user, user);
	*out = (struct who){.uid = entry->pw_uid, .gid = entry->pw_gid};
	snprintf(out->name, sizeof(out->name), "%s", user);
	return 0;
}

// Without its further groups, which are as good as never those of a folder for state.
static bool may_make_in(const struct stat *parent, const struct who *who)
{
	mode_t wanted = S_IWOTH | S_IXOTH;
	if (parent->st_uid == who->uid)
		wanted = S_IWUSR | S_IXUSR;
	else if (parent->st_gid == who->gid)
		wanted = S_IWGRP | S_IXGRP;
	return (parent->st_mode & wanted) == wanted;
}

static int check_parent(const char *dir, const struct who *who, char why[static STATE_DIR_WHY_LEN])
{
	char copy[PATH_LEN];
	struct stat st;
	snprintf(copy, sizeof(copy), "%s", dir);
	const char *parent = dirname(copy);
	if (stat(parent, &st) < 0)
		return errno == ENOENT
			       ? say(why, -ENOENT,
					 "%.150s does not exist, nor does the folder it is to "
					 "be in: install -d -m 700 -o %.60s %.150s",
					 dir, who->name, dir)
			       : 0;
	if (may_make_in(&st, who))
		return 0;
	return say(why, -EACCES,
		"%.150s does not exist, and %.60s may not make it: install -d -m 700 -o %.60s "
		"%.150s",
		dir, who->name, who->name, dir);
}

int state_dir_check(const char *dir, const char *user, char why[static STATE_DIR_WHY_LEN])
{
	struct who who;
	struct stat st;
	char owner[NAME_LEN];
	int error = find_user(user, &who, why);
	if (error < 0)
		return error;
	if (stat(dir, &st) < 0)
		return errno == ENOENT ? check_parent(dir, &who, why) : 0;
	if (!S_ISDIR(st.st_mode))
		return say(why, -ENOTDIR, "%.200s is no directory: move it away", dir);
	if (st.st_uid != who.uid) {
		name_of(st.st_uid, owner);
		return say(why, -EACCES,
			"%.150s belongs to %.60s, but the daemon runs as %.60s: chown -R "
			"%.60s %.150s",
			dir, owner, who.name, who.name, dir);
	}
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return say(why, -EACCES, "others than %.60s may write to %.200s: chmod 700 %.200s",
			who.name, dir, dir);
	return 0;
}
