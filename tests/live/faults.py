#!/usr/bin/env python3
"""A job of four ranks under tcaptured, broken in one way after the other; what tanalyze makes of each bundle.

    faults.py TDUMP TCAPTURED TANALYZE JOB [FAULT...]

One daemon and one ring for all: each verdict has to be about its own run.  Exit status 77: this machine does not allow it.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from capture_box import RANK, Box, Cgroup, Skip, check, wait_for

RANKS = 4
HANG_S = 10		# what is stuck for less is work, for tanalyze too
CONFIG = "post_s = 1\ndedup_s = 0\nbundles_per_hour = 100\ntrigger_hang_s = %d\nsample_ms = 500\nnccl_libraries = %s\nlogs = %s\n"
FAULTS = []


def fault(f):
    FAULTS.append(f)
    return f


class Job:
    """A launcher and its ranks, in a folder of their own, at work."""

    def __init__(self, live, *options, dir=None, records=True):
        live.job_now = self
        self.live, self.dir = live, dir or tempfile.mkdtemp(prefix="job-", dir=live.box.root)
        self.path = lambda name: os.path.join(self.dir, name)
        self.launcher = subprocess.Popen(
            [live.job, "--ranks", str(RANKS), "--variable", RANK, "--step-ms", "20", "--await", self.path("go"), *options, self.dir],
            stdout=open(self.dir + ".log", "ab"), stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "TORCHELASTIC_RUN_ID": os.path.basename(self.dir),
                 **({"TORCH_NCCL_DEBUG_INFO_PIPE_FILE": self.path("pipe_"), "TORCH_FR_DUMP_TEMP_FILE": self.path("trace_")} if records else {})})
        live.box.processes.append(self.launcher)
        wait_for(lambda: len(self.lines("pids")) == RANKS, "the ranks")
        self.pids = [int(line.split()[1]) for line in self.lines("pids")]
        wait_for(lambda: ", %d processes tracked\n" % RANKS in live.box.tdump("--status").stdout, "the ranks to be followed")

    def lines(self, name):
        return open(self.path(name)).readlines()

    def begin(self):
        open(self.path("go"), "w").close()

    def work(self):
        """Begins; steps have been done when this returns."""
        self.begin()
        wait_for(lambda: any(" step 20 " in line for line in self.lines("rank-0.log")), "the job to work")

    def end(self):
        """As its launcher would end it.  Nobody is followed any more when this returns."""
        self.launcher.kill()		# its ranks die with it
        self.launcher.wait()

        def is_over():
            status = self.live.box.tdump("--status").stdout
            return ", 0 processes tracked\n" in status and "a dump is running" not in status
        wait_for(is_over, "the ranks to be forgotten")


class Live:
    def __init__(self, box, tanalyze, job):
        self.box, self.tanalyze, self.job, self.job_now = box, tanalyze, job, None
        library = os.path.join(os.path.dirname(job), "libnccl.so.2")
        box.daemon(CONFIG % (HANG_S, library, box.path("job-*", "rank-*.log")), kernel="yes")
        wait_for(lambda: self.state("bpf") != "ok" or "functions in" in self.state("nccl", 2), "the probes")
        if self.state("bpf") != "ok":
            raise Skip("eBPF: " + self.state("bpf", 2))

    def state(self, source, column=1):
        return re.search(r"(?m)^%s +(\S+) +(.*)$" % source, self.box.tdump("--status").stdout).group(column)

    def say(self, what, text):
        print("   %-9s %s" % (what, text), flush=True)

    def bundle(self, kind):
        def ones():
            return [b for b in self.box.bundles() if b not in self.old and b.endswith("-%s.tar.zst" % kind)]
        try:
            wait_for(ones, "a bundle of trigger %s" % kind)
        except AssertionError as e:
            raise AssertionError("%s: %s" % (e, self.box.log()[self.log_begin:]))
        return ones()[0]

    def report(self, bundle, *options):
        out = bundle[:-len(".tar.zst")] + ".json"
        p = subprocess.run([self.tanalyze, *options, bundle, "--text", "-", "--json", out], capture_output=True, text=True, timeout=120)
        check(p.returncode == 0, "tanalyze: status %d: %s%s" % (p.returncode, p.stdout, p.stderr))
        verify = subprocess.run([self.tanalyze, "verify", out, bundle], capture_output=True, text=True, timeout=120)
        check(verify.returncode == 0, "tanalyze verify: " + verify.stdout + verify.stderr)
        return json.load(open(out)), p.stdout


def judged(live, job, kind, *options):
    """The report on the first bundle of this trigger that the fault made by itself."""
    bundle = live.bundle(kind)
    live.say("trigger", re.search(r"trigger (%s: .*)" % kind, live.box.log()[live.log_begin:]).group(1))
    report, text = live.report(bundle, *options)
    for n, line in enumerate(text.splitlines()[:3]):
        live.say("" if n else "report", line)
    return report


def names(report, pattern, **culprit):
    """The verdict is this cause alone, and it is about this one."""
    v = report["verdict"]
    first = next((f for f in report["findings"] if f["id"] in v["findings"]), None)
    check(v["status"] == "root_cause" and len(v["findings"]) == 1 and first["pattern"] == pattern, (v, first and first["pattern"]))
    for key, value in culprit.items():
        check([c[key] for c in first["culprits"]] == [value], "%s: %s, not %r" % (key, [c[key] for c in first["culprits"]], value))


@fault
def a_run_that_ends_well(live):
    job = Job(live, "--steps", "30")
    job.begin()
    check(job.launcher.wait(60) == 0, "the job")
    check(not live.box.bundles() and not live.box.bundles(".partial"), live.box.bundles())
    live.say("trigger", "none; a bundle by hand")
    report, text = live.report(live.box.tdump().stdout.strip())
    check(report["verdict"]["status"] == "no_failure", report["verdict"])
    live.say("report", text.splitlines()[0])


@fault
def killed_by_another_process(live):
    job = Job(live)
    job.work()
    script = "import os, sys; open('/proc/self/comm', 'w').write('reaper'); os.kill(int(sys.argv[1]), 9)"
    killer = subprocess.Popen([sys.executable, "-c", script, str(job.pids[2])])
    killer.wait()
    live.say("done", "process %d (reaper) kills rank 2 (pid %d)" % (killer.pid, job.pids[2]))
    names(judged(live, job, "exit"), "process_killed", rank=2, pid=job.pids[2], sender="reaper (pid %d, uid 0)" % killer.pid)


@fault
def out_of_the_memory_of_its_cgroup(live):
    cgroup = Cgroup(64 << 20)
    try:
        job = Job(live, "--alloc", "1@20")
        cgroup.add(job.pids[1])
        job.begin()
        live.say("done", "rank 1 (pid %d) allocates without end below a limit of 64 MiB" % job.pids[1])
        names(judged(live, job, "oom"), "host_oom", rank=1, pid=job.pids[1])
    finally:
        live.job_now.end()
        cgroup.remove()


@fault
def computing_outside_nccl(live):
    job = Job(live, "--spin", "3@20", records=False)	# no flight recorder: what the probes saw is all there is
    job.begin()
    live.say("done", "rank 3 (pid %d) computes for ever; the others wait in their all_reduce" % job.pids[3])
    names(judged(live, job, "hang"), "rank_stalled", rank=3, pid=job.pids[3])


@fault
def stopped_by_a_signal(live):
    job = Job(live)
    job.work()
    os.kill(job.pids[1], signal.SIGSTOP)
    live.say("done", "process %d stops rank 1 (pid %d)" % (os.getpid(), job.pids[1]))
    comm = open("/proc/self/comm").read().strip()
    names(judged(live, job, "hang"), "rank_stalled", rank=1, pid=job.pids[1], sender="%s (pid %d, uid 0)" % (comm, os.getpid()))


@fault
def blocked_in_the_kernel(live):
    job = Job(live, "--blocked", "2@20", records=False)
    job.begin()
    live.say("done", "rank 2 (pid %d) waits in the kernel, uninterruptibly" % job.pids[2])
    names(judged(live, job, "hang"), "rank_stalled", rank=2, pid=job.pids[2])


@fault
def another_collective_than_the_others(live):
    job = Job(live, "--mismatch", "1@20", "--timeout", "3", "--no-abort")
    job.begin()
    live.say("done", "rank 1 (pid %d) enters an all_reduce with one element more" % job.pids[1])
    names(judged(live, job, "flight"), "collective_desync", rank=1, pid=job.pids[1])


@fault
def a_full_log_disk(live):
    dir = tempfile.mkdtemp(prefix="job-", dir=live.box.root)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "none", dir], check=True)
    try:
        job = Job(live, "--fill", "2@20", dir=dir)
        job.begin()
        live.say("done", "rank 2 (pid %d) writes its log until the disk is full" % job.pids[2])
        names(judged(live, job, "exit"), "disk_full", rank=2, pid=job.pids[2])
    finally:
        live.job_now.end()
        subprocess.run(["umount", "-l", dir])


@fault
def a_gpu_falls_off_the_bus(live):
    job = Job(live)
    job.work()
    line = "NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
    try:
        with open("/dev/kmsg", "w") as kmsg:
            kmsg.write(line + "\n")
    except OSError as e:
        raise Skip("/dev/kmsg: %s" % e.strerror)
    live.say("done", "written to /dev/kmsg: " + line)
    names(judged(live, job, "kernel", "--injected"), "gpu_fell_off_bus", gpu="0000:65:00.0")


@fault
def an_exception(live):
    job = Job(live, "--exit", "3@20:1")
    job.begin()
    live.say("done", "rank 3 (pid %d) ends with status 1, behind a traceback" % job.pids[3])
    names(judged(live, job, "exit"), "python_exception_one_rank", rank=3, pid=job.pids[3])


def run(live, wanted):
    failed = 0
    for f in FAULTS:
        if wanted and f.__name__ not in wanted:
            continue
        live.old, live.log_begin = live.box.bundles(), len(live.box.log())
        print("== " + f.__name__.replace("_", " "), flush=True)
        try:
            f(live)
        except Skip as e:
            live.say("skipped", e)
        except (AssertionError, KeyError, IndexError, OSError, subprocess.SubprocessError) as e:
            failed += 1
            live.say("FAILED", "%s: %.3000s" % (type(e).__name__, e))
        finally:
            if live.job_now:
                live.job_now.end()
    return failed


def main():
    programs, wanted = [os.path.abspath(p) for p in sys.argv[1:5]], sys.argv[5:]
    if os.geteuid() != 0 or not shutil.which("zstd") or not shutil.which("tar"):
        print("skipped: needs root, zstd and tar")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="live.", ignore_cleanup_errors=True) as root:
        box = Box(os.path.realpath(root), programs[:2])
        try:
            sys.exit(1 if run(Live(box, *programs[2:]), wanted) else 0)
        except Skip as e:
            print("skipped: %s" % e)
            sys.exit(77)
        finally:
            box.close()


main()
