// Fixed-size messages between threads: a ring of elements by value and a doorbell. Any number of
// writers, one reader. Nothing is allocated per message; a full ring refuses, and the writer
// counts.
#pragma once

#include "dataplane/base/types.h"

struct mailbox;

// element: bytes, a multiple of 4; size: a power of two. NULL with errno.
struct mailbox *mailbox_create(const char *name, unsigned element, unsigned size) must_check;
void mailbox_destroy(struct mailbox *);
// Readable while the reader has to look (an eventfd).
int mailbox_fd(const struct mailbox *);
// One message in; false: full. Rings the bell if the reader sleeps. [any thread]
bool mailbox_put(struct mailbox *, void *element);
// Up to n messages out, returns how many. [reader]
unsigned mailbox_get(struct mailbox *, void *elements, unsigned n);
unsigned mailbox_count(const struct mailbox *);
// Wake the reader up without a message. [any thread]
void mailbox_ring(struct mailbox *);
// Announce that the reader will sleep on the descriptor. False: there is mail, do not. [reader]
bool mailbox_sleep(struct mailbox *);
// Awake again: messages come without the bell. [reader]
void mailbox_wake(struct mailbox *);
