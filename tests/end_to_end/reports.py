"""What holds of every report, and that its quotes can be read again."""
import collections, gzip, hashlib, html.parser, json, os, pickle, random, shutil, subprocess

from made import OOM, cases, tar_of, zstd
from place import DEMO, INCIDENT, MIB, Failure, Place, Skip, check, said, verdict, want


def reports(p, *args):
    p.run("--json", "r.json", "--html", "r.html", "--text", "r.txt", *args, ok=(0, 4))
    out = []
    for name in ("r.json", "r.html", "r.txt"):
        with open(p.path(name), "rb") as f:
            out.append(f.read())
    return out


@check("same input, same bytes")
def _(p):
    p.case(DEMO, "in/demo")
    p.case("none/work-in-flight", "in/other")
    first = reports(p, "in")
    for args in (["in"], ["--jobs", "1", "in"], ["--jobs", "2", "in"], ["--jobs", "8", "in"], ["--digest", "in"]):
        for name, a, b in zip(("JSON", "HTML", "text"), first, reports(p, *args)):
            want(a == b, "the %s differs with %s" % (name, " ".join(args)))
    stamps = [b"/tmp/", p.folder.encode()]
    want(not any(s in r for r in first for s in stamps), "an absolute path is in a report")
    return "%d + %d + %d bytes, 6 times" % tuple(map(len, first))


@check("a small address space")
def _(p):
    """ulimit -v of a login node, many processors: fewer threads, not no report."""
    p.case(DEMO, "in")
    expected = verdict(p.report("in")[0])
    if Place.sanitized:
        raise Skip("a sanitizer needs terabytes of address space")
    run = subprocess.run(["sh", "-c", 'ulimit -v 8000000; exec "$0" --json - --jobs 32 in', Place.tanalyze], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         cwd=p.folder, timeout=600)
    want(run.returncode in (0, 4), "8 GB of address space, --jobs 32: exit %d, %s" % (run.returncode, run.stderr.decode()[:200]))
    v = verdict(json.loads(run.stdout))
    want(v == expected, said(v))
    return said(v)


@check("order of inputs changes no verdict")
def _(p):
    p.case(DEMO, "in")
    files = [os.path.relpath(os.path.join(folder, n), p.folder) for folder, _, names in os.walk(p.path("in")) for n in names]
    expected = verdict(p.report("in")[0])
    dice = random.Random(4)
    for order in (sorted(files), sorted(files, reverse=True), *(dice.sample(files, len(files)) for _ in range(4))):
        v = verdict(p.report(*order)[0])
        want(v == expected, "%s, not %s" % (said(v), said(expected)))
    twice = verdict(p.report("in", "in")[0])
    want(twice == expected, "the folder given twice: %s" % said(twice))
    return said(expected)


@check("HTML stands alone")
def _(p):
    p.case(DEMO, "in")
    page = reports(p, "in")[1].decode()
    want(len(page) < MIB, "%d bytes" % len(page))
    parsed = Page(page)
    want(not parsed.outside, "refers to %s" % parsed.outside[:3])
    want("GPU" in parsed.text and "tern-02" in parsed.text, "the culprit is not on the page")
    return "%d KiB, %d elements" % (len(page) >> 10, parsed.elements)


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.outside, self.scripts, self.handlers, self.pieces = 0, [], [], [], []
        self.feed(page)
        self.text = "".join(self.pieces)

    def handle_starttag(self, tag, attributes):
        self.elements += 1
        if tag in ("script", "iframe", "object", "embed", "base", "form", "img"):
            self.scripts.append(tag)
        for key, value in attributes:
            value = (value or "").strip().lower()
            if key.startswith("on") or value.startswith(("javascript:", "data:text")):
                self.handlers.append((tag, key, value))
            if key in ("src", "href", "action", "data") and not value.startswith(("#", "data:image")) and value != "data:,":
                self.outside.append(value)
            if "url(" in value:
                self.outside.append(value)

    def handle_data(self, data):
        self.pieces.append(data)


@check("every report fits the JSON Schema")
def _(p):
    with open(os.path.join(Place.source, "reports", "report.schema.json")) as f:
        schema = json.load(f)
    try:
        import jsonschema
    except ImportError:
        raise Skip("python3-jsonschema is not installed")
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    judge = kind(schema)
    unheard = collections.Counter()
    n = 0
    p.write("empty/x.log", b"")
    for name in [*cases(), None]:
        report, _ = p.report(os.path.join(Place.source, "corpus", name, "input") if name else "empty")
        for error in judge.iter_errors(report):
            raise Failure("%s: %s: %s" % (name, "/".join(map(str, error.absolute_path)), error.message[:200]))
        undescribed(schema, schema, report, unheard, "")
        n += 1
    want(not unheard, "the schema does not describe %s" % sorted(unheard))
    for part in ("verdict", "findings", "inputs"):
        want(list(judge.iter_errors({k: v for k, v in report.items() if k != part})), "a report without %s passes" % part)
    want(list(judge.iter_errors(dict(report, verdict=dict(report["verdict"], status="surprise")))), "a status that is none passes")
    return "%d reports" % n


def undescribed(root, schema, value, unheard, at):
    """Fields that a report holds and the schema does not name."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    for option in schema.get("anyOf", []):
        if option.get("type") != "null":
            return undescribed(root, option, value, unheard, at)
    if isinstance(value, dict) and "properties" in schema:
        for k, v in value.items():
            if k not in schema["properties"]:
                unheard[at + "/" + k] += 1
            else:
                undescribed(root, schema["properties"][k], v, unheard, at + "/" + k)
    elif isinstance(value, list) and "items" in schema:
        for v in value:
            undescribed(root, schema["items"], v, unheard, at + "[]")


@check("references inside a report hold")
def _(p):
    n = 0
    for name in cases()[::3]:
        report, _ = p.report(os.path.join(Place.source, "corpus", name, "input"))
        evidence, seen, found = ({x["id"] for x in report[k]} for k in ("evidence", "observations", "findings"))
        for f in report["findings"]:
            want(set(f["evidence"]) <= evidence and set(f["observations"]) <= seen and set(f["explains"]) | set(f["explained_by"]) <= found,
                 "%s: %s refers to what is not there" % (name, f["id"]))
            for x in f["exclusions"]:
                want(set(x["evidence"]) <= evidence, "%s: an exclusion cites what is not there" % name)
        want(set(report["verdict"]["findings"]) <= found, "%s: the verdict names a finding that is not there" % name)
        for o in report["observations"]:
            want(set(o["evidence"]) <= evidence, "%s: %s" % (name, o["id"]))
        for t in report["timeline"]:
            want(t["observation"] in seen and (t["finding"] is None or t["finding"] in found), "%s: timeline" % name)
        listed = {(i["path"], i["member"]) for i in report["inputs"]}
        for e in report["evidence"]:
            want((e["input"], e["member"]) in listed, "%s: evidence of an input that is not listed" % name)
            want(e["length"] <= 1024, "%s: a quote of %d bytes" % (name, e["length"]))
        n += 1
    return "%d reports" % n


@check("verify: passes on what the report was made of")
def _(p):
    quotes = 0
    for i, name in enumerate([*cases()[::4], DEMO]):
        full = p.case(name, "in%d" % i)
        packed = tar_of([(os.path.relpath(os.path.join(d, n), full), open(os.path.join(d, n), "rb").read()) for d, _, names in sorted(os.walk(full)) for n in sorted(names)])
        for given in ("in%d" % i, p.write("b%d.tar.zst" % i, zstd(packed)), p.write("b%d.tar.gz" % i, gzip.compress(packed))):
            p.run("--json", "r.json", given, ok=(0, 4))
            run = p.run("verify", "r.json", given)
            want(run.rc == 0, "%s %s: exit %d, %s %s" % (name, os.path.basename(given), run.rc, run.out.decode()[-100:], run.err[:300]))
            quotes += int(run.out.split()[0])
    moved = p.path("elsewhere")
    shutil.move(full, moved)
    want(p.run("--json", "r.json", "elsewhere").rc in (0, 4) and p.run("verify", "r.json", moved).rc == 0, "not after a move")
    shutil.move(moved, p.path("third"))
    want(p.run("verify", "r.json", "third").rc == 0, "not after the folder moved: %s" % p.run("verify", "r.json", "third").err[:200])
    return "%d quotes" % quotes


@check("verify: notices one byte, a missing file, a wrong report")
def _(p):
    p.case(INCIDENT, "in")
    p.run("--json", "r.json", "in", ok=(0,))
    with open(p.path("r.json")) as f:
        report = json.load(f)
    for e in report["evidence"][:20]:
        at = e["offset"] + e["length"] // 2
        with open(p.path(e["input"]), "r+b") as f:
            f.seek(at)
            old = f.read(1)
            f.seek(at)
            f.write(bytes([old[0] ^ 1]))
        run = p.run("verify", "r.json", "in")
        want(run.rc == 1 and e["id"] in run.err, "a flipped byte in %s is not noticed: exit %d %s" % (e["id"], run.rc, run.err[:200]))
        with open(p.path(e["input"]), "r+b") as f:
            f.seek(at)
            f.write(old)
    want(p.run("verify", "r.json", "in").rc == 0, "not even unchanged")
    gone = report["evidence"][0]["input"]
    os.rename(p.path(gone), p.path("gone"))
    run = p.run("verify", "r.json", "in")
    want(run.rc == 1 and "not in the inputs" in run.err, "a missing file: exit %d %s" % (run.rc, run.err[:200]))
    os.rename(p.path("gone"), p.path(gone))
    for field, value in (("sha256", "0" * 64), ("offset", report["evidence"][0]["offset"] + 1), ("text", "another"), ("length", 99999), ("length", -1), ("offset", -1),
                         ("input", "in/../in/nothing"), ("member", "x"), ("offset", None), ("length", "x")):
        p.write("forged.json", json.dumps(dict(report, evidence=[dict(report["evidence"][0], **{field: value})])))
        run = p.run("verify", "forged.json", "in")
        want(run.rc == 1, "a report with another %s passes: exit %d" % (field, run.rc))
    for text in ("", "{", "[]", "{}", '{"schema": "other/1"}', "[" * 100000):
        p.write("wrong.json", text)
        run = p.run("verify", "wrong.json", "in")
        want(run.rc in (1, 2) and run.err and not run.out, "a report of %r: exit %d, %r" % (text[:20], run.rc, run.out))
    return "20 bytes, 1 file, 10 forgeries"


@check("verify: a hostile report reads nothing outside the inputs")
def _(p):
    p.write("in/a.log", "x\n")
    secret = p.write("secret", "s" * 100)
    os.mkfifo(p.path("in/fifo"))
    quote = {"id": "e1", "member": None, "offset": 0, "length": 5, "line": 1, "time": None, "form": "decoded", "text": "x",
             "sha256": hashlib.sha256(b"sssss").hexdigest()}
    for path in (secret, "in/../secret", "../secret", "secret"):
        p.write("r.json", json.dumps({"schema": "tachograph.report/1", "evidence": [dict(quote, input=path)]}))
        want(p.run("verify", "r.json", "in").rc == 1, "%s was read, and is not under the input" % path)
    for path, offset in (("/dev/zero", 1 << 60), ("in/fifo", 0), ("fifo", 0)):
        p.write("r.json", json.dumps({"schema": "tachograph.report/1", "evidence": [dict(quote, input=path, offset=offset)]}))
        want(p.run("verify", "r.json", "in").rc == 1, "%s" % path)
    return "refused"


EVIL_TEXT = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\x1b]0;owned\x07\u202e\u2066 \x9b2J \x00 \"' onmouseover=alert(3) javascript:alert(4) </style></title>--> &lt;b&gt;"


def strings(value):
    if isinstance(value, str):
        yield value
    for x in value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else ():
        yield from strings(x)


@check("hostile text: no escapes in text, no elements in HTML")
def _(p):
    evil = EVIL_TEXT.encode()
    name = EVIL_TEXT.replace("/", "|").replace("\0", "")
    p.write("in/" + name + "-rank_3.log", evil + b" " + OOM.encode().rstrip() + evil + b"\n[rank3]: ValueError: " + evil + b"\n" +
            b"[rank3]: FileNotFoundError: [Errno 2] No such file or directory: '" + evil + b"'\n")
    p.write("in/kern.log", b"May  1 10:00:00 " + b"<script>alert(5)</script>" + b" kernel: [12.3] NVRM: Xid (PCI:0000:1b:00): 79, pid='" + evil +
            b"', name=" + evil + b", GPU has fallen off the bus.\n")
    p.write("in/events.json", json.dumps({"kind": "List", "items": [{"kind": "Event", "involvedObject": {"kind": "Pod", "name": EVIL_TEXT}, "reason": "Evicted",
            "message": "The node was low on resource: " + EVIL_TEXT, "source": {"host": EVIL_TEXT}, "type": "Warning"}]}))
    p.write("in/smi.xml", "<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log><attached_gpus>1</attached_gpus>"
            "<gpu id=\"&lt;script&gt;alert(6)&lt;/script&gt;\"><product_name>&lt;script&gt;</product_name></gpu></nvidia_smi_log>")
    p.write("in/manifest.json", json.dumps({"schema": "tachograph.bundle/1", "host": EVIL_TEXT, "time": EVIL_TEXT}))
    p.write("in/fr/comm_lib_trace_rank_0", pickle.dumps({"version": EVIL_TEXT, "pg_config": {"0": {"name": EVIL_TEXT, "desc": EVIL_TEXT, "ranks": "[0, 1]"}}, "entries": [
        {"process_group": ("0", EVIL_TEXT), "profiling_name": "nccl:" + EVIL_TEXT, "state": "started", "collective_seq_id": 3, "input_sizes": [[1]], "output_sizes": [[1]],
         "frames": [{"name": EVIL_TEXT, "filename": EVIL_TEXT, "line": 3}], "time_created_ns": 1, "is_p2p": False, "pg_id": 0, "timeout_ms": 1}]}, 2))
    p.write("in/x.tar", tar_of([("<script>alert(7)</script>\x1b[31m\u202e.log", OOM.encode())]))
    made, page, text = reports(p, "in")
    text = text.decode("utf-8")
    bad = [hex(ord(c)) for c in text if (ord(c) < 32 and c not in "\n") or 0x7f <= ord(c) < 0xa0 or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"]
    want(not bad, "the text report holds %s" % sorted(set(bad)))
    page = page.decode("utf-8")
    bad = [hex(ord(c)) for c in page if (ord(c) < 32 and c not in "\n\t") or 0x7f <= ord(c) < 0xa0 or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
    want(not bad, "the page holds %s" % sorted(set(bad)))
    parsed = Page(page)
    clean = Page(reports(p, p.case(INCIDENT, "clean"))[1].decode())
    want(parsed.scripts == clean.scripts, "elements %s on the page" % sorted(set(parsed.scripts)))
    want(parsed.handlers == clean.handlers, "attributes %s on the page" % parsed.handlers[:3])
    want(not parsed.outside, "the page refers to %s" % parsed.outside[:3])
    want("<script>alert(1)</script>" in parsed.text, "the hostile line is not shown as text")
    held = sorted({hex(ord(c)) for t in strings(json.loads(made.decode("ascii"))) for c in t if ord(c) < 32 and c != "\t" or 0x7f <= ord(c) < 0xa0 or c in "\u202e\u2066"})
    want(not held, "texts of the JSON report hold %s" % held)
    run = p.run("nowhere\x1b[31m\u202e")
    want("\x1b" not in run.err and b"\x1b" not in run.out, "a name is echoed raw")
    return "shown as text"
