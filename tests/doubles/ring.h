/*
 * double_ring - stands in for capture/ring.c: keeps records in memory, and, with a
 * directory that exists, as plain "<stream>-00.tcr" files without checks or limits.
 */
#pragma once
#include <stdint.h>

#include "capture/ring.h"

struct double_record {
	enum stream_id stream;
	uint16_t kind;
	int64_t monotonic_ns;
	uint32_t bytes;
	uint8_t *payload;
};

/* The n-th record (from 0) of this kind; NULL: there are not so many. */
const struct double_record *double_ring_find(const struct ring *r, uint16_t kind, size_t n);
size_t double_ring_count(const struct ring *r, uint16_t kind);
uint64_t double_ring_lost(const struct ring *r);
