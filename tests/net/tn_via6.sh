#!/usr/bin/env bash
# Two sites with the same network, 192.168.1.0/24, as 4via6: a real client reaches the right host of
# each by IPv6, TCP included, and the hosts see their gateway. The workers translate, on ports shared
# with the kernel, which neither answers nor resets: flows are in 'tailgate nat'. A network whose host
# is silent (route_probes) is withdrawn until it answers again.
# timeout: 120
# sanitizer: no
#
#   alice-lan --- alice (Tailgate, site 7) --- inet --- bob (Tailgate, site 8) --- bob-lan
#   192.168.1.10                                |                                  192.168.1.10
#                                             carol (tailscaled)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

host=192.168.1.10
declare -A site=([alice]=7 [bob]=8)
via() { echo "fd7a:115c:a1e0:b1a:0:${site[$1]}:c0a8:10a"; } # NAME: its host, as peers know it

site_begin() { # NAME
	tn_place "$1" none
	addr "$1" lan 192.168.1.1/24
	addr "$1-lan" lan $host/24
	ip -n "$lab_id-$1" addr del "10.88.${tn_number[$1]}.1/24" dev lan
	# There is no way back but to the gateway's own address.
	ip -n "$lab_id-$1-lan" route flush default
	cat >"$lab_dir/$1.conf" <<-CONF
		tailnet = true;
		ports = ( { name = "wan"; interface = "wan"; }, { name = "lan"; interface = "lan"; } );
		route_probes = [ "$host" ];
	CONF
	chmod 600 "$lab_dir/$1.conf"
	start "whoami-$1" "$1-lan" socat -U TCP-LISTEN:7001,fork,reuseaddr "SYSTEM:echo \$(hostname) $1 \$SOCAT_PEERADDR"
	tn_join "$1" tailgate --advertise-routes="$("$(program tailgate)" 4via6 "${site[$1]}" 192.168.1.0/24)"
}
whoami() { in_ns carol socat -u "TCP6:[$(via "$1")]:7001,connect-timeout=3" STDOUT; } # NAME: what its host says
is_site() { [[ $(whoami "$1" 2>/dev/null) == *" $1 192.168.1.1" ]]; }
route_state() { grep -q "$2" < <(ts "$1" routes); } # NAME STATE

lab_begin
need_node tailgate tailscaled
tn_begin
site_begin alice
site_begin bob
approve alice "$("$(program tailgate)" 4via6 7 192.168.1.0/24)"
approve bob "$("$(program tailgate)" 4via6 8 192.168.1.0/24)"
tn_node carol tailscaled

say "each site by its own prefix"
wait_reach carol "$(via alice)"
wait_reach carol "$(via bob)"
ping_lossless carol "$(via alice)" -c 20 -i 0.02 -W 2
ping_lossless carol "$(via bob)" -c 20 -i 0.02 -W 2
wait_for 5 is_site alice
wait_for 5 is_site bob
echo "alice's: $(whoami alice), bob's: $(whoami bob)"

say "a stream"
iperf_server alice-lan
iperf carol "$(via alice)" -t 2 >"$lab_dir/iperf.json"
check "it passes" test "$(jq '.end.sum_received.bytes' "$lab_dir/iperf.json")" -gt 1000000
show alice nat --limit 5
check "its flows are alice's" grep -q "192.168.1.1:" <(ts alice nat)
check "they are from carol" grep -q "$(ip6 carol)" <(ts alice nat)

say "alice's host is silent"
in_ns alice-lan ip link set lan down
wait_for 10 route_state alice withdrawn
show alice routes
wait_for 10 silent carol "$(via alice)"
check "bob's is not concerned" wait_for 5 reaches carol "$(via bob)"
in_ns alice-lan ip link set lan up
wait_for 10 eval '! route_state alice withdrawn'
wait_reach carol "$(via alice)"
