/* From the graph to one verdict: roots, status, order, and the words for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/engine.h"
#include "analyzer/identity.h"

#define TIMELINE_MAX 400
#define CANDIDATES_MAX 12

/* Is finding `i` explained by another that is at least probable? */
static bool explained(const struct engine *e, size_t i)
{
	for (size_t k = 0; k < e->n; k++)
		if (e->edge[k * e->n + i] && e->d[k].f.confidence >= CONF_PROBABLE)
			return true;
	return false;
}

static bool reaches_anchor(struct engine *e, size_t i, uint32_t anchor)
{
	for (size_t k = 0; k < e->n; k++)
		if (reaches(e, i, k) && (list_has(&e->d[k].f.observations, anchor) ||
					 explains_observation(e, &e->d[k], &e->s->obs[anchor])))
			return true;
	return false;
}

static int find_reach(struct engine *e)
{
	for (size_t i = 0; i < e->n; i++)
		for (size_t a = 0; a < e->n_anchors; a++)
			if (reaches_anchor(e, i, e->anchors[a]) && list_add(e, &e->d[i].f.anchors, e->anchors[a]))
				return -1;
	return 0;
}

static bool may_be_root(const struct engine *e, size_t i)
{
	const struct draft *d = &e->d[i];

	return d->f.role == ROLE_CAUSE && d->f.confidence >= CONF_PROBABLE && !explained(e, i) &&
	       (d->f.anchors.n || (d->f.pattern->fail_slow && !e->n_anchors));
}

/* -1: a comes first.  Onset, confidence, anchors reached, id. */
static int compare_drafts(const struct draft *a, const struct draft *b)
{
	int order = stamp_order(a->f.onset, b->f.onset, a->f.error_ns + b->f.error_ns);

	if (order)
		return order;
	if (a->f.confidence != b->f.confidence)
		return a->f.confidence > b->f.confidence ? -1 : 1;
	if (a->f.anchors.n != b->f.anchors.n)
		return a->f.anchors.n > b->f.anchors.n ? -1 : 1;
	return strcmp(a->f.pattern->id, b->f.pattern->id);
}

static size_t uncovered(const struct draft *d, const struct index_list *covered)
{
	size_t n = 0;

	for (size_t i = 0; i < d->f.anchors.n; i++)
		n += !list_has(covered, d->f.anchors.v[i]);
	return n;
}

static bool declared_rivals(const struct draft *a, const struct draft *b)
{
	for (size_t i = 0; i < a->f.pattern->n_rivals; i++)
		if (strcmp(a->f.pattern->rivals[i].pattern, b->f.pattern->id) == 0)
			return true;
	for (size_t i = 0; i < b->f.pattern->n_rivals; i++)
		if (strcmp(b->f.pattern->rivals[i].pattern, a->f.pattern->id) == 0)
			return true;
	return false;
}

/*
 * The smallest set of causes that covers the anchors, greedily.  True when some
 * step had two rivals that nothing decides between: then nobody is named.
 */
static bool choose_roots(struct engine *e)
{
	struct index_list covered = { 0 };

	for (;;) {
		size_t best = e->n, best_n = 0;
		bool slow = false;

		for (size_t i = 0; i < e->n; i++) {
			size_t n = uncovered(&e->d[i], &covered);

			slow = e->d[i].f.pattern->fail_slow && !e->n_anchors;
			if (e->d[i].root || !may_be_root(e, i) || (!n && !slow))
				continue;
			if (best == e->n || n > best_n || (n == best_n && compare_drafts(&e->d[i], &e->d[best]) < 0)) {
				best = i;
				best_n = n;
			}
		}
		if (best == e->n)
			return false;
		for (size_t i = 0; i < e->n; i++)
			if (i != best && !e->d[i].root && may_be_root(e, i) && uncovered(&e->d[i], &covered) == best_n &&
			    e->d[i].f.confidence == e->d[best].f.confidence && declared_rivals(&e->d[i], &e->d[best]) &&
			    !stamp_order(e->d[i].f.onset, e->d[best].f.onset, e->d[i].f.error_ns + e->d[best].f.error_ns))
				return true;
		e->d[best].root = true;
		for (size_t i = 0; i < e->d[best].f.anchors.n; i++)
			list_add(e, &covered, e->d[best].f.anchors.v[i]);
		if (!e->n_anchors)
			return false;
	}
}

/*
 * Did some failure begin decidedly before the outcome, or is there a hang that the
 * outcome does not account for?  Being cancelled makes no rank hang.
 */
static bool failed_before(const struct engine *e, const struct draft *outcome)
{
	for (size_t i = 0; i < e->n_anchors; i++) {
		const struct observation *o = &e->s->obs[e->anchors[i]];
		int order = stamp_order(o->onset, outcome->f.onset, o->error_ns + outcome->f.error_ns);

		if (list_has(&outcome->f.observations, e->anchors[i]))
			continue;
		if (order < 0 || (o->source == SRC_FLIGHT && order == 0 && !list_has(&outcome->f.anchors, e->anchors[i])))
			return true;
	}
	return false;
}

static bool failed_otherwise(const struct engine *e, const struct draft *outcome)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->d[i].root && uncovered(&e->d[i], &outcome->f.anchors))
			return true;
	return false;
}

static struct draft *outcome_of(struct engine *e)
{
	struct draft *best = NULL;

	for (size_t i = 0; i < e->n; i++)
		if (e->d[i].f.role == ROLE_OUTCOME && e->d[i].f.confidence >= CONF_PROBABLE && !explained(e, i) &&
		    (!best || compare_drafts(&e->d[i], best) < 0))
			best = &e->d[i];
	return best && !failed_before(e, best) && !failed_otherwise(e, best) ? best : NULL;
}

static enum verdict_status decide(struct engine *e, struct draft **outcome)
{
	bool undecided = choose_roots(e);

	*outcome = outcome_of(e);
	if (*outcome) {
		for (size_t i = 0; i < e->n; i++)
			e->d[i].root = false;
		return VERDICT_OUTCOME;
	}
	for (size_t i = 0; !undecided && i < e->n; i++)
		if (e->d[i].root)
			return VERDICT_ROOT_CAUSE;
	for (size_t i = 0; undecided && i < e->n; i++)
		e->d[i].root = false;
	return e->n_anchors ? VERDICT_UNATTRIBUTED : VERDICT_NO_FAILURE;
}

/* ---- the primary findings ---- */

/* For people: what happened, when no cause is proven.  The symptom that most hangs on and nobody explains. */
static size_t best_symptom(const struct engine *e)
{
	size_t best = e->n;

	for (size_t pass = 0; pass < 2 && best == e->n; pass++)
		for (size_t i = 0; i < e->n; i++) {
			bool fits = pass == 0 ? e->d[i].f.role == ROLE_SYMPTOM && !explained(e, i) :
				    e->d[i].f.role != ROLE_PRECURSOR;

			if (!fits || !e->d[i].f.anchors.n)
				continue;
			if (best == e->n || compare_drafts(&e->d[i], &e->d[best]) < 0)
				best = i;
		}
	return best;
}

static void add_candidate(struct engine *e, const struct pattern *p)
{
	struct analysis *a = e->a;

	if (!p || p->role == ROLE_SYMPTOM || p->role == ROLE_PRECURSOR || a->n_candidates == CANDIDATES_MAX)
		return;
	for (size_t i = 0; i < a->n_candidates; i++)
		if (a->candidates[i] == p)
			return;
	a->candidates[a->n_candidates++] = p;
}

static void list_candidates(struct engine *e)
{
	e->a->candidates = ARENA_ARRAY(&e->a->arena, const struct pattern *, CANDIDATES_MAX);
	if (!e->a->candidates || e->a->status != VERDICT_UNATTRIBUTED)
		return;
	/* what was seen but is not proven; then what the symptoms could come from */
	for (size_t i = 0; i < e->a->n_findings; i++)
		if (e->a->findings[i].role == ROLE_CAUSE && e->a->findings[i].anchors.n)
			add_candidate(e, e->a->findings[i].pattern);
	for (size_t p = 0; p < e->a->primary.n; p++) {
		const struct finding *f = &e->a->findings[e->a->primary.v[p]];

		for (int state = RIVAL_OPEN; state <= RIVAL_NOT_EVALUABLE; state++)
			for (size_t i = 0; i < f->n_exclusions; i++)
				if ((int)f->exclusions[i].state == state)
					add_candidate(e, pattern_find(e->set, f->exclusions[i].pattern));
	}
}

/* The cheapest measurement that would tell an open rival from the primary finding. */
static void next_measurement(struct engine *e)
{
	const struct finding *f = e->a->primary.n ? &e->a->findings[e->a->primary.v[0]] : NULL;
	const struct rival *best = NULL;

	e->a->next_measurement = "";
	if (!f || (e->a->status != VERDICT_UNATTRIBUTED && f->confidence == CONF_CONFIRMED))
		return;
	for (size_t i = 0; i < f->n_exclusions; i++)
		if (f->exclusions[i].state != RIVAL_EXCLUDED && f->pattern->rivals[i].command &&
		    (!best || f->pattern->rivals[i].minutes < best->minutes))
			best = &f->pattern->rivals[i];
	if (best)
		e->a->next_measurement =
			arena_printf(&e->a->arena, "to tell it from %s: %s (%d min; side effect: %s)", best->pattern,
				     best->command, best->minutes, best->side_effect ? best->side_effect : "none");
}

/* ---- from drafts to findings ---- */

static void copy_findings(struct engine *e, size_t *index_of)
{
	size_t *order = ARENA_ARRAY(&e->a->arena, size_t, e->n + 1);

	e->a->findings = ARENA_ARRAY(&e->a->arena, struct finding, e->n + 1);
	if (!order || !e->a->findings) {
		e->oom = true;
		return;
	}
	for (size_t i = 0; i < e->n; i++) {	/* insertion sort: stamp_order is no total order for qsort */
		size_t k = i;

		for (; k > 0 && compare_drafts(&e->d[i], &e->d[order[k - 1]]) < 0; k--)
			order[k] = order[k - 1];
		order[k] = i;
	}
	for (size_t i = 0; i < e->n; i++) {
		e->a->findings[i] = e->d[order[i]].f;
		snprintf(e->a->findings[i].id, sizeof(e->a->findings[i].id), "f%zu", i + 1);
		index_of[order[i]] = i;
	}
	e->a->n_findings = e->n;
	for (size_t a = 0; a < e->n; a++)
		for (size_t b = 0; b < e->n; b++)
			if (e->edge[a * e->n + b]) {
				list_add(e, &e->a->findings[index_of[a]].explains, (uint32_t)index_of[b]);
				list_add(e, &e->a->findings[index_of[b]].explained_by, (uint32_t)index_of[a]);
			}
}

static void set_primary(struct engine *e, const struct draft *outcome, const size_t *index_of)
{
	size_t best;

	for (size_t i = 0; i < e->n; i++)
		if (e->d[i].root || &e->d[i] == outcome)
			list_add(e, &e->a->primary, (uint32_t)index_of[i]);
	/* report order within the primaries */
	for (size_t i = 1; i < e->a->primary.n; i++)
		for (size_t k = i; k > 0 && e->a->primary.v[k] < e->a->primary.v[k - 1]; k--) {
			uint32_t t = e->a->primary.v[k];

			e->a->primary.v[k] = e->a->primary.v[k - 1];
			e->a->primary.v[k - 1] = t;
		}
	/* without a failure, what should be repaired all the same */
	for (size_t i = 0; e->a->status == VERDICT_NO_FAILURE && i < e->a->n_findings; i++)
		if (e->a->findings[i].role == ROLE_PRECURSOR)
			list_add(e, &e->a->primary, (uint32_t)i);
	if (e->a->status != VERDICT_UNATTRIBUTED)
		return;
	best = best_symptom(e);
	if (best < e->n)
		list_add(e, &e->a->primary, (uint32_t)index_of[best]);
}

/* ---- words ---- */

static void culprit_text(const struct engine *e, const struct finding *f, char *buf, size_t size)
{
	const struct scope *c = f->n_culprits ? &f->culprits[0] : NULL;
	const char *host = c ? intern_str(&e->s->strings, c->host) : "";
	const char *gpu = c ? intern_str(&e->s->strings, c->gpu) : "";
	size_t ranks = 0, n = 0;

	buf[0] = '\0';
	if (!c)
		return;
	for (size_t i = 0; i < f->n_culprits; i++)
		ranks += f->culprits[i].rank >= 0;
	if (ranks)
		n += (size_t)snprintf(buf + n, size - n, "rank%s ", ranks > 1 ? "s" : "");
	for (size_t i = 0, k = 0; i < f->n_culprits && n < size; i++)
		if (f->culprits[i].rank >= 0 && k++ < 8)
			n += (size_t)snprintf(buf + n, size - n, "%s%d", k > 1 ? ", " : "", f->culprits[i].rank);
	if (ranks > 8 && n < size)
		n += (size_t)snprintf(buf + n, size - n, " and %zu more", ranks - 8);
	if (host[0] && f->n_culprits == 1 && n < size)
		n += (size_t)snprintf(buf + n, size - n, "%shost %s", n ? ", " : "", host);
	if (gpu[0] && f->n_culprits == 1 && n < size)
		n += (size_t)snprintf(buf + n, size - n, "%sGPU %s", n ? ", " : "", gpu);
	if (!n && c->pid > 0)
		n += (size_t)snprintf(buf + n, size - n, "pid %d", c->pid);
	if (!n && c->object)
		snprintf(buf, size, "%s", intern_str(&e->s->strings, c->object));
}

/* Nothing failed: a cause that was seen is worth its name all the same. */
static const char *seen_all_the_same(struct engine *e)
{
	for (size_t i = 0; i < e->a->n_findings; i++)
		if (e->a->findings[i].role == ROLE_CAUSE && e->a->findings[i].confidence >= CONF_PROBABLE)
			return arena_printf(&e->a->arena, "no failure found; seen all the same: %s",
					    e->a->findings[i].pattern->title);
	return "no failure found";
}

static void write_headline(struct engine *e)
{
	const struct finding *f = e->a->primary.n ? &e->a->findings[e->a->primary.v[0]] : NULL;
	struct arena *ar = &e->a->arena;
	size_t precursors = 0;
	char who[256];

	for (size_t i = 0; i < e->a->n_findings; i++)
		precursors += e->a->findings[i].role == ROLE_PRECURSOR;
	if (f)
		culprit_text(e, f, who, sizeof(who));
	e->a->action = "investigate";
	if (f && e->a->status != VERDICT_UNATTRIBUTED)
		e->a->action = f->pattern->action;
	if (e->a->status == VERDICT_NO_FAILURE) {
		e->a->action = NULL;
		for (size_t i = 0; i < e->a->n_findings && precursors; i++)
			if (e->a->findings[i].role == ROLE_PRECURSOR) {
				e->a->headline = arena_printf(ar, "no failure found; to repair: %s", e->a->findings[i].pattern->title);
				return;
			}
		e->a->headline = seen_all_the_same(e);
	} else if (!f) {
		e->a->headline = arena_printf(ar, "a failure, and no pattern that fits it: %s",
					      e->s->obs[e->anchors[0]].kind->what);
	} else {
		e->a->headline = arena_printf(ar, "%s%s%s%s%s%s", f->pattern->title, who[0] ? ": " : "", who,
					      e->a->status == VERDICT_UNATTRIBUTED ? "; cause open" : "",
					      e->a->primary.n > 1 ? "; and " : "",
					      e->a->primary.n > 1 ? e->a->findings[e->a->primary.v[1]].pattern->title : "");
	}
	for (size_t i = 0; f && i < f->n_culprits; i++)
		if (f->culprits[i].host && e->a->action && strcmp(e->a->action, "restart_without") == 0)
			list_add(e, &e->a->action_hosts, f->culprits[i].host);
}

/* ---- the rest of the report ---- */

static int compare_rows(const void *x, const void *y)
{
	const struct timeline_row *a = x, *b = y;

	if (a->time.base != b->time.base)
		return a->time.base < b->time.base ? -1 : 1;
	if (a->time.ns != b->time.ns)
		return a->time.ns < b->time.ns ? -1 : 1;
	return (a->observation > b->observation) - (a->observation < b->observation);
}

static void build_timeline(struct engine *e)
{
	struct analysis *a = e->a;

	a->timeline = ARENA_ARRAY(&a->arena, struct timeline_row, e->s->n_obs + 1);
	for (size_t i = 0; a->timeline && i < e->s->n_obs && a->n_timeline < TIMELINE_MAX; i++) {
		int32_t by = -1;

		if (e->hidden[i])
			continue;
		for (size_t f = 0; f < a->n_findings && by < 0; f++)
			if (list_has(&a->findings[f].observations, (uint32_t)i))
				by = (int32_t)f;
		if (by >= 0 || e->s->obs[i].kind->severity >= SEV_WARNING)
			a->timeline[a->n_timeline++] = (struct timeline_row){ e->s->obs[i].onset, (uint32_t)i, by };
	}
	if (a->n_timeline)
		qsort(a->timeline, a->n_timeline, sizeof(*a->timeline), compare_rows);
}

static void mark(bool *heard, int32_t world, int32_t rank)
{
	if (rank >= 0 && rank < world)
		heard[rank] = true;
}

/* Which ranks left evidence. */
static void mark_heard(const struct engine *e, bool *heard, int32_t world)
{
	const struct collectives *c = e->s->collectives;

	for (size_t i = 0; i < e->s->n_members; i++)
		if (e->s->members[i].state != MEMBER_UNREAD && e->s->members[i].bytes)
			mark(heard, world, e->s->members[i].rank);
	for (size_t i = 0; c && i < c->n_ranks; i++)
		mark(heard, world, c->ranks[i]);
	for (size_t i = 0; i < e->s->n_obs; i++)
		if (e->s->obs[i].source != SRC_FLIGHT)
			mark(heard, world, e->s->obs[i].scope.rank);
}

static void find_silent(struct engine *e)
{
	const struct collectives *c = e->s->collectives;
	int32_t world = e->s->identity->world_size;
	bool *heard;

	for (size_t i = 0; c && i < c->n_stuck; i++)
		for (size_t k = 0; k < c->stuck[i].n_members; k++)
			if (c->stuck[i].members[k] >= world)
				world = c->stuck[i].members[k] + 1;
	if (c && c->n_ranks && c->ranks[c->n_ranks - 1] >= world)
		world = c->ranks[c->n_ranks - 1] + 1;
	e->a->world_size = world;
	heard = ARENA_ARRAY(&e->a->arena, bool, (size_t)world + 1);
	if (heard)
		mark_heard(e, heard, world);
	for (int32_t r = 0; heard && r < world; r++)
		if (!heard[r])
			list_add(e, &e->a->silent_ranks, (uint32_t)r);
}

int verdict_reach(struct engine *e)
{
	size_t *index_of = ARENA_ARRAY(&e->a->arena, size_t, e->n + 1);
	struct draft *outcome = NULL;

	if (!index_of || find_reach(e))
		return -1;
	e->a->status = decide(e, &outcome);
	copy_findings(e, index_of);
	if (e->oom)
		return -1;
	set_primary(e, outcome, index_of);
	list_candidates(e);
	next_measurement(e);
	write_headline(e);
	build_timeline(e);
	find_silent(e);
	for (size_t i = 0; i < e->s->n_members; i++)
		e->a->any_damage |= e->s->members[i].state == MEMBER_DAMAGED ||
				    (e->s->members[i].state == MEMBER_UNREAD && e->s->members[i].damage);
	return e->oom ? -1 : 0;
}
