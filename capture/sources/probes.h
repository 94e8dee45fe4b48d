/*
 * probes - loading BPF objects that share maps, each of which may fail alone.
 *
 * Features are asked for, not versions: a tracepoint that the kernel's types do
 * not know is left out.  What must be there are these types (BTF), by which CO-RE
 * relocates, and BPF ring buffers; a kernel with both has BTF tracepoints.
 */
#pragma once
#include <stdint.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "bundle/error.h"
#include "capture/bpf/shared.h"
#include "capture/capture.h"

/* Descriptors of the maps that objects share; -1: none. */
struct probe_maps {
	int events, tracked, settings, counts;
};
#define PROBE_MAPS_NONE { -1, -1, -1, -1 }

/* `tracked` >= 0 is shared with another set of probes (a duplicate is kept). ERR_SYS with errno EPERM: not allowed. */
int probe_maps_make(uint32_t ring_bytes, int tracked, struct probe_maps *ret, struct error *err);
void probe_maps_close(struct probe_maps *m);

/* Why the kernel would not let us at all: a state and plain words; false: it may. */
bool probes_are_impossible(enum source_state *state_ret, char *reason, size_t size);

#define PROBE_LINKS_MAX 8

struct probe_desc {
	const char *name;			/* in the source's reason */
	const void *(*elf)(size_t *size);	/* the object's bytes */
	/* Decide what of it is loaded, by the kernel's types.  May be NULL. */
	void (*prepare)(struct bpf_object *obj, const struct btf *kernel);
};

struct probe {
	struct bpf_object *obj;			/* NULL: not loaded */
	struct bpf_link *links[PROBE_LINKS_MAX];
	size_t n_links;
};

/* Open, load and attach what attaches by itself (tracepoints, iterators: not uprobes). */
int probe_load(const struct probe_desc *d, const struct probe_maps *m, const struct btf *kernel, struct probe *ret,
	       struct error *err);
void probe_unload(struct probe *p);

int probe_map(const struct probe *p, const char *name);		/* its descriptor; -1 */

/* A process became tracked, changed or ended. */
void probe_track(const struct probe_maps *m, const struct tracked *t);

/* Sums of the per-CPU counts since the last call, which `last` remembers. */
struct probe_counts {
	uint64_t n[COUNT_MAX];
};
struct probe_counts probe_counts_take(const struct probe_maps *m, struct probe_counts *last);
