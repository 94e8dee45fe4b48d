"""Disks, storage, memory, panics, nodes."""
import scene as sc
from case import case
from cases_program import memcg_oom, small
from incident import launchers, merged, put_logs, quick, remote_error
from scene import MIN, SEC, Log, klog


# ---------------------------------------------------------------- disk_full

FULL = "OSError: [Errno 28] No space left on device: '/ckpt/atlas-7b/step_0118600/shard_%d.tmp'"


def full(box, cut):
    s = small(401 + cut, "snipe", n=4, hosts=2, start="2026-09-01 10:00:00")
    logs, end = quick(s, leader=160 if not cut else 40, others=4)
    for r in s.ranks:
        sc.died_with(logs[r.rank], r, end + r.rank * 400_000_000, sc.TB_SAVE, FULL % r.rank)
    if cut:
        text = "\n".join(logs[3].lines())
        box.put("rank_3.log", text[:-9])
    else:
        put_logs(box, logs)
        box.put("df.txt", ["Filesystem                 1K-blocks        Used   Available Use% Mounted on", "/dev/nvme0n1p2             921802564   121544120   753360100  14% /",
                           "10.41.9.2:/export/ckpt  107374182400 107374182400           0 100% /ckpt"])
    box.expect("root_cause", "disk_full", evidence=["[Errno 28] No space left on device: '/ckpt/atlas-7b/step_0118600"], must_not=["python_exception", "python_exception_one_rank", "shm_exhausted", "libfabric_error"])


@case("disk_full/checkpoint", "positive", "The checkpoint file system is full: every rank fails while it saves.")
def full_all(box):
    full(box, 0)


@case("disk_full/line-cut", "degraded", "One log, cut inside the line.")
def full_cut(box):
    full(box, 1)


@case("libfabric_error/cxi-enospc", "adjacent", "Shares 'No space left on device' with disk_full; here it is a service of the network interface that has no resources left.")
def cxi(box):
    s = small(405, "snipe", n=4, hosts=2, start="2026-09-03 10:00:00")
    logs = {}
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        t = s.start + 20 * SEC + r.rank * 50_000_000
        log.say(t, sc.nccl(r, "NET/OFI Initializing aws-ofi-nccl 1.14.0", r.pid), sc.nccl(r, "NET/OFI Selected provider is cxi, fabric is cxi (found 4 nics)"),
                sc.nccl_warn(r, "int nccl_ofi_ofiutils_init_connection(struct fi_info *, struct fid_domain *):190",
                             "NET/OFI Couldn't open a fabric access domain. RC: -28, ERROR: No space left on device"))
        sc.died_with(log, r, t + SEC, sc.TB_INIT, "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:93, unhandled system error "
                     "(run with NCCL_DEBUG=INFO for details), NCCL version 2.27.3")
    put_logs(box, logs)
    box.put("df.txt", ["Filesystem                 1K-blocks        Used   Available Use% Mounted on", "/dev/nvme0n1p2             921802564   121544120   753360100  14% /",
                       "10.41.9.2:/export/ckpt  107374182400  9374182400 98000000000   9% /ckpt"])
    box.expect("root_cause", "libfabric_error", evidence=["Couldn't open a fabric access domain. RC: -28"], must_not=["disk_full", "python_exception"])


# ---------------------------------------------------------------- storage_hang

NFS_STACK = ["__schedule+0x27c/0x6b0", "schedule+0x33/0x110", "rpc_wait_bit_killable+0x11/0x70 [sunrpc]", "__wait_on_bit+0x42/0x110", "nfs4_do_close+0x2d6/0x390 [nfsv4]",
             "nfs_wait_on_request+0x6a/0x90 [nfs]", "nfs_file_fsync+0x8f/0x1c0 [nfs]", "__x64_sys_fsync+0x3b/0x70", "do_syscall_64+0x7f/0x180"]


def hung(h, ns, task, pid, stack, secs=122):
    klog(h, ns, "INFO: task %s:%d blocked for more than %d seconds." % (task, pid, secs), 3)
    klog(h, ns + 1000, "      Tainted: P           OE      6.8.0-52-generic #53-Ubuntu", 3)
    klog(h, ns + 2000, "\"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.", 3)
    klog(h, ns + 3000, "task:%-16sstate:D stack:0     pid:%-6d tgid:%-6d ppid:%-6d flags:0x00000002" % (task, pid, pid, pid - 61), 6)
    klog(h, ns + 4000, "Call Trace:", 6)
    for i, f in enumerate(stack):
        klog(h, ns + 5000 + i * 500, " %s" % f, 6)


def storage(box, server_line):
    s = small(411 + server_line, "oriole", n=4, hosts=2, start="2026-09-05 10:00:00")
    logs, end = quick(s, leader=150 if server_line else 50, others=4)
    for h in s.hosts:
        if server_line:
            klog(h, end - 30 * SEC + s.hosts.index(h) * SEC, "nfs: server 10.41.9.2 not responding, still trying", 5)
        for r in s.on(h)[:2]:
            hung(h, end + 120 * SEC + r.rank * 100_000_000, "pt_main_thread", r.pid, NFS_STACK)
    for r in s.ranks:
        logs[r.rank].say(end - 28 * SEC, "%s INFO atlas.ckpt.save: saving step 118640 to /ckpt/atlas-7b/step_0118640" % sc.stamp(end - 28 * SEC, "python"))
        if r.rank in (2, 3, 6, 7):
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 30_000_000, 2_201, "BARRIER", 1, first=r.rank == 2)
    put_logs(box, logs)
    for h in s.hosts:
        box.put("kernel/%s.log" % h.name, sc.kernel_log(s, h, end + 11 * MIN, "ctime", quiet=14))
    box.expect("root_cause", "storage_hang", culprits=[{"host": "oriole-01"}, {"host": "oriole-02"}],
               evidence=["nfs: server 10.41.9.2 not responding, still trying"] if server_line else ["blocked for more than 122 seconds"],
               must_not=["checkpoint_stall", "gpu_gsp_timeout", "rank_stalled", "collective_desync"])


@case("storage_hang/nfs-server", "positive", "The checkpoint server stops answering; both hosts have tasks in NFS calls, and the ranks that do not save time out in the barrier.")
def nfs(box):
    storage(box, 1)


@case("storage_hang/stacks-only", "degraded", "The server's line was lost; the stacks of the blocked tasks are left.")
def nfs_cut(box):
    storage(box, 0)


# ---------------------------------------------------------------- host_oom

@case("host_oom/memory-cgroup", "positive", "Rank 6's process outgrows the job's memory limit; the OOM killer ends it, Slurm and torchrun report the kill.")
def oom(box):
    s = small(421, "curlew", n=4, hosts=2, start="2026-09-07 10:00:00", job="61007")
    logs, end = quick(s, leader=150, others=4)
    bad = s[6]
    memcg_oom(bad.host, end, bad.pid, "pt_main_thread", "61007")
    for r in s.ranks:
        if r is not bad:
            remote_error(logs[r.rank], r, end + SEC + r.rank * 9_000_000, bad.host.ip)
    put_logs(box, logs)
    launchers(box, s, end + 2 * SEC, bad, -9)
    box.put("slurm-61007.err", ["slurmstepd: error: Detected 1 oom_kill event in StepId=61007.0. Some of the step tasks have been OOM Killed.",
                                "srun: error: curlew-02: task 1: Out Of Memory"])
    for h in s.hosts:
        box.put("kernel/%s.log" % h.name, sc.kernel_log(s, h, end + 2 * MIN, "syslog", quiet=14))
    box.expect("root_cause", "host_oom", culprits=[{"host": "curlew-02", "pid": bad.pid}], evidence=["Memory cgroup out of memory: Killed process %d" % bad.pid],
               must_not=["process_killed", "cuda_oom", "slurm_cancelled_by_user", "comm_error"])


@case("host_oom/slurm-text-only", "degraded", "Slurm's two lines are all there is.")
def oom_slurm(box):
    box.put("slurm-61113.err", ["slurmstepd: error: Detected 2 oom_kill events in StepId=61113.0. Some of the step tasks have been OOM Killed.", "srun: error: curlew-07: task 5: Out Of Memory",
                                "srun: Terminating StepId=61113.0"])
    box.expect("root_cause", "host_oom", evidence=["Detected 2 oom_kill events in StepId=61113.0"], must_not=["process_killed", "cuda_oom", "slurm_cancelled_by_user"])


@case("storage_hang/lines-without-times", "degraded", "What `dmesg -t` gives: the kernel's own words, no time, no host.")
def hung_untimed(box):
    box.put("dmesg-t.txt", ["INFO: task ptlrpcd_00_03:2211 blocked for more than 120 seconds.", "      Not tainted 5.14.0-427.el9.x86_64 #1",
                            '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.', "task:ptlrpcd_00_03   state:D stack:    0 pid: 2211 ppid:     2 flags:0x00004000"])
    box.expect("root_cause", "storage_hang", culprits=[{"pid": 2211}], evidence=["blocked for more than 120 seconds"], must_not=["local_disk_failure"])


@case("host_oom/then-time-limit", "adjacent", "Ends with the line of slurm_time_limit; eleven minutes before, the OOM killer had taken rank 0, and the rest waited.")
def oom_limit(box):
    s = small(425, "curlew", n=4, start="2026-09-09 10:00:00", job="61200")
    logs, end = quick(s, leader=60, others=4)
    memcg_oom(s.hosts[0], end, s[0].pid, "pt_main_thread", "61200")
    put_logs(box, logs)
    box.put("kernel/curlew-01.log", sc.kernel_log(s, s.hosts[0], end + 2 * MIN, "ctime", quiet=14))
    box.put("slurm-61200.err", ["slurmstepd: error: *** JOB 61200 ON curlew-01 CANCELLED AT %s DUE TO TIME LIMIT ***" % sc.stamp(end + 11 * MIN, "iso_s")])
    box.expect("root_cause", "host_oom", culprits=[{"host": "curlew-01", "pid": s[0].pid}], evidence=["Memory cgroup out of memory: Killed process %d" % s[0].pid], must_not=["slurm_time_limit", "process_killed"])


# ---------------------------------------------------------------- node_kernel_panic, node_failure

PANIC = ["BUG: kernel NULL pointer dereference, address: 0000000000000048", "#PF: supervisor read access in kernel mode", "#PF: error_code(0x0000) - not-present page",
         "Oops: 0000 [#1] PREEMPT SMP NOPTI", "CPU: 88 PID: 0 Comm: swapper/88 Tainted: P           OE      6.8.0-52-generic #53-Ubuntu",
         "RIP: 0010:mlx5e_poll_rx_cq+0x1d4/0x9a0 [mlx5_core]", "Call Trace:", " <IRQ>", " mlx5e_napi_poll+0x12e/0x6f0 [mlx5_core]", " __napi_poll+0x33/0x1d0", " net_rx_action+0x193/0x360",
         "Kernel panic - not syncing: Fatal exception in interrupt", "Kernel Offset: 0x2a000000 from 0xffffffff81000000 (relocation range: 0xffffffff80000000-0xffffffffbfffffff)"]


@case("node_kernel_panic/null-pointer", "positive", """The serial console of plumage-02 shows a kernel panic in a network interrupt; the other host loses its peers and Slurm its node.""")
def panic(box):
    s = small(431, "plumage", n=4, hosts=2, start="2026-09-11 10:00:00", job="62001")
    logs, end = quick(s, leader=120, others=4)
    h = s.hosts[1]
    for i, line in enumerate(PANIC):
        klog(h, end + i * 200_000, line, 0 if "panic" in line else 1)
    for r in s.on(s.hosts[0]):
        remote_error(logs[r.rank], r, end + 9 * SEC + r.rank * 9_000_000, h.ip)
    put_logs(box, logs)
    box.put("console-plumage-02.log", sc.kernel_log(s, h, end + 10, "mono", quiet=14))
    box.put("slurm-62001.err", ["srun: error: Node failure on plumage-02", "srun: Job step aborted: Waiting up to 62 seconds for job step to finish.",
                                "slurmstepd: error: *** STEP 62001.0 ON plumage-01 CANCELLED AT %s DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***" % sc.stamp(end + 330 * SEC, "iso_s")])
    box.expect("root_cause", "node_kernel_panic", culprits=[{"host": "plumage-02"}], evidence=["Kernel panic - not syncing: Fatal exception in interrupt"],
               must_not=["node_failure", "nic_hardware", "comm_error", "deliberate_test"])


@case("node_kernel_panic/pstore-only", "degraded", "Only the end of the log that pstore kept over the reboot.")
def panic_pstore(box):
    s = small(433, "plumage", n=4, start="2026-09-12 10:00:00")
    t = s.start + 30 * MIN
    for i, line in enumerate(PANIC):
        klog(s.hosts[0], t + i * 200_000, line, 0 if "panic" in line else 1)
    box.put("pstore/dmesg-erst-7411200833.txt", ["Panic#1 Part1"] + sc.kernel_log(s, s.hosts[0], t + 10, "raw", quiet=20, boot=False))
    box.expect("root_cause", "node_kernel_panic", evidence=["Kernel panic - not syncing"], must_not=["node_failure", "deliberate_test"])


@case("deliberate_test/sysrq-crash", "adjacent", "Shares the panic line with node_kernel_panic: somebody asked for the crash with sysrq.")
def sysrq(box):
    s = small(435, "plumage", n=4, start="2026-09-13 10:00:00")
    t, h = s.start + 30 * MIN, s.hosts[0]
    klog(h, t, "sysrq: Trigger a crash", 6)
    klog(h, t + 1000, "Kernel panic - not syncing: sysrq triggered crash", 0)
    klog(h, t + 2000, "CPU: 3 PID: 41877 Comm: bash Tainted: P           OE      6.8.0-52-generic #53-Ubuntu", 1)
    klog(h, t + 3000, "Call Trace:", 1)
    klog(h, t + 4000, " sysrq_handle_crash+0x1a/0x20", 1)
    klog(h, t + 5000, " write_sysrq_trigger+0x6b/0x80", 1)
    box.put("console.log", sc.kernel_log(s, h, t + 10, "mono", quiet=30))
    box.expect("outcome", "deliberate_test", evidence=["sysrq: Trigger a crash"], must_not=["node_kernel_panic"])


def node_lost(box, logs_too):
    s = small(441 + logs_too, "grebe", n=4, hosts=3, start="2026-09-15 10:00:00", job="62410")
    logs, end = quick(s, leader=150, others=4)
    out = ["srun: error: Node failure on grebe-03", "srun: Job step aborted: Waiting up to 62 seconds for job step to finish.",
           "slurmstepd: error: *** STEP 62410.0 ON grebe-01 CANCELLED AT %s DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***" % sc.stamp(end + 300 * SEC, "iso_s")]
    if logs_too:
        for r in s.ranks:
            if r.host is not s.hosts[2]:
                remote_error(logs[r.rank], r, end + 40 * SEC + r.rank * 9_000_000, s.hosts[2].ip)
        box.put("slurm-62410.out", merged(s, logs, "srun") + out)
    else:
        box.put("slurm-62410.err", out)
    box.expect("root_cause", "node_failure", culprits=[{"host": "grebe-03"}], evidence=["Node failure on grebe-03"], must_not=["node_kernel_panic", "slurm_cancelled_by_user", "comm_error"])


@case("node_failure/slurm", "positive", "Slurm lost grebe-03. The CANCELLED line names grebe-01, where the step's leader ran.")
def node_full(box):
    node_lost(box, 1)


@case("node_failure/slurm-lines-only", "degraded", "Slurm's three lines.")
def node_cut(box):
    node_lost(box, 0)


# ---------------------------------------------------------------- host_cpu_error

def lockups(box, n, storage=False):
    s = small(751, "plover", n=4, start="2026-10-05 10:00:00")
    logs, end = quick(s, leader=180, others=6)
    h = s.hosts[0]
    for i in range(n):
        klog(h, end + i * 28 * SEC, "watchdog: BUG: soft lockup - CPU#44 stuck for %ds! [pt_main_thread:%d]" % (22 + 26 * i, s[2].pid), 0)
    if storage:
        klog(h, end - 40 * SEC, "nfs: server 10.41.9.2 not responding, still trying", 5)
    for r in s.ranks:
        if r.rank != 2:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 30_000_000, 2_905, first=r.rank == 0)
    put_logs(box, logs)
    box.put("plover-01/dmesg.log", sc.kernel_log(s, h, end + 11 * MIN, "ctime", quiet=14))
    return s


@case("host_cpu_error/soft-lockups", "positive", "One CPU of the host reports a soft lockup five times in a row; the rank on it is never heard of again.")
def soft_lockups(box):
    lockups(box, 5)
    box.expect("root_cause", "host_cpu_error", culprits=[{"host": "plover-01"}], evidence=["soft lockup - CPU#44 stuck for 22s!"], must_not=["collective_timeout", "rank_stalled", "storage_hang"])


@case("storage_hang/soft-lockups-after", "adjacent", "The twin of host_cpu_error/soft-lockups: the storage server had stopped answering before.")
def soft_lockups_nfs(box):
    lockups(box, 5, True)
    box.expect("root_cause", "storage_hang", culprits=[{"host": "plover-01"}], evidence=["nfs: server 10.41.9.2 not responding"], must_not=["host_cpu_error"])


@case("collective_timeout/one-soft-lockup", "adjacent", "The twin of host_cpu_error/soft-lockups: a single one, as a hypervisor's pause makes; why rank 2 fell silent stays open.")
def soft_lockup(box):
    lockups(box, 1)
    box.expect("unattributed", "collective_timeout", must_not=["host_cpu_error", "storage_hang"])


# ---------------------------------------------------------------- local_disk_failure

def nvme(box, back, io_errors=True, logs_too=True):
    s = small(761, "godwit", n=4, start="2026-10-07 10:00:00")
    logs, end = quick(s, leader=180, others=6)
    h = s.hosts[0]
    for i in range(3):
        klog(h, end - 62 * SEC + i, "nvme nvme1: I/O tag %d (%04x) opcode 0x1 (I/O Cmd) QID 11 timeout, aborting req_op:WRITE(1) size:131072" % (320 + i, 0x1140 + i))
    klog(h, end - 31 * SEC, "nvme nvme1: I/O tag 320 (1140) opcode 0x1 (I/O Cmd) QID 11 timeout, reset controller")
    if back:
        klog(h, end - 29 * SEC, "nvme nvme1: 64/0/0 default/read/poll queues", 6)
    elif io_errors:
        klog(h, end - SEC, "I/O error, dev nvme1n1, sector 771203456 op 0x1:(WRITE) flags 0x4000 phys_seg 16 prio class 2", 3)
    if not back:
        sc.died_with(logs[1], s[1], end, sc.TB_SAVE, "OSError: [Errno 5] Input/output error: '/local/cache/shard_1.bin'")
    if logs_too:
        put_logs(box, logs)
    box.put("godwit-01/dmesg.log", sc.kernel_log(s, h, end + 2 * MIN, "syslog", quiet=14))
    return s


@case("local_disk_failure/nvme-reset", "positive", "A local NVMe drive times out, is reset and does not come back; the rank that writes to it dies of EIO.")
def nvme_dead(box):
    nvme(box, False)
    box.expect("root_cause", "local_disk_failure", evidence=["QID 11 timeout, reset controller"], must_not=["python_exception_one_rank", "disk_full", "pcie_error"])


@case("local_disk_failure/reset-lines-only", "degraded", "The kernel log without the I/O error and without the ranks.")
def nvme_cut(box):
    nvme(box, False, False, False)
    box.expect("root_cause", "local_disk_failure", evidence=["QID 11 timeout, reset controller"], must_not=["pcie_error"])


@case("none/nvme-reset-recovered", "benign", "The twin of local_disk_failure/nvme-reset: the drive is back two seconds after its reset, and the run goes on.")
def nvme_back(box):
    nvme(box, True)
    box.expect("no_failure", None, must_not=["local_disk_failure"])
