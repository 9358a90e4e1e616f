#!/usr/bin/env bash
# Peers change on reload, with the signal and with the command, and the others lose no packet. A
# broken file changes nothing and says why.
# timeout: 90
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
#                                    |
#                                    +====== gwc (wireguard-go) ---- other    comes and goes
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

stream_during() { # COMMAND...: no packet between client and server is lost while it runs
	ping_begin beside client 10.2.0.2 0.002
	run "$@"
	ping_end beside
}

with_gwc() {
	add_peer gwa gwc 192.0.2.3:41641 10.3.0.0/24,10.99.3.1/32
	gateway_reload gwa
	wait_for 10 in_ns client ping -c 1 -W 1 10.3.0.2
}

without_gwc() {
	sed -i '/^gwc|/d' "$lab_dir/gwa.peers"
	gateway_reload gwa
	refuse in_ns client ping -c 1 -W 1 10.3.0.2
}

again_and_again() {
	for ((i = 0; i < 10; i++)); do gateway_reload gwa; done
}

by_signal() {
	add_peer gwa gwc 192.0.2.3:41641 10.3.0.0/24,10.99.3.1/32
	render gwa
	kill -HUP "${lab_pid[gwa]}"
	wait_for 10 in_ns client ping -c 1 -W 1 10.3.0.2
}

broken() {
	render gwa
	echo 'peers = ( { public_key = "nonsense"; } );' >>"$lab_dir/gwa.conf"
	refuse tailgate_cli gwa reload >"$lab_dir/refusal" 2>&1
	check "it says why" grep -q 'gwa.conf' "$lab_dir/refusal"
	kill -HUP "${lab_pid[gwa]}"
	wait_for 5 grep -q 'gwa.conf' "$lab_dir/gwa.log"
}

lab_begin
need_kind "$dut" wireguard-go
lab_hosts
add_gateway gwc 3 other
lab_peers
add_peer gwc gwa 192.0.2.1:41641 10.1.0.0/24,10.99.1.1/32
gateway_start gwa "$dut"
gateway_start gwb wireguard-go
gateway_start gwc wireguard-go
lab_ready

say "a peer comes"
stream_during with_gwc
session=$(handshake_of gwb gwa)
say "it goes"
stream_during without_gwc
say "nothing changes, ten times"
stream_during again_and_again
check "the session was kept" test "$(handshake_of gwb gwa)" = "$session"
if [[ $dut == tailgate ]]; then
	say "it comes by signal"
	stream_during by_signal
	say "a broken file"
	stream_during broken
	ping_lossless client 10.3.0.2 -f -c 50
fi
