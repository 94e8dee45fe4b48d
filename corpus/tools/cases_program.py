"""Exceptions, crashes, memory, numbers, loaders."""
import scene as sc
from case import case
from incident import launchers, merged, put_logs, quick, remote_error
from scene import MIN, SEC, Log, klog, xid

DEBUG_ADVICE = ["CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.",
                "For debugging consider passing CUDA_LAUNCH_BLOCKING=1", "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."]


def small(seed, host, start="2026-08-01 10:00:00", n=4, hosts=1, **kw):
    names = ["%s-%02d" % (host, i + 1) for i in range(hosts)]
    return sc.Scene(names, per_host=n, bus=sc.A100[:4] if n <= 4 else sc.H100, seed=seed, start=start, **kw)


# ---------------------------------------------------------------- python_exception

@case("python_exception/same-on-all-ranks", "positive", "After forty minutes every rank raises the same exception within a second: a bug in the program, not a machine.")
def exc_all(box):
    s = small(301, "hen", n=8)
    logs, end = quick(s, leader=150, others=4)
    for r in s.ranks:
        sc.died_with(logs[r.rank], r, end + r.rank * 90_000_000, sc.TB_STEP + [(sc.APP + "atlas/optim/schedule.py", 61, "value", "return self.peak * (1 - done / (self.total - self.total))")],
                     "ZeroDivisionError: division by zero")
    box.put("train.log", merged(s, logs, "srun"))
    launchers(box, s, end + 2 * SEC, s[3], 1)
    box.expect("root_cause", "python_exception", evidence=["ZeroDivisionError: division by zero"], must_not=["python_exception_one_rank", "config_error", "rank_exited_early"])


@case("python_exception/logs-cut", "degraded", "Three of eight logs, one of them cut inside its traceback.")
def exc_cut(box):
    s = small(303, "hen", n=8, start="2026-08-02 10:00:00")
    logs, end = quick(s, leader=40, others=4)
    for r in (0, 3, 6):
        sc.died_with(logs[r], s[r], end + r * 90_000_000, sc.TB_STEP + [(sc.APP + "atlas/optim/schedule.py", 61, "value", "return self.table[step]")],
                     "IndexError: list index out of range")
        text = "\n".join(logs[r].lines())
        box.put("rank_%d.log" % r, text + "\n" if r != 3 else text[:-60])
    box.expect("root_cause", "python_exception", evidence=["IndexError: list index out of range"], must_not=["python_exception_one_rank"])


@case("python_exception_one_rank/others-time-out", "positive", """Rank 6 raises; the others wait for it until their watchdogs fire ten minutes later, and that is what fills the logs.""")
def exc_one(box):
    s = small(305, "coot", n=4, hosts=2, start="2026-08-03 10:00:00")
    logs, end = quick(s, leader=150, others=4)
    sc.died_with(logs[6], s[6], end, sc.TB_LOADER + [(sc.APP + "atlas/data/pack.py", 118, "pack", "tokens = row[\"text_ids\"][: self.length]")], "TypeError: 'NoneType' object is not subscriptable")
    for r in s.ranks:
        if r.rank != 6:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + 40_000_000 * r.rank, 8_814, numel_in=6553600, first=r.rank == 2)
    put_logs(box, logs, prefix="default", scene=s)
    launchers(box, s, end + 663 * SEC, s[2], -6, hosts=s.hosts[:1])
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 6}], evidence=["TypeError: 'NoneType' object is not subscriptable"],
               must_not=["python_exception", "collective_desync"])


@case("python_exception_one_rank/two-logs-left", "degraded", "The culprit's log and one of a rank that timed out.")
def exc_one_cut(box):
    s = small(307, "coot", n=4, hosts=2, start="2026-08-04 10:00:00")
    logs, end = quick(s, leader=40, others=4)
    sc.died_with(logs[3], s[3], end, sc.TB_SAVE, "PermissionError: [Errno 13] Permission denied: '/ckpt/atlas-7b/step_0118400/shard_3.tmp'")
    sc.watchdog(s, logs[0], s[0], end + 600 * SEC, 8_814, numel_in=6553600, first=True)
    put_logs(box, {0: logs[0], 3: logs[3]})
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 3}], evidence=["PermissionError: [Errno 13] Permission denied"], must_not=["disk_full"])


# ---------------------------------------------------------------- process_segfault, process_killed

@case("process_segfault/extension", "positive", "Rank 1 crashes in an extension library; the kernel names it, the launcher sees signal 11, the others lose their peer.")
def segv(box):
    s = small(311, "rail", n=4, start="2026-08-05 10:00:00")
    logs, end = quick(s, leader=160, others=4)
    bad = s[1]
    klog(s.hosts[0], end, "pt_main_thread[%d]: segfault at 7f2c00000010 ip 00007f2dd3c41a2c sp 00007ffe9c0f7a10 error 4 in libatlas_fused.so[7f2dd3c00000+5e000] likely on CPU 37 (core 5, socket 1)" % bad.pid, 6)
    klog(s.hosts[0], end + 1000, "Code: 48 8b 47 10 48 85 c0 74 1c 48 8b 57 18 <48> 8b 40 10 c3 66 0f 1f 44 00 00", 6)
    for r in s.ranks:
        if r is not bad:
            remote_error(logs[r.rank], r, end + SEC + r.rank * 9_000_000, r.host.ip)
    put_logs(box, logs)
    launchers(box, s, end + 2 * SEC, bad, -11)
    box.put("dmesg.log", sc.kernel_log(s, s.hosts[0], end + MIN, "mono", quiet=10))
    box.expect("root_cause", "process_segfault", culprits=[{"rank": 1, "pid": bad.pid}], evidence=["exitcode: -11"], must_not=["comm_error", "host_oom", "process_killed"])


@case("process_segfault/launcher-only", "degraded", "Only torchrun's output.")
def segv_cut(box):
    s = small(313, "rail", n=8, start="2026-08-06 10:00:00")
    launchers(box, s, s.start + 40 * MIN, s[5], -11, name="torchrun-%s.log")
    box.expect("root_cause", "process_segfault", culprits=[{"rank": 5, "pid": s[5].pid}], evidence=["exitcode: -11"], must_not=["process_killed"])


@case("process_killed/no-record", "adjacent", """Shares exit code -9 with host_oom, but the kernel log covers the time and has no OOM kill, and no scheduler speaks. Who sent SIGKILL
is not known.""")
def killed(box):
    s = small(315, "rail", n=4, start="2026-08-07 10:00:00")
    logs, end = quick(s, leader=60, others=4)
    for r in s.ranks:
        if r.rank != 2:
            remote_error(logs[r.rank], r, end + SEC + r.rank * 9_000_000, r.host.ip)
    put_logs(box, logs)
    launchers(box, s, end + 2 * SEC, s[2], -9)
    box.put("kernel/rail-01.log", sc.kernel_log(s, s.hosts[0], end + 3 * MIN, "ctime", quiet=20))
    box.expect("unattributed", "process_killed", culprits=[{"rank": 2}], evidence=["exitcode: -9"], must_not=["host_oom", "slurm_cancelled_by_user", "comm_error"])


# ---------------------------------------------------------------- GPU memory

def oom_text(tried, gpu, free, mine, other=None):
    return ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate %s. GPU %d has a total capacity of 79.11 GiB of which %s is free. %s"
            "Including non-PyTorch memory, this process has %s memory in use. Of the allocated memory %s is allocated by PyTorch, and 1.21 GiB is reserved by PyTorch but "
            "unallocated. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See "
            "documentation for Memory Management  (https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
            % (tried, gpu, free, "Process %d has %s memory in use. " % other if other else "", mine, mine))


@case("cuda_oom/long-sample", "positive", "A long sample on rank 5 does not fit; the process itself holds nearly the whole device.")
def oom(box):
    s = small(321, "shrike", n=8, start="2026-08-08 10:00:00")
    logs, end = quick(s, leader=160, others=4)
    sc.died_with(logs[5], s[5], end, sc.TB_FORWARD, oom_text("3.91 GiB", 5, "1.88 GiB", "77.21 GiB"))
    for r in s.ranks:
        if r.rank != 5:
            remote_error(logs[r.rank], r, end + 2 * SEC + r.rank * 9_000_000, r.host.ip)
    put_logs(box, logs)
    launchers(box, s, end + 3 * SEC, s[5], 1)
    box.expect("root_cause", "cuda_oom", culprits=[{"rank": 5}], evidence=["CUDA out of memory. Tried to allocate 3.91 GiB"],
               must_not=["gpu_memory_taken", "host_oom", "python_exception_one_rank", "nvls_resource_exhausted", "comm_error"])


@case("cuda_oom/line-cut", "degraded", "One log, cut inside the line that says it.")
def oom_cut(box):
    s = small(323, "shrike", n=8, start="2026-08-09 10:00:00")
    logs, end = quick(s, leader=40, others=30)
    sc.died_with(logs[2], s[2], end, sc.TB_FORWARD, oom_text("512.00 MiB", 2, "201.00 MiB", "78.30 GiB"))
    text = "\n".join(logs[2].lines())
    box.put("rank_2.log", text[:text.index("Including non-PyTorch")])
    box.expect("root_cause", "cuda_oom", culprits=[{"rank": 2}], evidence=["CUDA out of memory. Tried to allocate 512.00 MiB"], must_not=["gpu_memory_taken"])


@case("gpu_memory_taken/other-process", "adjacent", "Shares the out-of-memory line with cuda_oom, but another process holds 61 GiB of the device.")
def taken(box):
    s = small(325, "shrike", n=4, start="2026-08-10 10:00:00")
    logs = {}
    for r in s.ranks:
        logs[r.rank] = Log()
        sc.startup(s, logs[r.rank], r, s.start)
    t = s.start + 50 * SEC
    sc.died_with(logs[3], s[3], t, sc.TB_SETUP, oom_text("7.45 GiB", 3, "4.02 GiB", "13.11 GiB", (20_117, "61.95 GiB")))
    put_logs(box, logs)
    h = s.hosts[0]
    box.put("nvidia-smi.xml", sc.smi(h, t + MIN, g3=dict(used="64010 MiB", processes=sc.smi_process(20_117, "/home/guest/envs/notebook/bin/python", 63_436))))
    box.expect("root_cause", "gpu_memory_taken", culprits=[{"rank": 3}], evidence=["Process 20117 has 61.95 GiB memory in use"], must_not=["cuda_oom", "rank_gpu_misassignment"])


@case("nvls_resource_exhausted/multicast", "adjacent", "Says 'out of memory' as cuda_oom does; it is NVSwitch multicast slots that ran out.")
def nvls(box):
    s = small(327, "shrike", n=8, start="2026-08-11 10:00:00")
    logs = {}
    t = s.start + 50 * SEC
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        sc.nccl_init(s, log, r, s.start + 30 * SEC, brief=True)
        log.say(t, sc.nccl_warn(r, "transport/nvls.cc:254", "Failed to bind NVLink SHARP (NVLS) Multicast memory of size 4194304 : CUDA error 2 'out of memory'. "
                                "This is usually caused by a system or configuration error in the Fabric Manager or NVSwitches. Do not know how to recover."))
        sc.died_with(log, r, t + SEC, sc.TB_INIT, "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:93, unhandled cuda error "
                     "(run with NCCL_DEBUG=INFO for details), NCCL version 2.27.3")
        log.say(t + SEC, "[rank%d]: ncclUnhandledCudaError: Call to CUDA function failed." % r.rank)
    put_logs(box, logs)
    box.expect("root_cause", "nvls_resource_exhausted", evidence=["Failed to bind NVLink SHARP (NVLS) Multicast memory"], must_not=["cuda_oom", "gpu_memory_taken", "python_exception", "fabric_manager_down"])


# ---------------------------------------------------------------- illegal access, device assert

def cuda_died(log, r, ns, what):
    sc.died_with(log, r, ns, sc.TB_FORWARD, "torch.AcceleratorError: CUDA error: %s" % what)
    log.say(ns, *["[rank%d]: %s" % (r.rank, x) for x in DEBUG_ADVICE])


@case("cuda_illegal_memory_access/xid31", "positive", """A kernel of rank 2 touches an address that is not its own: Xid 31 and the CUDA error. The advice about device-side assertions is
not evidence of one.""")
def illegal(box):
    s = small(331, "avocet", n=4, start="2026-08-12 10:00:00")
    logs, end = quick(s, leader=160, others=4)
    bad, h = s[2], s.hosts[0]
    xid(h, end, bad, 31, "Ch 00000012, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC3 GPCCLIENT_T1_4 faulted @ 0x7f41_3a000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
        pid=bad.pid, name="pt_main_thread")
    cuda_died(logs[2], bad, end + SEC, "an illegal memory access was encountered")
    for r in s.ranks:
        if r is not bad:
            remote_error(logs[r.rank], r, end + 3 * SEC + r.rank * 9_000_000, r.host.ip)
    put_logs(box, logs)
    box.put("kernel/avocet-01.log", sc.kernel_log(s, h, end + MIN, "ctime", quiet=10))
    box.expect("root_cause", "cuda_illegal_memory_access", culprits=[{"rank": 2, "gpu": bad.gpu}], evidence=["CUDA error: an illegal memory access was encountered"],
               must_not=["device_side_assert", "gpu_ecc_uncorrectable", "python_exception_one_rank", "comm_error"])


@case("cuda_illegal_memory_access/rank-log-only", "degraded", "No kernel log.")
def illegal_cut(box):
    s = small(333, "avocet", n=4, start="2026-08-13 10:00:00")
    logs, end = quick(s, leader=30, others=30)
    cuda_died(logs[0], s[0], end, "an illegal memory access was encountered")
    box.put("rank_0.log", logs[0])
    box.expect("root_cause", "cuda_illegal_memory_access", culprits=[{"rank": 0}], must_not=["device_side_assert", "python_exception_one_rank"])


def device_assert(box, advice_only_others):
    s = small(335 + advice_only_others, "avocet", n=4, start="2026-08-14 10:00:00")
    logs, end = quick(s, leader=160 if not advice_only_others else 30, others=4)
    for b in range(6):
        logs[1].say(end - SEC + b, "/pytorch/aten/src/ATen/native/cuda/Indexing.cu:1422: indexSelectLargeIndex: block: [%d,0,0], thread: [%d,0,0] Assertion `srcIndex < srcSelectDimSize` failed."
                    % (b * 3, 32 * b))
    cuda_died(logs[1], s[1], end, "device-side assert triggered")
    if advice_only_others:
        put_logs(box, {1: logs[1]})
    else:
        for r in s.ranks:
            if r.rank != 1:
                remote_error(logs[r.rank], r, end + 3 * SEC + r.rank * 9_000_000, r.host.ip)
        put_logs(box, logs)
        launchers(box, s, end + 4 * SEC, s[1], 1)
    box.expect("root_cause", "device_side_assert", culprits=[{"rank": 1}], evidence=["Assertion `srcIndex < srcSelectDimSize` failed"] if not advice_only_others else ["device-side assert triggered"],
               must_not=["cuda_illegal_memory_access", "python_exception_one_rank", "comm_error"])


@case("device_side_assert/token-out-of-range", "positive", "A token id beyond the embedding on rank 1.")
def dsa(box):
    device_assert(box, 0)


@case("cuda_oom/old-check", "degraded", "What a build of years ago prints when device memory is gone; the traceback under it was cut.")
def oom_old(box):
    box.put("train.log", ["THCudaCheck FAIL file=/src/pytorch/torch/lib/THC/generic/THCStorage.cu line=66 error=2 : out of memory", "Traceback (most recent call last):",
                          '  File "train.py", line 243, in <module>', "    run(epoch)"])
    box.expect("root_cause", "cuda_oom", evidence=["error=2 : out of memory"], must_not=["cuda_error", "host_oom"])


@case("cuda_oom/device-buffer", "degraded", "A TPU worker that finds no room for a buffer, in the words of XLA.")
def oom_buffer(box):
    box.put("worker_3.log", ["%3d%%|#         | %d/300 [%02d:21<61:42:17, 742.93s/it]" % (i // 3, i, i) for i in range(1, 40)] +
                            ["RuntimeError: Bad StatusOr access: RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting to allocate 412.00M. That was not possible. There are 96.20M free.; (1x0x0_HBM0)"])
    box.expect("root_cause", "cuda_oom", evidence=["Error allocating device buffer"], must_not=["python_exception", "host_oom"])


@case("cuda_error/nccl-warning-only", "degraded", "One rank's log ends with the call that the driver refused inside NCCL; nothing says why.")
def nccl_refused(box):
    box.put("rank_0.log", ["wren-03:19402:19419 [0] /opt/rccl/hipify/src/transport/p2p.cc:237 NCCL WARN Cuda failure 'invalid argument'",
                           "wren-03:19402:19419 [0] NCCL INFO /opt/rccl/hipify/src/transport/p2p.cc:646 -> 1"])
    box.expect("unattributed", "cuda_error", evidence=["Cuda failure 'invalid argument'"], must_not=["gpu_p2p_broken", "nvls_setup_refused", "gpu_hardware_unspecified"])


@case("comm_error/worker-restarted", "adjacent", """Ends as python_exception does, with a traceback; but the exception says that the other side was started anew. Why is open.""")
def incarnation(box):
    box.put("chief.log", ["Traceback (most recent call last):", '  File "train.py", line 118, in <module>', "    model.fit(data)",
                          'tensorflow.python.framework.errors_impl.AbortedError: RecvTensor expects a different device incarnation: 5132506705170928 vs. 7767066468299283. Your worker job ("/job:worker/replica:0/task:2") was probably restarted.'])
    box.expect("unattributed", "comm_error", evidence=["different device incarnation"], must_not=["python_exception", "config_error"])


@case("input_data_corrupt/stamped-by-a-platform", "degraded", "The same behind what a platform and mpirun put before each line: a time with a colon, the job's and the rank's number.")
def not_image_stamped(box):
    box.put("output.txt", ["2026-08-10T13:22:37.443Z: [1,3]<stderr>:" + x for x in
                           ("OSError: Caught OSError in DataLoader worker process 3.", "Original Traceback (most recent call last):",
                            '  File "/opt/venv/lib/python3.8/site-packages/PIL/Image.py", line 2931, in open', "OSError: cannot identify image file <_io.BufferedReader name='/data/train/n017/n017_64.jpg'>")])
    box.expect("root_cause", "input_data_corrupt", culprits=[{"rank": 3}], evidence=["cannot identify image file"], must_not=["python_exception", "python_exception_one_rank"])


@case("input_data_corrupt/not-an-image", "degraded", "One worker's exception, as older versions of the imaging library word it.")
def not_image(box):
    box.put("train.log", ["OSError: Caught OSError in DataLoader worker process 3.", "Original Traceback (most recent call last):",
                          '  File "/opt/venv/lib/python3.8/site-packages/PIL/Image.py", line 2931, in open', "OSError: cannot identify image file <_io.BufferedReader name='/data/train/n017/n017_64.jpg'>"])
    box.expect("root_cause", "input_data_corrupt", evidence=["cannot identify image file"], must_not=["python_exception", "python_exception_one_rank"])


@case("device_side_assert/hip", "degraded", "The lines that a HIP build prints for it; the rest of the log was lost.")
def assert_hip(box):
    box.put("rank2.log", ["/src/pytorch/aten/src/ATen/native/hip/Indexing.hip:1292: indexSelectLargeIndex: Device-side assertion `srcIndex < srcSelectDimSize' failed."] * 3)
    box.expect("root_cause", "device_side_assert", evidence=["Device-side assertion"], must_not=["cuda_illegal_memory_access"])


@case("device_side_assert/rank-log-only", "degraded", "Only the log of the rank that died.")
def dsa_cut(box):
    device_assert(box, 1)


# ---------------------------------------------------------------- numbers

@case("nan_loss/gives-up", "positive", "The gradient norm explodes, the loss turns NaN and stays so; the trainer gives up on all ranks.")
def nan(box):
    s = small(341, "pipit", n=4, start="2026-08-15 10:00:00")
    logs, end = quick(s, leader=170, others=4)
    step, t = 118_900, end
    for i, (loss, norm) in enumerate((("2.1870", "1.911"), ("2.4015", "14.702"), ("3.9310", "812.550"), ("nan", "nan"), ("nan", "nan"), ("nan", "nan"), ("nan", "nan"))):
        t = end + i * 16 * SEC
        logs[0].say(t, "%s INFO atlas.engine.loop: step %d loss %s grad_norm %s lr 2.90e-04 tokens/s 404117 mem 61.4GiB" % (sc.stamp(t, "python"), step + i * 5, loss, norm))
    for r in s.ranks:
        sc.died_with(logs[r.rank], r, t + 9 * SEC, sc.TB_STEP, "FloatingPointError: loss has been nan for 4 reports, giving up at step 118931")
    put_logs(box, logs)
    launchers(box, s, t + 10 * SEC, s[0], 1)
    box.expect("root_cause", "nan_loss", evidence=["loss nan grad_norm nan"], must_not=["python_exception", "loss_divergence", "config_error"])


@case("nan_loss/megatron-line-cut", "degraded", "Megatron's log lines, the last one cut.")
def nan_cut(box):
    s = small(343, "pipit", n=4, start="2026-08-16 10:00:00")
    logs, end = quick(s, leader=50, others=4, style="megatron")
    for i in range(3):
        t = end + i * 16 * SEC
        logs[0].say(t, " [%s] iteration %8d/  500000 | consumed samples: %12d | elapsed time per iteration (ms): 3120.4 | learning rate: 2.900000E-04 | global batch size:   512 | "
                    "lm loss: nan | loss scale: 1.0 | grad norm: nan | number of skipped iterations:   0 | number of nan iterations:   %d |"
                    % (sc.stamp(t, "plain"), 118_260 + i, (118_260 + i) * 512, 1))
    sc.died_with(logs[0], s[0], end + 60 * SEC, sc.TB_STEP, "RuntimeError: found NaN in local grad norm in backward pass before data-parallel communication collective")
    text = "\n".join(logs[0].lines())
    box.put("train.log", text[:-40])
    box.expect("root_cause", "nan_loss", evidence=["lm loss: nan"], must_not=["python_exception", "python_exception_one_rank"])


# ---------------------------------------------------------------- loaders, shared memory, files

def loader(box, s, logs, end, rank, signal, **more):
    pid = s[rank].pid + 4_410
    sc.died_with(logs[rank], s[rank], end, sc.TB_LOADER, "RuntimeError: DataLoader worker (pid %d) is killed by signal: %s" % (pid, signal))
    for r in s.ranks:
        if r.rank != rank:
            remote_error(logs[r.rank], r, end + 3 * SEC + r.rank * 9_000_000, r.host.ip)
    put_logs(box, logs)
    launchers(box, s, end + 4 * SEC, s[rank], 1)
    return pid


@case("dataloader_worker_killed/killed", "positive", "A loader worker of rank 3 is killed; the kernel log of the host covers the time and has no OOM kill.")
def worker(box):
    s = small(351, "siskin", n=4, start="2026-08-17 10:00:00")
    logs, end = quick(s, leader=160, others=4)
    pid = loader(box, s, logs, end, 3, "Killed. ")
    box.put("kernel/siskin-01.log", sc.kernel_log(s, s.hosts[0], end + 2 * MIN, "ctime", quiet=12))
    box.expect("root_cause", "dataloader_worker_killed", culprits=[{"rank": 3}], evidence=["DataLoader worker (pid %d) is killed by signal: Killed" % pid],
               must_not=["host_oom", "shm_exhausted", "python_exception_one_rank", "comm_error"])


@case("host_oom/loader-worker", "adjacent", "Shares the loader line with dataloader_worker_killed; here the kernel's OOM killer did it.")
def worker_oom(box):
    s = small(353, "siskin", n=4, start="2026-08-18 10:00:00")
    logs, end = quick(s, leader=60, others=4)
    pid = loader(box, s, logs, end, 1, "Killed. ")
    memcg_oom(s.hosts[0], end - 2 * SEC, pid, "pt_data_worker")
    box.put("kernel/siskin-01.log", sc.kernel_log(s, s.hosts[0], end + 2 * MIN, "journal", quiet=12))
    box.expect("root_cause", "host_oom", culprits=[{"host": "siskin-01"}], evidence=["Memory cgroup out of memory: Killed process %d" % pid],
               must_not=["dataloader_worker_killed", "shm_exhausted", "process_killed"])


def memcg_oom(h, ns, pid, name, job="48213"):
    cg = "/system.slice/slurmstepd.scope/job_%s/step_0/user/task_0" % job
    klog(h, ns, "%s invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0" % name)
    klog(h, ns + 900_000, "memory: usage 965214208kB, limit 965214208kB, failcnt 88123", 6)
    klog(h, ns + 1_000_000, "Memory cgroup stats for %s:" % cg, 6)
    klog(h, ns + 2_000_000, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=step_0,mems_allowed=0-1,oom_memcg=%s,task_memcg=%s,task=%s,pid=%d,uid=5012" % (cg, cg, name, pid), 6)
    klog(h, ns + 3_000_000, "Memory cgroup out of memory: Killed process %d (%s) total-vm:412331876kB, anon-rss:301774120kB, file-rss:66120kB, shmem-rss:1048576kB, UID:5012 "
         "pgtables:612344kB oom_score_adj:0" % (pid, name), 3)


SHM = "RuntimeError: unable to write to file </torch_%d_%d_%d>: No space left on device (28)"


def shm(box, df):
    s = small(355 + df, "linnet", n=4, start="2026-08-19 10:00:00")
    logs, end = quick(s, leader=160 if df else 40, others=4)
    logs[0].say(end - SEC, "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).")
    pid = loader(box, s, logs, end, 0, "Bus error. It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit.")
    if df:
        box.put("df.txt", ["Filesystem     1K-blocks       Used  Available Use% Mounted on", "/dev/nvme0n1p2 921802564  121544120  753360100  14% /",
                           "tmpfs          211329312       2104  211327208   1% /run", "shm                65536      65536          0 100% /dev/shm",
                           "/dev/nvme1n1p1 7501466624 310022144 6813321216   5% /local"])
    box.expect("root_cause", "shm_exhausted", culprits=[{"rank": 0}], evidence=["DataLoader worker (pid %d) is killed by signal: Bus error" % pid],
               must_not=["dataloader_worker_killed", "host_oom", "disk_full", "comm_error"])


@case("shm_exhausted/bus-error", "positive", "A container with 64 MiB of /dev/shm: a loader worker dies of a bus error, and df shows it full.")
def shm_full(box):
    shm(box, 1)


@case("shm_exhausted/no-df", "degraded", "Nobody looked at /dev/shm.")
def shm_cut(box):
    shm(box, 0)


@case("fd_limit/too-many-open-files", "positive", "Rank 2 runs out of file descriptors while it shares tensors with its loader workers.")
def fds(box):
    s = small(359, "linnet", n=4, start="2026-08-21 10:00:00")
    logs, end = quick(s, leader=190, others=4)
    sc.died_with(logs[2], s[2], end, sc.TB_LOADER, "OSError: [Errno 24] Too many open files: '/data/tokens/part-01177.bin'")
    for r in s.ranks:
        if r.rank != 2:
            remote_error(logs[r.rank], r, end + 3 * SEC + r.rank * 9_000_000, r.host.ip)
    put_logs(box, logs)
    box.expect("root_cause", "fd_limit", culprits=[{"rank": 2}], evidence=["[Errno 24] Too many open files"], must_not=["python_exception_one_rank", "shm_exhausted", "comm_error"])
