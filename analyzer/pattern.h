/*
 * pattern - named causes as data: the specification that the engine joins
 * observations against.  docs/PATTERNS.md describes the JSON.
 *
 * A pattern set owns its memory; patterns are const once loaded and sorted by id.
 */
#pragma once
#include "analyzer/arena.h"
#include "analyzer/device_codes.h"
#include "analyzer/store.h"
#include "bundle/error.h"

enum pattern_role { ROLE_CAUSE, ROLE_SYMPTOM, ROLE_OUTCOME, ROLE_PRECURSOR };
const char *pattern_role_name(enum pattern_role r);

enum scope_key { KEY_RANK = 1, KEY_HOST = 2, KEY_GPU = 4, KEY_PID = 8, KEY_LINK = 16, KEY_OBJECT = 32, KEY_MEMBER = 64 };

enum premise_order { ORDER_ANY, ORDER_AFTER, ORDER_BEFORE };

/* "fields match": every name's value is one of its alternatives (or matches "re:..."). */
struct where {
	const char *name;
	const char **values;
	size_t n_values;
};

struct premise {
	uint32_t index;		/* of all premises of the set, after the seal */
	const char *as;
	const char **kinds;
	const struct kind **resolved;	/* the same, after the seal */
	size_t n_kinds;
	bool absent;		/* true when nothing matches and the source was there */
	struct where *where;
	size_t n_where;
	uint32_t same;		/* bits of scope_key, against the first premise */
	enum premise_order order;
	int64_t within_s;	/* -1: any */
	uint32_t min_count;
	uint32_t sources;	/* classes that would have seen it; 0: those of the kinds */
	uint32_t names;		/* corroboration: bits of scope_key of the culprit that it names instead of the premises */
};

struct rival {
	const char *pattern;
	struct premise *excluded_by;
	size_t n_excluded_by;
	const char *command, *side_effect;	/* the measurement that would tell; may be NULL */
	int minutes;
};

struct pattern {
	const char *id, *title;
	enum pattern_role role;
	int cap;			/* highest confidence, enum confidence */
	bool fail_slow;
	struct premise *premises, *corroboration, *explains, *promote;
	size_t n_premises, n_corroboration, n_explains, n_promote;
	struct rival *rivals;
	size_t n_rivals;
	const char *culprit_from;	/* premise name */
	uint32_t culprit_keys;		/* bits of scope_key; 0: all that is known */
	const char *action;
	const char **advice, **references;
	size_t n_advice, n_references;
	const char *origin;		/* file it came from */
	int line;
};

/* One signature: a line of text turned into an observation. */
struct signature {
	const char *id;
	const char *kind;
	enum source_class source;
	const char **literals;
	size_t n_literals;
	bool nocase;
	bool otherwise;			/* only for a line that no other signature made a failure of */
	const char *regex;
	enum code_table codes;		/* what the capture "code" is a number of */
	const char *by_field;		/* kind chosen by this capture's value */
	const char **by_values, **by_kinds;
	size_t n_by;
	const char **set_names, **set_values;
	size_t n_set;
	const char **match, **no_match;
	size_t n_match, n_no_match;
	const char *origin;		/* file it came from */
	int line;
};

struct pattern_set {
	struct arena arena;
	struct pattern *patterns;	/* sorted by id */
	size_t n_patterns, cap_patterns;
	struct signature *signatures;	/* sorted by id */
	size_t n_signatures, cap_signatures;
	struct kind *site_kinds;	/* "x.*" */
	size_t n_site_kinds, cap_site_kinds;
	uint32_t n_premises;		/* of all patterns and their rivals */
	char digest[65];		/* of all files, in the order loaded */
};

struct embedded_file {
	const char *name;
	const unsigned char *data;
	size_t len;
};

int pattern_set_init(struct pattern_set *set, struct error *err);
void pattern_set_deinit(struct pattern_set *set);

/* One JSON text: signatures or one cause. `name` is its path, for messages. */
int pattern_set_add(struct pattern_set *set, const char *name, const void *json, size_t len,
		    struct error *err);
/* Every .json of a directory, by name. */
int pattern_set_add_dir(struct pattern_set *set, const char *dir, struct error *err);
/* Check references between what was loaded, and sort.  Call once, last. */
int pattern_set_seal(struct pattern_set *set, struct error *err);

const struct pattern *pattern_find(const struct pattern_set *set, const char *id);
const struct kind *pattern_kind(const struct pattern_set *set, const char *name);
