#!/usr/bin/env bash
# 'tailgate bench' on a host with two ways to another: a wide one, and a narrow one with a smaller MTU,
# as through an overlay. Which is worse, by how much, and that its segments are smaller, is said.
# timeout: 60
# sanitizer: no
#
#   client ==== (wide 1500, narrow 1230 and 10 Mb/s) ==== server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

compare() { # STATUS WAY WAY [ARGS...]: prints the report; it ends with STATUS
	local status=0
	in_ns client "$tailgate" bench compare "${@:2}" >"$lab_dir/report" 2>"$lab_dir/error" || status=$?
	cat "$lab_dir/report" "$lab_dir/error"
	[[ $status == "$1" ]] || fail "bench compare ${*:2} ended with $status, not $1"
}
says() { grep -qF -- "$1" "$lab_dir/$2"; } # TEXT report|error
silent() { ! says "$@"; }
report() { jq -e "$1" "$lab_dir/report" >/dev/null; }

lab_begin
tailgate=$(program tailgate)
add_ns client
add_ns server
link client wide server wide
link client narrow server narrow 1230
addr client wide 192.0.2.1/24 2001:db8::1/64
addr server wide 192.0.2.2/24 2001:db8::2/64
addr client narrow 198.51.100.1/24
addr server narrow 198.51.100.2/24
run in_ns client tc qdisc add dev narrow root tbf rate 10mbit burst 16kb latency 50ms
start sink server "$tailgate" bench serve
wait_for 10 listening server 9
start other server "$tailgate" bench serve 5000 --bind 192.0.2.2
wait_for 10 listening server 5000

say "a way that is ten times as narrow or more is found"
compare 1 192.0.2.2 198.51.100.2 --time 300ms
check "with its number and what to do" says "F079: the second way has much less" report
check "and where to look" says "'tailgate doctor mtu'" report
compare 1 192.0.2.2 198.51.100.2 --time 300ms --json
check "the ratio is that of the rates" report '.ratio < 0.75 and
	(.ratio - .ways[1].bits_per_second / .ways[0].bits_per_second | fabs) < 0.001'
check "no more than the link lets through" report '.ways[1].bits_per_second < 11e6 and .ways[0].bits_per_second > 11e6'
check "segments as the MTUs make them" report '.ways[0].mss == 1448 and .ways[1].mss == 1178'

say "the other way round it is no finding"
compare 0 198.51.100.2 '[2001:db8::2]:9' --time 300ms
check "and nothing is said" silent F079 report

say "what cannot be measured is no bad ratio"
compare 2 192.0.2.2 198.51.100.2:5000
check "nobody listens there" says "198.51.100.2 port 5000: Connection refused: 'tailgate bench serve 5000' there" error
compare 2 192.0.2.2 192.0.2.2:x
compare 2 192.0.2.2 192.0.2.2 --time 0s
compare 2 192.0.2.2
refuse in_ns server "$tailgate" bench serve
refuse in_ns server "$tailgate" bench serve 5001 --bind 192.0.2.9
