/*
 * loop - the daemon's event loop: one thread, epoll, timers.
 *
 * Callbacks must not block: what could (logs, /proc/PID/environ, NVML, commands)
 * runs in a worker process (capture/worker.h).  After each wait the descriptors
 * come before the timers.  Periods lie on a common grid of the monotonic clock,
 * so that timers of one period wake the daemon together; ticks that were missed
 * are not made up for.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bundle/error.h"

#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL

struct loop;
struct loop_watch;

typedef void loop_fd_fn(void *ctx, int fd, uint32_t events);	/* EPOLLIN, EPOLLHUP, ... */
typedef void loop_timer_fn(void *ctx, int64_t monotonic_ns);

int loop_open(struct loop **ret, struct error *err);
void loop_close(struct loop *l);			/* watches end with it; NULL is fine */

/* `fd` stays the caller's, who removes the watch before closing it.  NULL: failed, see err. */
struct loop_watch *loop_add_fd(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *ctx, struct error *err);
/* First after `first_ns`, then every `period_ns` (0: once; the watch is gone when its callback returns). */
struct loop_watch *loop_add_timer(struct loop *l, int64_t first_ns, int64_t period_ns, loop_timer_fn *fn, void *ctx,
				  struct error *err);
void loop_remove(struct loop *l, struct loop_watch *w);	/* NULL is fine; also from inside a callback */

/* Until loop_stop(). */
int loop_run(struct loop *l, struct error *err);
void loop_stop(struct loop *l);

int64_t loop_now(void);					/* CLOCK_MONOTONIC, ns */
