/* sources - each is one file of this folder; capture/dump_sources.c lists them. */
#pragma once
#include "capture/dump.h"
#include "capture/dump/common.h"

extern const struct dump_source dump_flight, dump_host, dump_k8s, dump_kernel, dump_nvidia_smi, dump_previous,
	dump_pstore, dump_ras, dump_slurm, dump_stacks, dump_topology;
