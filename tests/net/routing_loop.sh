#!/usr/bin/env bash
# Two gateways that hold each other for the way to a prefix: a packet circles until its TTL is
# used up, the sender hears of it, and everything else goes on. Then the tunnel's own endpoint is
# routed into the tunnel: no packet gets out, nothing crashes, and it recovers.
# timeout: 60
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
#   10.77.0.2     10.66.0.0/16 -->        <-- 10.66.0.0/16
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

lab_begin
need_kind "$dut" "$peer_kind"
lab_hosts
# The sender's 10.77.0.2 is allowed both ways, or the first gateway would drop what comes back.
add_peer gwa gwb 192.0.2.2:41641 10.2.0.0/24,fd02::/64,10.66.0.0/16,10.77.0.0/16
add_peer gwb gwa 192.0.2.1:41641 10.1.0.0/24,fd01::/64,10.66.0.0/16,10.77.0.0/16
gateway_start gwa "$dut"
gateway_start gwb "$peer_kind"
addr client lo 10.77.0.2/32
run ip -n "$lab_id-gwa" route add 10.77.0.2/32 via 10.1.0.2
lab_ready

say "a packet with TTL 10 circles and ends"
capture loop wan gwa "udp port 41641"
out=$(in_ns client ping -c 1 -W 2 -t 10 -I 10.77.0.2 10.66.0.1 2>&1 || true)
echo "$out"
packets=$(captured loop)
check "it crossed the WAN some times, and no more than its TTL ($packets)" \
	test "$packets" -ge 1 -a "$packets" -le 16

say "a flood of them harms no other flow"
in_ns client ping -f -c 200 -W 1 -t 64 -I 10.77.0.2 10.66.0.1 >/dev/null 2>&1 || true
ping_lossless client 10.2.0.2 -f -c 50
ping_lossless server 10.1.0.2 -f -c 50

say "TTL 1 is answered by the gateway"
out=$(in_ns client ping -c 1 -W 2 -t 1 10.2.0.2 2>&1 || true)
check "time exceeded from 10.1.0.1" grep -q "From 10.1.0.1 .*Time to live exceeded" <<<"$out"
out=$(in_ns client ping -c 1 -W 2 -t 1 fd02::2 2>&1 || true)
check "hop limit from gwa" grep -qE "From (fd01::1|fd99::1:1) .*Hop limit" <<<"$out"

say "the endpoint is routed into the tunnel"
run ip -n "$lab_id-gwa" route add 192.0.2.2/32 dev "${gw_dev[gwa]}"
in_ns client ping -f -c 50 -W 1 10.2.0.2 >/dev/null 2>&1 || true
run ip -n "$lab_id-gwa" route del 192.0.2.2/32 dev "${gw_dev[gwa]}"
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless client 10.2.0.2 -f -c 50
