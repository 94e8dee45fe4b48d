/* cleanup - scope guards.  Each does nothing for the empty value: NULL, or -1 for a descriptor. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void freep(void *p) { free(*(void **)p); }
static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}
static inline void closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _cleanup_close_ _cleanup_(closep) /* initialise the fd to -1 */

/* Hand a guarded pointer to a new owner: yields it and disarms the guard. */
#define take(p) __extension__ ({ __typeof__(p) take_ = (p); (p) = NULL; take_; })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
