# shellcheck shell=bash
# A tailnet of tests/net/tailnet.sh with testcontrol in headscale's place, for what headscale cannot do:
# thousands of nodes, patches at a rate, any member of a map response. To be sourced in its place.
# tests/net/testcontrol has the program; control asks it, and GET / says what can be asked for.
set -euo pipefail

# shellcheck source=tests/net/tailnet.sh
source "$(dirname "${BASH_SOURCE[0]}")/tailnet.sh"

tn_servers() { # in place of tailnet.sh's
	tn_programs testcontrol
	derp_start 901
	derp_start 902
	control_derp_map >"$lab_dir/derp.json"
	echo any >"$lab_dir/authkey"
	lab_end[testcontrol]=KILL
	start testcontrol "$tn_net" "$peers_bin/testcontrol" -listen "$(url_host "$(inet_addr 1)"):8080" \
		-url "$(server_url)" -derpmap "$lab_dir/derp.json"
	wait_for 10 control GET /
}

control() { # METHOD PATH [JSON]
	in_ns "$tn_net" curl -sS --fail-with-body --max-time 120 -X "$1" "http://127.0.0.1:9080$2" ${3:+--data "$3"}
}

control_derp_map() {
	local region a
	for region in 901 902; do
		a=$(inet_addr $((region - 899)))
		jq -n --argjson id $region --arg host "$(derp_name $region)" --arg a "$a" --arg hash "$(derp_hash $region)" \
			'{($id | tostring): {RegionID: $id, RegionCode: "lab\($id)", RegionName: "Lab \($id)", Nodes: [{
				Name: "\($id)a", RegionID: $id, HostName: $host, CertName: "sha256-raw:\($hash)", CanPort80: true
			} + if $a | contains(":") then {IPv4: "none", IPv6: $a} else {IPv4: $a} end]}}'
	done | jq -s '{Regions: add}'
}
derp_hash() { # REGION: of its certificate
	openssl x509 -in "$lab_dir/cert$1"/*.crt -outform der | sha256sum | cut -d' ' -f1
}

ip6() { # NAME: upstream makes it of the IPv4 address
	printf 'fd7a:115c:a1e0:ab12:4843:cd96:6240:%x\n' "${tn_number[$1]}"
}
