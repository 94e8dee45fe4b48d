/* Which patterns fit what was observed. */
#include <string.h>

#include "analyzer/engine.h"

#define CULPRITS_MAX 4096

#define LIST_SHORT 32	/* longer ones are looked up in bits */

bool list_has(const struct index_list *l, uint32_t v)
{
	if (l->bits)
		return l->bits[v / 8] >> v % 8 & 1;
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i] == v)
			return true;
	return false;
}

int list_add(struct engine *e, struct index_list *l, uint32_t v)
{
	void *p;

	if (list_has(l, v))
		return 0;
	p = arena_grow(&e->a->arena, l->v, l->n, &l->cap, sizeof(*l->v));
	if (!p) {
		e->oom = true;
		return -1;
	}
	l->v = p;
	l->v[l->n++] = v;
	if (l->bits)
		l->bits[v / 8] |= (uint8_t)(1 << v % 8);
	else if (l->n > LIST_SHORT && (l->bits = ARENA_ARRAY(&e->a->arena, uint8_t, e->index_max / 8 + 1)))
		for (size_t i = 0; i < l->n; i++)
			l->bits[l->v[i] / 8] |= (uint8_t)(1 << l->v[i] % 8);
	return 0;
}

enum truth { FALSE_, TRUE_, UNKNOWN_ };

/* A premise beside the first one; what fits is added to `found`. */
static enum truth judge(struct engine *e, const struct premise *p, const struct observation *first, struct index_list *found)
{
	const struct index_list *fitting = premise_candidates(e, p);
	uint32_t count = 0, sources;

	for (size_t i = 0; i < fitting->n; i++) {
		const struct observation *o = &e->s->obs[fitting->v[i]];

		if (o == first || !premise_joins(e, p, o, first))
			continue;
		if (p->absent) {
			e->recovered[first - e->s->obs] = true;
			return FALSE_;
		}
		count += o->count;
		list_add(e, found, fitting->v[i]);
	}
	sources = premise_sources(e, p);
	if (p->absent)
		return (sources & store_sources(e->s)) || !sources ? TRUE_ : UNKNOWN_;
	if (count >= p->min_count)
		return TRUE_;
	return sources && !(sources & store_sources(e->s)) ? UNKNOWN_ : FALSE_;
}

/* One observation of the first premise: does the rest hold around it? */
static enum truth bind(struct engine *e, const struct pattern *p, const struct observation *first, struct index_list *found)
{
	enum truth all = TRUE_;

	for (size_t i = 1; i < p->n_premises; i++) {
		enum truth t = judge(e, &p->premises[i], first, found);

		if (t == FALSE_)
			return FALSE_;
		if (t == UNKNOWN_)
			all = UNKNOWN_;
	}
	return all;
}

static bool same_culprit(const struct scope *a, const struct scope *b)
{
	return a->rank == b->rank && a->pid == b->pid && a->host == b->host && a->gpu == b->gpu &&
	       a->link == b->link && a->object == b->object && a->process == b->process && a->sender == b->sender;
}

/* The same rank, seen by two witnesses of which each knows what the other leaves open; false: they are two. */
static bool complete_culprit(struct scope *a, const struct scope *b)
{
	bool same = a->rank >= 0 && a->rank == b->rank && (!a->host || !b->host || a->host == b->host) &&
		    (a->pid < 0 || b->pid < 0 || a->pid == b->pid) && (!a->gpu || !b->gpu || a->gpu == b->gpu) &&
		    (!a->process || !b->process || a->process == b->process) && a->link == b->link &&
		    (!a->object || !b->object || a->object == b->object);

	if (!same)
		return false;
	a->host = a->host ? a->host : b->host;
	a->pid = a->pid >= 0 ? a->pid : b->pid;
	a->gpu = a->gpu ? a->gpu : b->gpu;
	a->process = a->process ? a->process : b->process;
	a->object = a->object ? a->object : b->object;
	a->sender = a->sender ? a->sender : b->sender;
	return true;
}

static void add_culprit(struct engine *e, struct draft *d, struct scope c)
{
	uint32_t keys = d->f.pattern->culprit_keys;
	void *p;

	if (keys && !(keys & KEY_RANK))
		c.rank = c.local_rank = RANK_NONE;
	if (keys && !(keys & KEY_HOST))
		c.host = 0;
	if (keys && !(keys & KEY_GPU))
		c.gpu = 0;
	if (keys && !(keys & KEY_PID))
		c.pid = PID_NONE, c.process = 0;
	if (same_culprit(&c, &scope_none) || d->f.n_culprits >= CULPRITS_MAX)
		return;
	for (size_t i = 0; i < d->f.n_culprits; i++)
		if (same_culprit(&d->f.culprits[i], &c) || complete_culprit(&d->f.culprits[i], &c))
			return;
	p = arena_grow(&e->a->arena, d->f.culprits, d->f.n_culprits, &d->culprit_cap, sizeof(c));
	if (!p) {
		e->oom = true;
		return;
	}
	d->f.culprits = p;
	d->f.culprits[d->f.n_culprits++] = c;
}

static void take_observation(struct engine *e, struct draft *d, uint32_t index, bool culprit)
{
	const struct observation *o = &e->s->obs[index];

	if (list_add(e, &d->f.observations, index))
		return;
	for (unsigned i = 0; i < o->n_evidence; i++)
		list_add(e, &d->f.evidence, o->evidence[i]);
	d->classes |= 1u << o->source;
	d->user_written |= o->user_written;
	if (culprit)
		add_culprit(e, d, o->scope);
	if (!d->f.onset.base || stamp_order(o->onset, d->f.onset, 0) < 0) {
		d->f.onset = o->onset;
		d->f.error_ns = o->error_ns;
	}
}

/* The premise that names the culprit; the first one unless the pattern says otherwise. */
static bool names_culprit(const struct pattern *p, size_t premise)
{
	if (!p->culprit_from)
		return premise == 0;
	return p->premises[premise].as && strcmp(p->premises[premise].as, p->culprit_from) == 0;
}

static bool premise_names(const struct pattern *p)
{
	for (size_t i = 0; i < p->n_premises; i++)
		if (names_culprit(p, i))
			return true;
	return false;
}

static void take_premises(struct engine *e, struct draft *d, const struct observation *first)
{
	const struct pattern *p = d->f.pattern;

	for (size_t i = 1; i < p->n_premises; i++) {
		const struct index_list *fitting = premise_candidates(e, &p->premises[i]);

		for (size_t k = 0; !p->premises[i].absent && k < fitting->n; k++) {
			const struct observation *o = &e->s->obs[fitting->v[k]];

			if (o != first && premise_joins(e, &p->premises[i], o, first))
				take_observation(e, d, fitting->v[k], names_culprit(p, i));
		}
	}
}

/* Only what `keys` selects. */
static struct scope masked(struct scope c, uint32_t keys)
{
	struct scope only = scope_none;

	only.rank = keys & KEY_RANK ? c.rank : RANK_NONE;
	only.pid = keys & KEY_PID ? c.pid : PID_NONE;
	only.host = keys & KEY_HOST ? c.host : 0;
	only.gpu = keys & KEY_GPU ? c.gpu : 0;
	only.link = keys & KEY_LINK ? c.link : 0;
	only.object = keys & KEY_OBJECT ? c.object : 0;
	return only;
}

/* The process on the one GPU that the finding names, as the kernel saw it. */
static void name_process(const struct engine *e, struct draft *d, const struct observation *o)
{
	struct scope *c = d->f.culprits;
	const struct observation about = { .scope = d->f.n_culprits == 1 ? *c : scope_none };

	if (d->f.n_culprits != 1 || !c->gpu || c->pid > 0 || o->scope.pid <= 0 || o->source != SRC_KERNEL ||
	    scopes_differ(e, &about, o, KEY_HOST | KEY_GPU | KEY_RANK))
		return;
	c->pid = o->scope.pid;
	c->process = o->scope.process;
}

/* What stands beside the premises may know who did it. */
static void name_sender(struct draft *d, const struct scope *c)
{
	for (size_t i = 0; i < d->f.n_culprits && c->sender; i++) {
		struct scope *culprit = &d->f.culprits[i];

		if (!culprit->sender && (culprit->rank >= 0 ? culprit->rank == c->rank : culprit->pid > 0 && culprit->pid == c->pid))
			culprit->sender = c->sender;
	}
}

/* Does `o` stand beside some observation that bound the finding? */
static bool joins_any(const struct engine *e, const struct draft *d, const struct premise *p, const struct observation *o)
{
	for (size_t f = 0; f < d->n_first; f++)
		if (premise_joins(e, p, o, &e->s->obs[d->f.observations.v[f]]))
			return true;
	return false;
}

static void take_beside(struct engine *e, struct draft *d, const struct premise *list, size_t n, bool *any)
{
	for (size_t i = 0; i < n; i++) {
		const struct index_list *fitting = premise_candidates(e, &list[i]);

		for (size_t k = 0; !list[i].absent && k < fitting->n; k++) {
			const struct observation *o = &e->s->obs[fitting->v[k]];

			if (!joins_any(e, d, &list[i], o))
				continue;
			take_observation(e, d, fitting->v[k], false);
			name_sender(d, &o->scope);
			name_process(e, d, o);
			*any = true;
		}
	}
}

/* Corroboration that knows the culprit better than the premises do: the peer that a connection was lost to. */
static void name_instead(struct engine *e, struct draft *d)
{
	const struct pattern *p = d->f.pattern;
	bool cleared = false;

	for (size_t i = 0; i < p->n_corroboration; i++)
		for (size_t k = d->n_first; p->corroboration[i].names && k < d->f.observations.n; k++) {
			const struct observation *o = &e->s->obs[d->f.observations.v[k]];
			struct scope c = masked(o->scope, p->corroboration[i].names);

			if (!premise_takes(e, &p->corroboration[i], o) || same_culprit(&c, &scope_none))
				continue;
			d->f.n_culprits = cleared ? d->f.n_culprits : 0;
			cleared = true;
			add_culprit(e, d, c);
		}
}

/* All observations that bind the pattern, as one finding. */
static void match_one(struct engine *e, const struct pattern *p)
{
	struct draft *d = &e->d[e->n];
	const struct index_list *fitting = premise_candidates(e, &p->premises[0]);
	uint32_t total = 0;
	uint8_t *truths;
	bool known = false, any = false;

	*d = (struct draft){ .f = { .pattern = p, .role = p->role } };
	truths = ARENA_ARRAY(&e->a->arena, uint8_t, fitting->n + 1);
	if (!truths) {
		e->oom = true;
		return;
	}
	for (size_t i = 0; i < fitting->n; i++) {
		struct index_list found = { 0 };
		const struct observation *o = &e->s->obs[fitting->v[i]];

		truths[i] = o->foreign ? FALSE_ : (uint8_t)bind(e, p, o, &found);
		known |= truths[i] == TRUE_;
	}
	/* the kernel's word before telemetry, and so on; bindings that hold beat those that could not be judged */
	for (int source = 0; source < SRC_COUNT; source++)
		for (size_t i = 0; i < fitting->n; i++) {
			const struct observation *o = &e->s->obs[fitting->v[i]];

			if ((int)o->source == source && truths[i] != FALSE_ && (truths[i] == TRUE_ || !known)) {
				take_observation(e, d, fitting->v[i], names_culprit(p, 0));
				total += o->count;
			}
		}
	d->n_first = d->f.observations.n;
	if (!d->n_first || total < p->premises[0].min_count)
		return;
	d->unknown = !known;
	for (size_t f = 0; f < d->n_first; f++)
		take_premises(e, d, &e->s->obs[d->f.observations.v[f]]);
	take_beside(e, d, p->corroboration, p->n_corroboration, &any);
	take_beside(e, d, p->promote, p->n_promote, &d->promoted);
	name_instead(e, d);
	/* the premise that should name the culprit knows no scope: the others may; not where only what stands beside them does */
	for (size_t i = 0; premise_names(p) && !d->f.n_culprits && i < d->f.observations.n; i++)
		add_culprit(e, d, e->s->obs[d->f.observations.v[i]].scope);
	if (d->promoted)
		d->f.role = ROLE_CAUSE;
	e->n++;
}

int match_patterns(struct engine *e)
{
	e->d = ARENA_ARRAY(&e->a->arena, struct draft, e->set->n_patterns + 1);
	e->recovered = ARENA_ARRAY(&e->a->arena, bool, e->s->n_obs + 1);
	if (!e->d || !e->recovered || premises_open(e))
		return -1;
	for (size_t i = 0; i < e->set->n_patterns; i++)
		match_one(e, &e->set->patterns[i]);
	return e->oom ? -1 : 0;
}
