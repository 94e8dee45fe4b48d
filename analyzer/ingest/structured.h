/*
 * structured - readers of small structured files: one call reads one member.
 *
 * Each takes the whole member in memory and adds identity, evidence (exact byte
 * ranges of `data`) and observations to the store; `data` may go afterwards.
 * 0: read, perhaps with store_damage() notes.  -1: nothing could be read, and
 * `err` says what is wrong and at which byte.  Above 0, for the screens of tools: what
 * comes behind this byte is another text.
 *
 * Scopes start from the member's own host and rank, so fill those first.  Times
 * are those of the file; text with ages only ("87s") has TIME_UNKNOWN.
 */
#pragma once
#include <string.h>

#include "analyzer/store.h"
#include "analyzer/value.h"

/* `nvidia-smi -q -x`, DTD 10 to 13, also several documents in a row (`-l`). */
int ingest_nvidia_smi(struct store *s, uint32_t member, const char *data, size_t len,
		      struct error *err);

/* `nvidia-smi -q`, its table, `amd-smi` and `rocm-smi`, as text and as JSON. */
int ingest_gpu_text(struct store *s, uint32_t member, const char *data, size_t len, struct error *err);
int ingest_gpu_json(struct store *s, uint32_t member, const char *data, size_t len, struct error *err);

/* `dcgmi diag`, `dcgmi health`, `dcgmi dmon`. */
int ingest_dcgm_text(struct store *s, uint32_t member, const char *data, size_t len, struct error *err);
int ingest_dcgm_json(struct store *s, uint32_t member, const char *data, size_t len, struct error *err);

/* The status that NCCL's RAS threads give. */
int ingest_nccl_ras_text(struct store *s, uint32_t member, const char *data, size_t len, struct error *err);
int ingest_nccl_ras_json(struct store *s, uint32_t member, const char *data, size_t len, struct error *err);

/* Events, pods and nodes as JSON: one object, a List, or one object per line. */
int ingest_kubernetes_json(struct store *s, uint32_t member, const char *data, size_t len,
			   struct error *err);

/* `kubectl describe pod|node|job`, `kubectl get events`, `kubectl events`. */
int ingest_kubernetes_text(struct store *s, uint32_t member, const char *data, size_t len,
			   struct error *err);

/* py-spy, faulthandler, gdb and /proc/PID/stack text, in any mix. */
int ingest_stacks(struct store *s, uint32_t member, const char *data, size_t len,
		  struct error *err);

/* torchrun's error.json. */
int ingest_elastic_error(struct store *s, uint32_t member, const char *data, size_t len,
			 struct error *err);

/* ---- what these readers share ---- */

#define STRUCTURED_JSON_BYTES ((size_t)32 << 20)	/* largest JSON member that is read */

/* Quotes from one member; the line is counted from the last place asked for, either way. */
struct citer {
	struct store *s;
	uint32_t member;
	const char *data;
	size_t len;
	size_t at;
	uint64_t line;		/* of `at`, from 1 */
};

static inline struct citer citer_of(struct store *s, uint32_t member, const char *data, size_t len)
{
	return (struct citer){ .s = s, .member = member, .data = data, .len = len, .line = 1 };
}

/* Bytes of the member; length 0: none. */
struct place {
	size_t offset, length;
};

/* Cite a raw quote of these bytes, at the observation's own time. */
void citer_cite(struct citer *c, struct observation *o, struct place at);

/* A blank observation with the member's host and rank as its scope. */
struct observation citer_observation(const struct citer *c, const char *kind,
				     enum source_class source);

/* One line without its end; `ok` is false behind the last one. */
struct line {
	const char *s;
	size_t len, offset;
	bool ok;
};

static inline struct line line_at(const char *data, size_t len, size_t offset)
{
	struct line l = { .s = data + offset, .offset = offset, .ok = offset < len };
	const char *nl = l.ok ? memchr(l.s, '\n', len - offset) : NULL;

	if (l.ok)
		l.len = nl ? (size_t)(nl - l.s) : len - offset;
	return l;
}

static inline struct line line_first(const char *data, size_t len)
{
	return line_at(data, len, 0);
}

static inline struct line line_next(const char *data, size_t len, const struct line *l)
{
	return line_at(data, len, l->offset + l->len + 1);
}

/* Text that need not end in NUL. */
struct span {
	const char *s;
	size_t len;
};

static inline struct span span_of(const char *s, size_t len)
{
	return (struct span){ s, len };
}

static inline bool span_is(struct span t, const char *text)
{
	return t.len == strlen(text) && memcmp(t.s, text, t.len) == 0;
}

static inline bool span_starts(struct span t, const char *text)
{
	return t.len >= strlen(text) && memcmp(t.s, text, strlen(text)) == 0;
}

static inline const char *span_find(struct span t, const char *text)
{
	return t.len ? memmem(t.s, t.len, text, strlen(text)) : NULL;
}

static inline struct span span_trim(struct span t)
{
	while (t.len && memchr(" \t\r", t.s[0], 3))
		t.s++, t.len--;
	while (t.len && memchr(" \t\r", t.s[t.len - 1], 3))
		t.len--;
	return t;
}

/* Without its first `n` bytes. */
static inline struct span span_after(struct span t, size_t n)
{
	return n < t.len ? span_of(t.s + n, t.len - n) : span_of(t.s + t.len, 0);
}

/* The decimal number at the start; -1 when there is none that fits. */
int64_t span_number(struct span t);

/* A time in any of the forms of time_parse(); TIME_UNKNOWN when it is none. */
struct stamp span_time(struct span t);

/* Reads one JSON text after the other; strings of a value point into the text or the reader. */
struct json_reader {
	struct scratch scratch;
	struct value_stack stack;
};
/* For texts of up to `text_bytes`; refuses more than STRUCTURED_JSON_BYTES. */
int json_reader_init(struct json_reader *r, size_t text_bytes, struct error *err);
void json_reader_deinit(struct json_reader *r);
int json_reader_read(struct json_reader *r, const char *text, size_t len, struct value *ret,
		     struct error *err);

/* The text of a string; empty for anything else. */
static inline struct span span_of_value(const struct value *v)
{
	return v && v->type == V_STR ? span_of(v->s, v->len) : span_of("", 0);
}

/* Behind the JSON string whose opening quote is at `p`; `end` when it has no end. */
const char *json_string_end(const char *p, const char *end);

/*
 * Each object of a list, of the list under the key `list` of an object, or of a text of
 * several: found by its braces, so that a cut list gives every whole object before the cut,
 * which is then said in `err`.
 */
void json_each_object(const char *data, size_t len, const char *list, void (*each)(void *ctx, size_t start, size_t end),
		      void *ctx, struct error *err);

#define PATH_BYTES 256

/* A name as it stands in a path: lower case, "_" for all that is neither letter nor digit; cut to fit. */
void path_word(struct span name, char *out, size_t size);

/*
 * Each scalar below `top`, with the path of the keys above it and where it stands.  A list adds
 * nothing to the path, nor does the key "value" (of a value with its unit).
 */
void json_each_scalar(const char *data, size_t len, const struct value *top,
		      void (*each)(void *ctx, const char *path, const struct value *v, struct place at), void *ctx);

/* Where the `"key": value` pair of a value from value_get() stands. */
struct place json_pair(const char *data, size_t len, const struct value *v);
