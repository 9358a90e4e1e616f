#!/usr/bin/env bash
# What bad input gets: a named counter, no answer, no crash, no memory, and no other flow harmed by
# it. Packets come from the WAN (tests/net/inject.c) and, inside the tunnel, from the peer.
# timeout: 90
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
#                    ^-------------- inject      inject ---^ into its tunnel
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

inject=${TAILGATE_BUILD:-$(build_dir release)}/tests/net/inject

# counts COUNTER AT_LEAST COMMAND...: the command makes the counter of gwa rise by so many
counts() {
	local before now
	before=$(counter_of gwa "$1")
	"${@:3}" >/dev/null || fail "${*:3}"
	wait_for 6 counter_exceeds gwa "$1" $((before + $2 - 1))
	now=$(counter_of gwa "$1")
	check "$1 + $((now - before))" test $((now - before)) -ge "$2"
}

from_wan() { # OPTIONS... -- PAYLOAD: to UDP 41641 of gwa
	local options=()
	while [[ $1 != -- ]]; do options+=("$1") && shift; done
	in_ns wan "$inject" -m "$mac" "${options[@]}" br udp 192.0.2.254 5555 192.0.2.1 41641 "$2"
}
from_wan6() { # PAYLOAD
	in_ns wan "$inject" -m "$mac" br udp 2001:db8:99::fe 5555 2001:db8:99::1 41641 "$1"
}
replay() { # OPTIONS...: what was captured of gwb, once more
	in_ns wan "$inject" -m "$mac" "$@" br pcap "$lab_dir/data.pcap"
}
from_peer() { # OPTIONS... -- SOURCE PAYLOAD: an inner packet to the client
	local options=()
	while [[ $1 != -- ]]; do options+=("$1") && shift; done
	in_ns gwb "$inject" "${options[@]}" "${gw_dev[gwb]}" udp "$2" 5555 10.1.0.2 9 "$3"
}

malformed() {
	from_wan -- -              # nothing
	from_wan -- 04             # a byte of the type
	from_wan -- 04000000+27    # data, a byte short of a keepalive
	from_wan -- 00000000+60    # type 0
	from_wan -- 05000000+60    # type 5
	from_wan -- ff+147         # no type at all
	from_wan -- 04000001+60    # reserved bytes
	from_wan -- 01000000+143   # an initiation without its last byte
	from_wan -- 01000000+145   # and with one too many
	from_wan -- 02000000+87    # a response
	from_wan -- 02000000+1300  # a large one
	from_wan -- 03000000+61    # a cookie
	from_wan6 04000000+8
	from_wan6 07000000+100
	from_wan -d udp-length -- 04000000+60
}

forged_handshakes() {
	from_wan -n 5 -- 01000000+144
	from_wan -n 5 -- 02000000+88
	from_wan6 01000000+144
}

fragments() {
	from_wan -d fragment -n 20 -- 04000000+60
	from_wan -d later-fragment -n 20 -- 04000000+60
}

last_hop() {
	grep -q 'From 10.1.0.1 .*Time to live exceeded' < <(in_ns client ping -c 1 -W 2 -t 1 10.2.0.2)
}

nowhere() { # into the tunnel, but to nobody
	ip -n "$lab_id-gwa" route add 10.55.0.0/16 dev tailgate0
	refuse in_ns client ping -c 1 -W 1 10.55.0.1
}

spoofed6() { refuse in_ns gwb ping -c 1 -W 1 -I fd66::1 fd01::2; }

lab_begin
[[ $dut == tailgate ]] || skip "the counters are Tailgate's"
need_kind tailgate wireguard-go
[[ -x $inject ]] || skip "tests/net/inject is not built"
lab_up tailgate wireguard-go
mac=$(in_ns gwa cat /sys/class/net/wan/address)
pid=${lab_pid[gwa]}
capture data wan gwa "src host 192.0.2.2 and udp port 41641 and udp[8] == 4 and length > 120"
ping_lossless client 10.2.0.2 -f -c 50
check "$pinged data packets to replay" test "$(captured data)" = "$pinged"
capture answers wan br "src host 192.0.2.1 and (icmp or dst host 192.0.2.254)"
ping_begin beside client 10.2.0.2
sleep 0.5 # let the memory of the first packets be there
rss=$(rss_kb "$pid")

say "datagrams that are no WireGuard"
counts wg_malformed 15 malformed
say "IPv4 headers"
counts ip_checksum 10 from_wan -d checksum -n 10 -- 04000000+60
counts ip_malformed 10 from_wan -d long -n 10 -- 04000000+60
counts wg_unknown_index 10 from_wan -d options -n 10 -- 04000000+60
say "data for no session"
counts wg_unknown_index 100 from_wan -n 100 -- 04000000efbeadde+24
counts wg_unknown_index 1 from_wan6 04000000efbeadde+1400
say "replayed, forged, reflected"
counts wg_replay 50 replay
counts wg_replay 500 replay -n 10
counts wg_auth 50 replay -f 117 # a counter of the future: the window must not move there
capture own wan gwa "src host 192.0.2.1 and udp port 41641 and udp[8] == 4 and greater 500"
ping_lossless client 10.2.0.2 -f -c 20 -s 500
check "our own packets to reflect" test "$(captured own)" -ge 20
mv "$lab_dir/own.pcap" "$lab_dir/data.pcap"
counts wg_unknown_index 20 replay -t
say "handshakes that are none"
counts handshake_bad_mac1 6 forged_handshakes
say "fragments to the port wait for the rest, and end when it does not come"
counts fragment_timeout 2 fragments # all of one kind are parts of one packet

say "inner packets with a source that is not the peer's"
addr gwb lo 10.66.0.1/32 fd66::1/128
counts wg_source 10 from_peer -n 10 -- 10.66.0.1 -
counts wg_source 10 from_peer -n 10 -- 10.1.0.2 -
counts wg_source 1 spoofed6
say "inner packets that are none"
counts ip_checksum 10 from_peer -d checksum -n 10 -- 10.2.0.2 41+99
counts wg_inner 10 from_peer -d long -n 10 -- 10.2.0.2 41+99
capture inner client eth0 "src host 10.2.0.2 and udp port 9"
from_peer -d options -n 5 -- 10.2.0.2 41+99 >/dev/null
from_peer -d later-fragment -n 5 -- 10.2.0.2 41+99 >/dev/null
from_peer -n 5 -- 10.2.0.2 41+99 >/dev/null
check "options pass, and plain ones" test "$(captured inner)" = 10
say "TTL 1 gets its answer"
counts ttl_exceeded 1 last_hop
say "an address in nobody's allowed IPs"
counts no_peer 1 nowhere

say "a flood"
counts wg_unknown_index 20000 from_wan -n 20000 -r 20000 -- 04000000+1000
counts handshake_bad_mac1 1000 from_wan -n 2000 -r 10000 -- 01000000+144

ping_end beside
check "no answer to any of it" test "$(captured answers)" = 0
check "the same process" test "$(tailgate_cli gwa status --json | jq .pid)" = "$pid"
grown=$(($(rss_kb "$pid") - rss))
limit=4096
[[ ! $(program tailgated) == *san* ]] || limit=65536 # its shadow and quarantine
check "memory grew by $grown KiB" test "$grown" -le $limit
check "the session is the same" test "$(tailgate_peer gwa gwb .handshakes.failed)" = 0
ping_lossless client 10.2.0.2 -f -c 50
ping_lossless server fd01::2 -f -c 50
