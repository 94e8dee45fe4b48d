/*
 * A GPU that leaves the bus after its path reported errors several times was lost to
 * the path.  A port's line names the port: it counts for a GPU on the buses behind it.
 */
#include <stdlib.h>
#include <string.h>

#include "patterns/detectors.h"

#define ERRORS 3
#define BEFORE_NS INT64_C(3600000000000)
#define BUSES_BEHIND 16		/* of a port: its switch and what hangs on that */

/* Domain and bus of "0000:3b:00.0" or "3b:00.0"; -1: no such address. */
static long bus_of(const char *address)
{
	char *end;
	long a = strtol(address, &end, 16), b;

	if (end == address || *end != ':')
		return -1;
	b = strtol(end + 1, &end, 16);
	return *end == ':' ? (a << 8) + b : a;
}

static bool on_path(const struct store *s, const struct observation *error, const struct observation *lost)
{
	long port = bus_of(intern_str(&s->strings, error->scope.object)), gpu = bus_of(intern_str(&s->strings, lost->scope.gpu));

	if (error->scope.gpu)
		return error->scope.gpu == lost->scope.gpu;
	return observation_get(s, error, "port")[0] && port >= 0 && gpu >= port && gpu - port <= BUSES_BEHIND;
}

static bool shortly_before(const struct observation *error, const struct observation *lost)
{
	return error->onset.base == lost->onset.base && error->onset.base &&
	       error->onset.ns <= lost->onset.ns && lost->onset.ns - error->onset.ns <= BEFORE_NS;
}

/* By value: what is added may move the store's array. */
static void judge(struct store *s, struct observation lost)
{
	struct observation made = observation_of("pcie.repeated", lost.source);

	for (const struct observation *x = NULL; (x = store_next(s, "pcie.corrected", x));) {
		if (x->scope.host != lost.scope.host || !on_path(s, x, &lost) || !shortly_before(x, &lost))
			continue;
		if (!made.onset.base)
			made.time = made.onset = x->onset;
		for (unsigned k = 0; k < x->n_evidence; k++)
			observation_cite(&made, x->evidence[k]);
	}
	made.scope.host = lost.scope.host;
	made.scope.gpu = lost.scope.gpu;
	if (distinct_quotes(s, &made) >= ERRORS)
		store_observe(s, &made);
}

static void run(struct store *s)
{
	size_t before = s->n_obs;

	for (size_t i = 0; i < before; i++)
		if (s->obs[i].kind == kind_find("gpu.lost") && s->obs[i].scope.gpu)
			judge(s, s->obs[i]);
}

const struct detector detector_bus_errors = {
	"bus_errors", "errors on the path of a GPU before it was lost", run,
};
