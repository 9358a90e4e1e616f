#!/usr/bin/env bash
# A peer's endpoint given by name: looked up with the resolver of the machine, and again while there
# is no answer.
# timeout: 120
#
#   client ---- gwa (tailgate) ==== wan (DNS at 192.0.2.254) ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

dns_start() { # answers every A query with the address in $lab_dir/answer, other types with none
	cat >"$lab_dir/dns" <<-'SH'
		#!/usr/bin/env bash
		# A query in, its answer out: the header with its counts, the question, and one A record.
		read -r answer <"${0%/*}/answer"
		q=$(timeout 2 od -An -v -tx1 -w4096 | tr -d ' \n')
		question=${q:24} && n=0
		while ((16#${question:n:2} > 0)); do n=$((n + 2 + 2 * 16#${question:n:2})); done
		type=${question:n + 2:4}
		question=${question:0:n + 10}
		count=0000 record=
		if [[ $type == 0001 && $answer != none ]]; then
			count=0001
			# shellcheck disable=SC2046,SC2086 # four numbers
			record=c00c0001000100000001$(printf 0004%02x%02x%02x%02x ${answer//./ })
		fi
		printf %b "$(sed 's/../\\x&/g' <<<"${q:0:4}81800001${count}00000000$question$record")"
	SH
	chmod +x "$lab_dir/dns"
	start dns wan socat -T 1 UDP4-RECVFROM:53,fork "EXEC:$lab_dir/dns"
	wait_for 5 listening wan 53 u
}

lab_begin
[[ $dut == tailgate ]] || skip "other gateways look names up once, in their tools"
need_kind tailgate wireguard-go
lab_hosts
# ip netns exec puts this in place of the machine's.
mkdir -p "/etc/netns/$lab_id-gwa"
trap 'rm -rf "/etc/netns/$lab_id-gwa"; lab_exit $?' EXIT
echo 'nameserver 192.0.2.254' >"/etc/netns/$lab_id-gwa/resolv.conf"
echo 192.0.2.2 >"$lab_dir/answer"
dns_start
add_peer gwa gwb gwb.example.net:41641 10.2.0.0/24,fd02::/64,10.99.2.1/32
add_peer gwb gwa "" 10.1.0.0/24,fd01::/64,10.99.1.1/32

say "the name is looked up"
gateway_start gwb wireguard-go
gateway_start gwa tailgate
lab_ready
check "the endpoint is its address" endpoint_is gwa gwb 192.0.2.2:41641
ping_lossless client 10.2.0.2 -f -c 50

say "there is no such name at the start: it is asked for again"
gateway_stop gwa
echo none >"$lab_dir/answer"
gateway_start gwa tailgate
wait_for 10 grep -q 'endpoint gwb.example.net: .*trying again' "$lab_dir/gwa.log"
refuse in_ns client ping -c 1 -W 1 10.2.0.2
echo 192.0.2.2 >"$lab_dir/answer"
wait_for 40 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless client 10.2.0.2 -f -c 50
