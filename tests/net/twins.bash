# shellcheck shell=bash
# shellcheck disable=SC2154 # lib.sh has them
# Two gateways for one LAN, and somebody who sends there; to be sourced behind tailnet.sh.
#
#   alice --- inet --- carol (tailscaled)
#     |        |
#   shared --- bob                               10.99.0.0/24, a host .9
# shellcheck source=tests/net/stream.bash
source "$lab_top/tests/net/stream.bash"
net=10.99.0.0/24
host=10.99.0.9

twins_places() {
	local g
	tn_place alice none
	tn_place bob none
	add_ns shared
	ip -n "$lab_id-shared" link add name br type bridge mcast_snooping 0
	ip -n "$lab_id-shared" link set dev br up
	addr shared br $host/24
	for g in alice bob; do
		link "$g" lan2 shared "to-$g"
		ip -n "$lab_id-shared" link set "to-$g" master br
	done
	addr alice lan2 10.99.0.1/24
	addr bob lan2 10.99.0.2/24
}
twins_join() { # KIND ARGS...: both of it, and carol
	tn_join alice "$1" --advertise-routes=$net "${@:2}"
	tn_join bob "$1" --advertise-routes=$net "${@:2}"
	tn_node carol tailscaled
}
twins_approve() { # returns when one of them serves
	approve alice $net
	approve bob $net
	wait_for 20 someone_serves
}
other_than() { if [[ $1 == alice ]]; then echo bob; else echo alice; fi; }

# Peers take the LAN's packets from the gateway that serves it alone: so without SNAT the host has to
# answer through that one, as it would learn by BGP.
answers_through() { # NAME
	local a=10.99.0.1
	[[ $1 == alice ]] || a=10.99.0.2
	ip -n "$lab_id-shared" route replace 100.64.0.0/10 via $a
}

serves() { # NAME: carol sends it what is for the LAN
	[[ $(peer_status carol "$1" ".PrimaryRoutes // [] | index(\"$net\") != null") == true ]]
}
whoever_serves() { if serves alice; then echo alice; elif serves bob; then echo bob; fi; }
someone_serves() { [[ $(whoever_serves) ]]; }

twins_stream() { stream_begin carol shared br $host 7100; }
