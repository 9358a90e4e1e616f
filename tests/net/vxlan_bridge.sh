#!/usr/bin/env bash
# A VXLAN device that is a port of a bridge, as EVPN lays them: the bridge has the gateway's addresses,
# its forwarding database and the device's say where a MAC is. The gateway takes what is behind a remote
# VTEP, also when that becomes another one, and leaves to the kernel what is behind another port of the
# bridge; the bridge may look at VLANs. Interfaces go away and change their MTU under it.
# timeout: 90
#
#   server ---- gwb (wireguard-go) ==== wan ==== gwa (tailgate) ------- client --------- other
#                                               br70 10.70.0.1/24      br70 10.70.0.2   br70 10.70.0.2
#                                     guest ----+ + vx70 ............. vx70             after it moved
#                                     10.70.0.9     over 10.1.0.1      over 10.1.0.2    over 10.3.0.2
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

declare -A vtep=([gwa]=10.1.0.1 [client]=10.1.0.2 [other]=10.3.0.2)
host=02:00:00:00:70:02

segment() { # NAMESPACE MAC: a bridge with that MAC and a VXLAN device
	run ip -n "$lab_id-$1" link add br70 address "$2" type bridge mcast_snooping 0
	ip -n "$lab_id-$1" link set br70 up
	device "$1"
}
device() { # NAMESPACE
	run ip -n "$lab_id-$1" link add vx70 type vxlan id 70 local "${vtep[$1]}" dstport 4789 nolearning
	ip -n "$lab_id-$1" link set vx70 mtu 1450 master br70 up
}
fdb() { run in_ns "$1" bridge fdb "${@:2}"; }
shows() { grep -qE "^vxlan: vx70, .*$1" < <(tailgate_cli gwa status); }
narrow() { grep -qE 'mtu ?= ?1300' < <(in_ns server ping -c 1 -W 2 -M "do" -s 1300 "$1" 2>&1); }
pings() { wait_for 15 in_ns server ping -c 1 -W 1 "$1"; }
left() { # COMMAND...: to the kernel: the gateway counts nothing meanwhile
	local before
	before=$(counter_of gwa vxlan_out)
	"$@"
	check "not by the gateway" test "$(counter_of gwa vxlan_out)" = "$before"
}

lab_begin
need_kind "$dut" "$peer_kind"
[[ $dut == tailgate ]] || skip "only tailgate ends VXLANs"

say "a bridge with a VXLAN device at each end, and a guest at gwa's"
lab_hosts
add_peer gwa gwb "${wan4[gwb]}:41641" 10.2.0.0/24,fd02::/64
add_peer gwb gwa "${wan4[gwa]}:41641" 10.1.0.0/24,10.70.0.0/24,10.99.1.1/32,fd70::/64
add_ns other
add_ns guest
link other eth0 client to-other
link guest eth0 gwa to-guest
addr client to-other 10.3.0.1/24
addr other eth0 10.3.0.2/24
on client sysctl -qw net.ipv4.ip_forward=1
on gwa ip route add 10.3.0.0/24 via 10.1.0.2
on other ip route add 10.1.0.0/24 via 10.3.0.1
segment gwa 02:00:00:00:70:01
addr gwa br70 10.70.0.1/24 fd70::1/64
run ip -n "$lab_id-gwa" link set to-guest master br70
addr guest eth0 10.70.0.9/24
on guest ip route add 10.2.0.0/24 via 10.70.0.1
for g in client other; do
	segment $g $host
	fdb $g append 00:00:00:00:00:00 dev vx70 dst 10.1.0.1
	addr $g br70 10.70.0.2/24 fd70::2/64
	ip -n "$lab_id-$g" route add 10.2.0.2/32 via 10.70.0.1 dev br70
	ip -n "$lab_id-$g" route add fd02::2/128 via fd70::1 dev br70
done
fdb gwa append 00:00:00:00:00:00 dev vx70 dst 10.1.0.2
fdb gwa add $host dev vx70 dst 10.1.0.2
gateway_start gwa tailgate
gateway_start gwb "$peer_kind"

say "both ways, IPv4 and IPv6: by the gateway, and once"
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
wait_for 15 in_ns client ping -c 1 -W 1 fd02::2
taken vxlan_in 35 ping_lossless client 10.2.0.2 -f -c 40
taken vxlan_out 35 ping_lossless server 10.70.0.2 -f -c 40
taken vxlan_in 35 ping_lossless client fd02::2 -f -c 40
taken vxlan_in 20 transfer client server 10.2.0.2 20
taken vxlan_out 1000 transfer server client 10.70.0.2 20
check "no duplicates" eval '! grep -q duplicates < <(in_ns server ping -q -f -c 50 10.70.0.2)'
check "none the other way" eval '! grep -q duplicates < <(in_ns client ping -q -f -c 50 10.2.0.2)'
tailgate_cli gwa status | grep '^vxlan'
check "status names it" shows 'ends here, 1 of 1 '

say "the guest at another port of the bridge is the kernel's"
left ping_lossless guest 10.2.0.2 -f -c 20
left ping_lossless server 10.70.0.9 -f -c 20

say "the host moves to another VTEP"
run ip -n "$lab_id-client" link set br70 down
fdb gwa replace $host dev vx70 dst 10.3.0.2
pings 10.70.0.2
taken vxlan_out 15 ping_lossless server 10.70.0.2 -f -c 20
taken vxlan_in 15 ping_lossless other 10.2.0.2 -f -c 20

say "and to a port of gwa's bridge: learned there, what is written down of the device counts no more"
run ip -n "$lab_id-other" link set br70 down
run ip -n "$lab_id-guest" link set eth0 address $host
addr guest eth0 10.70.0.2/24
wait_for 10 in_ns guest ping -c 1 -W 1 -I 10.70.0.2 10.70.0.1
pings 10.70.0.2
left ping_lossless server 10.70.0.2 -f -c 20

say "and back"
run ip -n "$lab_id-guest" link set eth0 down
fdb gwa replace $host dev vx70 dst 10.1.0.2
run ip -n "$lab_id-client" link set br70 up
ip -n "$lab_id-client" route replace 10.2.0.2/32 via 10.70.0.1 dev br70
wait_for 10 in_ns client ping -c 1 -W 1 10.70.0.1 # which tells the bridge
pings 10.70.0.2
taken vxlan_out 15 ping_lossless server 10.70.0.2 -f -c 20

if ip -n "$lab_id-gwa" link set br70 type bridge vlan_filtering 1 2>/dev/null; then
	say "the bridge looks at VLANs: one without tag is as before, another at the device is not"
	wait_for 10 in_ns client ping -c 1 -W 1 10.70.0.1
	pings 10.70.0.2
	taken vxlan_out 15 ping_lossless server 10.70.0.2 -f -c 20
	run in_ns gwa bridge vlan add vid 7 dev vx70 pvid untagged
	wait_for 10 shows 'share no untagged VLAN'
	run in_ns gwa bridge vlan add vid 1 dev vx70 pvid untagged
	run ip -n "$lab_id-gwa" link set br70 type bridge vlan_filtering 0
	wait_for 10 in_ns client ping -c 1 -W 1 10.70.0.1
	pings 10.70.0.2
else
	say "left out: this kernel's bridges do not look at VLANs"
fi

say "the device changes its MTU and goes away while there is traffic"
start stream server ping -q -i 0.002 10.70.0.2
check "it ends here" shows 'mtu 1450, ends here'
run ip -n "$lab_id-gwa" link set vx70 mtu 1300
wait_for 10 narrow 10.70.0.2
run ip -n "$lab_id-gwa" link del vx70
refuse in_ns server ping -c 1 -W 1 10.70.0.2
device gwa
fdb gwa add $host dev vx70 dst 10.1.0.2
fdb gwa append 00:00:00:00:00:00 dev vx70 dst 10.1.0.2
wait_for 10 in_ns client ping -c 1 -W 1 10.70.0.1
pings 10.70.0.2
taken vxlan_out 15 ping_lossless server 10.70.0.2 -f -c 20
stop stream INT
run ip -n "$lab_id-gwa" link del br70
refuse in_ns server ping -c 1 -W 1 10.70.0.2
taken left_to_kernel 1 eval 'in_ns client ping -c 2 -i 0.2 -W 1 10.2.0.2 || true'
