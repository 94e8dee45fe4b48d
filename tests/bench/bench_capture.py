#!/usr/bin/env python3
"""What the recorder costs the machine that it watches, each number beside what is asked of it.  Called by bench_capture.sh.

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
RANKS = 8
failed = []


def row(name, value, unit, asked=None, beside=""):
    """One line of the table; ok when value <= asked (None: nothing is asked)."""
    ok = "-" if asked is None else "yes" if value <= asked else "NO"
    if ok == "NO":
        failed.append(name)
    print(f"{name:<44} {value:>10.4g} {unit:<4} {'-' if asked is None else f'<= {asked:g}':>8}  {ok:<4} {beside}", flush=True)


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
    """Many short runs, with and without the daemon in turns.  What disturbs a run only ever makes it longer: the quick ones count."""
    def quick(runs):
        return statistics.mean(sorted(runs)[:len(runs) // 5])

    first, ours, second = [], [], []
    for _ in range(ROUNDS):
        first += [perf_bench(*args) for _ in range(10)]
        with tempfile.TemporaryDirectory() as dir:
            d = Daemon(dir)
            ours += [perf_bench(*args) for _ in range(10)]
            d.end()
        second += [perf_bench(*args) for _ in range(10)]
    bare = quick(first + second)
    row(f"{name}, lost to the daemon", 100 * (quick(ours) / bare - 1), "%", 1,
        f"without against without: {100 * (quick(second) / quick(first) - 1):+.2f} %")


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
    row("a uprobe hit (ncclAllReduce)", min(ours) - base, "ns", None,
        f"an empty uprobe {min(empty) - base:.0f} ns, a call without {base:.0f} ns")


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
    missing = n - records - lost if records + lost < n else max(0, records + lost - n - (200 if lost else 0))
    row(f"{name}: calls that are neither", missing, "", 0, f"{n} at {1e9 / ns:.0f}/s: {records} records, {lost} counted as lost")
    return lost


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


def children(pid):
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def beyond_ring_kib(pid):
    """Its share of the memory that it holds, but for the ring's own pages."""
    total, is_ring = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_ring = line.endswith(".tcr")
        elif line.startswith("Pss:") and not is_ring:
            total += int(line.split()[1])
    return total


class Daemon:
    def __init__(self, dir, text="post_s = 0\n"):
        self.dir = Path(dir)
        self.config = self.dir / "tcaptured.conf"
        self.config.write_text(f"ring_dir = {dir}/ring\nbundle_dir = {dir}/bundles\nsocket = {dir}/socket\n"
                               f"track_env = BENCH_RANK\nflight_dumps = {dir}/none\nras_port = 0\n{text}")
        self.log = open(self.dir / "log", "w")
        self.p = subprocess.Popen([BUILD / "tcaptured", "--foreground", "--config", self.config], stderr=self.log)
        self.wait("nccl: ok")

    def wait(self, text):
        for _ in range(1200):
            if text in (self.dir / "log").read_text():
                return
            time.sleep(0.05)
        sys.exit(f"the daemon never said {text!r}: {(self.dir / 'log').read_text()}")

    def tdump(self, *args):
        return subprocess.run([BUILD / "tdump", "--config", self.config, *args], capture_output=True, text=True, check=True).stdout

    def processes(self):
        return [self.p.pid, *children(self.p.pid)]

    def cpu_s(self):
        """Of the daemon and its workers, in ns of the scheduler."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self.processes()) / 1e9

    def cpu_pct(self, seconds):
        before, start = self.cpu_s(), time.monotonic()
        time.sleep(seconds)
        return 100 * (self.cpu_s() - before) / (time.monotonic() - start)

    def end(self):
        self.p.terminate()
        self.p.wait()


# A rank that trains: the library mapped, four threads, a call of NCCL and a log line now and then.
RANK_CODE = """import ctypes, sys, threading, time
ctypes.CDLL(sys.argv[1])
for _ in range(3): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print('ready', flush=True)
sys.stdin.readline()
for step in range(10**9):
    print(f'2026-03-14 02:11:{step % 60:02d},123 INFO trainer: step {step} loss 2.1037 lr 3.0e-04 grad_norm 0.81 tokens/s 406102', flush=True)
    time.sleep(0.5)
"""


def start_ranks(dir):
    ranks = []
    for n in range(RANKS):
        with open(Path(dir) / f"rank-{n}.log", "w") as out:
            ranks.append(subprocess.Popen([sys.executable, "-c", RANK_CODE, LIBRARY], stdin=subprocess.PIPE, stdout=out,
                                          env=dict(os.environ, BENCH_RANK=str(n), WORLD_SIZE=str(RANKS))))
    return ranks


def begun():
    """Processes begun on this host, by anybody: each is looked at for a moment."""
    return int(re.search(r"(?m)^processes (\d+)", Path("/proc/stat").read_text()).group(1))


def rest():
    """Eight ranks that wait, then eight that log two lines a second each."""
    with tempfile.TemporaryDirectory() as dir:
        d = Daemon(dir)
        ranks = start_ranks(dir)
        while f", {RANKS} processes tracked\n" not in d.tdump("--status"):
            time.sleep(0.2)
        d.wait("functions in")
        time.sleep(10)
        before = begun()
        row(f"CPU, {RANKS} ranks at rest", d.cpu_pct(SECONDS), "%", 0.3,
            f"of one core, the daemon and its workers; others begin {(begun() - before) / SECONDS:.0f} processes a second")
        for p in ranks:
            p.stdin.write(b"\n")
            p.stdin.close()
        time.sleep(2)
        row(f"CPU, {RANKS} ranks that log", d.cpu_pct(SECONDS), "%", 0.3, f"{2 * RANKS} lines a second")
        kib = [beyond_ring_kib(pid) for pid in d.processes()]
        row("memory beyond the ring", sum(kib) / 1024, "MiB", 16, f"the daemon {kib[0] / 1024:.1f}, its {len(kib) - 1} workers the rest")
        for p in ranks:
            p.kill()
            p.wait()
        d.end()


def death():
    """From the end of a rank to the bundle's early part, synced, in which tanalyze sees that end."""
    took = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as dir:
            d = Daemon(dir, "post_s = 2\n")
            ranks = start_ranks(dir)
            while f", {RANKS} processes tracked\n" not in d.tdump("--status"):
                time.sleep(0.2)
            start = time.monotonic()
            ranks[3].kill()
            ranks[3].wait()
            while not any(knows_death(p, ranks[3].pid) for p in Path(dir).glob("bundles/*.tar.zst*")):
                time.sleep(0.02)
            took.append(time.monotonic() - start)
            for p in ranks:
                p.kill()
                p.wait()
            d.end()
    row("first death to a bundle that tells it", statistics.median(took), "s", 2, "reading it with tanalyze is part of that")


def knows_death(path, pid):
    out = subprocess.run([BUILD / "tanalyze", "--json", "-", path], capture_output=True, text=True).stdout
    return any(o["pid"] == pid and o["kind"] in ("proc.exit", "proc.terminated") for o in json.loads(out or '{"observations": []}')["observations"])


def load():
    """50,000 calls a second; the ring holds the last of them, the sequence numbers tell of all."""
    with tempfile.TemporaryDirectory() as dir:
        d = Daemon(dir)
        env = dict(os.environ, BENCH_RANK="0", WORLD_SIZE="1")
        p = subprocess.Popen([BUILD / "probe_cost", LIBRARY, "--rate", "50000", "--seconds", str(SECONDS)], env=env,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        d.wait("functions in")
        before, start = d.cpu_s(), time.monotonic()
        out, _ = p.communicate("go\n")
        cpu = (d.cpu_s() - before) / (time.monotonic() - start)
        n = int(out.split()[-3])
        time.sleep(1.5)
        bundle = d.tdump().strip()
        d.end()
        held = records_ever(f"{dir}/ring", "nccl")
        report = json.loads(subprocess.run([BUILD / "tanalyze", "--json", "-", bundle], capture_output=True, text=True).stdout)
    lost = [x for x in report["coverage"]["loss"] if "nccl" in json.dumps(x)]
    row(f"lost of {n} calls at 50,000/s", n + 2 - held, "", 0, f"in {SECONDS} s; {100 * cpu:.1f} % of one core")	# 2: the communicator, asked for and made
    row("... that tanalyze reports", len(lost), "", 0, "; ".join(json.dumps(x) for x in lost))


def ring():
    with tempfile.TemporaryDirectory() as dir:
        out = subprocess.run([BUILD / "ring-bench", dir], capture_output=True, text=True, check=True).stdout
    ours, peer = (float(x) for x in re.findall(r"=([\d.]+)", out))
    row("ring append, 64 bytes", ours, "ns", 50, f"write() {peer:.0f} ns, {peer / ours:.1f} times")


def main():
    print(f"{'what':<44} {'measured':>10} {'':<4} {'asked':>8}  {'ok?':<4}", flush=True)
    ring()
    rest()
    death()
    load()
    hit_cost()
    for name, kind, option in (("NCCL calls", CALL, []), ("signals", SIGNAL, ["--signals"])):
        row(f"{name} lost at 50,000/s", volume(f"{name}, 50,000/s", kind, "--rate", "50000", "--seconds", str(SECONDS), *option), "", 0)
        volume(f"{name}, unbounded", kind, "--calls", "2000000", *option)
        if not volume(f"{name}, nobody drains", kind, "--calls", "200000", *option, paused=True):
            failed.append("nothing was lost where something had to be")
    loss("perf bench sched pipe", "sched", "pipe", "-l", "30000")
    loss("perf bench syscall basic", "syscall", "basic", "-l", "500000")
    sys.exit(1 if failed else 0)


main()
