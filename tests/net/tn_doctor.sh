#!/usr/bin/env bash
# The doctor: nothing in a healthy tailnet, and in a broken one just what is broken. It tries a second
# connection to headscale, and has peers that were sent nothing send to the node.
# timeout: 180
# sanitizer: no
#
#   alice (device under test) ---- inet: headscale, derper ---- carol, dave
#                                    |
#                                  bob-nat ---- bob
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

# doctor [ARGS...]: what is not well, as "severity id", one a line; the exit code in doctor_status
doctor() {
	doctor_status=0
	ts alice doctor --json "$@" >"$lab_dir/doctor.json" || doctor_status=$?
	jq -r '.findings[] | "\(.severity) \(.id): \(.evidence)"' "$lab_dir/doctor.json"
	jq -r '.findings[] | select(.severity != "ok" and .severity != "info") | "\(.severity) \(.id)"' \
		"$lab_dir/doctor.json" >"$lab_dir/doctor.txt"
}
found() { test "$(cat "$lab_dir/doctor.txt")" = "$1"; } # LINES: that and nothing else
evidence() { # ID SEVERITY PATTERN
	grep -qE "$3" < <(jq -r --arg id "$1" --arg s "$2" \
		'.findings[] | select(.id == $id and .severity == $s) | .evidence' "$lab_dir/doctor.json")
}
exits() { test "$doctor_status" = "$1"; }

lab_begin
[[ $dut == tailgate ]] || skip "the doctor is Tailgate's"
need_node "$dut" "$peer_kind"
tn_begin
tn_node alice "$dut"
tn_node bob "$peer_kind" easy
tn_node carol "$peer_kind"
wait_for 10 knows alice carol
wait_for 20 at_home alice
wait_for 20 at_home carol

say "all is well"
doctor
check "nothing is wrong" found ""
check "exit code 0" exits 0
check "headscale took a second connection" evidence F198 ok 'a second connection \(http.* was taken'
check "somebody reached it unasked" evidence F156 ok 'reached UDP 41641 from 10\.77\.0\.'
check "the stream went on" test "$(ts alice metrics | sed -n 's/^tailgate_coord_connects_total //p')" = 1

say "a firewall that lets only answers of STUN in"
tn_node dave "$peer_kind" # to whom nothing was sent yet
wait_for 10 knows alice dave
wait_for 20 at_home dave
drop oifname w-alice udp sport != 3478
doctor udp-reach
check "the port is closed, and that is all" found "warn F158"
check "exit code 1" exits 1
drop_nothing
doctor udp-reach
check "open again" found ""

say "a peer that is relayed though this node has a public address"
udp_between alice bob block
wait_pong alice bob derp
wait_reach alice "$(ip4 bob)"
doctor --passive
check "which is said of bob" evidence F154 warn '^bob is relayed'
check "and nothing else" found "warn F154"
udp_between alice bob allow
wait_pong alice bob direct 40

say "headscale takes nobody new, but keeps who is there"
in_ns inet nft -f - <<-'NFT'
	table inet full { chain input { type filter hook input priority 0; tcp dport 8080 tcp flags & (syn | ack) == syn drop; }; }
NFT
doctor
check "that is the finding" found "error F198"
check "exit code 2" exits 2
in_ns inet nft delete table inet full

say "no UDP at all"
udp_of alice block
show alice netcheck | grep UDP
doctor --passive
check "it comes first" test "$(head -1 "$lab_dir/doctor.txt")" = "error F126"
check "exit code 2" exits 2
udp_of alice allow

say "logs of others"
log='Received error: PollNetMap: Post "https://hs/machine/map": all connection attempts failed (HTTP: unexpected
	HTTP response: 308 Permanent Redirect, HTTPS: reading response header: EOF)'
doctor --log=- <<<"${log//$'\n\t'/ }"
check "a client that is refused" found "error F194"
doctor --log="$lab_dir/headscale.log"
check "nothing in headscale's own" exits 0
