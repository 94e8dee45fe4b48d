"""Runs in which nothing failed, however loud they are."""
import scene as sc
from case import case
from cases_program import small
from incident import logs_of, merged, put_logs, quick
from scene import MIN, SEC, Log, klog, xid


def finished(s, logs, end):
    for r in s.ranks:
        logs[r.rank].say(end, "%s INFO atlas.launch: finished after 20000 steps, exit 0" % sc.stamp(end, "python"))


@case("none/nccl-debug-log", "benign", "NCCL_DEBUG=INFO of a healthy start: 'Could not find', 'failed', 'disabled', and it all works.")
def nccl_debug(box):
    s = small(601, "wigeon", n=8, start="2026-11-01 10:00:00")
    logs, end = quick(s, leader=80, others=5)
    for r in s.ranks:
        t = s.start + 41 * SEC
        for text in ("NET/Plugin: Failed to find ncclNetPlugin_v10 symbol.", "NCCL_IB_TIMEOUT set by environment to 22.", "NVLS multicast support is available on dev %d" % r.local,
                     "TUNER/Plugin: Could not find: libnccl-tuner.so. libnccl-net.so.", "P2P is disabled between connected GPUs 0 and 0. You can ignore this if NCCL_P2P_DISABLE is set.",
                     "MNNVL busId 0x%s fabric UUID 0.0 cliqueId 0x0 state 3 healthMask 0x0" % r.nccl_bus, "NCCL_CUMEM_HOST_ENABLE set by environment to 0.",
                     "[Proxy Service] Device %d CPU core %d" % (r.local, 8 + r.local), "threadThresholds 8/8/64 | 64/8/64 | 512 | 512",
                     "comm 0x55d2f2a1c8%02x rank %d nranks %d cudaDev %d busId %s - Destroy COMPLETE" % (r.rank, r.rank, len(s.ranks), r.local, r.nccl_bus)):
            log_t = end - SEC if "Destroy" in text else t
            logs[r.rank].say(log_t, sc.nccl(r, text))
    finished(s, logs, end)
    put_logs(box, logs)
    box.expect("no_failure", must_not=["comm_error", "gpu_p2p_broken", "config_error"])


@case("none/lustre-failover", "benign", "Shares 'was lost' with storage_hang: two targets fail over, the client waits ninety seconds, and both are back.")
def lustre(box):
    s = small(603, "wigeon", n=4, start="2026-11-02 10:00:00")
    logs, end = quick(s, leader=80, others=4)
    h, t = s.hosts[0], s.start + 20 * MIN
    for i, ost in enumerate(("OST0004", "OST0005")):
        klog(h, t + i * SEC, "LustreError: 11-0: scratch-%s-osc-ffff9c41d2a40800: operation ost_write to node 10.41.9.%d@o2ib failed: rc = -19" % (ost, 31 + i), 3)
        klog(h, t + i * SEC + 1000, "Lustre: scratch-%s-osc-ffff9c41d2a40800: Connection to scratch-%s (at 10.41.9.%d@o2ib) was lost; in progress operations using this service will wait for recovery to complete" % (ost, ost, 31 + i), 4)
        klog(h, t + 90 * SEC + i * SEC, "Lustre: scratch-%s-osc-ffff9c41d2a40800: Connection restored to 10.41.9.%d@o2ib (at 10.41.9.%d@o2ib)" % (ost, 41 + i, 41 + i), 6)
    finished(s, logs, end)
    put_logs(box, logs)
    box.put("kernel/wigeon-01.log", sc.kernel_log(s, h, end, "ctime", quiet=20))
    box.expect("no_failure", must_not=["storage_hang"])


@case("none/link-flap-at-boot", "benign", "Shares 'Link down' with nic_link_flap: the port went down and up while the host booted, days before the job.")
def boot_flap(box):
    s = small(605, "wigeon", n=4, start="2026-11-03 10:00:00")
    logs, end = quick(s, leader=60, others=4)
    h = s.hosts[0]
    for i in range(3):
        t = h.boot_ns + (21 + i * 3) * SEC
        klog(h, t, "mlx5_core 0000:4a:00.0 ens3f0np0: Link down", 6)
        klog(h, t + 2 * SEC, "mlx5_core 0000:4a:00.0 ens3f0np0: Link up", 6)
    klog(h, h.boot_ns + 24 * SEC, "mlx5_core 0000:1a:00.0: mlx5_pcie_event:299:(pid 1177): Detected insufficient power on the PCIe slot (27W).", 4)
    finished(s, logs, end)
    put_logs(box, logs)
    box.put("dmesg.txt", sc.kernel_log(s, h, end, "mono", quiet=12))
    box.expect("no_failure", must_not=["nic_link_flap", "nic_hardware"])


@case("none/loss-spike", "benign", "The loss jumps to 4 for some steps and comes back: a spike, not a divergence.")
def spike(box):
    s = small(607, "wigeon", n=4, start="2026-11-04 10:00:00")
    logs, end = quick(s, leader=100, others=4)
    for i, loss in enumerate((2.19, 2.41, 3.60, 4.02, 3.31, 2.66, 2.31, 2.22, 2.19, 2.18)):
        t = s.start + 30 * MIN + i * 12 * SEC
        logs[0].say(t, "%s INFO atlas.engine.loop: step %d loss %.4f grad_norm %.3f lr 2.90e-04 tokens/s 404700 mem 61.4GiB" % (sc.stamp(t, "python"), 118_330 + i, loss, 0.3 + max(loss - 2.2, 0) * 4))
    finished(s, logs, end)
    put_logs(box, logs)
    box.expect("no_failure", must_not=["loss_divergence", "nan_loss"])


@case("none/loss-scale-warmup", "benign", "Shares 'inf' with nan_loss: an fp16 loss scaler finds its scale in the first steps.")
def scaler(box):
    s = small(609, "wigeon", n=4, start="2026-11-05 10:00:00")
    logs, end = quick(s, leader=80, others=4)
    for i in range(6):
        t = s.start + 100 * SEC + i * 3 * SEC
        scale = 65536 >> i
        logs[0].say(t, "%s INFO atlas.optim.scaler: gradient overflow, skipping step %d, grad_norm inf, loss scale %d -> %d" % (sc.stamp(t, "python"), i, scale, scale // 2),
                    " [%s] iteration %8d/  500000 | consumed samples: %12d | elapsed time per iteration (ms): 3180.1 | learning rate: 0.000000E+00 | global batch size:   512 | loss scale: %d.0 | "
                    "grad norm: inf | number of skipped iterations:   1 | number of nan iterations:   0 |" % (sc.stamp(t, "plain"), i + 1, (i + 1) * 512, scale // 2))
    finished(s, logs, end)
    put_logs(box, logs)
    box.expect("no_failure", must_not=["nan_loss", "loss_divergence"])


@case("none/destroy-process-group-warning", "benign", "The warning about destroy_process_group at a clean exit.")
def destroy(box):
    s = small(611, "wigeon", n=4, start="2026-11-06 10:00:00")
    logs, end = quick(s, leader=60, others=4)
    finished(s, logs, end)
    for r in s.ranks:
        logs[r.rank].say(end + SEC, "[rank%d]:[W%s ProcessGroupNCCL.cpp:1538] Warning: WARNING: destroy_process_group() was not called before program exit, which can leak resources. For more info, please "
                         "see https://pytorch.org/docs/stable/distributed.html#shutdown (function operator())" % (r.rank, sc.stamp(end + SEC, "torch")))
    put_logs(box, logs)
    box.expect("no_failure", must_not=["rank_exited_early", "nccl_api_misuse"])


@case("none/nvlink-nonfatal", "benign", "Blackwell link events and a switch event, all marked non-fatal, and a run that finished: worth a look (rule 12), not a failure.")
def nonfatal(box):
    s = small(613, "wigeon", n=4, start="2026-11-07 10:00:00")
    logs, end = quick(s, leader=60, others=4)
    h = s.hosts[0]
    for i, (code, unit) in enumerate(((145, "RLW_REMAP"), (149, "NETIR_LINK_EVT"), (149, "NETIR_LINK_EVT"))):
        xid(h, s.start + (10 + i * 7) * MIN, s[1], code, "%s Nonfatal XC0 i0 Link %02d (0x00000405 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)" % (unit, 3 + i))
    klog(h, s.start + 12 * MIN, "nvidia-nvswitch1: SXid (PCI:0000:85:00.0): 22013, Non-fatal, Link 44 Minion Link DLREQ interrupt", 4)
    klog(h, s.start + 12 * MIN + 1000, "nvidia-nvswitch1: SXid (PCI:0000:85:00.0): 22013, Severity 0 Engine instance 44 Sub-engine instance 00", 4)
    finished(s, logs, end)
    put_logs(box, logs)
    box.put("dmesg.txt", sc.kernel_log(s, h, end, "ctime", quiet=12))
    box.expect("no_failure", "nvlink_nonfatal", "precursor", must_not=["nvlink_error", "nvswitch_error"])


@case("none/corrected-errors", "benign", "Corrected PCIe and memory errors, and lines of advice that quote failures.")
def corrected(box):
    s = small(615, "wigeon", n=4, start="2026-11-08 10:00:00")
    logs, end = quick(s, leader=60, others=4)
    h = s.hosts[0]
    for i in range(5):
        t = s.start + (5 + i * 6) * MIN
        klog(h, t, "pcieport 0000:18:00.0: AER: Correctable error message received from 0000:19:00.0", 4)
        klog(h, t + 10_000, "nvidia 0000:19:00.0: PCIe Bus Error: severity=Correctable, type=Physical Layer, (Receiver ID)", 4)
        klog(h, t + 20_000, "nvidia 0000:19:00.0:    [ 0] RxErr                  (First)", 4)
    klog(h, s.start + 21 * MIN, "mce: [Hardware Error]: Machine check events logged", 6)
    klog(h, s.start + 21 * MIN + 1000, "EDAC skx MC2: 1 CE memory read error on CPU_SrcID#1_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x11c8f02 offset:0xc40 grain:32 syndrome:0x0)", 4)
    t = s.start + 9 * MIN
    logs[0].say(t, "%s INFO atlas.launch: hint: 'CUDA out of memory' may be caused by fragmentation; set expandable_segments" % sc.stamp(t, "python"),
                "%s INFO atlas.launch: hint: if a rank reports 'Watchdog caught collective operation timeout', see docs/hangs.md" % sc.stamp(t, "python"))
    finished(s, logs, end)
    put_logs(box, logs)
    box.put("dmesg.txt", sc.kernel_log(s, h, end, "ctime", quiet=12))
    box.expect("no_failure", must_not=["pcie_error", "host_memory_error", "host_cpu_error", "cuda_oom"])


@case("none/nccl-debug-64-ranks", "benign", "Sixty-four ranks on eight hosts with NCCL_DEBUG=INFO, one file as srun --label prints it; the run ends well.")
def nccl_debug_64(box):
    s = sc.Scene(["dotterel-%02d" % (i + 1) for i in range(8)], per_host=8, seed=651, start="2026-11-20 10:00:00")
    logs, end = quick(s, leader=40, others=2, minutes=12)
    for r in s.ranks:
        logs[r.rank].say(s.start + 41 * SEC, sc.nccl(r, "NVLS multicast support is not available on dev %d (NVLS_NCHANNELS 0)" % r.local),
                         sc.nccl(r, "NET/Plugin: Failed to find ncclNetPlugin_v10 symbol."), sc.nccl(r, "Connected binomial trees"))
    finished(s, logs, end)
    box.put("slurm-77101.out", merged(s, logs, "srun"))
    box.expect("no_failure", must_not=["nvls_setup_refused", "comm_error", "config_error"])


@case("none/autoscaled", "benign", "Shares FailedScheduling with k8s_unschedulable: the autoscaler adds a node, and the pod runs.")
def autoscaled(box):
    row = "%-11s %-9s %-18s %-26s %s"
    box.put("events.txt", [row % x for x in (
        ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"),
        ("22m", "Warning", "FailedScheduling", "pod/atlas-7b-worker-0", "0/12 nodes are available: 12 Insufficient nvidia.com/gpu. preemption: 0/12 nodes are available: 12 No preemption victims found for incoming pod."),
        ("21m", "Normal", "TriggeredScaleUp", "pod/atlas-7b-worker-0", "pod triggered scale-up: [{gpu-pool-b 12->13 (max: 32)}]"),
        ("15m", "Normal", "Scheduled", "pod/atlas-7b-worker-0", "Successfully assigned train/atlas-7b-worker-0 to gpu-pool-b-13"),
        ("14m", "Normal", "Pulled", "pod/atlas-7b-worker-0", 'Successfully pulled image "registry.local/atlas/train:2026.09" in 61.2s'),
        ("14m", "Normal", "Started", "pod/atlas-7b-worker-0", "Started container pytorch"))])
    box.expect("no_failure", must_not=["k8s_unschedulable"])


@case("none/checkpoint-pause", "benign", "Shares 'saving checkpoint' and a long silence with checkpoint_stall: four minutes later it is saved, and training goes on.")
def pause(box):
    s = small(653, "dotterel", n=4, start="2026-11-21 10:00:00")
    logs, end = quick(s, leader=120, others=5)
    t = s.start + 20 * MIN
    for r in s.ranks:
        logs[r.rank].say(t, "saving checkpoint at iteration    1200 to /ckpt/atlas-7b in torch_dist format")
        logs[r.rank].say(t + 4 * MIN, "  successfully saved checkpoint from iteration    1200 to /ckpt/atlas-7b [ t 1/1, p 1/1 ]")
    finished(s, logs, end)
    put_logs(box, logs)
    box.expect("no_failure", must_not=["checkpoint_stall", "storage_hang"])


@case("none/garbage-collection-pauses", "benign", "One rank stops for seconds in its garbage collector, again and again; the run is slower and ends well.")
def gc_pauses(box):
    s = small(655, "dotterel", n=4, start="2026-11-22 10:00:00")
    logs, end = quick(s, leader=120, others=5)
    for i in range(8):
        t = s.start + (5 + 4 * i) * MIN
        logs[2].say(t, "%s WARNING atlas.health: garbage collection of generation 2 took %d ms, other ranks waited" % (sc.stamp(t, "python"), 4_100 + 310 * i))
    finished(s, logs, end)
    put_logs(box, logs)
    box.expect("no_failure", must_not=["straggler", "rank_stalled", "host_cpu_straggler"])


@case("none/elastic-scale-down", "benign", "The agent of a job with --nnodes=1:2 sees one host leave on purpose, forms its group anew and goes on to the end.")
def scale_down(box):
    s = small(657, "dotterel", n=4, start="2026-11-23 10:00:00")
    logs, end = quick(s, leader=120, others=5)
    out, where, t = Log(), "torch/distributed/elastic/agent/server/api.py", s.start + 20 * MIN
    pid = s[0].pid - 61
    sc.torchrun_start(s, out, s.hosts[0], s.start - 3 * SEC)
    for text in ("[default] starting workers for entrypoint: python", "[default] Rendezvous complete for workers. Result:", "  restart_count=0", "  master_addr=dotterel-01"):
        out.say(s.start, "I%s %d %s:860] %s" % (sc.stamp(s.start, "glog"), pid, where, text))
    out.say(t, "I%s %d %s:1102] The node 'dotterel-02_9117_0' has left the rendezvous '77105' gracefully." % (sc.stamp(t, "glog"), pid, "torch/distributed/elastic/rendezvous/dynamic_rendezvous.py"))
    out.say(end + 2 * SEC, "I%s %d %s:960] [default] worker group successfully finished. Waiting 300 seconds for other agents to finish." % (sc.stamp(end, "glog"), pid, where),
            "I%s %d %s:960] Local worker group finished (WorkerState.SUCCEEDED). Waiting 300 seconds for other agents to finish" % (sc.stamp(end, "glog"), pid, where))
    finished(s, logs, end)
    put_logs(box, logs)
    box.put("torchrun-dotterel-01.log", out)
    box.expect("no_failure", must_not=["rendezvous_incomplete", "node_failure", "rank_exited_early", "rank_lost"])


@case("none/service-retried", "benign", "Shares '503' and 'timed out' with external_service_outage: the logger's upload is tried again and works.")
def retried(box):
    s = small(659, "dotterel", n=4, start="2026-11-24 10:00:00")
    logs, end = quick(s, leader=120, others=5)
    for i in range(4):
        t = s.start + (10 + i) * MIN
        logs[0].say(t, "%s WARNING urllib3.connectionpool: Retrying (Retry(total=%d, connect=None, read=None, redirect=None, status=None)) after connection broken by 'ReadTimeoutError(\"HTTPSConnectionPool("
                    "host='metrics.example.org', port=443): Read timed out. (read timeout=10)\")': /api/v2/runs" % (sc.stamp(t, "python"), 4 - i),
                    "%s WARNING atlas.track: upload answered 503 Server Error, trying again in %d s" % (sc.stamp(t, "python"), 2 << i))
    finished(s, logs, end)
    put_logs(box, logs)
    box.expect("no_failure", must_not=["external_service_outage", "python_exception"])


@case("none/kernel-grumbles", "benign", "An unstable clock source and a slow profiling interrupt: the kernel grumbles, nothing fails.")
def grumbles(box):
    s = small(661, "dotterel", n=4, start="2026-11-25 10:00:00")
    logs, end = quick(s, leader=120, others=5)
    t = s.start + 15 * MIN
    klog(s.hosts[0], t, "clocksource: timekeeping watchdog on CPU41: Marking clocksource 'tsc' as unstable because the skew is too large:", 4)
    klog(s.hosts[0], t + SEC, "perf: interrupt took too long (3121 > 3118), lowering kernel.perf_event_max_sample_rate to 64000", 6)
    finished(s, logs, end)
    put_logs(box, logs)
    box.put("dmesg.txt", sc.kernel_log(s, s.hosts[0], end, "ctime", quiet=12))
    box.expect("no_failure", must_not=["host_cpu_error", "straggler"])


@case("none/exception-in-destructor", "benign", "Shares the AssertionError with python_exception: it was raised in a destructor of a data loader and ignored, and the run ends well.")
def destructor(box):
    s = small(663, "dotterel", n=4, start="2026-11-26 10:00:00")
    logs, end = quick(s, leader=120, others=5)
    for r in s.ranks:
        logs[r.rank].say(end - MIN, "Exception ignored in: <function _MultiProcessingDataLoaderIter.__del__ at 0x7f3c11a2b040>", *sc.traceback(
            [("/opt/venv/lib/python3.12/site-packages/torch/utils/data/dataloader.py", 1604, "__del__", "self._shutdown_workers()"),
             ("/usr/lib/python3.12/multiprocessing/process.py", 160, "is_alive", "assert self._parent_pid == os.getpid(), 'can only test a child process'")],
            "AssertionError: can only test a child process"))
    finished(s, logs, end)
    put_logs(box, logs)
    box.expect("no_failure", must_not=["python_exception", "python_exception_one_rank"])
