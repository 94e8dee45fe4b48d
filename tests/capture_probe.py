"""What capture_bpf.py stands on: the driver, its records, and things of ours to break (cgroup, network, disk, job)."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from capture_box import Cgroup, Skip

DRIVER, LIVE = sys.argv[1], Path(sys.argv[2])
EXIT, SIGNAL, OOM, BLOCKED, BLOCK_IO, TCP, EXEC, COMM, CALL = 32, 33, 34, 35, 36, 37, 38, 64, 65
# Layouts of bundle/records.h, by hand: a test that shared the header could not see it change.
LAYOUT = {
    EXIT: ("<IIIiIIQQ16s", "pid ppid code rank uid tracked start_ns cgroup comm"),
    SIGNAL: ("<IIIiiiiI16s16s", "sender uid target rank signal code result _ sender_comm target_comm"),
    OOM: ("<IiIIQQQQQiI16s16s", "victim rank trigger is_memcg anon file shmem total cgroup adj uid comm trigger_comm"),
    BLOCKED: ("<IIiIQ16s", "pid tid rank frames ns comm"),
    BLOCK_IO: ("<IIIiQIIQ16s", "major minor pid error latency bytes is_write count comm"),
    TCP: ("<BBHHH16s16sIiiI16s", "event family lport rport _ local remote pid rank error count comm"),
    EXEC: ("<IIIIQ16s", "pid ppid uid _ start_ns comm"),
    COMM: ("<IIiB3xQQiiiiiiQ", "pid tid rank event comm group comm_rank size colour key result device parent"),
    CALL: ("<IIiBBBBQQQQiiQ", "pid tid rank op dtype redop flags comm group seq count root comm_rank stream"),
}


class Record(dict):
    __getattr__ = dict.__getitem__


def decode(line):
    layout, names = LAYOUT[line["kind"]]
    data = bytes.fromhex(line["hex"])
    r = Record(zip(names.split(), struct.unpack_from(layout, data)), kind=line["kind"], at=line["ns"])
    for k, v in r.items():
        if "comm" in k and isinstance(v, bytes):
            r[k] = v.split(b"\0")[0].decode()
    r["text"] = data[struct.calcsize(layout):].decode("latin-1")
    return r


class Driver:
    def __init__(self, *args, prefix=()):
        self.p = subprocess.Popen([*prefix, DRIVER, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()

    def read(self):
        line = self.p.stdout.readline()
        if not line:
            if self.p.wait() == 77:
                sys.exit(77)
            raise AssertionError(f"driver ended with {self.p.returncode}")
        self.lines.append(json.loads(line))
        return self.lines[-1]

    def tell(self, text):
        self.p.stdin.write(text + "\n")
        self.p.stdin.flush()
        while self.read() != {"done": text}:
            pass

    def finish(self):
        self.tell("quit")
        while "records" not in self.read():
            pass
        self.p.wait()

    def of(self, kind):
        return [decode(x) for x in self.lines if x.get("kind") == kind]

    def triggers(self):
        return [(x["trigger"], x["rank"]) for x in self.lines if "trigger" in x]

    def reason(self, source):
        return [x["say"] for x in self.lines if x.get("say", "").startswith(source + ": ")][-1]


def child(*argv, **kw):
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)


class Netns:
    def __init__(self):
        self.name = f"tachograph-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)

    def python(self, script, **kw):
        return subprocess.Popen(["ip", "netns", "exec", self.name, sys.executable, "-c", script], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, **kw)

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def sh(script, **kw):
    return subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True, **kw).stdout.strip()


class Disk:
    """A loop device on a sparse file of `size`, in a file system that has room for `room`."""

    def __init__(self, size, room, on=None):
        self.dir = on or tempfile.mkdtemp()
        self.mounted = on is None
        if self.mounted:
            sh(f"mount -t tmpfs -o size={room} none {self.dir}")
        try:
            self.device = sh(f"truncate -s {size} {self.dir}/image && losetup -f --show {self.dir}/image")
        except subprocess.CalledProcessError as e:
            self.device = None
            self.remove()
            raise Skip(f"no loop device: {e.stderr}")

    def number(self):
        st = os.stat(self.device)
        return os.major(st.st_rdev), os.minor(st.st_rdev)

    def inflight(self):
        """Reads and writes that wait for the device."""
        return Path(f"/sys/block/{Path(self.device).name}/inflight").read_text()

    def remove(self):
        if self.device:
            subprocess.run(["losetup", "-d", self.device])
        if self.mounted:
            subprocess.run(["umount", self.dir])
            os.rmdir(self.dir)


def ranks_of(dir, n):
    """[pid by rank] of a job, once it has written them all."""
    try:
        lines = (Path(dir) / "pids").read_text().splitlines()
    except OSError:
        return None
    pids = [int(x.split()[1]) for x in lines]
    return pids if len(pids) == n else None


def wait_for(f):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            value = f()
        except FileNotFoundError:
            value = None
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it never came")


def run_job(n, *options, late=False, until=None):
    """A job of n ranks, watched from before its first call on (late: from its middle)."""
    lib = LIVE / "libnccl.so.2"
    with tempfile.TemporaryDirectory() as dir, Driver() as d:
        if not late:
            # The library is probed before the job begins; ranks are tracked while they wait for the last one.
            d.tell(f"rank 1 99 {lib}")
            wait_for(lambda: attached(d))
            d.tell("gone 1")
        job = start_job(n, dir, options) if not late else child(LIVE / "job", "--ranks", str(n), *options, dir)
        pids = job.pids if not late else wait_for(lambda: ranks_of(dir, n))
        if late:
            wait_for(lambda: "step 5" in (Path(dir) / "rank-0.log").read_text())
        for rank, pid in enumerate(pids):
            d.tell(f"rank {pid} {rank} {lib}")
        if late:
            wait_for(lambda: attached(d))
        else:
            job.go()
        until(dir, d)
        job.kill() if late else job.end()
        job.wait()
        time.sleep(0.3)
        d.finish()
    return d


class start_job:
    """The job's ranks as our own children, which stand still until go()."""

    def __init__(self, n, dir, options):
        env = dict(os.environ, WORLD_SIZE=str(n))
        script = 'read x; exec "$0" "$@"'
        self.p = [subprocess.Popen(["sh", "-c", script, LIVE / "job", "--ranks", str(n), *options, dir], stdin=subprocess.PIPE,
                                   env=dict(env, RANK=str(r), LOCAL_RANK=str(r))) for r in range(n)]
        self.pids = [p.pid for p in self.p]

    def go(self):
        for p in self.p:
            p.stdin.write(b"\n")
            p.stdin.close()

    def end(self):
        for p in self.p:
            p.kill()

    def wait(self):
        for p in self.p:
            p.wait()


def attached(d):
    d.tell("rank 1 99")
    return "functions in" in d.reason("nccl")
