#!/usr/bin/env bash
# DPDK drives both of the gateway's interfaces (AF_XDP on veths), the kernel keeps the control plane
# through the mirrors: its addresses, ARP and ND, its routes as FIB, its sockets.
# timeout: 90
#
#   client ---- lan0 [gwa: tailgate] wan0 ==== wan ==== gwb (wireguard-go, tailgate) ---- server
#               lan (TAP)            wan (TAP)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

own() { # INTERFACE: DPDK's from now on, as INTERFACE0; nothing of the kernel's is left on it
	local ns=$lab_id-gwa
	ip -n "$ns" link set "$1" down
	ip -n "$ns" addr flush dev "$1"
	run ip -n "$ns" link set "$1" name "${1}0"
	in_ns gwa sysctl -qw "net.ipv6.conf.${1}0.disable_ipv6=1"
	ip -n "$ns" link set "${1}0" up
}

lab() { # KIND_OF_GWB
	lab_hosts
	own lan
	own wan
	# A veth leaves checksums to a NIC that is not there, and AF_XDP has no place to say so.
	in_ns client ethtool -K eth0 tx off >/dev/null
	in_ns gwb ethtool -K wan tx off >/dev/null
	in_ns wan ethtool -K gwa tx off >/dev/null
	in_ns wan ethtool -K br tx off >/dev/null
	gw_ports[gwa]='ports = (
		{ name = "lan"; device = "net_af_xdp0,iface=lan0";
		  addresses = [ "10.1.0.1/24", "fd01::1/64" ]; },
		{ name = "wan"; device = "net_af_xdp1,iface=wan0";
		  addresses = [ "192.0.2.1/24", "2001:db8:99::1/64" ]; } );'
	gw_extra[gwa]='memory_mb = 128;'
	lab_peers
	gateway_start gwa tailgate
	gateway_start gwb "$1"
	lab_ready
}

ports_are() { # KIND: what lan and wan are in the status
	tailgate_cli gwa status --json |
		jq -e --arg kind "$1" '[.ports[] | select(.kind == $kind and .up)] | length == 2'
}

lab_begin
[[ $dut == tailgate ]] || skip "only Tailgate drives interfaces itself"
need_kind tailgate wireguard-go
echo leak:xsk_umem__create >"$lab_dir/lsan" # libxdp's own, 80 bytes a port
export LSAN_OPTIONS=suppressions=$lab_dir/lsan:print_suppressions=0

say "the tunnel between owned ports"
lab wireguard-go
check "two owned ports are up" ports_are owned >/dev/null
check "two mirrors are up" ports_are mirror >/dev/null
ping_lossless client 10.2.0.2 -f -c 200
ping_lossless server fd01::2 -f -c 200
ping_lossless client 10.2.0.2 -c 3 -i 0.02 -s 1392
ping_lossless client 10.2.0.2 -c 3 -i 0.02 -s 8000
transfer client server 10.2.0.2 50
transfer server client fd01::2 20

say "the host's own traffic goes through the mirrors"
ping_lossless client 10.1.0.1 -c 5 -i 0.02
ping_lossless client fd01::1 -c 5 -i 0.02
ping_lossless gwa 192.0.2.2 -c 5 -i 0.02
ping_lossless wan 2001:db8:99::1 -c 5 -i 0.02
check "the kernel knows the client's MAC on the mirror" \
	grep -q lladdr < <(ip -n "$lab_id-gwa" neigh show 10.1.0.2 dev lan)
start echo gwa socat TCP-LISTEN:2222,fork,reuseaddr SYSTEM:cat
wait_for 5 listening gwa 2222
check "TCP to the gateway itself" grep -q hello < <(echo hello | in_ns client socat -t 2 - TCP:10.1.0.1:2222)

say "the kernel's routes are the FIB, also from one owned port to the other"
run ip -n "$lab_id-wan" route add 10.1.0.0/24 via 192.0.2.1
wait_for 5 in_ns client ping -c 1 -W 1 192.0.2.254
ping_lossless client 192.0.2.254 -f -c 100
run ip -n "$lab_id-gwa" route add blackhole 192.0.2.254/32
refuse in_ns client ping -c 1 -W 1 192.0.2.254
run ip -n "$lab_id-gwa" route del blackhole 192.0.2.254/32
wait_for 5 in_ns client ping -c 1 -W 1 192.0.2.254

say "streams, both gateways Tailgate"
lab_clear
lab tailgate
iperf_server server
iperf_speed client 10.2.0.2 -t 1
iperf_speed client fd02::2 -t 1 -R
iperf client 10.2.0.2 -t 1 -P 4 >"$lab_dir/iperf.json"
check "four streams got through" jq -e '.end.sum_received.bits_per_second > 1e7' "$lab_dir/iperf.json" >/dev/null
