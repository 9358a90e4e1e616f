#!/usr/bin/env bash
# Two workers on both sides, six peers: each peer belongs to one worker, the peers are spread, what
# arrives at the other worker is handed over, and all flows work at once without loss.
# timeout: 90
#
#   client ---- gwa (tailgate, 2 workers) ==== wan ==== gwb (tailgate, 2 workers) ---- server
#                                               |
#                                               +====== p1..p5 (wireguard-go), 10.99.1N.1 each
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

peers=(p1 p2 p3 p4 p5)

add_plain_peer() { # NAME N: a host that is nothing but a peer of gwa
	wan4[$1]=192.0.2.$2
	wan6[$1]=2001:db8:99::$2
	add_ns "$1"
	add_to_wan "$1" wan
	addr "$1" wan "${wan4[$1]}/24" "${wan6[$1]}/64"
	gw_addr[$1]="10.99.$2.1/32"
	gw_port[$1]=41641
	make_key "$1"
	add_peer gwa "$1" "${wan4[$1]}:41641" "10.99.$2.1/32"
	add_peer "$1" gwa 192.0.2.1:41641 10.1.0.0/24,10.99.1.1/32
}

# Each of eight streams got what it asked for.
full_rate='[.end.streams[].receiver.bits_per_second] | length == 8 and min > 8e6'

drops() { # GATEWAY: what was lost inside of it
	tailgate_cli "$1" stats --json | jq -c '[.drops[] | select(.value > 0) | {(.name): .value}] | add // {}'
}

lab_begin
[[ $dut == tailgate ]] || skip "workers are Tailgate's"
need_kind tailgate wireguard-go
lab_hosts
gw_extra[gwa]='workers = 2; memory_mb = 96;'
gw_extra[gwb]='workers = 2; memory_mb = 96;'
lab_peers
n=11
for peer in "${peers[@]}"; do add_plain_peer "$peer" $((n++)); done
gateway_start gwa tailgate
gateway_start gwb tailgate
for peer in "${peers[@]}"; do gateway_start "$peer" wireguard-go; done
lab_ready
n=11
for peer in "${peers[@]}"; do wait_for 10 in_ns client ping -c 1 -W 1 10.99.$((n++)).1; done

say "peers belong to both workers"
tailgate_cli gwa status --json | jq -r '.peers[] | "\(.name): worker \(.worker)"'
owners=$(tailgate_cli gwa status --json | jq -c '[.peers[].worker] | group_by(.) | map(length)')
check "six peers on two workers: $owners" test "$owners" = '[3,3]'

say "all of them at once"
for i in 1 2 3 4 5; do ping_begin "to-p$i" client "10.99.1$i.1" 0.005; done
iperf_server server
# Less than the machine can do, or sockets would overflow.
iperf client 10.2.0.2 -t 3 -P 8 -b 10M >"$lab_dir/there.json"
check "eight streams there" jq -e "$full_rate" "$lab_dir/there.json" >/dev/null
iperf client fd02::2 -t 3 -P 8 -b 10M -R >"$lab_dir/back.json"
check "eight streams back" jq -e "$full_rate" "$lab_dir/back.json" >/dev/null
for i in 1 2 3 4 5; do ping_end "to-p$i"; done
transfer client server 10.2.0.2 50
transfer server client fd01::2 20

say "both workers had work, and handed over"
for gw in gwa gwb; do
	handed=$(counter_of $gw handed_off)
	check "$gw handed over $handed packets" test "$handed" -gt 0
	tailgate_cli $gw stats --json | jq -c '[.workers[] | {id, rounds, busy_cycles}]'
	echo "$gw ended: $(drops $gw)"
	for reason in handoff_full wg_replay wg_auth no_mbuf punt_full segment_failed l4_checksum; do
		check "$gw: no $reason" test "$(counter_of $gw $reason)" = 0
	done
done
check "each worker of gwa worked" jq -e '[.workers[].burst_packets | add] | length == 2 and min > 100' \
	< <(tailgate_cli gwa stats --json) >/dev/null

say "as fast as it goes: more than the workers can do"
iperf client 10.2.0.2 -t 2 -P 8 >"$lab_dir/fast.json"
check "eight streams got through" jq -e '[.end.streams[].receiver.bytes] | length == 8 and min > 0' \
	"$lab_dir/fast.json" >/dev/null
