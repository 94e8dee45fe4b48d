/* dumps - the dump process that the daemon forks. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bundle/error.h"

struct capture;

int dumps_open(struct capture *c, struct error *err);
void dumps_close(struct capture *c);
/* Start one, or add the trigger to the one that runs. */
bool dumps_start(struct capture *c, const char *trigger, const char *reason, int32_t pid, int32_t rank);
