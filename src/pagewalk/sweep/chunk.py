"""Some tables of one level, looked at as far as every question needs it.

How it works. The tables of a chunk stand in the order of their addresses, so that their entries, put end to end, are
one array by address, and the part of it that lies in the range is one slice. What is empty is left out by one
``flatnonzero``; where nothing is, not even that is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat
    from pagewalk.sweep.bits import Codec
    from pagewalk.sweep.findings import Findings

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Chunk", "Tables", "bounds_of", "open_chunk", "place_of"]

_SAMPLE: Final = 97


@dataclass(slots=True)
class Tables:
    """Tables of one level, by address.

    Attributes:
        entry: The entry that points to each. Shape (n,), uint64.
        vaddr: The first address it translates. Shape (n,), uint64.
        rights: The ``Flag`` rights that the levels above grant. Shape (n,), uint8.
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
        half: The place where the upper half begins, in the top table; 0 in others.
        valid: All entries are known to be valid.
    """

    form: PagingFormat
    level: Level
    depth: int
    tables: Tables
    first: int
    end: int
    places: Places | None
    entries: Words
    ends: Mask | None
    even: bool
    half: int
    valid: bool

    def vaddrs(self, places: Places | None, out: Words | None = None) -> Words:
        """The first addresses of entries at ascending places; None: of all places in the range."""
        level, tables = self.level, self.tables
        if self.even and not self.half:
            base = int(tables.vaddr[0]) + (self.first << level.shift if places is None else 0)
            steps: Any = _ramp(level.shift, self.end - self.first) if places is None else places.view(np.uint64)
            if places is not None:
                steps = steps << np.uint64(level.shift)
            return np.add(steps, np.uint64(base), out=out)
        bits, shift = level.index_bits, np.uint64(level.shift)
        if places is None and not self.half and self.end - self.first == len(tables) << bits:
            whole = np.empty(len(tables) << bits, np.uint64) if out is None else out
            np.add(tables.vaddr[:, None], _ramp(level.shift, level.entries), out=whole.reshape(len(tables), -1))
            return whole
        ahead = tables.vaddr - (np.arange(len(tables), dtype=np.uint64) << np.uint64(bits) << shift)  # may wrap
        if places is None:
            places = np.arange(self.first, self.end, dtype=np.intp)
        borders = np.searchsorted(places, np.arange(1, len(tables)) << bits)
        counts = np.diff(borders, prepend=0, append=len(places))
        vaddrs: Words = np.left_shift(places.view(np.uint64), shift, out=out)
        vaddrs += np.repeat(ahead, counts)
        if self.half:
            (_, low), (high, _) = self.form.halves
            vaddrs[np.searchsorted(places, self.half) :] += np.uint64(high - low)
        return vaddrs

    def rights(self, places: Places | None) -> npt.NDArray[np.uint8] | int:
        """What the levels above grant to entries: one value for all, or one each."""
        rights = self.tables.rights
        if int(rights.min()) == int(rights.max()):
            return int(rights[0])
        if places is None:
            places = np.arange(self.first, self.end, dtype=np.intp)
        return rights[places >> self.level.index_bits]


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
    codec: Codec,
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
        codec: The format's decoder.
        level: The tables' level.
        tables: The tables, by address; at least one.
        entries: Their raw entries. Shape (n, entries), uint64.
        span: The range's first and last byte.
        findings: Takes what is wrong.
        only_valid: Nobody asks for entries that are not valid: they count as empty.

    Returns:
        The chunk, and the tables that its entries point to; None on the last level.
    """
    form = codec.form
    first, end = bounds_of(form, level, tables.vaddr, span)
    flat = entries.reshape(-1)[first:end]
    above = level.shift + level.index_bits
    even = len(tables) == 1 or bool((tables.vaddr[1:] - tables.vaddr[:-1] == np.uint64(1 << above)).all())
    half = 0 if level.depth else level.entries // 2
    last = level is form.levels[-1]
    valid = last and _all_valid(codec, flat)
    depth = form.real_depths[level.depth]
    chunk = Chunk(form, level, depth, tables, first, end, None, flat, None, even, half, valid)
    if not valid:
        _leave_empty_out(codec, chunk, only_valid=only_valid)
    _set_wrong_aside(codec, chunk, findings)
    return chunk, None if last else _below(chunk)


def _all_valid(codec: Codec, flat: Words) -> bool:
    """Whether all entries are valid. A sample mostly tells."""
    valid = int(codec.valid_bit)
    return bool(np.bitwise_and.reduce(flat[::_SAMPLE]) & valid) and bool(np.bitwise_and.reduce(flat) & valid)


def _leave_empty_out(codec: Codec, chunk: Chunk, *, only_valid: bool) -> None:
    """Find the entries that are not empty."""
    flat = chunk.entries
    held = np.flatnonzero((flat & codec.valid_bit if only_valid else flat) != 0)
    found = flat if len(held) == len(flat) else flat.take(held, mode="clip")
    if len(found) and int(found.min()) <= codec.form.software.none_ignores:  # stray bits alone are nothing
        sound = found & codec.held_bits != 0
        held, found = held[sound], found[sound]
    if len(held) < len(flat):
        held += chunk.first
        chunk.places, chunk.entries = held, found


def bounds_of(form: PagingFormat, level: Level, vaddr: Words, span: tuple[int, int]) -> tuple[int, int]:
    """The places of a chunk that lie in the range."""
    first = place_of(form, level, int(vaddr[0]), max(span[0], int(vaddr[0])))
    last = place_of(form, level, int(vaddr[-1]), span[1])
    return first, (len(vaddr) - 1) * level.entries + last + 1


def place_of(form: PagingFormat, level: Level, base: int, vaddr: int) -> int:
    """The slot of an address in the table that begins at ``base``; the last one if it lies beyond."""
    offset = vaddr - base if level.depth else vaddr & (1 << form.vaddr_bits) - 1
    return min(offset >> level.shift, level.entries - 1)


def _set_wrong_aside(codec: Codec, chunk: Chunk, findings: Findings) -> None:
    """Report entries that set reserved bits, and leave them out."""
    level, entries = chunk.level, chunk.entries
    bits = level.reserved_leaf | level.reserved_table
    if not len(entries) or not int(np.bitwise_or.reduce(entries)) & bits:
        return
    wrong: Mask = chunk.form.is_valid(entries) & (chunk.form.reserved(entries, level) != 0)
    if wrong.any():
        bad = np.flatnonzero(wrong)
        places = bad + chunk.first if chunk.places is None else chunk.places[bad]
        findings.reserved(level, entries[bad], chunk.vaddrs(places))
        chunk.ends = ~wrong


def _below(chunk: Chunk) -> Tables:
    """The tables that a chunk's entries point to; they no longer count among its ends."""
    form, entries = chunk.form, chunk.entries
    table: Mask = form.is_table(entries, chunk.level)
    if chunk.ends is not None:
        table &= chunk.ends
        chunk.ends &= ~table
    else:
        chunk.ends = ~table
    at = np.flatnonzero(table)
    places = at + chunk.first if chunk.places is None else chunk.places[at]
    children, vaddrs = entries[at], chunk.vaddrs(places)  # copied: the buffer will hold other tables
    rights: Any = _passed_on(form, children) & np.uint64(0xFF)
    rights &= chunk.rights(places) if len(children) else 0
    return Tables(children, vaddrs, rights.astype(np.uint8))


def _passed_on(form: PagingFormat, children: Words) -> Words:
    """The rights that entries pass on; mostly the same ones."""
    mask = sum(1 << row.bit for row in form.table_rights)
    if len(children) and not int(np.bitwise_or.reduce(children) ^ np.bitwise_and.reduce(children)) & mask:
        return np.full(len(children), form.table_flags(int(children[0])), np.uint64)
    rights: Words = form.table_flags(children)
    return rights
