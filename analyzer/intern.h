/*
 * intern - each distinct string once; compare by id.
 *
 * Id 0 is the empty string and stands for "absent".  Ids are dense and given
 * in first-seen order, so an array indexed by id is a map from strings.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/arena.h"

typedef uint32_t sid;		/* string id */

struct intern {
	struct arena *arena;	/* borrowed; holds the bytes */
	const char **str;	/* by id */
	uint32_t *slot;		/* open addressing: id, or 0 for a free slot */
	uint32_t n, cap;	/* cap is a power of two */
	bool full;		/* sticky: a string was lost for want of memory */
};

int intern_init(struct intern *in, struct arena *arena);
void intern_deinit(struct intern *in);

/* Id of the `len` bytes at `s`, copied on first sight.  Out of memory: 0, and `full`. */
sid intern(struct intern *in, const char *s, size_t len);
sid intern_cstr(struct intern *in, const char *s);	/* NULL: 0 */
const char *intern_str(const struct intern *in, sid id);

/* The id of a string seen before, or 0. */
sid intern_find(const struct intern *in, const char *s, size_t len);

/* 64-bit hash of bytes, the same on every machine. */
uint64_t hash_bytes(const void *p, size_t len, uint64_t seed);
