"""Chunks through the compiled kernels, where they can take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.sweep.chunk import bounds_of
from pagewalk.sweep.columns import part
from pagewalk.sweep.jit import kernels
from pagewalk.sweep.questions import Pages, Runs

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.sweep.chunk import Tables
    from pagewalk.sweep.columns import Block
    from pagewalk.sweep.descent import Reader
    from pagewalk.sweep.filters import Filter
    from pagewalk.sweep.questions import Question, Room

    Words = npt.NDArray[np.uint64]

__all__ = ["Fast", "fast_for"]

_STATE: Final = (1 << 32) - 1 - int(Flag.rights())
MOST_RUNS: Final = 3
"""Runs of significant bits that the kernels have room for."""
_SAMPLE: Final = 8
_NOTHING: Final = np.empty(0, np.uint64)


def fast_for(reader: Reader, wanted: Filter) -> Fast | None:
    """The compiled way for the tables of the last level; None where NumPy sweeps.

    Raises:
        UnsupportedError: ``PAGEWALK_ENGINE`` asks for an engine that is not there.
    """
    compiled = kernels()
    level = reader.tables.format.real_levels[-1]
    plain = len(reader.tables.format.address) == 1 and len(reader.codec.runs) <= MOST_RUNS
    plain = plain and wanted.frames is None and wanted.level_passes(level)
    grid = reader.source.one_grid(level)
    return Fast(compiled, reader, wanted, grid) if compiled is not None and plain and grid is not None else None


class Fast:
    """The kernels, with their arguments made ready.

    Args:
        compiled: The module of kernels.
        reader: Says where the tables are.
        wanted: Which entries.
        grid: The tables.
    """

    def __init__(self, compiled: Any, reader: Reader, wanted: Filter, grid: Any) -> None:
        form, codec = reader.tables.format, reader.codec
        self._compiled = compiled
        self._reader = reader
        self._grid = grid
        self._level = form.real_levels[-1]
        ((mask, up, down),) = form.address
        kinds = range(len(Kind)) if wanted.kinds is None else [int(kind) for kind in wanted.kinds]
        held = codec.valid_bit if reader.only_valid else codec.held_bits
        self._bits = (
            held,
            np.uint64(self._level.reserved_leaf),
            np.uint64(mask & codec.page_mask(self._level)),
            np.uint32(int(wanted.having)),
            np.uint32(int(wanted.lacking)),
            np.uint32(sum(1 << kind for kind in kinds)),
            np.uint32(int(Flag.NO_FRAME) & codec.state_flags),
            np.uint64(codec.significant),
        )
        self._shifts = (
            np.uint64(self._level.shift),
            np.uint64(down),
            np.uint64(up),
            codec.valid_bit,
            np.uint64(form.valid),
        )
        moves = [part for run in codec.runs for part in (run.first, run.mask >> run.to, run.to)]
        self._moves = tuple(map(np.uint64, moves + [0] * (3 * MOST_RUNS - len(moves))))

    def _places(self, some: Tables) -> tuple[Any, ...] | None:
        """Tables as the kernels take them; None if they are not all in the grid."""
        rows, outside = self._grid.rows(self._reader.paddrs(self._level, some))
        if outside is not None:
            return None
        first, end = bounds_of(self._reader.tables.format, self._level, some.vaddr, self._reader.span)
        granted = some.rights.astype(np.uint32) | np.uint32(_STATE)
        return rows, some.vaddr, granted, (np.int64(first), np.int64(end), *self._shifts)

    def rows(self, question: Question, some: Tables, between: Block, room: Room) -> Block | None:
        """A chunk's rows and those between them, by address; None if NumPy has to see to it."""
        places = self._places(some)
        if places is None or not isinstance(question, Pages | Runs) or (isinstance(question, Runs) and len(between[0])):
            return None
        if isinstance(question, Pages) and self._looks_even(places[0]):
            return None
        most = len(some) * self._level.entries + len(between[0])
        block = room(most)
        if block is None:
            block = tuple(np.empty(most, dtype) for dtype in question.schema.dtypes)
        count, failed = self._run(question, places, between, block)
        if failed and self._teach(places):
            count, failed = self._run(question, places, between, block)
        if failed:
            return None
        rows = part(block, slice(0, count))
        return rows if 2 * count > most or room(1) is not None else tuple(column.copy() for column in rows)

    def _looks_even(self, rows: Any) -> bool:
        """Whether tables seem full of pages that are all alike: then NumPy's few passes are the faster way."""
        sample = self._grid.tables[rows[:: len(rows) // _SAMPLE + 1], 3::61]
        low, high = int(np.bitwise_and.reduce(sample, None)), int(np.bitwise_or.reduce(sample, None))
        return bool(low & int(self._reader.codec.valid_bit)) and not (low ^ high) & self._reader.codec.significant

    def _run(self, question: Question, places: tuple[Any, ...], between: Block, block: Block) -> tuple[int, int]:
        """The kernel for a question: how many rows, and whether it gave up."""
        depth = np.uint8(self._level.depth)
        common = (self._grid.tables, *places, self._bits, self._reader.codec.lookup, self._moves)
        if isinstance(question, Runs):
            count, failed = self._compiled.list_runs(*common, block, depth)
        else:
            raw, more = (block[5], between[5]) if len(block) > 5 else (_NOTHING, _NOTHING)
            if len(more):
                return 0, 1
            count, failed = self._compiled.list_pages(*common, between[:5], block[:5], raw, depth)
        return int(count), int(failed)

    def _teach(self, places: tuple[Any, ...]) -> bool:
        """Make the states of some tables' entries known, after a kernel met one that is not; whether any was new."""
        entries = self._grid.tables.take(places[0], axis=0, mode="clip").reshape(-1)
        return self._reader.codec.teach(entries[entries & self._reader.codec.held_bits != 0])

    def count(self, some: Tables, times: Words, found: Words) -> bool:
        """Add a chunk's entries by kind to ``found``; whether that was possible."""
        places = self._places(some)
        if places is None:
            return False
        return not self._counted(places, times, found) or (
            self._teach(places) and not self._counted(places, times, found)
        )

    def _counted(self, places: tuple[Any, ...], times: Words, found: Words) -> int:
        """The kernel that counts; whether it gave up."""
        rows, _, granted, limits = places
        codec = self._reader.codec
        failed: int = self._compiled.count_pages(
            self._grid.tables, rows, granted, times, limits, self._bits, codec.lookup, self._moves, found
        )
        return failed
