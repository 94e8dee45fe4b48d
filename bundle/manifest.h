/*
 * manifest - the first and the last member of a bundle, as JSON.
 *
 * manifest.json: who, when, by which clocks, why, and what was planned.
 * manifest-end.json: what became of it; a bundle without it is cut.  FORMAT.md has
 * the fields.  Texts may hold any bytes: what is no UTF-8 is replaced.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "bundle/bundle_write.h"
#include "bundle/records.h"
#include "bundle/segment.h"

#define MANIFEST_NAME "manifest.json"
#define MANIFEST_END_NAME "manifest-end.json"

struct manifest_host {
	char name[65], boot_id[40], kernel[130], machine[66];
	struct clock_triple clock;
	const char *clock_state;	/* "synchronised", "unsynchronised", "unknown" */
	int64_t clock_offset_ns, clock_error_ns;	/* of the kernel's clock discipline; the error is the largest possible one */
};

struct manifest_rank {
	int32_t rank, local_rank, attempt;	/* -1 unknown */
	uint32_t pid;
	const char *gpu;
};

struct manifest_trigger {
	const char *kind, *reason;
	int32_t pid, rank;		/* -1: none */
	int64_t realtime_ns;
};

struct manifest {
	const struct manifest_host *host;
	int64_t captured_ns;		/* CLOCK_REALTIME: of a dead daemon's ring its last record's */
	const char *job;		/* NULL: unknown */
	int64_t begin_ns;		/* CLOCK_REALTIME of the run that the bundle is about; 0: unknown */
	int32_t world_size;		/* -1 */
	const struct manifest_rank *ranks;
	size_t n_ranks;
	struct manifest_trigger trigger;
	const char *from;		/* "daemon", "snapshot", "dead ring" */
	const char *ring_dir;		/* NULL: none */
	uint64_t ring_bytes;
	bool ring_is_volatile;		/* in memory: it does not outlive a panic */
	const char *const *planned;	/* names of sources, NULL ends */
};

struct manifest_source {
	char name[24];
	const char *when;		/* "ring": watched by the daemon; "dump": taken when the bundle was made */
	enum source_state state;
	char reason[200];
};

/* Of one stream of the ring. */
struct manifest_stream {
	const char *name;
	uint64_t records, lost, damaged, gaps;
	int64_t first_ns, last_ns;	/* CLOCK_REALTIME; 0: no record */
};

struct manifest_end {
	const struct manifest_source *sources;
	size_t n_sources;
	const struct manifest_stream *streams;
	size_t n_streams;
	const struct manifest_trigger *more;	/* triggers met while the bundle was made */
	size_t n_more;
	uint64_t masked;		/* secrets */
	const struct bundle_member *members, *lost;
	size_t n_members, n_lost;
	const char *const *notes;	/* what else is missing, in words */
	size_t n_notes;
};

const char *manifest_state_name(enum source_state s);
/* NUL-terminated, the caller's to free; NULL: out of memory. */
char *manifest_json(const struct manifest *m);
char *manifest_end_json(const struct manifest_end *m);
