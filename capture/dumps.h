/*
 * dumps - the daemon's dumps: one process at a time, beside the capture.
 *
 * A trigger that comes while one runs is added to that bundle.  The process talks
 * back over a socket pair; it outlives the daemon, and is given up when it does not
 * end in time.  Old bundles go by quota and number (capture/retention.h).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "bundle/error.h"
#include "capture/capture.h"

/* What a dump says: */
enum dumps_news {
	DUMPS_PROGRESS = 'p',	/* text: a line */
	DUMPS_DONE = 'd',	/* text: the bundle's path; fd: the bundle */
	DUMPS_INCOMPLETE = 'i',	/* the same, of one that lacks members */
	DUMPS_FAILED = 'f',	/* text: why there is no bundle */
};
/* `fd` (-1: none) is the caller's. */
typedef void dumps_listener(void *ctx, enum dumps_news news, const char *text, int fd);

int dumps_open(struct capture *c, struct error *err);
void dumps_close(struct capture *c);

/* False: it could not be started. */
bool dumps_start(struct capture *c, const char *trigger, const char *reason, int32_t pid, int32_t rank);
/* The same with the job's name, NULL: as the processes say. */
bool dumps_start_job(struct capture *c, const char *trigger, const char *reason, const char *job, int32_t pid,
		     int32_t rank);
/* One listener: the control socket.  NULL: none. */
void dumps_listen(struct capture *c, dumps_listener *fn, void *ctx);
/* {"running": trigger or null, "last": [{"bundle", "trigger", "state", "time"}]}; the caller's. */
json_t *dumps_status(const struct capture *c);
/* State of the daemon's sources: [{"name", "state", "reason"}]; the caller's. */
json_t *dumps_sources(const struct capture *c);
