"""Files cut at every place and with bytes changed."""
import collections, gzip, json, random

from made import EVENTS, first_file, good_members, tar_of, zstd
from place import DEMO, FULL, check, said, told, verdict, want


def cuts(data):
    step = 97 if FULL else max(97, len(data) // 60)
    return range(0, len(data), step)


def each_cut(p, name, data, roots=()):
    """Every cut of a file alone: an answer, and no cause that the whole file does not have."""
    whole = verdict(p.report(p.write("whole/" + name, data))[0])
    allowed = {None, whole[1], *roots}
    n = 0
    for cut in cuts(data):
        report, run = p.report(p.write("cut/" + name, data[:cut]))
        v = verdict(report)
        want(v[0] != "root_cause" or v[1] in allowed, "cut at %d of %d: %s, the whole file %s" % (cut, len(data), said(v), said(whole)))
        n += 1
    return "%d cuts of %d bytes, whole: %s" % (n, len(data), said(whole))


@check("a dump cut everywhere")
def _(p):
    return each_cut(p, "comm_lib_trace_rank_3", first_file(lambda n, f: "_trace_rank_" in n and "/gpu_stalled/" in f))


@check("a log cut everywhere")
def _(p):
    return each_cut(p, "rank_3.log", first_file(lambda n, f: n.endswith(".log") and "/cuda_oom/" in f))


@check("an XML cut everywhere")
def _(p):
    return each_cut(p, "nvidia-smi.xml", first_file(lambda n, f: n.endswith(".xml")))


@check("a Kubernetes file cut everywhere")
def _(p):
    text = each_cut(p, "events.txt", first_file(lambda n, f: "/k8s_" in f and n.startswith(("describe", "events"))))
    return text + "; " + each_cut(p, "events.json", json.dumps(EVENTS, indent=1).encode())


@check("a bundle cut everywhere")
def _(p):
    seen = []
    data = tar_of(list(good_members(p)))
    for name, content in (("b.tar.zst", zstd(data)), ("b.tar.gz", gzip.compress(data))):
        seen.append(each_cut(p, name, content))
    whole = zstd(tar_of(list(good_members(p, DEMO))))
    report, run = p.report(p.write("cut.tar.zst", whole[:len(whole) * 4 // 5]))
    want(run.rc == 4 and any(i["damaged"] for i in report["inputs"]), "a cut bundle: exit %d, %s" % (run.rc, told(report["inputs"])))
    return "; ".join(seen)


@check("bytes flipped in a bundle and in a dump")
def _(p):
    dice = random.Random(5)
    dump = first_file(lambda n, f: "_trace_rank_" in n and "/gpu_stalled/" in f)
    bundle = zstd(tar_of(list(good_members(p))))
    codes = collections.Counter()
    for data, name in ((dump, "comm_lib_trace_rank_3"), (bundle, "b.tar.zst")):
        for _ in range(400 if FULL else 40):
            bad = bytearray(data)
            for _ in range(dice.choice((1, 1, 3, 20))):
                bad[dice.randrange(len(bad))] = dice.randrange(256)
            codes[p.report(p.write("flip/" + name, bytes(bad)))[1].rc] += 1
    return "exits %s" % dict(codes)
