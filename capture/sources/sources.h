/* sources - each is one file of this folder; capture/sources.c lists them. */
#pragma once
#include "capture/capture.h"

extern const struct source source_bpf, source_nccl, source_process;
extern const struct source source_nvml, source_amd, source_infiniband, source_host, source_filesystems;

extern const struct source source_process;
