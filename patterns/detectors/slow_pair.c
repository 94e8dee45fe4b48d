/*
 * The same bandwidth test between pairs of hosts: a pair far below the others has a
 * slow path, and a host that is in every slow pair and in no good one is its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "patterns/detectors.h"

#define TESTS_MAX 4096
#define TESTS_MIN 4
#define SLOW_PCT 70		/* of the median */

struct test {
	int64_t evidence;
	enum source_class source;
	sid host[2];
	double gbs;
};

struct tests {
	struct test v[TESTS_MAX];
	size_t n;
};

static const struct evidence *quote(const struct store *s, const struct observation *o)
{
	return o->n_evidence ? &s->evidence[o->evidence[0]] : NULL;
}

/* Line of the result before `e` in its file, 0 for the first. */
static uint64_t line_before(const struct store *s, const struct evidence *e)
{
	uint64_t line = 0;

	for (const struct observation *x = NULL; (x = store_next(s, "net.bandwidth", x));) {
		const struct evidence *q = quote(s, x);

		if (q && q->member == e->member && q->line < e->line && q->line > line)
			line = q->line;
	}
	return line;
}

/* The hosts that the ranks above a result ran on; false unless they are two. */
static bool find_pair(const struct store *s, const struct evidence *e, struct test *t)
{
	uint64_t from = line_before(s, e);
	unsigned n = 0;

	for (const struct observation *x = NULL; (x = store_next(s, "net.test_rank", x));) {
		const struct evidence *q = quote(s, x);

		if (!q || q->member != e->member || q->line <= from || q->line > e->line || (n && x->scope.host == t->host[0]) ||
		    (n > 1 && x->scope.host == t->host[1]))
			continue;
		if (n == 2)
			return false;
		t->host[n++] = x->scope.host;
	}
	return n == 2;
}

static int compare_gbs(const void *a, const void *b)
{
	double x = ((const struct test *)a)->gbs, y = ((const struct test *)b)->gbs;

	return (x > y) - (x < y);
}

static bool in_good_pair(const struct tests *all, sid host, double limit)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].gbs >= limit && (all->v[i].host[0] == host || all->v[i].host[1] == host))
			return true;
	return false;
}

static void report(struct store *s, const struct tests *all, const struct test *t, double median)
{
	struct observation made = observation_of("net.slow_pair", t->source);
	bool first = in_good_pair(all, t->host[0], median * SLOW_PCT / 100), second = in_good_pair(all, t->host[1], median * SLOW_PCT / 100);
	char link[160];

	snprintf(link, sizeof(link), "%s - %s", intern_str(&s->strings, t->host[0]), intern_str(&s->strings, t->host[1]));
	made.scope.link = intern(&s->strings, link, strlen(link));
	if (first != second)
		made.scope.host = t->host[first];
	observation_fieldf(s, &made, "busbw", "%.1f", t->gbs);
	observation_fieldf(s, &made, "median", "%.1f", median);
	observation_cite(&made, t->evidence);
	store_observe(s, &made);
}

static void run(struct store *s)
{
	struct tests *all = calloc(1, sizeof(*all));
	double median;

	for (const struct observation *x = NULL; all && (x = store_next(s, "net.bandwidth", x)) && all->n < TESTS_MAX;) {
		struct test *t = &all->v[all->n];

		*t = (struct test){ .source = x->source, .gbs = strtod(observation_get(s, x, "busbw"), NULL) };
		t->evidence = x->n_evidence ? (int64_t)x->evidence[0] : -1;
		all->n += t->evidence >= 0 && find_pair(s, quote(s, x), t);
	}
	if (all && all->n >= TESTS_MIN) {
		qsort(all->v, all->n, sizeof(*all->v), compare_gbs);
		median = all->v[all->n / 2].gbs;
		for (size_t i = 0; i < all->n && all->v[i].gbs < median * SLOW_PCT / 100; i++)
			report(s, all, &all->v[i], median);
	}
	free(all);
}

const struct detector detector_slow_pair = {
	"slow_pair", "a pair of hosts whose bandwidth is far below that of the others", run,
};
