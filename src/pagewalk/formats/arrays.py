"""What entries say, for whole arrays: one lookup an entry, and often one for all.

How it works. The bits of an entry that tell what it is, packed, are the index into a table of *states*, filled as
indexes are met by asking the codec for an entry that has them. Below levels that do not grant every right, an entry
grants less: for each set of rights that tables of the level can have been granted there is a part of the table of its
own, so that effective rights are looked up as well, whatever rule makes them. Most arrays need not even that: where the
significant bits are the same in all entries, one state serves all.

Frames are worked out as the commonest shape says, and put right where the shape is another.
"""

from __future__ import annotations

import sys
import threading
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from pagewalk.formats.bits import NO_PADDR, joined
from pagewalk.formats.codec import ATTRIBUTES, FLAGS, KIND_SHIFT, KINDS, SHAPE_SHIFT
from pagewalk.formats.fields import RIGHTS
from pagewalk.formats.flags import BARE, Flag, Kind, Rights, flags_of
from pagewalk.formats.grants import Grants
from pagewalk.formats.learn import states_of
from pagewalk.formats.packed import empty_lookup, packed, runs_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from pagewalk.formats.codec import Codec
    from pagewalk.formats.rows import Row

    Words: TypeAlias = npt.NDArray[np.uint64]
    Mask: TypeAlias = npt.NDArray[np.bool_]
    States: TypeAlias = npt.NDArray[np.uint32] | int

__all__ = ["Arrays", "attributes_of", "kinds_of", "shapes_of"]

_ALL: Final = int(Rights.all())
_MOST: Final = 1 << 12
"""Pages of states, and states of single entries, that a level keeps: hostile tables have millions, others dozens."""
_IN_PAGE: Final = 10
"""Bits of the number of a state in a page."""


class Arrays:
    """A level's decoder for arrays.

    Args:
        codec: The level's decoder for one entry.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.significant = np.uint64(codec.significant)
        self.runs = runs_of(codec.telling)
        self._narrow = sum(run.bits for run in self.runs)
        self.size = 1 << self._narrow + len(codec.wide)
        self._deciding = reduce(int.__or__, (pattern.mask for pattern in codec.wide), codec.telling)
        self._must = reduce(int.__or__, (shape.must.mask for shape in codec.shapes), 0)
        self._must_be_set = any(shape.must.value for shape in codec.shapes)
        self._parts: dict[int, int] = {_ALL: 0}
        self._states = empty_lookup(self.size)
        self._one: dict[tuple[int, int], int] = {}
        self._touched: set[int] = set()
        self._lock = threading.RLock()  # threads of a sweep share what is learned

    def __reduce__(self) -> tuple[Any, ...]:
        """What was learned is learned again."""
        return Arrays, (self.codec,)

    # -- states ------------------------------------------------------------------------------------------------------

    @property
    def lookup(self) -> npt.NDArray[np.uint32]:
        """States by index, a part of ``size`` for each set of granted rights; 0 where nobody has asked."""
        return self._states

    def part(self, granted: int) -> int:
        """Where in ``lookup`` the states begin of entries to which the levels above grant some rights."""
        if granted not in self._parts:
            with self._lock:
                self._grow(granted)
        return self._parts[granted]

    def _grow(self, granted: int) -> None:
        """Make a part for some rights: the place for its states is there before anybody is told of it."""
        if granted in self._parts:
            return
        grown = empty_lookup(len(self._states) + self.size)
        for first in (page << _IN_PAGE for page in self._touched):
            held = self._states[first : first + (1 << _IN_PAGE)]
            grown[first : first + len(held)] = held
        self._states = grown
        self._parts[granted] = len(self._parts) * self.size

    def parts(self, granted: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
        """``part`` of each of many tables."""
        where = np.zeros((_ALL | BARE) + 1, np.intp)
        for rights in np.bincount(granted).nonzero()[0].tolist():
            where[rights] = self.part(rights)
        return where[granted]

    def states(self, entries: Words, granted: int = _ALL, parts: npt.NDArray[np.intp] | None = None) -> States:
        """The states of entries none of which is empty.

        Args:
            entries: Raw entries. Shape (n,), uint64.
            granted: The rights that the levels above grant, to all of them; with ``BARE``, where no system's rows hold.
            parts: In place of that, ``part`` of each entry. Shape (n,).

        Returns:
            One state for all, or shape (n,), uint32.
        """
        if not len(entries):
            return 0
        if parts is None:
            low, high = int(np.bitwise_and.reduce(entries)), int(np.bitwise_or.reduce(entries))
            if not (low ^ high) & self._deciding:
                return self.state(low, granted)
        index = self.index(entries)
        if parts is not None:
            index += parts
        elif granted != _ALL:
            index += self.part(granted)
        states = self._states.take(index, mode="clip")
        if not states.min():
            new = states == 0
            if self._learn(index[new]):
                return self._states.take(index, mode="clip")
            states[new] = self._not_kept(index[new])
        return states

    def state(self, entry: int, granted: int = _ALL) -> int:
        """The state of every entry whose deciding bits are those of ``entry``, and that is not empty."""
        key = entry & self._deciding, granted
        if (known := self._one.get(key)) is not None:
            return known
        where = self.index(np.array([key[0]], np.uint64)) + self.part(granted)
        learned = self._learn(where)  # the compiled kernels want to know it too
        found = int(self._states[where[0]]) if learned else int(self._not_kept(where)[0])
        if len(self._one) < _MOST:
            self._one[key] = found
        return found

    def _held(self, key: int) -> int:
        """An entry with these bits that is not empty."""
        rest = NO_PADDR ^ self.codec.significant
        for stray in (0, rest & -rest, *(1 << place for place in range(64) if rest >> place & 1)):
            if not self.codec.is_none(key | stray):
                return key | stray
        return key

    def teach(self, entries: Words, parts: Any) -> bool:
        """Make the states of these entries known; whether any was new, and there was room for it."""
        index = self.index(entries) + parts
        new = index[self._states.take(index, mode="clip") == 0]
        return len(new) > 0 and self._learn(new)

    def _learn(self, index: npt.NDArray[np.intp]) -> bool:
        """Ask the codec what these indexes mean, as they are and without idle bits; whether there is room for it."""
        numbers = np.unique(index)
        pages = np.unique(numbers >> _IN_PAGE).tolist()
        with self._lock:
            touched = self._touched.union(pages)
            if len(touched) > max(_MOST, len(self._touched)):
                return False
            self._touched = touched
            for rights, part, at in self._by_part(numbers):
                places = numbers[at] - part
                spread = unpacked(places, self.runs)
                for mask in (NO_PADDR, self.codec.telling):
                    some = self._matching(spread & np.uint64(mask), places)
                    where = self.index(some) + part
                    self._states[where] = self._worked_out(some, rights)
                    self._touched.update(np.unique(where >> _IN_PAGE).tolist())
        return True

    def _not_kept(self, index: npt.NDArray[np.intp]) -> npt.NDArray[np.uint32]:
        """The states that these indexes mean, for which there is no room."""
        numbers, back = np.unique(index, return_inverse=True)
        found = np.zeros(len(numbers), np.uint32)
        for rights, part, at in self._by_part(numbers):
            places = numbers[at] - part
            found[at] = self._worked_out(self._matching(unpacked(places, self.runs), places), rights)
        return found[back]

    def _by_part(self, numbers: npt.NDArray[np.intp]) -> Iterator[tuple[int, int, npt.NDArray[np.intp]]]:
        """Those of some indexes that are of each part: its rights, where it begins, and which."""
        for rights, part in [*self._parts.items()]:
            at = np.flatnonzero(numbers // self.size == part // self.size)
            if len(at):
                yield rights, part, at

    def _worked_out(self, keys: Words, granted: int) -> npt.NDArray[np.uint32]:
        """The states of entries that are not empty and have these bits."""
        empty = np.flatnonzero(self.codec.is_none(keys))
        if len(empty):
            keys = keys.copy()
            keys[empty] = [self._held(key) for key in keys[empty].tolist()]
        bare = bool(granted & BARE) and self.codec.visible is not None
        states = states_of(self.codec, keys, granted & _ALL, bare=bare)
        if bare:
            states[~np.isin(kinds_of(states), _HARDWARE)] = Kind.OTHER << KIND_SHIFT  # of the shape that names nothing
        return states

    def index(self, entries: Words) -> npt.NDArray[np.intp]:
        """The telling bits of entries, packed, and whether they match the wide patterns."""
        index = packed(entries, self.runs)
        for at, pattern in enumerate(self.codec.wide, self._narrow):
            index |= pattern(entries).astype(np.intp) << at
        return index

    def _matching(self, keys: Words, index: npt.NDArray[np.intp]) -> Words:
        """Entries with these telling bits that match the wide patterns as their indexes say."""
        for at, (mask, value) in enumerate(self.codec.wide, self._narrow):
            rest = mask & (NO_PADDR ^ self.codec.telling)
            other = np.uint64(value & rest), np.uint64((value ^ rest & -rest) & rest)
            keys = keys & np.uint64(NO_PADDR ^ rest) | np.where(index >> at & 1, *other)
        return keys

    def is_table(self, entries: Words) -> Mask:
        """Which entries point to tables."""
        found = np.zeros(len(entries), np.bool_)
        for mask, value in self.codec.table_patterns:
            found |= entries & np.uint64(mask) == np.uint64(value)
        return found

    def is_grouped(self, entries: Words) -> Any:
        """Which entries, of those that are present pages, are of groups: a mask, or False for all."""
        found: Any = False
        high = int(np.bitwise_or.reduce(entries)) if self.codec.grouped and len(entries) else 0
        for mask, value in self.codec.grouped:
            if not value & ~high:
                found = found | (entries & np.uint64(mask) == np.uint64(value))
        return found

    def rights(self, entries: Words) -> npt.NDArray[np.uint8]:
        """The rights that entries grant, all of them tables or pages, of those that those above do: (n,), uint8."""
        return self.grants.of(entries)

    @cached_property
    def grants(self) -> Grants:
        """What looks that up."""
        return Grants(self.codec)

    # -- what is empty, what is wrong --------------------------------------------------------------------------------

    def is_empty_first(self, entries: Words) -> bool:
        """Whether any of the entries may be empty, by the smallest of them: False is certain."""
        (mask, value), *more = self.codec.empties
        return bool(more or value or int(entries.min()) <= NO_PADDR ^ mask)

    def places(self, flat: Words) -> npt.NDArray[np.intp]:
        """Where entries are that are not empty, ascending."""
        (mask, value), *more = self.codec.empties
        if more or value:
            return np.flatnonzero(~self.codec.is_none(flat))
        if (NO_PADDR ^ mask).bit_count() > _FEW:
            return np.flatnonzero(flat & np.uint64(mask) != 0)
        held = np.flatnonzero(flat != 0)  # of words NumPy finds them three times as slowly as of bools
        found = flat if len(held) == len(flat) else flat.take(held, mode="clip")
        if len(found) and int(found.min()) <= NO_PADDR ^ mask:  # stray bits alone are nothing
            return held[found & np.uint64(mask) != 0]
        return held

    def wrong(self, entries: Words) -> Mask | None:
        """Which entries, none of them empty, the hardware would fault on: reserved bits, or encodings; None: none."""
        if not len(entries) or not (self.codec.suspects or self._must or self._must_be_set):
            return None
        low, high = int(np.bitwise_and.reduce(entries)), int(np.bitwise_or.reduce(entries))
        suspects = [one for one in self.codec.suspects if not one.value & ~high and not low & one.mask & ~one.value]
        if not suspects and not high & self._must and not self._must_be_set:
            return None
        tables = self.codec.shapes[self.table_shape].must
        unlike = [(low ^ value | high ^ value) & mask for mask, value in self.codec.table_patterns]
        if not all(unlike) and not (low ^ tables.value | high ^ tables.value) & tables.mask:
            return None  # all of them are sound tables
        table = self.is_table(entries)
        odd: Any = (entries & np.uint64(self._must) != 0) & ~table | self._must_be_set
        odd |= (entries ^ np.uint64(tables.value)) & np.uint64(tables.mask) != 0
        for mask, value in suspects:
            odd |= entries & np.uint64(mask) == np.uint64(value)
        at = np.flatnonzero(odd)
        wrong = self._refused(entries[at])
        if not wrong.any():
            return None
        odd[at] = wrong
        return odd.astype(np.bool_)

    def _refused(self, entries: Words) -> Mask:
        """Which of the entries that may be wrong are."""
        if not len(entries):
            return np.empty(0, np.bool_)
        states = self.states(entries)
        shapes = shapes_of(states)
        masks = np.array([shape.must.mask for shape in self.codec.shapes], np.uint64)
        values = np.array([shape.must.value for shape in self.codec.shapes], np.uint64)
        kinds = _kind(states) if isinstance(states, int) else kinds_of(states)
        refused: Mask = ((entries ^ values[shapes]) & masks[shapes] != 0) | (kinds == Kind.RESERVED)
        return refused

    # -- frames ------------------------------------------------------------------------------------------------------

    def addresses(self, entries: Words, states: States, vaddrs: Words | None = None, out: Words | None = None) -> Words:
        """What entries name whose states are known; ``NO_PADDR`` where they name nothing.

        Args:
            entries: Raw entries. Shape (n,), uint64.
            states: As ``states`` gives them.
            vaddrs: The addresses that they translate, if pages of groups are to be told apart.
            out: Where the addresses go.
        """
        frames = np.empty(len(entries), np.uint64) if out is None else out
        if isinstance(states, int):
            self._shaped(entries, shapes_of(states), frames)
            self._filled(shapes_of(states), frames, vaddrs)
            if states & _NO_FRAME:
                frames.fill(NO_PADDR)
            return frames
        self._shaped(entries, self.page_shape, frames)
        others = np.flatnonzero(states & np.uint32(_SHAPES) != np.uint32(self.page_shape << SHAPE_SHIFT))
        if len(others):
            kinds = shapes_of(states.take(others, mode="clip"))
            for shape in np.flatnonzero(np.bincount(kinds)).tolist():
                at = others[kinds == shape]
                some = np.empty(len(at), np.uint64)
                self._shaped(entries[at], shape, some)
                self._filled(shape, some, None if vaddrs is None else vaddrs[at])
                frames[at] = some
        if self.may_lack_frames:
            frames[(states & np.uint32(_NO_FRAME)) != 0] = NO_PADDR
        return frames

    def tables(self, entries: Words) -> Words:
        """The addresses of the tables that entries point to."""
        paddrs = np.empty(len(entries), np.uint64)
        self._shaped(entries, self.table_shape, paddrs)
        return paddrs

    @cached_property
    def table_shape(self) -> int:
        """The shape of tables."""
        return next((self.codec.shape_of(row) for row in self.codec.rows if row.kind is Kind.TABLE), 0)

    def _shaped(self, entries: Words, shape: int, out: Words) -> None:
        """Addresses of entries of one shape."""
        parts = self.codec.shapes[shape].address
        if not parts:
            out.fill(NO_PADDR)
            return
        mask, up, down, flip = parts[0]
        if len(parts) > 1 or flip:
            out[:] = joined(parts, entries)
            return
        np.bitwise_and(entries, np.uint64(mask), out=out)
        if up:
            out <<= np.uint64(up)
        if down:
            out >>= np.uint64(down)

    def _filled(self, shape: int, out: Words, vaddrs: Words | None) -> None:
        """Put in what the address of a group leaves open."""
        if vaddrs is not None and (left := self.codec.left_open(shape)):
            out |= vaddrs & np.uint64(left)

    @cached_property
    def step(self) -> tuple[int, int]:
        """What takes a page's entry to that of the page whose frame follows, and the bits that it counts in."""
        parts = self.codec.shapes[self.page_shape].address
        if not parts:
            return 0, 0
        part = parts[0]
        return (1 << self.codec.shift << part.down >> part.up), part.mask

    @cached_property
    def page_shape(self) -> int:
        """The shape of the plainest pages; of tables where there are none."""
        for kind in (Kind.PRESENT, Kind.TABLE):
            for row in self.codec.rows:
                if row.kind is kind and not row.order:
                    return self.codec.shape_of(row)
        return 0

    @cached_property
    def may_lack_frames(self) -> bool:
        """Whether an entry can say that its frame is not known."""
        return any(Flag.NO_FRAME in field.flags for row in self.codec.rows for field in row.fields)

    # -- whatever there is, empty entries among it -------------------------------------------------------------------

    def kinds(self, entries: Words) -> npt.NDArray[np.uint8]:
        """The kinds of any entries. Shape (n,), uint8."""
        states = self.states(entries)
        kinds = np.full(len(entries), _kind(states), np.uint8) if isinstance(states, int) else kinds_of(states)
        return self._without_empty(entries, kinds, Kind.NONE)

    def flags(self, entries: Words) -> npt.NDArray[np.uint32]:
        """The flags of any entries. Shape (n,), uint32."""
        states = self.states(entries)
        flags = np.full(len(entries), states, np.uint32) if isinstance(states, int) else states
        flags = flags & np.uint32(FLAGS)
        tables = np.flatnonzero(self.is_table(entries))
        if len(tables):
            flags[tables] = _FLAGS_OF[self.rights(entries[tables])]
        return self._without_empty(entries, flags, 0)

    def frames(self, entries: Words) -> Words:
        """The addresses in memory that any entries name, ``NO_PADDR`` where they name none. Shape (n,), uint64."""
        if not len(entries):
            return np.empty(0, np.uint64)
        states = self.states(entries)
        frames = self.addresses(entries, states)
        if isinstance(states, int):
            if _kind(states) == Kind.SWAP:
                frames.fill(NO_PADDR)
        else:
            frames[kinds_of(states) == Kind.SWAP] = NO_PADDR
        return self._without_empty(entries, frames, NO_PADDR)

    def _without_empty(self, entries: Words, answers: Any, nothing: int) -> Any:
        """Answers, put right where entries are empty."""
        if len(entries) and self.is_empty_first(entries):
            answers[self.codec.is_none(entries)] = nothing
        return answers

    def changed(self, entries: Words, change: Callable[[int], tuple[int, int]]) -> Words:
        """Entries, changed as ``change`` says of one that has the same significant bits: what to clear, and to set."""
        if not len(entries):
            return entries.copy()
        low, high = int(np.bitwise_and.reduce(entries)), int(np.bitwise_or.reduce(entries))
        if not (low ^ high) & self.codec.significant:
            clear, put = change(low)
            return entries & np.uint64(NO_PADDR ^ clear) | np.uint64(put)
        keys, which = np.unique(entries & self.significant, return_inverse=True)
        changes = np.array([change(self._held(key)) for key in keys.tolist()], np.uint64)
        changes[:, 0] ^= np.uint64(NO_PADDR)
        changed: Words = entries & changes[which, 0] | changes[which, 1]
        empty = self.codec.is_none(entries)
        changed[empty] = entries[empty]
        return changed

    def said(self, row: Row, flags: Words) -> Words:
        """The bits of a row's fields that say these flags, as far as it can."""
        said = np.zeros(len(flags), np.uint64)
        for field in row.fields:
            if field.derived or not field.meanings:
                continue
            if field.name == RIGHTS:
                said |= np.array(field.by_rights, np.uint64)[(flags & 15).astype(np.intp)]
                continue
            if not field.flags:
                said |= np.uint64(field.unasked)  # one word, so nothing that depends on how many there are
                continue
            for bits, meaning in field.meanings:
                if bits and isinstance(meaning, Flag):
                    said |= ((flags & int(field.flags)) == int(meaning)).astype(np.uint64) * np.uint64(bits)
        return said


_HARDWARE: Final = np.array([Kind.NONE, Kind.TABLE, Kind.PRESENT, Kind.RESERVED], np.uint8)
"""What entries are whatever the operating system."""
_SHAPES: Final = 7 << SHAPE_SHIFT
_FLAGS_OF: Final = np.array([int(flags_of(rights)) for rights in range(_ALL + 1)], np.uint32)
_NO_FRAME: Final = int(Flag.NO_FRAME)
_FEW: Final = 8
"""Bits that an empty entry may have, at most, for a quick look at whether an array has empty ones."""


def _kind(state: int) -> int:
    """The kind of one state."""
    return state >> KIND_SHIFT & KINDS


def kinds_of(states: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """The kinds of states, shape (n,), uint8."""
    return _byte(states, 3) & np.uint8(KINDS)


def attributes_of(states: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """The attributes of states, shape (n,), uint8."""
    return _byte(states, 2) & np.uint8(ATTRIBUTES)


def shapes_of(states: States) -> Any:
    """The numbers of states' shapes: an int, or an array."""
    if isinstance(states, int):
        return states >> SHAPE_SHIFT & 7
    return _byte(states, 3) >> (SHAPE_SHIFT - KIND_SHIFT) & 7


def _byte(states: npt.NDArray[np.uint32], at: int) -> npt.NDArray[np.uint8]:
    """One byte of each state, in place."""
    return states.view(np.uint8)[at if sys.byteorder == "little" else 3 - at :: 4]
