/* oom - whom the kernel killed for want of memory, of which cgroup, and who needed the memory. */
#include "capture/bpf/probe.h"

#define OOM_FRAMES 24	/* on the way from the allocation to the kill */

struct scratch {
	__u64 stack[OOM_FRAMES];
	char symbol[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

#define MEMCG_SYMBOL "mem_cgroup_out_of_memory"

/* Was it the limit of a memory cgroup?  No argument says so, the stack does. */
static __always_inline __u32 is_memcg(void *ctx)
{
	__u32 zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratches, &zero);
	long bytes = s ? bpf_get_stack(ctx, s->stack, sizeof(s->stack), 0) : 0;

	if (!s)
		return 0;
	for (int i = 0; i < OOM_FRAMES && i * 8 < bytes; i++) {
		bool same = true;

		bpf_snprintf(s->symbol, sizeof(s->symbol), "%ps", &s->stack[i], 8);
		for (__u32 c = 0; c < sizeof(MEMCG_SYMBOL) - 1; c++)
			same = same && s->symbol[c] == MEMCG_SYMBOL[c];
		if (same)
			return 1;
	}
	return 0;
}

enum { RSS_FILE, RSS_ANON, RSS_SWAP, RSS_SHMEM };	/* the kernel's order */

/* Pages; a macro, since CO-RE relocates an index only where it is a constant. */
#define RSS_PAGES(mm, which)							\
	(bpf_core_field_exists(((struct mm_struct___atomic *)0)->rss_stat.count) ?	\
	 BPF_CORE_READ((struct mm_struct___atomic *)(void *)(mm), rss_stat.count[which].counter) : \
	 BPF_CORE_READ(mm, rss_stat[which].count))

/* Without what each CPU has not yet added: within 1 MiB a CPU or so, as the kernel's own message. */
static __always_inline __u64 kib_of(__s64 pages, __u32 page_kib)
{
	return pages > 0 ? (__u64)pages * page_kib : 0;
}

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *kn)
{
	struct kernfs_node___parent *old = (void *)kn;
	struct kernfs_node___rcu *new = (void *)kn;

	if (bpf_core_field_exists(old->parent))
		return (void *)BPF_CORE_READ(old, parent);
	return (void *)BPF_CORE_READ(new, __parent);
}

/* The memory cgroup's names, innermost first, without the root's. */
static __always_inline void put_cgroup(struct oom_event *e, struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *css = NULL;
	struct kernfs_node *kn, *parent;

	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		__u64 id = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);

		bpf_probe_read_kernel(&css, sizeof(css), (void *)set + bpf_core_field_offset(set->subsys) + (id & 15) * 8);
	}
	kn = css ? BPF_CORE_READ(css, cgroup, kn) : BPF_CORE_READ(set, dfl_cgrp, kn);
	e->kill.cgroup_id = BPF_CORE_READ(kn, id);
	for (__u32 i = 0; i < CGROUP_DEPTH_MAX; i++) {
		parent = kernfs_parent(kn);
		if (!parent)
			break;
		bpf_probe_read_kernel_str(e->name[i], CGROUP_NAME_BYTES, BPF_CORE_READ(kn, name));
		e->depth = i + 1;
		kn = parent;
	}
}

/* What is known without the victim's structure. */
static __always_inline void put_circumstances(void *ctx, struct oom_event *e, __u32 victim_pid)
{
	struct task_struct *trigger = (struct task_struct *)bpf_get_current_task();
	struct tracked_value *t = tracked_get(victim_pid);

	__builtin_memset(&e->kill, 0, sizeof(e->kill));
	e->depth = e->reserved = 0;
	e->kill.victim_pid = victim_pid;
	e->kill.victim_rank = t ? t->rank : -1;
	e->kill.trigger_pid = (__u32)BPF_CORE_READ(trigger, tgid);
	e->kill.is_memcg = is_memcg(ctx);
	task_comm(trigger, e->kill.trigger_comm);
}

static __always_inline void put_victim(struct oom_event *e, struct task_struct *victim)
{
	struct mm_struct *mm = BPF_CORE_READ(victim, mm);
	struct probe_settings *s = settings_get();

	if (mm && s) {
		e->kill.anon_rss_kib = kib_of(RSS_PAGES(mm, RSS_ANON), s->page_kib);
		e->kill.file_rss_kib = kib_of(RSS_PAGES(mm, RSS_FILE), s->page_kib);
		e->kill.shmem_rss_kib = kib_of(RSS_PAGES(mm, RSS_SHMEM), s->page_kib);
		e->kill.total_vm_kib = BPF_CORE_READ(mm, total_vm) * s->page_kib;
	}
	e->kill.oom_score_adj = BPF_CORE_READ(victim, signal, oom_score_adj);
	e->kill.uid = BPF_CORE_READ(victim, cred, uid.val);
	task_comm(victim, e->kill.victim_comm);
	put_cgroup(e, victim);
}

/* The tracepoint hands over the task since 6.8, before that its pid: the daemon loads what fits. */
SEC("tp_btf/mark_victim")
int BPF_PROG(on_victim_task, struct task_struct *victim)
{
	struct oom_event *e = event_begin(REC_OOM_KILL, sizeof(*e));

	if (!e)
		return 0;
	put_circumstances(ctx, e, (__u32)BPF_CORE_READ(victim, tgid));
	put_victim(e, victim);
	event_end(e, true);
	return 0;
}

SEC("tp_btf/mark_victim")
int BPF_PROG(on_victim_pid, int pid)
{
	struct oom_event *e = event_begin(REC_OOM_KILL, sizeof(*e));

	if (!e)
		return 0;
	put_circumstances(ctx, e, (__u32)pid);
	event_end(e, true);
	return 0;
}
