/*
 * process_worker - reads what may hang: environ, cmdline, cgroup and maps of processes.
 *
 * Runs in a worker process and tells the `process` source, in the main thread, what it
 * found out about the job's processes.  One whose reading hung is not read again: the
 * worker that follows finds it in the page that both share.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "capture/config.h"
#include "capture/worker.h"

#define PROCESS_PIDS_MAX 1024		/* in one question */
#define PROCESS_CMDLINE_MAX 4096
#define PROCESS_POISON_MAX 64

/* Questions (WORKER_OWN kinds) to the worker. */
enum { PROCESS_ASK_PIDS = 1, PROCESS_ASK_LOOK };	/* PIDS: uint32_t each */
/* Answers. */
enum {
	PROCESS_TOLD = 1,		/* struct process_told, then the scrubbed command line */
	PROCESS_SKIPPED,		/* uint64_t: pids not judged for want of time; a look will */
};

struct process_told {
	struct record_process p;
	char nccl_path[256];
};

/* MAP_SHARED: survives a worker that hangs. */
struct process_page {
	uint32_t reading_pid;		/* 0: none */
	uint32_t n_poison;
	struct {
		uint32_t pid, reserved;
		uint64_t start_ns;
	} poison[PROCESS_POISON_MAX];	/* a ring: n_poison counts on */
};

struct process_worker_context {
	const struct config *config;
	struct process_page *page;
	uint32_t daemon_pid;
};

void process_worker(struct worker_link *l, void *ctx);	/* ctx: struct process_worker_context */
