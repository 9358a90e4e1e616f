#include "control/cli/target.h"

#include <errno.h>
#include <netdb.h>

#include "control/cli/ipn.h"

static int resolve(const char *name, char ip[static TARGET_IP_LEN], char err[static CLI_ERROR_LEN])
{
	struct addrinfo *list, hints = {.ai_socktype = SOCK_DGRAM};
	int error = getaddrinfo(name, NULL, &hints, &list);
	if (error != 0) {
		snprintf(err, CLI_ERROR_LEN, "error looking up IP of \"%.100s\": %s", name,
			gai_strerror(error));
		return -ENOENT;
	}
	error = getnameinfo(
		list->ai_addr, list->ai_addrlen, ip, TARGET_IP_LEN, NULL, 0, NI_NUMERICHOST);
	freeaddrinfo(list);
	snprintf(err, CLI_ERROR_LEN, "no IPs found for \"%.100s\"", name);
	return error == 0 ? 0 : -ENOENT;
}

int target_find(const json_t *status, const char *name, char ip[static TARGET_IP_LEN], bool *self,
	char err[static CLI_ERROR_LEN])
{
	struct ip_addr address;
	const json_t *node = ipn_find_name(status, name);
	*self = false;
	if (ip_addr_parse(name, &address) == 0) {
		snprintf(ip, TARGET_IP_LEN, "%s", name);
		return 0;
	}
	if (node == NULL)
		return resolve(name, ip, err);
	snprintf(ip, TARGET_IP_LEN, "%s", ipn_first_ip(node));
	*self = node == json_object_get(status, "Self");
	snprintf(err, CLI_ERROR_LEN, "node found but lacks an IP");
	return *ip != '\0' ? 0 : -ENOENT;
}
