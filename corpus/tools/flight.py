#!/usr/bin/env python3
"""PyTorch flight-recorder dumps, made to order.

A run is simulated: every rank has a program of collective calls, its host issues
them a few ahead of its device, a collective completes where all members launched
it.  A fault changes programs or stops a host or a device, and the states of all
dumps follow from that.  The encoders write what PyTorch writes, byte for byte in
style: `cpp` is torch::jit::Pickler as FlightRecorder drives it, `py2`, `py4` and
`py5` are CPython's protocols, `json` is the JSON dump.

    flight.py OUTDIR [--ranks 8] [--fault NAME] [--style cpp] [--version 2.9] ...
    flight.py --list

Nothing here reads a clock; the same arguments give the same bytes.
"""
import argparse
import json
import math
import os
import pickle
import random
import struct
import sys

BASE_NS = 1_773_455_000_000_000_000          # 2026-03-14 02:23:20 UTC
POLL_NS = 100_000_000                        # the watchdog looks every 100 ms


# ---------------------------------------------------------------- encoders

class Held:
    """A container that more than one owner holds: memoised after its body."""
    __slots__ = ("value", "owners", "memo")

    def __init__(self, value, owners=0):
        self.value, self.owners, self.memo = value, owners, None


class IntList(list):
    """std::vector<int64_t>: the one value that the oldest recorder wrote with a GLOBAL."""


class CppPickler:
    """The opcodes of torch::jit::Pickler with tag_aggregates off."""

    def __init__(self):
        self.out = bytearray(b"\x80\x02")
        self.strings = {}
        self.memos = 0

    def _store(self):
        n = self.memos
        self.memos += 1
        self.out += b"q%c" % n if n < 256 else b"r" + struct.pack("<I", n)
        return n

    def _fetch(self, n):
        self.out += b"h%c" % n if n < 256 else b"j" + struct.pack("<I", n)

    def _string(self, s):
        if s in self.strings:
            return self._fetch(self.strings[s])
        raw = s.encode("utf-8", "surrogateescape")
        self.out += b"X" + struct.pack("<I", len(raw)) + raw
        self.strings[s] = self._store()

    def _int(self, v):
        if 0 <= v < 256:
            self.out += b"K%c" % v
        elif 0 <= v < 65536:
            self.out += b"M" + struct.pack("<H", v)
        elif -(1 << 31) <= v < 1 << 31:
            self.out += b"J" + struct.pack("<i", v)
        else:
            self.out += b"\x8a\x08" + struct.pack("<q", v)

    def push(self, v):
        out = self.out
        if v is None:
            out += b"N"
        elif v is True or v is False:
            out += b"\x88" if v else b"\x89"
        elif isinstance(v, str):
            self._string(v)
        elif isinstance(v, int):
            self._int(v)
        elif isinstance(v, float):
            out += b"G" + struct.pack(">d", v)
        elif isinstance(v, Held):
            if v.memo is not None:
                self._fetch(v.memo)
            else:
                self.push(v.value)
                if v.owners > 1:
                    v.memo = self._store()
        elif isinstance(v, IntList):
            out += b"ctorch.jit._pickle\nbuild_intlist\n"
            self._store()
            out += b"("
            self.push(list(v))
            out += b"tR"
        elif isinstance(v, dict):
            out += b"}("
            for key, value in v.items():
                self.push(key)
                self.push(value)
            out += b"u"
        elif isinstance(v, list):
            out += b"]("
            for item in v:
                self.push(item)
            out += b"e"
        elif isinstance(v, tuple) and len(v) == 2:
            self.push(v[0])
            self.push(v[1])
            out += b"\x86"
        else:
            raise TypeError(type(v))

    def done(self):
        return bytes(self.out + b".")


def plain(v):
    """The same value without Held and IntList."""
    if isinstance(v, Held):
        if v.memo is None:
            v.memo = plain(v.value)          # one object, so that CPython shares it too
        return v.memo
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, tuple):
        return tuple(plain(x) for x in v)
    if isinstance(v, list):
        return [plain(x) for x in v]
    return v


def encode(obj, style):
    if style == "cpp":
        p = CppPickler()
        p.push(obj)
        return p.done()
    value = plain(obj)
    if style == "json":
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return pickle.dumps(value, protocol=int(style[2:]))


class _DataOnly(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ("torch.jit._pickle", "build_intlist"):
            return list
        raise pickle.UnpicklingError("global %s.%s" % (module, name))


def load(data):
    """Read a dump back; refuses everything but data."""
    import io
    if data[:1] in (b"{", b"["):
        return json.loads(data)
    return _DataOnly(io.BytesIO(data)).load()


# ---------------------------------------------------------------- the run

class Group:
    def __init__(self, name, desc, ranks):
        self.name, self.desc, self.ranks = name, desc, tuple(ranks)
        self.key = (name, self.ranks)


class Call:
    """One launch: a collective, a coalesced set of them, or a batch of sends and receives."""
    __slots__ = ("group", "op", "ins", "outs", "dtype", "stack", "parts", "p2p", "batched", "gap")

    def __init__(self, group, op, ins=None, outs=None, dtype="BFloat16", stack="forward",
                 parts=None, p2p=None, batched=True, gap=3_000_000):
        self.group, self.op, self.dtype, self.stack = group, op, dtype, stack
        self.ins = ins if ins is not None else []
        self.outs = outs if outs is not None else self.ins
        self.parts, self.p2p, self.batched, self.gap = parts, p2p, batched, gap

    def signature(self):
        if self.parts:
            return tuple(map(str, self.parts))
        return (self.op, str(self.ins), str(self.outs), self.dtype)

    def copy(self, **changes):
        c = Call(self.group, self.op, self.ins, self.outs, self.dtype, self.stack, self.parts,
                 self.p2p, self.batched, self.gap)
        for k, v in changes.items():
            setattr(c, k, v)
        return c


class Run:
    """Programs of all ranks, the stops that a fault puts in, and what came of it."""

    def __init__(self, groups, programs, ahead=5, base_ns=BASE_NS, seed=1, timing=False):
        self.groups, self.programs, self.ahead = groups, programs, ahead
        self.base_ns, self.seed, self.timing = base_ns, seed, timing
        self.host_stop = {}      # rank -> index of the call that its host never issues
        self.dev_stop = {}       # rank -> index of the call that its device never finishes
        self.never = set()       # (group key, seq) that nobody finishes
        self.late = {}           # rank -> ns that its host comes late to each call
        self.cut_ns = None       # look at the run at this time: later events have not happened
        self.entries = {}
        self.sequence_offset = {}    # group key -> calls before the program begins

    # -- numbering

    def number(self):
        """Give every call of every rank its sequence numbers and what it waits for."""
        self.plan = {}
        signatures = {}
        for r, program in self.programs.items():
            seq, p2p_seq, ops, pair = {}, {}, {}, {}
            plan = []
            for call in program:
                g = call.group.key
                base = self.sequence_offset.get(g, 0)
                c, p = seq.setdefault(g, base), p2p_seq.setdefault(g, 0)
                o = ops.setdefault(g, base)
                if call.p2p:
                    p2p_seq[g] = p = p + 1
                    own, need = set(), set()
                    for what, peer, size in call.p2p:
                        a, b = (r, peer) if what == "send" else (peer, r)
                        k = pair.get((g, what, peer), 0)
                        pair[(g, what, peer)] = k + 1
                        own.add((what, g, a, b, k))
                        other = ("recv" if what == "send" else "send", g, a, b, k)
                        need.add((peer, other))
                        signatures.setdefault((g, a, b, k), set()).add(str(size))
                    ops[g] = o + len(call.p2p)
                else:
                    seq[g] = c = c + 1
                    own = {("coll", g, c)}
                    need = {(m, ("coll", g, c)) for m in call.group.ranks}
                    signatures.setdefault((g, c), set()).add(call.signature())
                    ops[g] = o + (len(call.parts) if call.parts else 1)
                plan.append({"call": call, "seq": c, "p2p": p if call.p2p else 0, "op_id": o,
                             "own": own, "need": need, "key": (g, c)})
            self.plan[r] = plan
        for what, signs in signatures.items():
            if len(signs) > 1:
                self.never.add(what)

    def blocked(self, step):
        if step["call"].p2p:
            return any((k[1], k[2], k[3], k[4]) in self.never for k in step["own"])
        return step["key"] in self.never

    def go(self):
        self.number()
        rng = {r: random.Random(self.seed * 7919 + r) for r in self.programs}
        issued = {r: 0 for r in self.plan}
        done = {r: 0 for r in self.plan}
        clock = {r: self.base_ns for r in self.plan}
        launched = {}                        # (rank, key) -> time
        for r, plan in self.plan.items():
            for step in plan:
                step.update(created=None, started=None, finished=None)
        moved = True
        while moved:
            moved = False
            for r, plan in self.plan.items():
                limit = min(len(plan), self.host_stop.get(r, len(plan)))
                while issued[r] < limit and issued[r] - done[r] < self.ahead:
                    step = plan[issued[r]]
                    if issued[r] >= self.ahead:
                        clock[r] = max(clock[r], plan[issued[r] - self.ahead]["finished"])
                    clock[r] += step["call"].gap + rng[r].randrange(200_000) + self.late.get(r, 0)
                    if self.cut_ns is not None and clock[r] > self.cut_ns:
                        break
                    step["created"] = clock[r]
                    issued[r] += 1
                    moved = True
                if done[r] >= issued[r]:
                    continue
                step = plan[done[r]]
                if step["started"] is None:
                    before = plan[done[r] - 1]["finished"] if done[r] else 0
                    step["started"] = max(step["created"] + 40_000, before + 5_000)
                    for key in step["own"]:
                        launched[(r, key)] = step["started"]
                    moved = True
                if self.dev_stop.get(r) == done[r] or self.blocked(step):
                    continue
                if all(n in launched for n in step["need"]):
                    last = max([launched[n] for n in step["need"]] + [step["started"]])
                    finish = last + 900_000 + rng[r].randrange(60_000)
                    if self.cut_ns is not None and finish > self.cut_ns:
                        continue
                    step["finished"] = finish
                    done[r] += 1
                    moved = True
        for r, plan in self.plan.items():
            self.entries[r] = self.record(r, plan[:issued[r]])
        return self

    def align(self, rank, ns):
        """Run so that the last thing that `rank` issued happened at `ns`."""
        self.go()
        self.base_ns += ns - max(e["created"] for e in self.entries[rank])
        if self.cut_ns is not None:
            raise ValueError("a cut run has its own clock")
        return self.go()

    # -- what the recorder of one rank keeps

    def record(self, r, steps):
        out = []
        phase = random.Random(self.seed * 104729 + r).randrange(POLL_NS)

        def seen(t):
            """When the watchdog saw it."""
            if t is None:
                return None
            return t + (POLL_NS - (t - phase) % POLL_NS)

        for step in steps:
            call, finished = step["call"], seen(step["finished"])
            started = seen(step["started"]) if self.timing else None
            if started is not None and finished is not None:
                started = min(started, finished)
            common = {"group": call.group, "seq": step["seq"], "p2p": step["p2p"],
                      "stack": call.stack, "thread": "pt_main_thread"}
            lasts = None
            if self.timing and step["finished"]:
                lasts = step["finished"] - step["started"]
            closing = dict(finished=finished, started=started, lasts=lasts)
            silent = dict(finished=None, started=None, lasts=None)
            op = step["op_id"]
            if call.p2p:
                local = {g: i for i, g in enumerate(call.group.ranks)}
                for k, (what, peer, size) in enumerate(call.p2p):
                    op += 1
                    name = "nccl:%s %d%s%d" % (what, local[r], "->" if what == "send" else "<-", local[peer])
                    out.append(dict(common, op_id=op, name=name, ins=[size], outs=[size], dtype=call.dtype,
                                    created=step["created"] + k * 9_000, is_p2p=True,
                                    member=call.batched, **(silent if call.batched else closing)))
                if call.batched:
                    out.append(dict(common, op_id=op, name="nccl:coalesced", ins=[], outs=[], dtype=None,
                                    created=step["created"] + 30_000, is_p2p=True, **closing))
            elif call.parts:
                for k, (name, ins, outs) in enumerate(call.parts):
                    op += 1
                    out.append(dict(common, op_id=op, name="nccl:" + name, ins=ins, outs=outs, dtype=call.dtype,
                                    created=step["created"] + k * 7_000, is_p2p=False, member=True, part=True, **silent))
                out.append(dict(common, op_id=op, name="nccl:" + call.op, ins=[], outs=[], dtype=None,
                                created=step["created"] + 40_000, is_p2p=False, **closing))
            else:
                out.append(dict(common, op_id=op + 1, name="nccl:" + call.op, ins=call.ins, outs=call.outs,
                                dtype=call.dtype, created=step["created"], is_p2p=False, **closing))
        for i, e in enumerate(out):
            e["record_id"] = i
        return out


# ---------------------------------------------------------------- stacks

_C10D = "/opt/venv/lib/python3.12/site-packages/torch/distributed/distributed_c10d.py"
_LOGGER = "/opt/venv/lib/python3.12/site-packages/torch/distributed/c10d_logger.py"
_APP = "/srv/atlas/"
_TAIL = [("run_step", _APP + "atlas/engine/step.py", 212), ("fit", _APP + "atlas/engine/loop.py", 97),
         ("main", _APP + "pretrain.py", 318), ("<module>", _APP + "pretrain.py", 341)]
STACKS = {
    "batch": [("broadcast", _C10D, 2730), ("wrapper", _LOGGER, 81), ("share_batch", _APP + "atlas/data/feed.py", 58)] + _TAIL,
    "forward": [("all_reduce", _C10D, 2829), ("wrapper", _LOGGER, 81), ("row_parallel", _APP + "atlas/parallel/tensor.py", 133),
                ("forward", _APP + "atlas/model/block.py", 74)] + _TAIL,
    "attention": [("all_reduce", _C10D, 2829), ("wrapper", _LOGGER, 81), ("row_parallel", _APP + "atlas/parallel/tensor.py", 133),
                  ("attend", _APP + "atlas/model/attention.py", 201), ("forward", _APP + "atlas/model/block.py", 66)] + _TAIL,
    "experts": [("all_to_all_single", _C10D, 4412), ("wrapper", _LOGGER, 81), ("route", _APP + "atlas/model/experts.py", 187),
                ("forward", _APP + "atlas/model/block.py", 81)] + _TAIL,
    "scatter": [("reduce_scatter_tensor", _C10D, 4171), ("wrapper", _LOGGER, 81), ("push_grads", _APP + "atlas/parallel/shard.py", 240),
                ("backward_done", _APP + "atlas/parallel/shard.py", 288)] + _TAIL,
    "gather": [("all_gather_into_tensor", _C10D, 3812), ("wrapper", _LOGGER, 81), ("pull_params", _APP + "atlas/parallel/shard.py", 199)] + _TAIL,
    "norm": [("all_reduce", _C10D, 2829), ("wrapper", _LOGGER, 81), ("global_norm", _APP + "atlas/optim/clip.py", 44)] + _TAIL,
    "stats": [("all_reduce", _C10D, 2829), ("wrapper", _LOGGER, 81), ("log_stats", _APP + "atlas/engine/metrics.py", 119)] + _TAIL,
    "pipe": [("batch_isend_irecv", _C10D, 2721), ("exchange", _APP + "atlas/parallel/pipe.py", 92),
             ("one_f_one_b", _APP + "atlas/parallel/pipe.py", 251)] + _TAIL,
    "barrier": [("barrier", _C10D, 4788), ("wrapper", _LOGGER, 81), ("save", _APP + "atlas/ckpt/save.py", 71)] + _TAIL,
}


# ---------------------------------------------------------------- one rank's dump

def version_of(text):
    return tuple(int(x) for x in text.split("."))


def dump(run, rank, version="2.9", style="cpp", frames=True, ring=0, active_only=False,
         record_base=0, library="2.27.3"):
    """What rank `rank` dumps, as the value that an encoder takes."""
    bare = version == "bare"
    v = (0, 9) if bare else version_of(version)
    mine = [g for g in run.groups if rank in g.ranks]
    local_id = {g.key: i for i, g in enumerate(mine)}
    entries = run.entries[rank]
    if v < (2, 7):
        entries = [e for e in entries if not e.get("part")]
    kept = entries[-ring:] if ring else entries
    if active_only:
        kept = [e for e in kept if e["finished"] is None]
    frames = frames and style != "json"

    shared = {}
    if frames:
        for e in kept:
            for f in STACKS[e["stack"]]:
                h = shared.setdefault(f, Held({"name": f[0], "filename": f[1], "line": f[2]},
                                              2 if v <= (2, 2) else 0))
                h.owners += 1

    status = {}
    for g in mine:
        works = [(e["p2p"] if e["is_p2p"] else e["seq"], e) for e in entries
                 if e["group"].key == g.key and not e.get("member")]
        base = run.sequence_offset.get(g.key, 0)
        last = [n for n, e in works]
        complete = [n for n, e in works if e["finished"] is not None]
        begun = [n for n, e in works if e["started"] is not None]
        status[str(local_id[g.key])] = {
            "last_enqueued_collective": last[-1] if last else base or -1,
            "last_started_collective": begun[-1] if begun else -1,
            "last_completed_collective": complete[-1] if complete else base or -1}

    rows = []
    for e in kept:
        row = {}
        if frames and v > (2, 2):
            row["frames"] = [shared[f] for f in STACKS[e["stack"]]]
        dtypes = [e["dtype"]] * len(e["ins"]) if e["dtype"] else []
        row["record_id"] = e["record_id"] + record_base
        row["pg_id"] = local_id[e["group"].key]
        if v >= (1, 5):
            row["process_group"] = (e["group"].name, e["group"].desc)
        if v >= (2, 9):
            row["thread_name"] = e["thread"]
            row["thread_id"] = str(139_700_000_000_000 + rank * 4096)
        if v >= (2, 0):
            row["collective_seq_id"] = e["seq"]
            row["p2p_seq_id"] = e["p2p"]
        else:
            row["seq_id"] = e["seq"]
        if v >= (1, 4):
            row["op_id"] = e["op_id"]
        row["profiling_name"] = e["name"]
        row["time_created_ns"] = e["created"]
        if e["lasts"] is not None:
            row["duration_ms"] = struct.unpack("<f", struct.pack("<f", e["lasts"] / 1e6))[0]
        lists = IntList if bare and style == "cpp" else list
        if v >= (1, 1) or bare:
            row["input_sizes"] = [lists(s) for s in e["ins"]]
        if v >= (2, 0):
            row["input_dtypes"] = list(dtypes)
        if v >= (1, 1):
            row["output_sizes"] = [list(s) for s in e["outs"]]
        if v >= (2, 0):
            row["output_dtypes"] = [e["dtype"]] * len(e["outs"]) if e["dtype"] else []
        row["state"] = ("completed" if e["finished"] is not None else
                        "started" if e["started"] is not None else "scheduled")
        if v >= (1, 1):
            none = 0 if style == "json" else None
            row["time_discovered_started_ns"] = e["started"] if e["started"] is not None else none
            row["time_discovered_completed_ns"] = e["finished"] if e["finished"] is not None else none
            row["retired"] = e["finished"] is not None
        if v >= (2, 2):
            row["timeout_ms"] = 600000
        if v >= (2, 0):
            row["is_p2p"] = e["is_p2p"]
        if frames and v <= (2, 2):
            row["frames"] = [shared[f] for f in STACKS[e["stack"]]]
        if style == "json" and "process_group" in row:
            row["process_group"] = list(row["process_group"])
        rows.append(row)

    if bare:
        return Held(rows, 2)
    config = {}
    for g in sorted(mine, key=lambda g: (g.name, g.desc)):
        if (1, 4) <= v < (2, 0) and v < (1, 5):
            config.setdefault(local_id[g.key], list(g.ranks))
        else:
            config.setdefault(g.name, {"name": g.name, "desc": g.desc,
                                       "ranks": "[%s]" % ", ".join(map(str, g.ranks))})
    top = {}
    if v <= (2, 2):                          # entries first, the header behind them
        top["entries"] = Held(rows, 2)
        top["version"] = version
        if v >= (1, 4):
            top["pg_config"] = Held(config, 2)
        return Held(top, 2)
    top["version"] = version
    top["pg_config"] = config
    if v >= (2, 6):
        top["comm_lib_version" if v >= (2, 10) else "nccl_version"] = library
    if style == "json":
        status = {k: {a: str(b) for a, b in x.items()} for k, x in status.items()}
    top["pg_status"] = status
    if rows or style != "json":
        top["entries"] = rows
    return Held(top, 2 if v < (2, 10) else 1)


# ---------------------------------------------------------------- workloads

def groups_flat(n):
    return [Group("0", "default_pg", range(n))]


def groups_grid(n, tp, pp=1):
    """Default, tensor-parallel, data-parallel and (pp > 1) pipeline groups."""
    out = groups_flat(n)
    k = 1
    per_stage = n // pp
    for base in range(0, n, tp):
        out.append(Group(str(k), "TENSOR_PARALLEL", range(base, base + tp)))
        k += 1
    for stage in range(pp):
        lo = stage * per_stage
        for j in range(tp):
            ranks = range(lo + j, lo + per_stage, tp)
            if len(ranks) > 1:
                out.append(Group(str(k), "DATA_PARALLEL", ranks))
                k += 1
    if pp > 1:
        for j in range(per_stage):
            out.append(Group(str(k), "PIPELINE_PARALLEL", range(j, n, per_stage)))
            k += 1
    return out


def of(groups, desc, rank):
    return next((g for g in groups if g.desc == desc and rank in g.ranks), None)


def program_grid(groups, rank, steps, layers=3, hidden=4096, pipe=False):
    """The calls of one training rank."""
    world = groups[0]
    tp = of(groups, "TENSOR_PARALLEL", rank) or world
    dp = of(groups, "DATA_PARALLEL", rank)
    pg = of(groups, "PIPELINE_PARALLEL", rank) if pipe else None
    act = [[2048, 1, hidden]]
    out = []
    for _ in range(steps):
        out.append(Call(tp, "broadcast", [[2048]], dtype="Long", stack="batch", gap=9_000_000))
        if pg and pg.ranks.index(rank) > 0:
            before = pg.ranks[pg.ranks.index(rank) - 1]
            out.append(Call(pg, "coalesced", stack="pipe", p2p=[("recv", before, act[0])]))
        for _ in range(layers):
            out.append(Call(tp, "all_reduce", act, stack="attention"))
            out.append(Call(tp, "all_reduce", act, stack="forward"))
        if pg and pg.ranks.index(rank) + 1 < len(pg.ranks):
            after = pg.ranks[pg.ranks.index(rank) + 1]
            out.append(Call(pg, "coalesced", stack="pipe", p2p=[("send", after, act[0])]))
        if dp:
            n = len(dp.ranks)
            out.append(Call(dp, "_reduce_scatter_base", [[1048576]], [[1048576 // n]], "Float", "scatter"))
            out.append(Call(dp, "_all_gather_base", [[1048576 // n]], [[1048576]], "BFloat16", "gather"))
        out.append(Call(world, "all_reduce", [[1]], dtype="Float", stack="norm"))
    return out


def program_flat(groups, rank, steps, buckets=(4194304, 6553600, 2097152)):
    """Data parallel: gradient buckets, then the norm."""
    out = []
    for _ in range(steps):
        for b in buckets:
            out.append(Call(groups[0], "all_reduce", [[b]], stack="scatter", gap=6_000_000))
        out.append(Call(groups[0], "all_reduce", [[1]], dtype="Float", stack="norm"))
    return out


def make_run(ranks=8, steps=5, topology="grid", tp=4, pp=1, **kw):
    if topology == "flat":
        groups = groups_flat(ranks)
        programs = {r: program_flat(groups, r, steps) for r in range(ranks)}
    else:
        groups = groups_grid(ranks, tp, pp)
        programs = {r: program_grid(groups, r, steps, pipe=pp > 1) for r in range(ranks)}
    return Run(groups, programs, **kw)


def find_call(run, rank, desc=None, op=None, nth=-1, stack=None):
    """Index of the nth call of `rank` that fits."""
    hits = [i for i, c in enumerate(run.programs[rank])
            if (desc is None or c.group.desc == desc) and (op is None or c.op == op)
            and (stack is None or c.stack == stack)]
    return hits[nth]


# ---------------------------------------------------------------- faults

def fault_none(run, c):
    return "every rank completed everything", []


def fault_not_entered(run, c):
    run.host_stop[c] = find_call(run, c, "TENSOR_PARALLEL" if len(run.groups) > 1 else None, "all_reduce", -4)
    return "one host stopped before a collective of its tensor-parallel group", [c]


def fault_not_entered_world(run, c):
    run.host_stop[c] = find_call(run, c, "default_pg")
    return "one host stopped before the last world collective", [c]


def fault_two_not_entered(run, c):
    d = (c + len(run.programs) // 2) % len(run.programs)
    for r in (c, d):
        fault_not_entered(run, r)
    return "two hosts stopped in two tensor-parallel groups", sorted((c, d))


def fault_gpu_stalled(run, c):
    run.dev_stop[c] = find_call(run, c, "TENSOR_PARALLEL" if len(run.groups) > 1 else None, "all_reduce", -4)
    return "one device never finished what its peers finished", [c]


def fault_stalled_and_stopped(run, c):
    d = (c + len(run.programs) // 2) % len(run.programs)
    fault_gpu_stalled(run, c)
    fault_not_entered(run, d)
    return "one device stalled and, in another group, one host stopped", sorted((c, d))


def fault_stuck(run, c):
    i = find_call(run, c, "default_pg")
    seq = sum(1 for x in run.programs[c][:i + 1] if x.group is run.groups[0])
    run.never.add((run.groups[0].key, seq))
    return "all ranks entered the last world collective, nobody finished it", []


def fault_stuck_group(run, c):
    g = of(run.groups, "TENSOR_PARALLEL", c)
    i = find_call(run, c, "TENSOR_PARALLEL", "all_reduce", -3)
    seq = sum(1 for x in run.programs[c][:i + 1] if x.group is g)
    run.never.add((g.key, seq))
    return "all members of one tensor-parallel group entered, nobody finished", list(g.ranks)


def fault_size(run, c):
    i = find_call(run, c, "default_pg")
    run.programs[c][i] = run.programs[c][i].copy(ins=[[2]], outs=[[2]])
    return "one rank brought another size", [c]


def fault_dtype(run, c):
    i = find_call(run, c, "default_pg")
    run.programs[c][i] = run.programs[c][i].copy(dtype="Half")
    return "one rank brought another dtype", [c]


def fault_op(run, c):
    i = find_call(run, c, "default_pg")
    run.programs[c][i] = run.programs[c][i].copy(op="broadcast", stack="batch")
    return "one rank called another collective", [c]


def fault_extra(run, c):
    i = find_call(run, c, "default_pg", nth=-2)
    run.programs[c].insert(i + 1, Call(run.groups[0], "all_reduce", [[16]], dtype="Float", stack="stats"))
    return "one rank called one collective more than the others", [c]


def fault_order_deadlock(run, c):
    """Two ranks that share two groups take them in opposite order."""
    a, b = Group("101", "EXPERT_PARALLEL", range(len(run.programs))), Group("102", "SHARD_PARALLEL", range(len(run.programs)))
    run.groups += [a, b]
    run.ahead = 1
    for r, p in run.programs.items():
        x = Call(a, "all_reduce", [[65536]], stack="stats")
        y = Call(b, "all_reduce", [[32768]], stack="norm")
        p += [x, y] if r != c else [y, x]
    return "two groups taken in opposite order", sorted(run.programs)


def fault_order_deadlock_ahead(run, c):
    """The same, but hosts run ahead: every rank has enqueued both."""
    out = fault_order_deadlock(run, c)
    run.ahead = 4
    return out


def fault_straggler(run, c):
    run.late[c] = 38_000_000
    run.ahead = 1
    return "one rank comes 38 ms late to everything", [c]


def fault_in_flight(run, c):
    last = max(sum(x.gap for x in p) for p in run.programs.values())
    run.cut_ns = run.base_ns + last * 2 // 3
    return "a healthy run, looked at in the middle", []


FAULTS = {name[6:]: f for name, f in sorted(globals().items()) if name.startswith("fault_")}


def chain(ranks, rounds=4, missing=None, base_ns=BASE_NS, seed=1, single=False, timing=False):
    """A pipeline of sends and receives through all ranks; `missing` posts nothing in the last round."""
    group = Group("0", "default_pg", range(ranks))
    run = Run([group], {r: [] for r in range(ranks)}, base_ns=base_ns, seed=seed, timing=timing)
    for r in range(ranks):
        for k in range(rounds):
            run.programs[r].append(Call(group, "all_reduce", [[1]], dtype="Float", stack="norm"))
            todo = []
            if r > 0:
                todo.append(("recv", r - 1, [4, 2048]))
            if r + 1 < ranks:
                todo.append(("send", r + 1, [4, 2048]))
            if single:
                run.programs[r] += [Call(group, t[0], stack="pipe", p2p=[t], batched=False) for t in todo]
            else:
                run.programs[r].append(Call(group, "coalesced", stack="pipe", p2p=todo))
        if r == missing:
            run.host_stop[r] = len(run.programs[r]) - (len(todo) if single else 1)
    return run


# ---------------------------------------------------------------- files

def write(run, outdir, prefix="nccl_trace_rank_", skip=(), host_of=None, edit=None, **how):
    """All dumps of a run; `edit` maps a rank to a function over its bytes."""
    os.makedirs(outdir, exist_ok=True)
    style = how.get("style", "cpp")
    total = 0
    per_rank = how.pop("per_rank", {})
    for r in sorted(run.entries):
        if r in skip:
            continue
        mine = dict(how, **per_rank.get(r, {}))
        data = encode(dump(run, r, **mine), mine.get("style", style))
        load(data)
        if edit and r in edit:
            data = edit[r](data)
        name = prefix + ("%s_" % host_of[r] if host_of else "") + str(r)
        if style == "json":
            name += ".json"
        with open(os.path.join(outdir, name), "wb") as f:
            f.write(data)
        total += len(data)
    return total


def cut(fraction):
    return lambda data: data[:math.floor(len(data) * fraction)]


# A pickle that would run /bin/true if it were obeyed.
HARMLESS_COMMAND = b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03."


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("outdir", nargs="?")
    ap.add_argument("--list", action="store_true", help="the faults")
    ap.add_argument("--ranks", type=int, default=8)
    ap.add_argument("--steps", type=int, default=5)
    ap.add_argument("--topology", choices=["grid", "flat", "chain"], default="grid")
    ap.add_argument("--tp", type=int, default=4)
    ap.add_argument("--pp", type=int, default=1)
    ap.add_argument("--fault", choices=sorted(FAULTS), default="none")
    ap.add_argument("--culprit", type=int, default=3)
    ap.add_argument("--style", choices=["cpp", "py2", "py4", "py5", "json"], default="cpp")
    ap.add_argument("--version", default="2.9", help="bare, 1.1, 1.5, 2.0 ... 2.10")
    ap.add_argument("--no-frames", action="store_true")
    ap.add_argument("--timing", action="store_true", help="as TORCH_NCCL_ENABLE_TIMING=1")
    ap.add_argument("--ring", type=int, default=0, help="entries that each rank keeps")
    ap.add_argument("--active-only", action="store_true")
    ap.add_argument("--ahead", type=int, default=5, help="calls that a host issues ahead of its device")
    ap.add_argument("--prefix", default="nccl_trace_rank_")
    ap.add_argument("--hosts", type=int, default=0, help="ranks per host: puts host names into file names")
    ap.add_argument("--missing", type=int, action="append", default=[], help="rank without a file")
    ap.add_argument("--cut", type=int, action="append", default=[], help="rank whose file is cut at 60 %%")
    ap.add_argument("--malicious", type=int, action="append", default=[])
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    if a.list or not a.outdir:
        for name, f in FAULTS.items():
            print("%-22s %s" % (name, f(make_run(8), 3)[0]))
        return 0
    if a.topology == "chain":
        run = chain(a.ranks, missing=None if a.fault == "none" else a.culprit, seed=a.seed, timing=a.timing)
        what, who = "pipeline", []
    else:
        run = make_run(a.ranks, a.steps, a.topology, a.tp, a.pp, ahead=a.ahead, seed=a.seed, timing=a.timing)
        what, who = FAULTS[a.fault](run, a.culprit % a.ranks)
    run.go()
    edit = {r: cut(0.6) for r in a.cut}
    edit.update({r: lambda data: HARMLESS_COMMAND for r in a.malicious})
    total = write(run, a.outdir, a.prefix, a.missing, edit=edit,
                  host_of={r: "node%02d" % (r // a.hosts) for r in run.programs} if a.hosts else None,
                  version=a.version, style=a.style, frames=not a.no_frames, ring=a.ring, active_only=a.active_only)
    print("%s: %s; culprits %s; %d bytes" % (a.fault, what, who, total))
    return 0


if __name__ == "__main__":
    sys.exit(main())
