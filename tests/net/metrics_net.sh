#!/usr/bin/env bash
# OpenMetrics over TCP: well-formed, counters of peers and ports rise with the traffic and agree with
# the status; other paths and half a request are answered or ended, and harm nobody.
# timeout: 60
#
#   client ---- gwa (tailgate, metrics on 10.1.0.1:9641) ==== wan ==== gwb (wireguard-go) ---- server
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/lib.sh
source ./lib.sh

http() { # PATH: over TCP from the client, which closes its half at once; head and body
	printf 'GET %s HTTP/1.0\r\nHost: gwa\r\n\r\n' "$1" |
		in_ns client timeout 5 socat -t 5 - TCP:10.1.0.1:9641
}

value() { # LINE_START: of the metrics
	http /metrics | tr -d '\r' | awk -v start="$1" 'index($0, start) == 1 {print $NF}'
}

at_least() { awk -v a="$1" -v b="$2" 'BEGIN {exit !(a >= b)}'; }

lab_begin
[[ $dut == tailgate ]] || skip "the metrics are Tailgate's"
need_kind tailgate wireguard-go
gw_extra[gwa]='metrics = "10.1.0.1:9641";'
lab_up tailgate wireguard-go

say "the text"
http /metrics | tr -d '\r' >"$lab_dir/metrics"
head -12 "$lab_dir/metrics"
check "status 200" grep -q '^HTTP/1.[01] 200' "$lab_dir/metrics"
check "OpenMetrics by its type" grep -qi '^content-type: application/openmetrics-text; version=1.0.0' "$lab_dir/metrics"
check "it ends as it must" test "$(tail -1 "$lab_dir/metrics")" = "# EOF"
sed '1,/^$/d' "$lab_dir/metrics" >"$lab_dir/body"
check "each line is a comment or a sample" test -z \
	"$(grep -vE '^# (TYPE|UNIT|HELP|EOF)|^[a-z_0-9]+(\{.*\})? -?[0-9.e+]+$' "$lab_dir/body")"
check "no sample comes twice" test -z "$(grep -v '^#' "$lab_dir/body" | sed 's/ [^ ]*$//' | sort | uniq -d)"
check "no family comes twice" test -z "$(grep '^# TYPE' "$lab_dir/body" | sort | uniq -d)"

say "counters rise with the traffic"
key="public_key=\"$(cat "$lab_dir/gwb.pub")\""
sent="wireguard_sent_bytes_total{interface=\"tailgate0\",$key"
received="wireguard_received_bytes_total{interface=\"tailgate0\",$key"
s0=$(value "$sent") r0=$(value "$received")
transfer client server 10.2.0.2 10
s1=$(value "$sent") r1=$(value "$received")
echo "sent $s0, $s1; received $r0, $r1"
check "10 MB more sent" at_least "$s1" $((s0 + 10 * 1048576))
check "and their overhead is no more than a tenth" at_least $((s0 + 11 * 1048576 + 524288)) "$s1"
check "acknowledgements received" at_least "$r1" $((r0 + 1000))
as_the_status() { [[ $(value "$sent") == "$(tailgate_peer gwa gwb .tx_bytes)" ]]; }
check "it is what the status says" wait_for 5 as_the_status
check "the peer is up" test "$(value "tailgate_peer_up{interface=\"tailgate0\",$key")" = 1
handshake=$(value "wireguard_latest_handshake_seconds{interface=\"tailgate0\",$key")
check "the handshake was just now" at_least "$handshake" $(($(date +%s) - 60))
check "drops are there by reason" grep -q 'wg_replay' "$lab_dir/body"
check "the ports are there by name" grep -q '"wan"' "$lab_dir/body"

say "what is no request for metrics"
check "another path: 404" grep -q '^HTTP/1.[01] 404' < <(http /nothing)
in_ns client socat -t 1 - TCP:10.1.0.1:9641 < <(head -c 100000 /dev/urandom) >/dev/null 2>&1 || true
printf 'GET /met' | in_ns client socat -t 1 - TCP:10.1.0.1:9641 >/dev/null 2>&1 || true
for i in {1..20}; do start "idle$i" client socat -u TCP:10.1.0.1:9641 STDOUT; done
check "twenty idle connections do not keep others out" grep -q '^# EOF' < <(http /metrics)
for i in {21..40}; do start "idle$i" client socat -u TCP:10.1.0.1:9641 STDOUT; done
check "nor do forty, of which the oldest have to go" grep -q '^# EOF' < <(http /metrics)
ended=$(value 'tailgate_ctl_connections_ended_total{reason="displaced"}')
check "which is counted" at_least "$ended" 1
for i in {1..40}; do stop "idle$i" || true; done
check "tailgate metrics prints the same families" test \
	"$(tailgate_cli gwa metrics | grep '^# TYPE')" = "$(grep '^# TYPE' "$lab_dir/body")"
ping_lossless client 10.2.0.2 -f -c 50
