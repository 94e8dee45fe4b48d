#!/usr/bin/env python3
"""Time commands against each other: runs alternate, so that drift hits all alike.

    measure.py [-n 5] [-w 1] -- CMD ARG... --vs CMD ARG... [--vs ...]

One line per command: "<i> seconds=<median> rss_mb=<peak> rc=<status> lines=<stdout lines> last: <last stdout line>".
A command whose last line says seconds=X is taken at its word (it excludes its own start).
"""
import os
import re
import statistics
import subprocess
import sys
import time


def once(cmd):
    begin = time.perf_counter()
    p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    fd, lines, tail = p.stdout.fileno(), 0, b""
    while True:
        chunk = os.read(fd, 1 << 20)
        if not chunk:
            break
        lines += chunk.count(b"\n")
        tail = (tail + chunk)[-4096:]
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    last = tail.decode("utf-8", "replace").strip().split("\n")[-1]
    own = re.search(r"\bseconds=([0-9.]+)", last)
    return (float(own.group(1)) if own else seconds), usage.ru_maxrss / 1024, p.returncode, lines, last


def main():
    args = sys.argv[1:]
    runs, warm = 5, 1
    while args and args[0] != "--":
        if args[0] == "-n":
            runs = int(args[1])
        elif args[0] == "-w":
            warm = int(args[1])
        else:
            sys.exit(__doc__)
        args = args[2:]
    cmds, cur = [], []
    for a in args[1:]:
        if a == "--vs":
            cmds.append(cur)
            cur = []
        else:
            cur.append(a)
    cmds.append(cur)
    got = [[] for _ in cmds]
    for k in range(runs + warm):
        for i, cmd in enumerate(cmds):
            r = once(cmd)
            if k >= warm:
                got[i].append(r)
    for i, rows in enumerate(got):
        print("%d seconds=%.4f rss_mb=%.1f rc=%d lines=%d last: %s" % (
            i, statistics.median(r[0] for r in rows), max(r[1] for r in rows), rows[-1][2], rows[-1][3], rows[-1][4][:200]))


if __name__ == "__main__":
    main()
