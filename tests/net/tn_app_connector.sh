#!/usr/bin/env bash
# The device under test is an app connector: a real client asks it for names of its domains, and what
# they lead to becomes a route through it, known to the server, to the user, and after a kill. Answers
# that name what is nobody's to give are not believed. Domains come from the server's policy and from
# the configuration, names from the peerAPI and from the LAN. testcontrol is the server, since headscale
# knows no app connectors.
# timeout: 120
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet: dnsmasq at .53; 203.0.113.80 shows who asks
#   asks 10.88.1.1                                 |
#                                                 bob (tailscaled)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/testcontrol.bash
source ./testcontrol.bash

[[ $dut == tailgate ]] || skip "the list of domains is Tailgate's configuration"
need_tools dnsmasq dig socat

web=203.0.113.80
seen() { in_ns bob socat -u "TCP4:$web:80,connect-timeout=2" STDOUT 2>/dev/null; } # whom the server saw
is_seen() { [[ $(seen) == "$1" ]]; }
routes() { control GET /nodes/alice | jq -r '.Hostinfo.RoutableIPs // [] | join(" ")'; }
offers() { [[ " $(routes) " == *" $1 "* ]]; }
withdrew() { ! offers "$1"; }
learned() { # NAME ADDRESS: what the unmodified command says
	tailscale alice appc-routes --map | jq -e --arg n "$1" --arg a "$2" '.[$n] // [] | index($a) != null' >/dev/null
}
api_port() { tailscale bob whois --json "$(ip4 alice)" | jq -r '.Node.Hostinfo.Services[] | select(.Proto == "peerapi4") | .Port'; }
has_api() { [[ $(api_port) ]]; }
resolve() { in_ns bob dig +short +tries=1 +time=3 @100.100.100.100 "$1" "${2:-A}"; } # by bob's resolver
resolves() { [[ $(resolve "$1" | tail -1) == "$2" ]]; }
connector() { # DOMAINS: what the policy says alice is to stand for
	control PATCH /nodes/alice "{\"Tags\": [\"tag:connector\"], \"CapMap\": {\"tailscale.com/app-connectors\": [
		{\"name\": \"app\", \"connectors\": [\"tag:connector\"], \"domains\": $1, \"routes\": [\"198.51.100.0/24\"]},
		{\"name\": \"other\", \"connectors\": [\"tag:other\"], \"domains\": [\"other.example\"], \"routes\": [\"192.0.2.0/24\"]}
	]}}" >/dev/null
}

lab_begin
need_node "$dut" tailscaled
tn_begin
addr inet br 10.77.0.53/24
addr inet br $web/32
start names inet dnsmasq --keep-in-foreground --no-resolv --no-hosts --log-facility=- --user=root --pid-file= \
	--conf-file=/dev/null --bind-interfaces --listen-address=10.77.0.53 --local=/example/ --local-ttl=60 \
	--host-record=app.example,$web --cname=www.app.example,app.example --address=/local.example/203.0.113.81 \
	--address=/other.example/203.0.113.82 --address=/bad.app.example/100.64.0.2 \
	--address=/loop.app.example/127.0.0.1 --address=/own.app.example/10.77.0.11
start web inet socat -U "TCP4-LISTEN:80,bind=$web,fork,reuseaddr" "SYSTEM:echo \$SOCAT_PEERADDR"
wait_for 5 listening inet 80
wait_for 5 in_ns inet dig +short +tries=1 +time=1 @10.77.0.53 app.example

tn_place alice none
tn_place bob none
echo "nameserver 10.77.0.53" >"/etc/netns/$lab_id-alice/resolv.conf"
cat >"$lab_dir/alice.conf" <<-'CONF'
	tailnet = true;
	app_domains = [ "*.local.example" ];
	dns_listen = [ "10.88.1.1" ];
CONF
tn_join alice "$dut"
# The real client would write the whole machine's /etc.
mkdir -p "$lab_dir/node-bob"
cp -a /etc "$lab_dir/etc-bob"
tn_kind[bob]=tailscaled
lab_end[bob]=KILL
start bob bob unshare -m sh -c "umount /etc/resolv.conf; mount --bind '$lab_dir/etc-bob' /etc
	TS_LOGS_DIR='$lab_dir/node-bob' exec '$peers_bin/tailscaled' --statedir '$lab_dir/node-bob' \
	--socket '$lab_dir/node-bob/sock' --tun tailscale0 --port 41641 --no-logs-no-support"
wait_for 20 backend_state bob
tn_up bob --accept-routes --accept-dns
wait_for 10 knows bob alice
wait_pong bob alice direct

say "policy and settings"
check "bob's own way" wait_for 5 is_seen 10.77.0.12
check "not yet" test "$(ts alice appc-routes)" = "not a connector"
connector '["*.app.example", "app.example"]'
show alice set --advertise-connector
wait_for 10 eval 'control GET /nodes/alice | jq -e .Hostinfo.AppConnector >/dev/null'
wait_for 10 offers 198.51.100.0/24
check "nothing of other tags" withdrew 192.0.2.0/24
wait_for 10 has_api
control PATCH /maps/bob "{\"DNSConfig\": {\"Domains\": [\"lab.test\"], \"Proxied\": true, \"Routes\": {
	\"app.example\": [{\"Addr\": \"http://$(ip4 alice):$(api_port)/dns-query\"}],
	\"other.example\": [{\"Addr\": \"http://$(ip4 alice):$(api_port)/dns-query\"}]}}}" >/dev/null

say "a name becomes a route"
wait_for 15 resolves www.app.example $web
wait_for 10 offers $web/32
check "the unmodified command shows it" learned app.example $web
control PUT /nodes/alice/routes "[\"$web/32\"]" >/dev/null # as the policy would approve it
wait_for 15 is_seen 10.77.0.11
show alice appc-routes
echo "alice\$ tailscale appc-routes"
tailscale alice appc-routes
check "the same lines" test "$(ts alice appc-routes)" = "$(tailscale alice appc-routes)"
show alice appc-routes --all
show alice routes
check "how many" test "$(ts alice appc-routes -n)" = 2
control GET /c2n/alice/appconnector/routes | tee "$lab_dir/c2n.json"
check "the server asks for it" jq -e '.Domains["app.example"] == ["203.0.113.80"]' "$lab_dir/c2n.json" >/dev/null

say "what is not believed"
for name in bad loop own; do wait_for 10 resolve $name.app.example; done
wait_for 10 resolves other.example 203.0.113.82
sleep 0.5 # an announcement would have come by now
echo "alice offers $(routes)"
check "only the one" test "$(routes)" = "198.51.100.0/24 $web/32"

say "a domain of the configuration, asked for on the LAN"
wait_for 10 in_ns alice-lan dig +short +tries=1 +time=3 @10.88.1.1 nas.local.example
wait_for 10 offers 203.0.113.81/32
check "and counted" test "$(ts alice appc-routes -n)" = 3

say "a kill"
lab_end[alice]=KILL
stop alice KILL
lab_end[alice]=TERM
tn_daemon alice "$dut"
check "nothing is forgotten" learned nas.local.example 203.0.113.81
check "nothing is forgotten" learned app.example $web
wait_for 20 is_seen 10.77.0.11
wait_for 10 offers 203.0.113.81/32

say "other domains, no domains"
connector '["*.app.example"]'
wait_for 10 withdrew $web/32
check "the rest stays" offers 203.0.113.81/32
wait_for 15 resolves www.app.example $web
wait_for 10 offers $web/32
show alice set --advertise-connector=false
wait_for 10 withdrew 203.0.113.81/32
check "nothing is left" test "$(routes)" = ""
check "the server knows" eval '[[ $(control GET /nodes/alice | jq .Hostinfo.AppConnector) != true ]]'
