#!/usr/bin/env bash
# A peer turns up at another address, port or family: the other side follows it, both ways round.
# A forged packet from elsewhere moves nothing.
# timeout: 90
#
#                              192.0.2.1 -> .11 -> 2001:db8:99::1        192.0.2.2 -> .12
#   client ---- gwa (tailgate) ==================== wan ==================== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

lab_begin
lab_up "$dut" "$peer_kind"

say "the peer moves to another address"
run ip -n "$lab_id-gwb" addr del 192.0.2.2/24 dev wan
run addr gwb wan 192.0.2.12/24
wait_for 15 in_ns server ping -c 1 -W 1 10.1.0.2
wait_for 5 endpoint_is gwa gwb 192.0.2.12:41641
ping_lossless client 10.2.0.2 -f -c 50

say "the peer moves to another port"
on gwb wg set "${gw_dev[gwb]}" listen-port 9999
wait_for 15 in_ns server ping -c 1 -W 1 10.1.0.2
wait_for 5 endpoint_is gwa gwb 192.0.2.12:9999
ping_lossless client 10.2.0.2 -f -c 50

say "someone else sends to our port: nothing moves"
for ((i = 0; i < 20; i++)); do
	head -c 148 /dev/urandom | in_ns wan socat -u - UDP4-DATAGRAM:192.0.2.1:41641
	{ printf '\4\0\0\0' && head -c 60 /dev/urandom; } | in_ns wan socat -u - UDP4-DATAGRAM:192.0.2.1:41641
done
check "the endpoint is still the peer's" endpoint_is gwa gwb 192.0.2.12:9999
ping_lossless client 10.2.0.2 -f -c 50

say "the device under test moves to another address"
run ip -n "$lab_id-gwa" addr del 192.0.2.1/24 dev wan
run addr gwa wan 192.0.2.11/24
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
wait_for 5 endpoint_is gwb gwa 192.0.2.11:41641
ping_lossless server 10.1.0.2 -f -c 50

say "the peer calls over IPv6 from now on"
on gwb wg set "${gw_dev[gwb]}" peer "$(cat "$lab_dir/gwa.pub")" endpoint "[2001:db8:99::1]:41641"
wait_for 15 in_ns server ping -c 1 -W 1 10.1.0.2
wait_for 5 endpoint_is gwa gwb "[2001:db8:99::2]:9999"
# An answer that was on its way over IPv4 moved the peer back for a moment.
wait_for 5 in_ns client ping -c 1 -W 1 10.2.0.2
wait_for 5 endpoint_is gwb gwa "[2001:db8:99::1]:41641"
# Packet counts on both sides show that the peer may lose one answer itself while it changes from one
# family's socket to the other's; after that nothing is lost.
lossless() { in_ns client ping -f -c 50 10.2.0.2 | grep ' 0% packet loss'; }
wait_for 5 lossless
