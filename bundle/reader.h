/*
 * reader - a cursor over bytes that nobody vouches for.
 *
 * The error is sticky: the first failed read records what, and at which byte,
 * moves `end` down to `pos`, and from then on every read yields zero or NULL.
 * So a run of fixed fields needs one check at its end.  Two places must check
 * at once: the head of a loop, and before a value becomes a size or an index.
 * One read per statement: C does not order reads inside one expression or
 * initialiser.  Integers are little-endian.  A reader owns nothing.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bundle/error.h"

struct reader {
	const uint8_t *start, *pos, *end;
	struct error *err;	/* never NULL */
};

static inline struct reader reader_over(const void *buf, size_t len, struct error *err)
{
	const uint8_t *p = buf;

	return (struct reader){ .start = p, .pos = p, .end = p ? p + len : p, .err = err };
}

static inline size_t reader_left(const struct reader *r) { return (size_t)(r->end - r->pos); }
static inline uint64_t reader_offset(const struct reader *r) { return (uint64_t)(r->pos - r->start); }
static inline bool reader_ok(const struct reader *r) { return r->err->code == ERR_NONE; }

/* Stop after an error was recorded: every later read yields nothing. */
static inline int reader_stopped(struct reader *r, int ret)
{
	r->end = r->pos;
	return ret;
}

/* Record an error at the cursor and stop the reader; yields -1. */
#define reader_fail(r, code, ...) \
	reader_stopped((r), error_at((r)->err, (code), reader_offset(r), __VA_ARGS__))

/* The next `n` bytes, or NULL.  The bytes live as long as the buffer does. */
static inline const uint8_t *reader_take(struct reader *r, size_t n)
{
	size_t left = reader_left(r);

	if (__builtin_expect(n > left, 0)) {
		reader_fail(r, ERR_FORMAT, "needs %zu bytes, has %zu", n, left);
		return NULL;
	}
	r->pos += n;
	return r->pos - n;
}

static inline uint8_t reader_u8(struct reader *r)
{
	const uint8_t *p = reader_take(r, 1);

	return p ? p[0] : 0;
}

static inline uint16_t reader_u16(struct reader *r)
{
	const uint8_t *p = reader_take(r, 2);

	return p ? (uint16_t)(p[0] | p[1] << 8) : 0;
}

static inline uint32_t reader_u32(struct reader *r)
{
	const uint8_t *p = reader_take(r, 4);

	return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

static inline uint64_t reader_u64(struct reader *r)
{
	const uint8_t *p = reader_take(r, 8);
	uint64_t v = 0;

	for (int i = 7; p && i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

/* The bytes up to the next newline, which is skipped; NULL when there is none. */
static inline const uint8_t *reader_line(struct reader *r, size_t *len_ret)
{
	const uint8_t *p = r->pos;
	const uint8_t *nl = reader_left(r) ? memchr(p, '\n', reader_left(r)) : NULL;

	if (!nl) {
		reader_fail(r, ERR_FORMAT, "line without an end");
		return NULL;
	}
	*len_ret = (size_t)(nl - p);
	r->pos = nl + 1;
	return p;
}
