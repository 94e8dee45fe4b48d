/*
 * pack - bytes into independent zstd frames, compressed on two threads.
 *
 * A frame holds at most PACK_FRAME_BYTES.  Frames are written in order.  One
 * thread compresses beside the caller's, which helps when it is ahead.  Marks tell
 * where the bytes could end: after a failed write (a full disk) the file goes back
 * to the last frame that ends at a mark, so that what stands is whole.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "bundle/error.h"

#define PACK_FRAME_BYTES ((size_t)1 << 20)
#define PACK_INDEX_MAGIC 0x184d2a5eu	/* skippable frame of zstd's seekable format */
#define PACK_INDEX_FOOT 0x8f92eab1u

struct pack;

/* `fd` stays the caller's: writable, positioned at its end, which is empty. */
int pack_open(int fd, struct pack **ret, struct error *err);
void pack_close(struct pack *p);		/* NULL is fine; what was not flushed is dropped */

/* Bytes of one level go together; a failed write is reported by a later call, and stays until pack_rollback(). */
int pack_write(struct pack *p, const void *data, size_t len, int level, struct error *err);
/* The bytes may end here; `mark` (rises) is what pack_rollback() yields. */
void pack_mark(struct pack *p, uint64_t mark);
/* End the frame when it is not empty. */
int pack_flush(struct pack *p, struct error *err);
/* Bytes in the frame that is not ended yet. */
size_t pack_pending(const struct pack *p);
/* Flush, and wait until everything is written. */
int pack_drain(struct pack *p, struct error *err);
/* Cut the file behind the last frame that ended at a mark, forget the failure; yields that mark, 0 when there is none. */
uint64_t pack_rollback(struct pack *p);
/* The same behind the last frame that ended at a mark of at most `mark`; what is not flushed is dropped. */
uint64_t pack_rewind(struct pack *p, uint64_t mark);
/* Drain, then write the index. */
int pack_finish(struct pack *p, struct error *err);

static inline void pack_closep(struct pack **p) { pack_close(*p); }
#define _cleanup_pack_ __attribute__((cleanup(pack_closep)))
