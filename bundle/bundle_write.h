/*
 * bundle_write - a bundle: a POSIX tar in independent zstd frames.
 *
 * Plain `tar --zstd -x` opens it.  A frame holds at most 1 MiB of tar, so that
 * reading is parallel and a cut file gives every whole frame before the cut; a
 * skippable frame at the end indexes them.  The first member (manifest.json) has a
 * frame of its own.  Compressed by a thread beside the caller's, so a full disk is
 * met later than it happened: bundle_recover() says which members it cost.
 * FORMAT.md has the bytes.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/digest.h"
#include "bundle/error.h"

#define BUNDLE_NAME_BYTES 264		/* a folder, and the longest file name that a file system takes */

struct bundle_writer;

struct bundle_member {
	char name[BUNDLE_NAME_BYTES];
	uint64_t bytes;
	char sha256[DIGEST_HEX];
	bool is_short;			/* the file shrank while it was copied: zeros stand for the rest */
};

/* Begins "<path>.partial", 0640, which must not exist; it is locked (flock) as long as its writer lives. */
int bundle_create(const char *path, struct bundle_writer **ret, struct error *err);
/* Level 1 for binary streams, 3 for text. */
int bundle_add(struct bundle_writer *b, const char *name, const void *data, size_t len, int level, struct error *err);
/* The rest of `fd` from its offset on, at most `max` bytes. */
int bundle_add_fd(struct bundle_writer *b, const char *name, int fd, uint64_t max, int level, struct error *err);
/* What was added so far is on the disk when this returns. */
int bundle_sync(struct bundle_writer *b, struct error *err);
/* Members written, in order; valid until the next call. */
const struct bundle_member *bundle_members(const struct bundle_writer *b, size_t *n_ret);
/* Take back all members but the first `n`, which were synced: they are written anew, or not at all. */
void bundle_rewind(struct bundle_writer *b, size_t n);
/*
 * After a failed write: cut the file behind the last whole member that is on the
 * disk and go on.  The members lost so far come as bundle_lost().
 */
void bundle_recover(struct bundle_writer *b);
const struct bundle_member *bundle_lost(const struct bundle_writer *b, size_t *n_ret);
/* Ends the archive and the index, syncs, renames (a file of that name is replaced). */
int bundle_finish(struct bundle_writer *b, struct error *err);
/* Without finish: the .partial stays.  NULL is fine. */
void bundle_writer_close(struct bundle_writer *b);

static inline void bundle_writer_closep(struct bundle_writer **b) { bundle_writer_close(*b); }
#define _cleanup_bundle_writer_ __attribute__((cleanup(bundle_writer_closep)))
