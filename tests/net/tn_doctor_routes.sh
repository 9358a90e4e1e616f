#!/usr/bin/env bash
# What the doctor says of routers: the kernel does not forward where it has to, a host without a route
# back, a twin whose routes are accepted, a strict rp_filter beside an exit node, ports of others. Each
# is told while it is so, and not before or after; and what it tells to type helps.
# timeout: 120
# sanitizer: no
#
#   alice-lan ---- alice (device under test) ---- inet ---- bob (tailscaled)
#   dave-lan ----- dave (tailgate, its LAN is a port of its own) --+
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

doctor() { # NAME: its findings
	ts "$1" doctor --passive --json >"$lab_dir/doctor.json" || true
}
told() { # NAME ID: whether it is a warning or an error; prints it
	doctor "$1"
	jq -er --arg id "$2" '.findings[] | select(.id == $id and (.severity == "warn" or .severity == "error"))
		| "\(.severity) \(.id): \(.evidence); \(.remedy)"' "$lab_dir/doctor.json"
}
well() { ! told "$@" >/dev/null; }
fine() { # NAME ID PATTERN: it was looked at, and is well
	doctor "$1"
	jq -r --arg id "$2" '.findings[] | select(.id == $id and .severity == "ok") | .evidence' "$lab_dir/doctor.json" |
		grep -E "$3"
}
tell() { # NAME ID PATTERN: it is told, with that in it
	local text
	text=$(told "$1" "$2") && echo "$text" && [[ $text =~ $3 ]]
}
set_ctl() { on "$1" sysctl -qw "${@:2}"; }

lab_begin
[[ $dut == tailgate ]] || skip "the doctor is Tailgate's"
need_node tailgate tailscaled
tn_begin
tn_node alice tailgate none --advertise-routes=10.88.1.0/24
tn_node bob tailscaled none --advertise-exit-node
tn_place dave none
cat >"$lab_dir/dave.conf" <<-'CONF'
	tailnet = true;
	ports = ( { name = "wan"; interface = "wan"; }, { name = "lan"; interface = "lan"; } );
CONF
chmod 600 "$lab_dir/dave.conf"
tn_join dave tailgate --advertise-routes=10.88.1.0/24,10.88.3.0/24
approve alice 10.88.1.0/24
approve bob 0.0.0.0/0,::/0
approve dave 10.88.1.0/24,10.88.3.0/24
wait_pong alice bob direct
wait_pong dave bob direct
wait_reach bob 10.88.1.2
wait_reach bob 10.88.3.2

say "the kernel forwards, or the workers do"
check "for alice the kernel" fine alice F209 'the kernel forwards for 10\.88\.1\.0/24'
set_ctl alice net.ipv4.ip_forward=0
check "which it has to be told" tell alice F209 '^error .*ip_forward is 0.*10\.88\.1\.0/24.*sysctl -w net\.ipv4\.ip_forward=1'
check "nobody gets through" silent bob 10.88.1.2
set_ctl alice net.ipv4.ip_forward=1
check "on again" well alice F209
wait_reach bob 10.88.1.2
set_ctl dave net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
check "dave's workers need no kernel" wait_for 5 reaches bob 10.88.3.2
check "nor is one asked for" well dave F209
check "the other way, too" wait_for 5 reaches dave-lan "$(ip4 bob)"

say "a twin"
check "dave accepts what alice serves" tell dave F218 '10\.88\.1\.0/24.*served by alice'
check "alice's is well" well alice F218
show dave set --accept-routes=false
check "not accepted" well dave F218

say "no route back"
check "with SNAT none is needed" well alice F216
show alice set --snat-subnet-routes=false
wait_reach bob 10.88.1.2
check "there is one" well alice F216
ip -n "$lab_id-alice-lan" route replace default via 10.88.1.254
in_ns bob ping -q -c 4 -i 0.2 -W 1 10.88.1.2 >/dev/null || true
check "there is none" tell alice F216 'requests of peers to 10\.88\.1\.2.*ip route add 100\.64\.0\.0/10 via 10\.88\.1\.1'
on alice-lan ip route add 100.64.0.0/10 via 10.88.1.1
wait_reach bob 10.88.1.2
check "which helped" well alice F216
show alice set --snat-subnet-routes=true

say "ports of the translation"
check "nobody else's" fine alice nat_ports "nobody else's"
set_ctl alice "net.ipv4.ip_local_port_range=20000 40000"
check "where the kernel chooses, too" tell alice nat_ports 'overlaps.*20000-40000'
set_ctl alice net.ipv4.ip_local_reserved_ports=16384-32767
check "but for reserved ones" well alice nat_ports
start listener alice socat TCP-LISTEN:20022,fork,reuseaddr PIPE
wait_for 5 listening alice 20022
check "a program listens" tell alice nat_ports 'listens on TCP 20022'
stop listener
check "no more" well alice nat_ports

say "an exit node beside a strict rp_filter"
set_ctl alice net.ipv4.conf.wan.rp_filter=1 net.ipv4.conf.all.src_valid_mark=0
check "without an exit node" well alice rp_filter
wait_for 10 ts alice set --exit-node=bob
check "with one" tell alice rp_filter 'strict.* on wan'
set_ctl alice net.ipv4.conf.all.src_valid_mark=1
check "marked" well alice rp_filter
set_ctl alice net.ipv4.conf.all.src_valid_mark=0 net.ipv4.conf.wan.rp_filter=2
check "loose" well alice rp_filter

say "asked to stop again and again while it stops"
pid=${lab_pid[dave]}
while kill -TERM "$pid" 2>/dev/null && [[ $(<"/proc/$pid/stat") != *') Z '* ]]; do sleep 0.002; done
stop dave
check "it ended well" test "${lab_status[dave]}" = 0
