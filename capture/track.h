/*
 * track - the processes of the job on this host.
 *
 * A process is tracked when its environment makes it a rank, its cgroup is
 * configured, or it descends from one that is.  A worker reads environ, cmdline
 * and maps (they may hang); this table is what the main thread knows.  A process
 * is (pid, start): a pid that is used again is another process.  Ended processes
 * stay a while, for those who ask about them later.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/records.h"

#define TRACK_MAX 4096
#define TRACK_ENDED_KEPT 256		/* beyond that the one that ended first gives its slot away */

struct tracked {
	struct record_process p;	/* as recorded */
	bool gone;			/* its end was seen */
	uint64_t ended;			/* order of ends, from 1; 0: lives */
	int64_t last_log_ns, last_call_ns;	/* monotonic; 0: never: for the hang trigger */
	char nccl_path[256];		/* of the libnccl.so that it maps, through /proc/PID/root; "" none yet */
};

/* Zeroed is empty. */
struct track {
	struct tracked *by_slot;	/* TRACK_MAX, allocated with the first; a slot never moves */
	size_t n;			/* used slots; ended ones are reused, oldest first */
	uint32_t *pid;			/* by slot, dense for the search; 0: ended */
	size_t n_ended;
	uint64_t ends;
};

struct tracked *track_find(struct track *t, uint32_t pid);	/* living; NULL */
/*
 * Add, or complete with what is newly known; NULL: the table is full of the living, or no memory.
 * A living one with the same pid and another start has ended, and is marked so.
 */
struct tracked *track_put(struct track *t, const struct record_process *p);
void track_end(struct track *t, struct tracked *of_t);		/* its end was seen */
void track_free(struct track *t);
