// Every reason for which a packet ends here, with the text that status and metrics show. A line
// here is all that a new reason needs.
#pragma once

// X(name, "label", "what it means and what to do")
#define DROP_REASONS(X)                                                                            \
	X(IP_MALFORMED, "ip_malformed", "IP header with wrong version or lengths")                 \
	X(IP_CHECKSUM, "ip_checksum", "IPv4 header checksum is wrong")                             \
	X(L4_CHECKSUM, "l4_checksum",                                                              \
		"inner TCP or UDP checksum is wrong; the sender or a link damages packets")        \
	X(TTL, "ttl_exceeded", "TTL reached zero: a routing loop, or a traceroute")                \
	X(NO_ROUTE, "no_route", "no route to the destination: see 'ip route get'")                 \
	X(BLACKHOLE, "blackhole", "the kernel's routes say blackhole")                             \
	X(BROADCAST, "broadcast", "multicast and broadcast are not forwarded")                     \
	X(NO_PEER, "no_peer",                                                                      \
		"routed into the tunnel, but no peer's allowed IPs hold the destination")          \
	X(NO_ENDPOINT, "no_endpoint", "the peer's endpoint is not known or not reachable (yet)")   \
	X(NO_KEY, "no_key", "no session with the peer: the handshake is not answered")             \
	X(STAGED_FULL, "staged_full",                                                              \
		"waiting for a handshake: the oldest waiting packet gave way")                     \
	X(TOO_BIG, "too_big", "larger than the tunnel's MTU; the sender was told by ICMP")         \
	X(SEGMENT, "segment_failed", "a super-packet whose headers cannot be segmented")           \
	X(NO_MBUF, "no_mbuf", "packet buffers are used up: raise memory_mb")                       \
	X(NEIGHBOUR, "neighbour", "the next hop does not answer ARP or ND")                        \
	X(PUNT_FULL, "punt_full",                                                                  \
		"the control thread is behind: handshakes or packets for it are lost")             \
	X(DISCO_FULL, "disco_full",                                                                \
		"more STUN and disco messages than the control thread takes: a flood of them")     \
	X(DERP_FULL, "derp_full", "the control thread is behind with what goes over DERP")         \
	X(PUNT_FAILED, "punt_failed", "the kernel did not take a packet meant for the host")       \
	X(HANDOFF_FULL, "handoff_full", "the worker that owns the peer is behind")                 \
	X(TX_FULL, "tx_full", "the transmit ring or socket buffer is full")                        \
	X(PORT_DOWN, "port_down", "the port is down")                                              \
	X(NO_PORT, "no_port", "the next hop's interface is no port of this gateway")               \
	X(WG_MALFORMED, "wg_malformed", "UDP on our port that is no WireGuard message")            \
	X(WG_INDEX, "wg_unknown_index", "data for a session that is not (any more) known")         \
	X(WG_AUTH, "wg_auth", "authentication failed: forged or damaged")                          \
	X(WG_REPLAY, "wg_replay", "counter seen before or too old")                                \
	X(WG_EXPIRED, "wg_expired", "session key older than 180 s")                                \
	X(WG_SOURCE, "wg_source", "inner source address is not in the peer's allowed IPs")         \
	X(WG_INNER, "wg_inner", "decrypted, but not an IP packet of a sound length")               \
	X(WG_ECN, "wg_ecn", "marked congested outside, but the inner packet is not ECN-capable")   \
	X(VTEP_MALFORMED, "vxlan_malformed",                                                       \
		"VXLAN that ends here, for the tunnel: lengths or IP header make no sense")        \
	X(VTEP_ECN, "vxlan_ecn",                                                                   \
		"VXLAN marked congested outside, but the inner packet is not ECN-capable")         \
	X(FILTER_MALFORMED, "filter_malformed",                                                    \
		"from a tailnet peer, and ports or protocol cannot be told")                       \
	X(FILTER_SCOPE, "filter_scope",                                                            \
		"multicast, broadcast and link-local destinations are not carried in a tailnet")   \
	X(FILTER_NOT_LOCAL, "filter_not_local",                                                    \
		"from a tailnet peer to an address that is neither ours nor of an advertised "     \
		"route")                                                                           \
	X(FILTER_RULE, "filter_rule", "no rule of the tailnet's policy lets it in")                \
	X(NAT_FRAGMENT, "nat_fragment", "a fragment whose addresses would have to be translated")  \
	X(NAT_MALFORMED, "nat_malformed",                                                          \
		"to be translated, and its headers or what it quotes cannot be read")              \
	X(NAT_PROTOCOL, "nat_protocol", "to be translated, and of a kind that cannot be")          \
	X(NAT_NO_FLOW, "nat_no_flow", "answers a flow that is not (any more) known")               \
	X(NAT_CLOSED, "nat_closed",                                                                \
		"to a port of a service that this gateway hosts, but leads nowhere; see "          \
		"services in tailgate.conf")                                                       \
	X(NAT_UNREACHABLE, "nat_unreachable",                                                      \
		"translated, its destination is behind no link: see 'tailgate nat'")               \
	X(NAT_NO_ADDRESS, "nat_no_address",                                                        \
		"no address of its family on the link: give it one, or a pool")                    \
	X(NAT_CLIENT, "nat_client_limit",                                                          \
		"a client has as many flows as it may, and none that may end for another")         \
	X(NAT_PORTS, "nat_ports_exhausted",                                                        \
		"no outside port is free for the destination, or may be taken from one who has "   \
		"more: more ports, or a pool")                                                     \
	X(NAT_FULL, "nat_table_full", "no room for another flow, and none that may end for it")    \
	X(FRAGMENT_MALFORMED, "fragment_malformed",                                                \
		"fragments of impossible lengths, too many, or of more than 65407 bytes together") \
	X(FRAGMENT_OVERLAP, "fragment_overlap",                                                    \
		"fragments that overlap, or of a packet that had such: an attempt to evade")       \
	X(FRAGMENT_TIMEOUT, "fragment_timeout",                                                    \
		"fragments whose packet did not become complete within 5 s: the rest was lost")    \
	X(FRAGMENT_FULL, "fragment_full",                                                          \
		"fragments of the sender with most of them, for there were too many")              \
	X(TSMP_RATE, "tsmp_rate", "TSMP messages of a peer beyond 20 per second")                  \
	X(TOO_BIG_FULL, "too_big_full",                                                            \
		"routers' word about MTUs, more than the control thread takes: a flood of it")     \
	X(PEER_GONE, "peer_gone", "the peer was removed while packets waited for it")              \
	X(RATE, "icmp_rate", "ICMP errors beyond the rate limit are not sent")

enum drop_reason {
#define X(name, label, help) DROP_##name,
	DROP_REASONS(X)
#undef X
		DROP_COUNT
};

// [any thread]
const char *drop_label(enum drop_reason);
const char *drop_help(enum drop_reason);
