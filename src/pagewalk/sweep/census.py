"""How much there is, without listing it.

How it works. A table that many entries point to is looked at once a level, and what it holds is multiplied by how often
it is reached. So the work is bounded by the memory's size, not by what the tables pretend to map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Flag, Kind, Rights
from pagewalk.formats.codec import KIND_SHIFT, KINDS
from pagewalk.formats.flags import BARE
from pagewalk.sweep.chunk import Tables, all_match, bounds_of, mostly_match, open_chunk
from pagewalk.sweep.fast import fast_for
from pagewalk.sweep.filters import Filter
from pagewalk.sweep.findings import Findings
from pagewalk.sweep.questions import ends_of, selected
from pagewalk.sweep.reader import Reader, bounds, parts_of, pieces, tables_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.formats import Level
    from pagewalk.formats.arrays import States
    from pagewalk.space import AddressSpace
    from pagewalk.sweep.chunk import Chunk
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Rows = npt.NDArray[np.void]

__all__ = ["COUNT", "Census", "count"]

COUNT: Final = np.dtype([("kind", "u1"), ("page_size", "u8"), ("entries", "u8")], align=True)
"""How many entries there are of a kind and a size."""

_COMPRESS: Final = 1 << 20
_RIGHTS: Final = int(Rights.all() | BARE).bit_length()


def _numbers(states: States) -> npt.NDArray[np.uint8]:
    """The kinds of states, ``KINDS + 1`` higher where they are of groups."""
    found: Any = np.asarray(states, np.uint32)
    return (found >> KIND_SHIFT & KINDS | (found & int(Flag.GROUPED)) >> _GROUP_SHIFT).astype(np.uint8)


_GROUP_SHIFT: Final = 27


def count(
    tables: PageTables | AddressSpace,
    start: int | None = None,
    end: int | None = None,
    *,
    where: Filter | None = None,
    findings: list[TranslationError] | None = None,
) -> Rows:
    """Count what page tables hold in ``[start, end)``, by kind and page size.

    Args:
        tables: Page tables, or an address space for its tables.
        start, end: Virtual addresses in bytes, whole pages; None for both canonical halves. A huge page that reaches
            out of the range counts.
        where: Only the entries that pass.
        findings: Collects what is malformed, each entry once however often it is reached, instead of raising the first.

    Returns:
        A structured array by kind and page size, dtype ``COUNT``; the sum of its ``entries`` is the number of rows that
        ``mappings(coalesce=False)`` would give.

    Raises:
        WalkError, NonCanonical, ReservedBits, Malformed: As ``mappings``.
    """
    tables = tables_of(tables)
    span = bounds(tables, start, end)
    found = Findings(tables, findings, span[0])
    census = Census(where or Filter())
    for windows, part in parts_of(tables, span):
        census.add(Reader(tables, windows, part, found))
    found.close()
    return census.rows()


class Census:
    """One count.

    Args:
        wanted: Which entries count.
    """

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._found: dict[tuple[int, int], int] = {}

    @property
    def total(self) -> int:
        """All that were counted."""
        return sum(self._found.values())

    def rows(self) -> Rows:
        """The result, dtype ``COUNT``."""
        return np.array([(kind, size, found) for (kind, size), found in sorted(self._found.items()) if found], COUNT)

    def add(self, reader: Reader) -> None:
        """Count what a reader reads, level by level."""
        tables = reader.root()
        times = np.ones(len(tables), np.uint64)
        for level in reader.levels:
            tables, times = self._level(reader, level, tables, times)
            if not len(tables):
                return

    def _level(self, reader: Reader, level: Level, tables: Tables, times: Words) -> tuple[Tables, Words]:
        """Count what ends at a level; the tables of the next one, and how often each is reached."""
        found: list[tuple[Tables, Words]] = [(tables[:0], times[:0])]
        fast = fast_for(reader, self._wanted) if level.is_last else None
        kinds = np.zeros(2 * (KINDS + 1), np.uint64)  # those of groups behind the others
        for some in pieces(len(tables), level.entries):
            present, entries = tables[some], times[some]
            if fast is not None and fast.count(present, entries, kinds):
                continue
            asked = present
            present, words = reader.read(level, asked)
            if len(present) < len(asked):
                entries = entries[asked.vaddr.searchsorted(present.vaddr)]
            if not len(present) or self._by_sight(reader, level, (present, words), entries):
                continue
            chunk, children = open_chunk(
                level, present, words, reader.span, reader.findings, only_valid=reader.only_valid
            )
            self._add(chunk, entries)
            if children is not None and len(children):
                parents = chunk.tables.vaddr.searchsorted(children.vaddr, side="right") - 1
                found.append((children, entries[parents]))
                if sum(len(part) for part, _ in found) > _COMPRESS:
                    found = [self._distinct(reader, found, level)]
        for number, many in enumerate(kinds.tolist()):
            self._increase(level, number, many)
        return self._distinct(reader, found, level)

    def _by_sight(self, reader: Reader, level: Level, read: tuple[Tables, Words], times: Words) -> bool:
        """Count tables of the last level whose present pages need not be decoded; whether they are such.

        All that is visible to the hardware is a page there, unless it is wrong: one comparison tells them.
        """
        visible, arrays, often = level.codec.visible, level.arrays, int(times[0])
        if not (
            self._wanted.everything
            and level.is_last
            and visible
            and often == int(times.min()) == int(times.max())
            and not (read[0].rights[0] ^ read[0].rights[-1]) & BARE
        ):
            return False
        tables, words = read
        flat = words.reshape(-1)[slice(*bounds_of(level, tables.vaddr, reader.span))]
        if not mostly_match(flat, visible) or arrays.wrong(flat) is not None:
            return False
        seen: Any = all_match(flat, visible) or flat & np.uint64(visible.mask) == np.uint64(visible.value)
        pages = len(flat) if seen is True else int(np.count_nonzero(seen))
        grouped = int(np.count_nonzero(arrays.is_grouped(flat) & seen))
        self._increase(level, int(Kind.PRESENT), (pages - grouped) * often)
        self._increase(level, int(Kind.PRESENT) + KINDS + 1, grouped * often)
        if pages < len(flat):
            hidden = flat.take(np.flatnonzero(~seen), mode="clip")
            held = hidden.take(arrays.places(hidden), mode="clip")
            if len(held):
                self._note(
                    level, arrays.states(held, int(tables.rights[0]) & BARE | int(Rights.all())), len(held), often
                )
        return True

    def _add(self, chunk: Chunk, times: Words) -> None:
        """Count what ends in a chunk."""
        ends = ends_of(chunk)
        states: States
        if self._wanted.everything and chunk.valid and len(chunk.level.page_sizes) == 1:
            entries, places, states = *ends, Kind.PRESENT << KIND_SHIFT  # whatever their flags are
        else:
            entries, places, states = selected(chunk, self._wanted, *ends)
        if self._wanted.frames is not None and len(entries):
            vaddrs, arrays = chunk.vaddrs(places), chunk.level.arrays
            frames = arrays.addresses(entries, states, vaddrs)
            passes: Any = self._wanted.by_frame(frames, _numbers(states) & np.uint8(KINDS), chunk.level.span)
            at = np.flatnonzero(passes)
            entries, places = entries[at], at + chunk.first if places is None else places[at]
            states = states if isinstance(states, int) else states[at]
        if not len(entries):
            return
        if int(times.min()) == int(times.max()):
            self._note(chunk.level, states, len(entries), int(times[0]))
            return
        if places is None:
            places = np.arange(chunk.first, chunk.end, dtype=np.intp)
        weights = times[places >> chunk.level.index_bits].astype(np.float64)  # exact: below 2**53
        numbers = np.broadcast_to(_numbers(states), len(entries))
        for number, found in enumerate(np.bincount(numbers, weights).tolist()):
            self._increase(chunk.level, number, int(found))

    def _note(self, level: Level, states: States, entries: int, times: int) -> None:
        """Count entries that are all reached equally often."""
        if isinstance(states, int):
            self._increase(level, int(_numbers(states)), entries * times)
            return
        for number, found in enumerate(np.bincount(_numbers(states)).tolist()):
            self._increase(level, number, found * times)

    def _increase(self, level: Level, number: int, found: int) -> None:
        """Count entries of a kind, those of groups apart."""
        if found:
            key = number & KINDS, level.page_sizes[-1] if number > KINDS else level.span
            self._found[key] = self._found.get(key, 0) + found

    @staticmethod
    def _distinct(reader: Reader, found: list[tuple[Tables, Words]], level: Level) -> tuple[Tables, Words]:
        """Each table once, with how often it is reached; by address, at the lowest address that reaches it.

        The tables that reach out of the range stay apart: they are not looked at as a whole.
        """
        tables, times = Tables.join([part for part, _ in found]), np.concatenate([part for _, part in found])
        if len(tables) < 2:
            return tables, times
        if (tables.vaddr[1:] < tables.vaddr[:-1]).any():
            order = np.argsort(tables.vaddr, kind="stable")
            tables, times = tables[order], times[order]
        first, last = reader.span
        size = level.span
        low = int(int(tables.vaddr[0]) < first)
        high = len(tables) - int(int(tables.vaddr[-1]) + size - 1 > last)
        paddrs = level.arrays.tables(tables.entry[low:high])
        ordered = np.sort(paddrs)
        if len(paddrs) < 2 or not (ordered[1:] == ordered[:-1]).any():
            return tables, times
        keys = paddrs << np.uint64(_RIGHTS) | tables.rights[low:high]
        alike = np.argsort(keys, kind="stable")  # the first of those that are alike has the lowest address
        ordered = keys[alike]
        begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        firsts, sums = alike[begins], np.add.reduceat(times[low:high][alike], begins)
        by_address = np.argsort(firsts)
        kept = np.concatenate([np.arange(low), firsts[by_address] + low, np.arange(high, len(tables))])
        return tables[kept], np.concatenate([times[:low], sums[by_address], times[high:]])
