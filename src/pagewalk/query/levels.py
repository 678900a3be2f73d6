"""The tables of a range, a whole level at a time.

How it works. ``sweep`` holds the tables of one level as arrays: where they are, which address each begins at, and the
rights that the levels above grant. It reads them in batches as one ``uint64[n, entries]`` matrix, tells by masks which
entries are in the range, empty, tables or wrong, hands the batch to the question, and gathers the tables of the next
level. A question thus runs once a batch, never once an entry.

Addresses are compared by their last byte, because the end of the upper half, 2**64, is no ``uint64``.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pagewalk.errors import Malformed, NonCanonical, TranslationError, UnsupportedError, WalkError
from pagewalk.formats import Flag
from pagewalk.query.gather import BATCH, Gather
from pagewalk.space import AddressSpace
from pagewalk.tables import Entry, PageTables, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["MAX_FINDINGS", "MAX_TABLES", "Batch", "Findings", "bounds", "sweep", "tables_of"]

MAX_TABLES = 1 << 20
"""The most tables of one level: 4 GiB of entries, more than any machine needs for one process's tables."""

MAX_FINDINGS = 1 << 16
"""The most malformed entries that are collected."""


def tables_of(space: PageTables | AddressSpace) -> PageTables:
    """The page tables of an address space; page tables are handed back as they are."""
    return space.tables if isinstance(space, AddressSpace) else space


def bounds(form: PagingFormat, start: int | None, end: int | None) -> tuple[int, int]:
    """The first and the last byte of a range; both canonical halves if it is not said.

    Raises:
        WalkError: EINVAL: an empty range, or not whole pages.
        NonCanonical: A bound lies between the halves.
    """
    start = 0 if start is None else start
    end = 1 << 64 if end is None else end
    if start >= end:
        raise WalkError(errno.EINVAL, f"empty range: start {start:#x} is not below end {end:#x}")
    if (start | end) % form.page_size:
        raise WalkError(errno.EINVAL, f"[{start:#x}, {end:#x}) is not aligned to pages of {form.page_size:#x} bytes")
    for vaddr in (start, end - 1):
        if not 0 <= vaddr < 1 << 64 or not form.is_canonical(vaddr):
            (_, low), (high, _) = form.halves
            why = f"not canonical: {form.name} has addresses below {low:#x} and from {high:#x} on"
            raise NonCanonical(vaddr, -1, 0, why)
    return start, end - 1


class Findings:
    """What is wrong with the tables: raised, or collected and passed over.

    Args:
        tables: The page tables, which word the errors.
        collected: Where to collect; None to raise the first.
    """

    def __init__(self, tables: PageTables, collected: list[TranslationError] | None) -> None:
        self.tables = tables
        self.collected = collected

    def add(self, error: TranslationError) -> None:
        """Collect an error, or raise it."""
        if self.collected is None:
            raise error
        if len(self.collected) >= MAX_FINDINGS:
            raise UnsupportedError(
                f"more than {MAX_FINDINGS:,} entries are malformed, the last one at {error.vaddr:#x}: "
                "these are no page tables of this format, or the root is wrong"
            )
        self.collected.append(error)

    def reserved(self, level: Level, entries: Words, vaddrs: Words) -> None:
        """Entries that set reserved bits; the scalar walk meets a folded level at the lowest level that shows it."""
        while self.tables.format.folds_into_next(level):
            level = self.tables.format.levels[level.depth + 1]
        for value, vaddr in zip(entries.tolist(), vaddrs.tolist(), strict=True):
            try:
                self.tables.check(value, level, vaddr)
            except TranslationError as error:
                self.add(error)

    def missing(self, level: Level, entries: Words, vaddrs: Words) -> None:
        """Entries that point to a table of ``level`` outside the memory."""
        above = self.tables.format.levels[max(level.depth - 1, 0)]
        for value, vaddr in zip(entries.tolist(), vaddrs.tolist(), strict=True):
            try:
                if level.depth == 0:
                    _ = self.tables.root_table
                else:
                    self.tables.child(Entry(Table(self.tables, 0, above, [value]), 0), vaddr)
            except TranslationError as error:
                self.add(error)


@dataclass(slots=True)
class _Tables:
    """The tables of one level, in the order of their addresses.

    Attributes:
        paddr: Where each is. Shape (n,), uint64, as the next ones.
        vaddr: The first address it translates.
        rights: The ``Flag`` rights that the levels above grant.
        entry: The entry that points to it.
        trail: The tables above it, shape (n, levels above).
    """

    paddr: Words
    vaddr: Words
    rights: Words
    entry: Words
    trail: Words

    def __len__(self) -> int:
        return len(self.paddr)

    def __getitem__(self, key: slice | Mask) -> _Tables:
        return _Tables(self.paddr[key], self.vaddr[key], self.rights[key], self.entry[key], self.trail[key])

    @classmethod
    def join(cls, parts: list[_Tables]) -> _Tables:
        """The parts as one."""
        return cls(
            np.concatenate([part.paddr for part in parts]),
            np.concatenate([part.vaddr for part in parts]),
            np.concatenate([part.rights for part in parts]),
            np.concatenate([part.entry for part in parts]),
            np.concatenate([part.trail for part in parts]),
        )


@dataclass(slots=True)
class Batch:
    """Some tables of one level, decoded as far as every question needs it. Masks and matrices: shape (n, entries).

    Attributes:
        level: Their level.
        depth: Its real depth, as the kernel counts.
        vaddr: The first address of each entry, uint64.
        entries: Raw entries, uint64.
        rights: What the levels above grant, shape (n, 1), uint64.
        empty: Entries in the range that hold nothing.
        held: Sound entries in the range that hold something other than a table.
    """

    level: Level
    depth: int
    vaddr: Words
    entries: Words
    rights: Words
    empty: Mask
    held: Mask


def sweep(tables: PageTables, first: int, last: int, findings: Findings) -> Iterator[Batch]:
    """The tables that cover the addresses ``[first, last]``, level by level, within a level by address.

    Raises:
        ReservedBits, Malformed: An entry is not one, and ``findings`` does not collect.
        UnsupportedError: A level would need more than ``MAX_TABLES`` tables, or more than ``MAX_FINDINGS`` are wrong.
    """
    form = tables.format
    gather = Gather(tables.memory, form)
    here = _root(tables)
    for level, below in zip(form.real_levels, (*form.real_levels[1:], None), strict=True):
        found: list[_Tables] = []
        count = 0
        for at in range(0, len(here), BATCH):
            some, entries = _read(gather, here[at : at + BATCH], level, findings)
            batch, children = _decode(form, level, some, entries, (first, last), findings)
            yield batch
            count += len(children)
            if below is not None and count > MAX_TABLES:
                raise UnsupportedError(
                    f"{below.name} tables from {here.vaddr[0]:#x} on: more than {MAX_TABLES:,} of them are reachable; "
                    "the tables are looped or shared over and over: ask for a smaller range"
                )
            found.append(children)
        if below is None or not count:
            return
        here = _Tables.join(found)


def _root(tables: PageTables) -> _Tables:
    """The top table."""
    one = np.zeros(1, np.uint64)
    root = one + tables.root
    return _Tables(root, one, one + int(Flag.rights()), root, np.zeros((1, 0), np.uint64))


def _read(gather: Gather, some: _Tables, level: Level, findings: Findings) -> tuple[_Tables, Words]:
    """The entries of tables, without the tables that are not in the memory."""
    entries, found = gather.rows(some.paddr, level)
    if found.all():
        return some, entries
    gone = some[~found]
    findings.missing(level, gone.entry, gone.vaddr)
    return some[found], entries[found]


def _decode(
    form: PagingFormat, level: Level, some: _Tables, entries: Words, span: tuple[int, int], findings: Findings
) -> tuple[Batch, _Tables]:
    """What a batch of tables holds, and the tables below it."""
    vaddr = _addresses(form, level, some.vaddr)
    inside = (vaddr <= span[1]) & (vaddr + (level.span - 1) >= span[0])
    wrong = inside & form.is_valid(entries) & (form.reserved(entries, level) != 0)
    if wrong.any():
        findings.reserved(level, entries[wrong], vaddr[wrong])
        inside &= ~wrong
    empty = inside & form.is_none(entries)
    table = inside & form.is_table(entries, level)
    batch = Batch(
        level, form.real_depths[level.depth], vaddr, entries, some.rights[:, None], empty, inside & ~empty & ~table
    )
    return batch, _below(form, level, some, batch, table, findings)


def _addresses(form: PagingFormat, level: Level, vaddr: Words) -> Words:
    """The first address of every entry of tables that begin at ``vaddr``."""
    each = vaddr[:, None] + (np.arange(level.entries, dtype=np.uint64) << level.shift)
    if level.depth:
        return each
    (_, low), (high, _) = form.halves
    return each + (each >= low) * np.uint64(high - low)


def _below(form: PagingFormat, level: Level, some: _Tables, batch: Batch, table: Mask, findings: Findings) -> _Tables:
    """The tables that a batch points to."""
    row, column = np.nonzero(table)
    entries, vaddr = batch.entries[row, column], batch.vaddr[row, column]
    trail = np.concatenate([some.trail[row], some.paddr[row, None]], axis=1)
    children = _Tables(form.table_paddr(entries), vaddr, some.rights[row] & form.table_flags(entries), entries, trail)
    if findings.collected is not None:
        _note_loops(level, batch.depth, children, findings)
    return children


def _note_loops(level: Level, depth: int, children: _Tables, findings: Findings) -> None:
    """Collect the tables that stand above themselves. They are walked all the same, as the hardware would."""
    looped = children[(children.trail == children.paddr[:, None]).any(axis=1)]
    for paddr, vaddr, entry in zip(looped.paddr.tolist(), looped.vaddr.tolist(), looped.entry.tolist(), strict=True):
        why = f"the table at {paddr:#x} below a {level.name} entry is its own ancestor"
        findings.add(Malformed(vaddr, depth, entry, why))
