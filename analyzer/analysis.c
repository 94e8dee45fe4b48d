#include "analyzer/analysis.h"

#include <stdio.h>
#include <string.h>

#include "analyzer/engine.h"
#include "analyzer/ingest/prefix.h"
#include "bundle/cleanup.h"

#define LEAP_YEAR 730	/* days from 1970 to 1972 */
#define ANALYSIS_BYTES ((size_t)1 << 30)

const char *verdict_status_name(enum verdict_status s)
{
	static const char *const names[] = { "root_cause", "unattributed", "outcome", "no_failure" };

	return names[s];
}

const char *confidence_name(enum confidence c)
{
	static const char *const names[] = { "possible", "probable", "confirmed" };

	return names[c];
}

const char *exclusion_state_name(enum exclusion_state s)
{
	static const char *const names[] = { "excluded", "open", "not_evaluable" };

	return names[s];
}

/* What stays true from one run to the next: the state of machines, not that of processes. */
#define LASTING (1u << SRC_KERNEL | 1u << SRC_DRIVER | 1u << SRC_NET | 1u << SRC_FABRIC | 1u << SRC_HOST)
#define LEFT_BEHIND_NS INT64_C(600000000000)	/* what an earlier run left behind ends the next one this soon */

/* Did this run fail so soon that the cause may be older than it? */
static bool failed_at_once(const struct store *s, const struct runs *r, size_t k)
{
	for (size_t i = 0; i < s->n_obs; i++) {
		const struct observation *o = &s->obs[i];
		struct stamp t = o->time.base ? o->time : o->above;

		if (o->kind->stop && r->of[i].first == k && t.base == r->from[k].base && t.base &&
		    t.ns - r->from[k].ns < LEFT_BEHIND_NS)
			return true;
	}
	return false;
}

/* Judge run `k` by what is about it and, when it failed at once, by what earlier runs left behind. */
static int judge_run(const struct store *s, const struct pattern_set *set, const struct runs *r, size_t k, struct analysis *a)
{
	struct engine e = { .s = s, .set = set, .a = a };
	bool left = k > 0 && failed_at_once(s, r, k);

	*a = (struct analysis){ .store = s, .patterns = set };
	arena_init(&a->arena, ANALYSIS_BYTES);
	e.hidden = a->hidden = ARENA_ARRAY(&a->arena, bool, s->n_obs + 1);
	for (size_t i = 0; e.hidden && i < s->n_obs; i++) {
		bool earlier = left && r->of[i].last < k && !s->obs[i].kind->stop && (LASTING & 1u << s->obs[i].source);

		e.hidden[i] = !earlier && (k < r->of[i].first || k > r->of[i].last);
	}
	return !e.hidden || match_patterns(&e) || graph_build(&e) || verdict_reach(&e) ? -1 : 0;
}

static struct run_end end_of(const struct analysis *a, struct arena *ar, struct stamp from)
{
	const struct finding *f = a->primary.n ? &a->findings[a->primary.v[0]] : NULL;

	return (struct run_end){ from, a->status, arena_printf(ar, "%s", a->headline), f ? f->pattern->id : NULL,
				 f ? f->confidence : CONF_POSSIBLE };
}

static bool failed(const struct run_end *r) { return r->status == VERDICT_ROOT_CAUSE || r->status == VERDICT_UNATTRIBUTED; }

/* The last that failed; else the last that was ended; else the last. */
static size_t choose_run(const struct run_end *v, size_t n)
{
	for (size_t k = n; k-- > 0;)
		if (failed(&v[k]))
			return k;
	for (size_t k = n; k-- > 0;)
		if (v[k].status == VERDICT_OUTCOME)
			return k;
	return n - 1;
}

static int judge_all(const struct store *s, const struct pattern_set *set, const struct runs *r, struct arena *ar,
		     struct run_end *ends)
{
	for (size_t k = 0; k < r->n; k++) {
		struct analysis one;

		if (judge_run(s, set, r, k, &one) == 0)
			ends[k] = end_of(&one, ar, r->from[k]);
		analysis_deinit(&one);
		if (!ends[k].headline)
			return -1;
	}
	return 0;
}

static int analyze_runs(const struct store *s, const struct pattern_set *set, int run, struct arena *ar, struct analysis *a,
			struct error *err)
{
	struct runs r;
	struct run_end *ends;
	size_t judged = 0;

	if (runs_find(s, ar, &r) || !(ends = ARENA_ARRAY(ar, struct run_end, r.n)))
		return -1;
	if (run != RUN_CHOSEN && (size_t)run >= r.n)
		return error_set(err, ERR_USAGE, "--run %d: the input shows %zu run%s of the job", run + 1, r.n, r.n > 1 ? "s" : "");
	if (r.n > 1) {
		if (judge_all(s, set, &r, ar, ends))
			return -1;
		judged = run == RUN_CHOSEN ? choose_run(ends, r.n) : (size_t)run;
	}
	if (judge_run(s, set, &r, judged, a))
		return -1;
	a->n_runs = r.n;
	a->judged = judged;
	a->runs = ARENA_ARRAY(&a->arena, struct run_end, r.n);
	for (size_t k = 0; a->runs && k < r.n; k++) {
		a->runs[k] = k == judged ? end_of(a, &a->arena, r.from[k]) : ends[k];
		a->runs[k].headline = arena_printf(&a->arena, "%s", a->runs[k].headline);
	}
	return a->runs ? 0 : -1;
}

int analyze(const struct store *s, const struct pattern_set *patterns, int run, struct analysis *a, struct error *err)
{
	_cleanup_(arena_deinit) struct arena scratch;

	*a = (struct analysis){ .store = s, .patterns = patterns };
	arena_init(&scratch, ANALYSIS_BYTES);
	if (analyze_runs(s, patterns, run, &scratch, a, err))
		return error_set(err, ERR_NOMEM, "no memory for the analysis");
	return 0;
}

void analysis_deinit(struct analysis *a) { arena_deinit(&a->arena); }

static void civil(int64_t days, int *y, int *m, int *d)
{
	int year = (int)(1970 + days / 366);

	while (time_from_civil(year + 1, 1, 1) <= days)
		year++;
	for (*m = 12; time_from_civil(year, *m, 1) > days; (*m)--)
		;
	*y = year;
	*d = (int)(days - time_from_civil(year, *m, 1)) + 1;
}

void stamp_text(struct stamp t, char buf[48])
{
	const int64_t second = INT64_C(1000000000), day = 86400 * second;
	int64_t days = t.ns / day, rest = t.ns % day;
	int y, m, d;
	long long s;

	buf[0] = '\0';
	if (t.base == TIME_UNKNOWN || t.ns < 0)
		return;
	if (t.base == TIME_BOOT) {
		snprintf(buf, 48, "+%lld.%09llds", (long long)(t.ns / second), (long long)(t.ns % second));
		return;
	}
	s = rest / second;
	if (t.base == TIME_DAY) {
		snprintf(buf, 48, "%02lld:%02lld:%02lld.%09lld", s / 3600, s / 60 % 60, s % 60, (long long)(rest % second));
		return;
	}
	civil(t.base == TIME_YEARLESS ? days + LEAP_YEAR : days, &y, &m, &d);
	if (t.base == TIME_YEARLESS)
		snprintf(buf, 48, "--%02d-%02dT%02lld:%02lld:%02lld.%09lld", m, d, s / 3600, s / 60 % 60, s % 60,
			 (long long)(rest % second));
	else
		snprintf(buf, 48, "%04d-%02d-%02dT%02lld:%02lld:%02lld.%09lld%s", y, m, d, s / 3600, s / 60 % 60, s % 60,
			 (long long)(rest % second), t.base == TIME_UTC ? "Z" : "");
}
