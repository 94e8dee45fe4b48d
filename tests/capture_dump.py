#!/usr/bin/env python3
"""tdump from the outside: snapshots, dead rings, full disks, hung sources, interrupted dumps, nonsense.

    capture_dump.py TDUMP [CASE...]

Exit status 77: not root, or a tool is missing.
"""
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import capture_ring as ring
from capture_box import SLEEP, case, check, end_of, main, running, state_of, unpack, wait_for


@case
def snapshot_of_a_newcomer(box):
    p = box.rank(3, SLEEP, {"SLURM_JOB_ID": "771", "LOCAL_RANK": "1"})
    m = box.dump("--snapshot", "--reason", "it hangs", "--job", "nightly")
    first, end = json.loads(m["manifest.json"]), end_of(m)
    check(first["schema"] == "tachograph.bundle/1" and first["host"] and first["time"].endswith("Z"), first)
    check(first["trigger"]["kind"] == "manual" and first["trigger"]["reason"] == "it hangs", first["trigger"])
    check(first["job"]["id"] == "nightly", first["job"])
    check([r["rank"] for r in first["job"]["ranks"] if r["pid"] == p.pid] == [3], first["job"])
    check(first["boot_id"] == open("/proc/sys/kernel/random/boot_id").read().strip(), "boot id")
    check(list(m) and "host/df.txt" in m and "stacks/%d.kernel.txt" % p.pid in m, sorted(m))
    native = m["stacks/%d.native.txt" % p.pid].decode()
    check('(LWP %d) "python' % p.pid in native and "#0 " in native and "#3 " in native, native)
    log = [n for n in m if n.startswith("logs/") and n.endswith(box.path("rank.log").replace("/", "%2F"))]
    check(len(log) == 1 and "%2F" in log[0] and m[log[0]] == b"ready\n", log)
    for member in end["members"]:
        check(hashlib.sha256(m[member["name"]]).hexdigest() == member["sha256"], member)
        check(len(m[member["name"]]) == member["bytes"], member)
    check({x["name"] for x in end["members"]} == set(m) - {"manifest-end.json"}, "members")
    check(all(s["state"] in ("ok", "absent", "denied", "failed", "lost") for s in end["sources"]), end["sources"])
    check(all(s["reason"] for s in end["sources"] if s["state"] != "ok"), end["sources"])
    check(open("/proc/%d/stat" % p.pid).read().rsplit(")", 1)[1].split()[0] in "SR", "the rank was left stopped")


@case
def secrets_do_not_travel(box):
    log = "ready\nAuthorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWl0\npassword=log-s3cret-1\n" \
          "key AKIAIOSFODNN7EXAMPLE\nloss 0.1\n"
    box.config("logs = %s" % box.put("more/train.log", log))
    box.rank(0, "import time,os\nprint('ready', flush=True)\nprint('password=log-s3cret-2', flush=True)\nwhile True: time.sleep(1)\n",
             {"HF_TOKEN": "hf_EnvironmentSecret123456789012345678", "DB_PASSWORD": "env-s3cret-3", "POD_NAME": "p-0",
              "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_API_TOKEN": "env-s3cret-4"},
             ["--api-key", "--password=argument-s3cret-5", "https://user:url-s3cret-6@example.org/"])
    m = box.dump("--snapshot")
    whole = b"\n".join(m.values())
    for secret in ("s3cret-1", "s3cret-2", "s3cret-3", "s3cret-4", "s3cret-5", "s3cret-6", "EnvironmentSecret", "c2lnbmF0dXJlLW9mLWl0",
                   "AKIAIOSFODNN7EXAMPLE"):
        where = [n for n, data in m.items() if secret.encode() in data]
        check(not where, "%s is in %s" % (secret, where))
    check(b"loss 0.1" in whole and b"password=" in whole, "more than the secrets is gone")
    check(end_of(m)["masked_secrets"] >= 5, end_of(m)["masked_secrets"])


@case
def nonsense_is_refused(box):
    for args in (["--frobnicate"], ["-o"], ["-o", ""], ["file"], ["--wait", "soon"], ["--wait", "-1"], ["--wait", "1e9"],
                 ["--snapshot", "--ring", "x"], ["--status", "--snapshot"], ["--ring"]):
        p = box.tdump(*args, rc=2)
        check(p.stderr and not p.stdout, (args, p.stdout, p.stderr))
    check("usage" in box.tdump("--help").stdout, "help")
    check(box.tdump("--version").stdout.startswith("tdump "), "version")
    check("no ring" in box.tdump("--ring", box.path("nowhere"), rc=1).stderr, "--ring without a ring")
    check("no daemon" in box.tdump("--status", rc=1).stderr, "--status without a daemon")
    check("nowhere" in box.tdump("--snapshot", "-o", box.path("nowhere/x.tar.zst"), rc=1).stderr, "-o into nothing")
    box.put("tcaptured.conf", "colour = blue\n")
    check("tcaptured.conf" in box.tdump("--snapshot", rc=2).stderr, "nonsense in the configuration")


@case
def output_goes_where_it_is_told(box):
    os.mkdir(box.path("to"))
    check("manifest-end.json" in box.dump("--snapshot", "-o", box.path("to")), "a directory")
    check("manifest-end.json" in box.dump("--snapshot", "-o", box.path("exact.tar.zst")), "a file")
    check(os.path.exists(box.path("exact.tar.zst")), "a file's name")
    check(sorted(os.listdir(box.path("to")))[0].startswith("tdump-"), "only the bundle is left: %s" % os.listdir(box.path("to")))
    box.put("half.tar.zst.partial", "another dump's")
    box.tdump("--snapshot", "-o", box.path("half.tar.zst"), rc=1)
    check(open(box.path("half.tar.zst.partial")).read() == "another dump's", "somebody's .partial was touched")


@case
def a_hung_source_is_given_up(box):
    box.put("bin/nvidia-smi", "#!/bin/sh\necho '<nvidia_smi_log>'\nexec sleep 1000\n", 0o755)
    m = box.dump("--snapshot", path=box.path("bin"))
    check(state_of(m, "nvidia_smi") == ("failed", "hung"), state_of(m, "nvidia_smi"))
    check("host/df.txt" in m and state_of(m, "host")[0] == "ok", "the others")
    wait_for(lambda: not running("sleep", "1000", box), "the hung command to be gone")


@case
def nvidia_smi_is_taken_verbatim(box):
    box.put("bin/nvidia-smi", "#!/bin/sh\n[ \"$*\" = '-q -x' ] && echo '<nvidia_smi_log/>'\n", 0o755)
    box.put("bin/scontrol", "#!/bin/sh\necho \"JobId=$4 $*\"\n", 0o755)
    box.rank(0, SLEEP, {"SLURM_JOB_ID": "4711"})
    m = box.dump("--snapshot", path=box.path("bin"))
    check(m["gpu/nvidia-smi.xml"] == b"<nvidia_smi_log/>\n", "nvidia-smi.xml")
    check(b"show job -d 4711" in m["slurm/job.txt"], m["slurm/job.txt"])


@case
def the_epilog_dumps_failed_jobs_only(box):
    box.put("bin/tdump", "#!/bin/sh\necho \"$@\" >> %s\nexit 1\n" % box.path("calls"), 0o755)
    script = open(os.path.join(os.path.dirname(__file__), "../capture/install/slurm-epilog.sh")).read()
    box.put("epilog", script.replace("PATH=", "PATH=%s:" % box.path("bin"), 1), 0o755)
    for state, exit_code, dumped in (("COMPLETING", "0:0", 0), ("FAILED", "1:0", 1), ("COMPLETING", "0:9", 1), ("NODE_FAIL", "0:0", 1)):
        box.put("bin/scontrol", "#!/bin/sh\necho 'JobId=9 JobState=%s Reason=None ExitCode=%s'\n" % (state, exit_code), 0o755)
        box.put("calls", "")
        p = subprocess.run([box.path("epilog")], env={"SLURM_JOB_ID": "9", "PATH": os.environ["PATH"]})
        calls = open(box.path("calls")).read()
        check(p.returncode == 0 and ("--job 9" in calls) == bool(dumped), (state, exit_code, p.returncode, calls))


@case
def a_stopped_rank_stops_nobody(box):
    p = box.rank(0, SLEEP)
    p.send_signal(signal.SIGSTOP)
    m = box.dump("--snapshot")
    check(b"state T" in m["stacks/%d.kernel.txt" % p.pid], "kernel stack of a stopped process")
    check(any("state T" in n for n in end_of(m)["notes"]), end_of(m)["notes"])
    check(open("/proc/%d/stat" % p.pid).read().rsplit(")", 1)[1].split()[0] == "T", "it was set going")


@case
def flight_recorder_is_asked_twice(box):
    code = """import os, time
os.mkfifo('pipe_0.pipe')
fd = os.open('pipe_0.pipe', os.O_RDONLY | os.O_NONBLOCK)
print('ready', flush=True)
n = 0
while True:
    time.sleep(0.05)
    if os.read(fd, 100):
        n += 1
        open('trace_0', 'w').write('dump %d' % n)
"""
    box.rank(0, code, {"TORCH_NCCL_DEBUG_INFO_PIPE_FILE": box.path("pipe_"), "TORCH_NCCL_DEBUG_INFO_TEMP_FILE": box.path("trace_")})
    box.put("trace_1", "of a rank that is dead")
    old = box.put("trace_2", "of yesterday")
    os.utime(old, (time.time() - 90000,) * 2)
    m = box.dump("--snapshot")
    check(m["fr/trace_0"] == b"dump 1" and m["fr-2/trace_0"] == b"dump 2", {n: v for n, v in m.items() if n.startswith("fr")})
    check(m["fr/trace_1"] == b"of a rank that is dead", "the dead rank's")
    check("fr/trace_2" not in m, "yesterday's dump is another run's")


def ras_server(box, answer):
    """Listens as NCCL's RAS thread does; answer(line, state) says what follows a line, None closes."""
    server = socket.create_server(("127.0.0.1", 0))
    conf = open(box.path("tcaptured.conf")).read().replace("ras_port = 0", "ras_port = %d" % server.getsockname()[1])
    box.put("tcaptured.conf", conf)

    def talk(c):
        f, state = c.makefile("rw", newline="\n"), {}
        for line in f:
            text = answer(line.strip().lower(), state)
            if text:
                f.write(text)
                f.flush()
            if state.get("ends"):
                break
        f.close()
        c.close()

    def serve():
        while True:
            threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()


def ras(line, state, has_json=True):
    if line.startswith("client protocol"):
        return "SERVER PROTOCOL 2\n"
    if line.startswith("set format"):
        state["json"] = has_json and line.endswith("json")
        return "OK\n" if has_json else "ERROR: Unknown command\n"
    if line == "verbose status":
        state["ends"] = True
        return '{"nccl": 1}\n' if state.get("json") else "NCCL version 2.28\n"
    return "OK\n"


@case
def ras_is_asked_for_text_and_json(box):
    ras_server(box, ras)
    m = box.dump("--snapshot")
    check(m["nccl/ras.txt"] == b"NCCL version 2.28\n" and m["nccl/ras.json"] == b'{"nccl": 1}\n', sorted(m))
    check(state_of(m, "ras") == ("ok", None), state_of(m, "ras"))


@case
def ras_of_an_older_nccl_has_no_json(box):
    ras_server(box, lambda line, state: ras(line, state, False))
    m = box.dump("--snapshot")
    check(m["nccl/ras.txt"] == b"NCCL version 2.28\n" and "nccl/ras.json" not in m, sorted(m))
    check(state_of(m, "ras") == ("ok", None), state_of(m, "ras"))


@case
def what_listens_on_the_port_of_ras_may_be_anything(box):
    for answer, why in ((lambda line, state: "HTTP/1.1 400 Bad Request\n", "what listens there does not speak RAS"),
                        (lambda line, state: state.update(ends=True), "what listens there does not speak RAS"),
                        (lambda line, state: None, "what listens there does not speak RAS")):
        box.config("")
        ras_server(box, answer)
        m = box.dump("--snapshot")
        state, reason = state_of(m, "ras")
        check(state == "failed" and reason.endswith(why) and "nccl/ras.txt" not in m, (state, reason))


@case
def a_full_disk_is_said(box):
    mount = box.path("small")
    os.mkdir(mount)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount]).returncode:
        print("    (no tmpfs: skipped)")
        return
    try:
        noise = os.urandom(1 << 20).hex().encode()
        box.config("logs = %s" % box.put("noise.log", b"\n".join(noise[i:i + 200] for i in range(0, len(noise), 200))))
        p = box.tdump("--snapshot", "-o", mount, rc=4)
        m = unpack(p.stdout.strip())
        check("full" in p.stderr, p.stderr)
        check(any("noise.log" in n for n in end_of(m)["lost_members"]), end_of(m)["lost_members"])
        check("host/df.txt" in m and "manifest.json" in m, sorted(m))
        fd = os.open(os.path.join(mount, "rest"), os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(fd, bytes(4096)):
                pass
        except OSError:
            os.close(fd)
        p = box.tdump("--snapshot", "-o", mount, rc=1)
        check("No space left" in p.stderr, p.stderr)
        check([n for n in os.listdir(mount) if n.startswith(".")] == [], os.listdir(mount))
    finally:
        subprocess.run(["umount", mount], check=True)


@case
def a_killed_dump_leaves_a_cut_bundle(box):
    box.put("bin/nvidia-smi", "#!/bin/sh\nexec sleep 1000\n", 0o755)
    ring.Segment("bpf", boot_id=own_boot()).add(1, b"x" * 40).save(box.path("ring"))
    p = subprocess.Popen(box.command("--ring", box.path("ring"), "-o", box.path("b.tar.zst")), cwd=box.root,
                         env=dict(os.environ, PATH=box.path("bin") + ":" + os.environ["PATH"]))
    partial = box.path("b.tar.zst.partial")
    wait_for(lambda: {"manifest.json", "ring/bpf-00.tcr"} <= set(unpack(partial, cut=True)), "the early part")
    p.kill()
    p.wait()
    m = unpack(partial, cut=True)
    check("manifest-end.json" not in m and json.loads(m["manifest.json"])["from"] == "dead ring", sorted(m))
    wait_for(lambda: not running("sleep", "1000", box), "its sources to be gone")


def own_boot():
    return bytes.fromhex(open("/proc/sys/kernel/random/boot_id").read().strip().replace("-", ""))


@case
def ring_of_another_host(box):
    s = [ring.Segment("kernel").add(ring.KMSG, b"6,1,100,-;first\n").add(ring.KMSG, b"3,2,200,-;NVRM: Xid\n", 7.5),
         ring.Segment("bpf").add(32, b"e" * 64),
         ring.Segment("logs").add(ring.LOG_FILE, ring.log_file(1, "/scratch/rank_0.log", 5, 6, 0))
         .add(ring.LOG_BYTES, ring.log_bytes(1, 1000, b"line one\n", 2)).add(ring.LOG_BYTES, ring.log_bytes(1, 1009, b"line two\n"))
         .add(ring.LOG_BYTES, ring.log_bytes(1, 1100, b"line nine\n"), 9)]
    for x in s:
        x.save(box.path("ring"))
    m = box.dump("--ring", box.path("ring"))
    first, end = json.loads(m["manifest.json"]), end_of(m)
    check(first["host"] == "lapwing-03" and first["boot_id"] == "00010203-0405-0607-0809-0a0b0c0d0e0f", first)
    check(first["time"] == "2027-01-15T08:00:09.000000000Z", first["time"])
    check(m["kernel/kmsg.log"] == b"6,1,100,-;first\n3,2,200,-;NVRM: Xid\n", m["kernel/kmsg.log"])
    check(m["ring/bpf-00.tcr"] == s[1].data, "the segment's bytes")
    check(m["logs/%2Fscratch%2Frank_0.log"] ==
          b"line one\nline two\n[tdump: 82 bytes are missing here]\nline nine\n", m["logs/%2Fscratch%2Frank_0.log"])
    check(not [n for n in m if n.startswith(("host/", "stacks/", "ring/kernel", "ring/logs"))], sorted(m))
    check(end["masked_secrets"] == 2, end["masked_secrets"])
    streams = {x["name"]: x for x in end["streams"]}
    check(streams["kernel"]["records"] == 2 and streams["logs"]["records"] == 4 and streams["gpu"]["records"] == 0, streams)


@case
def ring_of_this_boot_and_the_disk(box):
    path = box.put("rank_0.log", b"step 1\nstep 2\nstep 3\nstep 4\n")
    gone = box.path("gone.log")
    st = os.stat(path)
    logs = ring.Segment("logs", boot_id=own_boot())
    logs.add(ring.LOG_FILE, ring.log_file(1, path, st.st_dev, st.st_ino)).add(ring.LOG_BYTES, ring.log_bytes(1, 7, b"step 2\n"))
    logs.add(ring.LOG_FILE, ring.log_file(2, gone, st.st_dev, 1)).add(ring.LOG_BYTES, ring.log_bytes(2, 0, b"last words\n"))
    logs.save(box.path("ring"))
    m = box.dump("--ring", box.path("ring"))
    flat = lambda p: "logs/" + p.replace("/", "%2F")
    check(m[flat(path)] == b"step 1\nstep 2\nstep 3\nstep 4\n", m[flat(path)])
    check(m[flat(gone)] == b"last words\n", m[flat(gone)])
    check(any(gone in n for n in end_of(m)["notes"]), end_of(m)["notes"])
    check("host/df.txt" in m, "what is taken at dump")


@case
def previous_ring_goes_along_once(box):
    box.config("")
    ring.Segment("bpf", boot_id=own_boot()).add(1, b"y" * 40).save(box.path("ring"))
    ring.Segment("kernel").add(ring.KMSG, b"0,1,1,-;panic\n").save(box.path("ring/previous/00010203-1"))
    m = box.dump("--ring", box.path("ring"))
    check("previous/ring/kernel-00.tcr" in m, sorted(m))


main(1)
