#!/usr/bin/env bash
# The peerAPI: nodes ping each other's, and the device under test resolves names for those who may use
# it as exit node, however its policy stands to anything else. Pages in browsers, LAN hosts and ports
# beside it get nothing.
# timeout: 90
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet ---- bob, carol
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

api() { # NAME 4|6: base URL of its peerAPI, as alice's netmap or another's has it
	local asker=bob
	[[ $1 != bob ]] || asker=alice
	tailscale $asker whois --json "$(ip"$2" "$1")" |
		jq -r ".Node.Hostinfo.Services[]? | select(.Proto == \"peerapi$2\") | .Port" |
		sed "s|.*|http://$(url_host "$(ip"$2" "$1")"):&|"
}
has_api() { [[ $(api "$1" 4) == http* && $(api "$1" 6) == http* ]]; }
code() { # NAME URL [CURL ARGS...]: the HTTP status; 000: no answer
	in_ns "$1" curl -s -o "$lab_dir/body" --max-time 3 -w '%{http_code}' "${@:3}" "$2" || true
}
answers() { [[ $(code "$1" "$2" "${@:4}") == "$3" ]]; } # NAME URL STATUS [CURL ARGS...]
pongs() { ts "$1" ping --peerapi -c 1 --timeout 2s "$(ip4 "$2")" >"$lab_dir/pong.txt" 2>&1; }

# A query for bob.lab.test, type A, as base64url
query=AAABAAABAAAAAAAAA2JvYgNsYWIEdGVzdAAAAQAB

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_policy <<<'{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:7"]}]}'
tn_node alice "$dut" none --advertise-exit-node
tn_node bob "$peer_kind"
tn_node carol "$peer_kind"
approve alice 0.0.0.0/0,::/0
wait_for 10 knows alice bob
wait_for 10 has_api alice
wait_for 10 has_api bob
echo "alice: $(api alice 4) $(api alice 6)"
wait_pong alice bob direct

say "pings"
wait_for 10 pongs bob alice
cat "$lab_dir/pong.txt"
wait_for 10 pongs alice bob
cat "$lab_dir/pong.txt"

say "requests"
check "the front page" answers bob "$(api alice 4)/" 200
check "over IPv6" answers bob "$(api alice 6)/" 200
check "anything else" answers bob "$(api alice 4)/v0/put/x" 404
check "a page in a browser" answers bob "$(api alice 4)/" 403 -H "Origin: http://example.com"
check "a name that leads here" answers bob "$(api alice 4)/" 403 -H "Host: evil.example.com"
url=$(api alice 4)
check "the next port is shut" answers bob "${url%:*}:$((${url##*:} + 1))/" 000
check "from the LAN" answers alice-lan "$url/" 000
check "from the LAN, with a node's address" answers alice-lan "$url/" 000 --interface lan

say "names"
check "for the user's own nodes" answers bob "$url/dns-query?dns=$query" 200
check "it is an answer" test "$(od -An -tx1 -N4 "$lab_dir/body" | tr -d ' \n' | cut -c1-6)" = 000081
printf %s "$query" | tr -- '-_' '+/' | base64 -d 2>/dev/null >"$lab_dir/query"
check "by POST" answers bob "$url/dns-query" 200 --data-binary "@$lab_dir/query" \
	-H "Content-Type: application/dns-message"
check "by a name, for people" answers bob "$url/dns-query?q=bob.lab.test" 200
check "which is JSON" jq -e . "$lab_dir/body"
check "not of another type" answers bob "$url/dns-query" 415 --data-binary "@$lab_dir/query"

say "a new connection comes after many"
held=()
for _ in $(seq 12); do
	in_ns carol timeout 3 bash -c "exec 3<>/dev/tcp/$(ip4 alice)/${url##*:}; sleep 2" 2>/dev/null &
	held+=($!)
done
wait_for 5 eval '(($(in_ns carol ss -Hnt state established "dport = :${url##*:}" | wc -l) > 4))'
check "another peer is not kept out" answers bob "$url/" 200
wait "${held[@]}" || true
wait_for 5 answers carol "$url/" 200
