#!/usr/bin/env python3
"""What a host does to a recorder: missing devices, hung drivers, logs in every wrong shape, storms of processes, containers.

    capture_faults.py TDUMP TCAPTURED TANALYZE DOUBLES [CASE...]

After each fault the daemon lives, says what is missing in plain words, and the rest goes on.
Exit status 77: not root, or a tool is missing.
"""
import calendar
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from capture_box import RANK, SLEEP, are_followed, case, check, dumper, end_of, main, unpack, wait_for

SAYS = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print(line, end='', flush=True)\n"


def ring_states(m):
    return {s["name"]: (s["state"], s["reason"]) for s in end_of(m)["sources"] if s["when"] == "ring"}


def log_of(m, path):
    """The member of a log; where the disk has another file now, of the last one that the ring has of it."""
    return m["logs/" + path.replace("/", "%2F")]


def dies(box, p):
    """A rank that is killed, and the bundle of it."""
    p.kill()
    p.wait()
    m = bundle_of(box, "exit")
    check(json.loads(m["manifest.json"])["trigger"]["pid"] == p.pid, json.loads(m["manifest.json"])["trigger"])
    return m


def bundle_of(box, trigger):
    end = "-%s.tar.zst" % trigger
    wait_for(lambda: box.bundles(end) and not box.bundles(".partial"), "the bundle: " + box.log())
    return unpack(box.bundles(end)[-1])


def look(box):
    """What a bundle of now holds."""
    return box.dump("-o", box.path("look.tar.zst"))


def seconds_of(rfc3339):
    whole, fraction = re.match(r"(.*)\.(\d+)Z$", rfc3339).groups()
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)


@case
def a_death_is_on_the_disk_before_the_bundle_is_whole(box):
    """The window after the trigger stays open; what is synced by then tells the death."""
    box.daemon("post_s = 60")
    p = box.rank(2, SLEEP)
    are_followed(box, 1)
    p.kill()
    p.wait()
    wait_for(lambda: any(n.startswith("ring/bpf-") for n in unpack(box.bundles(".partial")[0], cut=True)), "the early part: " + box.log())
    partial = box.bundles(".partial")[0]
    manifest = json.loads(unpack(partial, cut=True)["manifest.json"])
    report = json.loads(box.analyze(partial, "--json", "-"))
    os.kill(dumper(box), signal.SIGKILL)
    ends = [o for o in report["observations"] if o["kind"] in ("proc.exit", "proc.terminated") and o["rank"] == 2]
    check([(o["pid"], o["fields"]["exitcode"]) for o in ends] == [(p.pid, "-9")], ends)
    late = seconds_of(manifest["time"]) - seconds_of(ends[0]["time"])
    check(0 <= late < 2, "%.3f s from the death to its manifest" % late)


@case
def no_kernel_log_and_no_kernel_types(box):
    """As in a container without them."""
    hide = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mount -t tmpfs none /sys/kernel/btf && exec \"$@\""
    box.daemon("post_s = 0", prefix=["unshare", "-m", "sh", "-c", hide, "sh"])
    p = box.rank(0, SLEEP)
    are_followed(box, 1)
    m = dies(box, p)
    s = ring_states(m)
    check(s["kmsg"] == ("absent", "cannot open /dev/kmsg: No such file or directory"), s)
    check(s["bpf"][0] == s["nccl"][0] == "absent" and "describes no types" in s["bpf"][1], s)
    check(s["host"][0] == s["process"][0] == s["logs"][0] == "ok", s)
    check("kmsg: absent: cannot open /dev/kmsg" in box.log(), box.log())


@case
def a_driver_that_hangs_in_a_call(box):
    box.daemon("post_s = 0\nsample_ms = 200", env={"LD_LIBRARY_PATH": box.path_of_doubles + "/nvml", "NVML_DOUBLE": box.put("script", "2 1 hang 1\n")})
    p = box.rank(0, SLEEP)
    are_followed(box, 1)
    wait_for(lambda: "nvml: failed: hung; its worker was abandoned" in box.log(), "the hung driver to be told: " + box.log())
    s = ring_states(dies(box, p))
    check(s["nvml"] == ("failed", "hung; its worker was abandoned") and s["host"][0] == "ok", s)


@case
def a_log_folder_that_disappears(box):
    os.mkdir(box.path("job"))
    box.daemon("post_s = 0")
    p = box.rank(0, SAYS, log="job/rank.log", stdin=subprocess.PIPE)
    are_followed(box, 1)
    p.stdin.write(b"the last that the disk had\n")
    p.stdin.flush()
    wait_for(lambda: b"the last that the disk had" in open(box.path("job/rank.log"), "rb").read(), "the line")
    wait_for(lambda: b"the last that the disk had" in log_of(look(box), box.path("job/rank.log")),
             "the line in the ring")
    shutil.rmtree(box.path("job"))
    p.stdin.write(b"into a file without a name\n")
    p.stdin.flush()
    wait_for(lambda: log_of(look(box), box.path("job/rank.log")).endswith(b"\ninto a file without a name\n"), "what only the rank can reach")
    m = dies(box, p)
    check(b"the last that the disk had\n" in log_of(m, box.path("job/rank.log")), sorted(m))
    check(any("job/rank.log is gone" in n for n in end_of(m)["notes"]), end_of(m)["notes"])
    check(ring_states(m)["logs"][0] == "ok", ring_states(m))


@case
def ten_thousand_logs(box):
    os.mkdir(box.path("many"))
    for i in range(10_000):
        box.put("many/%d.log" % i, "begins\n")
    box.daemon("post_s = 0\nlogs = %s/*.log\ntrigger_log = ^FATAL" % box.path("many"))

    def is_noticed():		# what was written before the first look is over starts nothing
        with open(box.path("many/9999.log"), "a") as f:
            f.write("FATAL: one of ten thousand\n")
        return "trigger log: FATAL: one of ten thousand" in box.log()
    wait_for(is_noticed, "the line to be noticed: " + box.log())
    m = bundle_of(box, "log")
    logs = [n for n in m if "many" in n]
    check(len(logs) == 10_000 and log_of(m, box.path("many/9999.log")).endswith(b"FATAL: one of ten thousand\n"), len(logs))


@case
def a_log_of_ten_megabytes_a_second(box):
    box.daemon("post_s = 0\nlogs = %s" % box.put("calm.log", "a calm line\n"))
    wait_for(lambda: b"a calm line" in log_of(look(box), box.path("calm.log")), "the calm log")
    loud = "import sys\nprint('ready')\nfor i in range(200_000): print('line %d ' % i + 'x' * 180)\nprint('FATAL: the end', flush=True)\n" \
           "import time; time.sleep(600)\n"
    p = box.rank(0, loud)
    are_followed(box, 1)
    with open(box.path("calm.log"), "a") as f:
        f.write("another\n")
    wait_for(lambda: b"FATAL: the end" in open(box.path("rank.log"), "rb").read()[-100:], "40 MB to be written")
    m = dies(box, p)
    text = log_of(m, box.path("rank.log"))
    check(text.endswith(b"FATAL: the end\n") and len(text) > 1 << 20, len(text))
    check(log_of(m, box.path("calm.log")) == b"a calm line\nanother\n", "the loud log pushed the calm one out")
    check(ring_states(m)["logs"][0] == "ok", ring_states(m))


@case
def a_line_of_a_hundred_megabytes(box):
    box.daemon("post_s = 0")
    p = box.rank(0, "import sys, time\nprint('ready', flush=True)\nfor _ in range(100): sys.stdout.write('y' * (1 << 20))\n"
                 "print('\\nRuntimeError: the end', flush=True)\ntime.sleep(600)\n")
    are_followed(box, 1)
    wait_for(lambda: os.path.getsize(box.path("rank.log")) > 100 << 20, "the line")
    time.sleep(1)
    resident = int(re.search(r"RssAnon:\s+(\d+)", open("/proc/%d/status" % box.processes[0].pid).read()).group(1))
    m = dies(box, p)
    check(log_of(m, box.path("rank.log")).endswith(b"\nRuntimeError: the end\n"), log_of(m, box.path("rank.log"))[-100:])
    check(len(log_of(m, box.path("rank.log"))) < 8 << 20, "the line is not cut")
    check(resident < 16 << 10, "the daemon holds %d KiB" % resident)


@case
def a_disk_that_is_full_of_something_else(box):
    """The folder of the bundles has room for the ring as it was at the trigger, and not for the logs."""
    os.mkdir(box.path("bundles"))
    check(subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", box.path("bundles")]).returncode == 0, "no tmpfs")
    try:
        box.daemon("post_s = 0")
        p = box.rank(0, "import os, time\nprint('ready', flush=True)\n"
                     "for _ in range(20000): print(os.urandom(100).hex())\nprint('the end', flush=True)\ntime.sleep(600)\n")
        are_followed(box, 1)
        wait_for(lambda: open(box.path("rank.log"), "rb").read().endswith(b"the end\n"), "its noise")
        m = dies(box, p)
        check(any("rank.log" in n for n in end_of(m)["lost_members"]), end_of(m)["lost_members"])
        check("ring/bpf-00.tcr" in m and "host/df.txt" in m, sorted(m))
        report = json.loads(box.analyze(box.bundles()[-1], "--json", "-"))
        check(any(o["pid"] == p.pid and o["kind"] == "proc.terminated" for o in report["observations"]), report["observations"])
        check("the disk is full, members are missing from the bundle: " in box.log(), box.log())
    finally:
        box.close()
        subprocess.run(["umount", "-l", box.path("bundles")], check=True)


@case
def a_clock_that_is_stepped(box):
    box.daemon("post_s = 0", env={"LD_PRELOAD": box.path_of_doubles + "/libclock.so", "CLOCK_STEP": box.path("step")})
    p = box.rank(0, SLEEP)
    are_followed(box, 1)
    box.put("step", "-3600\n")
    wait_for(lambda: re.search(r"the clock was stepped by -3(600\.0|599\.9)", box.log()), "the step to be told: " + box.log())
    m = dies(box, p)
    check(end_of(m), "a whole bundle")


@case
def a_fork_storm(box):
    box.daemon("post_s = 1")
    p = box.rank(0, "import os, time\nprint('ready', flush=True)\nfor i in range(2000):\n    pid = os.fork()\n    if not pid: os._exit(i % 3)\n"
                 "    os.waitpid(pid, 0)\nprint('done', flush=True)\ntime.sleep(600)\n")
    are_followed(box, 1)
    wait_for(lambda: b"done" in open(box.path("rank.log"), "rb").read(), "the storm")
    check(not box.bundles(), "the end of a helper is no failure: %s" % box.log())
    m = dies(box, p)
    check(ring_states(m)["process"][0] == "ok", ring_states(m))
    check(all(s["lost"] == 0 for s in end_of(m)["streams"] if s["name"] in ("proc", "host")), end_of(m)["streams"])
    report = json.loads(box.analyze(box.bundles()[-1], "--json", "-"))
    ends = [o for o in report["observations"] if o["kind"] in ("proc.exit", "proc.terminated") and o["pid"] == p.pid]
    check(len(ends) == 1, ends)


@case
def a_pid_that_is_used_again(box):
    """In a pid namespace, where the next pid can be chosen."""
    box.daemon("post_s = 0\ntrigger_exit = no", prefix=["unshare", "-pfm", "--mount-proc", "--kill-child"])
    run = """import os, sys, time
def child(rank):
    for _ in range(1000):
        open('/proc/sys/kernel/ns_last_pid', 'w').write('3999')
        pid = os.fork()
        if not pid:
            if os.getpid() != 4000: os._exit(0)
            os.execve(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)'], dict(os.environ, %s=str(rank)))
        if pid == 4000: return
        os.waitpid(pid, 0)
child(1); print('ready', flush=True); sys.stdin.readline()
os.kill(4000, 9); os.waitpid(4000, 0); child(2); print('again', flush=True); sys.stdin.readline()
""" % RANK
    outer = box.processes[0].pid
    inside = int(open("/proc/%d/task/%d/children" % (outer, outer)).read())
    p = subprocess.Popen(["nsenter", "-t", str(inside), "-p", "-m", sys.executable, "-c", run], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    box.processes.append(p)
    try:
        for rank, word in ((1, b"ready\n"), (2, b"again\n")):
            check(p.stdout.readline() == word, "the process with pid 4000")
            os.kill(inside, signal.SIGHUP)		# a new worker begins with a look at all processes
            wait_for(lambda: ranks_of(box).get(4000) == rank, "pid 4000 to be rank %d: %s" % (rank, box.log()))
            p.stdin.write(b"\n")
            p.stdin.flush()
    finally:
        os.kill(inside, signal.SIGTERM)


def ranks_of(box):
    m = look(box)
    return {r["pid"]: r["rank"] for r in json.loads(m["manifest.json"])["job"]["ranks"]}


@case
def a_rank_in_a_container(box):
    """Other mount and pid namespaces: its log has a name that only it can open, and it calls itself process 1."""
    box.daemon("post_s = 1")
    os.mkdir(box.path("work"))
    box.put("work/rank.log", "of the host: another file of the same name\n")
    inside = "mount -t tmpfs none %s && cd %s && exec env %s=3 WORLD_SIZE=4 %s -c \"%s\" > rank.log 2>&1" % (
        box.path("work"), box.path("work"), RANK, sys.executable,
        "import os, time; print('in here I am', os.getpid(), flush=True); time.sleep(600)")
    p = subprocess.Popen(["unshare", "-mpf", "--kill-child", "sh", "-c", inside])
    box.processes.append(p)
    wait_for(lambda: any(r == 3 for r in ranks_of(box).values()), "it to be followed")
    pid = [k for k, r in ranks_of(box).items() if r == 3][-1]
    name = "logs/" + ("/proc/%d/root%s" % (pid, box.path("work/rank.log"))).replace("/", "%2F")
    wait_for(lambda: b"in here I am 1" in look(box).get(name, b""), "its log")
    os.kill(pid, signal.SIGKILL)
    m = bundle_of(box, "exit")
    trigger = json.loads(m["manifest.json"])["trigger"]
    check((trigger["kind"], trigger["pid"], trigger["rank"]) == ("exit", pid, 3), trigger)
    check(m[name] == b"in here I am 1\n", sorted(m))
    check(not any(b"of the host" in m[n] for n in m if n.startswith("logs/")), "the host's file of that name")


main(4)
