/*
 * Does an exception come from one rank, from all, or is there only one witness?
 * The same words mean different things: alike on all ranks is code, configuration
 * or a shared resource; one rank alone is that rank.  Where less than half of the
 * ranks are heard of, and none of them waits for it, one witness shows neither.
 */
#include <string.h>

#include "analyzer/identity.h"
#include "patterns/detectors.h"

static bool is_exception(const struct observation *o) { return strcmp(o->kind->name, "py.exception") == 0; }

/* Whose it is: the rank, else the process; -1: not known. */
static int64_t owner(const struct observation *o)
{
	return o->scope.rank >= 0 ? o->scope.rank : o->scope.pid > 0 ? (int64_t)o->scope.pid << 32 : -1;
}

static bool raised_by(const struct store *s, int64_t who)
{
	for (const struct observation *o = NULL; (o = store_next(s, "py.exception", o));)
		if (owner(o) == who)
			return true;
	return false;
}

static size_t owners(const struct store *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_obs; i++) {
		bool first = is_exception(&s->obs[i]) && owner(&s->obs[i]) >= 0;

		for (size_t k = 0; k < i && first; k++)
			first = !is_exception(&s->obs[k]) || owner(&s->obs[k]) != owner(&s->obs[i]);
		n += first;
	}
	return n;
}

/* Ranks (or processes) that the input shows to have existed without raising. */
static bool others_exist(const struct store *s)
{
	for (size_t i = 0; i < s->identity->n_ranks; i++)
		if (!raised_by(s, s->identity->ranks[i].rank))
			return true;
	for (size_t i = 0; i < s->n_obs; i++)
		if (!is_exception(&s->obs[i]) && s->obs[i].scope.pid > 0 && s->obs[i].scope.rank < 0 &&
		    s->obs[i].source == SRC_APP && !raised_by(s, owner(&s->obs[i])))
			return true;
	return false;
}

/* A rank that waits in vain did not raise. */
static bool somebody_waits(const struct store *s)
{
	static const char *const kinds[] = { "torch.watchdog_timeout", "torch.heartbeat_stuck", "nccl.remote_error", "comm.peer_lost" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (const struct observation *o = NULL; (o = store_next(s, kinds[i], o));)
			if (owner(o) >= 0 && !raised_by(s, owner(o)))
				return true;
	return false;
}

static bool few_are_heard(const struct store *s)
{
	int32_t world = s->identity->world_size;

	return world > 1 && s->identity->n_ranks * 2 < (size_t)world;
}

static void run(struct store *s)
{
	size_t n = owners(s);
	bool others = others_exist(s), few = few_are_heard(s) && !somebody_waits(s);

	for (size_t i = 0; i < s->n_obs; i++) {
		struct observation *o = &s->obs[i];
		const char *scope = owner(o) < 0 || (n <= 1 && !others && o->scope.process == 0) ? "alone" :
				    n <= 1 ? "one" : "all";

		if (n <= 1 && owner(o) >= 0 && few)
			scope = "unsure";

		if (is_exception(o))
			observation_fieldf(s, o, "scope_of", "%s", scope);
	}
}

const struct detector detector_exception_scope = {
	"exception_scope", "an exception on one rank, or alike on all", run,
};
