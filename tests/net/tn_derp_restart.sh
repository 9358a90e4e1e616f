#!/usr/bin/env bash
# The DERP server that carries the traffic is killed and comes back: so do the packets. It stays away:
# its clients move to the other region.
# timeout: 150
# sanitizer: no
#
#   alice (device under test) ---- inet ---- bob, no UDP between them
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_node alice "$dut"
tn_node bob "$peer_kind"
udp_between alice bob block
wait_pong alice bob derp
both_ways alice bob
region=$(home_of alice)
region=${region#lab}

say "the home of alice, $region, is killed and started again"
stop "derp$region" KILL
sleep 1
derp_start "$region"
begin=$(now_ms)
wait_reach bob "$(ip4 alice)" 40
echo "after $(($(now_ms) - begin)) ms"
both_ways alice bob
check "with the same home" home_is alice "lab$region"

say "it is killed and stays away"
stop "derp$region" KILL
begin=$(now_ms)
other=lab$((1803 - region))
wait_for 90 home_is alice "$other"
echo "alice moved to $other after $(($(now_ms) - begin)) ms"
wait_reach bob "$(ip4 alice)" 60
wait_reach alice "$(ip4 bob)" 60
echo "packets pass after $(($(now_ms) - begin)) ms"
both_ways alice bob
wait_pong bob alice derp
check "over $other" grep -q "DERP($other)" "$lab_dir/pong.txt"
