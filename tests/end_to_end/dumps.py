"""Flight-recorder dumps that are programs, bombs or nonsense."""
import json, os, pickle

from made import DUMP
from place import FULL, beside, check, said, verdict, want


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@check("pickle that calls os.system")
def _(p):
    mark = p.path("ran")
    entries = [{"collective_seq_id": i, "process_group": ("0", "default_pg"), "profiling_name": "nccl:all_reduce"} for i in range(3)]
    for protocol in range(6):
        for k, top in enumerate(({"version": "2.4", "entries": entries, "x": Evil("touch " + mark)},
                                 {"version": Evil("touch " + mark), "entries": entries}, Evil("touch " + mark))):
            p.write("in/bad/fr/comm_lib_trace_rank_%d" % (protocol * 3 + k), pickle.dumps(top, protocol))
    p.write(DUMP, b"cposix\nsystem\n(S'touch " + mark.encode() + b"'\ntR.")
    seen = beside(p, "in/bad")
    want(not os.path.exists(mark), "the command ran")
    report, run = p.report("in/bad")
    want(any(o["kind"] == "input.unsafe_pickle" for o in report["observations"]), "no input.unsafe_pickle")
    return seen


def pickled(body):
    return b"\x80\x02}q\0(X\x07\0\0\0entriesq\1" + body + b"u."


@check("pickle bombs")
def _(p):
    n = 10000000 if FULL else 10000000
    memo = b"]q\2(" + b"h\2" * 100 + b"e"
    laughs = b"]q\2" + b"".join(b"](" + b"h%c" % (2 + i) * 100 + b"eq%c" % (3 + i) for i in range(60))
    bodies = {
        "deep-lists": b"]" * n, "deep-marks": b"(" * n, "deep-tuples": b"N" + b"\x85" * n, "deep-closed": b"]" + b"](" * 0 + b"]a" * 0 + b"(" * n + b"l" * n,
        "memo-self": memo, "memo-laughs": laughs, "memo-index": b"Nr\xff\xff\xff\xff", "memo-index-text": b"Np99999999999999999999\n",
        "long": b"\x8b\xff\xff\xff\x7f" + b"1" * 100, "long1": b"\x8a\xff" + b"\x7f" * 255, "unicode-8": b"\x8d" + b"\xff" * 8 + b"x",
        "long-decimal": b"I" + b"9" * 1000000 + b"\n", "float": b"F" + b"9" * 1000000 + b"\n", "dups": b"]" + b"2" * n,
        "dict-of-none": b"](" + b"}" * 1000000 + b"e", "frame": b"\x95" + b"\xff" * 8, "gets": b"]q\2(" + b"h\2" * n,
        "appends": b"](" + b"Ne(" * 1000000 + b"e", "binput": b"N" + b"".join(b"r" + i.to_bytes(4, "little") for i in range(0, 2000000, 2)),
    }
    for i, (name, body) in enumerate(bodies.items()):
        p.write("in/bad/fr/%s_trace_rank_%d" % (name, i + 32), pickled(body))
    return beside(p, "in/bad")


@check("dumps with absurd values")
def _(p):
    def entry(**kw):
        return dict({"frames": [], "record_id": 0, "pg_id": 0, "process_group": ("0", "default_pg"), "collective_seq_id": 1, "p2p_seq_id": 0,
                     "op_id": 1, "profiling_name": "nccl:all_reduce", "time_created_ns": 1, "input_sizes": [[4]], "input_dtypes": ["Float"],
                     "output_sizes": [[4]], "output_dtypes": ["Float"], "state": "started", "time_discovered_started_ns": None,
                     "time_discovered_completed_ns": None, "retired": False, "timeout_ms": 600000, "is_p2p": False}, **kw)
    big = 2 ** 63
    wild = [entry(collective_seq_id=v) for v in (2 ** 62, 2 ** 63 - 1, big, 2 ** 64, -1, -big, 2 ** 200, None, "x", 1.5, [], {})]
    wild += [entry(**{k: v}) for k in ("pg_id", "timeout_ms", "time_created_ns", "op_id", "p2p_seq_id", "record_id") for v in (big, -1, 2 ** 64, None, "x")]
    wild += [entry(input_sizes=[[big] * 100] * 100), entry(input_sizes=[[[[[]]]]]), entry(profiling_name="x" * 100000), entry(process_group=()),
             entry(process_group=("\x1b[31m<script>", "\u202e")), entry(frames=[{"name": "<script>", "filename": "\x1b[0m", "line": -5}] * 1000),
             entry(state="unheard of"), entry(state=None), {}, None, 7, "text", []]
    config = {str(i): {"name": str(i), "desc": "d", "ranks": r} for i, r in enumerate(("[0, 1, 2]", "[0, 99999999999]", "[]", "x" * 5000,
              "[" + "1," * 50000 + "]", [0, -1, big], "[-1]", "[0, 2147483647]", None, {}))}
    for i, pg_config in enumerate((config, {}, [], None, "x", 5)):
        top = {"version": "2.10", "pg_config": pg_config, "pg_status": {"0": {"last_enqueued_collective": big, "last_completed_collective": -big}},
               "entries": wild, "nccl_comm_state": {}, "rank": big}
        p.write("in/bad/fr/comm_lib_trace_rank_%d" % (i + 64), pickle.dumps(top, 2))
        text = json.dumps(dict(top, pg_config=pg_config)).encode()
        p.write("in/bad/json/nccl_trace_rank_%d.json" % (i + 96), text)
    for i, top in enumerate(({}, [], None, 5, {"entries": None}, {"entries": {}}, {"version": "9.9", "entries": []}, {"entries": wild}, wild)):
        p.write("in/bad/odd/comm_lib_trace_rank_%d" % (i + 128), pickle.dumps(top, 4))
    p.write("in/bad/fr/comm_lib_trace_rank_2147483648", pickle.dumps({"version": "2.4", "entries": wild}, 2))
    report, run = p.report("in/bad")
    p.run("in/bad")
    p.run("--html", "out.html", "in/bad")
    return "exit %d, %s, %.1f s, %.0f MiB" % (run.rc, said(verdict(report)), run.seconds, run.mib)
