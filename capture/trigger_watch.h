/* trigger_watch - the triggers that are the absence of something, or a level: see trigger_tick(). */
#pragma once
#include <stdint.h>

struct capture;
struct trigger_watch;

struct trigger_watch *trigger_watch_open(void);	/* NULL: no memory */
void trigger_watch_close(struct trigger_watch *w);	/* NULL is fine */
void trigger_watch_look(struct trigger_watch *w, struct capture *c, int64_t monotonic_ns);
