/*
 * block_io - block I/O that failed or took very long, counted by device and kind.
 *
 * One look at completion: the request itself carries the time when it was made.
 */
#include "capture/bpf/probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, AGGREGATE_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct block_key);
	__type(value, struct block_value);
} block_counts SEC(".maps");

enum { OP_MASK = 0xff, OP_DRIVER_IN = 34 };	/* from there on: passed through for a program */

static __always_inline struct gendisk *request_disk(struct request *rq)
{
	struct request___disk *old = (void *)rq;

	if (bpf_core_field_exists(old->rq_disk))
		return BPF_CORE_READ(old, rq_disk);
	return BPF_CORE_READ(rq, q, disk);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(on_complete, struct request *rq, int status, unsigned int bytes)
{
	__u64 start = BPF_CORE_READ(rq, start_time_ns);
	struct probe_settings *s = settings_get();
	__u64 now = bpf_ktime_get_ns();
	struct block_value first = { .count = 1, .bytes = bytes }, *v;
	struct block_key k = { 0 };
	struct gendisk *disk;
	__u32 op;

	if (start && start < now)
		first.latency_ns = now - start;
	status = (signed char)status;
	if (!s || (!status && first.latency_ns < s->block_io_ns))
		return 0;
	op = BPF_CORE_READ(rq, cmd_flags) & OP_MASK;
	if (op >= OP_DRIVER_IN || status == 1 /* not supported */ || status == 12 /* again */)
		return 0;
	disk = request_disk(rq);
	if (!disk)
		return 0;
	k.major = (__u32)BPF_CORE_READ(disk, major);
	k.minor = (__u32)BPF_CORE_READ(disk, first_minor);
	k.is_write = op & 1;
	k.status = status;
	v = bpf_map_lookup_elem(&block_counts, &k);
	if (!v) {
		if (bpf_map_update_elem(&block_counts, &k, &first, BPF_NOEXIST))
			count(COUNT_UNAGGREGATED);
		return 0;
	}
	__sync_fetch_and_add(&v->count, 1);
	if (first.latency_ns > v->latency_ns) {
		v->latency_ns = first.latency_ns;
		v->bytes = bytes;
	}
	return 0;
}
