#!/usr/bin/env bash
# A DERP map of one's own with a region that is null and others that are of no use: the nodes take
# the good ones. Then the home itself becomes null while they run: they move, and packets pass.
# timeout: 120
# sanitizer: no
#
#   alice (device under test), home 901 ---- inet ---- bob, home 902, no UDP between them
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

regions_of() { tailscale "$1" debug derp-map | jq -r '.Regions | keys | join(" ")'; }
regions_are() { [[ $(regions_of "$1") == "$2" ]]; }

tn_regions='  903: null
  904: {regionid: 904, regioncode: empty, regionname: no nodes, nodes: []}
  905:
    regionid: 905
    regioncode: dead
    regionname: nobody answers
    nodes:
      - {name: "905a", regionid: 905, hostname: "10.77.0.99", ipv4: "10.77.0.99"}'
tn_derp_update=2s
tn_two_homes
check "alice knows four regions, none of them null" regions_are alice "901 902 904 905"
wait_pong alice bob derp
both_ways alice bob

say "the home of alice, 901, becomes null"
sed "/^  901:/,/^      -/d" "$lab_dir/derp.yaml" >"$lab_dir/derp.new"
echo "  901: null" >>"$lab_dir/derp.new"
mv "$lab_dir/derp.new" "$lab_dir/derp.yaml"
drop_nothing
wait_for 20 regions_are alice "902 904 905"
wait_home alice lab902 60
wait_pong bob alice derp
check "over 902" grep -q "DERP(lab902)" "$lab_dir/pong.txt"
both_ways alice bob
