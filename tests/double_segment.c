/* Test double of bundle/segment.c: the clocks and names alone. */
#include <time.h>

#include "bundle/segment.h"

static int64_t now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

struct clock_triple clock_now(void)
{
	return (struct clock_triple){ now(CLOCK_REALTIME), now(CLOCK_MONOTONIC), now(CLOCK_BOOTTIME) };
}

const char *stream_name(enum stream_id s)
{
	static const char *const name[] = {
#define X(id, text, percent) text,
		STREAMS(X)
#undef X
	};

	return name[s];
}
