"""kdump-compressed files made page by page, in all forms: the opposite of what reads them, and none of its code."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cramjam
import lzallright

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 4096
PACKERS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "raw": (0, bytes),
    "zlib": (1, lambda page: zlib.compress(page, 1)),
    "lzo": (2, lambda page: bytes(lzallright.LZOCompressor().compress(page))),
    "snappy": (4, lambda page: bytes(cramjam.snappy.compress_raw(page))),
    "zstd": (0x20, lambda page: bytes(cramjam.zstd.compress(page))),
}


@dataclass
class Dump:
    """What a file is to hold.

    Attributes:
        pages: The bytes of each page that is in it, by number.
        machine: The numbers of pages that the machine has beside these.
        packing, level, status, order, bits, name: What its headers say; ``name`` is the machine's.
        split: The pages that the file is of, ``[first, end)``.
        vmcoreinfo, notes: Their bytes.
        lost: Pages whose descriptor is all zeros: the disk was full.
        limit: Pages that the bitmaps have bits for, at least.
    """

    pages: dict[int, bytes]
    machine: frozenset[int] = frozenset()
    packing: str = "zlib"
    level: int = 0
    status: int = 0
    order: str = "<"
    bits: int = 64
    name: bytes = b"x86_64"
    split: tuple[int, int] | None = None
    vmcoreinfo: bytes = b""
    notes: bytes = b""
    lost: frozenset[int] = frozenset()
    limit: int = 1
    block: int = PAGE
    single: bool = False
    damage: dict[int, bytes] = field(default_factory=dict)

    def but(self, **other: object) -> Dump:
        return replace(self, **other)  # type: ignore[arg-type]


def _bitmap(numbers: set[int], blocks: int, block: int) -> bytes:
    data = bytearray(blocks * block)
    for number in numbers:
        data[number >> 3] |= 1 << (number & 7)
    return bytes(data)


def _sub(dump: Dump, where: int, pages: int) -> bytes:
    first, end = dump.split or (0, 0)
    info = (where, len(dump.vmcoreinfo)) if dump.vmcoreinfo else (0, 0)
    notes = (where + len(dump.vmcoreinfo), len(dump.notes))
    split = int(dump.split is not None)
    tail = (first, end, pages)
    if dump.bits == 64:
        return struct.pack(f"{dump.order}Qii12Q", 0, dump.level, split, first, end, *info, *notes, 0, 0, *tail, 0)[:104]
    if dump.name == b"i686":
        return struct.pack(f"{dump.order}IiiIIQIQI12x3Q", 0, dump.level, split, first, end, *info, *notes, *tail)
    return struct.pack(f"{dump.order}IiiII4xQI4xQI4x16x3Q", 0, dump.level, split, first, end, *info, *notes, *tail)


def written(dump: Dump) -> bytes:
    """The file."""
    order, block, flag = dump.order, dump.block, PACKERS[dump.packing][0]
    pages = max([*dump.pages, *dump.machine, dump.limit - 1]) + 1
    blocks = -(-pages // (8 * block))
    bitmaps = _bitmap({*dump.pages, *dump.machine}, blocks, block) + _bitmap(set(dump.pages), blocks, block)
    if dump.single:
        bitmaps = bitmaps[blocks * block :]
    names = b"".join(name.ljust(65, b"\0") for name in (b"Linux", b"test", b"6.0", b"#1", dump.name, b""))
    head = struct.pack(f"{order}8si", b"KDUMP   ", 6) + names + bytes(22 if dump.bits == 64 else 10)
    head += struct.pack(f"{order}IiiIIIIIIi", dump.status | flag, block, 1, len(bitmaps) // block, pages, 0, 0, 0, 0, 1)
    sub = _sub(dump, block + 256, pages).ljust(256, b"\0") + dump.vmcoreinfo + dump.notes
    assert len(sub) <= block
    body = bytearray(head.ljust(block, b"\0") + sub.ljust(block, b"\0") + bitmaps)
    first, end = dump.split or (0, pages)
    return bytes(body + _data({at: dump.pages[at] for at in sorted(dump.pages) if first <= at < end}, dump, len(body)))


def _data(pages: dict[int, bytes], dump: Dump, start: int) -> bytes:
    """Descriptors and pages; those of zeros share one."""
    flag, pack = PACKERS[dump.packing]
    descriptors, data, zeros = b"", bytearray(), b""
    start += 24 * len(pages)
    for number, page in pages.items():
        packed = dump.damage.get(number) or pack(page)
        how = flag
        if len(packed) >= dump.block and number not in dump.damage:
            packed, how = page, 0
        descriptor = struct.pack(f"{dump.order}QIIQ", start + len(data), len(packed), how, 0)
        if number in dump.lost:
            descriptor = bytes(24)
        elif not any(page) and zeros:
            descriptor = zeros
        else:
            data += packed
            zeros = descriptor if not any(page) else zeros
        descriptors += descriptor
    return descriptors + bytes(data)


def flattened(data: bytes, seed: int = 1, *, most: int = 9000, end: bool = True, again: int = 0) -> bytes:
    """A file as blocks of all sizes, in no order; some of them come first as something else, and then right."""
    rng = random.Random(seed)
    blocks, at = [], 0
    while at < len(data):
        size = min(rng.randrange(1, most), len(data) - at)
        blocks.append((at, data[at : at + size]))
        at += size
    rng.shuffle(blocks)
    wrong = [(max(0, at - 3), bytes(rng.randbytes(len(part) + 3))) for at, part in rng.sample(blocks, again)]
    blocks = wrong + blocks
    out = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")
    for at, part in blocks:
        out += struct.pack(">qq", at, len(part)) + part
    return out + (struct.pack(">qq", -1, -1) if end else b"")
