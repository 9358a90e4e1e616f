# shellcheck shell=bash
# Floods of handshakes from the WAN at gwb, by perf/flood.c. Sourced by handshake_flood.sh and
# perf/handshakes.
# shellcheck disable=SC2154 # lib.sh's variables

flood_bin=${TAILGATE_BUILD:-$(build_dir release)}/perf/perf_flood

flood_peers() { # N: peers of gwb whose keys the flood has
	local i=0 public
	"$flood_bin" keys "$1" >"$lab_dir/flood.keys"
	while read -r _ public; do
		echo "flood$i|$public||10.200.$((i / 250)).$((i % 250 + 1))/32|0|" >>"$lab_dir/gwb.peers"
		i=$((i + 1))
	done <"$lab_dir/flood.keys"
}

# flood_begin KIND RATE SECONDS: returns when it starts to send. valid: initiations of those peers;
# mac1: not even mac1 is right; garbage: only mac1 is
flood_begin() {
	local keys=()
	[[ $1 != valid ]] || keys=("$lab_dir/flood.keys")
	rm -f "$lab_dir/flood.log"
	start flood wan "$flood_bin" "$1" 192.0.2.2 41641 "$(cat "$lab_dir/gwb.pub")" "$2" "$3" "${keys[@]}"
	wait_for 30 grep -q ready "$lab_dir/flood.log"
}

flood_end() { # waits for it; what was sent and what came back is in flood.log, a line of JSON
	wait "${lab_pid[flood]}" || fail "the flood: $(cat "$lab_dir/flood.log")"
	unset "lab_pid[flood]"
}

flood_said() { grep '^{' "$lab_dir/flood.log" | jq -r ".$1"; } # FIELD
