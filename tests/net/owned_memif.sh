#!/usr/bin/env bash
# Two gateways on one machine, joined by shared memory: memif is the WAN of both.
# timeout: 60
#
#   client ---- lan [gwa: tailgate] wan ==== memif ==== wan [gwb: tailgate] lan ---- server
#                    192.0.2.1 (TAP)                    192.0.2.2 (TAP)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

joined() { # GATEWAY ROLE: its ports
	cat <<-CONF
		ports = ( { name = "lan"; interface = "lan"; },
			{ name = "wan"; addresses = [ "${wan4[$1]}/24", "${wan6[$1]}/64" ];
			  device = "net_memif0,role=$2,socket=$lab_dir/memif.sock,socket-abstract=no"; } );
	CONF
}

wan_is() { # GATEWAY true|false: up
	[[ $(tailgate_cli "$1" status --json | jq '.ports[] | select(.kind == "owned") | .up') == "$2" ]]
}

lab_begin
[[ $dut == tailgate ]] || skip "only Tailgate has memif"
need_kind tailgate
lab_hosts
for gw in gwa gwb; do run ip -n "$lab_id-$gw" link del wan; done
gw_ports[gwa]=$(joined gwa server)
gw_ports[gwb]=$(joined gwb client)
lab_peers
gateway_start gwa tailgate
check "without the other side the port is down" wan_is gwa false
gateway_start gwb tailgate
lab_ready
check "with it, it is up" wan_is gwa true

say "the kernels talk over it"
ping_lossless gwa 192.0.2.2 -c 5 -i 0.02
ping_lossless gwb 2001:db8:99::1 -c 5 -i 0.02

say "the tunnel"
ping_lossless client 10.2.0.2 -f -c 200
ping_lossless server fd01::2 -f -c 200
ping_lossless client 10.2.0.2 -c 3 -i 0.02 -s 8000
transfer client server 10.2.0.2 100
transfer server client fd01::2 30
iperf_server server
iperf_speed client 10.2.0.2 -t 1
iperf_speed client 10.2.0.2 -t 1 -R

say "the other side is killed and comes back"
stop gwb KILL
wait_for 5 wan_is gwa false
gateway_start gwb tailgate
wait_for 5 wan_is gwa true
wait_for 20 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless client 10.2.0.2 -f -c 100

say "the side that listens is killed, its socket file stays, and it starts again"
stop gwa KILL
check "the file is there" test -S "$lab_dir/memif.sock"
wait_for 5 wan_is gwb false
gateway_start gwa tailgate
stop gwb # DPDK's client connects once, when it starts
gateway_start gwb tailgate
wait_for 5 wan_is gwa true
wait_for 20 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless client 10.2.0.2 -f -c 100
