#!/usr/bin/env bash
# The MTU of a tailnet's node: 1280, whatever the link carries; and the same variable as tailscaled's raises
# it, to what fits a link of jumbo frames. Measured by pings that must not be cut, and by TCP's segments.
# timeout: 60
# sanitizer: no
#
#   alice (tailgate) ---- inet (links of 9001 bytes) ---- bob (tailscaled, TS_DEBUG_MTU=8921)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

tun_mtu() { in_ns alice cat /sys/class/net/tailgate0/mtu; }
passes() { in_ns alice ping -c 1 -W 1 -M 'do' -s $(($2 - 28)) "$1" >/dev/null 2>&1; } # ADDRESS BYTES
fits() { # BYTES: exactly that, both ways
	wait_for 20 passes "$(ip4 bob)" "$1"
	echo "ok $1 bytes pass"
	on bob ping -q -c 2 -i 0.1 -W 2 -M 'do' -s $(($1 - 28)) "$(ip4 alice)"
	on alice ping -q -c 2 -i 0.1 -W 2 -M 'do' -s $(($1 - 48)) "$(ip6 bob)"
	check "a byte more is refused with the number" \
		grep -qiE "mtu ?= ?$1\b" <<<"$(in_ns alice ping -c 1 -W 2 -M 'do' -s $(($1 - 27)) "$(ip4 bob)" 2>&1)"
}
segments_are() { # BYTES ADDRESS: of TCP with timestamps
	local seen
	seen=$(in_ns alice iperf3 -c "$2" -p 5201 -n 1M -V | sed -nE 's/.*TCP MSS: ([0-9]+).*/\1/p')
	check "TCP to $2 sends ${seen:-nothing} at a time" test "$seen" = "$1"
}

[[ $dut == tailgate ]] || skip "the real client is on the other side"
lab_begin
need_node tailgate tailscaled
tn_begin
tn_place alice none
tn_place bob none
for name in alice bob; do
	run ip -n "$lab_id-$name" link set wan mtu 9001
	run ip -n "$lab_id-inet" link set "w-$name" mtu 9001
done
tn_join alice tailgate
export TS_DEBUG_MTU=8921
tn_join bob tailscaled
wait_for 10 knows alice bob
wait_pong alice bob direct
iperf_server bob

say "1280 by default"
check "so has the interface" test "$(tun_mtu)" = 1280
check "so says mtu" test "$(ts alice mtu bob --json | jq '.peers[0].mtu')" = 1280
fits 1280

say "TS_DEBUG_MTU=8921"
stop alice
tn_daemon alice tailgate
wait_pong alice bob direct
check "so has the interface" test "$(tun_mtu)" = 8921
fits 8921
show alice mtu bob
segments_are 8869 "$(ip4 bob)"
segments_are 8949 "$(inet_addr 12)"
