# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034,SC2004 # lib.sh has them
# FRR in namespaces of the lab, each with its own zebra, bgpd and bfdd. To be sourced behind lib.sh.
frr_bin=/usr/lib/frr

need_frr() { # skip the test without FRR
	[[ -x $frr_bin/bgpd && -x $frr_bin/bfdd ]] || skip "no FRR: run tests/setup"
}

# frr_start NAME: with the configuration on standard input, as in frr.conf
frr_start() {
	local name=$1 dir=$lab_dir/frr-$1 daemon
	mkdir -p "$dir"
	echo 'service integrated-vtysh-config' >"$dir/vtysh.conf"
	cat >"$dir/frr.conf"
	chmod 711 "$lab_dir" # they become a user of their own
	chown -R frr:frr "$dir"
	for daemon in zebra bfdd bgpd; do
		lab_end[$daemon-$name]=KILL # zebra takes its routes back when it ends, and that takes a while
		start "$daemon-$name" "$name" "$frr_bin/$daemon" -f /dev/null \
			-i "$dir/$daemon.pid" -z "$dir/zserv.api" --vty_socket "$dir" --log stdout --log-level warnings
		wait_for 10 test -S "$dir/$daemon.vty"
	done
	# Each takes its part. What it says is not of interest as long as it knows every line.
	command vtysh --vty_socket "$dir" --config_dir "$dir" -b >"$dir/boot.log" 2>&1 || true
	! grep -iE 'unknown|ambiguous|incomplete|%' "$dir/boot.log" || fail "FRR does not take this configuration"
}

vtysh() { # NAME COMMAND: what it says
	command vtysh --vty_socket "$lab_dir/frr-$1" -c "$2" 2>/dev/null
}

bgp_up() { # NAME PEER_ADDRESS
	[[ $(vtysh "$1" "show bgp neighbors $2 json" | jq -r ".[\"$2\"].bgpState") == Established ]]
}
bfd_up() { # NAME PEER_ADDRESS
	vtysh "$1" "show bfd peers json" | jq -e --arg p "$2" 'any(.[]; .peer == $p and .status == "up")' >/dev/null
}

# next_hops NAME NETWORK: by which addresses its kernel goes there, in order, separated by commas
next_hops() {
	local family=-4
	[[ $2 != *:* ]] || family=-6
	ip -n "$lab_id-$1" $family -j route show "$2" |
		jq -r '[.[] | (.gateway // empty), (.nexthops // [] | .[].gateway)] | sort | unique | join(",")'
}
ways() { [[ $(next_hops "$1" "$2" | tr ',' '\n' | grep -c .) == "$3" ]]; } # NAME NETWORK COUNT
goes_by() { [[ $(next_hops "$1" "$2") == "$3" ]]; } # NAME NETWORK ADDRESSES
