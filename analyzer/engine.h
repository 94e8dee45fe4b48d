/* engine - what match.c, graph.c and verdict.c share; analysis.h is what others see. */
#pragma once
#include "analyzer/analysis.h"

/* A finding on its way, index for index with analysis.findings until they are sorted. */
struct draft {
	struct finding f;
	bool unknown;			/* a premise could not be evaluated */
	bool user_written;
	uint32_t classes;		/* sources of premises and corroboration */
	size_t n_first;			/* observations[0..n_first): those of the first premise */
	size_t culprit_cap;
	bool promoted;
	bool root;
};

struct engine {
	const struct store *s;
	const struct pattern_set *set;
	struct analysis *a;
	struct draft *d;
	size_t n;
	bool *edge;			/* n x n: [from * n + to] */
	size_t index_max;		/* of observations, evidence and findings */
	uint32_t *anchors;		/* observations */
	size_t n_anchors;
	bool *hidden;			/* by observation: it is about another run */
	uint32_t *by_kind;		/* observations of this run, by kind and index */
	size_t n_by_kind;
	struct index_list *candidates;	/* by premise.index, where `selected` */
	bool *selected;
	bool *recovered;		/* by observation: a pattern's `absent` premise found its recovery */
	bool oom;
};

int list_add(struct engine *e, struct index_list *l, uint32_t v);	/* once */
bool list_has(const struct index_list *l, uint32_t v);

/* ---- premise.c ---- */

int premises_open(struct engine *e);
/* What fits the premise by itself, by kind and conditions: observations of this run, in order.  Looked for once. */
const struct index_list *premise_candidates(struct engine *e, const struct premise *p);
/* Is `o` one of them? */
bool premise_takes(struct engine *e, const struct premise *p, const struct observation *o);
/* Does such an observation stand beside `with`: scope, order, distance in time? */
bool premise_joins(const struct engine *e, const struct premise *p, const struct observation *o,
		   const struct observation *with);
/* Bits of the classes that would have witnessed the premise. */
uint32_t premise_sources(const struct engine *e, const struct premise *p);
/* Scope keys of `keys` in which both are known and differ. */
bool scopes_differ(const struct engine *e, const struct observation *x, const struct observation *y, uint32_t keys);

int match_patterns(struct engine *e);		/* fills d */
int graph_build(struct engine *e);		/* anchors, edges, rivals, confidence */
int verdict_reach(struct engine *e);		/* roots, status, order, texts */
bool explains_observation(struct engine *e, const struct draft *d, const struct observation *o);
bool reaches(const struct engine *e, size_t from, size_t to);
