"""Twins: one scene per family, told apart by the deciding evidence alone.

Every case of a family has the same hosts, ranks, times and last words; a table gives
each its own kernel or scheduler lines and the name that these must lead to.
"""
import scene as sc
from case import case
from cases_network import status12
from incident import put_logs, quick, remote_error
from scene import MIN, SEC, klog, xid


def register(family, table, text, maker):
    """A case for each row of `table`: pattern -> (what decides, the row's own data)."""
    for pattern, (why, row) in table.items():
        others = ", ".join("twin of %s/%s" % (p, family) for p in table if p != pattern)

        @case("%s/%s" % (pattern, family), "adjacent", "%s %s (%s)." % (text, why, others))
        def make(box, pattern=pattern, row=row):
            maker(box, pattern, row, [p for p in table if p != pattern])


# ---------------------------------------------------------------- one GPU, one CUDA error that says nothing

def gpu_scene(box, pattern, row, others):
    s = sc.Scene(["twite-01", "twite-02"], per_host=4, bus=sc.A100[:4], seed=901, start="2026-11-01 04:00:00")
    logs, end = quick(s, leader=100, others=5)
    bad = s[5]
    h = bad.host
    for dt, code, words in row:
        xid(h, end - dt * SEC, bad, code, words % {"pid": bad.pid}, pid=bad.pid, name="python3") if code else klog(h, end - dt * SEC, words % {"gpu": bad.gpu}, 3)
    sc.died_with(logs[5], bad, end, sc.TB_FORWARD, "torch.AcceleratorError: CUDA error: unspecified launch failure")
    for r in s.ranks:
        if r is not bad:
            remote_error(logs[r.rank], r, end + 4 * SEC + r.rank * 9_000_000, h.ip)
    put_logs(box, logs)
    for host in s.hosts:
        box.put("kernel/%s.log" % host.name, sc.kernel_log(s, host, end + MIN, "ctime"))
    open_ = pattern == "cuda_error"
    box.expect("unattributed" if open_ else "root_cause", pattern, must_not=others,
               culprits=[{"rank": 5}] if open_ else [{"host": "twite-02"}])


register("one-gpu-twins", {
    "cuda_error": ("the kernel log is silent", []),
    "gpu_fell_off_bus": ("Xid 79 before", [(2, 79, "GPU has fallen off the bus.")]),
    "gpu_ecc_uncorrectable": ("Xid 95 before", [(2, 95, "Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No")]),
    "gpu_gsp_timeout": ("Xid 119 before", [(2, 119, "Timeout after 6s of waiting for RPC response from GPU1 GSP! Expected function 76 (GSP_RM_CONTROL) (0x2080 0x4).")]),
    "gpu_pmu_failure": ("Xid 62 before", [(2, 62, "2a8e(6d98) 00000000 00000000")]),
    "cuda_illegal_memory_access": ("Xid 31 before", [(2, 31, "Ch 00000010, intr 00000000. MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_3 faulted @ 0x7f2a_00000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ")]),
    "pcie_error": ("a fatal PCIe error of the GPU before", [(2, 0, "nvidia %(gpu)s: AER: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Receiver ID)"),
                                                            (2, 0, "nvidia %(gpu)s: AER: can't recover (no error_detected callback)")]),
    "nvlink_error": ("Xid 74 before", [(2, 74, "NVLink: fatal error detected on link 7(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)")]),
}, "One rank dies of a launch failure; what decides:", gpu_scene)


# ---------------------------------------------------------------- two hosts, RDMA transfers that are not answered

def rdma_scene(box, pattern, row, others):
    s = sc.Scene(["brambling-01", "brambling-02"], per_host=4, bus=sc.A100[:4], seed=903, start="2026-11-02 04:00:00")
    logs, end = quick(s, leader=100, others=5)
    h = s.hosts[1]
    kernel, scheduler = row
    for dt, words in kernel:
        klog(h, end - dt * SEC, words, 3)
    for r in s.on(s.hosts[0]):
        status12(s, logs[r.rank], r, end + 20 * SEC + r.rank * 9_000_000, h.ip)
    put_logs(box, {r.rank: logs[r.rank] for r in s.on(s.hosts[0])})
    for host in s.hosts:
        box.put("kernel/%s.log" % host.name, sc.kernel_log(s, host, end + (MIN if host is not h or not kernel else 0), "syslog"))
    box.put("slurm-7120.err", ["srun: job 7120 queued and waiting for resources", "srun: job 7120 has been allocated resources"] + scheduler)
    open_ = pattern == "rdma_error"
    box.expect("unattributed" if open_ else "root_cause", pattern, must_not=others, culprits=[] if open_ else [{"host": "brambling-02"}])


register("rdma-twins", {
    "rdma_error": ("nothing else is said", ([], [])),
    "nic_link_flap": ("the peer's link went down before", ([(3, "mlx5_core 0000:5e:00.0 ens1f0np0: Link down")], [])),
    "nic_hardware": ("the peer's NIC reports a fatal firmware state before", ([(3, "mlx5_core 0000:5e:00.0: poll_health:834:(pid 0): device's health compromised - reached miss count")], [])),
    "pcie_error": ("a fatal PCIe error of the peer's NIC before", ([(3, "mlx5_core 0000:5e:00.0: AER: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Receiver ID)")], [])),
    "node_kernel_panic": ("the peer's kernel panicked before", ([(3, "Kernel panic - not syncing: Fatal exception in interrupt")], [])),
    "node_failure": ("the scheduler lost the peer's host", ([], ["srun: error: Node failure on brambling-02"])),
}, "All ranks of one host get no answer from the other (status 12); what decides:", rdma_scene)
