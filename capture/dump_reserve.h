/*
 * dump_reserve - a small file that holds room on the bundles' disk.
 *
 * When the disk is full it is given up, so that the last manifest fits and says
 * what does not.
 */
#pragma once
#include <limits.h>
#include <stdbool.h>

#define RESERVE_BYTES (512 << 10)

struct reserve {
	char path[PATH_MAX];		/* "": none */
	bool keep;
};

/* In the folder of the bundle; `keep`: it stays behind for the next dump. */
void reserve_open(struct reserve *r, const char *dir, bool keep);
void reserve_release(struct reserve *r);
/* Makes it again, or removes it. */
void reserve_close(struct reserve *r);
