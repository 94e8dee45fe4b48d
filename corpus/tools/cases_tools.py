"""What tools say of GPUs and of NCCL: nvidia-smi's screens, dcgmi, amd-smi, rocm-smi, NCCL RAS; the journal as JSON."""
import scene as sc
import screens
from case import case
from incident import put_logs, quick
from scene import MIN, SEC


def timed_out(s, logs, end, culprit, seq):
    for r in s.ranks:
        if r is not culprit:
            sc.watchdog(s, logs[r.rank], r, end + 600 * SEC + r.rank * 41_000_000, seq, numel_in=4194304, first=r.rank == 1)


ECC_ERROR = "RuntimeError: CUDA error: uncorrectable ECC error encountered"


@case("gpu_fell_off_bus/nvidia-smi-table", "degraded", """The kernel logs were not collected; the table that `nvidia-smi` prints shows ERR! for
one GPU, and its rank is the one that everybody waits for.""")
def smi_table(box):
    s = sc.Scene(["egret-21", "egret-22"], per_host=4, bus=sc.A100[:4], seed=333, start="2026-05-19 18:00:00")
    logs, end = quick(s, leader=60, others=4)
    timed_out(s, logs, end, s[6], 733)
    put_logs(box, logs)
    box.put("gpu/nvidia-smi-egret-21.txt", screens.smi_table(s, s.hosts[0], end + 13 * MIN))
    box.put("gpu/nvidia-smi-egret-22.txt", screens.smi_table(s, s.hosts[1], end + 13 * MIN, lost=[s[6].index]))
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"gpu": s[6].gpu, "host": "egret-22", "rank": 6}], evidence=["ERR!  ERR! ERR!"],
               must_not=["rank_lost", "gpu_ecc_uncorrectable"], observations=["gpu.lost"])


@case("gpu_ecc_uncorrectable/nvidia-smi-screen", "degraded", """No kernel log: the exception of the rank that died, and `nvidia-smi -q` of its host, which counts
the errors of that GPU.""")
def smi_screen(box):
    s = sc.Scene(["wren-15"], seed=335, start="2026-04-23 11:00:00")
    logs, end = quick(s, leader=60, others=40)
    sc.died_with(logs[5], s[5], end, sc.TB_FORWARD, ECC_ERROR)
    put_logs(box, logs)
    box.put("gpu/nvidia-smi-q.txt", screens.smi_q(s, s.hosts[0], end + 4 * MIN, g5={"dram": 2, "pending": True}))
    box.expect("root_cause", "gpu_ecc_uncorrectable", culprits=[{"rank": 5, "gpu": s[5].gpu}],
               must_not=["gpu_row_remap_failure", "python_exception", "gpu_thermal"], observations=["gpu.ecc_uncorrectable", "gpu.row_remap_pending"])


@case("gpu_row_remap_failure/dcgm-diag", "degraded", """All there is: the diagnostic that the operator ran afterwards. Its sentence is broken over two
rows of the table.""")
def dcgm_diag(box):
    box.put("dcgmi-diag.txt", screens.dcgm_diag("GPU Memory", 5, ["GPU 5 had uncorrectable memory errors and row", "remapping failed."]))
    box.expect("root_cause", "gpu_row_remap_failure", culprits=[{"gpu": "5"}], evidence=["GPU 5 had uncorrectable memory errors and row"],
               must_not=["gpu_row_remap_pending"], observations=["gpu.row_remap_failed"])


@case("gpu_ecc_uncorrectable/dcgm-dmon", "degraded", """`dcgmi dmon` ran beside the job: the count of GPU 2 rises from 0 and Xid 94 appears. GPU 3 shows an Xid that
was there from the start, which says nothing about this run.""")
def dcgm_dmon(box):
    s = sc.Scene(["wren-17"], per_host=4, seed=337, start="2026-04-25 11:00:00")
    logs, end = quick(s, leader=60, others=40)
    sc.died_with(logs[2], s[2], end, sc.TB_FORWARD, ECC_ERROR)
    put_logs(box, logs)
    box.put("dcgm/dmon-wren-17.txt", screens.dcgm_dmon(4, 90, g2={70: (94, 1)}, g3={0: (43, 0)}))
    box.expect("root_cause", "gpu_ecc_uncorrectable", culprits=[{"rank": 2}], must_not=["gpu_error_reported", "python_exception"], observations=["gpu.ecc_uncorrectable"])


@case("rank_stalled/nccl-ras", "degraded", """No dumps. Everybody but rank 5 times out, and the status of NCCL's RAS threads, taken meanwhile, counts one
operation less for rank 5.""")
def ras_behind(box):
    s = sc.Scene(["dove-31", "dove-32"], seed=339, start="2026-03-22 20:00:00")
    logs, end = quick(s, minutes=38, leader=60)
    timed_out(s, logs, end, s[5], 6_650)
    put_logs(box, logs)
    box.put("nccl/ras.txt", screens.ras_text(s, "AllReduce", 6_650, behind=[s[5]]))
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 5}], must_not=["collective_desync", "rank_lost", "gpu_stalled"],
               observations=["nccl.behind", "coll.not_entered"])


@case("none/nccl-ras-in-flight", "benign", """Shares the RAS line with rank_stalled/nccl-ras: the status was taken from a healthy run, where one rank is
always a little behind.""")
def ras_healthy(box):
    s = sc.Scene(["dove-33", "dove-34"], seed=341, start="2026-03-23 20:00:00")
    logs, end = quick(s, minutes=20, leader=220)
    put_logs(box, logs)
    box.put("nccl/ras.txt", screens.ras_text(s, "AllReduce", 6_650, behind=[s[5]]))
    box.put("nccl/ras.json", screens.ras_json(s, end, "AllReduce", 7_011, short=[s[11]]))
    box.expect("no_failure", must_not=["rank_stalled", "collective_desync", "collective_timeout"])


@case("rank_lost/nccl-ras-json", "degraded", """No dumps and no log of rank 14: NCCL's RAS holds its process for dead, the others time out.""")
def ras_dead(box):
    s = sc.Scene(["dove-35", "dove-36"], seed=343, start="2026-03-24 20:00:00")
    logs, end = quick(s, minutes=38, leader=60)
    timed_out(s, logs, end, s[14], 901)
    del logs[14]
    put_logs(box, logs)
    box.put("nccl/ras.json", screens.ras_json(s, end + 4 * MIN, "AllReduce", 901, dead=[s[14]]))
    box.expect("unattributed", "rank_lost", culprits=[{"rank": 14}], must_not=["rank_stalled", "gpu_stalled"], observations=["agent.heartbeat_lost"])


@case("none/amd-tools-healthy", "benign", """A run on AMD GPUs that ended well, with amd-smi and rocm-smi of both hosts; one GPU counts errors that it had before.""")
def amd_healthy(box):
    s = sc.Scene(["teal-01", "teal-02"], bus=sc.A100[:8], seed=345, start="2026-06-02 08:00:00")
    logs, _ = quick(s, minutes=20, leader=220)
    put_logs(box, logs)
    box.put("gpu/amd-smi-teal-01.txt", screens.amd_smi(8))
    box.put("gpu/amd-smi-teal-02.txt", screens.amd_smi(8, g3=1))
    box.put("gpu/rocm-smi-teal-01.json", screens.rocm_smi_json(s.hosts[0].bus))
    box.expect("no_failure", must_not=["gpu_hang_amd", "gpu_ecc_uncorrectable"], observations=["gpu.ecc_counter"])


@case("gpu_fell_off_bus/journal-json", "positive", """The journal of the host as `journalctl -o json`: the kernel's line and those of the job, each with host and time of
its own.""")
def journal_json(box):
    s = sc.Scene(["heron-21"], seed=347, start="2026-01-24 22:15:00")
    logs, end = quick(s, leader=120, others=4)
    timed_out(s, logs, end, s[3], 9_021)
    put_logs(box, logs)
    quiet = [(s.start + i * 7 * SEC, "systemd", "Started session-%d.scope - Session %d of User train." % (i, i)) for i in range(220)]
    box.put("journal.json", screens.journal_json(s.hosts[0], quiet + [
        (end, "kernel", "NVRM: Xid (%s): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus." % s[3].xid),
        (end + 4_000_000, "kernel", "NVRM: GPU %s: GPU has fallen off the bus." % s[3].gpu)]))
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"rank": 3, "host": "heron-21", "gpu": s[3].gpu}],
               evidence=["): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."], must_not=["rank_lost", "pcie_error"])
