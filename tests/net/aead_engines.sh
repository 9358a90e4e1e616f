#!/usr/bin/env bash
# Each implementation of ChaCha20-Poly1305 that the configuration can name seals and opens for a stock
# peer, in pings of every kind of length and in streams; status says which one runs. One that this CPU
# does not run is refused, and the line says what to write.
# timeout: 60
# sanitizer: no
#
#   client ---- gwa (tailgate, aead = one after the other) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

runs_here() { # ENGINE
	case $1 in
	avx512) grep -qw avx512ifma /proc/cpuinfo && grep -qw avx512vl /proc/cpuinfo && grep -qw avx512bw /proc/cpuinfo ;;
	avx2) grep -qw avx2 /proc/cpuinfo ;;
	*) true ;;
	esac
}
refused() { # ENGINE
	render gwa
	local out
	if out=$(in_ns gwa timeout 20 "$(program tailgated)" --config "$lab_dir/gwa.conf" 2>&1); then fail "it started"; fi
	check "$1 is refused" grep -q "aead = \"$1\" cannot run here: use \"auto\"" <<<"$out"
}

lab_begin
[[ $dut == tailgate ]] || skip "the engines are Tailgate's"
need_kind tailgate wireguard-go
lab_hosts
lab_peers
gateway_start gwb wireguard-go
for engine in auto avx512 avx2 ipsec-mb libsodium; do
	say "$engine"
	gw_extra[gwa]="aead = \"$engine\";"
	if ! runs_here "$engine"; then
		refused "$engine"
		continue
	fi
	gateway_start gwa tailgate
	name=$(tailgate_cli gwa status --json | jq -r .aead)
	check "status says $name" test "$engine" = auto -o "$name" = "$engine"
	wait_for 15 in_ns client ping -c 1 -W 1 10.2.0.2
	for size in 0 1 15 16 47 48 512 1000 1392; do ping_lossless client 10.2.0.2 -f -c 20 -s $size; done
	transfer client server 10.2.0.2 20
	transfer server client fd01::2 20
	check "nothing was forged" test "$(tailgate_cli gwa stats --json | jq '[.drops[] | select(.name == "wg_auth").value] | add')" = 0
	stop gwa
done
