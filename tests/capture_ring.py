"""A ring as bundle/segment.h says, written without the recorder: what its readers are tested on."""
import os
import struct

STREAMS = ["kernel", "bpf", "gpu", "host", "proc", "nccl", "logs"]
KMSG, SOURCE, PROCESS, LOG_FILE, LOG_BYTES = 16, 2, 160, 192, 193

_table = []
for _i in range(256):
    _c = _i
    for _ in range(8):
        _c = _c >> 1 ^ (0x82f63b78 if _c & 1 else 0)
    _table.append(_c)


def crc32c(*pieces):
    c = 0xffffffff
    for data in pieces:
        for b in data:
            c = c >> 8 ^ _table[(c ^ b) & 255]
    return c ^ 0xffffffff


class Segment:
    """One file of the ring; records are (kind, payload)."""

    def __init__(self, stream, index=0, boot_id=bytes(range(16)), host="lapwing-03", realtime_ns=1_800_000_000 * 10**9,
                 monotonic_ns=10**12, first_seq=1, size=65536):
        self.stream, self.index, self.size, self.nonce = STREAMS.index(stream), index, size, 0x1234567890 + index
        self.realtime_ns, self.monotonic_ns, self.seq = realtime_ns, monotonic_ns, first_seq
        head = struct.pack("<8sHHBBHII16sqqqQQQ64s96sI", b"TCRSEG\r\n", 1, 256, self.stream, 0, index, size, 4242, boot_id,
                           realtime_ns, monotonic_ns, monotonic_ns, first_seq, 0, self.nonce, host.encode(), b"", 0)
        self.data = head + struct.pack("<I", crc32c(head))

    def add(self, kind, payload, seconds=0.0):
        commit = 0x80000000 | len(payload)
        tail = struct.pack("<QqHBBI", self.seq, self.monotonic_ns + int(seconds * 1e9), kind, self.stream, 0, 0)
        crc = crc32c(struct.pack("<Q", self.nonce), tail, struct.pack("<I", commit), payload)
        self.data += struct.pack("<II", commit, crc) + tail + payload + bytes(-len(payload) % 8)
        self.seq += 1
        return self

    def save(self, folder):
        os.makedirs(folder, exist_ok=True)
        name = "%s-%02d.tcr" % (STREAMS[self.stream], self.index)
        with open(os.path.join(folder, name), "wb") as f:
            f.write(self.data.ljust(self.size, b"\0"))
        return name


def log_file(number, path, device, inode, rank=-1):
    return struct.pack("<IiQQII", number, rank, device, inode, 0, 0) + path.encode()


def log_bytes(number, offset, data, masked=0):
    return struct.pack("<IIQ", number, masked, offset) + data
