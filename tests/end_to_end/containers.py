"""Archives and compressed files: good ones in every wrapping, and hostile ones."""
import gzip, json, os, subprocess, tarfile

from made import good_members, special, tar_of, zstd
from place import DEMO, MIB, Place, beside, check, incident, inputs_under, said, told, verdict, want, FULL


@check("every wrapping gives the verdict of the folder")
def _(p):
    full = p.case(DEMO, "plain")
    expected = verdict(p.report("plain")[0])
    members = [(os.path.relpath(os.path.join(d, n), full), open(os.path.join(d, n), "rb").read()) for d, _, names in sorted(os.walk(full)) for n in sorted(names)]
    packed = tar_of(members)
    frames = b"".join(zstd(packed[i:i + 100000]) for i in range(0, len(packed), 100000))
    for name, data in (("b.tar", packed), ("b.tar.gz", gzip.compress(packed)), ("b.tar.zst", zstd(packed)), ("b.bin", zstd(packed, "-19")),
                       ("frames.tar.zst", frames), ("pax.tar", tar_of(members, "w")), ("top.tar.gz", gzip.compress(tar_of([("./x/" + n, d) for n, d in members])))):
        v = verdict(p.report(p.write("b/" + name, data))[0])
        want(v == expected, "%s: %s, not %s" % (name, said(v), said(expected)))
    for folder, wrap, end in (("zst", zstd, ".zst"), ("gz", gzip.compress, ".gz")):
        for n, d in members:
            p.write("%s/%s%s" % (folder, n, end), wrap(d))
        v = verdict(p.report(folder)[0])
        want(v == expected, "single files as %s: %s, not %s" % (end, said(v), said(expected)))
        inner = tar_of([(n + end, wrap(d)) for n, d in members])
        v = verdict(p.report(p.write("b/inner-%s.tar" % folder, inner))[0])
        want(v == expected, "single files as %s in a tar: %s, not %s" % (end, said(v), said(expected)))
    subprocess.run(["tar", "-C", full, "--zstd", "-cf", p.path("b/gnu.tar.zst"), "."], check=True)
    v = verdict(p.report("b/gnu.tar.zst")[0])
    want(v == expected, "GNU tar: %s" % said(v))
    return "12 wrappings: %s" % said(expected)


@check("tar with ../, absolute names, links, devices")
def _(p):
    mark = p.path("in/owned")
    members = [("../../owned.log", b"x\n"), (mark, b"x\n"), ("/etc/passwd", b"x\n"), ("a/../../../b.log", b"step\n"), ("", b"x\n"), ("x" * 5000, b"x\n"),
               special("link.log", tarfile.SYMTYPE, "/etc/passwd"), special("hard.log", tarfile.LNKTYPE, "/etc/passwd"),
               special("self", tarfile.LNKTYPE, "self"), special("null", tarfile.CHRTYPE), special("disk", tarfile.BLKTYPE),
               special("pipe", tarfile.FIFOTYPE), special("dir", tarfile.DIRTYPE), ("<script>.log", b"x\n"), ("\x1b[31m.log", b"x\n")]
    members += list(good_members(p))
    data = tar_of(members)
    want(b"root:" not in data, "the test's tar holds a password file")
    expected = incident(p)
    for name, content in (("x.tar", data), ("x.tar.gz", gzip.compress(data)), ("x.tar.zst", zstd(data))):
        report, run = p.report(p.write("bad/" + name, content))
        want(verdict(report)[:2] == expected[:2], "%s: the verdict is %s" % (name, said(verdict(report))))
        want(not os.path.exists(mark) and not os.path.exists(p.path("owned.log")), "%s: a member was written" % name)
        want("root:" not in json.dumps(report), "%s: /etc/passwd was read" % name)
        want(any("links" in d["what"] for i in report["inputs"] for d in i["damaged"]), "%s: the links are not mentioned" % name)
    return "exit %d, %s" % (run.rc, said(verdict(report)))


@check("tar with lying sizes")
def _(p):
    data = bytearray(tar_of([("a.log", b"step\n" * 100), ("b.log", b"step\n" * 100)]))
    expected = incident(p)
    for i, size in enumerate((b"77777777777\0", b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", b"\xff" * 12, b"-0000000001\0", b"zzzzzzzzzzz\0")):
        t = bytearray(data)
        t[124:136] = size
        t[148:156] = b" " * 8
        t[148:156] = b"%06o\0 " % sum(t[:512])
        p.write("in/bad/t%d.tar" % i, bytes(t))
        p.write("in/bad/t%d.tar.zst" % i, zstd(bytes(t)))
        p.write("in/bad/t%d.tar.gz" % i, gzip.compress(bytes(t)))
    report, run = p.report("in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    return "exit %d, %s" % (run.rc, told(inputs_under(report, "t0.tar")))


@check("tar of many members")
def _(p):
    n = 1100000 if FULL else 100000
    block = tar_of([("rank_1.log", b"step\n")])[:1024]
    p.write("many.tar.zst", zstd(block * n + bytes(1024)))
    report, run = p.report("many.tar.zst")
    return "%d members, exit %d, %.1f s, %.0f MiB, %s" % (n, run.rc, run.seconds, run.mib, told(report["inputs"][-1:]))


def bomb(kind, head=b"", gib=10):
    """gib GiB of one line behind head, as frames or members that follow each other."""
    zeros = (b"step 1000 ok\n" * 5000)[:65536] * 1024 if b"step" in head else bytes(64 * MIB)
    if kind == "zst":
        return zstd(head) + zstd(zeros) * (gib * 16)
    if b"step" in head:             # a line repeated is no bomb to gzip's ratio: 300 to 1
        gib = 1
    return gzip.compress(head) + gzip.compress(zeros, 9) * (gib * 16)


@check("zstd and gzip bombs")
def _(p):
    for kind in ("zst", "gz"):
        p.write("in/bad/log." + kind, bomb(kind, b"step 1\n"))
        p.write("in/bad/bare." + kind, bomb(kind))
        p.write("in/bad/comm_lib_trace_rank_7." + kind, bomb(kind, b"\x80\x02}q\0(X\7\0\0\0entriesq\1]"))
        p.write("in/bad/events-%s.json.%s" % (kind, kind), bomb(kind, b'{"kind": "Event", "involvedObject": {}, "x": "'))
    seen = beside(p, "in/bad")
    report, run = p.report("in/bad")
    for i in inputs_under(report, "log.zst"):
        want(i["damaged"], "%s: %s" % (i["path"], told([i])))
    return seen


@check("bombs inside a tar")
def _(p):
    """The member of 10 GiB is of a kind that is not read: skipping it must be bounded too."""
    info = tarfile.TarInfo("core.bin")
    info.size = 10 << 30
    elf = b"\x7fELF" + bytes(MIB - 4)
    zeros = zstd(bytes(64 * MIB))
    tail = tar_of(list(good_members(p)))
    times = []
    for gib in (10, 200):
        info.size = gib << 30
        path = p.write("bad/b%d.tar.zst" % gib, zstd(info.tobuf(tarfile.GNU_FORMAT) + elf) + zstd(bytes(63 * MIB)) + zeros * (gib * 16 - 1) + zstd(tail))
        report, run = p.report(path)
        want(run.seconds < 10 * Place.slow, "%.1f s to skip %d GiB of zeros in a file of %d KiB" % (run.seconds, gib, os.path.getsize(path) >> 10))
        want(any(i["damaged"] for i in report["inputs"]), "%d GiB: no reason is given: %s" % (gib, told(report["inputs"])))
        times.append(run.seconds)
    inner = bomb("zst", b"step\n", 2)
    p.write("in/bad/nested.tar", tar_of([("a.log.zst", inner), ("b.log.gz", bomb("gz", b"step\n", 2)), ("c.tar.zst", zstd(tar_of([("d.zst", inner)])))]))
    return "%s; nested: %s" % (", ".join("%.1f s" % t for t in times), beside(p, "in/bad"))


@check("archives in archives")
def _(p):
    data = b"step\n"
    for i in range(30):
        data = tar_of([("x.tar", data)]) if i % 2 else gzip.compress(data)
        p.write("in/bad/deep-%d.tar" % i, data)
    quine = zstd(zstd(zstd(b"step\n")))
    p.write("in/bad/three.zst", quine)
    return beside(p, "in/bad")
