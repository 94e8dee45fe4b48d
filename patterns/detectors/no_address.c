/*
 * A command that asks for the IPv4 addresses of an interface, and nothing below it,
 * or no address before the next such command: the interface has none.  Where other
 * lines are below, the answer may have been cut.
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

/* Does the member end with this line, and is the line whole? */
static bool ends_member(const struct store *s, const struct evidence *q)
{
	uint64_t rest = s->members[q->member].bytes - (q->offset + q->length);

	return rest == 1 || rest == 2;
}

static bool unanswered(const struct store *s, const struct evidence *q)
{
	uint64_t next = next_below(s, "net.address_asked", q);

	return next == UINT64_MAX ? ends_member(s, q) : next_below(s, "net.address", q) > next;
}

static void run(struct store *s)
{
	size_t before = s->n_obs;

	for (size_t i = 0; i < before; i++) {
		struct observation made = s->obs[i];
		const struct evidence *q = made.n_evidence ? quote_of(s, &made, 0) : NULL;

		if (made.kind != kind_find("net.address_asked") || !q || !unanswered(s, q))
			continue;
		made.kind = kind_find("net.no_address");
		store_observe(s, &made);
	}
}

const struct detector detector_no_address = { "no_address", "was an interface asked for its address, and had none?", run };
