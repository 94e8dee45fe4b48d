/*
 * blocked - which tasks of the job sleep uninterruptibly for long, with their kernel stacks.
 *
 * An iterator that the daemon reads once a second: nothing is attached to the
 * scheduler.  A sleep is the same one as long as the task's count of switches
 * stands still.
 */
#include "capture/bpf/probe.h"

enum { STATE_UNINTERRUPTIBLE = 0x2, STATE_NOLOAD = 0x400 };
#define FRAMES 40

struct sleep {
	__u64 since_ns, switches, report_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, AGGREGATE_MAX);
	__type(key, __u32);
	__type(value, struct sleep);
} sleeps SEC(".maps");

struct stack {
	__u64 frame[FRAMES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stack);
} stacks SEC(".maps");

static __always_inline bool is_blocked(struct task_struct *task)
{
	struct task_struct___state *old = (void *)task;
	__u64 state;

	if (bpf_core_field_exists(old->state))
		state = (__u64)BPF_CORE_READ(old, state);
	else
		state = BPF_CORE_READ(task, __state);
	return (state & STATE_UNINTERRUPTIBLE) && !(state & STATE_NOLOAD);
}

/* Is a report due?  First at the limit, then each time that the sleep has doubled; *for_ns_ret: so far. */
static __always_inline bool is_due(__u32 tid, __u64 switches, __u64 limit_ns, __u64 *for_ns_ret)
{
	struct sleep *s = bpf_map_lookup_elem(&sleeps, &tid);
	__u64 now = bpf_ktime_get_ns();

	if (!s || s->switches != switches) {
		struct sleep first = { .since_ns = now, .switches = switches, .report_ns = limit_ns };

		bpf_map_update_elem(&sleeps, &tid, &first, BPF_ANY);
		return false;
	}
	*for_ns_ret = now - s->since_ns;
	if (*for_ns_ret < s->report_ns)
		return false;
	s->report_ns = *for_ns_ret * 2;
	return true;
}

SEC("iter/task")
int blocked(struct bpf_iter__task *ctx)
{
	struct blocked_head head = { .magic = BLOCKED_MAGIC };
	struct seq_file *seq = ctx->meta->seq;
	struct probe_settings *set = settings_get();
	struct task_struct *task = ctx->task;
	struct tracked_value *t;
	struct stack *stack;
	__u32 zero = 0;
	long bytes;

	if (!task || !set || !is_blocked(task))
		return 0;
	head.record.pid = (__u32)BPF_CORE_READ(task, tgid);
	head.record.tid = (__u32)BPF_CORE_READ(task, pid);
	t = tracked_get(head.record.pid);
	if (!t || !is_due(head.record.tid, BPF_CORE_READ(task, nvcsw) + BPF_CORE_READ(task, nivcsw), set->blocked_ns,
			  &head.record.blocked_ns))
		return 0;
	head.record.rank = t->rank;
	BPF_CORE_READ_STR_INTO(&head.record.comm, task, comm);
	stack = bpf_map_lookup_elem(&stacks, &zero);
	if (!stack)
		return 0;
	bytes = bpf_get_task_stack(task, stack->frame, sizeof(stack->frame), 0);
	head.record.frames = bytes > 0 ? (__u32)bytes / 8 : 0;
	bpf_seq_write(seq, &head, sizeof(head));
	for (__u32 i = 0; i < FRAMES && i < head.record.frames; i++)
		BPF_SEQ_PRINTF(seq, "%pB\n", stack->frame[i]);
	return 0;
}
