/*
 * "Exception ignored in": Python prints the traceback of a destructor and goes on.
 * The exception below such a line ended nothing.
 */
#include "patterns/detectors.h"

#define LINES_BELOW 40

static const struct evidence *first_quote(const struct store *s, const struct observation *o)
{
	return o->n_evidence ? &s->evidence[o->evidence[0]] : NULL;
}

static bool is_last_word(const struct observation *o)
{
	return o->kind == kind_find("py.exception") || o->kind == kind_find("py.abort_exception") ||
	       o->kind == kind_find("comm.failed");
}

/* The first exception of the same file below `at`, if it is near. */
static struct observation *below(struct store *s, const struct evidence *at)
{
	struct observation *best = NULL;
	uint64_t nearest = at->line + LINES_BELOW;

	for (size_t i = 0; i < s->n_obs; i++) {
		const struct evidence *e = first_quote(s, &s->obs[i]);

		if (e && is_last_word(&s->obs[i]) && e->member == at->member && e->line > at->line && e->line <= nearest) {
			best = &s->obs[i];
			nearest = e->line - 1;
		}
	}
	return best;
}

static void run(struct store *s)
{
	for (size_t i = 0; i < s->n_obs; i++) {
		const struct observation *o = &s->obs[i];

		for (unsigned k = 0; o->kind == kind_find("py.ignored") && k < o->n_evidence; k++) {
			const struct evidence *at = &s->evidence[o->evidence[k]];
			struct observation *ended = at->line ? below(s, at) : NULL;

			if (ended && ended->count == 1)
				ended->kind = kind_find("py.ignored");
		}
	}
}

const struct detector detector_ignored_exception = {
	"ignored_exception", "an exception in a destructor, which ended nothing", run,
};
