#include "control/dns/osconf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/dns/resolved.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"

// The first line of what we write: by it we know our own.
#define MARK "# Written by tailgated"
#define SERVICE_V4 "100.100.100.100"
#define SERVICE_V6 "fd7a:115c:a1e0::53"

enum { PATH_LEN = 1200 };

struct osconf { // ctl only
	struct osconf_params params;
	char file[PATH_LEN], copy[PATH_LEN], link[PATH_LEN], fresh[PATH_LEN];
	struct osconf_file base;
	struct resolved *resolved;
	bool want;
	uint32_t ifindex;
	char search[OSCONF_SEARCH_MAX][256];
	unsigned n_search;
	struct timespec seen; // of the file, when it was last read
	off_t seen_size;
	enum osconf_how how;
	char why[OSCONF_TEXT_LEN];
};

// -- reading --------------------------------------------------------------------------------------

static void add_server(struct osconf_file *f, const char *word)
{
	struct ip_addr a;
	char plain[OSCONF_SERVER_LEN];

	snprintf(plain, sizeof(plain), "%s", word);
	plain[strcspn(plain, "%")] = '\0'; // a zone
	if (strlen(word) >= OSCONF_SERVER_LEN || ip_addr_parse(plain, &a) < 0)
		return;
	f->resolved |= strcmp(word, "127.0.0.53") == 0;
	// Never ourselves, whoever wrote it.
	if (strcmp(word, SERVICE_V4) == 0 || strcmp(word, SERVICE_V6) == 0 ||
		f->n_servers == OSCONF_SERVERS_MAX)
		return;
	snprintf(f->servers[f->n_servers++], OSCONF_SERVER_LEN, "%s", plain);
}

static void add_search(struct osconf_file *f, const char *word)
{
	if (strlen(word) < sizeof(f->search[0]) && f->n_search < OSCONF_SEARCH_MAX)
		snprintf(f->search[f->n_search++], sizeof(f->search[0]), "%s", word);
}

static void read_line(struct osconf_file *f, char *line)
{
	char *at, *word = strtok_r(line, " \t\r", &at);
	const bool server = word && strcmp(word, "nameserver") == 0;
	const bool search = word && (strcmp(word, "search") == 0 || strcmp(word, "domain") == 0);

	if (search)
		f->n_search = 0; // the last line counts
	while ((server || search) && (word = strtok_r(NULL, " \t\r", &at))) {
		if (word[0] == '#' || word[0] == ';')
			return;
		if (server) {
			add_server(f, word);
			return;
		}
		add_search(f, word);
	}
}

void osconf_read(const char *text, size_t len, struct osconf_file *out)
{
	const char *end = text + len;

	*out = (struct osconf_file){
		.ours = len >= strlen(MARK) && memcmp(text, MARK, strlen(MARK)) == 0};
	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		const size_t n = (size_t)((stop ? stop : end) - text);
		char line[1024];
		if (n < sizeof(line) && !memchr(text, '\0', n)) {
			memcpy(line, text, n);
			line[n] = '\0';
			read_line(out, line);
		}
		text += n + 1;
	}
}

// The whole of a file, to be freed. NULL with errno.
static char *slurp(const char *path, size_t *len)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = fd < 0 ? NULL : mem_alloc(OSCONF_FILE_MAX);
	ssize_t n = 0;

	*len = 0;
	while (text && *len < OSCONF_FILE_MAX &&
		(n = read(fd, text + *len, OSCONF_FILE_MAX - *len)) > 0)
		*len += (size_t)n;
	if (text && n < 0) {
		free(text);
		text = NULL;
	}
	const int error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return text;
}

static bool read_file(const char *path, struct osconf_file *out)
{
	size_t len;
	char *text = slurp(path, &len);

	osconf_read(text ? text : "", len, out);
	free(text);
	return text != NULL;
}

// -- writing --------------------------------------------------------------------------------------

static int write_at(const char *path, int flags, const char *text, size_t len)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
	int error = fd < 0 ? -errno : 0;

	if (!error && fchmod(fd, 0644) < 0 && errno != EPERM)
		error = -errno;
	if (!error && write(fd, text, len) != (ssize_t)len)
		error = errno ? -errno : -EIO;
	if (!error && fsync(fd) < 0 && errno != EINVAL)
		error = -errno;
	if (fd >= 0)
		close(fd);
	return error;
}

// As a whole; where the file is a mount or its folder cannot be written to, in place.
static int replace(struct osconf *o, const char *text, size_t len)
{
	int error = write_at(o->fresh, O_CREAT | O_TRUNC | O_NOFOLLOW, text, len);

	if (!error && rename(o->fresh, o->file) < 0)
		error = -errno;
	if (!error)
		return 0;
	unlink(o->fresh);
	return write_at(o->file, O_CREAT | O_TRUNC, text, len);
}

static int write_ours(struct osconf *o)
{
	char text[8192];
	int n = snprintf(text, sizeof(text),
		MARK ", which answers by the tailnet's DNS (--accept-dns). What was here comes "
		     "back\n# when it stops; it is kept in %s.\n\nnameserver " SERVICE_V4 "\n",
		o->copy);
	bool first = true;

	// Those of the tailnet, then the machine's own.
	for (unsigned i = 0; i < o->n_search + o->base.n_search; i++) {
		const char *s = i < o->n_search ? o->search[i] : o->base.search[i - o->n_search];
		if ((size_t)n + strlen(s) + 16 >= sizeof(text))
			break;
		n += snprintf(
			text + n, sizeof(text) - (size_t)n, "%s%s", first ? "search " : " ", s);
		first = false;
	}
	if (!first)
		text[n++] = '\n';
	return replace(o, text, (size_t)n);
}

static void note_time(struct osconf *o)
{
	struct stat st;

	o->seen = (struct timespec){0};
	o->seen_size = 0;
	if (stat(o->file, &st) < 0)
		return;
	o->seen = st.st_mtim;
	o->seen_size = st.st_size;
}

// The file of before goes aside, into a folder that is ours.
static int keep(struct osconf *o)
{
	char to[PATH_LEN];
	size_t len;
	char *text = slurp(o->file, &len);
	int error = text ? 0 : -errno;

	unlink(o->link);
	if (error == -ENOENT) { // there was none
		unlink(o->copy);
		return 0;
	}
	if (!error)
		error = write_at(o->copy, O_CREAT | O_TRUNC | O_NOFOLLOW, text, len);
	free(text);
	const ssize_t n = readlink(o->file, to, sizeof(to) - 1);
	if (n > 0) {
		to[n] = '\0';
		if (symlink(to, o->link) < 0 && !error)
			error = -errno;
	}
	return error;
}

// A link becomes one again where it was replaced.
static int put_link(struct osconf *o)
{
	char to[PATH_LEN];
	struct stat st;
	const ssize_t n = readlink(o->link, to, sizeof(to) - 1);

	if (n <= 0)
		return -ENOENT;
	to[n] = '\0';
	if (lstat(o->file, &st) == 0 && S_ISLNK(st.st_mode))
		return -ENOENT; // it was written through
	unlink(o->fresh);
	if (symlink(to, o->fresh) < 0)
		return -errno;
	if (rename(o->fresh, o->file) == 0)
		return 0;
	const int error = -errno;
	unlink(o->fresh);
	return error;
}

static void restore(struct osconf *o)
{
	struct osconf_file now;
	size_t len;
	int error = 0;

	if (read_file(o->file, &now) && now.ours) {
		char *text = slurp(o->copy, &len);
		if (!text && unlink(o->file) < 0)
			error = -errno;
		else if (text && put_link(o) < 0)
			error = replace(o, text, len);
		free(text);
	}
	if (error) {
		log_error("dns", "%s cannot be restored: %s; what it was is in %s", o->file,
			strerror(-error), o->copy);
		return;
	}
	unlink(o->copy);
	unlink(o->link);
	note_time(o);
}

// -- what the machine has -------------------------------------------------------------------------

static void read_base(struct osconf *o)
{
	struct osconf_file now, before = o->base;

	read_file(o->file, &now);
	note_time(o);
	if (now.ours)
		return;
	o->base = now;
	if (now.resolved && read_file(o->params.resolved, &now)) {
		memcpy(o->base.servers, now.servers, sizeof(now.servers));
		o->base.n_servers = now.n_servers;
	}
	if (memcmp(&before, &o->base, sizeof(before)) != 0)
		o->params.changed(o->params.arg);
}

static void set_how(struct osconf *o, enum osconf_how how, const char *why)
{
	o->how = how;
	snprintf(o->why, sizeof(o->why), "%s", why);
	if (why[0])
		log_warn("dns", "%s", why);
}

static void take_file(struct osconf *o)
{
	char why[OSCONF_TEXT_LEN];
	struct osconf_file now;
	int error = 0;

	if (!read_file(o->file, &now) || !now.ours)
		error = keep(o);
	if (!error)
		error = write_ours(o);
	note_time(o);
	if (!error) {
		if (o->how != OSCONF_FILE)
			log_info("dns", "%.200s asks us now (--accept-dns)", o->file);
		set_how(o, OSCONF_FILE, "");
		return;
	}
	snprintf(why, sizeof(why),
		"%.120s cannot be written (%s): the machine does not use the tailnet's names; "
		"put 'nameserver " SERVICE_V4 "' there, or set --accept-dns=false",
		o->file, strerror(-error));
	set_how(o, OSCONF_FAILED, why);
}

static void on_resolved(void *arg, const char *why)
{
	struct osconf *o = arg;
	char line[OSCONF_TEXT_LEN], tun[IF_NAMESIZE] = "tailgate0";

	if_indextoname(o->ifindex, tun); // it may have gone
	if (why[0])
		snprintf(line, sizeof(line),
			"systemd-resolved manages resolv.conf and refuses (%.120s): run "
			"'resolvectl dns %s " SERVICE_V4 "', or set --accept-dns=false",
			why, tun);
	set_how(o, why[0] ? OSCONF_FAILED : OSCONF_RESOLVED, why[0] ? line : "");
}

static void take(struct osconf *o)
{
	const char *search[OSCONF_SEARCH_MAX];

	if (!o->base.resolved) {
		take_file(o);
		return;
	}
	for (unsigned i = 0; i < o->n_search; i++)
		search[i] = o->search[i];
	resolved_end(o->resolved);
	o->resolved =
		resolved_tell(o->params.base, o->ifindex, search, o->n_search, on_resolved, o);
}

static void let_go(struct osconf *o)
{
	if (o->how == OSCONF_FILE)
		restore(o);
	if (o->how == OSCONF_RESOLVED)
		resolved_revert(o->resolved, o->ifindex);
	resolved_end(o->resolved);
	o->resolved = NULL;
	set_how(o, OSCONF_OFF, "");
}

void osconf_set(
	struct osconf *o, bool want, uint32_t ifindex, const char *const *search, unsigned n)
{
	char list[OSCONF_SEARCH_MAX][256] = {0};

	n = n < OSCONF_SEARCH_MAX ? n : OSCONF_SEARCH_MAX;
	for (unsigned i = 0; i < n; i++)
		snprintf(list[i], sizeof(list[i]), "%s", search[i]);
	if (want == o->want && (!want || (ifindex == o->ifindex && n == o->n_search &&
						 memcmp(list, o->search, sizeof(list)) == 0)))
		return;
	if (!want || ifindex != o->ifindex)
		let_go(o);
	o->want = want;
	o->ifindex = ifindex;
	o->n_search = n;
	memcpy(o->search, list, sizeof(list));
	if (want)
		take(o);
}

void osconf_tick(struct osconf *o)
{
	struct stat st = {0};

	stat(o->file, &st);
	if (st.st_mtim.tv_sec == o->seen.tv_sec && st.st_mtim.tv_nsec == o->seen.tv_nsec &&
		st.st_size == o->seen_size)
		return;
	read_base(o);
	struct osconf_file now;
	if (!o->want || (read_file(o->file, &now) && now.ours))
		return;
	log_warn("dns", "%s was written by somebody else: its nameservers are taken over", o->file);
	take(o);
}

struct osconf *osconf_create(const struct osconf_params *p)
{
	struct osconf *o = mem_alloc(sizeof(*o));
	size_t len;

	o->params = *p;
	snprintf(o->file, sizeof(o->file), "%s", p->file);
	snprintf(o->fresh, sizeof(o->fresh), "%s.tailgate", p->file);
	snprintf(o->copy, sizeof(o->copy), "%s/resolv.conf.before", p->state_dir);
	snprintf(o->link, sizeof(o->link), "%s/resolv.conf.link", p->state_dir);
	char *left = slurp(o->copy, &len);
	struct osconf_file now;
	if (left || (read_file(o->file, &now) && now.ours)) {
		log_info("dns", "%s is restored: an earlier tailgated did not come to it", o->file);
		restore(o);
	}
	free(left);
	read_base(o);
	return o;
}

void osconf_destroy(struct osconf *o)
{
	if (!o)
		return;
	let_go(o);
	free(o);
}

const struct osconf_file *osconf_base(const struct osconf *o)
{
	return &o->base;
}

enum osconf_how osconf_how(const struct osconf *o, char why[static OSCONF_TEXT_LEN])
{
	snprintf(why, OSCONF_TEXT_LEN, "%s", o->why);
	return o->how;
}
