#!/usr/bin/env bash
# Two gateways of a tailnet at one site, and a router, all with real FRR. What the router tells them by
# BGP is advertised to the tailnet, approved by autoApprovers, and withdrawn with the route; of what
# one of them announces nothing comes back as learned. The ways into the tailnet are announced by the
# gateway that serves the networks, alone, since peers take the site's packets from no other: after a
# drain by the second one, and when its daemon is killed, at once by nobody.
# timeout: 150
# sanitizer: no
#
#                              +--- alice (Tailgate) ---+
#   carol (tailscaled) --- inet                         router --- far, 10.98.0.0/24
#                              +--- bob (Tailgate) -----+  10.99.0.0/24
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh
# shellcheck source=tests/net/frr.bash
source ./frr.bash

far=10.98.0.9
net=10.98.0.0/24
declare -A lan=([alice]=10.99.0.1 [bob]=10.99.0.2)
router=10.99.0.254

site() {
	local g
	add_ns router
	add_ns far
	in_ns router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	ip -n "$lab_id-router" link add name br type bridge mcast_snooping 0
	ip -n "$lab_id-router" link set dev br up
	addr router br $router/24 fd99::fe/64
	for g in alice bob; do
		link "$g" lan2 router "to-$g"
		ip -n "$lab_id-router" link set "to-$g" master br
		addr "$g" lan2 "${lan[$g]}/24" "fd99::${lan[$g]##*.}/64"
	done
	link far eth0 router far
	addr router far 10.98.0.1/24 fd98::1/64
	addr far eth0 $far/24 fd98::9/64
	ip -n "$lab_id-far" route add default via 10.98.0.1
	ip -n "$lab_id-far" route add default via fd98::1
}

# Both gateways have one AS: by that BGP itself keeps away from one what the other has announced.
bgp() { # NAME ANNOUNCES_V4 ANNOUNCES_V6 PEER...: of another AS
	local name=$1 as=65001 peer_as=65000 a
	[[ $name != router ]] || { as=65000 peer_as=65001; }
	frr_start "$name" <<-FRR
		route-map TAILNET permit 10
		 match interface tailgate0
		exit
		bfd
		$(printf ' peer %s\n  receive-interval 300\n  transmit-interval 300\n' "${@:4}")
		router bgp $as
		 no bgp ebgp-requires-policy
		$(for a in "${@:4}"; do
			printf ' neighbor %s %s\n' "$a" "remote-as $peer_as" "$a" "timers connect 1" \
				"$a" "advertisement-interval 0" "$a" bfd
		done)
		 address-family ipv4 unicast
		  $2
		 exit-address-family
		 address-family ipv6 unicast
		  $3
		$(printf '  neighbor %s activate\n' "${@:4}")
		 exit-address-family
	FRR
}

routes_say() { grep -qE "$2" < <(ts "$1" routes); } # NAME PATTERN
routes_do_not_say() { ts "$1" routes >"$lab_dir/routes.txt" && ! grep -qE "$2" "$lab_dir/routes.txt"; }
serves() { # NAME: carol sends it what is for the network
	[[ $(peer_status carol "$1" ".PrimaryRoutes // [] | index(\"$net\") != null") == true ]]
}
answers_by() { goes_by router 100.64.0.0/10 "$1"; } # ADDRESSES

lab_begin
need_node tailgate tailscaled
need_frr
tn_begin
tn_policy <<-JSON
	{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
	 "autoApprovers": {"routes": {"10.98.0.0/16": ["lab@"], "fd98::/32": ["lab@"]}}}
JSON
tn_place alice none
tn_place bob none
site
bgp router "network $net" 'network fd98::/64' 10.99.0.1 10.99.0.2
for g in alice bob; do
	bgp $g 'redistribute kernel route-map TAILNET' 'redistribute kernel route-map TAILNET' $router
	cat >"$lab_dir/$g.conf" <<-CONF
		tailnet = true;
		ports = ( { name = "wan"; interface = "wan"; }, { name = "lan2"; interface = "lan2"; } );
		advertise_learned = [ "10.98.0.0/16", "fd98::/32" ];
		announce_table = 254;
	CONF
	chmod 600 "$lab_dir/$g.conf"
	wait_for 20 goes_by "$g" $net $router
	tn_join "$g" tailgate --snat-subnet-routes=false
done

say "what the router tells by BGP is advertised and approved"
tn_node carol tailscaled none --advertise-routes=10.66.0.0/24
approve carol 10.66.0.0/24
wait_for 30 serves alice
show alice routes
show bob routes
wait_for 10 routes_say alice '^10.98.0.0/24 +learned +serves'
wait_for 10 routes_say alice '^fd98::/64 +learned +serves'
wait_for 10 routes_say bob '^10.98.0.0/24 +learned +stands by'

say "the way back is by the gateway that serves, alone"
wait_for 20 answers_by 10.99.0.1
wait_for 10 goes_by router 10.66.0.0/24 10.99.0.1
on router ip route
wait_reach carol $far
wait_pong carol alice direct
ping_lossless carol $far -c 20 -i 0.05 -W 2
wait_reach carol fd98::9
wait_reach far "$(ip4 carol)"
wait_reach far "$(ip6 carol)"
check "nothing comes back of what alice announced" test -z "$(next_hops bob 10.66.0.0/24)"

say "a network comes and goes"
router_network() { # "" | no: another network
	command vtysh --vty_socket "$lab_dir/frr-router" -c 'configure' -c 'router bgp 65000' \
		-c 'address-family ipv4 unicast' -c "$1 network 10.98.7.0/24" >/dev/null 2>&1
}
ip -n "$lab_id-router" route add 10.98.7.0/24 via $far
router_network ''
wait_for 20 goes_by alice 10.98.7.0/24 $router
wait_for 20 routes_say alice '^10.98.7.0/24 +learned'
wait_for 20 routes_say bob '^10.98.7.0/24 +learned' # which has waited for alice
check "the gateway that serves has it, too" routes_say bob '^10.98.7.0/24 +learned +stands by'
check "it is not announced back" goes_by bob 10.98.7.0/24 $router
check "one way into the tailnet" answers_by 10.99.0.1
router_network no
wait_for 20 routes_do_not_say alice '^10.98.7.0'
wait_for 10 eval '[[ $(headscale_node alice ".available_routes | join(\",\")") != *10.98.7.0* ]]'

say "drained: the other one serves and announces"
show alice drain --timeout=20s
wait_for 10 serves bob
wait_for 10 answers_by 10.99.0.2
wait_reach carol $far
wait_reach far "$(ip4 carol)"
show bob routes

say "its daemon is killed: nobody announces any more"
begin=$(now_ms)
stop bob KILL
wait_for 10 answers_by ''
check "nor the way to carol's network" goes_by router 10.66.0.0/24 ''
echo "the router heard of it after $(($(now_ms) - begin)) ms"
show alice drain --cancel
wait_for 40 serves alice # by headscale's grace of 10 s
wait_for 20 answers_by 10.99.0.1
wait_reach carol $far

say "other keys, by a reload"
sed -i 's/announce_table = 254/announce_table = 0/; s,"10.98.0.0/16"\,,,' "$lab_dir/alice.conf"
show alice reload
wait_for 10 answers_by ''
wait_for 10 routes_do_not_say alice '^10.98.0.0'
check "what is named still stays" routes_say alice '^fd98::/64 +learned'
