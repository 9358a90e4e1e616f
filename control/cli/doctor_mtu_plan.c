// What mends the findings: commands, in the order in which they have to be run, each once. They
// stand in a list of their own since one mends several findings.
#include <string.h>

#include "control/cli/doctor_mtu_priv.h"

#define K3S_FILE "/etc/rancher/k3s/config.yaml"
#define ON_AGENTS                                                                                  \
	"for node in $(kubectl get nodes -l '!node-role.kubernetes.io/control-plane' -o name); "   \
	"do kubectl debug $node --attach --image=ubuntu -- chroot /host "

// false: out of memory.
static bool add(json_t *steps, json_t *text)
{
	return json_array_append_new(steps, text) == 0;
}

static bool edit_here(const struct judge *j, json_t *steps)
{
	const char *lan = j->lan->name;
	const struct stack_link *now = stack_named(j->stack, j->f->flannel_iface);
	if (j->f->k3s == DOCTOR_MTU_ABSENT)
		return add(steps, json_sprintf("mkdir -p /etc/rancher/k3s && echo 'flannel-iface: "
					       "%s' > " K3S_FILE,
					  lan));
	if (j->f->flannel_iface[0] == '\0')
		return add(steps, json_sprintf("sed -i '$a flannel-iface: %s' " K3S_FILE, lan));
	if (now == NULL || doctor_mtu_is_tunnel(now))
		return add(steps,
			json_sprintf(
				"sed -i 's/^flannel-iface:.*/flannel-iface: %s/' " K3S_FILE, lan));
	return true;
}

// A restart in the same pod, since one of its own could overtake it.
static bool edit_agents(const struct judge *j, json_t *steps)
{
	const char *lan = j->lan->name;
	return add(steps,
		json_sprintf(ON_AGENTS
			"sh -c \"sed -i 's/^flannel-iface:.*/flannel-iface: %s/' " K3S_FILE
			"; grep flannel-iface " K3S_FILE " || echo flannel-iface: %s >> " K3S_FILE
			"; systemctl restart k3s-agent && echo --- $node updated "
			"---\"; done",
			lan, lan));
}

// The bridge keeps what it was made with; on agents it is not seen from here.
static bool set_agents(const struct judge *j, json_t *steps)
{
	return j->want == 0 ||
	       add(steps, json_sprintf(ON_AGENTS "ip link set dev cni0 mtu %u; done", j->want));
}

static bool mend(const struct judge *j, json_t *steps)
{
	const bool agents = j->edit && !j->f->agent, restart = j->edit || j->restart;
	bool ok = true;
	if (j->edit)
		ok = edit_here(j, steps);
	if (ok && restart)
		ok = add(steps,
			json_sprintf("systemctl restart %s", j->f->agent ? "k3s-agent" : "k3s"));
	if (ok && agents)
		ok = edit_agents(j, steps);
	if (ok && restart)
		ok = add(steps, json_string("sleep 30 && kubectl get nodes"));
	if (ok)
		ok = json_array_extend(steps, j->sets) == 0;
	if (ok && agents)
		ok = set_agents(j, steps);
	// All of the namespace but the operator: each gets its MTU when it starts.
	if (ok && j->pods)
		ok = add(steps, json_string("kubectl delete pods -n tailscale $(kubectl get pods "
					    "-n tailscale --no-headers -o name | grep -v operator "
					    "| xargs -I{} basename {})"));
	if (ok && json_array_size(steps) > 0)
		ok = add(steps, json_string("tailgate doctor mtu --verify"));
	return ok;
}

json_t *doctor_mtu_steps(const struct judge *j)
{
	json_t *steps = json_array();
	// What is set on flannel's bridge presumes that its place has been mended.
	if (j->edit && (j->lan == NULL || j->lan->odd_name || j->f->k3s == DOCTOR_MTU_BAD))
		return steps;
	if (steps == NULL || mend(j, steps))
		return steps;
	json_decref(steps);
	return NULL;
}
