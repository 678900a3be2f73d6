"""Chunks through the compiled kernels, where they can take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.sweep.bits import codec_of
from pagewalk.sweep.chunk import bounds_of
from pagewalk.sweep.columns import part
from pagewalk.sweep.jit import kernels
from pagewalk.sweep.joiner import woven
from pagewalk.sweep.questions import Pages, no_room
from pagewalk.sweep.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat
    from pagewalk.sweep.bits import Codec
    from pagewalk.sweep.chunk import Tables
    from pagewalk.sweep.columns import Block
    from pagewalk.sweep.descent import Task
    from pagewalk.sweep.filters import Filter
    from pagewalk.sweep.inplace import InPlace
    from pagewalk.sweep.questions import Question, Room
    from pagewalk.sweep.reader import Reader
    from pagewalk.sweep.source import Source
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]

__all__ = ["Fast", "FastWay", "fast_for", "way_for"]

_STATE: Final = (1 << 32) - 1 - int(Flag.rights())
MOST_RUNS: Final = 3
"""Runs of significant bits that the kernels have room for."""
PLAIN: Final = 5
"""Columns of a page, its raw entry aside."""
ROWS: Final = 1 << 18
"""Rows of a block: a column takes 2 MiB, less than what NumPy has the kernel clear in huge pages."""
TAUGHT: Final = 512
"""Tables that are looked at for new states."""
_NOTHING: Final = np.empty(0, np.uint64)


def fast_for(reader: Reader, wanted: Filter) -> Fast | None:
    """The compiled way for the tables of the last level; None where NumPy sweeps.

    Raises:
        UnsupportedError: ``PAGEWALK_ENGINE`` asks for an engine that is not there.
    """
    compiled = kernels()
    level = reader.tables.format.real_levels[-1]
    plain = _is_plain(reader.tables.format) and wanted.frames is None and wanted.level_passes(level)
    return Fast(compiled, reader, wanted) if compiled is not None and plain and reader.source.here else None


def words(*numbers: Any) -> tuple[Any, ...]:
    """Numbers as the kernels take them: unsigned."""
    return tuple(np.uint64(number) for number in numbers)


def moves_of(codec: Codec) -> tuple[Any, ...]:
    """Where the kernels find the significant bits: shift right, mask, shift left, for each run."""
    moves = [part for run in codec.runs for part in (run.first, run.mask >> run.to, run.to)]
    return words(*moves, *[0] * (3 * MOST_RUNS - len(moves)))


class FastWay:
    """The kernel that translates, with its arguments made ready.

    Args:
        compiled: The module of kernels.
        tables: The page tables.
        here: Their memory, in place.
        root: The number of the top table's first word.
        mapped: The kinds that are mapped.
    """

    def __init__(self, compiled: Any, tables: PageTables, here: InPlace, root: int, mapped: tuple[Kind, ...]) -> None:
        form, codec = tables.format, codec_of(tables.format)
        ((mask, up, down),) = form.address
        self._kernel = compiled.translate
        self._memory = here.words, (here.starts, here.sizes, here.offsets), np.uint64(root)
        self._levels = np.array([self._level(form, level) for level in form.real_levels], np.uint64)
        bits = words(codec.held_bits, codec.stable, codec.valid_bit, mask, up, down)
        wanted = np.uint32(sum(1 << kind for kind in mapped)), np.uint32(int(Flag.NO_FRAME) & codec.state_flags)
        rules = np.stack([codec.frame_rules(level) for level in form.real_levels])
        self._known = bits, wanted, codec.lookup, moves_of(codec), rules

    @staticmethod
    def _level(form: PagingFormat, level: Level) -> tuple[int, ...]:
        """What the kernel wants to know of a level."""
        last = level is form.real_levels[-1]
        test = (0, 1) if last else form.table_test if level.may_be_leaf else (0, 0)
        reserved = level.reserved_table, level.reserved_leaf
        return (level.shift, level.entries - 1, *test, *reserved, form.table_bytes(level), int(level.may_be_leaf))

    def descend(self, addresses: Words, paddrs: Words, mapped: npt.NDArray[np.bool_]) -> bool:
        """Translate canonical addresses; whether that was possible."""
        return not self._kernel(*self._memory, addresses, self._levels, self._known, paddrs, mapped)


def way_for(tables: PageTables, source: Source, mapped: tuple[Kind, ...]) -> FastWay | None:
    """The compiled way to translate; None where NumPy does.

    Raises:
        UnsupportedError: ``PAGEWALK_ENGINE`` asks for an engine that is not there.
    """
    compiled = kernels()
    if compiled is None or not _is_plain(tables.format):
        return None
    top = tables.format.table_bytes(tables.format.real_levels[0])
    (root,), outside = source.here.places(np.array([tables.root], np.uint64), top)
    return FastWay(compiled, tables, source.here, root, mapped) if outside is None else None


def _is_plain(form: PagingFormat) -> bool:
    """Whether the kernels can read a format."""
    return len(form.address) == 1 and len(codec_of(form).runs) <= MOST_RUNS


class Fast:
    """The kernels, with their arguments made ready.

    Args:
        compiled: The module of kernels.
        reader: Says where the tables are.
        wanted: Which entries.
    """

    def __init__(self, compiled: Any, reader: Reader, wanted: Filter) -> None:
        form, codec = reader.tables.format, reader.codec
        self._compiled = compiled
        self._reader = reader
        self._here = reader.source.here
        self._level = form.real_levels[-1]
        self._block: Block = (_NOTHING,)
        kinds = range(len(Kind)) if wanted.kinds is None else [int(kind) for kind in wanted.kinds]
        poison = form.software.swap_type
        decided = int(wanted.having | wanted.lacking) & codec.passing  # what is asked for cannot pass without a look
        stable = codec.significant if decided else codec.stable
        bits = words(
            codec.valid_bit if reader.only_valid else codec.held_bits,
            stable,
            self._level.reserved_leaf,
            codec.valid_bit,
            poison.mask << poison.shift,
            poison.put(form.software.types.hwpoison),
            self._level.shift,
        )
        passing = (
            np.uint32(int(wanted.having)),
            np.uint32(int(wanted.lacking)),
            np.uint32(sum(1 << kind for kind in kinds)),
            np.uint32(int(Flag.NO_FRAME) & codec.state_flags),
        )
        rules = codec.frame_rules(self._level)
        if decided:
            rules[:, PLAIN] = 0
        self._known = bits, passing, codec.lookup, moves_of(codec), rules

    def _places(self, some: Tables) -> tuple[Any, ...] | None:
        """Tables as the kernels take them; None if they cannot all be used in place."""
        form = self._reader.tables.format
        places, outside = self._here.places(self._reader.paddrs(self._level, some), form.table_bytes(self._level))
        if outside is not None:
            return None
        first, end = bounds_of(form, self._level, some.vaddr, self._reader.span)
        granted = some.rights.astype(np.uint32) | np.uint32(_STATE)
        limits = np.int64(first), np.int64(end), np.int64(self._level.entries)
        return places.view(np.uint64), some.vaddr, granted, limits

    def blocks(self, question: Question, task: Task, room: Room) -> Iterator[tuple[Block, int]]:
        """A task's rows by address, in blocks, each with the number of tables that are done then.

        It ends before the last one where NumPy has to look at the next.
        """
        tables, between = task
        places = self._places(tables)
        if places is None or not isinstance(question, Pages | Runs):
            return
        woven_in = len(between[0]) > 0 and (isinstance(question, Runs) or len(between) > PLAIN)
        passed_on = part(between, slice(0)) if woven_in else between
        done, passed, failed = 0, 0, False
        while done < len(tables) and not (failed and not self._teach(places[0][done:])):
            most = min((len(tables) - done) * self._level.entries, ROWS) + len(passed_on[0]) - passed
            target = room(most)
            block = self._scratch(question, most) if target is None else target
            count, done, passed, failed = self._run(question, (done, passed), places, passed_on, block)
            block = part(block, slice(0, count))
            if target is None and room is no_room:  # else they are copied to where they go before the next come
                block = tuple(column.copy() for column in block)
            if woven_in:
                end = len(between[0]) if done == len(tables) else int(np.searchsorted(between[0], tables.vaddr[done]))
                mine, between = part(between, slice(0, end)), part(between, slice(end, None))
                block = woven(question, block, mine, no_room) if end else block
            yield block, done

    def _scratch(self, question: Question, rows: int) -> Block:
        """Room that is used again for each block, so that most of it is never touched."""
        if len(self._block[0]) < rows:
            self._block = tuple(np.empty(rows, dtype) for dtype in question.schema.dtypes)
        return self._block

    def _run(
        self, question: Question, begin: tuple[int, int], places: tuple[Any, ...], between: Block, block: Block
    ) -> tuple[int, int, int, bool]:
        """The kernel for a question: how many rows; tables and rows between that are done; whether it gave up."""
        depth = np.uint8(self._level.depth)
        start = np.int64(begin[0]), np.uint64(begin[1])
        common = (start, self._here.words, *places, self._known, between[:PLAIN])
        if isinstance(question, Runs):
            count, done, passed, failed = self._compiled.list_runs(*common, block, depth)
        else:
            raw = block[PLAIN] if len(block) > PLAIN else _NOTHING
            count, done, passed, failed = self._compiled.list_pages(*common, block[:PLAIN], raw, depth)
        return int(count), int(done), int(passed), bool(failed)

    def _teach(self, places: Words) -> bool:
        """Make the states of the next tables known, after a kernel met one that is not; whether any was new."""
        some, per = places[:TAUGHT].view(np.intp), self._level.entries
        entries = self._here.rows(some, per, np.empty((len(some), per), np.uint64)).reshape(-1)
        return self._reader.codec.teach(entries[entries & self._reader.codec.held_bits != 0])

    def count(self, some: Tables, times: Words, found: Words) -> bool:
        """Add a chunk's entries by kind to ``found``; whether that was possible."""
        places = self._places(some)
        if places is None:
            return False
        return not self._counted(places, times, found) or (
            self._teach(places[0]) and not self._counted(places, times, found)
        )

    def _counted(self, places: tuple[Any, ...], times: Words, found: Words) -> int:
        """The kernel that counts; whether it gave up."""
        first, _, granted, limits = places
        failed: int = self._compiled.count_pages(
            self._here.words,
            first,
            granted,
            times,
            limits,
            self._known,
            found,
        )
        return failed
