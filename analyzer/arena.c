#include "analyzer/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)256 << 10)

struct arena_chunk {
	struct arena_chunk *next;
	size_t cap, used;
	alignas(max_align_t) unsigned char mem[];
};

void arena_init(struct arena *a, size_t budget_bytes)
{
	*a = (struct arena){ .budget = budget_bytes, .granted = budget_bytes };
}

void arena_deinit(struct arena *a)
{
	for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	a->chunks = NULL;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *keep = a->chunks;

	if (keep) {
		struct arena rest = { .chunks = keep->next };

		arena_deinit(&rest);
		keep->next = NULL;
		memset(keep->mem, 0, keep->used);
		keep->used = 0;
	}
	a->budget = a->granted;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
	struct arena_chunk *c = a->chunks;
	size_t need;

	if (__builtin_mul_overflow(n, size, &need) || need > a->budget)
		return NULL;
	need = (need + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!c || need > c->cap - c->used) {
		size_t cap = need > CHUNK_BYTES ? need : CHUNK_BYTES;

		c = calloc(1, sizeof(*c) + cap);
		if (!c)
			return NULL;
		c->cap = cap;
		c->next = a->chunks;
		a->chunks = c;
	}
	a->budget -= need < a->budget ? need : a->budget;
	c->used += need;
	return c->mem + c->used - need;
}

char *arena_strdup(struct arena *a, const char *s, size_t len)
{
	char *p = arena_alloc(a, len + 1, 1);

	if (p && len)
		memcpy(p, s, len);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	char buf[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n < 0)
		return NULL;
	return arena_strdup(a, buf, (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf) - 1);
}

void *arena_grow(struct arena *a, void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 8;
	void *p;

	if (n < *cap)
		return array;
	p = arena_alloc(a, want, size);
	if (!p)
		return NULL;
	if (n)
		memcpy(p, array, n * size);
	*cap = want;
	return p;
}
