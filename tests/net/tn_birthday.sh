#!/usr/bin/env bash
# Behind a hard NAT, to peers behind easy ones that let no stranger in: over DERP first, then directly
# by the birthday method, from a port of its own for each peer, which no other program can have.
# timeout: 150
# sanitizer: no
#
#   alice (tailgate) -- hard nat --- inet -+- easy nat -- bob (tailscaled)
#                                          +- easy nat -- carol (tailgate)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

why() { ts alice status --verbose | grep -A2 "^peer: $1\\." | grep 'why:'; } # PEER
is_direct() { [[ $(peer_status alice "$1" .CurAddr) ]]; } # PEER

through() { # PEER
	local begin
	say "alice to $1"
	wait_pong alice "$1" any
	check "over DERP at first" grep -q 'via DERP(' "$lab_dir/pong.txt"
	begin=$(now_ms)
	start "traffic-$1" alice ping -q -i 0.5 "$(ip4 "$1")"
	wait_for 45 is_direct "$1"
	echo "a direct path after $(($(now_ms) - begin)) ms: $(peer_status alice "$1" .CurAddr)"
	wait_pong alice "$1" direct
	wait_pong "$1" alice direct
	stop "traffic-$1" INT
	pings_lossless '-c 10 -i 0.05 -W 2' "alice $(ip4 "$1")" "$1 $(ip6 alice)"
	why "$1"
}

lab_begin
need_node tailgate tailscaled
tn_begin
tn_node alice tailgate hard
tn_node bob tailscaled easy
tn_node carol tailgate easy
wait_for 10 online alice bob
wait_for 10 online alice carol
through bob
through carol

say "what it took"
show alice metrics | grep -E '^tailgate_birthday_[a-z]+_total'
# One guess in 257 meets the WireGuard port itself.
port=$(why bob | sed -nE 's/.*our port ([0-9]+).*/\1/p')
if [[ $port ]]; then
	check "port $port is taken" grep -q . <<<"$(in_ns alice ss -Hanu "sport = :$port")"
	check "the kernel's rules cover it" grep 'udp dport .*-' <<<"$(in_ns alice nft list ruleset)"
fi
