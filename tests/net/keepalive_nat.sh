#!/usr/bin/env bash
# A gateway behind a NAT that forgets a silent flow after 2 s: its persistent keepalive holds the
# way open, so that the other side can begin after a pause. Once the peer is behind the NAT, once
# the device under test is.
# timeout: 90
#
#   client ---- gwa ---- nat ==== wan ==== gwb ---- server
#               10.5.0.2  192.0.2.5        192.0.2.2
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

nat_lab() { # KIND_BEHIND_NAT KIND_IN_PUBLIC
	lab_hosts
	add_ns nat
	in_ns nat sysctl -qw net.ipv4.ip_forward=1
	run ip -n "$lab_id-gwa" link del wan
	link gwa wan nat inside
	addr gwa wan 10.5.0.2/24
	addr nat inside 10.5.0.1/24
	add_to_wan nat wan
	addr nat wan 192.0.2.5/24
	run ip -n "$lab_id-gwa" route add default via 10.5.0.1
	in_ns nat nft -f - <<-'NFT'
		table ip nat {
			chain post { type nat hook postrouting priority 100; oifname wan masquerade; }
			chain input { type filter hook input priority 0; iifname wan ct state new drop; }
		}
	NFT
	on nat sysctl -qw net.netfilter.nf_conntrack_udp_timeout=2 net.netfilter.nf_conntrack_udp_timeout_stream=2
	add_peer gwa gwb 192.0.2.2:41641 10.2.0.0/24,10.99.2.1/32 1
	add_peer gwb gwa "" 10.1.0.0/24,10.99.1.1/32
	gateway_start gwa "$1"
	gateway_start gwb "$2"
}

flow_known() { [[ $(endpoint_of gwb gwa) == 192.0.2.5:* ]]; }

cases() { # KIND_BEHIND_NAT KIND_IN_PUBLIC
	say "$1 behind the NAT, $2 in public"
	nat_lab "$1" "$2"
	# No packet from inside but the keepalive: it must make the handshake by itself.
	wait_for 15 flow_known
	wait_for 15 in_ns server ping -c 1 -W 1 10.1.0.2
	ping_lossless client 10.2.0.2 -c 3 -i 0.02
	# Longer than the NAT remembers: only time shows that the keepalives go on.
	sleep 5
	ping_lossless server 10.1.0.2 -c 3 -i 0.02
	lab_clear
}

lab_begin
need_kind "$dut" "$peer_kind"
cases "$peer_kind" "$dut"
cases "$dut" "$peer_kind"
