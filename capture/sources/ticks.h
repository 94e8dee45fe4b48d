/* ticks - the pace of a sampling worker, which ends when its parent is gone. */
#pragma once
#include <poll.h>

#include "capture/loop.h"
#include "capture/worker.h"

struct ticks {
	int64_t period_ns, next_ns;	/* CLOCK_MONOTONIC */
};

static inline struct ticks ticks_every(uint32_t period_ms)
{
	return (struct ticks){ .period_ns = (period_ms ? period_ms : 1000) * NS_PER_MS, .next_ns = loop_now() };
}

/* The next tick is due then; never in the past, so that what is slow does not pile up. */
static inline int64_t ticks_advance(struct ticks *t)
{
	int64_t now_ns = loop_now();

	t->next_ns += t->period_ns;
	if (t->next_ns < now_ns)
		t->next_ns = now_ns;
	return t->next_ns;
}

/* Is the parent gone, or does it ask for something, within `timeout_ms`? */
static inline bool ticks_parent_calls(struct worker_link *l, int timeout_ms)
{
	struct pollfd parent = { .fd = l->fd, .events = POLLIN };

	return poll(&parent, 1, timeout_ms) > 0;
}

/* Sleep until the next tick; false: the parent is gone. */
static inline bool ticks_wait(struct ticks *t, struct worker_link *l)
{
	int64_t left_ns = ticks_advance(t) - loop_now();

	return !ticks_parent_calls(l, left_ns > 0 ? (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS) : 0);
}
