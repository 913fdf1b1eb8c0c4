"""What the file system below the daemon was asked for, in order.

The format is fuse/src/test/java/io/pgveil/fuse/RecordedFileSystem.java's.
"""

import collections
import mmap
import os
import struct

HEADER = struct.Struct(">cqqqqI")

Record = collections.namedtuple("Record", "end op a b c d data")  # end: position behind it

# where something is decided: a cut near one of them says more than one between two writes of data
DECISIVE = b"CDURNLTFYZ"


class Recording:
    def __init__(self, path):
        self.size = os.path.getsize(path)
        with open(path, "rb") as f:
            self.bytes = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)

    def __iter__(self):
        at = 0
        view = memoryview(self.bytes)
        while at < self.size:
            op, a, b, c, d, length = HEADER.unpack_from(view, at)
            data = at + HEADER.size
            at = data + length
            yield Record(at, op, a, b, c, d, view[data:at])

    def positions(self, since):
        """(all, decisive): the ends of records behind a position."""
        every, decisive = [], []
        at = 0
        while at < self.size:
            op, *_, length = HEADER.unpack_from(self.bytes, at)
            at += HEADER.size + length
            if at > since:
                every.append(at)
                if op in DECISIVE:
                    decisive.append(at)
        return every, decisive


def text(data):
    return bytes(data).decode("iso-8859-1")
