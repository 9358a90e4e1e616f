#!/usr/bin/env bash
# The coordination server is killed: packets pass on, no ping is lost. It comes back: the node hears
# of a peer that is new, and the server knows that the node is there.
# timeout: 150
#
#   alice (device under test) ---- inet ---- bob; later carol
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

registered() { # NAME: headscale says that it is connected
	[[ $(headscale_node "$1" .online) == true ]]
}

tn_pair
tn_settle bob
ping_begin beside alice "$(ip4 bob)" 0.05

say "headscale is killed"
stop headscale KILL
sleep 3
check "alice is still Running" backend_state alice Running
check "and knows bob" knows alice bob
show alice status
both_ways alice bob

say "and started again"
headscale_start
begin=$(now_ms)
wait_for 60 registered alice
echo "alice was back after $(($(now_ms) - begin)) ms"
tn_node carol "$peer_kind"
wait_for 30 knows alice carol
both_ways alice carol
ping_end beside
check "alice has kept its address" test "$(tailscale alice ip -4)" = "$(ip4 alice)"
show alice status
