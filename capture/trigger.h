/*
 * trigger - what makes the daemon dump.
 *
 * Sources raise; the engine merges equal ones (kind and rank) within dedup_s, keeps to bundles_per_hour,
 * and starts one dump at a time: another trigger during a dump is added to that
 * bundle's manifest.  Every trigger is recorded in the ring, the suppressed ones too.
 */
#pragma once
#include <stdint.h>

struct capture;

/* `kind`: "exit", "oom", "kernel", "log", "flight", "hang", "sigterm", "memory", "manual".  pid, rank: -1 for none. */
void trigger_raise(struct capture *c, const char *kind, int32_t pid, int32_t rank, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
