/*
 * ringer - what the readers of one ring's records share; private to ring.c and ring_*.c.
 *
 * Records come in the order of time within a stream, the streams one after the
 * other: processes, GPUs, host, eBPF, NCCL.  Each reader has a row in ring.c's table.
 */
#pragma once
#include "analyzer/ingest/structured.h"
#include "analyzer/pattern.h"
#include "bundle/records.h"
#include "bundle/segment.h"

#define SECOND_NS INT64_C(1000000000)
#define SANE_NS (INT64_C(1) << 61)	/* 73 years: sums of two such times do not overflow */

/* A process of the job, or one that took part in what happened to it. */
struct ring_process {
	uint32_t pid, ppid;
	uint64_t start_ns;
	struct record_process p;	/* zeros where only its exec was seen */
	bool is_known;			/* p is */
	char comm[16];
	/* the last signal that can end it */
	int32_t signal;
	char sender[64];		/* "comm (pid N, uid M)" */
	const char *sender_kind;
	struct observation *stop;	/* the signal that stopped it, as it would be observed; NULL: it was let go on */
	/* stopped, or blocked in the kernel: since when, and the sample that shows how long; 0, -1: it is not */
	int64_t stopped_ns, blocked_ns;	/* CLOCK_MONOTONIC */
	int64_t stopped_quote, blocked_quote;
	int64_t busy_ns, busy_quote;	/* the same: it computes and waits for nothing */
	int64_t sampled_ns;		/* of the sample before; 0: none */
	uint64_t cpu_ms, waits;		/* CPU time and voluntary switches then */
	char wchan[32];
};

struct ring_gpu;
struct ring_port;
struct ring_mount;
struct ring_nccl;

struct ringer {
	struct store *s;
	const struct pattern_set *set;
	/* the segment that is being read */
	uint32_t member;
	struct segment_head head;
	sid host;
	enum stream_id stream;
	int64_t end_ns;			/* monotonic time of the last record of any stream */
	/* tables of the readers; freed by ring.c */
	struct ring_process *processes;	/* rows move when one is added */
	size_t n_processes, cap_processes;
	uint32_t *process_slot;		/* hash of pids: index + 1 */
	size_t process_slots;
	struct ring_gpu *gpus;
	size_t n_gpus;
	struct ring_port *ports;
	size_t n_ports;
	struct ring_mount *mounts;
	size_t n_mounts;
};

/* The fixed part, zeros where the payload is shorter; the text behind it. */
struct span record_part(const struct record *rec, void *ret, size_t size);
/* The next record whose time is one: others are skipped. */
int ring_next(struct segment_reader *seg, struct record *ret);
/* Ranks and pids of hostile records: none where they are none. */
static inline int32_t sane_rank(int32_t rank) { return rank >= 0 && rank < 1 << 20 ? rank : RANK_NONE; }
static inline int32_t sane_pid(uint32_t pid) { return pid && pid <= INT32_MAX ? (int32_t)pid : PID_NONE; }
const char *signal_text(int signal);	/* "KILL" */
const char *errno_text(int error);
/* A NUL-padded array of a record as text; `buf` gets its NUL. */
const char *record_text(const char *field, size_t size, char *buf);

/* Begin to read a segment: `r` is about it, and its member about its host. */
void ringer_begin(struct ringer *r, struct store *s, uint32_t member, const struct segment_head *head);
void ringer_note_time(struct ringer *r, int64_t monotonic_ns);
/* Loss, states, triggers, clocks: true when it was one of them, which is noted. */
bool ringer_common(struct ringer *r, const struct record *rec);
void ringer_damage(struct ringer *r, const struct segment_reader *seg);

struct stamp ringer_time(const struct ringer *r, int64_t monotonic_ns);
/* A quote of the record's payload, and what it means. */
int64_t ringer_quote(struct ringer *r, const struct record *rec, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, cited by an observation that is complete; not where that is merged into one with quotes enough. */
void ringer_cite(struct ringer *r, struct observation *o, const struct record *rec, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* A blank observation at the time of the record, on this host. */
struct observation ringer_observation(struct ringer *r, const char *kind, enum source_class source,
				      int64_t monotonic_ns);
/* About a process: its rank, what the job calls its pid, its name. */
void ringer_scope(struct ringer *r, struct observation *o, uint32_t pid, int32_t rank, const char *comm);
struct ring_process *ringer_process(struct ringer *r, uint32_t pid);	/* NULL */
struct ring_process *ringer_add_process(struct ringer *r, uint32_t pid);

typedef void ring_record_fn(struct ringer *r, const struct record *rec);
typedef void ring_end_fn(struct ringer *r);

ring_record_fn ring_process_record, ring_process_sample;				/* ring_process.c */
ring_end_fn ring_process_end;
ring_record_fn ring_exec, ring_task_exit, ring_signal, ring_oom_kill;			/* ring_task.c */
ring_end_fn ring_task_end;
ring_record_fn ring_blocked_task, ring_block_io, ring_tcp;				/* ring_kernel.c */
ring_record_fn ring_gpu_device, ring_gpu_sample, ring_gpu_event;			/* ring_gpu.c */
ring_end_fn ring_gpu_end;
sid ring_gpu_address(const struct ringer *r, uint32_t index);				/* 0: not known */
ring_record_fn ring_ib_port, ring_netdev;						/* ring_net.c */
ring_record_fn ring_host_sample, ring_file_system;					/* ring_host.c */

/* Is this kernel stack, or wait channel, that of a file system behind a network? */
bool ring_is_storage(struct span stack);
/* "nvml": SRC_DRIVER; SRC_INPUT: none in particular. */
enum source_class ring_class_of(const char *source);

/* ring_nccl.c: segments of the nccl stream are kept until all hosts are read. */
struct ring_calls;
/* Keep the segment that `r` has read; takes `data` over.  Records before `first_seq` are those of an earlier copy. */
int ring_calls_add(struct ring_calls **calls, const struct ringer *r, uint8_t *data, size_t len, uint64_t first_seq);
int ring_calls_fold(struct store *s, struct ring_calls *calls, struct error *err);
void ring_calls_free(struct ring_calls *calls);
