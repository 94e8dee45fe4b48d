#!/usr/bin/env python3
"""Give the segments of a ring another boot id, with a right check: other_boot.py DIR.  Once; again changes nothing."""
import glob
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from capture_ring import crc32c

BOOT_ID, CRC, OTHER = 24, 252, bytes(range(16))

for path in glob.glob(os.path.join(sys.argv[1], "*.tcr")):
    with open(path, "r+b") as f:
        head = bytearray(f.read(256))
        if not any(head[:8]) or head[BOOT_ID:BOOT_ID + 16] == OTHER:
            continue
        head[BOOT_ID:BOOT_ID + 16] = OTHER
        head[CRC:] = struct.pack("<I", crc32c(bytes(head[:CRC])))
        f.seek(0)
        f.write(head)
