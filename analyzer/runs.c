#include "analyzer/runs.h"

#include <stdlib.h>
#include <string.h>

#define CLEAN_UP_NS INT64_C(1000000000)		/* what torchrun still writes of the run that ended */
#define SAME_RESTART_NS INT64_C(120000000000)	/* agents of several hosts write of one restart this far apart */

/* The beginning of a run. */
struct restart {
	int64_t number;			/* restarts so far, as the launcher counts; -1: it does not */
	struct stamp at;
};

/* A quote below which a member is about the run that begins there. */
struct mark {
	uint32_t member;
	uint64_t offset;
	struct restart restart;
	int run;			/* set when all restarts are known; -1: its restart was left out */
};

struct finder {
	const struct store *s;
	struct arena *a;
	struct restart v[RUNS_MAX - 1];
	size_t n;
	struct mark *marks;
	size_t n_marks, cap_marks;
	bool oom;
};

int32_t path_attempt(const char *path)
{
	const char *at = strstr(path, "attempt_");
	char *end;
	long n;

	if (!at)
		return -1;
	at += strlen("attempt_");
	n = strtol(at, &end, 10);
	return end > at && n >= 0 && n < 10000 ? (int32_t)n : -1;
}

static int32_t member_attempt(const struct store *s, uint32_t member)
{
	const struct member *m = member < s->n_members ? &s->members[member] : NULL;

	return m ? path_attempt(intern_str(&s->strings, m->name ? m->name : m->input)) : -1;
}

/* ---- where runs begin ---- */

/* What a launcher writes: the restarts so far, or how many of how many are left. */
static int64_t restart_number(const struct store *s, const struct observation *o)
{
	const char *count = observation_get(s, o, "count"), *left = observation_get(s, o, "left"), *of = observation_get(s, o, "of");

	if (*count)
		return strtoll(count, NULL, 10);
	return *left && *of ? strtoll(of, NULL, 10) - strtoll(left, NULL, 10) + 1 : -1;
}

static bool same_restart(const struct restart *a, const struct restart *b)
{
	if (a->number >= 0 && b->number >= 0)
		return a->number == b->number;
	return a->at.base && a->at.base == b->at.base && llabs(a->at.ns - b->at.ns) <= SAME_RESTART_NS;
}

/* Earlier: by number, else by time. */
static bool precedes(const struct restart *a, const struct restart *b)
{
	return a->number >= 0 && b->number >= 0 ? a->number < b->number : stamp_order(a->at, b->at, 0) < 0;
}

/* In order; a run begins when the last witness has written of its restart. */
static void add_restart(struct finder *f, struct restart r)
{
	size_t at = f->n;

	for (size_t i = 0; i < f->n; i++)
		if (same_restart(&f->v[i], &r)) {
			if (stamp_order(r.at, f->v[i].at, 0) > 0 || !f->v[i].at.base)
				f->v[i].at = r.at;
			f->v[i].number = f->v[i].number < 0 ? r.number : f->v[i].number;
			return;
		}
	while (at > 0 && precedes(&r, &f->v[at - 1]))
		at--;
	if (f->n == RUNS_MAX - 1) {	/* the earliest two become one */
		if (at == 0)
			return;
		memmove(f->v, f->v + 1, (f->n - 1) * sizeof(*f->v));
		f->n--, at--;
	}
	memmove(f->v + at + 1, f->v + at, (f->n - at) * sizeof(*f->v));
	f->v[at] = r;
	f->n++;
}

static struct stamp first_seen(const struct observation *o) { return o->first.base ? o->first : o->above; }
static struct stamp last_seen(const struct observation *o) { return o->last.base ? o->last : o->above_last; }

static void add_mark(struct finder *f, uint32_t evidence, struct restart r)
{
	void *p = arena_grow(f->a, f->marks, f->n_marks, &f->cap_marks, sizeof(*f->marks));

	if (!p) {
		f->oom = true;
		return;
	}
	f->marks = p;
	f->marks[f->n_marks++] = (struct mark){ f->s->evidence[evidence].member, f->s->evidence[evidence].offset, r, -1 };
}

static void find_stated(struct finder *f)
{
	for (const struct observation *o = NULL; (o = store_next(f->s, "job.restarted", o));) {
		struct restart r = { restart_number(f->s, o), last_seen(o) };

		add_restart(f, r);
		for (unsigned i = 0; i < o->n_evidence; i++)
			add_mark(f, o->evidence[i], r);
	}
	/* attempts that only folders tell of; attempt 0 is the first run */
	for (size_t i = 0; i < f->s->n_members; i++) {
		int32_t attempt = member_attempt(f->s, (uint32_t)i);

		if (attempt > 0)
			add_restart(f, (struct restart){ attempt, f->s->members[i].first });
	}
}

/* ---- restarts that nobody states ---- */

/* -1, 0, 1: the communicator's place in the job; equal for a process and the one that took over from it. */
static int compare_place(const struct store *s, const struct observation *a, const struct observation *b)
{
	int nranks = strcmp(observation_get(s, a, "nranks"), observation_get(s, b, "nranks"));

	if (a->scope.host != b->scope.host)
		return a->scope.host < b->scope.host ? -1 : 1;
	if (a->scope.gpu != b->scope.gpu)
		return a->scope.gpu < b->scope.gpu ? -1 : 1;
	if (a->scope.rank != b->scope.rank)
		return a->scope.rank < b->scope.rank ? -1 : 1;
	return nranks;
}

static int compare_init(const void *x, const void *y, void *ctx)
{
	const struct observation *a = *(const struct observation *const *)x, *b = *(const struct observation *const *)y;
	int order = compare_place(ctx, a, b);

	if (!order)
		order = stamp_order(first_seen(a), first_seen(b), 0);
	return order ? order : (a->order > b->order) - (a->order < b->order);
}

/* The same rank of a communicator as large, on the same GPU, in another process. */
static void find_new_processes(struct finder *f)
{
	const struct observation **v = ARENA_ARRAY(f->a, const struct observation *, f->s->n_obs + 1);
	int64_t number = 0;
	size_t n = 0;

	f->oom |= !v;
	for (const struct observation *o = NULL; v && (o = store_next(f->s, "nccl.init_rank", o));)
		if (o->scope.host && o->scope.gpu && o->scope.rank >= 0 && o->scope.pid > 0)
			v[n++] = o;
	if (n)
		qsort_r(v, n, sizeof(v[0]), compare_init, (void *)f->s);
	for (size_t i = 1; i < n; i++) {
		struct restart r;

		if (compare_place(f->s, v[i - 1], v[i]))
			number = 0;
		else
			number += v[i - 1]->scope.pid != v[i]->scope.pid;
		r = (struct restart){ number, first_seen(v[i]) };
		if (number == 0 || number >= RUNS_MAX)
			continue;
		add_restart(f, r);
		for (unsigned k = 0; k < v[i]->n_evidence; k++)
			add_mark(f, v[i]->evidence[k], r);
	}
}

/* torchrun says "failed (exitcode: ...)" once for each run that it ends; then it starts the workers again, or stops. */
static bool ends_run(const struct store *s, const struct observation *o)
{
	return o->source == SRC_LAUNCHER && o->scope.local_rank >= 0 && o->scope.pid > 0 && observation_get(s, o, "exitcode")[0];
}

static void find_ended(struct finder *f)
{
	const struct observation *before = NULL;

	for (size_t i = 0; i < f->s->n_obs; i++) {
		const struct observation *o = &f->s->obs[i];

		if (!ends_run(f->s, o))
			continue;
		if (before && before->member == o->member && before->scope.pid != o->scope.pid && before->last.base &&
		    before->last.base == o->first.base && o->first.ns - before->last.ns > SAME_RESTART_NS)
			add_restart(f, (struct restart){ -1, { before->last.ns + CLEAN_UP_NS, before->last.base } });
		before = o;
	}
}

static int compare_marks(const void *x, const void *y)
{
	const struct mark *a = x, *b = y;

	if (a->member != b->member)
		return a->member < b->member ? -1 : 1;
	return (a->offset > b->offset) - (a->offset < b->offset);
}

static void settle_marks(struct finder *f)
{
	for (size_t i = 0; i < f->n_marks; i++)
		for (size_t k = 0; k < f->n; k++)
			if (same_restart(&f->v[k], &f->marks[i].restart))
				f->marks[i].run = (int)k + 1;
	if (f->n_marks)
		qsort(f->marks, f->n_marks, sizeof(f->marks[0]), compare_marks);
}

static void find_restarts(struct finder *f)
{
	find_stated(f);
	if (f->n == 0)
		find_new_processes(f);
	if (f->n == 0)
		find_ended(f);
	settle_marks(f);
}

/* ---- where an observation belongs ---- */

static int run_of_number(const struct finder *f, int64_t number)
{
	size_t n = 0;

	while (n < f->n && f->v[n].number >= 0 && f->v[n].number <= number)
		n++;
	return (int)n;
}

static int run_of_time(const struct finder *f, struct stamp t)
{
	int n = 0;

	if (!t.base || t.base == TIME_BOOT)
		return -1;
	for (size_t i = 0; i < f->n; i++) {
		if (f->v[i].at.base != t.base)
			return -1;
		n += stamp_order(f->v[i].at, t, 0) <= 0;
	}
	return n;
}

/* The run of the last restart that the same member shows above a quote, else the one before the first below it. */
static int run_of_place(const struct finder *f, const struct evidence *q)
{
	size_t low = 0, high = f->n_marks;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct mark *m = &f->marks[mid];

		if (m->member < q->member || (m->member == q->member && m->offset < q->offset))
			low = mid + 1;
		else
			high = mid;
	}
	if (low > 0 && f->marks[low - 1].member == q->member)
		return f->marks[low - 1].run;
	if (low < f->n_marks && f->marks[low].member == q->member && f->marks[low].run > 0)
		return f->marks[low].run - 1;
	return -1;
}

/* A member that was written within one run. */
static int run_of_member(const struct finder *f, uint32_t member)
{
	const struct member *m = member < f->s->n_members ? &f->s->members[member] : NULL;
	int first = m ? run_of_time(f, m->first) : -1;

	return m && first == run_of_time(f, m->last) ? first : -1;
}

static int place(const struct finder *f, const struct observation *o, bool last)
{
	const struct evidence *q = o->n_evidence ? &f->s->evidence[o->evidence[last ? o->n_evidence - 1 : 0]] : NULL;
	int32_t attempt = o->scope.attempt >= 0 ? o->scope.attempt : member_attempt(f->s, q ? q->member : o->member);
	int run = attempt >= 0 ? run_of_number(f, attempt) : -1;

	if (run < 0 && q)
		run = run_of_place(f, q);
	if (run < 0)
		run = run_of_time(f, last ? last_seen(o) : first_seen(o));
	return run < 0 ? run_of_member(f, q ? q->member : o->member) : run;
}

static struct run_span span_of_runs(const struct finder *f, const struct observation *o)
{
	int first = place(f, o, false), last = o->count > 1 ? place(f, o, true) : first;

	if (first < 0 || last < 0)
		return (struct run_span){ 0, (uint8_t)f->n };
	return (struct run_span){ (uint8_t)(first < last ? first : last), (uint8_t)(first < last ? last : first) };
}

int runs_find(const struct store *s, struct arena *a, struct runs *r)
{
	struct finder f = { .s = s, .a = a };

	find_restarts(&f);
	*r = (struct runs){ .n = f.n + 1, .from = ARENA_ARRAY(a, struct stamp, f.n + 1),
			    .of = ARENA_ARRAY(a, struct run_span, s->n_obs + 1) };
	if (!r->from || !r->of || f.oom)
		return -1;
	for (size_t i = 0; i < f.n; i++)
		r->from[i + 1] = f.v[i].at;
	for (size_t i = 0; f.n && i < s->n_obs; i++)
		r->of[i] = span_of_runs(&f, &s->obs[i]);
	return 0;
}
