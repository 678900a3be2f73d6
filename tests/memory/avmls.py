"""AVML images of version 2, made as AVML makes them; ``cramjam`` packs by the library that AVML has."""

from __future__ import annotations

import struct

import cramjam

BLOCK = 16 << 20
STREAM = b"\xff\x06\x00\x00sNaPpY"


def block(start: int, stream: bytes, size: int) -> bytes:
    """A block with a stream as it is."""
    return struct.pack("<4sIQQQ", b"AVML", 2, start, start + size - 1, 0) + stream + struct.pack("<Q", len(stream))


def avml(ranges: dict[int, bytes]) -> bytes:
    """An image of ranges of RAM, by where they start. Blocks of zeros are left out."""
    out = []
    for start, data in ranges.items():
        for at in range(0, len(data), BLOCK):
            part = data[at : at + BLOCK]
            if any(part):
                out.append(block(start + at, bytes(cramjam.snappy.compress(part)), len(part)))
    return b"".join(out)
