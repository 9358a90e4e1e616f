#include "control/net/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/net/bypass.h"
#include "dataplane/base/mem.h"

// What libcurl did may have ended the transfer: the caller touches nothing afterwards.
static void drive(struct transfer *t, curl_socket_t fd, int happened)
{
	int running, left;

	curl_multi_socket_action(t->multi, fd, happened, &running);
	for (CURLMsg *m; (m = curl_multi_info_read(t->multi, &left));)
		if (m->msg == CURLMSG_DONE) {
			t->done(t->arg, m->data.result);
			return;
		}
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	drive(arg, fd,
		(what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(evutil_socket_t, short, void *arg)
{
	drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void socket_free(struct transfer_socket *s)
{
	LIST_REMOVE(s, entry);
	if (s->event)
		event_free(s->event);
	free(s);
}

static struct transfer_socket *socket_get(
	struct transfer *t, curl_socket_t fd, struct transfer_socket *s)
{
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	LIST_INSERT_HEAD(&t->sockets, s, entry);
	curl_multi_assign(t->multi, fd, s);
	return s;
}

// libcurl says what it waits for at a socket. -1 ends the transfer.
static int on_socket(CURL *, curl_socket_t fd, int what, void *arg, void *assigned)
{
	struct transfer *t = arg;
	struct transfer_socket *s = assigned;
	const short events = (what & CURL_POLL_IN ? EV_READ : 0) |
			     (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST;

	if (what == CURL_POLL_REMOVE) {
		if (s)
			socket_free(s);
		return 0;
	}
	s = socket_get(t, fd, s);
	if (!s)
		return -1;
	if (s->event)
		event_free(s->event);
	s->event = event_new(t->net->base, fd, events, on_event, t);
	return s->event && event_add(s->event, NULL) == 0 ? 0 : -1;
}

static int on_timeout(CURLM *, long ms, void *arg)
{
	struct transfer *t = arg;
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (ms < 0)
		return event_del(t->timer);
	return event_add(t->timer, &tv);
}

static CURLcode on_ssl_ctx(CURL *, void *ctx, void *arg)
{
	struct transfer *t = arg;

	tls_check_attach(&t->check, ctx);
	return CURLE_OK;
}

static bool is_address(const char *text, size_t len)
{
	char copy[ADDR_TEXT_LEN];
	struct ip_addr a;

	if (len == 0 || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return ip_addr_parse(copy, &a) == 0;
}

// Connect to addresses, whatever the host's name resolves to. Through a proxy the name goes on.
static int override_name(struct transfer *t, const char *host, uint16_t port, const char *addresses)
{
	enum { ADDRESSES_MAX = 8 };
	char text[TLS_CHECK_NAME_MAX + 16 + ADDRESSES_MAX * (ADDR_TEXT_LEN + 3)];
	int n = snprintf(text, sizeof(text), "%s:%u:", host, port);
	unsigned count = 0;

	for (const char *p = addresses; *p; count++) {
		const size_t len = strcspn(p, ",");
		if (count == ADDRESSES_MAX || !is_address(p, len))
			return -EINVAL;
		const bool v6 = memchr(p, ':', len);
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s%.*s%s", count ? "," : "",
			v6 ? "[" : "", (int)len, p, v6 ? "]" : "");
		if (is_address(host, strlen(host))) { // not looked up: another way, and one only
			snprintf(text, sizeof(text), v6 ? "::[%.*s]:%u" : "::%.*s:%u", (int)len, p,
				port);
			t->connect_to = curl_slist_append(NULL, text);
			return t->connect_to ? 0 : -ENOMEM;
		}
		p += len + (p[len] == ',');
	}
	t->resolve = count ? curl_slist_append(NULL, text) : NULL;
	return !count ? -EINVAL : t->resolve ? 0 : -ENOMEM;
}

static int on_new_socket(void *, curl_socket_t fd, curlsocktype)
{
	net_bypass(fd);
	return CURL_SOCKOPT_OK;
}

static bool set_way(CURL *e, bool inside)
{
	if (inside)
		return curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
	return curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_new_socket) == CURLE_OK;
}

// All that streams and fetches have in common.
static bool set_options(struct transfer *t, const char *url)
{
	CURL *e = t->easy;

	return curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_SSL_ENABLE_ALPN, 0L) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
	       // tls_check does it, with CAs that stay in memory:
	       curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, t) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_CAINFO, NULL) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_CAPATH, NULL) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_SSL_SESSIONID_CACHE, 0L) == CURLE_OK &&
	       // Do not wait for the thread that resolves a name when the transfer ends:
	       curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_RESOLVE, t->resolve) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_CONNECT_TO, t->connect_to) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error) == CURLE_OK;
}

int transfer_init(struct transfer *t, struct net *net, const struct transfer_target *target,
	void (*done)(void *arg, CURLcode), void *arg)
{
	int error = tls_check_init(
		&t->check, &net->roots, target->host, target->cert, target->any_certificate);

	t->net = net;
	t->done = done;
	t->arg = arg;
	LIST_INIT(&t->sockets);
	if (!error && target->address) {
		t->address = strdup(target->address);
		error = t->address ? override_name(t, target->host, target->port, target->address)
				   : -ENOMEM;
	}
	if (error)
		return error;
	t->timer = evtimer_new(net->base, on_timer, t);
	t->multi = curl_multi_init();
	t->easy = curl_easy_init();
	if (!t->timer || !t->multi || !t->easy || !set_options(t, target->url) ||
		!set_way(t->easy, target->inside))
		return -ENOMEM;
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
	return 0;
}

int transfer_start(struct transfer *t)
{
	return curl_multi_add_handle(t->multi, t->easy) == CURLM_OK ? 0 : -ENOMEM;
}

void transfer_fini(struct transfer *t)
{
	if (t->multi && t->easy)
		curl_multi_remove_handle(t->multi, t->easy);
	curl_easy_cleanup(t->easy);
	if (t->multi)
		curl_multi_cleanup(t->multi);
	for (struct transfer_socket *s; (s = LIST_FIRST(&t->sockets));)
		socket_free(s);
	if (t->timer)
		event_free(t->timer);
	curl_slist_free_all(t->resolve);
	curl_slist_free_all(t->connect_to);
	free(t->address);
}
