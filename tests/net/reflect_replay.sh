#!/usr/bin/env bash
# Handshakes that are recorded and sent again, to where they went or back to where they came from,
# also from another address: each is counted, none is answered, none moves the session or its
# endpoint. (Data: refusals.sh.)
# timeout: 60
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (tailgate) ---- server
#                    ^------------ inject
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

inject=${TAILGATE_BUILD:-$(build_dir release)}/tests/net/inject

record() { # LABEL FILTER: of what was captured
	tcpdump -n -r "$lab_dir/all.pcap" -w "$lab_dir/$1.pcap" "$2" 2>/dev/null
	local n
	n=$(tcpdump -n -r "$lab_dir/$1.pcap" 2>/dev/null | wc -l)
	check "$1: $n recorded" test "$n" -ge "${3:-1}"
}

# again GATEWAY COUNTER LABEL [-t]: sent ten times to the gateway; the counter says so
again() {
	local before n mac
	n=$(tcpdump -n -r "$lab_dir/$3.pcap" 2>/dev/null | wc -l)
	before=$(counter_of "$1" "$2")
	mac=$(in_ns "$1" cat /sys/class/net/wan/address)
	on wan "$inject" -m "$mac" -n 10 "${@:4}" br pcap "$lab_dir/$3.pcap"
	wait_for 5 counter_exceeds "$1" "$2" $((before + 10 * n - 1))
	check "$2 + $((10 * n))" test "$(counter_of "$1" "$2")" = $((before + 10 * n))
}

lab_begin
[[ $dut == tailgate ]] || skip "the counters are Tailgate's"
need_kind tailgate
[[ -x $inject ]] || skip "tests/net/inject is not built"
lab_hosts
lab_peers
gateway_start gwa tailgate
gateway_start gwb tailgate
capture all wan br "udp port 41641"
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
say "restarted, it makes another session: there are old messages and new ones"
gateway_stop gwa
gateway_start gwa tailgate
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless client 10.2.0.2 -f -c 50
captured all >/dev/null
record initiations "src host 192.0.2.1 and udp[8] == 1" 2
record responses "src host 192.0.2.2 and udp[8] == 2" 2
record old "src host 192.0.2.1 and udp[8] == 4"

session=$(handshake_of gwb gwa)
for gw in gwa gwb; do
	capture answers-$gw $gw wan -Q out "udp port 41641 and (udp[8] == 2 or udp[8] == 3)"
done
ping_begin beside client 10.2.0.2

say "sent again"
again gwb handshake_replayed initiations
again gwa handshake_unknown_index responses
say "sent back to where they came from"
again gwa handshake_bad_mac1 initiations -t
again gwb handshake_bad_mac1 responses -t
say "sent again from another address: the endpoint stays"
run tcpdump -n -r "$lab_dir/initiations.pcap" -c 1 -w "$lab_dir/one.pcap"
before=$(counter_of gwb handshake_replayed)
tcpdump -n -r "$lab_dir/one.pcap" -x 2>/dev/null |
	awk '/0x/ {for (i = 2; i <= NF; i++) printf "%s", $i}' | cut -c57- >"$lab_dir/one.hex"
check "an initiation in hex" test "$(tr -d '\n' <"$lab_dir/one.hex" | wc -c)" = 296
on wan "$inject" -m "$(in_ns gwb cat /sys/class/net/wan/address)" br \
	udp 192.0.2.254 5555 192.0.2.2 41641 "$(cat "$lab_dir/one.hex")"
wait_for 5 counter_exceeds gwb handshake_replayed "$before"
check "the endpoint is still the peer's" endpoint_is gwb gwa 192.0.2.1:41641

ping_end beside
check "no answer to any of it" test "$(captured answers-gwa) $(captured answers-gwb)" = "0 0"
check "the session is the one of before" test "$(handshake_of gwb gwa)" = "$session"

say "data of the session before"
before=$(($(counter_of gwb wg_unknown_index) + $(counter_of gwb wg_replay)))
on wan "$inject" -m "$(in_ns gwb cat /sys/class/net/wan/address)" br pcap "$lab_dir/old.pcap"
counted() { (($(counter_of gwb wg_unknown_index) + $(counter_of gwb wg_replay) > before)); }
wait_for 5 counted
ping_lossless client 10.2.0.2 -f -c 50
