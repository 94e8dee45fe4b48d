/*
 * The driver wraps some messages over several kernel lines: the first names the GPU,
 * the last says that it is lost.
 */
#include "patterns/detectors.h"

#define LINES_APART 3

static const struct evidence *first_quote(const struct store *s, const struct observation *o)
{
	return o->n_evidence ? &s->evidence[o->evidence[0]] : NULL;
}

/* The GPU that the message which ends with `end` began with. */
static const struct observation *beginning(const struct store *s, const struct evidence *end)
{
	for (const struct observation *x = NULL; (x = store_next(s, "gpu.driver_message", x));)
		for (unsigned i = 0; i < x->n_evidence; i++) {
			const struct evidence *e = &s->evidence[x->evidence[i]];

			if (e->member == end->member && e->line < end->line && end->line - e->line < LINES_APART)
				return x;
		}
	return NULL;
}

static void run(struct store *s)
{
	for (size_t i = 0; i < s->n_obs; i++) {
		struct observation *o = &s->obs[i];
		const struct evidence *end = first_quote(s, o);
		const struct observation *begin;

		if (o->kind != kind_find("gpu.lost") || o->scope.gpu || !end || !end->line)
			continue;
		begin = beginning(s, end);
		if (!begin)
			continue;
		o->scope.gpu = begin->scope.gpu;
		observation_cite(o, begin->evidence[0]);
	}
}

const struct detector detector_wrapped_message = {
	"wrapped_message", "the GPU that a driver's message of several lines is about", run,
};
