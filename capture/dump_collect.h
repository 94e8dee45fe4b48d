/*
 * dump_collect - runs dump sources side by side and gathers what they send.
 *
 * One that is not done within its budget is given up: `failed: hung`; what it sent
 * before stays.  Members wait as open files until they are taken.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/manifest.h"
#include "capture/dump.h"

#define COLLECT_MAX 24

struct collected {
	char name[BUNDLE_NAME_BYTES];
	int fd;				/* -1: taken */
};

struct collect_job {
	const struct dump_source *source;
	struct worker worker;
	int64_t until_ns;		/* CLOCK_MONOTONIC */
	bool running, has_state;
};

struct collect {
	struct collect_job jobs[COLLECT_MAX];
	struct manifest_source states[COLLECT_MAX];	/* as `jobs` */
	size_t n_jobs;
	struct collected *members;
	size_t n_members, cap_members;
	char **notes;
	size_t n_notes, cap_notes;
	uint64_t masked;
	struct record_process *processes;	/* of capture/dump/find.c */
	size_t n_processes, cap_processes;
	uint8_t *buf;			/* WORKER_MESSAGE_BYTES */
	void (*done)(void *ctx, const struct manifest_source *state);	/* a source ended; may be NULL */
	void *ctx;
};

int collect_open(struct collect *c, struct error *err);
void collect_close(struct collect *c);		/* ends what still runs */
/* `ctx` outlives the worker. */
void collect_start(struct collect *c, const struct dump_source *s, const struct dump_context *ctx);
/* Handle what comes within `timeout_ms`, also on `extra_fd` (-1: none), whose readability ends the wait. */
void collect_poll(struct collect *c, int timeout_ms, int extra_fd);
bool collect_busy(const struct collect *c);
/* For the manifest; a copy. */
void collect_note(struct collect *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
