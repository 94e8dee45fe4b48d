/*
 * words - the phrases that the reports for people share.
 *
 * A `struct words` is a growing byte string.  What it holds is raw: names and
 * log lines of the input go in as they are, and the writers make the whole safe
 * when they show it, so that no phrase can forget to.  Out of memory is sticky
 * (`full`) and checked once, by the writer.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "bundle/cleanup.h"

struct words {
	char *s;		/* NUL at [len]; NULL while nothing was added */
	size_t len, cap;
	bool full;		/* something was lost for want of memory */
};

void words_deinit(struct words *w);
#define _cleanup_words_ _cleanup_(words_deinit)

static inline void words_clear(struct words *w)
{
	w->len = 0;
	if (w->s)
		w->s[0] = '\0';
}
static inline const char *words_str(const struct words *w)
{
	return w->s ? w->s : "";
}

void words_add(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void words_addv(struct words *w, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
void words_bytes(struct words *w, const void *bytes, size_t len);

/* `src` as a terminal or a page may show it, at most `max` of its bytes; replaces `dst`. */
void words_printable(struct words *dst, const char *src, size_t len, size_t max);

/* "0-7,9"; `ranks` sorted.  "none" when there are none. */
void words_ranks(struct words *w, const int32_t *ranks, size_t n);
void words_rank_list(struct words *w, const struct index_list *ranks);
/* "rank 9" or "ranks 0-7,9" */
void words_rank_noun(struct words *w, const int32_t *ranks, size_t n);

/* "1 quote", "3 quotes" */
void words_count(struct words *w, size_t n, const char *one, const char *many);
/* "12.345 s", "29 min 58 s", "3 h 02 min" */
void words_duration(struct words *w, int64_t ns);
/* stamp_text() with milliseconds; "time unknown" */
void words_stamp(struct words *w, struct stamp t);

/* "rank 9 (local rank 1) on node01, GPU 0000:3b:00.0, pid 4242" */
void words_scope(struct words *w, const struct store *s, const struct scope *sc);
/* All culprits of the findings, grouped by host when there are many. */
void words_culprits(struct words *w, const struct analysis *a, const struct index_list *findings);
/* "dmesg.log", or "run.tar.zst: kernel/kmsg.log" */
void words_member(struct words *w, const struct store *s, uint32_t member);
/* "dmesg.log:1234", or "fr/rank3.pickle (byte 812)" */
void words_where(struct words *w, const struct store *s, uint32_t evidence);
/* What the quote says: the bytes without blanks around them, or their meaning. */
void words_quote(struct words *w, const struct store *s, uint32_t evidence);
/* What an observation saw: "the GPU fell off the bus (code=79) x3" */
void words_observation(struct words *w, const struct store *s, const struct observation *o);
/* "restart the job without node01" */
void words_action(struct words *w, const struct analysis *a);
/* Which ranks left no evidence, as a full clause. */
void words_silent(struct words *w, const struct analysis *a);

/* How one run ended: "GPU fell off the PCIe bus: rank 3; root cause, probable" */
void words_run_end(struct words *w, const struct run_end *r);

/* "Root cause", "Failure, cause not proven", ... */
const char *verdict_phrase(enum verdict_status s);

/* ---- what to show, and in which order ---- */

struct chain_link {
	uint32_t finding, depth;	/* 0: a cause */
};

/*
 * From cause to symptoms: the findings of the verdict, without a proven cause
 * also those of its candidates, and all that they explain.  free() *ret.
 */
int report_chain(const struct analysis *a, struct chain_link **ret, size_t *n_ret,
		 struct error *err);

/* The failures that wait for an explanation: stops, or where nothing is a stop, fatal ones. */
bool report_any_stop(const struct analysis *a);
bool observation_is_failure(const struct analysis *a, const struct observation *o, bool any_stop);
