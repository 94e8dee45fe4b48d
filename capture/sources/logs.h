/*
 * logs - between the logs source and its worker, and one file that is followed.
 *
 * Private to logs.c, logs_worker.c and logs_file.c.
 */
#pragma once
#include "capture/capture.h"

/* WORKER_OWN kinds.  Parent to worker: */
enum { LOGS_FOLLOW_PROCESS = 1 };	/* struct logs_process: its standard output and error, where they are files */
/* Worker to parent: */
enum { LOGS_ACTIVE = 1, LOGS_TRIGGER = 2 };	/* struct logs_active; struct logs_process, then the line */

struct logs_process {
	int32_t pid, rank;		/* -1: of no process in particular */
};

struct logs_active {
	struct logs_process owner;
	int64_t written_ns;		/* CLOCK_MONOTONIC: of the file's last byte, which may be found late */
};

struct logs_context {
	const struct config *config;	/* as it was when the worker was forked */
};
void logs_worker(struct worker_link *l, void *ctx);	/* ctx: struct logs_context */

/* ---- one file (logs_file.c) ---- */

#define LOG_CHUNK_BYTES (64u << 10)	/* one record at most; a line longer than that is cut there */
#define LOG_START_BYTES (64u << 10)	/* of a file that is there at the start */
#define LOG_SHARE_BYTES (1u << 20)	/* of one file in LOG_SHARE_NS; beyond it only marks are kept */
#define LOG_SHARE_NS (10 * NS_PER_S)
#define LOG_PARTIAL_NS NS_PER_S		/* a line without an end waits so long for it */
#define LOG_RESTATE_NS (60 * NS_PER_S)	/* REC_LOG_FILE again, so that it outlives the recycling of segments */

enum log_reason { LOG_FOUND, LOG_ROTATED, LOG_TRUNCATED, LOG_REMOVED };

struct log_file {
	char *path;
	struct logs_process owner;
	int fd;				/* -1: closed, opened when it is read */
	uint32_t number;		/* 0: never stated */
	uint64_t device, inode, offset;
	uint64_t size;			/* when it was last looked at */
	uint64_t share_used;
	int64_t share_ns, stated_ns, active_ns, grown_ns, marked_ns, written_ns;
	struct log_file *next;		/* of the same hash */
};

/* Called with whole lines, scrubbed, before they are recorded. */
typedef void log_lines_fn(void *ctx, struct log_file *f, const char *s, size_t n);

struct log_reader {
	struct worker_link *link;
	log_lines_fn *lines;
	void *lines_ctx;
	uint32_t files;			/* numbers given */
	char *buf;			/* LOG_CHUNK_BYTES */
};

/* Look at the file's path and read what is new: follows rotation, truncation, removal.  False: it is gone. */
bool log_file_read(struct log_reader *r, struct log_file *f, int64_t now);
/* Begin at the last LOG_START_BYTES; a file that appears while we watch is read from its start. */
void log_file_begin(struct log_reader *r, struct log_file *f, bool from_end, int64_t now);
void log_file_close(struct log_file *f);
