#!/usr/bin/env bash
# An idle gateway uses under 2 % of one core and under 150 MB.
# timeout: 60
# sanitizer: no
# alone: yes
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

lab_begin
lab_up "$dut" wireguard-go
sleep 2 # until the handshake's aftermath is over; then time itself is what is measured
before=$(cpu_ticks "${lab_pid[gwa]}")
sleep 10
ticks=$(($(cpu_ticks "${lab_pid[gwa]}") - before))
rss=$(rss_kb "${lab_pid[gwa]}")
hz=$(getconf CLK_TCK)
echo "CPU $((ticks * 1000 / hz)) ms in 10 s, RSS $((rss / 1024)) MB"
check "under 2 % of a core" test $((ticks * 1000 / hz)) -lt 200
check "under 150 MB" test "$rss" -lt 150000
check "and it still wakes up" ping_lossless client 10.2.0.2 -f -c 50
