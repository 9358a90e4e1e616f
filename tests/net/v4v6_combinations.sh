#!/usr/bin/env bash
# IPv4 and IPv6 inside, over IPv4 and IPv6 outside, each way and large.
# timeout: 90
#
#   client ---- gwa (tailgate) ==== wan (v4, then v6) ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

lab_begin
for outer in 4 6; do
	say "outside: IPv$outer"
	lab_up "$dut" "$peer_kind" $outer
	for host in 10.2.0.2 fd02::2; do
		ping_lossless client $host -f -c 50
		ping_lossless client $host -c 3 -i 0.02 -s 1300
	done
	for host in 10.1.0.2 fd01::2; do
		ping_lossless server $host -f -c 50
		ping_lossless server $host -c 3 -i 0.02 -s 1300
	done
	transfer client server 10.2.0.2 30
	transfer server client fd01::2 30
	case $(endpoint_of gwb gwa) in
	"192.0.2.1:41641") check "gwb sees gwa at its IPv4 address" test $outer = 4 ;;
	"[2001:db8:99::1]:41641") check "gwb sees gwa at its IPv6 address" test $outer = 6 ;;
	*) fail "gwb sees gwa at $(endpoint_of gwb gwa)" ;;
	esac
	lab_clear
done
