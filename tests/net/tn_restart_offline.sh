#!/usr/bin/env bash
# Restarts while the coordination server is away: with the netmap from the disk the node comes up and
# forwards, after an orderly end and after a kill at any moment. (The real client keeps its netmap
# when the policy says cache-network-maps.)
# timeout: 150
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet ---- bob ---- bob-lan
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

forwards() { # what must work at any time
	wait_reach alice "$(ip4 bob)" 30
	both_ways alice bob
	pings_lossless '-c 10 -i 0.05 -W 2' "alice-lan 10.88.2.2" "bob-lan 10.88.1.2"
}

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_policy <<'JSON'
{
	"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
	"nodeAttrs": [{"target": ["*"], "attr": ["cache-network-maps"]}]
}
JSON
# Without the server nobody would hear of a home that moves.
drop_stun alice 902
drop_stun bob 902
tn_node alice "$dut" none --advertise-routes=10.88.1.0/24
tn_node bob "$peer_kind" none --advertise-routes=10.88.2.0/24
approve alice 10.88.1.0/24
approve bob 10.88.2.0/24
wait_reach alice-lan 10.88.2.2
forwards

say "headscale goes away"
stop headscale KILL
forwards

say "alice ends and starts"
stop alice
tn_daemon alice "$dut"
begin=$(now_ms)
forwards
echo "it forwarded after $(($(now_ms) - begin)) ms"
check "alice is Running" backend_state alice Running
show alice status

say "alice is killed, five times"
for _ in {1..5}; do
	stop alice KILL
	tn_daemon alice "$dut"
	sleep "0.$((RANDOM % 10))"
done
forwards

say "headscale is back"
headscale_start
# Headscale takes the routes of a node away until it has heard of it.
wait_for 60 online bob alice
wait_for 60 online alice bob
wait_reach alice-lan 10.88.2.2
wait_reach bob-lan 10.88.1.2
forwards
