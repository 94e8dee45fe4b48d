/*
 * value - what a pickle or a JSON text builds while it is read, and no longer.
 *
 * A value is 16 bytes; containers live in a scratch (one bump region, reused from
 * dump to dump), strings point into the input.  Nothing here is ever walked
 * recursively: a pickle can contain itself.  Look up known keys, check types.
 *
 * Entries of the list under the top-level key "entries" (or of a bare top-level
 * list) are handed to the `entry` callback the moment they are complete, and
 * forgotten: a dump is never held as a tree.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/error.h"

enum value_type { V_NONE, V_BOOL, V_INT, V_BIG, V_FLOAT, V_STR, V_LIST, V_TUPLE, V_DICT, V_FOLDED };

struct value {
	uint8_t type;			/* enum value_type; V_BIG: an integer beyond 64 bits */
	uint32_t len;			/* V_STR: bytes */
	union {
		int64_t i;		/* V_INT, V_BOOL */
		double f;
		const char *s;		/* V_STR: in the input, no NUL */
		struct value_seq *seq;	/* V_LIST, V_TUPLE, V_DICT (key, value, key, ...) */
	};
};

struct value_seq {
	struct value *v;
	uint32_t n, cap;
	uint64_t start;			/* byte of the input where it opened */
};

/* A bump region, reserved once, given back page by page by the kernel. */
struct scratch {
	uint8_t *base;
	size_t used, cap;
};
int scratch_init(struct scratch *s, size_t cap_bytes, struct error *err);
void scratch_deinit(struct scratch *s);
void *scratch_alloc(struct scratch *s, size_t bytes);	/* not zeroed; NULL when full */

/* Room for `more` values behind the `n` of a sequence; false when the scratch is full. */
bool value_reserve(struct scratch *s, struct value_seq *q, size_t more);

/* What the entries of a dump go to; `start` and `end` are byte offsets of the entry. */
struct value_sink {
	int (*entry)(void *ctx, const struct value *entry, uint64_t start, uint64_t end);
	void *ctx;
};

/* Limits of one text; what the input can make us do. */
struct value_limits {
	uint64_t ops;			/* opcodes or tokens */
	size_t stack;			/* values */
	size_t depth;			/* open containers */
};
extern const struct value_limits value_limits_default;

/* The values that are open while reading, reused from text to text. */
struct value_stack {
	struct value *v, *memo;
	size_t n, cap, memo_n, memo_cap;
	size_t *mark;
	size_t n_marks, mark_cap;
	bool memo_holes;		/* some index below memo_n was never set */
};
void value_stack_deinit(struct value_stack *st);

/*
 * Read a pickle (protocols 0-5, data only), or a JSON text.  0: *top_ret is the
 * whole value.  -1: `err` says what and where, and *top_ret is a dictionary of
 * the top-level keys that were complete (or V_NONE); whole entries before the
 * damage have been handed out.  ERR_UNSUPPORTED: the pickle holds an opcode that
 * is not data.
 */
int pickle_read(const void *data, size_t len, struct scratch *s, struct value_stack *st,
		const struct value_limits *lim, const struct value_sink *sink,
		struct value *top_ret, struct error *err);
int json_read(const void *data, size_t len, struct scratch *s, struct value_stack *st,
	      const struct value_limits *lim, const struct value_sink *sink,
	      struct value *top_ret, struct error *err);

/* The value under a key of a dictionary, or NULL. */
const struct value *value_get(const struct value *dict, const char *key);
bool value_is(const struct value *v, const char *text);	/* V_STR with this text */
int64_t value_int(const struct value *v, int64_t otherwise);	/* also from decimal text */
