#!/usr/bin/env bash
# A data center's network, and a site that has a part of it: what is for the part goes to the site, the
# rest to the data center, whoever sends; and all of it to the data center once the site withdraws. Both
# sites have a host of the same address. A thousand flows into the data center, none without an answer.
# timeout: 120
# sanitizer: no
#
#   10.0.2.5, 10.0.1.5                             10.0.1.5
#   alice-lan --- alice (device under test) --- inet --- bob --- bob-lan
#                 10.0.0.0/16                    |       10.0.1.0/24
#                                                carol (tailscaled), dave (device under test)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

site_begin() { # NAME LENGTH ADDRESS HOST...: prefix length, of the router and its hosts
	tn_place "$1" none
	addr "$1" lan "$3/$2"
	for host in "${@:4}"; do addr "$1-lan" lan "$host/$2"; done
	start "whose-$1" "$1-lan" socat -U TCP4-LISTEN:7001,fork,reuseaddr "SYSTEM:echo $1"
	wait_for 5 listening "$1-lan" 7001
}
whose() { in_ns "$1" socat -u "TCP:$2:7001,connect-timeout=3" STDOUT 2>/dev/null; } # FROM ADDRESS
is_whose() { [[ $(whose "$1" "$2") == "$3" ]]; }				    # FROM ADDRESS SITE
part_is() { # SITE: that has 10.0.1.5, and the rest is alice's
	local from
	for from in carol dave; do
		wait_for 20 is_whose $from 10.0.1.5 "$1"
		check "$from has 10.0.1.5 at $1, 10.0.2.5 at alice" is_whose $from 10.0.2.5 alice
	done
}

lab_begin
need_node "$dut" "$peer_kind" tailscaled
tn_begin
site_begin alice 16 10.0.0.1 10.0.2.5 10.0.1.5
site_begin bob 24 10.0.1.1 10.0.1.5
if [[ $dut == tailgate ]]; then
	cat >"$lab_dir/alice.conf" <<-'CONF'
		tailnet = true;
		ports = ( { name = "wan"; interface = "wan"; }, { name = "lan"; interface = "lan"; } );
	CONF
	chmod 600 "$lab_dir/alice.conf"
fi
tn_join alice "$dut" --advertise-routes=10.0.0.0/16
# The real client would send what is for its own LAN into an accepted route that holds it.
tn_daemon bob "$peer_kind"
tn_up bob --accept-dns=false --advertise-routes=10.0.1.0/24
approve alice 10.0.0.0/16
approve bob 10.0.1.0/24
tn_node carol tailscaled
tn_node dave "$dut"
wait_pong carol alice direct
wait_pong dave bob direct

say "the longest prefix"
part_is bob
check "from alice herself" wait_for 5 is_whose alice 10.0.1.5 bob
check "her own network is hers" reaches alice 10.0.2.5
start echo alice-lan "$lab_top/tests/net/traffic.py" echo 9000
traffic() { in_ns carol "$lab_top/tests/net/traffic.py" "$@"; }
wait_for 5 traffic whole 10.0.2.5 9000 100
answered=$(traffic sockets 10.0.2.5 9000 1000)
check "of 1000 flows to 10.0.2.5 are answered: $answered" test "$answered" -eq 1000

say "the site withdraws its part"
show bob set --advertise-routes=
part_is alice
check "alice has it at home" wait_for 5 is_whose alice 10.0.1.5 alice

say "and offers it again"
show bob set --advertise-routes=10.0.1.0/24
part_is bob
