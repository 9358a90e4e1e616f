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
for case_ in allowed_ips_move keepalive_nat key_change mtu psk routing_loop v4v6_combinations; do
	say "$case_ with boringtun"
	PEER=boringtun ./$case_.sh || fail "$case_"
done
