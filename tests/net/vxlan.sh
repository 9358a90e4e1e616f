#!/usr/bin/env bash
# A host behind a VXLAN that ends in the gateway talks through the tunnel: over IPv4 and IPv6 below,
# by a neighbour that the kernel finds, by routes, and by a forwarding database that changes. The
# gateway takes it on its own; what it does not know it leaves to the kernel. TCP stays in large
# packets all the way.
# timeout: 90
#
#   client ================ gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
#   vx4 10.50.0.2/24     vx4 10.50.0.1/24
#       fd50::2/64           fd50::1/64
#   vx6 10.60.0.2/24     vx6 10.60.0.1/24    in VXLAN over IPv6, with a route to 10.61.0.0/24
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

vxlan() { # NAMESPACE NAME VNI LOCAL DEVICE ADDRESS...
	local end=1
	[[ $1 == gwa ]] || end=2
	run ip -n "$lab_id-$1" link add "$2" address "02:00:00:00:$3:0$end" \
		type vxlan id "$3" local "$4" dev "$5" dstport "${vxlan_port:-4789}" nolearning
	ip -n "$lab_id-$1" link set "$2" up
	addr "$1" "$2" "${@:6}"
}

received() { ip -j -s -n "$lab_id-client" link show "$1" | jq -r '.[0].stats64.rx | "\(.packets) \(.bytes)"'; } # DEVICE

whole() { # DEVICE COMMAND...: the client gets more than two segments in a packet meanwhile, on average
	local packets bytes packets_after bytes_after
	read -r packets bytes < <(received "$1")
	"${@:2}"
	read -r packets_after bytes_after < <(received "$1")
	check "$1: $((bytes_after - bytes)) bytes in $((packets_after - packets)) packets" \
		test $((bytes_after - bytes)) -gt $((3000 * (packets_after - packets)))
}

tunnel_offload() { # on|off: what the kernel segments of VXLAN on gwa's lan, in one piece, or packet by packet
	run in_ns gwa ethtool -K lan tx-udp_tnl-segmentation "$1" tx-udp_tnl-csum-segmentation "$1"
}

fdb() { run in_ns "$1" bridge fdb "${@:2}"; }
lab_begin
need_kind "$dut" "$peer_kind"
[[ $dut == tailgate ]] || skip "only tailgate ends VXLANs"

say "a VXLAN between the client and gwa, each knowing the other as whatever is not known"
lab_hosts
add_peer gwa gwb "${wan4[gwb]}:41641" 10.2.0.0/24,fd02::/64
add_peer gwb gwa "${wan4[gwa]}:41641" 10.1.0.0/24,10.50.0.0/24,fd50::/64,10.60.0.0/24,10.61.0.0/24
vxlan client vx4 40 10.1.0.2 eth0 10.50.0.2/24 fd50::2/64
vxlan gwa vx4 40 10.1.0.1 lan 10.50.0.1/24 fd50::1/64
fdb client append 00:00:00:00:00:00 dev vx4 dst 10.1.0.1
fdb gwa append 00:00:00:00:00:00 dev vx4 dst 10.1.0.2
on client ip route add 10.2.0.2/32 via 10.50.0.1 dev vx4
on client ip route add fd02::2/128 via fd50::1 dev vx4
gateway_start gwa tailgate
gateway_start gwb "$peer_kind"
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
wait_for 15 in_ns client ping -c 1 -W 1 fd02::2

say "IPv4 and IPv6 in it: by the gateway, not by the kernel"
taken vxlan_in 35 ping_lossless client 10.2.0.2 -f -c 40
taken vxlan_out 35 ping_lossless client 10.2.0.2 -f -c 40
taken vxlan_in 35 ping_lossless client fd02::2 -f -c 40
taken vxlan_out 35 ping_lossless server 10.50.0.2 -f -c 40
taken vxlan_in 20 transfer client server 10.2.0.2 20

say "TCP into it stays in large packets up to the client; the kernel cuts it where the link takes none"
whole vx4 taken vxlan_out 1000 transfer server client 10.50.0.2 20
whole vx4 taken vxlan_out 1000 transfer server client fd50::2 20
tunnel_offload off
taken vxlan_out 1000 transfer server client 10.50.0.2 20
taken vxlan_out 1000 transfer server client fd50::2 20
tunnel_offload on

say "nothing arrives twice: the kernel has its copy, too, which the guard drops"
check "no duplicates" eval '! grep -q duplicates < <(in_ns server ping -q -f -c 50 10.50.0.2)'
check "none the other way" eval '! grep -q duplicates < <(in_ns client ping -q -f -c 50 10.2.0.2)'
check "status names it" grep -qE "^vxlan: vx4, VNI 40, .* ends here, 1 of 1 " < <(tailgate_cli gwa status)

say "its MTU is 1450, the tunnel's 1420: what is larger is answered"
check "the client is told 1420" grep -q "mtu = 1420" < <(in_ns client ping -c 1 -W 2 -M "do" -s 1412 10.2.0.2 2>&1)

say "VXLAN over IPv6, to a network behind a neighbour that is written down"
vxlan client vx6 60 fd01::2 eth0 10.60.0.2/24 10.61.0.2/32
vxlan gwa vx6 60 fd01::1 lan 10.60.0.1/24
fdb client append 00:00:00:00:00:00 dev vx6 dst fd01::1
fdb gwa append 02:00:00:00:60:02 dev vx6 dst fd01::2
on gwa ip neigh add 10.60.0.2 lladdr 02:00:00:00:60:02 dev vx6 nud permanent
on gwa ip route add 10.61.0.0/24 via 10.60.0.2 dev vx6 onlink
on client ip route replace 10.2.0.2/32 via 10.60.0.1 dev vx6 src 10.61.0.2
wait_for 10 in_ns client ping -c 1 -W 1 10.2.0.2
taken vxlan_in 35 ping_lossless client 10.2.0.2 -f -c 40
taken vxlan_out 35 ping_lossless server 10.61.0.2 -f -c 40
whole vx6 taken vxlan_out 1000 transfer server client 10.61.0.2 20

say "the forwarding database changes under it"
fdb gwa replace 02:00:00:00:60:02 dev vx6 dst fd01::77
wait_for 10 eval '! in_ns server ping -c 1 -W 1 10.61.0.2'
fdb gwa replace 02:00:00:00:60:02 dev vx6 dst fd01::2
wait_for 10 in_ns server ping -c 1 -W 1 10.61.0.2
taken vxlan_out 15 ping_lossless server 10.61.0.2 -f -c 20
fdb gwa del 02:00:00:00:60:02 dev vx6
wait_for 10 eval '! in_ns server ping -c 1 -W 1 10.61.0.2'
fdb gwa append 02:00:00:00:60:02 dev vx6 dst fd01::2
wait_for 10 in_ns server ping -c 1 -W 1 10.61.0.2

say "the remote VTEP goes away and comes back; the device, too"
run ip -n "$lab_id-client" link set vx4 down
refuse in_ns server ping -c 1 -W 1 10.50.0.2
run ip -n "$lab_id-client" link set vx4 up
wait_for 15 in_ns server ping -c 1 -W 1 10.50.0.2
run ip -n "$lab_id-gwa" link del vx4
refuse in_ns server ping -c 1 -W 1 10.50.0.2
vxlan gwa vx4 40 10.1.0.1 lan 10.50.0.1/24
fdb gwa append 00:00:00:00:00:00 dev vx4 dst 10.1.0.2
wait_for 15 in_ns server ping -c 1 -W 1 10.50.0.2
taken vxlan_out 15 ping_lossless server 10.50.0.2 -f -c 20

say "a VNI that no device here has is the kernel's"
vxlan client vx9 90 10.1.0.2 eth0 10.90.0.2/24
fdb client append 00:00:00:00:00:00 dev vx9 dst 10.1.0.1
on client ip neigh add 10.90.0.1 lladdr 02:00:00:00:90:01 dev vx9
taken vxlan_unknown_vni 3 eval 'in_ns client ping -c 3 -i 0.2 -W 1 10.90.0.1 || true'
