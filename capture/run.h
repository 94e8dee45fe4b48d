/*
 * run - which of the processes that were ever tracked are one run of a job.
 *
 * A job that is restarted keeps its name, and a ring holds what came before: a
 * bundle is about the run of its trigger.  A run begins with the first of its
 * ranks; a rank that was started again belongs to the run that it was last in.
 */
#pragma once
#include "capture/track.h"

struct run {
	char job[sizeof(((struct record_process *)0)->job)];	/* "": unknown, or several at once */
	uint64_t begin_ns;	/* CLOCK_BOOTTIME; 0: no rank is known */
	bool several;		/* jobs at once, and nothing says which is meant */
};

/*
 * The run that process `pid` is of; else (-1) the last of `job`, where that is known (NULL, or no rank knows it);
 * else that of the living ranks, else of the rank that began last.
 */
struct run run_of(const struct tracked *v, size_t n, int32_t pid, const char *job);
bool run_has(const struct run *r, const struct record_process *p);
