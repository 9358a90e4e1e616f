#!/usr/bin/env bash
# A configuration without ports: Tailgate works on the interface of the default route, for the host
# itself.
# timeout: 60
#
#   gwa (tailgate, no ports, default route via wan) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

lab_begin
[[ $dut == tailgate ]] || skip "other gateways have no ports"
need_kind tailgate wireguard-go
lab_hosts
lab_peers
gw_ports[gwa]=''

say "without a default route it says what is missing"
gw_kind[gwa]=tailgate
render gwa
if in_ns gwa timeout 10 "$(program tailgated)" --config "$lab_dir/gwa.conf" >"$lab_dir/refusal" 2>&1; then
	fail "it started without ports and default route"
fi
cat "$lab_dir/refusal"
check "it says so" grep -q 'no default route.*add ports' "$lab_dir/refusal"

say "with one, it takes that interface"
run ip -n "$lab_id-gwa" route add default via 192.0.2.254
gateway_start gwa tailgate
gateway_start gwb wireguard-go
check "the port is wan, shared" jq -e '[.ports[] | select(.kind == "shared") | .device] == ["wan"]' \
	< <(tailgate_cli gwa status --json) >/dev/null
wait_for 15 in_ns gwa ping -c 1 -W 1 -I 10.99.1.1 10.99.2.1
ping_lossless gwa 10.2.0.2 -f -c 50
ping_lossless gwa fd02::2 -f -c 50
ping_lossless gwb 10.99.1.1 -f -c 50 -I 10.99.2.1
