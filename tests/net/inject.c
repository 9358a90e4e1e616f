// Sends packets that no sane sender makes, for tests/net: UDP datagrams with chosen contents and
// damaged headers, or frames of a capture once more, damaged or turned round.
//
// usage: inject [OPTION...] INTERFACE udp SOURCE PORT DESTINATION PORT PAYLOAD
//        inject [OPTION...] INTERFACE pcap FILE
//   PAYLOAD    hex digits, or hex digits +N for N zero bytes behind them; - for none
//   -m MAC     Ethernet destination; an interface without Ethernet header (tun) needs none
//   -n COUNT   send it so many times    -r RATE   packets per second
//   -d NAME    damage to the IP header: checksum, options, fragment, later-fragment, long (says
//   more
//              than there is), udp-length
//   -f OFFSET  of a capture: flip a bit of the byte so far from the frame's end
//   -t         of a capture: turn it round, source and destination exchanged
// Prints how many were sent.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
	FRAME_MAX = 65536 + ETH_HLEN,
	PCAP_MAGIC = 0xa1b2c3d4,
	PCAP_MAGIC_NS = 0xa1b23c4d,
	PCAP_ETHERNET = 1,
	OPTIONS_LEN = 8, // of NOPs, in an IPv4 header
};

struct inject {
	int fd;
	struct sockaddr_ll to;
	uint8_t mac[ETH_ALEN], peer[ETH_ALEN];
	bool ethernet, turn;
	const char *damage;
	unsigned long count, rate, flip, sent;
};

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	fprintf(stderr, "inject: ");
	vfprintf(stderr, format, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(EXIT_FAILURE);
}

static void open_interface(struct inject *in, const char *name)
{
	struct ifreq ifr = {0};
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	in->fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (in->fd < 0 || ioctl(in->fd, SIOCGIFHWADDR, &ifr) != 0)
		die("%s: %s", name, strerror(errno));
	in->ethernet = ifr.ifr_hwaddr.sa_family == ARPHRD_ETHER;
	memcpy(in->mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	in->to = (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex(name),
	};
}

static void pace(const struct inject *in)
{
	struct timespec gap = {.tv_nsec = in->rate ? 1000000000L / (long)in->rate : 0};
	if (in->rate)
		nanosleep(&gap, NULL);
}

// frame: from the Ethernet header on, which an interface without one does not get.
static void send_frame(struct inject *in, const uint8_t *frame, size_t len)
{
	const struct ethhdr *eth = (const struct ethhdr *)frame;
	unsigned skip = in->ethernet ? 0 : ETH_HLEN;
	in->to.sll_protocol = eth->h_proto;
	for (unsigned long i = 0; i < in->count; i++) {
		ssize_t n;
		do {
			n = sendto(in->fd, frame + skip, len - skip, 0, (struct sockaddr *)&in->to,
				sizeof(in->to));
		} while (n < 0 && (errno == ENOBUFS || errno == EINTR));
		if (n < 0)
			die("%zu bytes: %s", len, strerror(errno));
		in->sent++;
		pace(in);
	}
}

static uint16_t checksum(const void *data, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i + 1 < len; i += 2) {
		uint16_t word;
		memcpy(&word, (const uint8_t *)data + i, 2);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static bool damaged(const struct inject *in, const char *how)
{
	return in->damage && strcmp(in->damage, how) == 0;
}

// Returns the header's length; len: of what follows it.
static size_t put_ip4(
	const struct inject *in, uint8_t *at, const char *from, const char *to, size_t len)
{
	size_t header = sizeof(struct iphdr) + (damaged(in, "options") ? OPTIONS_LEN : 0);
	struct iphdr h = {
		.version = 4,
		.ihl = (uint8_t)(header / 4) & 15,
		.tot_len = htons((uint16_t)(header + len + (damaged(in, "long") ? 100 : 0))),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
	};
	if (damaged(in, "fragment"))
		h.frag_off = htons(IP_MF);
	if (damaged(in, "later-fragment"))
		h.frag_off = htons(185);
	if (inet_pton(AF_INET, from, &h.saddr) != 1 || inet_pton(AF_INET, to, &h.daddr) != 1)
		die("%s, %s: addresses of one family", from, to);
	memset(at, 1, header); // NOPs
	memcpy(at, &h, sizeof(h));
	h.check = checksum(at, header);
	if (damaged(in, "checksum"))
		h.check ^= 0x5555;
	memcpy(at, &h, sizeof(h));
	return header;
}

static size_t put_ip6(
	const struct inject *in, uint8_t *at, const char *from, const char *to, size_t len)
{
	memset(at, 0, 40);
	at[0] = 0x60;
	uint16_t payload = htons((uint16_t)(len + (damaged(in, "long") ? 100 : 0)));
	memcpy(at + 4, &payload, 2);
	at[6] = IPPROTO_UDP;
	at[7] = 64;
	if (inet_pton(AF_INET6, from, at + 8) != 1 || inet_pton(AF_INET6, to, at + 24) != 1)
		die("%s, %s: addresses of one family", from, to);
	return 40;
}

// "04000000+28", "-". Returns the length.
static size_t parse_payload(const char *text, uint8_t *out, size_t max)
{
	size_t n = 0;
	unsigned byte;
	if (strcmp(text, "-") == 0)
		return 0;
	for (; *text && *text != '+'; text += 2) {
		if (n == max || sscanf(text, "%2x", &byte) != 1)
			die("%s: no hex digits", text);
		out[n++] = (uint8_t)byte;
	}
	size_t zeros = *text == '+' ? strtoul(text + 1, NULL, 10) : 0;
	if (zeros > max - n)
		die("more than %zu bytes", max);
	memset(out + n, 0, zeros);
	return n + zeros;
}

// argv: SOURCE PORT DESTINATION PORT PAYLOAD. The UDP checksum is 0: none.
static void send_udp(struct inject *in, char **argv)
{
	static uint8_t frame[FRAME_MAX], payload[FRAME_MAX];
	size_t len = parse_payload(argv[4], payload, 65000);
	bool v6 = strchr(argv[0], ':');
	struct ethhdr eth = {.h_proto = htons(v6 ? ETH_P_IPV6 : ETH_P_IP)};
	memcpy(eth.h_source, in->mac, ETH_ALEN);
	memcpy(eth.h_dest, in->peer, ETH_ALEN);
	memcpy(frame, &eth, ETH_HLEN);
	uint8_t *at = frame + ETH_HLEN;
	at += (v6 ? put_ip6 : put_ip4)(in, at, argv[0], argv[2], sizeof(struct udphdr) + len);
	struct udphdr udp = {
		.source = htons((uint16_t)atoi(argv[1])),
		.dest = htons((uint16_t)atoi(argv[3])),
		.len = htons((uint16_t)(sizeof(udp) + len + (damaged(in, "udp-length") ? 7 : 0))),
	};
	memcpy(at, &udp, sizeof(udp));
	memcpy(at + sizeof(udp), payload, len);
	send_frame(in, frame, (size_t)(at - frame) + sizeof(udp) + len);
}

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t t = a[i];
		a[i] = b[i];
		b[i] = t;
	}
}

// Source and destination exchanged: no checksum changes by that.
static void turn_round(uint8_t *frame, size_t len)
{
	bool v4 = frame[ETH_HLEN] >> 4 == 4;
	uint8_t *ip = frame + ETH_HLEN;
	uint8_t *udp = ip + (v4 ? (ip[0] & 15) * 4 : 40);
	if ((size_t)(udp - frame) + sizeof(struct udphdr) > len)
		die("a frame of %zu bytes cannot be turned round", len);
	swap(frame, frame + ETH_ALEN, ETH_ALEN);
	swap(ip + (v4 ? 12 : 8), ip + (v4 ? 16 : 24), v4 ? 4 : 16);
	swap(udp, udp + 2, 2);
}

static void send_capture(struct inject *in, const char *path)
{
	static uint8_t frame[FRAME_MAX];
	uint32_t head[6], record[4];
	FILE *f = fopen(path, "re");
	if (!f || fread(head, sizeof(head), 1, f) != 1)
		die("%s: no capture", path);
	if ((head[0] != PCAP_MAGIC && head[0] != PCAP_MAGIC_NS) || head[5] != PCAP_ETHERNET)
		die("%s: not a pcap file of Ethernet frames", path);
	while (fread(record, sizeof(record), 1, f) == 1) {
		size_t len = record[2];
		if (len < ETH_HLEN || len > sizeof(frame) || fread(frame, len, 1, f) != 1)
			die("%s: broken", path);
		if (in->flip && in->flip <= len)
			frame[len - in->flip] ^= 1;
		if (in->turn)
			turn_round(frame, len);
		send_frame(in, frame, len);
	}
	fclose(f);
}

static void parse_mac(struct inject *in, const char *text)
{
	uint8_t *m = in->peer;
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &m[0], &m[1], &m[2], &m[3], &m[4],
		    &m[5]) != ETH_ALEN)
		die("%s: no MAC address", text);
}

int main(int argc, char **argv)
{
	struct inject in = {.count = 1};
	int option;
	while ((option = getopt(argc, argv, "+m:n:r:d:f:t")) != -1) {
		switch (option) {
		case 'm':
			parse_mac(&in, optarg);
			break;
		case 'n':
			in.count = strtoul(optarg, NULL, 10);
			break;
		case 'r':
			in.rate = strtoul(optarg, NULL, 10);
			break;
		case 'd':
			in.damage = optarg;
			break;
		case 'f':
			in.flip = strtoul(optarg, NULL, 10);
			break;
		case 't':
			in.turn = true;
			break;
		default:
			return EXIT_FAILURE;
		}
	}
	argc -= optind;
	argv += optind;
	if (argc < 3)
		die("see the top of inject.c");
	open_interface(&in, argv[0]);
	if (strcmp(argv[1], "udp") == 0 && argc == 7)
		send_udp(&in, argv + 2);
	else if (strcmp(argv[1], "pcap") == 0 && argc == 3)
		send_capture(&in, argv[2]);
	else
		die("see the top of inject.c");
	printf("sent %lu\n", in.sent);
	return EXIT_SUCCESS;
}
