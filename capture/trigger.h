/*
 * trigger - what makes the daemon dump.
 *
 * Sources raise; the engine merges equal ones (kind and rank) that follow each other within
 * dedup_s, keeps to bundles_per_hour, and starts one dump at a time: another trigger while
 * the post window of a dump is open is added to that bundle.  Every trigger is recorded in
 * the ring, the suppressed ones too.  "manual" is the operator: never suppressed, not counted.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bundle/error.h"

struct capture;
struct triggers;

int triggers_open(struct capture *c, struct error *err);	/* sets c->triggers */
void triggers_close(struct capture *c);

/*
 * `kind`: "exit", "oom", "kernel", "gpu", "log", "flight", "hang", "sigterm", "memory", "manual".  pid, rank: -1 for none.
 * A kind that the configuration switches off raises nothing.
 */
void trigger_raise(struct capture *c, const char *kind, int32_t pid, int32_t rank, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/*
 * Once a second: what no source sees.  "hang": the job lives, and for trigger_hang_s made neither an
 * NCCL call nor log output, having made some before; once per silence.  "memory": PSI memory "full" avg10
 * above trigger_memory_pct; again after it fell below half.
 */
void trigger_tick(struct capture *c, int64_t monotonic_ns);
