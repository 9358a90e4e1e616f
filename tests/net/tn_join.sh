#!/usr/bin/env bash
# A node joins by an auth key: each side sees the other, they talk over DERP while UDP between them is
# dropped, and directly as soon as it is not. The way back to DERP when it is dropped again, and how
# soon traffic goes directly once more.
# timeout: 120
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

say "direct again, by what traffic makes it try"
has_path() { [[ $(peer_status "$1" "$2" .CurAddr) ]]; } # NAME PEER
no_path() { ! has_path "$1" "$2"; }
# A path lost less than a minute ago is tried each second by us, each 5 to 6 s by the real client.
bound=$([[ $dut == tailgate ]] && echo 3000 || echo 8000)
start traffic alice ping -q -i 0.1 "$(ip4 bob)"
wait_for 10 no_path alice bob
sleep 3 # traffic that finds no way
begin=$(now_ms)
udp_between alice bob allow
wait_for 15 has_path alice bob
took=$(($(now_ms) - begin))
check "direct $took ms after UDP passed again, $bound at most" test $took -le "$bound"
stop traffic INT
both_ways alice bob
