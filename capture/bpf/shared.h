/*
 * shared - what probes and daemon agree on: maps, and what travels in them.
 *
 * Compiled twice.  The maps of these names are made by the daemon once and used by
 * every object that declares them, so that each object may fail alone.
 */
#pragma once
#include "bundle/records.h"

/* ---- ring buffer "events": a head, then the record's struct ---- */

struct probe_event {
	__u16 kind;		/* enum record_kind */
	__u16 bytes;		/* of the payload */
	__u32 reserved;
	__s64 monotonic_ns;
};

/* ---- hash "tracked": which processes are the job's, by pid (tgid) ---- */

#define TRACKED_MAX 16384

enum tracked_kind { TRACKED_RANK = 1, TRACKED_CHILD = 2, TRACKED_LAUNCHER = 3 };

struct tracked_value {
	__s32 rank;		/* its own, or of the rank that it descends from; -1 */
	__u32 kind;		/* enum tracked_kind */
	__u64 start_ns;		/* CLOCK_BOOTTIME; 0 unknown */
};

/* ---- array "settings": one element ---- */

struct probe_settings {
	__u64 blocked_ns;	/* an uninterruptible sleep is long from here on */
	__u64 block_io_ns;	/* so is a block I/O */
	__u32 execs_per_s;	/* bound on REC_EXEC */
	__u32 wakeup_bytes;	/* fill level of "events" at which the daemon is woken */
	__u32 page_kib, reserved;
};

/* ---- per-CPU array "counts" ---- */

enum probe_count {
	COUNT_DROPPED,		/* events that found the ring buffer full */
	COUNT_UNTRACKED,	/* children that found "tracked" full */
	COUNT_UNAGGREGATED,	/* events that found their aggregate map full */
	COUNT_MAX
};

#define AGGREGATE_MAX 4096

/* ---- hash "tcp_counts": flushed once a second ---- */

struct tcp_key {
	__u8 event, family;
	__u16 local_port, remote_port;
	__u16 reserved;
	__u8 local[16], remote[16];
	__s32 error;
};

struct tcp_value {
	__u64 count;
	__u32 pid;
	__s32 rank;
	char comm[16];
};

/* ---- hash "block_counts": flushed once a second ---- */

struct block_key {
	__u32 major, minor;
	__u32 is_write;
	__s32 status;		/* blk_status_t; a negative errno in old kernels */
};

struct block_value {
	__u64 count, latency_ns;	/* the longest */
	__u32 bytes, reserved;		/* of that one */
};

/* ---- an OOM kill as the probe sends it; the cgroup's path is put together by the daemon ---- */

#define CGROUP_DEPTH_MAX 12
#define CGROUP_NAME_BYTES 80

struct oom_event {
	struct record_oom_kill kill;
	__u32 depth;		/* names, innermost first */
	__u32 reserved;
	char name[CGROUP_DEPTH_MAX][CGROUP_NAME_BYTES];
};

/* ---- what reading the iterator "blocked" yields: this head, then `record.frames` lines ---- */

#define BLOCKED_MAGIC 0x31444b4c42u

struct blocked_head {
	__u64 magic;
	struct record_blocked_task record;
};
