// A socket that answers a command by a script, and a command run against it. For tests alone.
#pragma once

#include "control/cli/cli.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum {
	WORDS_MAX = 8,
	ANSWERS_MAX = 10,
	LOG_MAX = 1 << 16,
};

struct answer {
	const char *request; // how it begins: "GET /localapi/v0/status"
	int code;
	const char *body;
	bool stays; // the answer has no end
};

// The peer of the command: a thread that takes one connection after the other, or several at once
// while an answer without end stays open.
struct server {
	int fd;
	pthread_t thread;
	const struct answer *script; // the first that fits; up to one without request
	char path[64];
	char log[LOG_MAX]; // requests with their bodies, a line each
	int held[ANSWERS_MAX];
	unsigned n_held;
};

static void take_request(struct server *s, int fd)
{
	char in[1 << 16], head[512];
	size_t n = 0, length = 0;
	char *end = NULL;
	while (end == NULL || n < (size_t)(end + 4 - in) + length) {
		ssize_t got = read(fd, in + n, sizeof(in) - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
		in[n] = '\0';
		end = strstr(in, "\r\n\r\n");
		const char *field = strcasestr(in, "\r\ncontent-length:");
		length = field != NULL ? strtoul(field + 17, NULL, 10) : 0;
	}
	if (end == NULL) {
		close(fd);
		return;
	}
	size_t used = strlen(s->log);
	snprintf(s->log + used, LOG_MAX - used, "%.*s %s\n", (int)(strstr(in, " HTTP/") - in), in,
		end + 4);
	const struct answer *a = s->script;
	while (a->request != NULL && strncmp(in, a->request, strlen(a->request)) != 0)
		a++;
	const char *body = a->request != NULL ? a->body : "404 page not found\n";
	int len = snprintf(
		head, sizeof(head), "HTTP/1.1 %d X\r\n", a->request != NULL ? a->code : 404);
	if (a->request == NULL || !a->stays)
		len += snprintf(head + len, sizeof(head) - (size_t)len, "Content-Length: %zu\r\n",
			strlen(body));
	len += snprintf(head + len, sizeof(head) - (size_t)len, "Connection: close\r\n\r\n");
	bool sent = send(fd, head, (size_t)len, MSG_NOSIGNAL) == len &&
		    send(fd, body, strlen(body), MSG_NOSIGNAL) == (ssize_t)strlen(body);
	if (sent && a->request != NULL && a->stays && s->n_held < ANSWERS_MAX)
		s->held[s->n_held++] = fd;
	else
		close(fd);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	for (int fd; (fd = accept(s->fd, NULL, NULL)) >= 0;)
		take_request(s, fd);
	return NULL;
}

static inline struct server *start(const struct answer *script)
{
	struct server *s = calloc(1, sizeof(*s));
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	snprintf(s->path, sizeof(s->path), "/tmp/test_cli_%d.sock", (int)getpid());
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", s->path);
	unlink(s->path);
	s->script = script;
	s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(s->fd, 16), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	return s;
}

static inline void stop(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (unsigned i = 0; i < s->n_held; i++)
		close(s->held[i]);
	unlink(s->path);
	free(s);
}

struct run {
	int result;
	char *out, *err; // what it printed
};

// Standard error goes to a file meanwhile.
static inline struct run run_at(const char *socket, const char *const words[])
{
	char *argv[WORDS_MAX + 2] = {"tailgate"}, mistake[CLI_ERROR_LEN];
	struct run run = {.err = calloc(1, 1 << 16)};
	struct cli cli;
	size_t n;
	int argc = 1;
	for (; argc <= WORDS_MAX && words[argc - 1] != NULL; argc++)
		argv[argc] = (char *)words[argc - 1];
	if (cli_parse(argc, argv, &cli, mistake) < 0)
		fail_msg("%s", mistake);
	cli.socket = socket;
	cli.out = open_memstream(&run.out, &n);
	FILE *file = tmpfile();
	fflush(stderr);
	int saved = dup(STDERR_FILENO);
	dup2(fileno(file), STDERR_FILENO);
	run.result = cli.command->fn(&cli);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	run.err[fread(run.err, 1, (1 << 16) - 1, file)] = '\0';
	fclose(file);
	fclose(cli.out);
	return run;
}

static inline void done(struct run *run)
{
	free(run->out);
	free(run->err);
}
