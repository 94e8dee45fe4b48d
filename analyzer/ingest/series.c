/*
 * The course of a training loss.  Values of one file and rank are one series; it
 * keeps the best value, and the last lines for quoting.  A spike that comes back
 * is no divergence, and neither is noise around a plateau; a NaN that numbers
 * follow is a skipped step.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/ingest/log.h"
#include "bundle/cleanup.h"

#define SERIES_MAX 64
#define TAIL 4			/* last lines kept */
#define TAIL_BYTES 600
#define DIVERGED 1.25		/* last value over the best one */
#define RECOVERED 3		/* finite values at the end */

struct series_point {
	double value;
	uint64_t offset, number;
	uint32_t len;
	char text[TAIL_BYTES];
};

struct series {
	uint32_t member;
	uint64_t n, rising;		/* values; of them in a row above the band at the end */
	double best;
	struct series_point tail[TAIL];
	bool nan_seen;
	uint64_t finite;		/* values since the last NaN */
	struct series_point nan_tail[TAIL];	/* the first NaN, with what came before it */
	uint64_t nan_n;			/* values then; 0: the series began with it */
};

struct series_set {
	int32_t rank[SERIES_MAX];	/* of each series; apart from them, as every line looks here */
	struct series s[SERIES_MAX];
	size_t n;
};

struct series_set *series_open(void) { return calloc(1, sizeof(struct series_set)); }
void series_close(struct series_set *set) { free(set); }

/*
 * The number behind "loss", as loggers write it: "lm loss: 2.1E+00", "loss=5.46",
 * "'loss': nan", "loss 2.31"; without a sign between, only what no count looks like.
 */
static bool loss_value(const char *s, size_t len, double *ret)
{
	const char *p = s, *end = s + len;
	char buf[32], *stop;
	bool sign;
	size_t n;

	while ((p = memmem(p, (size_t)(end - p), "loss", 4))) {
		const char *word = p += 4;

		while (p < end && (*p == '\'' || *p == '"' || *p == ' '))
			p++;
		sign = p < end && (*p == ':' || *p == '=');
		if (p >= end || (!sign && p == word))
			continue;
		for (p += sign; p < end && (*p == ' ' || *p == '\''); p++)
			;
		n = (size_t)(end - p) < sizeof(buf) - 1 ? (size_t)(end - p) : sizeof(buf) - 1;
		memcpy(buf, p, n);
		buf[n] = '\0';
		*ret = strtod(buf, &stop);
		if (stop == buf || isalnum((unsigned char)*stop) || *stop == '_' ||
		    (!sign && isfinite(*ret) && !memchr(buf, '.', (size_t)(stop - buf))))
			continue;
		return true;
	}
	return false;
}

/* "[rank3]: " at the start of the line; the full prefix would cost too much here. */
static int32_t quick_rank(const char *s, size_t len)
{
	static const char label[] = "[rank";
	int32_t v = 0;
	size_t i = sizeof(label) - 1;

	if (len < 8 || memcmp(s, label, i))
		return RANK_NONE;
	for (; i < len && s[i] >= '0' && s[i] <= '9' && v < 10000000; i++)
		v = v * 10 + (s[i] - '0');
	return i < len && s[i] == ']' ? v : RANK_NONE;
}

static struct series *find_series(struct series_set *set, int32_t rank)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->rank[i] == rank)
			return &set->s[i];
	return NULL;
}

static struct series *new_series(struct series_set *set, uint32_t member, int32_t rank)
{
	struct series *r = &set->s[set->n];

	memset(r, 0, sizeof(*r));
	set->rank[set->n++] = rank;
	r->member = member;
	return r;
}

static int64_t quote(struct store *s, uint32_t member, const struct series_point *p)
{
	struct prefix x = prefix_parse(p->text, p->len, 0, false);

	return store_quote(s, member, p->offset, p->number, p->text, p->len, x.time);
}

/* Cites the last of `n` values, which stand in the ring `tail`. */
static void observe(struct store *s, const struct series *r, int32_t rank, const struct series_point *tail,
		    uint64_t n, const char *kind)
{
	struct observation o = observation_of(kind, SRC_APP);
	size_t kept = n < TAIL ? (size_t)n : TAIL;

	o.scope.rank = rank >= 0 ? rank : s->members[r->member].rank;
	for (size_t i = 0; i < kept; i++) {
		const struct series_point *p = &tail[(n - kept + i) % TAIL];
		struct prefix x = prefix_parse(p->text, p->len, 0, false);

		if (i == 0)
			o.time = o.onset = x.time;
		observation_cite(&o, quote(s, r->member, p));
	}
	store_observe(s, &o);
	s->members[r->member].sources |= 1u << SRC_APP;
}

void series_line(struct series_set *set, const struct log_line *line, size_t at, uint64_t (*number)(void *ctx), void *ctx)
{
	int32_t rank = quick_rank(line->s, line->len);
	struct series *r = find_series(set, rank);
	size_t len = line->len;
	struct series_point *p;
	double v;

	if ((!r && set->n == SERIES_MAX) || len > 4096)
		return;
	while (len && (line->s[len - 1] == '\n' || line->s[len - 1] == '\r'))
		len--;
	if (at > len || !loss_value(line->s + at, len - at, &v) || memmem(line->s, len, "valid", 5))
		return;
	if (!r)
		r = new_series(set, line->member, rank);
	p = &r->tail[r->n++ % TAIL];
	p->value = v;
	p->offset = line->offset;
	p->number = number(ctx);
	p->len = (uint32_t)(len < TAIL_BYTES ? len : TAIL_BYTES);
	memcpy(p->text, line->s, p->len);
	if (!isfinite(v)) {
		if (!r->nan_seen && r->n > 1) {
			memcpy(r->nan_tail, r->tail, sizeof(r->tail));
			r->nan_n = r->n;
		}
		r->nan_seen = true;
		r->finite = 0;
		return;
	}
	r->finite++;
	if (r->best == 0 || v < r->best)
		r->best = v;
	r->rising = v > r->best * 1.08 ? r->rising + 1 : 0;
}

void series_end(struct series_set *set, struct store *s)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct series *r = &set->s[i];
		double last = r->tail[(r->n - 1) % TAIL].value, before = r->tail[(r->n - 2) % TAIL].value;

		if (r->nan_n)
			observe(s, r, set->rank[i], r->nan_tail, r->nan_n, r->finite < RECOVERED ? "loss.nan" : "loss.spike");
		if (!r->nan_seen && r->n >= 4 && r->rising >= 3 && r->best > 0 && last > r->best * DIVERGED &&
		    (last >= before || r->rising >= 20))
			observe(s, r, set->rank[i], r->tail, r->n, "loss.diverged");
	}
	set->n = 0;
}
