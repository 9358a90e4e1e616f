// config/: mistakes in tailgate.conf, each with the line, key and words that it is refused with.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/config.h"
#include "tests/unit/config_text.h"

static const struct refusal refusals[] = {
	// the text as a whole
	{"", 0, "private_key_file",
		"missing; 'wg genkey' makes a key, write the name of its file here"},
	{KEY "mtu = ;\n", 2, "", "syntax error, here or at the end of the line before"},
	{KEY "tun = \"wg0;\nmtu = 1400;\n", 2, "", "this string has no end"},
	{KEY "\n/* mtu = 1400;\n", 3, "", "this comment has no end"},
	{KEY "tun\n\n5;\n", 4, "", "syntax error, here or at the end of the line before"},
	{KEY "mtu = 1400;\n\nmtu = 1400;\n", 4, "", "duplicate setting name"},
	{KEY "cpus = [ 1, \"2\" ];\n", 2, "", "mismatched element type in array"},
	{"\n@include \"/etc\"\n", 2, "", "@include is not possible; put everything into one file"},
	{KEY " \t@include \"x\"\n", 2, "",
		"@include is not possible; put everything into one file"},
	{KEY "mtu = 4294968696;\n", 2, "", "4294968696 is too large a number"},
	{"# 1\n/* 2\n3 */\nmtu = 99999999999999999999;\n", 4, "",
		"99999999999999999999 is too large a number"},
	{"tun = \"\\\"\n99999999999\"; mtu = 0x100000000;\n", 2, "",
		"0x100000000 is too large a number"},
	// unknown keys
	{KEY "listen_prot = 5;\n", 2, "listen_prot", "unknown key; did you mean listen_port?"},
	{KEY "ListenPort = 5;\n", 2, "ListenPort", "unknown key; did you mean listen_port?"},
	{KEY "mtuu = 5;\n", 2, "mtuu", "unknown key; did you mean mtu?"},
	{KEY "xyzzy = 5;\n", 2, "xyzzy",
		"unknown key; tailgate.conf(5) lists those that there are"},
	{KEY "a_name_that_is_longer_than_any_key_that_there_is = 5;\n", 2,
		"a_name_that_is_longer_than_any_key_that_there_is",
		"unknown key; tailgate.conf(5) lists those that there are"},
	{KEY "endpoint = \"\";\n", 2, "endpoint", "belongs inside peers = ( { ... } )"},
	{KEY "interface = \"\";\n", 2, "interface", "belongs inside ports = ( { ... } )"},
	{PEER("mtu = 1400;\n"), 4, "peers[0].mtu", "belongs to the top level of the file"},
	{PEER("allowedips = [];\n"), 4, "peers[0].allowedips",
		"unknown key; did you mean allowed_ips?"},
	{PORTS("{ name = \"a\";\nifname = \"b\"; }"), 4, "ports[0].ifname",
		"unknown key; did you mean name?"},
	// kinds of value
	{KEY "mtu = \"1420\";\n", 2, "mtu", "expected a number, found a string"},
	{KEY "mtu = 1420.5;\n", 2, "mtu", "expected a number, found a number with a fraction"},
	{KEY "mtu = true;\n", 2, "mtu", "expected a number, found true or false without quotes"},
	{KEY "routes = 1;\n", 2, "routes", "expected true or false, found a number"},
	{KEY "routes = \"yes\";\n", 2, "routes", "expected true or false, found a string"},
	{KEY "tun = 7;\n", 2, "tun", "expected a string in quotes, found a number"},
	{KEY "poll = false;\n", 2, "poll",
		"expected a string in quotes, found true or false without quotes"},
	{KEY "addresses = \"10.0.0.1/24\";\n", 2, "addresses",
		"expected an array, found a string; write [ \"10.0.0.1/24\" ]"},
	{KEY "addresses = [ 10 ];\n", 2, "addresses[0]",
		"expected a string in quotes, found a number"},
	{KEY "cpus = 1;\n", 2, "cpus", "expected an array, found a number; write [ 1, 2 ]"},
	{KEY "vxlan_ports = 4789;\n", 2, "vxlan_ports",
		"expected an array, found a number; write [ 4789, 8472 ]"},
	{KEY "vxlan_ports = [ 1, 2, 3, 4, 5 ];\n", 2, "vxlan_ports",
		"has 5 elements; at most 4 are possible"},
	{KEY "vxlan_ports = [ 0 ];\n", 2, "vxlan_ports[0]", "0 is out of range; write 1 to 65535"},
	{KEY "vxlan_ports = [ 65536 ];\n", 2, "vxlan_ports[0]",
		"65536 is out of range; write 1 to 65535"},
	{KEY "vxlan_ports = [ 4789, 4789 ];\n", 2, "vxlan_ports[1]",
		"port 4789 is in the list twice"},
	{KEY "vxlan_depth = 0;\n", 2, "vxlan_depth", "0 is out of range; write 1 to 4 levels"},
	{KEY "vxlan_depth = 5;\n", 2, "vxlan_depth", "5 is out of range; write 1 to 4 levels"},
	{KEY "cpus = ( 1, ( 2 ) ); workers = 2;\n", 2, "cpus[1]",
		"expected a number, found a list ( )"},
	{KEY "peers = { };\n", 2, "peers",
		"expected a list of groups, found a group { }; write peers = ( { ... } )"},
	{KEY "ports = [ ];\n", 2, "ports",
		"expected a list of groups, found an array [ ]; write ports = ( { ... } )"},
	{KEY "peers = (\n5 );\n", 3, "peers[0]", "expected a group { ... }, found a number"},
	// ranges
	{KEY "listen_port = 65536;\n", 2, "listen_port", "65536 is out of range; write 0 to 65535"},
	{KEY "listen_port = -1;\n", 2, "listen_port", "-1 is out of range; write 0 to 65535"},
	{KEY "mtu = 575;\n", 2, "mtu", "575 is out of range; write 576 to 9216 bytes"},
	{KEY "mtu = 9217;\n", 2, "mtu", "9217 is out of range; write 576 to 9216 bytes"},
	{KEY "workers = 0;\n", 2, "workers", "0 is out of range; write 1 to 32 threads"},
	{KEY "workers = 33;\n", 2, "workers", "33 is out of range; write 1 to 32 threads"},
	{KEY "memory_mb = 8;\n", 2, "memory_mb", "8 is out of range; write 16 to 65536 MiB"},
	{KEY "icmp_rate = 1000001;\n", 2, "icmp_rate",
		"1000001 is out of range; write 0 to 1000000 messages per second"},
	{KEY "handshake_rate = 0;\n", 2, "handshake_rate",
		"0 is out of range; write 1 to 1000000 initiations per second"},
	{KEY "dns_listen = [ \"lan\" ];\n", 2, "dns_listen[0]",
		"\"lan\" is not an address, such as \"192.168.1.1\" or, with another port than 53, "
		"\"192.168.1.1:5353\""},
	{KEY "dns_listen = [ \"192.168.1.1:0\" ];\n", 2, "dns_listen[0]",
		"\"192.168.1.1:0\" is not an address, such as \"192.168.1.1\" or, with another "
		"port "
		"than 53, \"192.168.1.1:5353\""},
	{KEY "dns_listen = [ \"0.0.0.0\" ];\n", 2, "dns_listen[0]",
		"\"0.0.0.0\" would answer whoever reaches any interface; name the addresses that "
		"the "
		"LAN asks"},
	{KEY "dns_listen = [ \"[::]:53\" ];\n", 2, "dns_listen[0]",
		"\"[::]:53\" would answer whoever reaches any interface; name the addresses that "
		"the "
		"LAN asks"},
	{KEY "dns_listen = [ \"10.0.0.1\", \"10.0.0.1:53\" ];\n", 2, "dns_listen[1]",
		"\"10.0.0.1:53\" is in the list twice"},
	{KEY "endpoints = \"203.0.113.5:41641\";\n", 2, "endpoints",
		"expected an array, found a string; write [ \"203.0.113.5:41641\" ]"},
	{KEY "endpoints = [ 41641 ];\n", 2, "endpoints[0]",
		"expected a string in quotes, found a number"},
	{KEY "endpoints = [ \"203.0.113.5\" ];\n", 2, "endpoints[0]",
		"\"203.0.113.5\" is not an address with a port, such as \"203.0.113.5:41641\""},
	{KEY "endpoints = [ \"gw.example.org:41641\" ];\n", 2, "endpoints[0]",
		"\"gw.example.org:41641\" is not an address with a port, such as "
		"\"203.0.113.5:41641\""},
	{KEY "nat_ports = 16384;\n", 2, "nat_ports", "expected a string in quotes, found a number"},
	{KEY "nat_ports = \"16384\";\n", 2, "nat_ports",
		"\"16384\" is not a range of ports, such as \"16384-32767\""},
	{KEY "nat_ports = \"0-32767\";\n", 2, "nat_ports",
		"\"0-32767\" is not a range of ports, such as \"16384-32767\""},
	{KEY "nat_ports = \"40000-70000\";\n", 2, "nat_ports",
		"\"40000-70000\" is not a range of ports, such as \"16384-32767\""},
	{KEY "nat_ports = \"3000-2000\";\n", 2, "nat_ports",
		"\"3000-2000\" is not a range of ports, such as \"16384-32767\""},
	{KEY "nat_ports = \"2000-3022\";\n", 2, "nat_ports",
		"1023 ports are too few; write at least 1024"},
	{KEY "nat_addresses = [ \"203.0.113.0/24\" ];\n", 2, "nat_addresses[0]",
		"\"203.0.113.0/24\" is not the address of a host, such as \"203.0.113.6\""},
	{KEY "nat_addresses = [ \"224.0.0.1\" ];\n", 2, "nat_addresses[0]",
		"\"224.0.0.1\" is not the address of a host, such as \"203.0.113.6\""},
	{KEY "nat_addresses = [ \"10.0.0.1\", \"10.0.0.1\" ];\n", 2, "nat_addresses[1]",
		"\"10.0.0.1\" is in the list twice"},
	{KEY "route_probes = [ \"10.1.0.0/24\" ];\n", 2, "route_probes[0]",
		"\"10.1.0.0/24\" is not the address of a host, such as \"10.1.0.254\""},
	{KEY "advertise_learned = [ \"10.0.0.0/33\" ];\n", 2, "advertise_learned[0]",
		"\"10.0.0.0/33\" is not a network, such as \"10.0.0.0/8\" or, with the "
		"longest that counts in it, \"10.0.0.0/8 le 28\""},
	{KEY "advertise_learned = [ \"bgp\" ];\n", 2, "advertise_learned[0]",
		"\"bgp\" is not a network, such as \"10.0.0.0/8\" or, with the "
		"longest that counts in it, \"10.0.0.0/8 le 28\""},
	{KEY "advertise_learned = [ \"10.0.0.0/8 ge 24\" ];\n", 2, "advertise_learned[0]",
		"\"10.0.0.0/8 ge 24\" is not a network, such as \"10.0.0.0/8\" or, with the "
		"longest that counts in it, \"10.0.0.0/8 le 28\""},
	{KEY "advertise_learned = [ \"10.0.0.0/8 le\" ];\n", 2, "advertise_learned[0]",
		"\"10.0.0.0/8 le\" is not a network, such as \"10.0.0.0/8\" or, with the "
		"longest that counts in it, \"10.0.0.0/8 le 28\""},
	{KEY "advertise_learned = [ \"10.0.0.0/8 le 33\" ];\n", 2, "advertise_learned[0]",
		"\"10.0.0.0/8 le 33\" is not a network, such as \"10.0.0.0/8\" or, with the "
		"longest that counts in it, \"10.0.0.0/8 le 28\""},
	{KEY "advertise_learned = [ \"10.0.0.0/8 le 7\" ];\n", 2, "advertise_learned[0]",
		"\"10.0.0.0/8 le 7\" is not a network, such as \"10.0.0.0/8\" or, with the "
		"longest that counts in it, \"10.0.0.0/8 le 28\""},
	{KEY "advertise_learned = [ \"10.0.0.0/8 le 24x\" ];\n", 2, "advertise_learned[0]",
		"\"10.0.0.0/8 le 24x\" is not a network, such as \"10.0.0.0/8\" or, with the "
		"longest that counts in it, \"10.0.0.0/8 le 28\""},
	{KEY "advertise_learned = [ \"10.0.0.0/8,10.9.0.0/16\" ];\n", 2, "advertise_learned[0]",
		"\"10.0.0.0/8,10.9.0.0/16\" is not a network, such as \"10.0.0.0/8\" or, with the "
		"longest that counts in it, \"10.0.0.0/8 le 28\""},
	{KEY "advertise_learned = \"10.0.0.0/8\";\n", 2, "advertise_learned",
		"expected an array, found a string; write [ \"10.0.0.0/8 le 24\" ]"},
	{KEY "learned_protocols = [ \"BGP\" ];\n", 2, "learned_protocols[0]",
		"unknown protocol \"BGP\"; write one that 'ip route' shows behind proto, such as "
		"\"bgp\" or \"ospf\""},
	{KEY "learned_limit = 0;\n", 2, "learned_limit",
		"0 is out of range; write 1 to 4096 networks"},
	{KEY "announce_table = 255;\n", 2, "announce_table", "255 is out of range; write 0 to 254"},
	{KEY "announce_table = 52;\n", 2, "announce_table",
		"52 has other uses; write 1 to 251 but for 52, or 254, which is main"},
	{KEY "announce_table = 253;\n", 2, "announce_table",
		"253 has other uses; write 1 to 251 but for 52, or 254, which is main"},
	{KEY "nat_mapping = \"full-cone\";\n", 2, "nat_mapping",
		"unknown value \"full-cone\"; write endpoint-dependent or endpoint-independent"},
	{KEY "nat_client_flows = 1048577;\n", 2, "nat_client_flows",
		"1048577 is out of range; write 0 to 1048576 flows"},
	{KEY "nat_tcp_idle_s = 59;\n", 2, "nat_tcp_idle_s",
		"59 is out of range; write 60 to 864000 seconds"},
	{KEY "nat_udp_idle_s = 9;\n", 2, "nat_udp_idle_s",
		"9 is out of range; write 10 to 86400 seconds"},
	{KEY "app_domains = \"example.com\";\n", 2, "app_domains",
		"expected an array, found a string; write [ \"*.example.com\" ]"},
	{KEY "app_domains = [ \"\" ];\n", 2, "app_domains[0]",
		"\"\" is not a domain, such as \"example.com\" or \"*.example.com\""},
	{KEY "app_domains = [ \"*\" ];\n", 2, "app_domains[0]",
		"\"*\" is not a domain, such as \"example.com\" or \"*.example.com\""},
	{KEY "app_domains = [ \"a.com\", \"a.*.com\" ];\n", 2, "app_domains[1]",
		"\"a.*.com\" is not a domain, such as \"example.com\" or \"*.example.com\""},
	{KEY "app_domains = [ \"example.com.\" ];\n", 2, "app_domains[0]",
		"\"example.com.\" is not a domain, such as \"example.com\" or \"*.example.com\""},
	{KEY "services = [ \"web tcp:443 = 10.1.0.5\" ];\n", 2, "services[0]",
		"\"web tcp:443 = 10.1.0.5\" does not begin with the name of a service, such as "
		"svc:web"},
	{KEY "services = [ \"svc:a.b tcp:443 = 10.1.0.5\" ];\n", 2, "services[0]",
		"\"svc:a.b tcp:443 = 10.1.0.5\" does not begin with the name of a service, such as "
		"svc:web"},
	{KEY "services = [ \"svc:web = 10.1.0.5\" ];\n", 2, "services[0]",
		"\"svc:web = 10.1.0.5\" does not name ports, such as tcp:443, udp:5000-5010 or *, "
		"and behind = where they lead; write \"svc:web tcp:443 = 10.1.0.5:8443\""},
	{KEY "services = [ \"svc:web tcp:0 = 10.1.0.5\" ];\n", 2, "services[0]",
		"\"svc:web tcp:0 = 10.1.0.5\" does not name ports, such as tcp:443, udp:5000-5010 "
		"or "
		"*, and behind = where they lead; write \"svc:web tcp:443 = 10.1.0.5:8443\""},
	{KEY "services = [ \"svc:web tcp:9-8 = 10.1.0.5\" ];\n", 2, "services[0]",
		"\"svc:web tcp:9-8 = 10.1.0.5\" does not name ports, such as tcp:443, "
		"udp:5000-5010 "
		"or *, and behind = where they lead; write \"svc:web tcp:443 = 10.1.0.5:8443\""},
	{KEY "services = [ \"svc:web tcp:443\" ];\n", 2, "services[0]",
		"\"svc:web tcp:443\" does not name ports, such as tcp:443, udp:5000-5010 or *, and "
		"behind = where they lead; write \"svc:web tcp:443 = 10.1.0.5:8443\""},
	{KEY "services = [ \"svc:web tcp:443 = host\" ];\n", 2, "services[0]",
		"\"host\" is not the address of a backend, with its port or without, such as "
		"\"10.1.0.5:8443\""},
	{KEY "services = [ \"svc:web tcp:443 = 127.0.0.1:80\" ];\n", 2, "services[0]",
		"\"127.0.0.1:80\" is not the address of a backend, with its port or without, such "
		"as "
		"\"10.1.0.5:8443\""},
	{KEY "services = [ \"svc:web tcp:443 = 10.1.0.5:0\" ];\n", 2, "services[0]",
		"\"10.1.0.5:0\" is not the address of a backend, with its port or without, such as "
		"\"10.1.0.5:8443\""},
	{KEY "services = [ \"svc:web tcp:443 = 10.1.0.5,\" ];\n", 2, "services[0]",
		"\"\" is not the address of a backend, with its port or without, such as "
		"\"10.1.0.5:8443\""},
	{KEY "services = [ \"svc:web tcp:1-2 = 10.1.0.5:7\" ];\n", 2, "services[0]",
		"several ports go to the same ports of the backend; leave \":7\" out"},
	{KEY "services = [ \"svc:web tcp:1 = 10.0.0.1,10.0.0.1,10.0.0.1,10.0.0.1,10.0.0.1,"
	     "10.0.0.1,10.0.0.1,10.0.0.1,10.0.0.1\" ];\n",
		2, "services[0]", "has more than 8 backends"},
	{KEY "services = [ \"svc:web tcp:1-9 = 10.0.0.1\", \"svc:web tcp:9 = 10.0.0.2\" ];\n", 2,
		"services[1]", "its ports are in services[0] already"},
	{KEY "services = [ \"svc:web * = 10.0.0.1\", \"svc:web udp:9 = 10.0.0.2\" ];\n", 2,
		"services[1]", "its ports are in services[0] already"},
	{KEY "nat_remap = [ \"10.9.0.0/24\" ];\n", 2, "nat_remap[0]",
		"\"10.9.0.0/24\" does not name two networks, such as "
		"\"10.9.0.0/24 = 192.168.1.0/24\""},
	{KEY "nat_remap = [ \"10.9.0.0/24 = 192.168.0.0/16\" ];\n", 2, "nat_remap[0]",
		"both networks have to be of one family and length"},
	{KEY "nat_remap = [ \"10.9.0.0/24 = fd00::/24\" ];\n", 2, "nat_remap[0]",
		"both networks have to be of one family and length"},
	{KEY "nat_remap = [ \"10.9.0.0/24 = 10.9.0.0/24\" ];\n", 2, "nat_remap[0]",
		"the networks overlap: 10.9.0.0/24 would be translated twice"},
	{KEY "nat_remap = [ \"10.9.0.0/24 = 10.1.0.0/24\", \"10.8.0.0/24 = 10.1.0.0/24\" ];\n", 2,
		"nat_remap[1]", "overlaps with nat_remap[0]"},
	{KEY "birthday_ports = 513;\n", 2, "birthday_ports",
		"513 is out of range; write 0 to 512 ports"},
	{KEY "birthday_rate = 9;\n", 2, "birthday_rate",
		"9 is out of range; write 10 to 10000 pings per second"},
	{KEY "birthday_s = 0;\n", 2, "birthday_s", "0 is out of range; write 1 to 300 seconds"},
	{KEY "cpus = [ 1024 ];\n", 2, "cpus[0]", "1024 is out of range; write 0 to 1023"},
	{PEER("persistent_keepalive = 65536;\n"), 4, "peers[0].persistent_keepalive",
		"65536 is out of range; write 0 to 65535 seconds"},
	// choices and strings
	{KEY "poll = \"lazy\";\n", 2, "poll", "unknown value \"lazy\"; write adaptive or busy"},
	{KEY "aead = \"AVX2\";\n", 2, "aead",
		"unknown value \"AVX2\"; write auto, avx512, avx2, ipsec-mb or libsodium"},
	{KEY "hugepages = \"on\";\n", 2, "hugepages",
		"unknown value \"on\"; write auto, off or require"},
	{KEY "log_level = \"\";\n", 2, "log_level",
		"unknown value \"\"; write error, warn, info or debug"},
	{KEY "log_level = \"a\\nb\";\n", 2, "log_level",
		"unknown value \"a?b\"; write error, warn, info or debug"},
	{KEY "tun = \"a0123456789abcde\";\n", 2, "tun", "has 16 characters; at most 15 fit"},
	{KEY "tun = \"a/b\";\n", 2, "tun", "\"a/b\" is not a valid interface name"},
	{KEY "tun = \"a b\";\n", 2, "tun", "\"a b\" is not a valid interface name"},
	{KEY "tun = \"..\";\n", 2, "tun", "\"..\" is not a valid interface name"},
	{KEY "user = \"a\\tb\";\n", 2, "user", "contains a control character"},
	{KEY "socket = \"run/s\";\n", 2, "socket", "\"run/s\" is not an absolute path"},
	{KEY "socket = \"\";\n", 2, "socket", "\"\" is not an absolute path"},
	{KEY "metrics = \"9641\";\n", 2, "metrics",
		"\"9641\" is not an address with a port, such as \"127.0.0.1:9641\" or "
		"\"[::1]:9641\""},
	{KEY "metrics = \"localhost:9641\";\n", 2, "metrics",
		"\"localhost:9641\" is not an address with a port, such as \"127.0.0.1:9641\" or "
		"\"[::1]:9641\""},
	// addresses and CPUs
	{KEY "addresses = [ \"10.0.0.1\" ];\n", 2, "addresses[0]",
		"\"10.0.0.1\" has no network length; write \"10.0.0.1/24\" for its network or "
		"\"10.0.0.1/32\" for itself alone"},
	{KEY "addresses = [ \"10.0.0.1/33\" ];\n", 2, "addresses[0]",
		"\"10.0.0.1/33\" is not an address with the length of its network, such as "
		"\"10.0.0.1/24\" or \"fd00::1/64\""},
	{KEY "addresses = [ \"0.0.0.0/0\" ];\n", 2, "addresses[0]",
		"\"0.0.0.0/0\" is not an address with the length of its network, such as "
		"\"10.0.0.1/24\" or \"fd00::1/64\""},
	{KEY "addresses = [ \"10.0.0.1/24\",\n\"10.0.0.1/16\" ];\n", 3, "addresses[1]",
		"\"10.0.0.1/16\" is in the list twice"},
	{KEY "tun = \"\";\naddresses = [ \"10.0.0.1/24\" ];\n", 3, "addresses",
		"there is no TUN to give them to; set tun"},
	{KEY "addresses = [ \"fd00::1/64\" ];\nmtu = 1279;\n", 3, "mtu",
		"1279 bytes are too few for the IPv6 address in addresses; write at least 1280"},
	{KEY "cpus = [ 1, 2 ];\n", 2, "cpus", "has 2 CPUs for 1 workers"},
	{KEY "workers = 2; cpus = [ 1, 1 ];\n", 2, "cpus[1]", "CPU 1 is in the list twice"},
	// the private key
	{KEY "private_key_file = \"\";\n", 2, "private_key_file",
		"is empty; write the name of a file"},
	{"private_key = \"short\";\n", 1, "private_key",
		"a key has 44 characters of base64, this one 5"},
	{"private_key = \"xAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBm!=\";\n", 1, "private_key",
		"is not a key in base64, as 'wg genkey' writes it"},
	{"private_key = \"" ZERO "\";\n", 1, "private_key", "is a key of zeroes only"},
	{"private_key = 5;\n", 1, "private_key", "expected a key in quotes, found a number"},
	{"private_key_file = 5;\n", 1, "private_key_file",
		"expected a file name in quotes, found a number"},
	{"private_key_file = \"/nonexistent/key\";\n", 1, "private_key_file",
		"cannot open /nonexistent/key: No such file or directory"},
	{"private_key_file = \"/dev/null\";\n", 1, "private_key_file",
		"/dev/null is not a regular file"},
	// ports
	{PORTS("{ interface = \"eth0\"; }\n"), 3, "ports[0].name",
		"missing; every port needs a name"},
	{PORTS("{ name = \"a\"; }\n"), 3, "ports[0].interface",
		"missing; write the network interface here, or device = a PCI address"},
	{PORTS("{ name = \"a\"; interface = \"b\";\ndevice = \"net_null0\"; }\n"), 4,
		"ports[0].device",
		"interface is there as well; keep interface for a port shared with the kernel or "
		"device for one that DPDK owns"},
	{PORTS("{ name = \"a\"; device = \"eth0\"; }\n"), 3, "ports[0].device",
		"\"eth0\" is neither a PCI address (\"0000:01:00.0\") nor a DPDK virtual device "
		"(\"net_memif0,role=client\"); a network interface goes into interface"},
	{PORTS("{ name = \"a\"; device = \"0000:01:00\"; }\n"), 3, "ports[0].device",
		"\"0000:01:00\" is neither a PCI address (\"0000:01:00.0\") nor a DPDK virtual "
		"device "
		"(\"net_memif0,role=client\"); a network interface goes into interface"},
	{PORTS("{ name = \"a\"; interface = \"b\";\nmirror = \"c\"; }\n"), 4, "ports[0].mirror",
		"only a port with device has a mirror: b stays with the kernel"},
	{PORTS("{ name = \"a\"; interface = \"b\";\naddresses = [ \"10.0.0.1/8\" ]; }\n"), 4,
		"ports[0].addresses",
		"only a port with device takes addresses; give them to b with ip address"},
	{PORTS("{ name = \"a\"; device = \"net_null0\"; mirror = \"\";\n"
	       "addresses = [ \"10.0.0.1/8\" ]; }\n"),
		4, "ports[0].addresses", "there is no mirror to give them to; set mirror"},
	{PORTS("{ name = \"a\"; interface = \"b\"; },\n{ name = \"a\"; interface = \"c\"; }\n"), 4,
		"ports[1].name", "\"a\" is the name of ports[0]"},
	{PORTS("{ name = \"a\"; interface = \"b\"; },\n{ name = \"c\"; interface = \"b\"; }\n"), 4,
		"ports[1].interface", "\"b\" is the interface of ports[0]"},
	{PORTS("{ name = \"a\"; device = \"net_x0\"; },\n{ name = \"c\"; device = \"net_x0\"; }\n"),
		4, "ports[1].device", "\"net_x0\" is the device of ports[0]"},
	{PORTS("{ name = \"a\"; device = \"net_x0\"; },\n{ name = \"c\"; interface = \"a\"; }\n"),
		4, "ports[1].interface", "\"a\" is the interface of ports[0]"},
	{PORTS("{ name = \"a\"; interface = \"tailgate0\"; }\n"), 3, "ports[0].interface",
		"\"tailgate0\" is the name of the TUN interface"},
	{PORTS("{ name = \"tailgate0\"; device = \"net_x0\"; }\n"), 3, "ports[0].name",
		"\"tailgate0\" is the name of the TUN interface"},
	// peers
	{KEY "peers = (\n{ name = \"a\"; } );\n", 3, "peers[0].public_key",
		"missing; every peer needs one"},
	{KEY "peers = (\n{ public_key = \"" PUBLIC_OWN "\"; } );\n", 3, "peers[0].public_key",
		"is this gateway's own; write the peer's"},
	{KEY "peers = (\n{ public_key = \"" ZERO "\"; } );\n", 3, "peers[0].public_key",
		"is a key of zeroes only"},
	{PEER("preshared_key = \"" PUBLIC_B "x\";\n"), 4, "peers[0].preshared_key",
		"a key has 44 characters of base64, this one 45"},
	{KEY "peers = ( { public_key = \"" PUBLIC_A
	     "\"; name = \"x\"; }, {\npublic_key = \"" PUBLIC_A "\"; } );\n",
		3, "peers[1].public_key", "is the same as that of peers[0] (x)"},
	{KEY "peers = ( { public_key = \"" PUBLIC_A
	     "\"; name = \"x\"; }, {\npublic_key = \"" PUBLIC_B "\"; name = \"x\"; } );\n",
		3, "peers[1].name", "is the same as that of peers[0] (x)"},
	{PEER("endpoint = \"1.2.3.4\";\n"), 4, "peers[0].endpoint",
		"\"1.2.3.4\" has no port; write \"1.2.3.4:51820\""},
	{PEER("endpoint = \"2001:db8::1\";\n"), 4, "peers[0].endpoint",
		"\"2001:db8::1\" has no port; write \"[2001:db8::1]:51820\""},
	{PEER("endpoint = \"[2001:db8::1]\";\n"), 4, "peers[0].endpoint",
		"\"[2001:db8::1]\" has no port; write \"[2001:db8::1]:51820\""},
	{PEER("endpoint = \"gw.example.org\";\n"), 4, "peers[0].endpoint",
		"\"gw.example.org\" has no port; write \"gw.example.org:51820\""},
	{PEER("endpoint = \"1.2.3.4:0\";\n"), 4, "peers[0].endpoint",
		"\"0\" is not a UDP port; write 1 to 65535"},
	{PEER("endpoint = \"1.2.3.4:65536\";\n"), 4, "peers[0].endpoint",
		"\"65536\" is not a UDP port; write 1 to 65535"},
	{PEER("endpoint = \"1.2.3.4:\";\n"), 4, "peers[0].endpoint",
		"\"\" is not a UDP port; write 1 to 65535"},
	{PEER("endpoint = \"1.2.3.400:5\";\n"), 4, "peers[0].endpoint",
		"\"1.2.3.400:5\" is neither an address nor a host name with a port; write "
		"\"203.0.113.5:5\", \"[2001:db8::5]:5\" or \"gw.example.org:5\""},
	{PEER("endpoint = \"[1.2.3.4]:5\";\n"), 4, "peers[0].endpoint",
		"\"[1.2.3.4]:5\" is neither an address nor a host name with a port; write "
		"\"203.0.113.5:5\", \"[2001:db8::5]:5\" or \"gw.example.org:5\""},
	{PEER("endpoint = \"a..b:5\";\n"), 4, "peers[0].endpoint",
		"\"a..b:5\" is neither an address nor a host name with a port; write "
		"\"203.0.113.5:5\", \"[2001:db8::5]:5\" or \"gw.example.org:5\""},
	{PEER("endpoint = \":5\";\n"), 4, "peers[0].endpoint",
		"\":5\" is neither an address nor a host name with a port; write "
		"\"203.0.113.5:5\", \"[2001:db8::5]:5\" or \"gw.example.org:5\""},
	{PEER("endpoint = 5;\n"), 4, "peers[0].endpoint",
		"expected a string in quotes, found a number"},
	{PEER("allowed_ips = \"10.0.0.0/8\";\n"), 4, "peers[0].allowed_ips",
		"expected an array, found a string; write [ \"10.2.0.0/24\" ]"},
	{PEER("allowed_ips = [ \"10.0.0.0/8\",\n\"10.0.0.0/40\" ];\n"), 5,
		"peers[0].allowed_ips[1]",
		"\"10.0.0.0/40\" is not a network, such as \"10.2.0.0/24\" or \"fd00:2::/64\""},
	{PEER("allowed_ips = [ 10 ];\n"), 4, "peers[0].allowed_ips[0]",
		"expected a string in quotes, found a number"},
	{PEER("allowed_ips = [ \"10.0.0.0/8\",\n\"10.1.0.0/8\" ];\n"), 5, "peers[0].allowed_ips[1]",
		"10.0.0.0/8 is in the list twice"},
	{KEY "peers = ( { public_key = \"" PUBLIC_A "\"; allowed_ips = [ \"::/0\" ]; }, {\n"
	     "public_key = \"" PUBLIC_B "\";\nallowed_ips = [ \"0.0.0.0/0\",\n\"::/0\" ]; } );\n",
		5, "peers[1].allowed_ips[1]", "::/0 is an allowed IP of peers[0] already"},
};

static void test_refusals(void **)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct refusal *f = &refusals[i];
		struct config *c = NULL;
		struct config_error err;
		int rc = config_parse_string(f->text, "test.conf", &c, &err);
		if (rc >= 0)
			fail_msg("accepted: %s", f->text);
		assert_null(c);
		assert_string_equal(err.message, f->message);
		assert_string_equal(err.key, f->key);
		assert_string_equal(err.file, "test.conf");
		if (err.line != f->line)
			fail_msg("line %u, expected %u, of: %s", err.line, f->line, f->text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
