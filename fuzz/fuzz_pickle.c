/*
 * The pickle and JSON reader of flight-recorder dumps.  Properties: a failure says
 * what and at which byte of the input; entries lie inside the input; the scratch
 * stays in its bounds; reading twice gives the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/ingest/flight.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dump(const struct flight_dump *d, size_t size)
{
	if (d->scratch.used > d->scratch.cap)
		__builtin_trap();
	for (size_t i = 0; i < d->n_entries; i++)
		if (d->entries[i].start > d->entries[i].end || d->entries[i].end > size)
			__builtin_trap();
	for (size_t i = 0; i < d->n_groups; i++)
		for (uint32_t k = 1; k < d->groups[i].n_ranks; k++)
			if (d->groups[i].ranks[k] < d->groups[i].ranks[k - 1])
				__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct flight_dump dump;
	static int ready;
	struct error err = { 0 }, again = { 0 };
	size_t entries;
	int ret;

	if (!ready++ && flight_dump_init(&dump, FLIGHT_SCRATCH_BYTES, &err))
		abort();
	ret = flight_read(&dump, data, size, &err);
	check_dump(&dump, size);
	if (ret && (err.code == ERR_NONE || !err.what[0] || !err.has_offset || err.offset > size))
		__builtin_trap();
	entries = dump.n_entries;
	if (flight_read(&dump, data, size, &again) != ret || dump.n_entries != entries ||
	    again.offset != err.offset)
		__builtin_trap();
	return 0;
}
