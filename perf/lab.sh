# shellcheck shell=bash
# What perf/compare and perf/demo measure in the lab of tests/net/lib.sh. To be sourced.
#
# CPU time of the gateways per 10^9 bytes carried. A kernel books softirq work to whatever it
# interrupts, so the gateway processes' own time says too little for a gateway that leaves work to
# the kernel, and too much for one that is interrupted by it. These figures are therefore kept:
#   busy      the machine's time that was not idle, all cores
#   iperf     user and system time of iperf3's client and server
#   process   user and system time of the gateway processes, all threads
#   other     that of all other programs
# and the gateways' figure is busy - iperf - other: their processes, kernel threads and softirqs
# outside of any program, both gateways summed.
# shellcheck disable=SC2034 # some of it is for the programs
set -euo pipefail

# shellcheck source=tests/net/tailnet.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tests/net/tailnet.sh"

hz=$(getconf CLK_TCK)

busy_ticks() { # user nice system idle iowait irq softirq ...
	local user nice system irq softirq
	read -r _ user nice system _ _ irq softirq _ </proc/stat
	echo $((user + nice + system + irq + softirq))
}

# All programs, the children that they have waited for included; no kernel threads (PF_KTHREAD).
program_ticks() {
	# a program that ends meanwhile makes cat fail
	{ cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk '
		{ sub(/.*\) /, ""); if (int($7 / 2097152) % 2 == 0) sum += $12 + $13 + $14 + $15 }
		END { print sum }'
}

gateway_ticks() { # gwa|gwb
	local ticks=0
	[[ -z ${lab_pid[$1]:-} ]] || ticks=$(cpu_ticks "${lab_pid[$1]}")
	echo "$ticks"
}

other_load() { # busy cores in the next half second
	local before
	before=$(busy_ticks)
	sleep 0.5
	jq -n "($(busy_ticks) - $before) / $hz / 0.5"
}

# measure GATEWAY CASE SECONDS: one iperf3 run from $lab_from to $lab_to; prints a JSON object
measure() {
	local args=(-t "$3") load busy gwa gwb server programs times
	case $2 in
	reverse) args+=(-R) ;;
	parallel) args+=(-P 4) ;;
	esac
	load=$(other_load)
	programs=$(program_ticks)
	busy=$(busy_ticks) gwa=$(gateway_ticks gwa) gwb=$(gateway_ticks gwb) server=$(cpu_ticks "${lab_pid[iperf-$lab_at]}")
	TIMEFORMAT='%U %S'
	times=$({ time iperf "$lab_from" "$lab_to" "${args[@]}" >"$lab_dir/iperf.json"; } 2>&1)
	busy=$(($(busy_ticks) - busy)) gwa=$(($(gateway_ticks gwa) - gwa)) gwb=$(($(gateway_ticks gwb) - gwb))
	server=$(($(cpu_ticks "${lab_pid[iperf-$lab_at]}") - server))
	programs=$(($(program_ticks) - programs))
	jq -c --arg gateway "$1" --arg case "$2" --argjson hz "$hz" --argjson busy $busy \
		--argjson gwa $gwa --argjson gwb $gwb --argjson server $server --argjson client "$(jq -n "${times/ / + }")" \
		--argjson programs $programs --argjson load "$load" '
		(.error | select(.)) |= error |
		($gwa + $gwb) as $process | (.end.sum_received.bytes / 1e9) as $gb | ($server / $hz + $client) as $iperf |
		($programs / $hz - $iperf - $process / $hz) as $other | {
			gateway: $gateway, case: $case,
			bits_per_second: (.end.sum_received.bits_per_second | floor),
			retransmits: .end.sum_sent.retransmits,
			gateway_cpu_s_per_gb: (($busy / $hz - $iperf - $other) / $gb),
			gateway_process_cpu_s_per_gb: ($process / $hz / $gb),
			lab_cpu_s_per_gb: (($busy / $hz - $other) / $gb),
			gb: $gb, busy_cpu_s: ($busy / $hz), iperf_cpu_s: $iperf,
			process_cpu_s: ($process / $hz), gwa_process_cpu_s: ($gwa / $hz), gwb_process_cpu_s: ($gwb / $hz),
			other_cpu_s: $other, other_busy_cores: $load
		}' "$lab_dir/iperf.json"
}

# summary: a stream of measure's objects to one object per gateway and case, medians
summary='
def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def summary: . as $raw | reduce .[] as $r ([]; if any(.[]; . == [$r.gateway, $r.case]) then . else . + [[$r.gateway, $r.case]] end)
	| map(. as [$g, $c] | [$raw[] | select(.gateway == $g and .case == $c)] | {
		gateway: $g, case: $c, runs: length,
		bits_per_second: (map(.bits_per_second) | median),
		retransmits: (map(.retransmits) | median),
		gateway_cpu_s_per_gb: (map(.gateway_cpu_s_per_gb) | median),
		gateway_process_cpu_s_per_gb: (map(.gateway_process_cpu_s_per_gb) | median),
		lab_cpu_s_per_gb: (map(.lab_cpu_s_per_gb) | median)
	});
'

# jq: round for people; + 0 turns -0 into 0
two='def two: (. * 100 | round / 100) + 0;'

# A kind of gateway is one of tests/net/gateway.sh, or
#   tailgate-1280     tailgate with static peers and the tunnel MTU of a tailnet
#   tailgate-vxlan    tailgate with static peers, the server in a VXLAN that ends in gwb; and so
#                     wireguard-go-vxlan, boringtun-vxlan, none-vxlan
#   tailgate-tailnet  nodes of a tailnet, with a direct path between them
#   tailscaled        the same, the real ones
#   tailgate-exit     a client, gwa itself, that reaches a server in the wan through gwb as exit node
#   tailscaled-exit   the same, the real ones
#   tailscaled-by-tailgate-exit    a real client, and Tailgate as its exit node
need_gateway() { # KIND...: skip when it cannot be run
	local kind
	for kind; do
		case $kind in
		tailgate-1280) need_kind tailgate ;;
		*-vxlan) need_kind "${kind%-vxlan}" ;;
		tailgate-tailnet) tn_programs headscale derper tailscale && need_node tailgate ;;
		tailgate-exit) tn_programs headscale derper tailscale && need_node tailgate ;;
		tailscaled-by-tailgate-exit) need_node tailgate tailscaled ;;
		tailscaled | tailscaled-exit) tn_programs headscale derper tailscale && need_node tailscaled ;;
		*) need_kind "$kind" ;;
		esac
	done
}

gateways_up() { # KIND: the lab with two of a kind; returns when packets pass
	tunnel_mtu=1420
	lab_from=client lab_to=10.2.0.2 lab_at=server
	case $1 in
	tailgate-1280) tunnel_mtu=1280 && lab_up tailgate tailgate ;;
	*-vxlan) vxlan_up "${1%-vxlan}" ;;
	tailgate-tailnet) tailnet_up tailgate ;;
	tailscaled) tailnet_up tailscaled ;;
	tailgate-exit) exit_up tailgate tailgate ;;
	tailscaled-exit) exit_up tailscaled tailscaled ;;
	tailscaled-by-tailgate-exit) exit_up tailscaled tailgate ;;
	*) lab_up "$1" "$1" ;;
	esac
}

# The same picture, and between server and gwb devices of the kernel's, by which the server is reached.
vxlan_up() { # KIND
	local end
	lab_hosts
	lab_to=10.50.0.2
	add_peer gwa gwb "${wan4[gwb]}:${gw_port[gwb]}" 10.2.0.0/24,fd02::/64,10.50.0.0/24
	add_peer gwb gwa "${wan4[gwa]}:${gw_port[gwa]}" 10.1.0.0/24,fd01::/64
	for end in "gwb lan 1 2" "server eth0 2 1"; do
		# shellcheck disable=SC2086 # words
		vxlan_end $end
	done
	ip -n "$lab_id-server" route add 10.1.0.0/24 via 10.50.0.1
	gateway_start gwa "$1"
	gateway_start gwb "$1"
	lab_ready
	wait_for 15 in_ns client ping -c 1 -W 1 $lab_to
}

vxlan_end() { # NAMESPACE INTERFACE N OTHER
	ip -n "$lab_id-$1" link add vx0 type vxlan id 50 local "10.2.0.$3" dev "$2" dstport 4789 nolearning
	ip -n "$lab_id-$1" link set vx0 up
	addr "$1" vx0 "10.50.0.$3/24"
	in_ns "$1" bridge fdb append 00:00:00:00:00:00 dev vx0 dst "10.2.0.$4"
}

# The same picture. Headscale and the DERP servers are in wan. No IPv6 there, for the static peers use
# IPv4, too.
tailnet_hosts() {
	local gw
	lab_hosts
	tn_net=wan
	addr wan br 10.77.0.1/24 10.77.0.2/24 10.77.0.3/24
	tn_servers
	for gw in gwa gwb; do
		own_resolv_conf $gw
		ip -n "$lab_id-$gw" -6 addr flush dev wan scope global
		ip -n "$lab_id-$gw" route add default via 192.0.2.254
	done
}

# The gateways advertise and accept the LANs of each other.
tailnet_up() { # tailgate|tailscaled
	local gw n=0
	tailnet_hosts
	for gw in gwa gwb; do
		tn_number[$gw]=$((++n))
		tn_daemon $gw "$1"
		tn_up $gw --accept-routes --accept-dns=false --snat-subnet-routes=false \
			--advertise-routes="10.$n.0.0/24,fd0$n::/64"
		approve $gw "10.$n.0.0/24,fd0$n::/64"
	done
	lab_ready
	wait_pong gwa gwb direct
	wait_pong gwb gwa direct
}

# gwa uses gwb, which has but one interface to the world, as exit node.
exit_up() { # CLIENT_KIND EXIT_KIND
	tailnet_hosts
	lab_from=gwa lab_to=203.0.113.9 lab_at=wan
	addr wan br $lab_to/32
	tn_number=([gwb]=1 [gwa]=2)
	tn_daemon gwb "$2"
	tn_up gwb --accept-dns=false --advertise-exit-node
	approve gwb 0.0.0.0/0,::/0
	tn_daemon gwa "$1"
	tn_up gwa --accept-dns=false
	wait_pong gwa gwb direct
	wait_for 10 offers_exit gwa gwb
	ts gwa set --exit-node="$(ip4 gwb)" --exit-node-allow-lan-access=false
	wait_for 20 leaves_by gwb
}
offers_exit() { [[ $(peer_status "$1" "$2" .ExitNodeOption) == true ]]; } # NAME PEER
# leaves_by NAME: what gwa sends to the server comes from that gateway's address
leaves_by() {
	local log=$lab_dir/seen.txt
	in_ns wan timeout 2 tcpdump -n -c 1 -i br "dst host $lab_to and src host ${wan4[$1]} and icmp" >"$log" 2>&1 &
	sleep 0.3
	reaches gwa "$lab_to" && wait $!
}

# visit KIND SECONDS OFFLOAD PROGRESS...: one lab, all cases. The objects are added to raw.json;
# PROGRESS is called with the PID of each measurement while it runs.
visit() {
	local case_
	gateways_up "$1" >"$lab_dir/visit.log"
	[[ $3 == yes ]] || no_offload
	ping_lossless "$lab_from" "$lab_to" -c 5 -i 0.2 >>"$lab_dir/visit.log"
	iperf_server "$lab_at" >>"$lab_dir/visit.log"
	for case_ in forward reverse parallel; do
		measure "$1" $case_ "$2" >"$lab_dir/measured.json" &
		"${@:4}" $!
		wait $!
		cat "$lab_dir/measured.json" >>"$lab_dir/raw.json"
		jq -r "$two"'
			"\(.gateway) \(.case): \(.bits_per_second / 1e9 | two) Gb/s, \(.gateway_cpu_s_per_gb | two) CPU-s/GB"
			+ if .other_busy_cores > 0.1 then " (something else kept \(.other_busy_cores | two) cores busy)" else "" end
			' "$lab_dir/measured.json"
	done
	tn_clear
}

gateway_version() { # KIND
	case $1 in
	tailgate*) git -C "$lab_top" rev-parse --short=12 HEAD 2>/dev/null || echo unknown ;;
	none) uname -r ;;
	tailscaled*) cat "$peers_bin/.version/tailscaled" ;;
	*) cat "$peers_bin/.version/${1/%boringtun/boringtun-cli}" 2>/dev/null || echo "Debian's" ;;
	esac
}

machine_json() { # COMMAND: where, when and with what it was measured
	jq -n --arg machine "$(uname -n)" --arg kernel "$(uname -r)" \
		--arg cpu "$(sed -nE '/^model name\t*: /{s///p;q}' /proc/cpuinfo)" --argjson cores "$(nproc)" \
		--argjson memory_gb "$(awk '/^MemTotal:/ {printf "%.1f", $2 / 1e6}' /proc/meminfo)" \
		--arg commit "$(gateway_version tailgate)" --arg date "$(date -u +%FT%TZ)" --arg command "$1" \
		'{machine: $machine, kernel: $kernel, cpu: $cpu, cores: $cores, memory_gb: $memory_gb,
		  commit: $commit, date: $date, command: $command}'
}

build_tailgate() { # PROGRAM
	local log=$lab_cache/build-perf.log
	mkdir -p "$lab_cache"
	if ! tests/build release >"$log" 2>&1; then
		tail -20 "$log"
		echo "$1: the build failed: $log" >&2
		exit 1
	fi
}

need_machine() { # PROGRAM: ends it with one line when something is missing
	local missing
	missing=$(lab_missing)
	[[ -z $missing ]] || { echo "$1: $missing" >&2 && exit 1; }
}
