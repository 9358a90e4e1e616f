#!/usr/bin/env bash
# A prefix moves from one peer to another on reload; a packet with a source that its peer may not
# use is dropped.
# timeout: 60
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server    10.2.0.2, 10.9.0.1
#                                    |
#                                    +====== gwc (wireguard-go) ---- other     10.3.0.2, 10.9.0.1
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

peers_of_gwa() { # WHO_HAS_10.9
	local b=10.2.0.0/24,10.99.2.1/32 c=10.3.0.0/24,10.99.3.1/32
	rm -f "$lab_dir/gwa.peers"
	case $1 in
	gwb) b+=,10.9.0.0/24 ;;
	gwc) c+=,10.9.0.0/24 ;;
	esac
	add_peer gwa gwb 192.0.2.2:41641 $b
	add_peer gwa gwc 192.0.2.3:41641 $c
}

answered_by() { # HOST: the one of the two 10.9.0.1 that gets client's pings
	local before after
	before=$(echo_requests "$1")
	ping_lossless client 10.9.0.1 -c 3 -i 0.02
	after=$(echo_requests "$1")
	((after - before == pinged))
}

echo_requests() { in_ns "$1" awk '/^Icmp: [0-9]/ {print $10}' /proc/net/snmp; }

lab_begin
need_kind "$dut" "$peer_kind"
lab_hosts
add_gateway gwc 3 other
for host in server other; do
	addr $host lo 10.9.0.1/32
done
run ip -n "$lab_id-gwb" route add 10.9.0.0/24 via 10.2.0.2
run ip -n "$lab_id-gwc" route add 10.9.0.0/24 via 10.3.0.2
peers_of_gwa gwb
add_peer gwb gwa 192.0.2.1:41641 10.1.0.0/24,10.99.1.1/32
add_peer gwc gwa 192.0.2.1:41641 10.1.0.0/24,10.99.1.1/32
gateway_start gwa "$dut"
gateway_start gwb "$peer_kind"
gateway_start gwc "$peer_kind"
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
wait_for 15 in_ns client ping -c 1 -W 1 10.3.0.2

check "10.9.0.0/24 is behind gwb" answered_by server

say "the prefix moves to gwc"
peers_of_gwa gwc
gateway_reload gwa
check "10.9.0.0/24 is behind gwc" answered_by other
ping_lossless client 10.2.0.2 -f -c 50

say "gwb may no longer use it as a source"
capture forged client eth0 "icmp and src 10.9.0.1"
in_ns server ping -c 3 -W 1 -I 10.9.0.1 10.1.0.2 || true
ping_lossless server 10.1.0.2 -c 1
check "nothing from 10.9.0.1 by way of gwb arrived" test "$(captured forged)" = 0

say "nobody has the prefix"
peers_of_gwa nobody
gateway_reload gwa
refuse on client ping -c 2 -W 1 10.9.0.1

say "and back"
peers_of_gwa gwb
gateway_reload gwa
check "10.9.0.0/24 is behind gwb" answered_by server
