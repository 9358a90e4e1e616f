// intel-ipsec-mb: one manager per engine, a burst submitted in one call. Its ChaCha20-Poly1305 jobs
// finish inside the submission, in order. The variant without checks takes 7 % less time at 64 B
// and 3 % less at 1424 B; what it would check is fixed here.
#include "dataplane/crypto/aead_engine.h"

#include <intel-ipsec-mb.h>
#include <rte_debug.h>

static_assert(AEAD_BURST <= IMB_MAX_BURST_SIZE);

struct state {
	IMB_MGR *manager;
	uint8_t nonces[AEAD_BURST][16];
	uint8_t tags[AEAD_BURST][AEAD_TAG_LEN]; // computed while opening
};

static void *create_with(void (*init)(IMB_MGR *))
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->manager = alloc_mb_mgr(0);
	if (!s->manager)
		goto no_manager;
	init(s->manager);
	if (imb_get_errno(s->manager))
		goto bad_cpu;
	return s;

bad_cpu:
	free_mb_mgr(s->manager);
no_manager:
	free(s);
	return NULL;
}

static void init_best(IMB_MGR *manager)
{
	init_mb_mgr_auto(manager, NULL);
}

static void *create(void)
{
	return create_with(init_best);
}

static void *create_avx2(void)
{
	return create_with(init_mb_mgr_avx2);
}

static void destroy(void *state)
{
	struct state *s = state;

	free_mb_mgr(s->manager); // wipes its own stack and state
	free(s);
}

static inline void fill_job(IMB_JOB *job, const struct aead_message *m, uint8_t *tag, bool seal)
{
	job->enc_keys = m->key;
	job->dec_keys = m->key;
	job->key_len_in_bytes = IMB_KEY_256_BYTES;
	job->src = m->data;
	job->dst = m->data;
	job->cipher_start_src_offset_in_bytes = 0;
	job->msg_len_to_cipher_in_bytes = m->len;
	job->hash_start_src_offset_in_bytes = 0;
	job->msg_len_to_hash_in_bytes = m->len;
	job->iv = m->nonce;
	job->iv_len_in_bytes = AEAD_NONCE_LEN;
	job->auth_tag_output = tag;
	job->auth_tag_output_len_in_bytes = AEAD_TAG_LEN;
	job->u.CHACHA20_POLY1305.aad = m->aad;
	job->u.CHACHA20_POLY1305.aad_len_in_bytes = m->aad_len;
	job->u.CHACHA20_POLY1305.ctx = NULL;
	job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	job->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	job->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
}

// The queue is empty between calls, so that fewer jobs than asked for is a broken library; to go
// on would put plaintext on the wire.
static inline void get_jobs(struct state *s, unsigned n, IMB_JOB *jobs[])
{
	RTE_VERIFY(IMB_GET_NEXT_BURST(s->manager, n, jobs) == n);
}

static inline void submit_jobs(struct state *s, unsigned n, IMB_JOB *jobs[])
{
	RTE_VERIFY(IMB_SUBMIT_BURST_NOCHECK(s->manager, n, jobs) == n);
}

static inline void fill_burst(struct state *s, const struct aead_op ops[], unsigned n, bool seal)
{
	IMB_JOB *jobs[AEAD_BURST];

	get_jobs(s, n, jobs);
	for (unsigned i = 0; i < n; i++) {
		const struct aead_message m = {.data = ops[i].data,
			.len = ops[i].len,
			.key = ops[i].key,
			.nonce = s->nonces[i]};

		aead_nonce(s->nonces[i], ops[i].counter);
		fill_job(jobs[i], &m, seal ? m.data + m.len : s->tags[i], seal);
	}
	submit_jobs(s, n, jobs);
}

static void seal_burst(void *state, const struct aead_op ops[], unsigned n)
{
	fill_burst(state, ops, n, true);
}

// Branch-free: the time does not tell where the first difference lies.
static inline bool tag_equal(const uint8_t *a, const uint8_t *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static uint64_t open_burst(void *state, const struct aead_op ops[], unsigned n)
{
	struct state *s = state;
	uint64_t authentic = 0;

	fill_burst(s, ops, n, false);
	for (unsigned i = 0; i < n; i++) {
		if (tag_equal(s->tags[i], ops[i].data + ops[i].len))
			authentic |= UINT64_C(1) << i;
		else
			memset(ops[i].data, 0, ops[i].len);
	}
	return authentic;
}

static void run_message(struct state *s, const struct aead_message *m, uint8_t *tag, bool seal)
{
	IMB_JOB *jobs[1];

	get_jobs(s, 1, jobs);
	fill_job(jobs[0], m, tag, seal);
	submit_jobs(s, 1, jobs);
}

static void seal_message(void *state, const struct aead_message *m)
{
	run_message(state, m, m->data + m->len, true);
}

static bool open_message(void *state, const struct aead_message *m)
{
	struct state *s = state;

	run_message(s, m, s->tags[0], false);
	if (tag_equal(s->tags[0], m->data + m->len))
		return true;
	memset(m->data, 0, m->len);
	return false;
}

const struct aead_engine aead_ipsecmb = {
	.name = "ipsec-mb",
	.create = create,
	.destroy = destroy,
	.seal = seal_burst,
	.open = open_burst,
	.seal_message = seal_message,
	.open_message = open_message,
};

const struct aead_engine aead_ipsecmb_avx2 = {
	.name = "ipsec-mb-avx2",
	.create = create_avx2,
	.destroy = destroy,
	.seal = seal_burst,
	.open = open_burst,
	.seal_message = seal_message,
	.open_message = open_message,
};
