#!/usr/bin/env python3
"""What the BPF and NCCL sources cost the machine that they watch.  Called by bench_capture.sh.

usage: bench_capture.py BUILD ROUNDS SECONDS
"""
import json
import os
import re
import resource
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUILD, ROUNDS, SECONDS = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
SIGNAL, CALL = 33, 65		# enum record_kind
LIBRARY = BUILD / "live/libnccl.so.2"


class Sources:
    """The sources, attached, with a process of a job to follow."""

    def __init__(self):
        self.p = subprocess.Popen([BUILD / "probe_driver", "--count"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tell("rank 1 0 " + str(LIBRARY))
        while "functions in" not in self.read():
            pass

    def read(self):
        line = self.p.stdout.readline()
        if not line:
            sys.exit(f"the sources do not start ({self.p.wait()})")
        return line

    def tell(self, text):
        self.p.stdin.write(text + "\n")
        self.p.stdin.flush()

    def end(self):
        self.tell("quit")
        sums = [json.loads(x) for x in self.p.stdout if '"records"' in x][-1]
        self.p.wait()
        return sums


def perf_bench(*args):
    """CPU seconds, user and system: what a probe adds is in them, what the neighbours take is not."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["taskset", "-c", "0", "perf", "bench", "-f", "simple", *args], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def calls(library, *options, before=None):
    p = subprocess.Popen([BUILD / "probe_cost", library, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = int(p.stdout.readline().split()[1])
    if before:
        before(pid)
    out, _ = p.communicate("go\n")
    n, ns = re.match(r"calls (\d+) ns ([\d.]+)", out).groups()
    return int(n), float(ns)


def loss(name, *args):
    """Many short runs, with and without in turns.  What disturbs a run only ever makes it longer: the quick ones count."""
    def quick(runs):
        return statistics.mean(sorted(runs)[:len(runs) // 5])

    first, ours, second = [], [], []
    for _ in range(ROUNDS):
        first += [perf_bench(*args) for _ in range(10)]
        s = Sources()
        ours += [perf_bench(*args) for _ in range(10)]
        s.end()
        second += [perf_bench(*args) for _ in range(10)]
    bare = quick(first + second)
    print(f"{name:<28} with the sources {100 * (quick(ours) / bare - 1):+.2f} % CPU time (asked: <= 1 %); "
          f"noise, without against without: {100 * (quick(second) / quick(first) - 1):+.2f} %", flush=True)


def hit_cost():
    plain, empty, ours = [], [], []
    with tempfile.TemporaryDirectory() as dir:
        copy = Path(dir) / "libnccl.so.2"
        shutil.copy(LIBRARY, copy)		# another inode: no probe of ours
        for _ in range(ROUNDS):
            plain.append(calls(copy)[1])
            empty.append(calls(copy, "--empty")[1])
            s = Sources()

            def track(pid):
                s.tell(f"rank {pid} 0")
                s.read()
            ours.append(calls(LIBRARY, before=track)[1])
            s.end()
    base = min(plain)
    print(f"a uprobe hit (ncclAllReduce)  bare call {base:.0f} ns, empty uprobe +{min(empty) - base:.0f} ns, "
          f"ours +{min(ours) - base:.0f} ns", flush=True)


def volume(name, kind, *options, paused=False):
    """Calls, records of them, and losses: must add up, to the last one."""
    s = Sources()

    def track(pid):
        s.tell(f"rank {pid} 0")
        s.read()
        if paused:		# nobody drains
            s.p.send_signal(signal.SIGSTOP)
    n, ns = calls(LIBRARY, *options, before=track)
    s.p.send_signal(signal.SIGCONT)
    sums = s.end()
    records, lost = sums["records"].get(str(kind), 0), sums["bpf_lost" if kind == SIGNAL else "nccl_lost"]
    # Losses are of any kind: a few are other processes that were begun meanwhile.
    ok = n <= records + lost <= n + (200 if lost else 0)
    print(f"{name:<36} {n} at {1e9 / ns:.0f}/s: {records} records + {lost} counted as lost "
          f"{'= all' if ok else 'DOES NOT ADD UP'}", flush=True)
    return ok, lost


# ---- the whole daemon ----

def records_ever(ring, stream):
    """Records that the stream has held: the sequence number of its last one."""
    last = 0
    for path in Path(ring).glob(f"{stream}-*.tcr"):
        data = path.read_bytes()
        nonce, seq = struct.unpack_from("<Q", data, 88)[0], struct.unpack_from("<Q", data, 72)[0]
        at = 256
        while nonce and at + 32 <= len(data):
            commit, _, n = struct.unpack_from("<IIQ", data, at)
            if not commit >> 31 or n < seq:
                break
            last, seq = max(last, n), n + 1
            at += 32 + ((commit & 0x7fffffff) + 7 & ~7)
    return last


class Daemon:
    def __init__(self, dir):
        self.dir = Path(dir)
        config = self.dir / "tcaptured.conf"
        config.write_text(f"ring_dir = {dir}/ring\nbundle_dir = {dir}/bundles\nsocket = {dir}/socket\n")
        self.log = open(self.dir / "log", "w")
        self.p = subprocess.Popen([BUILD / "tcaptured", "--foreground", "--config", config], stderr=self.log)
        self.wait("nccl: ok")

    def wait(self, text):
        for _ in range(400):
            if text in (self.dir / "log").read_text():
                return
            time.sleep(0.05)
        sys.exit(f"the daemon never said {text!r}: {(self.dir / 'log').read_text()}")

    def cpu_s(self):
        fields = Path(f"/proc/{self.p.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self):
        status = Path(f"/proc/{self.p.pid}/status").read_text()
        return {k: int(re.search(rf"{k}:\s+(\d+)", status).group(1)) // 1024 for k in ("RssAnon", "RssFile", "RssShmem")}

    def end(self):
        self.p.terminate()
        self.p.wait()


def daemon():
    with tempfile.TemporaryDirectory() as dir:
        d = Daemon(dir)
        env = dict(os.environ, RANK="0", WORLD_SIZE="1")
        p = subprocess.Popen([BUILD / "probe_cost", LIBRARY, "--rate", "50000", "--seconds", str(SECONDS)], env=env,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        d.wait("functions in")
        time.sleep(5)
        before, start = d.cpu_s(), time.monotonic()
        time.sleep(10)
        rest = (d.cpu_s() - before) / (time.monotonic() - start)
        before, start = d.cpu_s(), time.monotonic()
        out, _ = p.communicate("go\n")
        load = (d.cpu_s() - before) / (time.monotonic() - start)
        n = int(out.split()[-3])
        time.sleep(1.5)
        rss = d.rss()
        d.end()
        held = records_ever(f"{dir}/ring", "nccl")
    ok = held == n + 2	# and the communicator, asked for and made
    print(f"the daemon, {n} calls in {SECONDS} s: {held} records{'' if ok else f', {n + 2} WERE EXPECTED'}; CPU at rest "
          f"{100 * rest:.2f} % of a core (asked: <= 0.3 %), under this load {100 * load:.1f} %; "
          f"resident {rss} MiB, the ring's pages among the file's", flush=True)
    return ok


def main():
    good = daemon() if (BUILD / "tcaptured").exists() else True
    hit_cost()
    for name, kind, option in (("NCCL calls", CALL, []), ("signals", SIGNAL, ["--signals"])):
        ok, lost = volume(f"50,000 {name}/s, {SECONDS} s", kind, "--rate", "50000", "--seconds", str(SECONDS), *option)
        good = good and ok and lost == 0
        good = volume(f"{name}, unbounded", kind, "--calls", "2000000", *option)[0] and good
        ok, lost = volume(f"{name}, daemon stopped", kind, "--calls", "200000", *option, paused=True)
        good = good and ok and lost > 0
    loss("perf bench sched pipe", "sched", "pipe", "-l", "30000")
    loss("perf bench syscall basic", "syscall", "basic", "-l", "500000")
    sys.exit(0 if good else 1)


main()
