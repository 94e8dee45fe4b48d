/*
 * probe - what every BPF object starts from: the shared maps and how to send.
 *
 * Kernel memory is read with BPF_CORE_READ only: a pointer that is not what a
 * kernel's types say yields zeros.
 * An event wakes the daemon only at a fill level: it drains on a timer anyway.
 */
#pragma once
#include "capture/bpf/kernel_types.h"
#include "capture/bpf/shared.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TRACKED_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct tracked_value);
} tracked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &which);

	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline struct probe_settings *settings_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

/* Room for a record of `bytes`, zeroed by the caller where it does not fill it; NULL: lost and counted. */
static __always_inline void *event_begin(__u16 kind, const __u64 bytes)
{
	struct probe_event *e = bpf_ringbuf_reserve(&events, sizeof(*e) + bytes, 0);

	if (!e) {
		count(COUNT_DROPPED);
		return NULL;
	}
	e->kind = kind;
	e->bytes = (__u16)bytes;
	e->reserved = 0;
	e->monotonic_ns = (__s64)bpf_ktime_get_ns();
	return e + 1;
}

/* `urgent`: wake the daemon now, not at its next look. */
static __always_inline void event_end(void *payload, bool urgent)
{
	struct probe_settings *s = settings_get();
	bool full = s && bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= s->wakeup_bytes;

	bpf_ringbuf_submit((struct probe_event *)payload - 1, urgent || full ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline struct tracked_value *tracked_get(__u32 pid)
{
	return bpf_map_lookup_elem(&tracked, &pid);
}

/* Its cgroup in the one hierarchy of version 2. */
static __always_inline __u64 task_cgroup_id(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
}

static __always_inline void task_comm(struct task_struct *task, char comm[16])
{
	BPF_CORE_READ_STR_INTO((char(*)[16])comm, task, group_leader, comm);
}
