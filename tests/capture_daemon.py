#!/usr/bin/env python3
"""The daemon's life: options, configuration, start, signals, the service manager, and what makes a bundle by itself.

    capture_daemon.py TDUMP TCAPTURED [CASE...]

Exit status 77: not root, or a tool is missing.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from capture_box import RANK, SLEEP, are_followed, bundle, case, check, end_of, main, wait_for

DIES = "import sys, time\nprint('ready', flush=True)\ntime.sleep(1)\nsys.exit(7)\n"
SPEAKS = "import sys, time\nprint('ready', flush=True)\nfor line in sys.stdin: print(line, end='', flush=True)\n"


def tcaptured(box, *args, **how):
    return subprocess.run([box.tcaptured_path, *args], capture_output=True, text=True, timeout=30, cwd=box.root, **how)


@case
def options_that_are_wrong(box):
    for args, words in ((["--frobnicate"], "--frobnicate"), (["here"], '"here"'), (["--config"], "--config")):
        p = tcaptured(box, *args)
        check(p.returncode == 2 and words in p.stderr and "usage:" in p.stderr, (args, p.returncode, p.stderr))
    check(tcaptured(box, "--help").stdout.startswith("usage:"), "help")
    check(re.match(r"tcaptured \d+\.\d+\.\d+\n$", tcaptured(box, "--version").stdout), "version")


@case
def a_configuration_is_checked(box):
    bad = box.put("bad.conf", "post_s = 3\n\nring_byte = 16M\n")
    for mode in (["--check-config"], ["--foreground"], []):
        p = tcaptured(box, "--config", bad, *mode)
        check(p.returncode == 2 and "bad.conf: 3: " in p.stderr and "did you mean ring_bytes?" in p.stderr, (mode, p))
    p = tcaptured(box, "--config", box.path("none.conf"), "--check-config")
    check(p.returncode == 2 and "none.conf: No such file" in p.stderr, p)
    p = tcaptured(box, "--config", box.put("good.conf", "post_s = 3\n"), "--check-config")
    check(p.returncode == 0 and "is right" in p.stdout and not p.stderr, p)


@case
def one_ring_has_one_daemon(box):
    first = box.daemon()
    p = tcaptured(box, "--config", box.path("tcaptured.conf"), "--foreground")
    check(p.returncode == 1 and "another" in p.stderr.lower(), (p.returncode, p.stderr))
    check(first.poll() is None, "the first died of it")
    box.tdump("--status")


@case
def it_ends_when_it_is_told(box):
    for number in (signal.SIGTERM, signal.SIGINT):
        p = box.daemon()
        p.send_signal(number)
        check(p.wait(20) == 0, box.log())
        check("ends on %s from process %d" % (number.name, os.getpid()) in box.log(), box.log())
        check(not os.path.exists(box.path("sock")), "its socket is left")


@case
def it_goes_to_the_background(box):
    box.daemon().terminate()		# writes the configuration
    box.processes.pop().wait(20)
    with open(box.path("log"), "ab") as log:		# which stays the daemon's
        status = subprocess.call([box.tcaptured_path, "--config", box.path("tcaptured.conf")], stdout=log, stderr=log, timeout=30)
    check(status == 0, box.log())
    pid = int(re.search(r"\b(?:pid|process) (\d+)", box.tdump("--status").stdout).group(1))
    try:
        check(os.getsid(pid) == pid and os.readlink("/proc/%d/fd/0" % pid) == "/dev/null", "it is not alone")
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not os.path.exists(box.path("sock")), "its end")
    box.put("file", "")
    p = tcaptured(box, "--config", box.path("tcaptured.conf"), "--ring", box.path("file"))
    check(p.returncode == 1 and box.path("file") in p.stderr, (p.returncode, p.stderr))


@case
def hangup_reads_the_configuration_again(box):
    p = box.daemon("post_s = 0")
    conf = open(box.path("tcaptured.conf")).read()
    box.put("tcaptured.conf", conf + "sample_ms = soon\n")
    p.send_signal(signal.SIGHUP)
    wait_for(lambda: 'sample_ms = "soon"' in box.log() and "stays as it was" in box.log(), "the mistake to be told")
    box.put("tcaptured.conf", conf.replace("ring_bytes = 16M", "ring_bytes = 32M") + "bundle_keep = 1\n")
    p.send_signal(signal.SIGHUP)
    wait_for(lambda: "read again; only a restart changes ring_bytes" in box.log(), "the new one: " + box.log())
    for _ in range(3):
        box.tdump()
    wait_for(lambda: len(box.bundles()) == 1, "bundle_keep to hold: %s" % box.bundles())


@case
def the_service_manager_is_told(box):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(box.path("notify"))
    manager.settimeout(20)
    os.environ["NOTIFY_SOCKET"] = box.path("notify")
    try:
        p = box.daemon()
    finally:
        del os.environ["NOTIFY_SOCKET"]
    check(manager.recv(200) == b"READY=1", "ready")
    p.send_signal(signal.SIGHUP)
    check(re.match(rb"RELOADING=1\nMONOTONIC_USEC=\d+$", manager.recv(200)), "reloading")
    check(manager.recv(200) == b"READY=1", "ready again")
    p.terminate()
    check(manager.recv(200) == b"STOPPING=1", "stopping")
    check(p.wait(20) == 0, box.log())


@case
def the_unit_is_right(box):
    unit = os.path.join(os.path.dirname(box.tcaptured_path), "tcaptured.service")
    check(os.path.exists(unit), "there is no " + unit)
    if not shutil.which("systemd-analyze"):
        return print("        not looked at: there is no systemd-analyze", flush=True)
    text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=" + box.tcaptured_path, open(unit).read())
    p = subprocess.run(["systemd-analyze", "verify", "--man=no", box.put("tcaptured.service", text)], capture_output=True, text=True)
    check(p.returncode == 0 and "tcaptured.service" not in p.stderr, p.stderr)


@case
def a_rank_that_dies_makes_a_bundle(box):
    box.daemon("post_s = 1")
    killed, other = box.rank(0, SLEEP), box.rank(1, SLEEP, log="other.log")
    are_followed(box, 2)
    killed.kill()
    killed.wait()
    m = bundle(box)
    t = json.loads(m["manifest.json"])["trigger"]
    check("-exit.tar.zst" in box.bundles()[0] and any(n.startswith("logs/") for n in m), sorted(m))
    check((t["kind"], t["pid"], t["rank"]) == ("exit", killed.pid, 0) and "signal 9" in t["reason"], t)
    check(other.poll() is None, "the other rank died of it")


@case
def a_rank_that_fails_makes_a_bundle(box):
    box.daemon("post_s = 0")
    p = box.rank(1, DIES)
    check(p.wait(20) == 7, "the rank")
    bundle(box)
    check("trigger exit: process %d" % p.pid in box.log() and "code 7" in box.log(), box.log())


@case
def equal_triggers_make_one(box):
    box.daemon("post_s = 0\ndedup_s = 60")
    for _ in range(3):
        p = box.rank(0, SLEEP)
        are_followed(box, 1)
        p.kill()
        p.wait()
        time.sleep(0.3)
    bundle(box)


@case
def an_hour_has_only_so_many(box):
    box.daemon("post_s = 0\ndedup_s = 0\nbundles_per_hour = 2")
    for n in range(4):
        p = box.rank(n, SLEEP)
        are_followed(box, 1)
        p.kill()
        p.wait()
        wait_for(lambda: len(re.findall("trigger exit", box.log())) > min(n, 2), "trigger %d" % n)
        wait_for(lambda: len(box.bundles()) == min(n + 1, 2) and not box.bundles(".partial"), "its bundle")
    check(len(box.bundles()) == 2 and "bundles_per_hour (2) is used up" in box.log(), (box.bundles(), box.log()))
    box.tdump()			# a person is never refused
    check(len(box.bundles()) == 3, box.bundles())


@case
def what_is_switched_off_makes_none(box):
    box.daemon("post_s = 0\ntrigger_exit = no")
    p = box.rank(0, SLEEP)
    are_followed(box, 1)
    p.kill()
    p.wait()
    are_followed(box, 0)
    box.tdump()
    check(len(box.bundles()) == len(box.bundles("-manual.tar.zst")) == 1, box.bundles())


@case
def a_line_of_a_log_makes_a_bundle(box):
    box.daemon("post_s = 0\ntrigger_log = ^FATAL: .*desync")
    p = subprocess.Popen([sys.executable, "-c", SPEAKS], stdin=subprocess.PIPE, stdout=open(box.path("rank.log"), "ab"), cwd=box.root,
                         env={"PATH": os.environ["PATH"], RANK: "5"}, text=True)
    box.processes.append(p)
    are_followed(box, 1)
    for line in ("a desync of audio\n", "WARN FATAL: desync\n"):
        p.stdin.write(line)
    p.stdin.flush()
    time.sleep(1.5)
    check(not box.bundles(), "lines that do not match: %s" % box.log())
    p.stdin.write("FATAL: ranks desync at step 7\n")
    p.stdin.flush()
    m = bundle(box)
    check("trigger log: FATAL: ranks desync at step 7" in box.log(), box.log())
    check(any(n.startswith("logs/") and b"desync at step 7" in m[n] for n in m), sorted(m))


@case
def silence_makes_a_bundle(box):
    box.daemon("post_s = 0\ntrigger_hang_s = 4\nsample_ms = 200")
    p = box.rank(0, "import time\nprint('ready', flush=True)\nfor i in range(60): print(i, flush=True); time.sleep(0.1)\ntime.sleep(600)\n")
    are_followed(box, 1)
    wait_for(lambda: b"\n59\n" in open(box.path("rank.log"), "rb").read(), "it to fall silent")
    check(not box.bundles() and not box.bundles(".partial"), "it spoke: %s" % box.log())
    bundle(box)
    check("trigger hang: no NCCL call and no log output" in box.log(), box.log())
    check(p.poll() is None, "the rank died of it")


@case
def a_request_to_end_makes_a_bundle(box):
    box.daemon("post_s = 0")
    p = box.rank(0, "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(600)\n")
    are_followed(box, 1)
    if not re.search(r"(?m)^bpf +ok", box.tdump("--status").stdout):
        return print("        not looked at: signals need eBPF", flush=True)
    p.terminate()
    bundle(box)
    check("trigger sigterm:" in box.log() and str(os.getpid()) in box.log(), box.log())


@case
def without_root_it_says_what_is_missing(box):
    os.chmod(box.root, 0o777)
    p = subprocess.Popen([box.tcaptured_path, "--config", box.put("tcaptured.conf", "ring_dir = %s\nbundle_dir = %s\nsocket = %s\n"
                          "ring_bytes = 16M\nras_port = 0\npost_s = 0\n" % tuple(box.path(n) for n in ("ring", "bundles", "sock"))), "--foreground"],
                         stderr=open(box.path("log"), "ab"), user=65534, group=65534, extra_groups=[], cwd="/")
    box.processes.append(p)
    wait_for(lambda: os.path.exists(box.path("sock")), "the daemon: " + box.log())
    check("without CAP_BPF" in box.log() and "without CAP_SYS_PTRACE" in box.log(), box.log())
    m = box.dump()
    states = {s["name"]: (s["state"], s["reason"]) for s in end_of(m)["sources"] if s["when"] == "ring"}
    check(states["bpf"][0] == "denied" and "CAP_BPF" in states["bpf"][1], states)
    check(states["host"][0] == "ok", states)


main(2)
