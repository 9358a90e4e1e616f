#include "dataplane/table/lookup.h"
#include "dataplane/table/peer_table.h"
#include "tests/unit/naive_lpm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum { PEERS = 8 };

static struct rcu *rcu;
static struct peer_table *peers;
static struct allowedips *allowed;
static struct peer *peer[PEERS]; // a..h

static struct key key_of(uint32_t n)
{
	struct key k = {{1}};
	memcpy(k.bytes + 1, &n, sizeof(n));
	return k;
}

static int setup(void **)
{
	rcu = rcu_create();
	peers = peer_table_create(rcu, 3);
	allowed = allowedips_create(rcu);
	for (uint32_t i = 0; i < PEERS; i++) {
		struct key k = key_of(i);
		if (peer_table_add(peers, &k, "a", &peer[i]) < 0)
			return -1;
	}
	return 0;
}

static int teardown(void **)
{
	allowedips_destroy(allowed);
	peer_table_destroy(peers);
	rcu_destroy(rcu);
	return 0;
}

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;
	if (ip_prefix_parse(text, &p) < 0)
		fail_msg("%s", text);
	return p;
}

static void insert(char name, const char *text)
{
	struct ip_prefix p = prefix(text);
	if (allowedips_set(allowed, &p, peer[name - 'a']) < 0)
		fail_msg("set %s", text);
}

static struct peer *lookup(const struct ip_addr *a)
{
	return a->family == IP_V4 ? allowedips_lookup4(allowed, a->bytes)
				  : allowedips_lookup6(allowed, a->bytes);
}

// name 0: nobody.
static void expect(char name, const char *text)
{
	struct ip_prefix p = prefix(text);
	if (lookup(&p.addr) != (name ? peer[name - 'a'] : NULL))
		fail_msg("%s is not of %c", text, name ? name : '-');
}

struct kernel_case {
	char peer;
	const char *text;
};

// wireguard-linux-compat src/selftest/allowedips.c, its insert() and test() lines in order.
static const struct kernel_case inserts[] = {
	{'a', "192.168.4.0/24"},
	{'b', "192.168.4.4/32"},
	{'c', "192.168.0.0/16"},
	{'d', "192.95.5.64/27"},
	{'c', "192.95.5.65/27"}, // replaces the one before
	{'d', "2607:5300:6000:6b00:0:0:c05f:0543/128"},
	{'c', "2607:5300:6000:6b00::/64"},
	{'e', "0.0.0.0/0"},
	{'e', "::/0"},
	{'f', "::/0"}, // replaces the one before
	{'g', "2404:6800::/32"},
	{'h', "2404:6800:4004:0800:dead:beef:dead:beef/64"},
	{'a', "2404:6800:4004:0800:dead:beef:dead:beef/128"},
	{'c', "2444:6800:40e4:0800:deae:beef:def:beef/128"},
	{'b', "2444:6800:f0e4:0800:eeae:beef::/98"},
	{'g', "64.15.112.0/20"},
	{'h', "64.15.123.211/25"},
	{'a', "10.0.0.0/25"},
	{'b', "10.0.0.128/25"},
	{'a', "10.1.0.0/30"},
	{'b', "10.1.0.4/30"},
	{'c', "10.1.0.8/29"},
	{'d', "10.1.0.16/29"},
};

static const struct kernel_case lookups[] = {
	{'a', "192.168.4.20"},
	{'a', "192.168.4.0"},
	{'b', "192.168.4.4"},
	{'c', "192.168.200.182"},
	{'c', "192.95.5.68"},
	{'e', "192.95.5.96"},
	{'d', "2607:5300:6000:6b00:0:0:c05f:0543"},
	{'c', "2607:5300:6000:6b00:0:0:c02e:01ee"},
	{'f', "2607:5300:6000:6b01::"},
	{'g', "2404:6800:4004:0806::1006"},
	{'g', "2404:6800:4004:0806:0:1234:0:5678"},
	{'f', "2404:67ff:4004:0806:0:1234:0:5678"},
	{'f', "2404:6801:4004:0806:0:1234:0:5678"},
	{'h', "2404:6800:4004:0800:0:1234:0:5678"},
	{'h', "2404:6800:4004:0800::"},
	{'h', "2404:6800:4004:0800:1010:1010:1010:1010"},
	{'a', "2404:6800:4004:0800:dead:beef:dead:beef"},
	{'g', "64.15.116.26"},
	{'g', "64.15.127.3"},
	{'g', "64.15.123.1"},
	{'h', "64.15.123.128"},
	{'h', "64.15.123.129"},
	{'a', "10.0.0.52"},
	{'b', "10.0.0.220"},
	{'a', "10.1.0.2"},
	{'b', "10.1.0.6"},
	{'c', "10.1.0.10"},
	{'d', "10.1.0.20"},
};

static void test_kernel_cases(void **)
{
	for (size_t i = 0; i < RTE_DIM(inserts); i++)
		insert(inserts[i].peer, inserts[i].text);
	for (size_t i = 0; i < RTE_DIM(lookups); i++)
		expect(lookups[i].peer, lookups[i].text);
	assert_int_equal(allowedips_count(allowed), RTE_DIM(inserts) - 2);
}

static void test_kernel_removal(void **)
{
	static const char *const gone[] = {
		"1.0.0.0", "64.0.0.0", "128.0.0.0", "192.0.0.0", "255.0.0.0"};
	for (size_t i = 0; i < RTE_DIM(gone); i++) {
		insert('a', gone[i]);
		expect('a', gone[i]);
	}
	allowedips_clear_peer(allowed, peer[0]);
	for (size_t i = 0; i < RTE_DIM(gone); i++)
		expect(0, gone[i]);
	insert('a', "192.168.0.0/16");
	insert('a', "192.168.0.0/24");
	allowedips_clear_peer(allowed, peer[0]);
	expect(0, "192.168.0.1");
	assert_int_equal(allowedips_count(allowed), 0);
}

// 128 addresses that each differ from all ones in one bit: the deepest paths.
static void test_kernel_deep(void **)
{
	for (unsigned bit = 0; bit < 128; bit++) {
		struct ip_prefix p = {.addr.family = IP_V6, .len = 128};
		memset(p.addr.bytes, 0xff, 16);
		p.addr.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		assert_int_equal(allowedips_set(allowed, &p, peer[bit % PEERS]), 0);
	}
	for (unsigned bit = 0; bit < 128; bit++) {
		struct ip_addr a = {.family = IP_V6};
		memset(a.bytes, 0xff, 16);
		assert_null(lookup(&a));
		a.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		assert_ptr_equal(lookup(&a), peer[bit % PEERS]);
	}
}

static bool listed(char name, const char *text)
{
	uint32_t n;
	struct ip_prefix p = prefix(text);
	const struct ip_prefix *list = allowedips_of(allowed, peer[name - 'a'], &n);
	for (uint32_t i = 0; i < n; i++) {
		if (list[i].len == p.len && ip_addr_equal(&list[i].addr, &p.addr))
			return true;
	}
	return false;
}

static void test_kernel_list(void **)
{
	static const char *const set[] = {"192.95.5.93/27", "2607:5300:6000:6b00:0:0:c05f:0543/128",
		"10.1.0.20/29", "2607:5300:6d8a:6bf8:dab1:f1df:c05f:1523/83",
		"2607:5300:6d8a:6bf8:dab1:f1df:c05f:1523/21"};
	static const char *const seen[] = {"192.95.5.64/27",
		"2607:5300:6000:6b00:0:0:c05f:0543/128", "10.1.0.16/29",
		"2607:5300:6d8a:6bf8:dab1:e000::/83", "2607:5000::/21"};
	uint32_t n;
	for (size_t i = 0; i < RTE_DIM(set); i++)
		insert('a', set[i]);
	for (size_t i = 0; i < RTE_DIM(seen); i++)
		assert_true(listed('a', seen[i]));
	allowedips_of(allowed, peer[0], &n);
	assert_int_equal(n, RTE_DIM(seen));
	allowedips_of(allowed, peer[1], &n);
	assert_int_equal(n, 0);
}

static void test_move(void **)
{
	struct ip_prefix p = prefix("10.0.0.0/8");
	insert('a', "10.0.0.0/8");
	insert('a', "10.1.0.0/16");
	insert('b', "10.0.0.0/8");
	expect('b', "10.2.0.0");
	expect('a', "10.1.0.0");
	assert_false(listed('a', "10.0.0.0/8"));
	assert_true(listed('b', "10.0.0.0/8"));
	assert_int_equal(allowedips_clear(allowed, &p, peer[0]), -ENOENT); // not a's any more
	expect('b', "10.2.0.0");
	assert_ptr_equal(allowedips_get(allowed, &p), peer[1]);
	insert('b', "10.1.0.0/16"); // a's last
	expect('b', "10.1.0.0");
	allowedips_clear_peer(allowed, peer[0]);
	expect('b', "10.1.0.0");
	assert_int_equal(allowedips_clear(allowed, &p, peer[1]), 0);
	assert_int_equal(allowedips_clear(allowed, &p, peer[1]), -ENOENT);
	assert_null(allowedips_get(allowed, &p));
	expect(0, "10.2.0.0");
	p.len = 64;
	assert_int_equal(allowedips_set(allowed, &p, peer[0]), -EINVAL);
	expect(0, "10.2.0.0");
}

static void move_randomly(struct naive_lpm *naive, struct ip_prefix *known, int n, int steps)
{
	for (int i = 0; i < steps; i++) {
		const struct ip_prefix *p = &known[random() % n];
		struct peer *who = peer[random() % PEERS];
		if (random() % 4 == 0) {
			struct peer *owner = allowedips_get(allowed, p);
			assert_int_equal(
				allowedips_clear(allowed, p, who), who == owner ? 0 : -ENOENT);
			if (who == owner)
				naive_clear(naive, p);
		} else {
			assert_int_equal(allowedips_set(allowed, p, who), 0);
			naive_set(naive, p, who->id + 1);
		}
	}
}

// A million lookups against a list searched from end to end, over ten states of the table.
static void test_million_lookups(void **)
{
	enum { PREFIXES = 400, ROUNDS = 10, LOOKUPS = 100000 };
	static struct ip_prefix known[PREFIXES];
	struct naive_lpm naive = {0};
	uint32_t hits = 0;
	srandom(11);
	for (int i = 0; i < PREFIXES; i++)
		known[i] = random_prefix(i % 2 ? IP_V4 : IP_V6);
	for (int round = 0; round < ROUNDS; round++) {
		move_randomly(&naive, known, PREFIXES, 1000);
		rcu_reclaim(rcu);
		assert_int_equal(allowedips_count(allowed), naive_count(&naive));
		for (int i = 0; i < LOOKUPS; i++) {
			struct ip_addr a = random_addr(i % 2 ? IP_V4 : IP_V6);
			struct peer *got = lookup(&a);
			uint32_t expected = naive_lookup(&naive, &a);
			assert_int_equal(got ? got->id + 1 : 0, expected);
			hits += expected > 0;
		}
	}
	assert_true(hits > ROUNDS * LOOKUPS / 4);
	naive_fini(&naive);
}

static void test_peer_table(void **)
{
	struct key k = key_of(0), unknown = key_of(PEERS);
	struct peer *p = NULL;
	uint32_t n = 0;
	assert_int_equal(peer_table_add(peers, &k, "again", &p), -EEXIST);
	assert_null(p);
	assert_ptr_equal(peer_table_find(peers, &k), peer[0]);
	assert_null(peer_table_find(peers, &unknown));
	assert_null(peer_table_get(peers, PEER_MAX));
	assert_int_equal(peer[0]->path->port, PORT_NONE);
	for (uint32_t id = 0; (p = peer_table_next(peers, &id)); n++) {
		assert_ptr_equal(p, peer[n]);
		assert_int_equal(p->owner, n % 3);
	}
	assert_int_equal(n, PEERS);
	peer_table_remove(peers, peer[0]);
	assert_null(peer_table_find(peers, &k));
	assert_null(peer_table_get(peers, 0));
	assert_int_equal(peer_table_count(peers), PEERS - 1);
	assert_int_equal(peer_table_add(peers, &k, "before the grace period", &p), 0);
	assert_int_equal(p->id, PEERS);
	assert_int_equal(rcu_reclaim(rcu), 0);
	assert_int_equal(peer_table_add(peers, &unknown, "after it", &p), 0);
	assert_int_equal(p->id, 0);
}

static void test_peer_table_full(void **)
{
	struct peer *p;
	struct key k;
	for (uint32_t i = PEERS; i < PEER_MAX; i++) {
		k = key_of(i);
		assert_int_equal(peer_table_add(peers, &k, "", &p), 0);
	}
	k = key_of(PEER_MAX);
	assert_int_equal(peer_table_add(peers, &k, "", &p), -ENOSPC);
	struct ip_prefix all = prefix("0.0.0.0/0");
	assert_int_equal(allowedips_set(allowed, &all, p), 0); // the highest id
	assert_ptr_equal(lookup(&all.addr), p);
	peer_table_remove(peers, peer[3]);
	assert_int_equal(peer_table_add(peers, &k, "", &p), -ENOSPC);
	rcu_reclaim(rcu);
	assert_int_equal(peer_table_add(peers, &k, "", &p), 0);
}

static void test_path(void **)
{
	struct peer_path path = {.port = 1, .mtu = 1420, .family = IP_V4};
	struct peer_path *first = peer[0]->path;
	peer_set_path(rcu, peer[0], &path);
	path.mtu = 0; // it was copied
	assert_ptr_not_equal(peer[0]->path, first);
	assert_int_equal(peer[0]->path->mtu, 1420);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_kernel_cases),
		CASE(test_kernel_removal),
		CASE(test_kernel_deep),
		CASE(test_kernel_list),
		CASE(test_move),
		CASE(test_million_lookups),
		CASE(test_peer_table),
		CASE(test_peer_table_full),
		CASE(test_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
