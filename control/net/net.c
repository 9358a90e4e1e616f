#include <errno.h>
#include <signal.h>

#include "control/net/transfer.h"
#include "dataplane/base/mem.h"

struct net *net_create(struct event_base *base)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		errno = ENOMEM;
		return NULL;
	}
	const char *tls = curl_version_info(CURLVERSION_NOW)->ssl_version;
	if (!tls || strncmp(tls, "OpenSSL/", 8) != 0) { // certificates are checked in its callbacks
		curl_global_cleanup();
		errno = ENOTSUP;
		return NULL;
	}
	signal(SIGPIPE, SIG_IGN); // OpenSSL writes to servers that may have left
	struct net *net = mem_alloc(sizeof(*net));
	net->base = base;
	return net;
}

void net_destroy(struct net *net)
{
	if (!net)
		return;
	tls_roots_fini(&net->roots);
	free(net);
	curl_global_cleanup();
}
