// Names: whether the resolvers that the tailnet names are there, and whether the machine asks us.
#include <stdio.h>

#include "control/ctl/doctor.h"

static const char check[] = "DNS";

static void check_resolvers(const struct doctor_dns *d, struct doctor_report *r)
{
	unsigned silent = 0;
	for (unsigned i = 0; i < d->n_probes; i++) {
		const struct dns_probe *p = &d->probe[i];
		if (p->answers)
			continue;
		silent++;
		doctor_note(r, "F246", d->accept ? DOCTOR_ERROR : DOCTOR_WARN, check,
			d->accept ? "Names that go to this resolver are not found on this machine, "
				    "nor by whoever else has the tailnet's DNS settings."
				  : "Whoever uses the tailnet's DNS settings does not find names "
				    "that go to this resolver.",
			"Check that it runs, that a route or this network leads to it, and that it "
			"lets this node ask; or take it out of the DNS settings of the "
			"coordination server.",
			"the resolver %s does not answer: %s", p->text, p->why);
	}
	if (d->n_probes && !silent)
		doctor_note(r, "F246", DOCTOR_OK, check, "", "",
			"%u resolver%s of the tailnet answer%s", d->n_probes,
			d->n_probes == 1 ? "" : "s", d->n_probes == 1 ? "s" : "");
	if (d->unsupported)
		doctor_note(r, "F244", DOCTOR_WARN, check,
			"Only addresses, and DNS over HTTPS of providers that are known, can be "
			"asked.",
			"Name an IP address in the DNS settings of the coordination server.",
			"%u of the tailnet's resolvers cannot be used", d->unsupported);
}

void doctor_check_dns(const struct doctor_facts *f, struct doctor_report *r)
{
	const struct doctor_dns *d = &f->dns;
	if (d->listen_error[0])
		doctor_note(r, "F238", DOCTOR_WARN, check, "Nobody gets an answer there.",
			"Stop the other DNS server, or have it listen at its own addresses only; "
			"or change dns_listen.",
			"%s", d->listen_error);
	if (d->host_error[0])
		doctor_note(r, "F245", DOCTOR_WARN, check,
			"Programs on this machine do not see names of the tailnet.",
			"Do what it says, or set --accept-dns=false.", "%s", d->host_error);
	check_resolvers(d, r);
	if (d->accept && !d->host_error[0])
		doctor_note(r, "F248", DOCTOR_INFO, check,
			"Tools that ask a resolver of their own (nslookup NAME SERVER; host and "
			"nslookup on macOS) see other answers than programs do.",
			"Use 'tailgate dns query NAME', 'dig NAME' or 'getent hosts NAME'.",
			"this machine resolves names through %s", "100.100.100.100");
}
