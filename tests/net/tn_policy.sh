#!/usr/bin/env bash
# The packet filter of the map: what the policy allows passes, answers included; everything else from
# peers is dropped, for the node itself and for the LAN behind it. A new policy counts at once.
# timeout: 120
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet ---- bob ---- bob-lan
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

serve() { # NAMESPACE PORT: over TCP and UDP, answers with its name
	start "tcp-$1-$2" "$1" socat -U "TCP-LISTEN:$2,fork,reuseaddr" "SYSTEM:echo $1"
	start "udp-$1-$2" "$1" socat "UDP-RECVFROM:$2,fork,reuseaddr" "SYSTEM:echo $1"
	wait_for 5 listening "$1" "$2"
	wait_for 5 listening "$1" "$2" u
}
tcp() { [[ $(in_ns "$1" socat -u "TCP:$2:$3,connect-timeout=1" STDOUT 2>/dev/null) ]]; } # FROM TO PORT
udp() { [[ $(in_ns "$1" socat -t 1 - "UDP:$2:$3" <<<hello 2>/dev/null) ]]; }
refused() { ! "$@"; }

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_node alice "$dut" none --advertise-routes=10.88.1.0/24 --snat-subnet-routes=false
tn_node bob "$peer_kind" none --advertise-routes=10.88.2.0/24 --snat-subnet-routes=false
approve alice 10.88.1.0/24
approve bob 10.88.2.0/24
for ns in alice alice-lan bob; do
	serve $ns 8080
	serve $ns 8081
done

say "without a policy everything passes"
wait_reach bob-lan 10.88.1.2
wait_pong alice bob direct
check "TCP 8081" wait_for 5 tcp bob "$(ip4 alice)" 8081
check "UDP 8081" wait_for 5 udp bob "$(ip4 alice)" 8081
check "TCP 8081 of the LAN" wait_for 5 tcp bob-lan 10.88.1.2 8081

say "bob and his LAN may use TCP 8080 of alice, UDP 8080 of her LAN, nothing else"
tn_policy <<-JSON
	{"acls": [
		{"action": "accept", "proto": "tcp", "src": ["$(ip4 bob)", "10.88.2.0/24"], "dst": ["$(ip4 alice):8080"]},
		{"action": "accept", "proto": "udp", "src": ["$(ip4 bob)", "10.88.2.0/24"], "dst": ["10.88.1.0/24:8080"]}
	]}
JSON
wait_for 20 refused tcp bob "$(ip4 alice)" 8081
check "TCP 8080 of alice" wait_for 5 tcp bob "$(ip4 alice)" 8080
check "from bob's LAN, too" wait_for 5 tcp bob-lan "$(ip4 alice)" 8080
check "UDP 8080 of the LAN" wait_for 5 udp bob-lan 10.88.1.2 8080
check "not TCP 8081 of alice" refused tcp bob "$(ip4 alice)" 8081
check "not UDP 8080 of alice" refused udp bob "$(ip4 alice)" 8080
check "not TCP 8080 of the LAN" refused tcp bob 10.88.1.2 8080
check "not UDP 8081 of the LAN" refused udp bob-lan 10.88.1.2 8081
check "an echo, since some port is allowed" wait_for 5 reaches bob "$(ip4 alice)"
check "nothing from alice to bob" refused tcp alice "$(ip4 bob)" 8080
check "not from her LAN either" refused udp alice-lan "$(ip4 bob)" 8080
check "nothing over IPv6" refused tcp bob "$(ip6 alice)" 8080

say "the other way round"
tn_policy <<-JSON
	{"acls": [
		{"action": "accept", "src": ["$(ip4 alice)", "10.88.1.0/24"], "dst": ["$(ip4 bob):8080"]}
	]}
JSON
wait_for 20 tcp alice "$(ip4 bob)" 8080
check "UDP and its answer" wait_for 5 udp alice "$(ip4 bob)" 8080
check "from alice's LAN, and the answer" wait_for 5 tcp alice-lan "$(ip4 bob)" 8080
check "UDP from alice's LAN, and the answer" wait_for 5 udp alice-lan "$(ip4 bob)" 8080
check "an echo, and the answer" wait_for 5 reaches alice "$(ip4 bob)"
check "not TCP 8081" refused tcp alice "$(ip4 bob)" 8081
check "nothing from bob to alice" refused tcp bob "$(ip4 alice)" 8080
check "not UDP either" refused udp bob "$(ip4 alice)" 8080
check "no echo" silent bob "$(ip4 alice)"

say "shields up: nothing that others begin"
tn_policy <<<'{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}'
wait_for 20 tcp bob "$(ip4 alice)" 8081
show alice set --shields-up
wait_for 20 refused tcp bob "$(ip4 alice)" 8080
check "no echo" silent bob "$(ip4 alice)"
check "what alice begins passes" wait_for 5 tcp alice "$(ip4 bob)" 8081
show alice set --shields-up=false
wait_for 20 tcp bob "$(ip4 alice)" 8080
