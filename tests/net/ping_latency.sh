#!/usr/bin/env bash
# A ping through an idle gateway takes at most 150 microseconds longer (median), each gateway; on a
# slow machine at most twice what it takes without any.
# timeout: 60
# sanitizer: no
# alone: yes
#
#   client ---- gwa (tailgate or none) ==== wan ==== gwb (tailgate or none) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

median_us() { # KIND
	lab_up "$1" "$1" >/dev/null
	in_ns client ping -i 0.02 -c 200 10.2.0.2 |
		sed -nE 's/.* time=([0-9.]+) ms$/\1/p' | sort -n |
		awk '{t[NR] = $1} END {printf "%d\n", (NR ? t[int((NR + 1) / 2)] : 1e6) * 1000}'
}

lab_begin
need_kind "$dut"
median_us none >"$lab_dir/none"
lab_clear
median_us "$dut" >"$lab_dir/dut"
lab_clear
plain=$(cat "$lab_dir/none") through=$(cat "$lab_dir/dut")
echo "median: no tunnel $plain us, two gateways $through us"
# The request and the answer each pass both gateways: four times in all, two each.
limit=$((2 * plain > 150 ? 2 * plain : 150)) # a slow machine's pings are slow without any tunnel, too
check "at most $limit us more for each gateway" test $(((through - plain) / 2)) -le $limit
