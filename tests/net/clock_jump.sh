#!/usr/bin/env bash
# The clock of one tailgated jumps, back and forth, while it runs (libfaketime moves CLOCK_REALTIME
# of that process alone): traffic goes on, and handshakes too, since timestamps only grow. A restart
# with a clock behind is refused as a replay, until the clock is right or the other side calls.
# timeout: 90
# sanitizer: no
#
#   client ---- gwa (tailgate, clock jumps) ==== wan ==== gwb (wireguard-go, tailgate) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

faketime=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1

clock() { # GATEWAY OFFSET: of its clock from now on
	echo "$1: clock $2"
	echo "$2" >"$lab_dir/$1.clock.new"
	mv "$lab_dir/$1.clock.new" "$lab_dir/$1.clock" # never half written
}

start_faked() { # GATEWAY: a tailgated with a clock of its own
	gw_kind[$1]=tailgate gw_dev[$1]=tailgate0
	render "$1"
	start "$1" "$1" env LD_PRELOAD=$faketime FAKETIME_TIMESTAMP_FILE="$lab_dir/$1.clock" FAKETIME_NO_CACHE=1 \
		FAKETIME_DONT_FAKE_MONOTONIC=1 "$(program tailgated)" --config "$lab_dir/$1.conf"
	gateway_wait "$1" tailgate_cli "$1" status --json
}


new_psk() { # both sides get another key: gwa drops the session and shakes hands anew
	local psk
	psk=$(wg genpsk)
	rm -f "$lab_dir"/gw?.peers
	add_peer gwa gwb 192.0.2.2:41641 10.2.0.0/24,10.99.2.1/32 0 "$psk"
	gateway_reload gwa
	echo "$psk" >"$lab_dir/psk"
	on gwb wg set "${gw_dev[gwb]}" peer "$(cat "$lab_dir/gwa.pub")" preshared-key "$lab_dir/psk"
}

lab_begin
[[ $dut == tailgate ]] || skip "only Tailgate's clock is moved"
need_kind tailgate wireguard-go
[[ -f $faketime ]] || skip "libfaketime is missing: apt-get install faketime"

say "jumps while it runs"
lab_hosts
lab_peers
clock gwa +0
start_faked gwa
gateway_start gwb wireguard-go
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
for jump in -400d +30d -2h +0; do
	ping_begin "beside$jump" client 10.2.0.2
	clock gwa $jump
	sleep 1 # ten ticks of the timers
	ping_end "beside$jump"
	new_psk
	wait_for 12 in_ns client ping -c 1 -W 1 10.2.0.2
	ping_lossless client 10.2.0.2 -f -c 50
	[[ $jump != -400d ]] || check "its clock really moved" \
		test "$(handshake_of gwa gwb)" -lt $(($(date +%s) - 399 * 86400))
done
check "nothing was given up" test "$(counter_of gwa handshake_gave_up)" = 0
lab_clear

say "a restart with a clock behind"
lab_hosts
add_peer gwa gwb "" 10.2.0.0/24,10.99.2.1/32
add_peer gwb gwa 192.0.2.1:41641 10.1.0.0/24,10.99.1.1/32
gateway_start gwa tailgate
clock gwb +0
start_faked gwb
wait_for 15 in_ns server ping -c 1 -W 1 10.1.0.2
gateway_stop gwb
clock gwb -1h
start_faked gwb
refuse on server ping -c 3 -W 1 10.1.0.2
check "refused as a replay" counter_exceeds gwa handshake_replayed 0
say "the clock is set right"
clock gwb +0
wait_for 15 in_ns server ping -c 1 -W 1 10.1.0.2
ping_lossless client 10.2.0.2 -f -c 50
