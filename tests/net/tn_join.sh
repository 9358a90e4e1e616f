#!/usr/bin/env bash
# A node joins by an auth key: each side sees the other, they talk over DERP while UDP between them is
# dropped, and directly as soon as it is not. The way back to DERP when it is dropped again.
# timeout: 90
#
#   alice (device under test) ---- inet ---- bob-nat ---- bob
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

lab_begin
need_node "$dut" "$peer_kind"
tn_begin

say "join"
tn_node alice "$dut"
tn_node bob "$peer_kind" easy
udp_between alice bob block
for pair in "alice bob" "bob alice"; do
	read -r a b <<<"$pair"
	wait_for 10 knows "$a" "$b"
	wait_for 10 online "$a" "$b"
	wait_for 20 at_home "$a"
	check "$a is Running" backend_state "$a" Running
	check "$a has its addresses" test "$(tailscale "$a" ip)" = "$(ip4 "$a")"$'\n'"$(ip6 "$a")"
	show "$a" status
done

say "relayed"
wait_pong alice bob derp
wait_pong bob alice derp
both_ways alice bob
check "alice says so" test "$(peer_status alice bob .CurAddr)" = ""
check "by the region of bob's home" test "$(peer_status alice bob .Relay)" = "$(home_of bob)"

say "direct"
udp_between alice bob allow
wait_pong alice bob direct 40
wait_pong bob alice direct
both_ways alice bob
show alice status
check "alice names bob's address" grep -q ^10.77.0.12: <<<"$(peer_status alice bob .CurAddr)"
check "bob names alice's address" test "$(peer_status bob alice .CurAddr)" = 10.77.0.11:41641

say "relayed again"
udp_between alice bob block
wait_pong alice bob derp 40
wait_reach alice "$(ip4 bob)"
