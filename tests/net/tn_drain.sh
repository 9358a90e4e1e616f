#!/usr/bin/env bash
# Two gateways stand for the same LAN. Draining the one that serves it moves a stream of UDP, a
# datagram each millisecond, to the other with a gap of less than 200 ms; called off, it serves again
# or stands by; with --stop the daemon ends and the other goes on.
# timeout: 150
# sanitizer: no
#
#   alice (device under test) --- inet --- carol (tailscaled)
#     |                            |
#     +------- shared ----- bob (tailgate)        10.99.0.0/24, a host .9
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

net=10.99.0.0/24
host=10.99.0.9

shared_lan() {
	local g
	add_ns shared
	ip -n "$lab_id-shared" link add name br type bridge mcast_snooping 0
	ip -n "$lab_id-shared" link set dev br up
	addr shared br $host/24
	for g in alice bob; do
		link "$g" lan2 shared "to-$g"
		ip -n "$lab_id-shared" link set "to-$g" master br
	done
	addr alice lan2 10.99.0.1/24
	addr bob lan2 10.99.0.2/24
}
# Peers take the LAN's packets from the gateway that serves it alone: so the host has to answer
# through that one, as it would learn by BGP.
answers_through() { # NAME
	local a=10.99.0.1
	[[ $1 == alice ]] || a=10.99.0.2
	ip -n "$lab_id-shared" route replace 100.64.0.0/10 via $a
}

serves() { # NAME: carol sends it what is for the LAN
	[[ $(peer_status carol "$1" ".PrimaryRoutes // [] | index(\"$net\") != null") == true ]]
}
whoever_serves() { if serves alice; then echo alice; elif serves bob; then echo bob; fi; }
someone_serves() { [[ $(whoever_serves) ]]; }
# longest_gap: of the stream that arrived at the host, in ms
longest_gap() {
	tcpdump -tt -nr "$lab_dir/stream.pcap" 2>/dev/null | awk '
		last && $1 - last > max { max = $1 - last }
		{ last = $1 }
		END { printf "%d\n", max * 1000 + 1 }'
}
flowing() { (($(stat -c %s "$lab_dir/stream.pcap") > 50000)); }

lab_begin
need_node tailgate
tn_begin
tn_place alice none
tn_place bob none
shared_lan
tn_join alice tailgate --snat-subnet-routes=false --advertise-routes=$net
tn_join bob tailgate --snat-subnet-routes=false --advertise-routes=$net
tn_node carol tailscaled
check "without approval the route says so" grep -q "not approved" <(ts alice routes)
approve alice $net
approve bob $net
wait_for 20 someone_serves
first=$(whoever_serves)
second=bob
[[ $first == alice ]] || second=alice
answers_through "$first"
wait_reach carol $host
wait_pong carol "$first" direct
show "$first" routes
show "$second" routes
stands_by() { grep -q "stands by" <(ts "$1" routes); }
wait_for 10 stands_by "$second"

say "drain $first under a stream"
capture stream shared br -s 64 "udp and dst port 7100"
start sender carol bash -c 'exec 3>/dev/udp/$0/7100 9<> <(:)
	while :; do echo x >&3; read -rt 0.001 <&9; done' $host
wait_for 10 flowing
show "$first" drain --timeout=20s
wait_for 10 serves "$second"
sleep 3 # of the stream by the new way
show "$first" routes
check "drained" grep -q withdrawn <(ts "$first" routes)
stop sender KILL
stop stream
answers_through "$second"
wait_reach carol $host
gap=$(longest_gap)
echo "the longest gap: $gap ms"
check "the gap is less than 200 ms" test "$gap" -lt 200

say "called off"
show "$first" drain --cancel
offered() { ! grep -q withdrawn <(ts "$1" routes); }
wait_for 20 offered "$first"
sleep 1 # headscale may have given it back
answers_through "$(whoever_serves)"
wait_reach carol $host

say "drain and stop whoever serves"
now=$(whoever_serves)
other=alice
[[ $now == bob ]] || other=bob
show "$now" drain --stop
wait_for 10 serves "$other"
answers_through $other
wait_reach carol $host
stop "$now" 0 # it is about to end by itself
check "still reached" reaches carol $host
