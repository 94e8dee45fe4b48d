/*
 * privileges - what the kernel grants the daemon, and what it asks of it at start.
 *
 * oom_score_adj is set, the limit of open files is raised, and each capability
 * that is missing is told with what goes without it.  Nothing here is fatal.
 */
#pragma once
struct capture;

void privileges_prepare(const struct capture *c);
