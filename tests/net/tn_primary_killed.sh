#!/usr/bin/env bash
# Two gateways stand for the same LAN, and the one that serves it fails: its daemon is killed, its way
# to the world goes silent, its LAN does (route_probes: it would attract what it cannot deliver). Each
# time headscale has the other one serve, and the stream of a datagram each millisecond goes on; what
# comes back does not take over again. perf/failover has the figures.
# timeout: 180
# sanitizer: no
#
#   alice, bob (Tailgate), carol (tailscaled): tests/net/twins.bash
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh
# shellcheck source=tests/net/twins.bash
source ./twins.bash
# Of 10 s and 5 s, so that a test has not to wait for them.
tn_headscale='node: {routes: {ha: {probe_interval: 2s, probe_timeout: 1s}}}'

silence() { # NAME on|off: of its way to the world
	if [[ $2 == on ]]; then
		drop "iifname w-$1" && drop "oifname w-$1"
	else
		drop_nothing
	fi
}
lan_dead() { ip -n "$lab_id-shared" link set "to-$1" nomaster; }
lan_back() { ip -n "$lab_id-shared" link set "to-$1" master br; }
routes_say() { grep -q "$2" < <(ts "$1" routes); } # NAME TEXT

# fails WHAT COMMAND...: happens to whoever serves, and the other one takes over
fails() {
	local begin
	first=$(whoever_serves)
	second=$(other_than "$first")
	say "$1: $first"
	twins_stream
	begin=$(now_ms)
	"${@:2}"
	wait_for 60 serves "$second"
	echo "$second serves after $(($(now_ms) - begin)) ms"
	stream_goes_on 20
	stream_end
	echo "$1: the longest gap: $(longest_gap) ms"
}
kept() { # what failed is back and does not take over again; who serves knows of it
	wait_for 30 routes_say "$second" serves
	wait_for 30 routes_say "$first" 'stands by'
	check "$second goes on serving" serves "$second"
	check "the host is reached" wait_for 5 reaches carol $host
}

lab_begin
need_node tailgate tailscaled
tn_begin
twins_places
for g in alice bob; do
	cat >"$lab_dir/$g.conf" <<-CONF
		tailnet = true;
		ports = ( { name = "wan"; interface = "wan"; }, { name = "lan2"; interface = "lan2"; } );
		route_probes = [ "$host" ];
	CONF
	chmod 600 "$lab_dir/$g.conf"
done
twins_join tailgate
twins_approve
wait_reach carol $host
wait_pong carol "$(whoever_serves)" direct

fails "killed" eval 'stop "$first" KILL'
tn_daemon "$first" tailgate
kept
fails "no way to the world" eval 'silence "$first" on'
silence "$first" off
kept
fails "its LAN is gone" eval 'lan_dead "$first"'
check "it has withdrawn the network" routes_say "$first" withdrawn
lan_back "$first"
kept
