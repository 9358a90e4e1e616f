#!/usr/bin/env bash
# UDP 41641 is taken by another program: Tailgate takes a random port, says so, and works.
# timeout: 60
#
#   client ---- gwa (tailgate; socat has 41641) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

lab_begin
[[ $dut == tailgate ]] || skip "only Tailgate falls back"
need_kind tailgate wireguard-go
lab_hosts
lab_peers
start taken gwa socat -u UDP-RECVFROM:41641,fork "CREATE:$lab_dir/taken"
wait_for 5 listening gwa 41641 u
gateway_start gwa tailgate
gateway_start gwb wireguard-go
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless server 10.1.0.2 -f -c 50

port=$(tailgate_cli gwa status --json | jq .listen_port)
check "the status shows another port ($port)" test "$port" -ge 1024 -a "$port" -ne 41641
check "the peer sees that port" endpoint_is gwb gwa "192.0.2.1:$port"
check "the log says why" grep -q 41641 "$lab_dir/gwa.log"

say "the other program still gets what is sent to it"
echo hello | in_ns wan socat -u - UDP4-DATAGRAM:192.0.2.1:41641
wait_for 5 grep -q hello "$lab_dir/taken"
