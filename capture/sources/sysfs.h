/* sysfs - what the sources that read a class directory of /sys share. */
#pragma once
#include "bundle/cleanup.h"
#include "capture/capture.h"

/* The names in a directory, sorted; empty when it cannot be read. */
struct sysfs_list {
	char **name;
	size_t n;
};
struct sysfs_list sysfs_list(const char *dir);
void sysfs_list_free(struct sysfs_list *l);
#define _cleanup_sysfs_ _cleanup_(sysfs_list_free)

/* What their workers get. */
struct sysfs_options {
	char root[256];		/* the class directory: another one in tests */
	uint32_t sample_ms;
};
void amd_run(struct worker_link *l, void *ctx);
void infiniband_run(struct worker_link *l, void *ctx);

/* start() and stop() of such a source; a missing directory is SOURCE_ABSENT, and no worker. */
int sysfs_start(struct capture *c, const char *source, const char *root, worker_fn *run, int64_t budget_ns,
		worker_own_fn *own, void **ret, struct error *err);
void sysfs_stop(struct capture *c, void *data);
