// What went wrong, for people: one line with cause and remedy.
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "control/net/transfer.h"

static __attribute__((format(printf, 3, 4))) int explain(
	char why[static STREAM_WHY_LEN], int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, STREAM_WHY_LEN, format, args);
	va_end(args);
	for (char *c = why; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	return error;
}

static const char *proxy_hint(void)
{
	return "see https_proxy, http_proxy, all_proxy and no_proxy in the daemon's environment";
}

// Whom libcurl did not reach, the host or the proxy, only its words say.
static bool proxy_failed(const struct transfer *t)
{
	static const char prefix[] = "Failed to connect to ";
	const char *who = t->error + sizeof(prefix) - 1;
	const char *host = t->check.host;

	if (strncmp(t->error, prefix, sizeof(prefix) - 1) != 0)
		return false;
	who += *who == '[';
	return strncmp(who, host, strlen(host)) != 0 &&
	       (!t->address || strncmp(who, t->address, strcspn(who, " ]")) != 0);
}

static int explain_connect(const struct transfer *t, char why[static STREAM_WHY_LEN])
{
	long os_error = 0;

	curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_error);
	if (proxy_failed(t))
		return explain(why, -EREMOTEIO, "the proxy of the environment: %s; %s", t->error,
			proxy_hint());
	switch (os_error) {
	case ECONNREFUSED:
		return explain(why, -ECONNREFUSED,
			"%s refuses the connection: is the server running, and the port right?",
			t->check.host);
	case ENETUNREACH:
	case EHOSTUNREACH:
		return explain(why, -(int)os_error, "%s: %s: is this machine online?",
			t->check.host, strerror((int)os_error));
	default:
		return explain(why, os_error > 0 ? -(int)os_error : -EHOSTUNREACH, "%s: %s",
			t->check.host, t->error[0] ? t->error : strerror((int)os_error));
	}
}

static int explain_timeout(const struct transfer *t, char why[static STREAM_WHY_LEN])
{
	const char *host = t->check.host;
	curl_off_t named = 0, ready = 0;
	long port = 0; // of the connection, once there is one

	curl_easy_getinfo(t->easy, CURLINFO_NAMELOOKUP_TIME_T, &named);
	curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_PORT, &port);
	curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
	if (!named)
		return explain(why, -ETIMEDOUT,
			"%s: DNS did not answer in time: see /etc/resolv.conf", host);
	if (!port)
		return explain(why, -ETIMEDOUT,
			"%s does not answer: a firewall on the way, or the server is down", host);
	if (!ready)
		return explain(why, -ETIMEDOUT,
			"%s accepted the connection and then was silent: does it speak TLS, and "
			"does a firewall interfere?",
			host);
	return explain(why, -ETIMEDOUT, "%s did not answer the request in time", host);
}

static int explain_received(const struct transfer *t, char why[static STREAM_WHY_LEN])
{
	long code = 0;

	curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &code);
	if (code && code / 100 != 2)
		return explain(why, -EREMOTEIO,
			"the proxy does not let us through to %s (HTTP %ld): %s", t->check.host,
			code, proxy_hint());
	if (strstr(t->error, "CONNECT")) // no HTTP answer to that request
		return explain(why, -EREMOTEIO, "the proxy on the way to %s: %s; %s", t->check.host,
			t->error, proxy_hint());
	if (strstr(t->error, "chunked"))
		return explain(why, -EPROTO, "%s does not speak HTTP as it should: %s",
			t->check.host, t->error);
	return explain(why, -ECONNRESET, "the connection to %s broke: %s", t->check.host,
		t->error[0] ? t->error : "no cause known");
}

static int explain_tls(const struct transfer *t, char why[static STREAM_WHY_LEN])
{
	const char *host = t->check.host;
	long os_error = 0;

	curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_error);
	if (os_error == ECONNRESET || os_error == EPIPE || strstr(t->error, "SSL_ERROR_SYSCALL") ||
		strstr(t->error, "eof"))
		return explain(why, -ECONNRESET,
			"%s closed the connection within the TLS handshake: is the port right, or "
			"does a firewall interfere?",
			host);
	return explain(why, -EPROTO, "%s does not speak TLS as it should: %s", host,
		t->error[0] ? t->error : "no cause known");
}

// Where a redirect leads, or what is no HTTP/1 at all.
static int explain_protocol(const struct transfer *t, char why[static STREAM_WHY_LEN])
{
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 == 3)
		return explain(why, -ELOOP, "%s redirects to where we do not go: %s", t->check.host,
			t->error);
	return explain(
		why, -EPROTO, "%s does not speak HTTP as it should: %s", t->check.host, t->error);
}

int transfer_explain(const struct transfer *t, CURLcode code, char why[static STREAM_WHY_LEN])
{
	const char *host = t->check.host, *text = t->error[0] ? t->error : curl_easy_strerror(code);

	if (t->check.refused)
		return explain(why, -EKEYREJECTED, "%s", t->check.why);
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return explain(why, -ENODATA,
			"the name %s cannot be resolved: is it right, and does DNS work "
			"(/etc/resolv.conf)?",
			host);
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_PROXY:
		return explain(why, -EREMOTEIO, "the proxy: %s; %s", text, proxy_hint());
	case CURLE_COULDNT_CONNECT:
		return explain_connect(t, why);
	case CURLE_OPERATION_TIMEDOUT:
		return explain_timeout(t, why);
	case CURLE_PEER_FAILED_VERIFICATION: // not ours: that of an HTTPS proxy
		return explain(
			why, -EREMOTEIO, "the proxy's certificate: %s; %s", text, proxy_hint());
	case CURLE_SSL_CONNECT_ERROR:
		return explain_tls(t, why);
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return explain_received(t, why);
	case CURLE_TOO_MANY_REDIRECTS:
		return explain(why, -ELOOP, "%s redirects without an end", host);
	case CURLE_FILESIZE_EXCEEDED:
		return explain(why, -EMSGSIZE, "the answer of %s is too large", host);
	case CURLE_UNSUPPORTED_PROTOCOL:
		return explain_protocol(t, why);
	case CURLE_OUT_OF_MEMORY:
		return explain(why, -ENOMEM, "out of memory");
	default:
		return explain(why, -EPROTO, "%s: %s", host, text);
	}
}
