/*
 * store - the evidence store: members read, evidence quoted, observations made.
 *
 * Ingest and detectors write it, the engine and the reports read it.  Plain
 * data: ids instead of pointers, absent values have a name (RANK_NONE, sid 0,
 * TIME_UNKNOWN); zero never means "unknown" where zero is a value.  Nothing in
 * here knows a file format, a cause or a report.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/arena.h"
#include "analyzer/intern.h"
#include "bundle/error.h"

#define RANK_NONE (-1)
#define PID_NONE (-1)
#define QUOTE_BYTES 1024	/* longest quote */
#define QUOTES_MAX 8		/* quotes kept of equal observations */
#define FIELDS_MAX 12

/* ---- time ---- */

/* What `ns` counts.  Stamps of different bases are never ordered by their numbers. */
enum time_base {
	TIME_UNKNOWN,
	TIME_UTC,	/* ns since 1970, zone known */
	TIME_LOCAL,	/* the same, zone not stated */
	TIME_YEARLESS,	/* as TIME_LOCAL, counted from 1 January of an unknown year, which may be a leap year */
	TIME_DAY,	/* since some midnight */
	TIME_BOOT,	/* since the boot of the host */
};

struct stamp {
	int64_t ns;
	enum time_base base;
};

/* ---- where a fact comes from ---- */

/* Independent witnesses: two of them make a finding `confirmed`. */
#define SOURCE_CLASSES(X) \
	X(KERNEL, "kernel", "the kernel log of the host (dmesg, journalctl -k)") \
	X(DRIVER, "driver", "GPU telemetry (nvidia-smi -q -x)") \
	X(FLIGHT, "flight_recorder", "flight-recorder dumps (TORCH_NCCL_DUMP_ON_TIMEOUT=1)") \
	X(APP, "application", "the logs of the ranks") \
	X(LAUNCHER, "launcher", "the output of torchrun or mpirun") \
	X(SCHEDULER, "scheduler", "the scheduler's own text (slurmctld, sacct, kubectl describe)") \
	X(EBPF, "ebpf", "process events (run tcaptured)") \
	X(NET, "network", "NIC and switch state (ibstat, sysfs counters)") \
	X(FABRIC, "fabric_manager", "the fabric manager's log") \
	X(HOST, "host", "host state (df, limits, stacks)") \
	X(INPUT, "input", "the input itself")

enum source_class {
#define X(id, name, what) SRC_##id,
	SOURCE_CLASSES(X)
#undef X
	SRC_COUNT
};
const char *source_name(enum source_class c);
const char *source_what(enum source_class c);	/* how to get it, for people */

enum member_state {
	MEMBER_OK,
	MEMBER_DAMAGED,		/* read in part */
	MEMBER_UNREAD,		/* not read: the reason is in `damage` */
	MEMBER_IGNORED,		/* recognised as nothing we read */
};

struct damage {
	const char *what;
	uint64_t offset;	/* UINT64_MAX: no byte to point at */
	struct damage *next;
};

/*
 * The run of a job that a bundle is about, as its manifest says.  A recorder's ring
 * and the kernel log reach further back: what happened before is another story.
 */
struct bundle_run {
	int64_t begin_ns;	/* UTC */
	int64_t boot_ns;	/* UTC of the zero of the kernel log's clock; 0: unknown */
	bool has_processes;	/* the ring told whose processes are the job's */
	int32_t *pids;		/* of the job, as the host numbers them */
	size_t n_pids, cap_pids;
};

/* One file of the input, or one member of an archive in it. */
struct member {
	sid input;		/* the path as given, or "a/b" below a directory that was given */
	sid name;		/* member of the archive `input`; 0 for a plain file */
	const char *kind;	/* "flight_recorder", "log", "nvidia_smi", ...: static text */
	enum member_state state;
	uint32_t sources;	/* bit per source_class that this member can witness */
	sid host;		/* learnt from its content, else from its path */
	int32_t rank;		/* the same */
	bool rank_from_path, host_from_path;
	struct stamp first, last;
	uint64_t bytes;		/* decompressed */
	char sha256[65];	/* of those, or "" when not computed */
	struct damage *damage;
	struct bundle_run *run;	/* NULL: of no bundle, or of one that names no run */
};

/* A quote: enough to read it again and compare. */
struct evidence {
	uint32_t member;
	uint64_t offset;	/* in the decompressed member */
	uint32_t length;	/* at most QUOTE_BYTES */
	uint64_t line;		/* from 1; 0 where the format has no lines */
	struct stamp time;
	bool decoded;		/* `text` says what the bytes mean; else it is the bytes */
	const char *raw;	/* the `length` bytes themselves */
	const char *text;	/* decoded only */
};

/* ---- observations ---- */

enum severity { SEV_INFO, SEV_WARNING, SEV_ERROR, SEV_FATAL };
const char *severity_name(enum severity s);

/* One row of kinds.def, or a site's own "x." kind. */
struct kind {
	const char *name;
	enum severity severity;
	bool stop;		/* a failure to explain: an anchor of the verdict */
	uint32_t window_s;	/* equal observations this close are one */
	const char *what;	/* one clause for people */
};
const struct kind *kind_find(const char *name);	/* of kinds.def; NULL when there is none */
size_t kind_count(void);
const struct kind *kind_at(size_t i);

/* Who or what an observation is about.  Unknown: RANK_NONE, PID_NONE, 0. */
struct scope {
	int32_t rank, local_rank, attempt;
	int32_t pid;
	sid host;
	sid gpu;		/* canonical PCI address "0000:3b:00.0", else a UUID, else an index "3" */
	sid process, link, object, sender;
};
extern const struct scope scope_none;

struct field {
	sid name, value;
};

struct observation {
	const struct kind *kind;
	enum source_class source;
	bool foreign;		/* about a GPU or a process that is not the job's, or about a run before this one */
	bool earlier;		/* a state of the host from before the run: it may explain, and needs no explanation */
	bool host_from_path;	/* nothing but the file's path says which host */
	bool user_written;	/* a kernel-log line that user space wrote */
	struct scope scope;
	struct stamp time;	/* of the line */
	struct stamp onset;	/* time less the timeout that the line states */
	int64_t error_ns;	/* half-width of the onset's interval */
	uint32_t count;
	struct stamp first, last;
	struct stamp above, above_last;	/* of a line without a time: that of the last dated line above it */
	uint8_t n_fields, n_evidence;
	struct field fields[FIELDS_MAX];
	uint32_t evidence[QUOTES_MAX];
	uint32_t member;		/* it was read from; UINT32_MAX: none in particular */
	uint64_t order;		/* rank in the input: member, then byte; sorts equal times */
};

struct inconsistency {
	const char *what;
	struct inconsistency *next;
};

struct store {
	struct arena arena;
	struct intern strings;
	struct member *members;
	size_t n_members, cap_members;
	struct evidence *evidence;
	size_t n_evidence, cap_evidence;
	struct observation *obs;
	size_t n_obs, cap_obs;
	struct identity *identity;	/* analyzer/identity.h */
	struct collectives *collectives;/* analyzer/collectives.h; NULL without dumps */
	struct ring_intake *ring;	/* analyzer/ingest/ring.h; NULL without segments */
	struct inconsistency *inconsistencies;
	uint32_t *per_kind;		/* observations, by row of kinds.def */
	uint64_t obs_dropped;		/* observations beyond the limit: counted, not kept */
	bool interrupted;		/* a signal or --time-limit ended the reading */
	uint32_t *merge_slot;		/* hash: observation index + 1 */
	size_t merge_cap;
};

int store_init(struct store *s, size_t budget_bytes, struct error *err);
void store_deinit(struct store *s);

/* A new member; its index, or -1. */
int64_t store_member(struct store *s, const char *input, const char *name, struct error *err);

/* Note damage of a member: it is read in part (or, with `unread`, not at all). */
void store_damage(struct store *s, uint32_t member, const struct error *why, bool unread);

/* The same, of a member that is all right: its state stays. */
void store_note(struct store *s, uint32_t member, const struct error *why);

/* A raw quote of `length` bytes (cut at QUOTE_BYTES); its index, or -1: no memory, or no bytes. */
int64_t store_quote(struct store *s, uint32_t member, uint64_t offset, uint64_t line,
		    const char *raw, size_t length, struct stamp time);
/* A decoded quote: `raw` are the bytes, `text` what they mean. */
int64_t store_decoded(struct store *s, uint32_t member, uint64_t offset, const void *raw,
		      size_t length, const char *text, struct stamp time);

/* A blank observation of `kind`. */
struct observation observation_of(const char *kind, enum source_class source);
void observation_field(struct store *s, struct observation *o, const char *name,
		       const char *value, size_t len);
void observation_fieldf(struct store *s, struct observation *o, const char *name,
			const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void observation_cite(struct observation *o, int64_t evidence);	/* -1: nothing */
/* Value of a field, "" when absent. */
const char *observation_get(const struct store *s, const struct observation *o, const char *name);

/*
 * Add an observation.  One that equals another (kind, source, scope and fields)
 * within the kind's window is merged into it: count, first, last, and the first
 * QUOTES_MAX quotes.
 */
int store_observe(struct store *s, const struct observation *o);

/* Would store_observe() keep a quote of this?  Not when it is dropped, or merged with enough quotes. */
bool store_wants_quote(const struct store *s, const struct observation *o);

/* Iterate: for (o = NULL; (o = store_next(s, "host.oom_kill", o));) */
const struct observation *store_next(const struct store *s, const char *kind,
				     const struct observation *after);

void store_inconsistency(struct store *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Bit per source class that some member witnessed. */
uint32_t store_sources(const struct store *s);

/*
 * Order of two stamps: -1, 0 (not decidable), 1.  `slack_ns` is the sum of both
 * half-widths.
 */
int stamp_order(struct stamp a, struct stamp b, int64_t slack_ns);
