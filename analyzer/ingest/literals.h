/*
 * literals - where any of many strings occurs in a text, all searched at once.
 *
 * A filter, then a proof.  Of every literal of at least 7 bytes one window of 7
 * is chosen, the one that ordinary log text holds least often.  Wherever the
 * window falls, one of its four 4-byte groups lies at a multiple of 4 from the
 * start of the text: so only every fourth position is looked at, by a hash into
 * a bitmap that fits the first-level cache.  Shorter literals (4 to 6 bytes) are
 * few; nibble tables find four bytes of them at every position.  A position
 * that passes is compared with the literals that have that group.
 *
 * One pass over the text, plus one comparison per literal that has the group
 * at hand: linear in both.  With AVX2 32 bytes a step, else byte by byte.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/error.h"

#define LITERAL_MIN 4

struct literal {
	const char *text;
	size_t len;		/* at least LITERAL_MIN, and no newline in it */
	bool nocase;		/* ASCII letters of either case */
};

struct literals;		/* read-only once built: threads share it */

/*
 * `list` may go afterwards; a literal is known by its index in it.  `sample` is
 * text like that to be searched, for speed only; none (0 bytes) is fine.
 */
int literals_open(const struct literal *list, size_t n, const uint8_t *sample, size_t sample_len, struct literals **ret,
		  struct error *err);
void literals_close(struct literals *l);	/* NULL is fine */

/*
 * Call `found` once for every literal and place that it occurs at; `at` is its
 * first byte.  Lines come in order, and within a line no order is promised.
 * Returns how many comparisons that took: many mean that the sample was of
 * another kind of text.
 */
typedef void literals_found(uint32_t literal, size_t at, void *ctx);
size_t literals_scan(const struct literals *l, const uint8_t *text, size_t n, literals_found *found, void *ctx);

/* The same without the processor's vectors: what other processors run, and what tests compare with. */
size_t literals_scan_plain(const struct literals *l, const uint8_t *text, size_t n, literals_found *found, void *ctx);
