// What a server may send to the HTTP/2 client: bytes behind a proper SETTINGS (or without), cut in
// two, to a session with several requests. Each request closes once, whatever comes.
#include "control/coord/h2.h"
#include "tests/fuzz/fuzz.h"

enum { REQUESTS = 3, ANSWER_MAX = 64 };

static const uint8_t settings[] = "\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0"; // theirs, ack of ours

struct request {
	unsigned closed;
	bool answered;
	size_t len;
	struct h2 *h;
};

static void on_answer(void *arg, const struct h2_answer *answer)
{
	struct request *r = arg;

	check(!r->answered && !r->closed && answer->status >= 200);
	r->answered = true;
}

static int on_data(void *arg, const uint8_t *, size_t len)
{
	struct request *r = arg;

	check(r->answered && !r->closed);
	r->len += len;
	check(r->len <= ANSWER_MAX);
	return 0;
}

static void on_closed(void *arg, int error)
{
	struct request *r = arg;

	check(++r->closed == 1 && (error || r->answered));
	h2_cancel(r->h, 5);
}

static void drain(struct h2 *h)
{
	const uint8_t *bytes;

	while (h2_output(h, &bytes) > 0)
		continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct request requests[REQUESTS] = {0};
	struct h2 *h = NULL;

	if (size < 2)
		return 0;
	check(!h2_create(&h, "server.test"));
	for (int i = 0; i < REQUESTS; i++) {
		const struct h2_events events = {on_answer, on_data, on_closed, &requests[i]};
		const struct h2_request request = {.method = "POST",
			.path = "/",
			.body = "{}",
			.body_len = 2,
			.answer_max = ANSWER_MAX};
		requests[i].h = h;
		check(h2_request(h, &request, &events) == 2 * i + 1);
	}
	drain(h);
	if (data[0] & 1)
		check(!h2_feed(h, settings, sizeof(settings) - 1));
	const size_t cut = data[1] < size - 2 ? data[1] : size - 2;
	int error = h2_feed(h, data + 2, cut);
	if (data[0] & 2)
		drain(h);
	if (!error)
		error = h2_feed(h, data + 2 + cut, size - 2 - cut);
	drain(h);
	check(!error || (h2_finished(h) && !h2_open(h)));
	h2_destroy(h);
	for (int i = 0; i < REQUESTS; i++)
		check(requests[i].closed == 1);
	return 0;
}
