#!/usr/bin/env bash
# EVPN by real FRR at the gateway and at another VTEP: what it writes down (remote VTEPs, MACs,
# neighbours) is all that the gateway needs to carry a host of the segment into the tunnel and back.
# timeout: 90
# sanitizer: no
#
#   server ---- gwb (wireguard-go) ==== wan ==== gwa (tailgate, FRR) ==== client (FRR) ---- guest
#                                                br70 10.70.0.1   vx70   br70          10.70.0.2
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh
# shellcheck source=tests/net/frr.bash
source ./frr.bash

segment() { # NAMESPACE LOCAL
	run ip -n "$lab_id-$1" link add br70 type bridge mcast_snooping 0
	run ip -n "$lab_id-$1" link add vx70 type vxlan id 70 local "$2" dstport 4789 nolearning
	ip -n "$lab_id-$1" link set br70 up
	ip -n "$lab_id-$1" link set vx70 mtu 1450 master br70 up
}
evpn() { # NAMESPACE OWN PEER
	frr_start "$1" <<-FRR
		router bgp 65000
		 bgp router-id $2
		 no bgp default ipv4-unicast
		 neighbor $3 remote-as 65000
		 neighbor $3 timers connect 1
		 address-family l2vpn evpn
		  neighbor $3 activate
		  advertise-all-vni
		 exit-address-family
	FRR
}
shows() { grep -qE "^vxlan: vx70, .*$1" < <(tailgate_cli gwa status); }
learned() { grep -qiE "^$1 .*dst $2 .*extern_learn" < <(in_ns gwa bridge fdb show dev vx70); } # MAC VTEP

lab_begin
need_kind "$dut" "$peer_kind"
[[ $dut == tailgate ]] || skip "only tailgate ends VXLANs"
need_frr

lab_hosts
add_peer gwa gwb "${wan4[gwb]}:41641" 10.2.0.0/24
add_peer gwb gwa "${wan4[gwa]}:41641" 10.1.0.0/24,10.70.0.0/24
add_ns guest
link guest eth0 client to-guest
segment gwa 10.1.0.1
addr gwa br70 10.70.0.1/24
segment client 10.1.0.2
run ip -n "$lab_id-client" link set to-guest master br70
addr guest eth0 10.70.0.2/24
on guest ip route add 10.2.0.0/24 via 10.70.0.1
gateway_start gwa tailgate
gateway_start gwb "$peer_kind"
evpn gwa 10.1.0.1 10.1.0.2
evpn client 10.1.0.2 10.1.0.1

say "FRR tells of the other VTEP, and the guest is found through it"
wait_for 30 shows '1 of 1 remote VTEPs'
wait_for 20 in_ns guest ping -c 1 -W 1 10.70.0.1
mac=$(ip -n "$lab_id-guest" -j link show eth0 | jq -r '.[0].address')
wait_for 20 learned "$mac" 10.1.0.2
on gwa bridge fdb show dev vx70
wait_for 20 in_ns server ping -c 1 -W 1 10.70.0.2
taken vxlan_in 15 ping_lossless guest 10.2.0.2 -f -c 20
taken vxlan_out 15 ping_lossless server 10.70.0.2 -f -c 20
tailgate_cli gwa routes
check "a neighbour through it" grep -qE '^vx70 +70 +4789 +- +br70 +1450 +1 of 1 +[1-9][0-9]* +[1-9][0-9]* +ends here' < <(tailgate_cli gwa routes)

say "the other VTEP leaves: so do its MACs and the way to it"
stop bgpd-client KILL
wait_for 30 eval '! learned "$mac" 10.1.0.2'
wait_for 10 shows '0 of 0 remote VTEPs'
