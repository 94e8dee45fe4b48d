/*
 * ingest - everything the operator points at, into the evidence store.
 *
 * Inputs are bundles, archives, directories, single files or "-", in any mix.
 * What a file is, is decided by its content.  What cannot be read is noted with
 * the reason, and the rest goes on; only a lack of memory ends the reading.
 * Files are read in the order of their sorted paths: the same input gives the
 * same store.
 */
#pragma once
#include "analyzer/ingest/log.h"
#include "analyzer/pattern.h"
#include "analyzer/store.h"

struct ingest_options {
	struct log_options log;
	unsigned jobs;			/* threads that decode dumps; 0: as many as processors */
	bool digest;			/* SHA-256 of every member, whatever its size */
	volatile const int *stop;	/* non-zero: end the reading, not the report */
	void (*progress)(void *ctx, const char *path, uint64_t bytes);	/* may be NULL */
	void *ctx;
};

int ingest(struct store *s, const struct pattern_set *set, char *const *inputs, size_t n_inputs,
	   const struct ingest_options *opt, struct error *err);

/*
 * Find the member again that evidence names and hand out the bytes of a range:
 * what `verify` reads.  0, or -1 with why.
 */
int ingest_reread(const char *input, const char *member, uint64_t offset, void *buf, size_t len,
		  struct error *err);
