#!/usr/bin/env bash
# Subnet routes: advertised, approved, accepted; a host on the one LAN talks to a host on the other,
# with its own address, IPv4 and IPv6. Not before they are approved, nor after they are withdrawn.
# timeout: 120
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet ---- bob ---- bob-lan
#   10.88.1.0/24, fd88:0:0:1::/64                                    10.88.2.0/24, fd88:0:0:2::/64
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

routes_of() { # NAME PEER: what the tailnet sends to the peer, beside its own addresses
	peer_status "$1" "$2" '.PrimaryRoutes // [] | sort | join(",")'
}
no_routes() { [[ ! $(routes_of "$1" "$2") ]]; }

lan_to_lan() {
	wait_reach alice-lan 10.88.2.2
	wait_reach bob-lan 10.88.1.2
	wait_reach alice-lan fd88:0:0:2::2
	wait_reach bob-lan fd88:0:0:1::2
	pings_lossless '-c 20 -i 0.02 -W 2' "alice-lan 10.88.2.2" "bob-lan 10.88.1.2" \
		"alice-lan fd88:0:0:2::2" "bob-lan fd88:0:0:1::2"
}

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_node alice "$dut" none --snat-subnet-routes=false --advertise-routes=10.88.1.0/24,fd88:0:0:1::/64
tn_node bob "$peer_kind" none --snat-subnet-routes=false --advertise-routes=10.88.2.0/24,fd88:0:0:2::/64
tn_lan6 alice
tn_lan6 bob
wait_for 10 knows alice bob
wait_pong alice bob direct
headscale nodes list-routes
check "headscale knows what alice offers" test \
	"$(headscale_node alice '.available_routes | join(",")')" = 10.88.1.0/24,fd88:0:0:1::/64
check "nothing passes before it is approved" silent alice-lan 10.88.2.2
check "nor the other way" silent bob-lan 10.88.1.2

say "approved"
approve alice 10.88.1.0/24,fd88:0:0:1::/64
approve bob 10.88.2.0/24,fd88:0:0:2::/64
lan_to_lan
check "alice routes to bob" test "$(routes_of alice bob)" = 10.88.2.0/24,fd88:0:0:2::/64
wait_reach alice 10.88.2.2
wait_reach bob 10.88.1.2

say "hosts keep their addresses"
start whoami bob-lan socat -U TCP-LISTEN:7001,fork,reuseaddr "SYSTEM:echo \$SOCAT_PEERADDR"
start whoami-a alice-lan socat -U TCP-LISTEN:7001,fork,reuseaddr "SYSTEM:echo \$SOCAT_PEERADDR"
wait_for 5 listening bob-lan 7001
wait_for 5 listening alice-lan 7001
check "from alice's LAN" test "$(in_ns alice-lan socat -u TCP:10.88.2.2:7001 STDOUT)" = 10.88.1.2
check "from bob's LAN" test "$(in_ns bob-lan socat -u TCP:10.88.1.2:7001 STDOUT)" = 10.88.2.2

say "streams"
transfer alice-lan bob-lan 10.88.2.2 20
transfer bob-lan alice-lan 10.88.1.2 20
transfer alice-lan bob-lan fd88:0:0:2::2 20

say "alice does not accept routes"
show alice set --accept-routes=false
wait_for 10 silent alice-lan 10.88.2.2
show alice set --accept-routes
lan_to_lan

say "alice withdraws hers"
show alice set --advertise-routes=
wait_for 20 no_routes bob alice
wait_for 10 silent bob-lan 10.88.1.2
both_ways alice bob
