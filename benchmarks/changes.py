"""Changes to whole ranges: filling a hole, touching memory. pagewalk beside C and beside the running kernel.

The kernel does more than the others: it locks, accounts and clears pages that other processes may have used. Its
figures are there for comparison, they are no contest.
"""

from __future__ import annotations

import mmap
import resource
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import pagewalk as pw
from benchmarks import engine
from benchmarks.frame import Benchmark, Case, Job, Missing
from benchmarks.images import USER, Image
from benchmarks.native import Limit, Rows, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.frame import Scale

GUARD = 0xFFFF_FFFF_FFFF_F600
PRESENT_KIND, GUARD_KIND, PTE_DEPTH = 1, 5, 4
START = 1 << 39
PRESENT_BIT, SWAP_BIT = 63, 62
PIECE = 1 << 30


def room(hole: int) -> int:
    """Bytes that the tables for a hole take, and some to spare."""
    return (hole >> 9) + (hole >> 18) + (1 << 20) & -4096


class Tables:
    """RAM that is in use already, and tables in it: only the top one, until something is installed."""

    def __init__(self, hole: int, folder: Path) -> None:
        self.ram = pw.Ram(room(hole))
        self.data = np.frombuffer(self.ram.segments[0].data, np.uint8)
        self.data[:] = 0xA5
        self.limit = Limit(folder, self.data, 0)
        self.empty()

    def empty(self) -> None:
        """Take everything out of the top table."""
        self.data[:4096] = 0
        self.tables = pw.PageTables(self.ram, 0, allocator=pw.RangeAllocator((4096, len(self.data))))

    def contents(self) -> list[int]:
        """The digest of what the tables hold."""
        found = self.limit.listing(Rows.empty(sum(self.limit.counts().values())))
        return digest(found, "vaddr", "kind", "depth")


def filled(hole: int) -> list[int]:
    """The digest of a hole full of guard markers."""
    pages = hole >> 12
    vaddrs = START + (np.arange(pages, dtype=np.uint64) << 12)
    kinds, depths = np.full(pages, GUARD_KIND, np.uint8), np.full(pages, PTE_DEPTH, np.uint8)
    return digest({"vaddr": vaddrs, "kind": kinds, "depth": depths}, "vaddr", "kind", "depth")


def installing(hole: int, folder: Path, *, ours: bool) -> Job:
    """Fill a hole with a constant, tables included."""
    place = Tables(hole, folder)
    work: Callable[[], object] = lambda: place.limit.install(START, START + hole, GUARD, 4096)  # noqa: E731
    if ours:
        install = getattr(engine.sweep, "install", None)
        if install is None:
            raise Missing("this pagewalk has no sweep.install")
        warnings.simplefilter("ignore", RuntimeWarning)
        engine.checked(lambda: install(engine.small(), 1 << 30, (1 << 30) + (1 << 21), GUARD))
        work = lambda: install(place.tables, START, START + hole, GUARD)  # noqa: E731
    return Job(hole >> 12, work, lambda _: place.contents(), filled(hole), place.empty)


class Copy:
    """An image in RAM, to be written to, and as it was again after each ``renew``."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.original = np.fromfile(image.path(folder), np.uint8, image.tables_size)
        self.ram = pw.Ram(len(self.original))
        self.data = np.frombuffer(self.ram.segments[0].data, np.uint8)
        self.limit = Limit(folder, self.data, image.root)
        self.tables = pw.PageTables(self.ram, image.root)
        self.renew()

    def renew(self) -> None:
        """Undo what was written."""
        self.data[:] = self.original

    def contents(self) -> list[int]:
        """The digest of what the tables hold."""
        found = self.limit.listing(Rows.empty(sum(self.limit.counts().values())))
        return digest(found, "vaddr", "paddr", "flags", "kind", "depth")


def filling(image: Image, folder: Path, *, ours: bool) -> Job:
    """Put a constant into the empty slots of tables that are there."""
    copy, end = Copy(image, folder), USER + (image.slots << 12)
    free = copy.limit.counts()[PRESENT_KIND, PTE_DEPTH]
    by_c: Callable[[], object] = lambda: copy.limit.install(USER, end, GUARD, len(copy.data))  # noqa: E731
    by_c()
    expected = copy.contents()
    copy.renew()
    if not ours:
        return Job(image.slots - free, by_c, lambda _: copy.contents(), expected, copy.renew)
    warnings.simplefilter("ignore", RuntimeWarning)
    small = engine.small()
    engine.checked(lambda: engine.sweep.install(small, 0, 4 << 21, GUARD))
    work = lambda: engine.sweep.install(copy.tables, USER, end, GUARD)  # noqa: E731
    return Job(image.slots - free, work, lambda _: copy.contents(), expected, copy.renew)


def marked(pagemap: Callable[[int, int], Any], start: int, size: int, bit: int) -> int:
    """How many pages of a range have a bit in their pagemap entries."""
    total = 0
    for at in range(start, start + size, PIECE):
        entries = np.asarray(pagemap(at, min(at + PIECE, start + size)), np.uint64)
        total += int((entries >> np.uint64(bit) & np.uint64(1)).sum())
    return total


class Kernel:
    """A private anonymous mapping of the running kernel, a new one after each ``renew``."""

    def __init__(self, size: int) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.size = size
        self.region: mmap.mmap | None = None

    def renew(self) -> None:
        """Unmap the old mapping, map a new one, without huge pages."""
        if self.region is not None:
            self.region.close()
        self.region = mmap.mmap(-1, self.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | pw.MAP_NORESERVE)
        self.region.madvise(mmap.MADV_NOHUGEPAGE)

    def mapping(self) -> mmap.mmap:
        """The mapping."""
        assert self.region is not None
        return self.region

    def marked(self, bit: int) -> int:
        """How many of its pages have a bit in /proc/self/pagemap."""
        first = np.frombuffer(self.mapping(), np.uint8, 1).ctypes.data
        return marked(_pagemap, first, self.size, bit)

    def touch(self, folder: Path) -> Callable[[], None]:
        """What writes a byte to each page, in C."""
        limit = Limit(folder, np.zeros(0, np.uint8), 0)

        def work() -> None:
            limit.data = np.frombuffer(self.mapping(), np.uint8)
            limit.touch(self.size >> 12)
            limit.data = np.zeros(0, np.uint8)

        return work

    def guard(self) -> Callable[[], None]:
        """What installs guard markers.

        Raises:
            Missing: Not on this kernel.
        """
        self.renew()
        try:
            self.mapping().madvise(pw.MADV_GUARD_INSTALL, 0, 4096)
        except OSError:
            raise Missing("this kernel has no guard regions: they came with Linux 6.13") from None
        return lambda: self.mapping().madvise(pw.MADV_GUARD_INSTALL)


def _pagemap(start: int, end: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Our own pagemap entries."""
    with Path("/proc/self/pagemap").open("rb", buffering=0) as file:
        file.seek(start >> 12 << 3)
        data = bytearray()
        while len(data) < (end - start) >> 9:
            data += file.read(((end - start) >> 9) - len(data))
    return np.frombuffer(data, np.uint64)


class Model:
    """The same mapping of a simulated address space."""

    def __init__(self, size: int, ram: int) -> None:
        self.size = size
        self.ram = ram

    def renew(self) -> None:
        """A new machine with nothing but the mapping."""
        self.mm = pw.Machine(self.ram, thp="never").mm()
        flags = pw.MAP_PRIVATE | pw.MAP_ANONYMOUS | pw.MAP_NORESERVE
        self.start = self.mm.mmap(self.size, pw.PROT_READ | pw.PROT_WRITE, flags)

    def marked(self, bit: int) -> int:
        """How many of its pages have a bit in ``mm.pagemap``."""
        return marked(self.mm.pagemap, self.start, self.size, bit)


def guarding(hole: int, folder: Path, *, ours: bool) -> Job:
    """``MADV_GUARD_INSTALL`` over a hole."""
    if ours:
        model = Model(hole, room(hole) + (8 << 20))
        work: Callable[[], object] = lambda: model.mm.madvise(model.start, hole, pw.MADV_GUARD_INSTALL)  # noqa: E731
        return Job(hole >> 12, work, lambda _: model.marked(SWAP_BIT), hole >> 12, model.renew)
    kernel = Kernel(hole)
    return Job(hole >> 12, kernel.guard(), lambda _: kernel.marked(SWAP_BIT), hole >> 12, kernel.renew)


def touching(size: int, folder: Path, *, ours: bool) -> Job:
    """A fault for each page of anonymous memory."""
    if ours:
        model = Model(size, size + room(size) + (8 << 20))
        work: Callable[[], object] = lambda: model.mm.touch(model.start, size)  # noqa: E731
        return Job(size >> 12, work, lambda _: model.marked(PRESENT_BIT), size >> 12, model.renew)
    kernel = Kernel(size)
    return Job(size >> 12, kernel.touch(folder), lambda _: kernel.marked(PRESENT_BIT), size >> 12, kernel.renew)


def benchmarks(scale: Scale) -> list[Benchmark]:
    """All of them."""
    hole, touched = scale.hole, scale.touched
    install = partial(installing, hole, ours=True)
    fill = (
        Case("C", partial(installing, hole, ours=False)),
        Case("pagewalk, NumPy, sweep.install", install, {"PAGEWALK_ENGINE": "numpy"}),
        Case("pagewalk, Numba, sweep.install", install, {"PAGEWALK_ENGINE": "numba"}),
        Case("pagewalk, Mm.madvise(GUARD_INSTALL)", partial(guarding, hole, ours=True)),
        Case("the running kernel, MADV_GUARD_INSTALL", partial(guarding, hole, ours=False)),
    )
    sparse = Image("sparse", scale.pages)
    refill = (
        Case("C", partial(filling, sparse, ours=False)),
        Case("pagewalk, NumPy, sweep.install", partial(filling, sparse, ours=True), {"PAGEWALK_ENGINE": "numpy"}),
        Case("pagewalk, Numba, sweep.install", partial(filling, sparse, ours=True), {"PAGEWALK_ENGINE": "numba"}),
    )
    touch = (
        Case("the running kernel, a byte a page", partial(touching, touched, ours=False)),
        Case("pagewalk, Mm.touch", partial(touching, touched, ours=True)),
    )
    return [
        Benchmark(f"A hole of {_size(hole)} filled with guard markers", "entries", fill),
        Benchmark("The empty slots of a sparse image filled", "entries", refill, (sparse,)),
        Benchmark(f"{_size(touched)} of anonymous memory touched", "faults", touch),
    ]


def _size(size: int) -> str:
    """A size in words."""
    return f"{size >> 30} GiB" if size >> 30 else f"{size >> 20} MiB"
