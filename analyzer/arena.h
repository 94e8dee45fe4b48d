/*
 * arena - memory that lives as long as one analysis.
 *
 * Allocations are zeroed and never freed one by one; arena_deinit() frees all,
 * arena_reset() keeps the first chunk for the next use.  `budget` bounds what
 * an input can make us allocate.  Only NULL is an error.
 */
#pragma once
#include <stddef.h>

struct arena {
	struct arena_chunk *chunks;	/* newest first */
	size_t budget;			/* bytes still granted */
	size_t granted;			/* bytes granted at the start */
};

void arena_init(struct arena *a, size_t budget_bytes);
void arena_deinit(struct arena *a);
void arena_reset(struct arena *a);

/* `n` objects of `size` bytes, aligned for any type; NULL when over budget. */
void *arena_alloc(struct arena *a, size_t n, size_t size);

/* A NUL-terminated copy of the `len` bytes at `s`. */
char *arena_strdup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Grow an array that lives in the arena: room for one more of `size` bytes after `n`. */
void *arena_grow(struct arena *a, void *array, size_t n, size_t *cap, size_t size);

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), 1, sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), (n), sizeof(type)))
