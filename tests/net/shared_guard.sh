#!/usr/bin/env bash
# Ports shared with the kernel: the kernel neither answers nor forwards what Tailgate takes, and
# still answers what is its own.
# timeout: 60
#
#   client ---- gwa (tailgate, ip_forward=1) ==== wan ==== gwb (tailgate, ip_forward=1) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

resets() { # OutRsts of the hosts, who would answer a packet that arrives twice or out of nowhere
	in_ns client awk '/^Tcp: [0-9]/ {print $15}' /proc/net/snmp
	in_ns server awk '/^Tcp: [0-9]/ {print $15}' /proc/net/snmp
}

lab_begin
need_kind "$dut"
lab_up "$dut" "$dut"

say "each packet arrives once, and nothing bypasses the tunnel"
capture requests server eth0 "icmp[0] == 8"
capture plain wan br "net 10.1.0.0/16 or net 10.2.0.0/16 or net fd00::/8"
capture unreachable wan br "icmp[0] == 3"
ping_lossless client 10.2.0.2 -c 20 -i 0.05
check "$pinged requests at the server" test "$(captured requests)" = "$pinged"
ping_lossless server fd01::2 -c 20 -i 0.05
check "no inner packet in the clear" test "$(captured plain)" = 0

say "a TCP stream: no resets, no unreachables"
before=$(resets)
transfer client server 10.2.0.2 50
transfer server client 10.1.0.2 50
check "no connection was reset" test "$before" = "$(resets)"
check "no ICMP unreachable for UDP 41641" test "$(captured unreachable)" = 0

say "junk to UDP 41641 is not answered either"
capture answers wan br "src host 192.0.2.1"
for ((i = 0; i < 20; i++)); do
	head -c $((i * 17 + 1)) /dev/urandom | in_ns wan socat -u - UDP4-DATAGRAM:192.0.2.1:41641
	head -c $((i * 17 + 1)) /dev/urandom | in_ns wan socat -u - "UDP6-DATAGRAM:[2001:db8:99::1]:41641"
done
ping_lossless client 10.2.0.2 -c 3 -i 0.02
check "no answer to junk" test "$(captured answers 'icmp or (udp and dst host 192.0.2.254)')" = 0

say "the kernel still answers for itself"
ping_lossless client 10.1.0.1 -c 5 -i 0.05
ping_lossless wan 192.0.2.1 -c 5 -i 0.05
ping_lossless wan 2001:db8:99::1 -c 5 -i 0.05
start echo gwa socat TCP-LISTEN:2222,fork,reuseaddr SYSTEM:cat
wait_for 5 listening gwa 2222
check "TCP to the gateway itself" grep -q hello < <(echo hello | in_ns client socat -t 2 - TCP:10.1.0.1:2222)
