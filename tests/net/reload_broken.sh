#!/usr/bin/env bash
# A broken file on reload changes nothing and says file, line and key: by command, with its exit
# code, and by signal. What cannot change while running says so. Key files that others can read are
# refused, at the start too.
# timeout: 60
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

status() { tailgate_cli gwa status --json | jq -c "$1"; }

line_of() { grep -n "$1" "$lab_dir/gwa.conf" | head -1 | cut -d: -f1; }

# refused WHAT PATTERN: the configuration as it stands, with a line that holds PATTERN
refused() {
	local code=0
	failures=$((failures + 1))
	tailgate_cli gwa reload >"$lab_dir/said" 2>&1 || code=$?
	sed 's/^/  /' "$lab_dir/said"
	check "$1: exit code $code" test $code = 1
	check "$1: file, line, key" grep -qE "$2" "$lab_dir/said"
	code=0
	in_ns gwa "$(program tailgated)" --check "$lab_dir/gwa.conf" >"$lab_dir/said" 2>&1 || code=$?
	check "$1: --check says the same, exit code $code" test $code = 1
	check "$1: --check names it" grep -qE "$2" "$lab_dir/said"
	check "$1: counted" test "$(status .reload_failures)" = $failures
	check "$1: kept for the status" grep -qE "$2" < <(status .last_reload_error)
	check "$1: nothing changed" test "$(status '[.peers[].allowed_ips, .public_key, .listen_port]')" = "$before"
	render gwa
}

lab_begin
[[ $dut == tailgate ]] || skip "tailgate.conf is Tailgate's"
need_kind tailgate wireguard-go
lab_up tailgate wireguard-go
conf=$lab_dir/gwa.conf
before=$(status '[.peers[].allowed_ips, .public_key, .listen_port]')
ping_begin beside client 10.2.0.2

say "by signal"
echo 'nonsense = 1;' >>"$conf"
line=$(grep -n nonsense "$conf" | cut -d: -f1)
kill -HUP "${lab_pid[gwa]}"
wait_for 5 grep -qE "error reload: nothing changed: .*gwa.conf:$line:.*nonsense" "$lab_dir/gwa.log"
failures=1
render gwa

say "mistakes"
sed -i 's/allowed_ips = .*/allowed_ips = [ "10.2.0.0\/33" ];/' "$conf"
refused "a prefix" "gwa.conf:$(line_of 10.2.0.0):.*allowed_ips"
sed -i 's/^mtu = 1420/mtuu = 1420/' "$conf"
line=$(grep -n mtuu "$conf" | cut -d: -f1)
refused "an unknown key" "gwa.conf:$line:.*mtuu.*mtu"
sed -i 's/^mtu = 1420/mtu = 10/' "$conf"
refused "out of range" "gwa.conf:[0-9]+:.*mtu.*576"
sed -i 's/public_key = "./public_key = "/' "$conf"
refused "a key of a wrong length" "gwa.conf:[0-9]+:.*public_key"
echo 'peers = (' >>"$conf"
refused "the syntax" "gwa.conf:[0-9]+:"
: >"$conf"
refused "an empty file" "gwa.conf.*private_key"
mv "$conf" "$conf.away"
refused "no file" "gwa.conf"

say "secrets that others can read"
chmod 644 "$lab_dir/gwa.key"
refused "the key file" "gwa.conf:[0-9]+:.*private_key_file.*(chmod|600|others)"
chmod 640 "$lab_dir/gwa.key"
refused "to the group" "gwa.conf:[0-9]+:.*private_key_file.*(chmod|600|others)"
code=0
in_ns gwb timeout 10 "$(program tailgated)" --config "$conf" >"$lab_dir/said" 2>&1 || code=$?
check "it does not start with such a key either ($code)" test $code = 1
chmod 600 "$lab_dir/gwa.key"
sed -i "s|^private_key_file.*|private_key = \"$(cat "$lab_dir/gwa.key")\";|" "$conf"
chmod 644 "$conf"
refused "the key in a file that all can read" "gwa.conf.*private_key"
chmod 600 "$conf"

say "a sound file is taken again"
render gwa
run tailgate_cli gwa reload
check "the error is history" test "$(status .last_reload_error)" = '""'
ping_end beside
ping_lossless server 10.1.0.2 -f -c 50

say "without a daemon"
gateway_stop gwa
code=0
tailgate_cli gwa reload >"$lab_dir/said" 2>&1 || code=$?
cat "$lab_dir/said"
check "reload fails with $code and names the socket" test $code -ne 0
check "it names the socket" grep -q 'gwa.sock' "$lab_dir/said"
