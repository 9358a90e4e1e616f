#!/usr/bin/env bash
# A gateway is killed without a word and comes back: traffic goes on with a new handshake, within
# the whitepaper's KEEPALIVE_TIMEOUT + REKEY_TIMEOUT (15 s) where the survivor has to find out by
# itself, at once where the restarted side speaks first. What was killed leaves nothing behind.
# timeout: 180
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
#                                    +====== gwc (tailgate) ---- other
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

survivor_finds_out() { # with all peers at the same time: it takes its time
	say "${peers[*]}: killed; the client behind gwa speaks on"
	local peer pid pids=()
	declare -A before=()
	for peer in "${peers[@]}"; do
		before[$peer]=$(handshake_of gwa "$peer")
		stop "$peer" KILL
	done
	killed=$(now_ms)
	for peer in "${peers[@]}"; do
		survivor_reaches "$peer" "${before[$peer]}" &
		pids+=($!)
	done
	for peer in "${peers[@]}"; do
		[[ ${gw_kind[$peer]} != tailgate ]] || nothing_left "$peer"
		gateway_start "$peer" "${gw_kind[$peer]}"
	done
	for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
}

survivor_reaches() { # PEER HANDSHAKE_BEFORE
	recovers 20000 client "${behind[$1]}"
	check "by a new handshake" test "$(handshake_of gwa "$1")" -gt "$2"
	ping_lossless client "${behind[$1]}" -f -c 50
}

restarted_speaks() { # PEER HOST: what is behind it
	say "$1 (${gw_kind[$1]}) is killed; $2 behind it speaks first"
	stop "$1" KILL
	gateway_start "$1" "${gw_kind[$1]}"
	killed=''
	recovers 4500 "$2" 10.1.0.2
	ping_lossless client "${behind[$1]}" -f -c 50
}

declare -A behind=([gwb]=10.2.0.2 [gwc]=10.3.0.2)
peers=(gwb)

lab_begin
need_kind "$dut" wireguard-go
lab_hosts
lab_peers
gateway_start gwa "$dut"
gateway_start gwb wireguard-go
if [[ $dut == tailgate ]]; then
	peers+=(gwc)
	add_gateway gwc 3 other
	add_peer gwa gwc 192.0.2.3:41641 10.3.0.0/24,fd03::/64,10.99.3.1/32,fd99::3:1/128
	add_peer gwc gwa 192.0.2.1:41641 10.1.0.0/24,fd01::/64,10.99.1.1/32,fd99::1:1/128
	gateway_start gwc tailgate
	gateway_reload gwa
	wait_for 15 in_ns client ping -c 1 -W 1 10.3.0.2
fi
lab_ready
survivor_finds_out
restarted_speaks gwb server

if [[ $dut == tailgate ]]; then
	restarted_speaks gwc other
	say "gwa (tailgate) is killed and started at once"
	stop gwa KILL
	nothing_left gwa
	begin=$(now_ms)
	gateway_start gwa tailgate
	echo "started after $(($(now_ms) - begin)) ms"
	killed=''
	recovers 4500 client 10.2.0.2
	check "with its own port" test "$(tailgate_cli gwa status --json | jq .listen_port)" = 41641
	ping_lossless server fd01::2 -f -c 50
fi
