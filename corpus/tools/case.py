"""What a fixture is: a folder, a scene, an expectation.  Case modules register here."""
import json
import os
import shutil

import flight
import scene as sc

TABLE = {}          # "pattern/case" -> (function, kind, text)

KINDS = ("positive", "adjacent", "degraded", "benign", "compound")


def case(path, kind, text):
    """Register a maker: it gets a Box, fills it, and states what is expected."""
    assert kind in KINDS, kind

    def put(f):
        assert path not in TABLE, path
        TABLE[path] = (f, kind, " ".join(text.split()))
        return f
    return put


class Box:
    """One fixture while it is made."""

    def __init__(self, root, path):
        self.path, self.dir = path, os.path.join(root, path)
        self.input = os.path.join(self.dir, "input")
        self.expected = None

    def put(self, name, data):
        sc.save(os.path.join(self.input, name), data)

    def dumps(self, run, folder="fr", prefix="nccl_trace_rank_", **how):
        return flight.write(run, os.path.join(self.input, folder), prefix, **how)

    def manifest(self, scene, host, time, where="", sources=None, trigger="manual"):
        rows = [{"name": n, "state": s, **({"reason": w} if w else {})} for n, s, w in
                (sources or [("kernel", "ok", None), ("logs", "ok", None), ("fr", "ok", None)])]
        m = {"schema": "tachograph.bundle/1", "tool": {"name": "tdump", "version": "0.1"}, "host": host.name,
             "boot_id": host.boot_id, "time": sc.stamp(time, "rfc3339"), "trigger": {"kind": trigger}, "sources": rows}
        text = json.dumps(m, indent=1) + "\n"
        if where is not None:
            self.put(os.path.join(where, "manifest.json"), text)
        return text

    def expect(self, status, pattern=None, role=None, culprits=(), evidence=(), must_not=(), **more):
        if role is None and pattern:
            role = {"root_cause": "cause", "unattributed": "symptom", "outcome": "outcome"}.get(status)
        self.expected = {"status": status, "pattern": pattern, "role": role, "culprits": list(culprits),
                         "evidence": list(evidence), "must_not": list(must_not), **more}

    def finish(self, kind, text):
        assert self.expected, self.path
        with open(os.path.join(self.dir, "expected.json"), "w") as f:
            json.dump(self.expected, f, indent=1)
            f.write("\n")
        with open(os.path.join(self.dir, "README.md"), "w") as f:
            f.write("%s: %s\n" % (kind.capitalize(), text))


def make(root, path):
    maker, kind, text = TABLE[path]
    box = Box(root, path)
    shutil.rmtree(box.dir, ignore_errors=True)
    os.makedirs(box.input)
    maker(box)
    box.finish(kind, text)
    return box


# ---------------------------------------------------------------- checks

def plain_text(folder):
    """Every text file below `folder`, joined; dumps and archives left out."""
    out = {}
    for base, _, names in os.walk(folder):
        for n in sorted(names):
            p = os.path.join(base, n)
            with open(p, "rb") as f:
                data = f.read()
            if data[:2] == b"\x1f\x8b":
                import gzip
                try:
                    data = gzip.decompress(data)
                except EOFError:
                    import zlib
                    data = zlib.decompressobj(31).decompress(data)
            elif data[:1] == b"\x80" or data[:4] == b"\x28\xb5\x2f\xfd":
                if data[:4] == b"\x28\xb5\x2f\xfd":
                    data = archive_text(data)
                else:
                    continue
            out[os.path.relpath(p, folder)] = data.decode("utf-8", "replace")
    return out


def archive_text(data):
    """The payload of a zstd stream made of raw blocks (see bundle())."""
    out, i = bytearray(), 0
    while i < len(data):
        assert data[i:i + 4] == b"\x28\xb5\x2f\xfd"
        i += 5 + 4                           # magic, descriptor, content size
        while True:
            head = int.from_bytes(data[i:i + 3], "little")
            size = head >> 3
            out += data[i + 3:i + 3 + size]
            i += 3 + size
            if head & 1:
                break
    return bytes(out)


def check(root, path):
    """Problems of one fixture, as text."""
    folder = os.path.join(root, path)
    with open(os.path.join(folder, "expected.json")) as f:
        e = json.load(f)
    texts = plain_text(os.path.join(folder, "input"))
    everything = "\n".join(texts.values())
    bad = []
    for quote in e["evidence"]:
        if not any(quote in line for line in everything.split("\n")):
            bad.append("evidence is not in the input: %r" % quote)
    for c in e["culprits"]:
        if "host" in c and c["host"] not in everything and c["host"] not in " ".join(_names(folder)):
            bad.append("culprit host %s is nowhere in the input" % c["host"])
    kind = TABLE[path][1]
    lines = everything.count("\n")
    if kind == "positive" and lines < 200 and not e.get("dumps_only") and texts:
        bad.append("only %d lines" % lines)
    if e["pattern"] and not path.startswith((e["pattern"] + "/", "none/")):
        bad.append("lives under another pattern than %s" % e["pattern"])
    if (e["status"] == "no_failure") != path.startswith("none/") and e["status"] == "no_failure" and e["role"] != "precursor":
        bad.append("no_failure outside none/")
    return bad


def _names(folder):
    return [os.path.join(b, n) for b, _, names in os.walk(folder) for n in names]


# ---------------------------------------------------------------- bundle.tar.zst

def tar_member(name, data, mtime):
    head = bytearray(512)

    def field(pos, size, text):
        raw = text.encode()
        head[pos:pos + len(raw)] = raw

    field(0, 100, name)
    field(100, 8, "0000644\0")
    field(108, 8, "0000000\0")
    field(116, 8, "0000000\0")
    field(124, 12, "%011o\0" % len(data))
    field(136, 12, "%011o\0" % mtime)
    field(148, 8, "        ")
    field(156, 1, "0")
    field(257, 8, "ustar\00000")
    field(148, 8, "%06o\0 " % sum(head))
    return bytes(head) + data + b"\0" * (-len(data) % 512)


def zstd_raw(data):
    """A zstd frame of stored blocks: the same bytes on every machine, no library needed."""
    out = bytearray(b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little"))
    pos = 0
    while True:
        block = data[pos:pos + 65536]
        pos += len(block)
        last = pos >= len(data)
        out += ((len(block) << 3) | (1 if last else 0)).to_bytes(3, "little") + block
        if last:
            return bytes(out)


def bundle(path, manifest, members, time_ns):
    """manifest.json first and in a frame of its own, then the members, then the end of the archive."""
    mtime = time_ns // 1_000_000_000
    frames = [zstd_raw(tar_member("manifest.json", manifest.encode(), mtime))]
    for name, data in members:
        frames.append(zstd_raw(tar_member(name, data, mtime)))
    frames.append(zstd_raw(b"\0" * 1024))
    sc.save(path, b"".join(frames))
