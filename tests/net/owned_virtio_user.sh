#!/usr/bin/env bash
# An owned port with the offloads of a real NIC: vhost and virtio-user, joined as a virtual machine is
# to its host. TCP super-packets cross it whole (TSO at virtio-user, LRO at vhost) on their way into the
# tunnel; small packets one by one, more of them than the ring has places.
# timeout: 60
#
#   client ---- gwa ==== wan ==== [gwb] vhost ---- virtio-user [gwc: no peers, routes] ---- other
#                                      10.2.0.1    10.2.0.3                      10.3.0.1  10.3.0.2
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

supers() { # GATEWAY COUNTER: of its owned port
	tailgate_cli "$1" stats --json | jq --arg counter "$2" '.ports[] | select(.kind == "owned") | .[$counter]'
}

owned_is_up() { [[ $(tailgate_cli "$1" status --json | jq '.ports[] | select(.kind == "owned") | .up') == true ]]; }

lab_begin
[[ $dut == tailgate ]] || skip "only Tailgate has vhost"
need_kind tailgate
lab_hosts
add_gateway gwc 3 other
run ip -n "$lab_id-gwb" link del lan # takes the server's eth0 along
gw_ports[gwb]='ports = ( { name = "wan"; interface = "wan"; },
	{ name = "lan"; addresses = [ "10.2.0.1/24", "fd02::1/64" ];
	  device = "net_vhost0,iface='$lab_dir'/vhost.sock,tso=1"; } );'
gw_ports[gwc]='ports = ( { name = "lan"; interface = "lan"; },
	{ name = "up"; addresses = [ "10.2.0.3/24", "fd02::3/64" ];
	  device = "net_virtio_user0,path='$lab_dir'/vhost.sock"; } );'
add_peer gwa gwb 192.0.2.2:41641 10.2.0.0/24,fd02::/64,10.3.0.0/24,fd03::/64,10.99.2.1/32
add_peer gwb gwa 192.0.2.1:41641 10.1.0.0/24,fd01::/64,10.99.1.1/32
gateway_start gwb tailgate
gateway_start gwc tailgate
gateway_start gwa tailgate
wait_for 10 owned_is_up gwb
wait_for 10 owned_is_up gwc
run ip -n "$lab_id-gwb" route add 10.3.0.0/24 via 10.2.0.3
run ip -n "$lab_id-gwb" route add fd03::/64 via fd02::3
run ip -n "$lab_id-gwc" route add 10.1.0.0/24 via 10.2.0.1
run ip -n "$lab_id-gwc" route add fd01::/64 via fd02::1

say "the kernels talk over it"
wait_for 10 in_ns gwb ping -c 1 -W 1 10.2.0.3
ping_lossless gwb 10.2.0.3 -c 5 -i 0.02
ping_lossless gwc fd02::1 -c 5 -i 0.02

say "from the tunnel to the hosts behind it"
wait_for 15 in_ns client ping -c 1 -W 1 10.3.0.2
wait_for 15 in_ns client ping -c 1 -W 1 fd03::2
ping_lossless client 10.3.0.2 -f -c 100
ping_lossless other fd01::2 -f -c 100
ping_lossless client 10.3.0.2 -c 3 -i 0.02 -s 8000
transfer client other 10.3.0.2 50
transfer other client fd01::2 20
transfer other client 10.1.0.2 50

say "in super-packets"
tailgate_cli gwb status --json | jq -c '.ports[] | select(.kind == "owned") | .offloads'
echo "gwb: sent $(supers gwb tx_supers), received $(supers gwb rx_supers) of them"
echo "gwc: sent $(supers gwc tx_supers), received $(supers gwc rx_supers) of them"
# The other way DPDK 22.11's vhost does not offer segmentation.
check "gwc sent some" test "$(supers gwc tx_supers)" -gt 100
check "gwb received them as such" test "$(supers gwb rx_supers)" -gt 100
for gw in gwb gwc; do check "$gw: none was refused" test "$(supers $gw tx_errors)" = 0; done
