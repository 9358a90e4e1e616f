#!/usr/bin/env bash
# A gateway is killed without a word and comes back: traffic goes on with a new handshake, within
# the whitepaper's KEEPALIVE_TIMEOUT + REKEY_TIMEOUT (15 s) where the survivor has to find out by
# itself, at once where the restarted side speaks first. What was killed leaves nothing behind.
# timeout: 180
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go, tailgate) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

# recovers WITHIN_MS FROM TO: pings every 0.2 s until one is answered
recovers() {
	local begin=${killed:-$(now_ms)} took
	wait_for 25 in_ns "$2" ping -c 1 -W 0.2 "$3"
	took=$(($(now_ms) - begin))
	check "$2 reaches $3 again after $took ms, at most $1" test $took -le "$1"
}

nothing_left() { # GATEWAY: of a tailgated that was killed
	check "no nftables table is left" test -z "$(in_ns "$1" nft list tables)"
	check "no TUN is left" test -z "$(in_ns "$1" ip -br link show type tun)"
	check "no route through it is left" test -z "$(in_ns "$1" ip route show 10.0.0.0/8 table all | grep tailgate0)"
}

survivor_finds_out() { # KIND_OF_GWB
	say "gwb ($1) is killed; the client behind gwa speaks on"
	stop gwb KILL
	killed=$(now_ms)
	[[ $1 != tailgate ]] || nothing_left gwb
	gateway_start gwb "$1"
	before=$(handshake_of gwa gwb)
	recovers 16500 client 10.2.0.2
	check "by a new handshake" test "$(handshake_of gwa gwb)" -gt "$before"
	ping_lossless client 10.2.0.2 -f -c 50
}

restarted_speaks() { # KIND_OF_GWB
	say "gwb ($1) is killed; the server behind it speaks first"
	stop gwb KILL
	gateway_start gwb "$1"
	killed=''
	recovers 3000 server 10.1.0.2
	ping_lossless client 10.2.0.2 -f -c 50
}

lab_begin
need_kind "$dut" wireguard-go
lab_up "$dut" wireguard-go
survivor_finds_out wireguard-go
restarted_speaks wireguard-go

if [[ $dut == tailgate ]]; then
	say "gwa (tailgate) is killed and started at once"
	stop gwa KILL
	nothing_left gwa
	begin=$(now_ms)
	gateway_start gwa tailgate
	echo "started after $(($(now_ms) - begin)) ms"
	killed=''
	recovers 3000 client 10.2.0.2
	check "with its own port" test "$(tailgate_cli gwa status --json | jq .listen_port)" = 41641
	ping_lossless server fd01::2 -f -c 50

	lab_clear
	lab_up tailgate tailgate
	survivor_finds_out tailgate
	restarted_speaks tailgate
fi
