#!/usr/bin/env bash
# Two thousand peers come with one map response while pings pass, then patches at a thousand a second: no
# ping is lost, the node knows everybody, and what a patch says is in its status.
# timeout: 120
# sanitizer: no
#
#   alice (device under test) ---- inet ---- bob, and 2000 nodes that exist in testcontrol only
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/testcontrol.bash
source ./testcontrol.bash

n=2000

peers() { node_status alice '.Peer | length'; }
has_peers() { (($(peers) == $1)); }
patched() { # FILTER: of the status of one of them
	tailscale alice status --json | jq -e ".Peer[] | select(.DNSName == \"many7.lab.test.\") | $1"
}
patch() { # MEMBERS
	run control POST /maps/alice "{\"PeersChangedPatch\": [{\"NodeID\": $id, $1}]}"
}

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_node alice "$dut"
tn_node bob "$peer_kind"
tn_settle bob
wait_for 10 knows alice bob
wait_pong alice bob direct
both_ways alice bob
rss=$(rss_kb "${lab_pid[alice]}")
ping_begin beside alice "$(ip4 bob)" 0.005

say "$n peers with the first message of a stream"
control POST /fakes "{\"Count\": $n, \"HomeDERP\": 901, \"Quiet\": true}"
id=$(control GET /nodes/many7 | jq .ID)
control POST /drop/alice
wait_for 40 has_peers $((n + 1))
check "bob is not told" test "$(node_status bob '.Peer | length')" = 1
echo "resident memory of alice: $rss kB before, $(rss_kb "${lab_pid[alice]}") kB after"

say "patches"
patch '"Online": false'
wait_for 10 patched '.Online == false'
patch '"DERPRegion": 902'
wait_for 10 patched '.Relay == "lab902"'
control POST /patches/alice '{"Rate": 1000, "Seconds": 5}' >"$lab_dir/patches.json"
jq -r '"\(.Sent) in \(.Seconds) s, probes behind them answered within \(.ProbesMs | max) ms"' "$lab_dir/patches.json"
check "every probe is answered" jq -e '.Unanswered == 0' "$lab_dir/patches.json" >/dev/null
patch '"Online": true'
wait_for 10 patched '.Online == true'

say "more come, all go"
control POST /fakes "{\"Count\": $n, \"HomeDERP\": 902}" >/dev/null
wait_for 20 has_peers $((2 * n + 1))
control DELETE /fakes
wait_for 20 has_peers 1
ping_end beside
both_ways alice bob
