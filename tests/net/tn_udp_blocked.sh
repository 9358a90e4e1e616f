#!/usr/bin/env bash
# A network that lets no UDP through: joining, pings, a TCP stream, all over DERP on TCP port 443.
# When UDP comes back, the path becomes direct.
# timeout: 150
# sanitizer: no
#
#   alice (device under test) --(no UDP)-- inet ---- bob-nat ---- bob
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_node bob "$peer_kind" easy

say "alice comes with its UDP blocked"
tn_place alice none
udp_of alice block
tn_join alice "$dut"
show alice netcheck >"$lab_dir/netcheck.txt" 2>&1
grep -E 'UDP:|Nearest|lab90' "$lab_dir/netcheck.txt"
check "netcheck says so" grep -q 'UDP: false' "$lab_dir/netcheck.txt"
check "ICMP is what is left to measure by" test "$(ts alice netcheck --format json 2>/dev/null | jq .ICMPv4)" = true
check "alice has a home all the same" at_home alice
wait_pong alice bob derp
wait_pong bob alice derp
both_ways alice bob
transfer alice bob "$(ip4 bob)" 10
transfer bob alice "$(ip6 alice)" 10
check "no direct path" test "$(peer_status alice bob .CurAddr)" = ""

say "UDP is back"
udp_of alice allow
wait_pong alice bob direct 60
both_ways alice bob
