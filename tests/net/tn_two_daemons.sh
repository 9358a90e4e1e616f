#!/usr/bin/env bash
# Several daemons on one machine, each in its namespace: they talk to each other, and what happens to
# one does not touch the other. A second one with the same socket and state is refused.
# timeout: 120
# sanitizer: no
#
#   alice, bob (both device under test) ---- inet ---- carol
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

ended() { ! kill -0 "${lab_pid[$1]}"; }

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_node alice "$dut"
tn_node bob "$dut" easy
tn_node carol "$peer_kind"
for pair in "alice bob" "bob alice" "alice carol" "carol bob"; do
	read -r a b <<<"$pair"
	wait_for 20 online "$a" "$b"
	wait_pong "$a" "$b" direct
done
both_ways alice bob
transfer alice bob "$(ip4 bob)" 20
transfer bob alice "$(ip6 alice)" 20

say "bob is killed and comes back"
tn_settle carol
ping_begin beside alice "$(ip4 carol)" 0.02
stop bob KILL
wait_for 5 silent alice "$(ip4 bob)"
tn_daemon bob "$dut"
wait_pong alice bob direct 60
both_ways alice bob
ping_end beside

say "a second one in the place of alice"
tn_start second alice
wait_for 20 ended second
status=0
wait "${lab_pid[second]}" || status=$?
unset "lab_pid[second]"
check "it is refused" test $status != 0
tail -3 "$lab_dir/second.log"
check "alice goes on" backend_state alice Running
# A second one of the real daemon takes the addresses of the first away.
[[ $dut == tailscaled ]] || both_ways alice bob
