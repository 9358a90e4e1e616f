#include "tests/unit/ctl_client.h"

// What a worker does with a packet while traces are wanted.
static void trace_packet(struct graph *g, uint64_t tsc)
{
	struct trace *trace = &g->trace[g->trace_used++];
	trace->port_in = 0;
	trace->step[0] = (struct trace_step){.tsc = tsc, .node = NODE_CLASSIFY, .len = 60};
	trace->step[1] = (struct trace_step){.tsc = tsc + 30, .node = NODE_TX, .len = 120};
	trace->n = 2;
	atomic_fetch_sub(&g->trace_wanted, 1);
}

static void wait_for_trace(struct client *c, unsigned worker, uint32_t wanted)
{
	for (double end = seconds() + DEADLINE_S;
		atomic_load(&fixture.gw.graph[worker]->trace_wanted) != wanted && seconds() < end;)
		spin(c);
	assert_int_equal(atomic_load(&fixture.gw.graph[worker]->trace_wanted), wanted);
}

static void test_trace(void **)
{
	struct client c = client_open();
	client_ask(&c, "POST", "/tailgate/v0/trace?packets=2");
	wait_for_trace(&c, 1, 2);
	json_decref(ask("POST", "/tailgate/v0/trace", 409));
	json_decref(ask("GET", "/tailgate/v0/status", 200));
	trace_packet(fixture.gw.graph[1], 1000);
	trace_packet(fixture.gw.graph[0], 500);
	trace_packet(fixture.gw.graph[0], 1500);
	client_wait(&c);

	json_t *json = json_loads(body_of(&c), 0, NULL);
	assert_non_null(json);
	assert_true(json_is_false(json_object_get(json, "timed_out")));
	json_t *packets = json_object_get(json, "packets");
	assert_int_equal(json_array_size(packets), 2);
	assert_int_equal(number_at(json_array_get(packets, 0), "worker"), 0);
	assert_int_equal(number_at(json_array_get(packets, 1), "worker"), 1);
	json_t *step = json_array_get(json_object_get(json_array_get(packets, 1), "steps"), 1);
	assert_string_equal(text_at(step, "node"), "tx");
	assert_int_equal(number_at(step, "ns"), 10);
	for (unsigned w = 0; w < 2; w++)
		assert_int_equal(atomic_load(&fixture.gw.graph[w]->trace_wanted), 0);
	json_decref(json);
	client_close(&c);
}

static void test_trace_times_out(void **)
{
	struct client c = client_open();
	client_ask(&c, "POST", "/tailgate/v0/trace?packets=3&worker=1&timeout=1");
	wait_for_trace(&c, 1, 3);
	assert_int_equal(atomic_load(&fixture.gw.graph[0]->trace_wanted), 0);
	trace_packet(fixture.gw.graph[1], 1000);
	client_wait(&c);
	json_t *json = json_loads(body_of(&c), 0, NULL);
	assert_true(json_is_true(json_object_get(json, "timed_out")));
	assert_int_equal(json_array_size(json_object_get(json, "packets")), 1);
	assert_int_equal(atomic_load(&fixture.gw.graph[1]->trace_wanted), 0);
	json_decref(json);
	client_close(&c);
}

static void test_trace_client_leaves(void **)
{
	struct client c = client_open();
	client_ask(&c, "POST", "/tailgate/v0/trace?timeout=1");
	wait_for_trace(&c, 0, 1);
	client_close(&c);
	for (double end = seconds() + DEADLINE_S; t.server->trace != NULL && seconds() < end;)
		spin(NULL);
	assert_null(t.server->trace);
}

static struct rte_mbuf *test_packet(uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(t.pool);
	if (m == NULL)
		abort();
	memset(pkt_of(m), 0, sizeof(struct pkt));
	m->l2_len = 0;
	memset(rte_pktmbuf_append(m, (uint16_t)len), 0x45, len);
	return m;
}

static void capture_one(enum capture_point point, uint32_t len, const struct peer *peer)
{
	struct rte_mbuf *m = test_packet(len);
	pkt_of(m)->port_out = 1;
	capture_copy(fixture.gw.graph[0], m, point, peer);
	rte_pktmbuf_free(m);
}

static void wait_for_capture(struct client *c)
{
	for (double end = seconds() + DEADLINE_S;
		fixture.gw.graph[1]->capture == NULL && seconds() < end;)
		spin(c);
	assert_non_null(fixture.gw.graph[0]->capture);
	assert_ptr_equal(fixture.gw.graph[0]->capture, fixture.gw.graph[1]->capture);
}

// The chunks of a body put together; returns bytes.
static size_t unchunk(const char *body, uint8_t *out)
{
	size_t n = 0, len;
	char *end;
	while ((len = strtoul(body, &end, 16)) > 0) {
		memcpy(out + n, end + 2, len);
		n += len;
		body = end + 2 + len + 2;
	}
	return n;
}

// Count a file's blocks of one type; every block must end with its length.
static unsigned count_blocks(const uint8_t *file, size_t size, uint32_t type)
{
	unsigned n = 0;
	for (size_t at = 0; at < size;) {
		uint32_t head[2], tail;
		memcpy(head, file + at, sizeof(head));
		assert_true(head[1] >= 12 && at + head[1] <= size);
		memcpy(&tail, file + at + head[1] - 4, 4);
		assert_int_equal(head[1], tail);
		n += head[0] == type;
		at += head[1];
	}
	return n;
}

static void test_capture(void **)
{
	uint8_t *file = malloc(ANSWER_MAX);
	struct client c = client_open();
	client_ask(&c, "GET", "/tailgate/v0/capture?peer=berlin&count=3&snaplen=100");
	wait_for_capture(&c);
	json_decref(ask("GET", "/tailgate/v0/capture", 409));
	capture_one(CAPTURE_PLAIN_OUT, 1000, &fixture.peers[0]);
	capture_one(CAPTURE_PLAIN_OUT, 1000, &fixture.peers[1]); // not that peer
	capture_one(CAPTURE_PLAIN_OUT, 1000, NULL);		 // no peer
	capture_one(CAPTURE_WIRE_OUT, 500, &fixture.peers[0]);
	capture_one(CAPTURE_PLAIN_IN, 60, &fixture.peers[0]);
	capture_one(CAPTURE_PLAIN_IN, 60, &fixture.peers[0]); // one too many
	client_wait(&c);

	assert_int_equal(status_of(&c), 200);
	size_t size = unchunk(body_of(&c), file);
	assert_int_equal(count_blocks(file, size, 0x0a0d0d0a), 1);
	assert_int_equal(count_blocks(file, size, 1), 3); // plain, wire-lan, wire-wan
	assert_int_equal(count_blocks(file, size, 6), 3);
	const uint8_t *key = memmem(file, size, "YWFhYWFh", 8);
	assert_non_null(key); // the comment: the fixture's configuration has no name for it
	for (double end = seconds() + DEADLINE_S; t.server->capture != NULL && seconds() < end;)
		spin(NULL);
	assert_null(fixture.gw.graph[0]->capture);
	assert_int_equal(rte_mempool_in_use_count(t.pool), 0);
	client_close(&c);
	free(file);
}

static void test_capture_of_wire_with_ethernet(void **)
{
	uint8_t *file = malloc(ANSWER_MAX);
	struct client c = client_open();
	client_ask(&c, "GET", "/tailgate/v0/capture?point=wire&port=lan&count=1");
	wait_for_capture(&c);
	capture_one(CAPTURE_PLAIN_IN, 60, NULL); // not on the wire
	capture_one(CAPTURE_WIRE_OUT, 60, NULL); // not that port
	struct rte_mbuf *m = test_packet(74);
	memset(rte_pktmbuf_mtod(m, void *), 0xee, L2_LEN);
	rte_pktmbuf_adj(m, L2_LEN);
	m->l2_len = L2_LEN;
	capture_copy(fixture.gw.graph[0], m, CAPTURE_WIRE_IN, NULL);
	assert_int_equal(m->pkt_len, 60);
	rte_pktmbuf_free(m);
	client_wait(&c);

	size_t size = unchunk(body_of(&c), file);
	assert_int_equal(count_blocks(file, size, 6), 1);
	const uint8_t *frame = memmem(file, size, "\xee\xee\xee\xee\xee\xee\xee\xee", 8);
	assert_non_null(frame);
	uint32_t lengths[2];
	memcpy(lengths, frame - sizeof(lengths), sizeof(lengths));
	assert_int_equal(lengths[0], 74);
	assert_int_equal(lengths[1], 74);
	assert_int_equal(frame[L2_LEN], 0x45);
	client_close(&c);
	free(file);
}

// WireGuard packets whose peer the caller does not know are found by the outer header.
static void test_capture_by_endpoint(void **)
{
	static const uint8_t outer[] = {0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 10,
		0, 0, 1, 0xa2, 0xa9, 0, 9, 0, 40, 0, 0};
	struct client c = client_open();
	client_ask(&c, "GET", "/tailgate/v0/capture?peer=berlin&point=wire&count=1");
	wait_for_capture(&c);
	struct rte_mbuf *m = test_packet(60);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(data, outer, sizeof(outer));
	struct graph *g = fixture.gw.graph[0];
	static const struct {
		unsigned at;
		uint8_t value;
	} others[] = {{15, 2}, {20, 0}, {21, 0}, {9, 6}, {0, 0x40}, {3, 61}};
	for (unsigned i = 0; i < RTE_DIM(others); i++) {
		data[others[i].at] = others[i].value;
		capture_copy(g, m, CAPTURE_WIRE_IN, NULL);
		data[others[i].at] = outer[others[i].at];
	}
	for (double end = seconds() + 0.1; seconds() < end;)
		spin(&c);
	assert_false(c.closed);
	capture_copy(g, m, CAPTURE_WIRE_IN, NULL);
	rte_pktmbuf_free(m);
	client_wait(&c);
	assert_int_equal(status_of(&c), 200);
	client_close(&c);
}

static void test_capture_client_leaves(void **)
{
	struct client c = client_open();
	client_ask(&c, "GET", "/tailgate/v0/capture");
	wait_for_capture(&c);
	capture_one(CAPTURE_PLAIN_OUT, 100, NULL);
	client_close(&c);
	for (double end = seconds() + DEADLINE_S; t.server->capture != NULL && seconds() < end;)
		spin(NULL);
	assert_null(t.server->capture);
	assert_null(fixture.gw.graph[0]->capture);
	json_decref(ask("GET", "/tailgate/v0/status", 200));
}

// Packets of several segments and slots come out as they went in, cut at the snap length.
static void test_capture_pieces(void **)
{
	static const uint32_t lengths[] = {1, 63, 64, 2047, 2048, 2049, 4096, 6000};
	struct graph *g = fixture.gw.graph[0];
	for (unsigned i = 0; i < RTE_DIM(lengths); i++) {
		struct capture *c;
		struct capture_slot *copy;
		struct capture_filter filter = {
			.points = UINT32_MAX, .port = PORT_NONE, .snaplen = 5000};
		uint32_t want = RTE_MIN(lengths[i] + 6, filter.snaplen), got = 0;
		assert_int_equal(capture_create(&filter, &c), 0);
		assert_int_equal(capture_start(&fixture.gw, c), 0);
		struct rte_mbuf *m = test_packet(6);
		memset(rte_pktmbuf_mtod(m, void *), 'e', 6);
		rte_pktmbuf_adj(m, 6);
		m->l2_len = 6;
		for (uint32_t at = 0; at < lengths[i]; at += 1000) {
			uint32_t len = RTE_MIN(1000u, lengths[i] - at);
			struct rte_mbuf *segment = at == 0 ? m : test_packet(len);
			if (at == 0)
				memset(rte_pktmbuf_append(m, (uint16_t)len), 0x45, len);
			memset(rte_pktmbuf_mtod(segment, void *), (int)(at / 1000), len);
			if (at > 0)
				assert_int_equal(rte_pktmbuf_chain(m, segment), 0);
		}
		capture_copy(g, m, CAPTURE_WIRE_IN, NULL);
		rte_pktmbuf_free(m);
		assert_int_equal(capture_drain(c, &copy, 1), 1);
		assert_int_equal(copy->len, lengths[i] + 6);
		for (struct capture_slot *slot = copy; slot != NULL; slot = slot->next)
			for (uint32_t k = 0; k < slot->n; k++, got++)
				if (slot->data[k] != (got < 6 ? 'e' : (got - 6) / 1000))
					fail_msg("byte %u of %u", got, lengths[i]);
		assert_int_equal(got, want);
		capture_release(c, copy);
		assert_int_equal(capture_drain(c, &copy, 1), 0);
		capture_stop(&fixture.gw, c);
		capture_destroy(c);
	}
	assert_int_equal(rte_mempool_in_use_count(t.pool), 0);
}

// Nobody drains: what does not fit is lost and counted, and nothing leaks.
static void test_capture_full(void **)
{
	struct capture *c;
	struct capture_filter filter = {.points = UINT32_MAX, .port = PORT_NONE, .snaplen = 64};
	struct graph *g = fixture.gw.graph[0];
	assert_int_equal(capture_create(&filter, &c), 0);
	assert_int_equal(capture_start(&fixture.gw, c), 0);
	assert_int_equal(capture_start(&fixture.gw, c), -EBUSY);
	uint64_t before = g->counters[COUNTER_CAPTURE_LOST];
	for (unsigned i = 0; i < CAPTURE_SLOTS + 100; i++)
		capture_one(CAPTURE_PLAIN_IN, 200, NULL);
	assert_int_equal(g->counters[COUNTER_CAPTURE_LOST] - before, 100);
	// What was given back can be used again.
	struct capture_slot *copy;
	assert_int_equal(capture_drain(c, &copy, 1), 1);
	capture_release(c, copy);
	capture_one(CAPTURE_PLAIN_IN, 200, NULL);
	assert_int_equal(g->counters[COUNTER_CAPTURE_LOST] - before, 100);
	capture_stop(&fixture.gw, c);
	assert_null(g->capture);
	capture_destroy(c);
	assert_int_equal(rte_mempool_in_use_count(t.pool), 0);
}

static void test_destroy_while_busy(void **)
{
	char err[CTL_ERROR_LEN], path[96];
	struct ctl_server *server = t.server;
	struct ctl_params params = {.path = path};
	struct client tracing = client_open(), capturing = client_open(), half = client_open();
	client_ask(&tracing, "POST", "/tailgate/v0/trace?timeout=300");
	wait_for_trace(&tracing, 0, 1);
	client_ask(&capturing, "GET", "/tailgate/v0/capture");
	wait_for_capture(&capturing);
	client_send(&half, "GET /", 5);
	ctl_server_destroy(server);
	assert_null(fixture.gw.graph[0]->capture);
	assert_int_equal(atomic_load(&fixture.gw.graph[0]->trace_wanted), 0);
	assert_int_equal(access(t.path, F_OK), -1);
	client_wait(&half);
	client_close(&tracing);
	client_close(&capturing);
	client_close(&half);

	snprintf(path, sizeof(path), "%s", t.path);
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &t.server, err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_trace_times_out),
		cmocka_unit_test(test_trace_client_leaves),
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_capture_of_wire_with_ethernet),
		cmocka_unit_test(test_capture_by_endpoint),
		cmocka_unit_test(test_capture_client_leaves),
		cmocka_unit_test(test_capture_pieces),
		cmocka_unit_test(test_capture_full),
		cmocka_unit_test(test_destroy_while_busy),
	};
	return cmocka_run_group_tests(tests, client_setup, client_teardown);
}
