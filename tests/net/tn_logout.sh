#!/usr/bin/env bash
# down and up, logout and a new login: nothing passes in between, the server and the peer are told,
# and the same machine gets its address again.
# timeout: 90
# sanitizer: no
#
#   alice (device under test) ---- inet ---- bob
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

expired() { [[ $(headscale_node "$1" '.expiry != null') == true ]]; }

tn_pair

say "down"
show alice down
check "alice is Stopped" backend_state alice Stopped
check "bob does not reach alice" silent bob "$(ip4 alice)"
wait_for 30 offline bob alice
refuse show alice status

say "up, with nothing said again"
show alice up
wait_for 20 online bob alice
both_ways alice bob

refuse expired alice

say "logout"
key=$(node_status alice .Self.PublicKey)
show alice logout
wait_for 10 backend_state alice NeedsLogin
check "bob does not reach alice" silent bob "$(ip4 alice)"
wait_for 20 expired alice
stop alice
tn_daemon alice "$dut"
check "a restart does not bring it back" backend_state alice NeedsLogin

say "a new login"
tn_up alice --accept-routes --accept-dns=false
wait_for 20 backend_state alice Running
check "the key is a new one" test "$(node_status alice .Self.PublicKey)" != "$key"
check "the address is the old one" test "$(tailscale alice ip -4)" = "$(ip4 alice)"
both_ways alice bob
