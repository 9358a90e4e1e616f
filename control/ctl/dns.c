#include "control/ctl/dns.h"

#include "control/dns/dns.h"
#include "control/tailnet/tailnet.h"

void ctl_dns_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const none[] = {NULL};
	struct query q;
	if (!ctl_query(req, none, &q))
		return;
	if (!s->d->tailnet)
		ctl_reply_error(req, HTTP_SERVUNAVAIL,
			"names are resolved on a tailnet only: see 'tailgate up'");
	else
		ctl_reply_json(req, HTTP_OK, dns_info(tailnet_dns(s->d->tailnet)));
}
