#!/usr/bin/env bash
# tailgate capture: pcapng that tcpdump reads, of one peer and one port, before encryption and after;
# it ends by count and by signal and loses no packet of the traffic.
# timeout: 60
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

record() { # FILE ARGS...: tailgate capture in the background
	start record gwa "$(program tailgate)" --socket "$lab_dir/gwa.sock" capture -w "$lab_dir/$1" "${@:2}"
	wait_for 5 test -s "$lab_dir/$1" # the file's head
}

record_end() { # FILE: with Ctrl-C; what the workers have copied is fetched every 5 ms
	stands_still "$lab_dir/$1"
	stop record INT
}

packets() { # FILE FILTER...: that tcpdump reads
	tcpdump -n -r "$lab_dir/$1" "${@:2}" 2>"$lab_dir/tcpdump.err" | wc -l
}

ended() { ! kill -0 "${lab_pid[record]}" 2>/dev/null; }

lab_begin
[[ $dut == tailgate ]] || skip "tailgate capture is Tailgate's"
need_kind tailgate wireguard-go
lab_up tailgate wireguard-go

say "before encryption"
record plain.pcapng --point plain
ping_lossless client 10.2.0.2 -c 20 -i 0.02
record_end plain.pcapng
check "$pinged requests" test "$(packets plain.pcapng 'icmp[0] == 8 and src host 10.1.0.2')" = "$pinged"
check "as many replies" test "$(packets plain.pcapng 'icmp[0] == 0 and src host 10.2.0.2')" = "$pinged"
check "nothing else" test "$(packets plain.pcapng)" = $((2 * pinged))

say "after encryption"
record wire.pcapng --point wire
ping_lossless client 10.2.0.2 -c 20 -i 0.02
record_end wire.pcapng
check "$pinged datagrams out" test "$(packets wire.pcapng 'src host 192.0.2.1 and udp dst port 41641 and udp[8] == 4')" = "$pinged"
check "as many in" test "$(packets wire.pcapng 'dst host 192.0.2.1 and udp src port 41641 and udp[8] == 4')" = "$pinged"
check "nothing in the clear" test "$(packets wire.pcapng 'icmp')" = 0

say "it ends by count"
record count.pcapng --point plain --count 10
ping_lossless client 10.2.0.2 -c 20 -i 0.02
wait_for 5 ended
check "10 packets" test "$(packets count.pcapng)" = 10

say "of one peer, of one port"
record peer.pcapng --point plain --peer gwb
ping_lossless client 10.2.0.2 -c 5 -i 0.02
record_end peer.pcapng
check "the peer's packets" test "$(packets peer.pcapng)" = $((2 * pinged))
refuse tailgate_cli gwa capture -w "$lab_dir/none.pcapng" --peer nobody --count 1
record port.pcapng --point wire --port wan
ping_lossless client 10.2.0.2 -c 5 -i 0.02
record_end port.pcapng
check "the port's packets" test "$(packets port.pcapng 'udp[8] == 4')" = $((2 * pinged))

say "cut short"
record short.pcapng --point plain --snaplen 64
ping_lossless client 10.2.0.2 -c 3 -i 0.02 -s 1000
record_end short.pcapng
check "the file is small" test "$(stat -c %s "$lab_dir/short.pcapng")" -lt 2500
check "its packets keep their length" test "$(packets short.pcapng 'greater 1000')" = $((2 * pinged))

say "of full speed: the transfer is whole, the file too"
record fast.pcapng --point plain --snaplen 128
transfer client server 10.2.0.2 30
record_end fast.pcapng
read=$(packets fast.pcapng)
lost=$(counter_of gwa capture_lost)
check "$read packets, $lost missed: tcpdump reads to the end" test "$read" -gt 100
refuse grep -qiE 'truncated|bad|error' "$lab_dir/tcpdump.err"
ping_lossless client 10.2.0.2 -f -c 50
