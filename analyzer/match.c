/* Which patterns fit what was observed. */
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "analyzer/engine.h"

#define CULPRITS_MAX 4096

bool list_has(const struct index_list *l, uint32_t v)
{
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
	return 0;
}

static bool value_fits(const char *value, const char *want)
{
	pcre2_match_data *md;
	pcre2_code *code;
	PCRE2_SIZE at;
	int why, rc;

	if (strncmp(want, "re:", 3))
		return strcmp(value, want) == 0;
	code = pcre2_compile((PCRE2_SPTR)want + 3, PCRE2_ZERO_TERMINATED, 0, &why, &at, NULL);
	if (!code)
		return false;
	md = pcre2_match_data_create_from_pattern(code, NULL);
	rc = md ? pcre2_match(code, (PCRE2_SPTR)value, strlen(value), 0, 0, md, NULL) : -1;
	pcre2_match_data_free(md);
	pcre2_code_free(code);
	return rc >= 0;
}

static bool where_fits(const struct engine *e, const struct where *w, const struct observation *o)
{
	const char *value = observation_get(e->s, o, w->name);

	for (size_t i = 0; i < w->n_values; i++)
		if (value_fits(value, w->values[i]))
			return true;
	return false;
}

static bool hosts_differ(const struct engine *e, sid a, sid b)
{
	const char *x = intern_str(&e->s->strings, a), *y = intern_str(&e->s->strings, b);
	size_t n = strcspn(x, "."), m = strcspn(y, ".");

	return a && b && a != b && (n != m || strncasecmp(x, y, n));
}

static uint32_t member_of(const struct engine *e, const struct observation *o)
{
	return o->n_evidence ? e->s->evidence[o->evidence[0]].member : UINT32_MAX;
}

bool scopes_differ(const struct engine *e, const struct observation *x, const struct observation *y, uint32_t keys)
{
	const struct scope *a = &x->scope, *b = &y->scope;

	return ((keys & KEY_RANK) && a->rank >= 0 && b->rank >= 0 && a->rank != b->rank) ||
	       ((keys & KEY_HOST) && hosts_differ(e, a->host, b->host)) ||
	       ((keys & KEY_GPU) && a->gpu && b->gpu && a->gpu != b->gpu) ||
	       ((keys & KEY_PID) && a->pid > 0 && b->pid > 0 && a->pid != b->pid) ||
	       ((keys & KEY_LINK) && a->link && b->link && a->link != b->link) ||
	       ((keys & KEY_OBJECT) && a->object && b->object && a->object != b->object) ||
	       ((keys & KEY_MEMBER) && member_of(e, x) != member_of(e, y));
}

static bool kind_fits(const struct premise *p, const struct observation *o)
{
	for (size_t i = 0; i < p->n_kinds; i++)
		if (p->resolved[i] == o->kind)
			return true;
	return false;
}

static bool time_fits(const struct premise *p, const struct observation *o, const struct observation *with)
{
	int order = stamp_order(o->last.base ? o->last : o->onset, with->onset, o->error_ns + with->error_ns);
	int64_t gap;

	if ((p->order == ORDER_AFTER && order < 0) ||
	    (p->order == ORDER_BEFORE && stamp_order(o->onset, with->onset, o->error_ns + with->error_ns) > 0))
		return false;
	if (p->within_s < 0 || o->onset.base != with->onset.base || !o->onset.base)
		return true;
	gap = o->onset.ns - with->onset.ns;
	return gap <= p->within_s * 1000000000 && gap >= -p->within_s * 1000000000;
}

bool premise_fits(const struct engine *e, const struct premise *p, const struct observation *o,
		  const struct observation *with)
{
	if (e->hidden[o - e->s->obs] || !kind_fits(p, o))
		return false;
	for (size_t i = 0; i < p->n_where; i++)
		if (!where_fits(e, &p->where[i], o))
			return false;
	return !with || o == with || (!scopes_differ(e, o, with, p->same) && time_fits(p, o, with));
}

uint32_t premise_sources(const struct engine *e, const struct premise *p)
{
	uint32_t bits = p->sources;

	for (size_t k = 0; !p->sources && k < p->n_kinds; k++) {
		if (strncmp(p->kinds[k], "coll.", 5) == 0)
			bits |= 1u << SRC_FLIGHT;
		if (strncmp(p->kinds[k], "stack.", 6) == 0)
			bits |= 1u << SRC_HOST;
		for (size_t i = 0; i < e->set->n_signatures; i++) {
			const struct signature *sig = &e->set->signatures[i];
			bool yields = strcmp(sig->kind, p->kinds[k]) == 0;

			for (size_t b = 0; b < sig->n_by; b++)
				yields |= strcmp(sig->by_kinds[b], p->kinds[k]) == 0;
			if (yields)
				bits |= 1u << sig->source;
		}
	}
	return bits;
}

enum truth { FALSE_, TRUE_, UNKNOWN_ };

/* A premise beside the first one; what fits is added to `found`. */
static enum truth judge(struct engine *e, const struct premise *p, const struct observation *first, struct index_list *found)
{
	uint32_t count = 0, sources;

	for (size_t i = 0; i < e->s->n_obs; i++) {
		const struct observation *o = &e->s->obs[i];

		if (o == first || !premise_fits(e, p, o, first))
			continue;
		if (p->absent) {
			e->recovered[first - e->s->obs] = true;
			return FALSE_;
		}
		count += o->count;
		list_add(e, found, (uint32_t)i);
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
		    (!a->process || !b->process || a->process == b->process) && a->link == b->link && a->object == b->object;

	if (!same)
		return false;
	a->host = a->host ? a->host : b->host;
	a->pid = a->pid >= 0 ? a->pid : b->pid;
	a->gpu = a->gpu ? a->gpu : b->gpu;
	a->process = a->process ? a->process : b->process;
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
static bool names_culprit(const struct engine *e, const struct pattern *p, size_t premise)
{
	(void)e;
	if (!p->culprit_from)
		return premise == 0;
	return p->premises[premise].as && strcmp(p->premises[premise].as, p->culprit_from) == 0;
}

static void take_premises(struct engine *e, struct draft *d, const struct observation *first)
{
	const struct pattern *p = d->f.pattern;

	for (size_t i = 1; i < p->n_premises; i++)
		for (size_t k = 0; !p->premises[i].absent && k < e->s->n_obs; k++)
			if (&e->s->obs[k] != first && premise_fits(e, &p->premises[i], &e->s->obs[k], first))
				take_observation(e, d, (uint32_t)k, names_culprit(e, p, i));
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

static void take_beside(struct engine *e, struct draft *d, const struct premise *list, size_t n, bool *any)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < e->s->n_obs; k++)
			for (size_t f = 0; f < d->n_first; f++) {
				const struct observation *first = &e->s->obs[d->f.observations.v[f]];

				if (list[i].absent ||
				    !premise_fits(e, &list[i], &e->s->obs[k], first))
					continue;
				take_observation(e, d, (uint32_t)k, false);
				name_sender(d, &e->s->obs[k].scope);
				name_process(e, d, &e->s->obs[k]);
				*any = true;
				break;
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

			if (!premise_fits(e, &p->corroboration[i], o, NULL) || same_culprit(&c, &scope_none))
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
	uint32_t total = 0;
	uint8_t *truths;
	bool known = false, any = false;

	*d = (struct draft){ .f = { .pattern = p, .role = p->role } };
	truths = ARENA_ARRAY(&e->a->arena, uint8_t, e->s->n_obs + 1);
	if (!truths) {
		e->oom = true;
		return;
	}
	for (size_t i = 0; i < e->s->n_obs; i++) {
		struct index_list found = { 0 };
		const struct observation *o = &e->s->obs[i];

		truths[i] = !o->foreign && premise_fits(e, &p->premises[0], o, NULL) ? (uint8_t)bind(e, p, o, &found) : FALSE_;
		known |= truths[i] == TRUE_;
	}
	/* the kernel's word before telemetry, and so on; bindings that hold beat those that could not be judged */
	for (int source = 0; source < SRC_COUNT; source++)
		for (size_t i = 0; i < e->s->n_obs; i++)
			if ((int)e->s->obs[i].source == source && truths[i] != FALSE_ && (truths[i] == TRUE_ || !known)) {
				take_observation(e, d, (uint32_t)i, names_culprit(e, p, 0));
				total += e->s->obs[i].count;
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
	/* the premise that should name the culprit knows no scope: the others may */
	for (size_t i = 0; !d->f.n_culprits && i < d->f.observations.n; i++)
		add_culprit(e, d, e->s->obs[d->f.observations.v[i]].scope);
	if (d->promoted)
		d->f.role = ROLE_CAUSE;
	e->n++;
}

int match_patterns(struct engine *e)
{
	e->d = ARENA_ARRAY(&e->a->arena, struct draft, e->set->n_patterns + 1);
	e->recovered = ARENA_ARRAY(&e->a->arena, bool, e->s->n_obs + 1);
	if (!e->d || !e->recovered)
		return -1;
	for (size_t i = 0; i < e->set->n_patterns; i++)
		match_one(e, &e->set->patterns[i]);
	return e->oom ? -1 : 0;
}
