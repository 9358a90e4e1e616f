# shellcheck shell=bash
# Nodes and pods as flannel lays them, with the kernel's own devices. To be sourced behind lib.sh.
#
#   pod1              NODE 1                                   NODE 2             pod2
#   eth0 ------- cni0 (10.42.1.1) - flannel.1 ~~ VXLAN ~~ flannel.1 - cni0 ------- eth0
#   10.42.1.2/24                    10.42.1.0             10.42.2.0         10.42.2.2/24
#   fd42:0:0:1::2/64                                                  fd42:0:0:2::2/64
#
# shellcheck disable=SC2154 # lib.sh sets lab_id
#
# Pods reach those of the other node by a route over flannel.1, whose neighbours and forwarding
# entries are static. VNI 1, UDP port 8472, as flannel's; flannel.1 has no DF outside, as by default.

flannel_mac() { echo "02:00:0a:2a:0$1:00"; } # N: of flannel.1

# flannel_node NAMESPACE N DEVICE ADDRESS [MTU]: by default the MTU that the kernel takes from DEVICE
flannel_node() {
	local ns=$lab_id-$1 family=()
	[[ $4 != *:* ]] || family=(-6)
	ip "${family[@]}" -n "$ns" link add flannel.1 address "$(flannel_mac "$2")" ${5:+mtu "$5"} \
		type vxlan id 1 dev "$3" local "$4" dstport 8472 nolearning
	ip -n "$ns" link set flannel.1 up
	# Without a fixed address a bridge takes another one whenever a port joins.
	ip -n "$ns" link add cni0 address "02:00:0a:2a:0$2:01" type bridge mcast_snooping 0
	ip -n "$ns" link set cni0 mtu "$(flannel_mtu "$1")" up
	addr "$1" flannel.1 "10.42.$2.0/32"
	addr "$1" cni0 "10.42.$2.1/24"
	if flannel_has6 "$1"; then
		addr "$1" flannel.1 "fd42:0:0:$2::/128"
		addr "$1" cni0 "fd42:0:0:$2::1/64"
	fi
	in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}
flannel_mtu() { in_ns "$1" cat /sys/class/net/flannel.1/mtu; } # NAMESPACE
flannel_has6() { (($(flannel_mtu "$1") >= 1280)); }             # NAMESPACE: less is no place for IPv6

flannel_peer() { # NAMESPACE N ADDRESS: node N is at that address
	local ns=$lab_id-$1 mac
	mac=$(flannel_mac "$2")
	bridge -n "$ns" fdb append "$mac" dev flannel.1 dst "$3"
	ip -n "$ns" neigh replace "10.42.$2.0" lladdr "$mac" dev flannel.1 nud permanent
	ip -n "$ns" route add "10.42.$2.0/24" via "10.42.$2.0" dev flannel.1 onlink
	flannel_has6 "$1" || return 0
	ip -n "$ns" neigh replace "fd42:0:0:$2::" lladdr "$mac" dev flannel.1 nud permanent
	ip -n "$ns" route add "fd42:0:0:$2::/64" via "fd42:0:0:$2::" dev flannel.1 onlink
}

# flannel_pod POD NODE N: host 2 of node N, with the MTU of flannel.1
flannel_pod() {
	add_ns "$1"
	link "$1" eth0 "$2" "$1" "$(flannel_mtu "$2")"
	ip -n "$lab_id-$2" link set "$1" master cni0
	addr "$1" eth0 "10.42.$3.2/24"
	ip -n "$lab_id-$1" route add default via "10.42.$3.1"
	flannel_has6 "$2" || return 0
	addr "$1" eth0 "fd42:0:0:$3::2/64"
	ip -n "$lab_id-$1" route add default via "fd42:0:0:$3::1"
}

# fragments NAMESPACE...: that were made there, or came
fragments() {
	local ns sum=0 n
	for ns; do
		n=$(in_ns "$ns" nstat -asz IpFragCreates IpReasmReqds Ip6FragCreates Ip6ReasmReqds |
			awk '!/^#/ {sum += $2} END {print sum + 0}')
		sum=$((sum + n))
	done
	echo $sum
}
