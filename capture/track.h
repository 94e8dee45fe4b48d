/*
 * track - the processes of the job on this host.
 *
 * A process is tracked when its environment makes it a rank, its cgroup is
 * configured, or it descends from one that is.  A worker reads environ, cmdline
 * and maps (they may hang); this table is what the main thread knows.  A process
 * is (pid, start): a pid that is used again is another process.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/records.h"

#define TRACK_MAX 4096

struct tracked {
	struct record_process p;	/* as recorded */
	bool gone;			/* its end was seen */
	int64_t last_log_ns, last_call_ns;	/* monotonic; 0: never: for the hang trigger */
	char nccl_path[256];		/* of the libnccl.so that it maps, through /proc/PID/root; "" none yet */
};

struct track {
	struct tracked *by_slot;	/* TRACK_MAX */
	size_t n;			/* used slots; ended ones are reused, oldest first */
};

struct tracked *track_find(struct track *t, uint32_t pid);	/* living; NULL */
/* Add, or complete with what is newly known; NULL: the table is full. */
struct tracked *track_put(struct track *t, const struct record_process *p);
