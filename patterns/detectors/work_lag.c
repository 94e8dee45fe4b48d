/*
 * Watchdog lines state, per rank, the last work it enqueued and completed.  A rank
 * with nothing pending, behind what its peers wait for, did not enter.
 */
#include <stdlib.h>
#include <string.h>

#include "patterns/detectors.h"

/* A sequence number in a field; -1 when it is absent. */
static int64_t number(const struct store *s, const struct observation *o, const char *field)
{
	const char *text = observation_get(s, o, field);

	return text[0] ? strtoll(text, NULL, 10) : -1;
}

static bool same_group(const struct store *s, const struct observation *a, const struct observation *b)
{
	return strcmp(observation_get(s, a, "pg"), observation_get(s, b, "pg")) == 0;
}

/* The furthest that a rank says it came in the group of `o`. */
static bool is_latest(const struct store *s, const struct observation *o)
{
	for (const struct observation *x = NULL; (x = store_next(s, "torch.work_status", x));)
		if (x != o && x->scope.rank == o->scope.rank && same_group(s, x, o) &&
		    number(s, x, "enqueued") > number(s, o, "enqueued"))
			return false;
	return true;
}

/* A peer that waits in an operation which `o`'s rank has not enqueued. */
static const struct observation *waiting_peer(const struct store *s, const struct observation *o)
{
	for (const struct observation *x = NULL; (x = store_next(s, "torch.work_status", x));)
		if (x->scope.rank >= 0 && x->scope.rank != o->scope.rank && same_group(s, x, o) &&
		    number(s, x, "completed") < number(s, x, "enqueued") &&
		    number(s, x, "completed") + 1 > number(s, o, "enqueued"))
			return x;
	return NULL;
}

/* When the peers began to wait: the earliest timed-out collective, less its timeout. */
static struct stamp began(const struct store *s)
{
	struct stamp first = { 0, TIME_UNKNOWN };

	for (const struct observation *x = NULL; (x = store_next(s, "torch.watchdog_timeout", x));)
		if (!first.base || stamp_order(x->onset, first, 0) < 0)
			first = x->onset;
	return first;
}

static void run(struct store *s)
{
	size_t before = s->n_obs;

	for (size_t i = 0; i < before; i++) {
		const struct observation *o = &s->obs[i], *peer;
		struct observation made;

		if (strcmp(o->kind->name, "torch.work_status") || o->scope.rank < 0 || number(s, o, "enqueued") < 0 ||
		    number(s, o, "enqueued") != number(s, o, "completed") || !is_latest(s, o))
			continue;
		peer = waiting_peer(s, o);
		if (!peer)
			continue;
		made = observation_of("coll.not_entered", o->source);
		made.scope = o->scope;
		made.time = made.onset = began(s);
		observation_fieldf(s, &made, "seq", "%lld", (long long)number(s, peer, "completed") + 1);
		for (unsigned k = 0; k < o->n_evidence && k < 3; k++)
			observation_cite(&made, o->evidence[k]);
		for (unsigned k = 0; k < peer->n_evidence && k < 3; k++)
			observation_cite(&made, peer->evidence[k]);
		store_observe(s, &made);
	}
}

const struct detector detector_work_lag = {
	"work_lag", "a rank's last enqueued work is behind what its peers wait for", run,
};
