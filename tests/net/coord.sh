#!/usr/bin/env bash
# The conversation with a real headscale: join by auth key, netmap, lite updates, a restart of the
# server, refusals, login by URL, a new node key, expiry, a deleted node, logout, kill -9.
#
#   node: two coord_join -- 192.0.2.1 (lo): headscale (http, 8080), socat (https, 443)
# timeout: 150
source "$(dirname "$0")/lib.sh"

url=http://192.0.2.1:8080
join=${TAILGATE_BUILD:-$(build_dir release)}/tests/net/coord_join
[[ -x $join ]] || skip "coord_join is not built"
[[ -x $peers_bin/headscale ]] || skip "no headscale: tests/peers tailnet says why"
lab_begin
add_ns node
addr node lo 192.0.2.1/32
declare -A mark=()

headscale() { in_ns node env NO_COLOR=1 "$peers_bin/headscale" -c "$lab_dir/headscale.yaml" "$@"; }
headscale_start() {
	start headscale node env NO_COLOR=1 "$peers_bin/headscale" -c "$lab_dir/headscale.yaml" serve
	wait_for 20 headscale users list
}
nodes() { headscale nodes list -o json | jq -r "$1"; }
nodes_are() { [[ $(nodes "$1") == "$2" ]]; }
auth_key() { headscale preauthkeys create -u 1 -e 1h -o json | jq -r .key; }

join_start() { # NAME [ENV...]
	[[ -p $lab_dir/$1.fifo ]] || mkfifo "$lab_dir/$1.fifo"
	start "$1" node env "${@:2}" "$join" "$lab_dir/$1" "$lab_dir/$1.fifo" "$1"
	from_now "$1"
}
from_now() { # NAME: what was said before counts no more
	mark[$1]=$(wc -l <"$lab_dir/$1.log")
}
tell() { # NAME WORD...: a command
	echo "$1> ${*:2}"
	from_now "$1"
	echo "${*:2}" >"$lab_dir/$1.fifo"
}
said() { tail -n "+$((mark[$1] + 1))" "$lab_dir/$1.log" | grep -E -- "$2"; }
expect() { # NAME PATTERN: it is said within 20 s
	wait_for 20 said "$1" "$2"
	echo "$1: $(said "$1" "$2" | tail -1)"
}

cat >"$lab_dir/derp.yaml" <<-YAML
	regions: {901: {regionid: 901, regioncode: lab, regionname: Lab, nodes: [
	  {name: 901a, regionid: 901, hostname: 192.0.2.1, ipv4: 192.0.2.1}]}}
YAML
cat >"$lab_dir/headscale.yaml" <<-YAML
	server_url: $url
	listen_addr: "192.0.2.1:8080"
	metrics_listen_addr: 127.0.0.1:9090
	grpc_listen_addr: 127.0.0.1:50443
	unix_socket: $lab_dir/headscale.sock
	noise: {private_key_path: $lab_dir/headscale.key}
	prefixes: {v4: 100.64.0.0/10, v6: "fd7a:115c:a1e0::/48", allocation: sequential}
	database: {type: sqlite, sqlite: {path: $lab_dir/headscale.db, write_ahead_log: true}}
	derp: {server: {enabled: false}, urls: [], paths: [$lab_dir/derp.yaml], auto_update_enabled: false}
	dns: {magic_dns: true, base_domain: lab.test, override_local_dns: false, nameservers: {global: []}}
	disable_check_updates: true
	logtail: {enabled: false}
	policy: {mode: database}
	log: {level: info, format: text}
YAML
headscale_start
headscale users create lab >/dev/null
join_start ann
join_start bob

say "an auth key that nobody made"
tell ann start $url hskey-auth-AAAAAAAAAAAA-BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB
expect ann '^state refused'
expect ann '^trouble auth_key: .*make a new auth key'
check "nobody joined" nodes_are length 0

say "join, and see each other"
tell ann start $url "$(auth_key)"
expect ann '^netmap self=ann.lab.test. key=1 peers=0'
expect ann '^state streaming'
tell bob start $url "$(auth_key)"
expect bob '^peer ann.lab.test. online=1'
expect ann '^peer bob.lab.test. online=1'
check "both are online" nodes_are '[.[].online] | all' true

say "an endpoint, by a lite update beside the stream"
from_now bob
tell ann endpoint 198.51.100.7:41641
expect ann '^lite [0-9]'
expect bob '^peer ann.lab.test. online=1 endpoints 198.51.100.7:41641'

say "headscale is killed, and comes back"
from_now ann
stop headscale KILL
expect ann '^trouble connect: .*refuses the connection'
headscale_start
expect ann '^netmap self=ann.lab.test. key=1 peers=1'
expect ann '^state streaming'
wait_for 20 nodes_are '[.[].online] | all' true

say "a kill -9 and a start without any key"
key=$(nodes '.[] | select(.name == "ann") | .node_key')
stop ann KILL
join_start ann
tell ann start $url
expect ann '^netmap self=ann.lab.test. key=1 peers=1'
check "it is the same node, with the same key" nodes_are '.[] | select(.name == "ann") | .node_key' "$key"

say "a new node key, by URL"
tell ann relogin $url
expect ann '^state visit_url'
expect ann "^url $url/register/"
id=$(said ann '^url ' | sed 's,.*/,,')
run headscale auth register --auth-id "$id" --user lab >/dev/null
expect ann '^netmap self=ann.lab.test. key=1 peers=1'
expect bob '^peer ann.lab.test. online=1'
check "two nodes, as before" nodes_are length 2
check "with another key" nodes_are ".[] | select(.name == \"ann\") | .node_key != \"$key\"" true

say "a kill -9 while a URL waits: the old key is still good"
key=$(nodes '.[] | select(.name == "ann") | .node_key')
tell ann relogin $url
expect ann "^url $url/register/"
stop ann KILL
join_start ann
tell ann start $url
expect ann '^netmap self=ann.lab.test. key=1 peers=1'
check "it has the old key" nodes_are '.[] | select(.name == "ann") | .node_key' "$key"

say "the node key expires: the stream goes on and says so; an auth key renews it"
expire() { run headscale nodes expire -i "$(nodes '.[] | select(.name == "ann") | .id')" >/dev/null; }
from_now ann
expire
expect ann '^trouble node_key_expired: .*log in again'
tell ann start $url "$(auth_key)"
expect ann '^state streaming'
expect ann '^trouble : $'

say "it expires again: without an auth key a new node key and a login by URL"
from_now ann
expire
expect ann '^trouble node_key_expired: .*log in again'
tell ann start $url
expect ann "^url $url/register/"
run headscale auth register --auth-id "$(said ann '^url ' | sed 's,.*/,,')" --user lab >/dev/null
expect ann '^netmap self=ann.lab.test. key=1 peers=1'
expect ann '^trouble : $'
check "with another key" nodes_are ".[] | select(.name == \"ann\") | .node_key != \"$key\"" true

say "the node is deleted on the server, which only an update finds out: it asks for a login"
run headscale nodes delete --force -i "$(nodes '.[] | select(.name == "ann") | .id')" >/dev/null
expect bob '^peer [0-9]+ is gone'
tell ann endpoint 198.51.100.8:41641
expect ann '^trouble unknown_node: '
expect ann "^url $url/register/"

say "HTTPS, where the certificate is not trusted, and where it is"
in_ns node openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=192.0.2.1 \
	-addext subjectAltName=IP:192.0.2.1 -keyout "$lab_dir/tls.key" -out "$lab_dir/tls.crt" 2>/dev/null
start tls node socat "OPENSSL-LISTEN:443,fork,reuseaddr,cert=$lab_dir/tls.crt,key=$lab_dir/tls.key,verify=0" \
	TCP:192.0.2.1:8080
wait_for 5 listening node 443
tell ann start https://192.0.2.1 "$(auth_key)"
expect ann '^trouble certificate: .*not trusted'
stop ann
in_ns node nft -f - <<<'table inet lab { chain i { type filter hook input priority 0; tcp dport 80 drop; }; }'
join_start ann SSL_CERT_FILE="$lab_dir/tls.crt" # port 80 is silent to it: HTTPS after half a second
tell ann start https://192.0.2.1 "$(auth_key)"
expect ann '^netmap self=ann.*lab.test. key=1 peers=1'
expect ann 'by https, port 443'

say "logout"
from_now bob
tell ann logout
expect ann '^logged out 0'
expect bob '^peer ann.*online=0'
tell ann start https://192.0.2.1
expect ann '^url '
stop ann
stop bob
refuse grep -E 'Sanitizer|runtime error' "$lab_dir/ann.log" "$lab_dir/bob.log"
