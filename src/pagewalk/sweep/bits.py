"""What entries say, for whole arrays: flags and kinds by one table lookup instead of a shift and a mask a flag.

How it works. Only some bits of an entry decide its flags and its kind: those that the format's rows name. ``Codec``
takes them from the format, packs them into a small index, and asks the format what an index means when it is
first met. Most arrays need not even that: where the deciding bits are the same in all entries, one answer serves all.
"""

from __future__ import annotations

import sys
from functools import cached_property, lru_cache, reduce
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat

    Words = npt.NDArray[np.uint64]
    States = npt.NDArray[np.uint32] | int

__all__ = ["FLAGS", "KIND_SHIFT", "Codec", "Run", "codec_of", "kinds_of"]

KIND_SHIFT: Final = 24
"""A *state* is ``flags | kind << KIND_SHIFT``, in 32 bits."""
FLAGS: Final = (1 << KIND_SHIFT) - 1
WIDEST: Final = 18
"""Bits of the index at most: a lookup table of 1 MiB."""
MARKS: Final = 7
"""The low bits of a marker's offset, which say what it marks."""

_EVERY: Final = (1 << 64) - 1
_FRAMED: Final = (Kind.PROT_NONE, Kind.MIGRATION, Kind.HWPOISON)


class Run(NamedTuple):
    """Neighbouring bits of an entry, and where they go in the index."""

    first: int
    bits: int
    to: int

    @property
    def mask(self) -> int:
        """The bits where they go."""
        return ((1 << self.bits) - 1) << self.to


class Codec:
    """A format's decoder for arrays.

    Args:
        form: The format.
    """

    def __init__(self, form: PagingFormat) -> None:
        self.form = form
        software = form.software
        rows = form.rights + form.state + software.state + software.swap_state
        self.significant = reduce(int.__or__, (1 << row.bit for row in rows), 1 << form.valid)
        self.significant |= software.prot_none.mask | MARKS << software.swap_offset.shift
        self.significant |= software.swap_type.mask << software.swap_type.shift
        self.passing = self._passing_bits()
        self.stable = self.significant & (_EVERY ^ self.passing)
        self.held_bits = np.uint64(_EVERY ^ software.none_ignores)
        self.valid_bit = np.uint64(1 << form.valid)
        self.runs = _runs(self.significant)
        self._known: dict[int, int] = {}
        self.lookup = np.zeros(1 << sum(run.bits for run in self.runs), np.uint32)
        masks = [field.mask for field in form.address]
        self.address_bits = reduce(int.__or__, masks)
        self.plain = len(form.address) == 1 and form.address[0][1:] == (0, 0)

    def _passing_bits(self) -> int:
        """Bits of a page's state that are flags as they stand, and decide nothing else: accessed and dirty on x86.

        They differ from page to page more often than the others: the compiled kernels pass them on without a look.
        """
        software = self.form.software
        others = self.form.rights + software.state + software.swap_state
        taken = reduce(int.__or__, (1 << row.bit for row in others), 1 << self.form.valid)
        taken |= software.prot_none.mask | MARKS << software.swap_offset.shift
        taken |= software.swap_type.mask << software.swap_type.shift
        alike = (1 << row.bit for row in self.form.state if 1 << row.bit == row.flag and not row.clear)
        return reduce(int.__or__, (bit for bit in alike if not bit & taken), 0)

    # -- flags and kinds ---------------------------------------------------------------------------------------------

    def states(self, entries: Words, level: Level) -> States:
        """Flags and kinds of entries of a level that are neither empty nor tables.

        Returns:
            One state for all, or shape (n,), uint32.
        """
        if not len(entries):
            return 0
        if not level.may_be_leaf:
            return Kind.OTHER << KIND_SHIFT
        low, high = int(np.bitwise_and.reduce(entries)), int(np.bitwise_or.reduce(entries))
        if not (low ^ high) & self.significant:
            return self.state(low)
        index = self._index(entries)
        states = self.lookup.take(index, mode="clip")
        if not states.min():
            self._learn(index[states == 0])
            states = self.lookup.take(index, mode="clip")
        return states

    def state(self, entry: int) -> int:
        """The state of every entry whose significant bits are those of ``entry``."""
        key = entry & self.significant
        if key not in self._known:
            index = self._index(np.array([key], np.uint64))
            self._learn(index)
            self._known[key] = int(self.lookup[index[0]])
        return self._known[key]

    def _asked(self, entries: Words) -> npt.NDArray[np.uint32]:
        """The format's own answer."""
        return (self.form.flags(entries) | self.form.kind(entries) << KIND_SHIFT).astype(np.uint32)

    @property
    def _other_bit(self) -> int:
        """A bit that says nothing, so that an entry is not empty though its significant bits are 0."""
        rest = _EVERY ^ self.significant ^ (self.form.software.none_ignores & (_EVERY ^ self.significant))
        return rest & -rest

    def teach(self, entries: Words) -> bool:
        """Make the states of these entries known; whether any was new."""
        index = self._index(entries)
        new = index[self.lookup.take(index, mode="clip") == 0]
        if len(new):
            self._learn(new)
        return bool(len(new))

    def _learn(self, index: npt.NDArray[np.int64]) -> None:
        """Ask the format what these indexes mean: as they are, and without bits that do not matter, or pass.

        No state is 0: nothing that is held is of kind 0.
        """
        new = np.unique(index)
        spread = np.zeros(len(new), np.uint64)
        for run in self.runs:
            spread |= (new.view(np.uint64) >> run.to & ((1 << run.bits) - 1)) << run.first
        for mask in (_EVERY, self.significant, self.stable):
            some = spread & np.uint64(mask)
            self.lookup[self._index(some)] = self._asked(some | np.uint64(self._other_bit))

    def _index(self, entries: Words) -> npt.NDArray[np.int64]:
        """The significant bits of entries, packed."""
        index, *more = (_moved(entries, run) for run in self.runs)
        for part in more:
            index |= part
        return index.view(np.int64)

    # -- frames ------------------------------------------------------------------------------------------------------

    @cached_property
    def step(self) -> tuple[int, ...]:
        """For each level, what takes a page's entry to that of the page whose frame follows."""
        fields = self.form.address
        return tuple(
            reduce(int.__or__, (level.span << down >> up & mask for mask, up, down in fields))
            for level in self.form.levels
        )

    @cached_property
    def step_field(self) -> tuple[int, ...]:
        """For each level, the entry's bits outside the field that such a step counts in."""
        return tuple(_EVERY ^ next((mask for mask, *_ in self.form.address if mask & step), 0) for step in self.step)

    def frames(self, entries: Words, level: Level, states: States, out: Words | None = None) -> Words:
        """What ``PagingFormat.frame`` says of entries whose states are known.

        Args:
            entries: Raw entries. Shape (n,), uint64.
            level: Their level.
            states: As ``states`` gives them.
            out: Where the addresses go.
        """
        frames = np.empty(len(entries), np.uint64) if out is None else out
        if isinstance(states, int):
            kind = states >> KIND_SHIFT
            if kind == Kind.PRESENT and not states & Flag.NO_FRAME:
                self._present(entries, level, frames)
            elif kind in _FRAMED:
                frames[:] = self.form.frame(entries, level)
            else:
                frames.fill(NO_PADDR)
            return frames
        self._present(entries, level, frames)
        self._absent(entries, level, kinds_of(states), frames)
        if Flag.NO_FRAME & self.state_flags:
            frames[(states & np.uint32(Flag.NO_FRAME)) != 0] = NO_PADDR
        return frames

    @cached_property
    def state_flags(self) -> int:
        """Every flag that a page's entry can hold."""
        return sum(row.flag for row in self.form.state + self.form.software.state)

    def _absent(self, entries: Words, level: Level, kinds: npt.NDArray[np.uint8], frames: Words) -> None:
        """Put right the frames of entries that are not valid."""
        at = np.flatnonzero(kinds != Kind.PRESENT)
        if not len(at):
            return
        frames[at] = NO_PADDR
        kinds = kinds[at]
        named = (kinds == _FRAMED[0]) | (kinds == _FRAMED[1]) | (kinds == _FRAMED[2])
        if named.any():
            at = at[named]
            frames[at] = self.form.frame(entries[at], level)

    def _present(self, entries: Words, level: Level, out: Words) -> None:
        """Frames of entries that all map pages."""
        if self.plain:
            np.bitwise_and(entries, np.uint64(self.address_bits & (_EVERY ^ (level.span - 1))), out=out)
        else:
            out[:] = self.form.table_paddr(entries) & (_EVERY ^ (level.span - 1))

    def frame_rules(self, level: Level) -> Words:
        """How an entry of each kind names its frame, where addresses have one field: what ``frame`` says, as numbers.

        Returns:
            flip, mask, left, right, none, and the bits that pass as flags. Shape (kinds, 6), uint64. The frame is
            ``((entry ^ flip) & mask) << left >> right | none``; a poison that is a marker has none.
        """
        ((mask, up, down),) = self.form.address
        software = self.form.software
        page = mask & (_EVERY ^ ((level.span - 1) << down >> up))
        offset = software.swap_offset
        moved = ((1 << software.frame_bits) - 1) << offset.shift
        flip = offset.mask << offset.shift if offset.inverted else 0
        swapped = (flip, moved, self.form.page_size.bit_length() - 1, offset.shift, 0, 0)
        rules = np.zeros((len(Kind), 6), np.uint64)
        rules[:, 4] = NO_PADDR
        rules[Kind.PRESENT] = 0, page, up, down, 0, self.passing
        rules[Kind.PROT_NONE] = mask if software.inverts_frames else 0, page, up, down, 0, self.passing
        rules[[Kind.MIGRATION, Kind.HWPOISON]] = swapped
        return rules

    def tables(self, entries: Words) -> Words:
        """The addresses of the tables that entries point to."""
        if self.plain:
            return entries & np.uint64(self.address_bits)
        return self.form.table_paddr(entries)


def kinds_of(states: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """The kinds of states, in place: their highest byte."""
    return states.view(np.uint8)[3 if sys.byteorder == "little" else 0 :: 4]


def _moved(entries: Words, run: Run) -> Words:
    """One run of bits, brought to its place in the index."""
    shift = run.first - run.to
    moved: Any = entries >> np.uint64(shift) if shift > 0 else entries
    return moved & np.uint64(run.mask) if shift >= 0 else moved << np.uint64(-shift) & np.uint64(run.mask)


def _runs(bits: int) -> tuple[Run, ...]:
    """Bits as runs, as few as the index's width allows: narrow gaps are taken along."""
    places = [at for at in range(64) if bits >> at & 1]
    spans = [(at, at + 1) for at in places]
    gaps = sorted(range(len(spans) - 1), key=lambda at: spans[at + 1][0] - spans[at][1])
    joined: set[int] = set()
    width = len(places)
    for gap in gaps:
        width += spans[gap + 1][0] - spans[gap][1]
        if width > WIDEST and spans[gap + 1][0] != spans[gap][1]:
            break
        joined.add(gap)
    runs: list[Run] = []
    to = 0
    for at, (first, end) in enumerate(spans):
        if at and at - 1 in joined:
            last = runs.pop()
            first, to = last.first, last.to
        runs.append(Run(first, end - first, to))
        to += end - first
    return tuple(runs)


@lru_cache(maxsize=16)
def codec_of(form: PagingFormat) -> Codec:
    """The decoder of a format, made once."""
    return Codec(form)
