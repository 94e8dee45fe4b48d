#include "patterns/detectors.h"

#include <string.h>

#include "analyzer/pattern.h"
#include "bundle/cleanup.h"

static const struct detector *const detectors[] = {
	&detector_ignored_exception,	/* this and the next before exception_scope: such an exception is none */
	&detector_nan_parameter,
	&detector_work_lag,
	&detector_left_behind,
	&detector_exception_scope,
	&detector_link_flap,
	&detector_wrapped_message,	/* before bus_errors: gives lost GPUs their names */
	&detector_bus_errors,
	&detector_soft_lockups,
	&detector_lost_devices,
	&detector_no_address,
	&detector_peer_gone,
	&detector_driver_stuck,
	&detector_fewer_devices,
	&detector_slow_pair,
};

extern const struct embedded_file shipped_patterns[];
extern const size_t n_shipped_patterns;

size_t detector_count(void) { return ARRAY_SIZE(detectors); }
const struct detector *detector_at(size_t i) { return detectors[i]; }

static bool quoted_before(const struct store *s, const struct observation *o, unsigned n)
{
	const struct evidence *e = &s->evidence[o->evidence[n]];

	for (unsigned i = 0; i < n; i++) {
		const struct evidence *x = &s->evidence[o->evidence[i]];

		if (x->length == e->length && memcmp(x->raw, e->raw, e->length) == 0)
			return true;
	}
	return false;
}

unsigned distinct_quotes(const struct store *s, const struct observation *o)
{
	unsigned n = 0;

	for (unsigned i = 0; i < o->n_evidence; i++)
		n += s->evidence[o->evidence[i]].raw && !quoted_before(s, o, i);
	return n;
}

void detectors_run(struct store *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(detectors); i++)
		detectors[i]->run(s);
}

int patterns_add_shipped(struct pattern_set *set, struct error *err)
{
	for (size_t i = 0; i < n_shipped_patterns; i++)
		if (pattern_set_add(set, shipped_patterns[i].name, shipped_patterns[i].data,
				    shipped_patterns[i].len, err))
			return -1;
	return 0;
}
