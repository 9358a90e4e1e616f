// VXLAN devices of the kernel: which end here, and what goes through them.
#include "control/ctl/report.h"
#include "control/kernel/mirror.h"

static json_t *vxlan_json(const struct mirror *m, struct mirror_vxlan *v)
{
	char text[ADDR_TEXT_LEN];
	const struct rt_vxlan *x = &v->link->vxlan;
	const char *local = x->local.family == IP_NONE ? NULL : ip_addr_format(&x->local, text);
	mirror_vxlan_count(m, v);
	json_t *vxlan = json_pack("{s:s, s:i, s:i, s:i, s:s?, s:b, s:s?}", "name", v->link->name,
		"vni", (int)x->vni, "port", x->port, "mtu", (int)v->link->mtu, "local", local,
		"ends_here", !v->left_because, "left_because", v->left_because);
	json_t *more = json_pack("{s:s?, s:s?, s:i, s:i, s:i, s:i, s:i}", "underlay",
		v->underlay ? v->underlay->name : NULL, "bridge",
		v->seat->is_bridge ? v->seat->name : NULL, "remotes", (int)v->remotes, "reached",
		(int)v->reached, "macs", (int)v->macs, "neighbours", (int)v->neighbours, "routes",
		(int)v->routes);
	json_object_update_new(vxlan, more);
	return vxlan;
}

json_t *report_vxlans(const struct mirror *m)
{
	struct mirror_vxlan v;
	json_t *array = json_array();
	for (uint32_t i = 0; m && mirror_vxlan_next(m, &i, &v);)
		json_array_append_new(array, vxlan_json(m, &v));
	return array;
}
