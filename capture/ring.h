/*
 * ring - the daemon's memory of the last minutes, in files that outlive it.
 *
 * One writer: the daemon's main thread.  Appending never blocks, never allocates
 * and makes no system call: files are preallocated and mapped MAP_SHARED, so what
 * was committed survives the death of the daemon, and, on a disk, what was
 * written back survives the host.  bundle/segment.h has the format.
 */
#pragma once
#include <sys/uio.h>

#include "bundle/records.h"
#include "bundle/segment.h"

struct ring;

#define RING_BYTES_MIN (16u << 20)

struct ring_options {
	const char *dir;		/* made when missing, 0750; its files are 0640 */
	uint64_t budget_bytes;		/* all streams together; at least RING_BYTES_MIN */
	const char *host;		/* NULL: gethostname() */
};

/*
 * Open, or make, the ring of `dir` and lock it: a second daemon on it is refused
 * (ERR_SYS, EWOULDBLOCK, the holder's pid in the text).  A ring of this boot with
 * the same layout is continued: sequence numbers go on, the writer begins a new
 * segment.  Any other (previous boot, other version or budget) is moved to
 * dir/previous/<boot id>-<n>/ whole; at most two of those are kept, newest first.
 */
int ring_open(const struct ring_options *opt, struct ring **ret, struct error *err);
void ring_close(struct ring *r);		/* syncs; NULL is fine */

/* Append one record whose payload is the concatenation of `iov`.  False: lost, and counted. */
bool ring_append(struct ring *r, enum stream_id s, uint16_t kind, int64_t monotonic_ns,
		 const struct iovec *iov, int n_iov);
/* A fixed struct, then (text may be NULL) a text. */
bool ring_put(struct ring *r, enum stream_id s, uint16_t kind, int64_t monotonic_ns,
	      const void *fixed, size_t fixed_bytes, const char *text, size_t text_bytes);
/* `n` records of `source` were lost before they came here: counted, and written as REC_LOSS with the next append. */
void ring_lost(struct ring *r, enum stream_id s, const char *source, uint64_t n);

/*
 * Once a second: begins to write back what is dirty of the rare streams (all but
 * logs and nccl), and, when the directory or its files went away, makes them again
 * from what is still mapped.
 */
void ring_sync(struct ring *r);
/*
 * Part of the ring is no longer in its files (they went away and could not be made
 * again, or the disk failed under them): recording goes on in memory that dies with
 * the daemon.  The source's state says so; NULL: all is well.
 */
const char *ring_trouble(const struct ring *r);
/* Of its files, as made: what the start-up line and the manifest state. */
uint64_t ring_bytes(const struct ring *r);
/* Is `dir` on a file system that does not survive a reboot (tmpfs)? */
bool ring_is_volatile(const char *dir);

struct ring_stats {
	uint64_t appended, lost, bytes;		/* since ring_open() */
	uint64_t first_seq, next_seq;		/* still held */
	int64_t oldest_monotonic_ns;
};
struct ring_stats ring_stats(const struct ring *r, enum stream_id s);

/* ---- copying it out, by the daemon's dump process or of a dead daemon's directory ---- */

/*
 * Every begun segment of `dir`, by stream, oldest first.  `seg` stands before the
 * first record; `data` is a private copy of the segment's bytes, cut behind its last
 * whole record, and valid during the call.  A segment whose header is damaged is
 * visited with a `seg` of no records and its damage counted.  `name` is "<stream>-NN.tcr".  0, or the first non-zero value
 * that the callback returns; -1 and an error when the directory cannot be read.
 */
typedef int ring_visit(void *ctx, const char *name, const struct segment_reader *seg, const uint8_t *data, size_t len);
int ring_read(const char *dir, ring_visit *visit, void *ctx, struct error *err);
/* Is a live daemon holding it?  Its pid, or 0.  Not for the holder itself: it would let go. */
int ring_holder(const char *dir);

static inline void ring_closep(struct ring **r) { ring_close(*r); }
#define _cleanup_ring_ __attribute__((cleanup(ring_closep)))
