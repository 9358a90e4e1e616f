#!/usr/bin/env bash
# Login servers that are not right: the node does not join, stays alive, and says in one line what is
# wrong. With the next, good one it joins.
# timeout: 150
# sanitizer: no
#
#   alice (device under test) ---- inet: headscale, and before it servers that are not right
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

tls_files() { # NAME NOW: key and certificate for 10.77.0.1 by our authority, made at this time
	local subject=/CN=10.77.0.1
	openssl req -newkey rsa:2048 -nodes -subj $subject -keyout "$lab_dir/$1.key" -out "$lab_dir/$1.csr"
	faketime "$2" openssl x509 -req -in "$lab_dir/$1.csr" -CA "$lab_dir/ca.crt" -CAkey "$lab_dir/ca.key" \
		-CAcreateserial -days 30 -extfile <(echo subjectAltName=IP:10.77.0.1) -out "$lab_dir/$1.crt"
	cat "$lab_dir/$1.key" "$lab_dir/$1.crt" >"$lab_dir/$1.pem"
}

certificates() { # alice trusts our authority
	local etc=/etc/netns/$lab_id-alice
	openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=lab -keyout "$lab_dir/ca.key" -out "$lab_dir/ca.crt"
	tls_files good now
	tls_files future '+2 years'
	tls_files past '-2 years'
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=10.77.0.1 -addext subjectAltName=IP:10.77.0.1 \
		-keyout "$lab_dir/own.key" -out "$lab_dir/own.crt"
	cat "$lab_dir/own.key" "$lab_dir/own.crt" >"$lab_dir/own.pem"
	cp -rL /etc/ssl "$etc/ssl" # ip netns exec puts it in the place of /etc/ssl
	cat "$lab_dir/ca.crt" >>"$etc/ssl/certs/ca-certificates.crt"
}

fake() { # MODE PORT
	start "fake-$1" inet socat "TCP-LISTEN:$2,fork,reuseaddr" "EXEC:bash fake_control.bash $1 10.77.0.1 8080,pipes"
	wait_for 5 listening inet "$2"
}
tls() { # NAME PORT: TLS before headscale
	start "tls-$1" inet socat "OPENSSL-LISTEN:$2,fork,reuseaddr,verify=0,cert=$lab_dir/$1.pem" TCP:10.77.0.1:8080
	wait_for 5 listening inet "$2"
}

said() { # PATTERN: a line about it, of the status or of the command's own output
	{ tailscale alice status --json | jq -r '.Health[]?' && cat "$lab_dir/up.txt"; } | grep -iE "$1" | head -1
}

# bad URL PATTERN [AUTH_KEY]: alice does not join there. The real client is not asked for PATTERN.
bad() {
	say "$1"
	ts alice up --login-server="$1" --auth-key="${3:-$(cat "$lab_dir/authkey")}" --hostname=alice \
		--accept-dns=false --timeout=3s >"$lab_dir/up.txt" 2>&1 && fail "alice joined"
	[[ $dut != tailgate ]] || wait_for 10 said "$2"
	said "${2}" || said .
	check "alice is not Running" not_running
}
not_running() { ! backend_state alice Running; }

lab_begin
need_node "$dut"
tn_begin
tn_place alice none
certificates 2>"$lab_dir/openssl.log"
tn_daemon alice "$dut"
port=8100
for mode in other redirect version old key proxy; do fake $mode $((++port)); done
for cert in own future past good; do tls $cert $((++port)); done

bad http://10.77.0.1:8099 'refuse|reach'
bad http://10.77.0.1:8101 'not .*(server|protocol)|wrong|no coordination'
bad http://10.77.0.1:8102 '308|redirect|moved'
bad http://10.77.0.1:8103 version
bad http://10.77.0.1:8104 version
bad http://10.77.0.1:8105 'key|handshake|version|closed'
bad https://10.77.0.1:8107 certificate
bad https://10.77.0.1:8108 'clock|not yet valid|time'
bad https://10.77.0.1:8109 'clock|expired|time'
say "what port 80 says of the time"
date_at() { # SECONDS
	start date inet socat TCP-LISTEN:80,bind=10.77.0.1,fork,reuseaddr "EXEC:bash fake_control.bash date 10.77.0.1 $1,pipes"
	wait_for 5 in_ns inet curl -sI -o /dev/null http://10.77.0.1/key
}
now=$(date +%s)
date_at $((now + 2 * 365 * 86400 + 86400))
bad https://10.77.0.1:8108 'not valid before .* port 80 of 10.77.0.1 says it is 73[01] days behind; set the clock'
stop date
date_at "$now"
bad https://10.77.0.1:8109 'expired at .* port 80 of 10.77.0.1 agrees: it is the certificate'
stop date
bad "$(server_url)" 'auth ?key|pre auth' hskey-auth-wrong

say "the good one, behind a proxy, with TLS"
for url in http://10.77.0.1:8106 https://10.77.0.1:8110; do
	ts alice up --login-server="$url" --auth-key="$(cat "$lab_dir/authkey")" --hostname=alice \
		--accept-dns=false --timeout=30s --force-reauth
	check "alice joins $url" backend_state alice Running
	show alice status
done
