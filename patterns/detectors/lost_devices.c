/*
 * NVML refuses a container what the host still has: the host lists its GPUs, or read
 * its units again, which takes the devices from running containers.
 */
#include "patterns/detectors.h"

static bool hosts_differ(const struct observation *a, const struct observation *b)
{
	return a->scope.host && b->scope.host && a->scope.host != b->scope.host;
}

static bool cite(const struct store *s, struct observation *made, const struct observation *refused, const char *kind)
{
	bool any = false;

	for (const struct observation *x = NULL; (x = store_next(s, kind, x));) {
		if (hosts_differ(x, refused))
			continue;
		observation_cite(made, x->n_evidence ? (int64_t)x->evidence[0] : -1);
		any = true;
	}
	return any;
}

static void run(struct store *s)
{
	size_t before = s->n_obs;

	for (size_t i = 0; i < before; i++) {
		const struct observation *o = &s->obs[i];
		struct observation made = observation_of("container.devices_lost", o->source);
		bool listed, reloaded;

		if (o->kind != kind_find("gpu.nvml_refused"))
			continue;
		made.scope = o->scope;
		made.time = made.onset = o->onset;
		observation_cite(&made, o->n_evidence ? (int64_t)o->evidence[0] : -1);
		reloaded = cite(s, &made, o, "host.units_reloaded");
		listed = cite(s, &made, o, "gpu.listed");
		if (reloaded || listed)
			store_observe(s, &made);
	}
}

const struct detector detector_lost_devices = {
	"lost_devices", "a container that lost the devices which its host still has", run,
};
