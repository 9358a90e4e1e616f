#!/usr/bin/env bash
# A subnet router with and without SNAT: hosts of its LAN see the router's address, or those of the
# nodes. Its LAN is an interface of the kernel's, which forwards by rules in a table of our own; they
# follow the settings and go with the daemon, however it ends.
# timeout: 120
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet ---- bob
#   10.88.1.0/24, fd88:0:0:1::/64
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

routes=10.88.1.0/24,fd88:0:0:1::/64
seen() { in_ns bob socat -u "TCP:$1:7001,connect-timeout=2" STDOUT 2>/dev/null; } # ADDRESS: who asked, as the host sees it
is_seen() { [[ $(seen "$1") == "$2" ]]; }
long() { python3 -c 'import ipaddress, sys; print("[" + ipaddress.ip_address(sys.argv[1]).exploded + "]")' "$1"; }
from_lan() { in_ns alice-lan timeout 2 bash -c "echo > /dev/tcp/$(ip4 bob)/7002" 2>/dev/null; }
not_from_lan() { ! from_lan; }
table() { in_ns alice nft list table inet tailgate_host_tailgate0 2>/dev/null; }
no_table() { ! table >/dev/null; }
valid_mark() { [[ $(in_ns alice sysctl -n net.ipv4.conf.all.src_valid_mark) == "$1" ]]; }

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_node alice "$dut" none --advertise-routes=$routes
tn_node bob "$peer_kind"
tn_lan6 alice
approve alice $routes
wait_for 10 knows alice bob
wait_pong alice bob direct
start whoami4 alice-lan socat -U TCP4-LISTEN:7001,fork,reuseaddr "SYSTEM:echo \$SOCAT_PEERADDR"
start whoami6 alice-lan socat -U TCP6-LISTEN:7001,ipv6only,fork,reuseaddr "SYSTEM:echo \$SOCAT_PEERADDR"
start sink bob socat -u TCP-LISTEN:7002,fork,reuseaddr OPEN:/dev/null
wait_for 5 listening alice-lan 7001
wait_for 5 listening bob 7002

say "with SNAT"
wait_for 10 is_seen 10.88.1.2 10.88.1.1
check "IPv6" wait_for 5 is_seen '[fd88:0:0:1::2]' "$(long fd88:0:0:1::1)"

say "without"
show alice set --snat-subnet-routes=false
wait_for 5 is_seen 10.88.1.2 "$(ip4 bob)"
check "IPv6" wait_for 5 is_seen '[fd88:0:0:1::2]' "$(long "$(ip6 bob)")"
check "the LAN reaches bob" from_lan

say "stateful"
show alice set --stateful-filtering
wait_for 5 not_from_lan
check "answers pass" wait_for 5 is_seen 10.88.1.2 "$(ip4 bob)"
show alice set --stateful-filtering=false
wait_for 5 from_lan

say "modes"
if [[ $dut == tailgate ]]; then
	check "hooks" grep -q "hook forward" <<<"$(table)"
	show alice set --netfilter-mode=nodivert
	wait_for 5 eval '[[ $(table) && $(table) != *hook* ]]'
	show alice set --netfilter-mode=off
	wait_for 5 no_table
	refuse ts alice set --netfilter-mode=maybe
	for before in 1 0; do
		in_ns alice sysctl -qw net.ipv4.conf.all.src_valid_mark=$before
		show alice set --netfilter-mode=on
		wait_for 5 valid_mark 1
		show alice set --netfilter-mode=off
		wait_for 5 no_table
		check "src_valid_mark is as it was: $before" wait_for 5 valid_mark $before
	done
	show alice set --netfilter-mode=on --snat-subnet-routes
	wait_for 5 is_seen 10.88.1.2 10.88.1.1
	wait_for 5 valid_mark 1
	show alice down
	wait_for 5 no_table
	wait_for 5 valid_mark 0
	show alice up
	wait_pong alice bob direct
	wait_for 30 is_seen 10.88.1.2 10.88.1.1

	say "killed, and started again"
	stop alice KILL
	wait_for 5 no_table
	tn_daemon alice "$dut"
	wait_for 30 is_seen 10.88.1.2 10.88.1.1
	stop alice
	check "nothing is left" no_table
fi
