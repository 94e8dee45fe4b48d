/*
 * nccl_attach - the worker that puts uprobes on the NCCL libraries of the job.
 *
 * Libraries lie on the job's file systems, which may hang, so that opening,
 * reading and attaching happen in a worker, which then holds the attachments: they
 * end with it.  The parent asks with paths, the worker answers once for each
 * library; one that it already knows, by device and inode, it passes over.
 */
#pragma once
#include <bpf/libbpf.h>

#include "capture/loop.h"
#include "capture/worker.h"

enum nccl_message {
	NCCL_HELLO,		/* worker: begun, nothing is attached */
	NCCL_LIBRARY,		/* parent: a path, without a NUL */
	NCCL_ATTACHED,		/* worker: struct nccl_attached, then the path */
	NCCL_REFUSED,		/* worker: a text that says which and why */
	NCCL_DENIED,		/* the same, and the reason is a lack of privilege */
};

struct nccl_attached {
	uint32_t functions;	/* found and probed */
	uint32_t stepped;	/* of them, where the kernel must single-step */
};

/* worker_fn; ctx: the loaded object of nccl.bpf.c. */
void nccl_attach_run(struct worker_link *l, void *ctx);
#define NCCL_ATTACH_BUDGET_NS (30 * NS_PER_S)
