#!/usr/bin/env bash
# No IPv4 outside of the tailnet: coordination, DERP, STUN and the direct path are IPv6; inside of it
# both pass.
# timeout: 90
# sanitizer: no
#
#   alice (device under test) ---- inet, fd77::/64 ---- bob
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

lab_begin
need_node "$dut" "$peer_kind"
tn_family=6
tn_begin
tn_node alice "$dut"
tn_node bob "$peer_kind"
check "no IPv4 route to anywhere" test -z "$(ip -n "$lab_id-alice" -4 route show default)"
wait_for 10 knows alice bob
show alice netcheck >"$lab_dir/netcheck.txt" 2>&1
grep -E 'UDP:|IPv[46]:|Nearest' "$lab_dir/netcheck.txt"
check "netcheck has an IPv6 address" grep -qF 'IPv6: yes, [fd77::11]:' "$lab_dir/netcheck.txt"

say "relayed"
udp_between alice bob block
wait_pong alice bob derp
both_ways alice bob

say "direct"
udp_between alice bob allow
wait_pong alice bob direct
wait_pong bob alice direct
both_ways alice bob
show alice status
check "by IPv6" test "$(peer_status alice bob .CurAddr)" = '[fd77::12]:41641'
transfer alice bob "$(ip4 bob)" 10
transfer bob alice "$(ip6 alice)" 10
