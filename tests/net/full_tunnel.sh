#!/usr/bin/env bash
# Everything goes into the tunnel: 0.0.0.0/0 and ::/0 with routes. The host's and the LAN's traffic
# to the internet leaves behind the peer; what carries the tunnel does not loop into it; after the
# end the routes are as before.
# timeout: 60
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server, 198.51.100.1 "internet"
#                 default via 192.0.2.254                            2001:db8:100::1
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

routes() { # without what the kernel learns by itself, such as neighbours' lifetimes
	ip -n "$lab_id-gwa" route show table all | grep -v tailgate0 | sort
	ip -n "$lab_id-gwa" -6 route show table all | grep -v tailgate0 | sed 's/ expires [0-9]*sec//' | sort
}

lab_begin
[[ $dut == tailgate ]] || skip "wireguard-go leaves routes to wg-quick"
need_kind tailgate wireguard-go
lab_hosts
add_peer gwa gwb 192.0.2.2:41641 0.0.0.0/0,::/0
add_peer gwb gwa "" 10.1.0.0/24,fd01::/64,10.99.1.1/32,fd99::1:1/128
addr server lo 198.51.100.1/32 2001:db8:100::1/128
run ip -n "$lab_id-gwb" route add 198.51.100.1/32 via 10.2.0.2
run ip -n "$lab_id-gwb" route add 2001:db8:100::1/128 via fd02::2
run ip -n "$lab_id-gwa" route add default via 192.0.2.254
run ip -n "$lab_id-gwa" route add default via 2001:db8:99::fe
before=$(routes)
gateway_start gwb wireguard-go
gateway_start gwa tailgate

say "the LAN and the host reach the internet through the tunnel"
capture clear wan br "host 198.51.100.1 or host 2001:db8:100::1 or net 10.1.0.0/16"
wait_for 15 in_ns client ping -c 1 -W 1 198.51.100.1
ping_lossless client 198.51.100.1 -f -c 50
ping_lossless client 2001:db8:100::1 -f -c 50
ping_lossless gwa 198.51.100.1 -f -c 50
ping_lossless gwa 2001:db8:100::1 -f -c 50
transfer client server 198.51.100.1 20
transfer gwa server 198.51.100.1 20
transfer gwa server 2001:db8:100::1 10
check "nothing of it went in the clear" test "$(captured clear)" = 0

say "what carries the tunnel does not enter it"
check "the endpoint is reached over wan" test "$(tailgate_peer gwa gwb .port)" = wan
ping_lossless gwa 192.0.2.2 -c 3 -i 0.02 # on-link: the longer route counts
ping_lossless gwa 192.0.2.254 -c 3 -i 0.02
check "the old default routes are still there" grep -q 'default via 192.0.2.254' < <(ip -n "$lab_id-gwa" route)

say "a new handshake does not loop either, nor to an endpoint that is beyond the default route"
gateway_stop gwa
addr gwb lo 203.0.113.7/32
run ip -n "$lab_id-wan" route add 203.0.113.7/32 via 192.0.2.2
in_ns wan sysctl -qw net.ipv4.ip_forward=1
: >"$lab_dir/gwa.peers"
add_peer gwa gwb 203.0.113.7:41641 0.0.0.0/0,::/0
gateway_start gwa tailgate
wait_for 15 in_ns client ping -c 1 -W 1 198.51.100.1
ping_lossless client 198.51.100.1 -f -c 50
transfer client server 198.51.100.1 10

say "after the end everything is as it was"
gateway_stop gwa
check "the same routes" test "$(routes)" = "$before"
check "no route of ours" test -z "$(ip -n "$lab_id-gwa" route show table all | grep tailgate0)"
ping_lossless gwa 192.0.2.254 -c 3 -i 0.02
