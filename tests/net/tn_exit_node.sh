#!/usr/bin/env bash
# The device under test is an exit node for real clients: offered, approved, chosen by name and by
# address, listed and suggested; IPv4 and IPv6; the client's LAN with and without its leave; given up
# again. Private networks of the exit node's side are not part of the internet.
# timeout: 150
# sanitizer: no
#
#   alice (device under test, the way out) ---- inet ---- bob-nat ---- bob (client) ---- bob-lan
#   203.0.113.80, 2001:db8:80::80 in inet show who asks
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

web4=203.0.113.80 web6=2001:db8:80::80
seen4() { in_ns "$1" socat -u "TCP4:$web4:80,connect-timeout=2" STDOUT; } # NAME: the address that the server saw
seen6() { in_ns "$1" socat -u "TCP6:[$web6]:80,connect-timeout=2" STDOUT; }
is_seen() { [[ $(seen"$2" "$1" 2>/dev/null) == "$3" ]]; } # NAME 4|6 ADDRESS
offers() { [[ $(peer_status bob alice .ExitNodeOption) == true ]]; }

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_policy <<-'JSON'
	{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
	 "nodeAttrs": [{"target": ["*"], "attr": ["suggest-exit-node"]}]}
JSON
tn_node alice "$dut"
tn_node bob "$peer_kind" easy
addr alice wan fd77::11/64
ip -n "$lab_id-alice" -6 route add default via fd77::1
addr inet br $web4/32
addr inet br $web6/128
addr inet br fd77::1/64
start web4 inet socat -U "TCP4-LISTEN:80,bind=$web4,fork,reuseaddr" "SYSTEM:echo \$SOCAT_PEERADDR"
start web6 inet socat -U "TCP6-LISTEN:80,bind=[$web6],fork,reuseaddr" "SYSTEM:echo \$SOCAT_PEERADDR"
wait_for 5 listening inet 80
wait_for 10 knows bob alice
wait_pong bob alice direct

say "offered, then approved"
show alice set --advertise-exit-node
wait_for 10 eval '[[ $(headscale_node alice ".available_routes | sort | join(\",\")") == "0.0.0.0/0,::/0" ]]'
refuse ts bob set --exit-node=alice
approve alice 0.0.0.0/0,::/0
wait_for 10 offers
check "status says so" grep -q "alice .*offers exit node" <<<"$(tailscale bob status)"
show bob exit-node list
check "it is listed" grep -q alice <<<"$(tailscale bob exit-node list)"
wait_for 10 eval '[[ $(tailscale bob exit-node suggest) == *"Suggested exit node: alice"* ]]'

say "in use"
check "bob's own way is another one" wait_for 5 is_seen bob 4 10.77.0.12
check "bob's LAN is reached" wait_for 5 reaches bob 10.88.2.2
for by in alice "$(ip4 alice)"; do
	show bob set --exit-node="$by"
	wait_for 15 is_seen bob 4 10.77.0.11
	show bob set --exit-node=
	wait_for 10 is_seen bob 4 10.77.0.12
done
show bob set --exit-node=alice
wait_for 15 is_seen bob 6 '[fd77:0000:0000:0000:0000:0000:0000:0011]'
check "bob's LAN is not" silent bob 10.88.2.2
check "alice's LAN is no part of the internet" silent bob 10.88.1.2
show bob set --exit-node-allow-lan-access
wait_for 10 reaches bob 10.88.2.2
check "the rest goes on" wait_for 5 is_seen bob 4 10.77.0.11

say "withdrawn"
show alice set --advertise-exit-node=false
wait_for 20 eval '! offers'
check "nothing leaves past it" eval '! seen4 bob 2>/dev/null'
show bob set --exit-node=
wait_for 10 is_seen bob 4 10.77.0.12
