# shellcheck shell=bash
# A tailnet of real programs for tests/net/tn_*.sh and perf/tailnet. To be sourced.
#
#   alice-lan ------ alice ------------------- inet (bridge): headscale, derp901, derp902
#   lan          lan       wan                   |
#   bob-lan -------- bob ---------- bob-nat -----+
#   lan          lan     wan    lan         wan
#
# Each name is a namespace. inet is 10.77.0.0/24: .1 headscale (http, 8080), .2 and .3 derper (443,
# STUN 3478) for the regions 901 and 902 (codes lab901, lab902). Node number N (in order of coming)
# has 10.77.0.(10+N) there, behind a NAT 192.168.N.2, and the LAN 10.88.N.0/24 (tn_lan6: also
# fd88:0:0:N::/64) with itself as .1 and a host as .2. Headscale numbers the nodes 100.64.0.1, 2, ...
# With tn_family=6 there is no IPv4 outside of the tailnet: fd77::1, ::2, ::3, ::(10+N).
#
# A node's NAT is none, easy (one mapping per socket, strangers dropped) or hard (a mapping per
# destination). Its kind is tailscaled or tailgate. ts talks to it with the command that belongs to
# the daemon; everything that a test asks in passing goes through the unmodified tailscale command.
set -euo pipefail

# shellcheck source=tests/net/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck disable=SC2034 # for the tests
peer_kind=${PEER:-tailscaled} # the other side, where a test takes any

tn_net=inet        # where the servers are
tn_family=4        # or 6: set it before tn_begin
tn_derp_update=24h # how often headscale looks at its DERP map
tn_regions=''      # more lines of that
tn_headscale=''    # more lines of headscale's configuration
tn_dns='{magic_dns: true, base_domain: lab.test, override_local_dns: false, nameservers: {global: []}}'
declare -A tn_number=() tn_kind=()

# -- the place ------------------------------------------------------------------------------------

tn_programs() { # PROGRAM...: skip the test when one is missing
	local p
	for p; do
		[[ -x $peers_bin/$p ]] || skip "no $p: tests/peers tailnet says why"
	done
}

need_node() { # KIND...: skip the test when a node of that kind cannot be run
	local kind
	for kind; do
		case $kind in
		tailscaled) tn_programs tailscaled ;;
		tailgate) program tailgated >/dev/null || skip "tailgated is not built" ;;
		*) fail "no such kind of node: $kind" ;;
		esac
	done
}

# tn_begin: inet with headscale and both DERP servers, or the test is skipped
tn_begin() {
	[[ $lab_dir ]] || lab_begin
	tn_programs headscale derper tailscale tailscaled
	tn_inet
	tn_servers
}

tn_servers() { # in the namespace $tn_net, which has their addresses
	derp_start 901
	derp_start 902
	derp_map >"$lab_dir/derp.yaml"
	headscale_config >"$lab_dir/headscale.yaml"
	headscale_start
	headscale users create lab >/dev/null
	headscale preauthkeys create -u 1 --reusable -e 24h -o json | jq -r .key >"$lab_dir/authkey"
}

tn_inet() {
	local a
	add_ns inet
	# Without a fixed address a bridge takes another one whenever a port joins.
	ip -n "$lab_id-inet" link add name br address 02:00:0a:4d:00:01 type bridge mcast_snooping 0
	ip -n "$lab_id-inet" link set dev br up
	in_ns inet sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 \
		2>/dev/null || true
	for a in 1 2 3; do addr inet br "$(inet_addr $a)/$([[ $tn_family == 4 ]] && echo 24 || echo 64)"; done
	in_ns inet nft -f - 2>/dev/null <<-'NFT' || skip "nftables of bridges is missing: modprobe nft_meta_bridge"
		table bridge probe { chain c { type filter hook forward priority 0; meta l4proto udp drop; }; }
		delete table bridge probe
	NFT
	# On the bridge, since what a node's own output chain drops is an error of sendmsg.
	in_ns inet nft -f - <<-'NFT'
		table bridge lab {
			set no_udp { type ifname; }
			set no_path { type ifname . ifname; }
			chain extra { }
			chain any { jump extra; meta l4proto udp iifname @no_udp drop; meta l4proto udp oifname @no_udp drop; }
			chain forward {
				type filter hook forward priority 0
				jump any
				iifname . oifname @no_path meta l4proto udp drop
			}
			chain input { type filter hook input priority 0; jump any; }
			chain output { type filter hook output priority 0; jump any; }
		}
	NFT
}

inet_addr() { # N
	[[ $tn_family == 4 ]] && echo "10.77.0.$1" || echo "fd77::$1"
}
url_host() { # ADDRESS: as it stands in a URL or before a port
	[[ $1 != *:* ]] && echo "$1" || echo "[$1]"
}
server_url() { echo "http://$(url_host "$(inet_addr 1)"):8080"; }

derp_start() { # 901|902: with the key and certificate that it had before
	local a name
	a=$(inet_addr $(($1 - 899)))
	name=$(derp_name "$1")
	mkdir -p "$lab_dir/cert$1"
	if [[ $tn_family == 6 && ! -f $lab_dir/cert$1/$name.crt ]]; then # for an address derper makes it
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$name" \
			-addext "subjectAltName=DNS:$name" -out "$lab_dir/cert$1/$name.crt" -keyout "$lab_dir/cert$1/$name.key" 2>/dev/null
	fi
	lab_end[derp$1]=KILL # what it says at its end is of no use
	start "derp$1" "$tn_net" "$peers_bin/derper" -a "$(url_host "$a"):443" -hostname "$name" -certmode manual \
		-certdir "$lab_dir/cert$1" -c "$lab_dir/derp$1.key" -http-port 80
	wait_for 15 listening_at "$a" 443 # the certificate is there by then
}
# The real client cannot connect to a host name that is an IPv6 address. Nobody resolves this one.
derp_name() { # REGION
	[[ $tn_family == 4 ]] && inet_addr $(($1 - 899)) || echo "derp$1.lab.test"
}
listening_at() { [[ $(in_ns "$tn_net" ss -Hlnt "src $(url_host "$1") and sport = :$2") ]]; }

# The DERP map with the hashes of derper's self-signed certificates. Keys are all lower case.
derp_map() {
	local region a hash ip
	echo regions:
	for region in 901 902; do
		a=$(inet_addr $((region - 899)))
		hash=$(openssl x509 -in "$lab_dir/cert$region"/*.crt -outform der | sha256sum | cut -d' ' -f1)
		ip="ipv4: \"$a\""
		[[ $tn_family == 4 ]] || ip="ipv4: none, ipv6: \"$a\""
		cat <<-YAML
			  $region:
			    regionid: $region
			    regioncode: lab$region
			    regionname: Lab $region
			    nodes:
			      - {name: "${region}a", regionid: $region, hostname: "$(derp_name $region)", $ip, certname: "sha256-raw:$hash", canport80: true}
		YAML
	done
	echo "$tn_regions"
}

headscale_config() {
	cat <<-YAML
		server_url: $(server_url)
		listen_addr: "$(url_host "$(inet_addr 1)"):8080"
		metrics_listen_addr: 127.0.0.1:9090
		grpc_listen_addr: 127.0.0.1:50443
		unix_socket: $lab_dir/headscale.sock
		noise: {private_key_path: $lab_dir/headscale.key}
		prefixes: {v4: 100.64.0.0/10, v6: "fd7a:115c:a1e0::/48", allocation: sequential}
		database: {type: sqlite, sqlite: {path: $lab_dir/headscale.db, write_ahead_log: true}}
		derp: {server: {enabled: false}, urls: [], paths: [$lab_dir/derp.yaml], auto_update_enabled: true, update_frequency: $tn_derp_update}
		dns: $tn_dns
		disable_check_updates: true
		logtail: {enabled: false}
		policy: {mode: database}
		log: {level: info, format: text}
		tuning: {batch_change_delay: 50ms, node_store_batch_timeout: 10ms}
		$tn_headscale
	YAML
}

headscale() { env NO_COLOR=1 "$peers_bin/headscale" -c "$lab_dir/headscale.yaml" "$@"; }

headscale_start() {
	lab_end[headscale]=KILL
	start headscale "$tn_net" env NO_COLOR=1 "$peers_bin/headscale" -c "$lab_dir/headscale.yaml" serve
	wait_for 20 headscale users list
}

# tn_policy: the policy on standard input becomes that of the tailnet
tn_policy() {
	cat >"$lab_dir/policy.json"
	headscale policy set -f "$lab_dir/policy.json" >/dev/null || fail "headscale refused the policy"
}

headscale_node() { # NAME FIELD: of headscale's list of nodes
	headscale nodes list -o json | jq -r --arg n "$1" ".[] | select(.given_name == \$n) | $2"
}

approve() { # NAME ROUTES: in place of what was approved before; comma-separated
	headscale nodes approve-routes -i "$(headscale_node "$1" .id)" -r "$2" >/dev/null
}

# -- what is in the way ---------------------------------------------------------------------------

element() { # add|delete SET ELEMENT
	in_ns inet nft "$1" element bridge lab "$2" "{ $3 }"
}
udp_of() { # NAME block|allow: all UDP of the node, silently
	say "UDP of $1: $2"
	case $2 in
	block) element add no_udp "w-$1" ;;
	allow) element delete no_udp "w-$1" ;;
	esac
}
udp_between() { # A B block|allow: between these two nodes only; their way to STUN stays
	say "UDP between $1 and $2: $3"
	local do=add
	[[ $3 == block ]] || do=delete
	element $do no_path "w-$1 . w-$2, w-$2 . w-$1"
}
drop() { # RULE...: of nftables, without its verdict, for everything that passes inet
	say "drop: $*"
	in_ns inet nft add rule bridge lab extra "$*" drop
}
drop_stun() { # NAME REGION: what the node asks that derper
	drop iifname "w-$1" ip daddr "$(inet_addr $(($2 - 899)))" udp dport 3478
}
drop_nothing() { in_ns inet nft flush chain bridge lab extra; }

# -- nodes ----------------------------------------------------------------------------------------

tn_place() { # NAME none|easy|hard: where a node will be, and the host behind it
	local name=$1 n=$((${#tn_number[@]} + 1)) outer=$1
	tn_number[$name]=$n
	add_ns "$name" && own_resolv_conf "$name"
	add_ns "$name-lan"
	in_ns "$name" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	link "$name-lan" lan "$name" lan
	addr "$name" lan "10.88.$n.1/24"
	addr "$name-lan" lan "10.88.$n.2/24"
	ip -n "$lab_id-$name-lan" route add default via "10.88.$n.1"
	if [[ $2 != none ]]; then
		outer=$name-nat
		tn_nat "$name" "$2" "$n"
	fi
	link "$outer" wan inet "w-$name"
	ip -n "$lab_id-inet" link set "w-$name" master br
	if [[ $tn_family == 4 ]]; then
		addr "$outer" wan "10.77.0.$((10 + n))/24"
	else
		addr "$outer" wan "fd77::$((10 + n))/64"
	fi
	ip -n "$lab_id-$outer" route add default via "$(inet_addr 1)"
}

# A node with an IPv6 address waits three seconds for STUN over IPv6, so this is for after tn_up.
tn_lan6() { # NAME: IPv6 on its LAN
	local net=fd88:0:0:${tn_number[$1]}
	addr "$1" lan "$net::1/64"
	addr "$1-lan" lan "$net::2/64"
	ip -n "$lab_id-$1-lan" route add default via "$net::1"
}

tn_nat() { # NAME easy|hard N
	local flags=
	[[ $2 == easy ]] || flags=random,fully-random
	add_ns "$1-nat"
	in_ns "$1-nat" sysctl -qw net.ipv4.ip_forward=1
	link "$1" wan "$1-nat" lan
	addr "$1" wan "192.168.$3.2/24"
	addr "$1-nat" lan "192.168.$3.1/24"
	ip -n "$lab_id-$1" route add default via "192.168.$3.1"
	# A stranger's packet must leave no conntrack entry: it would clash with the mapping that the
	# node opens towards that stranger, which then gets another port.
	in_ns "$1-nat" nft -f - <<-NFT
		table ip lab {
			chain nat { type nat hook postrouting priority 100; oifname wan masquerade $flags; }
			chain forward {
				type filter hook forward priority 0; policy drop;
				iifname lan accept
				ct state established,related accept
			}
			chain input { type filter hook input priority 0; iifname wan ct state new drop; }
		}
	NFT
}

# A daemon that writes resolv.conf writes that of its namespace. lab_delete removes it.
own_resolv_conf() { # NAME
	mkdir -p "/etc/netns/$lab_id-$1"
	echo "# none" >"/etc/netns/$lab_id-$1/resolv.conf"
}

tn_daemon() { # NAME KIND: starts it with the state that it has; returns once it answers
	tn_kind[$1]=$2
	if [[ $2 == tailgate ]]; then gw_kind[$1]=tailgate; fi # stop then sees to it that it ends well
	tn_start "$1" "$1"
	wait_for 20 backend_state "$1"
}

# tn_start LABEL NAME: the daemon of the node, as a process of that label; Tailgate with the file
# NAME.conf where there is one
tn_start() {
	local dir=$lab_dir/node-$2 file=()
	mkdir -p "$dir"
	[[ ! -f $lab_dir/$2.conf ]] || file=(--config "$lab_dir/$2.conf")
	case ${tn_kind[$2]} in
	tailscaled)
		lab_end[$1]=KILL
		start "$1" "$2" env TS_LOGS_DIR="$dir" "$peers_bin/tailscaled" --statedir "$dir" \
			--socket "$dir/sock" --tun tailscale0 --port 41641 --no-logs-no-support
		;;
	tailgate)
		start "$1" "$2" "$(program tailgated)" "${file[@]}" --statedir "$dir" --socket "$dir/sock" \
			--port 41641 --tun tailgate0
		;;
	esac
}

tn_up() { # NAME [ARGS...]: joins the tailnet
	ts "$1" up --login-server="$(server_url)" --auth-key="$(cat "$lab_dir/authkey")" --hostname="$1" \
		--timeout=60s "${@:2}"
}

# tn_node NAME KIND [none|easy|hard [ARGS...]]: the place, the daemon, up with further ARGS
tn_node() {
	need_node "$2"
	say "$1: $2, NAT ${3:-none}"
	tn_place "$1" "${3:-none}"
	tn_join "$1" "$2" "${@:4}"
}
tn_join() { # NAME KIND [ARGS...]: the same at its place
	tn_daemon "$1" "$2"
	tn_up "$1" --accept-routes --accept-dns=false "${@:3}"
}

# tn_pair: alice (the device under test) and bob, with a direct path between them
tn_pair() {
	[[ $lab_dir ]] || lab_begin
	need_node "$dut" "$peer_kind"
	tn_begin
	tn_node alice "$dut"
	tn_node bob "$peer_kind"
	wait_for 10 knows alice bob
	wait_pong alice bob direct
	both_ways alice bob
}

# tn_two_homes: alice (the device under test) at home in 901, from where alone STUN answers it, bob in
# 902, and no UDP between the two
tn_two_homes() {
	[[ $lab_dir ]] || lab_begin
	need_node "$dut" "$peer_kind"
	tn_begin
	tn_place alice none
	tn_place bob none
	udp_between alice bob block
	drop_stun alice 902
	drop_stun bob 901
	tn_join alice "$dut"
	tn_join bob "$peer_kind"
	wait_home alice lab901 30
	wait_home bob lab902 30
	wait_for 10 knows alice bob
}

tn_clear() { # take everything down, ready for the next tailnet of the same script; no file that tn_start takes stays
	lab_clear
	rm -rf "$lab_dir"/node-* "$lab_dir"/{headscale,derp,cert}* "$lab_dir"/*.conf
	tn_number=() tn_kind=()
}

# -- asking and waiting ---------------------------------------------------------------------------

ts() { # NAME ARGS...: the command that belongs to the node's daemon
	local cli=$peers_bin/tailscale
	[[ ${tn_kind[$1]} != tailgate ]] || cli=$(program tailgate)
	in_ns "$1" "$cli" --socket "$lab_dir/node-$1/sock" "${@:2}"
}
tailscale() { # NAME ARGS...: the unmodified command, whatever the daemon
	in_ns "$1" "$peers_bin/tailscale" --socket "$lab_dir/node-$1/sock" "${@:2}" 2>/dev/null
}
show() { # NAME ARGS...: the same as ts, with the command
	echo "$1$ ts ${*:2}"
	ts "$@"
}

ip4() { echo "100.64.0.${tn_number[$1]}"; } # nodes join in the order in which they come
ip6() { echo "fd7a:115c:a1e0::${tn_number[$1]}"; }

node_status() { # NAME FILTER: of tailscale status --json
	tailscale "$1" status --json | jq -r "$2"
}
backend_state() { # NAME [STATE]: prints it; with STATE, whether it is that
	local state
	state=$(node_status "$1" .BackendState)
	if [[ ${2:-} ]]; then [[ $state == "$2" ]]; else [[ $state ]] && echo "$state"; fi
}
peer_status() { # NAME PEER FILTER: of the peer's object therein
	node_status "$1" ".Peer[]? | select(.HostName == \"$2\") | $3"
}
knows() { [[ $(peer_status "$1" "$2" .InNetworkMap) == true ]]; } # NAME PEER
online() { [[ $(peer_status "$1" "$2" .Online) == true ]]; }
offline() { [[ $(peer_status "$1" "$2" .Online) == false ]]; }
home_of() { node_status "$1" .Self.Relay; } # NAME: code of its DERP region
home_is() { [[ $(home_of "$1") == "$2" ]]; }
at_home() { [[ $(home_of "$1") ]]; }
wait_home() { # NAME CODE SECONDS
	local begin
	begin=$(now_ms)
	wait_for "$3" home_is "$1" "$2"
	echo "$1 is at home in $2 (after $(($(now_ms) - begin)) ms)"
}

# pong NAME PEER derp|direct|relay|any: one disco ping; true when it was answered that way.
pong() {
	local how=via
	case $3 in
	derp) how='via DERP(' ;;
	direct) how='via [0-9[]' ;;
	relay) how='via peer-relay(' ;;
	esac
	ts "$1" ping -c 1 --timeout 1s "$(ip4 "$2")" >"$lab_dir/pong.txt" 2>&1 || true
	grep -q "^pong from $2 .*$how" "$lab_dir/pong.txt"
}
wait_pong() { # NAME PEER derp|direct|relay|any [SECONDS]
	local begin
	begin=$(now_ms)
	wait_for "${4:-30}" pong "$1" "$2" "$3"
	echo "$1 -> $2: $(grep ^pong "$lab_dir/pong.txt") (after $(($(now_ms) - begin)) ms)"
}

reaches() { # NAME ADDRESS: an ICMP echo through the tailnet
	in_ns "$1" ping -c 1 -W 1 "$2" >/dev/null 2>&1
}
silent() { ! reaches "$1" "$2"; }
wait_reach() { # NAME ADDRESS [SECONDS]
	wait_for "${3:-20}" reaches "$1" "$2"
	echo "$1 reaches $2"
}
# A tailscaled takes note of its own tunnel's addresses only at the next change of a route, closes its
# socket for that and opens it again. Here this happens at once, not while a test counts what is lost.
tn_settle() { # NAME
	[[ ${tn_kind[$1]} == tailscaled ]] || return 0
	ip -n "$lab_id-$1" route add 192.0.2.1/32 dev lo
	ip -n "$lab_id-$1" route del 192.0.2.1/32 dev lo
	wait_for 10 grep -q 'Rebind;' "$lab_dir/$1.log"
}

both_ways() { # A B: pings over IPv4 and IPv6, none lost once the first has passed
	wait_reach "$1" "$(ip4 "$2")"
	wait_reach "$2" "$(ip4 "$1")"
	pings_lossless '-c 10 -i 0.05 -W 2' "$1 $(ip4 "$2")" "$2 $(ip4 "$1")" "$1 $(ip6 "$2")" "$2 $(ip6 "$1")"
}
