"""Whole incidents: the logs of all ranks, and how a hang ends in them."""
import scene as sc
from scene import MIN, SEC, Log


def logs_of(scene, lines=60, begin=None, end=None, leader_lines=220, style="python", init=True, ranks=None, step0=118_000):
    """A log per rank: start, NCCL init, benign training."""
    begin = begin or scene.start + 2 * MIN
    out = {}
    for r in ranks or scene.ranks:
        log = out[r.rank] = Log()
        sc.startup(scene, log, r, scene.start)
        if init:
            sc.nccl_init(scene, log, r, scene.start + 40 * SEC, brief=r.local != 0)
        sc.training(scene, log, r, begin, end or begin + 70 * MIN, leader_lines if r.rank == 0 else lines, style=style, step0=step0)
    return out


def put_logs(box, logs, folder="logs", name="rank_%d.log", prefix="plain", scene=None):
    for r, log in sorted(logs.items()):
        tag = sc.PREFIX[prefix]
        lines = [(tag(scene[r]) + x if prefix != "plain" and not x.startswith("[rank") else x) for x in log.lines()]
        box.put("%s/%s" % (folder, name % r), lines)


def merged(scene, logs, prefix):
    """All ranks in one file, as srun --label or torchrun prints them."""
    rows = []
    for r, log in sorted(logs.items()):
        tag = sc.PREFIX[prefix](scene[r])
        rows += [(ns, tag + x) for ns, x in sorted(log, key=lambda x: x[0])]
    rows.sort(key=lambda x: x[0])
    return [x for _, x in rows]


OPS = {"all_reduce": "ALLREDUCE", "broadcast": "BROADCAST", "_reduce_scatter_base": "_REDUCE_SCATTER_BASE",
       "_all_gather_base": "_ALLGATHER_BASE", "coalesced": "COALESCED", "all_to_all": "ALLTOALL_BASE"}


def product(sizes):
    n = 1
    for d in sizes[0] if sizes else []:
        n *= d
    return n


def pending(run, rank):
    """The first unfinished entry of a rank that carries state, or None."""
    return next((e for e in run.entries[rank] if e["finished"] is None and not e.get("member")), None)


def hang(scene, logs, run, ns, skip=(), first=0, spread_ms=530, timeout_ms=600_000, ranks=None, **how):
    """Every rank with unfinished work times out at about `ns` + timeout, `first` before the others."""
    last = 0
    for r in ranks or scene.ranks:
        e = None if r.rank in skip else pending(run, r.rank)
        if e is None:
            continue
        g, out = e["group"], e["outs"]
        mine = [x for x in run.entries[r.rank] if x["group"] is g]
        late = 0 if r.rank == first else 20 + (r.rank * 97) % spread_ms
        what = e["name"].split(":")[1].split(" ")[0]
        number = "p2p" if e["is_p2p"] else "seq"
        t = sc.watchdog(scene, logs[r.rank], r, ns + timeout_ms * 1_000_000 + late * 1_000_000, e[number],
                        OPS.get(what, what.upper()), product(e["ins"]), product(out), timeout_ms, g.name, g.desc,
                        enqueued=mine[-1][number], completed=e[number] - 1, first=r.rank == first, over_ms=8 + late % 90,
                        pg_id=[x for x in run.groups if r.rank in x.ranks].index(g), **how)
        last = max(last, t)
    return last


def quick(scene, begin_min=2, minutes=40, leader=190, others=12, **how):
    """Logs of a job that trained `minutes` and was fine until then; also when it was last fine."""
    begin = scene.start + begin_min * MIN
    end = begin + minutes * MIN
    return logs_of(scene, others, begin, end, leader_lines=leader, **how), end


def remote_error(log, r, ns, peer, code=12, seq=None):
    """NCCL lost a peer: what the other ranks of a dead or unreachable process say."""
    log.say(ns, sc.nccl_warn(r, "misc/socket.cc:71", "socketProgress: Connection closed by remote peer %s<%d>" % (peer, 40_000 + r.rank * 37)))
    log.say(ns + 1_000_000, sc.nccl(r, "proxy.cc:1521 -> 6", r.tid + 44))
    log.say(ns + 4_000_000, "[rank%d]:[E%s ProcessGroupNCCL.cpp:2068] [PG ID 0 PG GUID 0(default_pg) Rank %d] Process group watchdog thread terminated with "
            "exception: NCCL error: remote process exited or there was a network error, NCCL version 2.27.3" % (r.rank, sc.stamp(ns + 4_000_000, "torch"), r.rank))
    log.say(ns + 4_000_000, "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.", "Last error:",
            "socketProgress: Connection closed by remote peer %s<%d>" % (peer, 40_000 + r.rank * 37))


def launchers(box, scene, end, failed, code, name="launcher/torchrun-%s.log", hosts=None):
    """torchrun's output on every host; on hosts other than the failed rank's the first rank aborts."""
    for host in hosts or scene.hosts:
        out = Log()
        sc.torchrun_start(scene, out, host, scene.start - 3 * SEC)
        if host is failed.host:
            sc.torchrun(scene, out, host, end, failed, code)
        else:
            sc.torchrun(scene, out, host, end + 4 * SEC, scene.on(host)[0], -6)
        box.put(name % host.name, out)
