// What survives a restart: keys and profile, and the last netmap, each a file of mode 0600 in the
// state directory. A file is replaced as a whole, with its length and hash in front: after a kill
// or a power cut at any moment there is the old one or the new one. [ctl]
#pragma once

#include "dataplane/base/types.h"

enum {
	PERSIST_TEXT_LEN = 256,
	PERSIST_STATE_MAX = 16384,     // bytes of the state file
	PERSIST_NETMAP_MAX = 64 << 20, // ... and of the netmap's
};

// Texts without control characters, "" for nothing; keys zero for none.
struct persist_state {
	struct key machine_private;  // of this device, survives a logout
	struct key node_private;     // of the login
	struct key old_node_private; // during a rotation
	bool logged_out;	     // by the user: do not come up by itself
	char login_server[PERSIST_TEXT_LEN];
	char stable_id[PERSIST_TEXT_LEN];
	char backend_log_id[PERSIST_TEXT_LEN];
	int64_t user;
	char login[PERSIST_TEXT_LEN];
	char hostname[PERSIST_TEXT_LEN]; // wished for by the user
};

// Make the directory (0700) if it is not there. -EACCES: others may write to it; -ENOTDIR.
int persist_dir(const char *dir) must_check;

// 0, -EINVAL for a text with control characters, or -errno of the file system; the old file stays.
int persist_state_save(const char *dir, const struct persist_state *) must_check;
// 0, or *out all zero and: -ENOENT no such file; -EACCES others can read it, or it is not ours;
// -EBADMSG damaged; -ENOTSUP written by a later version; -EFBIG; -errno.
int persist_state_load(const char *dir, struct persist_state *out) must_check;
void persist_state_fini(struct persist_state *); // wipes

// The text of netmap_dump. Loading is as above; free *text.
int persist_netmap_save(const char *dir, const char *text, size_t len) must_check;
int persist_netmap_load(const char *dir, char **text, size_t *len) must_check;
// At logout. 0, also when there is none, or -errno.
int persist_netmap_remove(const char *dir) must_check;
