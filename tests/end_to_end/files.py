"""What a directory may hold that is no good file."""
import contextlib, hashlib, json, os, random, socket, subprocess, threading, time

from made import DUMP
from place import FULL, MIB, Place, Skip, beside, check, incident, inputs_under, said, told, verdict, want


@check("empty file")
def _(p):
    p.write("in/bad/rank_3.log", b"")
    seen = beside(p, "in/bad", ("ignored",))
    run = p.run("in/bad/rank_3.log", ok=(3,))
    want(run.out, "exit 3 without a report")
    return seen


@check("empty dump")
def _(p):
    p.write(DUMP, b"")
    return beside(p, "in/bad", ("damaged",))


@check("a dump by its name, zeros or garbage inside")
def _(p):
    """What a crash of the host leaves of a file; the rank must not just go missing."""
    p.write("in/bad/fr/comm_lib_trace_rank_40", bytes(20000))
    p.write("in/bad/fr/comm_lib_trace_rank_41", random.Random(3).randbytes(20000))
    p.write("in/bad/fr/nccl_trace_rank_42.json", b'{"version": "2.4", "entries": [' + bytes(20000))
    return beside(p, "in/bad", ("damaged", "unread"))


@check("empty directory")
def _(p):
    p.make("in/bad")
    report, run = p.report("in/bad", ok=(3,))
    expected = incident(p)
    want(verdict(p.report("in")[0]) == expected, "the verdict beside it changed")
    return "exit 3, %s" % report["verdict"]["headline"]


@check("random bytes")
def _(p):
    dice = random.Random(1)
    for size in (1, 2, 7, 100, 511, 4096, 65536, 3 << 20):
        p.write("in/bad/random-%d" % size, dice.randbytes(size))
        p.write("in/bad/rank_%d.log" % size, dice.randbytes(size))
        p.write("in/bad/fr/comm_lib_trace_rank_%d" % (size % 997), dice.randbytes(size))
    return beside(p, "in/bad")


@check("right magic, then garbage")
def _(p):
    dice = random.Random(2)
    ustar = bytearray(dice.randbytes(512))
    ustar[257:263] = b"ustar\0"
    for name, head in {"x.gz": b"\x1f\x8b\x08\0", "x.zst": b"\x28\xb5\x2f\xfd", "skip.zst": b"\x50\x2a\x4d\x18",
                       "x.tar": bytes(ustar), "comm_lib_trace_rank_7": b"\x80\x02}q\0(X\7\0\0\0version",
                       "smi.xml": b"<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log>",
                       "nccl_trace_rank_8.json": b'{"version": "2.4", "entries": [', "events.json": b'{"kind": "List", "items": [{"kind": "Event", ',
                       "error.json": b'{"message": {"message": "x", "extraInfo": {"py_callstack": '}.items():
        p.write("in/bad/" + name, head + dice.randbytes(4000))
    seen = beside(p, "in/bad")
    report, _ = p.report("in/bad")
    for name in ("x.gz", "x.zst", "x.tar", "comm_lib_trace_rank_7", "smi.xml", "events.json", "error.json"):
        i = inputs_under(report, name)
        want(i and i[0]["state"] in ("damaged", "unread") and i[0]["damaged"], "%s: %s" % (name, told(i)))
    return seen


@check("a directory of nothing useful")
def _(p):
    p.write("in/bad/logo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(2000))
    p.write("in/bad/a.out", b"\x7fELF\2\1\1" + bytes(4000))
    p.write("in/bad/x.zip", b"PK\x03\x04" + bytes(100))
    p.write("in/bad/README.md", "# A project\n\nRead the manual.  Errors may be caused by users.\n")
    p.write("in/bad/train.py", "import torch\n\nraise_on_error = True\nprint('CUDA out of memory?')\n")
    return beside(p, "in/bad", ("ok", "ignored"))


@check("unreadable file")
def _(p):
    os.chmod(p.write("in/bad/rank_3.log", "x\n"), 0)
    os.mkdir(p.path("in/bad/closed"))
    p.write("in/bad/closed/rank_4.log", "x\n")
    os.chmod(p.path("in/bad/closed"), 0)
    os.chmod(p.folder, 0o755)
    user = None
    try:
        if os.geteuid() == 0:
            user = 65534
            if subprocess.run([Place.tanalyze, "--version"], user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
                raise Skip("root reads everything, and nobody may not run tanalyze")
        return beside(p, "in/bad", ("unread",), user=user)
    except PermissionError:
        raise Skip("root reads everything, and nobody may not run tanalyze")
    finally:
        os.chmod(p.path("in/bad/closed"), 0o755)


@check("FIFO")
def _(p):
    p.make("in/bad")
    os.mkfifo(p.path("in/bad/rank_3.log"))
    return beside(p, "in/bad", ("unread",))


@check("socket")
def _(p):
    p.make("in/bad")
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        fd = os.open(p.path("in/bad"), os.O_RDONLY)
        try:
            s.bind("/proc/self/fd/%d/rank_3.log" % fd)
        finally:
            os.close(fd)
        want(os.getcwd() == here, "moved")
        return beside(p, "in/bad", ("unread",))


@check("symlink loop, dangling link, link out of the input")
def _(p):
    p.make("in/bad")
    p.write("outside/rank_9.log", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n")
    os.symlink("loop", p.path("in/bad/loop"))
    os.symlink("..", p.path("in/bad/up"))
    os.symlink("/nonexistent/rank_2.log", p.path("in/bad/dangling"))
    os.symlink("../../outside/rank_9.log", p.path("in/bad/out.log"))
    seen = beside(p, "in/bad", ("ignored", "unread"))
    p.report("in/bad/loop", ok=(3,))
    p.report("in/bad/dangling", ok=(3,))
    return seen


@check("device as input")
def _(p):
    report, run = p.report("/dev/null", ok=(3,))
    p.report("/dev/zero", ok=(3,))
    return told(report["inputs"])


@check("input that is not there")
def _(p):
    expected = incident(p)
    report, run = p.report("in", "nowhere", ok=(0, 4))
    want(verdict(report) == expected, "the verdict changed")
    entry = inputs_under(report, "nowhere")
    want(entry and entry[0]["state"] == "unread" and entry[0]["damaged"], told(entry))
    return told(entry)


def while_waiting(p, change, *inputs):
    """Do `change` after the list of files is made and before they are read: "-" comes first and waits."""
    r, w = os.pipe()

    def later():
        time.sleep(0.3 * max(1, Place.slow / 2))
        change()
        os.close(w)
    t = threading.Thread(target=later)
    t.start()
    try:
        with os.fdopen(r, "rb") as stdin:
            return p.report("-", *inputs, stdin=stdin)
    finally:
        t.join()


@check("file vanishes, becomes a FIFO, a directory, shorter")
def _(p):
    expected = incident(p)
    for name in ("gone", "fifo", "folder", "shorter"):
        p.write("in/bad/" + name, "some text\n" * 1000)

    def change():
        for name in ("gone", "fifo", "folder"):
            os.unlink(p.path("in/bad/" + name))
        os.mkfifo(p.path("in/bad/fifo"))
        os.mkdir(p.path("in/bad/folder"))
        os.truncate(p.path("in/bad/shorter"), 5)
    report, run = while_waiting(p, change, "in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    for name in ("gone", "folder"):
        i = inputs_under(report, "bad/" + name)
        want(i and i[0]["state"] in ("unread", "damaged") and i[0]["damaged"], "%s: %s" % (name, told(i)))
    return "exit %d, gone: %s" % (run.rc, told(inputs_under(report, "bad/gone")))


def holds_open(pid, path):
    with contextlib.suppress(OSError):
        for fd in os.listdir("/proc/%d/fd" % pid):
            with contextlib.suppress(OSError):
                if os.path.samefile("/proc/%d/fd/%s" % (pid, fd), path):
                    return True
    return False


@check("file grows while it is read")
def _(p):
    """From when it is open until the program ends, faster than anybody reads: whoever reads to the end never gets there."""
    expected = incident(p)
    text = b"iteration 100 | loss 2.31 | lr 1e-4\n" * (2 << 20)
    path = p.write("in/bad/rank_3.log", text)
    size = began = len(text)

    def grow(child):
        nonlocal size
        while child.poll() is None:
            if size > began or holds_open(child.pid, path):
                size += 1 << 26
                with contextlib.suppress(OSError):      # as large as a file may be
                    os.truncate(path, size)             # a hole: costs no disk
    report, run = p.report("--digest", "in", during=grow)
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    entry = inputs_under(report, "bad/rank_3.log")[0]
    want(entry["sha256"] == hashlib.sha256(text).hexdigest(), "not the %d bytes that it had were read: %s" % (began, told([entry])))
    want(not entry["damaged"] or ("grew" in entry["damaged"][0]["what"] and str(began) in entry["damaged"][0]["what"] and run.rc == 0), told([entry]))
    return "%d MiB more meanwhile; %s" % ((size - began) // MIB, told([entry]))


@check("many small files")
def _(p):
    n = 100000 if FULL else 20000
    for i in range(n):
        if i % 500 == 0:
            p.make("in/bad/%03d" % (i // 500))
        with open(p.folder + "/in/bad/%03d/rank_%d.log" % (i // 500, i), "w") as f:
            f.write("step %d ok\n" % i)
    expected = incident(p)
    report, run = p.report("in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    want(len(report["inputs"]) > n, "%d inputs listed" % len(report["inputs"]))
    text = p.run("in")
    want(len(text.out) < 100000, "%d bytes of text report" % len(text.out))
    return "%d files, %.1f s, %.0f MiB" % (n, run.seconds, run.mib)


@check("damaged small files by the thousand")
def _(p):
    for i in range(3000):
        p.write("in/bad/x%d.gz" % i, b"\x1f\x8b\x08\0garbage that is no deflate stream %d" % i)
    expected = incident(p)
    report, run = p.report("in")
    want(verdict(report) == expected, "the verdict is %s" % said(verdict(report)))
    text = p.run("in")
    want(len(text.out) < 100000, "%d bytes of text report" % len(text.out))
    return "%.1f s, text %d bytes" % (run.seconds, len(text.out))


@check("deep folders, hostile names")
def _(p):
    deep = p.folder + "/in/bad"
    os.makedirs(deep)
    fd = os.open(deep, os.O_RDONLY)
    for i in range(300):
        os.mkdir("d", dir_fd=fd)
        up, fd = fd, os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(up)
    os.close(os.open("rank_1.log", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    for name in (b"\xff\xfe.log", b"new\nline.log", b"\x1b]0;evil\x07.log", b"<script>alert(1)</script>.log", b"%s%n%n%n.log", b"-rf",
                 b"--html", b"rank_99999999999999999999.log", b"a" * 255):
        with open(os.fsencode(deep) + b"/" + name.replace(b"/", b"_"), "wb") as f:
            f.write(b"a line\n")
    return beside(p, "in/bad")


@check("standard input closed, a directory, a pipe that never ends")
def _(p):
    closed = subprocess.run(["sh", "-c", 'exec "$0" --json - - <&-', Place.tanalyze], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    want(closed.returncode == 3 and json.loads(closed.stdout), "closed: exit %d %s" % (closed.returncode, closed.stderr[:200]))
    fd = os.open(p.folder, os.O_RDONLY)
    try:
        p.report("-", stdin=fd, ok=(3,))
    finally:
        os.close(fd)
    r, w = os.pipe()
    try:
        os.write(w, b"[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n")
        report, run = p.report("--time-limit", "1", "-", stdin=r)
    finally:
        os.close(w)
        os.close(r)
    return "--time-limit 1 on a silent pipe: %.1f s, %s" % (run.seconds, said(verdict(report)))
