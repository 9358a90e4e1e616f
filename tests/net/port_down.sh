#!/usr/bin/env bash
# Ports go down and come back, vanish and are made again under the same name, get another MTU: the
# tunnel goes on by itself each time, and the log and counters say what was.
# timeout: 120
#
#   client ---- lan [gwa: tailgate] wan ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

gwa() { run ip -n "$lab_id-gwa" "$@"; }

port_is() { # NAME up|down
	[[ $(tailgate_cli gwa status --json | jq -r --arg name "$1" \
		'.ports[] | select(.name == $name) | if .up then "up" else "down" end') == "$2" ]]
}

logged() { grep -q "$1" "$lab_dir/gwa.log"; }

works() {
	local begin
	begin=$(now_ms)
	wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
	wait_for 15 in_ns client ping -c 1 -W 1 fd02::2
	echo "works after $(($(now_ms) - begin)) ms"
	ping_lossless client 10.2.0.2 -f -c 50
	ping_lossless server fd01::2 -f -c 50
}

large_passes() {
	in_ns client ip route flush cache # what the gateway said before
	in_ns client ping -c 1 -W 1 -M "do" -s 1392 10.2.0.2
}

wan_addresses() { addr gwa wan 192.0.2.1/24 2001:db8:99::1/64; }
lan_addresses() { addr gwa lan 10.1.0.1/24 fd01::1/64; }

guard_is_on() { # INTERFACE: the kernel drops there what Tailgate takes
	grep -q "hook ingress device \"$1\"" < <(in_ns gwa nft list ruleset)
}

lab_begin
[[ $dut == tailgate ]] || skip "the ports are Tailgate's"
need_kind tailgate wireguard-go
lab_up tailgate wireguard-go
pid=${lab_pid[gwa]}

say "the carrier of the WAN goes away and comes back"
run ip -n "$lab_id-wan" link set gwa down
wait_for 5 port_is wan down
refuse in_ns client ping -c 1 -W 1 10.2.0.2
run ip -n "$lab_id-wan" link set gwa up
wait_for 5 port_is wan up
works
check "the log says so" logged 'wan is down' && logged 'wan is up'

say "the WAN is set down and up"
gwa link set wan down
wait_for 5 port_is wan down
refuse in_ns client ping -f -c 20 -W 1 10.2.0.2
gwa link set wan up
wan_addresses 2>/dev/null || true # the kernel has forgotten the IPv6 one
wait_for 5 port_is wan up
works

say "the LAN's carrier goes away under packets from the tunnel, and comes back"
run ip -n "$lab_id-client" link set eth0 down
wait_for 5 port_is lan down
# The kernel forgets the neighbour, so nobody answers for it; a permanent one it keeps.
in_ns server ping -f -c 20 -W 1 10.1.0.2 >/dev/null || true
wait_for 6 counter_exceeds gwa neighbour 19
gwa neigh replace 10.1.0.2 lladdr "$(in_ns client cat /sys/class/net/eth0/address)" dev lan nud permanent
in_ns server ping -f -c 20 -W 1 10.1.0.2 >/dev/null || true
wait_for 5 counter_exceeds gwa port_down 19
gwa neigh del 10.1.0.2 dev lan
run ip -n "$lab_id-client" link set eth0 up
addr client eth0 fd01::2/64 2>/dev/null || true
# The kernel tells itself of the carrier a little later; until then there is no way to fd01::1.
wait_for 5 ip -n "$lab_id-client" route replace default via 10.1.0.1
wait_for 5 ip -n "$lab_id-client" route replace default via fd01::1
wait_for 5 port_is lan up
works

say "the WAN is deleted and made again under its name"
before=$(in_ns gwa cat /sys/class/net/wan/ifindex)
gwa link del wan
wait_for 5 port_is wan down
check "the log says so" logged 'wan: the interface is gone'
add_to_wan gwa wan
wan_addresses
now=$(in_ns gwa cat /sys/class/net/wan/ifindex)
check "it is another interface ($before, $now)" test "$before" != "$now"
wait_for 5 port_is wan up
works
wait_for 5 guard_is_on wan
capture unreachable wan br "icmp[0] == 3"
transfer client server 10.2.0.2 20
check "the guard is in front of the new one: no ICMP unreachable" test "$(captured unreachable)" = 0

say "the LAN is deleted and made again"
gwa link del lan
wait_for 5 port_is lan down
link client eth0 gwa lan
addr client eth0 10.1.0.2/24 fd01::2/64
lan_addresses
ip -n "$lab_id-client" route add default via 10.1.0.1
ip -n "$lab_id-client" route add default via fd01::1
wait_for 5 port_is lan up
works
wait_for 5 guard_is_on lan

say "the TUN is deleted: it is made again, with addresses and routes"
gwa link del tailgate0
wait_for 5 port_is tailgate0 up
wait_for 5 in_ns gwa ping -c 1 -W 1 -I 10.99.1.1 10.99.2.1
works

say "the MTU of the WAN shrinks and grows under a stream"
ping_begin beside client 10.2.0.2
gwa link set wan mtu 1400
too_big=''
for ((i = 0; i < 50; i++)); do # until the gateway has seen it
	in_ns client ip route flush cache
	if too_big=$(in_ns client ping -c 1 -W 1 -M "do" -s 1392 10.2.0.2 2>&1); then sleep 0.1; else break; fi
done
check "the answer names what fits into 1400" grep -qE 'mtu ?= ?13[0-4][0-9]' <<<"$too_big"
# One way: what the peer sends is still too large for this end of the link.
capture pieces server eth0 "src host 10.1.0.2 and ip[6:2] & 0x3fff != 0"
in_ns client ping -q -c 3 -i 0.2 -W 1 -M dont -s 1392 10.2.0.2 >/dev/null || true
check "what may be fragmented is" test "$(captured pieces)" = 6
gwa link set wan mtu 1500
wait_for 10 large_passes
ping_end beside

check "the same process all the time" test "$(tailgate_cli gwa status --json | jq .pid)" = "$pid"
transfer client server 10.2.0.2 20
transfer server client fd01::2 20
