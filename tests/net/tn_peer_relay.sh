#!/usr/bin/env bash
# Two nodes between which no direct path exists go through a peer relay, a third node that the policy
# allows for it: pings, a stream, and the tunnel's MTU. When it ends, DERP takes over.
# timeout: 120
# sanitizer: no
#
#   alice (device under test) -- hard NAT --+-- inet --+-- hard NAT -- bob
#                                           +-- carol -+   (tailscaled, the relay)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
tn_policy <<'JSON'
{
	"grants": [
		{"src": ["*"], "dst": ["*"], "ip": ["*"]},
		{"src": ["100.64.0.1", "100.64.0.2"], "dst": ["100.64.0.3"], "app": {"tailscale.com/cap/relay": [{}]}}
	]
}
JSON
tn_node alice "$dut" hard
tn_node bob "$peer_kind" hard
wait_for 10 knows alice bob
wait_pong alice bob derp

say "carol offers to relay"
tn_node carol tailscaled
tailscale carol set --relay-server-port=40000
wait_for 10 knows alice carol
wait_pong alice bob relay 60
wait_pong bob alice relay 60
both_ways alice bob
check "alice's status names it" grep -q '^10.77.0.13:40000:vni:' <<<"$(peer_status alice bob .PeerRelay)"
show alice status
transfer alice bob "$(ip4 bob)" 10
transfer bob alice "$(ip6 alice)" 10
say "packets as long as the tunnel's MTU"
on alice ping -c 3 -i 0.1 -W 2 -M 'do' -s 1252 "$(ip4 bob)"
on bob ping -c 3 -i 0.1 -W 2 -M 'do' -s 1252 "$(ip4 alice)"

say "carol goes away"
stop carol KILL
wait_pong alice bob derp 60
both_ways alice bob
