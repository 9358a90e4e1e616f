# shellcheck shell=bash
# What two gateways must do for each other, whoever the peer is. Sourced by basic_*.sh.
# shellcheck disable=SC2154 # lib.sh's variables

basic_tests() { # PEER_KIND
	lab_begin
	need_kind "$dut" "$1"

	say "$dut begins the handshake"
	lab_up "$dut" "$1"
	wait_for 5 has_session gwa gwb
	wait_for 5 has_session gwb gwa # boringtun gives the session's age: 0 in its first second
	pings
	streams
	transfer client server 10.2.0.2 200
	transfer server client fd01::2 50
	lab_clear

	say "$dut answers"
	lab_hosts
	add_peer gwa gwb "" 10.2.0.0/24,fd02::/64,10.99.2.1/32,fd99::2:1/128
	add_peer gwb gwa "${wan4[gwa]}:41641" 10.1.0.0/24,fd01::/64,10.99.1.1/32,fd99::1:1/128
	gateway_start gwa "$dut"
	gateway_start gwb "$1"
	wait_for 15 in_ns server ping -c 1 -W 1 10.1.0.2
	wait_for 5 has_session gwa gwb
	check "the endpoint was learned" endpoint_is gwa gwb "${wan4[gwb]}:41641"
	pings
}

pings() { # both ways, both families, small and large, and between the gateways themselves
	ping_lossless client 10.2.0.2 -f -c 50
	ping_lossless server 10.1.0.2 -f -c 50
	ping_lossless client fd02::2 -f -c 50
	ping_lossless server fd01::2 -f -c 50
	ping_lossless client 10.2.0.2 -c 3 -i 0.02 -s 1392
	ping_lossless client fd02::2 -c 3 -i 0.02 -s 1372
	ping_lossless client 10.2.0.2 -c 3 -i 0.02 -s 8000
	ping_lossless gwa 10.99.2.1 -c 3 -i 0.02 -I 10.99.1.1
	ping_lossless gwb 10.99.1.1 -c 3 -i 0.02 -I 10.99.2.1
	ping_lossless gwa fd99::2:1 -c 3 -i 0.02 -I fd99::1:1
}

streams() { # TCP both ways over both families, and UDP
	iperf_server server
	iperf_speed client 10.2.0.2 -t 1
	iperf_speed client 10.2.0.2 -t 1 -R
	iperf_speed client fd02::2 -t 1
	iperf_speed client fd02::2 -t 1 -R
	iperf_speed client 10.2.0.2 -t 1 -u -b 50M -l 1200
	iperf client 10.2.0.2 -t 1 -P 8 >"$lab_dir/iperf.json"
	check "eight streams got through" jq -e '.end.sum_received.bits_per_second > 1e7' "$lab_dir/iperf.json"
	stop iperf-server
}
