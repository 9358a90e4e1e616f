#!/usr/bin/env bash
# A router under traffic: a policy that changes ends, and begins, what runs already, and takes nothing
# from what it does not name; fragments pass as whole packets, with SNAT and without; what 'explain'
# says is what happens; forged sources end at the first counter.
# timeout: 150
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet ---- bob, carol (tailscaled)
#   10.88.1.2      lan, wan are ports of hers
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

lan=10.88.1.2
traffic() { in_ns "$1" "$lab_top/tests/net/traffic.py" "${@:2}"; } # NAMESPACE COMMAND...
stream() { # LABEL NAMESPACE PORT: towards the LAN
	start "$1" "$2" "$lab_top/tests/net/traffic.py" stream $lan "$3" "$lab_dir/$1.count"
	wait_for 5 test -s "$lab_dir/$1.count"
}
received() { cut -d' ' -f2 "$lab_dir/$1.count"; }
runs() { # LABEL: answers come
	local before
	before=$(received "$1")
	sleep 0.5
	(($(received "$1") >= before + 10))
}
stands() { # LABEL: for a second none does
	local before
	before=$(received "$1")
	sleep 1
	(($(received "$1") == before))
}
stream_end() { # LABEL: how many were sent and not answered
	local sent got
	stop "$1" INT
	read -r sent got <"$lab_dir/$1.count"
	echo "$1: $sent sent, $got answered" >&2
	echo $((sent - got))
}
metric() { ts alice metrics | sed -n "s/^$1 //p"; } # NAME, with its labels
drops() { metric "tailgate_drops_total{reason=\"$1\"}"; }
grows() { (($(drops "$1") > $2)); } # REASON BEFORE
refused() { ! "$@" 2>/dev/null; }
whole() { traffic bob whole $lan "$@" 2>/dev/null; } # PORT BYTES
big_echo() { in_ns bob ping -c 1 -W 2 -s 4000 "$1" >/dev/null; }
tcp() { [[ $(in_ns "$1" socat -u "TCP:$2:$3,connect-timeout=3" STDOUT 2>/dev/null) ]]; } # FROM TO PORT

# policy PORTS_OF_BOB: UDP, of the LAN; carol may use 9002 in any case
policy() {
	tn_policy <<-JSON
		{"acls": [
			{"action": "accept", "proto": "udp", "src": ["$(ip4 bob)"], "dst": ["10.88.1.0/24:$1"]},
			{"action": "accept", "proto": "tcp", "src": ["$(ip4 bob)"], "dst": ["10.88.1.0/24:8080", "$(ip4 alice):8080-8081"]},
			{"action": "accept", "proto": "udp", "src": ["$(ip4 carol)"], "dst": ["10.88.1.0/24:9002"]},
			{"action": "accept", "proto": "tcp", "src": ["$(ip4 carol)"], "dst": ["$(ip4 alice):8081"]}
		]}
	JSON
}

lab_begin
[[ $dut == tailgate ]] || skip "its counters and 'explain' are asked"
need_node "$dut" tailscaled
tn_begin
cat >"$lab_dir/alice.conf" <<-'CONF'
	tailnet = true;
	ports = ( { name = "wan"; interface = "wan"; }, { name = "lan"; interface = "lan"; } );
CONF
chmod 600 "$lab_dir/alice.conf"
tn_node alice "$dut" none --advertise-routes=10.88.1.0/24
approve alice 10.88.1.0/24
tn_node bob tailscaled
tn_node carol tailscaled
policy 9000
for port in 9000 9001 9002; do
	start "echo-$port" alice-lan "$lab_top/tests/net/traffic.py" echo $port
done
for ns in alice alice-lan; do
	for port in 8080 8081; do
		start "tcp-$ns-$port" $ns socat -U "TCP-LISTEN:$port,fork,reuseaddr" SYSTEM:"echo $ns"
		wait_for 5 listening $ns $port
	done
done
wait_pong bob alice direct
wait_pong carol alice direct

say "a stream of each, and changes"
stream carol carol 9002
stream bob bob 9000
stream bob2 bob 9001
wait_for 20 runs bob
wait_for 20 runs carol
check "the port that is not named" stands bob2
refuse ts alice explain "$(ip4 bob)" $lan udp 9001 | tee "$lab_dir/explain.txt"
check "and 'explain' names the nearest rule" grep -q "from $(ip4 bob) to 10.88.1.0/24:9000$" "$lab_dir/explain.txt"
policy 9000-9001
wait_for 10 runs bob2
policy 9001
wait_for 10 stands bob
wait_for 5 runs bob2
policy 9001,9000
wait_for 10 runs bob
show alice nat
check "a flow each" test "$(metric 'tailgate_nat_flows{worker="0",class="udp"}')" -ge 3
stop bob INT
stop bob2 INT
lost=$(stream_end carol)
check "carol lost nothing: $lost" test "$lost" -le 2

say "fragments, with SNAT"
before=$(metric tailgate_reassembled_total)
check "UDP of 4000 bytes and its answer" wait_for 5 whole 9000 4000
check "UDP of 20000 bytes" wait_for 5 whole 9001 20000
check "an echo of 4000 bytes" wait_for 5 big_echo $lan
check "they were put together" test "$(metric tailgate_reassembled_total)" -ge $((before + 3))
before=$(drops filter_rule)
check "not to another port" refused whole 9002 4000
check "which is counted" grows filter_rule "$before"
say "and without"
show alice set --snat-subnet-routes=false
wait_for 5 whole 9000 4000
check "UDP of 20000 bytes" wait_for 5 whole 9001 20000
check "an echo of 4000 bytes" wait_for 5 big_echo $lan
check "not to another port" refused whole 9002 4000
show alice set --snat-subnet-routes=true
wait_for 10 eval '(($(metric tailgate_fragment_buffers_in_use{worker=\"0\"}) == 0))'

say "what 'explain' says is what happens"
happens() { # FROM DESTINATION PROTO [PORT]
	case $3 in
	tcp) tcp "$1" "$2" "$4" ;;
	udp) traffic "$1" whole "$2" "$4" 100 2>/dev/null ;;
	icmp) in_ns "$1" ping -c 1 -W 3 "$2" >/dev/null ;;
	esac
}
compare() { # FROM DESTINATION PROTO [PORT]
	local said=no seen=no
	if ts alice explain "$(ip4 "$1")" "${@:2}" >/dev/null; then said=yes; fi
	if happens "$@"; then seen=yes; fi
	echo "$1 $said $seen ${*:2}"
}
for from in bob carol; do
	for to in $lan 10.88.1.1 "$(ip4 alice)"; do
		for what in 'tcp 8080' 'tcp 8081' icmp; do
			# shellcheck disable=SC2086 # words
			compare $from "$to" $what &
		done
	done
	for port in 9000 9001 9002; do compare $from $lan udp $port & done
done >"$lab_dir/compared"
wait_for 20 eval '(($(wc -l <"$lab_dir/compared") == 24))'
sort "$lab_dir/compared"
check "of 24, some pass" test "$(awk '$3 == "yes"' "$lab_dir/compared" | wc -l)" -ge 8
check "and some do not" test "$(awk '$3 == "no"' "$lab_dir/compared" | wc -l)" -ge 8
check "none is another than it said" test -z "$(awk '$2 != $3' "$lab_dir/compared")"

say "forged sources"
for source in 10.66.6.6 "$(ip4 carol)" $lan 8.8.8.8; do
	before=$(drops wg_source)
	traffic bob spoof "$source" "$(ip4 alice)" 9000 20
	wait_for 5 grows wg_source "$before"
	echo "from $source: $(($(drops wg_source) - before)) dropped"
done
