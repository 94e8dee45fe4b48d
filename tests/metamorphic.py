#!/usr/bin/python3
"""What must not change a verdict: where files lie, in what order, noise, clocks, names.  And what may only weaken it.

usage: metamorphic.py TANALYZE CORPUS [WORD...]     only cases whose name contains a WORD

FULL=1: every case, every file, every tenth.  STRIDE=N: one case in N (default 4, or 20 under a sanitizer), by its name.
Exit 1 on a violation that is not in KNOWN.
"""
import calendar, collections, concurrent.futures, gzip, io, json, os, random, re, subprocess, sys, tarfile, tempfile, time, zlib

FULL = os.environ.get("FULL") == "1"
SLOW = float(os.environ.get("SLOW", "1"))
LIMIT_S = 60

# (case, what a weakening change makes of it) -> why that is the truth about what is left
THERMAL = "the telemetry is the only witness of the heat; the GPU did fall off the bus"
TIME_LIMIT = "nothing that is left says that it failed before the limit"
KNOWN = {
    ("gpu_thermal/heat-then-xid79", "root_cause gpu_fell_off_bus"): THERMAL,
    ("gpu_thermal/cut-telemetry", "root_cause gpu_fell_off_bus"): THERMAL,
    ("gpu_fell_off_bus/next-run-finds-no-device", "root_cause rank_gpu_misassignment"): "the kernel's line is the only witness of the loss",
    ("nccl_wrong_hca/fewer-and-other-devices", "root_cause nic_missing_on_one_rank"): "the line that tells the link types is gone; the shorter list is not",
    ("nvswitch_error/fabric-manager-log-only", "root_cause nvlink_error"): "the switch's own log is the only witness of the switch",
    ("nic_no_ip_address/asked-in-vain", "root_cause bootstrap_unreachable"):
        "the command is the only witness of the missing address; the first connection was not made all the same",
    # Open: what follows should be weaker than another name.
    ("port_in_use/then-rendezvous-timeout", "root_cause rendezvous_incomplete"):
        "the host that could not listen is gone, or its clock is not aligned: the others' timeout is all that is left",
    ("python_exception/logs-cut", "root_cause python_exception_one_rank"): "one of two witnesses is left",
    ("python_exception_one_rank/refused-after-death", "root_cause node_network_broken"): "the dead rank's log is gone; others name its host",
}

Verdict = collections.namedtuple("Verdict", "status pattern culprits roots")
Change = collections.namedtuple("Change", "name detail harmless files arguments rename")

NOISE = ["iteration %d/ 500000 | consumed samples: %d | elapsed time per iteration (ms): 812.4 | learning rate: 1.2E-04 | loss scale: 1.0",
         "INFO: step %d loss=2.3%d grad_norm=0.81 tokens/s=41231", "%d%%|####      | %d/500000 [12:01<3:04:11, 1.21it/s]",
         "DEBUG checkpoint shard %d of %d is up to date", "[data] prefetched bucket %d (%d samples)"]


def run(tanalyze, arguments, cwd):
    child = subprocess.run([tanalyze, "--json", "-", *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT_S * SLOW)
    if child.returncode not in (0, 3, 4):
        raise RuntimeError("exit %d: %s" % (child.returncode, child.stderr.decode(errors="replace")[-300:]))
    report = json.loads(child.stdout)
    found = {f["id"]: f for f in report["findings"]}
    primary = [found[i] for i in report["verdict"]["findings"]]
    culprits = sorted({tuple(str(c[k]) for k in ("rank", "host", "gpu")) for f in primary[:1] for c in f["culprits"]})
    return report, Verdict(report["verdict"]["status"], primary[0]["pattern"] if primary else None, culprits, {f["pattern"] for f in primary})


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
    other, back = renamed_hosts(files, report["job"]["hosts"])
    if other:
        yield Change("hosts renamed", "", True, other, None, back)
    hosts = [h for h in report["job"]["hosts"] if any(h in n for n in files)]
    of = {h: [n for n in files if h in n and is_text(files[n])] for h in hosts}
    for h in [h for h in hosts if of[h] and len(hosts) > 1][:None if FULL else 1]:
        for hours in (3, -3):
            yield Change("clock %+d h" % hours, h, True, {n: shift_line(d, hours * 3600) if n in of[h] else d for n, d in files.items()}, None, None)


# ---- changes that may weaken ----


def mixed(data, dice):
    """Noise between the lines: 20 for one on average, a line of the log never torn."""
    out = []
    for line in data.splitlines(keepends=True):
        out.append(line)
        if line.endswith(b"\n") and dice.random() < 0.2:
            out += [x + b"\n" for x in noise_lines(dice, 100)]
    return b"".join(out)


def weakening(files, report, dice):
    logs = {i["path"][2:] for i in report["inputs"] if i["kind"] == "log" and not i["member"]}
    yield Change("noise 20:1", "", False, {n: mixed(d, dice) if n in logs and is_text(d) else d for n, d in files.items()}, None, None)
    names = list(files)
    if not FULL and len(names) > 8:         # one of each folder, then some more
        first = list({os.path.dirname(n): n for n in names}.values())
        names = first + dice.sample([n for n in names if n not in first], 8 - min(8, len(first)))
    for n in names if len(files) > 1 else []:
        yield Change("without", n, False, {k: d for k, d in files.items() if k != n}, None, None)
    folders = {os.path.dirname(n) for n in files}
    for folder in sorted(folders) if len(folders) > 1 else []:
        yield Change("without folder", folder or ".", False, {k: d for k, d in files.items() if os.path.dirname(k) != folder}, None, None)
    texts = [n for n in files if is_text(files[n]) and len(files[n]) > 100]
    if not FULL:
        texts = dice.sample(texts, min(3, len(texts)))
    for n in texts:
        for tenth in range(1, 10) if FULL else sorted(dice.sample(range(1, 10), 3)):
            yield Change("cut", "%s at %d/10" % (n, tenth), False, {k: d[:len(d) * tenth // 10] if k == n else d for k, d in files.items()}, None, None)


# ---- judging ----


def judge(change, base, seen):
    """None: fine; else what is wrong."""
    if change.harmless:
        culprits = seen.culprits
        if change.rename:
            culprits = sorted(tuple(change.rename.get(x, x) for x in c) for c in culprits)
        if (seen.status, seen.pattern) != (base.status, base.pattern):
            return "another verdict"
        return None if culprits == sorted(base.culprits) else "other culprits: %s, not %s" % (short(culprits), short(base.culprits))
    if seen.status != "root_cause":
        return None if seen.status != "outcome" or base.status == "outcome" else "became an outcome"
    if base.status != "root_cause":
        return "a root cause that the whole input does not have"
    return None if seen.pattern in base.roots else "another root cause"


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
            base.roots.update([json.load(f)["pattern"]])
        rows, counts = [], collections.Counter()
        for make in (harmless, weakening):
            for i, change in enumerate(make(files, report, dice)):
                folder = os.path.join(top, make.__name__ + str(i))
                lay(change.files, folder)
                try:
                    seen = run(tanalyze, change.arguments or ["."], folder)[1]
                    wrong = judge(change, base, seen)
                except (RuntimeError, ValueError, subprocess.TimeoutExpired) as why:
                    seen, wrong = Verdict("crash", None, [], set()), str(why)[:200]
                known = KNOWN.get((name, "%s %s" % (seen.status, seen.pattern)))
                counts[make.__name__] += 1
                counts["weaker"] += not wrong and (seen.status, seen.pattern) != (base.status, base.pattern)
                if wrong:
                    rows.append((make.__name__, name, change.name + (" " + change.detail if change.detail else ""), "%s %s" % (base.status, base.pattern),
                                 "%s %s" % (seen.status, seen.pattern), wrong, known))
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
    stride = int(os.environ.get("STRIDE", 20 if sanitized else 4))
    chosen = [c for c in cases if any(w in c for w in words)] if words else cases if FULL else [c for c in cases if zlib.crc32(c.encode()) % stride == 0]
    rows, counts = [], collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for r, c in pool.map(lambda name: one_case(tanalyze, root, name), chosen):
            rows += r
            counts += c
    for kind in ("harmless", "weakening"):
        mine = [r for r in rows if r[0] == kind]
        for _, name, change, base, seen, wrong, known in mine:
            print("%s %-44s %-52s %s -> %s (%s)%s" % ("known" if known else "WRONG", name, change, base, seen, wrong, ": " + known if known else ""))
        print("%d %s changes to %d cases: %d wrong, %d known" % (counts[kind], kind, len(chosen), sum(not r[6] for r in mine), sum(bool(r[6]) for r in mine)))
    print("%d of the weakening changes did weaken a verdict" % counts["weaker"])
    return 1 if any(not r[6] for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
