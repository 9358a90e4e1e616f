#!/usr/bin/env bash
# The unmodified tailscale command against the device under test: what it prints, its exit status and
# the JSON are those it gives with the real daemon in the same place, but for times, keys and ports.
# timeout: 150
# sanitizer: no
#
#   alice (the real one, then the device under test) ---- inet ---- bob-nat ---- bob, carol
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

# What is different each time or belongs to the daemon itself; where the real one repeats the server's
# words, ours add what to do.
normalise() {
	sed -E '/^Warning: client version/d; /portmap: |^[[:space:]]*\* (Time|PortMapping|CaptivePortal):/d
		s/[0-9.]+(ms|µs|s)\b/T/g
		s/^(backend error: )the server refuses to register this node: ([^;]*);.*/\1\2/
		s/(tx|rx) [0-9]+/\1 N/g
		s/, [0-9]+\) via TSMP/, P) via TSMP/ # bob says 1 while his peerAPI does not listen yet
		s/lab90[12]/lab90x/g; s/Lab 90[12]/Lab 90x/g
		s/(IPv4: yes, [0-9.]+|\[::1\]):[0-9]+/\1:P/g
		s/\b(nodekey|mkey|discokey|sha256-raw):[0-9a-f]+/\1:K/g
		s/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/TIME/g
		s/[[:space:]]+/ /g; s/ $//'
}

ask() { # ARGS...: to the record
	local status=0
	echo "\$ tailscale $*"
	in_ns alice timeout 60 "$peers_bin/tailscale" --socket "$lab_dir/node-alice/sock" "$@" 2>&1 || status=$?
	echo "exit $status"
}

ask_json() { # FILTER ARGS...
	local filter=$1
	shift
	echo "\$ tailscale $* | jq '$filter'"
	tailscale alice "$@" | jq -S "$filter"
}

# The parts of tailscale status --json that others build on
node_fields='{HostName, DNSName, UserID, TailscaleIPs, AllowedIPs, PrimaryRoutes, Tags, CurAddr, Online, ExitNode,
	ExitNodeOption, Active, InNetworkMap, Expired, has_relay: (.Relay != "")}'
status_fields="{BackendState, HaveNodeKey, AuthURL, TailscaleIPs, MagicDNSSuffix, CurrentTailnet, CertDomains, User,
	health: (.Health | length), Self: (.Self | $node_fields), Peer: ([.Peer[]? | $node_fields] | sort_by(.HostName))}"

record() { # KIND: everything that is asked, of an alice of this kind
	need_node "$1"
	tn_begin
	tn_node bob tailscaled easy --advertise-routes=10.88.1.0/24 --advertise-exit-node >&2
	tn_node carol tailscaled >&2
	approve bob 10.88.1.0/24,0.0.0.0/0,::/0
	tn_place alice none
	tn_daemon alice "$1" >&2

	ask status
	ask ip
	ask up --login-server="$(server_url)" --auth-key=wrong --hostname=alice --timeout=5s
	ask up --login-server="$(server_url)" --auth-key="$(cat "$lab_dir/authkey")" --hostname=alice \
		--accept-dns=false --accept-routes --timeout=60s | sed 's/auth-key=[^ ]*/auth-key=K/'
	wait_for 20 at_home alice
	wait_for 20 online alice bob
	wait_for 20 online alice carol
	wait_for 20 peer_home alice bob
	wait_for 20 peer_home alice carol
	ask status
	ask status --peers=false
	ask status --self=false
	ask ip
	ask ip -4
	ask ip -1 bob
	ask ip -6 carol
	ask ip nobody

	udp_between alice bob block >&2
	wait_pong alice bob derp >&2
	wait_pong bob alice derp >&2
	ask ping -c 3 bob
	ask ping -c 1 --tsmp bob
	ask ping -c 1 --icmp bob
	ask ping -c 1 bob.lab.test
	ask status
	udp_between alice bob allow >&2
	wait_pong alice bob direct >&2
	wait_pong bob alice direct >&2
	ask ping bob
	ask ping -c 1 --until-direct=false bob
	ask ping -c 1 --until-direct=false --size 1000 bob
	ask ping -c 1 --tsmp "$(ip6 bob)"
	ask ping -c 1 --icmp "$(ip4 bob)"
	ask ping -c 1 alice
	ask ping -c 1 nobody
	ask ping -c 1 --timeout 1s 100.64.0.99
	ask status
	ask_json "$status_fields" status --json
	ask netcheck
	ask whois "$(ip4 bob)"
	ask whois 100.64.0.99
	ask_json '{Node: (.Node | {Name, Addresses, AllowedIPs, HomeDERP: (.HomeDERP > 900)}), UserProfile}' \
		whois --json "$(ip4 bob)"
	ask exit-node list
	ask debug derp-map

	ask set --shields-up
	ask set --hostname=alice2 --advertise-routes=10.88.3.0/24,192.0.2.0/24
	ask set --advertise-routes=10.88.3.1/24
	ask set --advertise-routes=nothing
	ask set --exit-node=nobody
	ask up --hostname=alice
	ask_json '{ControlURL, RouteAll, CorpDNS, WantRunning, LoggedOut, ShieldsUp, Hostname, AdvertiseRoutes, AdvertiseTags,
		ExitNodeID, ExitNodeAllowLANAccess, RunSSH, NoSNAT, NetfilterMode, OperatorUser}' debug prefs
	ask set --shields-up=false --hostname=alice --advertise-routes=

	ask down
	ask down
	ask status
	ask status --json --peers=false | jq -R . | grep -c BackendState
	ask ping -c 1 bob
	ask up
	wait_for 20 self_online alice
	ask status --peers=false
	ask logout
	ask status
	ask ip
}
self_online() { [[ $(tailscale "$1" status --json | jq .Self.Online) == true ]]; }
peer_home() { [[ $(peer_status "$1" "$2" .Relay) ]]; }

lab_begin
need_node tailscaled "$dut"
n=0
for kind in tailscaled "$dut"; do
	n=$((n + 1))
	say "$kind"
	record "$kind" 2>&1 >"$lab_dir/raw" | grep -v '&$'
	normalise <"$lab_dir/raw" | uniq >"$lab_dir/record.$kind.$n"
	tn_clear
done
cat "$lab_dir"/record.*.2
echo "$(grep -c '^\$ ' "$lab_dir"/record.*.2) commands"
diff -U 4 "$lab_dir"/record.tailscaled.1 "$lab_dir"/record.*.2 || fail "the answers differ: - the real one, + $dut"
