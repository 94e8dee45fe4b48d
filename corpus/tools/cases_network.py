"""Links, addresses, rendezvous, limits."""
import gzip

import scene as sc
from case import case
from incident import launchers, logs_of, merged, put_logs, quick, remote_error
from scene import MIN, SEC, Log, klog

NCCL_INIT_FAILED = "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:93, unhandled system error " \
    "(run with NCCL_DEBUG=INFO for details), NCCL version 2.27.3"


def status12(s, log, r, ns, peer, status=12, vendor=129, text=None):
    line = text or "NET/IB: Got completion from peer %s<%d> with status=%s(%d) opcode=0 len=0 vendor_err=%d (Recv) localGid fe80::%x remoteGid fe80::%x hca mlx5_3" % (
        peer, 41_000 + r.rank, {12: "IBV_WC_RETRY_EXC_ERR", 5: "IBV_WC_WR_FLUSH_ERR"}[status], status, vendor, 0x9a0 + r.rank, 0x7c1)
    log.say(ns, sc.nccl_warn(r, "transport/net_ib.cc:2268", line))
    log.say(ns + 1_000_000, sc.nccl(r, "transport/net.cc:1311 -> 6", r.tid + 44))
    log.say(ns + 2_000_000, "[rank%d]:[E%s ProcessGroupNCCL.cpp:2068] [PG ID 0 PG GUID 0(default_pg) Rank %d] Process group watchdog thread terminated with "
            "exception: NCCL error: remote process exited or there was a network error, NCCL version 2.27.3" % (r.rank, sc.stamp(ns, "torch"), r.rank))
    log.say(ns + 2_000_000, "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.", "Last error:", line)


# ---------------------------------------------------------------- nic_link_flap

def flap(box, cut):
    s = sc.Scene(["knot-11", "knot-12"], per_host=4, bus=sc.A100[:4], seed=201 + cut, start="2026-06-10 12:00:00")
    logs, end = quick(s, leader=150 if not cut else 40, others=4)
    h = s.hosts[1]
    for k, (down, up) in enumerate(((0, 6), (9, 14), (15, 22))):
        t = end + down * SEC
        klog(h, t, "mlx5_core 0000:4a:00.0 ens3f0np0: Link down", 6)
        klog(h, t + 6_000_000, "mlx5_core 0000:4a:00.0 mlx5_3: Port: 1 Link DOWN", 6)
        t = end + up * SEC
        klog(h, t, "mlx5_core 0000:4a:00.0 ens3f0np0: Link up", 6)
        klog(h, t + 2_000_000, "mlx5_core 0000:4a:00.0 mlx5_3: Port: 1 Link ACTIVE", 6)
    for r in s.ranks:
        peer = s.hosts[1 - s.hosts.index(r.host)].ip
        status12(s, logs[r.rank], r, end + 4 * SEC + r.rank * 31_000_000, peer)
    put_logs(box, logs)
    launchers(box, s, end + 5 * SEC, s[0], -6, hosts=s.hosts[:1])
    for host in s.hosts:
        lines = sc.kernel_log(s, host, end + MIN, "iso", quiet=20)
        if cut and host is h:
            data = gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)
            box.put("kernel/%s.log.gz" % host.name, data[:-60])
        elif not cut:
            box.put("kernel/%s.log" % host.name, lines)
    box.expect("root_cause", "nic_link_flap", culprits=[{"host": "knot-12"}], evidence=["mlx5_3: Port: 1 Link DOWN"] if not cut else [],
               must_not=["ib_fabric_unreachable", "rdma_link_unreliable", "rdma_error"], **({"observations": ["input.damaged"]} if cut else {}))


@case("nic_link_flap/port-down-status-12", "positive", "One NIC of knot-12 goes down three times; RDMA transfers of both hosts fail in the same seconds.")
def flap_full(box):
    flap(box, False)


@case("nic_link_flap/kernel-log-gz-cut", "degraded", "The other host's kernel log is missing and this one's is a gzip file cut at its end.")
def flap_cut(box):
    flap(box, True)


@case("rdma_error/flushed-only", "adjacent", """Shares the completion-error line with nic_link_flap, but the status is 5 (flushed): the queue pair was already in error, the first error
is not in this input, and the kernel logs show no link event.""")
def flushed(box):
    s = sc.Scene(["knot-21", "knot-22"], per_host=4, bus=sc.A100[:4], seed=205, start="2026-06-12 12:00:00")
    logs, end = quick(s, leader=60, others=5)
    status12(s, logs[5], s[5], end, s.hosts[0].ip, status=5, vendor=244)
    put_logs(box, {5: logs[5]})
    for host in s.hosts:
        box.put("kernel/%s.log" % host.name, sc.kernel_log(s, host, end + MIN, "iso", quiet=10))
    box.expect("unattributed", "rdma_error", must_not=["nic_link_flap", "rdma_link_unreliable", "ib_fabric_unreachable", "ib_link_error"])


# ---------------------------------------------------------------- ib_no_subnet_manager

@case("ib_no_subnet_manager/ports-initializing", "positive", """All InfiniBand ports of stilt-02 have a link but wait for a subnet manager; NCCL finds no device there.""")
def no_sm(box):
    s = sc.Scene(["stilt-01", "stilt-02"], per_host=4, bus=sc.A100[:4], seed=211, start="2026-06-20 06:00:00")
    logs = {}
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        t = s.start + 30 * SEC
        if r.host is s.hosts[1]:
            log.say(t, sc.nccl(r, "Bootstrap: Using eno1:%s<0>" % r.host.ip, r.pid), sc.nccl(r, "NCCL_NET set by environment to IB"),
                    sc.nccl(r, "NET/IB : No device found."), sc.nccl_warn(r, "plugin/net.cc:318", "Failed to initialize any NET plugin"))
            sc.died_with(log, r, t + SEC, sc.TB_INIT, NCCL_INIT_FAILED)
            log.say(t + SEC, "[rank%d]: ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error. " % r.rank)
        else:
            sc.nccl_init(s, log, r, t)
            remote_error(log, r, t + 4 * SEC, s.hosts[1].ip)
    put_logs(box, logs)
    for h, state, sm, rate in ((s.hosts[0], "Active", 3, 400), (s.hosts[1], "Initializing", 0, 400)):
        out = []
        for i, p in enumerate((0, 3, 4, 5)):
            guid = 0xb83fd20300000000 + (i << 12) + len(h.name) + s.hosts.index(h)
            out += ["CA 'mlx5_%d'" % p, "\tCA type: MT4129", "\tNumber of ports: 1", "\tFirmware version: 28.42.1000", "\tHardware version: 0",
                    "\tNode GUID: 0x%016x" % guid, "\tSystem image GUID: 0x%016x" % guid, "\tPort 1:", "\t\tState: %s" % state, "\t\tPhysical state: LinkUp",
                    "\t\tRate: %d" % rate, "\t\tBase lid: %d" % (65535 if sm == 0 else 41 + i), "\t\tLMC: 0", "\t\tSM lid: %d" % sm,
                    "\t\tCapability mask: 0xa651e848", "\t\tPort GUID: 0x%016x" % guid, "\t\tLink layer: InfiniBand"]
        box.put("%s/ibstat.txt" % h.name, out)
    box.put("stilt-02/dmesg.log", sc.kernel_log(s, s.hosts[1], s.start + MIN, "ctime", quiet=6))
    box.expect("root_cause", "ib_no_subnet_manager", culprits=[{"host": "stilt-02"}], evidence=["State: Initializing"],
               must_not=["nccl_wrong_hca", "nic_link_flap", "bootstrap_unreachable"])


# ---------------------------------------------------------------- node_network_broken

def connect_failed(log, r, ns, ip, why, errno):
    log.say(ns, sc.nccl_warn(r, "misc/socket.cc:484", "socketStartConnect: Connect to %s<%d> failed : %s" % (ip, 45_001, why)))
    log.say(ns + 1_000_000, sc.nccl(r, "bootstrap.cc:812 -> 2", r.tid + 44), sc.nccl(r, "init.cc:1811 -> 2", r.tid + 44))
    sc.died_with(log, r, ns + 2_000_000, sc.TB_STEP + [(sc.APP + "atlas/parallel/groups.py", 51, "regroup", "self.group = dist.new_group(ranks)")], NCCL_INIT_FAILED)
    log.say(ns + 2_000_000, "[rank%d]: ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error. " % r.rank,
            "[rank%d]: Last error:" % r.rank, "[rank%d]: socketStartConnect: Connect to %s<%d> failed : %s" % (r.rank, ip, 45_001, why))


def broken(box, files):
    s = sc.Scene(["lark-01", "lark-02", "lark-03", "lark-04"], per_host=2, bus=sc.L40, seed=221 + files, start="2026-07-01 09:00:00", net="10.7.2")
    logs, end = quick(s, leader=150 if files else 50, others=4)
    x = s.hosts[3]
    for r in s.ranks:
        if r.host is x:
            connect_failed(logs[r.rank], r, end + 9 * SEC, s.hosts[0].ip, "Network is unreachable", 101)
        else:
            connect_failed(logs[r.rank], r, end + r.rank * 60_000_000, x.ip, "No route to host", 113)
    if not files:
        logs = {r: log for r, log in logs.items() if s[r].host is not x}
        box.put("nslookup.txt", ["%s.in-addr.arpa\tname = %s." % (".".join(reversed(h.ip.split("."))), h.name) for h in s.hosts])
    put_logs(box, logs)
    box.expect("root_cause", "node_network_broken", culprits=[{"host": "lark-04"}],
               evidence=["Connect to %s<45001> failed : No route to host" % x.ip], must_not=["bootstrap_unreachable", "nccl_wrong_ifname", "comm_error", "python_exception"])


@case("node_network_broken/no-route", "positive", "Three hosts have no route to the fourth, which has none to anybody. Its processes live. The hosts that complain are fine.")
def broken_full(box):
    broken(box, True)


@case("node_network_broken/its-logs-missing", "degraded", "Nothing came from the broken host; nslookup tells whose address it is.")
def broken_cut(box):
    broken(box, False)


@case("python_exception_one_rank/refused-after-death", "adjacent", """Shares the connect-failed lines with node_network_broken, but the process on that host died of its own exception before.""")
def refused(box):
    s = sc.Scene(["lark-11", "lark-12", "lark-13"], per_host=2, bus=sc.L40, seed=225, start="2026-07-03 09:00:00", net="10.7.3")
    logs, end = quick(s, leader=100, others=4)
    sc.died_with(logs[4], s[4], end, sc.TB_STEP + [(sc.APP + "atlas/engine/metrics.py", 91, "flush", "mean = total / count")], "ZeroDivisionError: integer division or modulo by zero")
    for r in s.ranks:
        if r.rank not in (4, 5):
            connect_failed(logs[r.rank], r, end + 21 * SEC + r.rank * 60_000_000, s.hosts[2].ip, "Connection refused", 111)
    put_logs(box, logs)
    launchers(box, s, end + SEC, s[4], 1, hosts=s.hosts[2:])
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 4}], evidence=["ZeroDivisionError: integer division or modulo by zero"],
               must_not=["node_network_broken", "bootstrap_unreachable"])


# ---------------------------------------------------------------- nccl_wrong_ifname

@case("nccl_wrong_ifname/docker0", "positive", "Every host bootstraps over docker0, an address that exists on all of them and leads nowhere.")
def docker0(box):
    s = sc.Scene(["smew-01", "smew-02"], per_host=4, bus=sc.A100[:4], seed=231, start="2026-07-10 09:00:00")
    logs = {}
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        t = s.start + 20 * SEC
        log.say(t, sc.nccl(r, "NCCL_SOCKET_IFNAME set by environment to docker0", r.pid), sc.nccl(r, "Bootstrap: Using docker0:172.17.0.1<0>", r.pid),
                sc.nccl(r, "NCCL version 2.27.3+cuda12.9", r.pid))
        for i in range(24 if r.host is s.hosts[1] else 3):
            log.say(t + (2 + i) * SEC, sc.nccl(r, "misc/socket.cc:538 socketPollConnect: connect to 172.17.0.1<41877> returned Connection refused, retrying (%d/34) after sleep for %d msec"
                                               % (i + 1, 100 * (i + 1))))
        if r.host is s.hosts[1]:
            log.say(t + 60 * SEC, sc.nccl_warn(r, "misc/socket.cc:541", "socketPollConnect: connect to 172.17.0.1<41877> returned Connection refused, exceeded error retry count after 35 attempts"))
            sc.died_with(log, r, t + 61 * SEC, sc.TB_INIT, NCCL_INIT_FAILED)
    put_logs(box, logs)
    box.put("launcher/srun.out", ["srun: job 55120 queued and waiting for resources", "srun: job 55120 has been allocated resources"] +
            ["%d: smew-0%d: stage %d of 40: /opt/images/atlas.sqsh verified" % (i % 8, 1 + i % 8 // 4, i // 2) for i in range(80)])
    box.expect("root_cause", "nccl_wrong_ifname", evidence=["Bootstrap: Using docker0:172.17.0.1<0>"],
               must_not=["node_network_broken", "bootstrap_unreachable", "python_exception", "config_error"])


@case("nccl_wrong_ifname/no-such-interface", "degraded", "Only one rank's log, with the interface filter and NCCL's complaint.")
def no_interface(box):
    s = sc.Scene(["smew-11"], per_host=4, bus=sc.A100[:4], seed=233, start="2026-07-11 09:00:00")
    log, r, t = Log(), s[2], s.start + 11 * SEC
    sc.startup(s, log, r, s.start)
    log.say(t, sc.nccl(r, "NCCL_SOCKET_IFNAME set by environment to ib9", r.pid), sc.nccl_warn(r, "bootstrap.cc:109", "Bootstrap : no socket interface found"),
            sc.nccl(r, "init.cc:137 -> 3", r.pid))
    sc.died_with(log, r, t + SEC, sc.TB_INIT, NCCL_INIT_FAILED.replace("unhandled system error", "internal error"))
    box.put("rank2.log", log)
    box.expect("root_cause", "nccl_wrong_ifname", evidence=["Bootstrap : no socket interface found"], must_not=["python_exception_one_rank", "comm_library_bug"])


# ---------------------------------------------------------------- port_in_use, rendezvous_incomplete

BUSY = "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29517, useIpv6: false, code: -98, name: EADDRINUSE, " \
    "message: address already in use"
TB_RDZV = [("/opt/venv/bin/torchrun", 8, "<module>", "sys.exit(main())"),
           ("/opt/venv/lib/python3.12/site-packages/torch/distributed/launcher/api.py", 261, "launch_agent", "result = agent.run()"),
           ("/opt/venv/lib/python3.12/site-packages/torch/distributed/elastic/agent/server/api.py", 525, "_initialize_workers", "self._rendezvous(worker_group)")]


def staging(n):
    return ["prolog: copied /opt/images/layers/%03d (%d MB) to node-local storage" % (i, 200 + i * 7 % 311) for i in range(n)]


@case("port_in_use/eaddrinuse", "positive", "A torchrun of an earlier job still holds the rendezvous port on the first host.")
def port(box):
    s = sc.Scene(["ruff-01", "ruff-02"], per_host=4, seed=241, start="2026-07-20 09:00:00")
    a = Log()
    sc.torchrun_start(s, a, s.hosts[0], s.start)
    t = s.start + 3 * SEC
    for line in sc.traceback(TB_RDZV + [("/opt/venv/lib/python3.12/site-packages/torch/distributed/elastic/rendezvous/static_tcp_rendezvous.py", 66, "next_rendezvous",
                                         "self._store = TCPStore(")], BUSY):
        a.say(t, line)
    box.put("ruff-01/torchrun.log", staging(120) + a.lines())
    b = Log()
    sc.torchrun_start(s, b, s.hosts[1], s.start)
    box.put("ruff-02/torchrun.log", staging(100) + b.lines())
    box.expect("root_cause", "port_in_use", culprits=[{"host": "ruff-01", "object": "29517"}], evidence=["port: 29517"], must_not=["rendezvous_incomplete", "python_exception", "config_error"])


@case("port_in_use/then-rendezvous-timeout", "adjacent", """Shares the rendezvous timeout with rendezvous_incomplete: the other hosts waited in vain, because the first could not listen.""")
def port_rdzv(box):
    s = sc.Scene(["ruff-11", "ruff-12", "ruff-13"], per_host=4, seed=243, start="2026-07-21 09:00:00")
    a = Log()
    for line in sc.traceback(TB_RDZV, BUSY):
        a.say(s.start, "[%s] %s" % (sc.stamp(s.start, "plain"), line))
    box.put("ruff-11/torchrun.log", a)
    for h in s.hosts[1:]:
        out = Log()
        sc.torchrun_start(s, out, h, s.start)
        rdzv_timeout(s, out, h, s.start + 900 * SEC)
        box.put("%s/torchrun.log" % h.name, out)
    box.expect("root_cause", "port_in_use", culprits=[{"host": "ruff-11"}], evidence=["EADDRINUSE"], must_not=["rendezvous_incomplete"])


def rdzv_timeout(s, out, h, ns):
    for line in sc.traceback(TB_RDZV + [("/opt/venv/lib/python3.12/site-packages/torch/distributed/elastic/rendezvous/dynamic_rendezvous.py", 1183, "next_rendezvous",
                                         "rank, world_size = self._next_rendezvous_with_timeout()")], "torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError"):
        out.say(ns, "[%s] %s" % (sc.stamp(ns, "plain"), line))


@case("rendezvous_incomplete/two-of-four", "positive", "Four hosts are wanted, two join within fifteen minutes; the other two never started their launchers.")
def rdzv(box):
    s = sc.Scene(["teal-01", "teal-02", "teal-03", "teal-04"], per_host=4, seed=245, start="2026-07-22 09:00:00")
    for h in s.hosts[:2]:
        out, a = Log(), sc.host_agent(s, h)
        sc.torchrun_start(s, out, h, s.start)
        out.say(s.start + SEC, "I%s %d torch/distributed/launcher/api.py:188] Starting elastic_operator with launch configs:" % (sc.stamp(s.start + SEC, "glog"), a),
                *["I%s %d torch/distributed/launcher/api.py:188]   %s" % (sc.stamp(s.start + SEC, "glog"), a, x) for x in (
                    "entrypoint       : pretrain.py", "min_nodes        : 4", "max_nodes        : 4", "nproc_per_node   : 4", "run_id           : atlas-7b",
                    "rdzv_backend     : c10d", "rdzv_endpoint    : teal-01:29500", "max_restarts     : 0")])
        rdzv_timeout(s, out, h, s.start + 901 * SEC)
        box.put("%s/torchrun.log" % h.name, staging(70) + out.lines())
    for h in s.hosts[2:]:
        box.put("%s/prolog.log" % h.name, staging(41))
    box.put("job.env", ["SLURM_JOB_ID=55871", "SLURM_JOB_NODELIST=teal-[01-04]", "SLURM_NNODES=4", "MASTER_ADDR=teal-01", "MASTER_PORT=29500"])
    box.expect("root_cause", "rendezvous_incomplete", evidence=["RendezvousTimeoutError"], must_not=["port_in_use", "node_network_broken", "python_exception"])


@case("rendezvous_incomplete/store-of-one-host", "degraded", "One launcher's log, cut behind the line of the store that says how many came.")
def rdzv_cut(box):
    s = sc.Scene(["teal-11", "teal-12", "teal-13", "teal-14"], per_host=4, seed=247, start="2026-07-23 09:00:00")
    out = Log()
    sc.torchrun_start(s, out, s.hosts[0], s.start)
    for line in sc.traceback(TB_RDZV + [("/opt/venv/lib/python3.12/site-packages/torch/distributed/elastic/rendezvous/static_tcp_rendezvous.py", 66, "next_rendezvous",
                                         "self._store = TCPStore(")], "torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 3/4 clients joined."):
        out.say(s.start + 901 * SEC, line)
    box.put("torchrun.log", "\n".join(out.lines() + ["Traceba"]))
    box.expect("root_cause", "rendezvous_incomplete", evidence=["3/4 clients joined"], must_not=["port_in_use", "python_exception"])


# ---------------------------------------------------------------- memlock_limit

CQ = "Call to ibv_create_cq failed with error Cannot allocate memory"


@case("memlock_limit/ibv-create-cq", "positive", "A container with 64 KiB of lockable memory: RDMA resources cannot be created, while the host has plenty of memory.")
def memlock(box):
    s = sc.Scene(["dunlin-01", "dunlin-02"], per_host=4, bus=sc.A100[:4], seed=251, start="2026-07-25 09:00:00")
    logs = {}
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        t = s.start + 20 * SEC
        sc.nccl_init(s, log, r, t, brief=True)
        if r.host is s.hosts[0]:
            log.say(t + SEC, sc.nccl_warn(r, "misc/ibvwrap.cc:203", CQ))
            sc.died_with(log, r, t + SEC, sc.TB_INIT, NCCL_INIT_FAILED)
            log.say(t + SEC, "[rank%d]: ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error. " % r.rank)
        else:
            remote_error(log, r, t + 3 * SEC, s.hosts[0].ip)
    put_logs(box, logs)
    for h, n in ((s.hosts[0], "65536                65536     "), (s.hosts[1], "unlimited            unlimited ")):
        box.put("%s/limits" % h.name, ["Limit                     Soft Limit           Hard Limit           Units     ",
                                       "Max cpu time              unlimited            unlimited            seconds   ",
                                       "Max open files            1048576              1048576              files     ",
                                       "Max locked memory         %s           bytes     " % n, "Max address space         unlimited            unlimited            bytes     "])
    box.put("dunlin-01/dmesg.log", sc.kernel_log(s, s.hosts[0], s.start + MIN, "ctime", quiet=6))
    box.expect("root_cause", "memlock_limit", culprits=[{"host": "dunlin-01"}], evidence=[CQ], must_not=["host_oom", "cuda_oom", "rdma_memory_registration", "comm_error"])


@case("host_oom/cannot-allocate-memory", "adjacent", """Shares 'Cannot allocate memory' with memlock_limit, but lockable memory is unlimited and the kernel killed a process for memory.""")
def not_memlock(box):
    s = sc.Scene(["dunlin-11"], per_host=4, bus=sc.A100[:4], seed=253, start="2026-07-26 09:00:00")
    logs, end = quick(s, leader=60, others=5)
    h = s.hosts[0]
    logs[1].say(end - SEC, sc.nccl_warn(s[1], "misc/ibvwrap.cc:203", CQ))
    klog(h, end, "python invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, oom_score_adj=0")
    klog(h, end + 3_000_000, "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0-1,global_oom,task_memcg=/system.slice/slurmstepd.scope,task=python,pid=%d,uid=5012" % s[1].pid, 6)
    klog(h, end + 4_000_000, "Out of memory: Killed process %d (python) total-vm:1902334512kB, anon-rss:1720480312kB, file-rss:70004kB, shmem-rss:12kB, UID:5012 pgtables:3391244kB oom_score_adj:0" % s[1].pid, 3)
    for r in s.ranks:
        if r.rank != 1:
            remote_error(logs[r.rank], r, end + SEC + r.rank * 10_000_000, h.ip)
    put_logs(box, logs)
    launchers(box, s, end + 2 * SEC, s[1], -9)
    box.put("dunlin-11/limits", ["Limit                     Soft Limit           Hard Limit           Units     ",
                                 "Max locked memory         unlimited            unlimited            bytes     "])
    box.put("dunlin-11/dmesg.log", sc.kernel_log(s, h, end + MIN, "ctime", quiet=10))
    box.expect("root_cause", "host_oom", culprits=[{"host": "dunlin-11", "pid": s[1].pid}], evidence=["Out of memory: Killed process %d (python)" % s[1].pid],
               must_not=["memlock_limit", "process_killed"])


# ---------------------------------------------------------------- devices and addresses that do not fit together

def init_error(box, seed, where, text, error="unhandled system error", last="ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error. ",
               everywhere=False, extra=None, only=None):
    """NCCL fails while it connects: on the second host, or everywhere."""
    s = sc.Scene(["whimbrel-01", "whimbrel-02"], per_host=4, bus=sc.A100[:4], seed=seed, start="2026-09-25 09:00:00")
    logs = {}
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        t = s.start + 20 * SEC
        sc.nccl_init(s, log, r, t)
        if r.host is s.hosts[1] or everywhere:
            log.say(t + SEC, sc.nccl_warn(r, where, text % {"rank": r.rank, "peer": s.hosts[0].ip}), sc.nccl(r, "transport/net.cc:741 -> 2", r.tid + 44))
            sc.died_with(log, r, t + SEC + r.rank * 10_000_000, sc.TB_INIT, NCCL_INIT_FAILED.replace("unhandled system error", error))
            log.say(t + SEC + r.rank * 10_000_000, "[rank%d]: %s" % (r.rank, last))
        else:
            remote_error(log, r, t + 3 * SEC, s.hosts[1].ip)
        if extra:
            extra(s, log, r, t)
    if only is not None:
        logs = {only: logs[only]}
    put_logs(box, logs)
    return s


LAYER = "NET/IB : Remote RoCE device is incompatible with the local [4]mlx5_4:1/IB. Try selecting NICs of only one link type using NCCL_IB_HCA"


@case("nccl_wrong_hca/link-layer-mismatch", "positive", "One host's list of devices begins with its Ethernet ports, the other's with InfiniBand.")
def link_layer(box):
    init_error(box, 771, "transport/net_ib.cc:1050", LAYER, "internal error", "ncclInternalError: Internal check failed.")
    box.expect("root_cause", "nccl_wrong_hca", evidence=["Remote RoCE device is incompatible with the local"], must_not=["comm_library_bug", "python_exception", "rdma_link_unreliable"])


@case("nccl_wrong_hca/one-log", "degraded", "One rank's log.")
def link_layer_cut(box):
    init_error(box, 771, "transport/net_ib.cc:1050", LAYER, "internal error", "ncclInternalError: Internal check failed.", only=5)
    box.expect("root_cause", "nccl_wrong_hca", culprits=[{"rank": 5}], evidence=["is incompatible with the local"], must_not=["comm_library_bug", "python_exception_one_rank"])


@case("nccl_wrong_ifname/link-local-ipv6", "adjacent", "Looks like node_network_broken: NCCL chose an address that is only good on its own link, zone and all.")
def zone(box):
    init_error(box, 773, "misc/socket.cc:483", "socketStartConnect: Connect to fe80::a236:9fff:fe4c:11%%eno1<42311> failed : Invalid argument")
    box.expect("root_cause", "nccl_wrong_ifname", evidence=["Connect to fe80::a236:9fff:fe4c:11%eno1<42311> failed"], must_not=["node_network_broken", "bootstrap_unreachable"])


@case("nccl_wrong_ifname/address-family", "adjacent", "Gloo on one host took an IPv6 address, on the other an IPv4 one.")
def family(box):
    s = sc.Scene(["whimbrel-11", "whimbrel-12"], per_host=2, bus=sc.L40, seed=775, start="2026-09-26 09:00:00")
    for r in s.ranks:
        log = Log()
        sc.startup(s, log, r, s.start)
        sc.died_with(log, r, s.start + 9 * SEC + r.rank * 100_000_000, sc.TB_INIT, "RuntimeError: [enforce fail at ../third_party/gloo/gloo/transport/tcp/pair.cc:206] address family mismatch")
        box.put("rank_%d.log" % r.rank, log)
    box.expect("root_cause", "nccl_wrong_ifname", evidence=["address family mismatch"], must_not=["python_exception", "config_error", "node_network_broken"])


@case("node_network_broken/rccl-wording", "adjacent", "Shares the connect-failed line with bootstrap_unreachable; the older wording of RCCL, and a host that no route leads to.")
def rccl(box):
    s = init_error(box, 777, "include/socket.h:415", "Net : Connect to 10.41.6.21<52061> failed : No route to host")
    box.expect("root_cause", "node_network_broken", culprits=[{"host": s.hosts[0].name}], evidence=["Net : Connect to 10.41.6.21<52061> failed : No route to host"], must_not=["bootstrap_unreachable"])


AV = "NET/OFI CM: Unable to insert remote address into address vector for device. RC: Invalid argument"


@case("libfabric_error/address-vector", "positive", "The two hosts lie in different zones: the provider refuses the peer's address.")
def address_vector(box):
    init_error(box, 779, "cm/nccl_ofi_cm_resources.cpp:98", AV, everywhere=True)
    box.expect("root_cause", "libfabric_error", evidence=["Unable to insert remote address into address vector"], must_not=["efa_handshake_failed", "comm_error", "python_exception"])


@case("libfabric_error/null-context", "degraded", "One rank's log with the plugin's complaint about a completion that belongs to no request.")
def null_context(box):
    init_error(box, 781, "ofi_process_cq:1200", "NET/OFI Invalid request context provided", only=6)
    box.expect("root_cause", "libfabric_error", culprits=[{"rank": 6}], evidence=["NET/OFI Invalid request context provided"], must_not=["efa_handshake_failed", "python_exception_one_rank"])


@case("efa_handshake_failed/unresponsive-receiver", "adjacent", "The twin of libfabric_error/address-vector: the address is accepted, the peer does not answer the handshake.")
def unresponsive(box):
    init_error(box, 779, "ofi_process_cq:177", "NET/OFI Request 0x7f11c0de0%(rank)d00 completed with error. RC: 113. Error: 4110 (Unresponsive receiver (reachable by EFA device but "
               "handshake failed)). Completed length: 0", everywhere=True)
    box.expect("root_cause", "efa_handshake_failed", evidence=["Unresponsive receiver (reachable by EFA device but handshake failed)"], must_not=["libfabric_error", "comm_error", "python_exception"])


@case("comm_error/queue-pair-no-reason", "adjacent", """The twin of memlock_limit/ibv-create-cq: a queue pair cannot be created, and no reason is given. It may be the limit, and it may be the device.""")
def qp_no_reason(box):
    s = sc.Scene(["dunlin-05"], per_host=4, bus=sc.A100[:4], seed=257, start="2026-07-28 09:00:00")
    logs = {}
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        sc.nccl_init(s, log, r, s.start + 20 * SEC)
        log.say(s.start + 22 * SEC, sc.nccl_warn(r, "misc/ibvwrap.cc:280", "Call to ibv_create_qp failed"), sc.nccl(r, "transport/net_ib.cc:688 -> 2"))
    put_logs(box, logs)
    box.expect("unattributed", "comm_error", evidence=["Call to ibv_create_qp failed"], must_not=["memlock_limit", "rdma_memory_registration"])


@case("comm_error/efa-peer-gone", "adjacent", """The twin of libfabric_error/address-vector: the address had been accepted and used; now the provider finds nobody at it.""")
def efa_gone(box):
    text = ("libfabric:7712:1787050807::efa:cq:efa_rdm_txe_handle_error():737<warn> err: 5, message: Invalid address My EFA addr: fi_addr_efa://[fe80::21]:0:1072483550 "
            "My host id: i-0aa17c2290 Peer EFA addr: fi_addr_efa://[fe80::42]:0:947699476 Peer host id: i-0bb98d1137 (7)")
    box.put("rank_3.log", [text] * 2)
    box.expect("unattributed", "comm_error", evidence=["Invalid address"], must_not=["libfabric_error", "efa_handshake_failed"])


@case("collective_desync/sizes-in-the-transport", "degraded", "One line of one rank: the RDMA transport finds that its peer expects another size.")
def ib_sizes(box):
    box.put("rank_1.log", ["gull-02:41102:41377 [1] transport/net_ib.cc:1038 NCCL WARN NET/IB : req 0/1 tag 0 peer 10.77.4.11<58683> collective mismatch error, local size 786432 remote size 131072",
                           "gull-02:41102:41377 [1] NCCL INFO transport/net.cc:890 -> 5"])
    box.expect("root_cause", "collective_desync", evidence=["collective mismatch error"], must_not=["nccl_version_mismatch", "comm_error"])


# ---------------------------------------------------------------- nic_missing_on_one_rank

def devices(box, missing, only_log=None, error=None):
    """Eight ranks on two hosts; those of `missing` opened three devices, the others four.  Nobody gets through the first all-reduce."""
    s = sc.Scene(["fieldfare-01", "fieldfare-02"], per_host=4, bus=sc.A100[:4], seed=801, start="2026-10-25 09:00:00")
    logs = {}
    for r in s.ranks:
        log = logs[r.rank] = Log()
        sc.startup(s, log, r, s.start)
        part = Log()
        sc.nccl_init(s, part, r, s.start + 20 * SEC, brief=False)
        for ns, line in part:
            log.say(ns, line.replace(" [3]mlx5_5:1/IB", "") if r.rank in missing else line)
        if error and r.rank in missing:
            log.say(s.start + 21 * SEC, sc.nccl_warn(r, "transport/net_ib.cc:1050", error))
        sc.watchdog(s, log, r, s.start + 640 * SEC + r.rank * 30_000_000, 3, numel_in=1, first=r.rank == 0)
    put_logs(box, {k: v for k, v in logs.items() if only_log is None or k in only_log})
    return s


@case("nic_missing_on_one_rank/three-of-four", "positive", "Rank 6's process was given three of the four RDMA devices; the first all-reduce never ends, and no line complains.")
def three_of_four(box):
    devices(box, [6])
    box.put("launcher/srun.out", ["srun: job 77120 has been allocated resources"] + ["%d: fieldfare-0%d: stage %d of 40: /opt/images/atlas.sqsh verified" % (i % 8, 1 + i % 8 // 4, i // 2) for i in range(80)])
    box.expect("root_cause", "nic_missing_on_one_rank", culprits=[{"rank": 6, "host": "fieldfare-02"}], evidence=["NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_3:1/IB [2]mlx5_4:1/IB [RO]"],
               must_not=["collective_timeout", "nccl_wrong_hca", "rank_stalled"])


@case("collective_timeout/all-with-three-devices", "adjacent", "The twin of nic_missing_on_one_rank/three-of-four: all ranks opened the same three devices.")
def three_each(box):
    devices(box, range(8))
    box.expect("unattributed", "collective_timeout", must_not=["nic_missing_on_one_rank"])


@case("nic_missing_on_one_rank/half-of-the-logs", "degraded", "Only the logs of the second host.")
def three_of_four_cut(box):
    devices(box, [6], only_log=(4, 5, 6, 7))
    box.expect("root_cause", "nic_missing_on_one_rank", culprits=[{"rank": 6}], evidence=["[2]mlx5_4:1/IB [RO]"], must_not=["nccl_wrong_hca"])


@case("nccl_wrong_hca/fewer-and-other-devices", "adjacent", "The twin of nic_missing_on_one_rank/three-of-four: what that rank opened is of another link type than its peers' devices, and NCCL says so.")
def three_and_roce(box):
    devices(box, [6], error=LAYER)
    box.expect("root_cause", "nccl_wrong_hca", evidence=["is incompatible with the local"], must_not=["nic_missing_on_one_rank", "collective_timeout"])


# ---------------------------------------------------------------- network_slow

def pair_tests(box, slow, files=None):
    """nccl-tests between all pairs of five hosts; pairs with `slow` reach a third."""
    hosts = ["skylark-%02d" % i for i in range(1, 6)]
    n = 0
    for i, a in enumerate(hosts):
        for b in hosts[i + 1:]:
            n += 1
            out = ["# nThread 1 nGpus 1 minBytes 1073741824 maxBytes 1073741824 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 validation: 1 graph: 0", "#", "# Using devices"]
            for r in range(16):
                out.append("#  Rank %2d Group  0 Pid %6d on %10s device %2d [0x%s] NVIDIA H100 80GB HBM3" % (r, 40_000 + 100 * n + r, (a, b)[r // 8], r % 8, sc.H100[r % 8]))
            bw = 371.2 + n * 0.37 - (255.0 if slow in (a, b) else 0)
            out += ["#", "#                                                              out-of-place                       in-place",
                    "#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong",
                    "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)",
                    "  1073741824     268435456     float     sum      -1  %7.1f  %6.2f  %6.2f      0  %7.1f  %6.2f  %6.2f      0" % (1073741824 / bw / 1000 * 1.875, bw / 1.875, bw, 1073741824 / bw / 1000 * 1.875, bw / 1.875, bw),
                    "# Out of bounds values : 0 OK", "# Avg bus bandwidth    : %.4f" % bw, "#"]
            if files is None or n in files:
                box.put("pairs/%s_%s.txt" % (a, b), out)


@case("network_slow/pair-tests", "positive", "The same test between all pairs of five hosts: every pair with skylark-04 reaches a third of the others' bandwidth.")
def slow_host(box):
    pair_tests(box, "skylark-04")
    box.expect("root_cause", "network_slow", culprits=[{"host": "skylark-04"}], evidence=["# Avg bus bandwidth    : 11"], must_not=["straggler", "ib_link_error"])


@case("network_slow/half-of-the-tests", "degraded", "Half of the results.")
def slow_host_cut(box):
    pair_tests(box, "skylark-04", files=(1, 2, 3, 4, 6))
    box.expect("root_cause", "network_slow", culprits=[{"host": "skylark-04"}], evidence=["# Avg bus bandwidth    : 11"], must_not=["straggler"])


@case("none/pair-tests", "benign", "The twin of network_slow/pair-tests: all pairs are equally fast.")
def fast_hosts(box):
    pair_tests(box, None)
    box.expect("no_failure", None, must_not=["network_slow"], observations=["net.bandwidth"])
