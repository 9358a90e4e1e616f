// A server with certificates of our own, as a process that a test starts: it answers on 127.0.0.1
// as its plan says. The CA is what the machine trusts (SSL_CERT_FILE) as long as the test runs.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/net/stream.h"

enum { DAY_S = 86400 };

// What the server shows.
enum server_cert {
	CERT_GOOD,	 // for localhost, from our CA
	CERT_EXPIRED,	 // until yesterday
	CERT_EARLY,	 // from tomorrow
	CERT_OTHER_NAME, // for example.com
	CERT_STRANGER,	 // self-signed, and nobody trusts it
	CERT_COUNT,
};

// A connection as the server sees it; ssl NULL: plain.
struct conn {
	int fd;
	SSL *ssl;
	unsigned number; // of those that this server had
};

struct server_plan {
	enum server_cert cert;
	bool plain;	   // no TLS
	bool chain;	   // the CA's certificate as well
	bool derp;	   // and one that names a DERP server's key
	int max_version;   // of TLS; 0: any
	const char *proxy; // answer to a CONNECT that comes first; NULL: none comes
	void (*serve)(struct conn *);
};

struct server {
	pid_t pid;
	uint16_t port;
};

static struct {
	EVP_PKEY *ca_key, *key;
	X509 *ca, *certs[CERT_COUNT], *derp;
	char ca_path[64];
} pki;

#define DERP_KEY_HEX "6a6bfb4c7f02ac5f83022b8ccf13cd7ad9e0c3ae8144963668e7d346f8ff3c36"

static inline X509 *make_cert(const char *cn, const char *san, bool ca, int from_days, int to_days,
	EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	static long serial = 2;
	X509 *x = X509_new();
	X509V3_CTX ctx;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(x), (long)from_days * DAY_S);
	X509_gmtime_adj(X509_getm_notAfter(x), (long)to_days * DAY_S);
	// Of this type its length does not matter.
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", V_ASN1_UTF8STRING,
		(const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
	X509_set_pubkey(x, key);
	X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
	if (ca) {
		X509_EXTENSION *e =
			X509V3_EXT_conf_nid(NULL, &ctx, NID_basic_constraints, "critical,CA:TRUE");
		X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
	}
	if (san) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, san);
		X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
	}
	assert_true(X509_sign(x, issuer_key ? issuer_key : key, EVP_sha256()) > 0);
	return x;
}

static inline int pki_setup(void **)
{
	static const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
		"all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_DIR"};
	static const char ours[] = "DNS:localhost,IP:127.0.0.1";

	for (size_t i = 0; i < sizeof(proxies) / sizeof(proxies[0]); i++)
		unsetenv(proxies[i]);
	pki.ca_key = EVP_EC_gen("P-256");
	pki.key = EVP_EC_gen("P-256");
	pki.ca = make_cert("Test CA", NULL, true, -2, 365, pki.ca_key, NULL, NULL);
	pki.certs[CERT_GOOD] =
		make_cert("localhost", ours, false, -1, 30, pki.key, pki.ca, pki.ca_key);
	pki.certs[CERT_EXPIRED] =
		make_cert("localhost", ours, false, -9, -1, pki.key, pki.ca, pki.ca_key);
	pki.certs[CERT_EARLY] =
		make_cert("localhost", ours, false, 1, 9, pki.key, pki.ca, pki.ca_key);
	pki.certs[CERT_OTHER_NAME] = make_cert(
		"example.com", "DNS:example.com", false, -1, 30, pki.key, pki.ca, pki.ca_key);
	pki.certs[CERT_STRANGER] = make_cert("localhost", ours, false, -1, 30, pki.key, NULL, NULL);
	pki.derp = make_cert("derpkey" DERP_KEY_HEX, NULL, false, -1, 30, pki.key, NULL, NULL);
	ASN1_INTEGER_set(X509_get_serialNumber(pki.derp), 2);
	X509_sign(pki.derp, pki.key, EVP_sha256());

	strcpy(pki.ca_path, "/tmp/tailgate-test-ca.XXXXXX");
	FILE *f = fdopen(mkstemp(pki.ca_path), "w");
	assert_non_null(f);
	for (int i = 0; i < CERT_COUNT; i++)
		assert_non_null(pki.certs[i]);
	assert_true(PEM_write_X509(f, pki.ca));
	fclose(f);
	return setenv("SSL_CERT_FILE", pki.ca_path, 1);
}

static inline int pki_teardown(void **)
{
	unlink(pki.ca_path);
	for (int i = 0; i < CERT_COUNT; i++)
		X509_free(pki.certs[i]);
	X509_free(pki.ca);
	X509_free(pki.derp);
	EVP_PKEY_free(pki.ca_key);
	EVP_PKEY_free(pki.key);
	return 0;
}

// "sha256-raw:" and the hash of what the server shows first.
static inline const char *pin_of(enum server_cert cert)
{
	static char text[12 + 64];
	uint8_t hash[32];
	unsigned n = 0;

	assert_true(X509_digest(pki.certs[cert], EVP_sha256(), hash, &n));
	int at = snprintf(text, sizeof(text), "sha256-raw:");
	for (unsigned i = 0; i < n; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, "%02x", hash[i]);
	return text;
}

static inline int conn_read(struct conn *c, void *bytes, size_t max)
{
	return c->ssl ? SSL_read(c->ssl, bytes, (int)max) : (int)read(c->fd, bytes, max);
}

static inline bool conn_write(struct conn *c, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	int n = 0;

	for (; len > 0; at += n, len -= (size_t)n) {
		n = c->ssl ? SSL_write(c->ssl, at, (int)len) : (int)write(c->fd, at, len);
		if (n <= 0)
			return false;
	}
	return true;
}

static inline bool conn_say(struct conn *c, const char *text)
{
	return conn_write(c, text, strlen(text));
}

// Until the empty line that ends a request.
static inline void conn_request(struct conn *c, char *text, size_t size)
{
	size_t n = 0;

	do {
		const int got = conn_read(c, text + n, 1);
		if (got <= 0)
			break;
		n++;
	} while (n + 1 < size && (n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4) != 0));
	text[n] = '\0';
}

static inline SSL_CTX *server_ctx(const struct server_plan *plan)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	SSL_CTX_set_security_level(ctx, 0); // old versions, too
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, plan->max_version);
	SSL_CTX_use_certificate(ctx, pki.certs[plan->cert]);
	SSL_CTX_use_PrivateKey(ctx, pki.key);
	if (plan->chain)
		SSL_CTX_add1_chain_cert(ctx, pki.ca);
	if (plan->derp)
		SSL_CTX_add1_chain_cert(ctx, pki.derp);
	return ctx;
}

static inline void serve_one(const struct server_plan *plan, SSL_CTX *ctx, struct conn *c)
{
	char request[4096];
	bool good = true;

	if (plan->proxy) {
		conn_request(c, request, sizeof(request));
		good = strncmp(request, "CONNECT ", 8) == 0 && conn_say(c, plan->proxy) &&
		       strncmp(plan->proxy, "HTTP/1.1 200", 12) == 0;
	}
	if (good && !plan->plain) {
		c->ssl = SSL_new(ctx);
		SSL_set_fd(c->ssl, c->fd);
		good = SSL_accept(c->ssl) == 1;
	}
	if (good && plan->serve)
		plan->serve(c);
	if (c->ssl) {
		SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	close(c->fd);
}

static inline struct server server_start(const struct server_plan *plan)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	const struct server s = {.pid = fork(), .port = ntohs(a.sin_port)};
	assert_true(s.pid >= 0);
	if (s.pid > 0) {
		close(fd);
		return s;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	SSL_CTX *ctx = server_ctx(plan);
	for (struct conn c = {0}; (c.fd = accept(fd, NULL, NULL)) >= 0; c.number++, c.ssl = NULL)
		serve_one(plan, ctx, &c);
	_exit(0);
}

static inline void server_stop(struct server s)
{
	kill(s.pid, SIGKILL);
	assert_int_equal(waitpid(s.pid, NULL, 0), s.pid);
}

// A port where nobody listens.
static inline uint16_t dead_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}
