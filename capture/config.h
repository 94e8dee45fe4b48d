/*
 * config - what the operator may choose, one "key = value" a line.
 *
 * No file, or an empty one, is a sensible configuration.  A key that may repeat
 * adds to its list.  Errors name file, line, key, the value as written and what
 * would have been right; a bad file is refused whole, and on SIGHUP the old
 * configuration stays.  capture/install/tcaptured.conf documents every key and is what one starts from.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/error.h"

#define CONFIG_FILE "/etc/tachograph/tcaptured.conf"
#define CONFIG_LIST_MAX 64

struct config_list {
	char *item[CONFIG_LIST_MAX];
	size_t n;
};

struct config {
	/* where */
	char *ring_dir;			/* /var/lib/tachograph/ring */
	char *bundle_dir;		/* /var/lib/tachograph/bundles */
	char *socket;			/* /run/tachograph/tcaptured.sock */
	char *group;			/* besides root, who may ask for a dump; NULL */
	uint64_t ring_bytes;		/* 64 MiB */
	uint64_t bundle_quota_bytes;	/* 4 GiB of all kept bundles; the oldest go first */
	uint32_t bundle_keep;		/* 32 */
	/* what */
	struct config_list logs;	/* globs */
	struct config_list flight_dumps;/* globs of dump files, besides the known places */
	struct config_list dump_pipes;	/* globs of PyTorch's dump pipes, besides what the job's environment says */
	struct config_list track_cgroups;	/* globs of cgroup paths whose processes are the job's */
	struct config_list track_env;	/* names of environment variables that make a process a rank: RANK, SLURM_PROCID, OMPI_COMM_WORLD_RANK, PMI_RANK */
	struct config_list sources_off;	/* names of the table of sources */
	struct config_list nccl_libraries;	/* paths of libnccl.so besides those that tracked processes map */
	uint32_t sample_ms;		/* 1000 */
	uint32_t ras_port;		/* 28028; 0: off */
	/* triggers */
	bool trigger_exit, trigger_oom, trigger_kernel, trigger_flight, trigger_sigterm;	/* all on */
	struct config_list trigger_log;	/* PCRE2 */
	uint32_t trigger_hang_s;	/* 300; 0: off: no NCCL call and no log output of the job for so long */
	uint32_t trigger_memory_pct;	/* 0: off; PSI memory "full" avg10 above it */
	uint32_t post_s;		/* 5: recorded after the trigger before the bundle is closed */
	uint32_t dedup_s;		/* 60: equal triggers within it are one */
	uint32_t bundles_per_hour;	/* 6 */
};

/* Defaults, then the file (NULL: none). */
int config_read(const char *path, struct config *ret, struct error *err);
/* The same from memory; `name` is what errors call it. */
int config_parse(const char *name, const char *text, size_t len, struct config *ret, struct error *err);
void config_free(struct config *c);

/* Name of the i-th key; NULL: there are not so many. */
const char *config_key(size_t i);

bool config_source_is_off(const struct config *c, const char *source);
