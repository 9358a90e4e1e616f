// A server of DNS over HTTPS without the TLS, which socat puts before it: hands each query on by
// UDP.
//
//   doh_stub PORT ADDRESS    listens at 127.0.0.1:PORT, asks ADDRESS at port 53
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in resolver = {.sin_family = AF_INET};

static void on_request(struct evhttp_request *req, void *)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req), *out = evbuffer_new();
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char message[4096];
	const int len = evbuffer_remove(in, message, sizeof(message));
	ssize_t n = -1;

	if (len > 0 &&
		sendto(fd, message, (size_t)len, 0, (struct sockaddr *)&resolver,
			sizeof(resolver)) == len &&
		poll(&wait, 1, 2000) == 1)
		n = recv(fd, message, sizeof(message), 0);
	close(fd);
	if (n > 0)
		evbuffer_add(out, message, (size_t)n);
	evhttp_add_header(
		evhttp_request_get_output_headers(req), "Content-Type", "application/dns-message");
	evhttp_send_reply(req, n > 0 ? 200 : 502, n > 0 ? "OK" : "Bad Gateway", out);
	evbuffer_free(out);
	printf("%s %s: %zd bytes\n", evhttp_request_get_uri(req),
		evhttp_find_header(evhttp_request_get_input_headers(req), "Host"), n);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct evhttp *http = evhttp_new(base);

	resolver.sin_port = htons(53);
	if (argc != 3 || inet_pton(AF_INET, argv[2], &resolver.sin_addr) != 1 ||
		evhttp_bind_socket(http, "127.0.0.1", (uint16_t)atoi(argv[1])) < 0) {
		fputs("usage: doh_stub PORT ADDRESS\n", stderr);
		return 2;
	}
	evhttp_set_gencb(http, on_request, NULL);
	return event_base_dispatch(base);
}
