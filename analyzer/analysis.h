/*
 * analysis - what tanalyze concluded: the only thing that reports read.
 *
 * Built once by the engine from a sealed store, then const.  Findings are in
 * report order (onset, confidence, anchors reached, id); indexes point into
 * `findings` and into the store's observations and evidence.
 */
#pragma once
#include "analyzer/collectives.h"
#include "analyzer/pattern.h"
#include "analyzer/runs.h"
#include "analyzer/store.h"

enum verdict_status { VERDICT_ROOT_CAUSE, VERDICT_UNATTRIBUTED, VERDICT_OUTCOME, VERDICT_NO_FAILURE };
const char *verdict_status_name(enum verdict_status s);	/* "root_cause", ... */

enum confidence { CONF_POSSIBLE, CONF_PROBABLE, CONF_CONFIRMED };
const char *confidence_name(enum confidence c);

/* A growing list of indexes without repeats, in the analysis arena. */
struct index_list {
	uint32_t *v;
	size_t n, cap;
	uint8_t *bits;			/* of a long one: which indexes it holds */
};

enum exclusion_state { RIVAL_EXCLUDED, RIVAL_OPEN, RIVAL_NOT_EVALUABLE };
const char *exclusion_state_name(enum exclusion_state s);

/* One line of the exclusion ledger. */
struct exclusion {
	const char *pattern;
	enum exclusion_state state;
	const char *reason;		/* one clause */
	struct index_list evidence;
};

struct finding {
	char id[16];			/* "f1", "f2", ... */
	const struct pattern *pattern;
	enum pattern_role role;		/* as it turned out here */
	enum confidence confidence;
	const char *reasons[6];		/* why this confidence; NULL-terminated when fewer */
	size_t n_reasons;
	struct scope *culprits;
	size_t n_culprits;
	struct stamp onset;
	int64_t error_ns;
	struct index_list observations;	/* of the store; premises first */
	struct index_list evidence;	/* of the store; those of the premises first */
	struct index_list explains, explained_by;	/* findings */
	struct index_list anchors;	/* observations: the failures that it reaches */
	struct exclusion *exclusions;
	size_t n_exclusions;
};

/* One line of the timeline: an observation, or where a finding begins. */
struct timeline_row {
	struct stamp time;
	uint32_t observation;
	int32_t finding;		/* -1: none claims it */
};

/* How one of several runs of the job ended, judged by itself. */
struct run_end {
	struct stamp from;		/* unknown for the first one */
	enum verdict_status status;
	const char *headline;
	const char *pattern;		/* of the primary finding; NULL: none */
	enum confidence confidence;
};

struct analysis {
	const struct store *store;
	const struct pattern_set *patterns;
	struct arena arena;
	struct run_end *runs;		/* in order */
	size_t n_runs, judged;		/* the rest of this is about runs[judged] */
	bool *hidden;			/* by observation: about other runs only */
	enum verdict_status status;
	const char *headline;		/* one line: what, who */
	const char *action;		/* "restart_without", ... */
	struct index_list action_hosts;	/* sids */
	struct index_list primary;	/* findings of the verdict, [0] is the primary */
	const struct pattern **candidates;	/* best first */
	size_t n_candidates;
	const char *next_measurement;	/* "" when there is none */
	struct finding *findings;
	size_t n_findings;
	struct timeline_row *timeline;
	size_t n_timeline;
	struct index_list silent_ranks;	/* ranks of the job without any evidence */
	int32_t world_size;		/* 0: unknown */
	bool any_damage;
};

#define RUN_CHOSEN (-1)	/* the last run that failed; else the last one */

/*
 * Run the engine over a sealed store, for each run of the job; `run` is judged.
 * `a` is initialised here; deinit with analysis_deinit().
 */
int analyze(const struct store *s, const struct pattern_set *patterns, int run, struct analysis *a,
	    struct error *err);
void analysis_deinit(struct analysis *a);

/* RFC 3339 with nanoseconds, or "+123.456789000s" (boot), "03:04:05.000000000", or "" (unknown). */
void stamp_text(struct stamp t, char buf[48]);
