"""kdump-compressed dumps: what makedumpfile writes, and QEMU; flattened, split, incomplete, in every compression.

How it works: two bitmaps in front say which pages the machine has, and which of them are in the file. How many of the
latter come before a page is the number of its descriptor, which says where its bytes lie and how they are packed. So a
read is a look at a few words of the file, mapped, and one page that is unpacked. docs/adr/0013 says why no library does
this.

    a page is                        in the first bitmap    in the second    read gives
    no memory                        no                     no               MemoryReadError
    left out                         yes                    no               PageNotInDump
    there                            yes                    yes              its bytes; zeros are bytes too
    lost: incomplete, cut off        yes                    yes              PageNotInDump
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.abi.elf import MACHINES as ELF_MACHINES
from pagewalk.abi.kdump import INCOMPLETE, LEVELS, MACHINES, PACKED
from pagewalk.doors import printable, shortened
from pagewalk.errors import ImageFormatError, MemoryReadError, PageNotInDump, UnsupportedError
from pagewalk.memory.dumps.elf_notes import notes_of, vmcoreinfo_of
from pagewalk.memory.dumps.kdump_file import KdumpFile
from pagewalk.memory.files.pieces import Gone, Piece, PiecewiseMemory
from pagewalk.memory.files.unpackers import QUICK, UNPACKERS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

__all__ = ["Kdump"]

_ANY: Final = sum(PACKED)
_MANY: Final = 8
"""Pages that are looked up together."""
_GAPS: Final = 4
"""Ranges of other files that are told."""
_TOP: Final = 1 << 64
_NO_PAGE: Final = _TOP - 1
"""The number of no page: none is so high."""
_NO_MEMORY: Final = Gone(MemoryReadError, "the machine has no memory there")
_ELSEWHERE: Final = Gone(PageNotInDump, "the page is in another file of the split dump: give that too (--part FILE)")


class Kdump(PiecewiseMemory):
    """A kdump-compressed dump, read a page at a time.

    Args:
        paths: Its file; of a split dump all of its files, in any order.

    Raises:
        OSError: One cannot be opened.
        ImageFormatError: One is not what it claims to be, or they are not of one dump.
        UnsupportedError: The library that unpacks its pages is not here; a flattened file of something else.

    Attributes:
        cpus: The registers of each CPU that say where tables are, if its notes have them: those of QEMU's CPUs.
        vmcoreinfo: What the kernel says of itself.
        missing: What it does not have, in a sentence each.
        notes: That other files of it are not given.

    It claims to know where the machine had memory, whatever it leaves out of it (``holds_frames``, ``frames``).
    """

    holds_frames = True

    def __init__(self, paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> None:
        listed = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str) else [paths]
        if not listed:
            raise ImageFormatError("a dump of no files")
        self._split = sorted((KdumpFile(path) for path in listed), key=lambda one: (one.first, one.end))
        super().__init__([one.mapped for one in self._split])
        _refuse_strangers(self._split)
        first, header = self._split[0].file, self._split[0].header
        self._block = header.block
        self._turn = threading.Lock()
        self._unpackers = {flag: UNPACKERS[name]() for flag, name in PACKED.items() if header.status & flag}
        machine = ELF_MACHINES.get(MACHINES.get(header.machine, -1))
        notes = notes_of(bytes(first.read(*header.notes)), header.order, machine)
        self.cpus = notes.cpus
        self.vmcoreinfo = vmcoreinfo_of(bytes(first.read(*header.vmcoreinfo))) or notes.vmcoreinfo
        self._left_out = Gone(PageNotInDump, f"the dump leaves the page out ({_named(header.level)})")
        self.missing = tuple(self._missing())
        self.notes = tuple(_elsewhere(self._split))

    @property
    def extents(self) -> npt.NDArray[np.uint64]:
        """Where there is memory in the dump: not what was left out, nor what was lost. Shape (runs, 2), uint64."""
        self._check(0, 0)
        return self._extents

    @cached_property
    def frames(self) -> npt.NDArray[np.uint64]:
        """Where the machine had memory, left out or not. Shape (runs, 2), uint64."""
        self._check(0, 0)
        return self._split[0].machine.runs() * np.uint64(self._block)

    @cached_property
    def _extents(self) -> npt.NDArray[np.uint64]:
        runs = np.concatenate([one.runs() for one in self._split]) * np.uint64(self._block)
        joined = np.flatnonzero(runs[1:, 0] == runs[:-1, 1])
        return np.stack([np.delete(runs[:, 0], joined + 1), np.delete(runs[:, 1], joined)], axis=1)

    def _at_once(self, paddrs: list[int], size: int) -> dict[int, bytes]:
        """Whole pages, looked up together; those that are odd in any way are not among them."""
        if size != self._block or len(paddrs) < _MANY or min(paddrs) < 0 or max(paddrs) >= _TOP:
            return {}
        found = self._kept_of([paddr // size for paddr in paddrs])
        missing = np.array([paddr for paddr in paddrs if paddr % size == 0 and paddr // size not in found], np.uint64)
        new: dict[int, Piece] = {}
        for one in self._split:
            new |= self._sound_of(one, missing // np.uint64(size))
        self._keep(new)
        return {piece.start: piece.data for piece in (*found.values(), *new.values())}

    def _sound_of(self, one: KdumpFile, pages: npt.NDArray[np.uint64]) -> dict[int, Piece]:
        """Those of some pages that a file has and that are sound, by number."""
        places, rows = one.sound(pages)
        flags, found = rows["flags"] & _ANY, {}
        for flag in np.unique(flags).tolist():
            mine = flags == flag
            unpacked = self._all_unpacked(one, rows[mine], flag & -flag)
            for number, page in zip(pages[places[mine]].tolist(), unpacked, strict=False):
                found[number] = Piece(number * self._block, page)
        return found

    def _filled(self, paddrs: list[int], size: int, buffer: memoryview) -> list[bool]:
        """Whole pages, unpacked where they are wanted; those that are odd in any way are not among them."""
        there = [False] * len(paddrs)
        if size != self._block or min(paddrs) < 0 or max(paddrs) >= _TOP:
            return there
        asked = np.array(paddrs, np.uint64)
        pages = np.where(asked % np.uint64(size) == 0, asked // np.uint64(size), np.uint64(_NO_PAGE))
        for one in self._split:
            places, rows = one.sound(pages)
            flags = rows["flags"] & _ANY
            for flag in np.unique(flags).tolist():
                mine = flags == flag
                self._fill(one, rows[mine], flag & -flag, places[mine].tolist(), buffer, there)
        self._pass(sum(there))
        return there

    def _fill(
        self,
        one: KdumpFile,
        rows: npt.NDArray[np.void],
        flag: int,
        places: list[int],
        buffer: memoryview,
        there: list[bool],
    ) -> None:
        """Unpack pages that are packed alike, up to the first that is damaged: whoever looks at it alone says more."""
        data, size = one.file.read(0, one.file.size), self._block
        starts, ends = rows["offset"], rows["offset"] + rows["size"]
        turn = self._turn if PACKED.get(flag) in QUICK else nullcontext()
        with turn, suppress(Exception):  # each library has its own; and a page of another size does not fit
            unpack = self._unpacker(flag)
            for place, at, end in zip(places, starts.tolist(), ends.tolist(), strict=True):
                buffer[place * size : (place + 1) * size] = unpack(data[at:end], size)
                there[place] = True

    def _all_unpacked(self, one: KdumpFile, rows: npt.NDArray[np.void], flag: int) -> list[bytes]:
        """Pages that are packed alike. None of them if one is damaged: whoever looks at each alone says which."""
        data, size = one.file.read(0, one.file.size), self._block
        starts, ends = rows["offset"], rows["offset"] + rows["size"]
        try:
            unpack = self._unpacker(flag)
            pages = [bytes(unpack(data[at:end], size)) for at, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        except Exception:  # each library has its own
            return []
        return pages if all(len(page) == size for page in pages) else []

    def _missing(self) -> Iterator[str]:
        """What is not in the dump."""
        first = self._split[0]
        had, has = first.machine.count(), first.dumped.count()
        if has < had:
            yield f"{had - has:,} of the machine's {had:,} pages are left out of it ({_named(first.header.level)})"
        for one in self._split:
            if one.header.status & INCOMPLETE:
                yield f"{one.mapped.path} is incomplete: its maker could not write all of it"
            if one.cut_off:
                yield f"{one.mapped.path} is cut off, at {one.mapped.size:#x} bytes"
        if not self.cpus:
            yield "it has no registers that say where page tables are: give --root or --registers"
        if not self.vmcoreinfo:
            yield "it has no VMCOREINFO"

    def _number(self, paddr: int) -> int | Gone:
        page = paddr // self._block
        one = self._file(page)
        if page >= len(one.dumped):
            return _NO_MEMORY
        if not one.dumped[page]:
            return self._left_out if one.machine[page] else _NO_MEMORY
        return page if one.first <= page < one.end else _ELSEWHERE

    def _file(self, page: int) -> KdumpFile:
        """The file that has a page, if any has."""
        split = self._split
        return split[0] if len(split) == 1 else next((one for one in split if page < one.end), split[-1])

    def _unpacked(self, number: int) -> Piece | Gone:
        one = self._file(number)
        packed = one.packed(number)
        if isinstance(packed, Gone):
            return packed
        data, flag = one.file.read(packed.offset, packed.size), packed.flags & _ANY
        try:
            page = bytes(self._unpacker(flag & -flag)(data, self._block))
        except UnsupportedError:
            raise
        except Exception as error:  # each library has its own
            return Gone(MemoryReadError, f"the page is damaged in the dump: {shortened(printable(str(error)))}")
        if len(page) != self._block:
            return Gone(MemoryReadError, f"the page is damaged in the dump: it is of {len(page):#x} bytes")
        return Piece(number * self._block, page)

    def _unpacker(self, flag: int) -> Callable[[Any, int], bytes]:
        """What unpacks a page of such a flag; of none, it lies as it is."""
        if not flag:
            return _as_it_is
        if flag not in self._unpackers:  # the header did not tell of it
            self._unpackers[flag] = UNPACKERS[PACKED[flag]]()
        return self._unpackers[flag]


def _as_it_is(data: Any, _: int) -> Any:
    """A page that is not packed, in place."""
    return data


def _refuse_strangers(files: list[KdumpFile]) -> None:
    """Refuse files that are not of one dump.

    Raises:
        ImageFormatError: They differ in what they are of, or the same page is in two of them.
    """
    for low, high in pairwise(files):
        if low.shape != high.shape or not low.header.pages or not high.header.pages:
            raise ImageFormatError(f"{high.mapped.path}: not of the same split dump as {low.mapped.path}")
        if high.first < low.end:
            raise ImageFormatError(f"{high.mapped.path}: has pages that {low.mapped.path} has too: is it given twice?")


def _elsewhere(files: list[KdumpFile]) -> Iterator[str]:
    """Which pages of a split dump are in files that are not given."""
    dumped, edges = (
        files[0].dumped,
        [0, *(edge for one in files for edge in (one.first, one.end)), len(files[0].dumped)],
    )
    gaps = [
        (low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if dumped.rank(high) > dumped.rank(low)
    ]
    if gaps:
        block = files[0].header.block
        where = " and ".join(f"[{low * block:#x}, {high * block:#x})" for low, high in gaps[:_GAPS])
        yield f"it is split, and what it has of {where} is in other files: give those too (--part FILE, or a list)"


def _named(level: int) -> str:
    """What a level leaves out."""
    return f"level {level}: {', '.join(name for bit, name in LEVELS.items() if level & bit) or 'it does not say why'}"
