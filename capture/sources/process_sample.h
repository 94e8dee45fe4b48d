/* process_sample - what a process does now, once a second, from files of /proc that cannot hang. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bundle/records.h"

/* Files that stay open; -1: not (yet).  They name the process even when its pid is used again. */
struct process_files {
	int stat, status, wchan;
};
#define PROCESS_FILES_NONE { -1, -1, -1 }

void process_files_close(struct process_files *f);

enum process_life { PROCESS_LIVES, PROCESS_ZOMBIE, PROCESS_ENDED };

/*
 * Fill all of `ret` but rank.  `keep`: leave the files open for the next time (ranks).  A process with another
 * start has ended; of a zombie, or one that is gone, *exit_code_ret is set where it can still be seen, else -1.
 */
enum process_life process_sample(uint32_t pid, uint64_t start_ns, struct process_files *f, bool keep,
				 struct record_process_sample *ret, int32_t *exit_code_ret);
