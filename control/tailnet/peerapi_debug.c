#include "control/tailnet/peerapi_debug.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/dns/wire.h"

enum { QUERY_ID = 1 }; // any but 0, which some resolvers refuse

static bool is_type(const struct http_text *t, const char *name)
{
	return t->len == strlen(name) && strncasecmp(t->at, name, t->len) == 0;
}

static uint16_t type_of(const struct http_text *query)
{
	struct http_text t;
	if (!http_query_get(query, "t", &t))
		return ns_t_a;
	return is_type(&t, "aaaa") ? ns_t_aaaa : is_type(&t, "txt") ? ns_t_txt : ns_t_a;
}

long peerapi_debug_query(const struct http_text *query, uint8_t *out, size_t room)
{
	static const uint8_t lower[32];
	char text[DNS_NAME_LEN], name[DNS_NAME_LEN];
	struct http_text q;
	if (!http_query_get(query, "q", &q) || q.len == 0)
		return -ENOENT;
	if (q.len >= sizeof(text))
		return -EINVAL;
	memcpy(text, q.at, q.len);
	text[q.len] = '\0';
	if (strlen(text) != q.len || dns_name_read(text, name) < 0)
		return -EINVAL;
	const size_t n =
		dns_question_write(out, room, QUERY_ID, name, type_of(query), false, false, lower);
	return n > 0 ? (long)n : -EINVAL;
}

// As JSON takes it: others' bytes need not be UTF-8.
static json_t *text_json(const uint8_t *bytes, size_t len)
{
	char text[UINT8_MAX + 1];
	for (size_t i = 0; i < len; i++)
		text[i] = bytes[i] >= ' ' && bytes[i] <= '~' ? (char)bytes[i] : '?';
	return json_stringn(text, len);
}

static void add_texts(json_t *list, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len && data[at] < len - at; at += 1u + data[at])
		json_array_append_new(list, text_json(data + at + 1, data[at]));
}

static void add_record(json_t *list, const ns_rr *r)
{
	const uint8_t *data = ns_rr_rdata(*r);
	const size_t len = ns_rr_rdlen(*r);
	char text[ADDR_TEXT_LEN];
	struct ip_addr a = {0};
	if (ns_rr_class(*r) != ns_c_in)
		return;
	if (ns_rr_type(*r) == ns_t_a && len == 4)
		a = ip_addr_v4(data);
	else if (ns_rr_type(*r) == ns_t_aaaa && len == 16)
		a = ip_addr_v6(data);
	else if (ns_rr_type(*r) == ns_t_txt)
		add_texts(list, data, len);
	if (a.family != IP_NONE)
		json_array_append_new(list, json_string(ip_addr_format(&a, text)));
}

static json_t *error_json(const char *why)
{
	return json_pack("{s:s}", "Error", why);
}

static json_t *answer_json(const uint8_t *message, size_t len)
{
	json_t *list;
	ns_msg m;
	ns_rr r;
	if (ns_initparse(message, (int)len, &m) < 0)
		return error_json("the answer is no DNS message");
	if (ns_msg_getflag(m, ns_f_rcode) != ns_r_noerror)
		return error_json(dns_rcode_text((unsigned)ns_msg_getflag(m, ns_f_rcode)));
	list = json_array();
	for (int i = 0; i < ns_msg_count(m, ns_s_an); i++) {
		if (ns_parserr(&m, ns_s_an, i, &r) < 0)
			break;
		add_record(list, &r);
	}
	return list;
}

char *peerapi_debug_answer(const uint8_t *message, size_t len)
{
	json_t *json = answer_json(message, len);
	char *compact = json_dumps(json, JSON_COMPACT), *line = NULL;
	if (compact != NULL && asprintf(&line, "%s\n", compact) < 0)
		line = NULL;
	free(compact);
	json_decref(json);
	return line;
}
