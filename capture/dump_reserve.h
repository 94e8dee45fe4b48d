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

/* Beside a bundle: of `path`, a folder (then it stays behind for the next dump) or a file to be. */
void reserve_open(struct reserve *r, const char *path, bool is_folder);
void reserve_release(struct reserve *r);
/* Makes it again, or removes it. */
void reserve_close(struct reserve *r);
