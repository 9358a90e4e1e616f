#!/usr/bin/env bash
# A path that carries less than alice's link: what fits is found out when it is first used, when it
# shrinks under a stream, and when it grows again; where a router says so, and where large datagrams
# just vanish. The stream goes on. What is cut on the way back arrives as well.
# timeout: 120
# sanitizer: no
#
#   alice (tailgate, mtu 1400) --- alice-nat (router) --- inet --- bob (tailscaled, mtu 1400)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

way_mtu() { ts alice mtu bob --json | jq -r ".peers[0].$1"; }
way_is() { [[ $(way_mtu probed) == "$1" ]]; } # BYTES inside that probes found
wait_way() {                                   # BYTES SECONDS
	local begin
	begin=$(now_ms)
	wait_for "$2" way_is "$1"
	echo "$1 bytes inside (after $(($(now_ms) - begin)) ms)"
}
narrow() { # BYTES: what the router's link carries; it says so
	say "the router's link carries $1 bytes"
	run ip -n "$lab_id-alice-nat" link set wan mtu "$1"
}

# stream SECONDS: in the background; its report goes to stream.json
stream() {
	in_ns alice iperf3 -c "$(ip4 bob)" -p 5201 -t "$1" -i 0.1 -J -C cubic >"$lab_dir/stream.json" &
	lab_pid[stream]=$!
}
stream_end() { # WHAT: it has not stalled for long
	local longest
	wait "${lab_pid[stream]}" || fail "iperf3: $(jq -r .error "$lab_dir/stream.json")"
	unset 'lab_pid[stream]'
	longest=$(jq '[.intervals[].sum.bytes == 0] | reduce .[] as $z ({n: 0, most: 0};
		if $z then .n += 1 | .most = ([.most, .n] | max) else .n = 0 end) | .most * 100' "$lab_dir/stream.json")
	echo "$1: nothing passed for $longest ms at most, $(jq .end.sum_sent.retransmits "$lab_dir/stream.json") retransmits, $(jq '.end.sum_received.bits_per_second / 1e6 | floor' "$lab_dir/stream.json") Mbit/s"
	check "the stream went on" test "$longest" -le 5000 # 1000, where the machine has the time
}

[[ $dut == tailgate ]] || skip "the real client has no such search"
lab_begin
need_node tailgate tailscaled
tn_begin
export TS_DEBUG_MTU=1400
cat >"$lab_dir/alice.conf" <<-'CONF'
	tailnet = true;
	mtu = 1400;
	ports = ( { name = "wan"; interface = "wan"; }, { name = "lan"; interface = "lan"; } );
CONF
chmod 600 "$lab_dir/alice.conf"
tn_node alice tailgate easy
# Datagrams by themselves on each link: a bridge does not look at the size of what runs of them
# stand for.
run in_ns alice ethtool -K wan tx-udp-segmentation off >/dev/null
narrow 1400
tn_node bob tailscaled
wait_for 10 knows alice bob
wait_pong alice bob direct
iperf_server bob

say "first use: the tunnel's 1400 do not fit into 1400"
wait_reach alice "$(ip4 bob)"
start few alice ping -q -i 0.1 "$(ip4 bob)"
wait_way 1340 10
stop few
show alice mtu bob
check "by probes" test "$(way_mtu due_to)" == probe
on alice ping -c 2 -i 0.1 -W 2 -M 'do' -s $((1340 - 28)) "$(ip4 bob)"
refuse in_ns alice ping -c 1 -W 1 -M 'do' -s $((1341 - 28)) "$(ip4 bob)"

say "it shrinks under a stream, and the router says so"
stream 5
sleep 1
narrow 1330
wait_way 1270 10
stream_end "less, by a router"

say "it shrinks again, and what is too large just vanishes"
stream 6
sleep 1
drop ip saddr "$(inet_addr 11)" meta l4proto udp ip length gt 1300
wait_way 1240 10
stream_end "less, without a word"
show alice status --verbose
check "status says what was found" grep -q 'path mtu: 1240 (probed: 1240, since' <<<"$(ts alice status --verbose)"

say "it grows"
start few alice ping -q -i 0.2 "$(ip4 bob)"
narrow 1450
drop_nothing
wait_way 1390 60
stop few

say "what the router cuts on its way to alice is put together"
run ip -n "$lab_id-alice-nat" route replace 192.168.1.0/24 dev lan src 192.168.1.1 mtu 1300
wait_for 20 in_ns bob ping -c 1 -W 1 -M 'do' -s 1352 "$(ip4 alice)"
check "out of fragments" test "$(ts alice stats --json | jq '.counters[] | select(.name == "reassembled").value')" -gt 0
