/*
 * runs - which run of the job each observation is about.
 *
 * torchrun starts its workers again, a scheduler requeues the job, a log is appended
 * to: one input then holds several runs.  A run begins where a launcher says so
 * (`job.restarted`), with a new `attempt_N` folder, and, where nobody says so, where
 * another process takes a rank's place or after torchrun noted a failed worker and
 * went on.  An observation belongs to a run by the attempt that it or its path states,
 * else by its place in a member that shows the restart, else by its time, or that of
 * the last dated line above it.  What cannot be placed is about every run.
 */
#pragma once
#include "analyzer/store.h"

#define RUNS_MAX 32	/* of more, the earliest are one */

struct run_span {
	uint8_t first, last;	/* merged observations may reach over several */
};

struct runs {
	size_t n;			/* at least 1 */
	struct stamp *from;		/* by run; [0] and what is not dated: unknown */
	struct run_span *of;		/* by observation */
};

/* Both arrays live in `a`; -1: no memory. */
int runs_find(const struct store *s, struct arena *a, struct runs *r);

/* N of ".../attempt_N/..."; -1 when the path has none. */
int32_t path_attempt(const char *path);
