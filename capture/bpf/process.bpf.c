/* process - how processes of the job begin and end; tracking is inherited here, at fork. */
#include "capture/bpf/probe.h"

struct rate {
	__u64 second, n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rate);
} exec_rate SEC(".maps");

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 pid = (__u32)BPF_CORE_READ(child, tgid);
	struct tracked_value *t = tracked_get((__u32)BPF_CORE_READ(parent, tgid));
	struct tracked_value v;

	if (!t || (__u32)BPF_CORE_READ(child, pid) != pid)
		return 0;
	v = (struct tracked_value){
		.rank = t->rank,
		.kind = t->kind == TRACKED_LAUNCHER ? TRACKED_LAUNCHER : TRACKED_CHILD,
		.start_ns = BPF_CORE_READ(child, start_boottime),
	};
	if (bpf_map_update_elem(&tracked, &pid, &v, BPF_ANY))
		count(COUNT_UNTRACKED);
	return 0;
}

/* What wait(2) will say: the group's code when all were told to go, else the leader's. */
static __always_inline __u32 process_exit_code(struct task_struct *task)
{
	__u32 group = (__u32)BPF_CORE_READ(task, signal, group_exit_code);

	return group ? group : (__u32)BPF_CORE_READ(task, group_leader, exit_code);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	__u32 pid = (__u32)BPF_CORE_READ(task, tgid);
	struct tracked_value *t;
	struct record_task_exit *r;

	if (BPF_CORE_READ(task, signal, live.counter) != 0)	/* threads are left */
		return 0;
	t = tracked_get(pid);
	if (!t)
		return 0;
	r = event_begin(REC_TASK_EXIT, sizeof(*r));
	if (r) {
		r->pid = pid;
		r->ppid = (__u32)BPF_CORE_READ(task, real_parent, tgid);
		r->exit_code = process_exit_code(task);
		r->rank = t->rank;
		r->uid = BPF_CORE_READ(task, cred, uid.val);
		r->is_tracked = t->kind == TRACKED_RANK ? 1 : 2;
		r->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
		r->cgroup_id = task_cgroup_id(task);
		task_comm(task, r->comm);
		event_end(r, r->exit_code != 0);
	}
	bpf_map_delete_elem(&tracked, &pid);
	return 0;
}

/* True while this second has room. */
static __always_inline bool exec_allowed(void)
{
	struct probe_settings *s = settings_get();
	__u64 second = bpf_ktime_get_ns() / 1000000000;
	__u32 zero = 0;
	struct rate *rate = bpf_map_lookup_elem(&exec_rate, &zero);

	if (!rate || !s)
		return false;
	if (rate->second != second) {
		rate->second = second;
		rate->n = 0;
	}
	return __sync_fetch_and_add(&rate->n, 1) < s->execs_per_s;
}

/* Of every process: only its new environment tells whether it is of the job. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	struct record_exec *r;

	if (!exec_allowed())
		return 0;
	r = event_begin(REC_EXEC, sizeof(*r));
	if (!r)
		return 0;
	r->pid = (__u32)BPF_CORE_READ(task, tgid);
	r->ppid = (__u32)BPF_CORE_READ(task, real_parent, tgid);
	r->uid = BPF_CORE_READ(task, cred, uid.val);
	r->reserved = 0;
	r->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	task_comm(task, r->comm);
	event_end(r, false);
	return 0;
}
