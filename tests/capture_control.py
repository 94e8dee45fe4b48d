#!/usr/bin/env python3
"""tdump and tcaptured together: bundles on demand, two at once, who may ask, what is kept, who dies when.

    capture_control.py TDUMP TCAPTURED [CASE...]

Exit status 77: not root, or a tool is missing.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from capture_box import case, check, dumper, end_of, main, unpack, wait_for


def begin(box, *args):
    p = subprocess.Popen(box.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=box.root)
    box.processes.append(p)
    return p


def talk(box, data, seconds=5):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(seconds)
    s.connect(box.path("sock"))
    if data:
        try:
            s.sendall(data)
        except BrokenPipeError:
            pass
    got = b""
    try:
        while chunk := s.recv(65536):
            got += chunk
    except ConnectionResetError:
        pass
    return got


@case
def a_bundle_on_demand(box):
    box.daemon("post_s = 0")
    m = box.dump("--reason", "step time doubled", "--job", "j-17")
    first, end = json.loads(m["manifest.json"]), end_of(m)
    check(first["from"] == "daemon" and first["ring"]["bytes"] >= 8 << 20, first)
    check(first["trigger"]["reason"] == "step time doubled" and first["job"]["id"] == "j-17", first)
    check("ring/host-00.tcr" in m and "host/df.txt" in m, sorted(m))
    check({s["name"] for s in end["sources"] if s["when"] == "ring"} >= {"process"}, end["sources"])
    check([s for s in end["streams"] if s["name"] == "host"][0]["records"] > 0, end["streams"])
    status = box.tdump("--status").stdout
    check("process" in status and "manual" in status and "goes back" in status, status)


@case
def the_ring_is_on_the_disk_before_the_window_ends(box):
    box.daemon("post_s = 8")
    p = begin(box)
    wait_for(lambda: {"manifest.json", "ring/host-00.tcr"} <= set(unpack(box.bundles(".partial")[0], cut=True)), "the early part")
    check(p.poll() is None, "the post window was not waited for")
    m = unpack(p.communicate(timeout=30)[0].strip())
    check(p.returncode == 0 and not box.bundles(".partial"), "the whole bundle")
    check(any(n.startswith("ring-after/") for n in m) or "manifest-end.json" in m, sorted(m))


@case
def a_second_trigger_joins_the_first(box):
    box.daemon("post_s = 8")
    a = begin(box, "--reason", "first")
    wait_for(lambda: box.bundles(".partial"), "the first")
    b = begin(box, "--reason", "second")
    path = a.communicate(timeout=30)[0].strip()
    check(b.communicate(timeout=30)[0].strip() == path, "two bundles")
    check([t["reason"] for t in end_of(unpack(path))["triggers"]] == ["second"], end_of(unpack(path))["triggers"])


@case
def the_output_is_copied(box):
    box.daemon("post_s = 0")
    m = box.dump("-o", box.path("mine.tar.zst"))
    check("manifest-end.json" in m and len(box.bundles()) == 1, box.bundles())
    os.mkdir(box.path("to"))
    box.dump("-o", box.path("to"))
    check(len(os.listdir(box.path("to"))) == 1, os.listdir(box.path("to")))


@case
def waiting_has_an_end(box):
    box.daemon("post_s = 3")
    p = box.tdump("--wait", "1", rc=3)
    check("within 1 s" in p.stderr, p.stderr)
    wait_for(lambda: box.bundles() and not box.bundles(".partial"), "the bundle all the same")


@case
def old_bundles_go(box):
    box.daemon("post_s = 0\nbundle_keep = 2")
    made = []
    for _ in range(4):
        made.append(box.tdump().stdout.strip())
        time.sleep(0.05)
    wait_for(lambda: box.bundles() == sorted(made[-2:]), "the oldest to go: %s" % box.bundles())


@case
def others_are_refused_in_plain_words(box):
    box.daemon("post_s = 0")
    os.chmod(box.root, 0o755)
    as_nobody = lambda: subprocess.run(box.command(), capture_output=True, text=True, user=65534, group=65534, extra_groups=[], cwd="/")
    p = as_nobody()
    check(p.returncode == 5 and "ermission" in p.stderr, (p.returncode, p.stderr))
    os.chmod(box.path("sock"), 0o666)
    p = as_nobody()
    check(p.returncode == 5 and "may ask" in p.stderr, (p.returncode, p.stderr))
    check(not box.bundles(), "a bundle for nobody")


@case
def the_group_may_ask(box):
    box.daemon("post_s = 0\ngroup = games")
    os.chmod(box.root, 0o755)
    p = subprocess.run(box.command("--status"), capture_output=True, text=True, user=65534, group=65534, extra_groups=[60], cwd="/")
    check(p.returncode == 0 and "tcaptured" in p.stdout, (p.returncode, p.stderr))


@case
def clients_that_misbehave(box):
    box.daemon("post_s = 0")
    check(b"no such request" in talk(box, b"{\"request\": \"reboot\"}\n"), "an unknown request")
    check(b"no such request" in talk(box, b"nonsense\n"), "no JSON")
    check(b"no such request" in talk(box, b"\0\0\0\n"), "NULs")
    check(b"too long" in talk(box, b"x" * 8192), "a request without an end")
    mute = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for s in mute:
        s.connect(box.path("sock"))
    # full for now; who says nothing is dropped
    wait_for(lambda: b"\"status\"" in talk(box, b"{\"request\": \"status\"}\n"), "mute clients to be dropped")
    for s in mute:
        s.close()
    a = socket.socket(socket.AF_UNIX)
    a.connect(box.path("sock"))
    a.sendall(b"{\"request\": \"dump\"}\n")
    a.close()		# gone before the answer
    wait_for(lambda: box.bundles() and not box.bundles(".partial"), "its bundle")
    box.tdump("--status")


@case
def a_killed_dump_is_kept_as_cut(box):
    daemon = box.daemon("post_s = 60")
    p = begin(box)
    wait_for(lambda: {"ring/host-00.tcr"} <= set(unpack(box.bundles(".partial")[0], cut=True)), "the early part")
    os.kill(dumper(box), signal.SIGKILL)
    out, err = p.communicate(timeout=20)
    check(p.returncode == 1 and "died" in err, (p.returncode, err))
    check(daemon.poll() is None, "the daemon died with it")
    daemon.terminate()
    daemon.wait(20)
    box.processes.clear()
    box.daemon("post_s = 0")
    wait_for(lambda: box.bundles("-cut.tar.zst"), "the cut bundle to be kept")
    m = unpack(box.bundles("-cut.tar.zst")[0], cut=True)
    check("manifest.json" in m and "manifest-end.json" not in m, sorted(m))
    wait_for(lambda: "interrupted" in box.log(), "the log to say so")


@case
def a_dump_outlives_the_daemon(box):
    daemon = box.daemon("post_s = 2")
    begin(box)
    wait_for(lambda: box.bundles(".partial"), "the dump")
    daemon.kill()
    daemon.wait()
    wait_for(lambda: box.bundles() and not box.bundles(".partial"), "the bundle")
    check("manifest-end.json" in unpack(box.bundles()[0]), "a whole bundle")
    p = box.tdump("-o", box.path("dead.tar.zst"))
    check("dead" in p.stderr and json.loads(unpack(box.path("dead.tar.zst"))["manifest.json"])["from"] == "dead ring", p.stderr)


main(2)
