// ChaCha20-Poly1305 (RFC 8439) in bursts, in place, with WireGuard's nonce (4 zero bytes, then the
// counter, little-endian) and no additional data. Which engine runs is decided at create.
#pragma once

#include "dataplane/base/types.h"

enum {
	AEAD_BURST = 64,
	AEAD_TAG_LEN = 16,
	AEAD_MAX_LEN = 65535, // plaintext of one operation
};

struct aead_op {
	uint8_t *data;	    // plaintext or ciphertext; the tag goes to / lies at data + len
	uint32_t len;	    // plaintext bytes, 0..AEAD_MAX_LEN
	uint64_t counter;   // host order
	const uint8_t *key; // 32 bytes
};

struct aead; // one per worker, no locks

// Make an engine: "avx512", "avx2", "ipsec-mb", "libsodium", or NULL/"auto" for the fastest that
// works, which leaves the bursts that it does not suit to ipsec-mb. An engine must run on this CPU
// and agree with libsodium on fixed inputs (otherwise a warning is logged); if it does not, the
// next of the list is returned: check aead_engine_name. NULL with errno: EINVAL unknown name,
// ENOMEM. [ctl]
struct aead *aead_create(const char *engine) must_check;
void aead_destroy(struct aead *aead);
const char *aead_engine_name(const struct aead *aead);

// Encrypt n = 0..AEAD_BURST operations and write their tags. [wrk]
void aead_seal(struct aead *aead, const struct aead_op ops[], unsigned n);
// Decrypt n = 0..AEAD_BURST operations. Bit i of the result: ops[i] is authentic. The data of one
// that is not is zeroed. [wrk]
uint64_t aead_open(struct aead *aead, const struct aead_op ops[], unsigned n) must_check;
