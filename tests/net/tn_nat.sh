#!/usr/bin/env bash
# Each pairing of no, an easy and a hard NAT: direct where a hole can be made, over DERP where not,
# and packets pass in any case.
# timeout: 150
#
#   a_none ---------+            +--------- b_none
#   a_easy -- nat --+--- inet ---+-- nat -- b_easy
#   a_hard -- nat --+            +-- nat -- b_hard
#   (device under test)                  (tailscaled)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

# Two hard NATs, or a hard and an easy one: the real client gives up. Tailgate may find a way.
pair() { # NAT_A NAT_B
	local a=a$1 b=b$2
	if [[ $1$2 == *hard* && $1$2 != *none* ]]; then
		wait_pong "$a" "$b" any
	else
		wait_pong "$a" "$b" direct
		wait_pong "$b" "$a" direct
	fi
	wait_reach "$a" "$(ip4 "$b")"
	pings_lossless '-c 10 -i 0.05 -W 2' "$a $(ip4 "$b")" "$b $(ip6 "$a")"
}

lab_begin
need_node "$dut" "$peer_kind"
tn_begin
for nat in none easy hard; do
	tn_node a$nat "$dut" $nat
	tn_node b$nat "$peer_kind" $nat
done
for nat_a in none easy hard; do
	for nat_b in none easy hard; do
		say "$nat_a and $nat_b"
		wait_for 10 online a$nat_a b$nat_b
		pair $nat_a $nat_b
	done
done
show anone status
show ahard status

say "what each says about its NAT"
for nat in none easy hard; do
	varies=false
	[[ $nat != hard ]] || varies=true
	show a$nat netcheck >"$lab_dir/netcheck.txt" 2>&1
	grep -E 'UDP:|IPv4:|MappingVaries' "$lab_dir/netcheck.txt"
	check "$nat NAT, mapping varies: $varies" grep -q "MappingVariesByDestIP: $varies" "$lab_dir/netcheck.txt"
done
