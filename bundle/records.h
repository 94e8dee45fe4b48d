/*
 * records - what the payloads of the ring are.
 *
 * Compiled three times: for BPF, for the daemon, for the analyzer.  Fixed sizes,
 * no pointers, no padding; records are copied byte for byte from probe to bundle,
 * so this is a file format: append fields (readers take a shorter payload as one
 * with zeros behind, a longer one as one from a newer writer) and kinds, never
 * change one.  Unknown numbers: 0 where 0 is no value, else -1.  Texts behind a
 * struct run to the payload's end, without a NUL.  Times are CLOCK_MONOTONIC ns.
 */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

enum record_kind {
	/* any stream */
	REC_LOSS = 1,		/* struct record_loss */
	REC_SOURCE = 2,		/* struct record_source, then the reason */
	REC_TRIGGER = 3,	/* struct record_trigger, then what was seen */
	REC_CLOCK = 4,		/* struct record_clock: once a minute, and when realtime was stepped */
	/* kernel */
	REC_KMSG = 16,		/* one record of /dev/kmsg, verbatim */
	/* bpf */
	REC_TASK_EXIT = 32,	/* struct record_task_exit */
	REC_SIGNAL = 33,	/* struct record_signal */
	REC_OOM_KILL = 34,	/* struct record_oom_kill, then the cgroup's path */
	REC_BLOCKED_TASK = 35,	/* struct record_blocked_task, then the kernel stack, a line a frame */
	REC_BLOCK_IO = 36,	/* struct record_block_io */
	REC_TCP = 37,		/* struct record_tcp */
	REC_EXEC = 38,		/* struct record_exec */
	/* nccl */
	REC_NCCL_COMM = 64,	/* struct record_nccl_comm: a communicator came or went */
	REC_NCCL_CALL = 65,	/* struct record_nccl_call */
	/* gpu */
	REC_GPU_DEVICE = 96,	/* struct record_gpu_device: at start and when it changes */
	REC_GPU_SAMPLE = 97,	/* struct record_gpu_sample */
	REC_GPU_EVENT = 98,	/* struct record_gpu_event, then a text */
	REC_IB_PORT = 99,	/* struct record_ib_port */
	/* host */
	REC_HOST_SAMPLE = 128,	/* struct record_host_sample */
	REC_FILE_SYSTEM = 129,	/* struct record_file_system, then the mount point */
	REC_NETDEV = 130,	/* struct record_netdev */
	/* proc */
	REC_PROCESS = 160,	/* struct record_process, then its command line, NULs as spaces, scrubbed */
	REC_PROCESS_SAMPLE = 161,	/* struct record_process_sample */
	/* logs */
	REC_LOG_FILE = 192,	/* struct record_log_file, then its path */
	REC_LOG_BYTES = 193,	/* struct record_log_bytes, then the bytes: whole lines where they are short enough */
	REC_LOG_MARK = 194,	/* struct record_log_bytes without bytes: the file reached `offset` then */
};

/* ---- any stream ---- */

struct record_loss {
	__u64 lost;		/* records lost since the last record of this kind from this source */
	char source[24];
};

enum source_state { SOURCE_OK, SOURCE_ABSENT, SOURCE_DENIED, SOURCE_FAILED, SOURCE_LOST };

struct record_source {
	char source[24];
	__u32 state;		/* enum source_state */
	__u32 reserved;
};

struct record_trigger {
	char kind[24];		/* "exit", "oom", "kernel", "log", "hang", ... */
	__s32 pid, rank;	/* -1: none in particular */
	__u64 id;		/* of the bundle that it asked for; 0: suppressed */
};

struct record_clock {
	__s64 realtime_ns, boottime_ns;	/* at the record's monotonic time */
};

/* ---- bpf: pid is the process (tgid) in the initial namespace ---- */

struct record_task_exit {
	__u32 pid, ppid;
	__u32 exit_code;	/* as wait(2) encodes it */
	__s32 rank;		/* of the tracked process, or of the one it descends from; -1 */
	__u32 uid;
	__u32 is_tracked;	/* 1: a rank itself; 2: a child of one */
	__u64 start_ns;		/* of the process, CLOCK_BOOTTIME */
	__u64 cgroup_id;
	char comm[16];
};

struct record_signal {
	__u32 sender_pid, sender_uid;	/* pid 0: the kernel */
	__u32 target_pid;
	__s32 target_rank;
	__s32 signal;
	__s32 code;		/* si_code */
	__s32 result;		/* of the tracepoint: 0 delivered, 1 ignored, 2 already pending, 3 overflow, 4 lost */
	__u32 reserved;
	char sender_comm[16], target_comm[16];
};

struct record_oom_kill {
	__u32 victim_pid;
	__s32 victim_rank;
	__u32 trigger_pid;	/* who needed the memory */
	__u32 is_memcg;		/* 1: a cgroup's limit; 0: the host's memory */
	__u64 anon_rss_kib, file_rss_kib, shmem_rss_kib, total_vm_kib;
	__u64 cgroup_id;
	__s32 oom_score_adj;
	__u32 uid;
	char victim_comm[16], trigger_comm[16];
};

struct record_blocked_task {
	__u32 pid, tid;
	__s32 rank;
	__u32 frames;
	__u64 blocked_ns;	/* so far */
	char comm[16];
};

struct record_block_io {
	__u32 major, minor;
	__u32 pid;
	__s32 error;		/* 0, or a positive errno */
	__u64 latency_ns;
	__u32 bytes;
	__u32 is_write;
	__u64 count;		/* of the same device and kind since the last record; this one is the slowest */
	char comm[16];
};

enum tcp_event { TCP_EVENT_RETRANSMIT = 1, TCP_EVENT_RESET_SENT, TCP_EVENT_RESET_RECEIVED, TCP_EVENT_CONNECT_FAILED };

struct record_tcp {
	__u8 event;		/* enum tcp_event */
	__u8 family;		/* AF_INET, AF_INET6 */
	__u16 local_port, remote_port;	/* host order */
	__u16 reserved;
	__u8 local[16], remote[16];	/* IPv4 in the first four bytes */
	__u32 pid;		/* 0: not known in this context */
	__s32 rank;
	__s32 error;		/* CONNECT_FAILED: a positive errno */
	__u32 count;		/* equal events since the last record of this pair */
	char comm[16];
};

struct record_exec {
	__u32 pid, ppid, uid, reserved;
	__u64 start_ns;		/* CLOCK_BOOTTIME */
	char comm[16];
};

/* ---- nccl: calls into libnccl.so, seen by uprobes ---- */

enum nccl_op {
	NCCL_OP_NONE, NCCL_OP_ALL_REDUCE, NCCL_OP_BROADCAST, NCCL_OP_REDUCE, NCCL_OP_ALL_GATHER, NCCL_OP_REDUCE_SCATTER,
	NCCL_OP_SEND, NCCL_OP_RECV, NCCL_OP_ALL_TO_ALL, NCCL_OP_GATHER, NCCL_OP_SCATTER,
};

enum nccl_comm_event { NCCL_COMM_INIT = 1, NCCL_COMM_SPLIT, NCCL_COMM_FINALIZE, NCCL_COMM_DESTROY, NCCL_COMM_ABORT };

struct record_nccl_comm {
	__u32 pid, tid;
	__s32 rank;		/* of the process in the job; -1 */
	__u8 event;		/* enum nccl_comm_event */
	__u8 reserved8[3];
	__u64 comm;		/* handle: unique within the process */
	__u64 group;		/* same on all members: hash of the ncclUniqueId, or of (parent group, colour, n-th split) */
	__s32 comm_rank, comm_size;
	__s32 colour, key;	/* SPLIT */
	__s32 result;		/* ncclResult_t; -1: not returned yet */
	__s32 device;		/* CUDA ordinal, -1 */
	__u64 parent;		/* SPLIT: group of the parent */
};

struct record_nccl_call {
	__u32 pid, tid;
	__s32 rank;
	__u8 op;		/* enum nccl_op */
	__u8 dtype;		/* ncclDataType_t */
	__u8 redop;		/* ncclRedOp_t, 255: none */
	__u8 flags;		/* 1: the communicator was first seen mid-life, seq counts from then */
	__u64 comm, group;
	__u64 seq;		/* n-th collective of this communicator in this process, from 1; send and recv count for themselves */
	__u64 count;		/* elements as passed */
	__s32 peer_or_root;	/* -1: none */
	__s32 comm_rank;
	__u64 stream;		/* CUDA stream handle */
};

/* ---- gpu ---- */

struct record_gpu_device {
	__u32 index;
	__u32 pci_domain, pci_bus, pci_device;
	char uuid[48], name[64], driver[32];
	__u32 vendor;		/* 0x10de, 0x1002 */
	__u32 pcie_width_max, pcie_gen_max;
	__u32 power_limit_mw;
	__u64 memory_bytes;
};

/* A value that could not be read is all ones. */
struct record_gpu_sample {
	__u32 index;
	__u32 lost;		/* 1: the device did not answer (NVML_ERROR_GPU_IS_LOST and the like) */
	__u32 utilisation_pct, memory_utilisation_pct;
	__u64 memory_used_bytes;
	__u32 sm_mhz, memory_mhz;
	__u32 temperature_c, memory_temperature_c;
	__u32 power_mw;
	__u32 pcie_width, pcie_gen;
	__u32 reserved;
	__u64 clock_event_reasons;	/* NVML bit mask */
	__u64 ecc_uncorrected_volatile, ecc_uncorrected_aggregate, ecc_sram_uncorrected;
	__u64 remapped_correctable, remapped_uncorrectable;
	__u32 remap_pending, remap_failed;
	__u64 pcie_replay;
	__u64 nvlink_errors;	/* replay + recovery + CRC over all links */
	__u32 nvlink_active, nvlink_inactive;	/* links */
	__u64 thermal_violation_ns, power_violation_ns;
};

enum gpu_event { GPU_EVENT_XID = 1, GPU_EVENT_LOST, GPU_EVENT_RAS };

struct record_gpu_event {
	__u32 index;
	__u32 event;		/* enum gpu_event */
	__u64 value;		/* Xid number; RAS: uncorrectable count */
};

struct record_ib_port {
	char device[24], netdev[16];
	__u32 port;
	__u32 state;		/* 1 down, 2 init, 3 armed, 4 active */
	__u32 physical_state;	/* 5: link up */
	__u32 is_ethernet;
	__u64 link_downed, link_error_recovery, symbol_error, port_rcv_errors, local_link_integrity;
	__u64 rcv_bytes, xmit_bytes;
	__u64 out_of_sequence, packet_seq_err, local_ack_timeout;	/* hw_counters; all ones: absent */
	__u32 rate_gbps, lid;
};

/* ---- host ---- */

struct record_host_sample {
	__u64 cpu_user_ms, cpu_system_ms, cpu_idle_ms, cpu_iowait_ms, cpu_steal_ms;	/* since boot, all CPUs */
	__u64 memory_total_kib, memory_available_kib, swap_used_kib, shmem_kib, dirty_kib;
	__u32 psi_cpu_some_x100, psi_memory_some_x100, psi_memory_full_x100, psi_io_some_x100, psi_io_full_x100;	/* avg10, percent x 100 */
	__u32 load1_x100;
	__u32 running, blocked;		/* tasks */
	__u64 oom_kills;		/* since boot, /proc/vmstat */
	__u64 disk_read_kib, disk_write_kib, disk_io_ms;
};

struct record_file_system {
	__u64 bytes, bytes_free;	/* free for unprivileged users */
	__u64 inodes, inodes_free;
	__u32 role;			/* bits: 1 a log lives there, 2 /dev/shm, 4 temporary files, 8 the ring or the bundles */
	__u32 is_read_only;
	char type[16];
};

struct record_netdev {
	char name[16];
	__u32 is_up, speed_mbps;
	__u64 rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, carrier_changes;
};

/* ---- proc ---- */

struct record_process {
	__u32 pid, ppid, uid;
	__s32 rank, local_rank, world_size, node_rank;
	__s32 local_world_size;
	__u32 pid_in_ns;	/* what the job itself calls the process */
	__u32 is_rank;		/* 1: a rank itself; 0: a child of one, or a launcher */
	__u64 start_ns;		/* CLOCK_BOOTTIME */
	__u64 cgroup_id;
	char job[40];		/* SLURM_JOB_ID, TORCHELASTIC_RUN_ID, ...; "" unknown */
	char gpu[48];		/* CUDA_VISIBLE_DEVICES; "" unknown */
	char comm[16];
	__s32 attempt;		/* TORCHELASTIC_RESTART_COUNT, SLURM_RESTART_COUNT; -1 */
	__u32 reserved;
};

struct record_process_sample {
	__u32 pid;
	__s32 rank;
	__u64 cpu_user_ms, cpu_system_ms;
	__u64 rss_kib;
	__u32 threads;
	__u32 state;		/* letter of /proc/PID/stat */
	__u64 major_faults;
	__u64 voluntary_switches, involuntary_switches;
	__u32 fds;		/* -1: not read */
	__u32 signal_stopped;	/* 1: stopped by a signal or traced */
	char wchan[32];
};

/* ---- logs ---- */

struct record_log_file {
	__u32 file;		/* number of the file in this run of the daemon, from 1 */
	__s32 rank;		/* of the process that writes it; -1 */
	__u64 device, inode;
	__u32 reason;		/* 0 found, 1 rotated (a new inode at the same path), 2 truncated, 3 removed */
	__u32 reserved;
};

struct record_log_bytes {
	__u32 file;
	__u32 masked;		/* secrets masked in these bytes */
	__u64 offset;		/* in the file */
};
