"""Some tables of one level, looked at as far as every question needs it.

How it works. The tables of a chunk stand in the order of their addresses, so that their entries, put end to end, are
one array by address, and the part of it that lies in the range is one slice. What is empty is left out by one
``flatnonzero``; where nothing is, not even that is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats.flags import BARE

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, Pattern
    from pagewalk.formats.arrays import States
    from pagewalk.sweep.findings import Findings

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Chunk", "Tables", "all_match", "bounds_of", "mostly_match", "open_chunk", "place_of"]

_SAMPLE: Final = 97


@dataclass(slots=True)
class Tables:
    """Tables of one level, by address.

    Attributes:
        entry: The entry that points to each. Shape (n,), uint64.
        vaddr: The first address it translates. Shape (n,), uint64.
        rights: The ``Rights`` that the levels above grant. Shape (n,), uint8.
    """

    entry: Words
    vaddr: Words
    rights: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.entry)

    def __getitem__(self, key: Any) -> Tables:
        return Tables(self.entry[key], self.vaddr[key], self.rights[key])

    @classmethod
    def join(cls, parts: list[Tables]) -> Tables:
        """The parts as one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.entry for part in parts]),
            np.concatenate([part.vaddr for part in parts]),
            np.concatenate([part.rights for part in parts]),
        )


@dataclass(slots=True)
class Chunk:
    """Entries of some tables. A *place* is an entry's number, counted from the first entry of the first table.

    Attributes:
        level: Their level.
        depth: Its real depth, as the kernel counts.
        tables: The tables.
        first, end: The places that lie in the range.
        places: Those of the entries that are not empty, ascending; None: all that lie in the range.
        entries: The raw entries there.
        ends: Which of ``places`` end a translation, neither table nor wrong; None: all of them.
        even: The tables' addresses follow each other without a gap.
        valid: The hardware is known to take all entries as present.
    """

    level: Level
    depth: int
    tables: Tables
    first: int
    end: int
    places: Places | None
    entries: Words
    ends: Mask | None
    even: bool
    valid: bool

    def vaddrs(self, places: Places | None, out: Words | None = None) -> Words:
        """The first addresses of entries at ascending places; None: of all places in the range."""
        level, tables = self.level, self.tables
        if self.even:
            base = int(tables.vaddr[0]) + (self.first << level.shift if places is None else 0)
            steps: Any = _ramp(level.shift, self.end - self.first) if places is None else places.view(np.uint64)
            if places is not None:
                steps = steps << np.uint64(level.shift)
            return np.add(steps, np.uint64(base), out=out)
        bits, shift = level.index_bits, np.uint64(level.shift)
        if places is None and self.end - self.first == len(tables) << bits:
            whole = np.empty(len(tables) << bits, np.uint64) if out is None else out
            np.add(tables.vaddr[:, None], _ramp(level.shift, level.entries), out=whole.reshape(len(tables), -1))
            return whole
        ahead = tables.vaddr - (np.arange(len(tables), dtype=np.uint64) << np.uint64(bits) << shift)  # may wrap
        if places is None:
            places = np.arange(self.first, self.end, dtype=np.intp)
        borders = places.searchsorted(np.arange(len(tables) + 1) << bits)  # of tables: none lies outside
        vaddrs: Words = np.left_shift(places.view(np.uint64), shift, out=out)
        vaddrs += np.repeat(ahead, borders[1:] - borders[:-1])
        return vaddrs

    def states(self, entries: Words, places: Places | None) -> States:
        """The states of some of the entries, with the rights that the levels above leave them."""
        arrays, rights = self.level.arrays, self.tables.rights
        if int(rights.min()) == int(rights.max()):
            return arrays.states(entries, int(rights[0]))
        if places is None:
            places = np.arange(self.first, self.end, dtype=np.intp)
        return arrays.states(entries, parts=arrays.parts(rights)[places >> self.level.index_bits])


_MOST: Final = 1 << 18
_RAMPS: dict[int, Words] = {}


def _ramp(shift: int, count: int) -> Words:
    """The first ``count`` multiples of a span; kept for as many entries as most chunks hold."""
    if count > _MOST:
        return np.arange(count, dtype=np.uint64) << np.uint64(shift)
    if shift not in _RAMPS:
        _RAMPS[shift] = np.arange(_MOST, dtype=np.uint64) << np.uint64(shift)
    return _RAMPS[shift][:count]


def open_chunk(
    level: Level,
    tables: Tables,
    entries: Words,
    span: tuple[int, int],
    findings: Findings,
    *,
    only_valid: bool = False,
) -> tuple[Chunk, Tables | None]:
    """Look at the entries of tables.

    Args:
        level: The tables' level.
        tables: The tables, by address; at least one.
        entries: Their raw entries. Shape (n, entries), uint64.
        span: The range's first and last byte.
        findings: Takes what is wrong.
        only_valid: Nobody asks for entries that are not valid: they count as empty.

    Returns:
        The chunk, and the tables that its entries point to; None on the last level.
    """
    first, end = bounds_of(level, tables.vaddr, span)
    flat = entries.reshape(-1)[first:end]
    above = level.shift + level.index_bits
    even = len(tables) == 1 or bool((tables.vaddr[1:] - tables.vaddr[:-1] == np.uint64(1 << above)).all())
    visible = level.codec.visible
    valid = level.is_last and visible is not None and all_match(flat, visible)
    chunk = Chunk(level, level.real_depth, tables, first, end, None, flat, None, even, valid)
    if not valid:
        _leave_empty_out(chunk, visible if only_valid else None)
    _set_wrong_aside(chunk, findings)
    return chunk, None if level.is_last else _below(chunk)


def all_match(flat: Words, pattern: Pattern) -> bool:
    """Whether all entries match a pattern. A sample mostly tells."""
    return _match(flat[::_SAMPLE], pattern) and _match(flat, pattern)


def mostly_match(flat: Words, pattern: Pattern) -> bool:
    """Whether more than half of the entries match a pattern, by a sample."""
    sample = flat[::_SAMPLE]
    matching = int(np.count_nonzero(sample & np.uint64(pattern.mask) == np.uint64(pattern.value)))
    return 2 * matching > len(sample)


def _match(flat: Words, pattern: Pattern) -> bool:
    """Whether all entries have the ones of a pattern, and its zeros."""
    ones, zeros = pattern.value, pattern.mask & ~pattern.value
    has = not ones or int(np.bitwise_and.reduce(flat)) & ones == ones
    return has and (not zeros or not int(np.bitwise_or.reduce(flat)) & zeros)


def _leave_empty_out(chunk: Chunk, visible: Pattern | None) -> None:
    """Find the entries that are not empty, or those alone that match a pattern."""
    flat = chunk.entries
    if visible is None:
        held = chunk.level.arrays.places(flat)
    else:
        held = np.flatnonzero(flat & np.uint64(visible.mask) == np.uint64(visible.value))
    if len(held) < len(flat):
        chunk.entries = flat.take(held, mode="clip")
        held += chunk.first
        chunk.places = held


def bounds_of(level: Level, vaddr: Words, span: tuple[int, int]) -> tuple[int, int]:
    """The places of a chunk that lie in the range."""
    first = place_of(level, int(vaddr[0]), max(span[0], int(vaddr[0])))
    last = place_of(level, int(vaddr[-1]), span[1])
    return first, (len(vaddr) - 1) * level.entries + last + 1


def place_of(level: Level, base: int, vaddr: int) -> int:
    """The slot of an address in the table that begins at ``base``; the last one if it lies beyond."""
    return min(vaddr - base >> level.shift, level.entries - 1)


def _set_wrong_aside(chunk: Chunk, findings: Findings) -> None:
    """Report entries that the hardware would fault on, and leave them out."""
    wrong = chunk.level.arrays.wrong(chunk.entries)
    if wrong is not None:
        bad = np.flatnonzero(wrong)
        places = bad + chunk.first if chunk.places is None else chunk.places[bad]
        findings.reserved(chunk.level, chunk.entries[bad], chunk.vaddrs(places))
        chunk.ends = ~wrong


def _below(chunk: Chunk) -> Tables:
    """The tables that a chunk's entries point to; they no longer count among its ends."""
    arrays, entries = chunk.level.arrays, chunk.entries
    table = arrays.is_table(entries)
    if chunk.ends is not None:
        table &= chunk.ends
        chunk.ends &= ~table
    else:
        chunk.ends = ~table
    at = np.flatnonzero(table)
    places = at + chunk.first if chunk.places is None else chunk.places[at]
    children, vaddrs = entries[at], chunk.vaddrs(places)  # copied: the buffer will hold other tables
    rights = (arrays.rights(children) | BARE) & chunk.tables.rights[places >> chunk.level.index_bits]
    return Tables(children, vaddrs, rights)
