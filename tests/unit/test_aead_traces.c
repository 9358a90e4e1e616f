// Constant time, on the CPU itself (valgrind knows no AVX-512): two processes work on bursts of the
// same lengths and addresses with different keys and bytes, one instruction at a time. They have to
// take the same way. With AVX-512 no secret enters a general register while sealing, so that these
// have to agree as well, and with them every address.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/crypto/aead_engine.h"
#include "tests/unit/sanitized.h"

enum { LEN_MAX = 1424, STEPS_MAX = 2000000, ATTEMPTS = 3, WHY_LEN = 128 };

static uint8_t keys[AEAD_BURST][KEY_LEN], data[AEAD_BURST][LEN_MAX + AEAD_TAG_LEN];
static struct aead_op ops[AEAD_BURST];

struct trial {
	const char *name;
	unsigned n;
	uint32_t lens[3]; // in turn
	bool one_key, open;
	uint64_t forged;
};

static const struct trial trials[] = {
	{"seal one", 1, {700, 0, 0}, true, false, 0},
	{"seal small", 17, {64, 64, 64}, true, false, 0},
	{"seal mixed, a key each", 9, {300, 64, 17}, false, false, 0},
	{"open one", 1, {700, 0, 0}, true, true, 0},
	{"open mixed, a key each", 9, {300, 64, 17}, false, true, 0},
	{"open forged", 6, {300, 100, 64}, true, true, 0x21},
};

// In the child: secrets by number, then the engine between two stops.
static void child(const struct aead_engine *engine, void *state, const struct trial *t, int secret)
{
	uint8_t seed[randombytes_SEEDBYTES] = {(uint8_t)secret};

	randombytes_buf_deterministic(keys, sizeof(keys), seed);
	seed[1] = 1;
	randombytes_buf_deterministic(data, sizeof(data), seed);
	if (t->open)
		engine->seal(state, ops, t->n);
	for (unsigned i = 0; i < t->n; i++)
		if (t->forged >> i & 1)
			data[i][ops[i].len] ^= 1;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(1);
	raise(SIGSTOP);
	// What raise has left there, and the test: numbers of processes.
	asm volatile("xor %%eax,%%eax; xor %%ecx,%%ecx; xor %%edx,%%edx; xor %%esi,%%esi; xor "
		     "%%edi,%%edi; "
		     "xor %%r8d,%%r8d; xor %%r9d,%%r9d; xor %%r10d,%%r10d; xor %%r11d,%%r11d; "
		     "xor %%ebx,%%ebx; xor %%r12d,%%r12d; xor %%r13d,%%r13d; xor %%r14d,%%r14d; "
		     "xor %%r15d,%%r15d"
		     :
		     :
		     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "rbx", "r12",
		     "r13", "r14", "r15", "cc");
	if (t->open) {
		if (!engine->open(state, ops, t->n))
			_exit(2);
	} else {
		engine->seal(state, ops, t->n);
	}
	raise(SIGSTOP);
	_exit(0);
}

static pid_t start(const struct aead_engine *engine, void *state, const struct trial *t, int secret)
{
	const pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		child(engine, state, t, secret);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSTOPPED(status)) {
		print_message("ptrace is not allowed here\n");
		skip();
	}
	return pid;
}

// One instruction; false: the child has reached its second stop.
static bool step(pid_t pid, struct user_regs_struct *regs)
{
	int status;

	assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, regs), 0);
	return WSTOPSIG(status) == SIGTRAP;
}

static bool registers_equal(const struct user_regs_struct *a, const struct user_regs_struct *b)
{
	return a->rax == b->rax && a->rbx == b->rbx && a->rcx == b->rcx && a->rdx == b->rdx &&
	       a->rsi == b->rsi && a->rdi == b->rdi && a->rbp == b->rbp && a->rsp == b->rsp &&
	       a->r8 == b->r8 && a->r9 == b->r9 && a->r10 == b->r10 && a->r11 == b->r11 &&
	       a->r12 == b->r12 && a->r13 == b->r13 && a->r14 == b->r14 && a->r15 == b->r15;
}

extern char __executable_start, etext;

// Raises are the same way for both, but for the number of the process that they put in registers.
static bool in_program(const struct user_regs_struct *regs)
{
	return regs->rip >= (uintptr_t)&__executable_start && regs->rip < (uintptr_t)&etext;
}

static unsigned long long in_file(const struct user_regs_struct *regs)
{
	return regs->rip - (uintptr_t)&__executable_start;
}

// Number of instructions, or 0 with what differs in why.
static unsigned follow(pid_t a, pid_t b, bool registers, char why[static WHY_LEN])
{
	struct user_regs_struct x, y;
	bool agreed = false;

	for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
		const bool more = step(a, &x), more_b = step(b, &y);

		if (more != more_b || x.rip != y.rip) {
			snprintf(why, WHY_LEN,
				"after %u instructions the ways part at %#llx and %#llx", steps,
				in_file(&x), in_file(&y));
			return 0;
		}
		if (!more) {
			assert_true(steps > 1000 && (agreed || !registers));
			return steps;
		}
		if (!registers || !in_program(&x))
			continue;
		if (agreed && !registers_equal(&x, &y)) {
			snprintf(why, WHY_LEN, "a secret in a general register before %#llx",
				in_file(&x));
			return 0;
		}
		agreed |= registers_equal(&x, &y);
	}
	fail_msg("no end after %u instructions", STEPS_MAX);
	return 0;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

// Program and data are the same each time, so what a secret does to the way is there each time,
// too. A virtual machine loses a single step now and then: that is not.
static void compare_ways(
	const struct aead_engine *engine, void *state, const struct trial *t, bool registers)
{
	char why[WHY_LEN];

	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		const pid_t a = start(engine, state, t, 1), b = start(engine, state, t, 2);
		const unsigned steps = follow(a, b, registers, why);

		end(a);
		end(b);
		print_message("%s, %s: ", engine->name, t->name);
		if (steps > 0) {
			print_message("%u instructions, one way%s\n", steps,
				registers ? ", equal registers" : "");
			return;
		}
		print_message("%s\n", why);
	}
	fail_msg("%s, %s: %s", engine->name, t->name, why);
}

static void run(const struct aead_engine *engine)
{
	void *state = engine->create();

	if (!state) {
		print_message("%s: not on this CPU\n", engine->name);
		skip();
	}
	for (size_t k = 0; k < sizeof(trials) / sizeof(trials[0]); k++) {
		const struct trial *t = &trials[k];

		for (unsigned i = 0; i < t->n; i++)
			ops[i] = (struct aead_op){.data = data[i],
				.len = t->lens[i % 3],
				.counter = i,
				.key = keys[t->one_key ? 0 : i]};
		compare_ways(engine, state, t, engine == &aead_avx512 && !t->open);
	}
	engine->destroy(state);
}

static void test_avx512(void **)
{
	run(&aead_avx512);
}

static void test_avx2(void **)
{
	run(&aead_avx2);
}

// An engine with a branch on a secret: it is found.
static void seal_branching(void *, const struct aead_op op[], unsigned n)
{
	static volatile unsigned odd;

	for (unsigned i = 0; i < 1000 * n; i++)
		if (op[0].key[i % KEY_LEN] & 1)
			odd = odd + 1;
}

static void test_branch_is_found(void **)
{
	struct aead_engine engine = {.name = "branching", .seal = seal_branching};
	const pid_t a = start(&engine, NULL, &trials[1], 1),
		    b = start(&engine, NULL, &trials[1], 2);
	struct user_regs_struct x, y;
	bool parted = false;

	ops[0].key = keys[0];
	for (unsigned i = 0; i < 20000 && !parted; i++)
		parted = step(a, &x) != step(b, &y) || x.rip != y.rip;
	assert_true(parted);
	end(a);
	end(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_avx512),
		cmocka_unit_test(test_avx2),
		cmocka_unit_test(test_branch_is_found),
	};

	if (SANITIZED)
		return 77; // skipped: ten times the instructions, and they are not the engines'
	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
