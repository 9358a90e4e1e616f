#!/usr/bin/env bash
# What the translation can be told: addresses of a pool, of which a client keeps one; a network by
# another name, both ways; ports for one destination or for all, in which case strangers and other peers
# (hairpin) reach a client by them. It follows the configuration while flows run, which lose nothing.
# timeout: 120
# sanitizer: no
#
#   alice-lan --- alice (device under test) --- inet --- bob, carol (tailscaled)
#   10.88.1.2     10.88.1.1, pool .100, .101
#   10.88.1.3     peers know the LAN as 10.9.0.0/24, too
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

traffic() { in_ns "$1" "$lab_top/tests/net/traffic.py" "${@:2}"; } # NAMESPACE COMMAND...
configure() { # LINE...: beside what never changes
	{
		echo 'tailnet = true;'
		echo 'ports = ( { name = "wan"; interface = "wan"; }, { name = "lan"; interface = "lan"; } );'
		printf '%s\n' "$@"
	} >"$lab_dir/alice.conf"
	chmod 600 "$lab_dir/alice.conf"
}
pool='nat_addresses = [ "10.88.1.100", "10.88.1.101" ];'
remap='nat_remap = [ "10.9.0.0/24 = 10.88.1.0/24" ];'
independent='nat_mapping = "endpoint-independent";'

listener() { # LABEL ADDRESS...: a socket of bob's that both hosts have heard of
	start "$1" bob "$lab_top/tests/net/traffic.py" listen 9001 "$lab_dir/$1.txt" "${@:2}"
	wait_for 10 eval "((\$(wc -l <$lab_dir/$1.txt) == $# - 1))"
	cat "$lab_dir/$1.txt"
}
seen_as() { awk -v a="$2" '$1 == a { print $2 }' "$lab_dir/$1.txt"; } # LABEL ADDRESS: ADDRESS:PORT
heard() { grep -q " $2$" "$lab_dir/$1.txt"; }			      # LABEL TEXT
is_of_pool() { [[ $1 == 10.88.1.100:* || $1 == 10.88.1.101:* ]]; }
tell() { # FROM SOURCE ADDRESS:PORT TEXT
	traffic "$1" say "$2" "${3%:*}" "${3#*:}" "$4"
}
told() { # LABEL FROM SOURCE ADDRESS:PORT TEXT: it is heard
	tell "${@:2}"
	sleep 0.2
	heard "$1" "$5"
}
whoami() { in_ns "$1" socat -u "TCP:$2:7001,connect-timeout=3" STDOUT 2>/dev/null; } # FROM ADDRESS
is_seen() { [[ $(whoami "$1" "$2") =~ ^$3$ ]]; }					     # FROM ADDRESS PATTERN

lab_begin
[[ $dut == tailgate ]] || skip "its configuration is tried"
need_node "$dut" tailscaled
tn_begin
configure "$pool" "$remap"
tn_place alice none
for a in 100 101; do addr alice lan 10.88.1.$a/24; done
addr alice-lan lan 10.88.1.3/24
tn_join alice "$dut" --advertise-routes=10.88.1.0/24,10.9.0.0/24
approve alice 10.88.1.0/24,10.9.0.0/24
tn_node bob tailscaled
tn_node carol tailscaled
start echo alice-lan "$lab_top/tests/net/traffic.py" echo 9000
start mirror alice-lan "$lab_top/tests/net/traffic.py" mirror 9001
for ns in alice-lan bob; do
	start "whoami-$ns" $ns socat -U TCP4-LISTEN:7001,fork,reuseaddr "SYSTEM:echo \$SOCAT_PEERADDR"
	wait_for 5 listening $ns 7001
done
wait_pong bob alice direct
wait_pong carol alice direct

say "a pool"
wait_for 15 is_seen bob 10.88.1.2 '10\.88\.1\.10[01]'
own=$(whoami bob 10.88.1.2)
check "bob keeps $own" test "$(whoami bob 10.88.1.3)" = "$own"
ts alice explain bob 10.88.1.2 tcp 7001 | tee "$lab_dir/explain.txt"
check "'explain' names both" grep -q "leaves as: 10.88.1.100 or 10.88.1.101$" "$lab_dir/explain.txt"
check "'nat' has it" grep -q "$own:" <(ts alice nat --client "$(ip4 bob)")

say "the LAN by another name"
wait_reach bob 10.9.0.2
check "TCP" is_seen bob 10.9.0.3 "$own"
check "a host there calls, and is known by it" wait_for 5 is_seen alice-lan "$(ip4 bob)" 10.9.0.2
check "UDP of 4000 bytes" wait_for 5 traffic bob whole 10.9.0.2 9000 4000
check "a closed port is told of" wait_for 5 traffic bob refused 10.9.0.2 9999
ts alice explain bob 10.9.0.2 tcp 7001 | tee "$lab_dir/explain.txt"
check "'explain' says where to" grep -q "translated: to 10.88.1.2 (remap)" "$lab_dir/explain.txt"

say "ports for one destination"
listener dependent 10.88.1.2 10.88.1.3
as=$(seen_as dependent 10.88.1.2)
check "of the pool: $as" is_of_pool "$as"
for _ in 1 2 3; do
	tell alice-lan 10.88.1.3 "$as" stranger
	tell carol "$(ip4 carol)" "$as" hairpin
done
sleep 1
check "a stranger is not heard" eval '! heard dependent stranger'
check "nor another peer" eval '! heard dependent hairpin'

say "for all destinations, under a stream"
start stream bob "$lab_top/tests/net/traffic.py" stream 10.9.0.2 9000 "$lab_dir/stream.count"
wait_for 5 test -s "$lab_dir/stream.count"
sleep 0.5
configure "$pool" "$remap" "$independent"
show alice reload
listener independent 10.88.1.2 10.88.1.3
as=$(seen_as independent 10.88.1.2)
check "one for both: $as" test "$(seen_as independent 10.88.1.3)" = "$as"
check "a stranger is heard" wait_for 5 told independent alice-lan 10.88.1.3 "$as" stranger
check "so is another peer" wait_for 5 told independent carol "$(ip4 carol)" "$as" hairpin
check "which is known by an outside address" is_of_pool "$(awk '$2 == "hairpin" { print $1 }' "$lab_dir/independent.txt"):"
check "the old socket is as closed as before" eval '! told dependent carol "$(ip4 carol)" "$(seen_as dependent 10.88.1.2)" again'

stop stream INT
read -r sent got <"$lab_dir/stream.count"
check "the stream lost nothing: $sent sent, $got answered" test $((sent - got)) -le 2

say "without the pool and the other name"
configure
show alice reload
wait_for 10 is_seen carol 10.88.1.2 10.88.1.1
check "the other name is nobody's" silent carol 10.9.0.2
