/*
 * dump - one bundle, from a ring, from a dead daemon's ring, or from nothing.
 *
 * Runs in a process of its own (forked by the daemon, or tdump itself), so that
 * capture goes on.  Order: manifest.json and the ring as it is, synced, within
 * two seconds of the trigger; then, after the post window, what is taken at dump
 * (table of dump sources, each in a worker with a budget), the ring's segments that changed since, and
 * manifest-end.json.  The file is "<name>.partial" until it is whole, synced and
 * renamed; a `.partial` is a valid cut bundle at every moment.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bundle/bundle_write.h"
#include "bundle/error.h"
#include "capture/config.h"
#include "capture/track.h"
#include "capture/worker.h"

/* A trigger, as it travels to a dump that runs already; written in one piece. */
struct dump_trigger {
	char kind[24], reason[200];
	int32_t pid, rank;		/* -1 */
	int64_t realtime_ns;
};

struct dump_request {
	const char *trigger;		/* kind */
	const char *reason;		/* what was seen; text of --reason */
	const char *job;		/* NULL: of the tracked processes */
	int32_t pid, rank;		/* -1 */
	const char *ring_dir;		/* NULL: none */
	const char *out;		/* file or directory; NULL: config->bundle_dir */
	const struct config *config;
	const struct track *track;	/* NULL: found by looking through /proc */
	const char *sources_json;	/* state of the daemon's sources, a JSON array of name, state, reason; NULL */
	uint32_t post_s;
	bool live;			/* the host is the one of the ring, now: take what is taken at dump */
	const char *from;		/* "daemon", "dead ring", "snapshot" */
	int more_fd;			/* a pipe of struct dump_trigger: others met meanwhile; -1: none */
	void (*progress)(void *ctx, const char *line);	/* may be NULL */
	void *progress_ctx;
};

/* What dump_run() may yield besides 0 and -1. */
#define DUMP_INCOMPLETE 1		/* the bundle is whole, but the disk had no room for all members */

/* The path of the bundle, in `path_ret`.  ENOSPC leaves what could be written, as a whole bundle that says so. */
int dump_run(const struct dump_request *rq, char *path_ret, size_t path_size, struct error *err);

/*
 * What is taken when a bundle is made, besides the ring.  run() is a worker: it
 * sends members, notes and one state.  `tracks` are the living processes of the
 * job, ranks first.
 */
struct ring_take;
struct dump_context {
	const struct config *config;
	const struct tracked *tracks;
	size_t n_tracks;
	const struct ring_take *ring;	/* what came from the ring (capture/dump_ring.h); NULL */
	const char *ring_dir;		/* NULL: none */
	const char *remember_dir;	/* of capture/dump/taken.h; NULL: none */
	bool has_kernel_log;		/* the ring has one */
	int64_t run_begin_ns;		/* CLOCK_REALTIME: what was written before it is of another run; 0: unknown */
};
struct dump_source {
	const char *name;		/* in the manifest */
	uint32_t budget_s;
	void (*run)(struct worker_link *l, void *ctx);	/* ctx: struct dump_context */
};
extern const struct dump_source *const dump_sources[];	/* capture/dump_sources.c; NULL ends it */
/* After all others, when the post window is over: the tails of the logs. */
extern const struct dump_source dump_logs;
