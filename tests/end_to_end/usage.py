"""The command line, where reports go, exit statuses."""
import gzip, json, os, random, subprocess

from made import OOM, good_members, tar_of, zstd
from place import INCIDENT, Place, check, incident, said, told, verdict, want


def refused(p, *args):
    """Exit 2, nothing on stdout, one line on stderr; without the program's name."""
    run = p.run(*args)
    want(run.rc == 2, "exit %d, not 2: %s: %s" % (run.rc, " ".join(args), run.err[:200]))
    want(not run.out, "stdout holds something: %s" % " ".join(args))
    want(run.err.startswith("tanalyze: ") and run.err.count("\n") == 1 and run.err.endswith("\n"), "%s: stderr: %r" % (" ".join(args), run.err[:300]))
    return run.err[len("tanalyze: "):-1]


LATER = "a date and time like 2026-03-01T10:00:00Z"
WRONG = {
    # no command, no option
    "": "no INPUT given",
    "--digest": "no INPUT given",
    "--nonsense x.log": "there is no option --nonsense",
    "--nonsense=3 x.log": "there is no option --nonsense=3",
    "x.log --js -": "there is no option --js",
    "-x x.log": "there is no option -x",
    "-help x.log": "there is no option -help",
    "---help": "there is no option ---help",
    "--=x x.log": "there is no option --=x",
    # values that are missing, too much or given twice
    "x.log --patterns": "--patterns needs a directory",
    "x.log --job": "--job needs a job",
    "x.log --job --digest": "--job needs a job",
    "x.log --run": "--run needs a number from 1 to 32",
    "x.log --since": "--since needs " + LATER,
    "x.log --until": "--until needs " + LATER,
    "x.log --tz": "--tz needs a zone like +02:00",
    "x.log --time-limit": "--time-limit needs a number of seconds from 1 to 604800",
    "x.log --jobs": "--jobs needs a number from 1 to 64",
    "--explain": "--explain needs a pattern",
    "--digest=7 x.log": "--digest takes no value",
    "--exit-code= x.log": "--exit-code takes no value",
    "--help=me": "--help takes no value",
    "--jobs 1 --jobs 1 x.log": "--jobs is given twice",
    "--json a.json x.log --json b.json": "--json is given twice",
    "--digest --digest x.log": "--digest is given twice",
    # places
    "--patterns nowhere x.log": "--patterns: cannot read the patterns in nowhere: No such file or directory",
    "--patterns x.log x.log": "--patterns: cannot read the patterns in x.log: Not a directory",
    "--patterns empty x.log": "--patterns: empty: holds no .json file",
    "--json no/such.json x.log": "cannot write no/such.json: No such file or directory",
    "--json=empty x.log": "cannot write empty: Is a directory",
    "--json x.log/y.json x.log": "cannot write x.log/y.json: Not a directory",
    "--json=x.log x.log": "x.log is part of the input and is not overwritten",
    "--text=x.log . ": "x.log is part of the input and is not overwritten",
    # combinations
    "--json - --html - x.log": "standard output cannot hold two reports",
    "--json - --text - x.log": "standard output cannot hold two reports",
    "- --json --html": "standard output cannot hold two reports",
    "--json same.json --text same.json x.log": "same.json cannot hold two reports",
    "--json same.json --text ./same.json x.log": None,     # the first time there is no file yet
    "--since 2026-03-01T10:00:00Z --until 2026-03-01T09:00:00Z x.log": "--until is earlier than --since",
    "--explain disk_full x.log": '"x.log" is one word too many for --explain',
    "--explain disk_full --json -": "--json does not go with --explain",
    "--explain disk_full --list-patterns": "--list-patterns does not go with --explain",
    "--list-patterns --jobs 3": "--jobs does not go with --list-patterns",
    "--list-patterns x.log": '"x.log" is one word too many for --list-patterns',
    "--version x.log": '"x.log" is one word too many for --version',
    # what the patterns and the input say
    "--explain no_such_pattern": '"no_such_pattern" is no pattern; --list-patterns lists them',
    "--run 2 x.log": "--run 2: the input shows 1 run of the job",
    "--job 4712 slurm.log": '--job: the input is about job 4711, not "4712"',
    # subcommands
    "replay": "replay: no CORPUS_DIR given",
    "replay nowhere": "replay: nowhere: No such file or directory",
    "replay --json - empty": "--json does not go with replay",
    "replay --nonsense empty": "there is no option --nonsense",
    "replay empty --explain disk_full": "--explain does not go with replay",
    "--jobs 2 replay empty": "--jobs does not go with replay",
    "verify": "verify: needs REPORT.json and the INPUTs",
    "verify x.log": "verify: needs REPORT.json and the INPUTs",
    "verify nowhere.json x.log": "verify: nowhere.json: No such file or directory",
    "verify x.log nowhere": "verify: nowhere: No such file or directory",
    "verify --digest x.log x.log": "--digest does not go with verify",
    "verify --list-patterns": "--list-patterns does not go with verify",
}


@check("what is wrong on the command line")
def _(p):
    p.write("x.log", OOM)
    p.write("slurm.log", "slurmstepd: error: *** JOB 4711 ON heron-07 CANCELLED AT 2026-03-01T10:00:00 DUE TO TIME LIMIT ***\n")
    p.make("empty")
    for line, expected in WRONG.items():
        if expected:
            seen = refused(p, *line.split())
            want(seen == expected, "%s: %r, not %r" % (line, seen, expected))
        else:
            p.run(*line.split(), ok=(0,))
            refused(p, *line.split())
    return "%d lines refused" % len(WRONG)


@check("values that are none")
def _(p):
    p.write("x.log", "x\n")
    n = 0
    for option, values in {"--since": ("yesterday", "", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00Zjunk", "5"),
                           "--until": ("tomorrow", "", "2026-02-30"), "--tz": ("CET", "", "02:00", "+2", "+15:00", "+02:60", "+02:00x", "+-2:00"),
                           "--time-limit": ("0", "-1", "", "x", "1s", "99999999999999999999"), "--jobs": ("0", "-1", "", "65", "many", "1.5", " 1", "+1"),
                           "--run": ("0", "-1", "33", "last"), "--job": ("",), "--patterns": ("",), "--explain": ("",)}.items():
        for value in values:
            for args in ((option, value), (option + "=" + value,)):
                seen = refused(p, *args, *(() if option == "--explain" else ("x.log",)))
                want(seen.startswith('%s: "%s" is not ' % (option, value)), seen)
            n += 1
    long = refused(p, "--tz", "\x1b[31m" + "z" * 5000, "x.log")
    want(len(long) < 300 and "\x1b" not in long and long.endswith("is not a zone like +02:00"), repr(long))
    return "%d values refused; %s" % (n, refused(p, "--tz", "CET", "x.log"))


@check("an output never replaces an input")
def _(p):
    inside = json.dumps({"kind": "List", "items": []})
    outputs = (("--json", "in/events.json"), ("--text", "in/rank_0.txt"), ("--html", "in/page.html"))

    def kept(option, name, as_named):
        want(name in refused(p, as_named, option, name), "%s is not named" % name)
        with open(p.path(name)) as f:
            want(f.read() == inside, "%s was changed" % name)
    for option, name in outputs:
        p.write(name, inside)
        link = "link" + name[2:].replace("/", "-")
        os.link(p.path(name), p.path(link))
        for given in (name, "./" + name, link, "in", "."):
            kept(option, name, given)
    want(p.run("in", "--html", ok=(0, 3)).rc in (0, 3) and os.path.exists(p.path("in.html")), "no in.html beside in/")
    p.run(".", "--text", ok=(0, 3), cwd=p.path("in"))
    want(os.path.exists(p.path("in.txt")), "the folder \".\" has no in.txt beside it")
    return "refused"


@check("output that cannot be written")
def _(p):
    p.write("x.log", OOM)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            for args in (("--json", "-", "x.log"), ("x.log",), ("--html", "-", "x.log")):
                child = subprocess.run([Place.tanalyze, *args], stdout=full, stderr=subprocess.PIPE, cwd=p.folder, timeout=600)
                want(child.returncode == 1 and b"cannot write" in child.stderr, "%s > /dev/full: exit %d, %r" % (" ".join(args), child.returncode, child.stderr))
    os.chmod(p.write("locked/x.log", "x\n"), 0o644)
    os.chmod(p.path("locked"), 0o555)
    try:
        if os.geteuid():
            refused(p, "locked/x.log", "--html")
    finally:
        os.chmod(p.path("locked"), 0o755)
    return "said"


@check("a reader that goes away")
def _(p):
    p.write("x.log", OOM)
    for args in (["x.log"], ["--json", "-", "x.log"], ["--list-patterns"]):
        child = subprocess.Popen([Place.tanalyze, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=p.folder)
        child.stdout.close()
        err = child.stderr.read()
        rc = child.wait(60)
        child.stderr.close()
        want(rc in (0, 1, -13) and b"Sanitizer" not in err, "exit %d: %r" % (rc, err[:200]))
    return "no hang"


@check("--help, --version, --list-patterns, --explain")
def _(p):
    shown = p.run("--help", ok=(0,)).out.decode()
    for option in ("--html", "--json", "--text", "--patterns", "--job", "--since", "--until", "--tz", "--time-limit", "--jobs", "--digest", "--exit-code",
                   "--explain", "--list-patterns", "replay", "verify", "lint"):
        want(option in shown, "--help does not mention %s" % option)
    for args in (["replay", "--help"], ["--help", "verify"], ["verify", "x", "-h"], ["x", "--help", "--json"]):
        text = p.run(*args, ok=(0,)).out.decode()
        want(text.startswith("usage: tanalyze"), "%s: %s" % (args, text))
        want(all(c in text.split("\n")[0] for c in args if c in ("replay", "verify")), "%s: %s" % (args, text))
        shown += text
    want(all(len(line) <= 100 for line in shown.splitlines()), "--help has a line of more than 100 columns")
    want(p.run("--version", ok=(0,)).out.startswith(b"tanalyze "), "--version")
    want(p.run("-h", ok=(0,)).out == p.run("--help", ok=(0,)).out, "-h differs from --help")
    names = [line.split()[0] for line in p.run("--list-patterns", ok=(0,)).out.decode().splitlines() if line.strip()]
    for name in names:
        out = p.run("--explain", name, ok=(0,)).out.decode()
        want(name in out, "--explain %s does not name it" % name)
    want(len(names) > 50 and names == sorted(names), "%d patterns, sorted: %s" % (len(names), names == sorted(names)))
    return "%d patterns" % len(names)


@check("--patterns")
def _(p):
    p.write("x.log", "site: the cooling water of row 7 stopped\n")
    p.write("good/a.json", json.dumps({"signatures": [{"id": "site.water", "kind": "x.water_stopped", "class": "application", "literal": "cooling water",
            "regex": "cooling water of row (?<object>\\d+) stopped", "match": ["the cooling water of row 7 stopped"], "no_match": ["cooling water"]}]}))
    for name, text in {"bad1/a.json": "{", "bad2/a.json": '{"signatures": [{"id": "x"}]}', "bad3/a.json":
                       '{"signatures": [{"id": "s.x", "kind": "x.y", "class": "application", "literal": "x", "regex": "x(", "match": ["x"], "no_match": ["y"]}]}'}.items():
        p.write(name, text)
        seen = refused(p, "--patterns", name.split("/")[0], "x.log")
        want(name.split("/")[0] in seen, seen)
    good = p.run("--patterns", "good", "x.log")
    want(good.rc == 0, "a good folder: exit %d, %s" % (good.rc, good.err))
    p.run("--patterns", "good", "--list-patterns", ok=(0,))
    return seen


@check("exit statuses 0, 2, 3, 4, 10, 11")
def _(p):
    p.case(INCIDENT, "cause")
    p.write("healthy.log", "step 1\nstep 2\n")
    p.write("empty/x.log", b"")
    p.write("open/torchrun.log", "E0101 10:00:00.000000 4242 torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: -9) local_rank: 3 (pid: 4711) of "
            "binary: /usr/bin/python3\n")
    p.write("cut/x.log.gz", gzip.compress(random.Random(1).randbytes(50000).hex().encode())[:20000])
    got = {}
    for name, args, rc in (("0", ["healthy.log"], 0), ("0, cause", ["cause"], 0), ("2", [], 2), ("3", ["empty"], 3), ("4", ["cut", "healthy.log"], 4),
                           ("10", ["--exit-code", "cause"], 10), ("10 over 4", ["--exit-code", "cause", "cut"], 10), ("0 with --exit-code", ["--exit-code", "healthy.log"], 0),
                           ("11", ["--exit-code", "open"], 11), ("11 over 4", ["open", "cut", "--exit-code"], 11), ("3 with --exit-code", ["--exit-code", "empty"], 3)):
        got[name] = p.run(*args).rc
        want(got[name] == rc, "%s: exit %d" % (name, got[name]))
    for args in (["empty"], ["nowhere"]):
        run = p.run("--json", "three.json", *args)
        want(run.rc == 3 and run.out and os.path.getsize(p.path("three.json")) > 100, "exit %d: no report" % run.rc)
    return "as documented"


@check("output options: order, names, stdout")
def _(p):
    p.write("x.log", OOM)
    p.case(INCIDENT, "host.d/input")
    want(p.run("x.log", "--json", "a.json").rc == 0 and os.path.exists(p.path("a.json")), "an option after the input is not taken")
    with open(p.path("a.json")) as f:
        want(json.load(f)["schema"] == "tachograph.report/1", "schema")
    p.run("--html", "x.log", ok=(0,))
    want(os.path.exists(p.path("x.log.html")), "--html before an input: %s" % os.listdir(p.folder))
    p.run("host.d/input/", "--html", "--json", "--text", ok=(0,))
    want(all(os.path.exists(p.path("host.d/input" + e)) for e in (".html", ".json", ".txt")), "beside a folder: %s" % os.listdir(p.path("host.d")))
    bundle = p.write("b/run.tar.zst", zstd(tar_of(list(good_members(p)))))
    p.run(bundle, "--html", ok=(0,))
    want(os.path.exists(p.path("b/run.html")), "--html beside the bundle: %s" % os.listdir(p.path("b")))
    out = p.run("--json", "-", "--html", "h.html", "x.log", ok=(0,)).out
    want(json.loads(out)["schema"], "--json - is not only JSON")
    html = p.run("x.log", "--html", "-", ok=(0,)).out
    want(html.lstrip().lower().startswith(b"<!doctype html") and html.rstrip().endswith(b"</html>"), "--html - is not only HTML")
    want(not p.run("x.log", "--text", "t.txt", ok=(0,)).out and os.path.getsize(p.path("t.txt")) > 100, "--text FILE leaves something on stdout")
    want(p.run("x.log", ok=(0,)).out == open(p.path("t.txt"), "rb").read(), "--text FILE differs from the terminal's text")
    want(p.run("x.log", "--json", "-", "--text", "t2.txt", ok=(0,)).out[:1] == b"{", "--json - with --text FILE")
    want(p.run("--", "x.log", ok=(0,)).out, "--")
    return "as documented"


@check("standard input")
def _(p):
    a, _ = p.report("-", feed=[OOM.encode()])
    want(verdict(a)[1] == "cuda_oom" and a["inputs"][0]["path"] == "-", said(verdict(a)))
    bundle = zstd(tar_of(list(good_members(p))))
    b, _ = p.report("-", feed=[bundle[i:i + 7] for i in range(0, len(bundle), 7)])
    want(verdict(b)[:2] == incident(p)[:2], "a bundle on stdin: %s" % said(verdict(b)))
    p.run("-", "--html", feed=[OOM.encode()], ok=(0,))
    twice, run = p.report("-", "-", feed=[OOM.encode()])
    return "%s, bundle %s; twice: exit %d %s" % (said(verdict(a)), said(verdict(b)), run.rc, told(twice["inputs"]))


@check("--since, --until, --tz, --job")
def _(p):
    p.write("x.log", "2026-03-01T10:00:00Z [rank0]: step\n2026-03-01T11:00:00Z " + OOM + "2026-03-01T12:00:00Z [rank0]: step\n")
    whole = verdict(p.report("x.log")[0])
    want(whole[1] == "cuda_oom", said(whole))
    for args, found in ((["--since", "2026-03-01T11:30:00Z"], False), (["--until", "2026-03-01T10:30:00Z"], False), (["--since", "2026-03-01T10:30:00Z"], True),
                        (["--until", "2026-03-01T11:30:00Z", "--since", "2026-03-01T10:59:00Z"], True), (["--since", "2026-03-01T12:30:00+01:00"], False),
                        (["--since", "2026-03-01T11:30:00+01:00"], True), (["--since", "2026-03-01T11:00:00Z", "--until", "2026-03-01T11:00:00Z"], True)):
        v = verdict(p.report("x.log", *args)[0])
        want((v[1] == "cuda_oom") == found, "%s: %s" % (" ".join(args), said(v)))
    p.write("y.log", "2026-03-01 11:00:00,123 " + OOM)
    for args, time_of in (([], None), (["--tz", "+02:00"], "2026-03-01T09:00:00.123000000Z"), (["--tz", "-05:30"], "2026-03-01T16:30:00.123000000Z"),
                          (["--tz", "UTC"], "2026-03-01T11:00:00.123000000Z")):
        seen = [o["time"] for o in p.report("y.log", *args)[0]["observations"] if o["kind"].startswith("cuda")][:1]
        want(seen and (seen[0] == time_of if time_of else not (seen[0] or "").endswith("Z")), "%s: %s" % (" ".join(args) or "no --tz", seen))
    v = verdict(p.report("--tz", "+02:00", "--since", "2026-03-01T09:30:00Z", "y.log")[0])
    want(v[1] is None, "--tz with --since: %s" % said(v))
    v = verdict(p.report("--since", "2026-03-01 11:30:00", "y.log")[0])
    want(v[1] is None, "--since without a zone, lines without a zone: %s" % said(v))
    v = verdict(p.report("--job", "99", "x.log")[0])
    want(v == whole, "--job of lines that name no job: %s" % said(v))
    p.write("slurm.log", "".join("slurmstepd: error: *** STEP %s ON heron-0%d CANCELLED AT 2026-03-01T10:00:00 DUE TO %s ***\n" % job
                                 for job in (("4711.0", 1, "TIME LIMIT"), ("4712.0", 2, "PREEMPTION"))))
    for job, pattern in (("4711", "slurm_time_limit"), ("4712", "slurm_preempted")):
        v = verdict(p.report("--job", job, "slurm.log")[0])
        want(v[1] == pattern, "--job %s: %s" % (job, said(v)))
    return "as documented"
