#include <stddef.h>

#include "capture/dump/sources.h"

/* They run side by side; what stops nobody and ends soon stands first in the bundle. */
const struct dump_source *const dump_sources[] = {
	&dump_kernel,
	&dump_host,
	&dump_stacks,
	&dump_flight,
	&dump_nvidia_smi,
	&dump_ras,
	&dump_topology,
	&dump_slurm,
	&dump_k8s,
	&dump_pstore,
	&dump_previous,
	NULL,
};
