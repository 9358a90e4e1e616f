#!/usr/bin/env bash
# A peer that the server says is in jail (of another tailnet, as a shared machine's user): it begins
# nothing here any more and is told so, but answers. Taken back, it is as before. testcontrol is the
# server, since headscale jails nobody.
# timeout: 90
# sanitizer: no
#
#   alice (device under test) ---- inet ---- bob (tailscaled)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/testcontrol.bash
source ./testcontrol.bash

connects() { [[ $(in_ns "$1" socat -u "TCP:$(ip4 "$2"):7001,connect-timeout=2" STDOUT 2>/dev/null) == "$2" ]]; } # FROM TO
locked_out() { ! connects bob alice; }
jail() { control PATCH /nodes/bob "{\"IsJailed\": $1}" >/dev/null; } # true|false

lab_begin
need_node "$dut" tailscaled
tn_begin
tn_node alice "$dut"
tn_node bob tailscaled
for name in alice bob; do
	start "hello-$name" $name socat -U TCP-LISTEN:7001,fork,reuseaddr SYSTEM:"echo $name"
	wait_for 5 listening $name 7001
done
wait_for 10 knows alice bob
wait_pong alice bob direct
wait_for 10 connects bob alice
both_ways alice bob

say "bob is jailed"
jail true
wait_for 10 locked_out
check "he pings nobody" silent bob "$(ip4 alice)"
check "nor over IPv6" silent bob "$(ip6 alice)"
check "he answers" connects alice bob
ping_lossless alice "$(ip4 bob)" -c 5 -i 0.05 -W 2
if [[ $dut == tailgate ]]; then
	refuse ts alice explain bob alice tcp 7001 | tee "$lab_dir/explain.txt"
	check "'explain' says so" grep -q 'IsJailed' "$lab_dir/explain.txt"
	check "it is counted" test "$(ts alice metrics | sed -n 's/^tailgate_drops_total{reason="filter_rule"} //p')" -gt 0
	check "he is told" test "$(ts alice stats --json | jq '.counters[] | select(.name == "rejects_sent").value')" -gt 0
fi

say "and free again"
jail false
wait_for 10 connects bob alice
both_ways alice bob
