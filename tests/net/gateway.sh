# shellcheck shell=bash
# The gateways of the lab: configuration, start and stop, and what they say about themselves.
# Sourced by lib.sh.
# shellcheck disable=SC2154 # lib.sh sets lab_id, lab_dir and lab_pid

peers_bin=${PEERS_BIN:-$HOME/.cache/tailgate/peers/bin}
# Per gateway: kind, tunnel device, UDP port, tunnel addresses; of tailgate.conf the ports (shared
# lan and wan without) and further lines.
declare -A gw_kind=() gw_dev=() gw_port=() gw_addr=() gw_ports=() gw_extra=()
shared_ports='ports = ( { name = "lan"; interface = "lan"; }, { name = "wan"; interface = "wan"; } );'
tunnel_mtu=1420
declare -A wan4=([gwa]=192.0.2.1 [gwb]=192.0.2.2 [gwc]=192.0.2.3)
declare -A wan6=([gwa]=2001:db8:99::1 [gwb]=2001:db8:99::2 [gwc]=2001:db8:99::3)

# program NAME: path of a program of ours, in $TAILGATE_BUILD or else the release build
program() {
	local build=${TAILGATE_BUILD:-$(build_dir release)} sub
	for sub in . control control/cli; do
		if [[ -f $build/$sub/$1 && -x $build/$sub/$1 ]]; then
			echo "$build/$sub/$1"
			return
		fi
	done
	return 1
}

need_kind() { # KIND...: skip the test when a gateway of that kind cannot be run
	local kind
	for kind; do
		case $kind in
		none) ;;
		tailgate) program tailgated >/dev/null || skip "tailgated is not built" ;;
		wireguard-go) [[ -x $peers_bin/wireguard-go ]] || skip "no wireguard-go: tests/peers says why" ;;
		boringtun) [[ -x $peers_bin/boringtun-cli ]] || skip "no boringtun-cli: tests/peers says why" ;;
		*) fail "no such kind of gateway: $kind" ;;
		esac
	done
}

# -- gateways -------------------------------------------------------------------------------------

make_key() { # NAME: NAME.key and NAME.pub
	(umask 077 && wg genkey >"$lab_dir/$1.key")
	wg pubkey <"$lab_dir/$1.key" >"$lab_dir/$1.pub"
}

# add_peer GATEWAY PEER ENDPOINT ALLOWED [KEEPALIVE] [PSK]: PEER names a key pair; ENDPOINT may be
# "" (the peer calls first) and ALLOWED is a comma-separated list. gateway_start or _reload applies.
add_peer() {
	echo "$2|$(cat "$lab_dir/$2.pub")|$3|$4|${5:-0}|${6:-}" >>"$lab_dir/$1.peers"
}

lab_peers() { # [4|6]: gwa and gwb know each other over IPv4 or IPv6
	local a=${wan4[gwa]} b=${wan4[gwb]}
	[[ ${1:-4} == 4 ]] || a="[${wan6[gwa]}]" b="[${wan6[gwb]}]"
	add_peer gwa gwb "$b:${gw_port[gwb]}" 10.2.0.0/24,fd02::/64,10.99.2.1/32,fd99::2:1/128
	add_peer gwb gwa "$a:${gw_port[gwa]}" 10.1.0.0/24,fd01::/64,10.99.1.1/32,fd99::1:1/128
}

render_wg() { # GATEWAY: for wg setconf
	local key endpoint allowed keepalive psk
	echo "[Interface]"
	echo "PrivateKey = $(cat "$lab_dir/$1.key")"
	echo "ListenPort = ${gw_port[$1]}"
	while IFS='|' read -r _ key endpoint allowed keepalive psk; do
		printf '[Peer]\nPublicKey = %s\nAllowedIPs = %s\n' "$key" "$allowed"
		[[ -z $endpoint ]] || echo "Endpoint = $endpoint"
		[[ $keepalive == 0 ]] || echo "PersistentKeepalive = $keepalive"
		[[ -z $psk ]] || echo "PresharedKey = $psk"
	done <"$lab_dir/$1.peers"
}

quoted() { # a,b -> "a", "b"
	local list=${1//,/\", \"}
	echo "${list:+\"$list\"}"
}

render_tailgate() { # GATEWAY: tailgate.conf
	local key endpoint allowed keepalive psk comma=''
	local addresses=${gw_addr[$1]// /,}
	cat <<-CONF
		private_key_file = "$lab_dir/$1.key";
		listen_port = ${gw_port[$1]};
		mtu = $tunnel_mtu;
		addresses = [ $(quoted "$addresses") ];
		tun = "tailgate0";
		${gw_ports[$1]-$shared_ports}
		socket = "$lab_dir/$1.sock";
		${gw_extra[$1]:-}
		peers = (
	CONF
	while IFS='|' read -r name key endpoint allowed keepalive psk; do
		echo "$comma{ name = \"$name\"; public_key = \"$key\";"
		echo "  allowed_ips = [ $(quoted "$allowed") ];"
		[[ -z $endpoint ]] || echo "  endpoint = \"$endpoint\";"
		[[ $keepalive == 0 ]] || echo "  persistent_keepalive = $keepalive;"
		[[ -z $psk ]] || echo "  preshared_key = \"$psk\";"
		echo "}"
		comma=', '
	done <"$lab_dir/$1.peers"
	echo ");"
}

render() { # GATEWAY: its configuration file, readable by root alone
	touch "$lab_dir/$1.peers"
	if [[ ${gw_kind[$1]} == tailgate ]]; then
		(umask 077 && render_tailgate "$1" >"$lab_dir/$1.conf")
	else
		(umask 077 && render_wg "$1" >"$lab_dir/$1.conf")
	fi
}

gateway_start() { # GATEWAY KIND
	local gw=$1 dev=$lab_id$1
	gw_kind[$gw]=$2
	render "$gw"
	case $2 in
	none)
		plain_routes "$gw"
		return
		;;
	wireguard-go) start "$gw" "$gw" env WG_PROCESS_FOREGROUND=1 "$peers_bin/wireguard-go" -f "$dev" ;;
	boringtun) start "$gw" "$gw" "$peers_bin/boringtun-cli" -f --disable-drop-privileges "$dev" ;;
	tailgate)
		start "$gw" "$gw" "$(program tailgated)" --config "$lab_dir/$gw.conf"
		gw_dev[$gw]=tailgate0
		gateway_wait "$gw" tailgate_cli "$gw" status --json
		return
		;;
	esac
	gw_dev[$gw]=$dev
	gateway_wait "$gw" wg show "$dev"
	in_ns "$gw" wg setconf "$dev" "$lab_dir/$gw.conf"
	# shellcheck disable=SC2086 # a list
	addr "$gw" "$dev" ${gw_addr[$gw]}
	ip -n "$lab_id-$gw" link set "$dev" up mtu "$tunnel_mtu"
	tunnel_routes "$gw"
}

gateway_wait() { # GATEWAY COMMAND...: until it answers; ends the test at once when it has died
	local i
	for ((i = 0; i < 200; i++)); do
		if "${@:2}" >/dev/null 2>&1; then return; fi
		kill -0 "${lab_pid[$1]}" 2>/dev/null || fail "$1 (${gw_kind[$1]}) ended right after its start"
		sleep 0.1
	done
	fail "$1 (${gw_kind[$1]}) does not answer: ${*:2}"
}

gateway_stop() { # GATEWAY
	stop "$1"
	[[ ${lab_status[$1]:-0} == 0 ]] || exit 1
}

# gateway_reload GATEWAY: apply its peers file as it is now
gateway_reload() {
	render "$1"
	echo "$1$ reload"
	case ${gw_kind[$1]} in
	tailgate) tailgate_cli "$1" reload ;;
	none) plain_routes "$1" ;;
	*) in_ns "$1" wg syncconf "${gw_dev[$1]}" "$lab_dir/$1.conf" && tunnel_routes "$1" ;;
	esac
}

allowed_of() { # GATEWAY: lines of PEER PREFIX
	local name allowed prefix
	while IFS='|' read -r name _ _ allowed _; do
		for prefix in ${allowed//,/ }; do echo "$name $prefix"; done
	done <"$lab_dir/$1.peers"
}

tunnel_routes() { # GATEWAY
	local prefix
	while read -r _ prefix; do
		ip -n "$lab_id-$1" route replace "$prefix" dev "${gw_dev[$1]}"
	done < <(allowed_of "$1")
}

plain_routes() { # GATEWAY
	local name prefix via a
	for a in ${gw_addr[$1]}; do ip -n "$lab_id-$1" addr replace "$a" dev lo; done
	while read -r name prefix; do
		via=${wan4[$name]}
		[[ $prefix != *:* ]] || via=${wan6[$name]}
		ip -n "$lab_id-$1" route replace "$prefix" via "$via"
	done < <(allowed_of "$1")
}

lab_up() { # KIND_A KIND_B [4|6]: the picture at the top, running; returns when packets pass
	need_kind "$1" "$2"
	lab_hosts
	lab_peers "${3:-4}"
	gateway_start gwa "$1"
	gateway_start gwb "$2"
	lab_ready
}

lab_ready() {
	wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
	wait_for 15 in_ns client ping -c 1 -W 1 fd02::2
}

# -- asking a gateway -----------------------------------------------------------------------------

tailgate_cli() { # GATEWAY ARGS...
	in_ns "$1" "$(program tailgate)" --socket "$lab_dir/$1.sock" "${@:2}"
}

wg_peer() { # GATEWAY PEER FIELD: a column of wg show DEV FIELD
	wg show "${gw_dev[$1]}" "$3" | awk -v key="$(cat "$lab_dir/$2.pub")" '$1 == key {print $2, $3}'
}

tailgate_peer() { # GATEWAY PEER FILTER: of the peer's object in tailgate status --json
	tailgate_cli "$1" status --json |
		jq -r --arg key "$(cat "$lab_dir/$2.pub")" ".peers[] | select(.public_key == \$key) | $3"
}

endpoint_of() { # GATEWAY PEER: address:port
	if [[ ${gw_kind[$1]} == tailgate ]]; then
		tailgate_peer "$1" "$2" .endpoint
	else
		wg_peer "$1" "$2" endpoints | tr -d ' '
	fi
}
endpoint_is() { [[ $(endpoint_of "$1" "$2") == "$3" ]]; }

handshake_of() { # GATEWAY PEER: a number that grows with each handshake, 0 for none
	if [[ ${gw_kind[$1]} == tailgate ]]; then
		tailgate_peer "$1" "$2" '.latest_handshake | floor'
	else
		wg_peer "$1" "$2" latest-handshakes | tr -d ' '
	fi
}
has_session() { (($(handshake_of "$1" "$2") > 0)); }

counter_of() { # GATEWAY NAME: a drop reason, counter or handshake counter of tailgate stats
	tailgate_cli "$1" stats --json | jq --arg name "$2" \
		'[.drops[], .counters[], .handshakes[]] | map(select(.name == $name)) | first.value'
}
counter_exceeds() { (($(counter_of "$1" "$2") > $3)); } # GATEWAY NAME VALUE

taken() { # NAME MINIMUM COMMAND...: gwa itself counts at least as many packets meanwhile
	local before
	before=$(counter_of gwa "$1")
	"${@:3}"
	check "$1: $2 packets by the gateway itself" counter_exceeds gwa "$1" $((before + $2 - 1))
}
