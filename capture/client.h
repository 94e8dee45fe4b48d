/* client - how tdump asks the daemon (capture/control.h has the words). */
#pragma once
#include <jansson.h>

#include "bundle/error.h"

enum client_result {
	CLIENT_DONE,
	CLIENT_INCOMPLETE,	/* a bundle that lacks members */
	CLIENT_FAILED,		/* the daemon has no bundle; see err */
	CLIENT_NO_DAEMON,	/* nobody listens */
	CLIENT_DENIED,
	CLIENT_LATE,		/* no answer in time */
};

struct client_answer {
	char path[4096];	/* of the bundle, on the daemon's side */
	int fd;			/* of it; -1: not handed over; the caller's */
	json_t *status;		/* NULL unless asked for; the caller's */
};

typedef void client_progress(void *ctx, const char *line);

/* Send `request` (stolen) to the daemon at `socket` and wait for its last answer, `wait_s` at most. */
enum client_result client_ask(const char *socket, json_t *request, unsigned wait_s, client_progress *progress, void *ctx,
			      struct client_answer *ret, struct error *err);
