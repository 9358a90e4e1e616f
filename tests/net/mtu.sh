#!/usr/bin/env bash
# The tunnel carries 1420 bytes. What is larger and must not be fragmented is answered with the
# right MTU, for IPv4 and IPv6; what may be is carried in fragments; TCP never notices. Then a router on the
# way takes less, which it says when it is asked.
# timeout: 60
#
#   client ---- gwa (tailgate, mtu 1420) ==== wan (1500) ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

too_big() { # ADDRESS SIZE MTU: a ping with DF of SIZE bytes is answered with MTU
	local out
	in_ns client ip route flush cache
	in_ns client ip -6 route flush cache
	echo "client$ ping -M do -s $2 $1"
	out=$(in_ns client ping -c 1 -W 2 -M "do" -s "$2" "$1" 2>&1) && fail "$2 bytes got through to $1"
	check "the answer says $3" grep -qiE "mtu ?= ?$3\b" <<<"$out"
}

lab_begin
lab_up "$dut" "$peer_kind"

if [[ $dut == tailgate ]]; then
	say "the account of the way agrees with what is measured here"
	run tailgate_cli gwa mtu
	mtu_of_way() { # FILTER
		tailgate_cli gwa mtu --json | jq -e ".peers[0] | .link_mtu == 1500 and $1" >/dev/null
	}
	check "1420 of the 1440 that fit, by its own setting" mtu_of_way \
		'.overhead == 60 and .room == 1440 and .mtu == 1420 and .due_to == "interface"'
fi

say "exactly the MTU passes"
capture full wan br "ip[2:2] == 1480 and udp"
capture fuller wan br "ip[2:2] > 1480"
ping_lossless client 10.2.0.2 -M "do" -c 3 -i 0.02 -s $((1420 - 28))
ping_lossless client fd02::2 -M "do" -c 3 -i 0.02 -s $((1420 - 48))

check "outside it is 60 bytes more" test "$(captured full)" -ge 6
check "the padding never makes it more than that" test "$(captured fuller)" = 0

say "a byte more is too big"
too_big 10.2.0.2 $((1421 - 28)) 1420
too_big fd02::2 $((1421 - 48)) 1420
too_big 10.2.0.2 $((1500 - 28)) 1420
too_big fd02::2 $((1500 - 48)) 1420

say "every length up to the MTU passes: the padding to 16 never makes it too long"
in_ns client ip route flush cache
in_ns client ip -6 route flush cache
for ((size = 1380; size <= 1392; size++)); do ping_lossless client 10.2.0.2 -M "do" -c 1 -s $size; done

say "TCP with timestamps"
iperf_server server
seen=$(in_ns client iperf3 -c 10.2.0.2 -p 5201 -n 1M -V | sed -nE 's/.*TCP MSS: ([0-9]+).*/\1/p')
check "sends ${seen:-nothing} at a time" test "$seen" = 1368
stop iperf-server

say "fragments are carried"
in_ns client ip route flush cache
ping_lossless client 10.2.0.2 -M dont -c 3 -i 0.02 -s 4000
ping_lossless server 10.1.0.2 -M dont -c 3 -i 0.02 -s 4000
wait_for 5 in_ns client ping -c 1 -W 1 -s 4000 fd02::2 # both ends learn the MTU first
ping_lossless client fd02::2 -c 3 -i 0.02 -s 4000

say "a smaller MTU behind the peer is learned through the tunnel"
run ip -n "$lab_id-server" link set eth0 mtu 1300
run ip -n "$lab_id-gwb" link set lan mtu 1300
too_big 10.2.0.2 $((1400 - 28)) 1300
too_big fd02::2 $((1400 - 48)) 1300
run ip -n "$lab_id-server" link set eth0 mtu 1500
run ip -n "$lab_id-gwb" link set lan mtu 1500
in_ns client ip route flush cache
in_ns client ip -6 route flush cache

say "TCP is clamped: no segment is too big even when ICMP is lost"
in_ns client nft -f - <<-'NFT'
	table inet deaf {
		chain input {
			type filter hook input priority 0
			icmp type destination-unreachable drop
			icmpv6 type packet-too-big drop
		}
	}
NFT
if [[ $dut == tailgate ]]; then
	transfer client server 10.2.0.2 20
	transfer server client fd01::2 20
fi

if [[ $dut == tailgate ]]; then
	say "a router on the way takes less: it is asked, and nothing is cut any more"
	cuts() { in_ns wan nstat -asz IpFragCreates | awk '!/^#/ {print $2}'; }
	way_is() { [[ $(tailgate_cli gwa mtu --json | jq -r '.peers[0] | "\(.mtu) \(.due_to)"') == "$1" ]]; }
	on wan sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br.send_redirects=0
	on wan ip route add 192.0.2.2/32 dev br mtu 1400
	on gwa ip route add 192.0.2.2/32 via 192.0.2.254
	start large client ping -q -i 0.2 -M dont -s 1380 10.2.0.2
	wait_for 10 way_is "1340 icmp"
	stop large
	run tailgate_cli gwa mtu
	before=$(cuts)
	check "the router had cut some" test "$before" -gt 0
	transfer client server 10.2.0.2 5
	check "and cuts none of TCP, whose MSS fits" test "$(cuts)" = "$before"
	on client nft delete table inet deaf
	too_big 10.2.0.2 $((1341 - 28)) 1340
fi
