#!/usr/bin/env bash
# A wg-quick file becomes tailgate.conf, passes the check and carries the tunnel with the peer that
# knew the same keys before.
# timeout: 60
#
#   client ---- gwa (wireguard-go, then tailgate) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

wg_quick_file() {
	cat <<-CONF
		# site A
		[Interface]
		Address = 10.99.1.1/32, fd99::1:1/128
		PrivateKey = $(cat "$lab_dir/gwa.key")
		ListenPort = 41641
		MTU = 1420
		PostUp = touch $lab_dir/must-not-run

		[Peer]
		PublicKey = $(cat "$lab_dir/gwb.pub")
		PresharedKey = $psk
		AllowedIPs = 10.2.0.0/24, fd02::/64
		AllowedIPs = 10.99.2.1/32, fd99::2:1/128
		Endpoint = 192.0.2.2:41641
		PersistentKeepalive = 25
	CONF
}

lab_begin
[[ $dut == tailgate ]] || skip "tailgate import is Tailgate's"
need_kind tailgate wireguard-go
tailgate=$(program tailgate)
lab_hosts
psk=$(wg genpsk)
add_peer gwa gwb 192.0.2.2:41641 10.2.0.0/24,fd02::/64,10.99.2.1/32,fd99::2:1/128 25 "$psk"
add_peer gwb gwa 192.0.2.1:41641 10.1.0.0/24,fd01::/64,10.99.1.1/32,fd99::1:1/128 0 "$psk"

say "before: wireguard-go on both sides"
gateway_start gwa wireguard-go
gateway_start gwb wireguard-go
lab_ready
stop gwa

say "the import"
rm "$lab_dir/gwa.conf" # wireguard-go's
(umask 077 && wg_quick_file >"$lab_dir/wg0.conf")
run "$tailgate" import --output "$lab_dir/gwa.conf" --key-file "$lab_dir/imported.key" "$lab_dir/wg0.conf" \
	2> >(tee "$lab_dir/said" >&2)
check "what has no equivalent is named" grep -q PostUp "$lab_dir/said"
check "its commands were not run" test ! -e "$lab_dir/must-not-run"
check "the key file is nobody else's" test "$(stat -c %a "$lab_dir/imported.key")" = 600
check "the configuration is nobody else's" test "$(stat -c %a "$lab_dir/gwa.conf")" = 600
refuse grep -qF "$(cat "$lab_dir/gwa.key")" "$lab_dir/gwa.conf"
refuse "$tailgate" import --output "$lab_dir/gwa.conf" "$lab_dir/wg0.conf"
on gwa "$(program tailgated)" --check "$lab_dir/gwa.conf"

say "after: Tailgate with what was imported, and the ports that wg-quick does not know"
cat >>"$lab_dir/gwa.conf" <<-CONF
	socket = "$lab_dir/gwa.sock";
	$shared_ports
CONF
on gwa "$(program tailgated)" --check "$lab_dir/gwa.conf"
gw_kind[gwa]=tailgate
start gwa gwa "$(program tailgated)" --config "$lab_dir/gwa.conf"
gateway_wait gwa tailgate_cli gwa status --json
lab_ready
ping_lossless server 10.1.0.2 -f -c 50
ping_lossless gwa 10.99.2.1 -c 3 -i 0.02 -I 10.99.1.1
check "the same public key" test \
	"$(tailgate_cli gwa status --json | jq -r .public_key)" = "$(cat "$lab_dir/gwa.pub")"
check "the preshared key is in use" test "$(tailgate_peer gwa gwb .preshared_key)" = true
check "the keepalive too" test "$(tailgate_peer gwa gwb .keepalive_s)" = 25
transfer client server 10.2.0.2 20
