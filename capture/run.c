#include "capture/run.h"

#include <string.h>

static bool same_job(const struct record_process *a, const struct record_process *b)
{
	return strncmp(a->job, b->job, sizeof(a->job)) == 0;
}

/* Was this rank started again, or is its job in a later attempt? */
static bool is_superseded(const struct tracked *v, size_t n, const struct record_process *p)
{
	for (size_t i = 0; i < n; i++) {
		const struct record_process *q = &v[i].p;

		if (q->is_rank && same_job(p, q) && (q->attempt > p->attempt || (q->rank == p->rank && q->start_ns > p->start_ns)))
			return true;
	}
	return false;
}

/* When the run that `of` belongs to began. */
static uint64_t begin_of(const struct tracked *v, size_t n, const struct record_process *of)
{
	uint64_t begin_ns = of->is_rank ? of->start_ns : 0;

	for (size_t i = 0; i < n; i++) {
		const struct record_process *p = &v[i].p;

		if (p->is_rank && same_job(p, of) && (!begin_ns || p->start_ns < begin_ns) && !is_superseded(v, n, p))
			begin_ns = p->start_ns;
	}
	return begin_ns;
}

/* The process, by its number, or else the rank, of this job or of any, that began last; NULL. */
static const struct record_process *latest(const struct tracked *v, size_t n, int32_t pid, const char *job)
{
	const struct record_process *best = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct record_process *p = &v[i].p;

		if ((pid > 0 ? p->pid == (uint32_t)pid : p->is_rank == 1) && (!job || strncmp(p->job, job, sizeof(p->job)) == 0) &&
		    (!best || p->start_ns > best->start_ns))
			best = p;
	}
	return best;
}

/* All jobs that live are meant. */
static void widen(struct run *r, const struct tracked *v, size_t n, const struct record_process *of)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t begin_ns;

		if (v[i].gone || !v[i].p.is_rank || same_job(&v[i].p, of))
			continue;
		begin_ns = begin_of(v, n, &v[i].p);
		r->begin_ns = begin_ns < r->begin_ns ? begin_ns : r->begin_ns;
		r->several = true;
	}
	if (r->several)
		memset(r->job, 0, sizeof(r->job));
}

struct run run_of(const struct tracked *v, size_t n, int32_t pid, const char *job)
{
	const struct record_process *named = pid > 0 ? latest(v, n, pid, NULL) : job ? latest(v, n, -1, job) : NULL, *of;
	struct run r = { 0 };

	of = named ? named : latest(v, n, -1, NULL);
	if (!of)
		return r;
	memcpy(r.job, of->job, sizeof(r.job));
	r.begin_ns = begin_of(v, n, of);
	if (!named)
		widen(&r, v, n, of);
	return r;
}

bool run_has(const struct run *r, const struct record_process *p)
{
	return p->start_ns >= r->begin_ns && (r->several || strncmp(r->job, p->job, sizeof(r->job)) == 0);
}
