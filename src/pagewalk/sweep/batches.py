"""Batch callbacks: whole tables at a time, handed to a function as one array.

How it works. Tables of the last level come as ``(entries[K, 512], addr[K])``, by address; pages above the last level
and what else stands there as ``(entries[K], addr[K], depth)``; holes above it as ``(addr[K], next[K], depth)``. Each
kind of callback sees ascending addresses. Between kinds the order holds from batch to batch only: of a stretch of
addresses, the holes come first, then the leaves, then the tables of the last level.

What a callback writes into ``entries`` is written back when it returns: those tables only that have changed. A table
that is reached twice is never twice in one batch, so that the second look sees what the first one wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index as as_index
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.doors import integer
from pagewalk.errors import WalkError
from pagewalk.formats.arrays import kinds_of
from pagewalk.sweep.columns import RUNS, Said, depths_of, part
from pagewalk.sweep.descent import Descent
from pagewalk.sweep.findings import Findings
from pagewalk.sweep.jit import table_driver
from pagewalk.sweep.questions import Holes, ends_of
from pagewalk.sweep.reader import Reader, bounds, parts_of, pieces, tables_of
from pagewalk.sweep.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.space import AddressSpace
    from pagewalk.sweep.chunk import Chunk, Tables
    from pagewalk.sweep.columns import Block
    from pagewalk.sweep.questions import Room
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    TableCallback = Callable[[Words, Words], int | None]
    LeafCallback = Callable[[Words, Words, int], int | None]
    HoleCallback = Callable[[Words, Words, int], int | None]

__all__ = ["Progress", "walk"]

_LEAF, _HOLE = 0, 1


@dataclass(slots=True)
class Progress:
    """How far a sweep is, or was when it ended.

    Attributes:
        addr: The first address of the batch that is being looked at; the range's end once all is done.
        batches: Callbacks made.
    """

    addr: int = 0
    batches: int = 0


def walk(
    tables: PageTables | AddressSpace,
    start: int | None = None,
    end: int | None = None,
    *,
    pte_tables: TableCallback | None = None,
    leaves: LeafCallback | None = None,
    holes: HoleCallback | None = None,
    writes: bool = False,
    batch: int = 256,
    findings: list[TranslationError] | None = None,
    progress: Progress | None = None,
) -> int:
    """Walk a range with callbacks that take many entries at a time. Changes the memory with ``writes=True`` only.

    Args:
        tables: Page tables, or an address space for its tables.
        start, end: Virtual addresses in bytes, whole pages; None for both canonical halves.
        pte_tables: ``(entries, addr)``: tables of the last level. ``entries``: shape (K, entries of a table), uint64,
            ``addr``: the address of each table's first entry, shape (K,), uint64. A table that reaches out of the range
            comes alone, and only its part inside. A function compiled with ``numba.njit`` is called for one table at a
            time, ``(entries[n], addr)``, without going through Python.
        leaves: ``(entries, addr, depth)``: what stands above the last level and is no table: shape (K,), uint64, each.
        holes: ``(addr, next, depth)``: empty entries above the last level, neighbours as one: shape (K,), uint64, each.
        writes: The callbacks may write to ``entries``; otherwise they cannot.
        batch: The most tables in a batch.
        findings: Collects what is malformed, which is then passed over, instead of raising the first.
        progress: Told how far it is, also when it fails.

    Returns:
        0, or the positive number with which a callback ended it.

    Raises:
        WalkError: EINVAL: no range. Any other errno: a callback returned it, negative.
        ReservedBits, Malformed: An entry above the last level is not one, and ``findings`` is None; whatever lies below
            its address has been looked at.
        MemoryWriteError: With ``writes``, the memory cannot be written.
        Whatever a callback raises.
    """
    tables = tables_of(tables)
    span = bounds(tables, start, end)
    found, progress = Findings(tables, findings, span[0]), progress or Progress()
    for windows, part_ in parts_of(tables, span):
        sweep = _Sweep(Reader(tables, windows, part_, found), progress, writes=writes, batch=batch)
        if result := sweep.run(pte_tables, leaves, holes):
            return result
    found.close()
    progress.addr = span[1] + 1
    return 0


class _Upper:
    """The question above the last level: what ends there and what is empty.

    Of a leaf, ``place`` is that of its entry in memory and ``size`` the entry; the kind is _LEAF or _HOLE.
    """

    def __init__(self, reader: Reader, *, leaves: bool, holes: bool) -> None:
        self.schema = RUNS
        self._reader = reader
        self._leaves = leaves
        self._holes = Holes(reader.span) if holes else None

    def rows(self, chunk: Chunk, room: Room) -> Block:
        """See ``Question``."""
        rows = self.schema.empty()
        if self._leaves:
            entries, places = ends_of(chunk)
            if places is None:
                places = np.arange(chunk.first, chunk.end, dtype=np.intp)
            base = self._reader.paddrs(chunk.level, chunk.tables)[places >> chunk.level.index_bits]
            slots = base + (places & (chunk.level.entries - 1)).view(np.uint64) * np.uint64(chunk.level.word.size)
            vaddrs = np.maximum(chunk.vaddrs(places), np.uint64(self._reader.span[0]))
            rows = _block(vaddrs, slots, _LEAF, chunk.depth, entries)
        if self._holes is not None:
            vaddrs, _, sizes = self._holes.rows(chunk, room)
            more = _block(vaddrs, np.zeros(len(vaddrs), np.uint64), _HOLE, chunk.depth, sizes)
            joined = tuple(np.concatenate(pair) for pair in zip(rows, more, strict=True))
            rows = part(joined, np.argsort(joined[0], kind="stable"))
        return rows

    def joined(self, rows: Block) -> Block:
        """See ``Question``."""
        return rows


def _block(vaddrs: Words, slots: Words, kind: int, depth: int, sizes: Words) -> Block:
    """Rows of one kind and depth."""
    return vaddrs, slots, np.full(len(vaddrs), Said(0, kind, 0, depth).state, np.uint32), sizes


class _Sweep:
    """One walk with batch callbacks."""

    def __init__(self, reader: Reader, progress: Progress, *, writes: bool, batch: int) -> None:
        if integer(batch, "batch") < 1:
            raise ValueError(f"a batch holds a table at least, not {batch}")
        self._reader = reader
        self._level = reader.last
        self._store = Store(reader.tables) if writes else None
        self._batch = batch
        self.progress = progress

    def run(self, pte_tables: TableCallback | None, leaves: LeafCallback | None, holes: HoleCallback | None) -> int:
        """Go over the range; what a callback ended it with."""
        question = _Upper(self._reader, leaves=leaves is not None, holes=holes is not None)
        for task in Descent(self._reader, question).tasks():
            slices = list(pieces(len(task.tables), self._level.entries)) if pte_tables is not None else []
            borders = [slices[at].start for at in range(1, len(slices))]
            cuts = task.rows[0].searchsorted(task.tables.vaddr[borders]).tolist() if borders else []
            for at, (low, high) in enumerate(zip([0, *cuts], [*cuts, len(task.rows[0])], strict=True)):
                result = self._between(part(task.rows, slice(low, high)), leaves, holes)
                if not result and slices and pte_tables is not None:
                    result = self._tables(task.tables[slices[at]], pte_tables)
                if result:
                    return result
        return 0

    def _call(self, callback: Callable[..., Any], addr: int, *arguments: Any) -> int:
        """One callback, and what its answer means."""
        self.progress.addr = addr
        self.progress.batches += 1
        result = callback(*arguments)
        code = 0 if result is None else as_index(result)
        if code < 0:
            raise WalkError(-code, f"a callback refused at {addr:#x}")
        return code

    # -- above the last level ----------------------------------------------------------------------------------------

    def _between(self, rows: Block, leaves: LeafCallback | None, holes: HoleCallback | None) -> int:
        """Callbacks for what lies above the last level, a depth at a time."""
        rows = part(rows, slice(0, int(rows[0].searchsorted(np.uint64(min(self._stop, (1 << 64) - 1))))))
        vaddrs, slots, states, sizes = rows
        kinds, depths = kinds_of(states), depths_of(states)
        for depth in np.unique(depths).tolist():
            if holes is not None:
                some = np.flatnonzero((kinds == _HOLE) & (depths == depth))
                addr = vaddrs[some]
                if len(some) and (result := self._call(holes, int(addr[0]), addr, addr + sizes[some], depth)):
                    return result
            some = np.flatnonzero((kinds == _LEAF) & (depths == depth))
            if leaves is not None and len(some):
                result = self._leaves(leaves, slots[some], sizes[some], vaddrs[some], depth)
                if result:
                    return result
        return 0

    @property
    def _stop(self) -> int:
        """Where the first error lies."""
        return self._reader.findings.stop

    def _leaves(self, callback: LeafCallback, slots: Words, entries: Words, vaddrs: Words, depth: int) -> int:
        """The callback for entries above the last level; what it changes is written back, also when it fails."""
        before = entries.copy()
        entries.flags.writeable = self._store is not None
        try:
            return self._call(callback, int(vaddrs[0]), entries, vaddrs, depth)
        finally:
            changed = np.flatnonzero(entries != before)
            if self._store is not None and len(changed):
                self._store.put(slots[changed], entries[changed])

    # -- the last level ----------------------------------------------------------------------------------------------

    def _tables(self, some: Tables, callback: TableCallback) -> int:
        """Callbacks for tables of the last level."""
        compiled = table_driver(callback, writes=self._store is not None)
        for group in self._groups(some):
            stop = self._stop
            if len(group) and int(group.vaddr[0]) >= stop:
                return 0
            sound, entries = self._reader.read(self._level, group)
            if not len(sound):
                continue
            if int(sound.vaddr[-1]) >= self._stop:
                kept = int(sound.vaddr.searchsorted(np.uint64(self._stop)))
                sound, entries = sound[:kept], entries[:kept]
            for rows, low, high in self._inside(sound):
                result = self._look(callback, compiled, sound[rows], entries[rows], low, high)
                if result:
                    return result
        return 0

    def _groups(self, some: Tables) -> Iterator[Tables]:
        """Tables in batches; with ``writes``, none twice in one."""
        if self._store is None:
            yield from (some[at : at + self._batch] for at in range(0, len(some), self._batch))
            return
        paddrs = self._reader.paddrs(self._level, some).tolist()
        first, seen = 0, set[int]()
        for at, paddr in enumerate(paddrs):
            if paddr in seen or at - first >= self._batch:
                yield some[first:at]
                first, seen = at, set()
            seen.add(paddr)
        yield some[first:]

    def _inside(self, some: Tables) -> Iterator[tuple[slice, int, int]]:
        """Tables that lie in the range; those that reach out of it alone, with their part inside."""
        level, (first, last) = self._level, self._reader.span
        size = level.span << level.index_bits
        count = len(some)
        if not count:
            return
        low = int(int(some.vaddr[0]) < first)
        high = count - int(int(some.vaddr[-1]) + size - 1 > last and count > low)
        if low:
            begin = level.index(first)
            end = min((last - int(some.vaddr[0])) // level.span + 1, level.entries)
            yield slice(0, 1), begin, end
        if low < high:
            yield slice(low, high), 0, level.entries
        if high < count:
            yield slice(high, count), 0, level.index(last) + 1

    def _look(
        self,
        callback: TableCallback,
        compiled: Any,
        some: Tables,
        entries: Words,
        low: int,
        high: int,
    ) -> int:
        """One batch; what the callback changes is written back, also when it fails."""
        vaddrs = some.vaddr + np.uint64(low * self._level.span)
        shown = entries.copy() if self._store is not None else entries.view()
        shown.flags.writeable = self._store is not None
        inside = shown[:, low:high]
        try:
            if compiled is None:
                return self._call(callback, int(vaddrs[0]), inside, vaddrs)
            return self._driven(compiled, inside, vaddrs)
        finally:
            if self._store is not None:
                self._write_back(self._reader.paddrs(self._level, some), entries, shown)

    def _driven(self, compiled: Any, entries: Words, vaddrs: Words) -> int:
        """Let a compiled callback loose on a batch."""
        self.progress.addr = int(vaddrs[0])
        self.progress.batches += 1
        at, code = compiled(entries, vaddrs)
        if code:
            self.progress.addr = int(vaddrs[at])
        if code < 0:
            raise WalkError(-int(code), f"a callback refused at {int(vaddrs[at]):#x}")
        return int(code)

    def _write_back(self, paddrs: Words, before: Words, after: Words) -> None:
        """Write the slots that have changed."""
        assert self._store is not None
        changed = np.flatnonzero(before != after)
        if len(changed):
            bits = self._level.index_bits
            slots = paddrs[changed >> bits] + (changed & (1 << bits) - 1).astype(np.uint64) * np.uint64(
                self._level.word.size
            )
            self._store.put(slots, after.reshape(-1)[changed])
