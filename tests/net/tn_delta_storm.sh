#!/usr/bin/env bash
# Peers come, change their names, expire and go, a hundred at a time and as fast as headscale goes:
# what the node knows in the end is what headscale knows, and no ping to another peer is lost.
# timeout: 150
# sanitizer: no
#
#   alice (device under test) ---- inet ---- bob, and 100 nodes that exist in headscale only
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

n=100

each() { # COMMAND...: for the IDs of the nodes that are no real ones, two at a time
	headscale nodes list -o json | jq '.[] | select(.given_name | test("^(storm|calm)")) | .id' |
		xargs -P 2 -I {} "$@"
}
create() { # I
	local id
	id=hskey-authreq-$(printf '%024d' "$1")
	headscale debug create-node -u lab --name "storm$1" -k "$id" && headscale auth register -u lab --auth-id "$id"
}
export -f create headscale
export peers_bin lab_dir

known_to_headscale() {
	headscale nodes list -o json |
		jq -r '.[] | select(.given_name != "alice") | "\(.given_name) \(.ip_addresses | sort | join(" "))"' | sort
}
known_to_alice() {
	node_status alice '.Peer[]? | "\(.DNSName | split(".")[0]) \(.TailscaleIPs | sort | join(" "))"' | sort
}
agree() { [[ $(known_to_alice) == "$(known_to_headscale)" ]]; }
expired_peers() { node_status alice '[.Peer[]? | select(.Expired)] | length'; }
all_expired() { (($(expired_peers) == n)); }

settle() { # WHAT: until both know the same
	local begin
	begin=$(now_ms)
	wait_for 30 agree
	echo "$1: alice knows the same $(known_to_alice | wc -l) peers as headscale ($(($(now_ms) - begin)) ms later)"
}

tn_pair
tn_settle bob
ping_begin beside alice "$(ip4 bob)" 0.01
rss=$(rss_kb "${lab_pid[alice]}")

say "$n come"
seq $n | xargs -P 2 -I {} bash -c 'create {}' >/dev/null
check "$n are there" test "$(known_to_headscale | grep -c ^storm)" = $n
settle come

say "they get other names"
each "$peers_bin/headscale" -c "$lab_dir/headscale.yaml" nodes rename -i {} calm{} >/dev/null
settle renamed
check "by their new names" test "$(known_to_alice | grep -c ^calm)" = $n

say "they expire"
each "$peers_bin/headscale" -c "$lab_dir/headscale.yaml" nodes expire -i {} >/dev/null
settle expired
wait_for 10 all_expired

say "half of them go, and come again"
each bash -c '(({} % 2)) || "$peers_bin/headscale" -c "$lab_dir/headscale.yaml" --force nodes delete -i {}' >/dev/null
settle half
seq $((n + 1)) $((n + n / 2)) | xargs -P 2 -I {} bash -c 'create {}' >/dev/null
settle again

say "all go"
each "$peers_bin/headscale" -c "$lab_dir/headscale.yaml" --force nodes delete -i {} >/dev/null
settle gone
check "only bob is left" test "$(known_to_alice | wc -l)" = 1
ping_end beside
both_ways alice bob
echo "resident memory of alice: $rss kB before, $(rss_kb "${lab_pid[alice]}") kB after"
