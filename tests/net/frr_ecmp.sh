#!/usr/bin/env bash
# Two sites with two gateways each, static WireGuard peers, and BGP with BFD by FRR between routers
# and gateways and through the tunnels. Flows spread over both gateways, and what one sent may be
# answered through the other. When a gateway's daemon is killed, or its line goes dead, a stream of
# UDP, a datagram each millisecond, stands still for less than a second.
# timeout: 150
# sanitizer: no
# alone: yes
#
#   client --- r1 ---- a1 ===== wan ===== b1 ---- r2 --- server     10.1.0.0/24 and 10.2.0.0/24
#                \---- a2 ===== wan ===== b2 ----/                  AS 65001, 65010, 65020, 65002
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh
# shellcheck source=tests/net/frr.bash
source ./frr.bash
# shellcheck source=tests/net/stream.bash
source ./stream.bash

wan4=([a1]=192.0.2.11 [a2]=192.0.2.12 [b1]=192.0.2.21 [b2]=192.0.2.22)
target=10.2.0.2

router() { # NAME SITE HOST: with the site's network and a host in it
	add_ns "$1"
	add_ns "$3"
	in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
		net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1
	link "$3" eth0 "$1" net0
	addr "$1" net0 "10.$2.0.1/24" "fd0$2::1/64"
	addr "$3" eth0 "10.$2.0.2/24" "fd0$2::2/64"
	ip -n "$lab_id-$3" route add default via "10.$2.0.1"
	ip -n "$lab_id-$3" route add default via "fd0$2::1"
}
gateway() { # NAME SITE N PEER: number N of the site
	local n=$3 side=$((3 - $2))
	add_ns "$1"
	in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	link "r$2" "to-$1" "$1" lan
	addr "r$2" "to-$1" "10.$2.$n.1/24" "fd0$2:$n::1/64"
	addr "$1" lan "10.$2.$n.2/24" "fd0$2:$n::2/64"
	add_to_wan "$1" wan
	addr "$1" wan "${wan4[$1]}/24"
	gw_addr[$1]="10.255.$n.$2/24 fd99:$n::$2/64"
	gw_port[$1]=41641
	gw_extra[$1]='routes = false;' # they are BGP's
	make_key "$1"
	peers+=("$1 $4 ${wan4[$4]}:41641 10.$side.0.0/24,fd0$side::/64,10.255.$n.$side/32,fd99:$n::$side/128")
}

neighbours() { # ADDRESS AS...: lines of router bgp
	while (($#)); do
		printf ' neighbor %s %s\n' "$1" "remote-as $2" "$1" "timers connect 1" "$1" "advertisement-interval 0" \
			"$1" bfd
		shift 2
	done
}
activated() { # ADDRESS AS...: the same sessions carry IPv6
	while (($#)); do
		echo "  neighbor $1 activate"
		shift 2
	done
}
bgp() { # NAME AS NETWORKS ADDRESS AS...: FRR there; NETWORKS: of IPv4 and IPv6, or ""
	local name=$1 as=$2 v4='' v6='' a
	read -r v4 v6 <<<"$3" || true
	shift 3
	frr_start "$name" <<-FRR
		bfd
		$(while read -r a _; do
			printf ' peer %s\n  receive-interval 100\n  transmit-interval 100\n' "$a"
		done < <(printf '%s %s\n' "$@"))
		router bgp $as
		 no bgp ebgp-requires-policy
		$(neighbours "$@")
		 address-family ipv4 unicast
		  maximum-paths 4
		  ${v4:+network $v4}
		 exit-address-family
		 address-family ipv6 unicast
		  maximum-paths 4
		  ${v6:+network $v6}
		$(activated "$@")
		 exit-address-family
	FRR
}

two_ways() { ways r1 10.2.0.0/24 2 && ways r2 10.1.0.0/24 2 && ways r1 fd02::/64 2 && ways r2 fd01::/64 2; }
ports_of() { # LABEL src|dst: UDP ports of the client in what was captured there, sorted
	local field=3
	[[ $2 == src ]] || field=5
	tcpdump -nr "$lab_dir/$1.pcap" "$2 net 10.1.0.0/24" 2>/dev/null | awk -v f=$field '{print $f}' |
		sed -E 's/.*\.([0-9]+):?$/\1/' | sort -u
}
answered() { [[ $(echo x | in_ns client socat -t 2 - "UDP:$target:7100,sourceport=$1") == x ]]; } # SOURCE_PORT

carries() { in_ns "$1" timeout 2 tcpdump -n -c 5 -i lan udp dst port 7200 >/dev/null 2>&1; } # NAME

# fails_over LABEL COMMAND...: done to the gateway that has the stream; the stream goes on by the other
fails_over() {
	local gw=a1 lost
	stream_begin client server eth0 $target 7200
	carries a1 || gw=a2
	say "$1: $gw, which has the stream"
	"${@:2}" $gw
	stream_goes_on 10
	wait_for 10 ways r1 10.2.0.0/24 1
	stream_end
	lost=$(longest_loss)
	echo "$1: the longest gap: $(longest_gap) ms, $lost datagrams"
	check "the gap is less than a second of the stream" test "$lost" -lt 1000
	check "IPv6 goes on, too" ping_lossless client fd02::2 -c 5 -i 0.1 -W 2
	failed=$gw
}
kill_daemon() { stop "$1" KILL; }
line_dead() { # nothing passes, and nobody is told
	in_ns wan nft -f - <<-NFT
		table bridge dead {
			chain c { type filter hook forward priority 0; iifname $1 drop; oifname $1 drop; }
		}
	NFT
}

lab_begin
need_kind tailgate
need_frr
peers=()
add_wan
router r1 1 client
router r2 2 server
gateway a1 1 1 b1
gateway a2 1 2 b2
gateway b1 2 1 a1
gateway b2 2 2 a2
for line in "${peers[@]}"; do
	# shellcheck disable=SC2086 # words
	add_peer $line
done
for gw in a1 a2 b1 b2; do gateway_start $gw tailgate; done
bgp r1 65001 '10.1.0.0/24 fd01::/64' 10.1.1.2 65010 10.1.2.2 65010
bgp r2 65002 '10.2.0.0/24 fd02::/64' 10.2.1.2 65020 10.2.2.2 65020
bgp a1 65010 '' 10.1.1.1 65001 10.255.1.2 65020
bgp a2 65010 '' 10.1.2.1 65001 10.255.2.2 65020
bgp b1 65020 '' 10.2.1.1 65002 10.255.1.1 65010
bgp b2 65020 '' 10.2.2.1 65002 10.255.2.1 65010
wait_for 40 two_ways
for pair in 'r1 10.1.1.2' 'r1 10.1.2.2' 'r2 10.2.1.2' 'r2 10.2.2.2' 'a1 10.255.1.2' 'a2 10.255.2.2'; do
	# shellcheck disable=SC2086 # words
	wait_for 20 bfd_up $pair
done
on r1 ip route show 10.2.0.0/24
on r1 ip -6 route show fd02::/64
pings_lossless '-c 20 -i 0.05 -W 2' "client $target" "client fd02::2"

say "flows spread, and may come back by the other gateway"
start echo server socat UDP-RECVFROM:7100,fork EXEC:cat
capture at-a1 a1 lan -s 64 udp port 7100
capture at-a2 a2 lan -s 64 udp port 7100
for port in {20000..20023}; do wait_for 5 answered "$port"; done
captured at-a1 >/dev/null
captured at-a2 >/dev/null
echo "a1: $(ports_of at-a1 src | wc -l) flows out, $(ports_of at-a1 dst | wc -l) back"
echo "a2: $(ports_of at-a2 src | wc -l) flows out, $(ports_of at-a2 dst | wc -l) back"
for gw in a1 a2; do
	check "$gw has some of both" test "$(ports_of at-$gw src | wc -l)" -gt 0 -a "$(ports_of at-$gw dst | wc -l)" -gt 0
done
check "some are answered through the other gateway" \
	test "$(comm -12 <(ports_of at-a1 src) <(ports_of at-a2 dst) | wc -l)" -gt 0

fails_over killed kill_daemon
say "it comes back"
gateway_start "$failed" tailgate
wait_for 40 two_ways
fails_over dead line_dead
