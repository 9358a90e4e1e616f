#!/usr/bin/env bash
# A peer that restarts with its key is back at once; one that takes another key is out until the
# other side knows it; both sides can change keys. A restart of the device under test too.
# timeout: 120
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

lab_begin
lab_up "$dut" "$peer_kind"

say "the peer restarts with the same key and calls"
gateway_stop gwb
gateway_start gwb "$peer_kind"
wait_for 15 in_ns server ping -c 1 -W 1 10.1.0.2
ping_lossless client 10.2.0.2 -f -c 50

say "the peer restarts and stays silent: we notice and call again"
gateway_stop gwb
gateway_start gwb "$peer_kind"
wait_for 30 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless client 10.2.0.2 -f -c 50

say "the peer takes another key that we do not know"
make_key gwb
on gwb wg set "${gw_dev[gwb]}" private-key "$lab_dir/gwb.key"
refuse on server ping -c 3 -W 1 10.1.0.2

say "now we do"
rm "$lab_dir/gwa.peers"
add_peer gwa gwb 192.0.2.2:41641 10.2.0.0/24,fd02::/64,10.99.2.1/32
gateway_reload gwa
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless server 10.1.0.2 -f -c 50

say "the device under test restarts"
gateway_stop gwa
gateway_start gwa "$dut"
wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
ping_lossless server 10.1.0.2 -f -c 50

say "its endpoint is restored by a peer that still has the old session"
gateway_stop gwa
gateway_start gwa "$dut"
wait_for 30 in_ns server ping -c 1 -W 1 10.1.0.2
ping_lossless client 10.2.0.2 -f -c 50
