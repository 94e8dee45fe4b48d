/* What fits a premise: by itself, and beside the observation that bound the pattern. */
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "analyzer/engine.h"
#include "analyzer/identity.h"

/* ---- by itself ---- */

/* A condition, its "re:" values compiled. */
struct matcher {
	pcre2_match_data *md;
	pcre2_code **code;		/* by value; NULL: it is plain text */
};

static int open_matcher(struct matcher *m, const struct where *w)
{
	PCRE2_SIZE at;
	int why;

	*m = (struct matcher){ pcre2_match_data_create(1, NULL), calloc(w->n_values + 1, sizeof(*m->code)) };
	if (!m->md || !m->code)
		return -1;
	for (size_t i = 0; i < w->n_values; i++)
		if (strncmp(w->values[i], "re:", 3) == 0 &&
		    !(m->code[i] = pcre2_compile((PCRE2_SPTR)w->values[i] + 3, PCRE2_ZERO_TERMINATED, 0, &why, &at, NULL)))
			return -1;
	return 0;
}

static void close_matcher(struct matcher *m, const struct where *w)
{
	for (size_t i = 0; m->code && i < w->n_values; i++)
		pcre2_code_free(m->code[i]);
	free(m->code);
	pcre2_match_data_free(m->md);
}

static bool where_fits(const struct matcher *m, const struct where *w, const char *value)
{
	for (size_t i = 0; i < w->n_values; i++)
		if (m->code[i] ? pcre2_match(m->code[i], (PCRE2_SPTR)value, strlen(value), 0, 0, m->md, NULL) >= 0 :
				 strcmp(value, w->values[i]) == 0)
			return true;
	return false;
}

/* Keep of `list` what fits one condition. */
static int narrow(const struct engine *e, const struct where *w, struct index_list *list)
{
	struct matcher m;
	size_t kept = 0;
	int bad = open_matcher(&m, w);

	for (size_t i = 0; !bad && i < list->n; i++)
		if (where_fits(&m, w, observation_get(e->s, &e->s->obs[list->v[i]], w->name)))
			list->v[kept++] = list->v[i];
	close_matcher(&m, w);
	list->n = kept;
	return bad;
}

static int compare_index(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The observations of one kind, a slice of e->by_kind. */
static const uint32_t *of_kind(const struct engine *e, const struct kind *kind, size_t *n_ret)
{
	size_t low = 0, high = e->n_by_kind, end;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (e->s->obs[e->by_kind[mid]].kind < kind)
			low = mid + 1;
		else
			high = mid;
	}
	for (end = low; end < e->n_by_kind && e->s->obs[e->by_kind[end]].kind == kind; end++)
		;
	*n_ret = end - low;
	return e->by_kind + low;
}

static int select_fitting(struct engine *e, const struct premise *p, struct index_list *list)
{
	size_t cap = 0;

	for (size_t k = 0; k < p->n_kinds; k++) {
		size_t n;

		of_kind(e, p->resolved[k], &n);
		cap += n;
	}
	list->v = cap ? ARENA_ARRAY(&e->a->arena, uint32_t, cap) : NULL;
	if (cap && !list->v)
		return -1;
	for (size_t k = 0; k < p->n_kinds; k++) {
		size_t n;
		const uint32_t *v = of_kind(e, p->resolved[k], &n);

		if (n)
			memcpy(list->v + list->n, v, n * sizeof(*v));
		list->n += n;
	}
	if (p->n_kinds > 1 && list->n)
		qsort(list->v, list->n, sizeof(*list->v), compare_index);
	for (size_t i = 0; i < p->n_where; i++)
		if (narrow(e, &p->where[i], list))
			return -1;
	return 0;
}

const struct index_list *premise_candidates(struct engine *e, const struct premise *p)
{
	struct index_list *list = &e->candidates[p->index];

	if (!e->selected[p->index]) {
		e->selected[p->index] = true;
		e->oom |= select_fitting(e, p, list) != 0;
	}
	return list;
}

bool premise_takes(struct engine *e, const struct premise *p, const struct observation *o)
{
	const struct index_list *list = premise_candidates(e, p);
	const uint32_t at = (uint32_t)(o - e->s->obs);

	return list->n && bsearch(&at, list->v, list->n, sizeof(*list->v), compare_index);
}

static int compare_kind(const void *a, const void *b, void *ctx)
{
	const struct observation *obs = ctx;
	const struct kind *x = obs[*(const uint32_t *)a].kind, *y = obs[*(const uint32_t *)b].kind;

	return x != y ? (x > y) - (x < y) : compare_index(a, b);
}

int premises_open(struct engine *e)
{
	e->index_max = e->s->n_obs + e->s->n_evidence + e->set->n_patterns;
	e->by_kind = ARENA_ARRAY(&e->a->arena, uint32_t, e->s->n_obs + 1);
	e->candidates = ARENA_ARRAY(&e->a->arena, struct index_list, e->set->n_premises + 1);
	e->selected = ARENA_ARRAY(&e->a->arena, bool, e->set->n_premises + 1);
	if (!e->by_kind || !e->candidates || !e->selected)
		return -1;
	for (size_t i = 0; i < e->s->n_obs; i++)
		if (!e->hidden[i])
			e->by_kind[e->n_by_kind++] = (uint32_t)i;
	if (e->n_by_kind)
		qsort_r(e->by_kind, e->n_by_kind, sizeof(*e->by_kind), compare_kind, (void *)e->s->obs);
	return 0;
}

/* ---- beside another ---- */

static bool hosts_differ(const struct engine *e, sid a, sid b)
{
	return a && b && a != b && !host_same(intern_str(&e->s->strings, a), intern_str(&e->s->strings, b));
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

bool premise_joins(const struct engine *e, const struct premise *p, const struct observation *o, const struct observation *with)
{
	return o == with || (!scopes_differ(e, o, with, p->same) && time_fits(p, o, with));
}

/* ---- who would have seen it ---- */

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
