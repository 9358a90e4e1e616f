#!/usr/bin/env bash
# The two nodes have their homes in different DERP regions: each sends to the home of the other. The
# home of one moves to the other region when its own gets slow to answer.
# timeout: 120
# sanitizer: no
#
#   alice (device under test), home 901 ---- inet ---- bob, home 902, no UDP between them
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_place alice none
tn_place bob none
udp_between alice bob block
drop iifname w-alice ip daddr 10.77.0.3 udp dport 3478
drop iifname w-bob ip daddr 10.77.0.2 udp dport 3478
for node in "alice $dut" "bob $peer_kind"; do
	read -r name kind <<<"$node"
	tn_daemon "$name" "$kind"
	tn_up "$name" --accept-routes --accept-dns=false
done
wait_for 20 home_is alice lab901
wait_for 20 home_is bob lab902
wait_for 10 knows alice bob
show alice status
wait_pong alice bob derp
check "alice sends to 902" grep -q 'DERP(lab902)' "$lab_dir/pong.txt"
wait_pong bob alice derp
check "bob sends to 901" grep -q 'DERP(lab901)' "$lab_dir/pong.txt"
both_ways alice bob
transfer alice bob "$(ip4 bob)" 5
transfer bob alice "$(ip4 alice)" 5

say "STUN of 901 no longer answers alice, that of 902 does"
drop_nothing
drop iifname w-alice ip daddr 10.77.0.2 udp dport 3478
begin=$(now_ms)
wait_for 90 home_is alice lab902
echo "alice moved after $(($(now_ms) - begin)) ms"
wait_for 10 test -n "$(peer_status bob alice .Relay)"
both_ways alice bob
wait_pong bob alice derp
check "bob sends to 902 now" grep -q 'DERP(lab902)' "$lab_dir/pong.txt"
