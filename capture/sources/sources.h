/* sources - each is one file of this folder; capture/sources.c lists them. */
#pragma once
#include "capture/capture.h"

extern const struct source source_amd, source_bpf, source_filesystems, source_host, source_infiniband, source_nccl,
	source_nvml, source_process;
extern const struct source source_process;
extern const struct source source_kmsg;
extern const struct source source_logs;
extern const struct source source_flight;
extern const struct source source_journal;
