#!/usr/bin/python3
"""What an operator sees of tanalyze: options, exit statuses, reports, bundles, and what it makes of bad input.

usage: end_to_end.py TANALYZE SOURCE_DIR [WORD...]     only checks whose name contains a WORD

FULL=1: every corpus case, 5 GB lines, 100,000 files.  SLOW=N: N times the time and memory (sanitizer builds).
Closes with "N passed, N failed, N skipped"; exit 1 when something failed.
"""
import collections, concurrent.futures, contextlib, gzip, hashlib, html.parser, io, json, os, pickle, random, shutil
import socket, subprocess, sys, tarfile, tempfile, threading, time

FULL = os.environ.get("FULL") == "1"
SLOW = float(os.environ.get("SLOW", "0"))
LIMIT_S, LIMIT_MIB = 60, 1536
MIB = 1 << 20
INCIDENT = "host_oom/memory-cgroup"                 # small; stands beside bad files
DEMO = "gpu_fell_off_bus/demo-16-ranks"

Run = collections.namedtuple("Run", "rc out err seconds mib")
checks = []


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def check(name):
    def add(function):
        checks.append((name, function))
        return function
    return add


def want(holds, seen):
    if not holds:
        raise Failure(seen)


class Place:
    """A scratch folder, and the program under test."""

    tanalyze = source = base = None
    sanitized = False

    def __init__(self, folder):
        self.folder = folder
        self.deadline = time.monotonic() + LIMIT_S * Place.slow * (10 if FULL else 1)

    def path(self, name):
        full = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        return full

    def make(self, name):
        os.makedirs(os.path.join(self.folder, name), exist_ok=True)

    def write(self, name, data):
        full = self.path(name)
        with open(full, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
        return full

    def case(self, name, to):
        full = self.path(to)
        shutil.copytree(os.path.join(Place.source, "corpus", name, "input"), full)
        return full

    def run(self, *args, stdin=None, feed=None, mib=None, user=None, ok=None, cwd=None, during=None):
        """Run tanalyze, and during(child) beside it; a signal, a sanitizer's complaint, too much time or memory fails the check."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            began = time.monotonic()
            child = subprocess.Popen([Place.tanalyze, *args], stdin=subprocess.PIPE if feed else stdin or subprocess.DEVNULL,
                                     stdout=out, stderr=err, user=user, cwd=cwd or self.folder)
            feeder = threading.Thread(target=self.feed, args=(feed, child.stdin), daemon=True) if feed else None
            helpers = [t for t in (feeder, threading.Thread(target=during, args=(child,), daemon=True) if during else None) if t]
            for helper in helpers:
                helper.start()
            peak, told = 0, " ".join(a if len(a) < 60 else a[:60] + "..." for a in args)
            bound = (mib or LIMIT_MIB) * (4 * Place.slow if Place.sanitized else 1)
            while child.poll() is None:
                peak = max(peak, self.resident(child.pid))
                spent = time.monotonic() - began
                if time.monotonic() > self.deadline or peak > bound:
                    child.kill()
                    child.wait()
                    raise Failure("%.0f MiB resident after %.0f s, more than %.0f: %s" % (peak, spent, bound, told) if peak > bound else
                                  "hangs: killed after %.0f s: %s" % (spent, told))
                time.sleep(0.001 if spent < 1 else 0.01)
            rc, seconds = child.returncode, time.monotonic() - began
            for helper in helpers:
                helper.join(10)
            out.seek(0)
            err.seek(0)
            result = Run(rc, out.read(), err.read().decode(errors="replace"), seconds, peak)
        want(rc >= 0, "signal %d: %s: %s" % (-rc, told, result.err[-300:]))
        for word in ("Sanitizer", "runtime error:", "Traceback", "Assertion", "terminate called"):
            want(word not in result.err, "stderr: %s: %s" % (told, result.err[:600]))
        if ok is not None:
            want(rc in ok, "exit %d, not %s: %s: %s" % (rc, sorted(ok), told, result.err[:300]))
        return result

    @staticmethod
    def resident(pid):
        """Peak so far, in MiB; what wait4() gives includes this script's own."""
        with contextlib.suppress(OSError), open("/proc/%d/status" % pid) as f:
            for line in f:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) / 1024
        return 0

    @staticmethod
    def feed(pieces, pipe):
        with contextlib.suppress(BrokenPipeError, OSError, ValueError):
            for piece in pieces:
                pipe.write(piece)
        with contextlib.suppress(BrokenPipeError, OSError):
            pipe.close()

    def report(self, *args, ok=(0, 3, 4), **kw):
        run = self.run("--json", "-", *args, ok=ok, **kw)
        try:
            return json.loads(run.out), run
        except ValueError as why:
            raise Failure("exit %d without a JSON report: %s; stderr: %s" % (run.rc, why, run.err[:200]))


def verdict(report):
    """What must not change: status, primary pattern, its culprits."""
    v = report["verdict"]
    primary = [f for f in report["findings"] if f["id"] in v["findings"][:1]]
    culprits = sorted(json.dumps(c, sort_keys=True) for f in primary for c in f["culprits"])
    return v["status"], primary[0]["pattern"] if primary else None, culprits


def said(v):
    return "%s %s" % (v[0], v[1])


def inputs_under(report, part):
    return [i for i in report["inputs"] if part in (i["path"] or "") or part in (i["member"] or "")]


def told(entries):
    return "; ".join("%s %s%s" % (i["kind"], i["state"], " (%s)" % i["damaged"][0]["what"] if i["damaged"] else "")
                     for i in entries[:3]) or "not listed"


def incident(p, name=INCIDENT):
    """A copy of a good incident, and its verdict alone; made once."""
    if not os.path.exists(os.path.join(p.folder, "in/good")):
        p.case(name, "in/good")
    if name not in Place.base:
        Place.base[name] = verdict(p.report("in")[0])
        want(Place.base[name][0] == "root_cause", "the good incident alone is %s" % said(Place.base[name]))
    return Place.base[name]


def beside(p, bad, states=("ok", "damaged", "unread", "ignored"), named=None, **kw):
    """The bad files of in/bad: alone they end in a report, beside an incident they change nothing."""
    alone, run = p.report(bad, **kw)
    v = alone["verdict"]["status"]
    want(v in ("no_failure", "unattributed"), "the bad input alone is %s" % said(verdict(alone)))
    expected = incident(p)
    both, run2 = p.report("in", **kw)
    want(verdict(both) == expected, "beside it the verdict is %s, not %s" % (said(verdict(both)), said(expected)))
    entries = inputs_under(both, named or os.path.basename(bad))
    want(entries, "%s is not among the inputs of the report" % (named or bad))
    for i in entries:
        want(i["state"] in states, "%s is %s" % (i["path"], told([i])))
        want(i["state"] not in ("damaged", "unread") or i["damaged"], "%s is %s without a reason" % (i["path"], i["state"]))
    return "exit %d, %s, %.1f s, %.0f MiB" % (run.rc, told(entries), run2.seconds, run2.mib)


# ---- the command line ----

OOM = "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.2 GiB is free.\n"


def refused(p, *args, also=()):
    """Exit 2, nothing on stdout, what is wrong in the first line of stderr."""
    run = p.run(*args)
    want(run.rc == 2, "exit %d, not 2: %s" % (run.rc, " ".join(args)))
    want(not run.out, "stdout holds something: %s" % " ".join(args))
    lines = run.err.splitlines()
    want(lines and len(lines) <= 2 and "tanalyze" in lines[0], "stderr: %r" % run.err[:300])
    for word in also:
        want(word in lines[0], "the message does not name %r: %s" % (word, lines[0]))
    return lines[0]


@check("usage: no input, unknown options, missing values")
def _(p):
    seen = refused(p, also=("no input",))
    p.write("x.log", "x\n")
    refused(p, "--nonsense", "x.log", also=("nonsense",))
    refused(p, "-x", "x.log")
    for option in ("--patterns", "--job", "--since", "--until", "--tz", "--time-limit", "--jobs", "--explain"):
        refused(p, "x.log", option, also=(option,))
    refused(p, "--digest=7", "x.log")
    refused(p, "replay")
    refused(p, "verify")
    refused(p, "verify", "x.json")
    return seen


@check("usage: bad values")
def _(p):
    p.write("x.log", "x\n")
    n = 0
    for option, values in {"--since": ("yesterday", "", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00Zjunk", "5"),
                           "--until": ("tomorrow", "", "2026-02-30"), "--tz": ("CET", "", "02:00", "+2", "+15:00", "+02:60", "+02:00x", "+-2:00"),
                           "--time-limit": ("0", "-1", "", "x", "1s", "99999999999999999999"), "--jobs": ("0", "-1", "", "65", "many", "1.5")}.items():
        for value in values:
            refused(p, option, value, "x.log", also=(option,))
            n += 1
    return "%d values refused; %s" % (n, refused(p, "--tz", "CET", "x.log"))


@check("usage: an output never replaces an input")
def _(p):
    inside = json.dumps({"kind": "List", "items": []})
    for name in ("in/events.json", "in/rank_0.txt", "in/page.html"):
        p.write(name, inside)
    for option, name in (("--json", "in/events.json"), ("--text", "in/rank_0.txt"), ("--html", "in/page.html")):
        refused(p, name, option, name, also=(name,))
        refused(p, name, option, "./" + name)
        os.link(p.path(name), p.path("link" + name[2:].replace("/", "-")))
        refused(p, name, option, "link" + name[2:].replace("/", "-"))
        with open(p.path(name)) as f:
            want(f.read() == inside, "%s was changed" % name)
    want(p.run("in", "--html", ok=(0, 3)).rc in (0, 3) and os.path.exists(p.path("in.html")), "no in.html beside in/")
    for option, name in (("--json", "in/events.json"), ("--text", "in/rank_0.txt"), ("--html", "in/page.html")):
        run = p.run("in", option, name)
        with open(p.path(name)) as f:
            want(f.read() == inside, "%s %s replaced a file of the input directory (exit %d)" % (option, name, run.rc))
    return "refused"


@check("usage: two reports to one place")
def _(p):
    p.write("x.log", OOM)
    seen = refused(p, "--json", "-", "--html", "-", "x.log")
    refused(p, "--json", "-", "--text", "-", "x.log")
    refused(p, "-", "--json", "--html")
    run = p.run("--json", "same.json", "--text", "same.json", "x.log")
    want(run.rc == 2, "--json and --text to one file: exit %d, and the file holds only one of them" % run.rc)
    return seen


@check("usage: output that cannot be written")
def _(p):
    p.write("x.log", OOM)
    run = p.run("--json", "no/such/folder.json", "x.log")
    want(run.rc in (1, 2) and "no/such/folder.json" in run.err and len(run.err.splitlines()) == 1, "exit %d, %r" % (run.rc, run.err))
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            for args in (("--json", "-", "x.log"), ("x.log",), ("--html", "-", "x.log")):
                child = subprocess.run([Place.tanalyze, *args], stdout=full, stderr=subprocess.PIPE, cwd=p.folder, timeout=60)
                want(child.returncode == 1 and b"cannot write" in child.stderr, "%s > /dev/full: exit %d, %r" % (" ".join(args), child.returncode, child.stderr))
    return run.err.strip()


@check("usage: a reader that goes away")
def _(p):
    p.write("x.log", OOM)
    for args in (["x.log"], ["--json", "-", "x.log"], ["--list-patterns"]):
        child = subprocess.Popen([Place.tanalyze, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=p.folder)
        child.stdout.close()
        err = child.stderr.read()
        rc = child.wait(60)
        child.stderr.close()
        want(rc in (0, 1, -13) and b"Sanitizer" not in err, "exit %d: %r" % (rc, err[:200]))
    return "no hang"


@check("usage: --help, --version, --list-patterns, --explain")
def _(p):
    with contextlib.ExitStack():
        shown = p.run("--help", ok=(0,)).out.decode()
    for option in ("--html", "--json", "--text", "--patterns", "--job", "--since", "--until", "--tz", "--time-limit", "--jobs", "--digest", "--exit-code",
                   "--explain", "--list-patterns", "replay", "verify"):
        want(option in shown, "--help does not mention %s" % option)
    want(all(len(line) <= 100 for line in shown.splitlines()), "--help has a line of more than 100 columns")
    want(p.run("--version", ok=(0,)).out.startswith(b"tanalyze "), "--version")
    want(p.run("-h", ok=(0,)).out.decode() == shown, "-h differs from --help")
    names = [line.split()[0] for line in p.run("--list-patterns", ok=(0,)).out.decode().splitlines() if line.strip()]
    for name in names:
        out = p.run("--explain", name, ok=(0,)).out.decode()
        want(name in out, "--explain %s does not name it" % name)
    want(len(names) > 50 and names == sorted(names), "%d patterns, sorted: %s" % (len(names), names == sorted(names)))
    seen = refused(p, "--explain", "no_such_pattern", also=("no_such_pattern",))
    return "%d patterns; %s" % (len(names), seen)


@check("usage: --patterns")
def _(p):
    p.write("x.log", "site: the cooling water of row 7 stopped\n")
    p.write("good/a.json", json.dumps({"signatures": [{"id": "site.water", "kind": "x.water_stopped", "class": "application", "literal": "cooling water",
            "regex": "cooling water of row (?<object>\\d+) stopped", "match": ["the cooling water of row 7 stopped"], "no_match": ["cooling water"]}]}))
    for name, text in {"bad1/a.json": "{", "bad2/a.json": '{"signatures": [{"id": "x"}]}', "bad3/a.json":
                       '{"signatures": [{"id": "s.x", "kind": "x.y", "class": "application", "literal": "x", "regex": "x(", "match": ["x"], "no_match": ["y"]}]}'}.items():
        p.write(name, text)
        run = p.run("--patterns", name.split("/")[0], "x.log")
        want(run.rc in (1, 2) and name.split("/")[0] in run.err and len(run.err.splitlines()) <= 2, "%s: exit %d, %r" % (name, run.rc, run.err))
    gone = p.run("--patterns", "nowhere", "x.log")
    want(gone.rc in (1, 2) and "nowhere" in gone.err, "a folder that is not there: exit %d, %r" % (gone.rc, gone.err))
    good = p.run("--patterns", "good", "x.log")
    want(good.rc == 0, "a good folder: exit %d, %s" % (good.rc, good.err))
    return run.err.strip()


@check("exit statuses 0, 2, 3, 4, 10, 11")
def _(p):
    p.case(INCIDENT, "cause")
    p.write("healthy.log", "step 1\nstep 2\n")
    p.write("empty/x.log", b"")
    p.write("open/torchrun.log", "E0101 10:00:00.000000 4242 torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: -9) local_rank: 3 (pid: 4711) of "
            "binary: /usr/bin/python3\n")
    p.write("cut/x.log.gz", gzip.compress(random.Random(1).randbytes(50000).hex().encode())[:20000])
    got = {}
    for name, args, rc in (("0", ["healthy.log"], 0), ("0, cause", ["cause"], 0), ("2", [], 2), ("3", ["empty"], 3), ("4", ["cut", "healthy.log"], 4),
                           ("10", ["--exit-code", "cause"], 10), ("10 over 4", ["--exit-code", "cause", "cut"], 10), ("0 with --exit-code", ["--exit-code", "healthy.log"], 0),
                           ("11", ["--exit-code", "open"], 11), ("11 over 4", ["open", "cut", "--exit-code"], 11), ("3 with --exit-code", ["--exit-code", "empty"], 3)):
        got[name] = p.run(*args).rc
        want(got[name] == rc, "%s: exit %d" % (name, got[name]))
    for args in (["empty"], ["nowhere"]):
        run = p.run("--json", "three.json", *args)
        want(run.rc == 3 and run.out and os.path.getsize(p.path("three.json")) > 100, "exit %d: no report" % run.rc)
    return "as documented"


@check("output options: order, names, stdout")
def _(p):
    p.write("x.log", OOM)
    p.case(INCIDENT, "host.d/input")
    want(p.run("x.log", "--json", "a.json").rc == 0 and os.path.exists(p.path("a.json")), "an option after the input is not taken")
    with open(p.path("a.json")) as f:
        want(json.load(f)["schema"] == "tachograph.report/1", "schema")
    p.run("--html", "x.log", ok=(0,))
    want(os.path.exists(p.path("x.log.html")), "--html before an input: %s" % os.listdir(p.folder))
    p.run("host.d/input/", "--html", "--json", "--text", ok=(0,))
    want(all(os.path.exists(p.path("host.d/input" + e)) for e in (".html", ".json", ".txt")), "beside a folder: %s" % os.listdir(p.path("host.d")))
    bundle = p.write("b/run.tar.zst", zstd(tar_of(list(good_members(p)))))
    p.run(bundle, "--html", ok=(0,))
    want(os.path.exists(p.path("b/run.html")), "--html beside the bundle: %s" % os.listdir(p.path("b")))
    out = p.run("--json", "-", "--html", "h.html", "x.log", ok=(0,)).out
    want(json.loads(out)["schema"], "--json - is not only JSON")
    html = p.run("x.log", "--html", "-", ok=(0,)).out
    want(html.lstrip().lower().startswith(b"<!doctype html") and html.rstrip().endswith(b"</html>"), "--html - is not only HTML")
    want(not p.run("x.log", "--text", "t.txt", ok=(0,)).out and os.path.getsize(p.path("t.txt")) > 100, "--text FILE leaves something on stdout")
    want(p.run("x.log", ok=(0,)).out == open(p.path("t.txt"), "rb").read(), "--text FILE differs from the terminal's text")
    want(p.run("x.log", "--json", "-", "--text", "t2.txt", ok=(0,)).out[:1] == b"{", "--json - with --text FILE")
    want(p.run("--", "x.log", ok=(0,)).out, "--")
    return "as documented"


@check("standard input")
def _(p):
    a, _ = p.report("-", feed=[OOM.encode()])
    want(verdict(a)[1] == "cuda_oom" and a["inputs"][0]["path"] == "-", said(verdict(a)))
    bundle = zstd(tar_of(list(good_members(p))))
    b, _ = p.report("-", feed=[bundle[i:i + 7] for i in range(0, len(bundle), 7)])
    want(verdict(b)[:2] == incident(p)[:2], "a bundle on stdin: %s" % said(verdict(b)))
    p.run("-", "--html", feed=[OOM.encode()], ok=(0,))
    twice, run = p.report("-", "-", feed=[OOM.encode()])
    return "%s, bundle %s; twice: exit %d %s" % (said(verdict(a)), said(verdict(b)), run.rc, told(twice["inputs"]))


@check("--since, --until, --tz, --job")
def _(p):
    p.write("x.log", "2026-03-01T10:00:00Z [rank0]: step\n2026-03-01T11:00:00Z " + OOM + "2026-03-01T12:00:00Z [rank0]: step\n")
    whole = verdict(p.report("x.log")[0])
    want(whole[1] == "cuda_oom", said(whole))
    for args, found in ((["--since", "2026-03-01T11:30:00Z"], False), (["--until", "2026-03-01T10:30:00Z"], False), (["--since", "2026-03-01T10:30:00Z"], True),
                        (["--until", "2026-03-01T11:30:00Z", "--since", "2026-03-01T10:59:00Z"], True), (["--since", "2026-03-01T12:30:00+01:00"], False),
                        (["--since", "2026-03-01T11:30:00+01:00"], True), (["--since", "2026-03-01T11:00:00Z", "--until", "2026-03-01T11:00:00Z"], True)):
        v = verdict(p.report("x.log", *args)[0])
        want((v[1] == "cuda_oom") == found, "%s: %s" % (" ".join(args), said(v)))
    p.write("y.log", "2026-03-01 11:00:00,123 " + OOM)
    for args, time_of in (([], None), (["--tz", "+02:00"], "2026-03-01T09:00:00.123000000Z"), (["--tz", "-05:30"], "2026-03-01T16:30:00.123000000Z"),
                          (["--tz", "UTC"], "2026-03-01T11:00:00.123000000Z")):
        seen = [o["time"] for o in p.report("y.log", *args)[0]["observations"] if o["kind"].startswith("cuda")][:1]
        want(seen and (seen[0] == time_of if time_of else not (seen[0] or "").endswith("Z")), "%s: %s" % (" ".join(args) or "no --tz", seen))
    v = verdict(p.report("--tz", "+02:00", "--since", "2026-03-01T09:30:00Z", "y.log")[0])
    want(v[1] is None, "--tz with --since: %s" % said(v))
    v = verdict(p.report("--since", "2026-03-01 11:30:00", "y.log")[0])
    want(v[1] is None, "--since without a zone, lines without a zone: %s" % said(v))
    v = verdict(p.report("--job", "99", "x.log")[0])
    return "--job of a line without a job: %s" % said(v)


def reports(p, *args):
    p.run("--json", "r.json", "--html", "r.html", "--text", "r.txt", *args, ok=(0, 4))
    out = []
    for name in ("r.json", "r.html", "r.txt"):
        with open(p.path(name), "rb") as f:
            out.append(f.read())
    return out


@check("same input, same bytes")
def _(p):
    p.case(DEMO, "in/demo")
    p.case("none/work-in-flight", "in/other")
    first = reports(p, "in")
    for args in (["in"], ["--jobs", "1", "in"], ["--jobs", "2", "in"], ["--jobs", "8", "in"], ["--digest", "in"]):
        for name, a, b in zip(("JSON", "HTML", "text"), first, reports(p, *args)):
            want(a == b, "the %s differs with %s" % (name, " ".join(args)))
    stamps = [b"/tmp/", p.folder.encode()]
    want(not any(s in r for r in first for s in stamps), "an absolute path is in a report")
    return "%d + %d + %d bytes, 6 times" % tuple(map(len, first))


@check("a small address space")
def _(p):
    """ulimit -v of a login node, many processors: fewer threads, not no report."""
    p.case(DEMO, "in")
    expected = verdict(p.report("in")[0])
    if Place.sanitized:
        raise Skip("a sanitizer needs terabytes of address space")
    run = subprocess.run(["sh", "-c", 'ulimit -v 8000000; exec "$0" --json - --jobs 32 in', Place.tanalyze], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         cwd=p.folder, timeout=60)
    want(run.returncode in (0, 4), "8 GB of address space, --jobs 32: exit %d, %s" % (run.returncode, run.stderr.decode()[:200]))
    v = verdict(json.loads(run.stdout))
    want(v == expected, said(v))
    return said(v)


@check("order of inputs changes no verdict")
def _(p):
    p.case(DEMO, "in")
    files = [os.path.relpath(os.path.join(folder, n), p.folder) for folder, _, names in os.walk(p.path("in")) for n in names]
    expected = verdict(p.report("in")[0])
    dice = random.Random(4)
    for order in (sorted(files), sorted(files, reverse=True), *(dice.sample(files, len(files)) for _ in range(4))):
        v = verdict(p.report(*order)[0])
        want(v == expected, "%s, not %s" % (said(v), said(expected)))
    twice = verdict(p.report("in", "in")[0])
    want(twice == expected, "the folder given twice: %s" % said(twice))
    return said(expected)


@check("HTML stands alone")
def _(p):
    p.case(DEMO, "in")
    page = reports(p, "in")[1].decode()
    want(len(page) < MIB, "%d bytes" % len(page))
    parsed = Page(page)
    want(not parsed.outside, "refers to %s" % parsed.outside[:3])
    want("GPU" in parsed.text and "tern-02" in parsed.text, "the culprit is not on the page")
    return "%d KiB, %d elements" % (len(page) >> 10, parsed.elements)


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.outside, self.scripts, self.handlers, self.pieces = 0, [], [], [], []
        self.feed(page)
        self.text = "".join(self.pieces)

    def handle_starttag(self, tag, attributes):
        self.elements += 1
        if tag in ("script", "iframe", "object", "embed", "base", "form", "img"):
            self.scripts.append(tag)
        for key, value in attributes:
            value = (value or "").strip().lower()
            if key.startswith("on") or value.startswith(("javascript:", "data:text")):
                self.handlers.append((tag, key, value))
            if key in ("src", "href", "action", "data") and not value.startswith(("#", "data:image")) and value != "data:,":
                self.outside.append(value)
            if "url(" in value:
                self.outside.append(value)

    def handle_data(self, data):
        self.pieces.append(data)


# ---- the JSON report ----


def cases():
    """Corpus cases, spread evenly when they are many."""
    root = os.path.join(Place.source, "corpus")
    every = sorted(os.path.relpath(folder, root) for folder, _, names in os.walk(root) if "expected.json" in names)
    return every if FULL else every[::max(1, len(every) // 40)]


@check("every report fits the JSON Schema")
def _(p):
    with open(os.path.join(Place.source, "reports", "report.schema.json")) as f:
        schema = json.load(f)
    try:
        import jsonschema
    except ImportError:
        raise Skip("python3-jsonschema is not installed")
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    judge = kind(schema)
    unheard = collections.Counter()
    n = 0
    p.write("empty/x.log", b"")
    for name in [*cases(), None]:
        report, _ = p.report(os.path.join(Place.source, "corpus", name, "input") if name else "empty")
        for error in judge.iter_errors(report):
            raise Failure("%s: %s: %s" % (name, "/".join(map(str, error.absolute_path)), error.message[:200]))
        undescribed(schema, schema, report, unheard, "")
        n += 1
    want(not unheard, "the schema does not describe %s" % sorted(unheard))
    for part in ("verdict", "findings", "inputs"):
        want(list(judge.iter_errors({k: v for k, v in report.items() if k != part})), "a report without %s passes" % part)
    want(list(judge.iter_errors(dict(report, verdict=dict(report["verdict"], status="surprise")))), "a status that is none passes")
    return "%d reports" % n


def undescribed(root, schema, value, unheard, at):
    """Fields that a report holds and the schema does not name."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    for option in schema.get("anyOf", []):
        if option.get("type") != "null":
            return undescribed(root, option, value, unheard, at)
    if isinstance(value, dict) and "properties" in schema:
        for k, v in value.items():
            if k not in schema["properties"]:
                unheard[at + "/" + k] += 1
            else:
                undescribed(root, schema["properties"][k], v, unheard, at + "/" + k)
    elif isinstance(value, list) and "items" in schema:
        for v in value:
            undescribed(root, schema["items"], v, unheard, at + "[]")


@check("references inside a report hold")
def _(p):
    n = 0
    for name in cases()[::3]:
        report, _ = p.report(os.path.join(Place.source, "corpus", name, "input"))
        evidence, seen, found = ({x["id"] for x in report[k]} for k in ("evidence", "observations", "findings"))
        for f in report["findings"]:
            want(set(f["evidence"]) <= evidence and set(f["observations"]) <= seen and set(f["explains"]) | set(f["explained_by"]) <= found,
                 "%s: %s refers to what is not there" % (name, f["id"]))
            for x in f["exclusions"]:
                want(set(x["evidence"]) <= evidence, "%s: an exclusion cites what is not there" % name)
        want(set(report["verdict"]["findings"]) <= found, "%s: the verdict names a finding that is not there" % name)
        for o in report["observations"]:
            want(set(o["evidence"]) <= evidence, "%s: %s" % (name, o["id"]))
        for t in report["timeline"]:
            want(t["observation"] in seen and (t["finding"] is None or t["finding"] in found), "%s: timeline" % name)
        listed = {(i["path"], i["member"]) for i in report["inputs"]}
        for e in report["evidence"]:
            want((e["input"], e["member"]) in listed, "%s: evidence of an input that is not listed" % name)
            want(e["length"] <= 1024, "%s: a quote of %d bytes" % (name, e["length"]))
        n += 1
    return "%d reports" % n


# ---- verify ----


@check("verify: passes on what the report was made of")
def _(p):
    quotes = 0
    for i, name in enumerate([*cases()[::4], DEMO]):
        full = p.case(name, "in%d" % i)
        packed = tar_of([(os.path.relpath(os.path.join(d, n), full), open(os.path.join(d, n), "rb").read()) for d, _, names in sorted(os.walk(full)) for n in sorted(names)])
        for given in ("in%d" % i, p.write("b%d.tar.zst" % i, zstd(packed)), p.write("b%d.tar.gz" % i, gzip.compress(packed))):
            p.run("--json", "r.json", given, ok=(0, 4))
            run = p.run("verify", "r.json", given)
            want(run.rc == 0, "%s %s: exit %d, %s %s" % (name, os.path.basename(given), run.rc, run.out.decode()[-100:], run.err[:300]))
            quotes += int(run.out.split()[0])
    moved = p.path("elsewhere")
    shutil.move(full, moved)
    want(p.run("--json", "r.json", "elsewhere").rc in (0, 4) and p.run("verify", "r.json", moved).rc == 0, "not after a move")
    shutil.move(moved, p.path("third"))
    want(p.run("verify", "r.json", "third").rc == 0, "not after the folder moved: %s" % p.run("verify", "r.json", "third").err[:200])
    return "%d quotes" % quotes


@check("verify: notices one byte, a missing file, a wrong report")
def _(p):
    p.case(INCIDENT, "in")
    p.run("--json", "r.json", "in", ok=(0,))
    with open(p.path("r.json")) as f:
        report = json.load(f)
    for e in report["evidence"][:20]:
        at = e["offset"] + e["length"] // 2
        with open(p.path(e["input"]), "r+b") as f:
            f.seek(at)
            old = f.read(1)
            f.seek(at)
            f.write(bytes([old[0] ^ 1]))
        run = p.run("verify", "r.json", "in")
        want(run.rc == 1 and e["id"] in run.err, "a flipped byte in %s is not noticed: exit %d %s" % (e["id"], run.rc, run.err[:200]))
        with open(p.path(e["input"]), "r+b") as f:
            f.seek(at)
            f.write(old)
    want(p.run("verify", "r.json", "in").rc == 0, "not even unchanged")
    gone = report["evidence"][0]["input"]
    os.rename(p.path(gone), p.path("gone"))
    run = p.run("verify", "r.json", "in")
    want(run.rc == 1 and "not in the inputs" in run.err, "a missing file: exit %d %s" % (run.rc, run.err[:200]))
    os.rename(p.path("gone"), p.path(gone))
    for field, value in (("sha256", "0" * 64), ("offset", report["evidence"][0]["offset"] + 1), ("text", "another"), ("length", 99999), ("length", -1), ("offset", -1),
                         ("input", "in/../in/nothing"), ("member", "x"), ("offset", None), ("length", "x")):
        p.write("forged.json", json.dumps(dict(report, evidence=[dict(report["evidence"][0], **{field: value})])))
        run = p.run("verify", "forged.json", "in")
        want(run.rc == 1, "a report with another %s passes: exit %d" % (field, run.rc))
    for text in ("", "{", "[]", "{}", '{"schema": "other/1"}', "[" * 100000):
        p.write("wrong.json", text)
        run = p.run("verify", "wrong.json", "in")
        want(run.rc in (1, 2) and run.err and not run.out, "a report of %r: exit %d, %r" % (text[:20], run.rc, run.out))
    return "20 bytes, 1 file, 10 forgeries"


@check("verify: a hostile report reads nothing outside the inputs")
def _(p):
    p.write("in/a.log", "x\n")
    secret = p.write("secret", "s" * 100)
    os.mkfifo(p.path("in/fifo"))
    quote = {"id": "e1", "member": None, "offset": 0, "length": 5, "line": 1, "time": None, "form": "decoded", "text": "x",
             "sha256": hashlib.sha256(b"sssss").hexdigest()}
    for path in (secret, "in/../secret", "../secret", "secret"):
        p.write("r.json", json.dumps({"schema": "tachograph.report/1", "evidence": [dict(quote, input=path)]}))
        want(p.run("verify", "r.json", "in").rc == 1, "%s was read, and is not under the input" % path)
    for path, offset in (("/dev/zero", 1 << 60), ("in/fifo", 0), ("fifo", 0)):
        p.deadline = time.monotonic() + 10 * Place.slow
        p.write("r.json", json.dumps({"schema": "tachograph.report/1", "evidence": [dict(quote, input=path, offset=offset)]}))
        want(p.run("verify", "r.json", "in").rc == 1, "%s" % path)
    return "refused"


# ---- bundles ----


@check("bundle: every wrapping gives the verdict of the folder")
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


# ---- hostile text ----

EVIL_TEXT = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\x1b]0;owned\x07\u202e\u2066 \x9b2J \x00 \"' onmouseover=alert(3) javascript:alert(4) </style></title>--> &lt;b&gt;"


def strings(value):
    if isinstance(value, str):
        yield value
    for x in value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else ():
        yield from strings(x)


@check("hostile text: no escapes in text, no elements in HTML")
def _(p):
    evil = EVIL_TEXT.encode()
    name = EVIL_TEXT.replace("/", "|").replace("\0", "")
    p.write("in/" + name + "-rank_3.log", evil + b" " + OOM.encode().rstrip() + evil + b"\n[rank3]: ValueError: " + evil + b"\n" +
            b"[rank3]: FileNotFoundError: [Errno 2] No such file or directory: '" + evil + b"'\n")
    p.write("in/kern.log", b"May  1 10:00:00 " + b"<script>alert(5)</script>" + b" kernel: [12.3] NVRM: Xid (PCI:0000:1b:00): 79, pid='" + evil +
            b"', name=" + evil + b", GPU has fallen off the bus.\n")
    p.write("in/events.json", json.dumps({"kind": "List", "items": [{"kind": "Event", "involvedObject": {"kind": "Pod", "name": EVIL_TEXT}, "reason": "Evicted",
            "message": "The node was low on resource: " + EVIL_TEXT, "source": {"host": EVIL_TEXT}, "type": "Warning"}]}))
    p.write("in/smi.xml", "<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log><attached_gpus>1</attached_gpus>"
            "<gpu id=\"&lt;script&gt;alert(6)&lt;/script&gt;\"><product_name>&lt;script&gt;</product_name></gpu></nvidia_smi_log>")
    p.write("in/manifest.json", json.dumps({"schema": "tachograph.bundle/1", "host": EVIL_TEXT, "time": EVIL_TEXT}))
    p.write("in/fr/comm_lib_trace_rank_0", pickle.dumps({"version": EVIL_TEXT, "pg_config": {"0": {"name": EVIL_TEXT, "desc": EVIL_TEXT, "ranks": "[0, 1]"}}, "entries": [
        {"process_group": ("0", EVIL_TEXT), "profiling_name": "nccl:" + EVIL_TEXT, "state": "started", "collective_seq_id": 3, "input_sizes": [[1]], "output_sizes": [[1]],
         "frames": [{"name": EVIL_TEXT, "filename": EVIL_TEXT, "line": 3}], "time_created_ns": 1, "is_p2p": False, "pg_id": 0, "timeout_ms": 1}]}, 2))
    p.write("in/x.tar", tar_of([("<script>alert(7)</script>\x1b[31m\u202e.log", OOM.encode())]))
    made, page, text = reports(p, "in")
    text = text.decode("utf-8")
    bad = [hex(ord(c)) for c in text if (ord(c) < 32 and c not in "\n") or 0x7f <= ord(c) < 0xa0 or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"]
    want(not bad, "the text report holds %s" % sorted(set(bad)))
    page = page.decode("utf-8")
    bad = [hex(ord(c)) for c in page if (ord(c) < 32 and c not in "\n\t") or 0x7f <= ord(c) < 0xa0 or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
    want(not bad, "the page holds %s" % sorted(set(bad)))
    parsed = Page(page)
    clean = Page(reports(p, p.case(INCIDENT, "clean"))[1].decode())
    want(parsed.scripts == clean.scripts, "elements %s on the page" % sorted(set(parsed.scripts)))
    want(parsed.handlers == clean.handlers, "attributes %s on the page" % parsed.handlers[:3])
    want(not parsed.outside, "the page refers to %s" % parsed.outside[:3])
    want("<script>alert(1)</script>" in parsed.text, "the hostile line is not shown as text")
    held = sorted({hex(ord(c)) for t in strings(json.loads(made.decode("ascii"))) for c in t if ord(c) < 32 and c != "\t" or 0x7f <= ord(c) < 0xa0 or c in "\u202e\u2066"})
    want(not held, "texts of the JSON report hold %s" % held)
    run = p.run("nowhere\x1b[31m\u202e")
    want("\x1b" not in run.err and b"\x1b" not in run.out, "a name is echoed raw")
    return "shown as text"


DUMP = "in/bad/fr/comm_lib_trace_rank_7"

# ---- bad input: files ----


@check("bad input: empty file")
def _(p):
    p.write("in/bad/rank_3.log", b"")
    seen = beside(p, "in/bad", ("ignored",))
    run = p.run("in/bad/rank_3.log", ok=(3,))
    want(run.out, "exit 3 without a report")
    return seen


@check("bad input: empty dump")
def _(p):
    p.write(DUMP, b"")
    return beside(p, "in/bad", ("damaged",))


@check("bad input: a dump by its name, zeros or garbage inside")
def _(p):
    """What a crash of the host leaves of a file; the rank must not just go missing."""
    p.write("in/bad/fr/comm_lib_trace_rank_40", bytes(20000))
    p.write("in/bad/fr/comm_lib_trace_rank_41", random.Random(3).randbytes(20000))
    p.write("in/bad/fr/nccl_trace_rank_42.json", b'{"version": "2.4", "entries": [' + bytes(20000))
    return beside(p, "in/bad", ("damaged", "unread"))


@check("bad input: empty directory")
def _(p):
    p.make("in/bad")
    report, run = p.report("in/bad", ok=(3,))
    expected = incident(p)
    want(verdict(p.report("in")[0]) == expected, "the verdict beside it changed")
    return "exit 3, %s" % report["verdict"]["headline"]


@check("bad input: random bytes")
def _(p):
    dice = random.Random(1)
    for size in (1, 2, 7, 100, 511, 4096, 65536, 3 << 20):
        p.write("in/bad/random-%d" % size, dice.randbytes(size))
        p.write("in/bad/rank_%d.log" % size, dice.randbytes(size))
        p.write("in/bad/fr/comm_lib_trace_rank_%d" % (size % 997), dice.randbytes(size))
    return beside(p, "in/bad")


@check("bad input: right magic, then garbage")
def _(p):
    dice = random.Random(2)
    ustar = bytearray(dice.randbytes(512))
    ustar[257:263] = b"ustar\0"
    for name, head in {"x.gz": b"\x1f\x8b\x08\0", "x.zst": b"\x28\xb5\x2f\xfd", "skip.zst": b"\x50\x2a\x4d\x18",
                       "x.tar": bytes(ustar), "comm_lib_trace_rank_7": b"\x80\x02}q\0(X\7\0\0\0version",
                       "smi.xml": b"<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log>",
                       "nccl_trace_rank_8.json": b'{"version": "2.4", "entries": [', "events.json": b'{"kind": "List", "items": [{"kind": "Event", ',
                       "error.json": b'{"message": {"message": "x", "extraInfo": {"py_callstack": '}.items():
        p.write("in/bad/" + name, head + dice.randbytes(4000))
    seen = beside(p, "in/bad")
    report, _ = p.report("in/bad")
    for name in ("x.gz", "x.zst", "x.tar", "comm_lib_trace_rank_7", "smi.xml", "events.json", "error.json"):
        i = inputs_under(report, name)
        want(i and i[0]["state"] in ("damaged", "unread") and i[0]["damaged"], "%s: %s" % (name, told(i)))
    return seen


@check("bad input: a directory of nothing useful")
def _(p):
    p.write("in/bad/logo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(2000))
    p.write("in/bad/a.out", b"\x7fELF\2\1\1" + bytes(4000))
    p.write("in/bad/x.zip", b"PK\x03\x04" + bytes(100))
    p.write("in/bad/README.md", "# A project\n\nRead the manual.  Errors may be caused by users.\n")
    p.write("in/bad/train.py", "import torch\n\nraise_on_error = True\nprint('CUDA out of memory?')\n")
    return beside(p, "in/bad", ("ok", "ignored"))


@check("bad input: unreadable file")
def _(p):
    os.chmod(p.write("in/bad/rank_3.log", "x\n"), 0)
    os.mkdir(p.path("in/bad/closed"))
    p.write("in/bad/closed/rank_4.log", "x\n")
    os.chmod(p.path("in/bad/closed"), 0)
    os.chmod(p.folder, 0o755)
    user = None
    try:
        if os.geteuid() == 0:
            user = 65534
            if subprocess.run([Place.tanalyze, "--version"], user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
                raise Skip("root reads everything, and nobody may not run tanalyze")
        return beside(p, "in/bad", ("unread",), user=user)
    except PermissionError:
        raise Skip("root reads everything, and nobody may not run tanalyze")
    finally:
        os.chmod(p.path("in/bad/closed"), 0o755)


@check("bad input: FIFO")
def _(p):
    p.make("in/bad")
    os.mkfifo(p.path("in/bad/rank_3.log"))
    return beside(p, "in/bad", ("unread",))


@check("bad input: socket")
def _(p):
    p.make("in/bad")
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        fd = os.open(p.path("in/bad"), os.O_RDONLY)
        try:
            s.bind("/proc/self/fd/%d/rank_3.log" % fd)
        finally:
            os.close(fd)
        want(os.getcwd() == here, "moved")
        return beside(p, "in/bad", ("unread",))


@check("bad input: symlink loop, dangling link, link out of the input")
def _(p):
    p.make("in/bad")
    p.write("outside/rank_9.log", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n")
    os.symlink("loop", p.path("in/bad/loop"))
    os.symlink("..", p.path("in/bad/up"))
    os.symlink("/nonexistent/rank_2.log", p.path("in/bad/dangling"))
    os.symlink("../../outside/rank_9.log", p.path("in/bad/out.log"))
    seen = beside(p, "in/bad", ("ignored", "unread"))
    p.report("in/bad/loop", ok=(3,))
    p.report("in/bad/dangling", ok=(3,))
    return seen


@check("bad input: device as input")
def _(p):
    report, run = p.report("/dev/null", ok=(3,))
    p.report("/dev/zero", ok=(3,))
    return told(report["inputs"])


@check("bad input: input that is not there")
def _(p):
    expected = incident(p)
    report, run = p.report("in", "nowhere", ok=(0, 4))
    want(verdict(report) == expected, "the verdict changed")
    entry = inputs_under(report, "nowhere")
    want(entry and entry[0]["state"] == "unread" and entry[0]["damaged"], told(entry))
    return told(entry)


def while_waiting(p, change, *inputs):
    """Do `change` after the list of files is made and before they are read: "-" comes first and waits."""
    r, w = os.pipe()

    def later():
        time.sleep(0.3 * max(1, Place.slow / 2))
        change()
        os.close(w)
    t = threading.Thread(target=later)
    t.start()
    try:
        with os.fdopen(r, "rb") as stdin:
            return p.report("-", *inputs, stdin=stdin)
    finally:
        t.join()


@check("bad input: file vanishes, becomes a FIFO, a directory, shorter")
def _(p):
    expected = incident(p)
    for name in ("gone", "fifo", "folder", "shorter"):
        p.write("in/bad/" + name, "some text\n" * 1000)

    def change():
        for name in ("gone", "fifo", "folder"):
            os.unlink(p.path("in/bad/" + name))
        os.mkfifo(p.path("in/bad/fifo"))
        os.mkdir(p.path("in/bad/folder"))
        os.truncate(p.path("in/bad/shorter"), 5)
    report, run = while_waiting(p, change, "in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    for name in ("gone", "folder"):
        i = inputs_under(report, "bad/" + name)
        want(i and i[0]["state"] in ("unread", "damaged") and i[0]["damaged"], "%s: %s" % (name, told(i)))
    return "exit %d, gone: %s" % (run.rc, told(inputs_under(report, "bad/gone")))


def holds_open(pid, path):
    with contextlib.suppress(OSError):
        for fd in os.listdir("/proc/%d/fd" % pid):
            with contextlib.suppress(OSError):
                if os.path.samefile("/proc/%d/fd/%s" % (pid, fd), path):
                    return True
    return False


@check("bad input: file grows while it is read")
def _(p):
    """From when it is open until the program ends, faster than anybody reads: whoever reads to the end never gets there."""
    expected = incident(p)
    text = b"iteration 100 | loss 2.31 | lr 1e-4\n" * (2 << 20)
    path = p.write("in/bad/rank_3.log", text)
    size = began = len(text)

    def grow(child):
        nonlocal size
        while child.poll() is None:
            if size > began or holds_open(child.pid, path):
                size += 1 << 26
                with contextlib.suppress(OSError):      # as large as a file may be
                    os.truncate(path, size)             # a hole: costs no disk
    report, run = p.report("--digest", "in", during=grow)
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    entry = inputs_under(report, "bad/rank_3.log")[0]
    want(entry["sha256"] == hashlib.sha256(text).hexdigest(), "not the %d bytes that it had were read: %s" % (began, told([entry])))
    want(not entry["damaged"] or ("grew" in entry["damaged"][0]["what"] and str(began) in entry["damaged"][0]["what"] and run.rc == 0), told([entry]))
    return "%d MiB more meanwhile; %s" % ((size - began) // MIB, told([entry]))


@check("bad input: many small files")
def _(p):
    n = 100000 if FULL else 20000
    for i in range(n):
        if i % 500 == 0:
            p.make("in/bad/%03d" % (i // 500))
        with open(p.folder + "/in/bad/%03d/rank_%d.log" % (i // 500, i), "w") as f:
            f.write("step %d ok\n" % i)
    expected = incident(p)
    report, run = p.report("in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    want(len(report["inputs"]) > n, "%d inputs listed" % len(report["inputs"]))
    text = p.run("in")
    want(len(text.out) < 100000, "%d bytes of text report" % len(text.out))
    return "%d files, %.1f s, %.0f MiB" % (n, run.seconds, run.mib)


@check("bad input: damaged small files by the thousand")
def _(p):
    for i in range(3000):
        p.write("in/bad/x%d.gz" % i, b"\x1f\x8b\x08\0garbage that is no deflate stream %d" % i)
    expected = incident(p)
    report, run = p.report("in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    text = p.run("in")
    want(len(text.out) < 100000, "%d bytes of text report" % len(text.out))
    return "%.1f s, text %d bytes" % (run.seconds, len(text.out))


@check("bad input: deep folders, hostile names")
def _(p):
    deep = p.folder + "/in/bad"
    os.makedirs(deep)
    fd = os.open(deep, os.O_RDONLY)
    for i in range(300):
        os.mkdir("d", dir_fd=fd)
        up, fd = fd, os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(up)
    os.close(os.open("rank_1.log", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    for name in (b"\xff\xfe.log", b"new\nline.log", b"\x1b]0;evil\x07.log", b"<script>alert(1)</script>.log", b"%s%n%n%n.log", b"-rf",
                 b"--html", b"rank_99999999999999999999.log", b"a" * 255):
        with open(os.fsencode(deep) + b"/" + name.replace(b"/", b"_"), "wb") as f:
            f.write(b"a line\n")
    return beside(p, "in/bad")


# ---- bad input: logs ----


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


@check("bad input: one endless line")
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


@check("bad input: sparse file")
def _(p):
    expected = incident(p)
    path = p.write("in/bad/rank_3.log", "starting up\n")
    os.truncate(path, 5 << 30 if FULL else 500 << 20)
    report, run = p.report("in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    return "%.1f s, %s" % (run.seconds, told(inputs_under(report, "rank_3.log")))


@check("bad input: dense hits")
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
    html = p.run("--html", "out.html", "in/bad")
    size = os.path.getsize(p.path("out.html"))
    want(size < 8 << 20, "%d MiB of HTML" % (size >> 20))
    return "%.1f s, %.0f MiB, JSON %d KiB, HTML %d KiB" % (run.seconds, run.mib, len(run.out) >> 10, size >> 10)


@check("bad input: hits that all differ")
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


@check("bad input: absurd world sizes, ranks, times, numbers")
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
    text = p.run("in/bad")
    return "world %s, %.1f s, JSON %d KiB" % (report["job"]["world_size"], run.seconds, len(run.out) >> 10)


@check("bad input: invalid UTF-8, NULs, control bytes")
def _(p):
    expected = incident(p)
    bad = b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf5\x80\x80\x80 \x00\x00 \x1b[31m\x1b]0;x\x07 \xe2\x80\xae\xc2\x9b31m"
    p.write("in/bad/rank_3.log", b"step 1 " + bad + b"\n" + b"\0" * 500 + b"\nstep 2 " + bad * 50 + b"\r\r\n" + bytes(range(256)) * 4)
    p.write("in/bad/utf16.log", "step one\nstep two\n".encode("utf-16"))
    p.write("in/bad/bom.log", b"\xef\xbb\xbfstep one\n")
    seen = beside(p, "in/bad", ("ok", "ignored"))
    alone, _ = p.report(p.write("oom.log", b"[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity "
                                b"of 79.10 GiB of which " + bad + b" is free.\n"))
    json.dumps(alone).encode("utf-8")
    return seen


@check("bad input: lines that regular expressions dread")
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


@check("bad input: one literal many times in a line")
def _(p):
    worst = (0, "")
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


# ---- bad input: dumps ----


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@check("bad input: pickle that calls os.system")
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


@check("bad input: pickle bombs")
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


@check("bad input: dumps with absurd values")
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


# ---- bad input: containers ----


def tar_of(members, mode="w"):
    """members: name -> bytes, or a TarInfo with what it needs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, data in members:
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


def zstd(data, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def good_members(p, case=INCIDENT):
    root = os.path.join(Place.source, "corpus", case, "input")
    for folder, _, names in sorted(os.walk(root)):
        for name in sorted(names):
            full = os.path.join(folder, name)
            with open(full, "rb") as f:
                yield os.path.relpath(full, root), f.read()


@check("bad input: tar with ../, absolute names, links, devices")
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


@check("bad input: tar with lying sizes")
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
    sparse = tarfile.TarInfo("sparse.log")
    report, run = p.report("in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    return "exit %d, %s" % (run.rc, told(inputs_under(report, "t0.tar")))


@check("bad input: tar of many members")
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


@check("bad input: zstd and gzip bombs")
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


@check("bad input: bombs inside a tar")
def _(p):
    """The member of 10 GiB is of a kind that is not read: skipping it must be bounded too."""
    info = tarfile.TarInfo("core.bin")
    info.size = 10 << 30
    head = info.tobuf(tarfile.GNU_FORMAT)
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


@check("bad input: archives in archives")
def _(p):
    data = b"step\n"
    for i in range(30):
        data = tar_of([("x.tar", data)]) if i % 2 else gzip.compress(data)
        p.write("in/bad/deep-%d.tar" % i, data)
    quine = zstd(zstd(zstd(b"step\n")))
    p.write("in/bad/three.zst", quine)
    return beside(p, "in/bad")


# ---- bad input: structured text ----


@check("bad input: XML billion laughs, XXE")
def _(p):
    secret = p.write("secret.txt", "the secret of the host\n")
    laughs = "<!DOCTYPE nvidia_smi_log [<!ENTITY l0 \"ha\">" + "".join(
        '<!ENTITY l%d "%s">' % (i + 1, "&l%d;" % i * 10) for i in range(12)) + "]>"
    xxe = '<!DOCTYPE nvidia_smi_log [<!ENTITY x SYSTEM "file://%s"><!ENTITY %% y SYSTEM "file://%s">%%y;]>' % (secret, secret)
    body = "<nvidia_smi_log><timestamp>%s</timestamp><driver_version>%s</driver_version><attached_gpus>1</attached_gpus><gpu id=\"00000000:1B:00.0\">" \
           "<product_name>%s</product_name><uuid>%s</uuid></gpu></nvidia_smi_log>"
    for i, (dtd, entity) in enumerate(((laughs, "&l12;"), (xxe, "&x;"), ('<!DOCTYPE nvidia_smi_log SYSTEM "file://%s">' % secret, "&x;"), ("", "&x;&#0;&#xffffffff;"),
                                       ('<!DOCTYPE nvidia_smi_log SYSTEM "http://127.0.0.1:1/x.dtd">', ""))):
        p.write("in/bad/smi-%d.xml" % i, '<?xml version="1.0" ?>\n' + dtd + "\n" + body % ((entity,) * 4))
    p.write("in/bad/deep.xml", '<?xml version="1.0" ?>\n<nvidia_smi_log>' + "<gpu>" * 1000000)
    p.write("in/bad/wide.xml", '<?xml version="1.0" ?>\n<nvidia_smi_log>' + '<gpu id="x"/>' * 1000000 + "</nvidia_smi_log>")
    p.write("in/bad/attributes.xml", '<?xml version="1.0" ?>\n<nvidia_smi_log ' + " ".join("a%d=''" % i for i in range(200000)) + "></nvidia_smi_log>")
    p.write("in/bad/long.xml", '<?xml version="1.0" ?>\n<nvidia_smi_log><gpu id="' + "x" * 20000000 + '"><uuid>' + "y" * 20000000)
    p.write("in/bad/heads.xml", '<nvidia_smi_log><?xml version="1.0" ?>' * 200000)
    seen = beside(p, "in/bad")
    report, run = p.report("in/bad")
    want("secret of the host" not in json.dumps(report), "an external entity was read")
    return seen


@check("bad input: deep and odd JSON")
def _(p):
    deep = 100000
    for i, (a, z) in enumerate((("[", "]"), ('{"a":', "}"))):
        nest = a * deep + "1" + z * deep
        for close in (nest, a * deep, a * 10000000):
            k = "%d-%d" % (i, len(close))
            p.write("in/bad/events-%s.json" % k, '{"kind": "Event", "involvedObject": ' + close + "}")
            p.write("in/bad/nccl_trace_rank_%d.json" % (i * 7 + len(close) % 7 + 20), '{"version": "2.4", "entries": [' + close + "]}")
            p.write("in/bad/error-%s.json" % k, '{"message": {"message": "x", "extraInfo": {"py_callstack": ' + close + "}}}")
            p.write("in/bad/manifest-%s/manifest.json" % k, '{"schema": "tachograph.bundle/1", "x": ' + close + "}")
            p.write("in/bad/plain-%s.json" % k, close)
    p.write("in/bad/numbers.json", '{"kind": "Event", "involvedObject": {}, "count": 1e999999, "x": %s, "y": -%s}' % ("9" * 100000, "9" * 400))
    p.write("in/bad/dupes.json", '{"kind": "Event", "involvedObject": {' + '"a": 1,' * 500000 + '"a": 2}}')
    p.write("in/bad/keys.json", '{"kind": "Event", "involvedObject": {' + ",".join('"%d": 1' % i for i in range(300000)) + '}}')
    p.write("in/bad/surrogates.json", '{"kind": "Event", "involvedObject": {"name": "\\ud800 \\udc00\\u0000"}, "message": "\\u202e\\u001b[31m"}')
    p.write("in/bad/items.json", '{"kind": "List", "items": [' + ",".join(['{"kind": "Event", "involvedObject": {}}'] * 200000) + "]}")
    return beside(p, "in/bad", mib=2048)


@check("bad input: manifests that lie")
def _(p):
    for i, manifest in enumerate(('{"schema": "tachograph.bundle/1", "host": 7, "time": []}', '[]', '{"schema": "tachograph.bundle/1", "host": "\\u001b[31m<script>"}',
                                  '{"schema": "tachograph.bundle/1", "host": "%s", "time": "9999-12-31T23:59:59Z"}' % ("h" * 100000), '{"schema":"tachograph.bundle/1"')):
        p.write("in/bad/m%d/manifest.json" % i, manifest)
        p.write("in/bad/m%d/logs/rank_1.log" % i, "step 1\n")
    return beside(p, "in/bad")


EVENTS = {"kind": "List", "apiVersion": "v1", "items": [
    {"kind": "Event", "involvedObject": {"kind": "Pod", "name": "train-worker-%d" % i, "namespace": "ml"}, "reason": "Evicted", "type": "Warning",
     "message": "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 2Gi.", "count": 1,
     "source": {"component": "kubelet", "host": "heron-%02d" % i}, "lastTimestamp": "2026-05-01T10:00:%02dZ" % i} for i in range(8)]}


def cuts(data):
    step = 97 if FULL else max(97, len(data) // 60)
    return range(0, len(data), step)


def first_file(test, size=3000):
    root = os.path.join(Place.source, "corpus")
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(folder, name)
            if "/input/" in full and test(name, full) and os.path.getsize(full) > size:
                with open(full, "rb") as f:
                    return f.read()
    raise Skip("the corpus holds no such file")


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


@check("bad input: a dump cut everywhere")
def _(p):
    return each_cut(p, "comm_lib_trace_rank_3", first_file(lambda n, f: "_trace_rank_" in n and "/gpu_stalled/" in f))


@check("bad input: a log cut everywhere")
def _(p):
    return each_cut(p, "rank_3.log", first_file(lambda n, f: n.endswith(".log") and "/cuda_oom/" in f))


@check("bad input: an XML cut everywhere")
def _(p):
    return each_cut(p, "nvidia-smi.xml", first_file(lambda n, f: n.endswith(".xml")))


@check("bad input: a Kubernetes file cut everywhere")
def _(p):
    text = each_cut(p, "events.txt", first_file(lambda n, f: "/k8s_" in f and n.startswith(("describe", "events"))))
    return text + "; " + each_cut(p, "events.json", json.dumps(EVENTS, indent=1).encode())


@check("bad input: a bundle cut everywhere")
def _(p):
    seen = []
    data = tar_of(list(good_members(p)))
    for name, content in (("b.tar.zst", zstd(data)), ("b.tar.gz", gzip.compress(data))):
        seen.append(each_cut(p, name, content))
    whole = zstd(tar_of(list(good_members(p, DEMO))))
    report, run = p.report(p.write("cut.tar.zst", whole[:len(whole) * 4 // 5]))
    want(run.rc == 4 and any(i["damaged"] for i in report["inputs"]), "a cut bundle: exit %d, %s" % (run.rc, told(report["inputs"])))
    return "; ".join(seen)


@check("bad input: bytes flipped in a bundle and in a dump")
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


@check("bad input: standard input closed, a directory, a pipe that never ends")
def _(p):
    closed = subprocess.run(["sh", "-c", 'exec "$0" --json - - <&-', Place.tanalyze], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    want(closed.returncode == 3 and json.loads(closed.stdout), "closed: exit %d %s" % (closed.returncode, closed.stderr[:200]))
    fd = os.open(p.folder, os.O_RDONLY)
    try:
        p.report("-", stdin=fd, ok=(3,))
    finally:
        os.close(fd)
    r, w = os.pipe()
    try:
        os.write(w, b"[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n")
        p.deadline = min(p.deadline, time.monotonic() + 15 * Place.slow)
        report, run = p.report("--time-limit", "1", "-", stdin=r)
    finally:
        os.close(w)
        os.close(r)
    return "--time-limit 1 on a silent pipe: %.1f s, %s" % (run.seconds, said(verdict(report)))


# ---- main ----


def one(number, name, function):
    with tempfile.TemporaryDirectory(prefix="tanalyze-e2e-") as folder:
        began = time.monotonic()
        try:
            word, seen = "ok", function(Place(folder))
        except Skip as why:
            word, seen = "skip", str(why)
        except Failure as why:
            word, seen = "not ok", str(why)
        except Exception as why:
            word, seen = "not ok", "the check itself: %s: %s" % (type(why).__name__, why)
        return word, "%s %d - %s: %s [%.1f s]" % (word if word != "skip" else "skip", number, name, seen, time.monotonic() - began)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    Place.tanalyze, Place.source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    Place.base = {}
    with open(Place.tanalyze, "rb") as f:
        Place.sanitized = b"__asan_init" in f.read()
    Place.slow = SLOW or (6 if Place.sanitized else 1)
    words = sys.argv[3:]
    chosen = [(i + 1, name, f) for i, (name, f) in enumerate(checks) if not words or any(w in name for w in words)]
    count = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for word, line in pool.map(lambda c: one(*c), chosen):
            count[word] += 1
            print(line, flush=True)
    print("%d passed, %d failed, %d skipped" % (count["ok"], count["not ok"], count["skip"]))
    return 1 if count["not ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
