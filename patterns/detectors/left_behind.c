/*
 * NCCL RAS counts what ranks launched.  Counts differ for a moment in any healthy run; where a
 * collective is known to have timed out, the rank that launched fewest did not enter it.
 */
#include <string.h>

#include "patterns/detectors.h"

static void run(struct store *s)
{
	const struct observation *timeout = store_next(s, "torch.watchdog_timeout", NULL);
	size_t before = s->n_obs;

	for (size_t i = 0; timeout && i < before; i++) {
		const struct observation *o = &s->obs[i];
		struct observation made;

		if (o->kind != kind_find("nccl.behind") || (o->scope.rank < 0 && o->scope.pid < 0))
			continue;
		made = observation_of("coll.not_entered", o->source);
		made.scope = o->scope;
		timeout = store_next(s, "torch.watchdog_timeout", NULL);
		made.time = made.onset = timeout->onset;
		observation_field(s, &made, "op", observation_get(s, o, "op"), strlen(observation_get(s, o, "op")));
		for (unsigned k = 0; k < o->n_evidence; k++)
			observation_cite(&made, o->evidence[k]);
		store_observe(s, &made);
	}
}

const struct detector detector_left_behind = {
	"left_behind", "a rank launched fewer operations than its peers, which time out", run,
};
