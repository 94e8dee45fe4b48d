/*
 * One soft lockup is a long pause, as of a hypervisor; a host that reports them again
 * and again has a CPU that does not come back.
 */
#include "patterns/detectors.h"

#define LOCKUPS 2

static bool is_first_of_host(const struct store *s, const struct observation *o)
{
	for (const struct observation *x = NULL; (x = store_next(s, "host.soft_lockup", x)) && x != o;)
		if (x->scope.host == o->scope.host)
			return false;
	return true;
}

static void run(struct store *s)
{
	size_t before = s->n_obs;

	for (size_t i = 0; i < before; i++) {
		const struct observation *o = &s->obs[i];
		struct observation made = observation_of("host.soft_lockups", o->source);

		if (o->kind != kind_find("host.soft_lockup") || !is_first_of_host(s, o))
			continue;
		for (const struct observation *x = NULL; (x = store_next(s, "host.soft_lockup", x));) {
			if (x->scope.host != o->scope.host)
				continue;
			for (unsigned k = 0; k < x->n_evidence; k++)
				observation_cite(&made, x->evidence[k]);
		}
		if (distinct_quotes(s, &made) < LOCKUPS)
			continue;
		made.scope.host = o->scope.host;
		made.time = made.onset = o->onset;
		store_observe(s, &made);
	}
}

const struct detector detector_soft_lockups = {
	"soft_lockups", "a host whose CPUs lock up again and again", run,
};
