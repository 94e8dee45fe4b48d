/* dump_manifest - fills the manifests of a bundle from what a dump knows. */
#pragma once
#include "bundle/manifest.h"
#include "capture/dump.h"
#include "capture/dump_collect.h"
#include "capture/dump_ring.h"

/* This host, now. */
void dump_host_now(struct manifest_host *ret);
/* The host, and the moment, of a ring whose daemon is dead. */
void dump_host_of_ring(const struct ring_take *t, struct manifest_host *ret);

/* What the two manifests are made of; all is the caller's. */
struct dump_facts {
	const struct dump_request *rq;
	const struct manifest_host *host;
	const struct ring_take *ring;		/* NULL: none */
	const struct record_process *processes;	/* of the job */
	size_t n_processes;
	int64_t captured_ns;
	int64_t run_begin_ns;			/* CLOCK_REALTIME; 0: unknown */
};
/* The caller's to free; NULL: out of memory. */
char *dump_manifest_begin(const struct dump_facts *f);

struct dump_outcome {
	const struct collect *collected;
	const struct dump_trigger *more;	/* triggers met meanwhile */
	size_t n_more;
};
char *dump_manifest_end(const struct dump_facts *f, const struct dump_outcome *o, const struct bundle_writer *b);
