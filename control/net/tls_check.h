// What a server's certificate has to be, decided within OpenSSL's handshake. [ctl]
#pragma once

#include <openssl/ssl.h>
#include <sys/stat.h>

#include "dataplane/base/types.h"

enum {
	TLS_CHECK_WHY_LEN = 320,
	TLS_CHECK_NAME_MAX = 256,
};

// The CAs of this machine, read once and again when the file changes: parsing them takes 30 ms.
// SSL_CERT_FILE and SSL_CERT_DIR of the environment are honoured as OpenSSL and Go do.
struct tls_roots {
	X509_STORE *store;
	struct timespec changed;
};

void tls_roots_fini(struct tls_roots *);

struct tls_check {
	struct tls_roots *roots;
	char host[TLS_CHECK_NAME_MAX]; // of SNI
	char name[TLS_CHECK_NAME_MAX]; // that the certificate has to bear
	struct key pin;		       // SHA-256 of the only certificate
	bool pinned, any;
	// What was seen:
	bool refused;
	char why[TLS_CHECK_WHY_LEN]; // refused, or let pass because of any
	bool has_last;		     // under TLS 1.3
	char last_name[TLS_CHECK_NAME_MAX];
	uint64_t last_serial;
};

// cert: NULL, another name, or "sha256-raw:" and 64 hex digits. -EINVAL.
int tls_check_init(struct tls_check *, struct tls_roots *, const char *host, const char *cert,
	bool any) must_check;
// Make ctx verify servers as c says; c outlives ctx.
void tls_check_attach(struct tls_check *c, SSL_CTX *ctx);
