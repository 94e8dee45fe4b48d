/*
 * capture - what the parts of the daemon share, and the table of sources.
 *
 * The daemon copies bytes: what a record means is the analyzer's business.  The
 * only thing that it looks for are its triggers.  Its own records (REC_SOURCE,
 * REC_TRIGGER, REC_CLOCK) go to the host stream.
 */
#pragma once
#include "capture/config.h"
#include "capture/loop.h"
#include "capture/ring.h"
#include "capture/track.h"
#include "capture/trigger.h"
#include "capture/worker.h"

struct source_status {
	enum source_state state;
	char reason[160];
};
const char *source_state_name(enum source_state s);	/* "ok", "absent", ... */

struct capture {
	struct config config;
	struct loop *loop;
	struct ring *ring;
	struct track track;
	struct source_status *status;	/* as `sources` */
	void **source_data;		/* as `sources`: what start() made */
	struct triggers *triggers;	/* capture/trigger.c */
	struct control *control;	/* capture/control.c: the socket */
	struct dumps *dumps;		/* capture/dumps.c: the dump that runs, and what is kept */
	int64_t started_ns;
	void (*say)(const char *line);	/* the daemon's log; NULL: silent */
};

/* A line for the daemon's log, made safe for a terminal. */
void capture_say(const struct capture *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * One thing the daemon watches.  start() may fail (no GPU, no capability, no such
 * file): the reason goes into the manifest and the other sources go on.
 */
struct source {
	const char *name;	/* in the configuration and the manifest */
	const char *what;	/* one clause for people */
	int (*start)(struct capture *c, void **ret, struct error *err);
	void (*stop)(struct capture *c, void *data);	/* NULL data is fine */
	/* A process became tracked, changed (its libnccl.so is known now), or ended (t->gone).  May be NULL. */
	void (*tracked)(struct capture *c, void *data, const struct tracked *t);
	void (*reload)(struct capture *c, void *data);	/* the configuration changed; may be NULL */
};
extern const struct source *const sources[];	/* capture/sources.c; NULL ends it */

/* Allocate what `sources` needs and start each that the configuration leaves on.  -1: no memory. */
int capture_start_sources(struct capture *c, struct error *err);
void capture_stop_sources(struct capture *c);
/*
 * Take over `fresh` (emptied): sources are told, started and stopped as it says.  What
 * only a restart can change (ring, socket, group) stays as it was; `kept_ret` names it
 * for the operator, "" nothing.
 */
void capture_reload(struct capture *c, struct config *fresh, char *kept_ret, size_t kept_size);
/* What start() made; NULL: it does not run. */
void *capture_source_data(const struct capture *c, const char *source);
bool capture_source_is_ok(const struct capture *c, const char *source);
/* The daemon's own records (sources, clock) again: once a minute, so that they outlive the recycling of segments. */
void capture_restate(struct capture *c);

/* Of `source`: the state that the manifest states; also recorded in the ring when it changes. */
void capture_state(struct capture *c, const char *source, enum source_state state, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Tell every source about a tracked process (the `process` source calls it). */
void capture_tracked(struct capture *c, const struct tracked *t);

/*
 * A worker wired into the loop (capture/attached.c): its records go to the ring, its
 * states to the manifest.  A hung or dead one is started again after a while, once
 * the old process is gone; one that said why it cannot work and ended keeps that
 * state and is tried again later.  own() gets its WORKER_OWN messages; may be NULL.
 */
struct attached_worker;
typedef void worker_own_fn(struct capture *c, void *ctx, uint16_t kind, const uint8_t *payload, size_t bytes);
struct attached_worker *capture_attach_worker(struct capture *c, const char *source, worker_fn *fn, void *fn_ctx,
					      int64_t budget_ns, worker_own_fn *own, void *own_ctx, struct error *err);
bool attached_worker_ask(struct attached_worker *w, uint16_t kind, const void *payload, size_t bytes);
void capture_detach_worker(struct capture *c, struct attached_worker *w);	/* NULL is fine */
