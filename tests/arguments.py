"""Every public function that takes numbers, each number by its name; and what people give in a number's place."""

from __future__ import annotations

import math
import mmap as real_mmap
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

import pagewalk as pw
from pagewalk import live
from tests.mm.fuzz import Tank
from tests.world import PAGE, G, K, M, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CALLS", "NOT_INTEGERS", "OPTIONAL", "WIDE", "Call", "spellings"]

BASE = 0x4000_0000
HUGE: Any = np.uint64(2 * M)
NOT_INTEGERS: tuple[Any, ...] = (
    *(4096.0, 4096.5, math.nan, math.inf, 1j, Decimal(4096), np.float64(4096), np.datetime64(4096, "s")),
    *("4096", "", b"4096", [4096], [[4096]], (4096,), {}, object(), np.array([4096]), np.array(4096.0)),
    *(True, False, np.True_),
)
"""What is no integer, and is refused wherever one is meant."""
WIDE = (-1, -PAGE, 2**31, 2**63, 2**64 - PAGE, 2**64 - 1, 2**64, 2**64 + PAGE, 2**300, 10**5000)
"""Integers that are hardly ever right: right or not, they do not end in an error that nobody foresaw."""
OPTIONAL = {"mappings": ("start", "end"), "holes": ("start", "end"), "mappings_where": ("limit",)} | {
    "walk_page_range_novma": ("root",)
}
"""Numbers that may be None."""
NUMPY = (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


def spellings(value: int) -> Iterator[Any]:
    """An integer as NumPy has it: in the narrowest width that holds it, and in the widest; and as an array of none."""
    fitting = [kind for kind in NUMPY if np.iinfo(kind).min <= value <= np.iinfo(kind).max]
    for kind in dict.fromkeys([*fitting[:1], *fitting[-2:]]):
        yield kind(value)
    if -(1 << 63) <= value < 1 << 64:
        yield np.array(value, np.int64 if value < 1 << 63 else np.uint64)


@dataclass(frozen=True)
class Call:
    """One public function.

    Attributes:
        name: For messages.
        stage: Makes what it is called on.
        call: ``call(stage, **numbers)``; what it gives must be comparable.
        numbers: Good ones, by name.
        state: What to look at afterwards: what was called on, as something comparable.
        close: Checks what is left, and puts it away.
    """

    name: str
    stage: Callable[[], Any]
    call: Callable[..., Any]
    numbers: dict[str, int]
    state: Callable[[Any], Any] = lambda stage: None
    close: Callable[[Any], None] = lambda stage: None

    def __str__(self) -> str:
        return self.name


CALLS: list[Call] = []


def _add(stage: Callable[[], Any], more: dict[str, Any], **calls: tuple[Callable[..., Any], dict[str, int]]) -> None:
    CALLS.extend(Call(name, stage, call, numbers, **more) for name, (call, numbers) in calls.items())


def _rows(rows: Any) -> Any:
    return rows.tolist() if isinstance(rows, np.ndarray) else rows


# -- memories, frames ----------------------------------------------------------------------------------------------


def _contents(memory: Any) -> Any:
    return memory.read(0, 16 * K)


def _ram() -> Any:
    ram = pw.Ram(16 * K)
    ram.write(4 * K, bytes(range(256)) * 16)
    return ram


_add(
    _ram,
    {"state": _contents},
    Ram=(lambda ram, size, base: repr(pw.Ram(size, base)), {"size": 8 * K, "base": 4 * K}),
    FlatMemory=(lambda ram, start: repr(pw.FlatMemory([(start, b"abc")])), {"start": 4 * K}),  # type: ignore[list-item]
    read=(lambda ram, paddr, size: ram.read(paddr, size), {"paddr": 4 * K + 3, "size": 7}),
    view=(lambda ram, paddr, size: bytes(ram.view(paddr, size) or b"none"), {"paddr": 4 * K + 3, "size": 7}),
    write=(lambda ram, paddr: ram.write(paddr, b"abc"), {"paddr": 4 * K}),
    CachedMemory=(lambda ram, tables: repr(pw.CachedMemory(ram, tables=tables)), {"tables": 8}),
    CachedMemory_read=(
        lambda ram, paddr, size: pw.CachedMemory(ram).read(paddr, size),
        {"paddr": 4 * K + 3, "size": 5 * K},
    ),
    CachedMemory_write=(lambda ram, paddr: pw.CachedMemory(ram).write(paddr, b"abc"), {"paddr": 4 * K}),
    RangeAllocator=(
        lambda ram, start, end, frame_size: pw.RangeAllocator((start, end), frame_size=frame_size).allocate(),
        {"start": 8 * K, "end": 16 * K, "frame_size": 4 * K},
    ),
    RangeAllocator_free=(lambda ram, paddr: _with_one_frame().free(paddr), {"paddr": 4 * K}),
    allocate_many=(lambda ram, count: _with_one_frame().allocate_many(count), {"count": 2}),
    CountingAllocator=(
        lambda ram, fail_at: pw.CountingAllocator(_with_one_frame(), [fail_at]).allocate(),
        {"fail_at": 2},
    ),
    Vma=(
        lambda ram, **numbers: vars(pw.Vma(**numbers)),
        {"start": BASE, "end": BASE + PAGE, "flags": 3, "offset": PAGE, "huge_page_size": 0},
    ),
    Mapping=(lambda ram, page_size: pw.Mapping("x", page_size).page_size, {"page_size": PAGE}),
    Mapping_overlapping=(
        lambda ram, start, end: list(pw.Mapping("x").overlapping(start, end)),
        {"start": 0, "end": PAGE},
    ),
)


def _with_one_frame() -> pw.RangeAllocator:
    allocator = pw.RangeAllocator((4 * K, 64 * K))
    allocator.allocate()
    return allocator


# -- tables --------------------------------------------------------------------------------------------------------


@dataclass
class _Tables:
    world: World = field(default_factory=lambda: World(ram=1 * M))

    def __post_init__(self) -> None:
        self.world.map(BASE, 64 * K)
        self.world.map(BASE + PAGE, 68 * K)
        self.world.map(BASE + G, 2 * M, depth=3)
        self.mapping = pw.Mapping("file")
        self.vma = self.world.vma(BASE, BASE + 64 * K, mapping=self.mapping)

    @property
    def tables(self) -> pw.PageTables:
        return self.world.tables

    def walked(self, walk: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any]:
        seen: list[Any] = []
        ops = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: seen.append((addr, next_, entry.value)))
        return [walk(*arguments, ops, **options), seen]

    def set(self, value: Any) -> None:
        self.world.entry(BASE).value = value

    def grow(self, vaddr: Any) -> None:
        (entry,) = self.tables.steps(2 * G << 10)
        self.tables.grow(entry, vaddr)


_RANGE = {"start": BASE, "end": BASE + 64 * K}
_add(
    _Tables,
    {"state": lambda stage: (stage.world.memory.read(0, 64 * K), sorted(stage.world.frames.outstanding))},
    PageTables=(lambda t, root: repr(pw.PageTables(t.world.memory, root)), {"root": 8 * K}),
    translate=(lambda t, vaddr: t.tables.translate(vaddr)[:5], {"vaddr": BASE + 5}),
    tables_read=(lambda t, vaddr, size: t.tables.read(vaddr, size), {"vaddr": BASE + 5, "size": 6 * K}),
    steps=(lambda t, vaddr: [repr(entry) for entry in t.tables.steps(vaddr)], {"vaddr": BASE}),
    Entry_value=(lambda t, value: t.set(value), {"value": 68 * K | 7}),
    AddressSpace=(
        lambda t, frame: sorted(pw.AddressSpace(t.tables, zero_frames=[frame]).zero_frames),
        {"frame": 4 * K},
    ),
    folio_walk=(lambda t, addr: repr(pw.folio_walk(t.vma, addr)), {"addr": BASE + 5}),
    walk_page_range=(lambda t, start, end: t.walked(pw.walk_page_range, t.world.space, start, end), _RANGE),
    walk_page_range_vma=(lambda t, start, end: t.walked(pw.walk_page_range_vma, t.vma, start, end), _RANGE),
    walk_page_range_novma=(
        lambda t, start, end, root: t.walked(pw.walk_page_range_novma, t.tables, start, end, root=root),
        _RANGE | {"root": 0},
    ),
    walk_page_range_novma_upper_half=(
        lambda t, start, end: t.walked(pw.walk_page_range_novma, t.tables, start, end),
        {"start": (1 << 64) - 2 * M, "end": (1 << 64) - PAGE},
    ),
    walk_page_mapping=(
        lambda t, first_index, nr: t.walked(pw.walk_page_mapping, t.mapping, first_index, nr),
        {"first_index": 0, "nr": 2},
    ),
    mappings=(lambda t, start, end: _rows(pw.mappings(t.tables, start, end)), _RANGE),
    mappings_where=(
        lambda t, kind, size, **bits: _rows(pw.mappings(t.tables, kinds=[kind], page_sizes=[size], **bits)),
        {"kind": 1, "size": PAGE, "having": 1, "lacking": 1 << 6, "limit": 1 << 20},
    ),
    mappings_frames=(
        lambda t, low, high: _rows(pw.mappings(t.tables, frames=(low, high))),
        {"low": 68 * K, "high": 72 * K},
    ),
    holes=(lambda t, start, end: _rows(pw.holes(t.tables, start, end)), _RANGE),
    pw_translate=(lambda t, vaddr: [_rows(part) for part in pw.translate(t.tables, [0, vaddr])], {"vaddr": BASE + 5}),
)

# -- the machine ---------------------------------------------------------------------------------------------------


class _Machine:
    """A machine with a process that has some memory, and a file."""

    def __init__(self) -> None:
        self.tank = Tank(pw.Machine(2 * M, swap=64 * K))
        self.machine = self.tank.machine
        self.file = self.tank.file("file", 0, b"contents" * 1024)
        self.mm = self.tank.mm()
        self.mm.mmap(64 * K, 7, pw.MAP_PRIVATE | pw.MAP_ANONYMOUS | pw.MAP_FIXED, addr=BASE)
        self.mm.mmap(2 * PAGE, 3, pw.MAP_SHARED | pw.MAP_FIXED, addr=BASE + M, file=self.file)
        self.mm.write(BASE, b"x" * 8 * K)
        self.mm.read(BASE + M, 1)

    def state(self) -> Any:
        maps = [(vma.start, vma.end, int(vma.flags), vma.offset) for vma in self.mm.vmas]
        return maps, self.mm.pagemap(BASE, BASE + 2 * M).tolist(), self.machine.usage(), self.file.size

    def close(self) -> None:
        """The books are right, and all frames come back."""
        self.tank.check()
        self.tank.empty()


def _uffd(stage: _Machine, addr: Any, length: Any) -> None:
    stage.mm.register_wp(BASE, 64 * K)
    stage.mm.writeprotect(addr, length, protect=True)


_PART = {"addr": BASE + PAGE, "length": 2 * PAGE}
_add(
    _Machine,
    {"state": _Machine.state, "close": _Machine.close},
    Machine=(
        lambda s, ram, swap, pages: repr(pw.Machine(ram, swap=swap, hugetlb={HUGE: pages})),
        {"ram": 4 * M, "swap": 64 * K, "pages": 1},
    ),
    machine_file=(lambda s, size: s.machine.file(size=size).size, {"size": 8 * K}),
    truncate=(lambda s, size: s.machine.truncate(s.file, size), {"size": PAGE}),
    punch_hole=(
        lambda s, offset, length: s.machine.punch_hole(s.file, offset, length),
        {"offset": 0, "length": PAGE},
    ),
    file_read=(lambda s, offset, size: s.file.read(offset, size), {"offset": 3, "size": 8}),
    file_write=(lambda s, offset: s.file.write(offset, b"data"), {"offset": PAGE}),
    mmap=(
        lambda s, **numbers: s.mm.mmap(**numbers),
        {"length": 8 * K, "prot": 3, "flags": pw.MAP_PRIVATE | pw.MAP_ANONYMOUS, "addr": 16 * M, "offset": 0},
    ),
    mmap_file=(
        lambda s, length, offset: s.mm.mmap(length, 3, pw.MAP_SHARED, file=s.file, offset=offset),
        {"length": 4 * K, "offset": PAGE},
    ),
    munmap=(lambda s, addr, length: s.mm.munmap(addr, length), _PART),
    mseal=(lambda s, addr, length, flags: s.mm.mseal(addr, length, flags), _PART | {"flags": 0}),
    pagemap_scan=(
        lambda s, start, end, flags, most, mask, vector: s.mm.pagemap_scan(
            start, end, flags, most, mask=mask, vector=vector
        ),
        {"start": BASE, "end": BASE + 4 * PAGE, "flags": 0, "most": 0, "mask": 0, "vector": 4},
    ),
    mlockall=(lambda s, flags: s.mm.mlockall(flags), {"flags": 3}),
    uffdio_register=(
        lambda s, addr, length, mode, features: s.mm.uffdio_register(addr, length, mode, features),
        _PART | {"mode": 2, "features": 0x2000},
    ),
    mprotect=(lambda s, addr, length, prot: s.mm.mprotect(addr, length, prot), _PART | {"prot": 1}),
    mremap=(
        lambda s, addr, old, new, flags, to: s.mm.mremap(addr, old, new, flags, to),
        {"addr": BASE, "old": 64 * K, "new": 128 * K, "flags": 3, "to": 32 * M},
    ),
    mlock=(lambda s, addr, length, flags: s.mm.mlock(addr, length, flags), _PART | {"flags": 1}),
    munlock=(lambda s, addr, length: s.mm.munlock(addr, length), _PART),
    madvise=(
        lambda s, addr, length, advice: s.mm.madvise(addr, length, advice),
        _PART | {"advice": pw.MADV_GUARD_INSTALL},
    ),
    process_madvise=(
        lambda s, addr, length, advice: s.mm.process_madvise([(addr, length)], advice),
        _PART | {"advice": pw.MADV_DONTNEED},
    ),
    writeprotect=(_uffd, _PART),
    msync=(lambda s, addr, length, flags: s.mm.msync(addr, length, flags), _PART | {"flags": 4}),
    mincore=(lambda s, addr, length: s.mm.mincore(addr, length), _PART),
    mm_read=(lambda s, vaddr, size: s.mm.read(vaddr, size), {"vaddr": BASE + 5, "size": 4 * K}),
    mm_write=(lambda s, vaddr: s.mm.write(vaddr, b"written"), {"vaddr": BASE + 4090}),
    execute=(lambda s, vaddr: s.mm.execute(vaddr), {"vaddr": BASE}),
    touch=(lambda s, vaddr, size: len(s.mm.touch(vaddr, size)), {"vaddr": BASE, "size": 16 * K}),
    kernel_read=(lambda s, vaddr, size: s.mm.kernel_read(vaddr, size), {"vaddr": BASE + 5, "size": 4 * K}),
    kernel_write=(lambda s, vaddr: s.mm.kernel_write(vaddr, b"written"), {"vaddr": BASE + 4090}),
    pagemap=(lambda s, start, end: _rows(s.mm.pagemap(start, end)), _RANGE),
    scan=(lambda s, start, end: _rows(s.mm.scan(start, end)), _RANGE),
)


# -- the running kernel --------------------------------------------------------------------------------------------


def _own_pages() -> Any:
    memory = real_mmap.mmap(-1, 2 * PAGE)
    return memory, np.frombuffer(memory, np.uint8).ctypes.data


_OWN, _AT = _own_pages()
_add(
    lambda: None,
    {},
    live_scan=(lambda s, pid, start, end: len(live.scan(pid, start, end)), {"pid": 0, "start": _AT, "end": _AT + PAGE}),
    live_madvise=(
        lambda s, addr, length, advice: live.madvise(addr, length, advice),
        {"addr": _AT, "length": PAGE, "advice": 0},
    ),
    read_pagemap=(
        lambda s, pid, start, end: len(live.read_pagemap(pid, [start], [end])),
        {"pid": 0, "start": _AT, "end": _AT + PAGE},
    ),
)
