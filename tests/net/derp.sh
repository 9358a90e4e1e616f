#!/usr/bin/env bash
# The pool of DERP connections against real derper: greetings with and without fast start, packets
# both ways, through a region that is nobody's home, a server killed and started again, a second
# node that takes over, wrong pins and names refused, a slow server that does not make memory grow.
# timeout: 120
#
#   alice ----+
#             +---- wan (bridge): derper 192.0.2.241 (region 901), .242 (902), .243 (903, no server)
#   bob ------+
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

region1=192.0.2.241 region2=192.0.2.242 nobody=192.0.2.243
declare -A talk_key=()

derper_start() { # ADDRESS: with the key and certificate it had before
	start "derper-$1" wan "$peers_bin/derper" -a "$1:443" -hostname "$1" -certmode manual \
		-certdir "$lab_dir/cert" -c "$lab_dir/$1.key" -http-port -1 -stun=false
	wait_for 15 answers "$1"
}
answers() { [[ $(in_ns wan ss -Hlnt "src $1 and sport = :443") ]]; }

pin() { # ADDRESS: what the DERP map says of its certificate
	echo "sha256-raw:$(openssl x509 -in "$lab_dir/cert/$1.crt" -outform der | sha256sum | cut -d' ' -f1)"
}

talk_start() { # NAME KEY REGION...
	mkfifo "$lab_dir/$1.fifo"
	# Opened for both, so that it does not end with the first writer.
	# shellcheck disable=SC2016 # expanded inside
	start "$1" "$1" bash -c 'exec "$0" "${@:2}" <>"$1"' \
		"$(program tests/net/derp_talk)" "$lab_dir/$1.fifo" "${@:2}"
	wait_for 5 grep -q '^key ' "$lab_dir/$1.log"
	talk_key[$1]=$(awk '/^key / {print $2}' "$lab_dir/$1.log")
}

tell() { # NAME COMMAND...
	echo "$1< ${*:2}"
	echo "${*:2}" >"$lab_dir/$1.fifo"
}

# heard NAME REGEX [COUNT]: it printed such a line, so many times; waits for it
heard() {
	wait_for 15 heard_now "$@"
	echo "ok $1: $(grep -E -- "$2" "$lab_dir/$1.log" | tail -1)"
}
heard_now() { (($(grep -cE -- "$2" "$lab_dir/$1.log") >= ${3:-1})); }

status_field() { # NAME REGION FIELD: now
	local n
	n=$(grep -c '^status' "$lab_dir/$1.log" || true)
	echo "status $2" >"$lab_dir/$1.fifo"
	wait_for 5 heard_now "$1" '^status' $((n + 1))
	grep '^status' "$lab_dir/$1.log" | tail -1 | grep -oE "(^| )$3=[^ ]*" | cut -d= -f2
}

lab_begin
[[ -x $peers_bin/derper ]] || skip "no derper: tests/peers tailnet says why"
program tests/net/derp_talk >/dev/null || skip "derp_talk is not built"
add_wan
for a in $region1 $region2 $nobody; do addr wan br "$a/24"; done
for name in alice bob; do
	add_ns $name
	add_to_wan $name wan
done
addr alice wan 192.0.2.1/24
addr bob wan 192.0.2.2/24
mkdir "$lab_dir/cert"
derper_start $region1
derper_start $region2
pin1=$(pin $region1) pin2=$(pin $region2)
map=("901=$region1@$pin1" "902=$region2@$pin2")

say "two nodes at home in two regions"
talk_start alice 1111111111111111111111111111111111111111111111111111111111111111 "${map[@]}"
talk_start bob 2222222222222222222222222222222222222222222222222222222222222222 "${map[@]}"
tell alice home 901
tell bob home 902
heard alice '^up 901'
heard bob '^up 902'
heard alice 'connected to 192.0.2.241.*fast start'

say "a packet goes to the peer's home, the answer comes on the same connection"
tell alice send 902 "${talk_key[bob]}" hello
heard alice '^up 902'
heard bob "^packet 902 ${talk_key[alice]} hello"
tell bob send 901 "${talk_key[alice]}" answer
heard alice "^packet 902 ${talk_key[bob]} answer"
check "bob did not dial region 901" test "$(status_field bob 901 connects)" = 0
tell bob send 903 "${talk_key[alice]}" lost-home
heard alice "^packet 902 ${talk_key[bob]} lost-home"

say "who is not there: the server says so of what looks like disco"
tell alice send 901 "${talk_key[bob]}" "TS💬$(printf 'x%.0s' {1..80})"
heard alice "^gone 901 ${talk_key[bob]} 1"
tell alice send 999 "${talk_key[alice]}" nowhere
heard alice '^sent -113'

say "the server is killed and started again"
stop "derper-$region1" KILL
heard alice '^down 901 '
tell alice send 901 "${talk_key[alice]}" waits
derper_start $region1
heard alice '^up 901' 2
heard alice "^packet 901 ${talk_key[alice]} waits"

say "more than the connection takes is dropped, and what was accepted arrives"
tell alice flood 902 "${talk_key[bob]}" 60000 1200
heard alice '^flooded '
read -r _ sent dropped < <(grep ^flooded "$lab_dir/alice.log" | tail -1)
check "$sent of 60000 accepted" test "$sent" -ge 1000
check "sent and dropped are all" test $((sent + dropped)) = 60000
tell alice send 902 "${talk_key[bob]}" behind-it
heard bob "^packet 902 ${talk_key[alice]} behind-it"
echo "   bob received $(status_field bob 902 received)"

say "a server that reads nothing: memory stays"
before=$(rss_kb "${lab_pid[alice]}")
kill -STOP "${lab_pid["derper-$region2"]}"
tell alice flood 902 "${talk_key[bob]}" 60000 1200
heard alice '^flooded ' 2
read -r _ sent dropped < <(grep ^flooded "$lab_dir/alice.log" | tail -1)
check "$dropped of 60000 dropped" test "$dropped" -ge 30000
grown=$(($(rss_kb "${lab_pid[alice]}") - before))
check "alice grew by $grown kB" test "$grown" -lt 16384
kill -CONT "${lab_pid["derper-$region2"]}"
wait_for 15 eval '(($(status_field alice 902 connected) == 1))'

say "wrong certificates are refused"
wrong=sha256-raw:$(printf '0%.0s' {1..64})
tell alice map "901=$region1@$wrong" "902=$region2@$pin2" "903=$nobody@$pin1,$region1@$pin1"
heard alice "^down 901 .*SHA-256 ${pin1#*:}, which is not"
check "not connected" test "$(status_field alice 901 connected)" = 0
tell alice map "901=$region1" "902=$region2@$pin2" "903=$nobody@$pin1,$region1@$pin1"
heard alice '^down 901 .*not trusted here'
check "not connected" test "$(status_field alice 901 connected)" = 0

say "the second node of a region, when the first is away"
tell alice home 903
heard alice '^up 903'
tell alice send 903 "${talk_key[alice]}" second
heard alice "^packet 903 ${talk_key[alice]} second"

say "the address goes: the connection is made anew from the other"
on alice ip addr del 192.0.2.1/24 dev wan
on alice ip addr add 192.0.2.7/24 dev wan
tell alice rebind
heard alice '^up 903' 2

say "nothing changed: a ping keeps the connection"
tell alice rebind
tell alice send 903 "${talk_key[alice]}" again
heard alice "^packet 903 ${talk_key[alice]} again"
check "it is the same" test "$(status_field alice 903 connects)" = 2

for name in alice bob; do
	tell $name quit
	wait "${lab_pid[$name]}" || fail "$name ended badly"
	unset "lab_pid[$name]"
done
