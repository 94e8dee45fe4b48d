#include <stddef.h>

#include "capture/capture.h"
#include "capture/sources/sources.h"

/* Order of start: who the job is comes before what watches it. */
const struct source *const sources[] = {
	&source_process,
	&source_bpf,
	&source_nccl,
	&source_nvml,
	&source_amd,
	&source_infiniband,
	&source_host,
	&source_filesystems,
	&source_kmsg,
	&source_logs,
	&source_flight,
	&source_journal,
	NULL,
};
