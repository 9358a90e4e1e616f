#!/usr/bin/env bash
# The server expires the node's key: no packet passes any more and the status says why; a new login
# with a key brings the same node back. A login before the key expires breaks no TCP stream.
# timeout: 120
# sanitizer: no
#
#   alice (device under test) ---- inet ---- bob
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

node_key() { node_status "$1" .Self.PublicKey; }
expires() { headscale nodes expire -i "$(headscale_node alice .id)" "$@" >/dev/null; }

tn_pair
key=$(node_key alice)

say "a new key while a stream runs"
head -c 200K /dev/urandom >"$lab_dir/part"
start sink bob socat -u TCP-LISTEN:7000,reuseaddr "CREATE:$lab_dir/received"
wait_for 5 listening bob 7000
start source alice bash -c "for i in {1..100}; do cat $lab_dir/part; sleep 0.05; done | socat -u - TCP:$(ip4 bob):7000"
sleep 1
tn_up alice --accept-routes --accept-dns=false --force-reauth
check "the key is a new one" test "$(node_key alice)" != "$key"
check "the address is the old one" test "$(tailscale alice ip -4)" = "$(ip4 alice)"
wait "${lab_pid[source]}" "${lab_pid[sink]}"
unset "lab_pid[source]" "lab_pid[sink]"
check "the stream arrived unchanged" cmp "$lab_dir/received" <(for _ in {1..100}; do cat "$lab_dir/part"; done)
both_ways alice bob

say "headscale expires the key"
expires
wait_for 20 backend_state alice NeedsLogin
show alice status 2>&1 || true
wait_for 20 silent bob "$(ip4 alice)"
check "alice does not reach bob" silent alice "$(ip4 bob)"
check "bob knows" test "$(peer_status bob alice .Expired)" = true

say "and a new login"
key=$(node_key alice)
tn_up alice --accept-routes --accept-dns=false --force-reauth
wait_for 20 backend_state alice Running
check "the key is a new one" test "$(node_key alice)" != "$key"
check "the address is the old one" test "$(tailscale alice ip -4)" = "$(ip4 alice)"
both_ways alice bob

say "a time of expiry passes by itself"
expires -e "$(date -u -d '+12 seconds' +%FT%TZ)"
both_ways alice bob
wait_for 30 backend_state alice NeedsLogin
wait_for 20 silent bob "$(ip4 alice)"
