#!/usr/bin/env python3
"""Write fuzz/seeds/ and the dictionaries of logs and analyses anew: make_seeds.py

Small inputs that together reach most of each reader.  Dumps come from corpus/tools/flight.py, log lines from the
examples in patterns/signatures/, the rest is written here.  The same sources give the same bytes.
"""
import gzip
import io
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SEEDS = os.path.join(HERE, "seeds")


def put(target, name, data):
    folder = os.path.join(SEEDS, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def flight(*args):
    """{file name: bytes} of one simulated run."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.executable, os.path.join(ROOT, "corpus/tools/flight.py"), out, "--no-frames", *args],
                       check=True, stdout=subprocess.DEVNULL)
        return {n: open(os.path.join(out, n), "rb").read() for n in sorted(os.listdir(out))}


SMALL = ("--ranks", "2", "--steps", "1", "--topology", "flat", "--ring", "6")


# ---------------------------------------------------------------- pickle

def pickles():
    dump = {
        "version": "2.10", "pg_config": {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1]"}},
        "pg_status": {"0": {"last_enqueued_collective": 3, "last_started_collective": -1,
                            "last_completed_collective": 2}},
        "entries": [{
            "record_id": i, "pg_id": 0, "process_group": ("0", "default_pg"), "collective_seq_id": i, "p2p_seq_id": 0,
            "op_id": i, "profiling_name": "nccl:all_reduce", "time_created_ns": 1773455000000000000 + i,
            "input_sizes": [[4096, 1]], "input_dtypes": ["BFloat16"], "output_sizes": [[4096, 1]],
            "output_dtypes": ["BFloat16"], "state": "completed" if i < 3 else "scheduled",
            "time_discovered_started_ns": None, "time_discovered_completed_ns": 1773455000100000000 if i < 3 else None,
            "retired": i < 3, "timeout_ms": 600000, "is_p2p": False, "duration_ms": 1.5} for i in (1, 2, 3)],
    }
    for protocol in range(6):
        put("pickle", "protocol-%d" % protocol, pickle.dumps(dump, protocol))
    put("pickle", "bare-list", pickle.dumps(dump["entries"][:1], 2))
    put("pickle", "json", json.dumps(dump))
    put("pickle", "json-compact", json.dumps(dump, separators=(",", ":")))
    put("pickle", "odd-values", pickle.dumps({"version": "2.9", "entries": [
        {"pg_id": -1, "collective_seq_id": 2**63 - 1, "profiling_name": "nccl:send 0->1", "state": "\u2028\x1b[31m",
         "input_sizes": [[], [2**40]], "is_p2p": True, "x": [None, True, 1e300, {"y": ()}, b"z", bytearray(b"w")]}]}, 5))
    for version in ("bare", "1.1", "1.5", "2.0", "2.4", "2.10"):
        put("pickle", "cpp-" + version, flight(*SMALL, "--version", version)["nccl_trace_rank_0"])
    put("pickle", "sends", next(iter(flight("--ranks", "4", "--steps", "1", "--topology", "chain", "--ring", "6").values())))
    put("pickle", "code", next(iter(flight(*SMALL, "--malicious", "0").values())))
    put("pickle", "cut", list(flight(*SMALL, "--cut", "1").values())[1])


# ---------------------------------------------------------------- bundle

LOG = b"step 1 loss: 2.5\n[rank3]: RuntimeError: CUDA error: an illegal memory access was encountered\n"


def tar(fmt, members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as t:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = "logs/rank_3.log"
            t.addfile(info, io.BytesIO(data))
    return out.getvalue().rstrip(b"\0") + b"\0" * (1024 + 511)


def sparse():
    """A member of 2 MiB that is all hole but for its last bytes."""
    header = bytearray(tar(tarfile.GNU_FORMAT, [("rank_3.log", LOG, tarfile.REGTYPE)])[:512])
    header[156:157] = b"S"
    header[386:410] = b"%011o\0%011o\0" % (2**21, len(LOG))
    header[483:495] = b"%011o\0" % (2**21 + len(LOG))
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    return bytes(header) + LOG.ljust(512, b"\0") + b"\0" * 1024


def zstd(data, *args):
    return subprocess.run(["zstd", "-q", "-c", *args], input=data, stdout=subprocess.PIPE, check=True).stdout


def bundles():
    file = tarfile.REGTYPE
    some = [("manifest.json", b'{"schema": "tachograph.bundle/1", "host": "node07"}', file), ("logs", b"", tarfile.DIRTYPE),
            ("logs/rank_3.log", LOG, file), ("logs/link", b"", tarfile.SYMTYPE), ("logs/hard", b"", tarfile.LNKTYPE),
            ("pipe", b"", tarfile.FIFOTYPE), ("empty", b"", file)]
    plain = tar(tarfile.USTAR_FORMAT, some)
    put("bundle", "plain-log", LOG)
    put("bundle", "empty-file", b"")
    put("bundle", "log.gz", gzip.compress(LOG, mtime=0))
    put("bundle", "log.zst", zstd(LOG))
    put("bundle", "two-frames.zst", zstd(LOG, "--no-check") + zstd(b"more\n"))
    put("bundle", "skippable-frame.zst", b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd(LOG))
    put("bundle", "two-members.gz", gzip.compress(LOG, mtime=0) + gzip.compress(b"more\n", mtime=0))
    put("bundle", "ustar", plain)
    put("bundle", "ustar.gz", gzip.compress(plain, mtime=0))
    put("bundle", "ustar.zst", zstd(plain))
    put("bundle", "ustar-cut", plain[:1700])
    put("bundle", "cut.gz", gzip.compress(plain, mtime=0)[:-40])
    put("bundle", "gnu-long-name", tar(tarfile.GNU_FORMAT, [("d/" * 60 + "rank_3.log", LOG, file)]))
    put("bundle", "pax", tar(tarfile.PAX_FORMAT, [("d/" * 60 + "r\u00e4nk_3.log", LOG, file)]))
    put("bundle", "nested", tar(tarfile.USTAR_FORMAT, [("rank_3.log.gz", gzip.compress(LOG, mtime=0), file)]))
    put("bundle", "odd-names", tar(tarfile.USTAR_FORMAT, [("../../etc/passwd", LOG, file), ("/abs", LOG, file),
                                                           ("\x1b[31m", b"x", file)]))
    put("bundle", "sparse", sparse())
    put("bundle", "ustar-cut-in-member", tar(tarfile.USTAR_FORMAT, [("rank_3.log", LOG * 9, file)])[:1100])
    put("bundle", "zeros.gz", gzip.compress(b"\0" * 200000, mtime=0))


# ---------------------------------------------------------------- log

def signatures():
    folder = os.path.join(ROOT, "patterns/signatures")
    for name in sorted(os.listdir(folder)):
        yield name[:-5], json.load(open(os.path.join(folder, name)))["signatures"]


PREFIXES = ["", "[rank3]: ", "Jun 11 08:12:44 node07 kernel: [12345.678901] ", "2026-06-11T08:12:44.123456+02:00 node07 kernel: ",
            "[2026-06-11 08:12:44,123] [ERROR] ", "node07:4711:4799 [3] ", "[Thu Jun 11 08:12:44 2026] ", "3: ",
            "E0611 08:12:44.123456 139700000000000 ProcessGroupNCCL.cpp:616] [Rank 3] "]

TORCHRUN = """\
[rank0]: Traceback (most recent call last):
Root Cause (first observed failure):
[0]:
  time      : 2026-06-12_01:14:57
  host      : node07
  rank      : 5 (local_rank: 5)
  exitcode  : -9 (pid: 4711)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 4711
"""


def logs():
    for name, sigs in signatures():
        lines = [x for s in sigs for x in s.get("match", [])[:2] + s.get("no_match", [])[:1]]
        for i in range(0, len(lines), 12):
            chosen = [zlib.crc32(line.encode()) % (2 * len(PREFIXES)) for line in lines[i:i + 12]]
            put("log", "%s-%d" % (name, i // 12), "".join("%s%s\n" % (PREFIXES[n] if n < len(PREFIXES) else "", line)
                                                          for n, line in zip(chosen, lines[i:i + 12])))
    put("log", "torchrun", TORCHRUN)
    put("log", "loss-nan", "".join("[rank1]: step %d lm loss: %s | lr 1e-4\n" % (i, v) for i, v in
                                   enumerate(("2.5", "2.1E+00", "1.9", "nan", "nan"))))
    put("log", "loss-rises", "".join("{'loss': %s, 'step': %d}\n" % (v, i) for i, v in enumerate((2.5, 1.5, 1.4, 2, 2.5, 3, 4, 5, 6))))
    put("log", "crlf-and-no-end", "Jun 11 08:12:44 node07 kernel: NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\r\n\r\nlast")
    put("log", "prompt", "[user@node07 run]$ cat log\nroot@node08:~# dmesg\n[    1.5] x\n")
    put("log", "long-line", "x" * 70000 + " CUDA error: an illegal memory access was encountered " + "y" * 5000 + "\n")
    put("log", "nul-and-utf8", b"\xef\xbb\xbfa\0b loss: 1\n\xff\xfe\x80 \xe2\x80\xae Bus error (core dumped)\n")


# ---------------------------------------------------------------- structured

SMI = """\
<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
\t<timestamp>Tue Mar  3 04:05:06 2026</timestamp>
\t<driver_version>570.1</driver_version>
\t<attached_gpus>2</attached_gpus>
\t<gpu id="00000000:3B:00.0">
\t\t<product_name>NVIDIA H100</product_name>
\t\t<uuid>GPU-1</uuid>
\t\t<clocks_event_reasons>
\t\t\t<clocks_event_reason_hw_thermal_slowdown>Active</clocks_event_reason_hw_thermal_slowdown>
\t\t</clocks_event_reasons>
\t\t<fb_memory_usage><total>81559 MiB</total><used>80000 MiB</used></fb_memory_usage>
\t\t<temperature><gpu_temp>91 C</gpu_temp></temperature>
\t\t<ecc_errors><volatile><sram_uncorrectable_parity>2</sram_uncorrectable_parity>
\t\t\t<dram_uncorrectable>4</dram_uncorrectable></volatile></ecc_errors>
\t\t<remapped_rows><remapped_row_corr>0</remapped_row_corr><remapped_row_unc>1</remapped_row_unc>
\t\t\t<remapped_row_pending>Yes</remapped_row_pending><remapped_row_failure>No</remapped_row_failure></remapped_rows>
\t\t<processes><process_info><pid>4711</pid><process_name>python</process_name><used_memory>79000 MiB</used_memory></process_info></processes>
\t</gpu>
</nvidia_smi_log>
"""
EVENT = ('{"kind": "Event", "involvedObject": {"kind": "Pod", "name": "trainer-7"}, "reason": "Evicted",'
         ' "message": "The node was low on resource: ephemeral-storage.", "lastTimestamp": "2026-03-03T04:05:06Z", "count": 2}')
POD = ('{"kind": "Pod", "metadata": {"name": "trainer-7"}, "spec": {"nodeName": "node07"}, "status": {"phase": "Failed",'
       ' "reason": "Evicted", "containerStatuses": [{"name": "worker", "lastState": {"terminated": {"exitCode": 137,'
       ' "reason": "OOMKilled", "finishedAt": "2026-03-03T04:05:06Z"}}}]}}')
KUBECTL = """\
Name:             trainer-7
Namespace:        ml
Node:             node07/10.0.0.3
Status:           Failed
Reason:           Evicted
Containers:
  worker:
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
      Finished:     Tue, 03 Mar 2026 04:05:06 +0000
Conditions:
  Type              Status
  MemoryPressure    True
Events:
  Type     Reason            Age                From               Message
  ----     ------            ----               ----               -------
  Warning  FailedScheduling  87s (x3 over 5m)   default-scheduler  0/4 nodes are available: 4 Insufficient nvidia.com/gpu.
"""
EVENTS = """\
LAST SEEN   TYPE      REASON      OBJECT          MESSAGE
2m3s        Warning   OOMKilling  node/node07     Memory cgroup out of memory: Killed process 4711 (python)
"""
STACKS = """\
Process 4711: python train.py
Python v3.11.7 (/usr/bin/python3.11)

Thread 4711 (idle): "MainThread"
    wait (threading.py:331)
    _try_get_data (torch/utils/data/dataloader.py:1131)
    all_reduce (torch/distributed/distributed_c10d.py:2806)
    <module> (train.py:9)
"""
FAULTHANDLER = """\
Fatal Python error: Segmentation fault

Current thread 0x00007f1234567890 (most recent call first):
  File "torch/distributed/distributed_c10d.py", line 2806 in all_reduce
  File "train.py", line 9 in <module>
"""
GDB = """\
Thread 1 (Thread 0x7f12 (LWP 4711) "python"):
#0  0x00007f12 in syscall () from /lib/libc.so.6
#1  0x00007f13 in ncclAllReduce () from libnccl.so.2
#2  0x00007f14 in main ()
"""
KSTACK = "[<0>] rpc_wait_bit_killable+0x1e/0xb0 [sunrpc]\n[<0>] nfs_wait_bit_killable+0x1e/0x90 [nfs]\n[<0>] do_syscall_64+0x59/0x90\n"
ELASTIC = ('{"message": {"message": "RuntimeError: CUDA error: device-side assert triggered", "extraInfo": {"py_callstack":'
           ' "Traceback (most recent call last):\\n  File \\"train.py\\", line 9\\n", "timestamp": "1773455000"}}}')


DCGM = (b'{"DCGM Diagnostic": {"test_categories": [{"category": "Hardware", "tests": [{"name": "memory", "results": [{"entity_id": 4, "status": "Fail",'
        b'"warnings": [{"error_id": 84, "warning": "GPU 4 had memory errors and row remappings are pending"}]}]}]}]}}')


def structured():
    first = [("smi", 0, SMI), ("smi-twice", 0, SMI + SMI), ("event", 1, EVENT), ("events-by-line", 1, EVENT + "\n" + EVENT + "\n"),
             ("pod", 1, POD), ("list", 1, '{"kind": "List", "items": [%s, %s]}' % (EVENT, POD)), ("describe", 2, KUBECTL),
             ("events-table", 2, EVENTS), ("py-spy", 3, STACKS), ("faulthandler", 3, FAULTHANDLER), ("gdb", 3, GDB),
             ("kernel-stack", 3, KSTACK), ("all-stacks", 3, STACKS + FAULTHANDLER + GDB + KSTACK), ("elastic", 4, ELASTIC),
             ("elastic-short", 4, '{"message": "SignalException: Process 4711 got signal: 15"}')]
    for name, reader, text in first:
        put("structured", name, bytes([reader]) + text.encode())
    screens = [("gpu-q", 5, "gpu_ecc_uncorrectable/nvidia-smi-screen/input/gpu/nvidia-smi-q.txt"),
               ("gpu-table", 5, "gpu_fell_off_bus/nvidia-smi-table/input/gpu/nvidia-smi-egret-22.txt"),
               ("amd-smi", 5, "none/amd-tools-healthy/input/gpu/amd-smi-teal-02.txt"), ("rocm-json", 6, "none/amd-tools-healthy/input/gpu/rocm-smi-teal-01.json"),
               ("dcgm-diag", 7, "gpu_row_remap_failure/dcgm-diag/input/dcgmi-diag.txt"), ("dcgm-dmon", 7, "gpu_ecc_uncorrectable/dcgm-dmon/input/dcgm/dmon-wren-17.txt"),
               ("dcgm-json", 8, None), ("ras", 9, "rank_stalled/nccl-ras/input/nccl/ras.txt"), ("ras-json", 10, "rank_lost/nccl-ras-json/input/nccl/ras.json")]
    for name, reader, path in screens:
        text = DCGM if path is None else open(os.path.join(ROOT, "corpus", path), "rb").read()[:4000]
        put("structured", name, bytes([reader]) + text)


# ---------------------------------------------------------------- analyze

def several(files):
    return b"".join(b"=== " + n.encode() + b"\n" + (d if isinstance(d, bytes) else d.encode()).rstrip(b"\n") + b"\n"
                    for n, d in files.items()).rstrip(b"\n")


NCCL = """\
node07:4711:4799 [3] NCCL INFO ncclCommInitRank comm 0x5581 rank 3 nranks 8 cudaDev 3 nvmlDev 3 busId 9b000 commId 0x1a - Init COMPLETE
[rank3]:[E611 08:12:44.123456789 ProcessGroupNCCL.cpp:616] [Rank 3] Watchdog caught collective operation timeout: \
WorkNCCL(SeqNum=3, OpType=ALLREDUCE, NumelIn=4096, NumelOut=4096, Timeout(ms)=600000) ran for 600031 milliseconds before timing out.
"""
DMESG = """\
2026-06-11T08:02:44.123456+00:00 node07 kernel: NVRM: Xid (PCI:0000:9b:00): 79, pid=4711, name=python, GPU has fallen off the bus.
2026-06-11T08:02:45.123456+00:00 node07 kernel: Out of memory: Killed process 4711 (python) total-vm:1kB, anon-rss:1kB, file-rss:0kB
"""
MANIFEST = '{"schema": "tachograph.bundle/1", "host": "node07", "time": "2026-06-11T08:20:00Z"}'


def analyses():
    for fault in ("not_entered", "not_entered_world", "stuck", "gpu_stalled", "order_deadlock", "dtype", "op", "extra", "none",
                  "straggler", "in_flight", "size", "two_not_entered", "stalled_and_stopped"):
        shape = ("--ranks", "4", "--steps", "1", "--ring", "4", "--fault", fault, "--version", "2.4")
        try:
            dumps = flight(*shape, "--style", "json", "--topology", "flat")
        except subprocess.CalledProcessError:
            dumps = flight(*shape[:1], "8", *shape[2:], "--style", "json")
        put("analyze", "dumps-" + fault, several(dumps))
    dumps = flight(*SMALL, "--fault", "not_entered_world", "--style", "py4")
    put("analyze", "incident", several({"manifest.json": MANIFEST, **dumps, "logs/rank_3.log": NCCL, "dmesg-node07.log": DMESG,
                                        "torchrun.log": TORCHRUN, "nvidia-smi.node07.xml": SMI, "stacks.txt": STACKS}))
    put("analyze", "cluster", several({"describe-pod.txt": KUBECTL, "events.json": EVENT, "error.json": ELASTIC,
                                       "rank_3.log": NCCL + NCCL.replace("ank3", "ank5").replace("ank 3", "ank 5")}))
    put("analyze", "logs", several({"rank_%d.log" % r: "[rank%d]: Traceback (most recent call last):\n[rank%d]: ValueError: %d\n" %
                                    (r, r, r // 2) for r in range(4)}))
    put("analyze", "one-dump", flight(*SMALL)["nccl_trace_rank_1"])
    put("analyze", "one-log", NCCL + DMESG + TORCHRUN)
    put("analyze", "one-smi", SMI)
    put("analyze", "bundle.tar.gz", gzip.compress(tar(tarfile.USTAR_FORMAT, [
        ("manifest.json", MANIFEST.encode(), tarfile.REGTYPE), ("rank_3.log", NCCL.encode(), tarfile.REGTYPE),
        ("dmesg.log.gz", gzip.compress(DMESG.encode(), mtime=0), tarfile.REGTYPE)]), mtime=0))
    for name, sigs in signatures():
        lines = [s["match"][0] for s in sigs if s.get("match")]
        put("analyze", "log-" + name, several({"rank_%d.log" % (i // 8): "\n".join(lines[i:i + 8]) for i in range(0, len(lines), 8)}))


# ---------------------------------------------------------------- segments of the ring

def segment(stream, records):
    """The target makes the checks right: they are zeros here."""
    head = struct.pack("<8sHHBBHII16sqqqQQQ64s96sII", b"TCRSEG\r\n", 1, 256, stream, 0, 0, 0, 77, b"boot", 1773453600 * 10**9, 0, 0,
                       1, 0, 5, b"node07", b"", 0, 0)
    out = head
    for i, (seconds, kind, payload) in enumerate(records):
        out += struct.pack("<IIQqHBBI", 0x80000000 | len(payload), 0, 1 + i, seconds * 10**9, kind, stream, 0, 0) + payload
        out += bytes(-len(payload) % 8)
    return out + bytes(2)


def rings():
    def c(text, n):
        return text.encode().ljust(n, b"\0")

    def process(pid, rank, name):
        return struct.pack("<IIIiiiiiIIQQ", pid, 99, 0, rank, rank, 4, 0, 4, pid, rank >= 0, pid, 1) + c("4711", 40) + c("0", 48) + \
            c(name, 16) + struct.pack("<iI", 0, 0)

    def signal(number, sender, name, target):
        return struct.pack("<IIIiiiiI", sender, 1000, target, target - 100, number, 0, 0, 0) + c(name, 16) + c("python", 16)

    def leave(pid, status):
        return struct.pack("<IIIiIIQQ", pid, 99, status, pid - 100, 0, 1, pid, 1) + c("python", 16)

    def call(rank, seq, count=4096):
        return struct.pack("<IIiBBBBQQQQiiQ", 100 + rank, 1, rank, 1, 7, 0, 0, 0x1000, 0xabcd, seq, count, -1, rank, 0)

    def sample(index, **changed):
        v = [index, 0, 95, 50, 1 << 30, 1980, 2619, 60, 70, 600000, 16, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0]
        for at, value in changed.items():
            v[int(at[1:])] = value
        return struct.pack("<IIIIQIIIIIIIIQQQQQQIIQQIIQQ", *v)

    put("ring", "proc", segment(4, [(1, 160, process(99, -1, "torchrun")), (1, 160, process(100, 0, "python"))] + [
        (t, 161, struct.pack("<IiQQQIIQQQII", 100, 0, 1, 1, 1, 1, ord("D" if t > 3 else "T"), 0, 0, 0, 9, 0) + c("rpc_wait", 32)) for t in range(2, 30)]))
    put("ring", "bpf", segment(1, [
        (1, 38, struct.pack("<IIIIQ", 100, 99, 0, 0, 5) + c("python", 16)), (2, 33, signal(9, 555, "bash", 102)), (3, 32, leave(102, 9)),
        (3, 33, signal(19, 555, "bash", 101)), (4, 33, signal(18, 555, "bash", 101)), (5, 33, signal(9, 0, "", 103)),
        (5, 34, struct.pack("<IiIIQQQQQiI", 103, 3, 103, 1, 4096, 0, 0, 9999, 1, 0, 0) + c("python", 16) * 2 + b"/job_4711"),
        (6, 35, struct.pack("<IIiIQ", 101, 101, 1, 2, 40 * 10**9) + c("python", 16) + b"rpc_wait_bit_killable+0x1\nnfs4_x\n"),
        (7, 36, struct.pack("<IIIiQIIQ", 8, 0, 1, 5, 12 * 10**9, 4096, 1, 3) + c("jbd2", 16)),
        (8, 37, struct.pack("<BBHHH", 4, 2, 1, 29500, 0) + bytes([10, 0, 0, 9]).ljust(16, b"\0") * 2 + struct.pack("<IiiI", 101, 1, 113, 1) + c("python", 16)),
        (9, 1, struct.pack("<Q", 12) + c("bpf", 24)), (9, 2, c("nvml", 24) + struct.pack("<II", 1, 0) + b"no GPU"),
        (10, 3, c("hang", 24) + struct.pack("<iiQ", -1, -1, 1) + b"nothing moves"), (11, 4, struct.pack("<qq", 1, 2))]))
    put("ring", "gpu", segment(2, [(1, 96, struct.pack("<IIII", 0, 0, 0x1b, 0) + c("GPU-1", 48) + c("double", 64) + c("550", 32) +
                                    struct.pack("<IIIIQ", 0x10de, 16, 5, 700000, 1 << 36))] +
                               [(t, 97, sample(0, _13=0x40, _14=t // 9, _10=8)) for t in range(2, 12)] + [
        (13, 97, sample(0, _1=1, _19=1, _20=1)), (14, 98, struct.pack("<IIQ", 0, 1, 79) + b"Xid 79"), (14, 98, struct.pack("<IIQ", 0, 3, 2) + b"RAS"),
        (15, 99, c("mlx5_0", 24) + c("ib0", 16) + struct.pack("<IIII12QII", 1, 4, 5, 0, *([0] * 12), 400, 3)[:24 + 120]),
        (16, 99, c("mlx5_0", 24) + c("ib0", 16) + struct.pack("<IIII", 1, 1, 2, 0))]))
    put("ring", "host", segment(3, [
        (1, 128, struct.pack("<10Q8I4Q", *([7] * 10), 1, 2, 4200, 3, 4, 5, 6, 7, 0, 1, 2, 3)),
        (2, 129, struct.pack("<QQQQII", 1 << 30, 1 << 29, 9, 9, 1, 0) + c("xfs", 16) + b"/logs"),
        (3, 129, struct.pack("<QQQQII", 1 << 30, 0, 9, 9, 1, 0) + c("xfs", 16) + b"/logs"),
        (4, 130, c("eth0", 16) + struct.pack("<II6Q", 1, 0, 0, 0, 0, 0, 0, 2)), (5, 130, c("eth0", 16) + struct.pack("<II6Q", 0, 0, 0, 0, 0, 0, 0, 3))]))
    put("ring", "nccl", segment(5, [(2, 64, struct.pack("<IIiBBBBQQiiiiiiQ", 100 + r, 1, r, 1, 0, 0, 0, 0x1000, 0xabcd, r, 3, 0, 0, 0, r, 0))
                                    for r in range(3)] +
                                [(10 + s, 65, call(r, s, 2048 if (r, s) == (1, 4) else 4096)) for s in range(1, 6) for r in range(3) if r != 2 or s < 4]))
    put("ring", "kernel", segment(0, [(5, 16, b"4,101,5000000,-;NVRM: Xid (PCI:0000:1b:00): 79, pid=100, GPU has fallen off the bus.\n")]))
    put("ring", "logs", segment(6, [(1, 192, struct.pack("<IiQQII", 5, 3, 1, 2, 0, 0) + b"/logs/rank3.log")] + [
        (t, 193, struct.pack("<IIQ", 5, 0, 0) + b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n") for t in (2, 3)]))


# ---------------------------------------------------------------- dictionaries

def dictionary(name, words):
    def quoted(w):
        return "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else "\\x%02x" % c for c in w)
    with open(os.path.join(HERE, name + ".dict"), "w") as f:
        f.write("# made by make_seeds.py\n")
        for w in sorted({w.encode() if isinstance(w, str) else w for w in words}):
            if 0 < len(w) <= 128:
                f.write('"%s"\n' % quoted(w))


def main():
    shutil.rmtree(SEEDS, ignore_errors=True)
    pickles()
    bundles()
    logs()
    structured()
    analyses()
    rings()
    literals = [w for _, sigs in signatures() for s in sigs for w in s["literal"]]
    dictionary("log", literals + PREFIXES[1:] + ["loss: ", "loss=nan", "  exitcode  : -9 (pid: 4711)\n", "  rank      : 5 (local_rank: 5)\n"])
    words = re.findall(r"<[a-z_]+>|</[a-z_]+>", SMI) + re.findall(r'"[A-Za-z]+": "?', EVENT + POD + ELASTIC)
    words += re.findall(r"[A-Z][A-Za-z ]+:", KUBECTL) + ["Thread 0x", "(most recent call first):", "#0  0x", "[<0>] ", "(idle)", "<!--", "<![CDATA["]
    dictionary("structured", words)
    dictionary("analyze", ["=== rank_1.log\n", "=== nccl_trace_rank_1\n", "=== dmesg-node07.log\n", "=== nvidia-smi.xml\n",
                           "=== manifest.json\n", "\n=== ", *PREFIXES[1:], "Xid (PCI:0000:9b:00): 79,", "Out of memory: Killed process ",
                           "Watchdog caught collective operation timeout", "NCCL INFO ", "rank 3 nranks 8 ", "busId 9b000", '"entries":[',
                           '"collective_seq_id":', '"process_group":["0","default_pg"]', '"state":"scheduled"', '"state":"completed"',
                           '"profiling_name":"nccl:all_reduce"', '"is_p2p":true', '"pg_config":{', '"pg_status":{', '"ranks":"[0, 1, 2, 3]"'])


main()
