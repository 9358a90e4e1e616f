#!/usr/bin/env bash
# A public resolver that is known to speak it is asked by HTTPS, and its certificate checked: nothing
# goes out by UDP. Only when HTTPS does not answer, UDP does; a server with another's certificate learns
# nothing.
# timeout: 120
# sanitizer: no
#
#   alice (device under test) --- inet: headscale; 1.1.1.1: dnsmasq, socat with TLS, doh_stub
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

[[ $dut == tailgate ]] || skip "the real client has no way to be given our certificate"
need_tools dnsmasq dig socat
# shellcheck disable=SC2034 # of tailnet.sh
tn_dns='{magic_dns: true, base_domain: lab.test, override_local_dns: true, nameservers: {global: [1.1.1.1]}}'

tn_start() { # LABEL NAME: with our certificate as the only authority
	mkdir -p "$lab_dir/node-$2"
	start "$1" "$2" env SSL_CERT_FILE="$lab_dir/doh.crt" "$(program tailgated)" --statedir "$lab_dir/node-$2" \
		--socket "$lab_dir/node-$2/sock" --port 41641 --tun tailgate0
}
certificate() { # NAME: of the server from now on
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
		-addext "subjectAltName=DNS:$1" -out "$lab_dir/$2.crt" -keyout "$lab_dir/$2.key" 2>/dev/null
	cat "$lab_dir/$2.crt" "$lab_dir/$2.key" >"$lab_dir/$2.pem"
}
serve() { # CERTIFICATE
	start tls inet socat "OPENSSL-LISTEN:443,bind=1.1.1.1,reuseaddr,fork,cert=$lab_dir/$1.pem,verify=0" TCP:127.0.0.1:8053
	wait_for 5 listening_at 1.1.1.1 443
}
end_tls() { # with the connections that it has
	pkill -P "${lab_pid[tls]}" || true
	stop tls
}
by_udp() { # queries of alice at port 53 so far
	in_ns inet nft -j list counter bridge lab plain | jq '.nftables[] | .counter.packets // empty'
}
by_https() { grep -c '^/dns-query cloudflare-dns.com: [1-9]' "$lab_dir/stub.log" || true; }
asks() { in_ns alice dig +short +time=5 +tries=1 @100.100.100.100 "$1"; }

lab_begin
need_node "$dut"
tn_begin
addr inet br 1.1.1.1/32
in_ns inet nft 'add counter bridge lab plain; add rule bridge lab extra iifname w-alice ip daddr 1.1.1.1 udp dport 53 counter name plain'
certificate cloudflare-dns.com doh
certificate other.example other
start plain inet dnsmasq --keep-in-foreground --no-resolv --no-hosts --user=root --pid-file= --conf-file=/dev/null \
	--bind-interfaces --listen-address=1.1.1.1 --address=/example/203.0.113.80
stub=$(program tests/net/doh_stub) || skip "doh_stub is not built"
start stub inet "$stub" 8053 1.1.1.1
serve doh
tn_place alice none
tn_daemon alice "$dut"
tn_up alice --accept-dns=false

say "by HTTPS"
check "an answer" test "$(asks a.example)" = 203.0.113.80
check "another, on the same connection" test "$(asks b.example)" = 203.0.113.80
check "both by HTTPS" test "$(by_https)" = 2
check "none by UDP" test "$(by_udp)" = 0
show alice dns status

say "another's certificate"
end_tls
serve other
check "an answer" test "$(asks c.example)" = 203.0.113.80
check "that server was told nothing" test "$(by_https)" = 2
check "by UDP" test "$(by_udp)" -ge 1

say "HTTPS hangs"
end_tls
drop iifname w-alice ip daddr 1.1.1.1 tcp dport 443
before=$(by_udp)
check "an answer" test "$(asks d.example)" = 203.0.113.80
check "by UDP" test "$(by_udp)" -gt "$before"
