#!/usr/bin/env bash
# A preshared key: with the same on both sides packets pass, with two different ones none does.
# timeout: 60
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

up() { # PSK_A PSK_B
	lab_hosts
	add_peer gwa gwb 192.0.2.2:41641 10.2.0.0/24,10.99.2.1/32 0 "$1"
	add_peer gwb gwa 192.0.2.1:41641 10.1.0.0/24,10.99.1.1/32 0 "$2"
	gateway_start gwa "$dut"
	gateway_start gwb "$peer_kind"
}

lab_begin
need_kind "$dut" "$peer_kind"
psk=$(wg genpsk)

say "the same key"
up "$psk" "$psk"
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless server 10.1.0.2 -f -c 50
lab_clear

say "two different keys"
up "$psk" "$(wg genpsk)"
refuse on client ping -c 3 -W 1 10.2.0.2
refuse on server ping -c 3 -W 1 10.1.0.2
refuse has_session gwb gwa
lab_clear

say "a key on one side only"
up "$psk" ""
refuse on client ping -c 3 -W 1 10.2.0.2
