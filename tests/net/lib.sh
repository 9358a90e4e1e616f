# shellcheck shell=bash
# The namespace lab of tests/net/*.sh, perf/compare and perf/demo. To be sourced.
#
#   client            gwa                               gwb            server
#   eth0 ------------ lan   wan ------- br ------- wan   lan ------------ eth0
#   10.1.0.2/24   10.1.0.1  192.0.2.1  (wan)  192.0.2.2  10.2.0.1   10.2.0.2/24
#   fd01::2/64     fd01::1  2001:db8:99::1   ::2   fd02::1     fd02::2/64
#
# Each name is a namespace of its own; wan holds the bridge, 192.0.2.254 and 2001:db8:99::fe.
# The gateways' tunnel addresses are 10.99.1.1 and fd99::1:1 (gwa), 10.99.2.1 and fd99::2:1 (gwb).
# A gateway is one of: none (the kernel forwards), wireguard-go, boringtun, tailgate.
#
# A test calls lab_begin first. Everything it starts dies with it, also on Ctrl-C: the processes
# by their PIDs, then the namespaces, and with those interfaces, routes and nftables.
set -euo pipefail

lab_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lab_cache=${TAILGATE_CACHE:-$HOME/.cache/tailgate}
lab_id=${TAILGATE_LAB:-tg$$}
lab_dir=
lab_out=
# shellcheck disable=SC2034 # for the tests
dut=${DUT:-tailgate} # the device under test; another kind shows what the test itself is worth
# shellcheck disable=SC2034 # for the tests
peer_kind=${PEER:-wireguard-go} # the other side, where a test takes any

pinged=0 # requests that ping_lossless has sent

declare -A lab_pid=() lab_status=() lab_end=() # per process: PID, how it ended, the signal that ends it last

# -- saying and waiting ---------------------------------------------------------------------------

say() { echo "== $*"; }
fail() {
	echo "FAIL: $*"
	exit 1
}
skip() {
	echo "skip: $*"
	exit 77
}
in_ns() { ip netns exec "$lab_id-$1" "${@:2}"; }
run() {
	echo "+ $*"
	"$@"
}
on() { # NAMESPACE COMMAND...
	echo "$1$ ${*:2}"
	in_ns "$@"
}
refuse() { # COMMAND...: it must fail
	echo "! $*"
	! "$@" || fail "should have failed: $*"
}
check() { # WHAT COMMAND...: an assertion with a name
	"${@:2}" || fail "$1"
	echo "ok $1"
}
# wait_for SECONDS COMMAND...: until it succeeds. The seconds are those of a machine with nothing else
# to do; a busy one gets three times as many, up to 45.
wait_for() {
	local limit=$(($1 * 3 < 45 ? $1 * 3 : $1 > 45 ? $1 : 45)) end
	end=$((${EPOCHREALTIME/[.,]/} + limit * 1000000))
	until "${@:2}" >/dev/null 2>&1; do
		((${EPOCHREALTIME/[.,]/} < end)) || fail "gave up after $limit s waiting for: ${*:2}"
		sleep 0.1
	done
}
now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# -- what the machine must have -------------------------------------------------------------------

# lab_missing: one line with what is missing and the remedy, or nothing.
lab_missing() {
	local ns=$lab_id-probe tool
	if [[ $EUID != 0 ]]; then
		echo "root is missing: run it with sudo"
		return
	fi
	for tool in ip nft; do
		if ! command -v $tool >/dev/null; then
			echo "the command $tool is missing: run tests/setup"
			return
		fi
	done
	if ! ip netns add "$ns" 2>/dev/null; then
		echo "network namespaces are missing: use a kernel with CONFIG_NET_NS, or a privileged container"
		return
	fi
	if [[ ! -c /dev/net/tun ]] || ! { : <>/dev/net/tun; } 2>/dev/null; then
		echo "/dev/net/tun is missing: modprobe tun, or give the container the device"
	elif ! ip -n "$ns" link add probe0 type veth peer name probe1 2>/dev/null; then
		echo "veth is missing: modprobe veth, or use a kernel with CONFIG_VETH"
	elif ! ip -n "$ns" link add probe2 type bridge 2>/dev/null; then
		echo "bridges are missing: modprobe bridge, or use a kernel with CONFIG_BRIDGE"
	elif ! ip netns exec "$ns" nft -f - 2>/dev/null <<-'NFT'; then
		table netdev probe { chain c { type filter hook ingress device probe0 priority 0; }; }
	NFT
		echo "nftables ingress is missing: use a kernel with CONFIG_NF_TABLES_NETDEV and CONFIG_NETFILTER_INGRESS"
	fi
	ip netns delete "$ns"
}

need_tools() { # COMMAND...: skip the test when one is missing
	local tool
	for tool; do
		command -v "$tool" >/dev/null || skip "$tool is missing: run tests/setup"
	done
}

build_dir() { # release | sanitize: outside the tree, one pair per checkout
	echo "$lab_cache/build-$(printf %s "$lab_top" | sha256sum | cut -c1-8)/$1"
}

# -- life and death -------------------------------------------------------------------------------

lab_begin() {
	local missing=''
	[[ ${TAILGATE_LAB_CHECKED:-} ]] || missing=$(lab_missing)
	[[ -z $missing ]] || skip "$missing"
	exec {lab_out}>&1 # the end may come inside of a redirected command
	lab_dir=$(mktemp -d "${TMPDIR:-/tmp}/$lab_id.XXXXXX")
	trap 'lab_exit $?' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

lab_exit() { # STATUS
	local status=$1 name log
	trap '' INT TERM HUP
	set +e
	exec >&"$lab_out" 2>&1
	for name in "${!lab_pid[@]}"; do
		stop "$name" "${lab_end[$name]:-TERM}"
		[[ $status != 0 || ${lab_status[$name]} != 1 ]] || status=1
	done
	if [[ $status != 0 && $status != 77 && $status -lt 128 ]]; then
		for log in "$lab_dir"/*.log; do
			[[ -s $log ]] || continue
			echo "-- the end of $(basename "$log")"
			tail -25 "$log"
		done
	fi
	lab_delete
	rm -rf "$lab_dir"
	exit "$status"
}

# lab_delete: every namespace of this lab, with whatever still runs inside
lab_delete() {
	local ns pids
	for ns in $(ip netns list | awk -v id="$lab_id-" 'index($1, id) == 1 {print $1}'); do
		mapfile -t pids < <(ip netns pids "$ns")
		((${#pids[@]} == 0)) || kill -9 "${pids[@]}" 2>/dev/null || true
		ip netns delete "$ns" || true
		rm -rf "/etc/netns/$ns"
	done
}

# lab_clear: take the gateways and hosts down, ready for the next lab of the same script
lab_clear() {
	local name
	for name in "${!lab_pid[@]}"; do stop "$name" "${lab_end[$name]:-TERM}"; done
	lab_delete
	gw_kind=() lab_end=()
	rm -f "$lab_dir"/*.peers
}

start() { # LABEL NAMESPACE COMMAND...: in the background; output goes to LABEL.log
	echo "$2$ ${*:3} &"
	: >>"$lab_dir/$1.log" # so that it can be read from now on
	ip netns exec "$lab_id-$2" "${@:3}" </dev/null >>"$lab_dir/$1.log" 2>&1 &
	lab_pid[$1]=$!
}

# stop LABEL [SIGNAL]: end it and wait. lab_status becomes 1 when a tailgated did not end well, which includes what a sanitizer found.
stop() {
	local pid=${lab_pid[$1]:-} status=0 i
	[[ $pid ]] || return 0
	unset "lab_pid[$1]"
	kill "-${2:-TERM}" "$pid" 2>/dev/null || true
	for ((i = 0; i < 400; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done 2>/dev/null # where the shell says that it was killed
	if kill -9 "$pid" 2>/dev/null; then echo "$1 had to be killed"; fi
	wait "$pid" 2>/dev/null || status=$?
	lab_status[$1]=0
	if [[ ${gw_kind[$1]:-} == tailgate && ${2:-TERM} == TERM && $status != 0 ]]; then
		echo "FAIL: tailgated in $1 ended with $status"
		lab_status[$1]=1
	fi
}

# -- hosts and links ------------------------------------------------------------------------------

add_ns() { # NAME
	local ns=$lab_id-$1
	ip netns add "$ns"
	ip -n "$ns" link set lo up
	# No duplicate address detection: addresses must be usable at once. No rp_filter of the host's.
	in_ns "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
		net.ipv6.conf.default.dad_transmits=0 net.ipv6.conf.default.accept_ra=0 \
		net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
}

link() { # NS1 IF1 NS2 IF2 [MTU]
	ip link add "$2" mtu "${5:-1500}" netns "$lab_id-$1" type veth \
		peer name "$4" mtu "${5:-1500}" netns "$lab_id-$3"
	ip -n "$lab_id-$1" link set "$2" up
	ip -n "$lab_id-$3" link set "$4" up
}

addr() { # NAMESPACE INTERFACE ADDRESS...
	local a nodad
	for a in "${@:3}"; do
		nodad=() # an IPv6 address can be bound to at once
		[[ $a != *:* ]] || nodad=(nodad)
		ip -n "$lab_id-$1" addr add "$a" dev "$2" "${nodad[@]}"
	done
}

add_wan() {
	add_ns wan
	# Without a fixed address a bridge takes another one whenever a port joins.
	ip -n "$lab_id-wan" link add name br address 02:00:c0:00:02:fe type bridge mcast_snooping 0
	ip -n "$lab_id-wan" link set dev br up
	in_ns wan sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 \
		2>/dev/null || true
	addr wan br 192.0.2.254/24 2001:db8:99::fe/64
}

add_to_wan() { # NAMESPACE INTERFACE: connects it to the bridge
	link "$1" "$2" wan "$1"
	ip -n "$lab_id-wan" link set "$1" master br
}

add_gateway() { # NAME N HOST: a gateway with 10.N.0.0/24, fd0N::/64 and one host behind it
	local name=$1 n=$2 host=$3
	add_ns "$name"
	add_ns "$host"
	in_ns "$name" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	link "$host" eth0 "$name" lan
	addr "$host" eth0 "10.$n.0.2/24" "fd0$n::2/64"
	addr "$name" lan "10.$n.0.1/24" "fd0$n::1/64"
	ip -n "$lab_id-$host" route add default via "10.$n.0.1"
	ip -n "$lab_id-$host" route add default via "fd0$n::1"
	add_to_wan "$name" wan
	addr "$name" wan "${wan4[$name]}/24" "${wan6[$name]}/64"
	gw_addr[$name]="10.99.$n.1/32 fd99::$n:1/128"
	gw_port[$name]=41641
	make_key "$name"
}

lab_hosts() { # the picture at the top, without anything running
	add_wan
	add_gateway gwa 1 client
	add_gateway gwb 2 server
}

no_offload() { # at the hosts' interfaces only
	local host
	for host in client server; do in_ns $host ethtool -K eth0 tso off gso off gro off; done
}

# -- processes ------------------------------------------------------------------------------------

cpu_ticks() { # PID: user and system time of all its threads
	local stat
	stat=$(<"/proc/$1/stat")
	# shellcheck disable=SC2086 # the fields after the name in parentheses
	set -- ${stat##*) }
	echo $((${12} + ${13}))
}

rss_kb() { awk '/^VmRSS:/ {print $2}' "/proc/$1/status"; }

# -- traffic --------------------------------------------------------------------------------------

listening() { [[ $(in_ns "$1" ss "-Hln${3:-t}" "sport = :$2") ]]; } # NAMESPACE PORT [u]: TCP or UDP

iperf_server() { # NAMESPACE [ARGS...]
	start "iperf-$1" "$1" iperf3 -s -p 5201 "${@:2}"
	wait_for 5 listening "$1" 5201
}

# iperf NAMESPACE TARGET ARGS...: iperf3's JSON. Cubic, since hosts differ in their default. Between
# two clients the server does not listen for a moment.
iperf() {
	local out status i
	for ((i = 0; i < 100; i++)); do
		status=0
		out=$(in_ns "$1" iperf3 -c "$2" -p 5201 -J -C cubic "${@:3}") || status=$?
		[[ $status != 0 && $out =~ 'Connection refused'|'server is busy' ]] || break
		sleep 0.1
	done
	[[ $status == 0 ]] || fail "iperf3 from $1 to $2: $(jq -r '.error? // empty' <<<"$out")" >&2
	echo "$out"
}

iperf_speed() { # the same; prints how fast it was
	echo "$1$ iperf3 -c $2 ${*:3}"
	iperf "$@" | jq -r '(.end.sum_received // .end.sum).bits_per_second / 1e6 | floor | "\(.) Mb/s"'
}

# ping_lossless NAMESPACE TARGET ARGS...: as many requests as -c says are answered, and none was lost
# before them. With a deadline (-w) ping goes on until it has so many answers, so that late ones count;
# alone it waits for the last answer hardly longer than for the others. pinged: how many it sent.
ping_lossless() {
	local out answered last args=("${@:3}")
	echo "$1$ ping ${*:3} $2"
	# -i0 is what -f does, with a line for each answer
	out=$(in_ns "$1" ping -n -w 15 "${args[@]/#-f/-i0}" "$2") || fail "ping $2 from $1: $(tail -n 15 <<<"$out")"
	# shellcheck disable=SC2034 # pinged is for the tests
	read -r pinged answered last < <(awk '
		match($0, /bytes from .*icmp_seq=/) && !/DUP!/ {
			n++
			seq = substr($0, RSTART + RLENGTH) + 0
			if (seq > last) last = seq
		}
		/packets transmitted/ {print $1, n, last}' <<<"$out")
	[[ $answered == "$last" && $out != *errors* ]] || fail "ping $2 from $1: $(tail -n 60 <<<"$out")"
}

pings_lossless() { # 'ARGS...' 'NAMESPACE TARGET'...: all at the same time
	local pair pid pids=()
	for pair in "${@:2}"; do
		# shellcheck disable=SC2086 # words
		ping_lossless $pair $1 &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
}

# ping_begin LABEL NAMESPACE TARGET [INTERVAL]: pings beside what the test does, until ping_end
ping_begin() {
	rm -f "$lab_dir/$1.log" # of one before
	start "$1" "$2" ping -q -i "${4:-0.01}" "$3"
}

ping_end() { # LABEL: none was lost, of ten at least; those still on their way are waited for
	local sent=0 received=0 i
	for ((i = 0; i < 50; i++)); do
		! ping_answered "$1" || ((sent < 10)) || break
		sleep 0.1
	done
	check "beside it: $sent pings, $received answers" test "$sent" -ge 10 -a "$received" -ge $((sent - 1))
	stop "$1" INT
}

ping_answered() { # LABEL: its running ping has an answer to each, but for the last; sets sent and received
	kill -QUIT "${lab_pid[$1]}"
	sleep 0.05 # it may take longer to say so, for which there is the next time
	read -r received sent < <(tr '\r' '\n' <"$lab_dir/$1.log" | sed -nE 's,^([0-9]+)/([0-9]+) packets.*,\1 \2,p' | tail -1) &&
		((received >= sent - 1))
}

# capture LABEL NAMESPACE INTERFACE FILTER...: to LABEL.pcap; returns once it listens
capture() {
	start "$1" "$2" tcpdump -U --immediate-mode -n -i "$3" -w "$lab_dir/$1.pcap" "${@:4}"
	wait_for 5 grep -q 'listening on' "$lab_dir/$1.log"
}

stands_still() { # FILE: returns when it has not grown for a while
	local size=-1
	while [[ $size != "$(stat -c %s "$1")" ]]; do
		size=$(stat -c %s "$1")
		sleep 0.2
	done
}

captured() { # LABEL [FILTER...]: stops the capture when it is quiet, prints the number of packets
	stands_still "$lab_dir/$1.pcap"
	stop "$1"
	tcpdump -n -r "$lab_dir/$1.pcap" "${@:2}" 2>/dev/null | wc -l
}

# transfer FROM TO ADDRESS MEGABYTES: over TCP, and the SHA-256 sums must be equal
transfer() {
	local family=4 want got
	[[ $3 != *:* ]] || family=6
	echo "$1 -> $2: $4 MB to $3"
	head -c "$4M" /dev/urandom >"$lab_dir/sent"
	start sink "$2" socat -u "TCP$family-LISTEN:7000,reuseaddr" "CREATE:$lab_dir/received"
	wait_for 5 listening "$2" 7000
	in_ns "$1" socat -u "OPEN:$lab_dir/sent" "TCP$family:${3/#*:*/[$3]}:7000"
	wait "${lab_pid[sink]}"
	unset "lab_pid[sink]"
	want=$(sha256sum <"$lab_dir/sent")
	got=$(sha256sum <"$lab_dir/received")
	rm -f "$lab_dir/sent" "$lab_dir/received"
	check "$4 MB arrived unchanged" test "$want" = "$got"
}

# shellcheck source=tests/net/gateway.sh
source "$lab_top/tests/net/gateway.sh"
