#!/usr/bin/env bash
# Two gateways stand for the same LAN. The one that serves it answers headscale's probes while it
# forwards all that it can. Draining it moves a stream of UDP, a datagram each millisecond, to the other
# with a gap of less than 200 ms; called off, it serves again or stands by; with --stop the daemon ends
# and the other goes on.
# timeout: 150
# sanitizer: no
#
#   alice, bob (Tailgate), carol (tailscaled): tests/net/twins.bash
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

# shellcheck source=tests/net/twins.bash
source ./twins.bash
# Of 10 s and 5 s, so that there are some within the test.
tn_headscale='node: {routes: {ha: {probe_interval: 2s, probe_timeout: 1s}}}'

answered() { # NAME: probes, as headscale saw it
	grep -c "path=/machine/ping-response .*remote=10.77.0.$((10 + tn_number[$1])):" "$lab_dir/headscale.log" || true
}

lab_begin
need_node tailgate
tn_begin
twins_places
twins_join tailgate --snat-subnet-routes=false
check "without approval the route says so" grep -q "not approved" <(ts alice routes)
twins_approve
first=$(whoever_serves)
second=$(other_than "$first")
answers_through "$first"
wait_reach carol $host
wait_pong carol "$first" direct
show "$first" routes
show "$second" routes
stands_by() { grep -q "stands by" <(ts "$1" routes); }
wait_for 10 stands_by "$second"

say "probes under full load"
before=$(answered "$first")
iperf_server shared
iperf carol $host -t 7 >"$lab_dir/iperf.json"
echo "$(jq '.end.sum_received.bits_per_second / 1e6 | floor' "$lab_dir/iperf.json") Mbit/s, $(($(answered "$first") - before)) probes answered"
check "several were answered" test "$(answered "$first")" -ge $((before + 2))
check "$first goes on serving" serves "$first"
stop iperf-server

say "drain $first under a stream"
twins_stream
show "$first" drain --timeout=20s
wait_for 10 serves "$second"
sleep 3 # of the stream by the new way
show "$first" routes
check "drained" grep -q withdrawn <(ts "$first" routes)
stream_end
answers_through "$second"
wait_reach carol $host
lost=$(longest_loss)
echo "the longest gap: $(longest_gap) ms, $lost datagrams"
check "the gap is less than 200 ms of the stream" test "$lost" -lt 200

say "called off"
show "$first" drain --cancel
offered() { ! grep -q withdrawn <(ts "$1" routes); }
wait_for 20 offered "$first"
sleep 1 # headscale may have given it back
answers_through "$(whoever_serves)"
wait_reach carol $host

say "drain and stop whoever serves"
now=$(whoever_serves)
other=$(other_than "$now")
show "$now" drain --stop
wait_for 10 serves "$other"
answers_through "$other"
wait_reach carol $host
stop "$now" 0 # it is about to end by itself
check "still reached" wait_for 5 reaches carol $host
