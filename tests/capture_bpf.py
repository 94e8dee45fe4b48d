#!/usr/bin/env python3
"""The BPF and NCCL sources on this kernel: real signals, OOM kills, sleeps, TCP trouble and NCCL calls.

usage: capture_bpf.py DRIVER LIVE_DIR [TEST...]
Exits 77 when the kernel does not let us.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from capture_probe import (BLOCK_IO, BLOCKED, CALL, COMM, DRIVER, EXIT, LIVE, OOM, SIGNAL, TCP, Cgroup, Disk, Driver, Netns, Skip,
                           attached, child, ranks_of, run_job, sh, wait_for)

# ---- processes and signals ----

def test_signal_names_sender_and_target():
    with Driver("bpf") as d:
        c = child("sleep", "60")
        d.tell(f"rank {c.pid} 3")
        killer = child("sh", "-c", f"kill -KILL {c.pid}", user=65534)
        killer.wait()
        assert c.poll() is None, "a stranger must not be able to kill it"
        killer = child(sys.executable, "-c", f"import os; os.kill({c.pid}, 9)")
        killer.wait()
        c.wait()
        d.finish()
    s = d.of(SIGNAL)
    assert len(s) == 1, s
    assert (s[0].sender, s[0].uid, s[0].sender_comm[:6]) == (killer.pid, 0, "python"), s
    assert (s[0].target, s[0].rank, s[0].signal, s[0].code, s[0].target_comm) == (c.pid, 3, 9, 0, "sleep"), s
    e = d.of(EXIT)
    assert [(x.pid, x.ppid, x.code, x.rank, x.tracked, x.comm) for x in e] == [(c.pid, os.getpid(), 9, 3, 1, "sleep")], e
    assert d.triggers() == [("exit", 3)], d.triggers()


def test_sender_uid_is_the_real_one():
    with Driver("bpf") as d:
        c = child("sleep", "60", user=65534)
        d.tell(f"rank {c.pid} 1")
        child(sys.executable, "-c", f"import os; os.kill({c.pid}, 15)", user=65534).wait()
        c.wait()
        d.finish()
    assert [(x.uid, x.signal) for x in d.of(SIGNAL)] == [(65534, 15)], d.of(SIGNAL)
    assert ("sigterm", 1) in d.triggers() and ("exit", 1) in d.triggers()


def test_exit_codes():
    with Driver("bpf") as d:
        for rank, code in enumerate((0, 1, 77)):
            c = child(sys.executable, "-c", f"import sys, time; sys.stdin.read(); sys.exit({code})", stdin=subprocess.PIPE)
            d.tell(f"rank {c.pid} {rank}")
            c.stdin.close()
            c.wait()
        d.finish()
    assert [(x.rank, x.code) for x in d.of(EXIT)] == [(0, 0), (1, 1 << 8), (2, 77 << 8)], d.of(EXIT)
    assert d.triggers() == [("exit", 1), ("exit", 2)], "an end with code 0 is none"


def test_fault_signal_comes_from_the_kernel():
    with Driver("bpf") as d:
        c = child(sys.executable, "-c", "import ctypes, sys; sys.stdin.read(); ctypes.string_at(0)", stdin=subprocess.PIPE)
        d.tell(f"rank {c.pid} 4")
        c.stdin.close()
        c.wait()
        d.finish()
    s = d.of(SIGNAL)
    assert [(x.sender, x.signal, x.code) for x in s] == [(0, signal.SIGSEGV, 1)], s
    assert d.of(EXIT)[-1].code & 0x7F == signal.SIGSEGV
    assert d.triggers() == [("exit", 4)]


def test_threads_end_as_one_process():
    script = "import sys, threading, time; sys.stdin.read()\n" \
             "ts = [threading.Thread(target=time.sleep, args=(.05,)) for _ in range(20)]\n" \
             "[t.start() for t in ts]; [t.join() for t in ts]; sys.exit(5)"
    with Driver("bpf") as d:
        c = child(sys.executable, "-c", script, stdin=subprocess.PIPE)
        d.tell(f"rank {c.pid} 0")
        c.stdin.close()
        c.wait()
        d.finish()
    assert [(x.pid, x.code) for x in d.of(EXIT)] == [(c.pid, 5 << 8)], d.of(EXIT)


def test_children_inherit_and_strangers_do_not():
    with Driver("bpf") as d:
        c = child(sys.executable, "-c", "import sys, os, subprocess; sys.stdin.read(); p = subprocess.Popen(['sleep', '9']); "
                  "p.kill(); p.wait()", stdin=subprocess.PIPE)
        d.tell(f"rank {c.pid} 6")
        stranger = child("sleep", "60")
        stranger.kill()
        stranger.wait()
        c.stdin.close()
        c.wait()
        d.finish()
    e = d.of(EXIT)
    assert [(x.rank, x.tracked, x.code) for x in e] == [(6, 2, 9), (6, 1, 0)], e
    assert e[0].ppid == c.pid
    assert stranger.pid not in [x.target for x in d.of(SIGNAL)], "strangers are not followed"
    assert [x.sender for x in d.of(SIGNAL)] == [c.pid]
    assert d.triggers() == [("exit", 6)], "a helper that was killed"


def test_launcher_sigterm():
    with Driver("bpf") as d:
        c = child("sleep", "60")
        d.tell(f"launcher {c.pid}")
        c.terminate()
        c.wait()
        d.finish()
    assert ("sigterm", -1) in d.triggers(), d.triggers()
    assert ("exit", -1) not in d.triggers(), "no rank"


def test_stop_and_continue():
    with Driver("bpf") as d:
        c = child("sleep", "60")
        d.tell(f"rank {c.pid} 2")
        for s in (signal.SIGSTOP, signal.SIGCONT):
            c.send_signal(s)
        d.finish()
        c.kill()
        c.wait()
    assert [x.signal for x in d.of(SIGNAL)] == [signal.SIGSTOP, signal.SIGCONT], d.of(SIGNAL)
    assert d.triggers() == []


# ---- memory ----

def test_oom_names_victim_sizes_and_cgroup():
    g = Cgroup(64 << 20)
    try:
        with Driver("bpf") as d:
            c = child(sys.executable, "-c", "import sys; sys.stdin.read(); x = b'x' * (256 << 20)", stdin=subprocess.PIPE)
            g.add(c.pid)
            d.tell(f"rank {c.pid} 7")
            c.stdin.close()
            c.wait()
            d.finish()
    finally:
        g.remove()
    o = d.of(OOM)
    assert len(o) == 1, o
    assert (o[0].victim, o[0].rank, o[0].trigger, o[0].is_memcg) == (c.pid, 7, c.pid, 1), o
    assert 30 << 10 < o[0].anon < 72 << 10, o
    assert o[0].total > 256 << 10
    assert o[0].text.endswith("/" + g.name), o
    assert d.of(EXIT)[-1].code & 0x7F == 9
    assert ("oom", 7) in d.triggers() and ("exit", 7) in d.triggers()
    s = [x for x in d.of(SIGNAL) if x.signal == 9]
    assert s and s[0].sender == 0, "the kernel did it"


# ---- blocked tasks ----

def test_blocked_task_with_stack():
    with tempfile.TemporaryDirectory() as dir, Driver("bpf") as d:
        job = child(LIVE / "job", "--ranks", "1", "--step-ms", "10", "--blocked", "0@2", dir)
        pid = wait_for(lambda: ranks_of(dir, 1))[0]
        d.tell(f"rank {pid} 0")
        deadline = time.monotonic() + 60
        while not d.of(BLOCKED) and time.monotonic() < deadline:
            d.tell(f"rank {pid} 0")
            time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
        job.wait()
        d.finish()
    b = d.of(BLOCKED)
    assert b and (b[0].pid, b[0].tid, b[0].rank, b[0].comm) == (pid, pid, 0, "job"), b
    assert b[0].ns >= 10e9, "not before ten seconds"
    stack = b[0].text.splitlines()
    assert len(stack) == b[0].frames and any("kernel_clone" in x or "wait_for_vfork" in x for x in stack), stack
    assert len(b) == 1, "the next report is due when the sleep has doubled"


# ---- TCP ----

def tcp_events(script, event):
    """Runs `script` in an own network namespace as rank 1; its records of `event`."""
    ns = Netns()
    try:
        with Driver("bpf") as d:
            p = ns.python("import sys; sys.stdin.readline()\n" + script)
            d.tell(f"rank {p.pid} 1")
            out, _ = p.communicate("go\n", timeout=30)
            time.sleep(1.5)
            d.finish()
    finally:
        ns.remove()
    return p.pid, out.split(), [x for x in d.of(TCP) if x.event == event]


def test_refused_connect_names_the_rank():
    pid, _, t = tcp_events("import socket\ns = socket.socket()\ntry: s.connect(('127.0.0.1', 4567))\nexcept OSError: pass", 4)
    assert [(x.pid, x.rank, x.error, x.rport, x.remote[:4]) for x in t] == [(pid, 1, 111, 4567, b"\x7f\0\0\1")], t


def test_reset_is_seen_on_both_sides():
    script = """import socket, struct, time
l = socket.socket(socket.AF_INET6); l.bind(('::1', 0)); l.listen()
c = socket.socket(socket.AF_INET6); c.connect(l.getsockname()); a, _ = l.accept()
print(l.getsockname()[1])
a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); a.close(); time.sleep(.2)"""
    pid, out, t = tcp_events(script, 3)
    assert [(x.rport, x.family, x.remote, x.rank, x.pid) for x in t] == [(int(out[0]), 10, b"\0" * 15 + b"\1", 1, pid)], t


def test_retransmits_are_counted_per_peer():
    # Packets to 10.9.9.9 come back in through the loopback device, belong to nobody and vanish: the SYN is sent again.
    script = """import os, socket
os.system('ip addr add 10.9.9.1/32 dev lo && ip route add 10.9.9.0/24 dev lo')
s = socket.socket(); s.settimeout(4)
try: s.connect(('10.9.9.9', 9999))
except OSError: pass"""
    pid, _, t = tcp_events(script, 1)
    assert t and sum(x["count"] for x in t) >= 2, t
    assert {(x.remote[:4], x.rport, x.rank) for x in t} == {(bytes([10, 9, 9, 9]), 9999, 1)}, t


# ---- block I/O ----

def test_block_io_error_names_the_device():
    disk = Disk("8M", "2M")
    try:
        with Driver("bpf") as d:
            d.tell("rank 1 0")
            subprocess.run(["dd", "if=/dev/zero", f"of={disk.device}", "bs=1M", "count=4", "oflag=direct"], capture_output=True)
            number = disk.number()
            time.sleep(1.3)
            d.finish()
    finally:
        disk.remove()
    b = [x for x in d.of(BLOCK_IO) if (x.major, x.minor) == number]
    assert b and {(x.error, x.is_write) for x in b} <= {(5, 1), (28, 1)} and all(x["count"] >= 1 for x in b), d.of(BLOCK_IO)


def test_slow_block_io_tells_its_latency():
    outer = Disk("32M", "64M")
    mount = tempfile.mkdtemp()
    try:
        sh(f"mkfs.ext4 -q {outer.device} && mount {outer.device} {mount}")
        inner = Disk("4M", None, on=mount)
        try:
            with Driver("bpf") as d:
                d.tell("rank 1 0")
                sh(f"fsfreeze -f {mount}")
                w = child("dd", "if=/dev/zero", f"of={inner.device}", "bs=64k", "count=1", "oflag=direct")
                wait_for(lambda: "1" in inner.inflight().split())
                time.sleep(1.5)
                sh(f"fsfreeze -u {mount}")
                w.wait()
                number = inner.number()
                time.sleep(1.3)
                d.finish()
        finally:
            inner.remove()
    finally:
        subprocess.run(["umount", mount])
        os.rmdir(mount)
        outer.remove()
    b = [x for x in d.of(BLOCK_IO) if (x.major, x.minor) == number]
    assert len(b) == 1 and (b[0].error, b[0].is_write, b[0].bytes) == (0, 1, 65536), d.of(BLOCK_IO)
    assert 1.4e9 < b[0].latency < 60e9, b


# ---- NCCL ----

def finished(dir, _):
    def all_have():
        logs = [p.read_text() for p in Path(dir).glob("rank-*.log")]
        return logs and all("finished" in x and f"world size {len(logs)}\n" in x for x in logs)
    wait_for(all_have)


def test_nccl_groups_and_seqs_agree():
    d = run_job(4, "--steps", "10", "--step-ms", "5", "--split", until=finished)
    calls = d.of(CALL)
    world = {r: [(x.group, x.seq, x["count"], x.dtype, x.redop) for x in calls if x.rank == r and x.op == 1] for r in range(4)}
    assert len(world[0]) == 10 and [x[1] for x in world[0]] == list(range(1, 11)), world[0]
    assert world[0][0][0] != 0 and all(world[r] == world[0] for r in range(4)), world
    assert world[0][0][2:] == (1 << 20, 7, 0), "float32, sum"
    assert all(x.flags == 0 and x.comm_rank == x.rank for x in calls if x.op == 1)
    halves = {r: {x.group for x in calls if x.rank == r and x.op == 4} for r in range(4)}
    assert halves[0] == halves[2] != halves[1] == halves[3] and all(len(h) == 1 for h in halves.values()), halves
    made = [x for x in d.of(COMM) if x.event == 1]
    assert sorted((x.rank, x.comm_rank, x["size"], x.result) for x in made) == \
        sorted((r, r, 4, result) for r in range(4) for result in (-1, 0)), made
    split = [x for x in d.of(COMM) if x.event == 2 and x.result == 0]
    assert {(x.rank, x.colour, x.key) for x in split} == {(r, r % 2, r) for r in range(4)}
    assert {x.parent for x in split} == {world[0][0][0]}
    assert {x.rank for x in d.of(COMM) if x.event == 4} == set(range(4)), "all destroyed theirs"


def called(*ranks, seq):
    """Until these ranks have begun their call number `seq`; what hangs makes no other."""
    def until(dir, d):
        def all_have():
            d.tell("rank 1 99")
            return {x.rank for x in d.of(CALL) if x.seq >= seq} >= set(ranks)
        wait_for(all_have)
    return until


def test_nccl_mismatch_is_visible():
    d = run_job(3, "--step-ms", "5", "--mismatch", "1@5", "--count", "1000", until=called(0, 1, 2, seq=6))
    calls = d.of(CALL)
    last = {r: max((x.seq, x["count"]) for x in calls if x.rank == r) for r in range(3)}
    assert last == {0: (6, 1000), 1: (6, 1001), 2: (6, 1000)}, last


def test_nccl_straggler_is_behind():
    d = run_job(3, "--step-ms", "5", "--sleep", "2@4", until=called(0, 1, seq=5))
    last = {r: max(x.seq for x in d.of(CALL) if x.rank == r) for r in range(3)}
    assert last == {0: 5, 1: 5, 2: 4}, last


def test_nccl_late_communicator_says_so():
    d = run_job(2, "--step-ms", "20", late=True, until=called(0, 1, seq=1))
    calls = d.of(CALL)
    assert calls and all(x.flags == 1 and x.group == 0 for x in calls)
    assert {x.rank for x in calls} == {0, 1}


def test_nccl_sites_are_not_stepped():
    with Driver() as d:
        c = child("sleep", "60")
        d.tell(f"rank {c.pid} 0 {LIVE / 'libnccl.so.2'}")
        wait_for(lambda: attached(d))
        d.finish()
        c.kill()
        c.wait()
    functions, libraries, stepped = (int(x) for x in re.findall(r"\d+", d.reason("nccl")))
    assert (functions, libraries) == (18, 1) and stepped <= 2, d.reason("nccl")


def test_nccl_library_without_symbols():
    with Driver() as d:
        c = child("sleep", "60")
        d.tell(f"rank {c.pid} 0 /bin/true")
        wait_for(lambda: d.tell(f"rank {c.pid} 0") or "no symbols" in d.reason("nccl"))
        d.finish()
        c.kill()
        c.wait()


# ---- denied ----

def test_without_privileges_it_says_so():
    p = subprocess.run([DRIVER, "bpf"], user=65534, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert p.returncode == 77, p
    assert "denied: needs root, or CAP_BPF and CAP_PERFMON: Operation not permitted" in p.stdout, p.stdout


def test_lockdown_is_named():
    hide = "mount -t tmpfs none /sys/kernel/security && echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown && " \
           f"exec setpriv --reuid 65534 --clear-groups {DRIVER} bpf"
    p = subprocess.run(["unshare", "-m", "sh", "-ec", hide], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert p.returncode == 77 and "denied: kernel lockdown (confidentiality) forbids BPF" in p.stdout, p


def test_without_kernel_types_it_says_so():
    p = subprocess.run(["unshare", "-m", "sh", "-c", f"mount -t tmpfs none /sys/kernel/btf && exec {DRIVER}"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert p.returncode == 77, p
    for source in ("bpf", "nccl"):
        assert f"{source}: absent: the kernel describes no types (no /sys/kernel/btf/vmlinux)" in p.stdout, p.stdout


def watched_with(caps):
    """What the sources say, with these capabilities and no others, of a rank that maps a library and is killed."""
    with Driver(prefix=["setpriv", "--reuid", "65534", "--inh-caps", caps, "--ambient-caps", caps]) as d:
        c = child("sleep", "60")
        d.tell(f"rank {c.pid} 0 {LIVE / 'libnccl.so.2'}")
        wait_for(lambda: d.tell(f"rank {c.pid} 0") or "yet" not in d.reason("nccl"))
        c.kill()
        c.wait()
        d.finish()
    assert [x.signal for x in d.of(SIGNAL)] == [9] and [x.code for x in d.of(EXIT)] == [9]
    return d.reason("bpf"), d.reason("nccl")


def test_capabilities():
    bpf, nccl = watched_with("+bpf,+perfmon,+sys_ptrace,+sys_admin")
    assert bpf == "bpf: ok: all probes attached" and "18 functions" in nccl, (bpf, nccl)
    bpf, nccl = watched_with("+bpf,+perfmon,+sys_ptrace")
    assert bpf == "bpf: ok: all probes attached", bpf
    assert nccl.startswith("nccl: denied: uprobes need CAP_SYS_ADMIN"), nccl
    bpf, nccl = watched_with("+bpf,+perfmon")
    assert bpf == "bpf: ok: all probes attached", bpf
    assert nccl.startswith("nccl: denied: "), nccl	# for want of CAP_SYS_PTRACE first, where Yama restricts it


def main():
    if os.geteuid() != 0:
        sys.exit(77)
    failed = 0
    for name, f in list(globals().items()):
        if not name.startswith("test_") or (sys.argv[3:] and name[5:] not in sys.argv[3:]):
            continue
        try:
            f()
            print(f"ok   {name[5:]}", flush=True)
        except Skip as e:
            print(f"skip {name[5:]}: {e}", flush=True)
        except AssertionError as e:
            failed += 1
            print(f"FAIL {name[5:]} (line {e.__traceback__.tb_next.tb_lineno}): {str(e)[:1500]}", flush=True)
    sys.exit(1 if failed else 0)


main()
