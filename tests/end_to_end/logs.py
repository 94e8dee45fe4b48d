"""Text that is hostile, endless or dense."""
import json, os

from place import FULL, MIB, Place, beside, check, incident, inputs_under, said, told, verdict, want


def hostile_lines():
    """For each signature: its literals and its own examples, with long runs of what its regex repeats."""
    out = []
    for name in sorted(os.listdir(Place.source + "/patterns/signatures")):
        with open(Place.source + "/patterns/signatures/" + name) as f:
            for s in json.load(f)["signatures"]:
                literals = s.get("literal") or []
                for literal in [literals] if isinstance(literals, str) else literals:
                    out.append(literal)
                out.extend(s.get("match", [])[:1])
    return sorted(set(out))


@check("one endless line")
def _(p):
    n = (5 << 30 if FULL else 200 << 20) // MIB
    expected = incident(p)
    block = (b"a" * 900 + b" CUDA out of memory? rank 3: Xid 79 ") * 1118
    block = block[:MIB]
    p.make("in/bad")
    report, run = p.report("-", "in", feed=(block for _ in range(n)))
    want(verdict(report) == expected or report["verdict"]["status"] == "root_cause", "the verdict is %s" % said(verdict(report)))
    plain, run2 = p.report("-", "in", feed=(b"a" * MIB for _ in range(n)))
    want(verdict(plain) == expected, "the verdict is %s" % said(verdict(plain)))
    want(run.mib < 400 * (4 if Place.sanitized else 1), "%.0f MiB for a line" % run.mib)
    return "%d MiB: %.1f s and %.1f s, %.0f MiB" % (n, run.seconds, run2.seconds, run.mib)


@check("sparse file")
def _(p):
    expected = incident(p)
    path = p.write("in/bad/rank_3.log", "starting up\n")
    os.truncate(path, 5 << 30 if FULL else 500 << 20)
    report, run = p.report("in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    return "%.1f s, %s" % (run.seconds, told(inputs_under(report, "rank_3.log")))


@check("dense hits")
def _(p):
    lines = b"".join(b"[rank%d]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate %d.00 GiB. GPU 0 has a total capacity of "
                     b"79.10 GiB of which 1.2 GiB is free.\n" % (i % 64, i % 977) for i in range(5000))
    n = ((400 if FULL else 60) << 20) // len(lines)
    path = p.path("in/bad/job.log")
    with open(path, "wb") as f:
        for _ in range(n):
            f.write(lines)
    report, run = p.report("in/bad")
    want(len(run.out) < 16 << 20, "%d MiB of log give a JSON report of %d MiB" % (n * len(lines) >> 20, len(run.out) >> 20))
    p.run("--html", "out.html", "in/bad")
    size = os.path.getsize(p.path("out.html"))
    want(size < 8 << 20, "%d MiB of HTML" % (size >> 20))
    return "%.1f s, %.0f MiB, JSON %d KiB, HTML %d KiB" % (run.seconds, run.mib, len(run.out) >> 10, size >> 10)


@check("hits that all differ")
def _(p):
    path = p.path("in/bad/job.log")
    with open(path, "wb") as f:
        for i in range(500000 if FULL else 50000):      # 16,384 ranks with a few lines each are a real job
            f.write(b"[rank%d]: ValueError: batch %d of shard-%d has %d items\n" % (i % 100000, i, i * 7, i * 13))
            f.write(b"[%d.%06d] NVRM: Xid (PCI:%04x:%02x:00): 79, pid=%d, GPU has fallen off the bus.\n" % (i, i, i % 65536, i % 256, i))
    report, run = p.report("in/bad")
    text = p.run("in/bad")
    want(len(text.out) < 200000, "%d bytes of text report" % len(text.out))
    return "%.1f s, %.0f MiB, JSON %d MiB, %s" % (run.seconds, run.mib, len(run.out) >> 20, said(verdict(report)))


@check("absurd world sizes, ranks, times, numbers")
def _(p):
    big = 2 ** 31 - 1
    p.write("in/bad/job.log", "".join("node01:4242:4300 [0] NCCL INFO comm 0x55d0 rank %d nranks %d cudaDev 0 nvmlDev 0 busId 1b000 commId "
            "0xabc - Init COMPLETE\n" % (n - 1, n) for n in (8, 2 ** 16, 2 ** 20, 2 ** 24, big, 2 ** 63, 10 ** 30)) +
            "[rank%d]: step\n[rank-1]: step\n[rank%d]: step\n[rank99999999999999999999]: step\n" % (big, 2 ** 32) +
            "9999-99-99T99:99:99Z x\n0000-00-00 00:00:00 x\n292277026596-12-04T15:30:08Z x\n[99999999999999999999.9] x\n" +
            "[%d.000000] NVRM: Xid (PCI:0000:1b:00): 13, pid=%d, name=x\n" % (2 ** 63 - 1, 2 ** 63) +
            "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=%d, OpType=ALLREDUCE, NumelIn=%d, NumelOut=%d, Timeout(ms)=%d) ran for "
            "%d milliseconds before timing out.\n" % (2 ** 64, 2 ** 70, 10 ** 40, 2 ** 63 - 1, 2 ** 65))
    report, run = p.report("in/bad")
    want(run.mib < 600 * (4 if Place.sanitized else 1), "%.0f MiB for a few lines" % run.mib)
    want(len(run.out) < 32 << 20, "a JSON report of %d MiB for a few lines" % (len(run.out) >> 20))
    p.run("in/bad")
    return "world %s, %.1f s, JSON %d KiB" % (report["job"]["world_size"], run.seconds, len(run.out) >> 10)


@check("invalid UTF-8, NULs, control bytes")
def _(p):
    bad = b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf5\x80\x80\x80 \x00\x00 \x1b[31m\x1b]0;x\x07 \xe2\x80\xae\xc2\x9b31m"
    p.write("in/bad/rank_3.log", b"step 1 " + bad + b"\n" + b"\0" * 500 + b"\nstep 2 " + bad * 50 + b"\r\r\n" + bytes(range(256)) * 4)
    p.write("in/bad/utf16.log", "step one\nstep two\n".encode("utf-16"))
    p.write("in/bad/bom.log", b"\xef\xbb\xbfstep one\n")
    seen = beside(p, "in/bad", ("ok", "ignored"))
    alone, _ = p.report(p.write("oom.log", b"[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity "
                                b"of 79.10 GiB of which " + bad + b" is free.\n"))
    json.dumps(alone).encode("utf-8")
    return seen


@check("lines that regular expressions dread")
def _(p):
    literals = hostile_lines()
    fills = (b"a", b" ", b"0", b"(", b".", b"a.", b": ", b"\t", b"[", b"=", b"/a", b"a1 ")
    worst = (0, b"")
    for fill in fills:
        path = p.path("in/bad/rank_3.log")
        with open(path, "wb") as f:
            for x in literals:
                x = x.encode()
                n = 100000 if FULL else 6000
                run_of = fill * (n // len(fill))
                half = len(x) // 2
                f.write(x + run_of + b"\n" + run_of + x + b"\n" + x[:half] + run_of + x[half:] + b"\n")
        size = os.path.getsize(path)
        run = p.run("--json", "out.json", "in/bad", ok=(0, 4))
        worst = max(worst, (run.seconds / size * MIB, fill))
        want(run.seconds < size / MIB * 1.0 * Place.slow + 5, "%.1f s for %d MiB filled with %r" % (run.seconds, size >> 20, fill))
    return "%d literals x %d fills; worst %.3f s/MiB with %r" % (len(literals), len(fills), *worst)


@check("one literal many times in a line")
def _(p):
    total = 0
    path = p.path("in/bad/rank_3.log")
    with open(path, "wb") as f:
        for x in hostile_lines():
            x = x.encode()[:200]
            f.write((x + b" ") * (60000 // (len(x) + 1)) + b"\n")
            total += 60000
    run = p.run("--json", "out.json", "in/bad", ok=(0, 4))
    want(run.seconds < (total / MIB + 5) * Place.slow, "%.1f s for %d MiB" % (run.seconds, total >> 20))
    return "%.1f s for %d MiB, %.0f MiB" % (run.seconds, total >> 20, run.mib)
