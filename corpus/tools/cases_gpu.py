"""GPUs, NVLink, NVSwitch, PCIe."""
import flight
import scene as sc
from case import case
from incident import hang, launchers, logs_of, merged, put_logs, quick, remote_error
from scene import MIN, SEC, Log, at, klog, xid


# ---------------------------------------------------------------- gpu_fell_off_bus

@case("gpu_fell_off_bus/demo-16-ranks", "positive", """Two hosts, sixteen ranks: the GPU of rank 12 falls off the bus at 02:31:07. Its process
hangs in the driver and writes no dump; ten minutes later all the others time out, rank 0 first and loudest.""")
def demo(box):
    s = sc.Scene(["tern-01", "tern-02"], seed=12, start="2026-03-14 01:12:00", job="48213")
    drop, bad = at("2026-03-14 02:31:07.418902"), s[12]
    run = flight.make_run(16, 6, "grid", 8, ahead=4, seed=12)
    for g, before in zip(run.groups, (3_960, 55_440) + (55_440,) + (7_920,) * 8):
        run.sequence_offset[g.key] = before
    run.host_stop[12] = flight.find_call(run, 12, "TENSOR_PARALLEL", "all_reduce", -3)
    run.align(12, drop - 2_000_000)
    box.dumps(run, prefix="comm_lib_trace_rank_", skip=[12], record_base=71_280, version="2.9")

    logs = logs_of(s, 30, end=drop - SEC, leader_lines=230)
    hang(s, logs, run, drop + 15_000_000, skip=[12])
    put_logs(box, logs)
    for host, failed in ((s.hosts[0], s[0]), (s.hosts[1], s[8])):
        out = Log()
        sc.torchrun_start(s, out, host, s.start - 4 * SEC)
        sc.torchrun(s, out, host, drop + 662 * SEC, failed, -6)
        if host is bad.host:
            t = drop + 692 * SEC
            out.say(t, "W%s %d torch/distributed/elastic/multiprocessing/api.py:919] Unable to shutdown process %d via 15, forcefully exiting via 9"
                    % (sc.stamp(t, "glog"), sc.host_agent(s, host), bad.pid))
        box.put("launcher/torchrun-%s.log" % host.name, out)
    k = s.hosts[1]
    xid(k, drop, bad, 79, "GPU has fallen off the bus.")
    klog(k, drop + 4_000, "NVRM: GPU %s: GPU has fallen off the bus." % bad.gpu)
    klog(k, drop + 9_000, "NVRM: GPU %s: GPU serial number is 1654923071442." % bad.gpu)
    xid(k, drop + 30_000_000, bad, 154, "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)")
    for host in s.hosts:
        box.put("kernel/dmesg-%s.log" % host.name, sc.kernel_log(s, host, drop + 12 * MIN, "ctime", 50))
    box.put("gpu/nvidia-smi-tern-01.xml", sc.smi(s.hosts[0], drop + 14 * MIN))
    box.put("gpu/nvidia-smi-tern-02.xml", sc.smi(k, drop + 14 * MIN, g4=dict(lost="GPU is lost")))
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"rank": 12, "host": "tern-02", "gpu": bad.gpu}],
               evidence=["): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."],
               must_not=["pcie_error", "gpu_thermal", "collective_desync", "gpu_stalled", "python_exception", "nvswitch_error"],
               observations=["gpu.lost", "torch.watchdog_timeout", "coll.silent"])


@case("gpu_fell_off_bus/sxid-cascade", "adjacent", """Shares the fatal SXid lines with nvswitch_error and the Xid 119 line with gpu_gsp_timeout:
both come seconds after one GPU left the bus, and are its cascade. Monotonic kernel log.""")
def gpu_sxid_cascade(box):
    s = sc.Scene(["quail-07"], seed=31, start="2026-02-03 09:10:00")
    logs, end = quick(s, leader=60, others=4)
    bad, h = s[5], s.hosts[0]
    xid(h, end, bad, 79, "GPU has fallen off the bus.")
    klog(h, end + 5_000, "NVRM: GPU %s: GPU has fallen off the bus." % bad.gpu)
    for sw, bus, link in ((0, "84", 51), (2, "86", 18), (3, "87", 40)):
        t = end + 11 * SEC + sw * 700_000
        klog(h, t, "nvidia-nvswitch%d: SXid (PCI:0000:%s:00.0): 20034, Fatal, Link %d LTSSM Fault Up" % (sw, bus, link))
        klog(h, t + 90_000, "nvidia-nvswitch%d: SXid (PCI:0000:%s:00.0): 20034, Severity 1 Engine instance %d Sub-engine instance 00" % (sw, bus, link))
    xid(h, end + 25 * SEC, bad, 119, "Timeout after 6s of waiting for RPC response from GPU5 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20802702 0x58).",
        pid=s[5].pid - 9000, name="dcgm-exporter")
    for r in s.ranks:
        if r is not bad:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 30_000_000, 4_811, numel_in=8388608, first=r.rank == 0)
    put_logs(box, logs)
    box.put("kernel/dmesg.log", sc.kernel_log(s, h, end + 11 * MIN, "mono"))
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"gpu": bad.gpu}],
               evidence=["): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."],
               must_not=["nvswitch_error", "gpu_gsp_timeout", "pcie_error"])


@case("gpu_fell_off_bus/no-kernel-log", "degraded", """The kernel logs were not collected: only nvidia-smi says that the GPU is lost, and the ranks time out.""")
def gpu_no_kernel(box):
    s = sc.Scene(["egret-11", "egret-12"], per_host=4, bus=sc.A100[:4], seed=33, start="2026-05-09 18:00:00", order=[2, 3, 0, 1])
    logs, end = quick(s, leader=60, others=4)
    bad = s[6]
    for r in s.ranks:
        if r is not bad:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 41_000_000, 733, numel_in=4194304, first=r.rank == 3)
    put_logs(box, logs)
    box.put("gpu/egret-11.xml", sc.smi(s.hosts[0], end + 13 * MIN))
    box.put("gpu/egret-12.xml", sc.smi(s.hosts[1], end + 13 * MIN, **{"g%d" % bad.index: dict(lost="GPU is lost")}))
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"gpu": bad.gpu, "host": "egret-12", "rank": 6}], must_not=["rank_lost", "gpu_ecc_uncorrectable"])


# ---------------------------------------------------------------- pcie_error

def aer(h, ns, gpu, port, bits="[18] MalfTLP                (First)"):
    klog(h, ns, "pcieport %s: AER: Uncorrectable (Fatal) error message received from %s" % (port, gpu), 3)
    klog(h, ns + 20_000, "nvidia %s: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, (Receiver ID)" % gpu, 3)
    klog(h, ns + 30_000, "nvidia %s:   device [10de:2330] error status/mask=00040000/00400000" % gpu, 3)
    klog(h, ns + 40_000, "nvidia %s:    %s" % (gpu, bits), 3)


@case("pcie_error/aer-then-xid79", "positive", """A fatal PCIe error on the path, then Xid 79: the GPU is gone because its link broke. The port's
address (9a:01.0) is not the GPU's.""")
def pcie_aer(box):
    s = sc.Scene(["heron-03", "heron-04"], seed=41, start="2026-01-20 22:15:00")
    logs, end = quick(s, leader=120, others=4)
    bad, h = s[12], s.hosts[1]
    aer(h, end - 2 * SEC, bad.gpu, "0000:9a:01.0")
    klog(h, end - SEC, "pcieport 0000:9a:01.0: pciehp: Slot(41): Link Down", 6)
    xid(h, end, bad, 79, "GPU has fallen off the bus.")
    klog(h, end + 4_000, "NVRM: GPU %s: GPU has fallen off the bus." % bad.gpu)
    for r in s.ranks:
        if r is not bad:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 23_000_000, 9_020, numel_in=1048576, first=r.rank == 1)
    box.put("slurm-48213.out", merged(s, logs, "srun"))
    for host in s.hosts:
        box.put("%s/dmesg.iso" % host.name, sc.kernel_log(s, host, end + 11 * MIN, "iso"))
    box.expect("root_cause", "pcie_error", culprits=[{"host": "heron-04", "gpu": bad.gpu}],
               evidence=["PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer"], must_not=["gpu_fell_off_bus", "gpu_thermal"])


@case("pcie_error/kernel-log-cut", "degraded", """The kernel log ends in the middle of a line right behind the PCIe error; nothing says what became of the GPU.""")
def pcie_cut(box):
    s = sc.Scene(["heron-09"], seed=43, start="2026-01-22 06:40:00")
    logs, end = quick(s, leader=60, others=6)
    bad, h = s[2], s.hosts[0]
    aer(h, end - SEC, bad.gpu, "0000:4a:01.0")
    klog(h, end, "pcieport 0000:4a:01.0: AER: broadcast error_detected message", 3)
    for r in s.ranks:
        if r is not bad:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 23_000_000, 612, numel_in=1048576, first=r.rank == 0)
    put_logs(box, logs, prefix="rank", scene=s)
    text = "\n".join(sc.kernel_log(s, h, end, "decode", quiet=30))
    box.put("dmesg-heron-09.txt", text[:-21])
    box.expect("root_cause", "pcie_error", culprits=[{"gpu": bad.gpu}],
               evidence=["PCIe Bus Error: severity=Uncorrectable (Fatal)"], must_not=["gpu_fell_off_bus", "gpu_thermal"])


# ---------------------------------------------------------------- gpu_thermal

def thermal(box, cut=False):
    s = sc.Scene(["merlin-02"], seed=51 + cut, start="2026-07-02 13:00:00")
    logs, end = quick(s, leader=130 if not cut else 50, others=5)
    bad, h = s[1], s.hosts[0]
    xid(h, end, bad, 79, "GPU has fallen off the bus.")
    klog(h, end + 4_000, "NVRM: GPU %s: GPU has fallen off the bus." % bad.gpu)
    for r in s.ranks:
        if r is not bad:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 19_000_000, 1_480, numel_in=262144, first=r.rank == 7)
    put_logs(box, logs)
    box.put("kernel/dmesg.log", sc.kernel_log(s, h, end + 11 * MIN, "ctime"))
    hot = dict(temp="90 C", mem_temp="97 C", hw_slow="Active", hw_thermal="Active", sw_thermal="Active", sm="990 MHz")
    xml = sc.smi(h, end - 95 * SEC, g1=hot)
    if cut:
        xml = xml[:xml.index('<gpu id="0000' + h.bus[2].upper()) + 900]
    box.put("gpu/nvidia-smi-before.xml", xml)
    box.expect("root_cause", "gpu_thermal", culprits=[{"gpu": bad.gpu}], must_not=["gpu_fell_off_bus", "pcie_error"],
               **({"observations": ["input.damaged"]} if cut else {"evidence": ["clocks_event_reason_hw_thermal_slowdown>Active"]}))


@case("gpu_thermal/heat-then-xid79", "positive", """Ninety-five seconds before Xid 79 the same GPU was throttled by hardware at 97 degrees of memory temperature.""")
def thermal_full(box):
    thermal(box)


@case("gpu_thermal/cut-telemetry", "degraded", """As heat-then-xid79, but nvidia-smi died while writing its document.""")
def thermal_cut(box):
    thermal(box, cut=True)


# ---------------------------------------------------------------- gpu_ecc_uncorrectable, row remapping

ECC = "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered"


@case("gpu_ecc_uncorrectable/xid94-contained", "positive", """Rank 9's process dies of an uncorrectable memory error that the driver contained; a row is
remapped after it, and the other ranks lose their peer.""")
def ecc(box):
    s = sc.Scene(["wren-21", "wren-22"], seed=61, start="2026-04-11 03:30:00")
    logs, end = quick(s, leader=120, others=4)
    bad = s[9]
    h = bad.host
    xid(h, end, bad, 94, "Contained: SM (0x1). RST: No, D-RST: No", pid=bad.pid, name="pt_main_thread")
    xid(h, end + 60_000_000, bad, 63, "Row Remapper: New row (0x00000000017e3ac0) marked for remapping, reset gpu to activate.")
    sc.died_with(logs[9], bad, end + 2 * SEC, sc.TB_FORWARD, ECC)
    logs[9].say(end + 2 * SEC, "[rank9]: CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.",
                "[rank9]: For debugging consider passing CUDA_LAUNCH_BLOCKING=1", "[rank9]: Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.")
    for r in s.ranks:
        if r is not bad:
            remote_error(logs[r.rank], r, end + 5 * SEC + r.rank * 11_000_000, bad.host.ip)
    put_logs(box, logs)
    launchers(box, s, end + 6 * SEC, bad, 1)
    for host in s.hosts:
        box.put("kernel/kmsg-%s.log" % host.name, sc.kernel_log(s, host, end + 2 * MIN, "kmsg"))
    box.put("gpu/wren-22.xml", sc.smi(h, end + 5 * MIN, g1=dict(volatile_du="1", aggregate_du="1", remap_pending="Yes", reset="Yes")))
    box.expect("root_cause", "gpu_ecc_uncorrectable", culprits=[{"rank": 9, "host": "wren-22", "gpu": bad.gpu}],
               evidence=["): 94, pid=%d, name=pt_main_thread, Contained: SM (0x1)" % bad.pid],
               must_not=["device_side_assert", "cuda_illegal_memory_access", "python_exception_one_rank", "gpu_row_remap_pending"])


@case("gpu_ecc_uncorrectable/rank-log-only", "degraded", "Only the log of the rank that died was kept.")
def ecc_log(box):
    s = sc.Scene(["wren-05"], seed=63, start="2026-04-13 11:00:00")
    logs, end = quick(s, leader=40, others=40)
    sc.died_with(logs[5], s[5], end, sc.TB_FORWARD, ECC)
    box.put("rank_5.log", logs[5])
    box.expect("root_cause", "gpu_ecc_uncorrectable", culprits=[{"rank": 5}], evidence=["CUDA error: uncorrectable ECC error encountered"],
               must_not=["python_exception_one_rank", "python_exception"])


@case("python_exception_one_rank/ecc-on-a-foreign-gpu", "adjacent", """Shares the Xid 94 line with gpu_ecc_uncorrectable, but that GPU belongs to another job on the host;
this job's rank 2 died of a bug.""")
def ecc_foreign(box):
    s = sc.Scene(["finch-08"], per_host=4, seed=65, start="2026-04-15 08:00:00")
    logs, end = quick(s, leader=120, others=5)
    xid(s.hosts[0], end - 40 * SEC, s.hosts[0].bus[6], 94, "Contained: SM (0x1). RST: No, D-RST: No", pid=88_412, name="python")
    sc.died_with(logs[2], s[2], end, sc.TB_STEP + [(sc.APP + "atlas/engine/metrics.py", 77, "update", "self.sums[name] += value")], "KeyError: 'aux_loss_7'")
    for r in s.ranks:
        if r.rank != 2:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 40_000_000, 3_350, first=r.rank == 0)
    put_logs(box, logs)
    box.put("kernel/finch-08.log", sc.kernel_log(s, s.hosts[0], end + 11 * MIN, "journal"))
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 2}], evidence=["KeyError: 'aux_loss_7'"], must_not=["gpu_ecc_uncorrectable"], with_less=["gpu_ecc_uncorrectable"])


@case("gpu_row_remap_pending/healthy-run", "positive", """A GPU waits for a row remap, the run finished: nothing failed, and the GPU should be reset before the next one.""")
def remap_pending(box):
    s = sc.Scene(["stork-14"], seed=71, start="2026-06-01 00:10:00")
    logs, end = quick(s, leader=110, others=4)
    h = s.hosts[0]
    xid(h, s.start + 10 * MIN, s[3], 63, "Row Remapper: New row (0x0000000000ff1240) marked for remapping, reset gpu to activate.")
    for r in s.ranks:
        logs[r.rank].say(end, "%s INFO atlas.launch: finished after 20000 steps, exit 0" % sc.stamp(end, "python"))
    put_logs(box, logs)
    box.put("kernel/dmesg.log", sc.kernel_log(s, h, end, "raw"))
    box.put("gpu/nvidia-smi.xml", sc.smi(h, end + MIN, g3=dict(remap_pending="Yes")))
    box.expect("no_failure", "gpu_row_remap_pending", "precursor", [{"gpu": s[3].gpu}], must_not=["gpu_ecc_uncorrectable", "gpu_row_remap_failure"])


@case("gpu_row_remap_pending/telemetry-only", "degraded", "nvidia-smi is all there is.")
def remap_pending_xml(box):
    s = sc.Scene(["stork-15"], seed=72)
    box.put("nvidia-smi.xml", sc.smi(s.hosts[0], s.start, g6=dict(remap_pending="Yes", remap_unc="1", aggregate_du="1")))
    box.expect("no_failure", "gpu_row_remap_pending", "precursor", [{"gpu": s[6].gpu}], must_not=["gpu_row_remap_failure"])


@case("gpu_row_remap_failure/xid64", "adjacent", "Looks like gpu_row_remap_pending, but the remap failed: this GPU must go.")
def remap_failure(box):
    s = sc.Scene(["stork-16"], seed=73, start="2026-06-03 19:00:00")
    h = s.hosts[0]
    t = s.start + 50 * MIN
    xid(h, t - 20 * MIN, s[0], 63, "Row Remapper: New row (0x0000000000ab90c0) marked for remapping, reset gpu to activate.")
    xid(h, t, s[0], 64, "Row Remapper: Failed to record new row (0x0000000000ab90c4) for remapping.")
    box.put("kernel/stork-16.log", sc.kernel_log(s, h, t + 5 * MIN, "ctime"))
    box.put("gpu/stork-16.xml", sc.smi(h, t + 5 * MIN, g0=dict(remap_failure="Yes", remap_pending="Yes")))
    box.expect("root_cause", "gpu_row_remap_failure", culprits=[{"gpu": s[0].gpu}], evidence=["): 64, pid="], must_not=["gpu_row_remap_pending"])


# ---------------------------------------------------------------- gpu_gsp_timeout

def gsp_lines(h, ns, r, n, victim=("nvidia-smi", 771_204)):
    xid(h, ns, r, 119, "Timeout after 6s of waiting for RPC response from GPU%d GSP! Expected function 76 (GSP_RM_CONTROL) (0x20803032 0x58c)." % n,
        pid=victim[1], name=victim[0])
    klog(h, ns + 40_000, "NVRM: GPU%d GSP RPC buffer contains function 76 (GSP_RM_CONTROL) and data 0x0000000020803032 0x000000000000058c." % n)
    klog(h, ns + 50_000, "NVRM: GPU%d RPC history (CPU -> GSP):" % n)
    klog(h, ns + 55_000, "NVRM:     entry function                   data0              data1              ts_start           ts_end             duration actively_polling")
    for i in range(6):
        klog(h, ns + 60_000 + i * 4_000, "NVRM:     %2d    76   GSP_RM_CONTROL        0x00000000208030%02x 0x0000000000000020 0x000641%010x 0x000641%010x    %dus"
             % (-i, 0x32 + i, 0xa1b2c3d400 - i * 4096, 0xa1b2c3d6ff - i * 4096, 380 + i * 7))
    klog(h, ns + 90_000, "NVRM: GPU%d RPC event history (CPU <- GSP):" % n)


@case("gpu_gsp_timeout/xid119", "positive", """The firmware of one GPU stopped answering. The process in the Xid line (nvidia-smi) is a victim that called the
driver; so are the tasks that the kernel reports as hung.""")
def gsp(box):
    s = sc.Scene(["ibis-01", "ibis-02"], seed=81, start="2026-08-18 14:00:00")
    logs, end = quick(s, leader=100, others=4)
    bad = s[4]
    h = bad.host
    gsp_lines(h, end, bad, 4)
    gsp_lines(h, end + 12 * SEC, bad, 4, ("pt_main_thread", bad.pid))
    klog(h, end + 30 * SEC, "NVRM: Rate limiting GSP RPC error prints for GPU at %s (printing 1 of every 30).  The GPU likely needs to be reset." % bad.xid)
    klog(h, end + 125 * SEC, "INFO: task nvidia-smi:771204 blocked for more than 122 seconds.", 3)
    klog(h, end + 125 * SEC + 1000, "      Tainted: P           OE      6.8.0-52-generic #53-Ubuntu", 3)
    for i, f in enumerate(("__schedule+0x27c/0x6b0", "schedule+0x33/0x110", "schedule_timeout+0x15e/0x170", "os_acquire_rwlock_write+0x35/0x60 [nvidia]",
                           "_nv045121rm+0x10/0x40 [nvidia]", "nvidia_unlocked_ioctl+0x1f/0x30 [nvidia]")):
        klog(h, end + 125 * SEC + 2000 + i * 900, " %s" % f, 6)
    for r in s.ranks:
        if r is not bad:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 17_000_000, 20_118, "_REDUCE_SCATTER_BASE", 1048576, 131072, first=r.rank == 15)
    put_logs(box, logs)
    for host in s.hosts:
        box.put("kernel/dmesg-%s.log" % host.name, sc.kernel_log(s, host, end + 11 * MIN, "ctime"))
    box.expect("root_cause", "gpu_gsp_timeout", culprits=[{"host": "ibis-01", "gpu": bad.gpu}],
               evidence=["): 119, pid=771204, name=nvidia-smi, Timeout after 6s of waiting for RPC response from GPU4 GSP!"],
               must_not=["gpu_fell_off_bus", "storage_hang", "process_killed"])


@case("gpu_gsp_timeout/kernel-log-cut", "degraded", "Only the kernel log, cut inside the table behind the Xid line.")
def gsp_cut(box):
    s = sc.Scene(["ibis-17"], seed=83, start="2026-08-20 02:00:00")
    h = s.hosts[0]
    t = s.start + 47 * MIN
    gsp_lines(h, t, s[6], 6, ("dcgmi", 9_114))
    text = "\n".join(sc.kernel_log(s, h, t, "kmsg", quiet=25))
    box.put("kmsg.log", text[:text.index("RPC history") + 390])
    box.expect("root_cause", "gpu_gsp_timeout", culprits=[{"gpu": s[6].gpu}], evidence=["): 119, pid=9114, name=dcgmi"], must_not=["gpu_fell_off_bus"])


# ---------------------------------------------------------------- NVLink and NVSwitch

NVLINK = "RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution"


@case("nvlink_error/xid74-mirrored", "positive", """One NVLink between two GPUs of a host fails: both ends report Xid 74, and the rank that used it dies. One link, not two GPUs.""")
def nvlink(box):
    s = sc.Scene(["crane-31", "crane-32"], per_host=4, bus=sc.A100[:4], seed=91, start="2026-03-29 10:00:00")
    logs, end = quick(s, leader=130, others=4)
    h = s.hosts[1]
    xid(h, end, s[5], 74, "NVLink: fatal error detected on link 7(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)", pid=s[5].pid, name="python")
    xid(h, end + 3_000_000, s[7], 74, "NVLink: fatal error detected on link 2(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)", pid=s[7].pid, name="python")
    sc.died_with(logs[5], s[5], end + SEC, sc.TB_FORWARD, NVLINK)
    for r in s.ranks:
        if r.rank != 5:
            remote_error(logs[r.rank], r, end + 4 * SEC + r.rank * 9_000_000, h.ip)
    put_logs(box, logs, prefix="rank", scene=s)
    launchers(box, s, end + 5 * SEC, s[5], 1)
    for host in s.hosts:
        box.put("kernel/%s.log" % host.name, sc.kernel_log(s, host, end + 3 * MIN, "syslog"))
    box.expect("root_cause", "nvlink_error", culprits=[{"host": "crane-32"}], evidence=["): 74, pid=%d, name=python, NVLink: fatal error detected on link 7" % s[5].pid],
               must_not=["nvswitch_error", "python_exception_one_rank", "comm_error"])


@case("nvlink_error/rank-log-only", "degraded", "Only the log of the rank that died.")
def nvlink_log(box):
    s = sc.Scene(["crane-05"], seed=92, start="2026-03-30 10:00:00")
    logs, end = quick(s, leader=40, others=30)
    sc.died_with(logs[3], s[3], end, sc.TB_FORWARD, NVLINK)
    box.put("rank3.log", logs[3])
    box.expect("root_cause", "nvlink_error", culprits=[{"rank": 3}], evidence=[NVLINK], must_not=["python_exception_one_rank", "python_exception"])


RLW = "RLW_RXPIPE Nonfatal XC0 i0 Link %d (0x0409a0c2 0x00000008 0x00000001 0x00000000 0x00100000 0x00000004)"


@case("nvlink_error/channels-torn-down", "positive", """An NVLink event that its own line calls not fatal; yet the driver ends the channels of two processes for it, and with them the run.""")
def nvlink5_torn(box):
    s = sc.Scene(["crane-51"], per_host=4, bus=sc.H100[:4], seed=93, start="2026-03-31 10:00:00")
    logs, end = quick(s, leader=200, others=30)
    h = s.hosts[0]
    xid(h, end, s[1], 145, RLW % 11)
    for i, r in enumerate((s[1], s[2])):
        xid(h, end + (5 + i) * 1_000_000, r, 45, "Ch 0000000%d caused by previous Xid 145" % (8 + i), pid=r.pid, name="python")
    sc.died_with(logs[1], s[1], end + SEC, sc.TB_FORWARD, NVLINK)
    for r in (s[0], s[2], s[3]):
        remote_error(logs[r.rank], r, end + 4 * SEC + r.rank * 9_000_000, h.ip)
    put_logs(box, logs)
    box.put("dmesg.log", sc.kernel_log(s, h, end + 3 * MIN, "mono", quiet=10))
    box.expect("root_cause", "nvlink_error", evidence=["caused by previous Xid 145"], must_not=["cuda_illegal_memory_access", "python_exception_one_rank"])


@case("nvlink_error/channels-only", "degraded", "Four lines of the kernel log: channels of two GPUs ended for an NVLink event that is not in it.")
def nvlink5_torn_cut(box):
    box.put("dmesg.txt", ["kernel: NVRM: Xid (PCI:0000:1b:00): 45, pid=66120, name=python3, Ch 0000000%d caused by previous Xid 149" % i for i in (1, 2)] +
                         ["kernel: NVRM: Xid (PCI:0000:2c:00): 45, pid=66121, name=python3, Ch 0000000%d caused by previous Xid 145" % i for i in (1, 2)])
    box.expect("root_cause", "nvlink_error", evidence=["caused by previous Xid 149"], must_not=["cuda_illegal_memory_access"])


@case("none/nvlink5-privilege-interrupt", "adjacent", """Shares the code 137 with cuda_illegal_memory_access, but the line is the link unit's own report; the other says that it is not fatal, and the run goes on.""")
def nvlink5_interrupt(box):
    s = sc.Scene(["crane-52"], per_host=4, bus=sc.H100[:4], seed=94, start="2026-04-01 10:00:00")
    logs, end = quick(s, leader=210, others=30)
    xid(s.hosts[0], end - 20 * MIN, s[1], 145, RLW % 11)
    klog(s.hosts[0], end - 20 * MIN + 1_000_000, "NVRM: Xid (%s): 137, RLW_RXPIPE interrupt hit on link 11 on GPU1: PRIV Error" % s[1].xid)
    put_logs(box, logs)
    box.put("dmesg.log", sc.kernel_log(s, s.hosts[0], end + 3 * MIN, "mono", quiet=10))
    box.expect("no_failure", "nvlink_nonfatal", "precursor", must_not=["cuda_illegal_memory_access", "nvlink_error"])


def fm_noise(ns, n=60):
    out = []
    for i in range(n):
        t = ns + i * 37 * SEC
        h = "%016x" % (0x5A17C0DE00000000 + i * 0x9E3779B1)
        out.append((t, "[%s] [INFO] [tid 2207] Received an inband message:  Message header details: magic Id:adbc request Id:%s status:0 type:%d length:%d"
                    % (sc.stamp(t, "fm"), h, 2 + 2 * (i % 2), 56 - 42 * (i % 2))))
        out.append((t + 1, "[%s] [INFO] [tid 2211] multicast group %d is %s." % (sc.stamp(t, "fm"), i % 4, "freed" if i % 2 else "allocated")))
    return out


def nvswitch(box, kernel):
    s = sc.Scene(["condor-03"], seed=95 + kernel, start="2026-09-05 21:00:00")
    logs, end = quick(s, leader=60, others=4)
    h = s.hosts[0]
    klog(h, end, "nvidia-nvswitch2: SXid (PCI:0000:86:00.0): 24007, Fatal, Link 33 sourcetrack TCEN0 crubmstore double bit error", 3)
    klog(h, end + 60_000, "nvidia-nvswitch2: SXid (PCI:0000:86:00.0): 24007, Severity 1 Engine instance 08 Sub-engine instance 01", 3)
    klog(h, end + 110_000, "nvidia-nvswitch2: SXid (PCI:0000:86:00.0): 24007, Data {0x00000008, 0x00000008, 0x00000000, 0x00000008, 0x80000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000}", 3)
    for r in s.ranks:
        sc.died_with(logs[r.rank], r, end + 2 * SEC + r.rank * 8_000_000, sc.TB_FORWARD, NVLINK)
    put_logs(box, logs)
    fm = fm_noise(end - 40 * MIN) + [(end + 100_000_000, "[%s] [ERROR] [tid 2203] detected NVSwitch fatal error 24007 on fid 0 on NVSwitch pci bus id 00000000:86:00.0 "
                                      "physical id 2 port 33" % sc.stamp(end, "fm"))]
    box.put("fabricmanager.log", [x for _, x in sorted(fm)])
    if kernel:
        box.put("kernel/dmesg.log", sc.kernel_log(s, h, end + 3 * MIN, "ctime"))
    box.expect("root_cause", "nvswitch_error", evidence=["detected NVSwitch fatal error 24007"] if not kernel else ["24007, Fatal, Link 33"],
               culprits=[{"host": "condor-03"}] if kernel else [], must_not=["nvlink_error", "gpu_fell_off_bus", "python_exception"])


@case("nvswitch_error/fatal-sxid", "positive", "A switch reports a fatal error and every GPU of the host loses its links in the same second.")
def nvswitch_full(box):
    nvswitch(box, True)


@case("nvswitch_error/fabric-manager-log-only", "degraded", "No kernel log: the fabric manager's log and the ranks are left.")
def nvswitch_fm(box):
    nvswitch(box, False)


def error802(box, journal):
    s = sc.Scene(["osprey-01", "osprey-02"], seed=97 + journal, start="2026-10-10 07:00:00")
    logs = {}
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        if r.host is s.hosts[1]:
            t = s.start + 9 * SEC + r.local * 20_000_000
            sc.died_with(log, r, t, sc.TB_SETUP + [("/opt/venv/lib/python3.12/site-packages/torch/cuda/__init__.py", 372, "_lazy_init", "torch._C._cuda_init()")],
                         "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have "
                         "already set an error? Error 802: system not yet initialized")
    for r in s.ranks:
        box.put("%s/rank_%d.log" % (r.host.name, r.rank), logs[r.rank])
    box.put("gpu/osprey-02.xml", sc.smi(s.hosts[1], s.start + 5 * MIN, **{"g%d" % i: dict(state="In Progress", status="N/A") for i in range(8)}))
    if journal:
        t = s.hosts[1].boot_ns + 61 * SEC
        rows = [(t, "nv-fabricmanager[1702]: Connected to 1 node."), (t + SEC, "nv-fabricmanager[1702]: fabric manager NVIDIA GPU driver interface version 570.86.10 don't "
                "match with driver version 570.86.15. Please update with matching NVIDIA driver package."),
                (t + 2 * SEC, "systemd[1]: nvidia-fabricmanager.service: Main process exited, code=exited, status=1/FAILURE"),
                (t + 2 * SEC, "systemd[1]: nvidia-fabricmanager.service: Failed with result 'exit-code'."),
                (t + 2 * SEC, "systemd[1]: Failed to start nvidia-fabricmanager.service - NVIDIA fabric manager service.")]
        rows += [(t - 55 * SEC + i * SEC // 3, "systemd[1]: Started unit%03d.service - housekeeping task %d." % (i, i)) for i in range(160)]
        box.put("journal-osprey-02.txt", ["%s osprey-02 %s" % (sc.stamp(ns, "syslog"), x) for ns, x in sorted(rows)])
    box.expect("root_cause", "fabric_manager_down", culprits=[{"host": "osprey-02"}], evidence=["Error 802: system not yet initialized"],
               must_not=["python_exception", "config_error", "nvlink_domain_degraded"])


@case("fabric_manager_down/version-mismatch", "positive", "After a driver update the fabric manager refuses to start: CUDA error 802 on every rank of that host.")
def fm_down(box):
    error802(box, True)


@case("fabric_manager_down/no-journal", "degraded", "The journal that names the version mismatch was not collected.")
def fm_down_cut(box):
    error802(box, False)


# ---------------------------------------------------------------- NVLink SHARP that is refused

INIT_CUDA = "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:93, unhandled cuda error " \
    "(run with NCCL_DEBUG=INFO for details), NCCL version 2.27.3"


def nvls_refused(box, seed, error, fabric_manager, text="200 lines"):
    """Every rank of one host fails while NCCL sets up NVLink SHARP; `fabric_manager`: lines of its journal, or None."""
    s = sc.Scene(["pipit-01", "pipit-02"], seed=seed, start="2026-10-02 07:00:00")
    for r in s.ranks:
        log = Log()
        sc.startup(s, log, r, s.start)
        t = s.start + 20 * SEC
        sc.nccl_init(s, log, r, t, brief=r.local != 0)
        if r.host is s.hosts[1]:
            log.say(t + SEC, sc.nccl_warn(r, "transport/nvls.cc:254", error), sc.nccl(r, "transport/nvls.cc:409 -> 1", r.tid))
            sc.died_with(log, r, t + SEC + r.local * 20_000_000, sc.TB_INIT, INIT_CUDA)
            log.say(t + SEC + r.local * 20_000_000, "[rank%d]: ncclUnhandledCudaError: Call to CUDA function failed." % r.rank)
        else:
            remote_error(log, r, t + 4 * SEC + r.rank * 9_000_000, s.hosts[1].ip)
        box.put("logs/rank_%d.log" % r.rank, log)
    if fabric_manager is not None:
        t = s.start - 40 * MIN
        rows = fm_noise(t) + [(t + 50 * MIN, "[%s] %s" % (sc.stamp(t + 50 * MIN, "fm"), x)) for x in fabric_manager]
        box.put("pipit-02/fabricmanager.log", [x for _, x in sorted(rows)])
    return s


PRESENT_STATE = "Cuda failure 401 'the operation cannot be performed in the present state'"


@case("fabric_manager_down/nvls-401", "positive", """NVLink SHARP is refused on one host; its fabric manager reports that its version is not the driver's.""")
def nvls_401(box):
    nvls_refused(box, 701, PRESENT_STATE, ["[ERROR] [tid 2203] fabric manager NVIDIA GPU driver interface version 570.86.10 don't match with driver version 570.86.15. "
                                           "Please update with matching NVIDIA driver package."])
    box.expect("root_cause", "fabric_manager_down", culprits=[{"host": "pipit-02"}], evidence=[PRESENT_STATE], must_not=["nvls_resource_exhausted", "cuda_error", "python_exception"])


@case("nvls_resource_exhausted/nvls-out-of-memory", "adjacent", "The twin of fabric_manager_down/nvls-401: the same call fails for want of multicast memory, and the fabric manager runs.")
def nvls_oom(box):
    nvls_refused(box, 701, "Cuda failure 2 'out of memory'", ["[INFO] [tid 2203] fabric manager is running"])
    box.expect("root_cause", "nvls_resource_exhausted", culprits=[{"host": "pipit-02"}], evidence=["nvls.cc:254 NCCL WARN Cuda failure 2 'out of memory'"],
               must_not=["cuda_oom", "fabric_manager_down", "python_exception"])


@case("nvls_setup_refused/no-fabric-manager-log", "degraded", "As fabric_manager_down/nvls-401 without the fabric manager's log: open, and its state is the first thing to ask for.")
def nvls_open(box):
    nvls_refused(box, 701, PRESENT_STATE, None)
    box.expect("unattributed", "nvls_setup_refused", evidence=[PRESENT_STATE], must_not=["nvls_resource_exhausted", "cuda_oom", "fabric_manager_down"])


# ---------------------------------------------------------------- a container without its devices

def no_nvml(box, seed, host_text, kernel):
    s = sc.Scene(["petrel-04"], per_host=4, bus=sc.A100[:4], seed=seed, start="2026-09-20 05:00:00")
    logs, end = quick(s, leader=150, others=6)
    for r in s.ranks:
        sc.died_with(logs[r.rank], r, end + r.rank * 70_000_000, sc.TB_STEP, "pynvml.NVMLError_Unknown: Unknown Error")
    put_logs(box, logs)
    box.put("container.txt", ["root@7c51d0e2ab44:/workspace# nvidia-smi", "Failed to initialize NVML: Unknown Error"])
    if host_text:
        box.put("petrel-04/host.txt", host_text(s, end))
    if kernel:
        kernel(s, end)
        box.put("petrel-04/dmesg.log", sc.kernel_log(s, s.hosts[0], end + 2 * MIN, "ctime"))
    return s


def reloaded(s, end):
    t = end - 3 * SEC
    return ["%s petrel-04 systemd[1]: %s" % (sc.stamp(t, "syslog"), x) for x in ("Starting Daily apt upgrade and clean activities...", "Reloading.")] + \
        ["petrel-04 $ nvidia-smi -L"] + ["GPU %d: NVIDIA A100-SXM4-80GB (UUID: %s)" % (i, u) for i, u in enumerate(s.hosts[0].uuids)]


@case("container_runtime_error/devices-lost", "positive", "systemd reads its units again, and the running container loses /dev/nvidia*; the host still lists all four GPUs.")
def devices_lost(box):
    no_nvml(box, 711, reloaded, lambda s, end: None)
    box.expect("root_cause", "container_runtime_error", evidence=["Failed to initialize NVML: Unknown Error"], must_not=["gpu_missing", "gpu_fell_off_bus", "python_exception"])


def lost_first(s, end):
    xid(s.hosts[0], end - 5 * SEC, s[2], 79, "GPU has fallen off the bus.")


@case("gpu_fell_off_bus/nvml-unknown-error", "adjacent", "The twin of container_runtime_error/devices-lost: nothing was reloaded, and the kernel saw a GPU leave the bus.")
def nvml_lost(box):
    s = no_nvml(box, 711, None, lost_first)
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"host": "petrel-04", "gpu": s[2].gpu}], evidence=["): 79, pid='<unknown>'"], must_not=["container_runtime_error", "gpu_missing"])


@case("gpu_access_refused/container-only", "degraded", "As container_runtime_error/devices-lost, with nothing from the host.")
def nvml_open(box):
    no_nvml(box, 711, None, None)
    box.expect("unattributed", "gpu_access_refused", evidence=["NVMLError_Unknown"], must_not=["container_runtime_error", "gpu_missing", "gpu_fell_off_bus"])


# ---------------------------------------------------------------- a lost GPU without an Xid

@case("gpu_fell_off_bus/wrapped-message", "positive", """The driver's message is wrapped over three lines and has no Xid; the probe that fails afterwards is its consequence.""")
def wrapped(box):
    s = sc.Scene(["knot-05"], seed=721, start="2026-08-02 09:00:00")
    logs, end = quick(s, leader=160, others=4)
    h, bad = s.hosts[0], s[3]
    for i, line in enumerate(("NVRM: The NVIDIA GPU %s" % bad.gpu, "NVRM: (PCI ID: 10de:2330) installed in this system has", "NVRM: fallen off the bus and is not responding to commands.")):
        klog(h, end + i * 1000, line)
    klog(h, end + 40_000, "nvidia %s: probe with driver nvidia failed with error -1" % bad.gpu)
    klog(h, end + 90_000, "NVRM: The NVIDIA probe routine failed for 1 device(s).")
    sc.died_with(logs[3], bad, end + SEC, sc.TB_STEP, "RuntimeError: No CUDA GPUs are available")
    put_logs(box, logs)
    box.put("knot-05/dmesg.log", sc.kernel_log(s, h, end + 2 * MIN, "ctime"))
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"host": "knot-05", "gpu": bad.gpu}], evidence=["fallen off the bus and is not responding to commands."],
               must_not=["gpu_missing", "python_exception_one_rank"])


@case("gpu_missing/probe-failed", "adjacent", "The twin of gpu_fell_off_bus/wrapped-message: the same three lines, but the GPU is one that this driver does not support.")
def unsupported(box):
    s = sc.Scene(["knot-05"], seed=721, start="2026-08-02 09:00:00")
    logs, end = quick(s, leader=160, others=4)
    h, bad = s.hosts[0], s[3]
    for i, line in enumerate(("NVRM: The NVIDIA GPU %s" % bad.gpu, "NVRM: (PCI ID: 10de:2330) installed in this system is not supported", "NVRM: by the NVIDIA 470.256.02 driver release.")):
        klog(h, end + i * 1000, line)
    klog(h, end + 40_000, "nvidia %s: probe with driver nvidia failed with error -1" % bad.gpu)
    klog(h, end + 90_000, "NVRM: The NVIDIA probe routine failed for 1 device(s).")
    sc.died_with(logs[3], bad, end + SEC, sc.TB_STEP, "RuntimeError: No CUDA GPUs are available")
    put_logs(box, logs)
    box.put("knot-05/dmesg.log", sc.kernel_log(s, h, end + 2 * MIN, "ctime"))
    box.expect("root_cause", "gpu_missing", culprits=[{"host": "knot-05"}], evidence=["probe with driver nvidia failed with error -1"], must_not=["gpu_fell_off_bus"])


# ---------------------------------------------------------------- the path to a device

def path_errors(box, seed, lines, lost=True, form="ctime", leader=160):
    """`lines(s, h, bad, end)` writes what the path reported before rank 5's GPU was lost."""
    s = sc.Scene(["stilt-02"], seed=seed, start="2026-07-30 22:00:00")
    logs, end = quick(s, leader=leader, others=4)
    h, bad = s.hosts[0], s[5]
    lines(h, bad, end)
    if lost:
        xid(h, end, bad, 79, "GPU has fallen off the bus.")
    sc.died_with(logs[5], bad, end + SEC, sc.TB_STEP, "torch.AcceleratorError: CUDA error: unknown error")
    put_logs(box, logs)
    box.put("stilt-02/dmesg.log", sc.kernel_log(s, h, end + 2 * MIN, form))
    return s, bad


def corrected(n):
    def lines(h, bad, end):
        port = "0000:%02x:01.0" % (int(bad.gpu[5:7], 16) - 2)
        for i in range(n):
            t = end - (n - i) * 70 * SEC
            klog(h, t, "pcieport %s: AER: Corrected error message received from %s" % (port, port))
            klog(h, t + 1000, "pcieport %s: PCIe Bus Error: severity=Corrected, type=Data Link Layer, (Transmitter ID)" % port)
            klog(h, t + 2000, "pcieport %s:   device [10b5:c030] error status/mask=00001100/0000a000" % port)
    return lines


@case("pcie_error/corrected-before-loss", "positive", "The port above the GPU reports corrected errors five times in six minutes; then the GPU leaves the bus.")
def aer_repeated(box):
    _, bad = path_errors(box, 731, corrected(5))
    box.expect("root_cause", "pcie_error", culprits=[{"host": "stilt-02", "gpu": bad.gpu}], evidence=["PCIe Bus Error: severity=Corrected, type=Data Link Layer"], must_not=["gpu_fell_off_bus"])


@case("gpu_fell_off_bus/one-corrected-error", "adjacent", "The twin of pcie_error/corrected-before-loss: one corrected error is no pattern.")
def aer_once(box):
    _, bad = path_errors(box, 731, corrected(1))
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"host": "stilt-02", "gpu": bad.gpu}], evidence=["): 79, pid='<unknown>'"], must_not=["pcie_error"])


def fatal(h, bad, end):
    klog(h, end - 9_000, "nvidia %s: AER: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Receiver ID)" % bad.gpu, 3)
    klog(h, end - 8_000, "nvidia %s: AER: can't recover (no error_detected callback)" % bad.gpu, 3)
    klog(h, end - 7_000, "pcieport 0000:ba:01.0: AER: device recovery failed", 3)


@case("pcie_error/fatal-on-the-gpu", "positive", "A fatal PCIe error on the GPU itself, which its driver cannot recover from.")
def aer_fatal(box):
    _, bad = path_errors(box, 735, fatal)
    box.expect("root_cause", "pcie_error", evidence=["severity=Uncorrected (Fatal), type=Transaction Layer"], must_not=["gpu_fell_off_bus"])


@case("pcie_error/kernel-log-only", "degraded", "The kernel log alone, with monotonic times.")
def aer_cut(box):
    s = sc.Scene(["stilt-02"], seed=735, start="2026-07-30 22:00:00")
    fatal(s.hosts[0], s[5], s.start + MIN)
    box.put("dmesg.log", sc.kernel_log(s, s.hosts[0], s.start + 2 * MIN, "mono", quiet=20))
    box.expect("root_cause", "pcie_error", evidence=["can't recover (no error_detected callback)"], must_not=["gpu_fell_off_bus"])


# ---------------------------------------------------------------- stuck in the driver

def uvm_stack(h, ns, task, pid):
    klog(h, ns, "INFO: task %s:%d blocked for more than 122 seconds." % (task, pid), 3)
    klog(h, ns + 1000, "      Tainted: P           OE      6.8.0-52-generic #53-Ubuntu", 3)
    klog(h, ns + 2000, "task:%-16sstate:D stack:0     pid:%-6d tgid:%-6d ppid:%-6d flags:0x00000002" % (task, pid, pid, pid - 61), 6)
    for i, f in enumerate(("__schedule+0x27c/0x6b0", "schedule+0x33/0x110", "rwsem_down_read_slowpath+0x259/0x4f0", "uvm_va_space_mm_or_current_retain+0x3c/0xd0 [nvidia_uvm]",
                           "uvm_unlocked_ioctl_entry+0x6b/0x90 [nvidia_uvm]", "__x64_sys_ioctl+0xa0/0xf0")):
        klog(h, ns + 3000 + i * 500, " %s" % f, 6)


def stuck_driver(box, first):
    s = sc.Scene(["dotterel-09"], seed=741, start="2026-08-11 13:00:00")
    logs, end = quick(s, leader=150, others=5)
    h = s.hosts[0]
    if first:
        gsp_lines(h, end - 20 * SEC, s[1], 1)
    uvm_stack(h, end + 125 * SEC, "pt_main_thread", s[1].pid)
    for r in s.ranks:
        if r.rank != 1:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 20_000_000, 5_120, numel_in=4194304, first=r.rank == 0)
    put_logs(box, logs)
    box.put("dotterel-09/dmesg.log", sc.kernel_log(s, h, end + 11 * MIN, "ctime"))
    return s


@case("gpu_driver_stuck/uvm-ioctl", "positive", "Rank 1's process sits in state D inside an ioctl of the GPU driver; nothing says why. Everything else is its effect.")
def uvm(box):
    s = stuck_driver(box, False)
    box.expect("unattributed", "gpu_driver_stuck", evidence=["INFO: task pt_main_thread:%d blocked for more than 122 seconds." % s[1].pid], must_not=["storage_hang", "collective_timeout", "gpu_gsp_timeout"])


@case("gpu_gsp_timeout/uvm-ioctl", "adjacent", "The twin of gpu_driver_stuck/uvm-ioctl: the firmware stopped answering before.")
def uvm_gsp(box):
    s = stuck_driver(box, True)
    box.expect("root_cause", "gpu_gsp_timeout", culprits=[{"host": "dotterel-09", "gpu": s[1].gpu}], evidence=["Timeout after 6s of waiting for RPC response from GPU1 GSP!"], must_not=["storage_hang"])


# ---------------------------------------------------------------- Xids of the table

def one_xid(box, seed, code, text, name="python3", form="ctime", wait=True):
    """Rank 6's GPU reports one Xid; its peers time out."""
    s = sc.Scene(["dunnock-01", "dunnock-02"], per_host=4, bus=sc.A100[:4], seed=seed, start="2026-10-20 15:00:00")
    logs, end = quick(s, leader=140, others=6)
    bad = s[6]
    xid(bad.host, end, bad, code, text, pid=bad.pid, name=name)
    for r in s.ranks:
        if wait and r is not bad:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 20_000_000, 7_240, numel_in=4194304, first=r.rank == 0)
    put_logs(box, logs)
    for host in s.hosts:
        box.put("kernel/%s.log" % host.name, sc.kernel_log(s, host, end + 11 * MIN, form))
    return bad


@case("gpu_error_reported/context-switch-timeout", "positive", "The driver reports Xid 109 for one GPU: what ended the channel is known, why is not.")
def xid109(box):
    bad = one_xid(box, 791, 109, "Ch 00000010, errorString CTX SWITCH TIMEOUT, Info 0x2c015")
    box.expect("unattributed", "gpu_error_reported", culprits=[{"host": "dunnock-02", "gpu": bad.gpu}], evidence=["): 109, pid=%d" % bad.pid],
               must_not=["cuda_illegal_memory_access", "gpu_hardware_unspecified", "collective_timeout"])


@case("gpu_ecc_uncorrectable/cleanup-names-it", "adjacent", "The twin of gpu_error_reported/context-switch-timeout: the line of the clean-up (Xid 45) says which Xid came before it, a memory error.")
def xid45(box):
    bad = one_xid(box, 791, 45, "channel 0x00000010, caused by previous Xid 95")
    box.expect("root_cause", "gpu_ecc_uncorrectable", culprits=[{"host": "dunnock-02", "gpu": bad.gpu}], evidence=["caused by previous Xid 95"], must_not=["gpu_error_reported"])


@case("collective_timeout/unknown-xid", "adjacent", "The twin of gpu_error_reported/context-switch-timeout: a number that no table knows is shown as such, and blamed for nothing.")
def xid_unknown(box):
    one_xid(box, 791, 421, "Ch 00000010, errorString NEW ENGINE ERROR")
    box.expect("unattributed", "collective_timeout", observations=["gpu.xid_unknown"], must_not=["gpu_error_reported", "gpu_hardware_unspecified"])


@case("none/cleanup-of-an-ended-program", "benign", "Xid 45 while a program ends and two other messages of the driver: nothing failed.")
def xid45_benign(box):
    one_xid(box, 793, 45, "Ch 00000010", wait=False)
    box.expect("no_failure", None, must_not=["gpu_error_reported"], observations=["gpu.xid"])


def unknown_error(box, with_xid):
    s = sc.Scene(["linnet-06"], per_host=8, seed=795, start="2026-10-22 15:00:00")
    logs, end = quick(s, leader=160, others=6)
    bad = s[4]
    if with_xid:
        xid(bad.host, end, bad, 109, "Ch 00000010, errorString CTX SWITCH TIMEOUT, Info 0x4c015", pid=bad.pid, name="pt_main_thread")
    sc.died_with(logs[4], bad, end + SEC, sc.TB_FORWARD, "torch.AcceleratorError: CUDA error: unknown error")
    for r in s.ranks:
        if r is not bad:
            remote_error(logs[r.rank], r, end + 4 * SEC + r.rank * 9_000_000, bad.host.ip)
    put_logs(box, logs)
    box.put("kernel/linnet-06.log", sc.kernel_log(s, bad.host, end + MIN, "ctime"))


@case("gpu_hardware_unspecified/unknown-error-and-xid", "positive", "CUDA fails with 'unknown error' on one device, whose driver reports a context switch that timed out; no program is to blame.")
def unspecified(box):
    unknown_error(box, True)
    box.expect("root_cause", "gpu_hardware_unspecified", culprits=[{"rank": 4}], evidence=["CUDA error: unknown error"], must_not=["cuda_illegal_memory_access", "python_exception_one_rank"])


@case("cuda_error/unknown-error-alone", "adjacent", "The twin of gpu_hardware_unspecified/unknown-error-and-xid: the driver reports nothing, so it stays open whether program or device failed.")
def unspecified_open(box):
    unknown_error(box, False)
    box.expect("unattributed", "cuda_error", culprits=[{"rank": 4}], must_not=["gpu_hardware_unspecified", "cuda_illegal_memory_access"])
