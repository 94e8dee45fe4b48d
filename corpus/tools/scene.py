"""The stage of a fixture: hosts, ranks, GPUs, clocks, and the lines they write.

Every line below is made up in the format of its source; hosts, addresses, pids and
numbers are ours.  A Scene draws all its numbers from one seed.
"""
import datetime
import os
import random

SEC = 1_000_000_000
MIN = 60 * SEC
HOUR = 3600 * SEC

H100 = ["19", "3b", "4c", "5d", "9b", "bb", "cb", "db"]
A100 = ["07", "0b", "48", "4c", "88", "8b", "c8", "cb"]
L40 = ["01", "25", "41", "61"]


def at(text):
    """'2026-03-14 02:31:07.5' (UTC) in ns."""
    whole, _, frac = text.partition(".")
    t = datetime.datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return int(t.timestamp()) * SEC + int((frac + "000000000")[:9])


def moment(ns):
    return datetime.datetime.fromtimestamp(ns // SEC, datetime.timezone.utc)


def stamp(ns, form):
    d, f = moment(ns), ns % SEC
    if form == "python":
        return d.strftime("%Y-%m-%d %H:%M:%S,") + "%03d" % (f // 1_000_000)
    if form == "plain":
        return d.strftime("%Y-%m-%d %H:%M:%S")
    if form == "iso":
        return d.strftime("%Y-%m-%dT%H:%M:%S.") + "%06dZ" % (f // 1000)
    if form == "iso_s":
        return d.strftime("%Y-%m-%dT%H:%M:%S")
    if form == "rfc3339":
        return d.strftime("%Y-%m-%dT%H:%M:%S.") + "%09dZ" % f
    if form == "glog":
        return d.strftime("%m%d %H:%M:%S.") + "%06d" % (f // 1000)
    if form == "torch":                      # c10: month without its zero, nanoseconds
        return "%d%02d " % (d.month, d.day) + d.strftime("%H:%M:%S.") + "%09d" % f
    if form == "ctime":
        return d.strftime("%a %b ") + "%2d" % d.day + d.strftime(" %H:%M:%S %Y")
    if form == "syslog":
        return d.strftime("%b ") + "%2d" % d.day + d.strftime(" %H:%M:%S")
    if form == "fm":
        return d.strftime("%b %d %Y %H:%M:%S")
    raise ValueError(form)


class Rank:
    def __init__(self, rank, local, host, gpu, index, pid, uuid):
        self.rank, self.local, self.host, self.gpu = rank, local, host, gpu
        self.index, self.pid, self.uuid = index, pid, uuid
        self.tid = pid + 217

    @property
    def xid(self):
        """As the driver spells it: without the function."""
        return "PCI:" + self.gpu[:-2]

    @property
    def nccl_bus(self):
        return "%x" % int(self.gpu[5:7] + self.gpu[8:10] + "0", 16)


class Host:
    def __init__(self, name, ip, boot_ns, boot_id, bus):
        self.name, self.ip, self.boot_ns, self.boot_id = name, ip, boot_ns, boot_id
        self.bus = ["0000:%s:00.0" % b for b in bus]
        self.uuids = []
        self.kernel = []                     # (ns, level, text)


class Scene:
    def __init__(self, hosts, per_host=8, start="2026-03-14 01:12:00", bus=H100, seed=1, net="10.41.6",
                 job="48213", order=None, uptime_h=190):
        self.rng = random.Random(seed)
        self.start, self.job = at(start), job
        self.hosts, self.ranks = [], []
        for i, name in enumerate(hosts):
            boot = self.start - uptime_h * HOUR - self.rng.randrange(HOUR)
            h = Host(name, "%s.%d" % (net, 21 + i), boot, self.uuid(), bus)
            h.uuids = ["GPU-" + self.uuid() for _ in bus]
            self.hosts.append(h)
            pid = self.rng.randrange(21_000, 900_000)
            for local in range(per_host):
                gpu = order[local] if order else local
                self.ranks.append(Rank(len(self.ranks), local, h, h.bus[gpu], gpu, pid + local * 3, h.uuids[gpu]))
        self.commid = "0x%016x" % self.rng.getrandbits(63)
        self.master = self.hosts[0]

    def uuid(self):
        h = "%032x" % self.rng.getrandbits(128)
        return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))

    def __getitem__(self, rank):
        return self.ranks[rank]

    def host(self, name):
        return next(h for h in self.hosts if h.name == name)

    def on(self, host):
        return [r for r in self.ranks if r.host is host]


# ---------------------------------------------------------------- rank logs

class Log(list):
    """(ns, line) pairs; writing sorts by time, stable."""

    def say(self, ns, *lines):
        for line in lines:
            self.append((ns, line))
        return self

    def lines(self):
        return [line for _, line in sorted(self, key=lambda x: x[0])]


PREFIX = {
    "plain": lambda r: "",
    "rank": lambda r: "[rank%d]: " % r.rank,
    "srun": lambda r: "%d: " % r.rank,
    "default": lambda r: "[default%d]:" % r.local,
    "mpi": lambda r: "[1,%d]<stdout>:" % r.rank,
    "ray": lambda r: "(TrainWorker pid=%d, ip=%s) " % (r.pid, r.host.ip),
    "worker": lambda r: "worker-%d | " % r.rank,
}


def nccl(r, text, tid=None):
    return "%s:%d:%d [%d] NCCL INFO %s" % (r.host.name, r.pid, tid or r.tid, r.local, text)


def nccl_warn(r, where, text):
    return "%s:%d:%d [%d] %s NCCL WARN %s" % (r.host.name, r.pid, r.tid + 44, r.local, where, text)


def nccl_init(scene, log, r, ns, ifname="eno1", version="2.27.3+cuda12.9", ib=True, brief=False):
    n = len(scene.ranks)
    comm = "0x55%010x" % (0x6B0000000 + r.rank * 0x41D80 + r.pid)
    dev = "cudaDev %d nvmlDev %d busId %s commId %s" % (r.local, r.index, r.nccl_bus, scene.commid)
    say = lambda dt, text, tid=None: log.say(ns + dt * 1_000_000, nccl(r, text, tid))
    say(0, "Bootstrap: Using %s:%s<0>" % (ifname, r.host.ip), r.pid)
    say(0, "cudaDriverVersion 12090", r.pid)
    say(1, "NCCL version %s" % version, r.pid)
    say(40, "NET/Plugin: Could not find: libnccl-net.so. Using internal net plugin.")
    if ib:
        say(62, "NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_3:1/IB [2]mlx5_4:1/IB [3]mlx5_5:1/IB [RO]; OOB %s:%s<0>" % (ifname, r.host.ip))
        say(62, "Using network IB")
    else:
        say(62, "NET/Socket : Using [0]%s:%s<0>" % (ifname, r.host.ip))
        say(62, "Using network Socket")
    say(70, "ncclCommInitRankConfig comm %s rank %d nranks %d %s - Init START" % (comm, r.rank, n, dev))
    if not brief:
        say(75, "RAS client listening socket at 127.0.0.1<28028>")
        say(130, "Setting affinity for GPU %d to ffff%s" % (r.local, ",00000000" if r.local < 4 else ",ffffffff"))
        say(141, "comm %s rank %d nRanks %d nNodes %d localRanks %d localRank %d MNNVL 0"
            % (comm, r.rank, n, len(scene.hosts), len(scene.on(r.host)), r.local))
        for c in range(2):
            say(160, "Channel %02d/0 : %d[%d] -> %d[%d] via P2P/CUMEM/read" % (c, r.rank, r.local, (r.rank + 1) % n, (r.local + 1) % 8))
        say(402, "Connected all rings, use ring PXN 0 GDR 1")
    say(431, "ncclCommInitRankConfig comm %s rank %d nranks %d %s - Init COMPLETE" % (comm, r.rank, n, dev))


def startup(scene, log, r, ns, model="atlas-7b"):
    who = "rank %d/%d on %s (local %d, pid %d)" % (r.rank, len(scene.ranks), r.host.name, r.local, r.pid)
    log.say(ns, "%s INFO atlas.launch: %s" % (stamp(ns, "python"), who))
    if r.local == 0:
        t = ns + 200_000_000
        for text in ("config: model=%s seq=4096 micro_batch=1 global_batch=512 precision=bf16" % model,
                     "config: timeout=600s max_errors=0 retries=3 on_failure=abort (defaults)",
                     "tokenizer: 128256 entries, 0 unknown", "data: 1834 shards, 0 missing, 0 corrupt",
                     "checkpoint: resumed from /ckpt/%s/step_0118000" % model):
            log.say(t, "%s INFO atlas.launch: %s" % (stamp(t, "python"), text))
            t += 31_000_000
    log.say(ns + SEC, "/opt/venv/lib/python3.12/site-packages/torch/utils/_pytree.py:185: UserWarning: optree is installed but the "
            "version is too old to support PyTorch Dynamo in C++ pytree.")


def training(scene, log, r, begin, end, count, step0=118_000, loss=2.214, style="python", leader=None):
    """`count` benign lines spread over the time."""
    rng = random.Random(r.rank * 31 + step0 + count)
    leader = r.rank == 0 if leader is None else leader
    for i in range(count):
        t = begin + (end - begin) * i // max(count, 1) + rng.randrange(SEC // 2)
        step = step0 + i * 5
        now = loss * (1 - 0.0001 * i) + rng.uniform(-0.03, 0.03)
        kind = rng.randrange(20)
        mod = rng.choice(["atlas.engine.loop", "atlas.parallel.shard", "atlas.data.feed"])
        p = stamp(t, "python")
        if style == "megatron" and leader:
            log.say(t, " [%s] iteration %8d/  500000 | consumed samples: %12d | elapsed time per iteration (ms): %.1f | learning rate: %.6E | "
                    "global batch size:   512 | lm loss: %.6E | loss scale: 1.0 | grad norm: %.3f | number of skipped iterations:   0 | "
                    "number of nan iterations:   0 |" % (stamp(t, "plain"), step, step * 512, 3100 + rng.uniform(0, 90), 2.9e-4, now, rng.uniform(0.2, 0.5)))
        elif leader and kind < 13:
            log.say(t, "%s INFO atlas.engine.loop: step %d loss %.4f grad_norm %.3f lr 2.90e-04 tokens/s %d mem 61.%dGiB"
                    % (p, step, now, rng.uniform(0.2, 0.5), rng.randrange(402000, 409000), rng.randrange(10)))
        elif kind < 8:
            log.say(t, "%s DEBUG %s: step=%d fwd=%.1fms bwd=%.1fms opt=%.1fms wait=%.1fms" % (
                p, mod, step, rng.uniform(310, 330), rng.uniform(640, 680), rng.uniform(24, 28), rng.uniform(1, 6)))
        elif kind < 13:
            log.say(t, "%s INFO atlas.data.feed: opened /data/tokens/part-%05d.bin (%d documents)" % (p, rng.randrange(1834), rng.randrange(4000, 9000)))
        elif kind < 15:
            log.say(t, "%s DEBUG atlas.data.feed: queue depth %d, retries 0, errors 0, timeouts 0" % (p, rng.randrange(5, 9)))
        elif kind < 17:
            log.say(t, "%s INFO atlas.ckpt.save: wrote shard %d of step %d in %.1f s, checksum ok" % (p, r.rank, step, rng.uniform(2, 6)))
        elif kind < 18:
            log.say(t, "%s WARNING atlas.parallel.shard: bucket %d was not ready, reduce-scatter waited %d us" % (p, rng.randrange(40), rng.randrange(90, 900)))
        elif kind < 19:
            log.say(t, "%s DEBUG atlas.health: last error: none, error budget 100/100, watchdog timeout 600s" % p)
        else:
            log.say(t, "%s DEBUG atlas.engine.loop: garbage collection took %d ms" % (p, rng.randrange(20, 60)))


def watchdog(scene, log, r, ns, seq, op="ALLREDUCE", numel_in=1, numel_out=None, timeout_ms=600_000, pg="0", desc="default_pg",
             enqueued=None, completed=None, first=False, exits=True, over_ms=None, pg_id=0):
    """What ProcessGroupNCCL says when a collective timed out; returns when the process is gone."""
    ms = timeout_ms + (over_ms if over_ms is not None else 11 + r.rank * 3)
    enqueued = seq if enqueued is None else enqueued
    completed = seq - 1 if completed is None else completed
    t = ns + (r.rank * 7_368_787 + seq * 104_729) % 999_983
    pid = "[PG ID %d PG GUID %s(%s) Rank %d]" % (pg_id, pg, desc, r.rank)
    mark = lambda where: "[rank%d]:[E%s ProcessGroupNCCL.cpp:%d] " % (r.rank, stamp(t, "torch"), where)
    work = ("Watchdog caught collective operation timeout: WorkNCCL(SeqNum=%d, OpType=%s, NumelIn=%d, NumelOut=%d, Timeout(ms)=%d) ran for "
            "%d milliseconds before timing out." % (seq, op, numel_in, numel_in if numel_out is None else numel_out, timeout_ms, ms))
    log.say(t, mark(683) + "[Rank %d] %s" % (r.rank, work))
    t += 2_100_000
    log.say(t, mark(2241) + "%s  failure detected by watchdog at work sequence id: %d PG status: last enqueued work: %d, last completed work: %d"
            % (pid, seq, enqueued, completed))
    t += 300_000
    if first:
        log.say(t, mark(2573) + pid + " First PG on this rank to signal dumping.")
    t += 1_000_000
    log.say(t, mark(1742) + "%s Received a dump signal due to a collective timeout from %s and we will try our best to dump the debug info. "
            "Last enqueued NCCL work: %d, last completed NCCL work: %d." % (pid, "this local rank" if first else "rank 0", enqueued, completed))
    if not exits:
        return t
    t += 60 * SEC
    log.say(t, mark(697) + "[Rank %d] Some NCCL operations have failed or timed out. Due to the asynchronous nature of CUDA kernels, subsequent GPU "
            "operations might run on corrupted/incomplete data." % r.rank)
    log.say(t, mark(711) + "[Rank %d] To avoid data inconsistency, we are taking the entire process down." % r.rank)
    t += 3_000_000
    log.say(t, mark(1899) + "%s Process group watchdog thread terminated with exception: [Rank %d] %s" % (pid, r.rank, work))
    log.say(t, "terminate called after throwing an instance of 'c10::DistBackendError'")
    log.say(t, "  what():  %s Process group watchdog thread terminated with exception: [Rank %d] %s" % (pid, r.rank, work))
    return t


def traceback(frames, error):
    out = ["Traceback (most recent call last):"]
    for path, line, name, text in frames:
        out.append('  File "%s", line %d, in %s' % (path, line, name))
        out.append("    " + text)
    return out + [error]


APP = "/srv/atlas/"
TB_STEP = [(APP + "pretrain.py", 341, "<module>", "main()"), (APP + "pretrain.py", 318, "main", "trainer.fit()"),
           (APP + "atlas/engine/loop.py", 97, "fit", "self.run_step(batch)")]
TB_FORWARD = TB_STEP + [(APP + "atlas/engine/step.py", 212, "run_step", "loss = self.model(batch)"),
                        ("/opt/venv/lib/python3.12/site-packages/torch/nn/modules/module.py", 1751, "_wrapped_call_impl", "return self._call_impl(*args, **kwargs)"),
                        (APP + "atlas/model/block.py", 74, "forward", "x = x + self.mlp(self.norm2(x))")]
TB_SETUP = [(APP + "pretrain.py", 341, "<module>", "main()"), (APP + "pretrain.py", 290, "main", "trainer = build(config)")]
TB_INIT = [(APP + "pretrain.py", 341, "<module>", "main()"), (APP + "pretrain.py", 271, "main", "dist.init_process_group(\"nccl\")"),
           ("/opt/venv/lib/python3.12/site-packages/torch/distributed/c10d_logger.py", 81, "wrapper", "return func(*args, **kwargs)")]
TB_LOADER = TB_STEP + [(APP + "atlas/data/feed.py", 140, "__next__", "batch = next(self.loader)"),
                       ("/opt/venv/lib/python3.12/site-packages/torch/utils/data/dataloader.py", 733, "__next__", "data = self._next_data()"),
                       ("/opt/venv/lib/python3.12/site-packages/torch/utils/data/dataloader.py", 1491, "_next_data", "idx, data = self._get_data()")]
TB_SAVE = TB_STEP + [(APP + "atlas/engine/loop.py", 131, "fit", "self.saver.save(step)"), (APP + "atlas/ckpt/save.py", 88, "save", "torch.save(shard, tmp)")]


def died_with(log, r, ns, frames, error, tagged=True):
    """A Python traceback, as torchrun's rank tag shows it."""
    tag = "[rank%d]: " % r.rank if tagged else ""
    for line in traceback(frames, error):
        log.say(ns, tag + line)


# ---------------------------------------------------------------- launchers

def torchrun(scene, log, host, ns, failed, code, signal=None, others=True, agent=None):
    """torchrun's agent on one host, after `failed` (a Rank) left with `code`."""
    agent = agent or host_agent(scene, host)
    where = "torch/distributed/elastic/multiprocessing/api.py"
    t = ns
    if others:
        for r in scene.on(host):
            if r is not failed:
                log.say(t, "W%s %d %s:900] Sending process %d closing signal SIGTERM" % (stamp(t, "glog"), agent, where, r.pid))
                t += 300_000
    t += 2 * SEC
    log.say(t, "E%s %d %s:874] failed (exitcode: %d) local_rank: %d (pid: %d) of binary: /opt/venv/bin/python"
            % (stamp(t, "glog"), agent, where, code, failed.local, failed.pid))
    names = {-6: "Signal 6 (SIGABRT)", -9: "Signal 9 (SIGKILL)", -11: "Signal 11 (SIGSEGV)", -7: "Signal 7 (SIGBUS)", -15: "Signal 15 (SIGTERM)"}
    what = "%s received by PID %d" % (names[code], failed.pid) if code in names else \
        "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"
    for line in ["Traceback (most recent call last):",
                 '  File "/opt/venv/bin/torchrun", line 8, in <module>', "    sys.exit(main())",
                 '  File "/opt/venv/lib/python3.12/site-packages/torch/distributed/run.py", line 892, in main', "    run(args)",
                 "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
                 "============================================================", "pretrain.py FAILED",
                 "------------------------------------------------------------", "Failures:", "  <NO_OTHER_FAILURES>",
                 "------------------------------------------------------------", "Root Cause (first observed failure):", "[0]:",
                 "  time      : %s" % stamp(t, "plain").replace(" ", "_"), "  host      : %s" % host.name,
                 "  rank      : %d (local_rank: %d)" % (failed.rank, failed.local), "  exitcode  : %d (pid: %d)" % (code, failed.pid),
                 "  error_file: <N/A>", "  traceback : %s" % what,
                 "============================================================"]:
        log.say(t, line)
    return t


def host_agent(scene, host):
    return scene.on(host)[0].pid - 61


def torchrun_start(scene, log, host, ns):
    a = host_agent(scene, host)
    log.say(ns, "W%s %d torch/distributed/run.py:774] " % (stamp(ns, "glog"), a))
    log.say(ns, "W%s %d torch/distributed/run.py:774] *****************************************" % (stamp(ns, "glog"), a))
    log.say(ns, "W%s %d torch/distributed/run.py:774] Setting OMP_NUM_THREADS environment variable for each process to be 1 in default, to avoid "
            "your system being overloaded, please further tune the variable for optimal performance in your application as needed. " % (stamp(ns, "glog"), a))
    log.say(ns, "W%s %d torch/distributed/run.py:774] *****************************************" % (stamp(ns, "glog"), a))


# ---------------------------------------------------------------- kernel log

def boot_noise(host, bus, ib=True):
    """What a GPU server says while it boots: (uptime in us, level, text)."""
    rng = random.Random(host.name)
    out, t = [], 0

    def say(text, level=6, dt=None):
        nonlocal t
        t += rng.randrange(200, 9000) if dt is None else dt
        out.append((t, level, text))

    say("Linux version 6.8.0-52-generic (buildd@lcy02-amd64-091) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0) 13.3.0) #53-Ubuntu SMP PREEMPT_DYNAMIC", 5, 0)
    say("Command line: BOOT_IMAGE=/vmlinuz-6.8.0-52-generic root=UUID=%08x-77c1-4a0e-9d20-5b1e0aa9c3f1 ro iommu=pt pci=realloc=off panic=30" % rng.getrandbits(32), 6, 0)
    say("BIOS-provided physical RAM map:", 6, 0)
    for i in range(9):
        a = i * 0x20000000
        say("BIOS-e820: [mem 0x%016x-0x%016x] %s" % (a, a + 0x1fffffff, rng.choice(["usable", "reserved", "ACPI data"])), 6, 0)
    say("NX (Execute Disable) protection: active", 6, 0)
    say("DMI: Northfield GX8/GX8-MB, BIOS 2.1.%d 11/04/2025" % rng.randrange(9), 6, 0)
    say("tsc: Detected 2100.000 MHz processor")
    say("ACPI: Early table checksum verification disabled")
    for tab in ("RSDP", "XSDT", "FACP", "DSDT", "SSDT", "MCFG", "SRAT", "SLIT", "HMAT", "DMAR", "HEST", "ERST", "BERT"):
        say("ACPI: %s 0x%016x %06X (v02 NRTHFD GX8      01072009 AMI  01000013)" % (tab, 0x777F0000 + rng.randrange(65536), rng.randrange(4096)))
    say("NUMA: Initialized distance table, cnt=2")
    say("Kernel command line: BOOT_IMAGE=/vmlinuz-6.8.0-52-generic ro iommu=pt pci=realloc=off panic=30", 5)
    say("Memory: 2113289464K/2147186120K available (22528K kernel code, 4361K rwdata, 13624K rodata, 4996K init, 33896400K reserved, 0K cma-reserved)")
    say("smpboot: CPU0: Intel(R) Xeon(R) Platinum 8480+ (family: 0x6, model: 0x8f, stepping: 0x8)")
    say("MCE: In-kernel MCE decoding enabled.")
    for n in range(2):
        say(".... node  #%d, CPUs: %s" % (n, " ".join("#%d" % (n * 8 + c) for c in range(8))))
    say("PCI: MMCONFIG for domain 0000 [bus 00-ff] at [mem 0x80000000-0x8fffffff] (base 0x80000000)")
    for b in bus:
        say("pci %s: [10de:2330] type 00 class 0x030200 PCIe Endpoint" % b)
        say("pci %s: BAR 0 [mem 0x%x000000-0x%xffffff 64bit pref]" % (b, 0x2000 + rng.randrange(256), 0x2100 + rng.randrange(256)))
        say("pci %s: PME# supported from D0 D3hot" % b)
    for b in ("0000:18:00.0", "0000:3a:00.0", "0000:9a:00.0", "0000:ba:00.0"):
        say("pcieport %s: PME: Signaling with IRQ %d" % (b, rng.randrange(40, 90)))
        say("pcieport %s: AER: enabled with IRQ %d" % (b, rng.randrange(40, 90)))
    say("DMAR-IR: Enabled IRQ remapping in x2apic mode")
    say("clocksource: Switched to clocksource tsc")
    for i in range(2):
        say("nvme nvme%d: pci function 0000:%02x:00.0" % (i, 0x71 + i))
        say("nvme nvme%d: 96/0/0 default/read/poll queues" % i)
    say(" nvme0n1: p1 p2 p3")
    say("EXT4-fs (nvme0n1p2): mounted filesystem 5c1e0c1e-91f0-4dd4-bb6e-1f90a4f25a10 ro with ordered data mode. Quota mode: none.")
    say("systemd[1]: systemd 255.4-1ubuntu8.5 running in system mode (+PAM +AUDIT +SELINUX +APPARMOR)")
    say("systemd[1]: Hostname set to <%s>." % host.name)
    say("systemd[1]: Queued start job for default target multi-user.target.")
    for unit in ("Journal Service", "Load Kernel Modules", "Remount Root and Kernel File Systems", "Apply Kernel Variables", "Create Static Device Nodes in /dev"):
        say("systemd[1]: Starting %s..." % unit)
    say("audit: type=1400 audit(%d.207:2): apparmor=\"STATUS\" operation=\"profile_load\" profile=\"unconfined\" name=\"nvidia_modprobe\" pid=1190 comm=\"apparmor_parser\"" % (host.boot_ns // SEC + 9), 5)
    if ib:
        for i in range(4):
            b = "0000:%02x:00.0" % (0x1a + i * 0x30)
            say("mlx5_core %s: firmware version: 28.42.1000" % b)
            say("mlx5_core %s: 252.048 Gb/s available PCIe bandwidth (32.0 GT/s PCIe x8 link)" % b)
            say("mlx5_core %s: E-Switch: Total vports 10, per vport: max uc(128) max mc(2048)" % b)
            say("mlx5_core %s: Port module event: module %d, Cable plugged" % (b, i))
            say("mlx5_core %s mlx5_%d: Port: 1 Link ACTIVE" % (b, i))
    say("igb 0000:06:00.0 eno1: igb: eno1 NIC Link is Up 10000 Mbps Full Duplex, Flow Control: RX/TX")
    say("IPv6: ADDRCONF(NETDEV_CHANGE): eno1: link becomes ready")
    say("nvidia: loading out-of-tree module taints kernel.", 4)
    say("nvidia: module verification failed: signature and/or required key missing - tainting kernel", 4)
    say("nvidia-nvlink: Nvlink Core is being initialized, major device number 511")
    for i in range(4 if len(bus) == 8 else 0):
        say("nvidia-nvswitch%d: using MSI" % i)
        say("nvidia-nvswitch%d: open (major=510)" % i)
    say("NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15  Wed Jan 22 16:18:06 UTC 2026", 4)
    say("nvidia-modeset: Loading NVIDIA Kernel Mode Setting Driver for UNIX platforms  570.86.15  Wed Jan 22 16:10:33 UTC 2026")
    for b in bus:
        say("nvidia %s: enabling device (0140 -> 0142)" % b)
    say("nvidia_uvm: module uses symbols nvUvmInterfaceDisableAccessCntr from proprietary module nvidia, inheriting taint.", 4)
    say("nvidia-uvm: Loaded the UVM driver, major device number 509.")
    say("Lustre: Lustre: Build Version: 2.15.6")
    say("Lustre: Mounted scratch-client")
    for i in range(14):
        say("veth%06x: entered promiscuous mode" % rng.getrandbits(24), dt=200_000)
    for i in range(6):
        say("docker0: port %d(veth%06x) entered forwarding state" % (i + 1, rng.getrandbits(24)), dt=150_000)
    say("process 'slurmd' started with executable stack", 4)
    say("perf: interrupt took too long (2507 > 2500), lowering kernel.perf_event_max_sample_rate to 79750", 6, 60_000_000)
    say("hrtimer: interrupt took 11403 ns", 6, 9_000_000)
    return out


QUIET = [("audit: type=1400 apparmor=\"ALLOWED\" operation=\"open\" profile=\"slurmd\" pid=%d comm=\"slurmstepd\" requested_mask=\"r\"", 4000, 90000),
         ("systemd-journald[812]: Data hash table of /run/log/journal has a fill level at %d.0, suggesting rotation.", 75, 80),
         ("perf: interrupt took too long (%d > 3150), lowering kernel.perf_event_max_sample_rate to 63250", 3160, 3900),
         ("EXT4-fs (nvme1n1p%d): re-mounted r/w. Quota mode: none.", 1, 3),
         ("veth%x: renamed from eth0", 1 << 20, 1 << 24),
         ("docker0: port %d(veth51c02a) entered forwarding state", 1, 9),
         ("TCP: request_sock_TCP: Possible SYN flooding on port %d. Sending cookies.", 20000, 60000),
         ("clocksource: timekeeping watchdog on CPU%d: hpet wd-wd read-back delay of 61250ns", 0, 112)]


def kernel_log(scene, host, end, form="ctime", quiet=40, boot=True, since=None):
    """The kernel log of a host until `end`, in one of dmesg's forms; host.kernel holds the events."""
    rng = random.Random(host.name + form)
    rows = [(host.boot_ns + us * 1000, lv, text) for us, lv, text in boot_noise(host, host.bus)] if boot else []
    a = since if since is not None else scene.start - 30 * MIN
    for i in range(quiet):
        text, lo, hi = rng.choice(QUIET)
        text %= rng.randrange(lo, hi)
        rows.append((a + (end - a) * i // max(quiet, 1) + rng.randrange(SEC), 6, text))
    rows += host.kernel
    rows.sort(key=lambda x: x[0])
    out, seq = [], 1200
    for ns, level, text in rows:
        up = (ns - host.boot_ns) // 1000
        mono = "%5d.%06d" % (up // 1_000_000, up % 1_000_000)
        if form == "ctime":
            out.append("[%s] %s" % (stamp(ns, "ctime"), text))
        elif form == "mono":
            out.append("[%s] %s" % (mono, text))
        elif form == "raw":
            out.append("<%d>[%s] %s" % (level, mono, text))
        elif form == "iso":
            out.append("%s,%06d+00:00 %s" % (stamp(ns, "iso_s"), ns % SEC // 1000, text))
        elif form == "decode":
            name = {2: "crit  ", 3: "err   ", 4: "warn  ", 5: "notice"}.get(level, "info  ")
            out.append("kern  :%s: [%s] %s" % (name, stamp(ns, "ctime"), text))
        elif form == "kmsg":
            seq += 1
            out.append("%d,%d,%d,-;%s" % (level, seq, up, text))
        elif form == "journal":
            out.append("%s %s kernel: %s" % (stamp(ns, "syslog"), host.name, text))
        elif form == "syslog":
            out.append("%s %s kernel: [%s] %s" % (stamp(ns, "syslog"), host.name, mono, text))
        else:
            raise ValueError(form)
    return out


def xid(host, ns, r, code, text, pid=None, name=None):
    who = "pid=%s, name=%s" % (pid or "'<unknown>'", name or "<unknown>")
    host.kernel.append((ns, 4, "NVRM: Xid (%s): %d, %s, %s" % (r.xid if hasattr(r, "xid") else "PCI:" + r[:-2], code, who, text)))


def klog(host, ns, text, level=4):
    host.kernel.append((ns, level, text))


# ---------------------------------------------------------------- nvidia-smi -q -x

def smi_gpu(host, i, **over):
    """One <gpu> element; `over` replaces leaf values by element name."""
    rng = random.Random(host.name + str(i))
    v = dict(temp="%d C" % rng.randrange(52, 64), mem_temp="%d C" % rng.randrange(60, 74), power="%.2f W" % rng.uniform(520, 640),
             hw_slow="Not Active", hw_thermal="Not Active", sw_thermal="Not Active", brake="Not Active", power_cap="Not Active",
             volatile_du="0", volatile_su="0", volatile_dc="0", aggregate_du="0", aggregate_su="0", remap_corr="0", remap_unc="0",
             remap_pending="No", remap_failure="No", width="16x", gen="5", replay="0", sm="1755 MHz", util="%d %%" % rng.randrange(92, 100),
             used="61840 MiB", state="Completed", status="Success", reset="No", processes="", recovery="None", max_gen="5")
    v.update(over)
    b = host.bus[i].upper()
    lost = v.pop("lost", None)
    if lost:
        v = {k: lost for k in v}
        v["processes"] = ""
    busid = "0000" + b
    return """	<gpu id="%(busid)s">
		<product_name>%(product)s</product_name>
		<product_brand>NVIDIA</product_brand>
		<product_architecture>Hopper</product_architecture>
		<persistence_mode>Enabled</persistence_mode>
		<mig_mode>
			<current_mig>Disabled</current_mig>
			<pending_mig>Disabled</pending_mig>
		</mig_mode>
		<serial>16549230%(serial)05d</serial>
		<uuid>%(uuid)s</uuid>
		<minor_number>%(minor)d</minor_number>
		<vbios_version>96.00.99.00.01</vbios_version>
		<gsp_firmware_version>570.86.15</gsp_firmware_version>
		<gpu_reset_status>
			<reset_required>%(reset)s</reset_required>
			<drain_and_reset_recommended>%(reset)s</drain_and_reset_recommended>
		</gpu_reset_status>
		<gpu_recovery_action>%(recovery)s</gpu_recovery_action>
		<pci>
			<pci_bus>%(bus)s</pci_bus>
			<pci_device>00</pci_device>
			<pci_domain>0000</pci_domain>
			<pci_bus_id>%(busid)s</pci_bus_id>
			<pci_gpu_link_info>
				<pcie_gen>
					<max_link_gen>%(max_gen)s</max_link_gen>
					<current_link_gen>%(gen)s</current_link_gen>
				</pcie_gen>
				<link_widths>
					<max_link_width>16x</max_link_width>
					<current_link_width>%(width)s</current_link_width>
				</link_widths>
			</pci_gpu_link_info>
			<replay_counter>%(replay)s</replay_counter>
			<replay_rollover_counter>0</replay_rollover_counter>
		</pci>
		<performance_state>P0</performance_state>
		<clocks_event_reasons>
			<clocks_event_reason_gpu_idle>Not Active</clocks_event_reason_gpu_idle>
			<clocks_event_reason_applications_clocks_setting>Not Active</clocks_event_reason_applications_clocks_setting>
			<clocks_event_reason_sw_power_cap>%(power_cap)s</clocks_event_reason_sw_power_cap>
			<clocks_event_reason_hw_slowdown>%(hw_slow)s</clocks_event_reason_hw_slowdown>
			<clocks_event_reason_hw_thermal_slowdown>%(hw_thermal)s</clocks_event_reason_hw_thermal_slowdown>
			<clocks_event_reason_hw_power_brake_slowdown>%(brake)s</clocks_event_reason_hw_power_brake_slowdown>
			<clocks_event_reason_sync_boost>Not Active</clocks_event_reason_sync_boost>
			<clocks_event_reason_sw_thermal_slowdown>%(sw_thermal)s</clocks_event_reason_sw_thermal_slowdown>
		</clocks_event_reasons>
		<fb_memory_usage>
			<total>81559 MiB</total>
			<reserved>551 MiB</reserved>
			<used>%(used)s</used>
		</fb_memory_usage>
		<utilization>
			<gpu_util>%(util)s</gpu_util>
		</utilization>
		<ecc_mode>
			<current_ecc>Enabled</current_ecc>
			<pending_ecc>Enabled</pending_ecc>
		</ecc_mode>
		<ecc_errors>
			<volatile>
				<sram_correctable>0</sram_correctable>
				<sram_uncorrectable_parity>%(volatile_su)s</sram_uncorrectable_parity>
				<sram_uncorrectable_secded>0</sram_uncorrectable_secded>
				<dram_correctable>%(volatile_dc)s</dram_correctable>
				<dram_uncorrectable>%(volatile_du)s</dram_uncorrectable>
			</volatile>
			<aggregate>
				<sram_correctable>0</sram_correctable>
				<sram_uncorrectable_parity>%(aggregate_su)s</sram_uncorrectable_parity>
				<sram_uncorrectable_secded>0</sram_uncorrectable_secded>
				<dram_correctable>0</dram_correctable>
				<dram_uncorrectable>%(aggregate_du)s</dram_uncorrectable>
			</aggregate>
		</ecc_errors>
		<remapped_rows>
			<remapped_row_corr>%(remap_corr)s</remapped_row_corr>
			<remapped_row_unc>%(remap_unc)s</remapped_row_unc>
			<remapped_row_pending>%(remap_pending)s</remapped_row_pending>
			<remapped_row_failure>%(remap_failure)s</remapped_row_failure>
		</remapped_rows>
		<temperature>
			<gpu_temp>%(temp)s</gpu_temp>
			<gpu_temp_max_threshold>92 C</gpu_temp_max_threshold>
			<gpu_temp_slow_threshold>89 C</gpu_temp_slow_threshold>
			<memory_temp>%(mem_temp)s</memory_temp>
			<gpu_temp_max_mem_threshold>95 C</gpu_temp_max_mem_threshold>
		</temperature>
		<gpu_power_readings>
			<power_state>P0</power_state>
			<instant_power_draw>%(power)s</instant_power_draw>
			<current_power_limit>700.00 W</current_power_limit>
		</gpu_power_readings>
		<clocks>
			<sm_clock>%(sm)s</sm_clock>
			<mem_clock>2619 MHz</mem_clock>
		</clocks>
		<max_clocks>
			<sm_clock>1980 MHz</sm_clock>
			<mem_clock>2619 MHz</mem_clock>
		</max_clocks>
		<fabric>
			<state>%(state)s</state>
			<status>%(status)s</status>
		</fabric>
		<processes>%(processes)s
		</processes>
	</gpu>
""" % dict(v, busid=busid, bus=b[5:7], uuid=host.uuids[i], minor=i, serial=rng.randrange(99999),
           product=lost or "NVIDIA H100 80GB HBM3")


def smi_process(pid, name, used):
    return """
			<process_info>
				<pid>%d</pid>
				<type>C</type>
				<process_name>%s</process_name>
				<used_memory>%d MiB</used_memory>
			</process_info>""" % (pid, name, used)


def smi(host, ns, only=None, **per_gpu):
    """`per_gpu`: g4=dict(...) overrides; only: the indexes that are listed."""
    idx = list(range(len(host.bus))) if only is None else only
    out = ['<?xml version="1.0" ?>', '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">', "<nvidia_smi_log>",
           "\t<timestamp>%s</timestamp>" % moment(ns).strftime("%a %b %d %H:%M:%S %Y"), "\t<driver_version>570.86.15</driver_version>",
           "\t<cuda_version>12.8</cuda_version>", "\t<attached_gpus>%d</attached_gpus>" % len(idx)]
    body = "".join(smi_gpu(host, i, **per_gpu.get("g%d" % i, {})) for i in idx)
    return "\n".join(out) + "\n" + body + "</nvidia_smi_log>\n"


# ---------------------------------------------------------------- files

def save(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if isinstance(data, Log):
        data = data.lines()
    if isinstance(data, list):
        data = "\n".join(data) + "\n"
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    with open(path, "wb") as f:
        f.write(data)
