/*
 * worker - work that may hang, in a process of its own.
 *
 * A worker is a forked child that talks to its parent over one SOCK_SEQPACKET
 * pair.  It sends messages (records for the ring, members for a bundle, lines for
 * its owner) and is abandoned when it is silent past its budget: the socket is
 * closed, the process gets SIGKILL, and, should it sit in an uninterruptible
 * sleep, nobody waits for it.  The source's state is then `failed: hung`.
 * Children lead a session of their own (what they exec ends with them), drop every
 * descriptor but stdio and the socket, have the default oom_score_adj and signals,
 * and die with the parent (PR_SET_PDEATHSIG).  Memory is a copy: the ring's mapping
 * is shared, and a worker never writes to it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "bundle/error.h"
#include "bundle/records.h"

#define WORKER_MESSAGE_BYTES (192u << 10)	/* longest message, head included */

enum worker_message_type {
	WORKER_RECORD,		/* a record for the ring */
	WORKER_MEMBER,		/* a bundle member: name in the payload, content in the fd that comes along */
	WORKER_STATE,		/* enum source_state in `kind`, reason in the payload */
	WORKER_OWN,		/* meaning between the worker and its owner; `kind` tells which */
	WORKER_ALIVE,		/* nothing to say: resets the budget */
};

struct worker_message {
	uint16_t type;		/* enum worker_message_type */
	uint16_t kind;		/* RECORD: enum record_kind */
	uint8_t stream;		/* RECORD: enum stream_id */
	uint8_t reserved[3];
	int64_t monotonic_ns;
	uint32_t bytes;		/* payload that follows */
	uint32_t reserved32;
};
#define WORKER_PAYLOAD_BYTES (WORKER_MESSAGE_BYTES - sizeof(struct worker_message))

/* ---- in the child ---- */

struct worker_link {
	int fd;			/* to the parent; readable: the parent wants something (WORKER_OWN) or is gone (EOF) */
	const char *name;
	uint64_t dropped;	/* records that found the socket full; sent as REC_LOSS when it drains */
};

/* The child's main: runs until its work is done or the parent is gone; its exit ends the process. */
typedef void worker_fn(struct worker_link *link, void *ctx);

/* Never blocks: a full socket drops the record and counts it.  Text that does not fit a message is cut. */
void worker_record(struct worker_link *l, uint8_t stream, uint16_t kind, int64_t monotonic_ns,
		   const void *fixed, size_t fixed_bytes, const void *text, size_t text_bytes);
/* Hands over `fd` (a memfd or a file; closed here) as the member `name`.  Blocks while the socket is full. */
void worker_member(struct worker_link *l, const char *name, int fd);
/* Both block while the socket is full; a payload beyond WORKER_PAYLOAD_BYTES is cut. */
void worker_state(struct worker_link *l, int state, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void worker_own(struct worker_link *l, uint16_t kind, const void *payload, size_t bytes);
void worker_alive(struct worker_link *l);
/* An anonymous file to fill and hand over; -1 with errno. */
int worker_memfd(const char *name);
/*
 * What the parent asked, waiting up to `timeout_ms` (-1: any time).  1: *kind_ret, and
 * the payload's length in *bytes_ret (cut to `size`); 0: nothing came; -1: the parent is gone.
 */
int worker_asked(struct worker_link *l, int timeout_ms, uint16_t *kind_ret, void *buf, size_t size, size_t *bytes_ret);

/* ---- in the parent ---- */

struct worker {
	pid_t pid;		/* 0: none */
	int fd;			/* -1: none; readable: a message, or the end */
	int64_t budget_ns;	/* longest silence; 0: any */
	int64_t heard_ns;	/* CLOCK_MONOTONIC */
	const char *name;
};
#define WORKER_NONE { .fd = -1 }

int worker_start(struct worker *w, const char *name, worker_fn *fn, void *ctx, int64_t budget_ns, struct error *err);
/*
 * Receive one message into `buf` (WORKER_MESSAGE_BYTES).  1: *ret and its payload
 * are valid, *fd_ret is the member's file or -1 (the caller's now); 0: nothing yet;
 * -1: the worker is gone, or does not keep to the form (then call worker_end()).
 */
int worker_receive(struct worker *w, void *buf, struct worker_message *ret, const uint8_t **payload_ret, int *fd_ret);
/* Ask it something (WORKER_OWN); false when its socket is full or closed. */
bool worker_ask(struct worker *w, uint16_t kind, const void *payload, size_t bytes);
/* Silent past its budget, with nothing waiting to be received. */
bool worker_is_hung(const struct worker *w, int64_t now_ns);
/*
 * End it: close, SIGKILL, reap without waiting for one that cannot die.  False: it
 * has not died yet; `w->pid` stays, and another call tries to reap it again.
 */
bool worker_end(struct worker *w);
