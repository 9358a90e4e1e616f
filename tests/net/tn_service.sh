#!/usr/bin/env bash
# A service of the tailnet, at addresses that are no machine's: two gateways host it and lead its ports to
# hosts behind them, TCP and UDP, over IPv4 and IPv6; the rest of its ports is closed, whatever the gateway
# itself listens on, and echoes are answered. One gateway is killed: the other one serves. Draining and
# taking it out of the configuration leave what is connected alone. testcontrol is the server, since
# headscale has no services.
# timeout: 120
# sanitizer: no
#
#   alice-lan --- alice (device under test) ---+
#   backend                                    inet --- bob (tailscaled)
#   carol-lan --- carol (device under test) ---+
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/testcontrol.bash
source ./testcontrol.bash

[[ $dut == tailgate ]] || skip "where a service leads is Tailgate's configuration"

vip4=100.99.0.1 vip6=fd7a:115c:a1e0::9901
answer() { in_ns bob socat -u "TCP:$(url_host "$1"):443,connect-timeout=2" STDOUT 2>/dev/null; } # ADDRESS
is_answer() { [[ $(answer "$1") == "$2" ]]; }                                                  # ADDRESS WORDS
asked_udp() { [[ $(echo hello | in_ns bob socat -t2 STDIO "UDP:$(url_host "$1"):53") == "$2" ]]; }
refused() { # ADDRESS PORT: at once, as a closed port does
	local out
	out=$(in_ns bob socat -u "TCP:$(url_host "$1"):$2,connect-timeout=2" STDOUT 2>&1) || true
	[[ $out == *'Connection refused'* ]]
}
hosted() { control GET "/c2n/$1/vip-services"; } # NAME: what the server is told
is_hosted() { [[ $(hosted "$1" | jq -c "$2") == "$3" ]]; }
hash_of() { control GET "/nodes/$1" | jq -r '.Hostinfo.ServicesHash // ""'; }
same_hash() { [[ $(hash_of "$1") == "$(hosted "$1" | jq -r .ServicesHash)" ]]; }
sent_to() { # NAME...: the server has peers send the first of them what is for the service
	local name
	for name in "${@:2}"; do control PUT "/nodes/$name/routes" '[]' >/dev/null; done
	control PUT "/nodes/$1/routes" "[\"$vip4/32\", \"$vip6/128\"]" >/dev/null
}
config() { # NAME [ENTRY...]: its configuration
	local list
	list=$(printf ', "%s"' "${@:2}")
	cat >"$lab_dir/$1.conf" <<-CONF
		tailnet = true;
		ports = ( { name = "wan"; interface = "wan"; }, { name = "lan"; interface = "lan"; } );
		services = [ ${list#, } ];
	CONF
	[[ ${2:-} ]] || sed -i '/^services/d' "$lab_dir/$1.conf"
}
host() { # NAME
	tn_place "$1" none
	local backend=10.88.${tn_number[$1]}.2
	config "$1" "svc:web tcp:443 = $backend:8443" "svc:web udp:53 = $backend:5353" "svc:web tcp:7-9 = $backend"
	start "web-$1" "$1-lan" socat -U TCP-LISTEN:8443,fork,reuseaddr "SYSTEM:echo $1 \$SOCAT_PEERADDR"
	start "udp-$1" "$1-lan" socat UDP-LISTEN:5353,fork,reuseaddr "SYSTEM:read x; echo \$x from $1"
	start "echo-$1" "$1-lan" socat TCP-LISTEN:7,fork,reuseaddr EXEC:cat
	tn_join "$1" "$dut"
}

lab_begin
need_node "$dut" tailscaled
tn_begin
host alice
tn_node bob tailscaled
host carol
start own alice socat -U TCP-LISTEN:2222,fork,reuseaddr SYSTEM:date
wait_for 10 knows bob alice
wait_for 10 knows bob carol
wait_pong bob alice direct
wait_pong bob carol direct

say "no address yet"
show alice services
check "status says so" grep -q 'gives svc:web no address' <<<"$(tailscale alice status)"
for name in alice carol; do
	control PATCH /nodes/$name "{\"CapMap\": {\"service-host\": [{\"svc:web\": [\"$vip4\", \"$vip6\"]}]}}" >/dev/null
	control PATCH /maps/$name "{\"DNSConfig\": {\"Domains\": [\"lab.test\"], \"Proxied\": true, \"ExtraRecords\": [
		{\"Name\": \"web.lab.test.\", \"Value\": \"$vip4\"}, {\"Name\": \"web.lab.test.\", \"Type\": \"AAAA\", \"Value\": \"$vip6\"}]}}" >/dev/null
done
hosted alice
check "the server is told" is_hosted alice '[.VIPServices[] | [.Name, .Active] + .Ports]' \
	'[["svc:web",true,"tcp:443","udp:53","tcp:7-9"]]'
check "by the hash that it knows" same_hash alice
sent_to alice carol

say "in use"
wait_for 15 is_answer $vip4 "alice 10.88.1.1"
show alice services
check "over IPv6, to a backend with IPv4" wait_for 5 is_answer $vip6 "alice 10.88.1.1"
check "UDP" wait_for 5 asked_udp $vip4 "hello from alice"
check "UDP over IPv6" wait_for 5 asked_udp $vip6 "hello from alice"
check "an echo" wait_for 5 reaches bob $vip4
check "an echo over IPv6" wait_for 5 reaches bob $vip6
check "a port of nobody" refused $vip4 80
check "over IPv6" refused $vip6 80
check "a port of the gateway's own" refused $vip4 2222
check "which is at its own address" in_ns bob socat -u "TCP:$(ip4 alice):2222,connect-timeout=2" STDOUT
check "a range, nobody there" refused $vip4 8
check "the name leads there" test "$(in_ns alice dig +short @100.100.100.100 web.lab.test)" = $vip4
check "over IPv6" test "$(in_ns alice dig +short @100.100.100.100 web.lab.test AAAA)" = $vip6
check "an echo of the gateway's own" in_ns alice ping -q -c 1 -W 1 $vip4

say "one host is killed"
lab_end[alice]=KILL
stop alice KILL
sent_to carol alice
wait_for 15 is_answer $vip4 "carol 10.88.3.1"
check "an echo" wait_for 5 reaches bob $vip4

say "taken out while somebody is connected"
in_ns bob bash -c "exec 3<>/dev/tcp/$vip4/7; echo one >&3; read -t 5 -r a <&3; echo \$a >'$lab_dir/one'
	until [[ -e '$lab_dir/go' ]]; do sleep 0.1; done
	echo two >&3; read -t 5 -r a <&3; echo \$a >'$lab_dir/two'" &
talk=$!
wait_for 5 grep -q one "$lab_dir/one"
show carol drain
check "no new connections are wanted" is_hosted carol '[.VIPServices[].Active]' '[false]'
wait_for 10 same_hash carol
check "those that come are served" wait_for 5 is_answer $vip4 "carol 10.88.3.1"
show carol drain --cancel
wait_for 10 is_hosted carol '[.VIPServices[].Active]' '[true]'
config carol
show carol reload
wait_for 10 eval '[[ -z $(hash_of carol) ]]'
check "closed now" refused $vip4 443
touch "$lab_dir/go"
wait $talk
check "who was connected stays so" grep -q two "$lab_dir/two"
show carol services
