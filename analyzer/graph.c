/* The causal graph over the findings, the ledger of rivals, and how sure each finding is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/engine.h"

#define ZONES_NS INT64_C(50400000000000)	/* 14 h */
#define LOSS_WINDOW_NS INT64_C(3600000000000)

static const struct observation *obs(const struct engine *e, uint32_t i) { return &e->s->obs[i]; }

/* ---- anchors ---- */

/* It recovered, and no pattern holds on to it. */
static bool is_over(const struct engine *e, uint32_t i)
{
	for (size_t k = 0; e->recovered[i] && k < e->n; k++)
		if (list_has(&e->d[k].f.observations, i))
			return false;
	return e->recovered[i];
}

static int find_anchors(struct engine *e)
{
	e->anchors = ARENA_ARRAY(&e->a->arena, uint32_t, e->s->n_obs + 1);
	if (!e->anchors)
		return -1;
	for (int fatal = 0; fatal < 2 && !e->n_anchors; fatal++)
		for (size_t i = 0; i < e->s->n_obs; i++)
			if (e->hidden[i] || e->s->obs[i].foreign || e->s->obs[i].earlier || is_over(e, (uint32_t)i))
				continue;
			else if (fatal ? e->s->obs[i].kind->severity == SEV_FATAL : e->s->obs[i].kind->stop)
				e->anchors[e->n_anchors++] = (uint32_t)i;
	return 0;
}

/* ---- edges ---- */

/* Two hosts, and clocks whose zones nobody states: what seems earlier by hours need not be. */
static bool zones_may_differ(const struct engine *e, const struct observation *a, const struct observation *b)
{
	return a->onset.base != TIME_UTC && a->onset.base != TIME_BOOT && a->scope.host && b->scope.host &&
	       scopes_differ(e, a, b, KEY_HOST) && llabs(a->onset.ns - b->onset.ns) <= ZONES_NS;
}

static bool decidedly_earlier(const struct engine *e, const struct observation *o, const struct observation *first)
{
	return stamp_order(o->last.base ? o->last : o->onset, first->onset, o->error_ns + first->error_ns) < 0 &&
	       !zones_may_differ(e, o, first);
}

/* Does a premise of `explains` fit `o`, beside some observation that bound the finding? */
bool explains_observation(struct engine *e, const struct draft *d, const struct observation *o)
{
	const struct pattern *p = d->f.pattern;

	for (size_t i = 0; i < p->n_explains; i++)
		for (size_t k = 0; k < d->n_first && premise_takes(e, &p->explains[i], o); k++) {
			const struct observation *first = obs(e, d->f.observations.v[k]);

			if (premise_joins(e, &p->explains[i], o, first) && !decidedly_earlier(e, o, first))
				return true;
		}
	return false;
}

/* All that bound B is explained by A, or bound A too. */
static bool explains_finding(struct engine *e, const struct draft *a, const struct draft *b)
{
	if (a->f.role == ROLE_PRECURSOR || (a->f.role == ROLE_SYMPTOM && b->f.role != ROLE_SYMPTOM))
		return false;
	for (size_t i = 0; i < b->n_first; i++)
		if (!explains_observation(e, a, obs(e, b->f.observations.v[i])))
			return false;
	return true;
}

bool reaches(const struct engine *e, size_t from, size_t to)
{
	bool seen[1024] = { false };
	size_t todo[1024], n = 0;

	if (e->n > 1024)
		return true;
	todo[n++] = from;
	while (n) {
		size_t at = todo[--n];

		if (at == to)
			return true;
		for (size_t k = 0; k < e->n; k++)
			if (e->edge[at * e->n + k] && !seen[k]) {
				seen[k] = true;
				todo[n++] = k;
			}
	}
	return false;
}

static bool order_decided(const struct engine *e, size_t a, size_t b)
{
	return stamp_order(e->d[a].f.onset, e->d[b].f.onset, e->d[a].f.error_ns + e->d[b].f.error_ns) < 0;
}

/* Edges with a decided order first; one that would close a cycle is dropped. */
static int build_edges(struct engine *e)
{
	e->edge = ARENA_ARRAY(&e->a->arena, bool, e->n * e->n + 1);
	if (!e->edge)
		return -1;
	for (int decided = 1; decided >= 0; decided--)
		for (size_t a = 0; a < e->n; a++)
			for (size_t b = 0; b < e->n; b++)
				if (a != b && !e->edge[a * e->n + b] && order_decided(e, a, b) == decided &&
				    explains_finding(e, &e->d[a], &e->d[b]) && !reaches(e, b, a))
					e->edge[a * e->n + b] = true;
	return 0;
}

/* ---- rivals ---- */

static size_t draft_of(const struct engine *e, const char *pattern)
{
	for (size_t i = 0; i < e->n; i++)
		if (strcmp(e->d[i].f.pattern->id, pattern) == 0)
			return i;
	return e->n;
}

/* No two observations of the findings could be about the same host or rank. */
static bool elsewhere(const struct engine *e, const struct draft *a, const struct draft *b)
{
	for (size_t i = 0; i < a->n_first; i++)
		for (size_t k = 0; k < b->n_first; k++)
			if (!scopes_differ(e, obs(e, a->f.observations.v[i]), obs(e, b->f.observations.v[k]),
					   KEY_HOST | KEY_RANK))
				return false;
	return true;
}

static const char *not_seen(struct engine *e, const struct premise *p)
{
	const struct kind *kind = pattern_kind(e->set, p->kinds[0]);

	return arena_printf(&e->a->arena, "not seen in what was read: %s", kind ? kind->what : p->kinds[0]);
}

/* Nothing fits, and a source that would have seen it was read. */
static bool absence_holds(struct engine *e, const struct premise *p, const struct observation *with)
{
	const struct index_list *fitting = premise_candidates(e, p);

	for (size_t i = 0; i < fitting->n; i++)
		if (premise_joins(e, p, obs(e, fitting->v[i]), with))
			return false;
	return (premise_sources(e, p) & store_sources(e->s)) != 0;
}

static bool excluded_by_evidence(struct engine *e, const struct draft *d, const struct rival *r, struct exclusion *x)
{
	for (size_t p = 0; p < r->n_excluded_by; p++)
		if (r->excluded_by[p].absent && absence_holds(e, &r->excluded_by[p], obs(e, d->f.observations.v[0]))) {
			x->reason = not_seen(e, &r->excluded_by[p]);
			return true;
		}
	for (size_t p = 0; p < r->n_excluded_by; p++) {
		const struct index_list *fitting = premise_candidates(e, &r->excluded_by[p]);

		for (size_t i = 0; !r->excluded_by[p].absent && i < fitting->n; i++) {
			const struct observation *o = obs(e, fitting->v[i]);

			if (!premise_joins(e, &r->excluded_by[p], o, obs(e, d->f.observations.v[0])))
				continue;
			for (unsigned k = 0; k < o->n_evidence && k < 2; k++)
				list_add(e, &x->evidence, o->evidence[k]);
			x->reason = arena_printf(&e->a->arena, "%s (%s)", o->kind->what, o->kind->name);
			return true;
		}
	}
	return false;
}

static void judge_matched(struct engine *e, size_t self, size_t other, struct exclusion *x)
{
	x->state = RIVAL_EXCLUDED;
	if (e->edge[self * e->n + other])
		x->reason = "seen, but it follows from this cause";
	else if (elsewhere(e, &e->d[self], &e->d[other]))
		x->reason = "seen, but on another host or rank";
	else if (order_decided(e, self, other))
		x->reason = "seen, but it began later";
	else if (e->d[other].unknown)
		x->state = RIVAL_NOT_EVALUABLE, x->reason = "its premises could not all be evaluated";
	else
		x->state = RIVAL_OPEN, x->reason = "its evidence is here too";
}

/* Why there is nothing of a source: the recorder's own word, else how to get it. */
static const char *missing_source(struct engine *e, enum source_class c)
{
	for (const struct observation *o = NULL; (o = store_next(e->s, "capture.source", o));)
		if (strcmp(observation_get(e->s, o, "class"), source_name(c)) == 0)
			return arena_printf(&e->a->arena, "source %s was %s: %s", observation_get(e->s, o, "source"),
					    observation_get(e->s, o, "state"), observation_get(e->s, o, "reason"));
	return arena_printf(&e->a->arena, "the input holds no %s; add %s", source_name(c), source_what(c));
}

static void not_evaluable(struct engine *e, struct exclusion *x, uint32_t need)
{
	x->state = RIVAL_NOT_EVALUABLE;
	x->reason = "no source that would have seen it was read";
	for (int c = 0; c < SRC_COUNT; c++)
		if (need & (1u << c)) {
			x->reason = missing_source(e, (enum source_class)c);
			return;
		}
}

static void judge_unmatched(struct engine *e, const struct rival *r, struct exclusion *x)
{
	const struct pattern *p = pattern_find(e->set, r->pattern);
	uint32_t need = p ? premise_sources(e, &p->premises[0]) : 0, have;

	for (size_t i = 0; i < r->n_excluded_by; i++)
		if (r->excluded_by[i].absent && !(premise_sources(e, &r->excluded_by[i]) & store_sources(e->s))) {
			not_evaluable(e, x, premise_sources(e, &r->excluded_by[i]));
			return;
		}
	if (p && premise_candidates(e, &p->premises[0])->n) {
		x->state = RIVAL_NOT_EVALUABLE;
		x->reason = "part of its evidence is here, the rest was not seen";
		return;
	}
	/* Where a better witness exists, silence of the application logs excludes nothing. */
	if (need & ~(1u << SRC_APP))
		need &= ~(1u << SRC_APP);
	have = need & store_sources(e->s);
	if (have || !need) {
		x->state = RIVAL_EXCLUDED;
		x->reason = p ? not_seen(e, &p->premises[0]) : "no such pattern";
		return;
	}
	not_evaluable(e, x, need);
}

static int weigh_rivals(struct engine *e, size_t self)
{
	struct draft *d = &e->d[self];
	const struct pattern *p = d->f.pattern;

	d->f.exclusions = ARENA_ARRAY(&e->a->arena, struct exclusion, p->n_rivals + 1);
	if (!d->f.exclusions)
		return -1;
	for (size_t i = 0; i < p->n_rivals; i++) {
		struct exclusion *x = &d->f.exclusions[d->f.n_exclusions++];
		size_t other = draft_of(e, p->rivals[i].pattern);

		*x = (struct exclusion){ .pattern = p->rivals[i].pattern, .reason = "" };
		if (excluded_by_evidence(e, d, &p->rivals[i], x))
			x->state = RIVAL_EXCLUDED;
		else if (other < e->n)
			judge_matched(e, self, other, x);
		else
			judge_unmatched(e, &p->rivals[i], x);
	}
	return 0;
}

/* ---- confidence ---- */

static void because(struct draft *d, const char *why)
{
	if (d->f.n_reasons < sizeof(d->f.reasons) / sizeof(d->f.reasons[0]))
		d->f.reasons[d->f.n_reasons++] = why;
}

/* Did the recorder lose records on its hosts, and near it?  What was lost might have said otherwise. */
static bool lost_records(const struct engine *e, const struct draft *d)
{
	const struct observation *first = obs(e, d->f.observations.v[0]);

	for (const struct observation *o = NULL; (o = store_next(e->s, "input.lost", o));)
		if (!scopes_differ(e, o, first, KEY_HOST) && (o->onset.base != first->onset.base ||
							      llabs(o->onset.ns - first->onset.ns) < LOSS_WINDOW_NS))
			return true;
	return false;
}

/* Slurm speaks as launcher (srun) and as scheduler; in one file that is one witness. */
static bool one_file_of_slurm(const struct engine *e, const struct draft *d)
{
	uint32_t seen = UINT32_MAX, sources = 0;

	for (size_t i = 0; i < d->f.observations.n; i++) {
		const struct observation *o = &e->s->obs[d->f.observations.v[i]];
		uint32_t member = o->n_evidence ? e->s->evidence[o->evidence[0]].member : UINT32_MAX;

		if (o->source != SRC_LAUNCHER && o->source != SRC_SCHEDULER)
			continue;
		if (sources && member != seen)
			return false;
		seen = member;
		sources |= 1u << o->source;
	}
	return __builtin_popcount(sources) == 2;
}

static void set_confidence(struct engine *e, size_t self)
{
	struct draft *d = &e->d[self];
	size_t open = 0, blind = 0, classes = (size_t)__builtin_popcount(d->classes) - one_file_of_slurm(e, d);
	int level = CONF_PROBABLE;

	for (size_t i = 0; i < d->f.n_exclusions; i++) {
		const struct exclusion *x = &d->f.exclusions[i];
		size_t other = draft_of(e, x->pattern);
		bool weighty = other < e->n && e->d[other].f.role == ROLE_CAUSE;

		open += x->state == RIVAL_OPEN && weighty;
		blind += x->state == RIVAL_NOT_EVALUABLE;
	}
	if (d->unknown)
		level = CONF_POSSIBLE, because(d, "a premise could not be evaluated: its source is not in the input");
	if (open)
		level = CONF_POSSIBLE, because(d, "a rival's evidence is here too");
	if (level == CONF_PROBABLE && lost_records(e, d))
		blind++, because(d, "the recorder lost records in this window");
	if (d->user_written)
		level = CONF_POSSIBLE, because(d, "the kernel-log line was written by user space");
	if (level == CONF_PROBABLE && classes >= 2 && !blind) {
		level = CONF_CONFIRMED;
		because(d, "two independent sources agree and every rival is excluded");
	} else if (level == CONF_PROBABLE) {
		because(d, classes < 2 ? "the premises hold; one kind of source says so" :
			   "the premises hold; a rival could not be checked");
	}
	if (level > d->f.pattern->cap) {
		level = d->f.pattern->cap;
		because(d, "never called surer than that: such evidence shows that it happened, not why");
	}
	d->f.confidence = (enum confidence)level;
}

int graph_build(struct engine *e)
{
	if (find_anchors(e) || build_edges(e))
		return -1;
	for (size_t i = 0; i < e->n; i++) {
		if (weigh_rivals(e, i))
			return -1;
		set_confidence(e, i);
	}
	return e->oom ? -1 : 0;
}
