#!/usr/bin/env bash
# An exit node with two uplinks: peers reach it directly at the one, what they send to the internet
# leaves by the other, behind a cloud's NAT gateway, which is all that servers see. A default route in
# table 52 does that: what workers forward asks it before main, the tunnel's own datagrams do not.
# timeout: 90
# sanitizer: no
#
#   bob (tailscaled) ---- inet ---- wan, alice (Tailgate), out ---- uplink (NAT) ---- inet
#                         203.0.113.80 in inet shows who asks
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

web=203.0.113.80
seen() { in_ns bob socat -u "TCP4:$web:80,connect-timeout=2" STDOUT; } # the address that the server saw
is_seen() { [[ $(seen 2>/dev/null) == "$1" ]]; }
offers() { [[ $(peer_status bob alice .ExitNodeOption) == true ]]; }

lab_begin
need_node tailgate tailscaled
tn_begin
addr inet br $web/32
start web inet socat -U "TCP4-LISTEN:80,bind=$web,fork,reuseaddr" "SYSTEM:echo \$SOCAT_PEERADDR"
tn_place alice none
add_ns uplink
in_ns uplink sysctl -qw net.ipv4.ip_forward=1
link alice out uplink in
link uplink wan inet w-uplink
ip -n "$lab_id-inet" link set w-uplink master br
addr alice out 10.78.0.2/24
addr uplink in 10.78.0.1/24
addr uplink wan 10.77.0.200/24
ip -n "$lab_id-uplink" route add default via 10.77.0.1
in_ns uplink nft add table ip nat
in_ns uplink nft 'add chain ip nat out { type nat hook postrouting priority 100; }'
in_ns uplink nft add rule ip nat out oifname wan masquerade
cat >"$lab_dir/alice.conf" <<-CONF
	tailnet = true;
	ports = ( { name = "wan"; interface = "wan"; }, { name = "out"; interface = "out"; },
	          { name = "lan"; interface = "lan"; } );
CONF
chmod 600 "$lab_dir/alice.conf"
run ip -n "$lab_id-alice" route add default via 10.78.0.1 table 52
run ip -n "$lab_id-alice" route add throw 10.88.1.0/24 table 52
tn_join alice tailgate --advertise-exit-node --advertise-routes=10.88.1.0/24
approve alice 0.0.0.0/0,::/0,10.88.1.0/24
tn_node bob tailscaled
wait_for 10 offers

say "the tunnel by the one"
wait_pong bob alice direct
check "at wan's address" grep -q 'via 10.77.0.11:' "$lab_dir/pong.txt"
say "the internet by the other"
show bob set --exit-node=alice
wait_for 20 is_seen 10.77.0.200
capture by-wan alice wan "host $web"
for _ in 1 2 3 4 5; do check "the server sees the NAT gateway" wait_for 5 is_seen 10.77.0.200; done
check "nothing of it passes by wan" test "$(captured by-wan)" = 0
check "still directly" pong bob alice direct
check "the LAN behind it is where main says" wait_for 5 reaches bob 10.88.1.2
