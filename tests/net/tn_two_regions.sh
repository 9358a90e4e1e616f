#!/usr/bin/env bash
# The two nodes have their homes in different DERP regions: each sends to the home of the other. The
# home of one moves to the other region when its own gets slow to answer.
# timeout: 120
# sanitizer: no
#
#   alice (device under test), home 901 ---- inet ---- bob, home 902, no UDP between them
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

knows_home() { [[ $(peer_status "$1" "$2" .Relay) == "$3" ]]; } # NAME PEER CODE

tn_two_homes
show alice status
wait_pong alice bob derp
check "alice sends to 902" grep -q 'DERP(lab902)' "$lab_dir/pong.txt"
wait_pong bob alice derp
check "bob sends to 901" grep -q 'DERP(lab901)' "$lab_dir/pong.txt"
both_ways alice bob
transfer alice bob "$(ip4 bob)" 5
transfer bob alice "$(ip4 alice)" 5

say "STUN of 901 no longer answers alice, that of 902 does"
drop_nothing
drop_stun alice 901
wait_home alice lab902 90
wait_for 10 knows_home bob alice lab902
both_ways alice bob
wait_pong bob alice derp
check "bob sends to 902 now" grep -q 'DERP(lab902)' "$lab_dir/pong.txt"
