/* filesystems - which file systems are watched, and the worker; private to filesystems.c and its test. */
#pragma once
#include "capture/config.h"
#include "capture/worker.h"

#define FILE_SYSTEMS_MAX 32

enum file_system_role { FILE_SYSTEM_LOG = 1, FILE_SYSTEM_SHM = 2, FILE_SYSTEM_TEMPORARY = 4, FILE_SYSTEM_RING = 8 };

struct file_systems {
	struct {
		char path[512];
		uint32_t role;
	} watched[FILE_SYSTEMS_MAX];
	size_t n;
	uint32_t period_ms;
	int32_t asking;		/* index that is asked just now; kept by the parent, so it outlives a hung worker */
	uint32_t hung;		/* bit per path that did not answer; asked again every ten minutes */
};

/* WORKER_OWN: int32_t, the index that is asked now, or one of these. */
enum { FILE_SYSTEMS_OWN_ASKING = 1 };
enum { ASKING_NOTHING = -1, ASKING_BEGINS = -2 /* a worker that was just started */ };

/* Paths from the configuration: local ones first, so that a hung one does not hide them. */
void file_systems_of(const struct config *config, struct file_systems *ret);
void filesystems_run(struct worker_link *l, void *ctx);	/* ctx: struct file_systems */
/* In the parent: the worker asks `index` now; one that it never goes on from counts as hung when the next worker
 * starts. */
void filesystems_note(struct file_systems *all, int32_t index);
