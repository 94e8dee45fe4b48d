#!/usr/bin/python3
"""When things happened: zones, missing years and dates, midnight, leap days, kernels that only know their uptime.

usage: clocks.py TANALYZE
"""
import json, os, subprocess, sys, tempfile

XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
ECC = "NVRM: Xid (PCI:0000:4c:00): 48, pid=71, name=python, DBE (double bit error) ECC error"
CUDA = "RuntimeError: CUDA error: an illegal memory access was encountered"
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."

# what, arguments, files, kinds in the order of their onsets, and the first one's time as the report gives it
TABLE = [
    ("zones are taken off", [], {"a.log": ["2026-03-01T02:00:00+02:00 " + CUDA, "2026-03-01T00:30:00Z " + OOM]}, ["cuda.illegal_access", "cuda.oom"], "2026-03-01T00:00:00.000000000Z"),
    ("the hour that summer time repeats, with its zones", [], {"a.log": ["2026-10-25T02:59:00+02:00 " + CUDA, "2026-10-25T02:01:00+01:00 " + OOM]}, ["cuda.illegal_access", "cuda.oom"], "2026-10-25T00:59:00.000000000Z"),
    ("the zone of --tz", ["--tz", "+05:30"], {"a.log": ["2026-03-01 05:30:00,000 " + CUDA]}, ["cuda.illegal_access"], "2026-03-01T00:00:00.000000000Z"),
    ("no zone stays unknown", [], {"a.log": ["2026-03-01 05:30:00,000 " + CUDA]}, ["cuda.illegal_access"], "2026-03-01T05:30:00.000000000"),
    ("a time of day past midnight", [], {"a.log": ["23:59:50 " + CUDA, "00:00:10 " + OOM]}, ["cuda.illegal_access", "cuda.oom"], "23:59:50.000000000"),
    ("a missing year, from what is dated", [], {"a.log": ["2024-02-28 23:00:00,000 start", "2024-03-01 01:00:00,000 " + CUDA], "k.log": ["Feb 29 12:00:00 n01 kernel: " + XID]},
     ["gpu.lost", "cuda.illegal_access"], "2024-02-29T12:00:00.000000000"),
    ("December belongs to the year before", [], {"a.log": ["2026-01-01 00:10:00,000 " + CUDA], "k.log": ["Dec 31 23:50:00 n01 kernel: " + XID]},
     ["gpu.lost", "cuda.illegal_access"], "2025-12-31T23:50:00.000000000"),
    ("January belongs to the year after", [], {"a.log": ["2025-12-31 23:50:00,000 " + CUDA], "k.log": ["Jan  1 00:10:00 n01 kernel: " + XID]},
     ["cuda.illegal_access", "gpu.lost"], "2025-12-31T23:50:00.000000000"),
    ("no source is dated: no year is made up", [], {"k.log": ["Jul  4 10:00:00 n01 kernel: " + XID]}, ["gpu.lost"], "--07-04T10:00:00.000000000"),
    ("uptime alone", [], {"k.log": ["[  100.500000] " + XID, "[  101.000000] " + ECC]}, ["gpu.lost", "gpu.ecc_uncorrectable"], "+100.500000000s"),
]


def main():
    tanalyze, failed = os.path.abspath(sys.argv[1]), 0
    for what, arguments, files, kinds, first in TABLE:
        with tempfile.TemporaryDirectory() as top:
            for name, lines in files.items():
                with open(os.path.join(top, name), "w") as f:
                    f.write("\n".join(lines) + "\n")
            out = subprocess.run([tanalyze, "--json", "-", *arguments, top], stdout=subprocess.PIPE, check=True, timeout=60).stdout
        report = json.loads(out)
        seen = {o["id"]: o for o in report["observations"]}
        rows = [(row["time"], seen[row["observation"]]["kind"]) for row in report["timeline"]]
        rows = [r for r in rows if r[1] in kinds]
        ok = [k for _, k in rows] == kinds and rows[0][0] == first
        failed += not ok
        print("%s %s%s" % ("ok   " if ok else "WRONG", what, "" if ok else ": %s" % rows))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
