#!/usr/bin/env python3
"""What anybody would write: pickle.load every dump of a folder and touch every entry.

Prints "entries=N seconds=S"; the time is of the loop alone, not of Python's start.
The dumps are our own (gen_dumps), so unpickling them is safe.
"""
import os
import pickle
import sys
import time

begin = time.perf_counter()
entries = pending = 0
for name in sorted(os.listdir(sys.argv[1])):
    with open(os.path.join(sys.argv[1], name), "rb") as f:
        dump = pickle.load(f)
    for e in dump["entries"]:
        entries += 1
        if e["state"] != "completed":
            pending += e["collective_seq_id"] > 0
print("entries=%d pending=%d seconds=%.4f" % (entries, pending, time.perf_counter() - begin))
