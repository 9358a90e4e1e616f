#!/usr/bin/env bash
# All traffic of a node goes through an exit node: chosen by name, address or automatically, IPv4 and
# IPv6, with and without its own LAN. Without the exit node nothing leaves past it, while the node's
# own connections to headscale and DERP do. Rules that somebody deletes come back, and neither the end
# of the daemon nor its death leaves the host without a way out.
# timeout: 150
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet ---- bob (offers the way out), carol
#   10.88.1.2                                    203.0.113.80, 2001:db8:80::80: shows who asks
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

web4=203.0.113.80 web6=2001:db8:80::80
web_begin() {
	addr inet br $web4/32
	addr inet br $web6/128
	addr inet br fd77::1/64
	start web4 inet socat -U "TCP4-LISTEN:80,bind=$web4,fork,reuseaddr" "SYSTEM:echo \$SOCAT_PEERADDR"
	start web6 inet socat -U "TCP6-LISTEN:80,bind=[$web6],fork,reuseaddr" "SYSTEM:echo \$SOCAT_PEERADDR"
	wait_for 5 listening inet 80
}
seen4() { in_ns "$1" timeout 5 socat -u "TCP4:$web4:80,connect-timeout=2" STDOUT; } # NAME: the address that the server saw
seen6() { in_ns "$1" timeout 5 socat -u "TCP6:[$web6]:80,connect-timeout=2" STDOUT; }
is_seen() { [[ $(seen"$2" "$1" 2>/dev/null) == "$3" ]]; } # NAME 4|6 ADDRESS
lost() { ! seen4 "$1" 2>/dev/null; }

rules() { ip -n "$lab_id-alice" "$1" rule | grep -c '^52[0-9]*:'; }
has_rules() { [[ $(rules -4) == 4 && $(rules -6) == 4 ]]; }
routes() { ip -n "$lab_id-alice" "$1" route show table 52 2>/dev/null; }
pref() { tailscale alice debug prefs | jq -r ".$1"; }
is_pref() { [[ $(pref "$1") == "$2" ]]; }

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_policy <<-'JSON'
	{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
	 "nodeAttrs": [{"target": ["*"], "attr": ["suggest-exit-node"]}]}
JSON
tn_node alice "$dut"
# The strictest that hosts have: the ways back to headscale and DERP are those of the marks.
in_ns alice sysctl -qw net.ipv4.conf.wan.rp_filter=1
need_node "$peer_kind"
tn_place bob none
echo "nameserver $web4" >"/etc/netns/$lab_id-bob/resolv.conf"
tn_join bob "$peer_kind" --advertise-exit-node
tn_node carol "$peer_kind"
addr bob wan fd77::12/64
ip -n "$lab_id-bob" -6 route add default via fd77::1
web_begin
wait_for 10 knows alice bob
wait_pong alice bob direct
check "by alice's own way" test "$(seen4 alice)" = 10.77.0.11
check "the kernel asks our table" has_rules
check "nothing of the tailnet is in the main table" test -z "$(ip -n "$lab_id-alice" route show dev tailgate0)"

say "not approved yet"
refuse ts alice set --exit-node=bob
approve bob 0.0.0.0/0,::/0
wait_for 10 eval '[[ $(peer_status alice bob .ExitNodeOption) == true ]]'
show alice exit-node list

say "bob, by name"
check "it can reach its LAN" wait_for 5 reaches alice 10.88.1.2
show alice set --exit-node=bob
wait_for 15 is_seen alice 4 10.77.0.12
wait_for 15 is_seen alice 6 '[fd77:0000:0000:0000:0000:0000:0000:0012]'
routes -4
check "the choice is kept by node" test "$(pref ExitNodeIP)" = ""
check "status says so" test "$(peer_status alice bob .ExitNode)" = true
check "bob is still reached directly" pong alice bob direct
wait_pong alice carol direct
both_ways alice carol
check "its LAN is not reached past the exit node" silent alice 10.88.1.2
show alice set --exit-node-allow-lan-access
wait_for 5 reaches alice 10.88.1.2
check "the rest goes on" test "$(seen4 alice)" = 10.77.0.12
show alice set --exit-node-allow-lan-access=false
wait_for 5 silent alice 10.88.1.2

say "names that only bob's resolver has"
if command -v dnsmasq >/dev/null; then
	start names inet dnsmasq --keep-in-foreground --no-resolv --no-hosts --log-facility=- --user=root --pid-file= \
		--conf-file=/dev/null --bind-interfaces --listen-address=$web4 --host-record=only.exit.test,192.0.2.77
	drop iifname w-alice udp dport 53
	drop iifname w-alice tcp dport 53
	resolved() { [[ $(ts alice dns query only.exit.test) == *192.0.2.77* ]]; }
	wait_for 5 listening inet 53
	wait_for 10 resolved
	show alice dns query only.exit.test
	drop_nothing
else
	echo "dnsmasq is missing: not asked"
fi

say "rules are deleted"
ip -n "$lab_id-alice" rule del pref 5210
ip -n "$lab_id-alice" rule del pref 5270
ip -n "$lab_id-alice" -6 rule del pref 5270
wait_for 3 has_rules
check "still through bob" test "$(seen4 alice)" = 10.77.0.12

say "coordination and DERP go past it"
stop bob KILL
wait_for 20 offline alice bob
check "nothing leaves without bob" lost alice
check "alice has its home region" at_home alice
headscale nodes rename -i "$(headscale_node carol .id)" caroline >/dev/null
wait_for 10 eval '[[ $(node_status alice ".Peer[].DNSName") == *caroline* ]]'
headscale nodes rename -i "$(headscale_node caroline .id)" carol >/dev/null
udp_between alice carol block
wait_pong alice carol derp 40
udp_between alice carol allow
tn_daemon bob "$peer_kind"
wait_for 30 is_seen alice 4 10.77.0.12

say "none"
show alice set --exit-node=
wait_for 5 is_seen alice 4 10.77.0.11
check "its LAN is there again" wait_for 5 reaches alice 10.88.1.2
check "no default route is left" test -z "$(routes -4 | grep default)"

say "automatic"
show alice exit-node suggest
show alice set --exit-node=auto:any
wait_for 15 is_seen alice 4 10.77.0.12
check "it is still automatic" is_pref AutoExitNode any
check "bob it is" test "$(pref ExitNodeID)" = "$(peer_status alice bob .ID)"

say "by address; killed"
show alice set --exit-node="$(ip4 bob)"
wait_for 15 is_seen alice 4 10.77.0.12
stop alice KILL
wait_for 5 is_seen alice 4 10.77.0.11
check "its LAN is reached" wait_for 5 reaches alice 10.88.1.2
echo "what is left: $(routes -4) $(routes -6), rules: $(rules -4) + $(rules -6)"
tn_daemon alice "$dut"
wait_for 30 is_seen alice 4 10.77.0.12

say "ended"
stop alice
wait_for 5 is_seen alice 4 10.77.0.11
check "no rule is left" test "$(rules -4 || true)$(rules -6 || true)" = 00
check "no route is left" test -z "$(routes -4)$(routes -6)"
