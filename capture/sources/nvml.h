/* nvml - the parts of the NVML source; private to nvml.c, nvml_sample.c and their test. */
#pragma once
#include "capture/sources/nvml_abi.h"
#include "capture/worker.h"

#define NVML_DEVICES_MAX 64
#define NVML_SLOW_TICKS 10	/* samples between two readings of what is slow to ask and slow to change */

struct nvml_gpu {
	struct nvml_device *device;	/* NULL: it did not answer when it was looked for */
	struct record_gpu_device identity;
	struct record_gpu_sample last;	/* slow values stand here between their readings */
	bool lost;
};

struct nvml_options {
	uint32_t sample_ms;
};

/* Load the library and its functions; false, and why in words. */
bool nvml_load(struct nvml *n, char *why, size_t size);
const char *nvml_error(const struct nvml *n, nvml_return status);

/* The error, when it says that the device is gone, else NVML_SUCCESS. */
nvml_return nvml_identify(const struct nvml *n, struct nvml_gpu *g);
/* The same; fills `g->last`. */
nvml_return nvml_sample(const struct nvml *n, struct nvml_gpu *g, bool slow);

/* The worker: `ctx` is a struct nvml_options. */
void nvml_run(struct worker_link *l, void *ctx);
