"""A guest's memory cut down to what lists of its processes take: ``python -m tests.cut RAM BASE OUT``.

The pages that are read while processes are listed and opened are kept, but for those of the user's own data. Of the
kernel's types (BTF) only the structures that are asked for are kept, and what they are made of, in the same place.

A cut image is compressed (xz): the number of pages, their addresses, 8 bytes each, and the pages.
"""

from __future__ import annotations

import lzma
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pagewalk as pw
from pagewalk.memory import Segment, extents_of
from pagewalk.sources.linux import btf as kinds
from pagewalk.sources.linux.btf import HEADER, MAGIC, SMALLEST, Btf

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PAGE", "memory_of", "packed", "unpacked"]

PAGE: Final = 4096
STRUCTURES: Final = (
    "task_struct", "signal_struct", "mm_struct", "vm_area_struct", "file", "inode", "vm_special_mapping", "dentry",
    "anon_vma_name", "maple_tree", "maple_range_64", "maple_arange_64", "maple_node", "mount", "vfsmount", "nsproxy",
    "uts_namespace", "pt_regs",
)  # fmt: skip
FUNCTIONS: Final = (
    "make_device_exclusive",
    "make_device_exclusive_range",
    "migrate_vma_setup",
    "memory_failure",
    "migrate_pages",
)
LARGE: Final = 1 << 16
"""What is read in one go and has more bytes is BTF."""


def packed(pages: dict[int, bytes]) -> bytes:
    """Pages by physical address, as a cut image before it is compressed."""
    addresses = sorted(pages)
    head = struct.pack(f"<Q{len(addresses)}Q", len(addresses), *addresses)
    return head + b"".join(pages[at] for at in addresses)


def unpacked(data: bytes) -> dict[int, bytes]:
    """What ``packed`` made one of."""
    (many,) = struct.unpack_from("<Q", data)
    addresses = struct.unpack_from(f"<{many}Q", data, 8)
    first = 8 + 8 * many
    return {at: data[first + PAGE * i : first + PAGE * (i + 1)] for i, at in enumerate(addresses)}


class Recorded:
    """A memory that knows which pages were asked for."""

    def __init__(self, memory: pw.FlatMemory) -> None:
        self.memory = memory
        self.extents = extents_of(memory)
        self.pages: set[int] = set()

    def read(self, paddr: int, size: int) -> bytes:
        data = self.memory.read(paddr, size)
        if size < LARGE:
            self.pages |= set(range(paddr // PAGE * PAGE, paddr + size, PAGE))
        return data

    def read_into(self, paddr: int, buffer: memoryview) -> None:
        """All bytes in passing, which are not noted."""
        buffer[:] = self.memory.read(paddr, len(buffer))


class Pruned:
    """Types of a kernel, without most of them."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._numbers: dict[int, int] = {}
        self._types: list[bytes] = []
        self._strings = bytearray(1)
        self._places: dict[str, int] = {"": 0}

    def text(self, offset: int) -> int:
        name = self._btf._string(offset) if offset else ""
        return self.spelled(name)

    def spelled(self, name: str) -> int:
        if name not in self._places:
            self._places[name] = len(self._strings)
            self._strings += name.encode("latin-1") + b"\0"
        return self._places[name]

    def add(self, number: int) -> int:
        """The new number of a type; 0, which is void, of what is only pointed to."""
        if not number:
            return 0
        if number in self._numbers:
            return self._numbers[number]
        self._types.append(b"")
        self._numbers[number] = mine = len(self._types)
        self._types[mine - 1] = self._made(number)
        return mine

    def _made(self, number: int) -> bytes:
        at, kind = int(self._btf._starts[number - 1]), int(self._btf._kinds[number - 1])
        name, info, size = (int(word) for word in self._btf._words[at : at + 3])
        words = [self.text(name), info, size]
        if kind in (kinds.STRUCT, kinds.UNION):
            for member in range(at + 3, at + 3 + 3 * (info & 0xFFFF), 3):
                called, type_, place = (int(word) for word in self._btf._words[member : member + 3])
                words += [self.text(called), self.add(type_), place]
        elif kind == kinds.ARRAY:
            words += [self.add(int(self._btf._words[at + 3])), 0, int(self._btf._words[at + 5])]
        elif kind == kinds.INT:
            words.append(int(self._btf._words[at + 3]))
        elif kind in kinds._NAMES:
            words[2] = self.add(size)
        elif kind == kinds.POINTER:
            words[2] = 0
        else:
            words[1] = info & ~0xFFFF  # an enumeration without its names
        return struct.pack(f"<{len(words)}I", *words)

    def function(self, name: str) -> None:
        self._types.append(struct.pack("<3I", self.spelled(name), kinds.FUNCTION << 24, 0))

    def data(self) -> bytes:
        types = b"".join(self._types)
        self._strings += bytes(max(SMALLEST - HEADER.size - len(types) - len(self._strings), 1))
        head = HEADER.pack(MAGIC, HEADER.size, 0, len(types), len(types), len(self._strings))
        return head + types + self._strings


def pruned(btf: Btf, structures: Iterable[str] = STRUCTURES) -> bytes:
    """BTF with some structures alone."""
    made = Pruned(btf)
    for name in structures:
        for number in btf._named(name, kinds.STRUCT):
            made.add(number)
    for name in FUNCTIONS:
        if btf.has_function(name):
            made.function(name)
    return made.data()


def cut(path: Path, base: int) -> dict[int, bytes]:
    """What is kept of a guest."""
    memory = pw.RawImage(path, base=base)
    recorded = Recorded(memory)
    source = pw.Source(str(path), "raw", recorded)
    rows = source.processes(cost=True, sweep=True)
    for row in rows[rows["root"] != 0]:
        if row["name"] == "many areas )(":
            continue
        space = source.space(int(row["pid"]))
        with suppress(pw.PagewalkError):
            space.tables.translate(0x1000_0000)
    (kernel,) = source.kept["kernels"].found
    pages = {at: memory.read(at, PAGE) for at in recorded.pages}
    place = _place_of(memory, kernel.btf)
    small = pruned(kernel.btf)
    end = -(-(place + len(small)) // PAGE) * PAGE
    first = place // PAGE * PAGE
    room = bytearray(end - first)
    room[place - first : place - first + len(small)] = small
    return pages | {first + at: bytes(room[at : at + PAGE]) for at in range(0, len(room), PAGE)}


def _place_of(memory: pw.FlatMemory, btf: Btf) -> int:
    """Where BTF lies."""
    (segment,) = memory.segments
    at = bytes(segment.data).find(btf._words.tobytes())
    return segment.start + at - HEADER.size


def memory_of(pages: dict[int, bytes]) -> pw.FlatMemory:
    """A memory with these pages alone, which can be written."""
    parts: list[tuple[int, bytearray]] = []
    for at in sorted(pages):
        if parts and parts[-1][0] + len(parts[-1][1]) == at:
            parts[-1][1].extend(pages[at])
        else:
            parts.append((at, bytearray(pages[at])))
    return pw.FlatMemory([Segment(at, memoryview(data)) for at, data in parts])


def main() -> None:
    """Cut an image."""
    path, base, out = sys.argv[1:]
    pages = cut(Path(path), int(base, 0))
    source = pw.Source("cut", "raw", memory_of(pages))
    print(f"{len(pages):,} pages; {len(source.processes(cost=True)):,} processes")
    Path(out).write_bytes(lzma.compress(packed(pages), preset=9))


if __name__ == "__main__":
    main()
