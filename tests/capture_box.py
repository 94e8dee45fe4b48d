"""What the tests of tdump and tcaptured share: a folder with processes in it, bundles unpacked, a runner."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = []
RANK = "BOX_%d_RANK" % os.getpid()	# makes a process a rank here, and nowhere else on this machine


def case(f):
    CASES.append(f)
    return f


class Box:
    """A folder, processes that end with it, and tdump in it."""

    def __init__(self, root, programs):
        self.root, self.processes = root, []
        self.tdump_path, self.tcaptured_path, self.tanalyze_path, self.path_of_doubles = (programs + [None] * 3)[:4]
        self.config("")

    def path(self, *names):
        return os.path.join(self.root, *names)

    def put(self, name, data, mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        os.chmod(self.path(name), mode)
        return self.path(name)

    def config(self, text):
        self.put("tcaptured.conf", "ring_dir = %s\nbundle_dir = %s\nsocket = %s\nras_port = 0\ntrack_env = %s\n%s\n" % (
            self.path("no-ring"), self.path("bundles"), self.path("no-socket"), RANK, text))

    def rank(self, rank, code, env=None, args=(), log="rank.log", stdin=None):
        with open(self.path(log), "ab") as out:
            p = subprocess.Popen([sys.executable, "-c", code, *args], stdin=stdin, stdout=out, stderr=out, cwd=self.root,
                                 env={"PATH": os.environ["PATH"], RANK: str(rank), "RANK": str(rank), "WORLD_SIZE": "2", **(env or {})})
        self.processes.append(p)
        wait_for(lambda: b"ready" in open(self.path(log), "rb").read(), "the rank to start")
        return p

    def daemon(self, text="", kernel="no", prefix=(), env=None):
        """tcaptured, when it answers.  What the kernel tells of other programs on this machine starts no dump."""
        self.put("tcaptured.conf", "ring_dir = %s\nbundle_dir = %s\nsocket = %s\nring_bytes = 16M\nras_port = 0\nlogs = /nowhere\n"
                 "track_env = %s\ntrigger_kernel = %s\ntrigger_oom = %s\n%s\n" % (self.path("ring"), self.path("bundles"), self.path("sock"),
                                                                              RANK, kernel, kernel, text))
        p = subprocess.Popen([*prefix, self.tcaptured_path, "--config", self.path("tcaptured.conf"), "--foreground"], cwd=self.root,
                             env=dict(os.environ, **(env or {})), stderr=open(self.path("log"), "ab"))
        self.processes.append(p)
        wait_for(lambda: subprocess.run(self.command("--status"), capture_output=True).returncode == 0, "the daemon")
        return p

    def log(self):
        return open(self.path("log")).read()

    def bundles(self, end=".tar.zst"):
        return sorted(glob.glob(self.path("bundles", "tdump-*" + end)))

    def command(self, *args):
        return [self.tdump_path, "--config", self.path("tcaptured.conf"), *args]

    def tdump(self, *args, rc=0, path=None, timeout=60):
        env = dict(os.environ, PATH=(path + ":" if path else "") + os.environ["PATH"])
        p = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=timeout, env=env, cwd=self.root)
        check(p.returncode == rc, "tdump %s: status %d, wanted %d: %s%s" % (args, p.returncode, rc, p.stdout, p.stderr))
        return p

    def analyze(self, *args):
        return subprocess.run([self.tanalyze_path, *args], capture_output=True, text=True, timeout=120).stdout

    def dump(self, *args, **how):
        """The members of the bundle that tdump writes, by name."""
        out = self.tdump(*args, **how).stdout.strip()
        check(out.endswith(".tar.zst") or "-o" in args, "no path of a bundle: %r" % out)
        check(not os.path.exists(out + ".partial"), "a .partial is left")
        return unpack(out if os.path.isabs(out) else self.path(out))

    def close(self):
        for p in self.processes:
            p.kill()
            p.wait()


class Skip(Exception):
    """This machine lacks what the test needs."""


class Cgroup:
    """A memory cgroup of our own, of version 2 or 1."""

    def __init__(self, limit):
        self.name = f"tachograph-test-{os.getpid()}"
        for line in Path("/proc/mounts").read_text().splitlines():
            _, where, kind, options, *_ = line.split()
            if kind == "cgroup" and "memory" in options.split(","):
                self.path, files = Path(where) / self.name, {"memory.limit_in_bytes": limit}
                break
            if kind == "cgroup2" and "memory" in (Path(where) / "cgroup.subtree_control").read_text().split():
                self.path, files = Path(where) / self.name, {"memory.max": limit, "memory.swap.max": 0}
                break
        else:
            raise Skip("no memory controller")
        self.path.mkdir()
        for name, value in files.items():
            if (self.path / name).exists():
                (self.path / name).write_text(str(value))

    def add(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid))

    def remove(self):
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.05)


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, IndexError, KeyError):
            pass
        time.sleep(0.02)
    raise AssertionError("waited in vain for " + what)


def unpack(path, cut=False):
    with tempfile.TemporaryDirectory() as to:
        p = subprocess.run(["tar", "--zstd", "-xf", path, "-C", to], capture_output=True, text=True)
        check(cut or p.returncode == 0, "tar: " + p.stderr)
        members = {}
        for folder, _, names in os.walk(to):
            for n in names:
                with open(os.path.join(folder, n), "rb") as f:
                    members[os.path.relpath(os.path.join(folder, n), to)] = f.read()
    return members


def end_of(members):
    return json.loads(members["manifest-end.json"])


def bundle(box, n=1):
    """The members of the only bundle that there is, or of the n-th and last."""
    wait_for(lambda: len(box.bundles()) >= n and not box.bundles(".partial"), "bundle %d: %s" % (n, box.log()))
    check(len(box.bundles()) == n, box.bundles())
    return unpack(box.bundles()[-1])


def are_followed(box, n):
    """Until then, the end of one would be nobody's."""
    wait_for(lambda: ", %d processes tracked\n" % n in box.tdump("--status").stdout, "%d ranks to be followed" % n)


def state_of(members, source):
    return [(s["state"], s["reason"]) for s in end_of(members)["sources"] if s["name"] == source and s["when"] == "dump"][0]


def running(name, argument, box):
    """Is there such a process in the folder of this case?"""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = open("/proc/%s/cmdline" % pid, "rb").read().split(b"\0")
            if line[:2] == [name.encode(), argument.encode()] and os.readlink("/proc/%s/cwd" % pid) == box.root:
                return True
        except OSError:
            pass
    return False


def dumper(box):
    """The process of the dump that runs: a child of the daemon that leads a session and is no worker."""
    daemon = box.processes[0].pid
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            comm = open("/proc/%s/comm" % pid).read().strip()
        except OSError:
            continue
        if int(fields[1]) == daemon and comm == "tcaptured":
            return int(pid)
    return None


SLEEP = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(1)\n"


def main(n_programs):
    """argv: programs, then the names of the cases that are wanted."""
    if os.geteuid() != 0 or not shutil.which("zstd") or not shutil.which("tar"):
        print("skipped: needs root, tar and zstd")
        sys.exit(77)
    programs, wanted, failed = [os.path.abspath(p) for p in sys.argv[1:1 + n_programs]], sys.argv[1 + n_programs:], 0
    for f in CASES:
        if wanted and f.__name__ not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="capture.", ignore_cleanup_errors=True) as root:
            box = Box(os.path.realpath(root), programs)
            begin = time.monotonic()
            try:
                f(box)
                print("ok      %s (%.1f s)" % (f.__name__, time.monotonic() - begin), flush=True)
            except (AssertionError, KeyError, IndexError, OSError, subprocess.TimeoutExpired) as e:
                failed += 1
                print("FAILED  %s: %s: %.1500s" % (f.__name__, type(e).__name__, e), flush=True)
            finally:
                box.close()
    sys.exit(1 if failed else 0)
