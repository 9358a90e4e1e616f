#!/usr/bin/env bash
# Names: MagicDNS, split DNS, global resolvers, a resolver behind another router, search domains. The
# answers at 100.100.100.100 are those of the real client. resolv.conf is ours while the user wants it,
# and comes back: at the end, when the user changes their mind, after a kill at the next start.
# timeout: 180
# sanitizer: no
#
#   alice-lan --- alice (device under test) --- inet: headscale; dnsmasq at .53 (everything) and .54
#   asks 10.88.1.1                               |     (corp.test)
#   bob-lan: dnsmasq (behind.test) ----------- bob (tailscaled)
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/net/tailnet.sh
source ./tailnet.sh

need_tools dnsmasq dig

# shellcheck disable=SC2034 # of tailnet.sh
tn_dns='{magic_dns: true, base_domain: lab.test, override_local_dns: true, search_domains: [corp.test],
  nameservers: {global: [10.77.0.53], split: {corp.test: [10.77.0.54], behind.test: [10.88.2.2], gone.test: [10.77.0.99]}},
  extra_records: [{name: grafana.lab.test, type: A, value: 100.64.0.77}]}'

server() { # LABEL NAMESPACE ADDRESS ARGS...: a resolver that says what it was asked
	start "$1" "$2" dnsmasq --keep-in-foreground --no-resolv --no-hosts --log-facility=- --log-queries=extra \
		--user=root --pid-file= --conf-file=/dev/null --bind-interfaces --listen-address="$3" "${@:4}"
	wait_for 5 in_ns "$2" dig +short +tries=1 +time=1 "@$3" up.test
}
asked() { grep -q "query\[$2\] $3 " "$lab_dir/$1.log"; } # SERVER TYPE NAME
times_asked() { grep -c "query\[$2\] $3 " "$lab_dir/$1.log" || true; }

# What a resolver says, without what may differ: IDs, times, TTLs, the SOA's serial. And without where
# we go beyond the real client: it gives dig's own AD bit back, hands on a resolver's AA bit, answers
# EDNS now and then only, and has no SOA where a name has no records of a type other than addresses.
said() { # NAMESPACE SERVER NAME TYPE
	in_ns "$1" dig +time=3 +tries=1 +noall +comments +answer +authority "@$2" "$3" "$4" 2>&1 | sed -E '
		/^;;? (Got|EDNS|OPT|Query|WARNING|Truncated)/d; /^; EDNS/d; s/, id: [0-9]+//; s/^(\S+)\s+[0-9]+\s+IN/\1 IN/
		/SOA/s/ [0-9]{10} / /; /^;; flags/s/( ad)?; QUERY.*//; /^$/d' | sort
}
without_soa() { sed '/ SOA\b/d; /\tSOA\t/d; /AUTHORITY/d'; }
without_aa() { sed '/^;; flags/s/ aa//'; }
different=()
same_answers() { # NAME TYPE [FILTER]
	local ours theirs i
	for i in 1 2 3; do # a resolver may be too busy to answer in time
		ours=$(said alice 100.100.100.100 "$1" "$2" | ${3:-cat}) || true
		theirs=$(said bob 100.100.100.100 "$1" "$2" | ${3:-cat}) || true
		[[ $ours != "$theirs" ]] || break
	done
	if [[ $ours != "$theirs" ]]; then
		printf '%s %s: we say\n%s\nthe real client says\n%s\n' "$1" "$2" "$ours" "$theirs"
		different+=("$1 $2")
	else
		echo "ok $1 $2: $(grep -v '^;' <<<"$ours" | head -1)"
	fi
}
resolv_conf() { in_ns alice cat /etc/resolv.conf; }
asks_us() { resolv_conf | grep -qx 'nameserver 100.100.100.100'; }
asks_others() { ! asks_us; }

# The real client writes into /etc what would be the whole machine's: it gets an /etc of its own.
tn_start_plain=$(declare -f tn_start)
eval "${tn_start_plain/tn_start/tn_start_any}"
tn_start() { # LABEL NAME
	if [[ $2 != bob ]]; then
		tn_start_any "$@"
		return
	fi
	mkdir -p "$lab_dir/node-bob"
	cp -a /etc "$lab_dir/etc-bob"
	echo "# none" >"$lab_dir/etc-bob/resolv.conf"
	lab_end[$1]=KILL
	start "$1" bob unshare -m sh -c "umount /etc/resolv.conf; mount --bind '$lab_dir/etc-bob' /etc
		TS_LOGS_DIR='$lab_dir/node-bob' exec '$peers_bin/tailscaled' --statedir '$lab_dir/node-bob' \
		--socket '$lab_dir/node-bob/sock' --tun tailscale0 --port 41641 --no-logs-no-support"
}

lab_begin
need_node "$dut" tailscaled
tn_begin
addr inet br 10.77.0.53/24
addr inet br 10.77.0.54/24
server global inet 10.77.0.53 --address=/www.example/203.0.113.80 --address=/up.test/127.0.0.9 \
	--txt-record=big.example,"$(printf 'x%.0s' {1..200})","$(printf 'y%.0s' {1..200})","$(printf 'z%.0s' {1..200})" \
	--cname=alias.example,www.example --local-ttl=60 --local=/example/
server corp inet 10.77.0.54 --address=/db.corp.test/10.20.0.5 --address=/up.test/127.0.0.9 --local=/corp.test/

tn_place alice none
tn_place bob none
tn_daemon alice "$dut"
tn_up alice --accept-routes --accept-dns
tn_daemon bob tailscaled
tn_up bob --accept-routes --accept-dns --advertise-routes=10.88.2.0/24
server behind bob-lan 10.88.2.2 --address=/nas.behind.test/10.88.2.9 --address=/up.test/127.0.0.9
approve bob 10.88.2.0/24
wait_for 10 knows alice bob
wait_reach alice 10.88.2.2
wait_for 10 asks_us

say "the same answers as the real client's"
for name in bob alice grafana nobody; do
	for type in A AAAA SOA NS ANY; do same_answers $name.lab.test $type; done
	for type in TXT MX; do same_answers $name.lab.test $type without_soa; done
done
same_answers BOB.LAB.TEST A
same_answers sub.bob.lab.test A
same_answers lab.test A
same_answers 2.0.64.100.in-addr.arpa PTR
same_answers 99.0.64.100.in-addr.arpa PTR
same_answers 100.100.100.100.in-addr.arpa PTR
same_answers 2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa PTR
same_answers 10-1-2-3-via-7.foo.ts.net AAAA
same_answers 10-1-2-3-via-7.foo.ts.net A
same_answers 10-1-2-3-via-7 AAAA
same_answers secret.onion A
same_answers magicdns.localhost-tailscale-daemon A
same_answers lb._dns-sd._udp.0.0.0.10.in-addr.arpa PTR
same_answers www.example A without_aa
same_answers alias.example A without_aa
same_answers big.example TXT without_aa
same_answers nothing.example A without_aa
same_answers db.corp.test A without_aa
same_answers nobody.corp.test A without_aa
same_answers nas.behind.test A without_aa

((${#different[@]} == 0)) || fail "other answers than the real client's: ${different[*]}"

say "each name at its resolver"
check "corp.test at its own" asked corp A db.corp.test
check "and at no other" test "$(times_asked global A db.corp.test)" = 0
check "behind.test behind bob" asked behind A nas.behind.test
check "the rest at the global one" asked global A www.example
check "names of the tailnet at none" test "$(times_asked global A bob.lab.test)" = 0
check "over IPv6" test "$(in_ns alice dig +short @fd7a:115c:a1e0::53 bob.lab.test)" = "$(ip4 bob)"
check "by TCP" test "$(in_ns alice dig +short +tcp @100.100.100.100 bob.lab.test)" = "$(ip4 bob)"
check "a cut answer comes again by TCP" test \
	"$(in_ns alice dig +short +bufsize=512 @100.100.100.100 big.example TXT | wc -c)" -gt 600

say "programs on alice"
resolv_conf
check "the tailnet's domain is searched first" test "$(resolv_conf | sed -n 's/^search //p')" = "lab.test corp.test"
check "a short name" test "$(in_ns alice getent ahostsv4 bob | head -1 | cut -d' ' -f1)" = "$(ip4 bob)"
check "a short name of the second domain" test "$(in_ns alice getent ahostsv4 db | head -1 | cut -d' ' -f1)" = 10.20.0.5
before=$(times_asked global A www.example)
for _ in 1 2 3; do in_ns alice getent ahostsv4 www.example >/dev/null; done
check "what is known is not asked again" test "$(times_asked global A www.example)" = "$before"

if [[ $dut == tailgate ]]; then
	say "who sees what"
	show alice dns status
	show alice dns query bob.lab.test
	show alice dns query db.corp.test A
	check "tailgate dns query" test "$(ts alice dns query db.corp.test | tail -1)" = "db.corp.test. 0 IN A 10.20.0.5"
	echo "alice$ tailscale dns status"
	tailscale alice dns status || fail "the unmodified command: dns status"
	echo "alice$ tailscale dns query www.example"
	tailscale alice dns query www.example | tee "$lab_dir/query.txt"
	check "the unmodified command: dns query" grep -q '203.0.113.80' "$lab_dir/query.txt"
	ts alice doctor --all >"$lab_dir/doctor.txt" || true
	check "the doctor finds the resolver that is gone" grep -q 'the resolver 10.77.0.99 does not answer' "$lab_dir/doctor.txt"
	grep -A3 '^[a-z]* *DNS' "$lab_dir/doctor.txt"
	refuse in_ns bob dig +time=1 +tries=1 "@$(ip4 alice)" bob.lab.test
	refuse in_ns alice-lan dig +time=1 +tries=1 @10.88.1.1 bob.lab.test

	say "killed: the next one restores"
	lab_end[alice]=KILL
	stop alice KILL
	check "resolv.conf still names the dead one" asks_us
	lab_end[alice]=TERM
	tn_daemon alice "$dut"
	wait_for 20 asks_us
	check "restored in between" grep -q 'is restored: an earlier tailgated' "$lab_dir/alice.log"
	wait_for 20 in_ns alice dig +short +tries=1 +time=1 @100.100.100.100 bob.lab.test

	say "the user does not want it"
	show alice set --accept-dns=false
	wait_for 5 asks_others
	check "what was there is back" test "$(resolv_conf)" = "# none"
	check "names are answered all the same" test "$(in_ns alice dig +short @100.100.100.100 bob.lab.test)" = "$(ip4 bob)"
	show alice set --accept-dns
	wait_for 5 asks_us
	stop alice
	check "what was there is back at the end" test "$(resolv_conf)" = "# none"
fi
