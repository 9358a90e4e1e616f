#!/usr/bin/env bash
# 'tailgate doctor mtu' on hosts laid out as k3s with flannel does, without a daemon: what is wrong is
# found, and the commands that it prints, run from the first to the last, mend it. In place of k3s and
# its pods stand scripts that make the same interfaces and files.
# timeout: 60
# sanitizer: no
#
#   lan ---- (eth0 1500) host: tailscale0 1280, flannel.1 on one of both, cni0 (veth0) ---- pod
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

doctor() { in_ns host "$tailgate" doctor mtu --root "$root" "$@"; }
found() { jq -r '[.findings[] | select(.severity == "warn" or .severity == "error") | .id + " " + .severity] | join(" ")'; }
# STATUS FINDINGS: it ends so, and what is wrong is this, as "F074 error F077 warn".
finds() {
	local status=0 report
	report=$(doctor --verify --json) || status=$?
	report=$(found <<<"$report")
	[[ $status == "$1" && $report == "$2" ]] || fail "status $status, found: $report; not $1, $2"
	echo "ok $1 ${2:-nothing wrong}"
}
cuts() { [[ $(doctor --verify --json | found) == "F111 warn" ]]; }
restart_k3s() { on host env PATH="$bin:$PATH" systemctl restart k3s; }
mend() { # runs what is printed, as it stands but for the root
	local script
	script=$(doctor --json | jq -r '.commands[]' || true)
	[[ $script == *'tailgate doctor mtu --verify' ]] || fail "the last command is another one: $script"
	echo "$script"
	in_ns host env PATH="$bin:$PATH" bash -euc "${script//\/etc\/rancher/$root/etc/rancher}" >"$lab_dir/mend.log" 2>&1 ||
		fail "the commands failed: $(cat "$lab_dir/mend.log")"
	finds 0 ""
}

script() { # NAME: standard input, to be found instead of the real one
	{
		echo "#!/usr/bin/env bash"
		echo "set -euo pipefail; root=$root log=$lab_dir/cluster.log pod=$lab_id-pod tailgate=$tailgate"
		cat
	} >"$bin/$1"
	chmod +x "$bin/$1"
}
# flannel, as its source has it: a device with the same interface and address is kept as it is.
scripts() {
	script systemctl <<-'END'
		[[ "$*" == "restart k3s" ]]
		lower=$(sed -n 's/^flannel-iface: //p' "$root/etc/rancher/k3s/config.yaml")
		mtu=$(($(cat "/sys/class/net/$lower/mtu") - 50))
		local=$(ip -j -4 address show dev "$lower" | jq -r '.[0].addr_info[0].local')
		now=$(ip -j -d link show flannel.1 2>/dev/null | jq -r '.[0] | .link + " " + .linkinfo.info_data.local' || true)
		if [[ $now != "$lower $local" ]]; then
			[[ ! $now ]] || ip link del flannel.1
			ip link add flannel.1 mtu "$mtu" type vxlan id 1 dev "$lower" local "$local" dstport 8472 nolearning
			ip link set flannel.1 up
		fi
		printf 'FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_MTU=%s\nFLANNEL_IPMASQ=true\n' "$mtu" >"$root/run/flannel/subnet.env"
	END
	script kubectl <<-'END'
		echo "kubectl $*" >>"$log"
		case "$*" in
		"get nodes -l !node-role.kubernetes.io/control-plane -o name") printf 'node/k3s-agent-%s\n' 1 2 ;;
		"get nodes" | "debug node/"*) ;;
		"get pods -n tailscale --no-headers -o name") printf 'pod/%s\n' operator-7d9 ts-web-0 ;;
		"delete pods -n tailscale ts-web-0")
			source "$root/run/flannel/subnet.env"
			ip link del veth0 2>/dev/null || true
			ip link add veth0 mtu "$FLANNEL_MTU" type veth peer name eth0 mtu "$FLANNEL_MTU" netns "$pod"
			ip link set veth0 master cni0
			;;
		*) exit 1 ;;
		esac
	END
	script sleep <<<'[[ $* == 30 ]]'
	script tailgate <<<'exec "$tailgate" "$@" --root "$root"'
}

lab_begin
need_kind tailgate
tailgate=$(program tailgate)
root=$lab_dir/root bin=$lab_dir/bin
mkdir -p "$root/run/flannel" "$root/etc/rancher/k3s" "$root/proc/77" "$bin"
scripts
add_ns host
add_ns pod
add_ns lan
on host ip link add eth0 type veth peer name eth0 netns "$lab_id-lan"
on host ip address add 192.168.1.7/24 dev eth0
on host ip link set eth0 up
on lan ip address add 192.168.1.1/24 dev eth0
on lan ip link set eth0 up
on host ip tuntap add tailscale0 mode tun
on host ip link set tailscale0 mtu 1280
on host ip address add 100.64.0.7/32 dev tailscale0
on host ip link set tailscale0 up

say "no overlay"
finds 0 ""

say "flannel on the tailnet's interface: the commands, in their order, mend all"
printf 'node-ip: 100.64.0.7\nflannel-iface: tailscale0\n' >"$root/etc/rancher/k3s/config.yaml"
restart_k3s
on host ip link add cni0 mtu 1230 type bridge
on host env PATH="$bin:$PATH" kubectl delete pods -n tailscale ts-web-0
finds 2 "F085 error F074 error F102 warn F082 warn F103 warn F104 warn F077 warn"
doctor || true
mend
for node in k3s-agent-1 k3s-agent-2; do
	check "$node has the interface named, and is started anew" \
		grep -q "debug node/$node .*flannel-iface: eth0.* systemctl restart k3s-agent " "$lab_dir/cluster.log"
	check "and its bridge set" grep -q "debug node/$node .* ip link set dev cni0 mtu 1450" "$lab_dir/cluster.log"
done
seen=$(doctor --verify --json | jq -r '[.findings[] | .severity + " " + .evidence] | join("; ")')
check "verified are flannel's file, its bridge and the pods: $seen" \
	test "$seen" = "ok FLANNEL_MTU=1450, as flannel.1; ok cni0 (1450): fits; ok 1 on cni0 (1450): fit"

say "a leased address is told of, and is no defect"
on host ip address change 192.168.1.7/24 dev eth0 valid_lft 3600 preferred_lft 3600
check "as DHCP's" test "$(doctor --json | jq -r '.findings[] | select(.id == "F090") | .severity + " " + .evidence')" = \
	"info 192.168.1.7 on eth0 is leased (DHCP)"
finds 0 ""
on host ip address change 192.168.1.7/24 dev eth0 valid_lft forever preferred_lft forever
check "set by hand it is not" test -z "$(doctor --json | jq -r '.findings[] | select(.id == "F090")')"

say "a bridge and a pod as they were before"
on host ip link set cni0 mtu 1230
on pod ip link set eth0 mtu 1230
finds 1 "F096 warn F098 warn"
mend

say "the LAN takes less than before, then more and by another address"
on host ip link set eth0 mtu 1400
finds 2 "F069 error F082 warn F096 error F098 error"
mend
on host ip link set eth0 mtu 1500
on host ip address del 192.168.1.7/24 dev eth0
on host ip address add 192.168.1.8/24 dev eth0
finds 2 "F102 warn F091 error F082 warn F103 warn F104 warn F077 warn"
mend

say "proxies, and packets that are cut"
printf '/usr/local/bin/tailscaled\0--tun=userspace-networking\0' >"$root/proc/77/cmdline"
check "a proxy is no defect" test "$(doctor --json | jq -r '.findings[] | select(.id == "F087").severity')" = info
rm -r "$root/proc" && ln -s /proc "$root/proc"
start proxy pod bash -c 'exec -a tailscaled sleep 60'
proxies() { [[ $(doctor --verify --json | jq -r '.findings[] | select(.id == "F099").evidence') == "1 of them run a tailscaled: veth0 1450" ]]; }
wait_for 10 proxies
echo "ok a pod with a tailscaled is verified by name"
start cut host ping -q -i 0.01 -s 3000 192.168.1.1
wait_for 10 cuts
echo "ok F111 warn"
stop cut

say "interfaces that come and go meanwhile"
start churn host bash -c 'while :; do ip link add d0 type veth peer name d1; ip link set d0 master cni0; ip link del d0; done'
for _ in 1 2 3; do
	report=$(doctor --json || true) # what is there for a moment may be wrong
	jq -e '.findings | length > 5' <<<"$report" >/dev/null || fail "no report: $report"
done
stop churn
