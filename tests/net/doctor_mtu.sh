#!/usr/bin/env bash
# 'tailgate doctor mtu' on hosts laid out as k3s with flannel does, without k3s and without a daemon:
# what is wrong is found, and the commands that it prints mend it.
# timeout: 30
# sanitizer: no
#
#   lan ---- (eth0 1500) host: tailscale0 1280, flannel.1 on one of both, cni0 (veth0) ---- pod
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

doctor() { in_ns host "$tailgate" doctor mtu --root "$root" "$@"; }
# STATUS FINDINGS: it ends so, and what is wrong is this, as "F074 error F077 warn".
finds() {
	local status=0 found
	found=$(doctor --verify --json) || status=$?
	found=$(jq -r '[.findings[] | .id + " " + .severity] | join(" ")' <<<"$found")
	[[ $status == "$1" && $found == "$2" ]] || fail "status $status, found: $found; not $1, $2"
	echo "ok $1 ${2:-nothing wrong}"
}
flannel() { # LOWER MTU
	in_ns host ip link del flannel.1 2>/dev/null || true
	on host ip link add flannel.1 type vxlan id 1 dev "$1" dstport 8472 nolearning
	on host ip link set flannel.1 mtu "$2" up
	echo "FLANNEL_MTU=$2" >"$root/run/flannel/subnet.env"
}

lab_begin
need_kind tailgate
tailgate=$(program tailgate)
root=$lab_dir/root
mkdir -p "$root/run/flannel" "$root/etc/rancher/k3s"
add_ns host
add_ns pod
add_ns lan
on host ip link add eth0 type veth peer name eth0 netns "$lab_id-lan"
on host ip address add 192.168.1.7/24 dev eth0
on host ip link set eth0 up
on host ip tuntap add tailscale0 mode tun
on host ip link set tailscale0 mtu 1280
on host ip address add 100.64.0.7/32 dev tailscale0
on host ip link set tailscale0 up

say "no overlay"
finds 0 ""

say "flannel on the tailnet's interface"
printf 'node-ip: 100.64.0.7\nflannel-iface: tailscale0\n' >"$root/etc/rancher/k3s/config.yaml"
flannel tailscale0 1230
on host ip link add cni0 mtu 1230 type bridge
on host ip link add veth0 mtu 1230 type veth peer name eth0 mtu 1230 netns "$lab_id-pod"
on host ip link set veth0 master cni0
finds 2 "F085 error F074 error F077 warn"
doctor || true
mend=$(doctor --json | jq -r '[.findings[].commands[]?][0]' || true)
[[ $mend == "sed -i "*" /etc/rancher/k3s/config.yaml" ]] || fail "first is: $mend"

say "the first command, then flannel as it starts anew: the bridge and the pods keep what they had"
run bash -c "${mend/ \/etc/ $root/etc}"
flannel eth0 1450
finds 1 "F096 warn F098 warn"
mend=$(doctor --json | jq -r '[.findings[].commands[]?][0]' || true)
check "the command is for the bridge" test "$mend" = "ip link set dev cni0 mtu 1450"
# shellcheck disable=SC2086 # words
on host $mend
finds 1 "F098 warn"
on host ip link del veth0
on host ip link add veth0 mtu 1450 type veth peer name eth0 mtu 1450 netns "$lab_id-pod"
on host ip link set veth0 master cni0
finds 0 ""

say "the LAN takes less than before"
on host ip link set eth0 mtu 1400
finds 2 "F069 error F096 error F098 error"
