#!/usr/bin/env bash
# An exit node that is abused: a flood of connections stays within its client's bound while others
# connect; too few ports are shared between two clients; what only the policy keeps from the gateway's
# own services is kept from them; forged sources do not leave.
# timeout: 120
# sanitizer: no
#
#   alice (device under test, the way out: 1024 ports, 1500 flows a client) ---- inet ---- bob, carol
#   203.0.113.80 in inet: the internet                                         (tailscaled)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

web=203.0.113.80
traffic() { in_ns "$1" "$lab_top/tests/net/traffic.py" "${@:2}"; } # NAMESPACE COMMAND...
metric() { ts alice metrics | sed -n "s/^$1 //p"; }		    # NAME, with its labels
drops() { metric "tailgate_drops_total{reason=\"$1\"}"; }
grows() { (($(drops "$1") > $2)); } # REASON BEFORE
answers() { [[ $(in_ns "$1" socat -u "TCP4:$2:$3,connect-timeout=2" STDOUT 2>/dev/null) ]]; } # NAME ADDRESS PORT
refused() { ! "$@"; }
flows_of() { ts alice nat --limit 10000 --json | # NAME [PROTOCOL]
	jq "[.flows[] | select((.inside.local | startswith(\"$(ip4 "$1"):\")) ${2:+and .protocol == $2})] | length"; }
at_most() { echo "$1 of $2" && (($1 <= $2)); }

lab_begin
[[ $dut == tailgate ]] || skip "its bounds and counters are asked"
need_node "$dut" tailscaled
tn_begin
tn_policy <<-'JSON'
	{"acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:internet:*"]}]}
JSON
cat >"$lab_dir/alice.conf" <<-'CONF'
	tailnet = true;
	ports = ( { name = "wan"; interface = "wan"; } );
	nat_ports = "20000-21023";
	nat_client_flows = 1500;
CONF
chmod 600 "$lab_dir/alice.conf"
tn_node alice "$dut" none --advertise-exit-node
approve alice 0.0.0.0/0,::/0
for name in bob carol; do
	tn_node $name tailscaled
	wait_for 10 knows $name alice
	wait_pong $name alice direct
	wait_for 10 ts $name set --exit-node=alice
done
addr inet br $web/32
# What is flooded says nothing.
in_ns inet nft -f - <<-NFT
	table inet silent { chain input { type filter hook input priority 0; ip daddr $web tcp dport 1000-3999 drop; }; }
NFT
start web inet socat -U "TCP4-LISTEN:80,bind=$web,fork,reuseaddr" "SYSTEM:echo \$SOCAT_PEERADDR"
start echo inet "$lab_top/tests/net/traffic.py" echo 9000
start own alice socat -U TCP4-LISTEN:8090,fork,reuseaddr SYSTEM:"echo own"
wait_for 5 listening inet 80
wait_for 5 listening alice 8090
wait_for 15 answers bob $web 80
wait_for 15 answers carol $web 80

say "all ports of one destination"
traffic bob sockets $web 9000 1200 >"$lab_dir/bob.txt"
check "bob asks by 1200 sockets" at_most 1190 "$(cat "$lab_dir/bob.txt")"
check "his oldest flows made way for his next ones" at_most "$(flows_of bob 17)" 1024
before=$(metric tailgate_nat_flows_evicted_total)
check "carol gets her share" test "$(traffic carol sockets $web 9000 16)" -eq 16
check "for which bob's oldest made way" test "$(metric tailgate_nat_flows_evicted_total)" -gt "$before"
check "hers are there" test "$(flows_of carol)" -ge 16

say "a flood of connections that nobody answers"
before=$(drops nat_client_limit)
traffic bob flood $web 1000 3999 8 >"$lab_dir/flood.txt" &
flood=$!
wait_for 10 grows nat_client_limit "$before"
for _ in 1 2 3 4 5; do check "carol connects" wait_for 5 answers carol $web 80; done
check "bob's flows" at_most "$(flows_of bob)" 1500
wait $flood
echo "bob began $(cat "$lab_dir/flood.txt"), $(drops nat_client_limit) were over the limit"
show alice nat | sed -n 1,3p
check "ports in use" at_most "$(metric 'tailgate_nat_ports_in_use{worker="0"}')" 1024

say "the gateway's own services"
before=$(drops filter_rule)
for address in "$(ip4 alice)" 10.77.0.11 10.88.1.1; do
	check "not at $address" refused answers carol "$address" 8090
done
check "which is counted" test "$(($(drops filter_rule) + $(drops filter_not_local)))" -gt "$before"
check "the internet is there" wait_for 5 answers carol $web 80

say "forged sources do not leave"
capture forged inet br host 203.0.113.99
before=$(drops wg_source)
traffic bob spoof 203.0.113.99 $web 9000 20
wait_for 5 grows wg_source "$before"
check "nothing of them" test "$(captured forged)" -eq 0
