#!/usr/bin/env bash
# The cases of the kernel's self-test against boringtun, as their own files run them against
# wireguard-go (and, there, with the sanitizers). Without roaming.sh: boringtun's connected socket stays
# on the address that it chose, and boringtun 0.7.1 panics when a peer that it has gets an endpoint.
# timeout: 300
# sanitizer: no
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (boringtun) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

need_kind tailgate boringtun
export PEER=boringtun
# key_change waits for most of its time: it does so beside the others, each side in a lab of its own.
log=$(mktemp)
TAILGATE_LAB=$lab_id-k ./key_change.sh >"$log" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null && wait "$beside" || true; rm -f "$log"' EXIT
for case_ in allowed_ips_move keepalive_nat mtu psk routing_loop v4v6_combinations; do
	say "$case_ with boringtun"
	TAILGATE_LAB=$lab_id-c ./$case_.sh || fail "$case_"
done
say "key_change with boringtun"
status=0
wait "$beside" || status=$?
cat "$log"
check "key_change" test $status = 0
