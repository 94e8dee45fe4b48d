#!/usr/bin/python3
"""What must not change a verdict: where files lie, in what order, noise, clocks, names.  And what may only weaken it.

usage: metamorphic.py TANALYZE CORPUS [WORD...]     only cases whose name contains a WORD

Every case; of a case's many files, and of the nine cuts of each, some, chosen by the case's name.  FULL=1: all of them.
STRIDE=N: one case in N (default 1, or 20 under a sanitizer), by its name.

What lacks evidence may weaken a verdict: to a lower confidence, to `unattributed`, or to a link of the chain that the whole
input shows, about the same culprit: without the telemetry that saw the heat, the GPU still fell off the bus.  Or only how
the scheduler ended the job is left, or an earlier run of it, which the whole input shows too.  Any other name is wrong.
"""
import calendar, collections, concurrent.futures, gzip, io, json, os, random, re, subprocess, sys, tarfile, tempfile, time, zlib

FULL = os.environ.get("FULL") == "1"
SLOW = float(os.environ.get("SLOW", "1"))
LIMIT_S = 600    # a busy machine is no failure

Verdict = collections.namedtuple("Verdict", "status pattern culprits roots chain elsewhere")
Change = collections.namedtuple("Change", "name detail harmless files arguments rename")

NOISE = ["iteration %d/ 500000 | consumed samples: %d | elapsed time per iteration (ms): 812.4 | learning rate: 1.2E-04 | loss scale: 1.0",
         "INFO: step %d loss=2.3%d grad_norm=0.81 tokens/s=41231", "%d%%|####      | %d/500000 [12:01<3:04:11, 1.21it/s]",
         "DEBUG checkpoint shard %d of %d is up to date", "[data] prefetched bucket %d (%d samples)"]


def whom(finding):
    """What a finding says of its culprits, key by key."""
    return {(k, str(c[k])) for c in finding["culprits"] for k in ("rank", "host", "gpu") if c[k] is not None}


def run(tanalyze, arguments, cwd):
    child = subprocess.run([tanalyze, "--json", "-", *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT_S * SLOW)
    if child.returncode not in (0, 3, 4):
        raise RuntimeError("exit %d: %s" % (child.returncode, child.stderr.decode(errors="replace")[-300:]))
    report = json.loads(child.stdout)
    found = {f["id"]: f for f in report["findings"]}
    primary = [found[i] for i in report["verdict"]["findings"]]
    culprits = sorted({tuple(str(c[k]) for k in ("rank", "host", "gpu")) for f in primary[:1] for c in f["culprits"]})
    chain, todo = {}, [f["id"] for f in primary]
    while todo:
        f = found[todo.pop()]
        if f["pattern"] not in chain:
            chain[f["pattern"]] = whom(f)
            todo += f["explains"]
    return report, Verdict(report["verdict"]["status"], primary[0]["pattern"] if primary else None, culprits, {f["pattern"] for f in primary}, chain,
                           {f["pattern"] for f in report["findings"] if f["role"] == "outcome"} | {r["pattern"] for r in report["verdict"]["runs"]})


def read(folder):
    files = {}
    for base, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(base, name)
            with open(full, "rb") as f:
                files[os.path.relpath(full, folder)] = f.read()
    return dict(sorted(files.items()))


def lay(files, folder):
    for name, data in files.items():
        full = os.path.join(folder, name)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)


def is_text(data):
    return data and b"\0" not in data and not data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x80"))


# ---- changes that must change nothing ----


def moved(files, dice):
    """Each top-level entry in a folder of its own, so that the order of reading is another; a bundle stays whole."""
    if "manifest.json" in files:
        return {"x/bundle/" + n: d for n, d in files.items()}
    tops = sorted({n.split("/")[0] for n in files})
    boxes = ["box" + chr(ord("a") + i % 26) * (1 + i // 26) for i in range(len(tops))]
    dice.shuffle(boxes)
    to = dict(zip(tops, boxes))
    return {to[n.split("/")[0]] + "/" + n: d for n, d in files.items()}


def packed(files, dice):
    out = io.BytesIO()
    names = sorted(files)
    dice.shuffle(names)
    names.sort(key=lambda n: os.path.basename(n) != "manifest.json")      # it comes first in every bundle
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    return {"all.tar.gz": out.getvalue()}


def noise_lines(dice, n):
    return [(dice.choice(NOISE) % (dice.randrange(100000), dice.randrange(1000))).encode() for _ in range(n)]


def renamed_hosts(files, hosts):
    """Other names of the same length, everywhere; not those that are part of another word."""
    turn = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyz", b"bcdefghijklmnopqrstuvwxyza")
    table = {h.encode(): h.encode().translate(turn) for h in hosts if re.fullmatch(r"[a-z]+-?\d+", h)}
    if not table or len(set(table.values())) != len(table) or set(table) & set(table.values()):
        return None, None
    pattern = re.compile(b"(?<![a-z0-9])(" + b"|".join(map(re.escape, sorted(table, key=len, reverse=True))) + b")(?![0-9])")

    def replace(data):
        return pattern.sub(lambda m: table[m[1]], data)
    back = {v.decode(): k.decode() for k, v in table.items()}
    return {replace(n.encode()).decode(): replace(d) for n, d in files.items()}, back


RANKS = re.compile(rb"(?<![a-z_])(?P<word>\[?[Rr]ank[s_]?[\" =:]{0,12}|\btask )(?P<n>\d+)(?!\d)|(?P<left>\[1,)(?P<m>\d+)(?=\]<std)|^(?P<k>\d+)(?=: )", re.M)


def renamed_ranks(files, world):
    """Each rank another number, everywhere in text: those below ten among themselves, and so on, that nothing changes its length."""
    table = {}
    for low, high in ((0, 10), (10, 100), (100, 1000)):
        span = range(low, min(high, world))
        table.update({str(r).encode(): str(span[len(span) - 1 - i]).encode() for i, r in enumerate(span)})

    def other(m):
        if m.string[max(0, m.start() - 6):m.start()].endswith((b"local ", b"local_")):
            return m[0]
        n = m["n"] or m["m"] or m["k"]
        return m[0][:len(m[0]) - len(n)] + table.get(n, n)
    if world < 2 or any(not is_text(d) and d for d in files.values()):
        return None, None
    named = re.compile(rb"(?P<word>rank[_-]?)(?P<n>\d+)(?P<m>)(?P<k>)")
    renamed = {named.sub(other, n.encode()).decode(): RANKS.sub(other, d) for n, d in files.items()}
    back = {v.decode(): k.decode() for k, v in table.items()}
    return (renamed, back) if len(renamed) == len(files) else (None, None)


def twice(files, logs):
    """The kernel's logs read out twice, one after the other."""
    kernel = re.compile(rb"^\[ *\d+\.\d+\]|^\[?\w{3} \w{3} +\d+ ")
    return {n: d + d if n in logs and is_text(d) and kernel.match(d) and d.endswith(b"\n") else d for n, d in files.items()}


MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
STAMPS = re.compile(rb"(?P<iso>\b(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d))|(?P<glog>(?<![A-Za-z0-9])[IWEF](\d\d)(\d\d) (\d\d):(\d\d):(\d\d))|"
                    rb"(?P<day>\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(?P<sys>(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d\d?) (\d\d):(\d\d):(\d\d)(?P<year> \d{4})?)")


def shift_line(data, seconds):
    def other(m):
        if m["iso"]:
            t = time.gmtime(calendar.timegm(tuple(map(int, m.group(2, 3, 4, 5, 6, 7)))) + seconds)
            return b"%04d-%02d-%02d%s%02d:%02d:%02d" % (*t[:3], m["iso"][10:11], *t[3:6])
        if m["glog"]:
            t = time.gmtime(calendar.timegm((2025, *map(int, m.group(9, 10, 11, 12, 13)))) + seconds)
            return b"%s%02d%02d %02d:%02d:%02d" % (m["glog"][:1], *t[1:6])
        month = MONTHS.index(m[16].decode()) + 1
        year = int(m["year"]) if m["year"] else 2025
        t = time.gmtime(calendar.timegm((year, month, *map(int, m.group(17, 18, 19, 20)))) + seconds)
        day = time.strftime("%a ", t).encode() if m["day"] and m["year"] else m["day"] or b""
        return day + ("%s %2d %02d:%02d:%02d" % (MONTHS[t[1] - 1], *t[2:6])).encode() + (b" %04d" % t[0] if m["year"] else b"")
    return STAMPS.sub(other, data)


def harmless(files, report, dice):
    yield Change("moved", "", True, moved(files, dice), None, None)
    names = list(files)
    dice.shuffle(names)
    yield Change("order of inputs", "", True, files, names, None)
    yield Change("one tar.gz", "", True, packed(files, dice), None, None)
    yield Change("files as gz", "", True, {n + ("" if n.endswith((".gz", ".zst")) or n.endswith("manifest.json") else ".gz"):
                                           d if n.endswith((".gz", ".zst")) or n.endswith("manifest.json") else gzip.compress(d, 1) for n, d in files.items()}, None, None)
    yield Change("copied twice", "", True, {**{"a/" + n: d for n, d in files.items()}, **{"b/" + n: d for n, d in files.items()}}, None, None)
    yield Change("files of noise", "", True, {**files, "noise/app.log": b"\n".join(noise_lines(dice, 5000)) + b"\n", "noise/empty.log": b"",
                                              "noise/logo.png": b"\x89PNG\r\n\x1a\n" + bytes(999)}, None, None)
    logs = {i["path"][2:] for i in report["inputs"] if i["kind"] == "log" and not i["member"]}
    yield Change("CRLF", "", True, {n: d.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") if n in logs and is_text(d) else d for n, d in files.items()}, None, None)
    yield Change("kernel log twice", "", True, twice(files, logs), None, None)
    other, back = renamed_ranks(files, report["job"]["world_size"] or 0)
    if other:
        yield Change("ranks renumbered", "", True, other, None, ("rank", back))
    other, back = renamed_hosts(files, report["job"]["hosts"])
    if other:
        yield Change("hosts renamed", "", True, other, None, ("host", back))
    hosts = [h for h in report["job"]["hosts"] if any(h in n for n in files)]
    of = {h: [n for n in files if h in n and is_text(files[n])] for h in hosts}
    for h in [h for h in hosts if of[h] and len(hosts) > 1][:None if FULL else 1]:
        for hours in (3, -3):
            yield Change("clock %+d h" % hours, h, True, {n: shift_line(d, hours * 3600) if n in of[h] else d for n, d in files.items()}, None, None)


# ---- changes that may weaken ----


NOISE_BYTES = 8 << 20       # in one case


DATED = re.compile(rb"\S{0,12} ?(?:\[ *\d+\.\d+\]|\[?\d{4}-\d\d-\d\d|[IWEF]\d{4} |\[?(?:\w{3} )?\w{3} +\d+ \d\d:)|\S+:\d+:\d+ \[")


def mixed(data, blocks, dice):
    """A hundred lines of noise before each record; what goes on over several lines is not torn."""
    return b"".join((dice.choice(blocks) if i == 0 or DATED.match(line) else b"") + line for i, line in enumerate(data.splitlines(keepends=True)))


def noisy(files, logs, dice):
    blocks = [b"".join(x + b"\n" for x in noise_lines(dice, 100)) for _ in range(20)]
    left, out = NOISE_BYTES, dict(files)
    for n in dice.sample(sorted(logs & set(files)), len(logs & set(files))):
        cost = files[n].count(b"\n") * len(blocks[0])
        if is_text(files[n]) and cost <= left:
            left -= cost
            out[n] = mixed(files[n], blocks, dice)
    return out


def weakening(files, report, dice):
    logs = {i["path"][2:] for i in report["inputs"] if i["kind"] == "log" and not i["member"]}
    yield Change("noise 100:1", "", False, noisy(files, logs, dice), None, None)
    names = list(files)
    if not FULL and len(names) > 6:         # one of each folder, then some more
        first = list({os.path.dirname(n): n for n in names}.values())
        names = first + dice.sample([n for n in names if n not in first], 6 - min(6, len(first)))
    for n in names if len(files) > 1 else []:
        yield Change("without", n, False, {k: d for k, d in files.items() if k != n}, None, None)
    folders = {os.path.dirname(n) for n in files}
    for folder in sorted(folders) if len(folders) > 1 else []:
        yield Change("without folder", folder or ".", False, {k: d for k, d in files.items() if os.path.dirname(k) != folder}, None, None)
    texts = [n for n in files if is_text(files[n]) and len(files[n]) > 100]
    if not FULL:
        texts = dice.sample(texts, min(2, len(texts)))
    for n in texts:
        for tenth in range(1, 10) if FULL else sorted(dice.sample(range(1, 10), 3)):
            yield Change("cut", "%s at %d/10" % (n, tenth), False, {k: d[:len(d) * tenth // 10] if k == n else d for k, d in files.items()}, None, None)


# ---- judging ----


def judge(change, base, seen):
    """None: fine; else what is wrong."""
    if change.harmless:
        culprits = seen.culprits
        if change.rename:
            at, back = ("rank", "host", "gpu").index(change.rename[0]), change.rename[1]
            culprits = sorted(c[:at] + (back.get(c[at], c[at]),) + c[at + 1:] for c in culprits)
        if (seen.status, seen.pattern) != (base.status, base.pattern):
            return "another verdict"
        return None if culprits == sorted(base.culprits) else "other culprits: %s, not %s" % (short(culprits), short(base.culprits))
    if seen.status != "root_cause":
        return None if seen.status != "outcome" or seen.pattern in base.elsewhere else "an outcome that the whole input does not have"
    if base.status != "root_cause":
        return "a root cause that the whole input does not have"
    if seen.pattern in base.roots | base.elsewhere:
        return None
    link = base.chain.get(seen.pattern)
    return "another root cause" if link is None else None if seen.chain[seen.pattern] <= link else "a link of the chain, about somebody else"


def short(culprits):
    return ", ".join("/".join(c) for c in culprits[:3]) + (" and %d more" % (len(culprits) - 3) if len(culprits) > 3 else "")


def one_case(tanalyze, root, name):
    dice = random.Random(name)
    files = read(os.path.join(root, name, "input"))
    with tempfile.TemporaryDirectory(prefix="tanalyze-meta-") as top:
        folder = os.path.join(top, "0")
        lay(files, folder)
        report, base = run(tanalyze, ["."], folder)
        with open(os.path.join(root, name, "expected.json")) as f:      # a miss of replay is not judged again here
            expected = json.load(f)
            base.roots.update([expected["pattern"]] + expected.get("with_less", []))
        rows, counts = [], collections.Counter()
        for make in (harmless, weakening):
            for i, change in enumerate(make(files, report, dice)):
                folder = os.path.join(top, make.__name__ + str(i))
                lay(change.files, folder)
                try:
                    seen = run(tanalyze, change.arguments or ["."], folder)[1]
                    wrong = judge(change, base, seen)
                except (RuntimeError, ValueError, subprocess.TimeoutExpired) as why:
                    seen, wrong = Verdict("crash", None, [], set(), {}, set()), str(why)[:200]
                counts[make.__name__] += 1
                counts["weaker"] += not wrong and (seen.status, seen.pattern) != (base.status, base.pattern)
                if wrong:
                    rows.append((make.__name__, name, change.name + (" " + change.detail if change.detail else ""), "%s %s" % (base.status, base.pattern),
                                 "%s %s" % (seen.status, seen.pattern), wrong))
                for path in change.files:
                    os.unlink(os.path.join(folder, path))
    return rows, counts


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    tanalyze, root, words = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:]
    with open(tanalyze, "rb") as f:
        sanitized = b"__asan_init" in f.read()
    cases = sorted(os.path.relpath(folder, root) for folder, _, names in os.walk(root) if "expected.json" in names)
    stride = int(os.environ.get("STRIDE", 20 if sanitized else 1))
    chosen = [c for c in cases if any(w in c for w in words)] if words else [c for c in cases if zlib.crc32(c.encode()) % stride == 0]
    rows, counts = [], collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for r, c in pool.map(lambda name: one_case(tanalyze, root, name), chosen):
            rows += r
            counts += c
    for kind in ("harmless", "weakening"):
        mine = [r for r in rows if r[0] == kind]
        for _, name, change, base, seen, wrong in mine:
            print("WRONG %-44s %-52s %s -> %s (%s)" % (name, change, base, seen, wrong))
        print("%d %s changes to %d cases: %d wrong" % (counts[kind], kind, len(chosen), len(mine)))
    print("%d of the weakening changes did weaken a verdict" % counts["weaker"])
    return 1 if rows else 0


if __name__ == "__main__":
    sys.exit(main())
