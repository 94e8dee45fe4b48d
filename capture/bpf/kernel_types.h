/*
 * kernel_types - the fields of kernel structures that the probes read.
 *
 * Written by hand: only names and rough types matter, since CO-RE relocates every
 * access by the running kernel's BTF.  A name that kernels spell in two ways has a
 * variant with a suffix behind three underscores, which CO-RE ignores; which one
 * holds is asked with bpf_core_field_exists().
 */
#pragma once
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define RELOCATED __attribute__((preserve_access_index))

typedef struct { int counter; } atomic_t;
typedef struct { long counter; } atomic_long_t;
typedef struct { __u32 val; } kuid_t;

struct cred {
	kuid_t uid;
} RELOCATED;

struct signal_struct {
	atomic_t live;			/* threads that have not begun to exit */
	int group_exit_code;
	unsigned int flags;
	short oom_score_adj;
} RELOCATED;

struct kernfs_node {
	const char *name;
	__u64 id;
} RELOCATED;

struct kernfs_node___parent {		/* before 6.15 */
	struct kernfs_node___parent *parent;
} RELOCATED;

struct kernfs_node___rcu {
	struct kernfs_node___rcu *__parent;
} RELOCATED;

struct cgroup {
	struct kernfs_node *kn;
} RELOCATED;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
} RELOCATED;

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
} RELOCATED;

enum cgroup_subsys_id {
	memory_cgrp_id = 4,
};

struct percpu_counter {
	__s64 count;
} RELOCATED;

struct mm_struct {
	unsigned long total_vm;
	struct percpu_counter rss_stat[4];
} RELOCATED;

struct mm_rss_stat {
	atomic_long_t count[4];
} RELOCATED;

struct mm_struct___atomic {		/* before 6.2 */
	struct mm_rss_stat rss_stat;
} RELOCATED;

struct task_struct {
	unsigned int __state;
	int exit_code;
	int pid, tgid;
	struct task_struct *real_parent, *group_leader;
	struct signal_struct *signal;
	struct mm_struct *mm;
	const struct cred *cred;
	struct css_set *cgroups;
	__u64 start_boottime;
	unsigned long nvcsw, nivcsw;
	char comm[16];
} RELOCATED;

struct task_struct___state {		/* before 5.14 */
	volatile long state;
} RELOCATED;

struct kernel_siginfo {
	int si_code;
} RELOCATED;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} RELOCATED;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} RELOCATED;

struct gendisk {
	int major, first_minor;
} RELOCATED;

struct request_queue {
	struct gendisk *disk;
} RELOCATED;

struct request {
	struct request_queue *q;
	unsigned int cmd_flags;
	__u64 start_time_ns;		/* when it was made; 0 without accounting */
} RELOCATED;

struct request___disk {			/* before 5.15 */
	struct gendisk *rq_disk;
} RELOCATED;

struct in6_address {
	__u8 bytes[16];
};

struct sock_common {
	__u32 skc_daddr, skc_rcv_saddr;	/* network order */
	__u16 skc_dport;		/* network order */
	__u16 skc_num;			/* host order */
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_address skc_v6_daddr, skc_v6_rcv_saddr;
} RELOCATED;

struct sock {
	struct sock_common __sk_common;
	int sk_err;
} RELOCATED;
