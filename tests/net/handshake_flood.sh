#!/usr/bin/env bash
# Floods of handshakes from the WAN: the tunnel beside them loses nothing, each message is counted
# by its reason, cookies are asked for and used, and memory does not grow with the flood.
# timeout: 120
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (tailgate) ---- server
#                                flood --------^
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh
# shellcheck source=tests/net/flood.bash
source ./flood.bash

rate=3000 # above handshake_rate, so that it is load

floods=0
flooded() { # KIND SECONDS: pings beside it
	say "$1 messages, $rate a second"
	floods=$((floods + 1))
	flood_begin "$1" $rate "$2"
	ping_begin "beside$floods" client 10.2.0.2
	flood_end
	ping_end "beside$floods"
}

rose() { # COUNTER AT_LEAST BEFORE
	local now
	now=$(counter_of gwb "$1")
	check "$1 + $((now - $3))" test $((now - $3)) -ge "$2"
}

lab_begin
[[ $dut == tailgate ]] || skip "the counters are Tailgate's"
need_kind tailgate
[[ -x $flood_bin ]] || skip "perf/perf_flood is not built"
lab_hosts
lab_peers
flood_peers 200
gateway_start gwa tailgate
gateway_start gwb tailgate
lab_ready
session=$(handshake_of gwb gwa)

flooded mac1 2
rose handshake_bad_mac1 $rate 0
check "none is answered" test "$(flood_said cookies) $(flood_said responses)" = "0 0"

flooded garbage 2
rose handshake_forged 500 0
rose cookies_sent $rate 0
check "what came back is cookies" test "$(flood_said cookies)" -ge $rate
check "and no handshake" test "$(flood_said responses)" = 0

flooded valid 3
rose initiations_received 500 0
rose cookies_sent 1 0
check "peers are answered" test "$(flood_said responses)" -ge 500
rose handshake_rate_limited 500 0 # they all have one address

say "once more: memory does not grow with it"
before=$(rss_kb "${lab_pid[gwb]}")
flooded valid 3
grown=$(($(rss_kb "${lab_pid[gwb]}") - before))
limit=2048
[[ ! $(program tailgated) == *san* ]] || limit=65536 # its quarantine
check "$grown kB more" test $grown -lt $limit

say "the session is the one of before"
check "no other handshake" test "$(handshake_of gwb gwa)" = "$session"
check "hardly any message was lost" test "$(counter_of gwb punt_full)" -lt $((rate / 10))

say "a peer that comes under load needs a cookie, and gets in with it"
used=$(counter_of gwb cookies_sent)
flood_begin garbage $rate 40
gateway_stop gwa
gateway_start gwa tailgate
wait_for 12 in_ns client ping -c 1 -W 1 10.2.0.2
check "it was asked for a cookie" counter_exceeds gwa cookies_received 0
rose cookies_sent 1 "$used"
ping_lossless client 10.2.0.2 -f -c 50
check "the flood still runs" kill -0 "${lab_pid[flood]}"
stop flood
