/* For LD_PRELOAD: the wall clock is stepped by the seconds that the file CLOCK_STEP holds, from the moment that it exists. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	const char *path = getenv("CLOCK_STEP");
	FILE *f = clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
	int r = (int)syscall(SYS_clock_gettime, clock, ret);
	long seconds = 0;

	if (f && fscanf(f, "%ld", &seconds) == 1)
		ret->tv_sec += seconds;
	if (f)
		fclose(f);
	return r;
}
