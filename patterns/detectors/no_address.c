/*
 * A command that asks for the IPv4 addresses of an interface, and no address below
 * it before the next such command: the interface has none.
 */
#include "patterns/detectors.h"

static const struct evidence *quote_of(const struct store *s, const struct observation *o, unsigned i)
{
	return &s->evidence[o->evidence[i]];
}

/* Offset of the first quote of `kind` in the member of `q` and below it; UINT64_MAX: none. */
static uint64_t next_below(const struct store *s, const char *kind, const struct evidence *q)
{
	uint64_t at = UINT64_MAX;

	for (const struct observation *o = NULL; (o = store_next(s, kind, o));)
		for (unsigned i = 0; i < o->n_evidence; i++) {
			const struct evidence *x = quote_of(s, o, i);

			if (x->member == q->member && x->offset > q->offset && x->offset < at)
				at = x->offset;
		}
	return at;
}

static void run(struct store *s)
{
	size_t before = s->n_obs;

	for (size_t i = 0; i < before; i++) {
		struct observation made = s->obs[i];
		const struct evidence *q = made.n_evidence ? quote_of(s, &made, 0) : NULL;
		uint64_t answer;

		if (made.kind != kind_find("net.address_asked") || !q)
			continue;
		answer = next_below(s, "net.address", q);
		if (answer != UINT64_MAX && answer < next_below(s, "net.address_asked", q))
			continue;
		made.kind = kind_find("net.no_address");
		store_observe(s, &made);
	}
}

const struct detector detector_no_address = { "no_address", "was an interface asked for its address, and had none?", run };
