#include "control/net/tls_check.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dataplane/base/keytext.h"
#include "dataplane/base/log.h"

static const char pin_prefix[] = "sha256-raw:";
static const char derp_prefix[] = "derpkey"; // DERP servers add a certificate that names their key

int tls_check_init(
	struct tls_check *c, struct tls_roots *roots, const char *host, const char *cert, bool any)
{
	const size_t prefix_len = sizeof(pin_prefix) - 1;

	*c = (struct tls_check){.roots = roots, .any = any};
	c->pinned = cert && strncmp(cert, pin_prefix, prefix_len) == 0;
	if (c->pinned && keytext_parse_hex(cert + prefix_len, &c->pin) < 0)
		return -EINVAL;
	const char *name = cert && cert[0] && !c->pinned ? cert : host;
	if (strlen(host) >= sizeof(c->host) || strlen(name) >= sizeof(c->name))
		return -EINVAL;
	strcpy(c->host, host);
	strcpy(c->name, name);
	const size_t n = strlen(c->name);
	if (n > 0 && c->name[n - 1] == '.') // certificates are without it
		c->name[n - 1] = '\0';
	return 0;
}

static __attribute__((format(printf, 2, 3))) int refuse(
	struct tls_check *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->why, sizeof(c->why), format, args);
	va_end(args);
	for (char *p = c->why; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	return -EKEYREJECTED;
}

static void common_name(const X509_NAME *name, char text[static TLS_CHECK_NAME_MAX])
{
	// A zero byte inside would hide what follows: such a name is none.
	const int n = X509_NAME_get_text_by_NID(name, NID_commonName, text, TLS_CHECK_NAME_MAX);

	if (n < 0 || strlen(text) != (size_t)n)
		text[0] = '\0';
}

static const char *time_text(const ASN1_TIME *t, char text[static 32])
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(t, &tm) || strftime(text, 32, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		strcpy(text, "?");
	return text;
}

// Wrong dates are as often a wrong clock here.
static int refuse_dates(struct tls_check *c, const char *host, const X509 *cert, bool expired)
{
	const time_t now = time(NULL);
	char limit[32], clock[32];
	struct tm tm;

	strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &tm));
	return refuse(c,
		"the certificate of %s %s %s and the clock here says %s: if the clock is wrong, "
		"set it (timedatectl); else the server needs a new certificate",
		host, expired ? "expired at" : "is not valid before",
		time_text(expired ? X509_get0_notAfter(cert) : X509_get0_notBefore(cert), limit),
		clock);
}

static int refuse_chain(struct tls_check *c, const char *host, const char *want, X509_STORE_CTX *x)
{
	const int error = X509_STORE_CTX_get_error(x);
	X509 *cert = X509_STORE_CTX_get_current_cert(x);
	char name[TLS_CHECK_NAME_MAX] = "";

	if (!cert)
		cert = X509_STORE_CTX_get0_cert(x);
	switch (error) {
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return refuse_dates(c, host, cert, error == X509_V_ERR_CERT_HAS_EXPIRED);
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		common_name(X509_get_subject_name(cert), name);
		return refuse(c, "the certificate of %s is not for %s (but for \"%.80s\")", host,
			want, name);
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		common_name(X509_get_issuer_name(cert), name);
		return refuse(c,
			"the certificate of %s is signed by \"%.80s\", which is not trusted here: "
			"install that CA (update-ca-certificates); if the server is a public one, "
			"something on the way intercepts TLS",
			host, name);
	default:
		return refuse(
			c, "the certificate of %s: %s", host, X509_verify_cert_error_string(error));
	}
}

static bool is_literal(const char *name)
{
	struct ip_addr a;

	return ip_addr_parse(name, &a) == 0;
}

// Signed by a CA of this machine and bearing the name, as libcurl would check it.
static int verify_chain(struct tls_check *c, const char *host, const char *name, X509_STORE_CTX *x)
{
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(x);

	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN); // a trusted leaf is trusted
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if ((is_literal(name) ? X509_VERIFY_PARAM_set1_ip_asc(param, name)
			      : X509_VERIFY_PARAM_set1_host(param, name, 0)) != 1)
		return refuse(c, "cannot check the certificate of %s", host);
	return X509_verify_cert(x) == 1 ? 0 : refuse_chain(c, host, name, x);
}

static int verify_pinned(struct tls_check *c, X509 *cert)
{
	struct key hash = {0};
	unsigned n = 0;
	char hex[KEYTEXT_MAX];

	if (!X509_digest(cert, EVP_sha256(), hash.bytes, &n) || n != sizeof(hash.bytes))
		return refuse(c, "cannot hash a certificate");
	if (memcmp(&hash, &c->pin, sizeof(hash)) != 0) {
		keytext_format(KEY_NODE, &hash, hex);
		return refuse(c,
			"the certificate of %s has the SHA-256 %s, which is not what the DERP map "
			"says: did the server get a new one, or does something intercept TLS?",
			c->host, strchr(hex, ':') + 1);
	}
	// Of a pinned certificate the names and dates count, nothing else.
	if (!is_literal(c->host) && X509_check_host(cert, c->name, 0, 0, NULL) != 1)
		return refuse(c, "the certificate of %s is for another name", c->host);
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
		return refuse_dates(c, c->host, cert, true);
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) >= 0)
		return refuse_dates(c, c->host, cert, false);
	return 0;
}

// Exactly one certificate beside those that name a DERP server's key. Source: tailscale
// net/tlsdial, SetConfigExpectedCertHash.
static int verify_pin(struct tls_check *c, X509_STORE_CTX *x)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(x);
	bool seen = false;
	int error = 0;

	for (int i = 0; !error && i < sk_X509_num(chain); i++) {
		X509 *cert = sk_X509_value(chain, i);
		char name[TLS_CHECK_NAME_MAX];
		common_name(X509_get_subject_name(cert), name);
		if (i > 0 && strncmp(name, derp_prefix, sizeof(derp_prefix) - 1) == 0)
			continue;
		error = seen ? refuse(c, "%s has a chain of certificates instead of the one pinned",
				       c->host)
			     : verify_pinned(c, cert);
		seen = true;
	}
	return error;
}

static void note_last(struct tls_check *c, X509_STORE_CTX *x, const SSL *ssl)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(x);
	const int n = sk_X509_num(chain);

	if (n <= 0 || SSL_version(ssl) < TLS1_3_VERSION) // anybody could have put it there
		return;
	const X509 *last = sk_X509_value(chain, n - 1);
	common_name(X509_get_subject_name(last), c->last_name);
	if (!ASN1_INTEGER_get_uint64(&c->last_serial, X509_get0_serialNumber(last)))
		c->last_serial = 0; // negative, or too large
	c->has_last = true;
}

// libcurl attaches us to the connection to an HTTPS proxy, too, and to where a redirect leads: what
// is special about the certificate is not meant for those.
static bool is_target(const struct tls_check *c, const char *sni)
{
	size_t n = strlen(c->host);

	if (n > 0 && c->host[n - 1] == '.')
		n--;
	// None is sent for an address. Taken for the target, another one is refused.
	return !sni || (strlen(sni) == n && strncasecmp(sni, c->host, n) == 0);
}

static bool verify_target(struct tls_check *c, X509_STORE_CTX *x, const SSL *ssl)
{
	note_last(c, x, ssl);
	const int error = c->pinned ? verify_pin(c, x) : verify_chain(c, c->host, c->name, x);
	if (error && c->any)
		log_info("net", "%s; going on, for what is inside authenticates itself", c->why);
	return !error || c->any;
}

static int verify(X509_STORE_CTX *x, void *arg)
{
	struct tls_check *c = arg;
	const SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
	const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	c->refused =
		is_target(c, sni) ? !verify_target(c, x, ssl) : verify_chain(c, sni, sni, x) < 0;
	if (!c->refused)
		X509_STORE_CTX_set_error(x, X509_V_OK);
	else if (X509_STORE_CTX_get_error(x) == X509_V_OK)
		X509_STORE_CTX_set_error(x, X509_V_ERR_CERT_REJECTED);
	return !c->refused;
}

static X509_STORE *roots_get(struct tls_roots *r)
{
	const char *file = getenv("SSL_CERT_FILE"), *folder = getenv("SSL_CERT_DIR");
	struct stat st = {0};

	if (!file && !folder)
		file = curl_version_info(CURLVERSION_NOW)->cainfo;
	if (file && stat(file, &st) < 0)
		log_warn("net", "%s with the trusted CAs: %s (install ca-certificates)", file,
			strerror(errno));
	if (r->store && memcmp(&r->changed, &st.st_mtim, sizeof(st.st_mtim)) == 0)
		return r->store;
	tls_roots_fini(r);
	r->store = X509_STORE_new();
	r->changed = st.st_mtim;
	if (r->store && st.st_size > 0 && !X509_STORE_load_file(r->store, file))
		log_warn("net", "%s: no certificates of CAs in there", file);
	if (r->store && folder)
		(void)X509_STORE_load_path(r->store, folder); // looked into when needed
	return r->store;
}

void tls_roots_fini(struct tls_roots *r)
{
	X509_STORE_free(r->store);
	r->store = NULL;
}

void tls_check_attach(struct tls_check *c, SSL_CTX *ctx)
{
	X509_STORE *store = roots_get(c->roots);

	if (store)
		SSL_CTX_set1_cert_store(ctx, store);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, verify, c);
	// The queue may move between two attempts to write the same bytes.
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}
