"""Chunks through the compiled kernels, where they can take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import NO_PADDR, Bits, Flag, Kind
from pagewalk.formats.grants import permitted
from pagewalk.sweep.chunk import bounds_of
from pagewalk.sweep.columns import DEPTH_SHIFT, part
from pagewalk.sweep.jit import kernels
from pagewalk.sweep.joiner import woven
from pagewalk.sweep.questions import DECODED, Pages, no_room
from pagewalk.sweep.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.formats import Level, Rights
    from pagewalk.formats.codec import Shape
    from pagewalk.formats.packed import Run
    from pagewalk.sweep.chunk import Tables
    from pagewalk.sweep.columns import Block
    from pagewalk.sweep.filters import Filter
    from pagewalk.sweep.inplace import InPlace
    from pagewalk.sweep.questions import Question, Room
    from pagewalk.sweep.reader import Reader
    from pagewalk.sweep.source import Source
    from pagewalk.sweep.task import Task

    Words = npt.NDArray[np.uint64]
    Wanted = tuple[tuple[Kind, ...], int, Rights | None]

__all__ = ["Fast", "FastWay", "fast_for", "way_for"]

MOST_RUNS: Final = 3
"""Runs of significant bits that the kernels have room for."""
ROWS: Final = 1 << 18
"""Rows of a block: a column takes 2 MiB, less than what NumPy has the kernel clear in huge pages."""
TAUGHT: Final = 512
"""Tables that are looked at for new states."""
_NOTHING: Final = np.empty(0, np.uint64)
_RULE: Final = 13
_PASSING: Final = 5


def fast_for(reader: Reader, wanted: Filter | None) -> Fast | None:
    """The compiled way for the tables of the last level; None where NumPy sweeps, or nothing is wanted in particular.

    Raises:
        UnsupportedError: ``PAGEWALK_ENGINE`` asks for an engine that is not there.
    """
    if wanted is None:
        return None
    compiled = kernels()
    if compiled is None or not reader.source.here or wanted.frames is not None:
        return None
    plain = is_plain(reader.last) and wanted.level_passes(reader.last) and not wanted.splits_groups(reader.last)
    return Fast(compiled, reader, wanted) if plain else None


def is_plain(level: Level) -> bool:
    """Whether the kernels can read the entries of a level."""
    codec, visible = level.codec, level.codec.visible
    one_bit = visible is not None and visible.mask.bit_count() == 1
    empty = len(codec.empties) == 1 and not codec.empty
    shapes = all(_is_simple(shape) for shape in codec.shapes) and len(codec.table_patterns) <= 1
    runs = max(len(level.arrays.runs), len(level.arrays.grants.runs)) <= MOST_RUNS and not codec.wide
    return level.word.is_native and level.word.size == _NOTHING.itemsize and one_bit and empty and shapes and runs


def _is_simple(shape: Shape) -> bool:
    """Whether a rule can say a shape."""
    return len(shape.address) <= 2 and not any(part.flip for part in shape.address[1:]) and not shape.must.value


def words(*numbers: Any) -> tuple[Any, ...]:
    """Numbers as the kernels take them: unsigned."""
    return tuple(np.uint64(number) for number in numbers)


def moves_of(runs: Sequence[Run]) -> tuple[Any, ...]:
    """Where the kernels find the bits that they look something up by: shift right, mask, shift left, for each run."""
    moves = [part for run in runs for part in (run.first, run.mask >> run.to, run.to)]
    return words(*moves, *[0] * (3 * MOST_RUNS - len(moves)))


def rules_of(level: Level, asked: int = 0, *, counting: bool = False) -> Words:
    """How entries of each shape name their frames, as the kernels' columns have it. Shape (shapes, columns), uint64.

    Args:
        level: Their level.
        asked: Flags that are asked for: bits that say one do not pass without a look.
        counting: Nothing matters but what kind an entry is.
    """
    rules = np.zeros((_SHAPES, _RULE), np.uint64)
    rules[:, 4] = rules[:, _PASSING + 2] = NO_PADDR
    for number, shape in enumerate(level.codec.shapes):
        first, *more = shape.address or (Bits(0),)
        taken = shape.passing if asked & shape.passing >> shape.down else 0
        idle = shape.describing if counting else shape.free ^ taken
        passing = shape.passing ^ taken, shape.down, level.codec.telling & ~idle
        none = 0 if shape.address else NO_PADDR
        rules[number, :_PASSING] = first.flipped, first.mask, first.up, first.down, none
        rest = more[0][:3] if more else (0, 0, 0)
        rules[number, _PASSING:] = *passing, *rest, level.codec.left_open(number), shape.must.mask
    return rules


_SHAPES: Final = 8


class FastWay:
    """The kernel that translates, with its arguments made ready.

    Args:
        compiled: The module of kernels.
        levels: The levels that the hardware has, root first.
        here: The memory, in place.
        root: The number of the top table's first word.
        wanted: The kinds that are mapped; from which address on only what the hardware knows is; and the right that
            all levels must grant, if one is asked for.
    """

    def __init__(self, compiled: Any, levels: Sequence[Level], here: InPlace, root: int, wanted: Wanted) -> None:
        self._kernel = compiled.translate
        self._memory = here.words, (here.starts, here.sizes, here.offsets), np.uint64(root)
        self._levels = np.array([self._level(level) for level in levels], np.uint64)
        mapped, bare, right = wanted
        lacks = any(level.arrays.may_lack_frames for level in levels)
        kinds = [np.uint32(sum(1 << kind for kind in some)) for some in (mapped, (Kind.PRESENT,))]
        self._wanted = kinds[0], kinds[1], np.uint64(bare), np.uint32(int(Flag.NO_FRAME) * lacks)
        self._arrays = [level.arrays for level in levels]
        self._known = (
            tuple(moves_of(arrays.runs) for arrays in self._arrays),
            np.stack([rules_of(level) for level in levels]),
        )
        self._asked = None if right is None else self._checks(levels, right)

    @staticmethod
    def _level(level: Level) -> tuple[int, ...]:
        """What the kernel wants to know of a level."""
        codec = level.codec
        test = codec.table_patterns[0] if codec.table_patterns else (0, 1)
        table = level.arrays.table_shape
        held = codec.empties[0].mask
        rest = held, level.table_bytes, codec.telling, level.arrays.page_shape
        return (level.shift, level.entries - 1, *test, table, *rest)

    def _checks(self, levels: Sequence[Level], right: Rights) -> tuple[Any, ...]:
        """What the kernel wants to know of each level to tell whether an access goes through."""
        grants = [arrays.grants for arrays in self._arrays]
        masks = np.array([one.mask for one in grants], np.uint64)
        permits = np.stack([permitted(level.codec.access, int(right)) for level in levels])
        return tuple(one.lookup for one in grants), masks, tuple(moves_of(one.runs) for one in grants), permits

    def descend(self, addresses: Words, paddrs: Words, mapped: npt.NDArray[np.bool_]) -> bool:
        """Translate addresses of the window; whether that was possible."""
        known = self._wanted, tuple(arrays.lookup for arrays in self._arrays), *self._known
        return not self._kernel(*self._memory, addresses, self._levels, known, self._asked, paddrs, mapped)


def way_for(levels: Sequence[Level], source: Source, root: int, wanted: Wanted) -> FastWay | None:
    """The compiled way to translate; None where NumPy does.

    Raises:
        UnsupportedError: ``PAGEWALK_ENGINE`` asks for an engine that is not there.
    """
    compiled = kernels()
    if compiled is None or not source.here or not all(is_plain(level) for level in levels):
        return None
    top = levels[0].table_bytes
    (first,), outside = source.here.places(np.array([root], np.uint64), top)
    return FastWay(compiled, levels, source.here, int(first), wanted) if outside is None else None


class Fast:
    """The kernels, with their arguments made ready.

    Args:
        compiled: The module of kernels.
        reader: Says where the tables are.
        wanted: Which entries.
    """

    def __init__(self, compiled: Any, reader: Reader, wanted: Filter) -> None:
        self._compiled = compiled
        self._reader = reader
        self._here = reader.source.here
        self._level = level = reader.last
        self._arrays = arrays = level.arrays
        self._block: Block = (_NOTHING,)
        kinds = range(len(Kind)) if wanted.kinds is None else [int(kind) for kind in wanted.kinds]
        self._bits = words(*self._skipped(), level.codec.telling, level.shift)
        self._moves = moves_of(arrays.runs)
        self._passing = (
            np.uint32(int(wanted.having)),
            np.uint32(int(wanted.lacking)),
            np.uint32(sum(1 << kind for kind in kinds)),
            np.uint32(int(Flag.NO_FRAME) * arrays.may_lack_frames),
        )
        asked = int(wanted.having | wanted.lacking)
        self._rules = rules_of(level, asked)
        self._counting = rules_of(level, counting=True) if not asked else self._rules

    def _skipped(self) -> tuple[int, int]:
        """What tells the entries that nobody asks for."""
        visible = self._level.codec.visible
        if self._reader.only_valid and visible is not None:
            return visible.mask, visible.value ^ visible.mask
        return self._level.codec.empties[0]

    @property
    def _known(self) -> tuple[Any, ...]:
        """What the kernels know of entries; the lookup grows."""
        return self._bits, self._passing, self._arrays.lookup, self._moves, self._rules

    def _places(self, some: Tables) -> tuple[Any, ...] | None:
        """Tables as the kernels take them; None if they cannot all be used in place."""
        places, outside = self._here.places(self._reader.paddrs(self._level, some), self._level.table_bytes)
        if outside is not None:
            return None
        first, end = bounds_of(self._level, some.vaddr, self._reader.span)
        parts = self._arrays.parts(some.rights).view(np.uint64)
        limits = np.int64(first), np.int64(end), np.int64(self._level.entries)
        return places.view(np.uint64), some.vaddr, parts, limits

    def blocks(self, question: Question, task: Task, room: Room) -> Iterator[tuple[Block, int]]:
        """A task's rows by address, in blocks, each with the number of tables that are done then.

        It ends before the last one where NumPy has to look at the next.
        """
        tables, between = task
        places = self._places(tables)
        if places is None or not isinstance(question, Pages | Runs):
            return
        woven_in = len(between[0]) > 0 and (isinstance(question, Runs) or len(between) > DECODED)
        passed_on = part(between, slice(0)) if woven_in else between
        done, passed, failed = 0, 0, False
        while done < len(tables) and not (failed and not self._teach(places, done)):
            most = min((len(tables) - done) * self._level.entries, ROWS) + len(passed_on[0]) - passed
            target = room(most)
            block = self._scratch(question, most) if target is None else target
            count, done, passed, failed = self._run(question, (done, passed), places, passed_on, block)
            block = part(block, slice(0, count))
            if target is None and room is no_room:  # else they are copied to where they go before the next come
                block = tuple(column.copy() for column in block)
            if woven_in:
                end = len(between[0]) if done == len(tables) else int(between[0].searchsorted(tables.vaddr[done]))
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
        depth = np.uint32(self._level.depth << DEPTH_SHIFT)
        start = np.int64(begin[0]), np.uint64(begin[1])
        common = (start, self._here.words, *places, self._known, between[:DECODED])
        if isinstance(question, Runs):
            count, done, passed, failed = self._compiled.list_runs(*common, block, depth)
        else:
            raw = block[DECODED] if len(block) > DECODED else _NOTHING
            count, done, passed, failed = self._compiled.list_pages(*common, block[:DECODED], raw, depth)
        return int(count), int(done), int(passed), bool(failed)

    def _teach(self, places: tuple[Any, ...], done: int) -> bool:
        """Make the states of the next tables known, after a kernel met one that is not; whether any was new."""
        some, per = places[0][done : done + TAUGHT].view(np.intp), self._level.entries
        entries = self._here.rows(some, per, np.empty((len(some), per), np.uint64)).reshape(-1)
        held = self._arrays.places(entries)
        return self._arrays.teach(entries[held], places[2][done:].view(np.intp)[held // per])

    def count(self, some: Tables, times: Words, found: Words) -> bool:
        """Add a chunk's entries by kind to ``found``; whether that was possible."""
        places = self._places(some)
        if places is None:
            return False
        return not self._counted(places, times, found) or (
            self._teach(places, 0) and not self._counted(places, times, found)
        )

    def _counted(self, places: tuple[Any, ...], times: Words, found: Words) -> int:
        """The kernel that counts; whether it gave up."""
        first, _, parts, limits = places
        failed: int = self._compiled.count_pages(
            self._here.words,
            first,
            parts,
            times,
            limits,
            (*self._known[:-1], self._counting),
            found,
        )
        return failed
