/*
 * process - the source that knows the job's processes; what other sources tell it.
 *
 * New pids come from the bpf source, else from a look once a second; a full look
 * through /proc follows every 30 s in any case.
 */
#pragma once
#include "capture/capture.h"

void track_exec(struct capture *c, const struct record_exec *e);	/* of any process */
void track_exit(struct capture *c, const struct record_task_exit *e);	/* recorded by the caller already */
