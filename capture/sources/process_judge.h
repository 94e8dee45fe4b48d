/* process_judge - the worker's table of the job's processes, and how one comes into it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/sources/process_identity.h"
#include "capture/sources/process_worker.h"

struct judged;			/* one process of the job */

struct judge {
	struct worker_link *link;
	const struct process_worker_context *context;
	struct judged *judged;	/* TRACK_MAX */
	size_t n;
	uint32_t denied;	/* processes whose environment could not be read */
	char *buf;		/* for environ; BUF_BYTES */
};

bool judge_open(struct judge *j, struct worker_link *l, const struct process_worker_context *c);
/* Read the process and, when it is the job's, tell so.  One that is known is read again: it may have called exec. */
void judge_process(struct judge *j, uint32_t pid);
/* A process, not a thread, lives under this number. */
bool judge_is_there(uint32_t pid);
void judge_forget_ended(struct judge *j);

/* Libraries are mapped seconds to minutes after the start: look in growing intervals until libnccl.so is found. */
void judge_look_at_maps(struct judge *j);
/* Until a look at maps is due, at most `most`. */
int judge_wait_ms(const struct judge *j, int most);
