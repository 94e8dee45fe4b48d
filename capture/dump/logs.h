/* logs - names of the log members, which the dump needs too when this source hangs. */
#pragma once
#include "capture/dump_ring.h"

/* "logs/<path, flat>"; an earlier file of the same path gets a number behind. */
void dump_log_name(const struct ring_take *t, size_t i, char *buf, size_t size);
