"""What checks are made of: archives, corpus files, log lines, dumps."""
import io, os, subprocess, tarfile

from place import FULL, INCIDENT, Place, Skip

OOM = "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.2 GiB is free.\n"


def cases():
    """Corpus cases, spread evenly when they are many."""
    root = os.path.join(Place.source, "corpus")
    every = sorted(os.path.relpath(folder, root) for folder, _, names in os.walk(root) if "expected.json" in names)
    return every if FULL else every[::max(1, len(every) // 40)]


def tar_of(members, mode="w"):
    """members: name -> bytes, or a TarInfo with what it needs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, data in members:
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


def zstd(data, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def good_members(p, case=INCIDENT):
    root = os.path.join(Place.source, "corpus", case, "input")
    for folder, _, names in sorted(os.walk(root)):
        for name in sorted(names):
            full = os.path.join(folder, name)
            with open(full, "rb") as f:
                yield os.path.relpath(full, root), f.read()


def first_file(test, size=3000):
    root = os.path.join(Place.source, "corpus")
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(folder, name)
            if "/input/" in full and test(name, full) and os.path.getsize(full) > size:
                with open(full, "rb") as f:
                    return f.read()
    raise Skip("the corpus holds no such file")


EVENTS = {"kind": "List", "apiVersion": "v1", "items": [
    {"kind": "Event", "involvedObject": {"kind": "Pod", "name": "train-worker-%d" % i, "namespace": "ml"}, "reason": "Evicted", "type": "Warning",
     "message": "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 2Gi.", "count": 1,
     "source": {"component": "kubelet", "host": "heron-%02d" % i}, "lastTimestamp": "2026-05-01T10:00:%02dZ" % i} for i in range(8)]}


DUMP = "in/bad/fr/comm_lib_trace_rank_7"
