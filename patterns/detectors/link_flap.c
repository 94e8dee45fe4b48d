/*
 * One link that goes down again and again flaps; a link that goes down once, as at
 * boot or for maintenance, does not.
 */
#include "patterns/detectors.h"

#define FLAPS 3				/* times down */
#define WINDOW_NS INT64_C(120000000000)	/* within */

static bool same_link(const struct observation *a, const struct observation *b)
{
	return a->scope.host == b->scope.host && a->scope.link == b->scope.link && a->scope.object == b->scope.object;
}

/* Times that the link of `o` went down from `o` on, within the window. */
static unsigned count_from(const struct store *s, const struct observation *o, struct observation *made)
{
	unsigned n = 0;

	for (const struct observation *x = NULL; (x = store_next(s, "net.link_down", x));) {
		if (!same_link(x, o) || x->onset.base != o->onset.base || x->onset.ns < o->onset.ns ||
		    x->onset.ns - o->onset.ns > WINDOW_NS)
			continue;
		n += x->count;
		for (unsigned k = 0; k < x->n_evidence; k++)
			observation_cite(made, x->evidence[k]);
	}
	return n;
}

/* What recovered is no failure: is the link up at the end? */
static bool ends_up(const struct store *s, const struct observation *o)
{
	struct stamp up = { 0, TIME_UNKNOWN };

	for (const struct observation *x = NULL; (x = store_next(s, "net.link_up", x));)
		if (same_link(x, o) && (!up.base || stamp_order(x->last, up, 0) > 0))
			up = x->last;
	for (const struct observation *x = NULL; up.base && (x = store_next(s, "net.link_down", x));)
		if (same_link(x, o) && stamp_order(x->last, up, 0) > 0)
			return false;
	return up.base != TIME_UNKNOWN;
}

static void run(struct store *s)
{
	size_t before = s->n_obs;

	for (size_t i = 0; i < before; i++) {
		struct observation made = observation_of("net.link_flap", s->obs[i].source);

		if (s->obs[i].kind != kind_find("net.link_down") || !s->obs[i].onset.base ||
		    ends_up(s, &s->obs[i]) || count_from(s, &s->obs[i], &made) < FLAPS)
			continue;
		made.scope = s->obs[i].scope;
		made.time = made.onset = s->obs[i].onset;
		store_observe(s, &made);
	}
}

const struct detector detector_link_flap = {
	"link_flap", "a network link that goes down again and again", run,
};
