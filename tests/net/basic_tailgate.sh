#!/usr/bin/env bash
# Two Tailgates: handshake in both roles, ping, TCP, UDP, 200 MB unchanged.
# timeout: 120
#
#   client ---- gwa (tailgate) ==== wan ==== gwb (tailgate) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh
# shellcheck source=tests/net/basic.bash
source ./basic.bash

basic_tests "$dut"
