/*
 * Every process says which RDMA devices NCCL opened.  One that opened fewer than most
 * of the others has lost one; when all have few, it is how they were set up.
 */
#include <string.h>

#include "patterns/detectors.h"

#define WITNESSES 3
#define DEVICES_MAX 64

static unsigned devices(const struct store *s, const struct observation *o)
{
	unsigned n = 0;

	for (const char *p = observation_get(s, o, "devices"); (p = strchr(p, '[')); p++)
		n += p[1] >= '0' && p[1] <= '9';
	return n < DEVICES_MAX ? n : DEVICES_MAX;
}

/* The number of devices that more than half of the processes have; 0: none. */
static unsigned usual(const struct store *s)
{
	size_t with[DEVICES_MAX + 1] = { 0 }, all = 0;

	for (const struct observation *x = NULL; (x = store_next(s, "nccl.devices", x)); all++)
		with[devices(s, x)]++;
	for (unsigned n = 1; n <= DEVICES_MAX; n++)
		if (with[n] >= WITNESSES && 2 * with[n] > all)
			return n;
	return 0;
}

static void run(struct store *s)
{
	size_t before = s->n_obs;
	unsigned most = usual(s);

	for (size_t i = 0; i < before; i++) {
		const struct observation *o = &s->obs[i];
		struct observation made = observation_of("nccl.fewer_devices", o->source);

		if (o->kind != kind_find("nccl.devices") || devices(s, o) >= most)
			continue;
		made.scope = o->scope;
		made.time = made.onset = o->onset;
		observation_fieldf(s, &made, "opened", "%u", devices(s, o));
		observation_fieldf(s, &made, "peers", "%u", most);
		observation_cite(&made, o->n_evidence ? (int64_t)o->evidence[0] : -1);
		store_observe(s, &made);
	}
}

const struct detector detector_fewer_devices = {
	"fewer_devices", "a process that opened fewer RDMA devices than its peers", run,
};
