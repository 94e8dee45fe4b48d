/*
 * A distribution refuses its parameter and prints it: the numbers stand on the lines
 * below the exception.  NaN among them says what ended the program.
 */
#include <string.h>

#include "patterns/detectors.h"

#define LINES_BELOW 8

static const struct evidence *first_quote(const struct store *s, const struct observation *o)
{
	return o->n_evidence ? &s->evidence[o->evidence[0]] : NULL;
}

/* The printed NaN just below `at`. */
static const struct observation *printed_below(const struct store *s, const struct evidence *at)
{
	for (const struct observation *x = NULL; (x = store_next(s, "loss.nan_values", x));)
		for (unsigned i = 0; i < x->n_evidence; i++) {
			const struct evidence *e = &s->evidence[x->evidence[i]];

			if (e->member == at->member && e->line > at->line && e->line - at->line <= LINES_BELOW)
				return x;
		}
	return NULL;
}

static void run(struct store *s)
{
	for (size_t i = 0; i < s->n_obs; i++) {
		struct observation *o = &s->obs[i];
		const struct evidence *at = first_quote(s, o);
		const struct observation *below;

		if (o->kind != kind_find("py.exception") || !at || !at->line ||
		    strncmp(observation_get(s, o, "msg"), "Expected parameter ", 19))
			continue;
		below = printed_below(s, at);
		if (!below)
			continue;
		o->kind = kind_find("loss.nan");
		observation_cite(o, below->evidence[0]);
	}
}

const struct detector detector_nan_parameter = {
	"nan_parameter", "NaN in the parameter that a distribution refused", run,
};
