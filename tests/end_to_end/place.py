"""The program under test, a scratch folder to run it in, and what is asked of every answer."""
import collections, contextlib, json, os, shutil, subprocess, tempfile, threading, time

FULL = os.environ.get("FULL") == "1"
SLOW = float(os.environ.get("SLOW", "0"))
LIMIT_S, LIMIT_MIB = 60, 1536       # of processor time: a machine may be busy
STUCK_S = 300                       # of waiting: nothing here waits for anything
MIB = 1 << 20
INCIDENT = "host_oom/memory-cgroup"                 # small; stands beside bad files
DEMO = "gpu_fell_off_bus/demo-16-ranks"

Run = collections.namedtuple("Run", "rc out err seconds mib")     # seconds: of processor time
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

    tanalyze = source = None
    base = {}                   # verdicts of good incidents, by name
    sanitized = False

    def __init__(self, folder):
        self.folder = folder

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
            limit = LIMIT_S * Place.slow * (10 if FULL else 1)
            peak, cpu, told = 0, 0, " ".join(a if len(a) < 60 else a[:60] + "..." for a in args)
            bound = (mib or LIMIT_MIB) * (4 * Place.slow if Place.sanitized else 1)
            while child.poll() is None:
                peak = max(peak, self.resident(child.pid))
                cpu = max(cpu, self.cpu_seconds(child.pid))
                spent = time.monotonic() - began
                if cpu > limit or spent > STUCK_S or peak > bound:
                    child.kill()
                    child.wait()
                    raise Failure("%.0f MiB resident after %.0f s, more than %.0f: %s" % (peak, spent, bound, told) if peak > bound else
                                  "hangs: killed after %.0f s, %.0f s of processor time: %s" % (spent, cpu, told))
                time.sleep(0.001 if spent < 1 else 0.01)
            rc = child.returncode
            for helper in helpers:
                helper.join(10)
            out.seek(0)
            err.seek(0)
            result = Run(rc, out.read(), err.read().decode(errors="replace"), cpu, peak)
        want(rc >= 0, "signal %d: %s: %s" % (-rc, told, result.err[-300:]))
        for word in ("Sanitizer", "runtime error:", "Traceback", "Assertion", "terminate called"):
            want(word not in result.err, "stderr: %s: %s" % (told, result.err[:600]))
        if ok is not None:
            want(rc in ok, "exit %d, not %s: %s: %s" % (rc, sorted(ok), told, result.err[:300]))
        return result

    @staticmethod
    def cpu_seconds(pid):
        with contextlib.suppress(OSError, IndexError), open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0

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
