# shellcheck shell=bash
# shellcheck disable=SC2154 # lib.sh has them
# A numbered datagram each millisecond, and what arrives of it. To be sourced behind lib.sh.

stream_begin() { # FROM TO INTERFACE ADDRESS PORT: namespaces, and where in the second it is looked for
	rm -f "$lab_dir"/stream.*
	capture stream "$2" "$3" -s 64 "udp and dst port $5"
	# shellcheck disable=SC2016 # expanded inside
	start sender "$1" bash -c 'exec 3>"/dev/udp/$0/$1" 9<> <(:)
		for ((n = 1; ; n++)); do echo "n$n" >&3; read -rt 0.001 <&9; done' "$4" "$5"
	wait_for 10 stream_is_longer 50000
}
stream_is_longer() { (($(stat -c %s "$lab_dir/stream.pcap") > $1)); } # BYTES
stream_goes_on() { wait_for "$1" stream_is_longer $(($(stat -c %s "$lab_dir/stream.pcap") + 20000)); } # SECONDS
stream_end() {
	stop sender KILL
	stop stream
}
longest_gap() { # between two that arrived, in ms
	tcpdump -tt -nr "$lab_dir/stream.pcap" 2>/dev/null | awk '
		last && $1 - last > max { max = $1 - last }
		{ last = $1 }
		END { printf "%d\n", max * 1000 + 1 }'
}
# The same in datagrams that are missing: a busy machine stops sender and gateways alike, which is a gap
# but nothing lost.
longest_loss() {
	tcpdump -Anr "$lab_dir/stream.pcap" 2>/dev/null | awk '
		match($0, /n[0-9]+$/) {
			n = substr($0, RSTART + 1) + 0
			if (last && n - last - 1 > max) max = n - last - 1
			if (n > last) last = n
		}
		END { print max + 0 }'
}
