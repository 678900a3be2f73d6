"""Installing in bulk: values into the empty slots of a range, missing tables allocated by the hundred.

How it works. The walk goes down the upper levels a slot at a time, as the scalar walk does. Above the last level it
takes runs: neighbouring empty slots get their tables all at once, filled before they are linked by one store;
neighbouring tables that are there are filled together. Whatever else stands above the last level is left to the scalar
walk. What an abort leaves behind is what the scalar walk would leave: tables are asked for in the same order, and what
was not reached is given back.

Installing is for the memory-management code, ``mm/`` and ``editing/``.
"""

from __future__ import annotations

import errno
import warnings
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.doors import integers
from pagewalk.errors import OutOfFrames, UnsupportedError, WalkError
from pagewalk.formats.codec import KIND_SHIFT, KINDS
from pagewalk.frames import allocate_some, give_back
from pagewalk.memory.overlay import Overlay
from pagewalk.space import AddressSpace, VmaFlags
from pagewalk.sweep.fast import is_plain
from pagewalk.sweep.jit import kernels
from pagewalk.sweep.reader import tables_of
from pagewalk.sweep.store import Store
from pagewalk.sweep.values import Refused, Values, values_of
from pagewalk.tables import Entry, Table
from pagewalk.walk import PGWALK_RDLOCK, SKIP, Walk, WalkOps
from pagewalk.walk.locking import check_mm_lock, check_vma_lock
from pagewalk.walk.ranges import walk_page_range_vma_mm

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    import numpy.typing as npt

    from pagewalk.formats import Kind, Level
    from pagewalk.space import Vma
    from pagewalk.sweep.values import Asked
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Installation", "install"]

_NO_LOCK: Final = nullcontext()
TOGETHER: Final = 256
"""Tables that NumPy fills together, at most: copies of them stay in the cache."""


@dataclass(slots=True)
class Installation:
    """How far an installation is, or was when it ended.

    Attributes:
        addr: Everything below is done.
        installed: Entries installed.
        tables_allocated: Tables allocated.
    """

    addr: int = 0
    installed: int = 0
    tables_allocated: int = 0


def install(
    space: PageTables | AddressSpace,
    start: int,
    end: int,
    value: int | Words | Callable[[Words], Asked],
    *,
    skip: Mask | None = None,
    passing: Collection[Kind] | None = None,
    progress: Installation | None = None,
) -> int | None:
    """Install entries into the empty slots of ``[start, end)``. Changes the memory.

    Args:
        space: An address space: its VMAs count, and its ``mmap_lock`` must be held. Or raw page tables.
        start, end: Virtual addresses in bytes, whole pages.
        value: What to install: one raw entry; an array, one a page of the range, uint64; or a callback, given the
            addresses of empty slots and returning their entries, or ``(entries, skip)``.
        skip: With a value or an array, the pages to leave empty: one bool a page.
        passing: The kinds of entry that may stand in the way; the first other one ends it. None: all may.
        progress: Told how far it got, also when it fails.

    Returns:
        None, or the address of the first entry that stands in the way. Everything below it is done.

    Raises:
        WalkError: EINVAL: not whole pages, the lock is not held, a hugetlb VMA.
        OutOfFrames: No frame for a table (carries vaddr and depth). What was installed stays.
        UnsupportedError: The tables have no allocator.
        ReservedBits, Malformed: An entry on the way is not one.
        MemoryWriteError: The memory cannot be written.
        ValueError, TypeError: The value is none. Whatever a callback raises.
    """
    tables = tables_of(space)
    start, end = integers(start=start, end=end)
    _check_range(tables, start, end)
    values = values_of(tables.format, start, end, value, skip)
    progress = progress or Installation()
    if isinstance(space, AddressSpace):
        return _into_vmas(space, start, end, values, passing, progress)
    return _Installer(tables, values, passing, progress).run(start, end)


def _check_range(tables: PageTables, start: int, end: int) -> None:
    """Refuse a range that is none, or leaves its half."""
    if start >= end or (start | end) % tables.format.page_size:
        raise WalkError(errno.EINVAL, f"not whole pages: [{start:#x}, {end:#x})")
    if not any(window.start <= start and end <= window.end for window in tables.windows):
        raise WalkError(errno.EINVAL, f"[{start:#x}, {end:#x}) leaves the canonical halves")


def _into_vmas(
    mm: AddressSpace,
    start: int,
    end: int,
    values: Values,
    passing: Collection[Kind] | None,
    progress: Installation,
) -> int | None:
    """Install VMA by VMA, as ``walk_page_range_mm`` goes."""
    check_mm_lock(mm, PGWALK_RDLOCK)
    while start < end:
        vma = mm.vmas.find(start)
        if vma is None or start < vma.start:
            start = progress.addr = end if vma is None else min(end, vma.start)
            continue
        next_ = min(end, vma.end)
        check_vma_lock(vma, PGWALK_RDLOCK)
        if VmaFlags.PFNMAP not in vma.flags:
            progress.addr = start
            if VmaFlags.HUGETLB in vma.flags:
                raise WalkError(errno.EINVAL, f"{start:#x}: nothing can be installed in a hugetlb VMA")
            obstacle = _Installer(mm.tables, values, passing, progress, mm, vma).run(start, next_)
            if obstacle is not None:
                return obstacle
        start = progress.addr = next_
    return None


class _Installer:
    """Installs into one VMA, or raw tables."""

    def __init__(
        self,
        tables: PageTables,
        values: Values,
        passing: Collection[Kind] | None,
        progress: Installation,
        mm: AddressSpace | None = None,
        vma: Vma | None = None,
    ) -> None:
        self._tables = tables
        self._values = values
        self._passing = passing
        self._progress = progress
        self._mm = mm
        self._vma = vma
        self._store = Store(tables)
        self._last = tables.format.last
        self._arrays = self._last.arrays
        self._warned = isinstance(tables.memory, Overlay)  # its plan says what must be told to whom
        self._alike = mm is None and passing is None and type(values) is Values  # each empty slot gets the same
        self._compiled = kernels() if self._alike and is_plain(self._last) and self._store.in_bulk else None
        self._untold: list[tuple[int, Any]] = []

    def run(self, start: int, end: int) -> int | None:
        """Install in ``[start, end)``; the address of what stands in the way, or None."""
        return self._down(self._tables.top(self._tables.window_of(start)), start, end)

    @contextmanager
    def _writing(self, paddrs: Words, level: Level, locks: Iterable[Any]) -> Iterator[Words]:
        """The slots of tables, locked; what was installed is told of when it is in the memory."""
        try:
            with ExitStack() as stack:
                for lock in locks:
                    stack.enter_context(lock)
                yield stack.enter_context(self._store.open(paddrs, level))
        finally:
            for start, pages in self._untold:
                self._tell(pages, start)
            self._untold.clear()

    def _down(self, table: Table, start: int, end: int) -> int | None:
        """Install below the slots of an upper table that cover ``[start, end)``."""
        level = self._lowest(table.level)  # its slots, with the level's own depth
        assert level.below is not None
        above_last = level.below.is_last
        addr = start
        while addr < end:
            self._progress.addr = addr
            slot = Entry(table, table.level.index(addr))
            next_ = level.end(addr, end)
            value = slot.value
            if level.is_none(value):
                if above_last:
                    addr = self._new_tables(table, addr, end)
                    continue
                self._grow(slot, addr)
            elif not level.is_table(value):
                obstacle = self._other(slot, addr, next_)
                if obstacle is not None:
                    return obstacle
                addr = self._progress.addr = next_
                continue
            below = self._child(slot, level, addr)
            if above_last:
                paddrs = self._neighbours(slot, below, addr, end)
                next_ = min(addr // level.span * level.span + len(paddrs) * level.span, end)
                obstacle = self._old_tables(slot, paddrs, addr, next_)
            else:
                obstacle = self._down(below, addr, next_)
            if obstacle is not None:
                return obstacle
            addr = self._progress.addr = next_
        return None

    @staticmethod
    def _lowest(level: Level) -> Level:
        """A level as the lowest that shows the same entries."""
        while level.folds and level.below is not None:
            level = level.below
        return level

    def _child(self, slot: Entry, level: Level, addr: int) -> Table:
        """The table under a slot, if it is sound."""
        self._tables.check(slot.value, level, addr)
        while slot.level.folds:
            slot = Entry(self._tables.child(slot, addr), 0)
        return self._tables.child(slot, addr)

    def _grow(self, slot: Entry, addr: int) -> None:
        """Link one new table, unless another thread has just done so."""
        with self._lock(slot.table):
            if slot.is_none:
                self._tables.grow(slot, addr)
                self._progress.tables_allocated += 1

    def _lock(self, table: Table) -> Any:
        """The lock that keeps other threads out of a table."""
        return _NO_LOCK if self._mm is None else self._mm.table_lock(table)

    # -- what is neither empty nor a table ---------------------------------------------------------------------------

    def _other(self, slot: Entry, addr: int, next_: int) -> int | None:
        """A huge page, or something not present above the last level."""
        self._tables.check(slot.value, slot.level, addr)
        if slot.is_leaf:
            return None if self._passing is None or slot.kind in self._passing else addr
        if self._mm is None or self._vma is None:
            return None
        return self._scalar(addr, next_)

    def _scalar(self, addr: int, next_: int) -> int | None:
        """Leave a piece to the scalar walk."""
        assert self._mm is not None
        assert self._vma is not None
        met: list[int] = []

        def one(addr: int, next_: int, walk: Walk) -> Any:
            value, skip = self._values.take(addr, None, 1)
            return SKIP if skip is not None and skip[0] else int(np.atleast_1d(value)[0])

        def stop(entry: Entry, addr: int, next_: int, walk: Walk) -> int:
            if self._passing is None or entry.kind in self._passing:
                return 0
            met.append(addr)
            return 1

        def install(addr: int, next_: int, walk: Walk) -> Any:
            try:
                return one(addr, next_, walk)
            except Refused as refused:
                raise refused.reason from None

        ops = WalkOps(pte_entry=stop if self._passing is not None else None, install_pte=install)
        walk = Walk(self._tables, ops, mm=self._mm)
        try:
            walk_page_range_vma_mm(self._vma, addr, next_, ops, walk=walk)
        finally:
            self._progress.addr = walk.addr
            self._progress.installed += walk.installed
            self._progress.tables_allocated += walk.tables_allocated
        return met[0] if met else None

    # -- tables that are there ---------------------------------------------------------------------------------------

    def _neighbours(self, slot: Entry, below: Table, addr: int, end: int) -> Words:
        """Where a table of the last level is, and those after it that can be filled in bulk with it. Shape (n,)."""
        table, level = slot.table, self._lowest(slot.table.level)
        behind = -(-(end - addr // level.span * level.span) // level.span)
        wanted = min(table.level.entries - slot.index, behind)
        if wanted < 2 or not self._store.in_bulk:
            return _alone(below)
        with self._store.open(_alone(table), level) as row:
            links = row[slot.index : slot.index + wanted].copy()
        sound, wrong = level.arrays.is_table(links), level.arrays.wrong(links)
        sound = sound if wrong is None else sound & ~wrong
        paddrs = level.arrays.tables(links if sound.all() else links[: int(sound.argmin())])
        apart = self._store.has(paddrs) & (paddrs != np.uint64(table.paddr))
        ordered = np.sort(paddrs)
        if (ordered[1:] == ordered[:-1]).any():  # what fills a table changes it wherever it is met again
            again = np.ones(len(paddrs), np.bool_)
            again[np.unique(paddrs, return_index=True)[1]] = False
            apart &= ~again
        apart[0] = True
        return paddrs if apart.all() else paddrs[: int(apart.argmin())]

    def _old_tables(self, slot: Entry, paddrs: Words, start: int, end: int) -> int | None:
        """Fill the empty slots of the tables below ``slot`` and its neighbours that cover ``[start, end)``."""
        level, span = self._last, self._last.span << self._last.index_bits
        if self._compiled is not None and self._store.has(paddrs).all():
            first, count = level.index(start), (end - start) // level.span
            filling = self._last.codec.empties[0].mask, self._values.value
            self._note(start, self._store.fill_empty(self._compiled, paddrs, (first, first + count), filling))
            return None
        for at in range(0, len(paddrs), TOGETHER):
            some, base = paddrs[at : at + TOGETHER], start // span * span + at * span
            until = min(end, base + len(some) * span)
            obstacle = self._some_tables(Entry(slot.table, slot.index + at), some, max(start, base), until)
            if obstacle is not None:
                return obstacle
        return None

    def _some_tables(self, slot: Entry, paddrs: Words, start: int, end: int) -> int | None:
        """Fill the empty slots of as many tables as are filled together."""
        level = self._last
        first, count = level.index(start), (end - start) // level.span
        with self._writing(paddrs, level, self._locks(slot, len(paddrs), start)) as row:
            slots = row[first : first + count]
            if self._alike:
                self._note(start, self._store.fill_slots(slots, self._values.value))
                return None
            empty: Any = self._last.is_none(slots)
            obstacle = self._obstacle(slots, empty)
            if obstacle is not None:
                empty[obstacle:] = False
            if empty.any():
                self._fill(slots, empty, start)
        if obstacle is not None:
            self._progress.addr = start + obstacle * level.span
        return None if obstacle is None else self._progress.addr

    def _locks(self, slot: Entry, count: int, start: int) -> list[Any]:
        """The locks of the tables below a slot and its neighbours, in the order of their addresses."""
        if self._mm is None:
            return []
        level = self._lowest(slot.table.level)
        first = start // level.span * level.span
        links = [Entry(slot.table, slot.index + at) for at in range(count)]
        return [self._lock(self._child(link, level, first + at * level.span)) for at, link in enumerate(links)]

    def _obstacle(self, slots: Words, empty: Mask) -> int | None:
        """The first slot that holds what may not stand there."""
        if self._passing is None or empty.all():
            return None
        held = np.flatnonzero(~empty)
        kinds = np.atleast_1d(self._arrays.states(slots[held])) >> KIND_SHIFT & KINDS
        bad = np.flatnonzero(~np.isin(kinds, [int(kind) for kind in self._passing]))
        if not len(bad):
            return None
        return int(held[0 if len(kinds) == 1 else bad[0]])

    def _fill(self, slots: Words, empty: Mask, start: int) -> None:
        """Write values into the empty slots."""
        try:
            values, skip = self._values.take(start, empty, len(slots))
        except Refused as refused:
            self._write(slots, empty, refused.good, start)
            self._progress.addr = start + refused.count * self._last.span
            raise refused.reason from None
        self._write(slots, empty, (values, skip), start)

    def _write(self, slots: Words, empty: Mask, good: tuple[Any, Mask | None], start: int) -> None:
        """Write those of the values that are not to be skipped."""
        values, skip = good
        chosen = empty if skip is None else empty & ~skip
        np.copyto(slots, values, where=chosen)
        self._note(start, int(np.count_nonzero(chosen)) if self._mm is None else np.flatnonzero(chosen))

    # -- tables that are missing -------------------------------------------------------------------------------------

    def _new_tables(self, table: Table, addr: int, end: int) -> int:
        """Give the run of empty slots that begins at ``addr`` its tables; where it ends."""
        level = table.level
        first = level.index(addr)
        with self._writing(_alone(table), level, [self._lock(table)]) as row:
            last = min(level.entries, first - (-(end - (addr >> level.shift << level.shift)) >> level.shift))
            held = level.arrays.places(row[first:last])
            count = int(held[0]) if len(held) else last - first
            count = min(count, self._values.at_once, 1 if not self._store.in_bulk else count)
            if not count:
                return addr  # another thread was faster
            frames, failure = self._frames(count)
            links = row[first : first + len(frames)]
            done = self._fill_new(level, links, frames, addr, end) if len(frames) else addr
        if failure is not None:
            self._progress.addr = done
            raise OutOfFrames(failure.why, done, level.real_depth) from None
        return done

    def _frames(self, count: int) -> tuple[Words, OutOfFrames | None]:
        """Frames for tables: as many as there are, and why there are no more."""
        allocator = self._tables.allocator
        if allocator is None:
            where = self._progress.addr
            raise UnsupportedError(f"{where:#x}: these page tables have no frame allocator, so they cannot grow")
        frames, failure = allocate_some(allocator, count)
        return np.array(frames, np.uint64), failure

    def _give_back(self, frames: Words) -> None:
        """Frames that were not needed after all."""
        if len(frames) and self._tables.allocator is not None:
            give_back(self._tables.allocator, frames.tolist())

    def _fill_new(self, level: Level, links: Words, frames: Words, addr: int, end: int) -> int:
        """Fill new tables, then link them from a table of the level above; where they end."""
        span = self._lowest(level).span
        base = addr // span * span
        stop = min(base + len(frames) * span, end)
        first, count = self._last.index(addr), (stop - addr) // self._last.span
        reason: BaseException | None = None
        reached = count
        try:
            made = level.table(frames)
            try:
                good = self._values.take(addr, None, count)
            except Refused as refused:
                good, reached, reason = refused.good, refused.count, refused.reason
            needed = min(first + reached >> self._last.index_bits, len(frames) - 1) + 1 if reason else len(frames)
            installed = self._store.fill(
                frames[:needed], first, min(count, (needed << self._last.index_bits) - first), good
            )
        except BaseException:
            self._give_back(frames)
            raise
        self._give_back(frames[needed:])
        links[:needed] = made[:needed]
        self._progress.tables_allocated += needed
        self._note(addr, installed)
        if reason is not None:
            self._progress.addr = addr + reached * self._last.span
            raise reason
        return stop

    # -- telling -----------------------------------------------------------------------------------------------------

    def _note(self, start: int, pages: Any) -> None:
        """Entries were installed: at these pages from ``start`` on, or so many."""
        count = pages if isinstance(pages, int) else len(pages)
        self._progress.installed += count
        if not count:
            return
        if self._mm is None or self._vma is None:
            self._warn()
            return
        self._untold.append((start, range(count) if isinstance(pages, int) else pages))

    def _tell(self, pages: Any, start: int) -> None:
        """Run the hook that tells of new entries: by runs where it takes runs, else page by page."""
        mm, size = self._mm, self._last.span
        by_range = getattr(mm, "update_mmu_cache_range", None)
        if by_range is not None:
            for first, last in _runs(pages):
                by_range(self._vma, start + first * size, start + (last + 1) * size)
        elif mm is not None and type(mm).update_mmu_cache is not AddressSpace.update_mmu_cache:
            for page in pages:
                vaddr = start + int(page) * size
                *_, entry = self._tables.steps(vaddr)
                mm.update_mmu_cache(self._vma, vaddr, entry)  # type: ignore[arg-type]

    def _warn(self) -> None:
        """Nobody is told: say so once."""
        if not self._warned:
            self._warned = True
            warnings.warn("installing without VMAs: no update_mmu_cache hook runs", RuntimeWarning, stacklevel=6)


def _alone(table: Table) -> Words:
    """Where one table is."""
    return np.array([table.paddr], np.uint64)


def _runs(pages: Any) -> list[tuple[int, int]]:
    """Ascending numbers as runs, first and last."""
    if isinstance(pages, range):
        return [(pages[0], pages[-1])]
    cuts = np.flatnonzero(pages[1:] - pages[:-1] != 1)
    firsts, lasts = pages[np.append(0, cuts + 1)], pages[np.append(cuts, len(pages) - 1)]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
