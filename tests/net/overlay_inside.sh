#!/usr/bin/env bash
# VXLAN rides in the tunnel: two nodes of a cluster behind the gateways, whose pods have 1450 bytes, and
# 1420 in between. TCP is clamped both ways, also where the other gateway does not; a packet that is too
# big is answered to the pod, by the one that it was for; nothing is cut. Then VXLAN on the interface of the
# tunnel itself.
# timeout: 60
#
#   pod1 - client ---- gwa (tailgate, mtu 1420) ==== wan ==== gwb (wireguard-go) ---- server - pod2
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh
# shellcheck source=tests/net/flannel.bash
source ./flannel.bash

# mss_is MSS FROM POD ADDRESS: so say the SYNs of FROM where they come to the other pod
mss_is() {
	local seen name=syn-$2
	capture "$name" "$3" eth0 "tcp[tcpflags] & tcp-syn != 0"
	start sink "$3" socat -u TCP-LISTEN:7001,reuseaddr /dev/null
	wait_for 5 listening "$3" 7001
	on "$2" socat -u /dev/null "TCP:$4:7001"
	wait_for 5 has_packet "$lab_dir/$name.pcap"
	stop "$name"
	stop sink
	seen=$(tcpdump -nv -r "$lab_dir/$name.pcap" 2>/dev/null | sed -nE 's/.*mss ([0-9]+).*/\1/p' | head -n 1)
	check "SYNs of $2 say ${seen:-nothing} at $3" test "$seen" = "$1"
}
has_packet() { (($(stat -c %s "$1") > 24)); }

too_big() { # POD ADDRESS SIZE MTU
	local out
	echo "$1$ ping -M do -s $3 $2"
	out=$(in_ns "$1" ping -n -c 1 -W 2 -M "do" -s "$3" "$2" 2>&1) && fail "$3 bytes got through to $2"
	check "the answer is from $2 and says $4" grep -qiE "from $2.*mtu ?= ?$4\b" <<<"$out"
}

lab_begin
lab_up "$dut" "$peer_kind"
flannel_node client 1 eth0 10.1.0.2
flannel_node server 2 eth0 10.2.0.2
flannel_peer client 2 10.2.0.2
flannel_peer server 1 10.1.0.2
flannel_pod pod1 client 1
flannel_pod pod2 server 2

say "pods reach each other"
check "their MTU is what eth0 leaves" test "$(flannel_mtu client)" = 1450
ping_lossless pod1 10.42.2.2 -c 3 -i 0.02
ping_lossless pod2 fd42:0:0:1::2 -c 3 -i 0.02

say "TCP is told what fits through VXLAN and tunnel"
mss_is 1330 pod1 pod2 10.42.2.2
mss_is 1330 pod2 pod1 10.42.1.2

say "it passes unchanged and in one piece"
before=$(fragments client server gwa gwb)
transfer pod1 pod2 10.42.2.2 20
transfer pod2 pod1 fd42:0:0:1::2 20
check "no fragments" test "$(fragments client server gwa gwb)" = "$before"
if [[ $dut == tailgate ]]; then
	# The interfaces here hand it over as it left TCP, and so does the gateway's port.
	check "the gateway cut what came in one piece" test "$(counter_of gwa supers_segmented)" -gt 0
	check "all of it" test "$(counter_of gwa segment_failed)" = 0
fi

if [[ $dut == tailgate ]]; then
	say "a byte too much is answered in VXLAN, by whom it was for"
	too_big pod1 10.42.2.2 $((1371 - 28)) 1370
	too_big pod1 fd42:0:0:2::2 $((1371 - 48)) 1370
	check "the gateway counted two" test "$(counter_of gwa vxlan_too_big)" = 2
	check "and cut none" test "$(counter_of gwa fragmented)" = 0
	say "exactly what fits passes"
	ping_lossless pod1 10.42.2.2 -M "do" -c 3 -i 0.02 -s $((1370 - 28))
	ping_lossless pod1 fd42:0:0:2::2 -M "do" -c 3 -i 0.02 -s $((1370 - 48))
fi

# A tunnel of the pods' own, between the two.
pod_tunnels() { # MTU
	local n pod
	for n in 1 2; do make_key pod$n; done
	for n in 1 2; do
		pod=pod$n
		start "wg-$pod" $pod env WG_PROCESS_FOREGROUND=1 "$peers_bin/wireguard-go" -f "${lab_id}p$n"
		wait_for 10 in_ns $pod wg show "${lab_id}p$n"
		in_ns $pod wg set "${lab_id}p$n" private-key "$lab_dir/$pod.key" listen-port 51820 peer \
			"$(cat "$lab_dir/pod$((3 - n)).pub")" allowed-ips 10.98.0.0/24 endpoint 10.42.$((3 - n)).2:51820
		addr $pod "${lab_id}p$n" 10.98.0.$n/24
		run ip -n "$lab_id-$pod" link set "${lab_id}p$n" mtu "$1" up
	done
}
if [[ $dut == tailgate && -x $peers_bin/wireguard-go ]]; then
	say "a third layer, a tunnel between the pods: what the plan says fits, and a byte more is cut"
	fits=$("$(program tailgate)" mtu plan --json eth0:1500,wg4:1420,vxlan,wg4 | jq .mtu)
	check "the plan says $fits" test "$fits" = 1310
	pod_tunnels "$fits"
	wait_for 10 in_ns pod1 ping -c 1 -W 1 10.98.0.2
	before=$(fragments client server gwa gwb pod1 pod2)
	ping_lossless pod1 10.98.0.2 -M "do" -c 3 -i 0.02 -s $((fits - 28))
	check "no fragments" test "$(fragments client server gwa gwb pod1 pod2)" = "$before"
	run ip -n "$lab_id-pod1" link set "${lab_id}p1" mtu $((fits + 1))
	run ip -n "$lab_id-pod2" link set "${lab_id}p2" mtu $((fits + 1))
	wait_for 10 in_ns pod1 ping -c 1 -W 1 -M "do" -s $((fits + 1 - 28)) 10.98.0.2
	check "fragments" test "$(fragments client server gwa gwb pod1 pod2)" -gt "$before"
	stop wg-pod1
	stop wg-pod2
fi

say "what may be cut arrives"
in_ns pod1 ip route flush cache
ping_lossless pod1 10.42.2.2 -M dont -c 3 -i 0.02 -s 1400
ping_lossless pod1 10.42.2.2 -M dont -c 3 -i 0.02 -s 4000

if [[ $dut == tailgate ]]; then
	say "the same on the tunnel's own interface, whose way takes less than its MTU"
	flannel_node gwa 3 tailgate0 10.99.1.1
	flannel_node gwb 4 "${gw_dev[gwb]}" 10.99.2.1
	flannel_peer gwa 4 10.99.2.1
	flannel_peer gwb 3 10.99.1.1
	flannel_pod pod3 gwa 3
	flannel_pod pod4 gwb 4
	check "the pods' MTU is what the interface leaves" test "$(flannel_mtu gwa)" = 1370
	ping_lossless pod3 10.42.4.2 -M "do" -c 3 -i 0.02 -s $((1370 - 28))
	on gwa ip link set wan mtu 1400
	way_is() { [[ $(tailgate_cli gwa mtu --json | jq '.peers[0].mtu') == "$1" ]]; }
	wait_for 10 way_is 1340
	too_big pod3 10.42.4.2 $((1370 - 28)) 1290
	too_big pod3 fd42:0:0:4::2 $((1370 - 48)) 1290
	ping_lossless pod3 10.42.4.2 -M "do" -c 3 -i 0.02 -s $((1290 - 28))
	mss_is 1250 pod3 pod4 10.42.4.2
	mss_is 1250 pod4 pod3 10.42.3.2
fi
