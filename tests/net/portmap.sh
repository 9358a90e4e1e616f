#!/usr/bin/env bash
# Port mappings at a real gateway program, miniupnpd: by NAT-PMP, by PCP and by UPnP; a datagram from
# the world comes through; asked for again when the gateway has begun anew; deleted in the end.
# timeout: 120
#
#   host ------------- router ------------- world
#   10.5.0.2   10.5.0.1      45.0.0.1    45.0.0.2      (public: the gateway refuses test networks)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

probe=${TAILGATE_BUILD:-$(build_dir release)}/tests/net/portmap_probe

router_lab() {
	add_ns host
	add_ns router
	add_ns world
	link host eth0 router lan
	link router wan world eth0
	addr host eth0 10.5.0.2/24
	addr router lan 10.5.0.1/24
	addr router wan 45.0.0.1/24
	addr world eth0 45.0.0.2/24
	ip -n "$lab_id-host" route add default via 10.5.0.1
	in_ns router sysctl -qw net.ipv4.ip_forward=1
	# The gateway has its rules in these chains.
	in_ns router nft -f - <<-'NFT'
		table inet upnp {
			chain forward { type filter hook forward priority 0; policy drop;
				ct state established,related accept; iifname lan accept; jump upnp_forward; }
			chain upnp_forward { }
			chain pre { type nat hook prerouting priority -100; jump upnp_pre; }
			chain upnp_pre { }
			chain post { type nat hook postrouting priority 100; jump upnp_post; oifname wan masquerade; }
			chain upnp_post { }
		}
		table inet test { chain in { type filter hook input priority 0; }; }
	NFT
}

# gateway_on NATPMP UPNP: yes or no each; NAT-PMP includes PCP
gateway_on() {
	cat >"$lab_dir/miniupnpd.conf" <<-CONF
		ext_ifname=wan
		ext_ip=45.0.0.1
		listening_ip=lan
		http_port=5000
		enable_natpmp=$1
		enable_upnp=$2
		secure_mode=yes
		system_uptime=no
		uuid=3f2ca0f4-7f67-4b1c-9f5c-000000000001
		upnp_table_name=upnp
		upnp_nat_table_name=upnp
		upnp_forward_chain=upnp_forward
		upnp_nat_chain=upnp_pre
		upnp_nat_postrouting_chain=upnp_post
		allow 1024-65535 10.5.0.0/24 1024-65535
		deny 0-65535 0.0.0.0/0 0-65535
	CONF
	start miniupnpd router miniupnpd -d -f "$lab_dir/miniupnpd.conf" -P "$lab_dir/miniupnpd.pid"
	if [[ $1 == yes ]]; then wait_for 5 udp_open 5351; fi
	if [[ $2 == yes ]]; then wait_for 5 udp_open 1900; fi
}

udp_open() { [[ $(in_ns router ss -Hlnu "sport = :$1") ]]; }
rule_there() { [[ $(in_ns router nft list chain inet upnp upnp_pre) == *'to 10.5.0.2:41641'* ]]; }
rule_gone() { ! rule_there; }
last_line() { grep '^mapping' "$lab_dir/probe.log" | tail -1; }
says() { [[ $(last_line) =~ $1 ]]; }
external() { last_line | awk '{print $3}'; }
received() { grep -q "$1" "$lab_dir/host.log"; }

come_through() { # WORD: a datagram with it, from the world to the mapped address
	local to
	to=$(external)
	echo "world: $1 to $to"
	echo "$1" | in_ns world socat -u - "UDP4-SENDTO:$to"
	wait_for 3 received "$1"
	echo "ok $1 arrived at the host's port 41641"
}

mapped_by() { # PROTOCOL
	wait_for 10 says "^mapping $1 45\.0\.0\.1:[0-9]+ "
	last_line
	check "the gateway has the rule" rule_there
	come_through "hello-by-$1"
}

# Another program under the same address: it knows nothing of the mapping.
gateway_restarts() { # NATPMP UPNP
	local before
	before=$(external)
	stop miniupnpd
	run in_ns router nft flush chain inet upnp upnp_pre
	run in_ns router nft flush chain inet upnp upnp_forward
	check "the mapping is gone" rule_gone
	gateway_on "$@"
	kill -HUP "${lab_pid[probe]}"
	wait_for 10 rule_there
	check "the same port again: $before" says " ${before//./\\.} "
}

cases() { # PROTOCOL NATPMP UPNP
	say "$1"
	gateway_on "$2" "$3"
	: >"$lab_dir/probe.log"
	start probe host "$probe" 10.5.0.1 10.5.0.2 41641
	mapped_by "$1"
	sleep 7 # NAT-PMP clocks may differ by two seconds and an eighth
	gateway_restarts "$2" "$3"
	come_through "again-by-$1"
	stop probe
	wait_for 3 rule_gone
	echo "ok deleted in the end"
	stop miniupnpd
}

lab_begin
need_tools miniupnpd
[[ -x $probe ]] || skip "tests/net/portmap_probe is not built"
router_lab
start host host socat -u UDP4-RECV:41641 STDOUT

cases NAT-PMP yes no

run in_ns router nft add rule inet test in udp dport 5351 @th,64,8 0 drop # NAT-PMP is version 0
cases PCP yes no
run in_ns router nft flush chain inet test in

cases UPnP no yes

say "all three: each is seen, NAT-PMP is taken"
gateway_on yes yes
: >"$lab_dir/probe.log"
start probe host "$probe" 10.5.0.1 10.5.0.2 41641
wait_for 10 says "^mapping NAT-PMP .* upnp 1 pmp 1 pcp 1"
last_line
stop probe
stop miniupnpd

say "nothing there"
: >"$lab_dir/probe.log"
start probe host "$probe" 10.5.0.1 10.5.0.2 41641
wait_for 10 says "^mapping none - upnp 0 pmp 0 pcp 0 the gateway 10\.5\.0\.1 answers neither"
last_line
