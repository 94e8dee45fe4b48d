/* double_dumps - stands in for capture/dumps.c and capture/control.c: counts what is asked of it. */
#pragma once
#include <stdint.h>

struct double_dumps {
	unsigned started;
	char trigger[24], reason[512];
	int32_t pid, rank;
};
extern struct double_dumps double_dumps;	/* a test may reset it */
