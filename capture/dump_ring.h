/*
 * dump_ring - what a bundle takes from a ring.
 *
 * Read twice: at the trigger, and after the post window.  Segments of most streams
 * go into the bundle as they are, the second time those that changed.  The kernel
 * log and the training logs are put together as text; a record that both readings
 * see counts once.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bundle/bundle_write.h"
#include "bundle/manifest.h"
#include "bundle/segment.h"
#include "capture/dump/common.h"

#define RING_SEGMENTS_MAX 4096
#define RING_LOG_BYTES ((size_t)4 << 20)	/* kept of one log */

/* Bytes of a log, in the order of their offsets; `at` is where text.s[0] stood in the file. */
struct log_piece {
	uint64_t at;
	struct dump_text text;
};

/* One file: (path, device, inode). */
struct log_file {
	char *path;
	uint64_t device, inode;
	int32_t rank;
	uint32_t id;			/* the daemon's number */
	uint32_t run;			/* of the daemon that gave the number */
	struct log_piece *pieces;
	size_t n_pieces, bytes;
	uint64_t reached;		/* the file was that long */
	int64_t last_ns;		/* CLOCK_REALTIME of the last record of it */
};

/* A segment as the first reading saw it. */
struct taken_segment {
	uint64_t nonce;
	size_t len;
};

struct ring_take {
	struct clock_triple clock;	/* of the newest segment */
	char host[65], boot_id[37];
	struct dump_text kernel;
	struct log_file *logs;
	size_t n_logs, cap_logs;
	uint64_t masked;		/* secrets that the daemon masked in the logs */
	uint64_t next_seq[STREAM_COUNT];
	uint64_t newest_seq[STREAM_COUNT], lost_there[STREAM_COUNT];	/* first record of the newest segment; REC_LOSS in it */
	struct manifest_stream streams[STREAM_COUNT];
	struct manifest_source sources[64];	/* by REC_SOURCE, the last state of each */
	size_t n_sources;
	struct record_process *processes;	/* by REC_PROCESS, the last of each pid */
	size_t n_processes, cap_processes;
	struct taken_segment *segments;	/* RING_SEGMENTS_MAX, by stream and index */
	int64_t last_ns;		/* CLOCK_REALTIME of the last record of any stream */
	bool again;			/* the second reading */
	int64_t run_begin_ns;		/* the caller's, for dump_log_name(); 0: unknown */
};

/* Segments go into `b`, unless it is NULL (what a full disk refuses is lost, bundle_lost()).  -1: there is no such ring. */
int ring_take_read(struct ring_take *t, const char *dir, struct bundle_writer *b, struct error *err);
/* 1: of this boot of this host; 0: of another; -1: there is no ring. */
int ring_is_ours(const char *dir);
void ring_take_free(struct ring_take *t);

/* What the ring has of a log, oldest first; holes are said in the text.  Only what stands before `end`. */
void log_file_text(const struct log_file *f, uint64_t end, struct dump_text *t);
